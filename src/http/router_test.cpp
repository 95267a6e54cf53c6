#include "http/router.h"

#include <gtest/gtest.h>

#include <array>

namespace px::http {
namespace {

constexpr std::array<std::pair<const char*, const char*>, 6> kRoutes{{{"GET", "/"},
                                                                      {"GET", "/v1/runs"},
                                                                      {"GET", "/v1/runs/{id}"},
                                                                      {"GET", "/v1/runs/latest"},
                                                                      {"POST", "/v1/runs/{id}"},
                                                                      {"GET", "/files/{path*}"}}};

Router sample() {
    Router router;
    for (const auto& [method, pattern] : kRoutes) router.add(method, pattern);
    return router;
}

std::string reached(const Router& router, std::string_view method, std::string_view path) {
    const auto match = router.match(method, path);
    if (match.kind != Router::Match::Kind::Found) return "-";
    return std::string(kRoutes[match.route].first) + " " + kRoutes[match.route].second;
}

TEST(Router, PrefersLiteralSegments) {
    const Router router = sample();
    EXPECT_EQ(reached(router, "GET", "/"), "GET /");
    EXPECT_EQ(reached(router, "GET", "/v1/runs/latest"), "GET /v1/runs/latest");
    EXPECT_EQ(reached(router, "GET", "/v1/runs/2026-11-23-0007"), "GET /v1/runs/{id}");
    EXPECT_EQ(reached(router, "POST", "/v1/runs/7"), "POST /v1/runs/{id}");
    EXPECT_EQ(reached(router, "HEAD", "/v1/runs"), "GET /v1/runs");
    EXPECT_EQ(reached(router, "GET", "/v1/runs/"), "-");
    EXPECT_EQ(reached(router, "GET", "/v1/runs/a/b"), "-");
    EXPECT_EQ(reached(router, "GET", "/files/"), "-");
    EXPECT_EQ(router.match("GET", "/v1/runs/a b").parameters.at("id"), "a b");
    EXPECT_EQ(router.match("GET", "/files/a/b.js").parameters.at("path"), "a/b.js");
}

TEST(Router, NamesTheAllowedMethodsOfAKnownPath) {
    const Router router = sample();
    const auto match = router.match("DELETE", "/v1/runs/7");
    EXPECT_EQ(match.kind, Router::Match::Kind::NoMethod);
    EXPECT_EQ(match.allow, "GET, HEAD, POST, OPTIONS");
    EXPECT_EQ(router.match("OPTIONS", "/v1/runs").kind, Router::Match::Kind::Options);
    EXPECT_EQ(router.match("OPTIONS", "/nowhere").kind, Router::Match::Kind::NoPath);
    EXPECT_EQ(router.match("GET", "*").kind, Router::Match::Kind::NoPath);
    EXPECT_EQ(router.match("GET", "").kind, Router::Match::Kind::NoPath);
}

}  // namespace
}  // namespace px::http
