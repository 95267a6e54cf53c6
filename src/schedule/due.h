// DueTimes: a cron text in a time zone → the instants a pipeline is due. Pure; rank 5; any thread.
// At a change of the clock: a fixed time that is skipped is due at the first instant after the gap,
// one that occurs twice is due once, at its first occurrence; a schedule whose hour or minute is a
// wildcard or a step follows elapsed time, minute by minute of the clock.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "schedule/cron.h"
#include "schedule/time_zone.h"

namespace px::schedule {

class DueTimes {
  public:
    DueTimes(Cron cron, TimeZone zone) : cron_(cron), zone_(std::move(zone)) {}
    /// Errors: InvalidArgument (cron, zone), NotFound (no tzdata), Corrupt.
    static Result<DueTimes> parse(const std::string& cron, const std::string& zone);

    /// The first due instant after `after`. Errors: NotFound when there is none within nine years
    /// (30 February).
    Result<TimestampMicros> next_after(TimestampMicros after) const;
    /// All of them in (after, until], in order, at most count_max.
    std::vector<TimestampMicros> between(TimestampMicros after, TimestampMicros until,
                                         size_t count_max) const;
    /// The newest one in (after, until], if any. O(number of them) in the worst case, bounded by
    /// looking back from `until` in growing steps.
    std::optional<TimestampMicros> newest(TimestampMicros after, TimestampMicros until) const;
    /// The logical date of an instant: the date a wall clock of the zone shows, YYYY-MM-DD.
    std::string ds_of(TimestampMicros instant) const;
    const TimeZone& zone() const { return zone_; }

  private:
    Cron cron_;
    TimeZone zone_;
};

}  // namespace px::schedule
