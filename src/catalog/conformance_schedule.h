// What every adapter of ScheduleStore must do, as a parameterised gtest suite: include it in the
// adapter's test and instantiate ScheduleConformance. For tests only.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "catalog/schedule_state.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::catalog {

struct ScheduleUnderTest {
    std::string name;
    /// A store in the one catalog of a place (an empty folder, a new schema).
    std::function<std::string(const std::filesystem::path& scratch)> make_place;
    std::function<Result<std::unique_ptr<ScheduleStore>>(const std::string& place, OpenMode mode,
                                                         const Clock& clock)>
        open;
};

inline std::string schedule_name(const ::testing::TestParamInfo<ScheduleUnderTest>& info) {
    return info.param.name;
}
inline void PrintTo(const ScheduleUnderTest& store, std::ostream* stream) { *stream << store.name; }

class ScheduleConformance : public ::testing::TestWithParam<ScheduleUnderTest> {
  protected:
    void SetUp() override { place_ = GetParam().make_place(scratch_.path()); }
    std::unique_ptr<ScheduleStore> open(OpenMode mode = OpenMode::ReadWrite) {
        auto opened = GetParam().open(place_, mode, clock_);
        EXPECT_TRUE(opened) << opened.error().to_string();
        return opened ? std::move(opened).value() : nullptr;
    }
    Claim claim(const std::string& owner = "me", int64_t now = 1'000) {
        Claim made;
        made.pipeline = "p";
        made.owner = owner;
        made.token = "t" + std::to_string(++token_);
        made.now = now;
        made.log_file = "logs/{item}-{attempt}.log";
        return made;
    }
    static Ending ending(ItemState state, int64_t now = 2'000, int64_t next = 0) {
        Ending made;
        made.state = state;
        made.outcome = std::string(name_of(state));
        made.now = now;
        made.next_attempt_at = next;
        return made;
    }
    static std::vector<NewItem> days(ItemKind kind, std::vector<std::string> all) {
        std::vector<NewItem> items;
        for (std::string& ds : all) items.push_back({kind, 0, std::move(ds), 1});
        return items;
    }
    px::testing::TempDir scratch_;
    std::string place_;
    FixedClock clock_{1'764'000'000'000'000};
    std::atomic<int> token_{0};
};

TEST_P(ScheduleConformance, DueTimesAreQueuedOnceWhoeverLooks) {
    auto a = open();
    auto b = open();
    EXPECT_EQ(a->pipeline("p")->enumerated_until, std::nullopt);
    ASSERT_TRUE(a->enumerate("p", std::nullopt, 0, {}, Missed::Kept, 1));
    EXPECT_EQ(b->pipeline("p")->enumerated_until, 0);
    const std::vector<NewItem> items = {{ItemKind::Schedule, 10, "2026-11-22", 1},
                                        {ItemKind::Schedule, 20, "2026-11-23", 1}};
    EXPECT_EQ(a->enumerate("p", 0, 25, items, Missed::Kept, 1)->added.size(), 2U);
    EXPECT_THAT(b->enumerate("p", 0, 25, items, Missed::Kept, 1),
                px::testing::IsError(ErrorCode::Conflict));
    // A clock set back: the same due times again.
    const auto again = b->enumerate("p", 25, 30, items, Missed::Kept, 1);
    ASSERT_TRUE(again);
    EXPECT_TRUE(again->added.empty());
    EXPECT_EQ(again->present.size(), 2U);
    EXPECT_EQ(b->items({.pipeline = "p"})->size(), 2U);
    EXPECT_TRUE(b->items({.pipeline = "q"})->empty());
}

TEST_P(ScheduleConformance, WithoutCatchUpANewerDueTimeReplacesOneThatWaits) {
    auto store = open();
    ASSERT_TRUE(store->enumerate("p", std::nullopt, 10, {{ItemKind::Schedule, 10, "2026-11-22", 1}},
                                 Missed::Superseded, 1));
    ASSERT_TRUE(store->enumerate("p", 10, 20, {{ItemKind::Schedule, 20, "2026-11-23", 1}},
                                 Missed::Superseded, 2));
    const auto items = store->items({.pipeline = "p"}).value();
    EXPECT_EQ(items[0].state, ItemState::Queued);
    EXPECT_EQ(items[1].state, ItemState::Skipped);
    EXPECT_EQ(store->claim(claim()).value()->ds, "2026-11-23");
}

TEST_P(ScheduleConformance, AsksForADateAreNotDoubledWhileItWaitsOrWorks) {
    auto store = open();
    const auto asked = days(ItemKind::Backfill, {"2026-11-01", "2026-11-02", "2026-11-03"});
    EXPECT_EQ(store->enqueue("p", asked, 1)->added.size(), 3U);
    const auto overlap =
        store->enqueue("p", days(ItemKind::Backfill, {"2026-11-02", "2026-11-04"}), 2);
    EXPECT_EQ(overlap->added.size(), 1U);
    EXPECT_EQ(overlap->present.size(), 1U);
    // The same date by hand is another thing, and comes first.
    EXPECT_EQ(store->enqueue("p", days(ItemKind::Manual, {"2026-11-02"}), 3)->added.size(), 1U);
    const auto first = store->claim(claim()).value();
    EXPECT_EQ(first->kind, ItemKind::Manual);
    EXPECT_EQ(first->attempt, 1);
    EXPECT_EQ(first->log_file, "logs/" + std::to_string(first->id) + "-1.log");
    EXPECT_EQ(store->enqueue("p", days(ItemKind::Manual, {"2026-11-02"}), 3)->present.size(), 1U);
    ASSERT_TRUE(store->finish(first->id, first->fence, ending(ItemState::Done)));
    EXPECT_EQ(store->enqueue("p", days(ItemKind::Manual, {"2026-11-02"}), 3)->added.size(), 1U);
}

TEST_P(ScheduleConformance, NoMoreThanAllowedAreInWork) {
    auto store = open();
    ASSERT_TRUE(store->enqueue("p", days(ItemKind::Backfill, {"2026-11-01", "2026-11-02"}), 1));
    Claim one = claim();
    one.backfills = false;
    EXPECT_EQ(store->claim(one).value(), std::nullopt);
    ASSERT_TRUE(store->claim(claim()).value());
    EXPECT_EQ(store->claim(claim()).value(), std::nullopt);  // active_max 1
    Claim two = claim();
    two.active_max = 2;
    EXPECT_EQ(store->claim(two).value(), std::nullopt);  // the backfill wants one at a time
    ASSERT_TRUE(store->enqueue("p", days(ItemKind::Manual, {"2026-11-05"}), 1));
    EXPECT_EQ(store->claim(two).value()->kind, ItemKind::Manual);
}

TEST_P(ScheduleConformance, APausedPipelineStartsNothing) {
    auto store = open();
    ASSERT_TRUE(store->enqueue("p", days(ItemKind::Manual, {"2026-11-01"}), 1));
    ASSERT_TRUE(store->set_paused("p", true));
    EXPECT_TRUE(store->pipeline("p")->paused);
    EXPECT_FALSE(store->pipeline("q")->paused);
    EXPECT_EQ(store->claim(claim()).value(), std::nullopt);
    ASSERT_TRUE(store->set_paused("p", false));
    EXPECT_TRUE(store->claim(claim()).value());
}

TEST_P(ScheduleConformance, ARetryWaitsItsTimeAndHistoryKeepsEveryAttempt) {
    auto store = open();
    ASSERT_TRUE(store->enqueue("p", days(ItemKind::Manual, {"2026-11-01"}), 1));
    const ScheduleItem first = *store->claim(claim()).value();
    Ending retry = ending(ItemState::Queued, 1'500, 5'000);
    retry.outcome = "crashed";
    retry.counts_as_failure = true;
    retry.exit_code = 4;
    retry.message = "no answer";
    ASSERT_TRUE(store->finish(first.id, first.fence, retry));
    ASSERT_TRUE(store->finish(first.id, first.fence, retry));  // the reply was lost: no harm
    EXPECT_EQ(store->claim(claim("me", 4'999)).value(), std::nullopt);
    const ScheduleItem second = *store->claim(claim("me", 5'000)).value();
    EXPECT_EQ(second.attempt, 2);
    EXPECT_EQ(second.failures, 1);
    EXPECT_GT(second.fence, first.fence);
    ASSERT_TRUE(store->finish(second.id, second.fence, ending(ItemState::Done, 6'000)));
    const auto attempts = store->attempts(first.id).value();
    ASSERT_EQ(attempts.size(), 2U);
    EXPECT_EQ(attempts[0].outcome, "crashed");
    EXPECT_EQ(attempts[0].exit_code, 4);
    EXPECT_EQ(attempts[0].finished_at, 1'500);
    EXPECT_EQ(attempts[1].outcome, "done");
    EXPECT_EQ(store->items({.id = first.id})->front().finished_at, 6'000);
    // A clock set back far does not make a retry wait for ever.
    ASSERT_TRUE(store->enqueue("p", days(ItemKind::Manual, {"2026-11-02"}), 1));
    const ScheduleItem other = *store->claim(claim()).value();
    retry.next_attempt_at = int64_t{1} << 60;
    ASSERT_TRUE(store->finish(other.id, other.fence, retry));
    EXPECT_TRUE(store->claim(claim()).value());
}

TEST_P(ScheduleConformance, AnOwnerThatIsGoneIsFollowedOnceAndItsWordCountsNoMore) {
    auto store = open();
    ASSERT_TRUE(store->enqueue("p", days(ItemKind::Manual, {"2026-11-01"}), 1));
    const ScheduleItem old = *store->claim(claim("old")).value();
    EXPECT_FALSE(store->heartbeat(old.id, old.fence, "host:boot:7:1", 1'100).value());
    const ScheduleItem seen = store->items({.pipeline = "p", .state = ItemState::Running})->front();
    EXPECT_EQ(seen.child, "host:boot:7:1");
    EXPECT_EQ(seen.beat, 1);
    EXPECT_THAT(store->take_over(old, claim("new")),  // it has shown a sign of life since
                px::testing::IsError(ErrorCode::Conflict));
    const Claim next = claim("new");
    const ScheduleItem taken = store->take_over(seen, next).value();
    EXPECT_EQ(taken.owner, "new");
    EXPECT_EQ(taken.attempt, 2);
    EXPECT_EQ(taken.child, "host:boot:7:1");
    EXPECT_GT(taken.fence, old.fence);
    EXPECT_EQ(store->take_over(seen, next)->fence, taken.fence);  // the reply was lost: no harm
    EXPECT_THAT(store->take_over(seen, claim("third")), px::testing::IsError(ErrorCode::Conflict));
    EXPECT_THAT(store->heartbeat(old.id, old.fence, "", 1),
                px::testing::IsError(ErrorCode::Conflict));
    EXPECT_THAT(store->finish(old.id, old.fence, ending(ItemState::Failed)),
                px::testing::IsError(ErrorCode::Conflict));
    ASSERT_TRUE(store->finish(taken.id, taken.fence, ending(ItemState::Done)));
    EXPECT_EQ(store->attempts(old.id)->front().outcome, "lost");
}

TEST_P(ScheduleConformance, ACancelEndsWhatWaitsAndTellsWhoWorks) {
    auto store = open();
    ASSERT_TRUE(store->enqueue("p", days(ItemKind::Manual, {"2026-11-01", "2026-11-02"}), 1));
    const ScheduleItem working = *store->claim(claim()).value();
    const int64_t waiting = store->items({.pipeline = "p", .open = true})->front().id;
    EXPECT_TRUE(store->request_cancel(waiting, 5).value());
    EXPECT_EQ(store->items({.id = waiting})->front().state, ItemState::Cancelled);
    EXPECT_TRUE(store->request_cancel(working.id, 5).value());
    EXPECT_TRUE(store->heartbeat(working.id, working.fence, "", 6).value());
    ASSERT_TRUE(store->finish(working.id, working.fence, ending(ItemState::Cancelled)));
    EXPECT_FALSE(store->request_cancel(working.id, 5).value());
    EXPECT_FALSE(store->request_cancel(999, 5).value());
    EXPECT_TRUE(store->items({.pipeline = "p", .open = true})->empty());
}

TEST_P(ScheduleConformance, ManySchedulersNeverHaveTheSameItem) {
    constexpr int kItems = 60, kWorkers = 4;
    auto store = open();
    std::vector<std::string> all;
    for (int i = 0; i < kItems; ++i) all.push_back(format_date(20'000 + i));
    ASSERT_TRUE(store->enqueue("p", days(ItemKind::Manual, all), 1));
    std::mutex mutex;
    std::multiset<std::string> done;
    std::vector<std::jthread> workers;
    for (int w = 0; w < kWorkers; ++w) {
        workers.emplace_back([&, w] {
            auto mine = open();
            while (true) {
                Claim wanted = claim("w" + std::to_string(w));
                wanted.active_max = kWorkers;
                const auto item = mine->claim(wanted);
                ASSERT_TRUE(item) << item.error().to_string();
                if (!*item) return;
                ASSERT_TRUE(mine->finish((*item)->id, (*item)->fence, ending(ItemState::Done)));
                const std::lock_guard lock(mutex);
                done.insert((*item)->ds);
            }
        });
    }
    workers.clear();
    EXPECT_EQ(done, std::multiset<std::string>(all.begin(), all.end()));
}

TEST_P(ScheduleConformance, AReaderSeesAndChangesNothing) {
    EXPECT_FALSE(GetParam().open(place_, OpenMode::ReadOnly, clock_));
    { ASSERT_TRUE(open()->enqueue("p", days(ItemKind::Manual, {"2026-11-01"}), 1)); }
    auto reader = open(OpenMode::ReadOnly);
    EXPECT_EQ(reader->items({})->size(), 1U);
    EXPECT_THAT(reader->set_paused("p", true), px::testing::IsError(ErrorCode::Forbidden));
}

}  // namespace px::catalog
