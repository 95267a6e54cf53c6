// The Delta log as files and as a state: lists _delta_log, replays checkpoint and commits. Rank 3.
// LogState is a value; LogReader is thread-safe and remembers the newest state, so that the next
// reading takes only what is new.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "lake/action.h"
#include "lake/delta_table.h"
#include "store/object_store.h"

namespace px::lake {

/// What a name in _delta_log means.
struct LogFileName {
    enum class Kind { Commit, Checkpoint, CheckpointPart, Version2Checkpoint };
    Kind kind = Kind::Commit;
    int64_t version = 0;
    int64_t part = 0, parts = 0;  ///< CheckpointPart: part of parts, from 1
    bool operator==(const LogFileName&) const = default;
};
/// nullopt: a file that is none of the log's (or not needed to read it).
std::optional<LogFileName> parse_log_file_name(std::string_view name);

/// A checkpoint's files, complete.
struct CheckpointFiles {
    int64_t version = 0;
    std::vector<store::ObjectMeta> files;
};

/// The log's files from some version on.
struct LogListing {
    std::map<int64_t, store::ObjectMeta> commits;
    std::vector<CheckpointFiles> checkpoints;    ///< complete ones, newest first
    std::vector<int64_t> version_2_checkpoints;  ///< only named by uuid: not readable here
    bool empty() const {
        return commits.empty() && checkpoints.empty() && version_2_checkpoints.empty();
    }
    int64_t newest_version() const;
};

/// All the log says about the table at one version.
struct LogState {
    int64_t version = -1;
    int64_t timestamp_ms = 0;  ///< of the last commit; later than that of the commit before
    std::optional<Protocol> protocol;
    std::optional<Metadata> metadata;
    std::map<std::string, AddAction> files;  ///< by path and deletion vector
    std::map<std::string, RemoveAction> tombstones;
    std::map<std::string, TransactionAction> transactions;
    std::map<std::string, DomainMetadata> domains;

    /// entry_timestamp_ms is used unless the entry tells its own.
    void apply(LogEntry entry, int64_t entry_version, int64_t entry_timestamp_ms);
    /// As apply, for the lines of a checkpoint.
    void take_checkpoint(LogEntry entry);
};

/// Refuses what we can't read, by the feature's name. Errors: InvalidArgument, Corrupt (no protocol
/// or metadata).
Result<void> check_readable(const LogState& state);
/// Refuses what we can't write, by the feature's name; removes_files: the change takes files out.
/// Errors: InvalidArgument.
enum class WriteKind { AppendOnly, RemovesFiles };
Result<void> check_writable(const LogState& state, WriteKind kind);
/// Errors: as check_readable, and for columns or paths that a Snapshot can't hold.
Result<Snapshot> to_snapshot(const LogState& state);

class LogReader {
  public:
    LogReader(store::ObjectStore& store, std::string prefix, DeltaTableOptions options);

    std::string commit_key(int64_t version) const;
    std::string checkpoint_key(int64_t version) const;
    std::string last_checkpoint_key() const;

    /// Newest version; null when there is no table. Errors: Corrupt, InvalidArgument (needs a
    /// version 2 checkpoint).
    Result<std::shared_ptr<const LogState>> newest();
    /// Errors: NotFound besides.
    Result<std::shared_ptr<const LogState>> at(int64_t version);
    /// Newest version whose commit is not later; its timestamp is the one compared. Errors:
    /// NotFound.
    Result<std::shared_ptr<const LogState>> as_of(TimestampMicros time);

    /// What _last_checkpoint says; nullopt if it says nothing understandable.
    std::optional<int64_t> checkpoint_hint() const;
    /// The whole log, nothing read.
    Result<LogListing> list_all() const { return list_from(0); }
    /// A commit's actions. Errors: NotFound, Corrupt.
    Result<LogEntry> read_commit(int64_t version) const;
    /// What the commit itself says about its time, in ms; the file's time if it says nothing.
    Result<int64_t> commit_time(int64_t version, const store::ObjectMeta& meta);
    /// Each commit that is there with its time in ms, oldest first, made strictly rising.
    Result<std::vector<std::pair<int64_t, int64_t>>> commit_times(const LogListing& listing);
    /// Oldest version that can be read. nullopt: none.
    static std::optional<int64_t> oldest_readable(const LogListing& listing);

  private:
    struct Known {
        std::shared_ptr<const LogState> state;
        store::ObjectMeta commit;  ///< by which to notice that the table was made anew
    };
    Result<LogListing> list_from(int64_t version) const;
    Result<std::shared_ptr<const LogState>> load(std::optional<int64_t> version);
    Result<std::shared_ptr<const LogState>> load_once(std::optional<int64_t> version);
    Result<std::shared_ptr<const LogState>> replay(const LogListing& listing, LogState start,
                                                   int64_t version);

    Error no_such_version(int64_t version, const LogListing& listing) const;

    store::ObjectStore& store_;
    std::string prefix_;
    DeltaTableOptions options_;
    std::mutex mutex_;
    Known known_;
    std::map<int64_t, std::pair<store::ObjectMeta, int64_t>>
        times_;  ///< commit file → its own time
};

}  // namespace px::lake
