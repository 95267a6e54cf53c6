// Router: method and path → the route they reach, with HEAD, OPTIONS and 405 done once. Rank 1.
// Immutable after the last add(); then any thread.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace px::http {

/// Values of the {names} of a pattern, decoded.
using PathParameters = std::map<std::string, std::string, std::less<>>;

class Router {
  public:
    /// pattern: "/v1/runs/{id}"; a {name} takes one whole segment, {name*} the rest of the path (at
    /// least one byte). A literal segment wins over a {name}. GET serves HEAD as well. Returns the
    /// route's number: 0, 1, 2 …
    size_t add(std::string method, std::string pattern);

    struct Match {
        enum class Kind { Found, NoPath, NoMethod, Options } kind = Kind::NoPath;
        size_t route = 0;  ///< of Found
        PathParameters parameters;
        std::string allow;  ///< "GET, HEAD, OPTIONS" when the path is known
    };
    Match match(std::string_view method, std::string_view path) const;

  private:
    struct Route {
        std::string method;
        std::vector<std::string> segments;
    };
    std::vector<Route> routes_;
};

}  // namespace px::http
