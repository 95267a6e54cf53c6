// Run: the stage graph (pipeline/graph.h) executed for one logical date, from the outside world to
// a published release. Rank 4. The only code that calls one stage after another. One run at a time
// holds the lock of a pipeline; it first finishes what an earlier, killed run left.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/progress.h"
#include "catalog/catalog.h"
#include "embed/encoder.h"
#include "engine/engine.h"
#include "index/vector_store.h"
#include "pipeline/definition.h"
#include "pipeline/run_lock.h"
#include "pipeline/step.h"
#include "pipeline/texts.h"
#include "store/object_store.h"

namespace px::pipeline {

/// What a run works with. All references outlive it.
/// What serve.promote_if said of a release.
struct Promotion {
    std::string rule, reason;
    bool promoted = true;
};
/// The check of a run that keeps its release from being served when it failed.
inline constexpr std::string_view kServeSource = "serve";
inline constexpr std::string_view kPromoteCheck = "promote_if";

struct RunServices {
    const Definition& definition;
    store::ObjectStore& landing;
    store::ObjectStore& lake;
    index::VectorStore& vectors;
    engine::Engine& engine;
    const Clock& clock;
    Progress& progress;
    std::filesystem::path work_folder;  ///< local: scratch files
    size_t thread_count = 1;
    StepObserver step;
    /// Creates the containers of landing zone, lake and index that are missing.
    std::function<Result<void>()> ensure_containers;
    /// Opens the catalog; read-only fails with NotFound before the first run.
    std::function<Result<std::unique_ptr<catalog::Catalog>>(catalog::OpenMode)> open_catalog;
    /// The lock of whoever shares the catalog. Errors: Unavailable naming the holder.
    std::function<Result<std::unique_ptr<catalog::PipelineLock>>(catalog::LockMode)> lock_catalog;
    /// Loads the encoder, once; only called when a source has text.
    std::function<Result<const embed::Encoder*>()> encoder;
    /// Reads a pipeline file's text again, for runs that began with another version of it.
    std::function<Result<Definition>(const std::string& text)> parse;
    /// Whether such a text asks for the stores and the encoder that are here.
    std::function<Result<bool>(const std::string& text)> has_same_services;
    /// Measures the points of a release before it is published; absent: every release is served.
    std::function<Result<Promotion>(std::shared_ptr<const index::CollectionView> points,
                                    const Deadline& deadline)>
        promote;
};

/// While it lives, no other px writes to this pipeline's work folder or to what its catalog rules;
/// shared, only tasks of runs that are under way do.
class PipelineLock {
  public:
    /// Tries until the deadline, at least once. Errors: Unavailable naming the process that holds
    /// it.
    static Result<PipelineLock> acquire(const RunServices& services, catalog::LockMode mode,
                                        const Deadline& deadline);
    /// Errors: Unavailable once the lock was lost, as when a database server ended its session.
    Result<void> check() const { return catalog_->check(); }

  private:
    PipelineLock(RunLock folder, std::unique_ptr<catalog::PipelineLock> catalog)
        : folder_(std::move(folder)), catalog_(std::move(catalog)) {}
    RunLock folder_;
    std::unique_ptr<catalog::PipelineLock> catalog_;
};

struct RunRequest {
    std::string ds;
    /// Outside: look at the sources. Landed: use the files the ds was last made from (quarantine
    /// replay).
    enum class Input { Outside, Landed } input = Input::Outside;
    /// Gives up an unfinished run instead of finishing it.
    bool restart = false;
    /// Starts a task that failed for a reason that may pass again, as the definition's retries say.
    bool retry = false;
};

enum class RunResult { Published, Unchanged, Halted };

struct SourceReport {
    std::string name;
    int64_t files = 0, bytes = 0, accepted = 0, rejected = 0;
    bool unchanged = false;
    std::string note;  ///< why an older date was left alone; else empty
    std::vector<RejectedSample> samples;
};

struct RunReport {
    RunResult result = RunResult::Unchanged;
    std::string run_id;  ///< empty when nothing was begun
    std::string ds;
    int64_t release = 0;  ///< 0: none
    bool resumed = false;
    std::vector<SourceReport> sources;
    std::vector<std::string> tables;  ///< "reports 3", written tables with their version
    int64_t chunks_embedded = 0;      ///< distinct texts that had no vector
    int64_t chunks_reused =
        0;  ///< chunks of the changed partitions kept, or added with a known vector
    int64_t chunks_deleted = 0;
    int64_t chunks_total = 0;      ///< in the release
    int64_t chunks_truncated = 0;  ///< of the embedded ones, longer than the model reads
    int64_t documents = 0;
    std::vector<std::string> reasons;  ///< of a halt
    int64_t serving = 0;               ///< the release before this run; 0: none
    double elapsed_s = 0;
    double cpu_s = 0;  ///< of the processes that said so: the run's own, or all its tasks'
    int64_t memory_max_bytes = 0;        ///< of the largest of them
    int64_t bytes_written = 0;           ///< of files new in the lake
    std::optional<Promotion> promotion;  ///< absent: nothing was demanded
    std::optional<double> cost;          ///< estimate, in Definition::costs' currency
};
std::string report_json(const RunReport& report);

/// Executes the graph. A halt by the gate is a report, not an error. Errors leave the old release
/// served; those after publishing began leave the run unfinished, and the next call finishes it.
Result<RunReport> run(const RunServices& services, const RunRequest& request,
                      const Deadline& deadline);

/// What run() would do now, computed by the same code in a scratch folder: nothing outside
/// work_folder is written.
Result<RunReport> plan(const RunServices& services, const RunRequest& request,
                       const Deadline& deadline);

struct TaskRequest {
    std::string task;  ///< of the graph
    std::string run;   ///< what an orchestrator calls the run, or our own id of it
    std::string ds;
    /// How long to wait for another px to be done with the pipeline.
    std::chrono::milliseconds lock_wait{60'000};
};

enum class TaskResult { Done, NothingToDo, Halted };

struct TaskReport {
    std::string task, ds;
    TaskResult result = TaskResult::Done;
    std::string run_id;                ///< empty when nothing was begun
    bool already = false;              ///< it had been done before
    int attempt = 0;                   ///< 0: none was needed
    std::vector<std::string> reasons;  ///< of a halt
    std::string metrics_json;          ///< what the task counted
    double elapsed_s = 0;
    double cpu_s = 0;  ///< of this process
    int64_t memory_max_bytes = 0;
};
/// One line.
std::string task_report_json(const TaskReport& report);

/// Executes one task of a run's graph (make_graph) by itself, for orchestrators that hold the graph
/// themselves: "look" begins the run, "publish" ends it. Idempotent: a task done before is done.
/// Tasks that do not wait for each other may work at the same time, in several processes. Errors:
/// InvalidArgument (no such task, another date, a task before its turn), NotFound (no such run),
/// Conflict (the run failed, or another process took the task over), those of the task. A run
/// stays unfinished until it is published, has halted, or is taken up by run().
Result<TaskReport> run_task(const RunServices& services, const TaskRequest& request,
                            const Deadline& deadline);

/// Re-derives a document's text from the landed bytes, for citations. definition: of the run that
/// brought the document.
Result<std::string> rederive_text(const Definition& definition, const store::ObjectStore& landing,
                                  const catalog::DocumentRow& document, const Deadline& deadline);

}  // namespace px::pipeline
