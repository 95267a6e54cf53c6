#include "schedule/cron.h"

#include <fmt/format.h>

#include <charconv>
#include <string>
#include <vector>

namespace px::schedule {

namespace {

constexpr int64_t kMinute = 60'000'000;
constexpr int64_t kDay = 1'440 * kMinute;

struct FieldRule {
    std::string_view name;
    int min;
    int max;
    std::vector<std::string_view> names;  // from min on
};

Error bad(const FieldRule& rule, std::string_view part) {
    return fail(ErrorCode::InvalidArgument,
                fmt::format("'{}' is no {} of a schedule", part, rule.name),
                fmt::format("Use {} to {}, *, ranges (1-5), lists (1,3) and steps (*/2)", rule.min,
                            rule.max));
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

template <size_t N>
Result<bool> parse_field(const FieldRule& rule, std::string_view text, std::bitset<N>& out) {
    bool any = false;
    size_t begin = 0;
    while (begin <= text.size()) {
        const size_t comma = std::min(text.find(',', begin), text.size());
        const std::string_view part = text.substr(begin, comma - begin);
        begin = comma + 1;
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
            if (high < low) return bad(rule, part);
        }
        for (int v = low; v <= high; v += step) out.set(static_cast<size_t>(v) % N);
    }
    return any;
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
                    fmt::format("the schedule '{}' has {} fields, not 5", text, fields.size()),
                    "Write minute hour day month weekday, for example 0 1 * * *");
    }
    Cron cron;
    PX_TRY(parse_field({"minute", 0, 59, {}}, fields[0], cron.minutes_));
    PX_TRY(parse_field({"hour", 0, 23, {}}, fields[1], cron.hours_));
    cron.any_day_ = PX_TRY(parse_field({"day", 1, 31, {}}, fields[2], cron.days_));
    PX_TRY(parse_field(
        {"month",
         1,
         12,
         {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
        fields[3], cron.months_));
    cron.any_weekday_ =
        PX_TRY(parse_field({"weekday", 0, 7, {"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
                           fields[4], cron.weekdays_));
    return cron;
}

Result<TimestampMicros> Cron::next_after(TimestampMicros after) const {
    int64_t minute = after >= 0 ? after / kMinute : -((-after + kMinute - 1) / kMinute);
    ++minute;
    for (int day_count = 0; day_count < 366 * 8; ++day_count) {
        const int64_t day = minute >= 0 ? minute / 1'440 : -((-minute + 1'439) / 1'440);
        const std::string date = format_timestamp(day * kDay);
        const auto month = static_cast<size_t>(std::stoi(date.substr(5, 2)));
        const auto month_day = static_cast<size_t>(std::stoi(date.substr(8, 2)));
        const auto weekday =
            static_cast<size_t>(((day + 4) % 7 + 7) % 7);  // 1970-01-01 was a Thursday
        const bool day_matches = days_.test(month_day);
        const bool weekday_matches = weekdays_.test(weekday);
        const bool matches = any_day_ || any_weekday_ ? day_matches && weekday_matches
                                                      : day_matches || weekday_matches;
        if (months_.test(month) && matches) {
            for (int64_t m = minute - day * 1'440; m < 1'440; ++m) {
                if (hours_.test(static_cast<size_t>(m / 60)) &&
                    minutes_.test(static_cast<size_t>(m % 60))) {
                    return (day * 1'440 + m) * kMinute;
                }
            }
        }
        minute = (day + 1) * 1'440;
    }
    return fail(ErrorCode::NotFound, "the schedule is never due", "Check day and month");
}

}  // namespace px::schedule
