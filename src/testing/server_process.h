// A real server as a child process of a test: started with its output read, and stopped by its
// process id at the end of the test, also when the test dies. For tests only.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace px::testing {

class ServerProcess {
  public:
    /// Starts command[0] (a path, or a name of the PATH) with the rest as its arguments, and waits
    /// until a line of its output (stdout or stderr) contains ready. environment: "NAME=value"
    /// besides our own. Errors: NotFound (no such program), DeadlineExceeded or Unavailable (it
    /// ended) with the end of its output.
    static Result<std::unique_ptr<ServerProcess>> start(
        const std::vector<std::string>& command, std::string_view ready,
        std::chrono::milliseconds patience = std::chrono::seconds(60),
        const std::vector<std::string>& environment = {});
    /// SIGTERM, and SIGKILL when it has not ended ten seconds later.
    ~ServerProcess();
    ServerProcess(const ServerProcess&) = delete;
    ServerProcess& operator=(const ServerProcess&) = delete;

    pid_t pid() const;
    /// The line that said it was ready.
    const std::string& ready_line() const;
    /// Peak of its memory so far, in bytes (VmHWM).
    int64_t memory_peak_bytes() const;

  private:
    struct State;
    explicit ServerProcess(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace px::testing
