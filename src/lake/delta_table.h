// A Delta Lake table over an ObjectStore: reads its log into a Snapshot, commits Transactions,
// checkpoints, vacuums. Protocol reader 1 / writer 2 for what we write; what we can't read is
// refused by the feature's name. Rank 3. DeltaTable is thread-safe; Snapshot is an immutable value.
// Specification: docs/formats/delta.md and the Delta transaction log protocol.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "columnar/parquet_writer.h"
#include "columnar/record_batch.h"
#include "store/object_store.h"

namespace px::lake {

struct TableVersion {
    int64_t value = -1;
    auto operator<=>(const TableVersion&) const = default;
};

using PartitionValues = std::map<std::string, std::optional<std::string>>;

/// Action add: a data file of the table. path is relative to the table, decoded.
struct Add {
    std::string path;
    PartitionValues partition_values;
    int64_t size_bytes = 0;
    int64_t modification_time_ms = 0;
    bool data_change = true;
    std::string stats_json;  ///< {"numRecords":…,"minValues":…,…}; may be empty
};
/// Statistics in Delta's form from a finished file; schema is the file's (no partition columns).
std::string make_stats_json(const columnar::Schema& schema, const columnar::ParquetFileInfo& info);
/// numRecords of stats_json, if it is there.
std::optional<int64_t> stats_row_count(const Add& add);

struct CommitInfo {
    std::string operation;  ///< "WRITE", "CREATE TABLE", …
    std::map<std::string, std::string> parameters;
    std::string run_id;
};

/// The table at one version.
struct Snapshot {
    TableVersion version;
    TimestampMicros committed_at = 0;
    columnar::Schema schema;  ///< with partition columns
    std::vector<std::string> partition_columns;
    std::string table_id;
    std::map<std::string, std::string> configuration;
    std::vector<Add> files;                       ///< sorted by path
    std::map<std::string, int64_t> transactions;  ///< appId → version
    std::vector<const Add*> files_in(const PartitionValues& partition) const;
    std::optional<int64_t> row_count() const;  ///< if every file has numRecords
};

/// What one commit does. All paths of adds must already be in the store.
struct Change {
    /// Set for the first commit of a table, or when the schema grows (new nullable columns;
    /// anything else InvalidArgument).
    std::optional<columnar::Schema> schema;
    /// The schema is the table's from now on, whatever it was. Every file of base must be removed
    /// and the whole table overwritten.
    bool replace_schema = false;
    std::vector<std::string> partition_columns;  ///< with the first commit
    std::vector<Add> add;
    std::vector<std::string> remove;  ///< paths
    /// Overwrites: the commit depends on nobody adding to or removing from these partitions since
    /// the base snapshot; an empty map = the whole table. Absent: a blind append.
    std::optional<PartitionValues> overwrites;
    std::string app_id;  ///< txn; empty: none
    int64_t app_version = 0;
    CommitInfo info;
};

struct HistoryEntry {
    TableVersion version;
    TimestampMicros committed_at = 0;
    std::string operation;
    std::string run_id;
    int64_t files_added = 0, files_removed = 0;
};

struct VacuumReport {
    int64_t files = 0, bytes = 0;
};

class CheckpointEngine;
/// What reads and writes checkpoints; opening it costs 20 ms, so tables may share one. Thread-safe.
std::shared_ptr<CheckpointEngine> make_checkpoint_engine();

struct DeltaTableOptions {
    int64_t checkpoint_interval = 10;  ///< commits between checkpoints; 0: never
    int commit_attempts = 20;          ///< tries against other writers before Conflict is returned
    int64_t log_entry_bytes_max = 1LL << 30;  ///< a longer log entry is not read: bounds memory
    std::filesystem::path temporary_folder =
        {};  ///< where checkpoints are built; empty: the system's
    std::shared_ptr<CheckpointEngine> checkpoint_engine = nullptr;  ///< null: one of its own
};

class LogReader;

class DeltaTable {
  public:
    /// prefix: the table's folder, "reports". Nothing is read yet. store and clock outlive the
    /// table.
    DeltaTable(store::ObjectStore& store, std::string prefix, const Clock& clock,
               DeltaTableOptions options = {});
    ~DeltaTable();
    DeltaTable(DeltaTable&&) noexcept;

    /// Newest version; nullopt if there is no table.
    Result<std::optional<Snapshot>> snapshot() const;
    /// Errors: NotFound (version never was, or its log is cleaned), Corrupt, InvalidArgument (a
    /// table feature we can't read, by name).
    Result<Snapshot> snapshot_at(TableVersion version) const;
    /// Newest version committed at or before a time. Errors: NotFound.
    Result<Snapshot> snapshot_as_of(TimestampMicros time) const;

    /// Commits on top of base (nullopt: the table must not exist yet). When other writers were
    /// first: rebased and tried again if their commits don't conflict by the protocol's rules, else
    /// Conflict. When the log already holds txn (app_id, >= app_version): nothing is written and
    /// that commit's version is returned. Returns the committed version. Crash-safe: the one step
    /// that publishes is ObjectStore::put_if_absent of the log entry. A path both removed and added
    /// stays as it is (its bytes are the same); one that is in the table already can't be added.
    /// Errors: InvalidArgument (schema, partition values or paths that don't fit; a table feature
    /// we can't write), Conflict, OutcomeUnknown (the store failed and could not be asked
    /// afterwards: commit again with the same txn), the store's.
    Result<TableVersion> commit(const std::optional<Snapshot>& base, const Change& change);

    Result<std::vector<HistoryEntry>> history()
        const;  ///< newest first, as far back as the log reaches
    /// Writes the checkpoint of a version and points _last_checkpoint at it unless that is newer.
    /// commit() does it by itself every checkpoint_interval versions; a failure there is logged and
    /// costs nothing but speed.
    Result<void> checkpoint(TableVersion version);
    /// Deletes files that no version from older_than on (nor the one current then, nor those of
    /// keep) refers to and that were last written before it, staged ones included; folders and
    /// files beginning with '_' or '.' are left alone. DryRun only counts. Errors: InvalidArgument
    /// (older_than in the future), NotFound (a version of keep), the store's.
    enum class VacuumMode { DryRun, Delete };
    Result<VacuumReport> vacuum(TimestampMicros older_than, const std::vector<TableVersion>& keep,
                                VacuumMode mode);
    const std::string& prefix() const { return prefix_; }

  private:
    Result<TableVersion> commit_change(const std::optional<Snapshot>& base, const Change& change);
    Result<void> write_checkpoint(TableVersion version);
    Result<TableVersion> version_of_transaction(const std::string& app_id,
                                                int64_t app_version) const;

    store::ObjectStore& store_;
    std::string prefix_;
    const Clock& clock_;
    DeltaTableOptions options_;
    std::unique_ptr<LogReader> log_;
};

}  // namespace px::lake
