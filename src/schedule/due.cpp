#include "schedule/due.h"

#include <algorithm>

namespace px::schedule {

namespace {

constexpr int64_t kMicros = 1'000'000;
constexpr int64_t kSecondsAhead = int64_t{366} * 9 * 86'400;

int64_t floor_div(int64_t value, int64_t by) {
    return value / by - (value % by != 0 && value < 0 ? 1 : 0);
}
int64_t ceil_div(int64_t value, int64_t by) { return -floor_div(-value, by); }

}  // namespace

Result<DueTimes> DueTimes::parse(const std::string& cron, const std::string& zone) {
    Cron parsed = PX_TRY(Cron::parse(cron).context("schedule.cron"));
    TimeZone loaded =
        PX_TRY(TimeZone::load(zone, TimeZone::default_folder()).context("schedule.timezone"));
    return DueTimes(parsed, std::move(loaded));
}

Result<TimestampMicros> DueTimes::next_after(TimestampMicros after) const {
    const auto never = [] {
        return fail(ErrorCode::NotFound, "the schedule is never due",
                    "Check day and month of schedule.cron");
    };
    const int64_t after_s = floor_div(after, kMicros);
    if (!cron_.follows_elapsed_time()) {
        LocalMinute local = floor_div(after_s + zone_.offset_at(after_s), 60);
        while (true) {
            const std::optional<LocalMinute> next = cron_.next_at_or_after(local);
            if (!next) return never();
            const int64_t instant = zone_.first_instant_of(*next * 60);
            if (instant > after_s) return instant * kMicros;
            local = *next + 1;
        }
    }
    // Stretch by stretch of one offset: within it the clock runs as time does.
    int64_t from_s = after_s + 1;
    while (from_s < after_s + kSecondsAhead) {
        const TimeZone::Segment segment = zone_.segment_at(from_s);
        const std::optional<LocalMinute> next =
            cron_.next_at_or_after(ceil_div(from_s + segment.offset_s, 60));
        if (!next) return never();
        const int64_t instant = *next * 60 - segment.offset_s;
        if (instant < segment.end_s) return instant * kMicros;
        from_s = segment.end_s;
    }
    return never();
}

std::vector<TimestampMicros> DueTimes::between(TimestampMicros after, TimestampMicros until,
                                               size_t count_max) const {
    std::vector<TimestampMicros> all;
    while (all.size() < count_max) {
        const Result<TimestampMicros> next = next_after(after);
        if (!next || *next > until) break;
        all.push_back(*next);
        after = *next;
    }
    return all;
}

std::optional<TimestampMicros> DueTimes::newest(TimestampMicros after,
                                                TimestampMicros until) const {
    for (int64_t back = int64_t{86'400} * kMicros; until > after; back *= 4) {
        const TimestampMicros from = std::max(after, until - std::min(back, until - after));
        std::optional<TimestampMicros> found;
        TimestampMicros at = from;
        for (Result<TimestampMicros> next = next_after(at); next && *next <= until;
             next = next_after(at)) {
            found = *next;
            at = *next;
        }
        if (found || from == after) return found;
    }
    return std::nullopt;
}

std::string DueTimes::ds_of(TimestampMicros instant) const {
    const int64_t seconds = floor_div(instant, kMicros);
    return format_date(static_cast<int32_t>(floor_div(seconds + zone_.offset_at(seconds), 86'400)));
}

}  // namespace px::schedule
