#include "columnar/file_sink.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

namespace px::columnar {

namespace {
constexpr size_t kBufferBytes = 256 * 1024;
}

Result<std::unique_ptr<FileSink>> FileSink::create(const std::filesystem::path& path) {
    const int fd = ::open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0) return fail_errno(errno, fmt::format("cannot create {}", path.string()));
    return std::unique_ptr<FileSink>(new FileSink(path, fd));
}

FileSink::~FileSink() {
    if (fd_ < 0) return;
    ::close(fd_);
    ::unlink(path_.c_str());
}

Result<void> FileSink::write(std::string_view bytes) {
    if (failed_ || fd_ < 0) {
        return fail(ErrorCode::Internal,
                    fmt::format("{} was written to after it failed or was closed", path_.string()));
    }
    offset_ += static_cast<int64_t>(bytes.size());
    if (buffer_.size() + bytes.size() <= kBufferBytes) {
        buffer_.append(bytes);
        return {};
    }
    PX_TRY(flush());
    if (bytes.size() >= kBufferBytes) return write_through(bytes);
    buffer_.append(bytes);
    return {};
}

Result<void> FileSink::flush() {
    PX_TRY(write_through(buffer_.view()));
    buffer_.clear();
    return {};
}

Result<void> FileSink::write_through(std::string_view bytes) {
    hash_.update(bytes);
    while (!bytes.empty()) {
        const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
        if (written < 0) {
            if (errno == EINTR) continue;
            failed_ = true;
            return fail_errno(errno, fmt::format("cannot write {}", path_.string()));
        }
        bytes.remove_prefix(static_cast<size_t>(written));
    }
    return {};
}

Result<std::string> FileSink::close() {
    PX_TRY(flush());
    if (::fsync(fd_) != 0) {
        failed_ = true;
        return fail_errno(errno, fmt::format("cannot sync {}", path_.string()));
    }
    const int fd = std::exchange(fd_, -1);
    if (::close(fd) != 0 && errno != EINTR) {
        const int error_number = errno;
        ::unlink(path_.c_str());
        return fail_errno(error_number, fmt::format("cannot close {}", path_.string()));
    }
    return to_hex(hash_.finish());
}

}  // namespace px::columnar
