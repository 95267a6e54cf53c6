// RunLock: only one process works on a pipeline at a time. An flock: it dies with its process.
#pragma once

#include <filesystem>

#include "base/result.h"

namespace px::pipeline {

class RunLock {
  public:
    /// Takes the lock file (created, folder included). Errors: Unavailable naming the owner's pid
    /// when another process has it.
    static Result<RunLock> acquire(const std::filesystem::path& file);
    ~RunLock();
    RunLock(RunLock&& other) noexcept;
    RunLock& operator=(RunLock&&) = delete;

  private:
    explicit RunLock(int fd) : fd_(fd) {}
    int fd_ = -1;
};

}  // namespace px::pipeline
