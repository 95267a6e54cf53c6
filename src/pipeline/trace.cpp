#include "pipeline/trace.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "base/sha256.h"

namespace px::pipeline {

namespace json = boost::json;

namespace {

constexpr int kSpanKindInternal = 1;
constexpr int kStatusOk = 1;
constexpr int kStatusError = 2;

std::string hash_of(const std::string& text, size_t hex_digits) {
    Sha256 hash;
    hash.update(text);
    return to_hex(hash.finish()).substr(0, hex_digits);
}

json::object attribute(std::string_view key, json::object value) {
    return {{"key", key}, {"value", std::move(value)}};
}
json::object text(std::string_view key, std::string_view value) {
    return attribute(key, {{"stringValue", value}});
}
/// 64-bit numbers are strings in protobuf's JSON.
json::object number(std::string_view key, int64_t value) {
    return attribute(key, {{"intValue", std::to_string(value)}});
}

std::string nanoseconds(TimestampMicros micros) { return std::to_string(micros) + "000"; }

/// Figures of a report or of a task's metrics, under a prefix.
void add_figures(json::array& attributes, const std::string& prefix, const json::object& figures) {
    for (const auto& [key, value] : figures) {
        const std::string name = fmt::format("{}.{}", prefix, std::string_view(key));
        if (value.is_int64()) {
            attributes.push_back(number(name, value.get_int64()));
        } else if (value.is_double()) {
            attributes.push_back(attribute(name, {{"doubleValue", value.get_double()}}));
        }
    }
}

}  // namespace

std::string otlp_traces_json(const std::string& pipeline, const catalog::Run& run,
                             const std::vector<catalog::TaskAttempt>& attempts,
                             const std::string& version) {
    const std::string name = fmt::format("{}\n{}\n{}", pipeline, run.id.value, run.started_at);
    const std::string trace_id = hash_of(name, 32);
    const std::string root = hash_of(name + "\nrun", 16);
    json::array spans;
    if (run.finished_at) {
        json::array attributes{text("px.pipeline", pipeline), text("px.run", run.id.value),
                               text("px.ds", run.ds),
                               text("px.state", catalog::run_state_name(run.state))};
        if (run.release) attributes.push_back(number("px.release", run.release->value));
        boost::system::error_code code;
        const json::value report = json::parse(run.report_json, code);
        if (!code && report.is_object()) {
            add_figures(attributes, "px", report.get_object());
            if (const json::value* chunks = report.get_object().if_contains("chunks");
                chunks != nullptr && chunks->is_object())
                add_figures(attributes, "px.chunks", chunks->get_object());
        }
        const bool good =
            run.state == catalog::RunState::Published || run.state == catalog::RunState::Unchanged;
        json::object status{{"code", good ? kStatusOk : kStatusError}};
        if (!good) status["message"] = run.message;
        spans.push_back(json::object{{"traceId", trace_id},
                                     {"spanId", root},
                                     {"name", "run " + pipeline},
                                     {"kind", kSpanKindInternal},
                                     {"startTimeUnixNano", nanoseconds(run.started_at)},
                                     {"endTimeUnixNano", nanoseconds(*run.finished_at)},
                                     {"attributes", std::move(attributes)},
                                     {"status", std::move(status)}});
    }
    for (const catalog::TaskAttempt& attempt : attempts) {
        if (!attempt.finished_at) continue;
        json::array attributes{text("px.run", run.id.value), text("px.task", attempt.task),
                               number("px.attempt", attempt.attempt)};
        boost::system::error_code code;
        const json::value output = json::parse(attempt.output_json, code);
        if (!code && output.is_object()) {
            if (const json::value* metrics = output.get_object().if_contains("metrics");
                metrics != nullptr && metrics->is_object())
                add_figures(attributes, "px", metrics->get_object());
        }
        const bool good = attempt.state == "done";
        json::object status{{"code", good ? kStatusOk : kStatusError}};
        if (!good) status["message"] = attempt.message;
        spans.push_back(json::object{
            {"traceId", trace_id},
            {"spanId", hash_of(fmt::format("{}\n{}\n{}", name, attempt.task, attempt.attempt), 16)},
            {"parentSpanId", root},
            {"name", attempt.task},
            {"kind", kSpanKindInternal},
            {"startTimeUnixNano", nanoseconds(attempt.started_at)},
            {"endTimeUnixNano", nanoseconds(*attempt.finished_at)},
            {"attributes", std::move(attributes)},
            {"status", std::move(status)}});
    }
    json::array resource{text("service.name", "px"), text("service.version", version),
                         text("px.pipeline", pipeline)};
    json::object scope_spans{{"scope", json::object{{"name", "px.pipeline"}}},
                             {"spans", std::move(spans)}};
    json::object resource_spans{{"resource", json::object{{"attributes", std::move(resource)}}},
                                {"scopeSpans", json::array{std::move(scope_spans)}}};
    return json::serialize(json::object{{"resourceSpans", json::array{std::move(resource_spans)}}});
}

}  // namespace px::pipeline
