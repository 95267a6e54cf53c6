// HttpClient: HTTP/1.1 requests over libcurl, for adapters of remote services. Rank 1; relies on
// base alone, curl.h stays in the .cpp. Thread-safe and blocking: each call takes one of a bounded
// number of connections, which stay open for the next. No retries here (see retry.h), no redirects,
// no cookies; https is verified against the system's certificates or a file of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace px::capi::curl {

struct HttpClientOptions {
    /// Requests under way at once, and connections kept; more callers wait.
    size_t connections_max = 16;
    std::chrono::milliseconds connect_timeout{10'000};
    /// A transfer that moves no byte for so long is given up. Whole seconds, at least one.
    std::chrono::milliseconds stall_timeout{30'000};
    /// A whole request, unless it names its own.
    std::chrono::milliseconds request_timeout{120'000};
    /// A response body kept in memory may have so many bytes.
    int64_t body_bytes_max = int64_t{1} << 30;
    /// PEM file of certificate authorities; empty: the system's.
    std::filesystem::path ca_file{};
    std::string user_agent = "px";

    Result<void> validate() const;
};

using Headers = std::vector<std::pair<std::string, std::string>>;

/// Fills buffer with the next bytes of the request body from offset; fewer than its size only at
/// the end.
using BodySource = std::function<Result<size_t>(int64_t offset, char* buffer, size_t size)>;
/// Takes the body of a 2xx response piece by piece; offset counts from the start of the body, and
/// begins at 0 again when the request is repeated.
using BodySink = std::function<Result<void>(int64_t offset, std::string_view bytes)>;

struct HttpRequest {
    std::string method = "GET";
    std::string url{};
    Headers headers{};
    /// The body, unless source is set; must outlive the call.
    std::string_view body{};
    BodySource source{};
    int64_t source_size_bytes = 0;
    /// Set: bodies of 2xx responses go here and HttpResponse::body stays empty.
    BodySink sink{};
    /// Zero: as the client's options say.
    std::chrono::milliseconds timeout{0};
};

/// Why there is no (whole) response.
enum class HttpFailure {
    UnknownHost,  ///< the name has no address
    Refused,      ///< no connection came about: nothing was sent
    Tls,          ///< the certificate was not accepted: nothing was sent
    TimedOut,
    Cut,       ///< the connection ended before the response did
    TooLarge,  ///< more than body_bytes_max
    Local,     ///< source, sink or the request itself failed on our side: `error` says how
};

struct HttpResponse {
    /// 0 without a response line.
    int status = 0;
    Headers headers;  ///< names in lower case, in order
    std::string body;
    /// Empty: the response is whole.
    std::optional<HttpFailure> failure;
    /// With failure: one line with the host, without query or secrets.
    Error error;

    bool ok() const { return !failure && status >= 200 && status < 300; }
    /// First header of that lower-case name, or "".
    std::string_view header(std::string_view name) const;
};

class HttpClient {
  public:
    explicit HttpClient(HttpClientOptions options);
    ~HttpClient();
    HttpClient(const HttpClient&) = delete;
    HttpClient& operator=(const HttpClient&) = delete;

    /// Sends one request and waits for the end of its response, the deadline (failure TimedOut) or
    /// its time-outs.
    HttpResponse send(const HttpRequest& request, const Deadline& deadline = Deadline::never());

    const HttpClientOptions& options() const { return options_; }

  private:
    struct Pool;
    HttpClientOptions options_;
    std::unique_ptr<Pool> pool_;
};

/// "https://host:1" of a URL, for messages.
std::string url_origin(std::string_view url);
/// "host" of a URL: without user, port, or the brackets of IPv6.
std::string url_host(std::string_view url);
/// 127.0.0.0/8, ::1 or localhost.
bool is_loopback_host(std::string_view host);

}  // namespace px::capi::curl
