#include "http/router.h"

#include <gtest/gtest.h>

namespace px::http {
namespace {

Router sample() {
    const auto named = [](std::string name) {
        return [name](const Request&, const PathParameters&) {
            return Response{.status = 200, .headers = {}, .body = name};
        };
    };
    Router router;
    router.add("GET", "/", named("root"));
    router.add("GET", "/v1/runs", named("runs"));
    router.add("GET", "/v1/runs/{id}", named("run"));
    router.add("GET", "/v1/runs/latest", named("latest"));
    router.add("POST", "/v1/runs/{id}", named("change"));
    router.add("GET", "/files/{path*}", named("file"));
    return router;
}

std::string reached(const Router& router, std::string_view method, std::string_view path) {
    const auto match = router.match(method, path);
    if (match.kind != Router::Match::Kind::Found) return "-";
    return (*match.handler)({}, match.parameters).body;
}

TEST(Router, PrefersLiteralSegments) {
    const Router router = sample();
    EXPECT_EQ(reached(router, "GET", "/"), "root");
    EXPECT_EQ(reached(router, "GET", "/v1/runs/latest"), "latest");
    EXPECT_EQ(reached(router, "GET", "/v1/runs/2026-11-23-0007"), "run");
    EXPECT_EQ(reached(router, "POST", "/v1/runs/7"), "change");
    EXPECT_EQ(reached(router, "HEAD", "/v1/runs"), "runs");
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
}

}  // namespace
}  // namespace px::http
