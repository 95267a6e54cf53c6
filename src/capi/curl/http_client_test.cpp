#include "capi/curl/http_client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <set>
#include <thread>

#include "capi/curl/retry.h"
#include "http/server.h"
#include "testing/fault_proxy.h"
#include "testing/matchers.h"

namespace px::capi::curl {
namespace {

using px::testing::fault_at;
using px::testing::FaultProxy;
using px::testing::IsError;
using px::testing::IsOk;
using px::testing::ProxyFault;

class Http : public ::testing::Test {
  protected:
    Http() {
        http::ServerOptions options;
        options.port = 0;
        options.max_body_bytes = 64 << 20;
        server_ = http::HttpServer::start(
                      options,
                      {.handle = [this](const http::Request& request) { return answer(request); },
                       .quick = nullptr,
                       .refuse = nullptr})
                      .value();
        proxy_ = std::make_unique<FaultProxy>(server_->port());
    }

    http::Response answer(const http::Request& request) {
        http::Response response;
        if (request.path == "/echo") {
            response.body = request.method + " " + request.body;
            response.with("X-Seen", std::string(request.header("X-Sent").value_or("nothing")));
        } else if (request.path == "/large") {
            response.body = std::string(1'000'000, 'l');
        } else if (request.path == "/missing") {
            response.status = 404;
            response.body = "not here";
        } else if (request.path == "/moved") {
            response.status = 302;
            response.with("Location", "/echo");
        }
        return response;
    }
    std::string url(const std::string& path) const {
        return "http://127.0.0.1:" + std::to_string(proxy_->port()) + path;
    }
    static HttpClientOptions quick() {
        HttpClientOptions options;
        options.stall_timeout = std::chrono::milliseconds(1000);
        return options;
    }

    std::unique_ptr<http::HttpServer> server_;
    std::unique_ptr<FaultProxy> proxy_;
};

TEST_F(Http, SendsMethodHeadersAndBodyAndGivesBackTheSame) {
    HttpClient client(quick());
    for (const char* method : {"GET", "PUT", "POST", "PATCH", "DELETE"}) {
        const std::string body = std::strcmp(method, "GET") == 0 ? "" : "some bytes";
        const HttpResponse response = client.send(
            {.method = method, .url = url("/echo"), .headers = {{"X-Sent", "v"}}, .body = body});
        EXPECT_TRUE(response.ok()) << response.error.to_string();
        EXPECT_EQ(response.body, method + std::string(" ") + body);
        EXPECT_EQ(response.header("x-seen"), "v");
    }
    const HttpResponse head = client.send({.method = "HEAD", .url = url("/large")});
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.header("content-length"), "1000000");
    EXPECT_EQ(head.body, "");
    const HttpResponse empty = client.send({.method = "PUT", .url = url("/echo")});
    EXPECT_EQ(empty.body, "PUT ");
}

TEST_F(Http, StatusesAreAnswersAndRedirectsAreNotFollowed) {
    HttpClient client(quick());
    const HttpResponse missing = client.send({.url = url("/missing")});
    EXPECT_EQ(missing.status, 404);
    EXPECT_FALSE(missing.failure);
    EXPECT_EQ(missing.body, "not here");
    EXPECT_EQ(client.send({.url = url("/moved")}).status, 302);
}

TEST_F(Http, BodiesStreamFromASourceAndIntoASink) {
    HttpClient client(quick());
    const std::string body(3'000'000, 'b');
    const HttpResponse sent =
        client.send({.method = "PUT",
                     .url = url("/echo"),
                     .source = [&](int64_t offset, char* buffer, size_t size) -> Result<size_t> {
                         return body.copy(buffer, size, static_cast<size_t>(offset));
                     },
                     .source_size_bytes = static_cast<int64_t>(body.size())});
    EXPECT_TRUE(sent.body == "PUT " + body);
    int64_t received = 0;
    const BodySink count = [&](int64_t offset, std::string_view bytes) -> Result<void> {
        EXPECT_EQ(offset, received);
        received += static_cast<int64_t>(bytes.size());
        return {};
    };
    EXPECT_EQ(client.send({.url = url("/large"), .sink = count}).body, "");
    EXPECT_EQ(received, 1'000'000);
    EXPECT_EQ(client.send({.url = url("/missing"), .sink = count}).body, "not here");
    const HttpResponse full =
        client.send({.url = url("/large"), .sink = [](int64_t, std::string_view) -> Result<void> {
                         return fail(ErrorCode::ResourceExhausted, "the disk is full");
                     }});
    EXPECT_EQ(full.failure, HttpFailure::Local);
    EXPECT_EQ(full.error.code, ErrorCode::ResourceExhausted);
}

TEST_F(Http, ALargerBodyThanAllowedIsRefused) {
    HttpClientOptions options = quick();
    options.body_bytes_max = 999'999;
    HttpClient client(options);
    EXPECT_EQ(client.send({.url = url("/large")}).failure, HttpFailure::TooLarge);
    EXPECT_TRUE(client.send({.url = url("/echo")}).ok());
}

TEST_F(Http, ConnectionsStayOpenAndAreBounded) {
    HttpClientOptions options = quick();
    options.connections_max = 3;
    HttpClient client(options);
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(client.send({.url = url("/echo")}).ok());
    EXPECT_EQ(proxy_->connections_most(), 1);
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 12; ++t) {
            threads.emplace_back([&] {
                for (int i = 0; i < 20; ++i) EXPECT_TRUE(client.send({.url = url("/echo")}).ok());
            });
        }
    }
    EXPECT_LE(proxy_->connections_most(), 3);
}

TEST_F(Http, EachWayToFailIsToldApart) {
    HttpClient client(quick());
    const auto failure = [&](ProxyFault fault) {
        proxy_->cut_all();
        proxy_->set_plan([fault](int64_t, std::string_view) { return fault; });
        const HttpResponse response =
            client.send({.method = "POST", .url = url("/large?sig=SECRET"), .body = "x"});
        EXPECT_EQ(response.error.to_string().find("SECRET"), std::string::npos);
        return response.failure;
    };
    EXPECT_EQ(failure(ProxyFault::cut_before()), HttpFailure::Cut);
    EXPECT_EQ(failure(ProxyFault::cut_reply()), HttpFailure::Cut);
    EXPECT_EQ(failure(ProxyFault::cut_reply(20)), HttpFailure::Cut);
    EXPECT_EQ(failure(ProxyFault::cut_reply(5000)), HttpFailure::Cut);
    EXPECT_EQ(failure(ProxyFault::stall()), HttpFailure::TimedOut);
    EXPECT_EQ(client.send({.url = "http://127.0.0.1:9/"}).failure, HttpFailure::Refused);
    EXPECT_EQ(client.send({.url = "http://no-such-host.invalid/"}).failure,
              HttpFailure::UnknownHost);
    EXPECT_TRUE(client.send({.url = "file:///etc/passwd"}).failure.has_value());
    proxy_->set_plan(nullptr);  // speaks no TLS
    EXPECT_EQ(client.send({.url = "https://127.0.0.1:" + std::to_string(proxy_->port())}).failure,
              HttpFailure::Refused);
}

TEST_F(Http, TimeOutsAndDeadlinesEndARequest) {
    HttpClient client(quick());
    proxy_->set_plan([](int64_t, std::string_view) { return ProxyFault::stall(); });
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(client.send({.url = url("/echo"), .timeout = std::chrono::milliseconds(50)}).failure,
              HttpFailure::TimedOut);
    EXPECT_EQ(
        client.send({.url = url("/echo")}, Deadline::after(std::chrono::milliseconds(50))).failure,
        HttpFailure::TimedOut);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(900));
}

TEST_F(Http, RetriesEndWithTheFirstGoodAnswerOrTheLastAttempt) {
    HttpClient client(quick());
    RetryOptions retry;
    retry.attempts_max = 4;
    retry.delay_first = std::chrono::milliseconds(1);
    std::vector<int> attempts;
    const auto prepare = [&](int attempt) -> Result<HttpRequest> {
        attempts.push_back(attempt);
        return HttpRequest{.url = url("/echo")};
    };
    proxy_->set_plan(fault_at(1, ProxyFault::http("503 Busy")));
    auto reply = send_with_retries(client, retry, Deadline::never(), prepare);
    ASSERT_THAT(reply, IsOk());
    EXPECT_TRUE(reply->last.ok());
    EXPECT_EQ(attempts, (std::vector<int>{1, 2}));
    EXPECT_FALSE(reply->earlier_uncertain);

    proxy_->set_plan(fault_at(1, ProxyFault::http("500 Oops")));
    reply = send_with_retries(client, retry, Deadline::never(), prepare);
    EXPECT_TRUE(reply->earlier_uncertain);

    proxy_->set_plan([](int64_t, std::string_view) { return ProxyFault::http("503 Busy"); });
    reply = send_with_retries(client, retry, Deadline::never(), prepare);
    EXPECT_EQ(reply->last.status, 503);
    EXPECT_EQ(reply->attempts, 4);

    proxy_->set_plan([](int64_t, std::string_view) {
        return ProxyFault::http("503 Busy", {"Retry-After: 30"});
    });
    const auto start = std::chrono::steady_clock::now();
    reply =
        send_with_retries(client, retry, Deadline::after(std::chrono::milliseconds(200)), prepare);
    EXPECT_EQ(reply->attempts, 1);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));

    proxy_->set_plan(nullptr);
    reply = send_with_retries(client, retry, Deadline::never(), [&](int) -> Result<HttpRequest> {
        return HttpRequest{.url = url("/missing")};
    });
    EXPECT_EQ(reply->attempts, 1);
    EXPECT_THAT(send_with_retries(client, retry, Deadline::never(),
                                  [](int) -> Result<HttpRequest> {
                                      return fail(ErrorCode::Unauthenticated, "no token");
                                  }),
                IsError(ErrorCode::Unauthenticated));
}

TEST(HttpDate, RoundTripsAndRefusesOtherForms) {
    EXPECT_EQ(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), 784'111'777);
    for (const int64_t seconds : {int64_t{0}, int64_t{784'111'777}, int64_t{1'795'422'421},
                                  int64_t{1'709'210'096}, int64_t{4'102'444'799}})
        EXPECT_EQ(parse_http_date(format_http_date(seconds)), seconds) << format_http_date(seconds);
    EXPECT_EQ(format_http_date(784'111'777), "Sun, 06 Nov 1994 08:49:37 GMT");
    for (const char* text : {"", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
                             "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 99 Nov 1994 08:49:37 GMT",
                             "Sun, 06 Xxx 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT"})
        EXPECT_FALSE(parse_http_date(text)) << text;
}

TEST(RetryAfter, IsSecondsOrADate) {
    HttpResponse response;
    EXPECT_FALSE(retry_after(response, 0));
    response.headers = {{"retry-after", "7"}};
    EXPECT_EQ(retry_after(response, 0), std::chrono::seconds(7));
    response.headers = {{"retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"}};
    EXPECT_EQ(retry_after(response, 784'111'770 * int64_t{1'000'000}), std::chrono::seconds(7));
    EXPECT_EQ(retry_after(response, 999'111'770 * int64_t{1'000'000}), std::chrono::seconds(0));
    response.headers = {{"retry-after", "soon"}};
    EXPECT_FALSE(retry_after(response, 0));
}

TEST(Url, OriginAndHostLeaveOutWhatIsSecret) {
    EXPECT_EQ(url_origin("https://user:pw@h.example:8443/p?sig=1"), "https://h.example:8443");
    EXPECT_EQ(url_origin("https://h.example?sig=1"), "https://h.example");
    EXPECT_EQ(url_host("http://[::1]:80/x"), "::1");
    EXPECT_EQ(url_host("http://h:1/x"), "h");
    EXPECT_TRUE(is_loopback_host("127.0.0.1"));
    EXPECT_FALSE(is_loopback_host("127.evil.example"));
}

}  // namespace
}  // namespace px::capi::curl
