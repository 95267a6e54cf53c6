#include "columnar/statistics.h"

#include <fmt/format.h>

#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <cmath>

#include "base/clock.h"
#include "base/utf8.h"

namespace px::columnar {

namespace {

constexpr size_t kTextKept = 132;  // room for 32 code points of 4 bytes, and one more
constexpr size_t kCodePointsKept = 32;
constexpr size_t kBinaryKept = 64;

struct Cut {
    std::string text;
    bool exact = true;
    bool known = true;
};

/// The first 32 code points of well-formed text; `longer`: text is itself only a prefix.
Cut cut_least_text(std::string_view text, bool longer) {
    size_t end = 0;
    for (size_t points = 0; points < kCodePointsKept && end < text.size(); ++points) {
        utf8_next(text, end);
    }
    return {std::string(text.substr(0, end)), end == text.size() && !longer};
}

/// As above, but with the last code point that can be raised raised by one if anything was cut.
Cut cut_greatest_text(std::string_view text, bool longer) {
    Cut cut = cut_least_text(text, longer);
    if (cut.exact) return cut;
    while (!cut.text.empty()) {
        size_t last = cut.text.size() - 1;
        while (last > 0 && (static_cast<unsigned char>(cut.text[last]) & 0xC0) == 0x80) --last;
        size_t offset = last;
        char32_t code_point = utf8_next(cut.text, offset);
        cut.text.resize(last);
        if (code_point < 0x10FFFF) {
            ++code_point;
            if (code_point == 0xD800) code_point = 0xE000;
            utf8_append(cut.text, code_point);
            return cut;
        }
    }
    cut.known = false;
    return cut;
}

Cut cut_least_bytes(std::string_view bytes, bool longer) {
    return {std::string(bytes.substr(0, kBinaryKept)), !longer && bytes.size() <= kBinaryKept};
}

Cut cut_greatest_bytes(std::string_view bytes, bool longer) {
    Cut cut = cut_least_bytes(bytes, longer);
    if (cut.exact) return cut;
    while (!cut.text.empty()) {
        const auto last = static_cast<unsigned char>(cut.text.back());
        cut.text.pop_back();
        if (last < 0xFF) {
            cut.text.push_back(static_cast<char>(last + 1));
            return cut;
        }
    }
    cut.known = false;
    return cut;
}

/// True if text is well-formed, but perhaps for a sequence the end of a prefix cut through.
bool is_text(std::string_view text, bool longer) {
    const size_t good = utf8_valid_prefix(text);
    return good == text.size() || (longer && text.size() - good < 4);
}

template <class T>
std::string little_endian(T value) {
    std::string bytes(sizeof value, '\0');
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
}

std::string encode_integer(const DataType& type, Int128 value) {
    if (type.id == TypeId::Bool) return std::string(1, static_cast<char>(value));
    if (type.id == TypeId::Decimal && type.precision > 18) {
        std::string bytes = little_endian(value);
        return {bytes.rbegin(), bytes.rend()};
    }
    const bool narrow = type.id == TypeId::Int32 || type.id == TypeId::Date ||
                        (type.id == TypeId::Decimal && type.precision <= 9);
    return narrow ? little_endian(static_cast<int32_t>(value))
                  : little_endian(static_cast<int64_t>(value));
}

std::string encode_double(const DataType& type, double value) {
    return type.id == TypeId::Float32 ? little_endian(static_cast<float>(value))
                                      : little_endian(value);
}

std::string json_text(std::string_view text) {
    return boost::json::serialize(boost::json::string_view(text.data(), text.size()));
}

constexpr int64_t kMicrosPerDay = 86'400'000'000;

std::optional<std::string> integer_json(const DataType& type, Int128 value) {
    static const int32_t kFirstDay = days_from_civil(1, 1, 1);
    static const int32_t kLastDay = days_from_civil(9999, 12, 31);
    switch (type.id) {
        case TypeId::Int32:
        case TypeId::Int64:
            return fmt::format("{}", static_cast<int64_t>(value));
        case TypeId::Decimal:
            return format_decimal(value, type.scale);
        case TypeId::Date:
            if (value < kFirstDay || value > kLastDay) return std::nullopt;
            return json_text(format_date(static_cast<int32_t>(value)));
        case TypeId::Timestamp:
            if (value < kFirstDay * kMicrosPerDay || value >= (kLastDay + 1) * kMicrosPerDay) {
                return std::nullopt;
            }
            return json_text(format_timestamp(static_cast<int64_t>(value)));
        default:
            return std::nullopt;
    }
}

std::optional<std::string> double_json(double value) {
    if (!std::isfinite(value)) return std::nullopt;
    return fmt::format("{}", value);
}

}  // namespace

void Extremes::add_integers(Int128 least, Int128 greatest) {
    if (!any_ || least < least_integer_) least_integer_ = least;
    if (!any_ || greatest > greatest_integer_) greatest_integer_ = greatest;
    any_ = true;
}

void Extremes::add_doubles(double least, double greatest) {
    if (!any_ || least < least_double_) least_double_ = least;
    if (!any_ || greatest > greatest_double_) greatest_double_ = greatest;
    any_ = true;
}

void Extremes::add_text_slow(std::string_view text, uint64_t prefix) {
    const bool cut = text.size() > kTextKept;
    if (cut) text = text.substr(0, kTextKept);
    if (!any_ || text < least_text_) {
        least_text_ = text;
        least_cut_ = cut;
        least_prefix_ = prefix;
    } else if (text == least_text_) {
        least_cut_ = least_cut_ || cut;
    }
    if (!any_ || text > greatest_text_) {
        greatest_text_ = text;
        greatest_cut_ = cut;
        greatest_prefix_ = prefix;
    } else if (text == greatest_text_) {
        greatest_cut_ = greatest_cut_ || cut;
    }
    any_ = true;
}

void Extremes::merge(const Extremes& other) {
    nan_ = nan_ || other.nan_;
    if (!other.any_) return;
    if (!any_) {
        const bool nan = nan_;
        *this = other;
        nan_ = nan;
        return;
    }
    add_integers(other.least_integer_, other.greatest_integer_);
    add_doubles(other.least_double_, other.greatest_double_);
    add_text_slow(other.least_text_, other.least_prefix_);
    add_text_slow(other.greatest_text_, other.greatest_prefix_);
    if (least_text_ == other.least_text_) least_cut_ = least_cut_ || other.least_cut_;
    if (greatest_text_ == other.greatest_text_)
        greatest_cut_ = greatest_cut_ || other.greatest_cut_;
}

Extremes::Encoded Extremes::encode(const DataType& type) const {
    Encoded encoded;
    if (!any_ || nan_) return encoded;
    const auto take = [&](const Cut& least, const Cut& greatest) {
        encoded.min_value = least.text;
        encoded.min_exact = least.exact;
        if (greatest.known) encoded.max_value = greatest.text;
        encoded.max_exact = greatest.exact;
    };
    switch (type.id) {
        case TypeId::FloatList:
            break;
        case TypeId::Float32:
        case TypeId::Float64:
            // The format wants a zero to be -0 as the least, +0 as the greatest.
            encoded.min_value = encode_double(type, least_double_ == 0 ? -0.0 : least_double_);
            encoded.max_value = encode_double(type, greatest_double_ == 0 ? 0.0 : greatest_double_);
            break;
        case TypeId::String:
            if (is_text(least_text_, least_cut_) && is_text(greatest_text_, greatest_cut_)) {
                take(cut_least_text(least_text_, least_cut_),
                     cut_greatest_text(greatest_text_, greatest_cut_));
                break;
            }
            [[fallthrough]];
        case TypeId::Binary:
            take(cut_least_bytes(least_text_, least_cut_),
                 cut_greatest_bytes(greatest_text_, greatest_cut_));
            break;
        default:
            encoded.min_value = encode_integer(type, least_integer_);
            encoded.max_value = encode_integer(type, greatest_integer_);
            break;
    }
    return encoded;
}

void Extremes::to_json(const DataType& type, ColumnStatistics& statistics) const {
    statistics.min_json.reset();
    statistics.max_json.reset();
    if (!any_ || nan_) return;
    switch (type.id) {
        case TypeId::Bool:
        case TypeId::Binary:
        case TypeId::FloatList:
            break;
        case TypeId::Float32:
        case TypeId::Float64:
            statistics.min_json = double_json(least_double_);
            statistics.max_json = double_json(greatest_double_);
            break;
        case TypeId::String:
            if (is_text(least_text_, least_cut_)) {
                statistics.min_json = json_text(cut_least_text(least_text_, least_cut_).text);
            }
            if (is_text(greatest_text_, greatest_cut_)) {
                const Cut greatest = cut_greatest_text(greatest_text_, greatest_cut_);
                if (greatest.known) statistics.max_json = json_text(greatest.text);
            }
            break;
        default:
            statistics.min_json = integer_json(type, least_integer_);
            statistics.max_json = integer_json(type, greatest_integer_);
            break;
    }
}

}  // namespace px::columnar
