// FileSink: a file written from start to end, hashed while it is written. Not thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/sha256.h"
#include "columnar/byte_buffer.h"

namespace px::columnar {

/// Destroyed before close(), or after a failure, it removes its file.
class FileSink {
  public:
    /// Creates or empties the file. Errors: as fail_errno.
    static Result<std::unique_ptr<FileSink>> create(const std::filesystem::path& path);
    ~FileSink();
    FileSink(const FileSink&) = delete;
    FileSink& operator=(const FileSink&) = delete;

    /// Errors: ResourceExhausted when the disk is full, others as fail_errno; the sink stays
    /// failed.
    Result<void> write(std::string_view bytes);
    /// Bytes written so far.
    int64_t offset() const { return offset_; }
    /// Writes what is buffered, fsyncs and closes. Returns the SHA-256 of the bytes, hexadecimal.
    Result<std::string> close();

  private:
    FileSink(std::filesystem::path path, int fd) : path_(std::move(path)), fd_(fd) {}
    Result<void> flush();
    Result<void> write_through(std::string_view bytes);

    std::filesystem::path path_;
    int fd_;
    bool failed_ = false;
    int64_t offset_ = 0;
    ByteBuffer buffer_;
    Sha256 hash_;
};

}  // namespace px::columnar
