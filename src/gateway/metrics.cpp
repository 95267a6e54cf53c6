#include "gateway/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace px::gateway {
namespace {

std::string label_text(std::string_view text) {
    std::string escaped;
    for (const char c : text) {
        if (c == '\\' || c == '"') escaped.push_back('\\');
        if (c == '\n') {
            escaped += "\\n";
        } else {
            escaped.push_back(c);
        }
    }
    return escaped;
}

void family(std::string& out, std::string_view name, std::string_view type, std::string_view help) {
    fmt::format_to(std::back_inserter(out), "# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

}  // namespace

Metrics::Metrics(std::vector<RouteName> routes) {
    for (RouteName& name : routes) {
        routes_.push_back(std::make_unique<Route>());
        routes_.back()->name = std::move(name);
    }
}

void Metrics::record(size_t route, int status, std::chrono::nanoseconds elapsed) {
    const double seconds = std::chrono::duration<double>(elapsed).count();
    const auto bucket =
        static_cast<size_t>(std::ranges::lower_bound(kBuckets, seconds) - kBuckets.begin());
    Route& entry = *routes_[route];
    const std::lock_guard lock(entry.mutex);
    ++entry.by_status[status];
    ++entry.buckets[bucket];
    entry.seconds += seconds;
}

void Metrics::record_answer(bool grounded) { ++(grounded ? grounded_ : ungrounded_); }

namespace {

void append_run(std::string& out, const Metrics::LastRun& run) {
    const auto into = std::back_inserter(out);
    const auto seconds = [&](std::string_view name, std::string_view help, double value) {
        family(out, name, "gauge", help);
        fmt::format_to(into, "{} {:.6f}\n", name, value);
    };
    const auto count = [&](std::string_view name, std::string_view help, int64_t value) {
        family(out, name, "gauge", help);
        fmt::format_to(into, "{} {}\n", name, value);
    };
    family(out, "px_run_last_state", "gauge", "How the newest run that has ended did.");
    for (const std::string_view state : {"published", "unchanged", "halted", "failed"}) {
        fmt::format_to(into, "px_run_last_state{{state=\"{}\"}} {}\n", state,
                       run.state == state ? 1 : 0);
    }
    seconds("px_run_last_finished_timestamp_seconds", "When it ended.", run.finished_seconds);
    seconds("px_run_last_duration_seconds", "How long it took.", run.elapsed_seconds);
    seconds("px_run_last_cpu_seconds", "Processor time it used.", run.cpu_seconds);
    count("px_run_last_memory_bytes", "Memory of its largest process at most.", run.memory_bytes);
    count("px_run_last_written_bytes", "Bytes of files new in the lake.", run.bytes_written);
    family(out, "px_run_last_chunks", "gauge", "Chunks by what it did with them.");
    fmt::format_to(into,
                   "px_run_last_chunks{{done=\"embedded\"}} {}\npx_run_last_chunks{{done="
                   "\"reused\"}} {}\npx_run_last_chunks{{done=\"deleted\"}} {}\n",
                   run.chunks_embedded, run.chunks_reused, run.chunks_deleted);
    if (!run.sources.empty()) {
        family(out, "px_run_last_rows", "gauge", "Rows of each source by the gate's verdict.");
        for (const Metrics::LastRun::Source& source : run.sources) {
            const std::string name = label_text(source.name);
            fmt::format_to(into,
                           "px_run_last_rows{{source=\"{}\",verdict=\"accepted\"}} {}\n"
                           "px_run_last_rows{{source=\"{}\",verdict=\"quarantined\"}} {}\n",
                           name, source.accepted, name, source.quarantined);
        }
        family(out, "px_run_last_read_bytes", "gauge", "Bytes read of each source.");
        for (const Metrics::LastRun::Source& source : run.sources) {
            fmt::format_to(into, "px_run_last_read_bytes{{source=\"{}\"}} {}\n",
                           label_text(source.name), source.bytes);
        }
    }
    if (!run.tasks.empty()) {
        family(out, "px_run_last_task_seconds", "gauge", "How long each task took.");
        for (const auto& [task, time] : run.tasks) {
            fmt::format_to(into, "px_run_last_task_seconds{{task=\"{}\"}} {:.6f}\n",
                           label_text(task), time);
        }
    }
}

}  // namespace

std::string Metrics::text(const Gauges& gauges) const {
    std::string out;
    const auto into = std::back_inserter(out);
    const auto single = [&](std::string_view name, std::string_view type, std::string_view help,
                            auto value) {
        family(out, name, type, help);
        fmt::format_to(into, "{} {}\n", name, value);
    };
    family(out, "px_build_info", "gauge", "Version of px and the pipeline it serves.");
    fmt::format_to(into, "px_build_info{{version=\"{}\",pipeline=\"{}\"}} 1\n",
                   label_text(gauges.version), label_text(gauges.pipeline));
    single("px_release", "gauge", "Id of the newest release; 0 before the first.", gauges.release);
    single("px_release_published_timestamp_seconds", "gauge",
           "When the newest release was published.",
           fmt::format("{:.6f}", gauges.published_seconds));
    single("px_index_points", "gauge", "Points in the index of the newest release.", gauges.points);
    single("px_documents", "gauge", "Documents of the newest release.", gauges.documents);
    family(out, "px_answers_total", "counter", "Answers given, by whether the sources held them.");
    fmt::format_to(
        into,
        "px_answers_total{{grounded=\"true\"}} {}\npx_answers_total{{grounded=\"false\"}} {}\n",
        grounded_.load(), ungrounded_.load());
    single("px_embedded_texts_total", "counter", "Texts encoded for /v1/embeddings.",
           gauges.embedded.texts);
    single("px_embedded_batches_total", "counter", "Batches they were encoded in.",
           gauges.embedded.batches);
    single("px_embed_waiting_texts", "gauge", "Texts waiting to be encoded.",
           gauges.embedded.waiting_texts);
    single("px_http_connections", "gauge", "Open connections.", gauges.server.connections);
    single("px_http_connections_accepted_total", "counter", "Connections accepted.",
           gauges.server.connections_accepted);
    single("px_http_connections_refused_total", "counter", "Connections refused above the limit.",
           gauges.server.connections_refused);
    single("px_http_requests_refused_total", "counter", "Requests the server itself refused.",
           gauges.server.requests_refused);
    single("px_http_queued", "gauge", "Requests waiting for a worker.", gauges.server.queued);
    single("px_http_running", "gauge", "Requests being handled by a worker.",
           gauges.server.running);

    single("px_runs_unfinished", "gauge", "Runs under way, or waiting to be taken up.",
           gauges.runs_unfinished);
    if (gauges.last_run) append_run(out, *gauges.last_run);

    family(out, "px_http_requests_total", "counter", "Requests by route and status.");
    std::string latency;
    family(latency, "px_http_request_duration_seconds", "histogram",
           "Time from a whole request to its response.");
    const auto into_latency = std::back_inserter(latency);
    for (const auto& entry : routes_) {
        const std::lock_guard lock(entry->mutex);
        if (entry->by_status.empty()) continue;
        const std::string labels =
            fmt::format("method=\"{}\",route=\"{}\"", label_text(entry->name.method),
                        label_text(entry->name.pattern));
        for (const auto& [status, count] : entry->by_status) {
            fmt::format_to(into, "px_http_requests_total{{{},status=\"{}\"}} {}\n", labels, status,
                           count);
        }
        int64_t total = 0;
        for (size_t i = 0; i < entry->buckets.size(); ++i) {
            total += entry->buckets[i];
            const std::string bound = i < kBuckets.size() ? fmt::format("{}", kBuckets[i]) : "+Inf";
            fmt::format_to(into_latency,
                           "px_http_request_duration_seconds_bucket{{{},le=\"{}\"}} {}\n", labels,
                           bound, total);
        }
        fmt::format_to(into_latency,
                       "px_http_request_duration_seconds_sum{{{}}} {:.9f}\n"
                       "px_http_request_duration_seconds_count{{{}}} {}\n",
                       labels, entry->seconds, labels, total);
    }
    return out + latency;
}

}  // namespace px::gateway
