#include "capi/curl/retry.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <condition_variable>
#include <mutex>
#include <random>

namespace px::capi::curl {
namespace {

constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr std::array<std::string_view, 7> kDays = {"Thu", "Fri", "Sat", "Sun",
                                                   "Mon", "Tue", "Wed"};  // 1970-01-01 first

std::optional<int> number(std::string_view text) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
    return value;
}

/// Spreads clients that failed together. Not output: nothing depends on what it draws.
double draw() {
    thread_local std::minstd_rand random{std::random_device{}()};
    return std::uniform_real_distribution<double>(0.5, 1.0)(random);
}

/// False when the deadline or a stop came first.
bool wait(std::chrono::milliseconds delay, const Deadline& deadline) {
    const auto until = std::chrono::steady_clock::now() + delay;
    if (until >= deadline.at) return false;
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    never.wait_until(lock, deadline.stop, until, [] { return false; });
    return !deadline.stop.stop_requested();
}

}  // namespace

Result<void> RetryOptions::validate() const {
    if (attempts_max < 1 || attempts_max > 100)
        return fail(ErrorCode::InvalidArgument, "retries: attempts_max must be 1 to 100");
    if (delay_first.count() < 0 || delay_max.count() < 0 || retry_after_max.count() < 0 ||
        total_max.count() < 1)
        return fail(ErrorCode::InvalidArgument, "retries: delays must not be negative");
    return {};
}

bool is_worth_retrying(const HttpResponse& response) {
    if (response.failure) {
        switch (*response.failure) {
            case HttpFailure::UnknownHost:
            case HttpFailure::Refused:
            case HttpFailure::TimedOut:
            case HttpFailure::Cut:
                return response.error.code != ErrorCode::DeadlineExceeded;
            default:
                return false;
        }
    }
    switch (response.status) {
        case 408:
        case 429:
        case 500:
        case 502:
        case 503:
        case 504:
            return true;
        default:
            return false;
    }
}

bool is_uncertain(const HttpResponse& response) {
    if (response.failure) {
        return *response.failure == HttpFailure::TimedOut ||
               *response.failure == HttpFailure::Cut ||
               *response.failure == HttpFailure::TooLarge ||
               *response.failure == HttpFailure::Local;
    }
    return response.status == 408 || response.status == 500 || response.status == 502 ||
           response.status == 504;
}

std::optional<int64_t> parse_http_date(std::string_view text) {
    // "Sun, 06 Nov 1994 08:49:37 GMT"
    if (text.size() != 29 || text.substr(3, 2) != ", " || text.substr(25) != " GMT" ||
        text[7] != ' ' || text[11] != ' ' || text[16] != ' ' || text[19] != ':' || text[22] != ':')
        return std::nullopt;
    const auto month = std::find(kMonths.begin(), kMonths.end(), text.substr(8, 3));
    const auto day = number(text.substr(5, 2)), year = number(text.substr(12, 4)),
               hour = number(text.substr(17, 2)), minute = number(text.substr(20, 2)),
               second = number(text.substr(23, 2));
    if (month == kMonths.end() || !day || !year || !hour || !minute || !second || *day < 1 ||
        *day > 31 || *hour > 23 || *minute > 59 || *second > 60)
        return std::nullopt;
    const int64_t days =
        days_from_civil(*year, static_cast<int32_t>(month - kMonths.begin()) + 1, *day);
    return days * 86'400 + *hour * 3600 + *minute * 60 + *second;
}

std::string format_http_date(int64_t seconds) {
    const int64_t days = (seconds >= 0 ? seconds : seconds - 86'399) / 86'400;
    const int64_t rest = seconds - days * 86'400;
    const std::string date = format_date(static_cast<int32_t>(days));  // 2026-11-23
    return fmt::format("{}, {} {} {} {:02}:{:02}:{:02} GMT",
                       kDays[static_cast<size_t>(((days % 7) + 7) % 7)], date.substr(8, 2),
                       kMonths[static_cast<size_t>(number(date.substr(5, 2)).value_or(1) - 1)],
                       date.substr(0, 4), rest / 3600, rest / 60 % 60, rest % 60);
}

std::optional<std::chrono::milliseconds> retry_after(const HttpResponse& response,
                                                     TimestampMicros now) {
    const std::string_view text = response.header("retry-after");
    if (text.empty()) return std::nullopt;
    if (const auto seconds = number(text)) return std::chrono::seconds(*seconds);
    if (const auto date = parse_http_date(text))
        return std::chrono::milliseconds(std::max<int64_t>(0, *date * 1000 - now / 1000));
    return std::nullopt;
}

Result<RetriedResponse> send_with_retries(
    HttpClient& client, const RetryOptions& options, const Deadline& deadline,
    const std::function<Result<HttpRequest>(int attempt)>& prepare) {
    Deadline bound = deadline;
    bound.at = std::min(deadline.at, std::chrono::steady_clock::now() + options.total_max);
    RetriedResponse result;
    std::chrono::milliseconds whole = options.delay_first;
    while (true) {
        const HttpRequest request = PX_TRY(prepare(result.attempts + 1));
        ++result.attempts;
        result.last = client.send(request, deadline);
        const bool named = !result.last.failure &&
                           std::find(options.more_statuses.begin(), options.more_statuses.end(),
                                     result.last.status) != options.more_statuses.end();
        if (!named && !is_worth_retrying(result.last)) return result;
        // A name that is unknown twice in a row is most likely misspelt.
        const int attempts_max = result.last.failure == HttpFailure::UnknownHost
                                     ? std::min(2, options.attempts_max)
                                     : options.attempts_max;
        if (result.attempts >= attempts_max) return result;
        const auto asked = retry_after(result.last, SystemClock().now());
        const auto delay =
            asked ? std::min(*asked, options.retry_after_max)
                  : std::chrono::milliseconds(static_cast<int64_t>(
                        static_cast<double>(std::min(whole, options.delay_max).count()) * draw()));
        if (!wait(delay, bound)) return result;
        if (is_uncertain(result.last)) result.earlier_uncertain = true;
        whole = std::min(whole * 2, options.delay_max);
    }
}

}  // namespace px::capi::curl
