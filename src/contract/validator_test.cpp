#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "contract/contract.h"
#include "contract/key_set.h"
#include "contract/value.h"

namespace px::contract {
namespace {

using columnar::RecordBatch;
using Fields = std::vector<std::optional<std::string_view>>;

ColumnRule column(std::string name, std::string_view type = "string") {
    ColumnRule rule;
    rule.name = std::move(name);
    rule.type = parse_type(type).value();
    return rule;
}

HeaderBinding straight(size_t count) {
    HeaderBinding binding;
    for (size_t i = 0; i < count; ++i) binding.field_of_column.push_back(i);
    return binding;
}

/// A block of records, its texts owned.
class Block {
  public:
    explicit Block(size_t columns) { block_.column_count = columns; }
    void add(const std::vector<std::optional<std::string>>& fields) { rows_.push_back(fields); }
    void add_malformed(std::string rule) {
        block_.malformed.push_back({rows_.size(), std::move(rule), "cannot be read"});
        rows_.emplace_back(block_.column_count);
    }
    const source::RecordBlock& build() {
        block_.fields.clear();
        block_.positions.clear();
        block_.raw.clear();
        for (size_t r = 0; r < rows_.size(); ++r) {
            for (const auto& field : rows_[r]) {
                block_.fields.push_back({field ? std::string_view(*field) : std::string_view{},
                                         field.has_value(), false});
            }
            const auto at = static_cast<int64_t>(r);
            block_.positions.push_back({at + 2, at * 10, at * 10 + 9});
            block_.raw.push_back("raw text");
        }
        return block_;
    }
    const std::vector<std::vector<std::optional<std::string>>>& rows() const { return rows_; }

  private:
    std::vector<std::vector<std::optional<std::string>>> rows_;
    source::RecordBlock block_;
};

std::string row_text(const RecordBatch& batch, size_t columns, int64_t row) {
    std::string text;
    for (size_t c = 0; c < columns; ++c) {
        const columnar::Column& column = batch.column(c);
        text += '|';
        if (column.is_null(row)) {
            text += "NULL";
        } else if (column.type().id == columnar::TypeId::String) {
            text += column.bytes_at(row);
        } else if (columnar::fixed_width(column.type()) == 8) {
            text += std::to_string(column.value_at<int64_t>(row));
        } else if (columnar::fixed_width(column.type()) == 4) {
            text += std::to_string(column.value_at<int32_t>(row));
        } else {
            text += std::to_string(column.value_at<uint8_t>(row));
        }
    }
    return text;
}

TEST(Validator, ARejectedRecordLeavesNothingBehind) {
    Contract contract;
    contract.columns = {column("id", "integer"), column("name"), column("day", "date")};
    const auto validator = Validator::create(contract, straight(3)).value();
    RecordBatch out(contract.table_schema({}));
    EXPECT_EQ(validator->validate(Fields{"1", "a", "2024-01-01"}, out), std::nullopt);
    const auto verdict = validator->validate(Fields{"2", "b", "2024-02-30"}, out);
    ASSERT_TRUE(verdict);
    EXPECT_EQ(verdict->rule, "type");
    EXPECT_EQ(verdict->column, "day");
    EXPECT_EQ(verdict->value, "2024-02-30");
    for (size_t c = 0; c < 3; ++c) EXPECT_EQ(out.column(c).length(), 1);
    EXPECT_EQ(out.column(1).data().size(), 1U);
    EXPECT_EQ(out.column(3).length(), 0) << "provenance is the caller's";
    EXPECT_EQ(validator->validate(Fields{"3", std::nullopt, ""}, out), std::nullopt);
    EXPECT_EQ(row_text(out, 3, 1), "|3|NULL|NULL");
}

TEST(Validator, TheFirstBrokenColumnInTheContractsOrderIsNamed) {
    Contract contract;
    contract.columns = {column("a", "integer"), column("b", "integer")};
    contract.columns[0].unique = true;
    HeaderBinding crossed;
    crossed.field_of_column = {1, 0};
    const auto validator = Validator::create(contract, crossed).value();
    RecordBatch out(contract.table_schema({}));
    EXPECT_EQ(validator->validate(Fields{"x", "y"}, out)->column, "a");
    EXPECT_EQ(validator->validate(Fields{"x", "1"}, out)->column, "b");
    EXPECT_EQ(validator->validate(Fields{"5", "1"}, out), std::nullopt)
        << "a rejected record has no key";
    const auto twice = validator->validate(Fields{"x", "01"}, out);
    EXPECT_EQ(twice->rule, "unique") << "uniqueness of a stands before the type of b";
    EXPECT_EQ(twice->column, "a");
    EXPECT_EQ(validator->validate(Fields{"5", ""}, out), std::nullopt)
        << "no value is no duplicate";
    EXPECT_EQ(validator->validate(Fields{"5", ""}, out), std::nullopt);
}

TEST(Validator, RebindKeepsKeysAndTakesTheNewHeader) {
    Contract contract;
    contract.columns = {column("id"), column("name")};
    contract.columns[0].unique = true;
    contract.extra_columns = ExtraColumns::Keep;
    auto binding = bind_header(contract, {"id", "name"}, "a.csv").value();
    const auto validator = Validator::create(contract, binding).value();
    RecordBatch first(contract.table_schema(binding.extra_names));
    EXPECT_EQ(validator->validate(Fields{"1", "x"}, first), std::nullopt);

    binding = bind_header(contract, {"note", "id"}, "b.csv").value();
    ASSERT_TRUE(validator->rebind(binding));
    RecordBatch second(contract.table_schema(binding.extra_names));
    EXPECT_EQ(validator->validate(Fields{"n", "1"}, second)->rule, "unique");
    EXPECT_EQ(validator->validate(Fields{"n", "2"}, second), std::nullopt);
    EXPECT_EQ(row_text(second, 3, 0), "|2|NULL|n");
    EXPECT_FALSE(validator->rebind({}));
}

TEST(Validator, KeptExtraColumnsMustBeText) {
    Contract contract;
    contract.columns = {column("id")};
    contract.extra_columns = ExtraColumns::Keep;
    const auto binding = bind_header(contract, {"id", "note"}, "a.csv").value();
    const auto validator = Validator::create(contract, binding).value();
    RecordBatch out(contract.table_schema(binding.extra_names));
    const auto verdict = validator->validate(Fields{"1", "a\xFFz"}, out);
    ASSERT_TRUE(verdict);
    EXPECT_EQ(verdict->column, "note");
    EXPECT_EQ(verdict->value, "a\xEF\xBF\xBDz");
    EXPECT_EQ(verdict->reason, "byte 2 (0xFF) is not valid UTF-8");
}

TEST(Validator, ACharacterCutInTwoBetweenRecordsIsFound) {
    // Together the two texts are well-formed; each on its own is not.
    Contract contract;
    contract.columns = {column("t")};
    const auto validator = Validator::create(contract, straight(1)).value();
    RecordBatch out(contract.table_schema({}));
    Block block(1);
    block.add({"gr\xC3"});
    block.add({"\xBC\xC3\x9F"});
    std::vector<uint32_t> accepted;
    std::vector<RejectedRow> rejected;
    validator->validate_block(block.build(), out, accepted, rejected);
    EXPECT_TRUE(accepted.empty());
    EXPECT_EQ(rejected.size(), 2U);
}

TEST(Validator, ValuesOfVerdictsAreCutBetweenCharacters) {
    Contract contract;
    contract.columns = {column("n", "integer")};
    const auto validator = Validator::create(contract, straight(1)).value();
    RecordBatch out(contract.table_schema({}));
    std::string text(199, 'x');
    text += "\xC3\xBC and more";
    const auto verdict = validator->validate(Fields{text}, out);
    EXPECT_EQ(verdict->value, std::string(199, 'x'));
    EXPECT_LT(verdict->reason.size(), 120U);
}

Contract rich_contract() {
    Contract contract;
    contract.columns = {column("id", "integer"), column("name"), column("amount", "decimal(18,2)"),
                        column("day", "date"),   column("kind"), column("flag", "boolean")};
    contract.columns[0].required = contract.columns[0].unique = true;
    contract.columns[1].transforms = {Transform::Trim, Transform::TitleCase};
    contract.columns[1].unique = true;
    contract.columns[2].min = "0";
    contract.columns[4].one_of = {"a", "b"};
    contract.columns[4].default_value = "a";
    contract.columns[4].transforms = {Transform::Trim};
    contract.null_values = {"", "NA"};
    return contract;
}

TEST(Validator, BlocksAndSingleRecordsHaveTheSameOutcome) {
    for (uint32_t seed = 0; seed < 10; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937 random(seed);
        const auto pick = [&](std::initializer_list<std::string> texts) {
            return *(texts.begin() + static_cast<std::ptrdiff_t>(random() % texts.size()));
        };
        const Contract contract = rich_contract();
        const auto single = Validator::create(contract, straight(6)).value();
        const auto blocked = Validator::create(contract, straight(6)).value();
        RecordBatch single_out(contract.table_schema({}));
        RecordBatch block_out(contract.table_schema({}));
        for (int round = 0; round < 3; ++round) {
            Block block(6);
            const size_t rows = random() % 2500;
            std::vector<size_t> malformed;
            for (size_t r = 0; r < rows; ++r) {
                if (random() % 50 == 0) {
                    malformed.push_back(r);
                    block.add_malformed("field_count");
                    continue;
                }
                block.add({std::to_string(random() % 5000),
                           random() % 9 == 0 ? pick({" ", "NA", "gr\xC3", "\xC3\xBC"})
                                             : fmt::format(" name {}", random() % 5000),
                           random() % 40 == 0 ? pick({"-1", "x", "1.234"})
                                              : std::to_string(random() % 1000),
                           random() % 40 == 0 ? pick({"2024-13-01", ""}) : "2024-02-29",
                           random() % 5 == 0 ? pick({"", " b ", "c", "NA"}) : "a",
                           random() % 9 == 0 ? std::optional<std::string>() : "yes"});
            }
            const source::RecordBlock& built = block.build();
            std::vector<uint32_t> accepted;
            std::vector<RejectedRow> rejected;
            const int64_t before = block_out.row_count();
            blocked->validate_block(built, block_out, accepted, rejected);
            append_provenance(block_out, "landed/key", built, accepted);
            size_t next_accepted = 0;
            size_t next_rejected = 0;
            for (size_t r = 0; r < rows; ++r) {
                if (std::find(malformed.begin(), malformed.end(), r) != malformed.end()) {
                    ASSERT_LT(next_rejected, rejected.size());
                    EXPECT_EQ(rejected[next_rejected].row_index, r);
                    EXPECT_EQ(rejected[next_rejected].verdict.rule, "field_count");
                    ++next_rejected;
                    continue;
                }
                Fields fields;
                for (const auto& field : block.rows()[r]) {
                    fields.push_back(field ? std::optional<std::string_view>(*field)
                                           : std::nullopt);
                }
                const auto verdict = single->validate(fields, single_out);
                if (!verdict) {
                    ASSERT_LT(next_accepted, accepted.size()) << r;
                    ASSERT_EQ(accepted[next_accepted], r);
                    const int64_t row = before + static_cast<int64_t>(next_accepted);
                    ASSERT_EQ(row_text(block_out, 6, row), row_text(single_out, 6, row));
                    ASSERT_EQ(
                        row_text(block_out, 8, row).substr(row_text(block_out, 6, row).size()),
                        fmt::format("|landed/key|{}", r + 2));
                    ++next_accepted;
                } else {
                    ASSERT_LT(next_rejected, rejected.size()) << r;
                    const Verdict& other = rejected[next_rejected].verdict;
                    ASSERT_EQ(rejected[next_rejected].row_index, r);
                    ASSERT_EQ(other.rule, verdict->rule);
                    ASSERT_EQ(other.column, verdict->column);
                    ASSERT_EQ(other.value, verdict->value);
                    ASSERT_EQ(other.reason, verdict->reason);
                    ++next_rejected;
                }
            }
            EXPECT_EQ(next_accepted, accepted.size());
            EXPECT_EQ(next_rejected, rejected.size());
        }
        EXPECT_EQ(block_out.row_count(), single_out.row_count());
    }
}

TEST(KeySet, KnowsExactlyWhatWasInserted) {
    KeySet set;
    std::set<std::string> model;
    std::mt19937 random(7);
    for (int i = 0; i < 60'000; ++i) {
        std::string text(random() % 40, 'a');
        for (size_t k = 0; k < text.size(); k += 1 + random() % 9)
            text[k] = static_cast<char>('a' + random() % 3);
        ASSERT_EQ(set.contains(key_of(text)), model.contains(text));
        ASSERT_EQ(set.insert(key_of(text)), model.insert(text).second) << text;
    }
    EXPECT_EQ(set.size(), model.size());
    EXPECT_LE(set.size_bytes(), model.size() * 32 + (64 * 64 + 4096) * 16);
}

TEST(KeySet, RisingNumbersTakeSixteenBytesEachAndOthersAtMost32) {
    KeySet rising;
    for (int64_t i = -100'000; i < 200'000; ++i) ASSERT_TRUE(rising.insert(key_of(2 * i)));
    for (int64_t i = -100'000; i < 200'000; ++i) {
        ASSERT_FALSE(rising.insert(key_of(2 * i)));
        ASSERT_TRUE(rising.contains(key_of(2 * i)));
        ASSERT_FALSE(rising.contains(key_of(2 * i + 1)));
    }
    EXPECT_LE(rising.size_bytes(), 300'000U * 16 + 4096 * 16);
    KeySet falling;
    for (int64_t i = 300'000; i > 0; --i) ASSERT_TRUE(falling.insert(key_of(i)));
    for (int64_t i = 300'000; i > 0; --i) ASSERT_FALSE(falling.insert(key_of(i)));
    EXPECT_EQ(falling.size(), 300'000U);
    EXPECT_LE(falling.size_bytes(), 300'000U * 32 + 4096 * 16);
    EXPECT_TRUE(falling.insert(key_of(std::numeric_limits<int64_t>::min())));
    EXPECT_FALSE(falling.insert(key_of(std::numeric_limits<int64_t>::min())));
}

TEST(ParseInto, SurvivesMutatedTexts) {
    const std::vector<std::string> types = {"integer",        "double",       "boolean",
                                            "date",           "timestamp",    "decimal(18,2)",
                                            "decimal(38,10)", "decimal(5,5)", "string"};
    const std::vector<std::string> seeds = {"-9223372036854775808",
                                            "1.7976931348623157e308",
                                            "true",
                                            "2024-02-29",
                                            "2024-02-29T23:59:59.999999+15:59",
                                            "1234567890123456.78",
                                            "9999999999999999999999999999.9999999999",
                                            "0.00001",
                                            "gr\xC3\xBC\xC3\x9F"};
    std::mt19937 random(3);
    for (int i = 0; i < 4'000; ++i) {
        std::string text = seeds[random() % seeds.size()];
        for (uint32_t changes = random() % 4; changes > 0 && !text.empty(); --changes) {
            const size_t at = random() % text.size();
            switch (random() % 4) {
                case 0:
                    text[at] = static_cast<char>(random());
                    break;
                case 1:
                    text.erase(at, 1);
                    break;
                case 2:
                    text.insert(at, 1, "0123456789-+.eE: TZ"[random() % 19]);
                    break;
                default:
                    text += text.substr(at);
            }
        }
        for (const std::string& type : types) {
            columnar::Column out(parse_type(type).value());
            const auto result = parse_into(out, text);
            ASSERT_EQ(out.length(), result ? 1 : 0);
            if (!result) {
                ASSERT_FALSE(result.error().message.empty());
            }
        }
        for (const Transform transform : {Transform::Trim, Transform::Lower, Transform::Upper,
                                          Transform::TitleCase, Transform::CollapseSpaces}) {
            std::string once = text;
            apply_transform(transform, once);
            std::string twice = once;
            apply_transform(transform, twice);
            ASSERT_EQ(once, twice) << "a transform done twice changes nothing more";
        }
    }
}

TEST(ParseDecimal, NarrowAndWideAgree) {
    std::mt19937_64 random(5);
    for (int i = 0; i < 20'000; ++i) {
        const int precision = 1 + static_cast<int>(random() % 18);
        const int scale = static_cast<int>(random() % static_cast<uint64_t>(precision + 1));
        std::string text = random() % 2 == 0 ? "-" : "";
        const uint64_t digits = random() % 20;
        for (uint64_t d = 0; d < digits; ++d)
            text += static_cast<char>('0' + random() % (random() % 2 == 0 ? 10 : 1));
        if (random() % 3 != 0) text.insert(text.size() - random() % (digits + 1), 1, '.');
        int64_t narrow = 0;
        Int128 wide = 0;
        const bool good = parse_decimal(text, precision, scale, narrow);
        ASSERT_EQ(good, parse_decimal(text, precision, scale, wide)) << text;
        if (!good) continue;
        ASSERT_TRUE(wide == narrow) << text;
        // Written out again it is the same number.
        int64_t again = 0;
        ASSERT_TRUE(parse_decimal(columnar::format_decimal(narrow, scale), precision, scale, again))
            << text;
        ASSERT_EQ(again, narrow);
    }
}

}  // namespace
}  // namespace px::contract
