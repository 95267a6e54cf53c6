#include "http/worker_pool.h"

#include <utility>

namespace px::http {

WorkerPool::WorkerPool(size_t thread_count, size_t queue_limit) : queue_limit_(queue_limit) {
    threads_.reserve(thread_count);
    for (size_t i = 0; i < thread_count; ++i) threads_.emplace_back([this] { work(); });
}

WorkerPool::~WorkerPool() {
    {
        const std::lock_guard lock(mutex_);
        closing_ = true;
    }
    wake_.notify_all();
    threads_.clear();
}

bool WorkerPool::try_submit(std::function<void()> task) {
    {
        const std::lock_guard lock(mutex_);
        // A free thread takes the task at once; only waiting ones count against the limit.
        const size_t free_threads = threads_.size() - running_;
        if (closing_ || queue_.size() >= queue_limit_ + free_threads) return false;
        queue_.push_back(std::move(task));
    }
    wake_.notify_one();
    return true;
}

size_t WorkerPool::queued() const {
    const std::lock_guard lock(mutex_);
    return queue_.size();
}

size_t WorkerPool::running() const {
    const std::lock_guard lock(mutex_);
    return running_;
}

void WorkerPool::work() {
    while (true) {
        std::function<void()> task;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [this] { return closing_ || !queue_.empty(); });
            if (queue_.empty()) return;
            task = std::move(queue_.front());
            queue_.pop_front();
            ++running_;
        }
        task();
        task = nullptr;
        const std::lock_guard lock(mutex_);
        --running_;
    }
}

}  // namespace px::http
