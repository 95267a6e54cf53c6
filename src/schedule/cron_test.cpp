#include "schedule/cron.h"

#include <gtest/gtest.h>

#include "schedule/loop.h"

namespace px::schedule {
namespace {

std::string next(std::string_view cron, const std::string& after) {
    const int32_t day = parse_date(after.substr(0, 10)).value();
    const int64_t minute = std::stoi(after.substr(11, 2)) * 60 + std::stoi(after.substr(14, 2));
    const auto due = Cron::parse(cron).value().next_after((day * 1440LL + minute) * 60'000'000);
    return due ? format_timestamp(*due).substr(0, 16) : due.error().message;
}

TEST(Cron, FindsTheNextDueMinute) {
    EXPECT_EQ(next("0 1 * * *", "2026-11-23T00:59"), "2026-11-23T01:00");
    EXPECT_EQ(next("0 1 * * *", "2026-11-23T01:00"), "2026-11-24T01:00");
    EXPECT_EQ(next("*/15 * * * *", "2026-11-23T23:50"), "2026-11-24T00:00");
    EXPECT_EQ(next("0 0 29 2 *", "2026-11-23T00:00"), "2028-02-29T00:00");
    EXPECT_EQ(next("30 6 * * mon-fri", "2026-11-27T07:00"), "2026-11-30T06:30");
    EXPECT_EQ(next("0 0 * * 7", "2026-11-23T00:00"), "2026-11-29T00:00");
    EXPECT_EQ(next("0 0 13 * fri", "2026-11-23T00:00"), "2026-11-27T00:00");
    EXPECT_EQ(next("0 12 31 dec *", "2026-12-31T12:00"), "2027-12-31T12:00");
    EXPECT_EQ(next("@monthly", "2026-11-23T00:00"), "2026-12-01T00:00");
}

TEST(Cron, RefusesWhatIsNoSchedule) {
    for (const char* text : {"", "* * * *", "60 * * * *", "0 24 * * *", "0 0 0 * *", "0 0 * 13 *",
                             "a * * * *", "5-1 * * * *", "*/0 * * * *", "1,, * * * *"}) {
        EXPECT_FALSE(Cron::parse(text)) << text;
    }
    EXPECT_EQ(next("0 0 30 2 *", "2026-11-23T00:00"), "the schedule is never due");
}

/// An hour passes at every look.
class JumpingClock final : public Clock {
  public:
    TimestampMicros now() const override { return now_ += 3'600'000'000; }
    mutable TimestampMicros now_ = 0;
};

TEST(Loop, StartsEachDueDayOnceAndRetriesFailures) {
    const JumpingClock clock;
    std::stop_source stop;
    std::vector<std::string> started;
    LoopOptions options;
    options.retry_delay = std::chrono::seconds(0);
    ASSERT_TRUE(run_loop(
        Cron::parse("0 * * * *").value(), clock, options,
        [&](const std::string& ds) {
            started.push_back(ds);
            if (started.size() == 4) stop.request_stop();
            return started.size() == 1 ? RunOutcome::Failed : RunOutcome::Done;
        },
        stop.get_token()));
    EXPECT_EQ(started.size(), 4U);
    EXPECT_EQ(started[0], "1970-01-01");
}

}  // namespace
}  // namespace px::schedule
