#include "http/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <latch>
#include <mutex>
#include <thread>

#include "http/raw_client.h"

namespace px::http {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

ServerOptions quick_options() {
    ServerOptions options;
    options.port = 0;
    options.drain_timeout = 3000ms;
    return options;
}

/// Echoes method, path, first query value and body.
Response echo(const Request& request) {
    Response response;
    response.body = request.method + " " + request.path + " " +
                    std::string(request.query_value("q").value_or("-")) + " " + request.body;
    return std::move(response.with("Content-Type", "text/plain"));
}

std::unique_ptr<HttpServer> serve(Handlers handlers, ServerOptions options = quick_options()) {
    auto server = HttpServer::start(std::move(options), std::move(handlers));
    EXPECT_TRUE(server) << (server ? "" : server.error().to_string());
    return std::move(server).value();
}

std::unique_ptr<HttpServer> serve(std::function<Response(const Request&)> handle,
                                  ServerOptions options = quick_options()) {
    Handlers handlers;
    handlers.handle = std::move(handle);
    return serve(std::move(handlers), std::move(options));
}

std::string exchange(uint16_t port, std::string_view request) {
    RawClient client(port);
    client.send(request);
    return client.receive_all();
}

TEST(HttpServer, AnswersOnAPortItChose) {
    const auto server = serve(echo);
    ASSERT_NE(server->port(), 0);
    const std::string reply =
        exchange(server->port(),
                 "GET /a%20b?q=1+2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    EXPECT_THAT(reply, StartsWith("HTTP/1.1 200 OK\r\nDate: "));
    EXPECT_THAT(reply,
                HasSubstr("\r\nContent-Length: 13\r\nConnection: close\r\n\r\nGET /a b 1 2 "));
    EXPECT_EQ(server->stats().requests, 1);
}

TEST(HttpServer, KeepsTheConnectionAndAnswersPipelinedRequestsInOrder) {
    const auto server = serve([](const Request& request) {
        if (request.path == "/slow") std::this_thread::sleep_for(30ms);
        return echo(request);
    });
    RawClient client(server->port());
    client.send(
        "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n"
        "POST /second HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
        "POST /third HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        "GET /fourth HTTP/1.1\r\nHost: h\r\n\r\n");
    const std::string reply = client.receive_until("/fourth");
    const size_t first = reply.find("GET /slow"), second = reply.find("POST /second - hello");
    const size_t third = reply.find("POST /third - abc"), fourth = reply.find("GET /fourth");
    ASSERT_NE(fourth, std::string::npos) << reply;
    EXPECT_TRUE(first < second && second < third && third < fourth) << reply;
    EXPECT_FALSE(client.closed());
    client.forget();
    client.send("GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    EXPECT_THAT(client.receive_until("/later"), HasSubstr("200 OK"));
}

TEST(HttpServer, SpeaksHttp10AndClosesUnlessAsked) {
    const auto server = serve(echo);
    EXPECT_THAT(exchange(server->port(), "GET / HTTP/1.0\r\n\r\n"), HasSubstr("Connection: close"));
    RawClient client(server->port());
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_THAT(client.receive_until("GET /"), HasSubstr("Connection: keep-alive"));
    EXPECT_FALSE(client.closed());
}

TEST(HttpServer, LeavesTheBodyOutForHead) {
    const auto server = serve(echo);
    RawClient client(server->port());
    client.send(
        "HEAD /x HTTP/1.1\r\nHost: h\r\n\r\nGET /y HTTP/1.1\r\nHost: h\r\nConnection: "
        "close\r\n\r\n");
    const std::string reply = client.receive_all();
    EXPECT_THAT(reply, HasSubstr("Content-Length: 10\r\n\r\nHTTP/1.1 200 OK"));
}

TEST(HttpServer, AnswersOptionsForTheWholeServer) {
    const auto server = serve(echo);
    EXPECT_THAT(
        exchange(server->port(), "OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
        StartsWith("HTTP/1.1 204 No Content"));
}

struct BadRequest {
    std::string name, bytes;
    int status;
};
void PrintTo(const BadRequest& request, std::ostream* out) { *out << request.name; }

class Malformed : public testing::TestWithParam<BadRequest> {};

TEST_P(Malformed, IsRefusedWithItsStatusAndTheConnectionCloses) {
    ServerOptions options = quick_options();
    options.max_body_bytes = 1000;
    options.max_header_bytes = 2000;
    if (GetParam().status == 408) options.header_timeout = options.body_timeout = 300ms;
    const auto server = serve(echo, options);
    RawClient client(server->port());
    client.send(GetParam().bytes);
    const std::string reply = client.receive_all();
    EXPECT_THAT(reply, StartsWith("HTTP/1.1 " + std::to_string(GetParam().status) + " ")) << reply;
    EXPECT_THAT(reply, HasSubstr("Connection: close"));
    EXPECT_TRUE(client.closed());
    EXPECT_THAT(exchange(server->port(), "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
                HasSubstr("200 OK"));
}

INSTANTIATE_TEST_SUITE_P(
    HttpServer, Malformed,
    testing::Values(
        BadRequest{"NoRequestLine", "hello\r\n\r\n", 400},
        BadRequest{"TlsHello",
                   std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \r\n\r\n", 16), 400},
        BadRequest{"NoVersion", "GET /\r\n\r\n", 400},
        BadRequest{"OldVersion", "GET / HTTP/2.0\r\nHost: h\r\n\r\n", 400},
        BadRequest{"NoHost", "GET / HTTP/1.1\r\n\r\n", 400},
        BadRequest{"TwoHosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
        BadRequest{"BadHeader", "GET / HTTP/1.1\r\nHost: h\r\nBad Header: x\r\n\r\n", 400},
        BadRequest{"NulInHeader", std::string("GET / HTTP/1.1\r\nHost: h\r\nA: \0b\r\n\r\n", 38),
                   400},
        BadRequest{"BadLength", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400},
        BadRequest{"TwoLengths",
                   "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                   400},
        BadRequest{"LengthAndChunked",
                   "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: "
                   "chunked\r\n\r\n0\r\n\r\n",
                   400},
        BadRequest{"BadChunk",
                   "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
        BadRequest{"BadTarget", "GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        BadRequest{"ForeignExpectation",
                   "POST / HTTP/1.1\r\nHost: h\r\nExpect: magic\r\nContent-Length: 2\r\n\r\n", 417},
        BadRequest{
            "LargeBody",
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n" + std::string(1001, 'x'),
            413},
        BadRequest{"LargeChunkedBody",
                   "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3f0\r\n" +
                       std::string(1008, 'x') + "\r\n0\r\n\r\n",
                   413},
        BadRequest{"LargeHeaders",
                   "GET / HTTP/1.1\r\nHost: h\r\nA: " + std::string(4000, 'x') + "\r\n\r\n", 431},
        BadRequest{"EndlessHeaders", "GET / HTTP/1.1\r\nHost: h\r\nA: " + std::string(400'000, 'x'),
                   431},
        BadRequest{"SlowHeaders", "GET / HTTP/1.1\r\nHost:", 408},
        BadRequest{"SlowBody", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc", 408}),
    [](const auto& test) { return test.param.name; });

TEST(HttpServer, AsksForTheBodyOfAWaitingClient) {
    const auto server = serve(echo);
    RawClient client(server->port());
    client.send("POST /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    EXPECT_THAT(client.receive_until("\r\n\r\n"), StartsWith("HTTP/1.1 100 Continue\r\n\r\n"));
    client.send("body");
    EXPECT_THAT(client.receive_until("POST /x"), HasSubstr("POST /x - body"));
}

TEST(HttpServer, ClosesAnIdleConnectionSilently) {
    ServerOptions options = quick_options();
    options.idle_timeout = 100ms;
    const auto server = serve(echo, options);
    RawClient client(server->port());
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client.receive_until("GET /");
    client.forget();
    EXPECT_EQ(client.receive_all(), "");
    EXPECT_TRUE(client.closed());
}

TEST(HttpServer, ServesProbesWhileManySlowConnectionsAreOpen) {
    rlimit files{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
    ASSERT_GE(files.rlim_max, 1100U) << "the test needs 1100 file descriptors";
    files.rlim_cur = std::max<rlim_t>(files.rlim_cur, 1100);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
    ServerOptions options = quick_options();
    options.header_timeout = 20s;
    options.worker_threads = 2;
    const auto server = serve(echo, options);
    std::vector<RawClient> slow;
    for (int i = 0; i < 500; ++i) {
        slow.emplace_back(server->port());
        slow.back().send(i % 2 == 0 ? "GET / HTTP/1.1\r\nHos"
                                    : "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab");
    }
    std::vector<double> latencies_ms;
    for (int i = 0; i < 100; ++i) {
        const auto start = std::chrono::steady_clock::now();
        const std::string reply =
            exchange(server->port(), "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        const std::chrono::duration<double, std::milli> elapsed =
            std::chrono::steady_clock::now() - start;
        ASSERT_THAT(reply, HasSubstr("200 OK"));
        latencies_ms.push_back(elapsed.count());
    }
    std::ranges::sort(latencies_ms);
    EXPECT_LT(latencies_ms[50], 50);    // a busy machine still answers most at once
    EXPECT_LT(latencies_ms[99], 5000);  // far below the 20 s a blocked server would need
}

TEST(HttpServer, AnswersQuicklyWhileEveryWorkerIsBusyAndRefusesWhatDoesNotFit) {
    std::latch busy(2);
    std::mutex mutex;
    std::condition_variable changed;
    bool release = false;
    Handlers handlers;
    handlers.handle = [&](const Request& request) {
        if (request.path == "/busy") busy.count_down();
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return release; });
        return echo(request);
    };
    handlers.quick = [](const Request& request) -> std::optional<Response> {
        if (request.path != "/livez") return std::nullopt;
        return Response{.status = 200, .headers = {}, .body = "alive"};
    };
    ServerOptions options = quick_options();
    options.worker_threads = 2;
    options.queue_limit = 1;
    const auto server = serve(std::move(handlers), options);
    std::vector<RawClient> clients;
    for (int i = 0; i < 2; ++i) {
        clients.emplace_back(server->port());
        clients.back().send("GET /busy HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    busy.wait();
    clients.emplace_back(server->port());
    clients.back().send("GET /queued HTTP/1.1\r\nHost: h\r\n\r\n");
    while (server->stats().queued == 0) std::this_thread::yield();

    EXPECT_THAT(
        exchange(server->port(), "GET /livez HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
        HasSubstr("alive"));
    const std::string refused =
        exchange(server->port(), "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    EXPECT_THAT(refused, StartsWith("HTTP/1.1 503 Service Unavailable"));
    EXPECT_THAT(refused, HasSubstr("Retry-After: 1"));
    {
        const std::lock_guard lock(mutex);
        release = true;
    }
    changed.notify_all();
    for (RawClient& client : clients)
        EXPECT_THAT(client.receive_until("GET /"), HasSubstr("200 OK"));
}

TEST(HttpServer, RefusesConnectionsAboveItsLimit) {
    ServerOptions options = quick_options();
    options.max_connections = 2;
    const auto server = serve(echo, options);
    RawClient first(server->port()), second(server->port());
    first.send("GET /1 HTTP/1.1\r\nHost: h\r\n\r\n");
    second.send("GET /2 HTTP/1.1\r\nHost: h\r\n\r\n");
    first.receive_until("/1");
    second.receive_until("/2");
    RawClient third(server->port());
    EXPECT_THAT(third.receive_all(), StartsWith("HTTP/1.1 503 "));
    EXPECT_EQ(server->stats().connections_refused, 1);
}

TEST(HttpServer, StreamsChunksAsTheyAreMade) {
    std::latch seen(1);
    const auto server = serve([&](const Request&) {
        Response response;
        response.stream = [&](StreamWriter& writer) -> Result<void> {
            PX_TRY(writer.write("one "));
            seen.wait();  // the client has read "one" before "two" is made
            PX_TRY(writer.write("two"));
            return {};
        };
        return response;
    });
    RawClient client(server->port());
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    EXPECT_THAT(client.receive_until("one "),
                HasSubstr("Transfer-Encoding: chunked\r\n\r\n4\r\none "));
    seen.count_down();
    EXPECT_THAT(client.receive_until("0\r\n\r\n"), HasSubstr("3\r\ntwo\r\n0\r\n\r\n"));
    client.forget();
    client.send("HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    EXPECT_THAT(client.receive_all(), testing::EndsWith("\r\n\r\n"));
}

TEST(HttpServer, ShowsAStreamThatFailedByNotEndingIt) {
    const auto server = serve([&](const Request&) {
        Response response;
        response.stream = [&](StreamWriter& writer) -> Result<void> {
            PX_TRY(writer.write("half"));
            return fail(ErrorCode::Corrupt, "no more");
        };
        return response;
    });
    const std::string reply = exchange(server->port(), "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    EXPECT_THAT(reply, HasSubstr("half"));
    EXPECT_THAT(reply, testing::Not(HasSubstr("0\r\n\r\n")));
}

TEST(HttpServer, TellsAStreamThatItsClientHasGone) {
    std::promise<ErrorCode> ended;
    const auto server = serve([&](const Request& request) {
        Response response;
        response.stream = [&, stop = request.stop](StreamWriter& writer) -> Result<void> {
            (void)stop;
            Result<void> result;
            while (result) {
                result = writer.write("tick");
                std::this_thread::sleep_for(1ms);
            }
            ended.set_value(result.error().code);
            return result;
        };
        return response;
    });
    RawClient client(server->port());
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    client.receive_until("tick");
    client.close();
    auto future = ended.get_future();
    ASSERT_EQ(future.wait_for(5s), std::future_status::ready);
    EXPECT_EQ(future.get(), ErrorCode::Cancelled);
}

TEST(HttpServer, StopsAHandlerWhoseClientHasGone) {
    std::promise<void> stopped;
    const auto server = serve([&](const Request& request) {
        std::mutex mutex;
        std::condition_variable_any changed;
        std::unique_lock lock(mutex);
        changed.wait(lock, request.stop, [] { return false; });
        stopped.set_value();
        return Response{};
    });
    RawClient client(server->port());
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    while (server->stats().running == 0) std::this_thread::yield();
    client.close();
    EXPECT_EQ(stopped.get_future().wait_for(5s), std::future_status::ready);
}

TEST(HttpServer, BoundsWhatAStreamMayLeaveUnsentToASlowReader) {
    ServerOptions options = quick_options();
    options.stream_buffer_bytes = 64 << 10;
    options.write_timeout = 300ms;
    std::atomic<size_t> written{0};
    std::promise<ErrorCode> ended;
    const auto server = serve(
        [&](const Request&) {
            Response response;
            response.stream = [&](StreamWriter& writer) -> Result<void> {
                const std::string piece(16 << 10, 'x');
                for (int i = 0; i < 65536; ++i) {
                    if (auto result = writer.write(piece); !result) {
                        ended.set_value(result.error().code);
                        return result;
                    }
                    written += piece.size();
                }
                ended.set_value(ErrorCode::Internal);
                return {};
            };
            return response;
        },
        options);
    RawClient client(server->port());
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    auto future = ended.get_future();  // the client reads nothing: the write timeout ends it
    ASSERT_EQ(future.wait_for(10s), std::future_status::ready);
    EXPECT_EQ(future.get(), ErrorCode::Cancelled);
    EXPECT_LT(written, 64U << 20);
}

TEST(HttpServer, TurnsAnExceptionIntoA500AndGoesOn) {
    const auto server = serve([](const Request& request) -> Response {
        if (request.path == "/throw") throw std::runtime_error("secret detail");
        return echo(request);
    });
    RawClient client(server->port());
    client.send(
        "GET /throw HTTP/1.1\r\nHost: h\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\nConnection: "
        "close\r\n\r\n");
    const std::string reply = client.receive_all();
    EXPECT_THAT(reply, StartsWith("HTTP/1.1 500 "));
    EXPECT_THAT(reply, testing::Not(HasSubstr("secret")));
    EXPECT_THAT(reply, HasSubstr("GET /next"));
}

TEST(HttpServer, CannotBeTrickedIntoFurtherHeaders) {
    const auto server = serve([](const Request& request) {
        Response response;
        return std::move(
            response.with("X-Echo", std::string(request.query_value("q").value_or(""))));
    });
    const std::string reply =
        exchange(server->port(),
                 "GET /?q=a%0D%0AX-Evil:%201 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    EXPECT_THAT(reply, HasSubstr("X-Echo: a  X-Evil: 1\r\n"));
}

TEST(HttpServer, LetsRunningRequestsEndWhenItStops) {
    std::latch started(1);
    const auto server = serve([&](const Request& request) {
        started.count_down();
        std::this_thread::sleep_for(200ms);
        return echo(request);
    });
    RawClient client(server->port()), idle(server->port());
    client.send("GET /long HTTP/1.1\r\nHost: h\r\n\r\n");
    started.wait();
    std::jthread stopper([&] { server->stop(); });
    const std::string reply = client.receive_all();
    EXPECT_THAT(reply, HasSubstr("GET /long"));
    EXPECT_THAT(reply, HasSubstr("Connection: close"));
    idle.receive_all();
    EXPECT_TRUE(idle.closed());
    stopper.join();
    EXPECT_EQ(server->stats().connections, 0);
}

TEST(HttpServer, CancelsWhatDoesNotEndInTime) {
    ServerOptions options = quick_options();
    options.drain_timeout = 100ms;
    std::latch started(1);
    const auto server = serve(
        [&](const Request& request) {
            started.count_down();
            std::mutex mutex;
            std::condition_variable_any changed;
            std::unique_lock lock(mutex);
            changed.wait(lock, request.stop, [] { return false; });
            return echo(request);
        },
        options);
    RawClient client(server->port());
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    started.wait();
    const auto start = std::chrono::steady_clock::now();
    server->stop();
    EXPECT_LT(std::chrono::steady_clock::now() - start, 3s);
    client.receive_all();
    EXPECT_TRUE(client.closed());
}

TEST(HttpServer, NamesWhoHoldsThePort) {
    const auto server = serve(echo);
    ServerOptions options = quick_options();
    options.port = server->port();
    Handlers handlers;
    handlers.handle = echo;
    const auto second = HttpServer::start(options, handlers);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::AlreadyExists);
    EXPECT_THAT(second.error().message, HasSubstr("already in use by test_http (process " +
                                                  std::to_string(::getpid()) + ")"));
    EXPECT_THAT(second.error().hint, HasSubstr("--port"));
}

TEST(HttpServer, RefusesOptionsThatMakeNoSense) {
    ServerOptions options = quick_options();
    options.worker_threads = 0;
    EXPECT_EQ(HttpServer::start(options, {}).error().code, ErrorCode::InvalidArgument);
    options = quick_options();
    options.address = "localhost.example";
    EXPECT_EQ(HttpServer::start(options, {}).error().code, ErrorCode::InvalidArgument);
}

TEST(HttpServer, SurvivesRandomBytes) {
    ServerOptions options = quick_options();
    options.header_timeout = 50ms;
    options.body_timeout = 50ms;
    const auto server = serve(echo, options);
    const std::string seed =
        "POST /v1/ask?q=1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n4\r\n{  }\r\n0\r\n\r\n";
    uint32_t state = 7;
    const auto random = [&state] { return (state = state * 1664525U + 1013904223U) >> 8; };
    for (int round = 0; round < 300; ++round) {
        std::string bytes = seed;
        for (int k = 0; k < 3; ++k) bytes[random() % bytes.size()] = static_cast<char>(random());
        RawClient client(server->port());
        client.send(bytes);
        client.end_sending();
        const std::string reply = client.receive_until("\r\n\r\n");
        if (reply.empty()) continue;
        EXPECT_THAT(reply, StartsWith("HTTP/1.")) << "round " << round;
    }
    EXPECT_THAT(exchange(server->port(), "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
                HasSubstr("200 OK"));
}

}  // namespace
}  // namespace px::http
