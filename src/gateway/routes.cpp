#include "gateway/routes.h"

#include <boost/json.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <iterator>
#include <random>
#include <utility>

#include "base/log.h"
#include "base/utf8.h"
#include "gateway/openapi.h"
#include "gateway/problem.h"
#include "gateway/request_fields.h"
#include "gateway/web_files.h"

namespace px::gateway {
namespace {

using Steady = std::chrono::steady_clock;

constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kSecurityHeaders{{
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
     "base-uri 'none'; "
     "form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Permissions-Policy", "camera=(), geolocation=(), microphone=()"},
    {"X-Permitted-Cross-Domain-Policies", "none"},
}};

/// Whether an Accept-Encoding header takes gzip ("gzip;q=0" does not).
bool takes_gzip(std::string_view accept) {
    size_t start = 0;
    while (start < accept.size()) {
        const size_t end = std::min(accept.find(',', start), accept.size());
        std::string_view item = accept.substr(start, end - start);
        start = end + 1;
        while (item.starts_with(' ')) item.remove_prefix(1);
        if (!item.starts_with("gzip")) continue;
        const size_t q = item.find("q=");
        return q == std::string_view::npos ||
               item.substr(q + 2).find_first_not_of("0. ") != std::string_view::npos;
    }
    return false;
}

http::Response file_response(const WebFile& file, const http::Request& request) {
    http::Response response;
    response.with("Content-Type", std::string(file.content_type))
        .with("ETag", std::string(file.etag))
        .with("Cache-Control", "no-cache")
        .with("Vary", "Accept-Encoding");
    const auto known = request.header("If-None-Match");
    if (known && known->find(file.etag) != std::string_view::npos) {
        response.status = 304;
        return response;
    }
    if (!file.gzip.empty() && takes_gzip(request.header("Accept-Encoding").value_or(""))) {
        response.static_body = file.gzip;
        response.with("Content-Encoding", "gzip");
    } else {
        response.static_body = file.bytes;
    }
    return response;
}

const WebFile* find_file(std::string_view path) {
    const auto files = web_files();
    const auto found =
        std::ranges::lower_bound(files, path == "/" ? "/index.html" : path, {}, &WebFile::path);
    return found != files.end() && found->path == (path == "/" ? "/index.html" : path) ? &*found
                                                                                       : nullptr;
}

/// A page of another origin must not make a browser ask us: not even for what it can't read.
bool is_foreign_origin(const http::Request& request) {
    if (request.header("Sec-Fetch-Site") == "cross-site") return true;
    const auto origin = request.header("Origin");
    if (!origin) return false;
    const size_t scheme = origin->find("://");
    return scheme == std::string_view::npos || !is_loopback_host(origin->substr(scheme + 3));
}

}  // namespace

http::Response json_response(std::string json) {
    http::Response response;
    response.body = std::move(json);
    response.with("Content-Type", "application/json");
    return response;
}

Routes::Routes(const GatewayServices& services, const GatewayOptions& options)
    : services_(services),
      options_(options),
      embed_queue_(std::make_unique<EmbedQueue>(services.encoder, options.embed_queue)) {
    for (auto group : {search_routes(), embeddings_routes(), citation_routes(), sql_routes(),
                       lake_routes(), probe_routes(), page_routes()}) {
        std::ranges::move(group, std::back_inserter(routes_));
    }
    std::vector<Metrics::RouteName> names{{"", "(none)"}};
    for (const Route& route : routes_) {
        names.push_back({std::string(route.method), std::string(route.pattern)});
        router_.add(std::string(route.method), std::string(route.pattern));
    }
    metrics_ = std::make_unique<Metrics>(std::move(names));
    openapi_ = openapi_json(routes_, services_.version);
    docs_page_ = docs_html(routes_, services_.version);
    id_prefix_ = std::random_device()();
}

std::string Routes::request_id_of(const http::Request& request) const {
    const auto given = request.header("X-Request-Id");
    const auto plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || c == '.';
    };
    if (given && !given->empty() && given->size() <= 64 && std::ranges::all_of(*given, plain)) {
        return std::string(*given);
    }
    return fmt::format("{:08x}{:08x}", id_prefix_, ++id_counter_);
}

http::Response Routes::dressed(http::Response response, std::string_view request_id) const {
    for (const auto& [name, value] : kSecurityHeaders)
        response.with(std::string(name), std::string(value));
    response.with("X-Request-Id", std::string(request_id));
    const bool cached = std::ranges::any_of(response.headers, [](const http::Header& header) {
        return header.name == "Cache-Control";
    });
    if (!cached) response.with("Cache-Control", "no-store");
    return response;
}

std::optional<http::Response> Routes::guard(const http::Request& request,
                                            const std::string& request_id) const {
    const auto host = request.header("Host");
    if (host && !is_loopback_host(*host)) {
        return problem_response(
            fail(ErrorCode::Forbidden,
                 fmt::format("the Host header '{}' is not a name of this machine",
                             utf8_sanitize(host->substr(0, 100))),
                 "Ask for localhost or 127.0.0.1"),
            request_id);
    }
    if (is_foreign_origin(request)) {
        return problem_response(
            fail(ErrorCode::Forbidden, "a page of another origin asked for this",
                 "Only pages of this gateway may ask; programs need no Origin header"),
            request_id);
    }
    return std::nullopt;
}

http::Response Routes::reach(size_t index, const Call& call) const {
    const auto start = Steady::now();
    const Route& route = routes_[index];
    auto result = [&]() -> Result<http::Response> {
        std::vector<std::string_view> known;
        for (const Parameter& parameter : route.parameters) {
            if (parameter.in == "query") known.push_back(parameter.name);
        }
        for (const auto& [name, value] : call.request.query) {
            if (std::ranges::find(known, name) != known.end()) continue;
            const std::string nearest = nearest_name(name, known);
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("unknown parameter '{}'", utf8_sanitize(name.substr(0, 60))),
                        nearest.empty() ? "" : fmt::format("Did you mean '{}'?", nearest));
        }
        return route.handler(call);
    }();
    http::Response response =
        result ? std::move(*result) : problem_response(result.error(), call.request_id);
    if (response.status >= 500) {
        log::warning("gateway.request",
                     {{"route", route.pattern},
                      {"status", response.status},
                      {"request_id", call.request_id},
                      {"error", result ? std::string() : result.error().to_string()}});
    }
    if (!response.stream) {
        metrics_->record(index + 1, response.status, Steady::now() - start);
        return response;
    }
    // A stream's time ends with its last byte.
    response.stream = [this, index, start, status = response.status,
                       stream = std::move(response.stream)](http::StreamWriter& writer) {
        auto streamed = stream(writer);
        metrics_->record(index + 1, status, Steady::now() - start);
        return streamed;
    };
    return response;
}

http::Response Routes::admit(const http::Router::Match& match, const http::Request& request,
                             const std::string& request_id) const {
    Call call{request,
              match.parameters,
              request_id,
              Deadline::after(options_.request_time, request.stop),
              {}};
    if (services_.access) {
        auto access = services_.access(request);
        if (!access) {
            auto response = problem_response(access.error(), request_id);
            metrics_->record(match.route + 1, response.status, {});
            return response;
        }
        call.access = std::move(*access);
    }
    return reach(match.route, call);
}

Result<void> Routes::only_unrestricted(const Call& call, std::string_view what) const {
    if (services_.releases.restricts(call.access)) return answer::forbidden_to_restricted(what);
    return {};
}

http::Response Routes::dispatch(const http::Request& request, const std::string& request_id) const {
    const auto unreached = [&](http::Response response) {
        metrics_->record(0, response.status, {});
        return response;
    };
    if (auto refused = guard(request, request_id)) return unreached(std::move(*refused));
    const auto match = router_.match(request.method, request.path);
    switch (match.kind) {
        case http::Router::Match::Kind::Found:
            return admit(match, request, request_id);
        case http::Router::Match::Kind::Options: {
            http::Response response;
            response.status = 204;
            response.with("Allow", match.allow);
            return unreached(std::move(response));
        }
        case http::Router::Match::Kind::NoMethod: {
            auto response = problem_response(
                405,
                fmt::format("{} does not take {}", utf8_sanitize(request.path.substr(0, 200)),
                            utf8_sanitize(request.method.substr(0, 30))),
                "It takes " + match.allow, request_id);
            response.with("Allow", match.allow);
            return unreached(std::move(response));
        }
        case http::Router::Match::Kind::NoPath:
            break;
    }
    std::vector<std::string_view> patterns;
    for (const Route& route : routes_) patterns.push_back(route.pattern);
    const std::string nearest = nearest_name(request.path, patterns);
    return unreached(problem_response(
        404, fmt::format("there is nothing at {}", utf8_sanitize(request.path.substr(0, 200))),
        nearest.empty() ? "The API is listed at /docs" : fmt::format("Did you mean {}?", nearest),
        request_id));
}

http::Response Routes::handle(const http::Request& request) const {
    const std::string request_id = request_id_of(request);
    return dressed(dispatch(request, request_id), request_id);
}

std::optional<http::Response> Routes::quick(const http::Request& request) const {
    const bool reads = request.method == "GET" || request.method == "HEAD";
    if (!reads || (request.path != "/livez" && find_file(request.path) == nullptr))
        return std::nullopt;
    return handle(request);
}

http::Response Routes::refuse(int status, const std::string& detail) const {
    const std::string request_id = request_id_of({});
    metrics_->record(0, status, {});
    return dressed(problem_response(status, detail, "", request_id), request_id);
}

namespace {

/// From the catalog alone: whoever runs the pipeline, each server tells the same.
void add_run_gauges(catalog::Catalog& catalog, Metrics::Gauges& gauges) {
    constexpr int64_t kLookBack = 20;
    const auto runs = catalog.runs(kLookBack);
    if (!runs) return;
    const catalog::Run* last = nullptr;
    for (const catalog::Run& run : *runs) {
        if (run.state == catalog::RunState::Running) {
            ++gauges.runs_unfinished;
        } else if (last == nullptr) {
            last = &run;
        }
    }
    if (last == nullptr) return;
    Metrics::LastRun gauge;
    gauge.state = catalog::run_state_name(last->state);
    if (last->finished_at) {
        gauge.finished_seconds = static_cast<double>(*last->finished_at) / 1e6;
        gauge.elapsed_seconds = static_cast<double>(*last->finished_at - last->started_at) / 1e6;
    }
    boost::system::error_code code;
    const boost::json::value report = boost::json::parse(last->report_json, code);
    const auto number = [](const boost::json::value& from, std::string_view path) {
        boost::system::error_code missing;
        const boost::json::value* found = from.find_pointer(path, missing);
        return found != nullptr && found->is_number() ? found->to_number<double>(missing) : 0.0;
    };
    const auto whole = [&](const boost::json::value& from, std::string_view path) {
        return static_cast<int64_t>(number(from, path));
    };
    if (!code) {
        gauge.cpu_seconds = number(report, "/cpu_s");
        gauge.memory_bytes = whole(report, "/memory_max_bytes");
        gauge.bytes_written = whole(report, "/bytes_written");
        gauge.chunks_embedded = whole(report, "/chunks/embed");
        gauge.chunks_reused = whole(report, "/chunks/reuse");
        gauge.chunks_deleted = whole(report, "/chunks/delete");
        if (const boost::json::value* sources = report.find_pointer("/sources", code);
            sources != nullptr && sources->is_array()) {
            for (const boost::json::value& source : sources->get_array()) {
                const boost::json::value* name = source.find_pointer("/name", code);
                if (name == nullptr || !name->is_string()) continue;
                gauge.sources.push_back({std::string(name->get_string()),
                                         whole(source, "/accepted"), whole(source, "/quarantined"),
                                         whole(source, "/bytes")});
            }
        }
    }
    if (const auto tasks = catalog.tasks(last->id)) {
        std::map<std::string, double> seconds;  // of the last attempt
        for (const catalog::TaskAttempt& task : *tasks) {
            if (task.finished_at)
                seconds[task.task] = static_cast<double>(*task.finished_at - task.started_at) / 1e6;
        }
        gauge.tasks.assign(seconds.begin(), seconds.end());
    }
    gauges.last_run = std::move(gauge);
}

}  // namespace

http::Response Routes::metrics_response() const {
    Metrics::Gauges gauges;
    gauges.version = services_.version;
    gauges.pipeline = services_.pipeline;
    if (stats_) gauges.server = stats_();
    gauges.embedded = embed_queue_->counts();
    // No release, or one that can't be opened, is no reason to tell nothing.
    if (const auto view = services_.releases.open({}, answer::Access::everything())) {
        gauges.release = (*view)->release.id.value;
        gauges.documents = (*view)->release.documents;
        gauges.published_seconds = static_cast<double>((*view)->release.published_at) / 1e6;
        gauges.points = (*view)->points ? static_cast<int64_t>((*view)->points->point_count()) : 0;
    }
    add_run_gauges(services_.catalog, gauges);
    http::Response response;
    response.body = metrics_->text(gauges);
    response.with("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    return response;
}

std::vector<Route> Routes::page_routes() const {
    std::vector<Route> routes;
    routes.push_back({.method = "GET",
                      .pattern = "/openapi.json",
                      .tag = "page",
                      .summary = "This API as an OpenAPI 3.1 document.",
                      .handler = [this](const Call&) -> Result<http::Response> {
                          return json_response(openapi_);
                      }});
    routes.push_back({.method = "GET",
                      .pattern = "/docs",
                      .tag = "page",
                      .summary = "This API as a page.",
                      .response_type = "text/html",
                      .handler = [this](const Call&) -> Result<http::Response> {
                          http::Response response;
                          response.body = docs_page_;
                          response.with("Content-Type", "text/html; charset=utf-8");
                          return response;
                      }});
    const auto serve = [](const Call& call) -> Result<http::Response> {
        return file_response(*find_file(call.request.path), call.request);
    };
    routes.push_back({.method = "GET",
                      .pattern = "/",
                      .tag = "page",
                      .summary = "The page.",
                      .response_type = "text/html",
                      .handler = serve});
    for (const WebFile& file : web_files()) {
        routes.push_back({.method = "GET",
                          .pattern = file.path,
                          .tag = "file",
                          .summary = "A file of the page.",
                          .response_type = file.content_type.substr(0, file.content_type.find(';')),
                          .handler = serve});
    }
    return routes;
}

}  // namespace px::gateway
