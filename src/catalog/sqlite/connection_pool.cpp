#include "catalog/sqlite/connection_pool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace px::catalog {

Result<FileStamp> ConnectionPool::stamp() const {
    struct stat found {};
    if (::stat(file_.c_str(), &found) != 0) {
        if (errno == ENOENT) {
            return fail(ErrorCode::NotFound, "there is no catalog " + file_.string(),
                        "run `px run` first");
        }
        return fail_errno(errno, "cannot read catalog " + file_.string());
    }
    FileStamp stamp;
    stamp.inode = found.st_ino;
    stamp.size_bytes = found.st_size;
    stamp.modified_ns = found.st_mtim.tv_sec * 1'000'000'000 + found.st_mtim.tv_nsec;
    stamp.changed_ns = found.st_ctim.tv_sec * 1'000'000'000 + found.st_ctim.tv_nsec;
    stamp.has_wal = ::access((file_.string() + "-wal").c_str(), F_OK) == 0;
    return stamp;
}

Result<ConnectionPool::Lease> ConnectionPool::open(const FileStamp& now) const {
    sqlite::OpenOptions options;
    options.busy_timeout = options_.busy_timeout;
    options.mode =
        mode_ == OpenMode::ReadOnly ? sqlite::OpenMode::ReadOnly : sqlite::OpenMode::Create;
    options.immutable = mode_ == OpenMode::ReadOnly && !now.has_wal;
    sqlite::Database database = PX_TRY(sqlite::Database::open(file_, options));
    // A commit is on the disk when it returns, and readers never see one that is not.
    if (mode_ == OpenMode::ReadWrite) {
        PX_TRY(
            database.exec("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA "
                          "journal_size_limit = 67108864; "
                          "PRAGMA cache_size = -16384; PRAGMA temp.cache_size = -16384"));
    }
    return std::make_unique<Connection>(Connection{std::move(database), options.immutable, now});
}

Result<ConnectionPool::Lease> ConnectionPool::acquire() {
    FileStamp now;
    if (mode_ == OpenMode::ReadOnly) now = PX_TRY(stamp());
    Lease lease;
    std::vector<Lease> stale;
    {
        std::unique_lock lock(mutex_);
        returned_.wait(lock, [&] { return lent_ < options_.connections_max; });
        ++lent_;
        while (!idle_.empty() && !lease) {
            Lease candidate = std::move(idle_.back());
            idle_.pop_back();
            bool usable =
                mode_ == OpenMode::ReadWrite ||
                (candidate->immutable ? candidate->opened_at == now
                                      : now.has_wal && candidate->opened_at.inode == now.inode);
            (usable ? lease : stale.emplace_back()) = std::move(candidate);
        }
    }
    stale.clear();
    if (lease) return lease;
    Result<Lease> opened = open(now);
    if (!opened) {
        std::lock_guard lock(mutex_);
        --lent_;
        returned_.notify_one();
    }
    return opened;
}

void ConnectionPool::release(Lease lease, bool reusable) {
    if (!reusable) lease.reset();
    std::lock_guard lock(mutex_);
    --lent_;
    if (lease) idle_.push_back(std::move(lease));
    returned_.notify_one();
}

}  // namespace px::catalog
