#include "gateway/embed_queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <stop_token>
#include <thread>

#include "base/progress.h"

namespace px::gateway {

namespace {

constexpr size_t kBytesPerToken = 8;  ///< generous: what the encoder reads of a long text

}  // namespace

/// One request. It owns its texts, so that its client may leave while they are being encoded.
struct EmbedQueue::Job {
    std::vector<std::string> texts;
    embed::TextKind kind = embed::TextKind::Passage;
    std::vector<float> vectors;
    size_t taken = 0, done = 0;  ///< texts
    std::optional<Error> error;
    std::stop_source nobody;  ///< requested when nobody waits for it any more

    bool over() const { return error || done == texts.size(); }
};

EmbedQueue::EmbedQueue(const embed::Encoder& encoder, EmbedQueueOptions options)
    : encoder_(encoder),
      options_(options),
      batches_max_(options.batches != 0
                       ? options.batches
                       : std::max<size_t>(1, std::thread::hardware_concurrency())) {}

Result<std::vector<float>> EmbedQueue::encode(std::vector<std::string> texts, embed::TextKind kind,
                                              const Deadline& deadline) {
    if (texts.empty()) return std::vector<float>();
    size_t bytes = 0;
    for (const std::string& text : texts) bytes += text.size();
    const auto job = std::make_shared<Job>();
    job->texts = std::move(texts);
    job->kind = kind;
    job->vectors.resize(job->texts.size() * encoder_.width());

    std::unique_lock lock(mutex_);
    // A queue that is empty takes what the limits of a request let through.
    if (waiting_texts_ > 0 && (waiting_texts_ + job->texts.size() > options_.waiting_texts ||
                               waiting_bytes_ + bytes > options_.waiting_bytes)) {
        return fail(ErrorCode::RateLimited,
                    fmt::format("{} texts are waiting to be embedded; no more than {} may",
                                waiting_texts_, options_.waiting_texts),
                    "Send it again in a second, or send fewer at once");
    }
    waiting_.push_back(job);
    waiting_texts_ += job->texts.size();
    waiting_bytes_ += bytes;
    while (!job->over()) {
        if (Result<void> in_time = deadline.check(); !in_time) {
            job->nobody.request_stop();
            forget(job);
            changed_.notify_all();
            return std::move(in_time).error();
        }
        if (can_work()) {
            run_batch(lock);
            continue;
        }
        const auto ready = [&] { return job->over() || can_work(); };
        if (deadline.at == std::chrono::steady_clock::time_point::max()) {
            changed_.wait(lock, deadline.stop, ready);
        } else {
            changed_.wait_until(lock, deadline.stop, deadline.at, ready);
        }
    }
    if (job->error) return *job->error;
    return std::move(job->vectors);
}

/// Texts of one kind, one of each waiting request in turn.
std::vector<EmbedQueue::Part> EmbedQueue::take_batch() {
    std::vector<Part> parts;
    const embed::TextKind kind = waiting_.front()->kind;
    const size_t text_bytes = encoder_.max_tokens() * kBytesPerToken;
    size_t bytes = 0;
    size_t passed_over = 0;  // requests of the other kind since the last text was taken
    while (passed_over < waiting_.size() && parts.size() < options_.batch_texts) {
        const std::shared_ptr<Job> job = waiting_.front();
        if (job->kind == kind) {
            const size_t size = job->texts[job->taken].size();
            if (!parts.empty() && bytes + std::min(size, text_bytes) > options_.batch_bytes) break;
            bytes += std::min(size, text_bytes);
            waiting_texts_ -= 1;
            waiting_bytes_ -= size;
            parts.push_back({job, job->taken++});
            passed_over = 0;
        } else {
            ++passed_over;
        }
        waiting_.pop_front();
        if (job->taken < job->texts.size()) waiting_.push_back(job);
    }
    return parts;
}

void EmbedQueue::run_batch(std::unique_lock<std::mutex>& lock) {
    const std::vector<Part> parts = take_batch();
    ++running_;
    if (can_work()) changed_.notify_all();  // there is more than this, and who waits can help
    lock.unlock();
    std::vector<std::string_view> texts;
    for (const Part& part : parts) texts.push_back(part.job->texts[part.text]);
    // The work is given up when nobody is left who waits for any of it.
    std::vector<std::stop_token> clients;
    for (const Part& part : parts) {
        const std::stop_token client = part.job->nobody.get_token();
        if (std::ranges::find(clients, client) == clients.end()) clients.push_back(client);
    }
    std::stop_source everybody_left;
    std::atomic<size_t> present{clients.size()};
    const auto leave = [&] {
        if (--present == 0) everybody_left.request_stop();
    };
    Result<std::vector<float>> made = [&] {
        std::deque<std::stop_callback<decltype(leave)>> watched;
        for (const std::stop_token& client : clients) watched.emplace_back(client, leave);
        NoProgress progress;
        return encoder_.encode(
            texts, parts.front().job->kind,
            {std::chrono::steady_clock::time_point::max(), everybody_left.get_token()}, progress);
    }();
    const size_t width = encoder_.width();
    lock.lock();
    --running_;
    if (made) {
        counts_.texts += static_cast<int64_t>(parts.size());
        ++counts_.batches;
    }
    for (size_t i = 0; i < parts.size(); ++i) {
        Job& job = *parts[i].job;
        if (made) {
            std::copy_n(made->data() + i * width, width,
                        job.vectors.data() + parts[i].text * width);
            ++job.done;
        } else if (!job.error) {
            job.error = made.error();
            forget(parts[i].job);
        }
    }
    changed_.notify_all();
}

/// Takes what nobody encodes yet of a job out of the queue.
void EmbedQueue::forget(const std::shared_ptr<Job>& job) {
    const auto found = std::ranges::find(waiting_, job);
    if (found == waiting_.end()) return;
    for (size_t i = job->taken; i < job->texts.size(); ++i) {
        waiting_texts_ -= 1;
        waiting_bytes_ -= job->texts[i].size();
    }
    waiting_.erase(found);
}

EmbedQueue::Counts EmbedQueue::counts() const {
    const std::lock_guard lock(mutex_);
    Counts counts = counts_;
    counts.waiting_texts = static_cast<int64_t>(waiting_texts_);
    return counts;
}

}  // namespace px::gateway
