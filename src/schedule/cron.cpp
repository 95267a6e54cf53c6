#include "schedule/cron.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

#include "base/clock.h"

namespace px::schedule {

namespace {

constexpr int64_t kMinutesOfDay = 1'440;
constexpr int64_t kDaysAhead = 366 * 9;

struct FieldRule {
    std::string_view name;
    int position;
    int min;
    int max;
    std::vector<std::string_view> names;  // from min on
};

Error bad(const FieldRule& rule, std::string_view part) {
    return fail(
        ErrorCode::InvalidArgument,
        fmt::format("'{}' in field {} of the schedule is no {}", part.substr(0, 40), rule.position,
                    rule.name),
        fmt::format("Use {} to {}, *, ranges (1-5), lists (1,3) and steps (*/2){}", rule.min,
                    rule.max, rule.names.empty() ? "" : ", or the first three letters of names"));
}

Result<int> value_of(const FieldRule& rule, std::string_view text) {
    std::string lower(text);
    for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    for (size_t i = 0; i < rule.names.size(); ++i) {
        if (lower == rule.names[i]) return rule.min + static_cast<int>(i);
    }
    int value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc() || end != text.data() + text.size() || value < rule.min ||
        value > rule.max)
        return bad(rule, text);
    return value;
}

/// True: a plain * is among the parts.
template <size_t N>
Result<bool> parse_field(const FieldRule& rule, std::string_view text, std::bitset<N>& out) {
    bool any = false;
    size_t begin = 0;
    while (begin <= text.size()) {
        const size_t comma = std::min(text.find(',', begin), text.size());
        const std::string_view part = text.substr(begin, comma - begin);
        begin = comma + 1;
        if (rule.max == 31 && (part == "L" || part == "l")) {
            out.set(0);
            continue;
        }
        const size_t slash = part.find('/');
        const std::string_view range = part.substr(0, slash);
        int step = 1;
        if (slash != std::string_view::npos) {
            const std::string_view digits = part.substr(slash + 1);
            const auto [end, code] =
                std::from_chars(digits.data(), digits.data() + digits.size(), step);
            if (code != std::errc() || end != digits.data() + digits.size() || step < 1 ||
                step > rule.max) {
                return bad(rule, part);
            }
        }
        int low = rule.min;
        int high = rule.max;
        if (range == "*") {
            any = any || step == 1;
        } else {
            const size_t dash = range.find('-');
            low = PX_TRY(value_of(rule, range.substr(0, dash)));
            high = dash == std::string_view::npos
                       ? (slash == std::string_view::npos ? low : rule.max)
                       : PX_TRY(value_of(rule, range.substr(dash + 1)));
            // "fri-sun": as an end Sunday is the seventh day.
            if (rule.max == 7 && dash != std::string_view::npos && high == 0 && low > 0) high = 7;
            if (high < low) return bad(rule, part);
        }
        // Sunday is one day, not two: * and 2/3 end on Saturday, 5-7 names it as an end.
        const bool open_end = range.find('-') == std::string_view::npos;
        if (rule.max == 7 && high == 7 && (low == 0 || (open_end && low < 7))) high = 6;
        for (int v = low; v <= high; v += step) out.set(static_cast<size_t>(v) % N);
    }
    return any;
}

struct CivilDay {
    int32_t year, month, day;
};

/// Source: H. Hinnant, chrono-compatible low-level date algorithms.
CivilDay civil_from_days(int64_t days) {
    days += 719'468;
    const int64_t era = (days >= 0 ? days : days - 146'096) / 146'097;
    const int64_t day_of_era = days - era * 146'097;
    const int64_t year_of_era =
        (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
    const int64_t day_of_year =
        day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const int64_t shifted = (5 * day_of_year + 2) / 153;
    const int64_t month = shifted < 10 ? shifted + 3 : shifted - 9;
    return {static_cast<int32_t>(year_of_era + era * 400 + (month <= 2 ? 1 : 0)),
            static_cast<int32_t>(month),
            static_cast<int32_t>(day_of_year - (153 * shifted + 2) / 5 + 1)};
}

}  // namespace

Result<Cron> Cron::parse(std::string_view text) {
    static constexpr std::pair<std::string_view, std::string_view> kNicknames[] = {
        {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},   {"@midnight", "0 0 * * *"},
        {"@weekly", "0 0 * * 0"},  {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
        {"@annually", "0 0 1 1 *"}};
    for (const auto& [nickname, meaning] : kNicknames) {
        if (text == nickname) text = meaning;
    }
    std::vector<std::string_view> fields;
    size_t at = 0;
    while (at < text.size()) {
        const size_t start = text.find_first_not_of(" \t", at);
        if (start == std::string_view::npos) break;
        const size_t end = std::min(text.find_first_of(" \t", start), text.size());
        fields.push_back(text.substr(start, end - start));
        at = end;
    }
    if (fields.size() != 5) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("the schedule '{}' has {} fields, not 5", text.substr(0, 80),
                                fields.size()),
                    "Write minute hour day month weekday, for example 0 1 * * *");
    }
    Cron cron;
    PX_TRY(parse_field({"minute", 1, 0, 59, {}}, fields[0], cron.minutes_));
    PX_TRY(parse_field({"hour", 2, 0, 23, {}}, fields[1], cron.hours_));
    cron.any_day_ = PX_TRY(parse_field({"day", 3, 1, 31, {}}, fields[2], cron.days_));
    PX_TRY(parse_field(
        {"month",
         4,
         1,
         12,
         {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
        fields[3], cron.months_));
    cron.any_weekday_ =
        PX_TRY(parse_field({"weekday", 5, 0, 7, {"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
                           fields[4], cron.weekdays_));
    // A field that lists every value says as little as *, where the other one is made of * too.
    const auto has_star = [](std::string_view field) {
        return field.find('*') != std::string_view::npos;
    };
    cron.any_day_ |= has_star(fields[4]) && (cron.days_ >> 1).count() == 31;
    cron.any_weekday_ |= has_star(fields[2]) && cron.weekdays_.all();
    cron.follows_elapsed_time_ = fields[0].find_first_of("*/") != std::string_view::npos ||
                                 fields[1].find_first_of("*/") != std::string_view::npos;
    return cron;
}

bool Cron::matches_day(int64_t day) const {
    const CivilDay date = civil_from_days(day);
    if (!months_.test(static_cast<size_t>(date.month))) return false;
    const bool day_matches = days_.test(static_cast<size_t>(date.day)) ||
                             (days_.test(0) && civil_from_days(day + 1).day == 1);
    // 1970-01-01 was a Thursday.
    const bool weekday_matches = weekdays_.test(static_cast<size_t>(((day + 4) % 7 + 7) % 7));
    if (any_day_) return weekday_matches || any_weekday_;
    if (any_weekday_) return day_matches;
    return day_matches || weekday_matches;
}

std::optional<LocalMinute> Cron::next_at_or_after(LocalMinute from) const {
    int64_t day = from >= 0 ? from / kMinutesOfDay : -((-from + kMinutesOfDay - 1) / kMinutesOfDay);
    int64_t minute = from - day * kMinutesOfDay;
    for (const int64_t last = day + kDaysAhead; day <= last; ++day, minute = 0) {
        if (!matches_day(day)) continue;
        for (; minute < kMinutesOfDay; ++minute) {
            if (!hours_.test(static_cast<size_t>(minute / 60))) {
                minute = (minute / 60 + 1) * 60 - 1;
                continue;
            }
            if (minutes_.test(static_cast<size_t>(minute % 60)))
                return day * kMinutesOfDay + minute;
        }
    }
    return std::nullopt;
}

}  // namespace px::schedule
