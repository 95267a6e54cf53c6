#include "pipeline/trace.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <set>

namespace px::pipeline {
namespace {

TEST(Trace, EveryAttemptThatEndedIsASpanBelowTheRuns) {
    catalog::Run run;
    run.id.value = "2026-11-23-0001";
    run.ds = "2026-11-23";
    run.state = catalog::RunState::Published;
    run.started_at = 1'000'000;
    run.finished_at = 3'000'000;
    run.report_json = R"({"cpu_s":1.5,"documents":7,"chunks":{"embed":3}})";
    catalog::TaskAttempt good{run.id,    "gate",    1,  "done",
                              1'500'000, 2'000'000, "", R"({"metrics":{"checks":2}})"};
    catalog::TaskAttempt bad{run.id, "embed", 1, "failed", 1'500'000, 2'000'000, "no \"disk\"", ""};
    catalog::TaskAttempt open{run.id, "index", 1, "running", 1'500'000, std::nullopt, "", ""};
    const std::string text = otlp_traces_json("p", run, {good, bad, open}, "1.2");
    EXPECT_EQ(text, otlp_traces_json("p", run, {good, bad, open}, "1.2"));
    const boost::json::value trace = boost::json::parse(text);
    const boost::json::array& spans =
        trace.at_pointer("/resourceSpans/0/scopeSpans/0/spans").as_array();
    ASSERT_EQ(spans.size(), 3u);
    std::set<std::string> ids;
    for (const boost::json::value& span : spans) {
        EXPECT_EQ(span.at("traceId").as_string().size(), 32u);
        EXPECT_EQ(span.at("traceId"), spans[0].at("traceId"));
        ids.emplace(span.at("spanId").as_string());
    }
    EXPECT_EQ(ids.size(), 3u);
    EXPECT_EQ(spans[0].at("endTimeUnixNano"), "3000000000");
    EXPECT_FALSE(spans[0].as_object().contains("parentSpanId"));
    EXPECT_EQ(spans[1].at("parentSpanId"), spans[0].at("spanId"));
    EXPECT_EQ(spans[1].at_pointer("/status/code"), 1);
    EXPECT_EQ(spans[1].at_pointer("/attributes/3/key"), "px.checks");
    EXPECT_EQ(spans[2].at_pointer("/status/code"), 2);
    EXPECT_EQ(spans[2].at_pointer("/status/message"), "no \"disk\"");
}

TEST(Trace, ARunUnderWayHasNoSpanYet) {
    catalog::Run run;
    run.id.value = "2026-11-23-0001";
    const boost::json::value trace = boost::json::parse(otlp_traces_json("p", run, {}, "1"));
    EXPECT_TRUE(trace.at_pointer("/resourceSpans/0/scopeSpans/0/spans").as_array().empty());
}

}  // namespace
}  // namespace px::pipeline
