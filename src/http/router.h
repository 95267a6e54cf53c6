// Router: method and path pattern → handler, with HEAD, OPTIONS and 405 done once. Rank 1.
// Immutable after the last add(); then any thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "http/message.h"

namespace px::http {

/// Values of the {names} of a pattern, decoded.
using PathParameters = std::map<std::string, std::string, std::less<>>;

class Router {
  public:
    using RouteHandler = std::function<Response(const Request&, const PathParameters&)>;

    /// pattern: "/v1/runs/{id}"; a {name} takes one whole segment, {name*} the rest of the path (at
    /// least one byte). A literal segment wins over a {name}. GET serves HEAD as well (the server
    /// leaves the body out).
    void add(std::string method, std::string pattern, RouteHandler handler);

    struct Match {
        enum class Kind { Found, NoPath, NoMethod, Options } kind = Kind::NoPath;
        const RouteHandler* handler = nullptr;
        std::string_view pattern;  ///< "" when the path is unknown
        PathParameters parameters;
        std::string allow;  ///< "GET, HEAD, OPTIONS" when the path is known
    };
    Match match(std::string_view method, std::string_view path) const;

    struct RouteName {
        std::string method, pattern;
    };
    std::vector<RouteName> routes() const;  ///< in the order of add()

  private:
    struct Route {
        std::string method, pattern;
        std::vector<std::string> segments;
        RouteHandler handler;
    };
    std::vector<Route> routes_;
};

}  // namespace px::http
