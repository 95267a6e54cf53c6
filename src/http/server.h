// HttpServer: HTTP/1.1 over asynchronous sockets; transport only. Rank 1. Boost stays in the .cpp.
// Sockets live on io threads, handlers on worker threads: a slow handler or a slow client stops
// nobody else. start() and stop() belong to the owner; everything else is thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "http/message.h"

namespace px::http {

struct ServerOptions {
    std::string address = "127.0.0.1";   ///< an IP address
    uint16_t port = 8501;                ///< 0: any free one
    size_t io_threads = 2;               ///< sockets only; two keep two cores busy
    size_t worker_threads = 8;           ///< handlers running at once
    size_t queue_limit = 256;            ///< requests waiting for a worker; more get 503
    size_t max_connections = 4096;       ///< open at once; more get 503
    size_t max_header_bytes = 16 << 10;  ///< request line and headers; more get 431
    size_t max_body_bytes = 1 << 20;     ///< more gets 413
    size_t stream_buffer_bytes = 256
                                 << 10;  ///< a streaming handler waits while this much is unsent
    std::chrono::milliseconds header_timeout{10'000};  ///< first byte to end of headers, else 408
    std::chrono::milliseconds body_timeout{30'000};    ///< end of headers to end of body, else 408
    std::chrono::milliseconds idle_timeout{75'000};    ///< between requests of a connection
    std::chrono::milliseconds write_timeout{
        30'000};  ///< a client that takes no byte for so long is gone
    std::chrono::milliseconds drain_timeout{
        10'000};                  ///< stop() lets running requests end for so long
    int retry_after_seconds = 1;  ///< told with 503
    Result<void> validate() const;
};

/// What the server asks of its owner. All of it is called from several threads at once.
struct Handlers {
    /// Runs on a worker thread; may block. An exception becomes a 500.
    std::function<Response(const Request&)> handle;
    /// Asked first, on an io thread: answers what needs no waiting at all (probes, embedded files)
    /// even when every worker is busy; nullopt passes the request on to a worker. Optional. Its
    /// response must not stream.
    std::function<std::optional<Response>(const Request&)> quick;
    /// The response for what the server itself refuses (400, 408, 413, 431, 500, 503). Optional:
    /// plain text.
    std::function<Response(int status, const std::string& detail)> refuse;
};

struct ServerStats {
    int64_t connections = 0;  ///< open now
    int64_t connections_accepted = 0, connections_refused = 0;
    int64_t requests = 0;             ///< whole requests received
    int64_t requests_refused = 0;     ///< answered by the server itself
    int64_t queued = 0, running = 0;  ///< in the worker pool now
};

class HttpServer {
  public:
    /// Binds, listens, serves. Errors: InvalidArgument (options, address), AlreadyExists (port
    /// taken: the hint names the process when it can be seen), Forbidden (port below 1024),
    /// Internal.
    static Result<std::unique_ptr<HttpServer>> start(ServerOptions options, Handlers handlers);
    ~HttpServer();  ///< stop()

    uint16_t port() const;
    /// Takes no new connection, lets running requests end within drain_timeout, then cancels them
    /// and closes. Idempotent.
    void stop();
    ServerStats stats() const;

  private:
    struct State;
    explicit HttpServer(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace px::http
