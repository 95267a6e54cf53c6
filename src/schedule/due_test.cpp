#include "schedule/due.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <time.h>

#include <random>
#include <set>
#include <string>
#include <vector>

namespace px::schedule {
namespace {

std::vector<std::string> due(const std::string& cron, const std::string& zone,
                             const std::string& from, int count) {
    const DueTimes times = DueTimes::parse(cron, zone).value();
    TimestampMicros at = parse_date(from).value() * 86'400'000'000LL;
    std::vector<std::string> all;
    for (int i = 0; i < count; ++i) {
        at = times.next_after(at).value();
        all.push_back(format_timestamp(at).substr(5, 11) + " " + times.ds_of(at).substr(5));
    }
    return all;
}

using Texts = std::vector<std::string>;

TEST(DueTimes, AFixedTimeThatIsSkippedRunsAtTheFirstInstantAfterTheGap) {
    // Berlin, 2026-03-29: 02:00 becomes 03:00 at 01:00 UTC.
    EXPECT_EQ(due("30 2 * * *", "Europe/Berlin", "2026-03-28", 3),
              (Texts{"03-28T01:30 03-28", "03-29T01:00 03-29", "03-30T00:30 03-30"}));
    EXPECT_EQ(due("0,30 2 * * *", "Europe/Berlin", "2026-03-29", 2),
              (Texts{"03-29T01:00 03-29", "03-30T00:00 03-30"}));
}

TEST(DueTimes, AFixedTimeThatOccursTwiceRunsOnce) {
    // Berlin, 2026-10-25: 03:00 becomes 02:00 at 01:00 UTC.
    EXPECT_EQ(due("30 2 * * *", "Europe/Berlin", "2026-10-24", 3),
              (Texts{"10-24T00:30 10-24", "10-25T00:30 10-25", "10-26T01:30 10-26"}));
}

TEST(DueTimes, AScheduleOfStepsFollowsElapsedTime) {
    EXPECT_EQ(due("*/30 2 * * *", "Europe/Berlin", "2026-10-24", 6),
              (Texts{"10-24T00:30 10-24", "10-25T00:00 10-25", "10-25T00:30 10-25",
                     "10-25T01:00 10-25", "10-25T01:30 10-25", "10-26T01:00 10-26"}));
    EXPECT_EQ(due("30 * * * *", "Europe/Berlin", "2026-03-29", 3),
              (Texts{"03-29T00:30 03-29", "03-29T01:30 03-29", "03-29T02:30 03-29"}));
}

TEST(DueTimes, TheDateIsThatOfTheZonesClock) {
    EXPECT_EQ(due("0 1 * * *", "Asia/Tokyo", "2026-11-23", 1), (Texts{"11-23T16:00 11-24"}));
    EXPECT_EQ(due("0 1 * * *", "America/New_York", "2026-11-23", 1), (Texts{"11-23T06:00 11-23"}));
    // Lord Howe Island changes by half an hour.
    EXPECT_EQ(due("15 2 * * *", "Australia/Lord_Howe", "2026-10-02", 3),
              (Texts{"10-02T15:45 10-03", "10-03T15:30 10-04", "10-04T15:15 10-05"}));
    // Samoa skipped 2011-12-30: that night's run comes with the first instant of the 31st.
    EXPECT_EQ(due("0 0 * * *", "Pacific/Apia", "2011-12-29", 3),
              (Texts{"12-29T10:00 12-29", "12-30T10:00 12-31", "12-31T10:00 01-01"}));
}

TEST(DueTimes, TheNewestOfManyIsFoundWithoutCountingThemAll) {
    const DueTimes often = DueTimes::parse("* * * * *", "Europe/Berlin").value();
    const TimestampMicros now = 1'793'000'000'000'000;
    EXPECT_EQ(often.newest(0, now), now / 60'000'000 * 60'000'000);
    EXPECT_EQ(often.newest(now, now), std::nullopt);
    const DueTimes seldom = DueTimes::parse("0 0 29 2 *", "UTC").value();
    EXPECT_EQ(format_timestamp(seldom.newest(0, now).value()).substr(0, 10), "2024-02-29");
    EXPECT_EQ(seldom.newest(now - 1'000'000, now), std::nullopt);
}

/// Minute by minute over the years by the C library's clock, which knows nothing of our parser.
std::set<int64_t> by_the_minute(const Cron& cron, const char* zone, int64_t from_s,
                                int64_t until_s) {
    ::setenv("TZ", zone, 1);
    ::tzset();
    const int64_t first = from_s / 60 - 3'000;
    const auto minutes = static_cast<size_t>((until_s - from_s) / 60 + 6'000);
    std::vector<char> matches(minutes), shown(minutes);
    for (auto minute = cron.next_at_or_after(first);
         minute && *minute - first < static_cast<int64_t>(minutes);
         minute = cron.next_at_or_after(*minute + 1))
        matches[static_cast<size_t>(*minute - first)] = 1;
    std::set<int64_t> all;
    size_t previous = 0;
    for (int64_t at = from_s - 10'800; at <= until_s; at += 60) {
        const time_t seconds = at;
        struct tm local {};
        ::localtime_r(&seconds, &local);
        const auto minute = static_cast<size_t>((at + local.tm_gmtoff) / 60 - first);
        bool is_due = matches[minute] != 0;
        if (!cron.follows_elapsed_time()) {
            if (shown[minute] != 0) is_due = false;
            for (size_t skipped = previous + 1; previous != 0 && skipped < minute; ++skipped)
                is_due = is_due || (matches[skipped] != 0 && shown[skipped] == 0);
        }
        shown[minute] = 1;
        previous = minute;
        if (is_due && at > from_s) all.insert(at);
    }
    ::unsetenv("TZ");
    ::tzset();
    return all;
}

TEST(DueTimes, AgreeWithACountOfEveryMinuteOfTwoYears) {
    const int64_t from = 1'830'297'600;  // 2028-01-01, a leap year
    const int64_t until = from + int64_t{731} * 86'400;
    for (const char* const zone :
         {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"}) {
        for (const char* const text :
             {"0 1 * * *", "30 2 * * *", "0 2,3 * * *", "*/7 2 * * *", "15 */5 * * *", "0 0 L * *",
              "0 0 29 2 *", "59 1 1 * sun", "45 1 * * 6-7", "0 3 31 * *"}) {
            const DueTimes times = DueTimes::parse(text, zone).value();
            const std::set<int64_t> slow =
                by_the_minute(Cron::parse(text).value(), zone, from, until);
            std::set<int64_t> ours;
            for (const TimestampMicros at :
                 times.between(from * 1'000'000, until * 1'000'000, 1'000'000))
                ours.insert(at / 1'000'000);
            ASSERT_EQ(ours, slow) << text << " in " << zone;
            ASSERT_FALSE(ours.empty());
        }
    }
}

}  // namespace
}  // namespace px::schedule
