// The Validator: column by column over stretches of records. A stretch is small enough that its
// views stay in cache; each column's loop knows its type, so that a value costs its parsing and
// little else.

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "base/utf8.h"
#include "contract/contract.h"
#include "contract/key_set.h"
#include "contract/rule.h"
#include "contract/value.h"

namespace px::contract {

using columnar::Column;
using columnar::RecordBatch;
using columnar::TypeId;
using FieldValue = source::RecordBlock::FieldValue;

namespace {

constexpr size_t kStretchRows = 1024;
constexpr size_t kValueBytesMax = 200;
constexpr size_t kArenaKept = 4 * 1024 * 1024;
constexpr uint32_t kNoColumn = ~uint32_t{0};
constexpr size_t kNoPlace = ~size_t{0};

/// A value after nulls, default and transforms; data() == nullptr: no value.
using Text = std::string_view;
bool has_value(const Text& text) { return text.data() != nullptr; }
constexpr const char kEmpty[] = "";

/// The texts that mean "no value".
class NullTexts {
  public:
    NullTexts() = default;
    explicit NullTexts(const std::vector<std::string>& texts) : texts_(texts) {
        for (const std::string& text : texts)
            sizes_ |= uint64_t{1} << std::min<size_t>(text.size(), 63);
        empty_ = std::ranges::find(texts, std::string()) != texts.end();
    }
    /// Only the empty text is none.
    bool is_empty_alone() const { return empty_ && sizes_ == 1; }
    bool contains(std::string_view text) const {
        if (text.empty()) return empty_;
        if ((sizes_ >> std::min<size_t>(text.size(), 63) & 1) == 0) return false;
        return std::ranges::find(texts_, text) != texts_.end();
    }

  private:
    std::vector<std::string> texts_;
    uint64_t sizes_ = 0;
    bool empty_ = false;
};

/// Rows of a stretch as they stand.
struct Rows {
    const FieldValue* first = nullptr;  ///< of the first row
    size_t stride = 0;                  ///< fields a row
    size_t count = 0;
    bool readable = false;  ///< RecordBlock::readable
};

struct Failure {
    uint32_t column = kNoColumn;
    Broken broken = Broken::None;
};

class ColumnJudge {
  public:
    ColumnJudge(CompiledRule rule, std::optional<size_t> field)
        : rule_(std::move(rule)), field_(field) {
        const auto& transforms = rule_.rule().transforms;
        only_trims_ = !transforms.empty() && std::ranges::all_of(transforms, [](Transform t) {
            return t == Transform::Trim;
        });
        rewrites_ = !transforms.empty() && !only_trims_;
    }
    const ColumnRule& rule() const { return rule_.rule(); }
    const CompiledRule& compiled() const { return rule_; }
    void bind(std::optional<size_t> field) { field_ = field; }

    /// The text of one record, as judged. scratch holds it if it had to be rewritten.
    Text text_of(const FieldValue* row, size_t field_count, const NullTexts& nulls,
                 std::string& scratch) const {
        Text text = raw_text(row, field_count);
        if (has_value(text)) {
            if (only_trims_) {
                text = trimmed(text);
            } else if (rewrites_) {
                scratch = text;
                for (const Transform transform : rule().transforms)
                    apply_transform(transform, scratch);
                text = scratch;
            }
            if (nulls.contains(text)) text = {};
        }
        if (!has_value(text) && rule().default_value) text = present(*rule().default_value);
        return text;
    }

    std::string_view raw_text(const FieldValue* row, size_t field_count) const {
        if (!field_ || *field_ >= field_count || !row[*field_].present) return {};
        return present(row[*field_].text);
    }

    /// Appends one value a row to out, zero or empty where a record fails or failed before.
    void judge(uint32_t column, const Rows& rows, const NullTexts& nulls, Column& out,
               std::vector<Failure>& failures) {
        const bool as_it_stands = rows.readable && rule().transforms.empty() &&
                                  !rule().default_value && nulls.is_empty_alone() && field_ &&
                                  *field_ < rows.stride;
        if (as_it_stands) {
            const FieldValue* const first = rows.first + *field_;
            const size_t stride = rows.stride;
            judge_as<true>(column, rows.count, out, failures, [first, stride](size_t r) {
                const FieldValue& field = first[r * stride];
                return field.present && !field.text.empty() ? field.text : Text{};
            });
        } else {
            collect(rows, nulls);
            judge_as<false>(column, rows.count, out, failures,
                            [texts = texts_.data()](size_t r) { return texts[r]; });
        }
    }

  private:
    /// text_at(row): what is judged. kReadable: the bytes around each text can be read.
    template <bool kReadable, class TextAt>
    void judge_as(uint32_t column, size_t count, Column& out, std::vector<Failure>& failures,
                  TextAt text_at) {
        const auto values = [&]<class T>(T, auto parse) {
            judge_values<T>(column, count, out, failures, text_at, parse);
        };
        switch (rule().type.id) {
            case TypeId::String:
                judge_texts<kReadable>(column, count, out, failures, text_at);
                break;
            case TypeId::Int64:
                values(
                    int64_t{}, [](Text text, int64_t & value) __attribute__((always_inline)) {
                        return parse_integer<kReadable>(text, value);
                    });
                break;
            case TypeId::Timestamp:
                values(int64_t{},
                       [](Text text, int64_t& value) { return parse_timestamp(text, value); });
                break;
            case TypeId::Date:
                values(int32_t{}, [](Text text, int32_t& value) { return parse_day(text, value); });
                break;
            case TypeId::Float64:
                values(double{}, parse_double);
                break;
            case TypeId::Bool:
                values(uint8_t{}, [](Text text, uint8_t& value) {
                    bool truth = false;
                    const bool good = parse_boolean(text, truth);
                    value = truth ? 1 : 0;
                    return good;
                });
                break;
            case TypeId::Decimal: {
                const int precision = rule().type.precision;
                const int scale = rule().type.scale;
                if (precision <= 18) {
                    values(
                        int64_t{}, [=](Text text, int64_t & value) __attribute__((always_inline)) {
                            return parse_decimal<kReadable>(text, precision, scale, value);
                        });
                } else {
                    values(Int128{}, [=](Text text, Int128& value) {
                        return parse_decimal(text, precision, scale, value);
                    });
                }
                break;
            }
            default:
                break;  // compile() refused it
        }
    }

    static Text present(std::string_view text) {
        return text.data() == nullptr ? Text(kEmpty, 0) : text;
    }

    static void fail(Failure& failure, uint32_t column, Broken broken) {
        if (failure.column == kNoColumn) failure = {column, broken};
    }

    void collect(const Rows& rows, const NullTexts& nulls) {
        texts_.resize(rows.count);
        const Text fallback = rule().default_value ? present(*rule().default_value) : Text{};
        if (!field_ || *field_ >= rows.stride) {
            std::ranges::fill(texts_, fallback);
            return;
        }
        const FieldValue* field = rows.first + *field_;
        if (rewrites_) {
            collect_rewritten(field, rows, nulls, fallback);
            return;
        }
        for (size_t r = 0; r < rows.count; ++r, field += rows.stride) {
            Text text = fallback;
            if (field->present) {
                const Text found = only_trims_ ? trimmed(field->text) : field->text;
                if (!nulls.contains(found)) text = present(found);
            }
            texts_[r] = text;
        }
    }

    void collect_rewritten(const FieldValue* field, const Rows& rows, const NullTexts& nulls,
                           Text fallback) {
        arena_.clear();
        if (arena_.capacity() > kArenaKept) arena_.shrink_to_fit();
        places_.assign(rows.count, kNoPlace);
        for (size_t r = 0; r < rows.count; ++r, field += rows.stride) {
            texts_[r] = fallback;
            if (!field->present) continue;
            scratch_ = field->text;
            for (const Transform transform : rule().transforms)
                apply_transform(transform, scratch_);
            if (nulls.contains(scratch_)) continue;
            places_[r] = arena_.size();
            arena_ += scratch_;
            texts_[r] = {kEmpty, scratch_.size()};
        }
        // Views into the arena, now that it grows no more.
        for (size_t r = 0; r < rows.count; ++r) {
            if (places_[r] != kNoPlace) texts_[r] = {arena_.data() + places_[r], texts_[r].size()};
        }
    }

    template <class T, class TextAt, class Parse>
    void judge_values(uint32_t column, size_t count, Column& out, std::vector<Failure>& failures,
                      TextAt text_at, Parse parse) {
        const int64_t base = out.length();
        T* const values = out.extend<T>(static_cast<int64_t>(count));
        const bool checks = rule_.has_checks();
        [[maybe_unused]] const int64_t least = rule_.least();
        [[maybe_unused]] const int64_t greatest = rule_.greatest();
        size_t nulls = 0;
        for (size_t r = 0; r < count; ++r) {
            const Text text = text_at(r);
            if (!has_value(text)) {
                ++nulls;
                continue;
            }
            T value{};
            if (!parse(text, value)) [[unlikely]] {
                fail(failures[r], column, Broken::Type);
                continue;
            }
            values[r] = value;
            if (checks) {
                Broken broken = Broken::None;
                if constexpr (std::is_same_v<T, double>) {
                    broken = rule_.check_double(value, text);
                } else if (value < least || value > greatest) {
                    broken = rule_.check_integer(value, text);
                }
                if (broken != Broken::None) fail(failures[r], column, broken);
            }
        }
        if (nulls > 0) mark_nulls(column, count, base, out, failures, text_at);
    }

    template <class TextAt>
    void mark_nulls(uint32_t column, size_t count, int64_t base, Column& out,
                    std::vector<Failure>& failures, TextAt text_at) const {
        const bool required = rule().required;
        for (size_t r = 0; r < count; ++r) {
            if (has_value(text_at(r))) continue;
            out.set_null(base + static_cast<int64_t>(r));
            if (required) fail(failures[r], column, Broken::Required);
        }
    }

    template <bool kReadable, class TextAt>
    void judge_texts(uint32_t column, size_t count, Column& out, std::vector<Failure>& failures,
                     TextAt text_at) {
        const int64_t base = out.length();
        size_t bytes = 0;
        size_t nulls = 0;
        for (size_t r = 0; r < count; ++r) {
            const Text text = text_at(r);
            bytes += text.size();
            nulls += has_value(text) ? 0 : 1;
        }
        const Column::BytesStretch stretch = out.extend_bytes(static_cast<int64_t>(count), bytes);
        char* to = stretch.bytes;
        const char* const end = to + bytes;
        bool starts_well = true;  // no text begins inside a character
        for (size_t r = 0; r < count; ++r) {
            const Text text = text_at(r);
            if (!text.empty()) {
                if (kReadable && text.size() <= 16 && end - to >= 16) {
                    std::memcpy(to, text.data(), 16);
                } else {
                    std::memcpy(to, text.data(), text.size());
                }
                starts_well = starts_well && (static_cast<unsigned char>(text[0]) & 0xC0) != 0x80;
            }
            to += text.size();
            stretch.ends[r] = stretch.base + (to - stretch.bytes);
        }
        // The whole stretch is well-formed and no text begins inside a character: then each text is
        // well-formed.
        const bool good = starts_well && utf8_is_valid({stretch.bytes, bytes});
        const bool checks = rule_.has_checks();
        if (!good || checks) {
            for (size_t r = 0; r < count; ++r) {
                const Text text = text_at(r);
                if (!has_value(text)) continue;
                if (!good && !utf8_is_valid(text)) {
                    fail(failures[r], column, Broken::Type);
                    continue;
                }
                if (!checks) continue;
                const Broken broken = rule_.check_text(text);
                if (broken != Broken::None) fail(failures[r], column, broken);
            }
        }
        if (nulls > 0) mark_nulls(column, count, base, out, failures, text_at);
    }

    CompiledRule rule_;
    std::optional<size_t> field_;
    bool only_trims_ = false;
    bool rewrites_ = false;
    std::vector<Text> texts_;
    std::string arena_;
    std::string scratch_;
    std::vector<size_t> places_;
};

class ColumnValidator final : public Validator {
  public:
    ColumnValidator(std::vector<CompiledRule> rules, const Contract& contract)
        : nulls_(contract.null_values), contract_columns_(rules.size()) {
        for (CompiledRule& rule : rules) {
            if (rule.rule().unique) {
                unique_.push_back({static_cast<uint32_t>(judges_.size()), {}, {}});
            }
            judges_.emplace_back(std::move(rule), std::nullopt);
        }
    }

    Result<void> rebind(HeaderBinding binding) override {
        if (binding.field_of_column.size() != contract_columns_ ||
            binding.extra_fields.size() != binding.extra_names.size()) {
            return fail(ErrorCode::InvalidArgument, "the header was bound to another contract");
        }
        judges_.erase(judges_.begin() + static_cast<std::ptrdiff_t>(contract_columns_),
                      judges_.end());
        for (size_t c = 0; c < contract_columns_; ++c) judges_[c].bind(binding.field_of_column[c]);
        for (size_t e = 0; e < binding.extra_fields.size(); ++e) {
            ColumnRule rule;
            rule.name = binding.extra_names[e];
            judges_.emplace_back(PX_TRY(CompiledRule::compile(rule)), binding.extra_fields[e]);
        }
        return {};
    }

    std::optional<Verdict> validate(const std::vector<std::optional<std::string_view>>& fields,
                                    RecordBatch& out) override {
        row_.resize(fields.size());
        for (size_t f = 0; f < fields.size(); ++f) {
            row_[f] = {fields[f].value_or(std::string_view{}), fields[f].has_value(), false};
        }
        accepted_.clear();
        rejected_.clear();
        judge({row_.data(), row_.size(), 1}, 0, out, accepted_, rejected_);
        if (rejected_.empty()) return std::nullopt;
        return std::move(rejected_.front().verdict);
    }

    void validate_block(const source::RecordBlock& block, RecordBatch& out,
                        std::vector<uint32_t>& accepted,
                        std::vector<RejectedRow>& rejected) override {
        size_t malformed = 0;
        for (size_t row = 0; row < block.row_count();) {
            if (malformed < block.malformed.size() && block.malformed[malformed].row_index == row) {
                const source::RecordBlock::Malformed& bad = block.malformed[malformed++];
                rejected.push_back(
                    {static_cast<uint32_t>(row),
                     {bad.rule, "", cut_text(block.raw[row], kValueBytesMax), bad.reason}});
                ++row;
                continue;
            }
            size_t end = std::min(block.row_count(), row + kStretchRows);
            if (malformed < block.malformed.size())
                end = std::min(end, block.malformed[malformed].row_index);
            judge({block.fields.data() + row * block.column_count, block.column_count, end - row,
                   block.readable},
                  static_cast<uint32_t>(row), out, accepted, rejected);
            row = end;
        }
    }

    bool has_unique() const override { return !unique_.empty(); }

    void judge_unique(const UniqueApart& apart) override {
        apart_ = apart;
        record_ = 0;
        next_duplicate_ = 0;
    }

    std::vector<Duplicate> find_duplicates(const PendingKeys& pending) override {
        std::vector<Duplicate> found;
        const size_t total = pending.failed_columns.size();
        for (size_t first = 0; first < total; first += kStretchRows) {
            const size_t count = std::min(kStretchRows, total - first);
            failures_.resize(count);
            for (size_t r = 0; r < count; ++r) {
                failures_[r] = {pending.failed_columns[first + r], Broken::Type};
            }
            for (size_t u = 0; u < unique_.size(); ++u) {
                unique_[u].keys.resize(count);
                for (size_t r = 0; r < count; ++r) {
                    const auto& [low, high] = pending.keys[(first + r) * unique_.size() + u];
                    unique_[u].keys[r] = {low, high};
                }
            }
            seek_duplicates(count);
            for (size_t r = 0; r < count; ++r) {
                if (failures_[r].broken == Broken::Unique)
                    found.push_back({first + r, failures_[r].column});
            }
        }
        return found;
    }

  private:
    struct Unique {
        uint32_t column;
        KeySet seen;
        std::vector<Key> keys;
    };

    void judge(const Rows& rows, uint32_t first_row, RecordBatch& out,
               std::vector<uint32_t>& accepted, std::vector<RejectedRow>& rejected) {
        const int64_t base = out.row_count();
        failures_.assign(rows.count, {});
        for (size_t c = 0; c < judges_.size(); ++c) {
            judges_[c].judge(static_cast<uint32_t>(c), rows, nulls_, out.column(c), failures_);
        }
        if (!unique_.empty()) {
            if (apart_.duplicates != nullptr) {
                take_duplicates(rows.count);
            } else {
                collect_keys(rows.count, base, out);
                if (apart_.pending != nullptr) {
                    note_keys(rows.count);
                } else {
                    seek_duplicates(rows.count);
                }
            }
        }

        size_t failed = 0;
        for (size_t r = 0; r < rows.count; ++r) failed += failures_[r].column != kNoColumn ? 1 : 0;
        if (failed == 0) {
            const size_t before = accepted.size();
            accepted.resize(before + rows.count);
            for (size_t r = 0; r < rows.count; ++r)
                accepted[before + r] = first_row + static_cast<uint32_t>(r);
            return;
        }
        keep_.resize(rows.count);
        for (size_t r = 0; r < rows.count; ++r) {
            keep_[r] = failures_[r].column == kNoColumn ? 1 : 0;
            const auto row = first_row + static_cast<uint32_t>(r);
            if (keep_[r] != 0) {
                accepted.push_back(row);
            } else {
                rejected.push_back(
                    {row, verdict(rows.first + r * rows.stride, rows.stride, failures_[r])});
            }
        }
        for (size_t c = 0; c < judges_.size(); ++c) out.column(c).keep_rows(base, keep_.data());
    }

    static Key key_at(const Column& column, int64_t row) {
        switch (column.type().id) {
            case TypeId::String:
                return key_of(column.bytes_at(row));
            case TypeId::Bool:
                return key_of(int64_t{column.value_at<uint8_t>(row)});
            case TypeId::Date:
                return key_of(int64_t{column.value_at<int32_t>(row)});
            case TypeId::Float64: {
                const auto value = column.value_at<double>(row);
                return key_of(std::bit_cast<int64_t>(value == 0 ? 0.0 : value));
            }
            case TypeId::Decimal:
                if (column.type().precision > 18) {
                    const auto value = column.value_at<Int128>(row);
                    return key_of(
                        std::string_view(reinterpret_cast<const char*>(&value), sizeof value));
                }
                return key_of(column.value_at<int64_t>(row));
            default:
                return key_of(column.value_at<int64_t>(row));
        }
    }

    void note_keys(size_t count) {
        PendingKeys& pending = *apart_.pending;
        for (size_t r = 0; r < count; ++r) pending.failed_columns.push_back(failures_[r].column);
        const size_t before = pending.keys.size();
        pending.keys.resize(before + count * unique_.size());
        for (size_t u = 0; u < unique_.size(); ++u) {
            for (size_t r = 0; r < count; ++r) {
                const Key& key = unique_[u].keys[r];
                pending.keys[before + r * unique_.size() + u] = {key.low, key.high};
            }
        }
    }

    void take_duplicates(size_t count) {
        const std::vector<Duplicate>& known = *apart_.duplicates;
        while (next_duplicate_ < known.size() && known[next_duplicate_].record < record_ + count) {
            const Duplicate& duplicate = known[next_duplicate_++];
            failures_[duplicate.record - record_] = {duplicate.column, Broken::Unique};
        }
        record_ += count;
    }

    void collect_keys(size_t count, int64_t base, const RecordBatch& out) {
        for (Unique& unique : unique_) {
            const Column& column = out.column(unique.column);
            unique.keys.resize(count);
            for (size_t r = 0; r < count; ++r) {
                const int64_t row = base + static_cast<int64_t>(r);
                // No value, or one that failed: no key.
                unique.keys[r] = column.is_null(row) || failures_[r].column <= unique.column
                                     ? Key{}
                                     : key_at(column, row);
            }
        }
    }

    /// Judges unique_[…].keys under failures_.
    void seek_duplicates(size_t count) {
        constexpr size_t kAhead = 16;
        for (size_t r = 0; r < count; ++r) {
            if (r + kAhead < count) {
                for (const Unique& unique : unique_) unique.seen.prefetch(unique.keys[r + kAhead]);
            }
            if (unique_.size() == 1 && failures_[r].column == kNoColumn) {
                Unique& unique = unique_.front();
                if (unique.keys[r].low != 0 && !unique.seen.insert(unique.keys[r])) {
                    failures_[r] = {unique.column, Broken::Unique};
                }
                continue;
            }
            for (const Unique& unique : unique_) {
                if (failures_[r].column <= unique.column) break;
                if (unique.keys[r].low != 0 && unique.seen.contains(unique.keys[r])) {
                    failures_[r] = {unique.column, Broken::Unique};
                    break;
                }
            }
            if (failures_[r].column != kNoColumn) continue;
            for (Unique& unique : unique_) {
                if (unique.keys[r].low != 0) unique.seen.insert(unique.keys[r]);
            }
        }
    }

    Verdict verdict(const FieldValue* row, size_t field_count, const Failure& failure) {
        const ColumnJudge& judge = judges_[failure.column];
        std::string scratch;
        const Text text = judge.text_of(row, field_count, nulls_, scratch);
        Verdict verdict;
        verdict.rule = broken_name(failure.broken);
        verdict.column = judge.rule().name;
        // People look for what stands in the file, before any transform.
        verdict.value = cut_text(judge.raw_text(row, field_count), kValueBytesMax);
        verdict.reason = judge.compiled().explain(failure.broken, text);
        return verdict;
    }

    NullTexts nulls_;
    size_t contract_columns_;
    std::vector<ColumnJudge> judges_;  ///< of the contract's columns, then of the kept extra ones
    std::vector<Unique> unique_;       ///< in the order of their columns
    UniqueApart apart_;
    size_t record_ = 0;          ///< judged since duplicates are known
    size_t next_duplicate_ = 0;  ///< of those known
    std::vector<Failure> failures_;
    std::vector<uint8_t> keep_;
    std::vector<FieldValue> row_;
    std::vector<uint32_t> accepted_;
    std::vector<RejectedRow> rejected_;
};

}  // namespace

Result<std::unique_ptr<Validator>> Validator::create(const Contract& contract,
                                                     HeaderBinding binding) {
    std::vector<CompiledRule> rules;
    rules.reserve(contract.columns.size());
    for (const ColumnRule& column : contract.columns) {
        rules.push_back(PX_TRY(CompiledRule::compile(column)));
    }
    auto validator = std::make_unique<ColumnValidator>(std::move(rules), contract);
    PX_TRY(validator->rebind(std::move(binding)));
    return std::unique_ptr<Validator>(std::move(validator));
}

Result<void> parse_into(Column& column, std::string_view text) {
    const columnar::DataType type = column.type();
    Int128 value = 0;
    bool good = false;
    switch (type.id) {
        case TypeId::String:
            good = utf8_is_valid(text);
            if (good) column.append_bytes(text);
            break;
        case TypeId::Float64: {
            double number = 0;
            good = parse_double(text, number);
            if (good) column.append_double(number);
            break;
        }
        default:
            good = parse_as_integer(type, text, value);
            if (!good) break;
            if (type.id == TypeId::Bool) {
                column.append_bool(value != 0);
            } else if (type.id == TypeId::Date) {
                column.append_int32(static_cast<int32_t>(value));
            } else if (type.id == TypeId::Decimal && type.precision > 18) {
                column.append_int128(value);
            } else {
                column.append_int64(static_cast<int64_t>(value));
            }
    }
    if (!good) return fail(ErrorCode::InvalidArgument, explain(type, text));
    return {};
}

void append_provenance(RecordBatch& out, std::string_view landed_key,
                       const source::RecordBlock& block, const std::vector<uint32_t>& accepted) {
    const size_t first = out.column_count() - std::size(kProvenanceColumns);
    const auto count = static_cast<int64_t>(accepted.size());
    const Column::BytesStretch keys =
        out.column(first).extend_bytes(count, accepted.size() * landed_key.size());
    int64_t* const lines = out.column(first + 1).extend<int64_t>(count);
    int64_t* const starts = out.column(first + 2).extend<int64_t>(count);
    int64_t* const ends = out.column(first + 3).extend<int64_t>(count);
    for (size_t i = 0; i < accepted.size(); ++i) {
        if (!landed_key.empty()) {
            std::memcpy(keys.bytes + i * landed_key.size(), landed_key.data(), landed_key.size());
        }
        keys.ends[i] = keys.base + static_cast<int64_t>((i + 1) * landed_key.size());
        const source::RecordPosition& position = block.positions[accepted[i]];
        lines[i] = position.line;
        starts[i] = position.byte_start;
        ends[i] = position.byte_end;
    }
}

}  // namespace px::contract
