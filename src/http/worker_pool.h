// WorkerPool: a fixed number of threads and a bounded queue for blocking work. Rank 1 (of http
// only). Thread-safe.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace px::http {

class WorkerPool {
  public:
    WorkerPool(size_t thread_count, size_t queue_limit);
    /// Runs what is queued, then joins.
    ~WorkerPool();

    /// false: the queue is full, nothing was taken. The task must not throw.
    bool try_submit(std::function<void()> task);
    size_t queued() const;
    size_t running() const;

  private:
    void work();

    const size_t queue_limit_;
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<void()>> queue_;
    size_t running_ = 0;
    bool closing_ = false;
    std::vector<std::jthread> threads_;
};

}  // namespace px::http
