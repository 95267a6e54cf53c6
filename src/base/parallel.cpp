#include "base/parallel.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace px {

Result<void> parallel_for(size_t count, size_t thread_count, const Deadline& deadline,
                          const std::function<Result<void>(size_t)>& body) {
    std::atomic<size_t> next{0};
    std::atomic<bool> failed{false};
    std::mutex mutex;
    std::optional<Error> first_error;
    size_t first_error_index = count;

    const auto work = [&] {
        while (!failed.load(std::memory_order_relaxed)) {
            const size_t i = next.fetch_add(1);
            if (i >= count) return;
            Result<void> result = deadline.check();
            if (result) result = body(i);
            if (!result) {
                failed = true;
                const std::lock_guard lock(mutex);
                if (i < first_error_index) {
                    first_error_index = i;
                    first_error = std::move(result).error();
                }
            }
        }
    };
    const size_t extra = std::min(std::max<size_t>(thread_count, 1), count);
    {
        std::vector<std::jthread> threads;
        for (size_t t = 1; t < extra; ++t) threads.emplace_back(work);
        work();
    }
    if (first_error) return std::move(*first_error);
    return {};
}

}  // namespace px
