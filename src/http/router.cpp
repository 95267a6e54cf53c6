#include "http/router.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace px::http {
namespace {

std::vector<std::string> split_path(std::string_view path) {
    std::vector<std::string> segments;
    size_t start = 1;
    while (start <= path.size()) {
        const size_t end = std::min(path.find('/', start), path.size());
        segments.emplace_back(path.substr(start, end - start));
        start = end + 1;
    }
    return segments;
}

bool is_parameter(std::string_view segment) { return segment.starts_with('{'); }
bool is_rest(std::string_view segment) { return segment.ends_with("*}"); }

/// How literal a match is: segment by segment 2 literal, 1 {name}, 0 {name*}; greater is better.
/// nullopt: no match.
std::optional<std::string> match_segments(const std::vector<std::string>& pattern,
                                          const std::vector<std::string>& path,
                                          PathParameters& parameters) {
    std::string rank;
    for (size_t i = 0; i < pattern.size(); ++i) {
        if (i >= path.size()) return std::nullopt;
        if (is_rest(pattern[i])) {
            std::string rest = path[i];
            for (size_t k = i + 1; k < path.size(); ++k) rest += "/" + path[k];
            if (rest.empty()) return std::nullopt;
            parameters.emplace(pattern[i].substr(1, pattern[i].size() - 3), std::move(rest));
            return rank + "0";
        }
        if (is_parameter(pattern[i])) {
            if (path[i].empty()) return std::nullopt;
            parameters.emplace(pattern[i].substr(1, pattern[i].size() - 2), path[i]);
            rank += "1";
        } else if (pattern[i] == path[i]) {
            rank += "2";
        } else {
            return std::nullopt;
        }
    }
    if (pattern.size() != path.size()) return std::nullopt;
    return rank;
}

}  // namespace

void Router::add(std::string method, std::string pattern, RouteHandler handler) {
    auto segments = split_path(pattern);
    routes_.push_back(
        {std::move(method), std::move(pattern), std::move(segments), std::move(handler)});
}

Router::Match Router::match(std::string_view method, std::string_view path) const {
    if (!path.starts_with('/')) return {};
    const auto segments = split_path(path);
    std::string best_rank;
    std::vector<std::pair<const Route*, PathParameters>> best;
    for (const Route& route : routes_) {
        PathParameters parameters;
        const auto rank = match_segments(route.segments, segments, parameters);
        if (!rank || (!best.empty() && *rank < best_rank)) continue;
        if (best.empty() || *rank > best_rank) best.clear();
        best_rank = *rank;
        best.emplace_back(&route, std::move(parameters));
    }
    Match match;
    if (best.empty()) return match;
    match.pattern = best[0].first->pattern;
    for (auto& [route, parameters] : best) {
        if (!match.allow.empty()) match.allow += ", ";
        match.allow += route->method == "GET" ? "GET, HEAD" : route->method;
        const bool takes = route->method == method || (method == "HEAD" && route->method == "GET");
        if (takes && match.handler == nullptr) {
            match.handler = &route->handler;
            match.parameters = std::move(parameters);
        }
    }
    match.allow += ", OPTIONS";
    match.kind = match.handler != nullptr ? Match::Kind::Found
                 : method == "OPTIONS"    ? Match::Kind::Options
                                          : Match::Kind::NoMethod;
    return match;
}

std::vector<Router::RouteName> Router::routes() const {
    std::vector<RouteName> names;
    for (const Route& route : routes_) names.push_back({route.method, route.pattern});
    return names;
}

}  // namespace px::http
