#include "contract/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>

#include "base/clock.h"
#include "base/utf8.h"

namespace px::contract {

using columnar::DataType;
using columnar::TypeId;

namespace {

using parse_detail::is_digit;
using parse_detail::take_sign;

bool equals_folded(std::string_view text, std::string_view lower) {
    if (text.size() != lower.size()) return false;
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i] >= 'A' && text[i] <= 'Z' ? static_cast<char>(text[i] + 32) : text[i];
        if (c != lower[i]) return false;
    }
    return true;
}

bool parses(const DataType& type, std::string_view text) {
    int64_t integer = 0;
    int32_t day = 0;
    double number = 0;
    bool truth = false;
    Int128 wide = 0;
    switch (type.id) {
        case TypeId::Int64:
            return parse_integer(text, integer);
        case TypeId::Float64:
            return parse_double(text, number);
        case TypeId::Bool:
            return parse_boolean(text, truth);
        case TypeId::Date:
            return parse_day(text, day);
        case TypeId::Timestamp:
            return parse_timestamp(text, integer);
        case TypeId::Decimal:
            return parse_decimal(text, type.precision, type.scale, wide);
        case TypeId::String:
            return utf8_is_valid(text);
        default:
            return false;
    }
}

/// Digits, at most one point, a sign in front.
bool is_plain_number(std::string_view text) {
    take_sign(text);
    size_t points = 0;
    size_t digits = 0;
    for (const char c : text) {
        points += c == '.' ? 1 : 0;
        digits += is_digit(c) ? 1 : 0;
    }
    return digits > 0 && points <= 1 && points + digits == text.size();
}

std::string explain_number(std::string_view what, std::string_view text) {
    const std::string value = shown(text);
    if (text.find(',') != std::string_view::npos) {
        return fmt::format(
            "{} is not {}: write it without thousands separators, with a point before "
            "the fraction",
            value, what);
    }
    return fmt::format("{} is not {}", value, what);
}

}  // namespace

bool parse_double(std::string_view text, double& value) {
    std::string_view digits = text;
    take_sign(digits);
    // from_chars also takes inf and nan, which no contract admits.
    if (digits.empty() ||
        !(is_digit(digits[0]) || (digits[0] == '.' && digits.size() > 1 && is_digit(digits[1])))) {
        return false;
    }
    if (text[0] == '+') text.remove_prefix(1);
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    return error == std::errc{} && stop == end;
}

bool parse_boolean(std::string_view text, bool& value) {
    if (text.size() == 1) {
        switch (text[0]) {
            case '1':
            case 't':
            case 'T':
            case 'y':
            case 'Y':
                value = true;
                return true;
            case '0':
            case 'f':
            case 'F':
            case 'n':
            case 'N':
                value = false;
                return true;
            default:
                return false;
        }
    }
    if (equals_folded(text, "true") || equals_folded(text, "yes")) {
        value = true;
        return true;
    }
    if (equals_folded(text, "false") || equals_folded(text, "no")) {
        value = false;
        return true;
    }
    return false;
}

std::string explain(const DataType& type, std::string_view text) {
    if (type.id == TypeId::String) {
        const size_t good = utf8_valid_prefix(text);
        return good == text.size() ? "it is text"
                                   : fmt::format("byte {} (0x{:02X}) is not valid UTF-8", good + 1,
                                                 static_cast<unsigned char>(text[good]));
    }
    if (text.empty()) return "an empty text is no value of this type";
    const std::string_view bare = trimmed(text);
    if (bare.size() != text.size() && parses(type, bare)) {
        return fmt::format("{} has spaces around it; the transform trim removes them", shown(text));
    }
    switch (type.id) {
        case TypeId::Int64: {
            std::string_view digits = text;
            take_sign(digits);
            if (!digits.empty() &&
                digits.find_first_not_of("0123456789") == std::string_view::npos) {
                return fmt::format("{} is outside the range of a 64-bit integer", shown(text));
            }
            return explain_number("an integer", text);
        }
        case TypeId::Float64: {
            std::string_view digits = text;
            take_sign(digits);
            if (equals_folded(digits, "nan") || equals_folded(digits, "inf") ||
                equals_folded(digits, "infinity")) {
                return fmt::format("{} is not a finite number", shown(text));
            }
            double value = 0;
            const auto [stop, error] =
                std::from_chars(digits.data(), digits.data() + digits.size(), value);
            if (error == std::errc::result_out_of_range && stop == digits.data() + digits.size()) {
                return fmt::format("{} is outside the range of a double", shown(text));
            }
            return explain_number("a number", text);
        }
        case TypeId::Decimal: {
            const std::string what = fmt::format("a decimal({},{})", type.precision, type.scale);
            if (!is_plain_number(text)) return explain_number(what, text);
            const size_t point = text.find('.');
            const std::string_view fraction =
                point == std::string_view::npos ? std::string_view{} : text.substr(point + 1);
            const size_t last = fraction.find_last_not_of('0');
            if (last != std::string_view::npos && static_cast<int>(last) >= type.scale) {
                return fmt::format("{} has {} digit{} after the point, {} has room for {}",
                                   shown(text), last + 1, last == 0 ? "" : "s", what, type.scale);
            }
            return fmt::format("{} has too many digits before the point, {} has room for {}",
                               shown(text), what, type.precision - type.scale);
        }
        case TypeId::Bool:
            return fmt::format("{} is not a boolean: true, false, t, f, yes, no, y, n, 1 or 0",
                               shown(text));
        case TypeId::Date: {
            int64_t micros = 0;
            if (text.size() > 10 && parse_timestamp(text, micros)) {
                return fmt::format("{} has a time; the type timestamp takes it", shown(text));
            }
            return fmt::format("{} is not a day of the calendar written YYYY-MM-DD", shown(text));
        }
        case TypeId::Timestamp:
            return fmt::format(
                "{} is not a time written YYYY-MM-DDTHH:MM:SS, with a fraction of at most "
                "six digits and Z or an offset like +02:00 if wanted",
                shown(text));
        default:
            return fmt::format("a contract has no type {}", delta_type_name(type));
    }
}

std::string cut_text(std::string_view text, size_t limit) {
    if (text.size() > limit) {
        size_t end = limit;
        while (end > 0 && limit - end < 3 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
            --end;
        text = text.substr(0, end);
    }
    if (utf8_is_valid(text)) return std::string(text);
    std::string clean = utf8_sanitize(text);
    if (clean.size() > limit) {
        size_t end = limit;
        while (end > 0 && (static_cast<unsigned char>(clean[end]) & 0xC0) == 0x80) --end;
        clean.resize(end);
    }
    return clean;
}

std::string shown(std::string_view text) {
    constexpr size_t kLimit = 60;
    std::string value = "'";
    for (const char c : cut_text(text, kLimit)) {
        switch (c) {
            case '\n':
                value += "\\n";
                break;
            case '\r':
                value += "\\r";
                break;
            case '\t':
                value += "\\t";
                break;
            default:
                if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
                    value += fmt::format("\\x{:02X}", static_cast<unsigned char>(c));
                } else {
                    value += c;
                }
        }
    }
    value += text.size() > kLimit ? "…'" : "'";
    return value;
}

bool is_space(char32_t c) {
    return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000 || c == 0xFEFF;
}

std::string_view trimmed(std::string_view text) {
    const auto plain = [](char c) { return c > 0x20 && c != 0x7F; };
    if (text.empty() || (plain(text.front()) && plain(text.back()))) return text;
    if (!utf8_is_valid(text)) return text;
    size_t begin = 0;
    while (begin < text.size()) {
        size_t next = begin;
        if (!is_space(utf8_next(text, next))) break;
        begin = next;
    }
    size_t end = text.size();
    while (end > begin) {
        size_t last = end - 1;
        while (last > begin && (static_cast<unsigned char>(text[last]) & 0xC0) == 0x80) --last;
        size_t next = last;
        if (!is_space(utf8_next(text, next))) break;
        end = last;
    }
    return text.substr(begin, end - begin);
}

}  // namespace px::contract
