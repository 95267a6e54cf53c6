// Cron: which local minutes of a calendar are due? Pure; rank 5; any thread. Five fields (minute
// hour day month weekday): *, lists, ranges, steps, names of months and weekdays, L (last day of a
// month); 0 and 7 are Sunday. When both day and weekday are restricted, either may match. @hourly,
// @daily, @weekly, @monthly, @yearly are known. Specification: docs/formats/schedule.md.
#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"

namespace px::schedule {

/// Minutes since 1970-01-01T00:00 of a wall clock, whatever its zone.
using LocalMinute = int64_t;

class Cron {
  public:
    /// Errors: InvalidArgument naming the field and its position.
    static Result<Cron> parse(std::string_view text);

    /// The first matching minute at or after `from`; nullopt when there is none within nine years
    /// (30 February). O(days until then).
    std::optional<LocalMinute> next_at_or_after(LocalMinute from) const;
    /// True when hour or minute is a wildcard or a step (*, */2, 5/10): such a schedule follows
    /// elapsed time across a change of the clock, others name fixed times of a day.
    bool follows_elapsed_time() const { return follows_elapsed_time_; }

  private:
    bool matches_day(int64_t day) const;

    std::bitset<60> minutes_;
    std::bitset<24> hours_;
    std::bitset<32> days_;  // bit 0: the last day of the month
    std::bitset<13> months_;
    std::bitset<7> weekdays_;
    bool any_day_ = false;
    bool any_weekday_ = false;
    bool follows_elapsed_time_ = false;
};

}  // namespace px::schedule
