// ZipArchive: a move-only handle over libzip for an archive held in memory. Rank 2. One thread at a
// time.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

struct zip;

namespace px::source {

class ZipArchive {
  public:
    /// bytes must outlive it. unpacked_bytes_max bounds what all reads together unpack.
    /// Errors: Corrupt (no zip archive, or a damaged directory).
    static Result<ZipArchive> open(std::string_view bytes, size_t unpacked_bytes_max);

    /// The unpacked part, or nullopt when there is none of that name.
    /// Errors: Corrupt (damaged, wrong checksum), Forbidden (encrypted), ResourceExhausted (bound).
    Result<std::optional<std::string>> read(const std::string& name);

  private:
    struct Discard {
        void operator()(zip* archive) const;
    };
    ZipArchive(std::unique_ptr<zip, Discard> archive, size_t unpacked_bytes_max)
        : archive_(std::move(archive)),
          unpacked_bytes_left_(unpacked_bytes_max),
          bound_(unpacked_bytes_max) {}

    std::unique_ptr<zip, Discard> archive_;
    size_t unpacked_bytes_left_;
    size_t bound_;
};

}  // namespace px::source
