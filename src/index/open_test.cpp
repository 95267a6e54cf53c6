#include "index/open.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "testing/matchers.h"

namespace px::index {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using ::testing::HasSubstr;
using ::testing::Not;

using Variables = std::map<std::string, std::string, std::less<>>;

Result<VectorsAddress> parse(std::string_view address, const Variables& variables = {}) {
    return parse_vectors_address(address, "news",
                                 [&](std::string_view name) -> std::optional<std::string> {
                                     const auto found = variables.find(name);
                                     if (found == variables.end()) return std::nullopt;
                                     return found->second;
                                 });
}

TEST(OpenVectors, ReadsAddresses) {
    const auto embedded = parse("embedded:abfss://c@a.dfs.core.windows.net/index");
    ASSERT_THAT(embedded, IsOk());
    EXPECT_EQ(embedded->kind, VectorsAddress::Kind::Embedded);
    EXPECT_EQ(embedded->objects, "abfss://c@a.dfs.core.windows.net/index");
    const auto shown = [](std::string_view address, const Variables& variables = {}) {
        const auto parsed = parse(address, variables);
        EXPECT_THAT(parsed, IsOk()) << address;
        return parsed ? parsed->shown : "";
    };
    EXPECT_EQ(shown("http://127.0.0.1:6333/docs"), "http://127.0.0.1:6333/docs");
    EXPECT_EQ(shown("http://127.0.0.1:6333"), "http://127.0.0.1:6333/news");
    EXPECT_EQ(shown("https://q.example.com/"), "https://q.example.com/news");
    EXPECT_EQ(shown("qdrant:", {{"QDRANT_HOST", "db"}}), "http://db:6333/news");
    EXPECT_EQ(shown("qdrant:docs", {{"QDRANT_HOST", "db"}, {"QDRANT_PORT", "7000"}}),
              "http://db:7000/docs");
    EXPECT_EQ(shown("qdrant:", {{"QDRANT_HOST", "https://x.cloud.qdrant.io"}}),
              "https://x.cloud.qdrant.io:6333/news");
    EXPECT_EQ(shown("qdrant:", {{"QDRANT_HOST", "https://x.cloud.qdrant.io:443/"}}),
              "https://x.cloud.qdrant.io:443/news");
    EXPECT_EQ(shown("qdrant:", {{"QDRANT_HOST", "::1"}}), "http://[::1]:6333/news");
}

TEST(OpenVectors, RefusesWhatIsNoAddressWithoutShowingSecrets) {
    EXPECT_THAT(parse("qdrant:"), IsError(ErrorCode::InvalidArgument, "QDRANT_HOST"));
    for (const char* address :
         {"./index", "", "qdrant://h/x", "http://user:hidden@h/x", "http://h/x?api-key=hidden",
          "http:///x", "ftp://h/x", "http://h/a/b"}) {
        const auto parsed = parse(address);
        ASSERT_THAT(parsed, IsError(ErrorCode::InvalidArgument)) << address;
        EXPECT_THAT(parsed.error().to_string(), Not(HasSubstr("hidden")));
    }
    EXPECT_THAT(parse("qdrant:", {{"QDRANT_HOST", "h"}, {"QDRANT_PORT", "six"}}),
                IsError(ErrorCode::InvalidArgument, "QDRANT_PORT"));
    const auto clear = parse("http://db.example.com:6333", {{"QDRANT_API_KEY", "hidden"}});
    ASSERT_THAT(clear, IsError(ErrorCode::InvalidArgument, "in the clear"));
    EXPECT_THAT(clear.error().to_string(), Not(HasSubstr("hidden")));
    EXPECT_THAT(parse("http://localhost:6333", {{"QDRANT_API_KEY", "hidden"}}), IsOk());
    EXPECT_THAT(parse("https://db.example.com", {{"QDRANT_API_KEY", "hidden"}}), IsOk());
}

}  // namespace
}  // namespace px::index
