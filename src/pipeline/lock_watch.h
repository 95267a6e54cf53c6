// LockWatch: work that ends when the lock it is done under is lost. Rank 4.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>

#include "base/clock.h"
#include "base/result.h"

namespace px::pipeline {

/// Asks every interval, on a thread of its own, whether the lock is still held; once it is not, its
/// deadline is over: what sends requests to stores that know no fence (index/qdrant) ends before
/// another holder begins to count on what is there.
class LockWatch {
  public:
    static constexpr std::chrono::milliseconds kInterval{2'000};

    /// check: PipelineLock::check; called by one thread at a time, while this lives.
    LockWatch(std::function<Result<void>()> check, const Deadline& deadline,
              std::chrono::milliseconds interval = kInterval);
    LockWatch(const LockWatch&) = delete;
    LockWatch& operator=(const LockWatch&) = delete;

    /// The caller's, over also when the lock is lost.
    const Deadline& deadline() const { return deadline_; }
    /// Asks now. Errors: those of check, the first one again and again.
    Result<void> check();
    /// A result of work under deadline(): when the loss of the lock cut it short, it says so
    /// instead of Cancelled.
    template <class T>
    Result<T> told(Result<T> result) {
        if (result || result.error().code != ErrorCode::Cancelled) return result;
        const std::lock_guard lock(mutex_);
        if (!lost_) return result;
        return *lost_;
    }

  private:
    Result<void> ask_locked();

    std::function<Result<void>()> check_;
    std::stop_source over_;
    Deadline deadline_;
    std::mutex mutex_;
    std::condition_variable_any wake_;
    std::optional<Error> lost_;
    std::stop_callback<std::function<void()>> caller_stops_;
    std::jthread thread_;  // last: it uses the others
};

}  // namespace px::pipeline
