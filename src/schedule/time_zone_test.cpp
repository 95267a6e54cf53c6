#include "schedule/time_zone.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <time.h>

#include <random>
#include <string>

#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::schedule {
namespace {

const char* const kZones[] = {"Europe/Berlin",     "America/New_York",  "Australia/Lord_Howe",
                              "Africa/Casablanca", "Asia/Kathmandu",    "Europe/Dublin",
                              "Pacific/Apia",      "America/Sao_Paulo", "Antarctica/Troll",
                              "Asia/Gaza",         "America/Nuuk",      "Etc/GMT+5"};

TimeZone zone(const std::string& name) {
    return TimeZone::load(name, TimeZone::default_folder()).value();
}

TEST(TimeZone, AgreesWithTheSystemInTwelveZonesOverTwoCenturies) {
    std::mt19937_64 random(7);
    for (const char* const name : kZones) {
        const TimeZone ours = zone(name);
        ::setenv("TZ", name, 1);
        ::tzset();
        for (int i = 0; i < 20'000; ++i) {
            // 1910 to 2200, three of four around now.
            const int64_t at = i % 4 == 0
                                   ? -1'893'456'000 + static_cast<int64_t>(random() % 9'151'488'000)
                                   : 1'600'000'000 + static_cast<int64_t>(random() % 900'000'000);
            const time_t seconds = at;
            struct tm local {};
            ::localtime_r(&seconds, &local);
            ASSERT_EQ(ours.offset_at(at), local.tm_gmtoff) << name << " at " << at;
            const TimeZone::Segment segment = ours.segment_at(at);
            ASSERT_LE(segment.begin_s, at);
            ASSERT_GT(segment.end_s, at);
            // What the clock shows came about no later than now.
            ASSERT_LE(ours.first_instant_of(at + local.tm_gmtoff), at) << name << " at " << at;
        }
    }
    ::unsetenv("TZ");
    ::tzset();
}

TEST(TimeZone, AnUnknownZoneNamesTheNearest) {
    const auto unknown = TimeZone::load("Europe/Berln", TimeZone::default_folder());
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code, ErrorCode::InvalidArgument);
    EXPECT_EQ(unknown.error().message, "'Europe/Berln' is no time zone");
    EXPECT_NE(unknown.error().hint.find("Europe/Berlin"), std::string::npos)
        << unknown.error().hint;
    for (const char* name :
         {"", "/etc/passwd", "../../etc/passwd", "Europe", "x y", "europe/berlin"})
        EXPECT_THAT(TimeZone::load(name, TimeZone::default_folder()),
                    px::testing::IsError(ErrorCode::InvalidArgument))
            << name;
}

TEST(TimeZone, WithoutTzdataOnlyUtcIsKnown) {
    const auto none = TimeZone::load("Europe/Berlin", "/nowhere/zoneinfo");
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code, ErrorCode::NotFound);
    EXPECT_NE(none.error().hint.find("tzdata"), std::string::npos);
    EXPECT_EQ(TimeZone::load("UTC", "/nowhere/zoneinfo")->offset_at(1'700'000'000), 0);
}

TEST(TimeZone, MutatedFilesAreReadOrRefused) {
    std::mt19937_64 random(11);
    int refused = 0;
    for (const char* const name : kZones) {
        const std::string good = px::testing::read_file(TimeZone::default_folder() / name);
        for (int i = 0; i < 400; ++i) {
            std::string bad = good;
            for (size_t changes = 1 + random() % 4; changes > 0; --changes)
                bad[random() % bad.size()] = static_cast<char>(random());
            if (i % 3 == 0) bad.resize(random() % bad.size());
            if (i % 5 == 0) bad.insert(bad.size() - bad.size() / 10, "M13.9.9/999");
            const auto parsed = TimeZone::parse(name, bad);
            if (!parsed) {
                ++refused;
                continue;
            }
            for (const int64_t at : {int64_t{0}, int64_t{1'793'000'000}, int64_t{9'000'000'000}}) {
                const TimeZone::Segment segment = parsed->segment_at(at);
                ASSERT_LE(segment.begin_s, at);
                ASSERT_GT(segment.end_s, at);
                (void)parsed->first_instant_of(at);
            }
        }
    }
    EXPECT_GT(refused, 100);
}

TEST(TimeZone, AFileWithLeapSecondsIsRefused) {
    std::string file = px::testing::read_file(TimeZone::default_folder() / "Europe/Berlin");
    const size_t second = file.find("TZif", 4);
    ASSERT_NE(second, std::string::npos);
    file[second + 31] = 1;  // leapcnt of the second header
    EXPECT_THAT(TimeZone::parse("right/Europe/Berlin", file),
                px::testing::IsError(ErrorCode::InvalidArgument));
}

}  // namespace
}  // namespace px::schedule
