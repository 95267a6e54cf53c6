// Connections to one catalog file, lent to one caller at a time, and the rule by which a reader
// leaves no trace. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/result.h"
#include "capi/sqlite/sqlite.h"
#include "catalog/catalog.h"

namespace px::catalog {

/// What tells that a database file was written between two looks.
struct FileStamp {
    uint64_t inode = 0;
    int64_t size_bytes = 0;
    int64_t modified_ns = 0;
    int64_t changed_ns = 0;
    bool has_wal =
        false;  ///< a -wal stands beside it: some process writes, or was killed while it did
    bool operator==(const FileStamp&) const = default;
};

class ConnectionPool {
  public:
    ConnectionPool(std::filesystem::path file, OpenMode mode, const SqliteCatalogOptions& options)
        : file_(std::move(file)), mode_(mode), options_(options) {}

    OpenMode mode() const { return mode_; }

    /// body(sqlite::Database&) within one read transaction. A read-only pool reads the file as
    /// immutable while no -wal stands beside it (so nothing is made or locked) and reads again if
    /// that was not so until the end.
    template <class F>
    auto read(F&& body) -> decltype(body(std::declval<sqlite::Database&>()));

    /// body(sqlite::Database&) within one write transaction, committed when it succeeds.
    template <class F>
    auto write(F&& body) -> decltype(body(std::declval<sqlite::Database&>()));

  private:
    struct Connection {
        sqlite::Database database;
        bool immutable;
        FileStamp opened_at;
    };
    using Lease = std::unique_ptr<Connection>;

    Result<FileStamp> stamp() const;
    Result<Lease> acquire();
    Result<Lease> open(const FileStamp& now) const;
    void release(Lease lease, bool reusable);

    std::filesystem::path file_;
    OpenMode mode_;
    SqliteCatalogOptions options_;
    std::mutex mutex_;
    std::condition_variable returned_;
    std::vector<Lease> idle_;
    size_t lent_ = 0;
};

template <class F>
auto ConnectionPool::read(F&& body) -> decltype(body(std::declval<sqlite::Database&>())) {
    using R = decltype(body(std::declval<sqlite::Database&>()));
    constexpr int kAttempts = 20;
    for (int attempt = 1;; ++attempt) {
        Lease lease = PX_TRY(acquire());
        bool settled = true;
        R result = [&]() -> R {
            sqlite::Transaction snapshot = PX_TRY(
                sqlite::Transaction::begin(lease->database, sqlite::Transaction::Kind::Deferred));
            return body(lease->database);
        }();
        if (lease->immutable) {
            Result<FileStamp> after = stamp();
            settled = after && *after == lease->opened_at;
        }
        release(std::move(lease), settled);
        if (settled) return result;
        if (attempt == kAttempts) {
            return fail(ErrorCode::Unavailable,
                        "the catalog " + file_.string() + " is being replaced again and again",
                        "try again");
        }
    }
}

template <class F>
auto ConnectionPool::write(F&& body) -> decltype(body(std::declval<sqlite::Database&>())) {
    using R = decltype(body(std::declval<sqlite::Database&>()));
    if (mode_ == OpenMode::ReadOnly) {
        return fail(ErrorCode::Forbidden,
                    "the catalog " + file_.string() + " was opened for reading only");
    }
    Lease lease = PX_TRY(acquire());
    R result = [&]() -> R {
        sqlite::Transaction transaction = PX_TRY(
            sqlite::Transaction::begin(lease->database, sqlite::Transaction::Kind::Immediate));
        R made = body(lease->database);
        if (made) PX_TRY(transaction.commit());
        return made;
    }();
    release(std::move(lease), true);
    return result;
}

}  // namespace px::catalog
