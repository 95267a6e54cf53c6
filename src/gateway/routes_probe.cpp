// /livez, /readyz, /healthz, /health, /metrics.

#include "gateway/response_json.h"
#include "gateway/routes.h"

namespace px::gateway {

std::vector<Route> Routes::probe_routes() const {
    const auto health = [this](const Call& call) -> Result<http::Response> {
        boost::json::object object;
        const auto view = services_.releases.open({}, answer::Access::everything());
        if (!view && view.error().code != ErrorCode::NotFound) return view.error();
        const bool restricted = services_.releases.restricts(call.access);
        object["status"] = view ? "ok" : "empty";
        object["version"] = services_.version;
        object["pipeline"] = services_.pipeline;
        object["release"] = view ? boost::json::value(release_json((*view)->release, restricted))
                                 : boost::json::value(nullptr);
        object["points"] = nullptr;
        if (!restricted) {
            object["points"] = view && (*view)->points
                                   ? static_cast<int64_t>((*view)->points->point_count())
                                   : int64_t{0};
        }
        object["model"] = services_.encoder.model_id();
        return json_response(write_json(object));
    };
    std::vector<Route> routes;
    for (const std::string_view pattern : {"/health", "/healthz"}) {
        routes.push_back({.method = "GET",
                          .pattern = pattern,
                          .tag = "probes",
                          .summary = "What is being served.",
                          .response_schema = "Health",
                          .handler = health});
    }
    routes.push_back(
        {.method = "GET",
         .pattern = "/livez",
         .tag = "probes",
         .summary = "The process answers.",
         .description = "Served without waiting for a worker, so it answers under any load.",
         .response_schema = "Ready",
         .handler = [](const Call&) -> Result<http::Response> {
             return json_response(R"({"status":"alive"})");
         }});
    routes.push_back({.method = "GET",
                      .pattern = "/readyz",
                      .tag = "probes",
                      .summary = "A release is open and can be asked; 503 until then.",
                      .response_schema = "Ready",
                      .handler = [this](const Call&) -> Result<http::Response> {
                          const auto view =
                              services_.releases.open({}, answer::Access::everything());
                          if (!view) {
                              return fail(ErrorCode::Unavailable,
                                          "not ready: " + view.error().message, view.error().hint);
                          }
                          return json_response(R"({"status":"ready"})");
                      }});
    routes.push_back({.method = "GET",
                      .pattern = "/metrics",
                      .tag = "probes",
                      .summary = "Metrics in Prometheus' text format.",
                      .response_type = "text/plain",
                      .handler = [this](const Call& call) -> Result<http::Response> {
                          PX_TRY(only_unrestricted(call, "the metrics"));
                          return metrics_response();
                      }});
    return routes;
}

}  // namespace px::gateway
