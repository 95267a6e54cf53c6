// Routes: what each path of the API does, with its documentation beside it; requests in, responses
// out, no socket. Rank 5. Immutable after construction; thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/gateway.h"
#include "gateway/metrics.h"
#include "http/message.h"
#include "http/router.h"
#include "http/server.h"

namespace px::gateway {

/// A query or path parameter of a route; others are refused.
struct Parameter {
    std::string_view name;
    std::string_view in;    ///< "query" or "path"
    std::string_view type;  ///< JSON Schema type
    std::string_view description;
};

/// One request on its way through a handler.
struct Call {
    const http::Request& request;
    const http::PathParameters& path;
    std::string request_id;
    Deadline deadline;
    answer::Access access;  ///< of whoever sent it
};

struct Route {
    std::string_view method{}, pattern{};
    std::string_view tag{}, summary{}, description{};
    std::vector<Parameter> parameters{};
    std::string_view
        request_schema{};  ///< component of the OpenAPI document; "" when there is no body
    std::string_view response_schema{};  ///< likewise; "" when the response is not JSON
    std::string_view response_type = "application/json";
    std::string_view example{};  ///< of the body, for people
    std::function<Result<http::Response>(const Call&)> handler{};
};

/// A response of 200 with a JSON body.
http::Response json_response(std::string json);

class Routes {
  public:
    Routes(const GatewayServices& services, const GatewayOptions& options);

    /// Any request; never fails: errors are problem+json.
    http::Response handle(const http::Request& request) const;
    /// What needs no waiting: /livez and the page's files; nullopt for the rest.
    std::optional<http::Response> quick(const http::Request& request) const;
    /// For what the server refuses before there is a request.
    http::Response refuse(int status, const std::string& detail) const;

    const std::vector<Route>& routes() const { return routes_; }
    /// Where /metrics gets the server's numbers from. Set before the first request.
    void set_stats(std::function<http::ServerStats()> stats) { stats_ = std::move(stats); }

  private:
    std::vector<Route> search_routes() const;
    std::vector<Route> embeddings_routes() const;
    std::vector<Route> sql_routes() const;
    std::vector<Route> lake_routes() const;
    std::vector<Route> citation_routes() const;
    std::vector<Route> probe_routes() const;
    std::vector<Route> page_routes() const;

    std::optional<http::Response> guard(const http::Request& request,
                                        const std::string& request_id) const;
    http::Response reach(size_t index, const Call& call) const;
    /// Finds out who asks, and lets him in.
    http::Response admit(const http::Router::Match& match, const http::Request& request,
                         const std::string& request_id) const;
    http::Response dispatch(const http::Request& request, const std::string& request_id) const;
    http::Response dressed(http::Response response, std::string_view request_id) const;
    std::string request_id_of(const http::Request& request) const;
    http::Response metrics_response() const;
    /// For what no acl covers. Errors: Forbidden to whom the policy restricts.
    Result<void> only_unrestricted(const Call& call, std::string_view what) const;

    const GatewayServices& services_;
    const GatewayOptions& options_;
    std::vector<Route> routes_;
    http::Router router_;
    std::unique_ptr<Metrics> metrics_;
    std::unique_ptr<EmbedQueue> embed_queue_;
    std::function<http::ServerStats()> stats_;
    std::string openapi_, docs_page_;
    uint32_t id_prefix_ = 0;
    mutable std::atomic<uint32_t> id_counter_{0};
};

}  // namespace px::gateway
