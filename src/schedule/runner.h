// Runner: starts what runs a pipeline, and ends it. The seam between the scheduler and processes:
// ProcessRunner in the product, a simulated one in tests. Rank 5. One thread at a time.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"

namespace px::schedule {

struct Command {
    std::vector<std::string> words;  ///< program and arguments
    std::string log_file;            ///< for its stdout and stderr; empty: dropped
    int64_t log_bytes_max = 0;       ///< stops writing there; 0: no bound
};

/// How a process ended.
struct Exit {
    int code = 0;    ///< exit code, when signal is 0
    int signal = 0;  ///< the signal that ended it
    /// Known to be gone, without how: it was another process's child.
    bool unknown = false;
    std::string last_line;  ///< of its stdout when it is JSON; "" else
};

class Runner {
  public:
    virtual ~Runner() = default;
    /// Starts a process in a group of its own and returns what names it, "host:boot:pid:start". The
    /// program begins only after announce(name) succeeded: so no process works that nobody knows
    /// of. Errors: as announce; NotFound, Forbidden, ResourceExhausted of the system.
    virtual Result<std::string> start(
        const Command& command,
        const std::function<Result<void>(const std::string& child)>& announce) = 0;
    /// nullopt: still works. A child of another process (adopted) ends with Exit::unknown.
    virtual std::optional<Exit> poll(const std::string& child) = 0;
    /// To the whole group: SIGTERM, or SIGKILL.
    virtual void terminate(const std::string& child, bool by_force) = 0;
    /// Until a child says something or ends, stop is requested, or the time has passed.
    virtual void wait(std::chrono::microseconds time, std::stop_token stop) = 0;
};

}  // namespace px::schedule
