#include "pipeline/graph.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <set>

#include "testing/matchers.h"

namespace px::pipeline {
namespace {

Definition with(std::vector<SourceMode> modes, size_t models) {
    Definition definition;
    definition.name = "p";
    for (size_t i = 0; i < modes.size(); ++i) {
        SourceDefinition source;
        source.name = "s" + std::to_string(i);
        source.mode = modes[i];
        definition.sources.push_back(std::move(source));
    }
    for (size_t i = 0; i < models; ++i)
        definition.models.push_back({"m" + std::to_string(i), "select 1"});
    return definition;
}

/// Names of all tasks a task waits for, directly or not.
std::set<std::string> before(const std::vector<Task>& graph, const Task& task) {
    std::set<std::string> names;
    for (const size_t place : task.depends_on) {
        names.insert(graph[place].name);
        names.merge(before(graph, graph[place]));
    }
    return names;
}

TEST(Graph, BeginsWithLookEndsWithPublishAndWaitsOnlyForWhatStandsBefore) {
    for (const Definition& definition :
         {with({}, 0), with({SourceMode::Append}, 0),
          with({SourceMode::Append, SourceMode::Merge, SourceMode::Merge}, 3)}) {
        const std::vector<Task> graph = make_graph(definition);
        EXPECT_EQ(graph.front().name, "look");
        EXPECT_EQ(graph.back().name, "publish");
        std::set<std::string> names;
        for (size_t i = 0; i < graph.size(); ++i) {
            EXPECT_TRUE(names.insert(graph[i].name).second) << graph[i].name;
            EXPECT_EQ(graph[i].depends_on.empty(), i == 0) << graph[i].name;
            for (const size_t place : graph[i].depends_on) EXPECT_LT(place, i);
        }
        EXPECT_EQ(before(graph, graph.back()).size(), graph.size() - 1) << "publish waits for all";
    }
}

TEST(Graph, NothingOfAStreamStartsBeforeTheGateAndTheStreamsDoNotWaitForEachOther) {
    const std::vector<Task> graph =
        make_graph(with({SourceMode::Append, SourceMode::Merge, SourceMode::Snapshot}, 2));
    for (const Task& task : graph) {
        if (stream_of(task.stage).empty()) continue;
        const std::set<std::string> earlier = before(graph, task);
        EXPECT_TRUE(earlier.contains("gate") && earlier.contains("merge.s1")) << task.name;
        for (const Task& other : graph) {
            if (stream_of(other.stage).empty() || stream_of(other.stage) == stream_of(task.stage))
                continue;
            EXPECT_FALSE(earlier.contains(other.name)) << task.name << " waits for " << other.name;
        }
    }
}

TEST(Graph, SaysInJsonWhatAnOrchestratorNeeds) {
    Definition definition = with({SourceMode::Append}, 1);
    definition.retries.attempts = 4;
    definition.schedule.timezone = "Europe/Berlin";
    const boost::json::value graph = boost::json::parse(graph_json(definition));
    EXPECT_EQ(graph.at("schedule").at("timezone"), "Europe/Berlin");
    const boost::json::array& tasks = graph.at("tasks").as_array();
    ASSERT_EQ(tasks.size(), make_graph(definition).size());
    EXPECT_EQ(tasks[2].at("name"), "stage.s0");
    EXPECT_EQ(tasks[2].at("depends_on").as_array(), boost::json::array{"land.s0"});
    EXPECT_EQ(tasks[2].at("retries"), 3);
    EXPECT_EQ(tasks[4].at("group"), "lake");
}

TEST(Graph, AnUnknownTaskIsAnsweredWithThoseThereAre) {
    const auto found = find_task(with({SourceMode::Append}, 0), "stage.s1");
    ASSERT_THAT(found, testing::IsError(ErrorCode::InvalidArgument, "stage.s1"));
    EXPECT_NE(found.error().hint.find("stage.s0"), std::string::npos);
}

}  // namespace
}  // namespace px::pipeline
