#include "http/server.h"

#include <fmt/format.h>

#include <array>
#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <condition_variable>
#include <ctime>
#include <exception>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/log.h"
#include "http/port_owner.h"
#include "http/target.h"
#include "http/worker_pool.h"

namespace px::http {
namespace {

namespace asio = boost::asio;
namespace beast_http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using Steady = std::chrono::steady_clock;

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr size_t kReadBytes = 8 << 10;

/// One request between the io thread that owns its connection and the worker that answers it.
/// Everything under mutex but request (the worker's) and stop (thread-safe).
struct Exchange {
    Request request;
    std::stop_source stop;
    std::function<void()> wake;  ///< tells the io thread to look; called without the mutex

    std::mutex mutex;
    std::condition_variable_any space;
    std::optional<Response> head;  ///< ready once set; without its stream
    bool streams = false;
    std::string pending;     ///< of the stream, unsent
    bool finished = false;   ///< nothing follows
    bool failed = false;     ///< the stream ended in the middle
    bool abandoned = false;  ///< the connection is gone: nobody will read
};

/// The worker's end of a streaming response.
class ExchangeWriter final : public StreamWriter {
  public:
    ExchangeWriter(Exchange& exchange, size_t limit) : exchange_(exchange), limit_(limit) {}

    Result<void> write(std::string_view bytes) override {
        if (bytes.empty()) return {};
        {
            std::unique_lock lock(exchange_.mutex);
            const bool has_space = exchange_.space.wait(lock, exchange_.request.stop, [this] {
                return exchange_.abandoned || exchange_.pending.size() < limit_;
            });
            if (!has_space || exchange_.abandoned || exchange_.request.stop.stop_requested()) {
                return fail(ErrorCode::Cancelled, "the client has closed the connection");
            }
            exchange_.pending.append(bytes);
        }
        exchange_.wake();
        return {};
    }

  private:
    Exchange& exchange_;
    const size_t limit_;
};

class Connection;

/// One thread of sockets. Members but context are touched by that thread only.
struct IoThread {
    asio::io_context context{1};
    asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
    std::unordered_set<std::shared_ptr<Connection>> connections;
    bool draining = false;
    std::time_t date_second = 0;
    std::string date;
    std::jthread thread;

    const std::string& date_line();
};

const std::string& IoThread::date_line() {
    const std::time_t second = std::time(nullptr);
    if (second != date_second) {
        date_second = second;
        std::tm parts{};
        gmtime_r(&second, &parts);
        std::array<char, 64> text{};
        const size_t length =
            std::strftime(text.data(), text.size(), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
        date.assign(text.data(), length);
    }
    return date;
}

/// What connections share.
struct Shared {
    ServerOptions options;
    Handlers handlers;
    std::unique_ptr<WorkerPool> pool;
    std::atomic<int64_t> connections{0}, accepted{0}, refused{0}, requests{0}, requests_refused{0};
    std::mutex mutex;
    std::condition_variable all_closed;  ///< signalled when connections falls to 0

    Response refusal(int status, const std::string& detail) {
        ++requests_refused;
        try {
            if (handlers.refuse) return handlers.refuse(status, detail);
        } catch (...) {
            log::error("http.refuse", {{"status", status}});
        }
        Response response{.status = status, .headers = {}, .body = detail + "\n"};
        return std::move(response.with("Content-Type", "text/plain; charset=utf-8"));
    }
};

/// Runs the handler and its stream on a worker thread; no exception leaves.
void answer_exchange(Shared& shared, Exchange& exchange) {
    Response response;
    {
        const std::lock_guard lock(exchange.mutex);
        if (exchange.abandoned) return;
    }
    try {
        response = shared.handlers.handle(exchange.request);
    } catch (const std::exception& error) {
        log::error("http.handler", {{"path", exchange.request.path}, {"exception", error.what()}});
        response = shared.refusal(500, "the request handler failed; the log has the reason");
    } catch (...) {
        log::error("http.handler", {{"path", exchange.request.path}});
        response = shared.refusal(500, "the request handler failed; the log has the reason");
    }
    auto stream = std::exchange(response.stream, nullptr);
    const bool runs_stream = stream && exchange.request.method != "HEAD";
    {
        const std::lock_guard lock(exchange.mutex);
        exchange.streams = static_cast<bool>(stream);
        exchange.head = std::move(response);
        exchange.finished = !runs_stream;
    }
    if (!runs_stream) return;
    exchange.wake();
    bool failed = true;
    try {
        ExchangeWriter writer(exchange, shared.options.stream_buffer_bytes);
        const Result<void> result = stream(writer);
        failed = !result;
        if (!result && result.error().code != ErrorCode::Cancelled) {
            log::error("http.stream",
                       {{"path", exchange.request.path}, {"error", result.error().to_string()}});
        }
    } catch (const std::exception& error) {
        log::error("http.stream", {{"path", exchange.request.path}, {"exception", error.what()}});
    } catch (...) {
        log::error("http.stream", {{"path", exchange.request.path}});
    }
    const std::lock_guard lock(exchange.mutex);
    exchange.finished = true;
    exchange.failed = failed;
}

/// A header value can't end its line, whatever it holds.
void append_header(std::string& head, std::string_view name, std::string_view value) {
    head.append(name).append(": ");
    for (const char c : value) head.push_back(c == '\r' || c == '\n' || c == '\0' ? ' ' : c);
    head.append("\r\n");
}

/// One client. Lives on its io thread; only the signal is reached from workers, by post().
class Connection : public std::enable_shared_from_this<Connection> {
  public:
    Connection(Shared& shared, IoThread& io, tcp::socket socket)
        : shared_(shared),
          io_(io),
          socket_(std::move(socket)),
          watchdog_(io.context),
          signal_(io.context, Steady::time_point::max()),
          buffer_(shared.options.max_header_bytes + 2 * kReadBytes) {}

    void start() {
        draining_ = io_.draining;
        io_.connections.insert(shared_from_this());
        asio::co_spawn(
            io_.context,
            [self = shared_from_this()]() -> asio::awaitable<void> {
                try {
                    co_await self->run();
                } catch (const std::exception& error) {
                    log::error("http.connection", {{"exception", error.what()}});
                }
                self->end();
            },
            asio::detached);
    }

    /// No further request; an idle connection closes at once.
    void drain() {
        draining_ = true;
        if (idle_) cancel_socket();
    }

    /// Closes now; a running handler is told to stop.
    void abort() {
        draining_ = true;
        abandon();
        close_socket();
        signal_.cancel();
    }

  private:
    asio::awaitable<void> run() {
        bool more = true;
        while (more) more = co_await serve_one();
    }

    void end() {
        abandon();
        watchdog_.cancel();
        close_socket();
        io_.connections.erase(shared_from_this());
        if (--shared_.connections == 0) {
            const std::lock_guard lock(shared_.mutex);
            shared_.all_closed.notify_all();
        }
    }

    /// One request and its response. false: the connection is done.
    asio::awaitable<bool> serve_one() {
        const ServerOptions& options = shared_.options;
        if (buffer_.size() == 0 && !co_await first_bytes()) co_return false;

        arm(options.header_timeout);
        beast_http::request_parser<beast_http::string_body> parser;
        parser.header_limit(static_cast<uint32_t>(options.max_header_bytes));
        parser.body_limit(options.max_body_bytes);
        auto [header_error, header_bytes] =
            co_await beast_http::async_read_header(socket_, buffer_, parser, kTuple);
        if (header_error) co_return co_await refuse_read(header_error, "headers");

        const auto& message = parser.get();
        version_11_ = message.version() >= 11;
        const auto hosts = message.count(beast_http::field::host);
        if (hosts > 1 || (hosts == 0 && version_11_)) {
            co_return co_await refuse(400, "the request needs exactly one Host header");
        }
        if (message.count(beast_http::field::content_length) > 1) {
            co_return co_await refuse(400, "the request has more than one Content-Length header");
        }
        if (!parser.is_done()) {
            arm(options.body_timeout);
            const auto expect = message[beast_http::field::expect];
            if (!expect.empty() && buffer_.size() == 0) {
                if (!equal_ignoring_case({expect.data(), expect.size()}, "100-continue")) {
                    co_return co_await refuse(417, "the only expectation met here is 100-continue");
                }
                static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
                if (!co_await write(kContinue, {})) co_return false;
                arm(options.body_timeout);
            }
            auto [body_error, body_bytes] =
                co_await beast_http::async_read(socket_, buffer_, parser, kTuple);
            if (body_error) co_return co_await refuse_read(body_error, "body");
        }
        disarm();
        ++shared_.requests;

        auto exchange = std::make_shared<Exchange>();
        Request& request = exchange->request;
        request.method.assign(message.method_string().data(), message.method_string().size());
        const auto target = parse_target({message.target().data(), message.target().size()});
        if (!target) co_return co_await refuse(400, target.error().to_string());
        request.path = target->path;
        request.query = target->query;
        for (const auto& field : message) {
            request.headers.push_back({{field.name_string().data(), field.name_string().size()},
                                       {field.value().data(), field.value().size()}});
        }
        keep_alive_ = parser.keep_alive() && !draining_;
        request.body = std::move(parser.get().body());
        request.stop = exchange->stop.get_token();
        is_head_ = request.method == "HEAD";

        if (request.path == "*") {
            Response everything{.status = request.method == "OPTIONS" ? 204 : 400};
            co_return co_await respond(everything);
        }
        if (auto response = quick(request)) co_return co_await respond(*response);
        co_return co_await hand_over(std::move(exchange));
    }

    std::optional<Response> quick(const Request& request) {
        if (!shared_.handlers.quick) return std::nullopt;
        try {
            return shared_.handlers.quick(request);
        } catch (const std::exception& error) {
            log::error("http.handler", {{"path", request.path}, {"exception", error.what()}});
            return shared_.refusal(500, "the request handler failed; the log has the reason");
        }
    }

    /// Waits for a byte of the next request. false: the client has gone, or was idle for too long.
    asio::awaitable<bool> first_bytes() {
        if (draining_) co_return false;
        idle_ = true;
        arm(requests_begun_++ == 0 ? shared_.options.header_timeout : shared_.options.idle_timeout);
        if (!watching_ && !peer_closed_ && buffer_.size() == 0) watch();
        while (watching_) (void)co_await signal_.async_wait(kTuple);
        idle_ = false;
        co_return buffer_.size() > 0 && !peer_closed_;
    }

    /// Reads ahead while nothing else reads: sees the next request, or that the client has gone.
    void watch() {
        watching_ = true;
        socket_.async_read_some(
            buffer_.prepare(kReadBytes),
            [self = shared_from_this()](const error_code& error, size_t bytes) {
                self->watching_ = false;
                self->buffer_.commit(bytes);
                if (error) {
                    self->peer_closed_ = true;
                    // Not when it is only our own cancel().
                    if (self->exchange_ && error != asio::error::operation_aborted) {
                        self->exchange_->stop.request_stop();
                    }
                }
                self->signal_.cancel();
            });
    }

    asio::awaitable<bool> hand_over(std::shared_ptr<Exchange> exchange) {
        exchange->wake = [self = shared_from_this()] {
            asio::post(self->io_.context, [self] { self->signal_.cancel(); });
        };
        const bool taken = shared_.pool->try_submit([exchange, &shared = shared_] {
            answer_exchange(shared, *exchange);
            // The last word: the connection must end on its own thread, not here.
            auto wake = std::exchange(exchange->wake, nullptr);
            wake();
        });
        if (!taken) {
            exchange->wake = nullptr;
            Response busy = shared_.refusal(503, "too many requests are waiting; try again soon");
            busy.with("Retry-After", std::to_string(shared_.options.retry_after_seconds));
            co_return co_await respond(busy);
        }
        exchange_ = exchange;  // abort() may let go of ours while relay() still looks at it
        if (buffer_.size() == 0 && !watching_ && !peer_closed_) watch();
        const bool more = co_await relay(*exchange);
        abandon();
        co_return more;
    }

    /// Sends what the worker makes, as it comes.
    asio::awaitable<bool> relay(Exchange& exchange) {
        std::optional<Response> head;
        while (!head) {
            {
                const std::lock_guard lock(exchange.mutex);
                if (exchange.abandoned) co_return false;
                head.swap(exchange.head);
                if (!head && exchange.finished) co_return false;
            }
            if (!head) (void)co_await signal_.async_wait(kTuple);
        }
        if (!exchange.streams) co_return co_await respond(*head);

        const bool chunked = version_11_;
        if (!chunked) keep_alive_ = false;
        const std::string head_text = head_of(*head, std::nullopt, chunked);
        if (!co_await write(head_text, {})) co_return false;
        while (!is_head_) {
            std::string bytes;
            bool finished = false, failed = false;
            {
                const std::lock_guard lock(exchange.mutex);
                if (exchange.abandoned) co_return false;
                bytes.swap(exchange.pending);
                finished = exchange.finished;
                failed = exchange.failed;
            }
            exchange.space.notify_all();
            if (!bytes.empty()) {
                if (chunked) {
                    const std::string size = fmt::format("{:x}\r\n", bytes.size());
                    bytes += "\r\n";
                    if (!co_await write(size, bytes)) co_return false;
                } else if (!co_await write(bytes, {})) {
                    co_return false;
                }
            } else if (finished) {
                if (failed) co_return false;
                break;
            } else {
                (void)co_await signal_.async_wait(kTuple);
            }
        }
        if (chunked && !is_head_) {
            static constexpr std::string_view kLast = "0\r\n\r\n";
            if (!co_await write(kLast, {})) co_return false;
        }
        co_return keep_alive_ && !draining_;
    }

    std::string head_of(const Response& response, std::optional<size_t> length, bool chunked) {
        std::string head;
        head.reserve(512);
        head.append(version_11_ ? "HTTP/1.1 " : "HTTP/1.0 ");
        head.append(std::to_string(response.status)).push_back(' ');
        head.append(status_phrase(response.status)).append("\r\n");
        head.append(io_.date_line());
        for (const Header& field : response.headers) append_header(head, field.name, field.value);
        if (length) append_header(head, "Content-Length", std::to_string(*length));
        if (chunked) append_header(head, "Transfer-Encoding", "chunked");
        if (!keep_alive_ || draining_) {
            keep_alive_ = false;
            append_header(head, "Connection", "close");
        } else if (!version_11_) {
            append_header(head, "Connection", "keep-alive");
        }
        head.append("\r\n");
        return head;
    }

    /// A whole response. Returns whether the connection goes on.
    asio::awaitable<bool> respond(const Response& response) {
        const std::string_view body =
            response.static_body.empty() ? std::string_view(response.body) : response.static_body;
        const bool has_length =
            response.status >= 200 && response.status != 204 && response.status != 304;
        const std::string head =
            head_of(response, has_length ? std::optional(body.size()) : std::nullopt, false);
        const bool sends_body = has_length && !is_head_;
        if (!co_await write(head, sends_body ? body : std::string_view())) co_return false;
        co_return keep_alive_;
    }

    /// Writes both, as one where possible; fails when the client takes nothing for write_timeout.
    asio::awaitable<bool> write(std::string_view first, std::string_view second) {
        while (!first.empty() || !second.empty()) {
            arm(shared_.options.write_timeout);
            const std::array<asio::const_buffer, 2> buffers{
                asio::const_buffer(first.data(), first.size()),
                asio::const_buffer(second.data(), second.size())};
            auto [error, bytes] = co_await socket_.async_write_some(buffers, kTuple);
            if (error) co_return false;
            const size_t of_first = std::min(bytes, first.size());
            first.remove_prefix(of_first);
            second.remove_prefix(bytes - of_first);
        }
        disarm();
        co_return true;
    }

    asio::awaitable<bool> refuse_read(error_code error, std::string_view what) {
        const ServerOptions& options = shared_.options;
        if (timed_out_) {
            co_return co_await refuse(
                408, fmt::format("the {} of the request did not arrive in time", what));
        }
        if (error == beast_http::error::header_limit ||
            error == beast_http::error::buffer_overflow) {
            co_return co_await refuse(
                431, fmt::format("the request line and headers are larger than {} bytes",
                                 options.max_header_bytes));
        }
        if (error == beast_http::error::body_limit) {
            co_return co_await refuse(
                413, fmt::format("the body is larger than {} bytes", options.max_body_bytes));
        }
        const bool gone =
            error == beast_http::error::end_of_stream ||
            error == beast_http::error::partial_message ||
            error.category() != make_error_code(beast_http::error::bad_method).category();
        if (gone) co_return false;
        co_return co_await refuse(400,
                                  fmt::format("the request is not HTTP/1.1: {}", error.message()));
    }

    /// A refusal ends the connection: what follows on it can't be trusted to begin a request.
    asio::awaitable<bool> refuse(int status, std::string detail) {
        keep_alive_ = false;
        is_head_ = false;
        version_11_ = true;
        const Response response = shared_.refusal(status, detail);
        if (!co_await respond(response)) {
            // Let the client finish sending and read the answer: closing with unread bytes would
            // reset it.
            error_code ignored;
            socket_.shutdown(tcp::socket::shutdown_send, ignored);
            arm(std::chrono::milliseconds(1000));
            std::array<char, 4096> sink;
            for (int reads = 0; reads < 512; ++reads) {
                auto [error, bytes] = co_await socket_.async_read_some(asio::buffer(sink), kTuple);
                if (error) break;
                if (Steady::now() >= deadline_) break;
            }
        }
        co_return false;
    }

    void abandon() {
        if (!exchange_) return;
        {
            const std::lock_guard lock(exchange_->mutex);
            exchange_->abandoned = true;
        }
        exchange_->stop.request_stop();
        exchange_->space.notify_all();
        exchange_.reset();
    }

    // One timer for every phase: it looks at deadline_ when it wakes, so that arming is a store in
    // most cases.
    void arm(std::chrono::milliseconds duration) {
        deadline_ = Steady::now() + duration;
        armed_ = true;
        timed_out_ = false;
        if (!timer_pending_ || watchdog_.expiry() > deadline_) schedule();
    }

    void disarm() { armed_ = false; }

    void schedule() {
        timer_pending_ = true;
        watchdog_.expires_at(deadline_);
        watchdog_.async_wait([self = shared_from_this(), turn = ++timer_turn_](const error_code&) {
            if (turn != self->timer_turn_) return;
            self->timer_pending_ = false;
            if (!self->armed_ || !self->socket_.is_open()) return;
            if (Steady::now() < self->deadline_) return self->schedule();
            self->timed_out_ = true;
            self->cancel_socket();
        });
    }

    void cancel_socket() {
        error_code ignored;
        socket_.cancel(ignored);
    }
    void close_socket() {
        error_code ignored;
        socket_.shutdown(tcp::socket::shutdown_both, ignored);
        socket_.close(ignored);
    }

    Shared& shared_;
    IoThread& io_;
    tcp::socket socket_;
    asio::steady_timer watchdog_;
    asio::steady_timer signal_;  ///< never expires; cancel() wakes the coroutine
    boost::beast::flat_buffer buffer_;
    std::shared_ptr<Exchange> exchange_;
    Steady::time_point deadline_;
    uint64_t timer_turn_ = 0;
    uint64_t requests_begun_ = 0;
    bool timer_pending_ = false, armed_ = false, timed_out_ = false;
    bool watching_ = false, peer_closed_ = false, idle_ = false, draining_ = false;
    bool keep_alive_ = false, is_head_ = false, version_11_ = true;
};

}  // namespace

Result<void> ServerOptions::validate() const {
    const auto positive = [](std::string_view name, int64_t value) -> Result<void> {
        if (value > 0) return {};
        return fail(ErrorCode::InvalidArgument, fmt::format("{} is {}, not above 0", name, value));
    };
    PX_TRY(positive("io_threads", static_cast<int64_t>(io_threads)));
    PX_TRY(positive("worker_threads", static_cast<int64_t>(worker_threads)));
    PX_TRY(positive("max_connections", static_cast<int64_t>(max_connections)));
    PX_TRY(positive("max_header_bytes", static_cast<int64_t>(max_header_bytes)));
    PX_TRY(positive("stream_buffer_bytes", static_cast<int64_t>(stream_buffer_bytes)));
    PX_TRY(positive("header_timeout", header_timeout.count()));
    PX_TRY(positive("body_timeout", body_timeout.count()));
    PX_TRY(positive("idle_timeout", idle_timeout.count()));
    PX_TRY(positive("write_timeout", write_timeout.count()));
    if (max_header_bytes > (64U << 20)) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("max_header_bytes is {}, above 64 MiB", max_header_bytes));
    }
    return {};
}

struct HttpServer::State : Shared {
    std::vector<std::unique_ptr<IoThread>> io;
    std::unique_ptr<tcp::acceptor> acceptor;
    uint16_t port = 0;
    std::once_flag stopped;

    Result<void> listen();
    asio::awaitable<void> accept_clients();
    void each_connection(void (Connection::*action)());
};

Result<void> HttpServer::State::listen() {
    error_code error;
    const auto address = asio::ip::make_address(options.address, error);
    if (error) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("'{}' is not an IP address", options.address),
                    "Use an address such as 127.0.0.1 or ::1");
    }
    const tcp::endpoint endpoint(address, options.port);
    acceptor = std::make_unique<tcp::acceptor>(io[0]->context);
    acceptor->open(endpoint.protocol(), error);
    if (!error) acceptor->set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor->bind(endpoint, error);
    if (!error) acceptor->listen(1024, error);
    if (error == asio::error::address_in_use) {
        const std::string owner = port_owner(options.port);
        return fail(ErrorCode::AlreadyExists,
                    fmt::format("port {} of {} is already in use{}", options.port, options.address,
                                owner.empty() ? "" : " by " + owner),
                    "Stop that program or choose another port with --port (0 takes any free one)");
    }
    if (error) {
        return fail_errno(error.value(), fmt::format("cannot listen on {} port {}", options.address,
                                                     options.port));
    }
    port = acceptor->local_endpoint(error).port();
    return {};
}

asio::awaitable<void> HttpServer::State::accept_clients() {
    size_t next = 0;
    while (acceptor->is_open()) {
        IoThread& target = *io[next++ % io.size()];
        tcp::socket socket(target.context);
        auto [error] = co_await acceptor->async_accept(socket, kTuple);
        if (error == asio::error::operation_aborted || !acceptor->is_open()) break;
        if (error) {
            // Out of descriptors, mostly: wait for some to come back instead of spinning.
            log::warning("http.accept", {{"error", error.message()}});
            asio::steady_timer pause(io[0]->context, std::chrono::milliseconds(50));
            (void)co_await pause.async_wait(kTuple);
            continue;
        }
        error_code ignored;
        if (connections >= static_cast<int64_t>(options.max_connections)) {
            ++refused;
            const std::string busy = fmt::format(
                "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: {}\r\n"
                "Connection: close\r\n\r\n",
                options.retry_after_seconds);
            socket.non_blocking(true, ignored);
            socket.write_some(asio::buffer(busy), ignored);
            socket.shutdown(tcp::socket::shutdown_send, ignored);
            continue;
        }
        ++accepted;
        ++connections;
        socket.set_option(tcp::no_delay(true), ignored);
        auto connection = std::make_shared<Connection>(*this, target, std::move(socket));
        asio::post(target.context, [connection = std::move(connection)] { connection->start(); });
    }
}

void HttpServer::State::each_connection(void (Connection::*action)()) {
    for (auto& thread : io) {
        asio::post(thread->context, [&io_thread = *thread, action] {
            io_thread.draining = true;
            // A copy: an action may end a connection, which leaves the set.
            const std::vector<std::shared_ptr<Connection>> all(io_thread.connections.begin(),
                                                               io_thread.connections.end());
            for (const auto& connection : all) ((*connection).*action)();
        });
    }
}

HttpServer::HttpServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
HttpServer::~HttpServer() { stop(); }
uint16_t HttpServer::port() const { return state_->port; }

Result<std::unique_ptr<HttpServer>> HttpServer::start(ServerOptions options, Handlers handlers) {
    PX_TRY(options.validate());
    auto state = std::make_unique<State>();
    state->options = std::move(options);
    state->handlers = std::move(handlers);
    for (size_t i = 0; i < state->options.io_threads; ++i) {
        state->io.push_back(std::make_unique<IoThread>());
    }
    PX_TRY(state->listen());
    state->pool =
        std::make_unique<WorkerPool>(state->options.worker_threads, state->options.queue_limit);
    asio::co_spawn(state->io[0]->context, state->accept_clients(), asio::detached);
    for (auto& io : state->io) {
        io->thread = std::jthread([&context = io->context] {
            while (!context.stopped()) {
                try {
                    context.run();
                } catch (const std::exception& error) {
                    log::error("http.io", {{"exception", error.what()}});
                }
            }
        });
    }
    return std::unique_ptr<HttpServer>(new HttpServer(std::move(state)));
}

void HttpServer::stop() {
    std::call_once(state_->stopped, [this] {
        State& state = *state_;
        asio::post(state.io[0]->context, [&state] {
            error_code ignored;
            state.acceptor->close(ignored);
        });
        const auto wait_closed = [&state](std::chrono::milliseconds timeout) {
            std::unique_lock lock(state.mutex);
            return state.all_closed.wait_for(lock, timeout,
                                             [&state] { return state.connections == 0; });
        };
        state.each_connection(&Connection::drain);
        if (!wait_closed(state.options.drain_timeout)) {
            log::warning("http.stop", {{"cut_connections", state.connections.load()}});
            state.each_connection(&Connection::abort);
            wait_closed(std::chrono::milliseconds(2000));
        }
        state.pool.reset();  // handlers have been told to stop; their deadlines bound this
        for (auto& io : state.io) {
            io->work.reset();
            io->context.stop();
        }
        for (auto& io : state.io) io->thread.join();
        for (auto& io : state.io) io->connections.clear();
    });
}

ServerStats HttpServer::stats() const {
    ServerStats stats;
    stats.connections = state_->connections;
    stats.connections_accepted = state_->accepted;
    stats.connections_refused = state_->refused;
    stats.requests = state_->requests;
    stats.requests_refused = state_->requests_refused;
    if (state_->pool) {
        stats.queued = static_cast<int64_t>(state_->pool->queued());
        stats.running = static_cast<int64_t>(state_->pool->running());
    }
    return stats;
}

}  // namespace px::http
