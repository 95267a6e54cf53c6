// The grammar of numbers and times as inline functions, for the validator's loops. Pure; any
// thread. Specification: docs/formats/contract.md.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

#include "columnar/record_batch.h"

namespace px::contract {

using columnar::Int128;

namespace parse_detail {

inline bool is_digit(char c) { return static_cast<unsigned char>(c - '0') < 10; }

inline uint64_t load_64(const char* from) {
    uint64_t word;
    std::memcpy(&word, from, 8);
    return word;
}

inline uint64_t load_32(const char* from) {
    uint32_t word;
    std::memcpy(&word, from, 4);
    return word;
}

/// 1 to 8 characters as a little-endian word of 8, '0' put in front.
inline uint64_t load_padded(const char* from, size_t size) {
    if (size == 8) return load_64(from);
    uint64_t word = 0;
    if (size >= 4) {
        word = load_32(from) | load_32(from + size - 4) << (size - 4) * 8;
    } else {
        word = static_cast<unsigned char>(from[0]) |
               uint64_t{static_cast<unsigned char>(from[size / 2])} << size / 2 * 8 |
               uint64_t{static_cast<unsigned char>(from[size - 1])} << (size - 1) * 8;
    }
    return word << (8 - size) * 8 | 0x3030303030303030ULL >> size * 8;
}

/// As load_padded, without a branch on the size; the 8 bytes before the end must be readable.
inline uint64_t load_before(const char* end, size_t size) {
    const uint64_t text = ~uint64_t{0} << (8 - size) * 8;
    return (load_64(end - 8) & text) | (0x3030303030303030ULL & ~text);
}

template <bool kReadable>
inline uint64_t load_digits(const char* from, size_t size) {
    if constexpr (kReadable) return load_before(from + size, size);
    return load_padded(from, size);
}

/// True if the eight characters of a little-endian word are digits.
inline bool eight_digits(uint64_t word) {
    return ((word & 0xF0F0F0F0F0F0F0F0ULL) |
            (((word + 0x0606060606060606ULL) & 0xF0F0F0F0F0F0F0F0ULL) >> 4)) ==
           0x3333333333333333ULL;
}

inline uint64_t eight_digits_value(uint64_t word) {
    word -= 0x3030303030303030ULL;
    word = word * 10 + (word >> 8);  // pairs in every other byte
    return ((word & 0x000000FF000000FFULL) * 0x000F424000000064ULL +
            ((word >> 16) & 0x000000FF000000FFULL) * 0x0000271000000001ULL) >>
           32;
}

/// Removes a sign; true if it was minus.
inline bool take_sign(std::string_view& text) {
    if (text.empty() || (text[0] != '-' && text[0] != '+')) return false;
    const bool negative = text[0] == '-';
    text.remove_prefix(1);
    return negative;
}

/// Two digits, or -1.
inline int two_digits(const char* from) {
    const auto tens = static_cast<unsigned>(static_cast<unsigned char>(from[0])) - '0';
    const auto ones = static_cast<unsigned>(static_cast<unsigned char>(from[1])) - '0';
    return tens > 9 || ones > 9 ? -1 : static_cast<int>(tens * 10 + ones);
}

inline constexpr uint8_t kMonthDays[13] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
inline constexpr uint16_t kDaysBeforeMonth[13] = {0,   0,   31,  59,  90,  120, 151,
                                                  181, 212, 243, 273, 304, 334};
inline constexpr uint64_t kPowersOfTen[19] = {1,
                                              10,
                                              100,
                                              1'000,
                                              10'000,
                                              100'000,
                                              1'000'000,
                                              10'000'000,
                                              100'000'000,
                                              1'000'000'000,
                                              10'000'000'000,
                                              100'000'000'000,
                                              1'000'000'000'000,
                                              10'000'000'000'000,
                                              100'000'000'000'000,
                                              1'000'000'000'000'000,
                                              10'000'000'000'000'000,
                                              100'000'000'000'000'000,
                                              1'000'000'000'000'000'000};

/// YYYY-MM-DD at ten characters.
[[gnu::always_inline]] inline bool parse_ten(const char* text, int32_t& days) {
    const uint64_t front = load_64(text);
    uint16_t back;
    std::memcpy(&back, text + 8, 2);
    uint64_t digits =
        (front & 0xFFFFFFFFULL) | (front >> 40 & 0xFFFFULL) << 32 | uint64_t{back} << 48;
    if (!eight_digits(digits) || (front & 0xFF0000FF00000000ULL) != 0x2D00002D00000000ULL)
        return false;
    digits -= 0x3030303030303030ULL;
    digits = digits * 10 + (digits >> 8);  // pairs in every other byte
    const auto century = static_cast<int>(digits & 0xFF);
    const auto rest = static_cast<int>(digits >> 16 & 0xFF);
    const auto month = static_cast<int>(digits >> 32 & 0xFF);
    const auto day = static_cast<int>(digits >> 48 & 0xFF);
    const int year = century * 100 + rest;
    const bool leap = rest % 4 == 0 && (rest != 0 || century % 4 == 0);
    if (year < 1 || month < 1 || month > 12 || day < 1 ||
        day > kMonthDays[month] + (leap && month == 2 ? 1 : 0)) {
        return false;
    }
    const int before = year - 1;
    const int centuries = before / 100;
    constexpr int kDaysTo1970 = 719'162;  // from 0001-01-01
    days = before * 365 + before / 4 - centuries + centuries / 4 + kDaysBeforeMonth[month] +
           (leap && month > 2 ? 1 : 0) + day - 1 - kDaysTo1970;
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
    while (at < integer_end && is_digit(*at)) {
        number = number * 10 + static_cast<unsigned>(*at++ - '0');
    }
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

}  // namespace parse_detail

// kReadable: the 8 bytes before the text and those behind it belong to the same memory, so that no
// branch depends on its size.

template <bool kReadable = false>
[[gnu::always_inline]] inline bool parse_integer(std::string_view text, int64_t& value) {
    using namespace parse_detail;
    const bool negative = take_sign(text);
    if (text.empty()) return false;
    uint64_t number = 0;
    if (text.size() <= 8) {
        const uint64_t word = load_digits<kReadable>(text.data(), text.size());
        if (!eight_digits(word)) return false;
        number = eight_digits_value(word);
    } else if (text.size() <= 16) {
        const uint64_t high = load_digits<kReadable>(text.data(), text.size() - 8);
        const uint64_t low = load_64(text.data() + text.size() - 8);
        if (!eight_digits(high) || !eight_digits(low)) return false;
        number = eight_digits_value(high) * 100'000'000 + eight_digits_value(low);
    } else {
        const uint64_t limit =
            static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) + negative;
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

/// Days since 1970-01-01.
inline bool parse_day(std::string_view text, int32_t& value) {
    return text.size() == 10 && parse_detail::parse_ten(text.data(), value);
}

/// Microseconds since 1970-01-01T00:00:00Z.
inline bool parse_timestamp(std::string_view text, int64_t& value) {
    using namespace parse_detail;
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
            if ((text[0] != '+' && text[0] != '-') || text.size() != 6 || text[3] != ':')
                return false;
            const int zone_hour = two_digits(text.data() + 1);
            const int zone_minute = two_digits(text.data() + 4);
            if (zone_hour < 0 || zone_hour > 15 || zone_minute < 0 || zone_minute > 59)
                return false;
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

/// Unscaled. precision <= 18.
template <bool kReadable = false>
inline bool parse_decimal(std::string_view text, int precision, int scale, int64_t& value) {
    using namespace parse_detail;
    // Nearly every decimal has no fraction, or one of the full scale: both parts are read eight
    // digits at once.
    std::string_view digits = text;
    const bool negative = take_sign(digits);
    const auto places = static_cast<size_t>(scale);
    if (scale >= 1 && scale <= 8 && digits.size() > places + 1 && digits.size() <= places + 9 &&
        digits[digits.size() - places - 1] == '.') {
        const size_t integer_size = digits.size() - places - 1;
        const uint64_t integer = load_digits<kReadable>(digits.data(), integer_size);
        const uint64_t fraction = load_digits<kReadable>(digits.data() + integer_size + 1, places);
        if (static_cast<int>(integer_size) <= precision - scale && eight_digits(integer) &&
            eight_digits(fraction)) {
            const auto number = static_cast<int64_t>(
                eight_digits_value(integer) * kPowersOfTen[scale] + eight_digits_value(fraction));
            value = negative ? -number : number;
            return true;
        }
    }
    return parse_decimal_as<uint64_t>(text, precision, scale, value);
}

/// Unscaled. Any precision.
inline bool parse_decimal(std::string_view text, int precision, int scale, Int128& value) {
    return parse_detail::parse_decimal_as<columnar::UInt128>(text, precision, scale, value);
}

}  // namespace px::contract
