#include "engine/local/watchdog.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <charconv>

namespace px::engine {
namespace {
constexpr std::chrono::milliseconds kLook{10};
}

int64_t resident_bytes() {
    int file = ::open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    char text[128];
    ssize_t size = ::read(file, text, sizeof text);
    ::close(file);
    if (size <= 0) return 0;
    const char* end = text + size;
    const char* space = text;
    while (space < end && *space != ' ') ++space;
    int64_t pages = 0;
    if (space < end) std::from_chars(space + 1, end, pages);
    return pages * ::sysconf(_SC_PAGESIZE);
}

Watchdog::Watchdog(duckdb::Connection& connection, int64_t growth_bytes_max)
    : connection_(connection),
      growth_bytes_max_(growth_bytes_max),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

Watchdog::~Watchdog() {
    thread_.request_stop();
    changed_.notify_all();
}

Watchdog::Reason Watchdog::reason_now() const {
    if (deadline_.stop.stop_requested()) return Reason::Stopped;
    if (std::chrono::steady_clock::now() >= deadline_.at) return Reason::Deadline;
    if (resident_bytes() - resident_at_start_ > growth_bytes_max_) return Reason::Memory;
    return Reason::None;
}

void Watchdog::run(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
        changed_.wait(lock, stop, [&] { return watching_; });
        if (!watching_) continue;
        if (reason_ == Reason::None) reason_ = reason_now();
        // Again and again: an interruption that comes before the query has begun is forgotten by
        // DuckDB.
        if (reason_ != Reason::None) connection_.interrupt();
        auto next = std::chrono::steady_clock::now() + kLook;
        if (reason_ == Reason::None && deadline_.at < next) next = deadline_.at;
        changed_.wait_until(lock, stop, next, [&] { return !watching_; });
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
                        fmt::format("the query made the process grow by more than {} MB",
                                    growth_bytes_max_ >> 20),
                        "ask for less at once");
    }
    return {};
}

Watchdog::Watch::Watch(Watchdog& dog, Deadline deadline) : dog_(dog) {
    int64_t resident = resident_bytes();
    {
        std::lock_guard lock(dog_.mutex_);
        dog_.watching_ = true;
        dog_.deadline_ = std::move(deadline);
        dog_.resident_at_start_ = resident;
        dog_.reason_ = Reason::None;
    }
    dog_.changed_.notify_all();
}

Watchdog::Watch::~Watch() {
    {
        std::lock_guard lock(dog_.mutex_);
        dog_.watching_ = false;
    }
    dog_.changed_.notify_all();
}

Result<void> Watchdog::Watch::check() const {
    std::lock_guard lock(dog_.mutex_);
    if (dog_.reason_ == Reason::None) {
        if (dog_.deadline_.stop.stop_requested()) dog_.reason_ = Reason::Stopped;
        if (std::chrono::steady_clock::now() >= dog_.deadline_.at) dog_.reason_ = Reason::Deadline;
    }
    return dog_.verdict(dog_.reason_);
}

Error Watchdog::Watch::explain(Error error) const {
    if (error.code != ErrorCode::Cancelled) return error;
    std::lock_guard lock(dog_.mutex_);
    Result<void> verdict = dog_.verdict(dog_.reason_);
    return verdict ? error : std::move(verdict).error();
}

}  // namespace px::engine
