#include "app/telemetry.h"

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "base/log.h"
#include "capi/curl/http_client.h"
#include "pipeline/trace.h"
#include "px_version.h"

namespace px::app {

namespace {

constexpr std::chrono::milliseconds kTimeout{5'000};

Result<void> send(App& app, const catalog::Run& run,
                  const std::vector<catalog::TaskAttempt>& attempts) {
    const std::string body =
        pipeline::otlp_traces_json(app.definition().name, run, attempts, kVersion);
    capi::curl::HttpClientOptions options;
    options.connect_timeout = kTimeout;
    options.request_timeout = kTimeout;
    capi::curl::HttpClient client(options);
    capi::curl::HttpRequest request;
    request.method = "POST";
    request.url = app.config().otlp_url;
    while (request.url.ends_with('/')) request.url.pop_back();
    request.url += "/v1/traces";
    request.headers = {{"Content-Type", "application/json"}};
    request.body = body;
    const capi::curl::HttpResponse response = client.send(request);
    if (response.failure) return response.error;
    if (!response.ok())
        return fail(ErrorCode::Unavailable,
                    "the collector answered " + std::to_string(response.status));
    return {};
}

void warn(const Result<void>& sent) {
    if (!sent) log::warning("telemetry.not_sent", {{"error", sent.error().to_string()}});
}

}  // namespace

void send_runs(App& app, TimestampMicros since) {
    if (app.config().otlp_url.empty()) return;
    constexpr int64_t kRunsMax = 20;  // of one command
    const auto try_to = [&]() -> Result<void> {
        Result<std::unique_ptr<catalog::Catalog>> opened =
            app.open_catalog(catalog::OpenMode::ReadOnly);
        if (!opened && opened.error().code == ErrorCode::NotFound) return {};
        const std::unique_ptr<catalog::Catalog> catalog = PX_TRY(std::move(opened));
        for (const catalog::Run& run : PX_TRY(catalog->runs(kRunsMax))) {
            if (run.finished_at && *run.finished_at >= since)
                PX_TRY(send(app, run, PX_TRY(catalog->tasks(run.id))));
        }
        return {};
    };
    warn(try_to());
}

void send_task(App& app, const std::string& run_name, const std::string& task) {
    if (app.config().otlp_url.empty()) return;
    const auto try_to = [&]() -> Result<void> {
        const auto catalog = PX_TRY(app.open_catalog(catalog::OpenMode::ReadOnly));
        std::optional<catalog::Run> run = PX_TRY(catalog->run_called(run_name));
        if (!run) run = PX_TRY(catalog->run({run_name}));
        if (!run) return {};
        std::vector<catalog::TaskAttempt> attempts = PX_TRY(catalog->tasks(run->id));
        std::erase_if(attempts,
                      [&](const catalog::TaskAttempt& attempt) { return attempt.task != task; });
        return send(app, *run, attempts);
    };
    warn(try_to());
}

}  // namespace px::app
