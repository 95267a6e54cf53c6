// Text of values as DuckDB's own CAST(x AS VARCHAR) prints it (session time zone UTC), but for two
// things: a decimal below one keeps its zero (0.5, not .5), and texts in arrays are quoted as those
// in lists.
#include <duckdb.h>
#include <fmt/format.h>

#include <cmath>
#include <iterator>

#include "capi/duckdb/duckdb_handle.h"

namespace px::duckdb {
namespace {

/// What makes a text within a list, struct or map ambiguous.
constexpr std::string_view kNestedSpecial = "[](){},'\"=:";

void append_uint128(UInt128 value, std::string& out) {
    char digits[40];
    int count = 0;
    do {
        digits[count++] = static_cast<char>('0' + static_cast<int>(value % 10));
        value /= 10;
    } while (value != 0);
    while (count > 0) out += digits[--count];
}

void append_int128(Int128 value, std::string& out) {
    if (value < 0) out += '-';
    append_uint128(value < 0 ? ~static_cast<UInt128>(value) + 1 : static_cast<UInt128>(value), out);
}

/// Always with a digit before the point, so that it is a JSON number too.
void append_decimal(Int128 value, int scale, std::string& out) {
    if (value < 0) out += '-';
    UInt128 magnitude = value < 0 ? ~static_cast<UInt128>(value) + 1 : static_cast<UInt128>(value);
    std::string digits;
    append_uint128(magnitude, digits);
    if (scale == 0) {
        out += digits;
        return;
    }
    auto fraction = static_cast<size_t>(scale);
    if (digits.size() <= fraction) digits.insert(0, fraction + 1 - digits.size(), '0');
    out.append(digits, 0, digits.size() - fraction);
    out += '.';
    out.append(digits, digits.size() - fraction, std::string::npos);
}

template <class T>
void append_float(T value, std::string& out) {
    if (std::isnan(value)) {
        out += "nan";
        return;
    }
    if (std::isinf(value)) {
        out += value < 0 ? "-inf" : "inf";
        return;
    }
    size_t start = out.size();
    fmt::format_to(std::back_inserter(out), "{}", value);
    if (out.find_first_of(".e", start) == std::string::npos) out += ".0";
}

/// Civil date of a day number (days since 1970-01-01); the inverse of days_from_civil.
void append_date(int64_t days, std::string& out) {
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t day_of_era = z - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_part = (5 * day_of_year + 2) / 153;
    int64_t day = day_of_year - (153 * month_part + 2) / 5 + 1;
    int64_t month = month_part < 10 ? month_part + 3 : month_part - 9;
    int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
    bool before_christ = year <= 0;
    fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02}{}", before_christ ? 1 - year : year,
                   month, day, before_christ ? " (BC)" : "");
}

/// Fraction digits of a time: none, or as many as it takes.
void append_fraction(int64_t fraction, int digits, std::string& out) {
    if (fraction == 0) return;
    std::string text = fmt::format("{:0{}}", fraction, digits);
    text.erase(text.find_last_not_of('0') + 1);
    out += '.';
    out += text;
}

void append_time(int64_t units, int64_t units_per_second, int digits, std::string& out) {
    int64_t seconds = units / units_per_second;
    fmt::format_to(std::back_inserter(out), "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60,
                   seconds % 60);
    append_fraction(units % units_per_second, digits, out);
}

void append_timestamp(int64_t value, int64_t units_per_second, int digits, std::string_view zone,
                      std::string& out) {
    if (value == INT64_MAX || value == -INT64_MAX) {
        out += value > 0 ? "infinity" : "-infinity";
        return;
    }
    int64_t per_day = units_per_second * 86'400;
    int64_t days = value / per_day, rest = value % per_day;
    if (rest < 0) {
        rest += per_day;
        --days;
    }
    std::string date;
    append_date(days, date);
    bool before_christ = date.ends_with(" (BC)");
    if (before_christ) date.resize(date.size() - 5);
    out += date;
    if (before_christ && !zone.empty()) {
        out += ' ';
        append_time(rest, units_per_second, digits, out);
        out += zone;
        out += " (BC)";
        return;
    }
    if (before_christ) out += " (BC)";
    out += ' ';
    append_time(rest, units_per_second, digits, out);
    out += zone;
}

void append_interval(const duckdb_interval& value, std::string& out) {
    size_t start = out.size();
    auto part = [&](int64_t count, std::string_view unit) {
        if (count == 0) return;
        if (out.size() != start) out += ' ';
        fmt::format_to(std::back_inserter(out), "{} {}{}", count, unit,
                       count == 1 || count == -1 ? "" : "s");
    };
    part(value.months / 12, "year");
    part(value.months % 12, "month");
    part(value.days, "day");
    if (value.micros != 0) {
        if (out.size() != start) out += ' ';
        if (value.micros < 0) out += '-';
        uint64_t micros = value.micros < 0 ? ~static_cast<uint64_t>(value.micros) + 1
                                           : static_cast<uint64_t>(value.micros);
        append_time(static_cast<int64_t>(micros), 1'000'000, 6, out);
    } else if (out.size() == start) {
        out += "00:00:00";
    }
}

void append_uuid(Int128 value, std::string& out) {
    auto bits = static_cast<UInt128>(value) ^ (static_cast<UInt128>(1) << 127);
    constexpr char kHex[] = "0123456789abcdef";
    for (int i = 31; i >= 0; --i) {
        out += kHex[static_cast<int>(bits >> (i * 4)) & 15];
        if (i == 24 || i == 20 || i == 16 || i == 12) out += '-';
    }
}

void append_blob(std::string_view bytes, std::string& out) {
    constexpr char kHex[] = "0123456789ABCDEF";
    for (char c : bytes) {
        auto byte = static_cast<unsigned char>(c);
        if (byte >= 32 && byte <= 126 && c != '\\' && c != '\'' && c != '"') {
            out += c;
        } else {
            out += "\\x";
            out += kHex[byte >> 4];
            out += kHex[byte & 15];
        }
    }
}

void append_bits(std::string_view bytes, std::string& out) {
    if (bytes.empty()) return;
    auto padding = static_cast<size_t>(static_cast<unsigned char>(bytes[0]));
    for (size_t bit = padding; bit < (bytes.size() - 1) * 8; ++bit) {
        out += ((static_cast<unsigned char>(bytes[1 + bit / 8]) >> (7 - bit % 8)) & 1) != 0 ? '1'
                                                                                            : '0';
    }
}

/// A text within a list, struct or map: quoted where it could be read as something else.
void append_nested_text(std::string_view text, std::string& out) {
    auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    auto space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
    bool is_null = text.size() == 4 && lower(text[0]) == 'n' && lower(text[1]) == 'u' &&
                   lower(text[2]) == 'l' && lower(text[3]) == 'l';
    bool quote = text.empty() || is_null || space(text.front()) || space(text.back()) ||
                 text.find_first_of(kNestedSpecial) != std::string_view::npos;
    if (!quote) {
        out += text;
        return;
    }
    out += '\'';
    for (char c : text) {
        if (c == '\'' || c == '\\') out += '\\';
        out += c;
    }
    out += '\'';
}

Result<void> append_value(const ColumnView& column, uint64_t row, std::string& out);

Result<void> append_nested(const ColumnView& column, uint64_t row, std::string& out) {
    if (column.is_null(row)) {
        out += "NULL";
        return {};
    }
    switch (column.type().id) {
        case TypeId::List:
        case TypeId::Array:
        case TypeId::Struct:
        case TypeId::Map:
            return append_value(column, row, out);
        default:
            break;
    }
    std::string text;
    PX_TRY(append_value(column, row, text));
    append_nested_text(text, out);
    return {};
}

Result<void> append_value(const ColumnView& column, uint64_t row, std::string& out) {
    const Type& type = column.type();
    switch (type.id) {
        case TypeId::Boolean:
            out += column.bool_at(row) ? "true" : "false";
            return {};
        case TypeId::TinyInt:
        case TypeId::SmallInt:
        case TypeId::Integer:
        case TypeId::BigInt:
        case TypeId::UTinyInt:
        case TypeId::USmallInt:
        case TypeId::UInteger:
            fmt::format_to(std::back_inserter(out), "{}", column.int64_at(row));
            return {};
        case TypeId::UBigInt:
        case TypeId::HugeInt:
            append_int128(column.int128_at(row), out);
            return {};
        case TypeId::UHugeInt:
            append_uint128(static_cast<UInt128>(column.int128_at(row)), out);
            return {};
        case TypeId::Float:
            append_float(column.data<float>()[row], out);
            return {};
        case TypeId::Double:
            append_float(column.data<double>()[row], out);
            return {};
        case TypeId::Decimal:
            append_decimal(column.int128_at(row), type.scale, out);
            return {};
        case TypeId::Date: {
            int64_t days = column.int64_at(row);
            if (days == INT32_MAX || days == -INT32_MAX) {
                out += days > 0 ? "infinity" : "-infinity";
            } else {
                append_date(days, out);
            }
            return {};
        }
        case TypeId::Time:
            append_time(column.int64_at(row), 1'000'000, 6, out);
            return {};
        case TypeId::TimeNs:
            append_time(column.int64_at(row), 1'000'000'000, 9, out);
            return {};
        case TypeId::TimeTz: {
            duckdb_time_tz raw{static_cast<uint64_t>(column.int64_at(row))};
            duckdb_time_tz_struct parts = duckdb_from_time_tz(raw);
            duckdb_time_struct time = parts.time;
            fmt::format_to(std::back_inserter(out), "{:02}:{:02}:{:02}", time.hour, time.min,
                           time.sec);
            append_fraction(time.micros, 6, out);
            int32_t offset = parts.offset < 0 ? -parts.offset : parts.offset;
            fmt::format_to(std::back_inserter(out), "{}{:02}", parts.offset < 0 ? '-' : '+',
                           offset / 3600);
            if (offset % 3600 != 0)
                fmt::format_to(std::back_inserter(out), ":{:02}", offset / 60 % 60);
            if (offset % 60 != 0) fmt::format_to(std::back_inserter(out), ":{:02}", offset % 60);
            return {};
        }
        case TypeId::Timestamp:
            append_timestamp(column.int64_at(row), 1'000'000, 6, "", out);
            return {};
        case TypeId::TimestampTz:
            append_timestamp(column.int64_at(row), 1'000'000, 6, "+00", out);
            return {};
        case TypeId::TimestampS:
            append_timestamp(column.int64_at(row), 1, 0, "", out);
            return {};
        case TypeId::TimestampMs:
            append_timestamp(column.int64_at(row), 1'000, 3, "", out);
            return {};
        case TypeId::TimestampNs:
            append_timestamp(column.int64_at(row), 1'000'000'000, 9, "", out);
            return {};
        case TypeId::Interval:
            append_interval(column.data<duckdb_interval>()[row], out);
            return {};
        case TypeId::Uuid:
            append_uuid(column.int128_at(row), out);
            return {};
        case TypeId::Varchar:
            out += column.bytes_at(row);
            return {};
        case TypeId::Blob:
            append_blob(column.bytes_at(row), out);
            return {};
        case TypeId::Bit:
            append_bits(column.bytes_at(row), out);
            return {};
        case TypeId::Enum:
            out += type.names[static_cast<size_t>(column.int64_at(row))];
            return {};
        case TypeId::SqlNull:
            return {};
        case TypeId::List:
        case TypeId::Array: {
            auto [offset, length] = column.list_at(row);
            ColumnView elements = column.child();
            out += '[';
            for (uint64_t i = 0; i < length; ++i) {
                if (i > 0) out += ", ";
                PX_TRY(append_nested(elements, offset + i, out));
            }
            out += ']';
            return {};
        }
        case TypeId::Map: {
            auto [offset, length] = column.list_at(row);
            ColumnView keys = column.child(0), values = column.child(1);
            out += '{';
            for (uint64_t i = 0; i < length; ++i) {
                if (i > 0) out += ", ";
                PX_TRY(append_nested(keys, offset + i, out));
                out += '=';
                PX_TRY(append_nested(values, offset + i, out));
            }
            out += '}';
            return {};
        }
        case TypeId::Struct: {
            bool named = !type.names.empty() && !type.names[0].empty();
            out += named ? '{' : '(';
            for (size_t i = 0; i < type.children.size(); ++i) {
                if (i > 0) out += ", ";
                if (named) {
                    out += '\'';
                    out += type.names[i];
                    out += "': ";
                }
                PX_TRY(append_nested(column.child(i), row, out));
            }
            out += named ? '}' : ')';
            return {};
        }
        case TypeId::Union: {
            auto tag = static_cast<size_t>(column.child(0).int64_at(row));
            ColumnView member = column.child(tag + 1);
            if (member.is_null(row)) {
                out += "NULL";
                return {};
            }
            return append_value(member, row, out);
        }
        default:
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("a value of type {} has no text here", type.sql),
                        "CAST the column to VARCHAR");
    }
}

}  // namespace

Result<void> ColumnView::append_text(uint64_t row, std::string& out) const {
    return append_value(*this, row, out);
}

}  // namespace px::duckdb
