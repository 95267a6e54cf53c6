#include "schedule/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "schedule/simulation.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::schedule {
namespace {

using catalog::ItemKind;
using catalog::ItemState;
using catalog::ScheduleItem;
using ::testing::ElementsAre;

constexpr int64_t kSecond = 1'000'000;
constexpr int64_t kHour = 3'600 * kSecond;
constexpr int64_t kDay = 24 * kHour;

int64_t midnight(const std::string& date) { return parse_date(date).value() * kDay; }

class SchedulerTest : public ::testing::Test {
  protected:
    SchedulerTest() : machine_(clock_) { clock_.steady_us = midnight("2028-01-01"); }

    std::unique_ptr<catalog::ScheduleStore> store(const std::string& pipeline = "p") {
        return catalog::open_sqlite_schedule(folder_ / (pipeline + ".db"),
                                             catalog::OpenMode::ReadWrite, clock_)
            .value();
    }
    ScheduledPipeline pipeline(const std::string& name, const std::string& cron,
                               const std::string& zone = "UTC") {
        ScheduledPipeline made;
        made.name = name;
        made.file = name + ".yaml";
        made.due = DueTimes::parse(cron, zone).value();
        made.catchup = true;
        made.command = {name, "{ds}"};
        made.log_folder = folder_ / "logs";
        made.open = [this, name]() -> Result<std::unique_ptr<catalog::ScheduleStore>> {
            if (unreachable_) return fail(ErrorCode::Unavailable, "no catalog today");
            return catalog::open_sqlite_schedule(folder_ / (name + ".db"),
                                                 catalog::OpenMode::ReadWrite, clock_);
        };
        return made;
    }
    struct Running {
        std::unique_ptr<SimulatedRunner> runner;
        std::unique_ptr<Scheduler> scheduler;
        std::string owner;
    };
    static SchedulerOptions seldom() {
        SchedulerOptions options;
        options.poll_store = std::chrono::minutes(10);
        return options;
    }
    Running scheduler(std::vector<ScheduledPipeline> pipelines,
                      SchedulerOptions options = seldom()) {
        Running made;
        made.runner = std::make_unique<SimulatedRunner>(machine_, clock_);
        made.owner = "owner" + std::to_string(++owners_);
        SchedulerWorld world{clock_,
                             [this] { return clock_.steady_us; },
                             [this] { return static_cast<double>(random_() % 1'000) / 1'000; },
                             [this] { return std::to_string(random_()) + "-token"; },
                             made.owner,
                             [this](const std::string& owner) -> std::optional<bool> {
                                 if (far_.contains(owner)) return std::nullopt;
                                 return !dead_.contains(owner);
                             },
                             [this](const Event& event) { events_.push_back(event); }};
        made.scheduler = std::make_unique<Scheduler>(std::move(pipelines), *made.runner,
                                                     std::move(world), options);
        return made;
    }
    /// Time passes in the steps the schedulers ask for.
    void pass(const std::vector<Running*>& all, int64_t until_us,
              const std::function<void()>& at_each = {}) {
        int64_t steps = 0;
        while (clock_.steady_us < until_us) {
            ASSERT_LT(++steps, 2'000'000) << "the schedulers never rest";
            int64_t wait = until_us - clock_.steady_us;
            for (Running* each : all)
                wait = std::min<int64_t>(wait, each->scheduler->step().count());
            wait = std::min(wait, machine_.next_end_us() - clock_.steady_us);
            clock_.steady_us += std::max<int64_t>(wait, 1);
            if (at_each) at_each();
        }
    }
    std::vector<ScheduleItem> items(const std::string& pipeline = "p") {
        auto all = store(pipeline)->items({.limit = 100'000}).value();
        std::ranges::reverse(all);
        return all;
    }
    std::vector<std::string> states(const std::string& pipeline = "p") {
        std::vector<std::string> all;
        for (const ScheduleItem& item : items(pipeline))
            all.push_back(item.ds.substr(5) + " " + std::string(catalog::name_of(item.state)));
        return all;
    }
    static Exit exit_of(int code, int signal = 0) {
        Exit exit;
        exit.code = code;
        exit.signal = signal;
        return exit;
    }

    px::testing::TempDir folder_;
    SimulatedClock clock_;
    SimulatedMachine machine_;
    std::mt19937_64 random_{2'026'11'23};
    std::set<std::string> dead_, far_;
    std::vector<Event> events_;
    bool unreachable_ = false;
    int owners_ = 0;
};

TEST(RetryPolicy, DelaysDoubleUpToTheirLimitAndJitterAddsAQuarterAtMost) {
    const RetryPolicy policy;
    const auto seconds = [&](int64_t failures, double random) {
        return policy.delay_after(failures, random).count() / 1'000'000;
    };
    EXPECT_EQ(seconds(1, 0), 300);
    EXPECT_EQ(seconds(2, 0), 600);
    EXPECT_EQ(seconds(4, 0), 2'400);
    EXPECT_EQ(seconds(5, 0), 3'600);
    EXPECT_EQ(seconds(1'000'000, 0), 3'600);
    EXPECT_EQ(seconds(1, 0.5), 337);
    RetryPolicy constant;
    constant.exponential = false;
    EXPECT_EQ(constant.delay_after(9, 0).count() / 1'000'000, 300);
}

TEST_F(SchedulerTest, ANightlyRunStartsWhenItIsDueAndOnlyThen) {
    Running one = scheduler({pipeline("p", "0 1 * * *")});
    pass({&one}, midnight("2028-01-04"));
    EXPECT_THAT(states(), ElementsAre("01-01 done", "01-02 done", "01-03 done"));
    EXPECT_EQ(items()[0].due_at, midnight("2028-01-01") + kHour);
    EXPECT_LT(*items()[0].started_at - items()[0].due_at, 2 * kSecond);
    EXPECT_TRUE(events_.empty());
}

TEST_F(SchedulerTest, WhatWasMissedIsCaughtUpAsThePipelineSays) {
    for (const bool catchup : {true, false}) {
        const std::string name = catchup ? "all" : "newest";
        ScheduledPipeline wanted = pipeline(name, "0 1 * * *");
        wanted.catchup = catchup;
        const int64_t start = clock_.steady_us;
        { pass({}, start); }
        {
            Running first = scheduler({wanted});
            pass({&first}, start + kHour / 2);
        }
        clock_.steady_us = start + 3 * kDay + 2 * kHour;
        Running second = scheduler({wanted});
        pass({&second}, start + 4 * kDay);
        if (catchup) {
            EXPECT_THAT(states(name),
                        ElementsAre("01-01 done", "01-02 done", "01-03 done", "01-04 done"));
        } else {
            EXPECT_EQ(states(name).size(), 1U);
        }
        clock_.steady_us = midnight("2028-01-01");
    }
}

TEST_F(SchedulerTest, FailuresThatMayPassAreTriedAgainAndOthersAreNot) {
    std::vector<Exit> exits = {exit_of(4), exit_of(0, 9), exit_of(0),
                               exit_of(3), exit_of(2),    exit_of(99)};
    size_t next = 0;
    machine_.plan = [&](const std::string&) {
        return std::pair(60 * kSecond, exits[std::min(next++, exits.size() - 1)]);
    };
    Running one = scheduler({pipeline("p", "0 1 * * *")});
    pass({&one}, midnight("2028-01-05"));
    EXPECT_THAT(states(),
                ElementsAre("01-01 done", "01-02 halted", "01-03 failed", "01-04 skipped"));
    const auto attempts = store()->attempts(1).value();
    ASSERT_EQ(attempts.size(), 3U);
    EXPECT_EQ(attempts[0].outcome, "failed");
    EXPECT_EQ(attempts[0].exit_code, 4);
    EXPECT_EQ(attempts[1].outcome, "crashed");
    EXPECT_EQ(attempts[2].outcome, "done");
    const int64_t first_pause = attempts[1].started_at - *attempts[0].finished_at;
    const int64_t second_pause = attempts[2].started_at - *attempts[1].finished_at;
    EXPECT_GE(first_pause, 300 * kSecond);
    EXPECT_LE(first_pause, 376 * kSecond);
    EXPECT_GE(second_pause, 600 * kSecond);
    EXPECT_LE(second_pause, 751 * kSecond);
    ASSERT_EQ(events_.size(), 3U);
    EXPECT_EQ(events_[0].kind, Event::Kind::Halted);
    EXPECT_EQ(events_[1].kind, Event::Kind::Failed);
    EXPECT_EQ(events_[2].kind, Event::Kind::Recovered);
}

TEST_F(SchedulerTest, AttemptsAreBoundedAndTheFailureIsToldOnce) {
    machine_.plan = [&](const std::string&) { return std::pair(kSecond, exit_of(4)); };
    Running one = scheduler({pipeline("p", "0 1 * * *")});
    pass({&one}, midnight("2028-01-02"));
    EXPECT_THAT(states(), ElementsAre("01-01 failed"));
    EXPECT_EQ(store()->attempts(1)->size(), 3U);
    ASSERT_EQ(events_.size(), 1U);
    EXPECT_EQ(events_[0].item.exit_code, 4);
    EXPECT_TRUE(store()->pipeline("p")->failing);
}

TEST_F(SchedulerTest, ManyIdlePipelinesKeepFewCatalogsOpen) {
    std::vector<ScheduledPipeline> many;
    for (int i = 0; i < 30; ++i) many.push_back(pipeline("p" + std::to_string(i), "0 1 * * *"));
    Running one = scheduler(std::move(many));
    one.scheduler->step();
    std::set<std::string> open;
    for (const auto& file : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code code;
        const auto target = std::filesystem::read_symlink(file.path(), code);
        if (target.parent_path() == folder_.path() && target.extension() == ".db")
            open.insert(target);
    }
    EXPECT_GE(open.size(), 1U);
    EXPECT_LE(open.size(), SchedulerOptions().idle_stores_max);
}

TEST_F(SchedulerTest, ARunStaysAliveWhileOtherCatalogsMakeTheSchedulerWait) {
    machine_.plan = [&](const std::string&) { return std::pair(2 * kHour, exit_of(0)); };
    std::vector<ScheduledPipeline> all = {pipeline("p", "0 1 * * *")};
    int64_t longest_us = 0;
    for (int i = 0; i < 10; ++i) {
        all.push_back(pipeline("far" + std::to_string(i), "0 1 * * *"));
        all.back().open = [&]() -> Result<std::unique_ptr<catalog::ScheduleStore>> {
            clock_.steady_us += 6 * kSecond;
            for (const ScheduleItem& item : items()) {
                if (item.state == ItemState::Running)
                    longest_us = std::max(longest_us, clock_.steady_us - item.heartbeat_at);
            }
            return fail(ErrorCode::Unavailable, "nobody answers");
        };
    }
    Running one = scheduler(std::move(all));
    pass({&one}, midnight("2028-01-01") + 4 * kHour);
    EXPECT_THAT(states(), ElementsAre("01-01 done"));
    EXPECT_GT(longest_us, 0);
    EXPECT_LT(longest_us, 20 * kSecond);
}

TEST_F(SchedulerTest, APipelineOthersWorkOnIsWaitedForWithoutCountingFailures) {
    int tries = 0;
    machine_.plan = [&](const std::string&) {
        Exit busy = exit_of(4);
        busy.last_line =
            R"json({"error":{"message":"another px is working on this pipeline (process 7)"}})json";
        return std::pair(kSecond, ++tries <= 10 ? busy : exit_of(0));
    };
    Running one = scheduler({pipeline("p", "0 1 * * *")});
    pass({&one}, midnight("2028-01-02"));
    EXPECT_THAT(states(), ElementsAre("01-01 done"));
    EXPECT_EQ(items()[0].failures, 0);
    EXPECT_EQ(tries, 11);
}

TEST_F(SchedulerTest, ARunThatTakesTooLongGetsTermThenKill) {
    machine_.ignores_term = true;
    machine_.plan = [&](const std::string&) { return std::pair(5 * kHour, exit_of(0)); };
    ScheduledPipeline slow = pipeline("p", "0 1 * * *");
    slow.timeout = std::chrono::minutes(10);
    slow.retries.attempts = 1;
    Running one = scheduler({slow});
    pass({&one}, midnight("2028-01-01") + 2 * kHour);
    ASSERT_THAT(states(), ElementsAre("01-01 failed"));
    const auto attempt = store()->attempts(1)->front();
    EXPECT_EQ(attempt.outcome, "timed out");
    const int64_t took = *attempt.finished_at - attempt.started_at;
    EXPECT_GE(took, 630 * kSecond);
    EXPECT_LE(took, 640 * kSecond);
}

TEST_F(SchedulerTest, ACancelledRunEndsAndIsNotTriedAgain) {
    machine_.plan = [&](const std::string&) { return std::pair(5 * kHour, exit_of(0)); };
    Running one = scheduler({pipeline("p", "0 1 * * *")});
    pass({&one}, midnight("2028-01-01") + 2 * kHour);
    EXPECT_TRUE(store()->request_cancel(1, clock_.now()).value());
    pass({&one}, clock_.steady_us + 60 * kSecond);
    EXPECT_THAT(states(), ElementsAre("01-01 cancelled"));
    EXPECT_TRUE(events_.empty());
}

TEST_F(SchedulerTest, APausedPipelineStartsNothingAndGoesOnAfterwards) {
    Running one = scheduler({pipeline("p", "0 1 * * *")});
    pass({&one}, midnight("2028-01-01") + kHour / 2);
    ASSERT_TRUE(store()->set_paused("p", true));
    pass({&one}, midnight("2028-01-03"));
    EXPECT_TRUE(items().empty());
    ASSERT_TRUE(store()->set_paused("p", false));
    pass({&one}, midnight("2028-01-03") + kHour / 2);
    EXPECT_THAT(states(), ElementsAre("01-01 done", "01-02 done"));
}

TEST_F(SchedulerTest, ABackfillNeverStarvesTheNightlyRun) {
    // Two hundred dates of two pipelines, half an hour each; slots for one backfill.
    machine_.plan = [&](const std::string&) { return std::pair(kHour / 2, exit_of(0)); };
    SchedulerOptions options = seldom();
    options.runs_max = 1;
    options.backfills_max = 1;
    Running one = scheduler({pipeline("p", "0 1 * * *"), pipeline("q", "0 1 * * *")}, options);
    pass({&one}, clock_.steady_us + kSecond);
    std::vector<catalog::NewItem> dates;
    for (int i = 0; i < 200; ++i)
        dates.push_back({ItemKind::Backfill, 0, format_date(20'000 + i), 1});
    for (const char* name : {"p", "q"}) ASSERT_TRUE(store(name)->enqueue(name, dates, 1));
    pass({&one}, midnight("2028-01-04"));
    for (const char* name : {"p", "q"}) {
        int nightly = 0;
        for (const ScheduleItem& item : items(name)) {
            if (item.kind != ItemKind::Schedule) continue;
            ++nightly;
            EXPECT_EQ(item.state, ItemState::Done);
            // At worst after the date that works, and after the other pipeline's night.
            EXPECT_LE(*item.started_at - item.due_at, kHour + 60 * kSecond) << item.ds;
        }
        EXPECT_EQ(nightly, 3);
    }
    EXPECT_EQ(machine_.doubled, 0);
}

TEST_F(SchedulerTest, AnOrphanIsWaitedForAndItsRunNotDoubled) {
    machine_.plan = [&](const std::string&) { return std::pair(kHour, exit_of(0)); };
    Running first = scheduler({pipeline("p", "0 1 * * *")});
    pass({&first}, midnight("2028-01-01") + kHour + 600 * kSecond);
    dead_.insert(first.owner);
    first.scheduler.reset();  // killed; its child works on
    Running second = scheduler({pipeline("p", "0 1 * * *")});
    Running third = scheduler({pipeline("p", "0 1 * * *")});
    pass({&second, &third}, midnight("2028-01-02"));
    EXPECT_EQ(machine_.doubled, 0);
    EXPECT_THAT(states(), ElementsAre("01-01 skipped"));  // the orphan had done it
    EXPECT_EQ((machine_.done[{"p", "2028-01-01"}]), 1);
    const auto attempts = store()->attempts(1).value();
    ASSERT_EQ(attempts.size(), 2U);  // taken over once
    EXPECT_EQ(attempts[0].outcome, "lost");
}

TEST_F(SchedulerTest, ASchedulerOfAnotherMachineIsGivenUpAfterAMinuteOfSilence) {
    machine_.plan = [&](const std::string&) { return std::pair(20 * kHour, exit_of(0)); };
    Running first = scheduler({pipeline("p", "0 1 * * *")}, {});
    far_.insert(first.owner);
    Running second = scheduler({pipeline("p", "0 1 * * *")}, {});
    far_.insert(second.owner);
    pass({&first, &second}, midnight("2028-01-01") + kHour + 900 * kSecond);
    ASSERT_EQ(store()->attempts(1)->size(), 1U);  // its heartbeats are seen
    Running* const worker = items()[0].owner == first.owner ? &first : &second;
    Running* const other = worker == &first ? &second : &first;
    const int64_t silent_from = clock_.steady_us;
    pass({other}, silent_from + 10 * 60 * kSecond);
    const auto attempts = store()->attempts(1).value();
    ASSERT_EQ(attempts.size(), 2U);
    EXPECT_EQ(attempts[1].owner, other->owner);
    EXPECT_GE(attempts[1].started_at - silent_from, 50 * kSecond);
    EXPECT_LE(attempts[1].started_at - silent_from, 80 * kSecond);
    // The first one was only asleep: it finds that the item is no longer its own and writes
    // nothing.
    pass({worker, other}, clock_.steady_us + 10 * 60 * kSecond);
    EXPECT_FALSE(worker->scheduler->is_busy());
    EXPECT_EQ(items()[0].owner, other->owner);
}

TEST_F(SchedulerTest, ACatalogThatCannotBeReachedIsTriedAgain) {
    Running one = scheduler({pipeline("p", "0 1 * * *")});
    pass({&one}, midnight("2028-01-01") + kHour / 2);
    unreachable_ = true;
    pass({&one}, midnight("2028-01-01") + 2 * kHour);
    unreachable_ = false;
    pass({&one}, midnight("2028-01-01") + 3 * kHour);
    EXPECT_THAT(states(), ElementsAre("01-01 done"));
}

TEST_F(SchedulerTest, AClockSetBackDoublesNothingAndOneSetForwardMissesNothing) {
    Running one = scheduler({pipeline("p", "0 * * * *")});
    const int64_t start = clock_.steady_us;
    pass({&one}, start + 5 * kHour + kHour / 2);
    clock_.offset_us = -3 * kHour;
    pass({&one}, start + 10 * kHour + kHour / 2);
    clock_.offset_us = 2 * kHour;
    pass({&one}, start + 20 * kHour + kHour / 2);
    std::vector<int64_t> dues;
    for (const ScheduleItem& item : items()) {
        EXPECT_EQ(item.state == ItemState::Done || item.state == ItemState::Skipped, true);
        dues.push_back((item.due_at - start) / kHour);
    }
    std::vector<int64_t> expected;
    for (int64_t hour = 1; hour <= 22; ++hour) expected.push_back(hour);
    EXPECT_EQ(dues, expected);
}

TEST_F(SchedulerTest, ADrainedSchedulerStartsNothingAndWaitsForWhatWorks) {
    machine_.plan = [&](const std::string&) { return std::pair(2 * kHour, exit_of(0)); };
    Running one = scheduler({pipeline("p", "0 1 * * *")});
    pass({&one}, midnight("2028-01-01") + kHour + 600 * kSecond);
    ASSERT_TRUE(store()->enqueue("p", {{ItemKind::Manual, 0, "2027-12-01", 1}}, 1));
    one.scheduler->drain();
    pass({&one}, midnight("2028-01-01") + 5 * kHour);
    EXPECT_FALSE(one.scheduler->is_busy());
    EXPECT_THAT(states(), ElementsAre("01-01 done", "12-01 queued"));
}

struct Year {
    const char* cron;
    const char* zone;
    /// Is this day of the year due? Said without cron: by the calendar.
    bool (*is_due)(int month, int day, bool is_last);
};

class SimulatedYear : public SchedulerTest, public ::testing::WithParamInterface<Year> {};

TEST_P(SimulatedYear, EndsWithExactlyOneSuccessfulRunForEachDueDate) {
    const Year& year = GetParam();
    const int64_t start = clock_.steady_us;  // 2028: a leap year
    const int64_t end = start + 366 * kDay;
    machine_.plan = [&](const std::string&) {
        const int64_t lasts = static_cast<int64_t>(random_() % (3 * 3'600)) * kSecond;
        switch (random_() % 10) {
            case 0:
                return std::pair(lasts, exit_of(0, 11));
            case 1:
                return std::pair(lasts, exit_of(4));
            default:
                return std::pair(lasts, exit_of(0));
        }
    };
    ScheduledPipeline wanted = pipeline("p", year.cron, year.zone);
    wanted.retries.attempts = 50;
    SchedulerOptions options;
    options.poll_store = std::chrono::hours(2);
    options.heartbeat_every = std::chrono::minutes(10);
    options.stale_after = std::chrono::minutes(40);
    std::vector<Running> both;
    for (int i = 0; i < 2; ++i) both.push_back(scheduler({wanted}, options));
    int64_t next_kill = start + kDay;
    int64_t next_jump = start + 2 * kDay;
    int kills = 0, jumps = 0;
    while (clock_.steady_us < end + kDay) {
        const int64_t until = std::min({next_kill, next_jump, end + kDay});
        pass({&both[0], &both[1]}, until);
        if (clock_.steady_us >= next_kill) {
            Running& victim = both[random_() % 2];
            if (random_() % 4 == 0) {
                far_.insert(victim.owner);  // nobody can tell that it is gone
            } else {
                dead_.insert(victim.owner);
            }
            victim = scheduler({wanted}, options);
            ++kills;
            next_kill = clock_.steady_us + static_cast<int64_t>(random_() % (5 * 86'400)) * kSecond;
        }
        if (clock_.steady_us >= next_jump) {
            const int64_t jump =
                static_cast<int64_t>(random_() % (6 * 3'600)) * kSecond - 3 * kHour;
            clock_.offset_us =
                clock_.offset_us != 0 || clock_.steady_us > end - 10 * kDay ? 0 : jump;
            ++jumps;
            next_jump = clock_.steady_us + static_cast<int64_t>(random_() % (9 * 86'400)) * kSecond;
        }
    }
    std::map<std::pair<std::string, std::string>, int> expected;
    for (int64_t day = start / kDay; day < end / kDay; ++day) {
        const std::string date = format_date(static_cast<int32_t>(day));
        const bool is_last = format_date(static_cast<int32_t>(day) + 1).ends_with("-01");
        if (year.is_due(std::stoi(date.substr(5, 2)), std::stoi(date.substr(8, 2)), is_last))
            expected[{"p", date}] = 1;
    }
    // Days before and after the year belong to other time zones' ends of it.
    std::erase_if(machine_.done, [](const auto& each) {
        return !each.first.second.starts_with("2028-") || each.first.second == "2028-01-01";
    });
    expected.erase({"p", "2028-01-01"});
    EXPECT_EQ(machine_.done, expected);
    EXPECT_EQ(machine_.doubled, 0);
    for (const ScheduleItem& item : items())
        EXPECT_TRUE(catalog::is_final(item.state) || item.ds > "2028-12-31") << item.ds;
    std::printf("%s in %s: %zu due dates, %zu attempts, %d kills, %d jumps\n", year.cron, year.zone,
                expected.size(), machine_.started.size(), kills, jumps);
}

constexpr auto kDaily = [](int, int, bool) { return true; };
INSTANTIATE_TEST_SUITE_P(
    Zones, SimulatedYear,
    ::testing::Values(Year{"30 2 * * *", "Europe/Berlin", kDaily},
                      Year{"30 2 * * *", "America/New_York", kDaily},
                      Year{"45 1 * * *", "Australia/Lord_Howe", kDaily},
                      Year{"0 1 * * *", "UTC", kDaily},
                      Year{"0 1 L * *", "Europe/Berlin", [](int, int, bool last) { return last; }},
                      Year{"30 2 29,30 2,3 *", "America/New_York", [](int month, int day, bool) {
                               return (month == 2 || month == 3) && day >= 29 && day <= 30;
                           }}));

}  // namespace
}  // namespace px::schedule
