#include "pipeline/lock_watch.h"

#include <gtest/gtest.h>

#include <atomic>

#include "testing/matchers.h"

namespace px::pipeline {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using namespace std::chrono_literals;

Error lost() { return fail(ErrorCode::Unavailable, "the lock is lost", "run again"); }

/// Waits until the deadline is over, ten seconds at most.
Result<void> work(const Deadline& deadline) {
    for (int i = 0; i < 10'000; ++i) {
        PX_TRY(deadline.check());
        std::this_thread::sleep_for(1ms);
    }
    return {};
}

TEST(LockWatch, WorkUnderALostLockEndsAndSaysSo) {
    std::atomic<int> asked = 0;
    LockWatch watch([&] { return ++asked < 3 ? Result<void>() : Result<void>(lost()); }, {}, 5ms);
    EXPECT_THAT(watch.told(work(watch.deadline())),
                IsError(ErrorCode::Unavailable, "lock is lost"));
    EXPECT_EQ(asked, 3);
    // What is lost stays lost, whatever the server says now.
    EXPECT_THAT(watch.check(), IsError(ErrorCode::Unavailable, "lock is lost"));
    EXPECT_EQ(asked, 3);
}

TEST(LockWatch, AHeldLockLeavesWorkAlone) {
    std::atomic<int> asked = 0;
    LockWatch watch(
        [&] {
            ++asked;
            return Result<void>();
        },
        {}, 1ms);
    while (asked < 5) {
        ASSERT_THAT(watch.deadline().check(), IsOk());
        std::this_thread::sleep_for(1ms);
    }
    EXPECT_THAT(watch.check(), IsOk());
    EXPECT_THAT(watch.told(Result<void>(fail(ErrorCode::NotFound, "a file", "look"))),
                IsError(ErrorCode::NotFound, "a file"));
}

TEST(LockWatch, WhoCancelsIsToldSo) {
    std::stop_source caller;
    LockWatch watch([] { return Result<void>(); },
                    {std::chrono::steady_clock::time_point::max(), caller.get_token()});
    EXPECT_THAT(watch.deadline().check(), IsOk());
    caller.request_stop();
    EXPECT_THAT(watch.told(work(watch.deadline())), IsError(ErrorCode::Cancelled, ""));
}

TEST(LockWatch, EndsAtOnceHoweverLongItsInterval) {
    const auto started = std::chrono::steady_clock::now();
    {
        LockWatch watch([] { return Result<void>(); }, {}, 60s);
    }
    EXPECT_LT(std::chrono::steady_clock::now() - started, 5s);
}

}  // namespace
}  // namespace px::pipeline
