#include "engine/result_arrow.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/utf8.h"

namespace px::engine {
namespace {

static_assert(std::endian::native == std::endian::little,
              "Arrow's buffers are written as they are");

constexpr size_t kBatchRows = 65'536;
constexpr int64_t kDayMicros = 86'400'000'000;

template <class Number>
void append_number(std::string& out, Number number) {
    char bytes[sizeof(Number)];
    std::memcpy(bytes, &number, sizeof number);
    out.append(bytes, sizeof bytes);
}

/// A flatbuffer, written from its end to its start as the format wants it. A place is how many
/// bytes stand from there to the end.
class FlatBuffer {
  public:
    using Place = uint32_t;

    Place text(std::string_view value) {
        pad(value.size() + 1, 4);
        put("\0", 1);
        put(value.data(), value.size());
        number(static_cast<uint32_t>(value.size()));
        return place();
    }
    /// Of tables.
    Place list(const std::vector<Place>& items) {
        pad(4 * items.size(), 4);
        for (size_t i = items.size(); i-- > 0;) offset(items[i]);
        number(static_cast<uint32_t>(items.size()));
        return place();
    }
    /// Of structs of two 64-bit numbers.
    Place list(const std::vector<std::pair<int64_t, int64_t>>& items) {
        pad(16 * items.size(), 8);
        for (size_t i = items.size(); i-- > 0;) {
            number(items[i].second);
            number(items[i].first);
        }
        number(static_cast<uint32_t>(items.size()));
        return place();
    }

    struct Field {
        uint16_t id = 0;
        uint16_t size = 0;  ///< of the value in bytes; 0: an offset
        uint64_t value = 0;
    };
    Place table(std::vector<Field> fields) {
        const Place end = place();
        uint16_t count = 0;
        std::vector<std::pair<uint16_t, Place>> places;
        // Large ones lie at the end, so that little is padded.
        std::stable_sort(fields.begin(), fields.end(), [](const Field& a, const Field& b) {
            return (a.size == 0 ? 4 : a.size) > (b.size == 0 ? 4 : b.size);
        });
        for (const Field& field : fields) {
            if (field.size == 0) {
                pad(0, 4);
                offset(static_cast<Place>(field.value));
            } else {
                pad(0, field.size);
                put(&field.value, field.size);
            }
            places.emplace_back(field.id, place());
            count = std::max(count, static_cast<uint16_t>(field.id + 1));
        }
        pad(0, 4);
        const auto vtable_size = static_cast<uint16_t>(4 + 2 * count);
        number(static_cast<int32_t>(vtable_size));  // it stands right before the table
        const Place start = place();
        std::string vtable;
        append_number(vtable, vtable_size);
        append_number(vtable, static_cast<uint16_t>(start - end));
        for (uint16_t id = 0; id < count; ++id) {
            uint16_t at = 0;
            for (const auto& [known, where] : places) {
                if (known == id) at = static_cast<uint16_t>(start - where);
            }
            append_number(vtable, at);
        }
        put(vtable.data(), vtable.size());
        return start;
    }
    std::string finish(Place root) {
        pad(4, 8);
        offset(root);
        return {reversed_.rbegin(), reversed_.rend()};
    }

  private:
    Place place() const { return static_cast<Place>(reversed_.size()); }
    void put(const void* bytes, size_t size) {
        const auto* const first = static_cast<const char*>(bytes);
        for (size_t i = size; i-- > 0;) reversed_ += first[i];
    }
    template <class Number>
    void number(Number value) {
        put(&value, sizeof value);
    }
    void offset(Place target) { number(place() + 4 - target); }
    /// So that after `ahead` bytes more the place is a multiple of alignment.
    void pad(size_t ahead, size_t alignment) {
        while ((reversed_.size() + ahead) % alignment != 0) reversed_ += '\0';
    }
    std::string reversed_;  // last byte first
};

using Field = FlatBuffer::Field;

// Numbers of Arrow's Schema.fbs and Message.fbs.
enum class Type : uint8_t {
    Int = 2,
    Float = 3,
    Utf8 = 5,
    Bool = 6,
    Decimal = 7,
    Date = 8,
    Timestamp = 10
};
enum class Header : uint8_t { Schema = 1, RecordBatch = 3 };
constexpr uint64_t kVersion5 = 4;

struct Kind {
    Type type = Type::Utf8;
    uint16_t bits = 0;  ///< of a value
    bool is_signed = true;
    int precision = 0, scale = 0;
    bool zoned = false;
};

Kind kind_of(std::string_view sql) {
    constexpr std::pair<std::string_view, Kind> kKinds[] = {
        {"TINYINT", {Type::Int, 8}},
        {"SMALLINT", {Type::Int, 16}},
        {"INTEGER", {Type::Int, 32}},
        {"BIGINT", {Type::Int, 64}},
        {"UTINYINT", {Type::Int, 8, false}},
        {"USMALLINT", {Type::Int, 16, false}},
        {"UINTEGER", {Type::Int, 32, false}},
        {"UBIGINT", {Type::Int, 64, false}},
        {"FLOAT", {Type::Float, 32}},
        {"DOUBLE", {Type::Float, 64}},
        {"BOOLEAN", {Type::Bool, 1}},
        {"DATE", {Type::Date, 32}},
        {"TIMESTAMP", {Type::Timestamp, 64}},
        {"TIMESTAMP WITH TIME ZONE", {Type::Timestamp, 64, true, 0, 0, true}},
    };
    for (const auto& [name, kind] : kKinds) {
        if (name == sql) return kind;
    }
    constexpr std::string_view kDecimal = "DECIMAL(";
    Kind decimal{Type::Decimal, 128};
    if (sql.starts_with(kDecimal)) {
        const char* const last = sql.data() + sql.size();
        const auto first = std::from_chars(sql.data() + kDecimal.size(), last, decimal.precision);
        if (first.ec == std::errc() && first.ptr != last && *first.ptr == ',' &&
            std::from_chars(first.ptr + 1, last, decimal.scale).ec == std::errc())
            return decimal;
    }
    return {};
}

template <class Number>
bool append_parsed(std::string& out, std::string_view text) {
    Number number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) return false;
    append_number(out, number);
    return true;
}

bool append_decimal(std::string& out, std::string_view text, const Kind& kind) {
    const bool negative = text.starts_with('-');
    if (negative) text.remove_prefix(1);
    const size_t point = std::min(text.find('.'), text.size());
    __extension__ using Wide = unsigned __int128;
    Wide value = 0;
    int digits = 0;
    const auto add = [&](std::string_view part) {
        for (const char c : part) {
            if (c < '0' || c > '9' || ++digits > 39) return false;
            value = value * 10 + static_cast<unsigned>(c - '0');
        }
        return true;
    };
    const std::string_view fraction = text.substr(std::min(point + 1, text.size()));
    if (text.empty() || static_cast<int>(fraction.size()) != kind.scale ||
        !add(text.substr(0, point)) || !add(fraction))
        return false;
    if (negative) value = ~value + 1;
    append_number(out, static_cast<uint64_t>(value));
    append_number(out, static_cast<uint64_t>(value >> 64));
    return true;
}

/// "2026-11-23 08:27:01[.ffffff][+00]".
bool append_timestamp(std::string& out, std::string_view text, const Kind& kind) {
    if (kind.zoned) {
        if (!text.ends_with("+00")) return false;
        text.remove_suffix(3);
    }
    if (text.size() < 19 || text[10] != ' ') return false;
    const auto day = parse_date(text.substr(0, 10));
    if (!day) return false;
    const auto two = [&](size_t at) {
        const bool digits =
            text[at] >= '0' && text[at] <= '9' && text[at + 1] >= '0' && text[at + 1] <= '9';
        return digits ? (text[at] - '0') * 10 + text[at + 1] - '0' : -1;
    };
    const int hour = two(11), minute = two(14), second = two(17);
    if (hour < 0 || minute < 0 || second < 0 || text[13] != ':' || text[16] != ':') return false;
    int64_t micros = ((hour * 60 + minute) * 60 + second) * int64_t{1'000'000};
    if (text.size() > 19) {
        if (text[19] != '.' || text.size() == 20 || text.size() > 26) return false;
        int64_t unit = 100'000;
        for (const char c : text.substr(20)) {
            if (c < '0' || c > '9') return false;
            micros += (c - '0') * unit;
            unit /= 10;
        }
    }
    append_number(out, *day * kDayMicros + micros);
    return true;
}

/// The values of a column between two rows; false: one does not fit the kind.
bool append_values(const QueryResult& result, size_t column, size_t first, size_t last,
                   const Kind& kind, std::string& validity, std::string& offsets,
                   std::string& values, int64_t& nulls) {
    validity.assign((last - first + 7) / 8, '\0');
    if (kind.type == Type::Bool) values.assign(validity.size(), '\0');
    if (kind.type == Type::Utf8) append_number(offsets, int32_t{0});
    for (size_t row = first; row < last; ++row) {
        const std::optional<std::string>& cell = result.rows[row][column];
        const size_t at = row - first;
        const auto bit = static_cast<char>(1U << (at % 8));
        if (cell) {
            validity[at / 8] = static_cast<char>(validity[at / 8] | bit);
        } else {
            ++nulls;
        }
        bool fits = true;
        switch (kind.type) {
            case Type::Utf8:
                if (cell) values += utf8_is_valid(*cell) ? *cell : utf8_sanitize(*cell);
                append_number(offsets, static_cast<int32_t>(values.size()));
                break;
            case Type::Bool:
                if (cell && *cell == "true")
                    values[at / 8] = static_cast<char>(values[at / 8] | bit);
                break;
            default:
                if (!cell) {
                    values.append(kind.bits / 8, '\0');
                } else if (kind.type == Type::Decimal) {
                    fits = append_decimal(values, *cell, kind);
                } else if (kind.type == Type::Timestamp) {
                    fits = append_timestamp(values, *cell, kind);
                } else if (kind.type == Type::Date) {
                    const auto day = parse_date(*cell);
                    fits = day.has_value();
                    if (fits) append_number(values, int32_t{*day});
                } else if (kind.type == Type::Float) {
                    fits = kind.bits == 32 ? append_parsed<float>(values, *cell)
                                           : append_parsed<double>(values, *cell);
                } else if (kind.is_signed) {
                    fits = kind.bits == 8    ? append_parsed<int8_t>(values, *cell)
                           : kind.bits == 16 ? append_parsed<int16_t>(values, *cell)
                           : kind.bits == 32 ? append_parsed<int32_t>(values, *cell)
                                             : append_parsed<int64_t>(values, *cell);
                } else {
                    fits = kind.bits == 8    ? append_parsed<uint8_t>(values, *cell)
                           : kind.bits == 16 ? append_parsed<uint16_t>(values, *cell)
                           : kind.bits == 32 ? append_parsed<uint32_t>(values, *cell)
                                             : append_parsed<uint64_t>(values, *cell);
                }
        }
        if (!fits) return false;
    }
    return true;
}

FlatBuffer::Place type_table(FlatBuffer& buffer, const Kind& kind) {
    switch (kind.type) {
        case Type::Int:
            return buffer.table({{0, 4, kind.bits}, {1, 1, kind.is_signed ? 1U : 0U}});
        case Type::Float:
            return buffer.table({{0, 2, kind.bits == 32 ? 1U : 2U}});
        case Type::Decimal:
            return buffer.table({{0, 4, static_cast<uint64_t>(kind.precision)},
                                 {1, 4, static_cast<uint64_t>(kind.scale)},
                                 {2, 4, 128}});
        case Type::Date:
            return buffer.table({{0, 2, 0}});
        case Type::Timestamp: {
            std::vector<Field> fields{{0, 2, 2}};
            if (kind.zoned) fields.push_back({1, 0, buffer.text("UTC")});
            return buffer.table(std::move(fields));
        }
        case Type::Utf8:
        case Type::Bool:
            break;
    }
    return buffer.table({});
}

void append_message(std::string& out, FlatBuffer& buffer, Header header, FlatBuffer::Place table,
                    std::string_view body) {
    const auto root = buffer.table({{0, 2, kVersion5},
                                    {1, 1, static_cast<uint64_t>(header)},
                                    {2, 0, table},
                                    {3, 8, body.size()}});
    const std::string metadata = buffer.finish(root);
    append_number(out, uint32_t{0xFFFFFFFF});
    append_number(out, static_cast<int32_t>(metadata.size()));
    out += metadata;
    out += body;
}

void append_schema(std::string& out, const QueryResult& result, const std::vector<Kind>& kinds) {
    FlatBuffer buffer;
    std::vector<FlatBuffer::Place> fields;
    for (size_t c = 0; c < kinds.size(); ++c) {
        const auto name = buffer.text(result.columns[c]);
        const auto type = type_table(buffer, kinds[c]);
        const auto children = buffer.list(std::vector<FlatBuffer::Place>());
        fields.push_back(buffer.table({{0, 0, name},
                                       {1, 1, 1},
                                       {2, 1, static_cast<uint64_t>(kinds[c].type)},
                                       {3, 0, type},
                                       {5, 0, children}}));
    }
    const auto list = buffer.list(fields);
    append_message(out, buffer, Header::Schema, buffer.table({{0, 2, 0}, {1, 0, list}}), {});
}

}  // namespace

std::string to_arrow_stream(const QueryResult& result) {
    std::vector<Kind> kinds;
    for (const std::string& type : result.types) kinds.push_back(kind_of(type));
    const size_t batch_count = (result.rows.size() + kBatchRows - 1) / kBatchRows;
    const auto rows_of = [&](size_t b) {
        return std::min(kBatchRows, result.rows.size() - b * kBatchRows);
    };
    std::vector<std::string> bodies(batch_count);
    struct Batch {
        std::vector<std::pair<int64_t, int64_t>> nodes, buffers;
    };
    std::vector<Batch> batches(batch_count);
    struct Part {
        std::string validity, offsets, values;
        int64_t nulls = 0;
    };
    for (size_t c = 0; c < kinds.size(); ++c) {
        std::vector<Part> parts(batch_count);
        const auto convert = [&] {
            for (size_t b = 0; b < batch_count; ++b) {
                Part& part = parts[b] = {};
                const size_t first = b * kBatchRows;
                if (!append_values(result, c, first, first + rows_of(b), kinds[c], part.validity,
                                   part.offsets, part.values, part.nulls))
                    return false;
            }
            return true;
        };
        // A value its type has no room for ("infinity") makes its column one of texts, from the
        // start.
        if (!convert()) {
            kinds[c] = {};
            convert();
        }
        for (size_t b = 0; b < batch_count; ++b) {
            const Part& part = parts[b];
            const auto add = [&](const std::string& bytes) {
                batches[b].buffers.emplace_back(static_cast<int64_t>(bodies[b].size()),
                                                static_cast<int64_t>(bytes.size()));
                bodies[b] += bytes;
                bodies[b].append((8 - bodies[b].size() % 8) % 8, '\0');
            };
            batches[b].nodes.emplace_back(static_cast<int64_t>(rows_of(b)), part.nulls);
            add(part.nulls == 0 ? std::string() : part.validity);
            if (kinds[c].type == Type::Utf8) add(part.offsets);
            add(part.values);
        }
    }
    std::string out;
    append_schema(out, result, kinds);
    for (size_t b = 0; b < batches.size(); ++b) {
        FlatBuffer buffer;
        const size_t rows = rows_of(b);
        const auto nodes = buffer.list(batches[b].nodes);
        const auto buffers = buffer.list(batches[b].buffers);
        const auto table = buffer.table({{0, 8, rows}, {1, 0, nodes}, {2, 0, buffers}});
        append_message(out, buffer, Header::RecordBatch, table, bodies[b]);
    }
    append_number(out, uint32_t{0xFFFFFFFF});
    append_number(out, uint32_t{0});
    return out;
}

}  // namespace px::engine
