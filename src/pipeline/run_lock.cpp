#include "pipeline/run_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace px::pipeline {

Result<RunLock> RunLock::acquire(const std::filesystem::path& path, catalog::LockMode mode) {
    std::error_code code;
    std::filesystem::create_directories(path.parent_path(), code);
    if (code)
        return fail_errno(code.value(), "cannot create the folder " + path.parent_path().string());
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return fail_errno(errno, "cannot open the lock " + path.string());
    const bool shared = mode == catalog::LockMode::Shared;
    if (::flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
        char owner[32] = {};
        const bool is_known = ::pread(fd, owner, sizeof(owner) - 1, 0) > 0;
        ::close(fd);
        return fail(ErrorCode::Unavailable,
                    fmt::format("another px is working on this pipeline ({})",
                                is_known ? fmt::format("process {}", owner) : "tasks of a run"),
                    "Wait until it is done (px runs shows it), or stop it");
    }
    RunLock lock(fd, mode);
    if (shared) return lock;
    const std::string pid = std::to_string(::getpid());
    if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, pid.data(), pid.size(), 0) < 0) {
        return fail_errno(errno, "cannot write the lock " + path.string());
    }
    return lock;
}

RunLock::RunLock(RunLock&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), mode_(other.mode_) {}

RunLock::~RunLock() {
    if (fd_ >= 0) {
        // Empty again, so that a run that does nothing leaves every file as it was.
        if (mode_ == catalog::LockMode::Exclusive) {
            [[maybe_unused]] const int ignored = ::ftruncate(fd_, 0);
        }
        ::close(fd_);
    }
}

}  // namespace px::pipeline
