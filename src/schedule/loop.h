// The loop that starts due runs in one process, until it is told to stop. Rank 5.
#pragma once

#include <functional>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "schedule/cron.h"

namespace px::schedule {

struct LoopOptions {
    int attempts = 3;  ///< of a failed run
    std::chrono::seconds retry_delay{300};
    bool exponential = true;  ///< each delay twice the one before, at most an hour
};

/// What became of a run: retried only when it failed for a reason that may pass.
enum class RunOutcome { Done, Halted, Failed };

/// Sleeps until the schedule is due, calls start(ds) with the due day (UTC), retries failures.
/// Returns when stop is requested. Due times that pass while a run works are not caught up.
Result<void> run_loop(const Cron& cron, const Clock& clock, const LoopOptions& options,
                      const std::function<RunOutcome(const std::string& ds)>& start,
                      std::stop_token stop);

}  // namespace px::schedule
