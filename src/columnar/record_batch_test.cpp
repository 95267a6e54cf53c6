#include "columnar/record_batch.h"

#include <gtest/gtest.h>

#include <random>

namespace px::columnar {
namespace {

constexpr DataType kString{TypeId::String};
constexpr DataType kLong{TypeId::Int64};

TEST(Column, KeepsValuesNullsAndOffsets) {
    Column column(kString);
    column.append_bytes("one");
    column.append_bytes("");
    EXPECT_TRUE(column.validity().empty());
    column.append_null();
    column.append_bytes("four");
    EXPECT_EQ(column.length(), 4);
    EXPECT_EQ(column.null_count(), 1);
    EXPECT_EQ(column.bytes_at(0), "one");
    EXPECT_EQ(column.bytes_at(2), "");
    EXPECT_TRUE(column.is_null(2));
    EXPECT_FALSE(column.is_null(1));
    EXPECT_EQ(column.bytes_at(3), "four");
    EXPECT_EQ(column.validity(), (std::vector<uint8_t>{0b1011}));
    EXPECT_EQ(column.offsets(), (std::vector<int64_t>{0, 3, 3, 3, 7}));
}

TEST(Column, TruncatingTheLastNullAwayDropsTheBitmap) {
    Column column(kLong);
    for (int64_t i = 0; i < 20; ++i) column.append_int64(i);
    column.append_null();
    column.truncate(20);
    EXPECT_EQ(column.null_count(), 0);
    EXPECT_TRUE(column.validity().empty());
    EXPECT_EQ(column.data().size(), 160U);
    column.clear();
    EXPECT_EQ(column.length(), 0);
    column.append_null();
    EXPECT_TRUE(column.is_null(0));
}

/// What a column must equal: row by row, in plain containers.
struct Model {
    std::vector<std::optional<std::string>> rows;

    void expect_equal(const Column& column) const {
        ASSERT_EQ(column.length(), static_cast<int64_t>(rows.size()));
        int64_t nulls = 0;
        for (size_t i = 0; i < rows.size(); ++i) {
            const auto row = static_cast<int64_t>(i);
            nulls += rows[i] ? 0 : 1;
            ASSERT_EQ(column.is_null(row), !rows[i].has_value()) << i;
            if (column.type() == kString) {
                ASSERT_EQ(column.bytes_at(row), rows[i].value_or("")) << i;
            } else {
                ASSERT_EQ(column.value_at<int64_t>(row), std::stoll(rows[i].value_or("0"))) << i;
            }
        }
        ASSERT_EQ(column.null_count(), nulls);
        ASSERT_EQ(column.validity().empty(), nulls == 0);
        if (nulls > 0) {
            ASSERT_EQ(column.validity().size(), (rows.size() + 7) / 8);
            if (rows.size() % 8 != 0) {
                ASSERT_EQ(column.validity().back() >> rows.size() % 8, 0);
            }
        }
    }
};

TEST(Column, EveryMixOfOperationsEqualsAPlainModel) {
    for (uint32_t seed = 0; seed < 200; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937 random(seed);
        const DataType type = seed % 2 == 0 ? kString : kLong;
        Column column(type);
        Model model;
        for (int step = 0; step < 40; ++step) {
            const auto count = static_cast<int64_t>(random() % 20);
            switch (random() % 6) {
                case 0:
                    for (int64_t i = 0; i < count; ++i) {
                        column.append_null();
                        model.rows.push_back(std::nullopt);
                    }
                    break;
                case 1:
                    for (int64_t i = 0; i < count; ++i) {
                        const std::string text = std::to_string(random() % 1000);
                        if (type == kString) {
                            column.append_bytes(text);
                        } else {
                            column.append_int64(std::stoll(text));
                        }
                        model.rows.push_back(text);
                    }
                    break;
                case 2: {
                    if (type == kString) {
                        auto stretch = column.extend_bytes(count, static_cast<size_t>(count) * 2);
                        for (int64_t i = 0; i < count; ++i) {
                            std::memcpy(stretch.bytes + i * 2, "ab", 2);
                            stretch.ends[i] = stretch.base + (i + 1) * 2;
                            model.rows.push_back("ab");
                        }
                    } else {
                        auto* values = column.extend<int64_t>(count);
                        for (int64_t i = 0; i < count; ++i) {
                            values[i] = i;
                            model.rows.push_back(std::to_string(i));
                        }
                    }
                    break;
                }
                case 3: {
                    const auto rows = static_cast<int64_t>(random() % (model.rows.size() + 1));
                    if (random() % 4 != 0) break;
                    column.truncate(rows);
                    model.rows.resize(static_cast<size_t>(rows));
                    break;
                }
                case 4: {
                    const size_t from = model.rows.size() - std::min<size_t>(model.rows.size(), 13);
                    std::vector<uint8_t> keep(model.rows.size() - from);
                    for (auto& k : keep) k = static_cast<uint8_t>(random() % 2);
                    column.keep_rows(static_cast<int64_t>(from), keep.data());
                    std::vector<std::optional<std::string>> kept(
                        model.rows.begin(), model.rows.begin() + static_cast<int64_t>(from));
                    for (size_t i = 0; i < keep.size(); ++i) {
                        if (keep[i] != 0) kept.push_back(model.rows[from + i]);
                    }
                    model.rows = kept;
                    break;
                }
                default: {
                    if (model.rows.empty()) break;
                    const size_t row = random() % model.rows.size();
                    if (type == kString && model.rows[row].value_or("") != "") break;
                    column.set_null(static_cast<int64_t>(row));
                    model.rows[row] = std::nullopt;
                }
            }
            model.expect_equal(column);
            if (testing::Test::HasFatalFailure()) return;
        }
    }
}

TEST(Types, AreNamedAsDeltaAndSqlNameThem) {
    EXPECT_EQ(delta_type_name({TypeId::Int64}), "long");
    EXPECT_EQ(delta_type_name({TypeId::Decimal, 18, 2}), "decimal(18,2)");
    EXPECT_EQ(delta_type_name({TypeId::FloatList}), "array<float>");
    EXPECT_EQ(sql_type_name({TypeId::Timestamp}), "TIMESTAMP WITH TIME ZONE");
    EXPECT_EQ(sql_type_name({TypeId::FloatList}), "FLOAT[]");
}

TEST(FormatDecimal, PutsThePointByScale) {
    EXPECT_EQ(format_decimal(0, 0), "0");
    EXPECT_EQ(format_decimal(0, 2), "0.00");
    EXPECT_EQ(format_decimal(-5, 2), "-0.05");
    EXPECT_EQ(format_decimal(12345, 2), "123.45");
    EXPECT_EQ(format_decimal(12345, 0), "12345");
    Int128 large = 1;
    for (int i = 0; i < 38; ++i) large *= 10;
    EXPECT_EQ(format_decimal(1 - large, 38), "-0." + std::string(38, '9'));
}

TEST(Schema, FindsAColumnByItsExactName) {
    const Schema schema{{{"a", kLong}, {"B", kString}}};
    EXPECT_EQ(schema.index_of("B"), 1U);
    EXPECT_EQ(schema.index_of("b"), std::nullopt);
}

}  // namespace
}  // namespace px::columnar
