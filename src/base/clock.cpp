#include "base/clock.h"

#include <fmt/format.h>

namespace px {

namespace {

struct CivilDate {
    int32_t year;
    int32_t month;
    int32_t day;
};

CivilDate civil_from_days(int64_t days) {
    days += 719468;
    const int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    const int64_t day_of_era = days - era * 146097;
    const int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const int64_t day_of_year =
        day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const int64_t shifted_month = (5 * day_of_year + 2) / 153;
    const int64_t day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    const int64_t month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
    const int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
    return {static_cast<int32_t>(year), static_cast<int32_t>(month), static_cast<int32_t>(day)};
}

}  // namespace

TimestampMicros SystemClock::now() const {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

int32_t days_from_civil(int32_t year, int32_t month, int32_t day) {
    const int32_t y = month <= 2 ? year - 1 : year;
    const int32_t era = (y >= 0 ? y : y - 399) / 400;
    const int32_t year_of_era = y - era * 400;
    const int32_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    const int32_t day_of_era =
        year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

std::string format_timestamp(TimestampMicros micros) {
    constexpr int64_t kDay = 86'400'000'000;
    int64_t days = micros / kDay;
    int64_t rest = micros % kDay;
    if (rest < 0) {
        rest += kDay;
        --days;
    }
    const CivilDate date = civil_from_days(days);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", date.year, date.month,
                       date.day, rest / 3'600'000'000, rest / 60'000'000 % 60,
                       rest / 1'000'000 % 60, rest % 1'000'000);
}

std::string format_date(int32_t days_since_epoch) {
    const CivilDate date = civil_from_days(days_since_epoch);
    return fmt::format("{:04}-{:02}-{:02}", date.year, date.month, date.day);
}

Result<int32_t> parse_date(std::string_view text) {
    const auto bad = [&] {
        return fail(ErrorCode::InvalidArgument, fmt::format("'{}' is not a date", text),
                    "Write it as YYYY-MM-DD, for example 2026-11-23");
    };
    if (text.size() != 10 || text[4] != '-' || text[7] != '-') return bad();
    int32_t parts[3] = {0, 0, 0};
    constexpr size_t kStart[3] = {0, 5, 8};
    constexpr size_t kLength[3] = {4, 2, 2};
    for (size_t p = 0; p < 3; ++p) {
        for (char c : text.substr(kStart[p], kLength[p])) {
            if (c < '0' || c > '9') return bad();
            parts[p] = parts[p] * 10 + (c - '0');
        }
    }
    if (parts[1] < 1 || parts[1] > 12 || parts[2] < 1) return bad();
    const int32_t days = days_from_civil(parts[0], parts[1], parts[2]);
    const CivilDate back = civil_from_days(days);
    if (back.year != parts[0] || back.month != parts[1] || back.day != parts[2]) return bad();
    return days;
}

Result<void> Deadline::check() const {
    if (stop.stop_requested()) return fail(ErrorCode::Cancelled, "the operation was cancelled");
    if (std::chrono::steady_clock::now() >= at) {
        return fail(ErrorCode::DeadlineExceeded, "the operation took longer than its time limit",
                    "Raise the limit in the configuration, or ask for less");
    }
    return {};
}

}  // namespace px
