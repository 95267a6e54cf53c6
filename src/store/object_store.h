// Port ObjectStore: named immutable or replaceable blobs under one container, as the lake, the
// landing zone and the index need them. Adapters: local/ (a folder), azure/ (Blob Storage), memory/
// (tests). Rank 2. Every method is thread-safe and blocking. Keys are relative, '/'-separated,
// without "." or ".." parts or empty parts (InvalidArgument otherwise); bytes are opaque. Errors of
// all methods: NotFound, Forbidden, Unauthenticated (remote), ResourceExhausted (disk full),
// RateLimited (remote), Unavailable, Internal.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/service_facts.h"

namespace px::store {

struct ObjectMeta {
    std::string key;
    int64_t size_bytes = 0;
    TimestampMicros modified_at = 0;
    std::string content_md5{};  ///< 16 raw bytes where the store keeps it, or empty: not known
};

class ObjectStore {
  public:
    virtual ~ObjectStore() = default;

    /// Address as written in the configuration, without secrets, for messages.
    virtual std::string url() const = 0;
    /// What the service tells about itself; asks it. Errors: NotFound (no container).
    virtual Result<ServiceFacts> facts() const = 0;
    /// Creates the container when it is missing. True: it was created.
    virtual Result<bool> ensure_container() = 0;
    /// Absent object: nullopt.
    virtual Result<std::optional<ObjectMeta>> head(std::string_view key) const = 0;
    virtual Result<std::string> get(std::string_view key) const = 0;
    /// Exactly length bytes from offset; Corrupt if the object is shorter.
    virtual Result<std::string> get_range(std::string_view key, int64_t offset,
                                          int64_t length) const = 0;
    /// Atomic and durable create-or-replace: readers see the old bytes or the new ones.
    virtual Result<void> put(std::string_view key, std::string_view bytes) = 0;
    /// Atomic and durable create. AlreadyExists if the key is there, whoever wrote it; exactly one
    /// of several concurrent callers wins. This is the commit step of the lake.
    virtual Result<void> put_if_absent(std::string_view key, std::string_view bytes) = 0;
    /// Stores a finished local file under key, atomic and durable, replacing what is there; the
    /// local file is consumed (moved or deleted).
    virtual Result<void> put_file(std::string_view key, const std::filesystem::path& file) = 0;
    /// All objects whose key starts with prefix, sorted by key (bytewise); keys <= start_after are
    /// left out. Objects written while listing may be missing. An absent prefix is an empty list.
    virtual Result<std::vector<ObjectMeta>> list(std::string_view prefix,
                                                 std::string_view start_after = {}) const = 0;
    /// Removing what is absent is Ok.
    virtual Result<void> remove(std::string_view key) = 0;
    /// Removes what writers that are dead left half-written, and returns how many. Safe while
    /// others write. Stores that forget such parts by themselves have nothing to do.
    virtual Result<int64_t> sweep_temporary() { return int64_t{0}; }
    /// A readable local path for engines and mmap: the file itself (local) or a cached copy, for
    /// objects that are not replaced: a copy may be of what another process has replaced since.
    virtual Result<std::filesystem::path> local_path(std::string_view key) const = 0;
};

}  // namespace px::store
