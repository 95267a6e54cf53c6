// Cron: when is a pipeline due? Pure; rank 5. Five fields (minute hour day month weekday) in UTC:
// *, lists, ranges, steps, names of months and weekdays; 0 and 7 are Sunday. When both day and
// weekday are restricted, either may match (as in Vixie cron). @hourly, @daily, @weekly, @monthly,
// @yearly are known.
#pragma once

#include <array>
#include <bitset>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace px::schedule {

class Cron {
  public:
    /// Errors: InvalidArgument naming the field.
    static Result<Cron> parse(std::string_view text);
    /// The first due minute after `after`, in micros. Errors: NotFound when there is none within
    /// eight years (30 February).
    Result<TimestampMicros> next_after(TimestampMicros after) const;

  private:
    std::bitset<60> minutes_;
    std::bitset<24> hours_;
    std::bitset<32> days_;
    std::bitset<13> months_;
    std::bitset<7> weekdays_;
    bool any_day_ = false;
    bool any_weekday_ = false;
};

}  // namespace px::schedule
