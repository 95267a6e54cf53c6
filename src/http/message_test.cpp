#include "http/message.h"

#include <gtest/gtest.h>

namespace px::http {
namespace {

TEST(ServerSentEvent, GivesEveryLineOfDataALineOfItsOwn) {
    EXPECT_EQ(server_sent_event("done", "{}"), "event: done\ndata: {}\n\n");
    EXPECT_EQ(server_sent_event("x", "a\nb\r\nc\rd"),
              "event: x\ndata: a\ndata: b\ndata: c\ndata: d\n\n");
    EXPECT_EQ(server_sent_event("x", ""), "event: x\ndata: \n\n");
}

TEST(Request, FindsHeadersWhateverTheirCase) {
    Request request;
    request.headers = {{"X-Request-Id", "1"}, {"x-request-id", "2"}};
    EXPECT_EQ(request.header("x-REQUEST-id").value(), "1");
    EXPECT_FALSE(request.header("x-request"));
    request.query = {{"a", "1"}, {"a", "2"}};
    EXPECT_EQ(request.query_value("a").value(), "1");
    EXPECT_FALSE(request.query_value("A"));
}

}  // namespace
}  // namespace px::http
