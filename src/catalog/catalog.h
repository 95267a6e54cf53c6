// Catalog: what has been run, landed and released: the relational metadata of a pipeline. Rank 2.
// Embedded: SQLite (WAL) through catalog/sqlite; remote: PostgreSQL through catalog/postgres. Every
// method is thread-safe and one transaction. Tables are specified in docs/formats/catalog.md.
// Errors: Unavailable (locked too long; a server that does not answer, refuses what is needed or
// misses a table), Unauthenticated, Corrupt, ResourceExhausted, OutcomeUnknown (the reply of a
// commit was lost and the server did not come back to be asked).
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/service_facts.h"

namespace px::catalog {

struct RunId {
    std::string
        value;  ///< "<ds>-<sequence, 4 digits>", e.g. 2026-11-23-0007; unique in the pipeline
    auto operator<=>(const RunId&) const = default;
};
struct ReleaseId {
    int64_t value = 0;  ///< 1, 2, 3 … without gaps
    auto operator<=>(const ReleaseId&) const = default;
};

enum class RunState { Running, Published, Unchanged, Halted, Failed };
std::string_view run_state_name(RunState state);  ///< "running", "published", …
std::optional<RunState> parse_run_state(std::string_view name);

struct Run {
    RunId id;
    std::string ds;
    RunState state = RunState::Running;
    TimestampMicros started_at = 0;
    std::optional<TimestampMicros> finished_at;
    std::string pipeline_text;      ///< the pipeline file as it was, secrets unresolved
    std::string input_fingerprint;  ///< hash over configuration and landed files
    std::string message;            ///< of the halt or failure
    std::string report_json;  ///< counts: rows, quarantined, chunks embedded/reused/deleted …
    std::optional<ReleaseId> release;
    std::string external_id;  ///< what an orchestrator calls the run; empty: nobody did
};

struct TaskAttempt {
    RunId run;
    std::string task;  ///< "stage.reports"
    int attempt = 1;
    std::string state;  ///< "running", "done", "failed"
    TimestampMicros started_at = 0;
    std::optional<TimestampMicros> finished_at;
    std::string message;
    std::string output_json;  ///< what later tasks need to go on after a kill
};

struct LandedFile {
    std::string source, ds;
    std::string path;  ///< as the source named it, relative to the pipeline file
    std::string key;   ///< in the landing store
    std::string sha256;
    int64_t size_bytes = 0;
    TimestampMicros landed_at = 0;
};

/// A row of the documents' table `analytics_metadata`, valid for releases [from, to).
struct DocumentRow {
    std::string document_id;  ///< "<source>/<id>"
    std::string source, ds;
    std::string id, title, author, category;
    std::optional<TimestampMicros> created_at;
    TimestampMicros ingested_at = 0;
    std::string landed_key, landed_sha256, path;
    int64_t line = 0, byte_start = 0, byte_end = 0;  ///< of the record in the landed file
    bool offsets_are_raw = true;
    std::string text_sha256;
    int64_t text_length = 0;
    std::string extra_json;   ///< what re-derivation needs beyond this (text_is_raw, text_offset)
    ReleaseId first_release;  ///< read only: whose run brought this row
};

struct CheckResult {
    RunId run;
    std::string source, check, expected, actual;
    bool passed = false;
};

struct QuarantineCount {
    RunId run;
    std::string source, rule;
    int64_t count = 0;
};

/// One atomic snapshot over everything.
struct Release {
    ReleaseId id;
    RunId run;
    std::string ds;
    TimestampMicros published_at = 0;
    std::map<std::string, int64_t>
        table_versions;          ///< Delta table → version, every table of the pipeline
    std::string index_manifest;  ///< index::ManifestId
    int64_t documents = 0, chunks = 0;
    /// ds → fingerprint of the run that last published it. In a Publication: those to set; the
    /// run's own ds is always set, and what is not listed stays as it was.
    std::map<std::string, std::string> input_fingerprints;
};

/// What publish() writes in one transaction.
struct Publication {
    Release release;  ///< id and documents are ignored: assigned and counted; input_fingerprints is
                      ///< the whole map
    /// Documents by (source, ds) partition: rows of these partitions that are live and not listed
    /// end with this release; equal rows stay as they are; new and changed ones begin with it.
    struct Partition {
        std::string source;
        std::optional<std::string> ds;  ///< nullopt: every ds of the source
        std::vector<DocumentRow> documents;
    };
    std::vector<Partition> documents;
    /// The run's report, asked for once id and document count of the release are known; may be
    /// empty.
    std::function<std::string(const Release&)> report;
    /// The newest release when the run looked (0: there was none); absent: not checked.
    std::optional<int64_t> expected_latest;
};

/// A row of one of the catalog's tables on its way into another catalog. The tables are SQLite's
/// (docs/formats/catalog.md), so every adapter gives and takes the same. Values as text: numbers in
/// decimal, truth as 0 or 1, instants as instant_text (catalog/instant.h) writes them.
struct StoredRow {
    std::string table;
    std::vector<std::string> columns;
    std::vector<std::optional<std::string>> values;  ///< nullopt: NULL
};
using StoredRowSink = std::function<Result<void>(const StoredRow&)>;

/// Held while a process works on the pipeline of a catalog; given back when destroyed. One thread
/// at a time.
class PipelineLock {
  public:
    virtual ~PipelineLock() = default;
    /// Ok while the lock is held. Costs a round trip to the server. Errors: Unavailable once it is
    /// lost (the server ended the session: restart, failover): another process may work by now, so
    /// commit nothing more.
    virtual Result<void> check() = 0;
};

/// Exclusive: nobody else. Shared: others that share it, as the tasks of one run do.
enum class LockMode { Exclusive, Shared };

class Catalog {
  public:
    virtual ~Catalog() = default;

    /// The lock that keeps two processes, also of two machines, from working on this catalog at the
    /// same time; it ends with its holder. Null: a catalog of one machine (SQLite), for which the
    /// lock file beside it does. Errors: Unavailable at once, naming the holder, when it is taken;
    /// Forbidden (opened for reading only).
    virtual Result<std::unique_ptr<PipelineLock>> lock_pipeline(
        LockMode /*mode*/ = LockMode::Exclusive) {
        return std::unique_ptr<PipelineLock>();
    }

    /// What the database tells about itself; asks it.
    virtual Result<ServiceFacts> facts() = 0;

    virtual Result<Run> begin_run(const std::string& ds, const std::string& pipeline_text,
                                  const std::string& input_fingerprint,
                                  const std::string& external_id = {}) = 0;
    /// The newest run an orchestrator gave this name.
    virtual Result<std::optional<Run>> run_called(const std::string& external_id) = 0;
    /// Runs in state Running, oldest first: to be resumed by whoever holds the run lock.
    virtual Result<std::vector<Run>> unfinished_runs() = 0;
    /// Attempts of the run that are still running end as failed.
    virtual Result<void> finish_run(const RunId& run, RunState state, const std::string& message,
                                    const std::string& report_json) = 0;
    virtual Result<std::optional<Run>> run(const RunId& id) = 0;
    virtual Result<std::vector<Run>> runs(
        int64_t limit) = 0;  ///< newest first, without pipeline_text

    /// The attempt's number, 1-based; an earlier one that is still running ends as failed. Errors:
    /// NotFound (no such run); Conflict (the run has ended).
    virtual Result<int> begin_task(const RunId& run, const std::string& task) = 0;
    /// Errors: NotFound (no such attempt); Conflict (it was taken over by a later one, or the run
    /// ended meanwhile: what it did must not count).
    virtual Result<void> finish_task(const RunId& run, const std::string& task, int attempt,
                                     const std::string& state, const std::string& message,
                                     const std::string& output_json) = 0;
    /// Output of the task's done attempt, if there is one.
    virtual Result<std::optional<std::string>> task_output(const RunId& run,
                                                           const std::string& task) = 0;
    virtual Result<std::vector<TaskAttempt>> tasks(const RunId& run) = 0;

    /// In place of what was recorded for the same run and source before.
    virtual Result<void> record_landed(const RunId& run, const std::vector<LandedFile>& files) = 0;
    virtual Result<std::vector<LandedFile>> landed_files(const RunId& run) = 0;
    /// For each ds of a source, the landed files of the newest Published run that recorded some for
    /// this (source, ds): what the live partitions of the source were made from. Ordered by ds,
    /// path.
    virtual Result<std::vector<LandedFile>> published_files(const std::string& source) = 0;
    /// The newest record of a landed file, of any run.
    virtual Result<std::optional<LandedFile>> landed_file(const std::string& key) = 0;
    virtual Result<void> record_checks(const std::vector<CheckResult>& checks) = 0;
    virtual Result<std::vector<CheckResult>> checks(const RunId& run) = 0;
    virtual Result<void> record_quarantine(const RunId& run,
                                           const std::vector<QuarantineCount>& counts) = 0;
    virtual Result<std::vector<QuarantineCount>> quarantine_counts(const RunId& run) = 0;

    /// The step that makes a release visible. Idempotent by run: a run that has a release gets that
    /// one back. Also sets the run Published and its attempts that are still running done.
    /// published_at 0: now, but later than every release
    /// before. Errors: NotFound (run), Conflict (run already ended otherwise; another release than
    /// expected_latest is the newest), InvalidArgument (a document of another partition, one listed
    /// twice, partitions that overlap).
    virtual Result<Release> publish(const Publication& publication) = 0;
    virtual Result<std::optional<Release>> latest_release() = 0;
    /// Its id alone: one look into an index, for who asks at each question whether there is a newer
    /// one.
    virtual Result<std::optional<ReleaseId>> latest_release_id() = 0;
    virtual Result<std::optional<Release>> release(ReleaseId id) = 0;
    virtual Result<std::optional<Release>> release_as_of(TimestampMicros time) = 0;
    virtual Result<std::vector<Release>> releases(int64_t limit) = 0;  ///< newest first

    virtual Result<std::optional<DocumentRow>> document(ReleaseId release,
                                                        const std::string& document_id) = 0;
    virtual Result<std::vector<DocumentRow>> documents(ReleaseId release, int64_t limit,
                                                       int64_t offset) = 0;  ///< by document_id
    /// Distinct values in a release, by count descending: suggestions and filters.
    virtual Result<std::vector<std::pair<std::string, int64_t>>> distinct_authors(
        ReleaseId release) = 0;

    /// Hands every row the catalog keeps to sink, one snapshot, tables after those they refer to;
    /// at most some hundred rows are in memory. A new table of the catalog takes part by itself
    /// when both adapters keep it under the same names. Errors: sink's; Unavailable when the
    /// catalog was replaced meanwhile.
    virtual Result<void> dump(const StoredRowSink& sink) = 0;
    /// Fills an empty catalog in one transaction with the rows produce() hands to its sink, in
    /// dump()'s order; produce is called again when the transaction has to be repeated. Errors:
    /// AlreadyExists (the catalog holds a run), InvalidArgument (an unknown table or column, a
    /// value that is none), produce's.
    virtual Result<void> restore(
        const std::function<Result<void>(const StoredRowSink& sink)>& produce) = 0;
};

/// ReadWrite: opens or creates the catalog and migrates it forward. ReadOnly: must exist; nothing
/// is written, also no -wal.
enum class OpenMode { ReadWrite, ReadOnly };
struct SqliteCatalogOptions {
    std::chrono::milliseconds busy_timeout{
        10'000};                 ///< wait for another process's write before Unavailable
    size_t connections_max = 8;  ///< calls that run at the same time; further ones wait
    Result<void> validate() const;
};
/// The clock outlives the catalog. Errors: NotFound (ReadOnly, no file), InvalidArgument (not a
/// catalog; written by a newer px), Conflict (ReadOnly and still to be migrated), Corrupt,
/// Forbidden.
Result<std::unique_ptr<Catalog>> open_sqlite_catalog(const std::filesystem::path& file,
                                                     OpenMode mode, const Clock& clock,
                                                     const SqliteCatalogOptions& options = {});

struct PostgresCatalogOptions {
    /// Ours among the parameters of an address: `schema=px`, holds every table of one pipeline.
    std::string schema = "px";
    size_t connections_max = 8;  ///< calls that run at the same time; further ones wait
    std::chrono::milliseconds connect_timeout{10'000};  ///< of one attempt, TLS and log-in included
    /// How long a call tries to reach a server again that had been reached before, or that is
    /// starting up.
    std::chrono::milliseconds reconnect_timeout{15'000};
    std::chrono::milliseconds lock_timeout{10'000};  ///< wait for another process's write
    std::chrono::milliseconds statement_timeout{300'000};
    /// How often a transaction is done anew after a deadlock, a serialization failure or a cut
    /// connection.
    int transaction_attempts = 5;
    Result<void> validate() const;
};
/// address: postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=… as libpq takes it, without
/// parameters of ours. The clock outlives the catalog. No error names the password.
/// Errors: NotFound (ReadOnly, no catalog there), InvalidArgument (address; the schema holds
/// something else; written by a newer px), Conflict (ReadOnly and still to be migrated),
/// Unauthenticated,
/// Unavailable (no server, no such database, TLS, missing rights, a dropped table, a standby in
/// mode ReadWrite, a server before 14).
Result<std::unique_ptr<Catalog>> open_postgres_catalog(const std::string& address, OpenMode mode,
                                                       const Clock& clock,
                                                       const PostgresCatalogOptions& options = {});

}  // namespace px::catalog
