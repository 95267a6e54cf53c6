// Landing: source files copied byte for byte into the landing zone, named by what they hold. From
// there on a run never looks outside again. First stage of the walk (source). Relies on
// ObjectStore.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/progress.h"
#include "base/result.h"
#include "store/object_store.h"

namespace px::source {

struct FileHash {
    std::string sha256;  ///< 64 hexadecimal digits
    int64_t size_bytes = 0;
};

/// One landed file.
struct Landed {
    std::string path;  ///< as found, '/'-separated, relative to the base where the pattern was
    std::string key;   ///< in the landing zone
    std::string sha256;
    int64_t size_bytes = 0;
};

struct LandOptions {
    std::string source;  ///< name of the source: first part of the key
    std::string ds;      ///< logical date: second part of the key
    std::filesystem::path
        staging;  ///< existing folder for the copy in work, best on the landing zone's disk
    int64_t copy_block_bytes = 1 << 20;

    /// InvalidArgument naming the option: a source or ds that is no single part of a key, a staging
    /// that is no folder.
    Result<void> validate() const;
};

/// "SOURCE/DS/SHA256.EXT"; EXT: the path's extension in lower case, both of "x.csv.gz"; none:
/// "bin".
std::string landing_key(std::string_view source, std::string_view ds,
                        const std::filesystem::path& path, std::string_view sha256);

/// Reads a file to its end. Writes nothing. Errors: as fail_errno; InvalidArgument for what is no
/// regular file; Unavailable when it changed while being read; Cancelled, DeadlineExceeded.
Result<FileHash> hash_file(const std::filesystem::path& path, const Deadline& deadline);

/// Copies files (absolute, or below base) into the store, in their order, one Landed each. What the
/// store already has under the same key and size is not written again; files of equal content share
/// a key. A file that fails ends the landing; what was stored before it stays and is recognised
/// next time. Errors: those of hash_file, with the path; of the store; ResourceExhausted when the
/// staging disk is full.
Result<std::vector<Landed>> land(const std::filesystem::path& base,
                                 const std::vector<std::filesystem::path>& files,
                                 const LandOptions& options, store::ObjectStore& landing_zone,
                                 Progress& progress, const Deadline& deadline);

}  // namespace px::source
