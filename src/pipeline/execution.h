// RunExecution: one run's tasks over the state they share. Rank 4; internal to the room. A task
// takes what earlier ones left, from memory or from their recorded outputs, does its work, and
// records its own: so a run may be carried by one process, by several one after another, or by
// several at once. docs/formats/tasks.md lists the outputs.
#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pipeline/graph.h"
#include "pipeline/inputs.h"
#include "pipeline/run.h"
#include "pipeline/task_output.h"
#include "pipeline/texts.h"

namespace px::pipeline {

/// Our own queries are bounded by the deadline of the run, not by what a user's query may take.
inline constexpr std::chrono::hours kQueryTime{24 * 7};

/// What a commit does to one table, gathered from the streams.
struct TableChange {
    std::string table;
    columnar::Schema schema;
    std::vector<std::string> partition_columns;
    std::vector<StagedFile> files;
    std::function<bool(const lake::Add&)> replaces;  ///< which of the release's files go
    bool replaces_schema = false;                    ///< models: whatever columns there were
    /// Adds to the newest version, whatever a given-up run left in it: vectors, which are named by
    /// content.
    bool is_cache = false;
};

/// What this process has used so far.
struct ProcessUsage {
    double cpu_s = 0;
    int64_t memory_max_bytes = 0;
};
ProcessUsage process_usage();

class RunExecution {
  public:
    enum class Purpose { Run, Plan };

    /// target_store: where staged files go: the lake's, or a scratch one for plans. scratch: a
    /// folder of this execution alone. All references outlive it.
    RunExecution(const RunServices& services, const Definition& definition, std::string ds,
                 Purpose purpose, store::ObjectStore& target_store, std::filesystem::path scratch);

    RunReport& report() { return report_; }

    /// Looks at the outside and at the newest release: what has changed? Writes nothing but scratch
    /// files. catalog may be null: nothing was ever run.
    Result<void> look(catalog::Catalog* catalog, RunRequest::Input from, const Deadline& deadline);
    bool anything_changed() const;
    std::string input_fingerprint() const;
    /// From here on tasks are recorded as those of run, look first.
    Result<void> begin(catalog::Catalog& catalog, const catalog::Run& run);
    /// Takes up a run another process began. False: it died before it had looked.
    Result<bool> take_up(catalog::Catalog& catalog, const catalog::Run& run);
    /// This process performs one task alone: what it uses is the task's.
    void perform_alone() { alone_ = true; }
    /// Whether every task of the stage is recorded as done, or has nothing to do.
    Result<bool> is_past(Stage stage);

    /// Does one task, unless memory or the catalog has its result. What it waits for must be done,
    /// else InvalidArgument. Several at a time, as long as their order in the graph is kept. A
    /// stage or gate that halts is Ok: see halted().
    Result<void> perform(const Task& task, const Deadline& deadline);
    bool halted();
    std::vector<std::string> halt_reasons() const;
    /// Brings what an earlier task recorded into memory; what no longer holds, since another
    /// release came in between, is done again. Errors: InvalidArgument (it is not done yet).
    Result<void> recall(const Task& task, const Deadline& deadline) {
        return obtain(task, deadline, Waiting::Forbidden);
    }
    /// A plan reads its files where they are.
    void plan_landed();
    /// Of the task performed last by this thread's perform(): 0 when its result was there already.
    int attempt_of(const std::string& task);
    boost::json::object metrics_of(const std::string& task);

    /// Every table must be able to take its change, before the first one is committed.
    Result<void> check_tables();
    /// Counts for the report; call when stages are done.
    void fill_source_reports();
    /// The wall time since the run began, and what it used, go into the report.
    void note_elapsed();

  private:
    /// One source in one run.
    struct SourceState {
        const SourceDefinition* source = nullptr;
        SourceInput input;
        bool resolved = false;  ///< input is what this process saw outside
        bool changed = false;
        StageResult staged;
        std::string halt;  ///< why its files can't be staged
    };
    /// What a task records: what later ones need, and figures for people.
    struct Output {
        boost::json::object state;
        boost::json::object metrics;
    };
    enum class Waiting { Forbidden, Allowed };

    void step(const std::string& label) const;
    SourceState& state_of(const std::string& source);
    bool has_work(const Task& task);
    Result<void> obtain(const Task& task, const Deadline& deadline, Waiting waiting);
    Result<Output> execute(const Task& task, const Deadline& deadline);
    Result<bool> restore(const Task& task, const TaskOutput& output);
    /// The release outputs were made on top of; they are void on another.
    int64_t base_id() const { return base_ ? base_->id.value : 0; }

    void count_usage(const TaskOutput& output);

    Result<void> load_base(catalog::Catalog* catalog);
    Result<void> check_release();
    Result<void> look_at_definition();
    Result<void> resolve(SourceState& state, catalog::Catalog* catalog, const Deadline& deadline);
    std::map<std::string, std::string> fingerprints_after() const;

    Result<Output> land(SourceState& state, const Deadline& deadline);
    Result<Output> stage(SourceState& state, const Deadline& deadline);
    Result<Output> gate(const Deadline& deadline);
    Result<Output> merge(SourceState& state, const Deadline& deadline);
    Result<void> merge_into(const SourceDefinition& source, const StageResult& staged,
                            SourceChange& change, const Deadline& deadline);
    Result<void> drop_superseded(const SourceDefinition& source, const StageResult& staged,
                                 const std::string& key, engine::Session& session,
                                 SourceChange& change, const Deadline& deadline);
    Result<Output> model(const ModelDefinition& model, const Deadline& deadline);
    Result<Output> metadata(const Deadline& deadline);
    Result<Output> chunk(const Deadline& deadline);
    Result<Output> embed(const Deadline& deadline);
    Result<Output> index(const Deadline& deadline);
    Result<Output> publish(const Deadline& deadline);

    /// Row and text changes, once sources are staged and merged.
    Result<void> know_changes();
    Result<void> prepare_delta(const Deadline& deadline);
    Result<void> prepare_document_rows(const Deadline& deadline);
    std::optional<index::ManifestId> base_manifest() const;
    bool texts_stay() const { return text_changes_.empty() && base_manifest().has_value(); }
    static TableChange model_change(StagedTable table);
    TextServices text_services() const;

    lake::DeltaTable table(const std::string& name) const;
    Result<std::optional<lake::Snapshot>> released(const std::string& name) const;
    Result<std::optional<lake::Snapshot>> newest(const std::string& name) const;
    std::vector<TableChange> table_changes() const;
    Result<lake::TableVersion> commit(const TableChange& change);
    Result<lake::TableVersion> commit_once(const TableChange& change);

    const RunServices& services_;
    const Definition& definition_;
    std::string ds_;
    Purpose purpose_;
    StageTarget target_;
    std::vector<Task> graph_;
    RunReport report_;
    TimestampMicros started_at_;
    RunRequest::Input from_ = RunRequest::Input::Outside;
    catalog::Catalog* catalog_ = nullptr;  ///< set with run_
    std::optional<catalog::Run> run_;

    std::optional<catalog::Release> base_;
    std::map<std::string, std::string> base_fingerprints_;
    const embed::Encoder* encoder_ = nullptr;
    std::string chunking_fingerprint_, vector_fingerprint_, models_fingerprint_;
    bool text_changed_ = false;  ///< every text is chunked again
    bool index_is_lost_ = false;
    bool vectors_changed_ = false;  ///< … and encoded by another model, or the index is lost
    bool models_changed_ = false;
    std::vector<std::string> removed_sources_;
    std::vector<SourceState> sources_;
    std::map<std::string, SourceChange> merged_;  ///< by source

    std::mutex mutex_;  ///< of what follows: tasks run side by side
    std::set<std::string> done_;
    std::map<std::string, int> attempts_;
    std::map<std::string, boost::json::object> metrics_;
    bool alone_ = false;
    ProcessUsage earlier_;  ///< of processes whose tasks were recorded
    bool changes_known_ = false;
    std::vector<SourceChange> row_changes_;   ///< of the tables
    std::vector<SourceChange> text_changes_;  ///< of chunks and documents

    // Of one task each.
    std::map<std::string, TableChange> models_;
    std::optional<ChunkDelta> delta_;  ///< the chunks in memory; absent: to be cut again
    bool delta_has_vectors_ = false;
    std::vector<StagedTable> chunk_tables_;
    std::vector<std::pair<std::string, std::optional<std::string>>> chunks_replaced_;
    int64_t chunks_touched_ = 0;
    StagedTable embeddings_;
    index::ManifestId manifest_;
    std::optional<std::vector<catalog::Publication::Partition>> documents_;
};

}  // namespace px::pipeline
