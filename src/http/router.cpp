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

size_t Router::add(std::string method, std::string pattern) {
    routes_.push_back({std::move(method), split_path(pattern)});
    return routes_.size() - 1;
}

Router::Match Router::match(std::string_view method, std::string_view path) const {
    if (!path.starts_with('/')) return {};
    const auto segments = split_path(path);
    std::string best_rank;
    std::vector<std::pair<size_t, PathParameters>> best;
    for (size_t i = 0; i < routes_.size(); ++i) {
        PathParameters parameters;
        const auto rank = match_segments(routes_[i].segments, segments, parameters);
        if (!rank || (!best.empty() && *rank < best_rank)) continue;
        if (!best.empty() && *rank > best_rank) best.clear();
        best_rank = *rank;
        best.emplace_back(i, std::move(parameters));
    }
    Match match;
    if (best.empty()) return match;
    match.kind = method == "OPTIONS" ? Match::Kind::Options : Match::Kind::NoMethod;
    for (auto& [route, parameters] : best) {
        const std::string& takes = routes_[route].method;
        if (!match.allow.empty()) match.allow += ", ";
        match.allow += takes == "GET" ? "GET, HEAD" : takes;
        const bool fits = takes == method || (method == "HEAD" && takes == "GET");
        if (fits && match.kind != Match::Kind::Found) {
            match.kind = Match::Kind::Found;
            match.route = route;
            match.parameters = std::move(parameters);
        }
    }
    match.allow += ", OPTIONS";
    return match;
}

}  // namespace px::http
