#include "schedule/loop.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "base/log.h"

namespace px::schedule {

namespace {

/// False: stopped meanwhile. Looks at the clock again at least once a minute, since it may be set.
bool sleep_until(TimestampMicros due, const Clock& clock, std::stop_token stop) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    while (!stop.stop_requested()) {
        const int64_t left = due - clock.now();
        if (left <= 0) return true;
        wake.wait_for(lock, stop, std::chrono::microseconds(std::min<int64_t>(left, 60'000'000)),
                      [] { return false; });
    }
    return false;
}

}  // namespace

Result<void> run_loop(const Cron& cron, const Clock& clock, const LoopOptions& options,
                      const std::function<RunOutcome(const std::string& ds)>& start,
                      std::stop_token stop) {
    while (!stop.stop_requested()) {
        const TimestampMicros due = PX_TRY(cron.next_after(clock.now()));
        log::info("schedule.next", {{"due", format_timestamp(due)}});
        if (!sleep_until(due, clock, stop)) return {};
        const std::string ds = format_timestamp(due).substr(0, 10);
        std::chrono::seconds delay = options.retry_delay;
        for (int attempt = 1; !stop.stop_requested(); ++attempt) {
            const RunOutcome outcome = start(ds);
            if (outcome != RunOutcome::Failed || attempt >= options.attempts) break;
            log::warning("schedule.retry",
                         {{"ds", ds}, {"attempt", attempt}, {"delay_s", delay.count()}});
            if (!sleep_until(clock.now() + delay.count() * 1'000'000, clock, stop)) return {};
            if (options.exponential) delay = std::min(delay * 2, std::chrono::seconds(3'600));
        }
    }
    return {};
}

}  // namespace px::schedule
