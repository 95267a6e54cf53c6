#include "gateway/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>

namespace px::gateway {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

TEST(Metrics, CountByRouteAndStatusWithCumulativeBuckets) {
    Metrics metrics({{"", "(none)"}, {"GET", "/v1/runs/{id}"}});
    metrics.record(1, 200, 1ms);
    metrics.record(1, 200, 30ms);
    metrics.record(1, 404, 20s);
    metrics.record(0, 404, 0ms);
    metrics.record_answer(true);
    Metrics::Gauges gauges;
    gauges.version = "0.1.0";
    gauges.pipeline = "a \"quoted\"\\name";
    gauges.release = 3;
    EXPECT_EQ(metrics.text(gauges).find("px_run_last"), std::string::npos);
    Metrics::LastRun& run = gauges.last_run.emplace();
    run.state = "halted";
    run.cpu_seconds = 1.5;
    run.sources = {{"re\"ports", 7, 2, 100}};
    run.tasks = {{"stage.reports", 0.25}};
    const std::string text = metrics.text(gauges);
    for (const char* line :
         {"px_run_last_state{state=\"halted\"} 1\n", "px_run_last_state{state=\"published\"} 0\n",
          "px_run_last_cpu_seconds 1.500000\n", "px_runs_unfinished 0\n",
          "px_run_last_rows{source=\"re\\\"ports\",verdict=\"quarantined\"} 2\n",
          "px_run_last_task_seconds{task=\"stage.reports\"} 0.250000\n"})
        EXPECT_NE(text.find(line), std::string::npos) << line << "\n" << text;
    EXPECT_THAT(
        text,
        HasSubstr("px_build_info{version=\"0.1.0\",pipeline=\"a \\\"quoted\\\"\\\\name\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("px_release 3\n"));
    EXPECT_THAT(text, HasSubstr("px_answers_total{grounded=\"true\"} 1\n"));
    EXPECT_THAT(
        text,
        HasSubstr(
            "px_http_requests_total{method=\"GET\",route=\"/v1/runs/{id}\",status=\"200\"} 2\n"));
    EXPECT_THAT(
        text,
        HasSubstr(
            "px_http_requests_total{method=\"GET\",route=\"/v1/runs/{id}\",status=\"404\"} 1\n"));
    const std::string bucket =
        "px_http_request_duration_seconds_bucket{method=\"GET\",route=\"/v1/runs/{id}\",le=\"";
    EXPECT_THAT(text, HasSubstr(bucket + "0.0005\"} 0\n"));
    EXPECT_THAT(text, HasSubstr(bucket + "0.001\"} 1\n"));
    EXPECT_THAT(text, HasSubstr(bucket + "0.05\"} 2\n"));
    EXPECT_THAT(text, HasSubstr(bucket + "10\"} 2\n"));
    EXPECT_THAT(text, HasSubstr(bucket + "+Inf\"} 3\n"));
    EXPECT_THAT(text, HasSubstr("_sum{method=\"GET\",route=\"/v1/runs/{id}\"} 20.031"));
    EXPECT_THAT(text, HasSubstr("_count{method=\"GET\",route=\"/v1/runs/{id}\"} 3\n"));
}

TEST(Metrics, KeepEachFamilyTogetherUnderOneType) {
    Metrics metrics({{"", "(none)"}, {"GET", "/a"}, {"POST", "/a"}});
    metrics.record(1, 200, 1ms);
    metrics.record(2, 200, 1ms);
    std::istringstream lines(metrics.text({}));
    std::set<std::string> done;
    std::string line, family;
    while (std::getline(lines, line)) {
        if (line.starts_with("# TYPE ")) {
            family = line.substr(7, line.find(' ', 7) - 7);
            EXPECT_TRUE(done.insert(family).second) << family;
        } else if (!line.starts_with("#")) {
            EXPECT_TRUE(line.starts_with(family)) << line;
        }
    }
    EXPECT_GT(done.size(), 10U);
}

}  // namespace
}  // namespace px::gateway
