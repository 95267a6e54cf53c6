// FileCache: copies of remote immutable files in a local folder, so that each is fetched once.
// Rank 2. Thread-safe, and safe between processes of one machine that share the folder: a copy is
// fetched by one of them while the others wait, and appears whole or not at all. Limited in size:
// the longest unused copies go first, never one that was handed out within `keep_for` (whoever
// asked for it may not have opened it yet). Each copy carries its SHA-256, which a process checks
// before it uses the copy for the first time; a damaged one is fetched again.
//
// In the folder: ID.EXT the copy, ID.sum its size and SHA-256, .px-tmp-… one under way (flock'ed by
// its writer), locks/00 … ff what processes wait on, locks/space while room is made: it holds the
// bytes in use, so that a copy is added without a look at all others; each process counts them
// itself before it adds its first. All of it may be deleted when no process works.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>

#include "base/result.h"

namespace px::store {

struct FileCacheOptions {
    std::filesystem::path folder;  ///< made when first needed, for its owner alone
    /// Bytes of all copies; ResourceExhausted beyond it.
    int64_t limit_bytes = int64_t{20} << 30;
    /// A copy handed out less than this ago stays.
    std::chrono::seconds keep_for{3600};

    Result<void> validate() const;
};

/// One immutable file: what it is, not where.
struct CachedFile {
    std::string identity;   ///< names its bytes for good, for example URL and ETag
    std::string shown;      ///< for messages
    std::string extension;  ///< ".parquet", or empty
    int64_t size_bytes = 0;
    std::string md5{};         ///< 16 raw bytes it must have, or empty: not known
    std::string sha256_hex{};  ///< adopt() alone: of the file that is handed over
};

class FileCache {
  public:
    explicit FileCache(FileCacheOptions options);

    /// Path of a whole, verified copy. When there is none, fill() is to write exactly
    /// file.size_bytes bytes to the descriptor, from offset 0 and in any order. Waits while another
    /// thread or process fetches the same file. Errors: what fill() fails with; Corrupt when the
    /// bytes written do not have file.md5; ResourceExhausted when the disk is full or the limit
    /// leaves no room; Forbidden. A failure leaves nothing behind.
    Result<std::filesystem::path> get(const CachedFile& file,
                                      const std::function<Result<void>(int descriptor)>& fill);

    /// Moves a finished file in, as if it had been fetched. False, and the file stays: there is no
    /// room, or it is on another file system.
    bool adopt(const CachedFile& file, const std::filesystem::path& path);

    /// Bytes that copies may still take: what the limit and the disk leave, counting copies that
    /// would be dropped for them. O(files).
    Result<int64_t> room_bytes() const;
    /// Bytes of all copies now. O(files).
    Result<int64_t> used_bytes() const;

  private:
    class Lock;
    struct Names;
    Names names_of(const CachedFile& file) const;
    Result<void> make_folders() const;
    /// The copy when it is there and sound; touches it. Under a lock of its id.
    Result<bool> is_sound(const CachedFile& file, const Names& names);
    static std::optional<int64_t> read_count(const Lock& space);
    static void write_count(const Lock& space, int64_t count);
    Result<void> make_room(const Lock& space, const CachedFile& file, int64_t bytes);
    Result<int64_t> drop_until(const CachedFile& file, int64_t bytes) const;
    Result<void> finish(const CachedFile& file, const Names& names,
                        const std::filesystem::path& temporary, const std::string& sha256_hex);

    FileCacheOptions options_;
    std::mutex mutex_;
    /// Ids whose copies this process has checked. Bounded; see is_sound.
    std::unordered_set<std::string> checked_;
    /// This process has counted the bytes in use.
    std::atomic<bool> is_counted_ = false;
};

}  // namespace px::store
