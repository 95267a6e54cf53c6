#include "http/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>

namespace px::http {
namespace {

TEST(WorkerPool, RefusesWhatItsQueueCannotHold) {
    std::latch started(2), go(1);
    std::atomic<int> done{0};
    {
        WorkerPool pool(2, 3);
        for (int i = 0; i < 2; ++i) {
            ASSERT_TRUE(pool.try_submit([&] {
                started.count_down();
                go.wait();
                ++done;
            }));
        }
        started.wait();
        for (int i = 0; i < 3; ++i) ASSERT_TRUE(pool.try_submit([&] { ++done; }));
        EXPECT_FALSE(pool.try_submit([&] { ++done; }));
        EXPECT_EQ(pool.queued(), 3U);
        EXPECT_EQ(pool.running(), 2U);
        go.count_down();
    }
    EXPECT_EQ(done, 5);
}

TEST(WorkerPool, WithoutAQueueStillUsesItsThreads) {
    std::latch started(1), go(1);
    WorkerPool pool(1, 0);
    ASSERT_TRUE(pool.try_submit([&] {
        started.count_down();
        go.wait();
    }));
    started.wait();
    EXPECT_FALSE(pool.try_submit([] {}));
    go.count_down();
}

}  // namespace
}  // namespace px::http
