#include "schedule/cron.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "schedule/due.h"

namespace px::schedule {
namespace {

TimestampMicros at(const std::string& text) {
    const int32_t day = parse_date(text.substr(0, 10)).value();
    return (day * 1'440LL + std::stoi(text.substr(11, 2)) * 60 + std::stoi(text.substr(14, 2))) *
           60'000'000;
}

std::string next(std::string_view cron, const std::string& after) {
    const auto due = DueTimes(Cron::parse(cron).value(), TimeZone::utc()).next_after(at(after));
    return due ? format_timestamp(*due).substr(0, 16) : due.error().message;
}

TEST(Cron, FindsTheNextDueMinute) {
    EXPECT_EQ(next("0 1 * * *", "2026-11-23T00:59"), "2026-11-23T01:00");
    EXPECT_EQ(next("0 1 * * *", "2026-11-23T01:00"), "2026-11-24T01:00");
    EXPECT_EQ(next("*/15 * * * *", "2026-11-23T23:50"), "2026-11-24T00:00");
    EXPECT_EQ(next("0 0 29 2 *", "2026-11-23T00:00"), "2028-02-29T00:00");
    EXPECT_EQ(next("0 0 29 2 *", "2096-03-01T00:00"), "2104-02-29T00:00");
    EXPECT_EQ(next("30 6 * * mon-fri", "2026-11-27T07:00"), "2026-11-30T06:30");
    EXPECT_EQ(next("0 0 * * 7", "2026-11-23T00:00"), "2026-11-29T00:00");
    EXPECT_EQ(next("0 0 * * fri-sun", "2026-11-28T00:00"), "2026-11-29T00:00");
    EXPECT_EQ(next("0 0 13 * fri", "2026-11-23T00:00"), "2026-11-27T00:00");
    EXPECT_EQ(next("0 12 31 dec *", "2026-12-31T12:00"), "2027-12-31T12:00");
    EXPECT_EQ(next("0 5 L * *", "2028-02-01T00:00"), "2028-02-29T05:00");
    EXPECT_EQ(next("0 5 15,L * *", "2026-04-15T05:00"), "2026-04-30T05:00");
    EXPECT_EQ(next("@monthly", "2026-11-23T00:00"), "2026-12-01T00:00");
    EXPECT_EQ(next("@yearly", "2026-11-23T00:00"), "2027-01-01T00:00");
    EXPECT_EQ(next("@weekly", "2026-11-23T00:00"), "2026-11-29T00:00");
    EXPECT_EQ(next("@hourly", "2026-11-23T00:00"), "2026-11-23T01:00");
}

TEST(Cron, AnErrorNamesTheFieldAndItsPosition) {
    for (const auto& [text, message] : std::vector<std::pair<const char*, const char*>>{
             {"60 * * * *", "'60' in field 1 of the schedule is no minute"},
             {"0 24 * * *", "'24' in field 2 of the schedule is no hour"},
             {"0 0 0 * *", "'0' in field 3 of the schedule is no day"},
             {"0 0 1-40 * *", "'40' in field 3 of the schedule is no day"},
             {"0 0 * 13 *", "'13' in field 4 of the schedule is no month"},
             {"0 0 * janu *", "'janu' in field 4 of the schedule is no month"},
             {"0 0 * * 8", "'8' in field 5 of the schedule is no weekday"},
             {"a * * * *", "'a' in field 1 of the schedule is no minute"},
             {"5-1 * * * *", "'5-1' in field 1 of the schedule is no minute"},
             {"*/0 * * * *", "'*/0' in field 1 of the schedule is no minute"},
             {"1,, * * * *", "'' in field 1 of the schedule is no minute"},
             {"-1 * * * *", "'' in field 1 of the schedule is no minute"},
             {"", "the schedule '' has 0 fields, not 5"},
             {"* * * *", "the schedule '* * * *' has 4 fields, not 5"},
             {"0 * * * * *", "the schedule '0 * * * * *' has 6 fields, not 5"}}) {
        const auto parsed = Cron::parse(text);
        ASSERT_FALSE(parsed) << text;
        EXPECT_EQ(parsed.error().message, message) << text;
        EXPECT_EQ(parsed.error().code, ErrorCode::InvalidArgument);
    }
    EXPECT_EQ(next("0 0 30 2 *", "2026-11-23T00:00"), "the schedule is never due");
}

TEST(Cron, AnyTextIsASpanOfTimeOrAnError) {
    std::mt19937_64 random(20'261'123);
    const std::string alphabet = "0123456789*/-, LJAMONxyz@\t\xff";
    int parsed = 0;
    for (int i = 0; i < 20'000; ++i) {
        std::string text = i % 2 == 0 ? "*/5 1-3 * jan mon" : "";
        for (size_t changes = random() % 8; changes > 0; --changes) {
            const char c = alphabet[random() % alphabet.size()];
            text.insert(text.begin() + static_cast<int64_t>(random() % (text.size() + 1)), c);
            if (text.size() > 3 && random() % 2 == 0) text.erase(random() % text.size(), 1);
        }
        const auto cron = Cron::parse(text);
        if (!cron) continue;
        ++parsed;
        const auto minute = cron->next_at_or_after(29'000'000);
        if (minute) {
            EXPECT_GE(*minute, 29'000'000) << text;
        }
    }
    EXPECT_GT(parsed, 100);
}

}  // namespace
}  // namespace px::schedule
