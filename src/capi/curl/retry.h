// Retrying HTTP requests: which outcomes are worth another attempt, how long to wait, and when to
// stop. Rank 1. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "capi/curl/http_client.h"

namespace px::capi::curl {

struct RetryOptions {
    int attempts_max = 6;
    /// The n-th wait is drawn evenly from [half, whole] of delay_first * 2^(n-1), at most
    /// delay_max; a Retry-After of the server replaces it, up to retry_after_max.
    std::chrono::milliseconds delay_first{200};
    std::chrono::milliseconds delay_max{10'000};
    std::chrono::milliseconds retry_after_max{60'000};
    /// All attempts and waits together.
    std::chrono::milliseconds total_max{300'000};
    /// Statuses worth another attempt besides those of is_worth_retrying().
    std::vector<int> more_statuses{};

    Result<void> validate() const;
};

/// 408, 429, 500, 502, 503, 504, cut connections, time-outs, refused connections and unknown hosts
/// (a name server that hiccups); not TLS, TooLarge or Local.
bool is_worth_retrying(const HttpResponse& response);

/// The service may have done what was asked although no one told us: a reply that was cut or timed
/// out, or 408, 500, 502, 504.
bool is_uncertain(const HttpResponse& response);

/// Retry-After in seconds or as an HTTP date; nullopt without a usable one.
std::optional<std::chrono::milliseconds> retry_after(const HttpResponse& response,
                                                     TimestampMicros now);

/// Seconds since 1970 of "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 IMF-fixdate), or nullopt.
std::optional<int64_t> parse_http_date(std::string_view text);
/// The other way round.
std::string format_http_date(int64_t seconds);

struct RetriedResponse {
    HttpResponse last;
    int attempts = 0;
    /// Some attempt before the last was is_uncertain(): what was asked may have been done by then.
    bool earlier_uncertain = false;
};

/// Sends what prepare(attempt) returns, attempt counting from 1, until an outcome is not worth
/// retrying, attempts or time are used up or the deadline passes. Each attempt is prepared anew: it
/// may need a new date and signature. Fails only with what prepare() fails with.
Result<RetriedResponse> send_with_retries(
    HttpClient& client, const RetryOptions& options, const Deadline& deadline,
    const std::function<Result<HttpRequest>(int attempt)>& prepare);

}  // namespace px::capi::curl
