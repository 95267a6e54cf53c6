// Time comes through Clock, so that tests and replays decide what time it is.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/result.h"

namespace px {

/// Microseconds since 1970-01-01T00:00:00 UTC (proleptic Gregorian, no leap seconds).
using TimestampMicros = int64_t;

/// A source of wall-clock time. Thread-safe.
class Clock {
  public:
    virtual ~Clock() = default;
    virtual TimestampMicros now() const = 0;
};

/// The machine's clock.
class SystemClock final : public Clock {
  public:
    TimestampMicros now() const override;
};

/// A clock that stands still until told otherwise. Not thread-safe against set().
class FixedClock final : public Clock {
  public:
    explicit FixedClock(TimestampMicros now) : now_(now) {}
    TimestampMicros now() const override { return now_; }
    void set(TimestampMicros now) { now_ = now; }

  private:
    TimestampMicros now_;
};

/// "2026-11-23T08:27:01.000000Z": always 27 characters for years 0000 to 9999.
std::string format_timestamp(TimestampMicros micros);
/// "2026-11-23".
std::string format_date(int32_t days_since_epoch);
/// Strict YYYY-MM-DD with a real calendar day. Errors: InvalidArgument.
Result<int32_t> parse_date(std::string_view text);
/// Days since 1970-01-01 of a civil date; month 1 to 12. O(1). Source: H. Hinnant,
/// chrono-compatible low-level date algorithms.
int32_t days_from_civil(int32_t year, int32_t month, int32_t day);

/// The moment by which an operation must be done, on the steady clock, and its cancellation.
struct Deadline {
    std::chrono::steady_clock::time_point at = std::chrono::steady_clock::time_point::max();
    std::stop_token stop;

    static Deadline never() { return {}; }
    static Deadline after(std::chrono::milliseconds duration, std::stop_token stop = {}) {
        return {std::chrono::steady_clock::now() + duration, std::move(stop)};
    }
    /// Ok, DeadlineExceeded or Cancelled.
    Result<void> check() const;
};

}  // namespace px
