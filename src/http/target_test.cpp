#include "http/target.h"

#include <gtest/gtest.h>

#include <random>

#include "base/utf8.h"

namespace px::http {
namespace {

TEST(Target, IsDecodedIntoPathAndQuery) {
    const auto target = parse_target("/v1/a%20b+c/%C3%BC?q=a+b%26c&empty=&flag&&x=%3D").value();
    EXPECT_EQ(target.path, "/v1/a b+c/ü");
    const std::vector<std::pair<std::string, std::string>> query{
        {"q", "a b&c"}, {"empty", ""}, {"flag", ""}, {"x", "="}};
    EXPECT_EQ(target.query, query);
}

TEST(Target, MayBeAbsoluteOrTheWholeServer) {
    EXPECT_EQ(parse_target("http://localhost:8501/a?b=c").value().path, "/a");
    EXPECT_EQ(parse_target("http://localhost").value().path, "/");
    EXPECT_EQ(parse_target("*").value().path, "*");
    EXPECT_EQ(parse_target("/a#fragment?x=1").value().path, "/a");
}

TEST(Target, IsRefusedWhenItIsNoText) {
    for (const char* target : {"", "a", "://x/", "http://h?x", "/%", "/%1", "/%zz", "/%00", "/%FF",
                               "/?a=%C3", "/?a=%00"}) {
        const auto parsed = parse_target(target);
        ASSERT_FALSE(parsed) << target;
        EXPECT_EQ(parsed.error().code, ErrorCode::InvalidArgument) << target;
    }
}

TEST(PercentEncoding, RoundTripsEveryByte) {
    std::string all;
    for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
    EXPECT_EQ(percent_decode(percent_encode(all), Plus::IsSpace).value(), all);
    EXPECT_EQ(percent_encode("a-b c/é"), "a-b%20c%2F%C3%A9");
}

TEST(Target, SurvivesRandomBytes) {
    std::mt19937 random(20261123);
    const std::string seed = "/v1/runs/2026-11-23-0007?limit=10&as_of=%E2%82%AC&q=a+b";
    for (int round = 0; round < 2000; ++round) {
        std::string text = seed;
        for (int k = 0; k < 4; ++k) text[random() % text.size()] = static_cast<char>(random());
        const auto parsed = parse_target(text);
        if (!parsed) continue;
        EXPECT_TRUE(utf8_is_valid(parsed->path));
        for (const auto& [name, value] : parsed->query) {
            EXPECT_TRUE(utf8_is_valid(name) && utf8_is_valid(value));
        }
    }
}

}  // namespace
}  // namespace px::http
