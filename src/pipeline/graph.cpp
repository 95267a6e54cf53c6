#include "pipeline/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <optional>

namespace px::pipeline {

namespace json = boost::json;

std::string_view stage_name(Stage stage) {
    static constexpr std::string_view kNames[] = {"look",  "land",  "stage",    "gate",
                                                  "merge", "model", "metadata", "chunk",
                                                  "embed", "index", "publish"};
    return kNames[static_cast<size_t>(stage)];
}

std::string_view stream_of(Stage stage) {
    switch (stage) {
        case Stage::Model:
            return "lake";
        case Stage::Metadata:
            return "metadata";
        case Stage::Chunk:
        case Stage::Embed:
        case Stage::Index:
            return "vectors";
        default:
            return "";
    }
}

std::vector<Task> make_graph(const Definition& definition) {
    std::vector<Task> tasks;
    const auto add = [&](Stage stage, const std::string& subject, std::vector<size_t> depends_on) {
        std::string name(stage_name(stage));
        if (!subject.empty()) name += "." + subject;
        tasks.push_back({std::move(name), stage, subject, std::move(depends_on)});
        return tasks.size() - 1;
    };
    const size_t look = add(Stage::Look, "", {});
    std::vector<size_t> staged;
    for (const SourceDefinition& source : definition.sources) {
        const size_t landed = add(Stage::Land, source.name, {look});
        staged.push_back(add(Stage::Stage, source.name, {landed}));
    }
    std::vector<size_t> changes_known = {
        add(Stage::Gate, "", staged.empty() ? std::vector{look} : staged)};
    std::vector<size_t> merged;
    for (const SourceDefinition& source : definition.sources) {
        if (source.mode == SourceMode::Merge)
            merged.push_back(add(Stage::Merge, source.name, changes_known));
    }
    if (!merged.empty()) changes_known = merged;
    std::vector<size_t> ends;
    // A model may read those before it.
    std::optional<size_t> model_before;
    for (const ModelDefinition& model : definition.models)
        model_before = add(Stage::Model, model.name,
                           model_before ? std::vector{*model_before} : changes_known);
    if (model_before) ends.push_back(*model_before);
    ends.push_back(add(Stage::Metadata, "", changes_known));
    const size_t chunked = add(Stage::Chunk, "", changes_known);
    const size_t embedded = add(Stage::Embed, "", {chunked});
    ends.push_back(add(Stage::Index, "", {embedded}));
    add(Stage::Publish, "", ends);
    return tasks;
}

Result<Task> find_task(const Definition& definition, std::string_view name) {
    std::string known;
    for (Task& task : make_graph(definition)) {
        if (task.name == name) return std::move(task);
        known += (known.empty() ? "" : ", ") + task.name;
    }
    return fail(ErrorCode::InvalidArgument,
                fmt::format("pipeline '{}' has no task '{}'", definition.name, name),
                "Its tasks: " + known);
}

std::string graph_json(const Definition& definition) {
    const std::vector<Task> graph = make_graph(definition);
    json::array tasks;
    for (const Task& task : graph) {
        json::array depends_on;
        for (const size_t place : task.depends_on) depends_on.emplace_back(graph[place].name);
        tasks.push_back(json::object{
            {"name", task.name},
            {"stage", stage_name(task.stage)},
            {"group", stream_of(task.stage)},
            {"source", task.subject},
            {"depends_on", std::move(depends_on)},
            {"retries", definition.retries.attempts - 1},
            {"retry_delay_s", definition.retries.delay.count()},
            {"retry_backoff", definition.retries.exponential ? "exponential" : "constant"},
            {"timeout_s", definition.retries.timeout.count()}});
    }
    const ScheduleDefinition& schedule = definition.schedule;
    return json::serialize(
        json::object{{"pipeline", definition.name},
                     {"schedule", json::object{{"cron", schedule.cron},
                                               {"timezone", schedule.timezone},
                                               {"catchup", schedule.catchup},
                                               {"max_active_runs", schedule.max_active_runs}}},
                     {"tasks", std::move(tasks)}});
}

}  // namespace px::pipeline
