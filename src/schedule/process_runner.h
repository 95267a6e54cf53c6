// ProcessRunner: child processes of this one. Rank 5. One thread at a time.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>

#include "schedule/runner.h"

namespace px::schedule {

class ProcessRunner final : public Runner {
  public:
    ProcessRunner();
    /// Processes that still work are left alone: the next scheduler finds them.
    ~ProcessRunner() override;

    Result<std::string> start(
        const Command& command,
        const std::function<Result<void>(const std::string& child)>& announce) override;
    std::optional<Exit> poll(const std::string& child) override;
    void terminate(const std::string& child, bool by_force) override;
    void wait(std::chrono::microseconds time, std::stop_token stop) override;

  private:
    struct Child;
    std::map<std::string, std::unique_ptr<Child>> children_;
};

/// "host:boot:pid:start": names a process among all of all machines.
std::string process_name(pid_t pid);
std::string this_process();
/// False: certainly gone (its pid is free, or another process has it, or the machine was started
/// anew). nullopt: of another machine, nobody here can tell.
std::optional<bool> is_process_alive(const std::string& host_boot_pid_start);

}  // namespace px::schedule
