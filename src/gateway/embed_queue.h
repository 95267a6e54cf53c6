// EmbedQueue: texts of concurrent requests, encoded together. Rank 5. Thread-safe. It has no thread
// of its own: who waits for vectors also makes them. A request that finds nobody at work starts at
// once; those that come meanwhile are the next batch, each with its fair share of it.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "embed/encoder.h"

namespace px::gateway {

struct EmbedQueueOptions {
    size_t batch_texts = 64;         ///< encoded together at most: bounds what a request waits for
    size_t batch_bytes = 32 << 10;   ///< likewise, above the first text; long texts count as cut
    size_t waiting_texts = 8'192;    ///< not yet encoded, of all requests; more get RateLimited
    size_t waiting_bytes = 8 << 20;  ///< likewise
    size_t batches = 0;              ///< encoded at once; 0: one per hardware thread
};

class EmbedQueue {
  public:
    explicit EmbedQueue(const embed::Encoder& encoder, EmbedQueueOptions options = {});

    /// Vectors of texts, [texts.size(), width] row-major, the same bits as encoder.encode() gives
    /// for each alone. Blocks. Errors: RateLimited (the queue is full), Cancelled, DeadlineExceeded
    /// (at once, whatever the rest is doing), and those of the encoder.
    Result<std::vector<float>> encode(std::vector<std::string> texts, embed::TextKind kind,
                                      const Deadline& deadline);

    struct Counts {
        int64_t texts = 0, batches = 0;  ///< encoded since the start
        int64_t waiting_texts = 0;
    };
    Counts counts() const;

  private:
    struct Job;
    struct Part {
        std::shared_ptr<Job> job;
        size_t text;  ///< of the job
    };

    bool can_work() const { return running_ < batches_max_ && !waiting_.empty(); }
    std::vector<Part> take_batch();
    void run_batch(std::unique_lock<std::mutex>& lock);
    void forget(const std::shared_ptr<Job>& job);

    const embed::Encoder& encoder_;
    const EmbedQueueOptions options_;
    const size_t batches_max_;
    mutable std::mutex mutex_;
    std::condition_variable_any changed_;
    std::deque<std::shared_ptr<Job>> waiting_;  ///< jobs with texts that nobody encodes yet
    size_t waiting_texts_ = 0, waiting_bytes_ = 0, running_ = 0;
    Counts counts_;
};

}  // namespace px::gateway
