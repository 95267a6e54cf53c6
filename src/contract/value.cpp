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
using columnar::UInt128;

namespace {

bool is_digit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

uint64_t load_64(const char* from) {
    uint64_t word;
    std::memcpy(&word, from, 8);
    return word;
}

/// True if the eight characters of a little-endian word are digits.
bool eight_digits(uint64_t word) {
    return ((word & 0xF0F0F0F0F0F0F0F0ULL) |
            (((word + 0x0606060606060606ULL) & 0xF0F0F0F0F0F0F0F0ULL) >> 4)) ==
           0x3333333333333333ULL;
}

uint64_t eight_digits_value(uint64_t word) {
    word -= 0x3030303030303030ULL;
    word = word * 10 + (word >> 8);  // pairs in every other byte
    word = ((word & 0x000000FF000000FFULL) * 0x000F424000000064ULL +
            ((word >> 16) & 0x000000FF000000FFULL) * 0x0000271000000001ULL) >>
           32;
    return word;
}

/// Removes a sign; true if it was minus.
bool take_sign(std::string_view& text) {
    if (text.empty() || (text[0] != '-' && text[0] != '+')) return false;
    const bool negative = text[0] == '-';
    text.remove_prefix(1);
    return negative;
}

/// Two digits, or -1.
int two_digits(const char* from) {
    const auto tens = static_cast<unsigned>(static_cast<unsigned char>(from[0])) - '0';
    const auto ones = static_cast<unsigned>(static_cast<unsigned char>(from[1])) - '0';
    return tens > 9 || ones > 9 ? -1 : static_cast<int>(tens * 10 + ones);
}

constexpr uint8_t kMonthDays[13] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

/// YYYY-MM-DD at ten characters.
bool parse_ten(const char* text, int32_t& days) {
    const int century = two_digits(text);
    const int rest = two_digits(text + 2);
    const int month = two_digits(text + 5);
    const int day = two_digits(text + 8);
    if ((century | rest | month | day) < 0 || text[4] != '-' || text[7] != '-') return false;
    const int year = century * 100 + rest;
    if (year < 1 || month < 1 || month > 12 || day < 1) return false;
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    const int last = month == 2 && leap ? 29 : kMonthDays[month];
    if (day > last) return false;
    days = days_from_civil(year, month, day);
    return true;
}

template <class Unsigned, class Signed>
bool parse_decimal_as(std::string_view text, int precision, int scale, Signed& value) {
    const bool negative = take_sign(text);
    const char* at = text.data();
    const char* const end = at + text.size();
    const char* const start = at;
    Unsigned number = 0;
    while (at < end && *at == '0') ++at;
    const char* const integer_end = at + std::min<ptrdiff_t>(end - at, precision - scale);
    while (at < integer_end && is_digit(*at)) number = number * 10 + static_cast<unsigned>(*at++ - '0');
    bool any = at != start;
    int fraction = 0;
    if (at < end) {
        if (*at != '.') return false;  // a character that is no digit, or one digit too many
        ++at;
        const char* const fraction_begin = at;
        const char* const fraction_end = at + std::min<ptrdiff_t>(end - at, scale);
        while (at < fraction_end && is_digit(*at)) {
            number = number * 10 + static_cast<unsigned>(*at++ - '0');
        }
        fraction = static_cast<int>(at - fraction_begin);
        while (at < end && *at == '0') ++at;  // zeros beyond the scale change nothing
        if (at != end) return false;
        any = any || at != fraction_begin;
    }
    if (!any) return false;
    for (; fraction < scale; ++fraction) number *= 10;
    const auto magnitude = static_cast<Signed>(number);
    value = negative ? -magnitude : magnitude;
    return true;
}

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
        return fmt::format("{} is not {}: write it without thousands separators, with a point before "
                           "the fraction",
                           value, what);
    }
    return fmt::format("{} is not {}", value, what);
}

}  // namespace

bool parse_integer(std::string_view text, int64_t& value) {
    const bool negative = take_sign(text);
    if (text.empty()) return false;
    uint64_t number = 0;
    if (text.size() <= 18) {
        const char* at = text.data();
        size_t left = text.size();
        for (; left >= 8; left -= 8, at += 8) {
            const uint64_t word = load_64(at);
            if (!eight_digits(word)) return false;
            number = number * 100'000'000 + eight_digits_value(word);
        }
        for (; left > 0; --left, ++at) {
            const auto digit = static_cast<unsigned>(static_cast<unsigned char>(*at)) - '0';
            if (digit > 9) return false;
            number = number * 10 + digit;
        }
    } else {
        const uint64_t limit = static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) + negative;
        for (const char c : text) {
            if (!is_digit(c)) return false;
            const auto digit = static_cast<unsigned>(c - '0');
            if (number > (limit - digit) / 10) return false;
            number = number * 10 + digit;
        }
    }
    value = static_cast<int64_t>(negative ? 0 - number : number);
    return true;
}

bool parse_double(std::string_view text, double& value) {
    std::string_view digits = text;
    take_sign(digits);
    // from_chars also takes inf and nan, which no contract admits.
    if (digits.empty() || !(is_digit(digits[0]) ||
                            (digits[0] == '.' && digits.size() > 1 && is_digit(digits[1])))) {
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

bool parse_day(std::string_view text, int32_t& value) {
    return text.size() == 10 && parse_ten(text.data(), value);
}

bool parse_timestamp(std::string_view text, int64_t& value) {
    constexpr int64_t kSecond = 1'000'000;
    constexpr int64_t kMinute = 60 * kSecond;
    constexpr int64_t kHour = 60 * kMinute;
    constexpr int64_t kDay = 24 * kHour;
    int32_t days = 0;
    if (text.size() < 10 || !parse_ten(text.data(), days)) return false;
    int64_t micros = days * kDay;
    text.remove_prefix(10);
    if (text.empty()) {
        value = micros;
        return true;
    }
    if ((text[0] != 'T' && text[0] != ' ') || text.size() < 6 || text[3] != ':') return false;
    const int hour = two_digits(text.data() + 1);
    const int minute = two_digits(text.data() + 4);
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59) return false;
    micros += hour * kHour + minute * kMinute;
    text.remove_prefix(6);
    if (!text.empty() && text[0] == ':') {
        if (text.size() < 3) return false;
        const int second = two_digits(text.data() + 1);
        if (second < 0 || second > 59) return false;
        micros += second * kSecond;
        text.remove_prefix(3);
        if (!text.empty() && text[0] == '.') {
            int64_t unit = kSecond / 10;
            size_t at = 1;
            for (; at < text.size() && is_digit(text[at]); ++at) {
                if (unit == 0) return false;  // a seventh digit
                micros += (text[at] - '0') * unit;
                unit /= 10;
            }
            if (at == 1) return false;
            text.remove_prefix(at);
        }
    }
    if (!text.empty()) {
        if (text[0] == 'Z') {
            if (text.size() != 1) return false;
        } else {
            if ((text[0] != '+' && text[0] != '-') || text.size() != 6 || text[3] != ':') return false;
            const int zone_hour = two_digits(text.data() + 1);
            const int zone_minute = two_digits(text.data() + 4);
            if (zone_hour < 0 || zone_hour > 15 || zone_minute < 0 || zone_minute > 59) return false;
            const int64_t shift = zone_hour * kHour + zone_minute * kMinute;
            micros += text[0] == '-' ? shift : -shift;
            // The first and last hours of the calendar must not leave it by their zone.
            constexpr int64_t kFirst = -62'135'596'800 * kSecond;
            constexpr int64_t kBehindLast = 253'402'300'800 * kSecond;
            if (micros < kFirst || micros >= kBehindLast) return false;
        }
    }
    value = micros;
    return true;
}

bool parse_decimal(std::string_view text, int precision, int scale, int64_t& value) {
    return parse_decimal_as<uint64_t>(text, precision, scale, value);
}

bool parse_decimal(std::string_view text, int precision, int scale, Int128& value) {
    return parse_decimal_as<UInt128>(text, precision, scale, value);
}

std::string explain(const DataType& type, std::string_view text) {
    if (type.id == TypeId::String) {
        const size_t good = utf8_valid_prefix(text);
        return good == text.size()
                   ? "it is text"
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
            if (!digits.empty() && digits.find_first_not_of("0123456789") == std::string_view::npos) {
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
            const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
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
                return fmt::format("{} has {} digit{} after the point, {} has room for {}", shown(text),
                                   last + 1, last == 0 ? "" : "s", what, type.scale);
            }
            return fmt::format("{} has too many digits before the point, {} has room for {}", shown(text), what,
                               type.precision - type.scale);
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
            return fmt::format("{} is not a time written YYYY-MM-DDTHH:MM:SS, with a fraction of at most "
                               "six digits and Z or an offset like +02:00 if wanted",
                               shown(text));
        default:
            return fmt::format("a contract has no type {}", delta_type_name(type));
    }
}

std::string cut_text(std::string_view text, size_t limit) {
    if (text.size() > limit) {
        size_t end = limit;
        while (end > 0 && limit - end < 3 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
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
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
           c == 0x3000 || c == 0xFEFF;
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
