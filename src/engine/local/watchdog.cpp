#include "engine/local/watchdog.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

namespace px::engine {
namespace {

constexpr std::chrono::milliseconds kLook{10};
/// Growth is told apart no better: queries this near to the largest count as equal.
constexpr double kNearlyLargest = 0.75;

}  // namespace

int64_t resident_bytes() {
    int file = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    char text[128];
    ssize_t size = ::read(file, text, sizeof text);
    ::close(file);
    if (size <= 0) return 0;
    // size resident shared …, in pages; shared are the pages of files.
    const char* at = text;
    const char* end = text + size;
    int64_t pages[3] = {0, 0, 0};
    for (int64_t& number : pages) {
        while (at < end && *at == ' ') ++at;
        at = std::from_chars(at, end, number).ptr;
    }
    return (pages[1] - pages[2]) * ::sysconf(_SC_PAGESIZE);
}

Watchdog::Watchdog(int64_t growth_bytes_max)
    : growth_bytes_max_(growth_bytes_max),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

Watchdog::~Watchdog() {
    thread_.request_stop();
    changed_.notify_all();
}

/// Lays what the process grew since the last look to the queries that run, in equal parts, and
/// takes off what it shrank by.
void Watchdog::measure() {
    const int64_t now = resident_bytes();
    const auto change = static_cast<double>(now - resident_);
    resident_ = now;
    double total = 0;
    double running = 0;
    for (const Query& query : queries_) {
        total += query.grown;
        running += query.reason == Reason::None ? 1 : 0;
    }
    for (Query& query : queries_) {
        if (change > 0 && query.reason == Reason::None) query.grown += change / running;
        if (change < 0 && total > 0) query.grown *= std::max(0.0, 1 + change / total);
    }
}

void Watchdog::stop_largest() {
    double total = 0;
    double largest = 0;
    for (const Query& query : queries_) {
        if (query.reason != Reason::None) continue;  // it will give its memory back
        total += query.grown;
        largest = std::max(largest, query.grown);
    }
    if (total <= static_cast<double>(growth_bytes_max_)) return;
    // Among equals a user's query goes before one of ours, a younger before an older.
    Query* victim = nullptr;
    for (Query& query : queries_) {
        if (query.reason != Reason::None || query.grown < kNearlyLargest * largest) continue;
        if (victim == nullptr || query.origin == Origin::User || victim->origin == Origin::Ours)
            victim = &query;
    }
    if (victim != nullptr) victim->reason = Reason::Memory;
}

void Watchdog::run(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
        changed_.wait(lock, stop, [&] { return !queries_.empty(); });
        if (queries_.empty()) continue;
        measure();
        stop_largest();
        const auto now = std::chrono::steady_clock::now();
        auto next = now + kLook;
        for (Query& query : queries_) {
            if (query.reason == Reason::None) {
                if (query.deadline.stop.stop_requested()) query.reason = Reason::Stopped;
                if (now >= query.deadline.at) query.reason = Reason::Deadline;
            }
            // Again and again: an interruption that comes before the query has begun is forgotten
            // by DuckDB.
            if (query.reason != Reason::None) {
                query.connection->interrupt();
            } else {
                next = std::min(next, query.deadline.at);
            }
        }
        changed_.wait_until(lock, stop, next, [] { return false; });
    }
}

Result<void> Watchdog::verdict(Reason reason) const {
    switch (reason) {
        case Reason::None:
            return {};
        case Reason::Deadline:
            return fail(ErrorCode::DeadlineExceeded, "the query took longer than it may",
                        "ask for less, or allow it more time");
        case Reason::Stopped:
            return fail(ErrorCode::Cancelled, "the query was cancelled");
        case Reason::Memory:
            return fail(ErrorCode::ResourceExhausted,
                        fmt::format("the queries that run made the process grow by more than {} "
                                    "MB, this one the most",
                                    growth_bytes_max_ >> 20),
                        "ask for less at once");
    }
    return {};
}

Watchdog::Watch::Watch(Watchdog& dog, duckdb::Connection& connection, Origin origin,
                       Deadline deadline)
    : dog_(dog) {
    {
        const std::lock_guard lock(dog_.mutex_);
        dog_.measure();  // what came before is not this query's
        query_ =
            dog_.queries_.insert(dog_.queries_.end(), {&connection, origin, std::move(deadline)});
    }
    dog_.changed_.notify_all();
}

Watchdog::Watch::~Watch() {
    const std::lock_guard lock(dog_.mutex_);
    dog_.measure();
    dog_.queries_.erase(query_);
}

Result<void> Watchdog::Watch::check() const {
    const std::lock_guard lock(dog_.mutex_);
    if (query_->reason == Reason::None) {
        if (query_->deadline.stop.stop_requested()) query_->reason = Reason::Stopped;
        if (std::chrono::steady_clock::now() >= query_->deadline.at)
            query_->reason = Reason::Deadline;
    }
    return dog_.verdict(query_->reason);
}

Error Watchdog::Watch::explain(Error error) const {
    if (error.code != ErrorCode::Cancelled) return error;
    const std::lock_guard lock(dog_.mutex_);
    Result<void> verdict = dog_.verdict(query_->reason);
    return verdict ? error : std::move(verdict).error();
}

}  // namespace px::engine
