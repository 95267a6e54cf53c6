// Graph: the tasks of a pipeline and what each waits for, as data. Rank 4. `px run`, the scheduler
// and Airflow execute this one graph; docs/formats/tasks.md says what a task takes and gives.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "pipeline/definition.h"

namespace px::pipeline {

/// Look: what is outside, what has changed? Land: bytes into the landing zone. Stage: the contract.
/// Gate: the decision. Merge: partitions a merge source rewrites. Model, Metadata, Chunk, Embed,
/// Index: the streams. Publish: the release.
enum class Stage { Look, Land, Stage, Gate, Merge, Model, Metadata, Chunk, Embed, Index, Publish };
std::string_view stage_name(Stage stage);  ///< "look", …
/// "lake", "metadata" or "vectors" of a stream's stage, else "".
std::string_view stream_of(Stage stage);

struct Task {
    std::string name;  ///< "stage.reports"; unique
    Stage stage = Stage::Look;
    std::string subject;             ///< the source or model; empty for tasks of the whole run
    std::vector<size_t> depends_on;  ///< places in the graph, all smaller than its own
};

/// In an order in which they can run. Always begins with "look" and ends with "publish".
std::vector<Task> make_graph(const Definition& definition);

/// The task of that name. Errors: InvalidArgument naming those there are.
Result<Task> find_task(const Definition& definition, std::string_view name);

/// {pipeline, schedule, tasks: [{name, stage, group, source, depends_on, retries, retry_delay_s,
/// retry_backoff, timeout_s}]}.
std::string graph_json(const Definition& definition);

}  // namespace px::pipeline
