// ByteStream: the bytes of a landed file from first to last, decompressed on the way. First step of
// reading records. Relies on zlib and libzstd. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>

#include "base/result.h"

namespace px::source {

class ByteStream {
  public:
    virtual ~ByteStream() = default;
    /// Fills up to size bytes; 0 = the end. Errors: Corrupt (broken or cut compressed data), as
    /// fail_errno.
    virtual Result<size_t> read(char* out, size_t size) = 0;
    /// Bytes of the file itself consumed so far.
    virtual int64_t consumed() const = 0;
};

struct OpenedBytes {
    std::unique_ptr<ByteStream> stream;
    bool compressed = false;
};

/// Opens a file from offset. gzip (also of several members) and zstd (also of several frames) are
/// recognised by their first bytes and decompressed; then offset must be 0. Errors: as fail_errno;
/// Corrupt when a name ending in .gz or .zst holds something else; InvalidArgument for a folder.
Result<OpenedBytes> open_bytes(const std::filesystem::path& path, int64_t offset = 0);

}  // namespace px::source
