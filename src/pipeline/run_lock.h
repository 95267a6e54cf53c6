// RunLock: only one process works on a pipeline at a time. An flock: it dies with its process.
#pragma once

#include <filesystem>

#include "base/result.h"
#include "catalog/catalog.h"

namespace px::pipeline {

class RunLock {
  public:
    /// Takes the lock file (created, folder included). Errors: Unavailable naming the owner's pid
    /// when another process has it.
    static Result<RunLock> acquire(const std::filesystem::path& file,
                                   catalog::LockMode mode = catalog::LockMode::Exclusive);
    ~RunLock();
    RunLock(RunLock&& other) noexcept;
    RunLock& operator=(RunLock&&) = delete;

  private:
    RunLock(int fd, catalog::LockMode mode) : fd_(fd), mode_(mode) {}
    int fd_ = -1;
    catalog::LockMode mode_;
};

}  // namespace px::pipeline
