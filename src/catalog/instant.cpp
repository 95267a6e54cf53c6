#include "catalog/instant.h"

#include <fmt/format.h>

#include <charconv>

namespace px::catalog {
std::string instant_text(TimestampMicros micros) {
    return micros >= kTextMin && micros <= kTextMax ? format_timestamp(micros)
                                                    : std::to_string(micros);
}

Result<TimestampMicros> parse_instant(std::string_view text) {
    auto corrupt = [&] {
        return fail(ErrorCode::Corrupt,
                    fmt::format("the catalog holds the instant \"{}\"", text.substr(0, 40)),
                    "restore the catalog from a backup");
    };
    auto number = [](std::string_view digits, int64_t& value) {
        auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        return error == std::errc() && end == digits.data() + digits.size();
    };
    int64_t value = 0;
    if (text.size() != 27 || text[10] != 'T') {
        if (!number(text, value)) return corrupt();
        return value;
    }
    int64_t hour = 0, minute = 0, second = 0, micros = 0;
    Result<int32_t> day = parse_date(text.substr(0, 10));
    if (!day || !number(text.substr(11, 2), hour) || !number(text.substr(14, 2), minute) ||
        !number(text.substr(17, 2), second) || !number(text.substr(20, 6), micros) ||
        text[26] != 'Z') {
        return corrupt();
    }
    return ((static_cast<int64_t>(*day) * 24 + hour) * 60 + minute) * 60'000'000 +
           second * 1'000'000 + micros;
}

}  // namespace px::catalog
