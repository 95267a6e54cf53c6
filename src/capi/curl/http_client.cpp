#include "capi/curl/http_client.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>

namespace px::capi::curl {
namespace {

constexpr size_t kHeaderBytesMax = 256 * 1024;

struct CloseHandle {
    void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using Handle = std::unique_ptr<CURL, CloseHandle>;

class HeaderList {
  public:
    HeaderList() = default;
    ~HeaderList() { curl_slist_free_all(list_); }
    HeaderList(const HeaderList&) = delete;
    HeaderList& operator=(const HeaderList&) = delete;
    void add(const std::string& line) {
        if (curl_slist* longer = curl_slist_append(list_, line.c_str())) list_ = longer;
    }
    curl_slist* get() const { return list_; }

  private:
    curl_slist* list_ = nullptr;
};

void start_library() {
    static std::once_flag once;
    std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

/// What one transfer's callbacks share.
struct Transfer {
    CURL* handle = nullptr;
    const HttpRequest* request = nullptr;
    const HttpClientOptions* options = nullptr;
    const Deadline* deadline = nullptr;
    HttpResponse* response = nullptr;
    int64_t sent = 0;
    int64_t received = 0;
    size_t header_bytes = 0;
    bool head_complete = false;
    bool too_large = false;
    std::optional<Error> local;
};

size_t on_header(char* data, size_t size, size_t count, void* user) {
    auto& transfer = *static_cast<Transfer*>(user);
    const std::string_view line(data, size * count);
    transfer.header_bytes += line.size();
    if (transfer.header_bytes > kHeaderBytesMax) {
        transfer.too_large = true;
        return 0;
    }
    if (line.starts_with("HTTP/")) {  // also after an interim 100
        transfer.response->headers.clear();
        transfer.head_complete = false;
        return line.size();
    }
    if (line == "\r\n" || line == "\n") transfer.head_complete = true;
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return line.size();
    std::string name(line.substr(0, colon));
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
        return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    });
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t'))
        value.remove_prefix(1);
    while (!value.empty() && (value.back() == '\r' || value.back() == '\n' || value.back() == ' '))
        value.remove_suffix(1);
    transfer.response->headers.emplace_back(std::move(name), std::string(value));
    return line.size();
}

size_t on_body(char* data, size_t size, size_t count, void* user) {
    auto& transfer = *static_cast<Transfer*>(user);
    const std::string_view bytes(data, size * count);
    long status = 0;
    curl_easy_getinfo(transfer.handle, CURLINFO_RESPONSE_CODE, &status);
    if (transfer.request->sink && status >= 200 && status < 300) {
        const Result<void> taken = transfer.request->sink(transfer.received, bytes);
        if (!taken) {
            transfer.local = taken.error();
            return 0;
        }
    } else {
        if (transfer.received + static_cast<int64_t>(bytes.size()) >
            transfer.options->body_bytes_max) {
            transfer.too_large = true;
            return 0;
        }
        transfer.response->body.append(bytes);
    }
    transfer.received += static_cast<int64_t>(bytes.size());
    return bytes.size();
}

size_t on_source(char* buffer, size_t size, size_t count, void* user) {
    auto& transfer = *static_cast<Transfer*>(user);
    const int64_t left = transfer.request->source_size_bytes - transfer.sent;
    const auto room =
        static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(size * count), left));
    if (room == 0) return 0;
    const Result<size_t> filled = transfer.request->source(transfer.sent, buffer, room);
    if (!filled) {
        transfer.local = filled.error();
        return CURL_READFUNC_ABORT;
    }
    transfer.sent += static_cast<int64_t>(*filled);
    return *filled;
}

int on_seek(void* user, curl_off_t offset, int origin) {
    if (origin != SEEK_SET) return CURL_SEEKFUNC_FAIL;
    static_cast<Transfer*>(user)->sent = offset;
    return CURL_SEEKFUNC_OK;
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<Transfer*>(user)->deadline->stop.stop_requested() ? 1 : 0;
}

template <class T>
void set(CURL* handle, CURLoption option, T value) {
    curl_easy_setopt(handle, option, value);
}

bool is_link_local_host(std::string_view host) { return host.starts_with("169.254."); }

HttpFailure failure_of(CURLcode code) {
    switch (code) {
        case CURLE_COULDNT_RESOLVE_HOST:
        case CURLE_COULDNT_RESOLVE_PROXY:
            return HttpFailure::UnknownHost;
        case CURLE_COULDNT_CONNECT:
        case CURLE_SSL_CONNECT_ERROR:  // cut in the handshake, or the other side speaks no TLS
            return HttpFailure::Refused;
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_ISSUER_ERROR:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CIPHER:
        case CURLE_USE_SSL_FAILED:
        case CURLE_SSL_INVALIDCERTSTATUS:
            return HttpFailure::Tls;
        case CURLE_OPERATION_TIMEDOUT:
            return HttpFailure::TimedOut;
        case CURLE_SEND_ERROR:
        case CURLE_RECV_ERROR:
        case CURLE_GOT_NOTHING:
        case CURLE_PARTIAL_FILE:
        case CURLE_HTTP2:
        case CURLE_HTTP2_STREAM:
        case CURLE_WEIRD_SERVER_REPLY:
        case CURLE_BAD_CONTENT_ENCODING:
        case CURLE_UNSUPPORTED_PROTOCOL:  // an answer that is no HTTP
            return HttpFailure::Cut;
        default:
            return HttpFailure::Local;
    }
}

Error error_of(HttpFailure failure, const std::string& url, std::string_view detail) {
    const std::string origin = url_origin(url);
    switch (failure) {
        case HttpFailure::UnknownHost:
            return fail(ErrorCode::Unavailable, fmt::format("host {} is unknown", url_host(url)),
                        "Check the name in the address, and the network");
        case HttpFailure::Refused:
            return fail(ErrorCode::Unavailable,
                        fmt::format("no connection to {}: {}", origin, detail),
                        "Check host and port, and that the service runs");
        case HttpFailure::Tls:
            return fail(ErrorCode::Unavailable,
                        fmt::format("the certificate of {} was not accepted: {}", origin, detail),
                        "Check the host name, the clock, and the file of certificate authorities");
        case HttpFailure::TimedOut:
            return fail(ErrorCode::Unavailable, fmt::format("{} did not answer in time", origin),
                        "Check that the service runs and is not overloaded");
        case HttpFailure::Cut:
            return fail(ErrorCode::Unavailable,
                        fmt::format("the connection to {} was cut: {}", origin, detail),
                        "Try again");
        case HttpFailure::TooLarge:
            return fail(ErrorCode::ResourceExhausted,
                        fmt::format("the response of {} is larger than allowed", origin));
        case HttpFailure::Local:
            break;
    }
    return fail(ErrorCode::Internal, fmt::format("request to {} failed: {}", origin, detail));
}

}  // namespace

Result<void> HttpClientOptions::validate() const {
    const auto refuse = [](const char* what) {
        return fail(ErrorCode::InvalidArgument, std::string("HTTP client: ") + what);
    };
    if (connections_max < 1 || connections_max > 1024) return refuse("connections_max 1 to 1024");
    if (connect_timeout.count() < 1 || request_timeout.count() < 1 || stall_timeout.count() < 1000)
        return refuse("time-outs must be positive, stall_timeout at least one second");
    if (body_bytes_max < 1) return refuse("body_bytes_max must be positive");
    return {};
}

std::string_view HttpResponse::header(std::string_view name) const {
    for (const auto& [known, value] : headers) {
        if (known == name) return value;
    }
    return {};
}

/// Idle handles, each with its open connections; a handle belongs to one request at a time.
struct HttpClient::Pool {
    std::mutex mutex;
    std::condition_variable returned;
    std::vector<Handle> idle;
    size_t lent = 0;
};

HttpClient::HttpClient(HttpClientOptions options)
    : options_(std::move(options)), pool_(std::make_unique<Pool>()) {
    start_library();
}
HttpClient::~HttpClient() = default;

HttpResponse HttpClient::send(const HttpRequest& request, const Deadline& deadline) {
    HttpResponse response;
    const auto failed = [&](HttpFailure failure, Error error) {
        response.failure = failure;
        response.error = std::move(error);
        return std::move(response);
    };

    Handle handle;
    {
        std::unique_lock lock(pool_->mutex);
        const auto is_free = [&] { return pool_->lent < options_.connections_max; };
        if (deadline.at == std::chrono::steady_clock::time_point::max()) {
            pool_->returned.wait(lock, is_free);
        } else if (!pool_->returned.wait_until(lock, deadline.at, is_free)) {
            return failed(HttpFailure::Refused,
                          fail(ErrorCode::DeadlineExceeded,
                               fmt::format("all {} connections to {} are busy",
                                           options_.connections_max, url_origin(request.url))));
        }
        ++pool_->lent;
        if (!pool_->idle.empty()) {
            handle = std::move(pool_->idle.back());
            pool_->idle.pop_back();
        }
    }
    if (!handle) handle.reset(curl_easy_init());
    const auto give_back = [&] {
        {
            const std::lock_guard lock(pool_->mutex);
            --pool_->lent;
            if (handle) pool_->idle.push_back(std::move(handle));
        }
        pool_->returned.notify_one();
    };
    if (!handle) {
        give_back();
        return failed(HttpFailure::Local,
                      fail(ErrorCode::ResourceExhausted, "no memory for an HTTP request"));
    }

    std::chrono::milliseconds timeout =
        request.timeout.count() > 0 ? request.timeout : options_.request_timeout;
    if (deadline.at != std::chrono::steady_clock::time_point::max()) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            deadline.at - std::chrono::steady_clock::now());
        timeout = std::clamp(left, std::chrono::milliseconds(1), timeout);
    }

    CURL* const curl = handle.get();
    curl_easy_reset(curl);  // keeps its connections
    Transfer transfer;
    transfer.handle = curl;
    transfer.request = &request;
    transfer.options = &options_;
    transfer.deadline = &deadline;
    transfer.response = &response;

    char detail[CURL_ERROR_SIZE] = "";
    const std::string host = url_host(request.url);
    set(curl, CURLOPT_ERRORBUFFER, detail);
    set(curl, CURLOPT_URL, request.url.c_str());
    set(curl, CURLOPT_PATH_AS_IS, 1L);
    set(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    set(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(curl, CURLOPT_NOSIGNAL, 1L);
    set(curl, CURLOPT_FOLLOWLOCATION, 0L);
    set(curl, CURLOPT_USERAGENT, options_.user_agent.c_str());
    set(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_timeout.count()));
    set(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
    set(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    set(curl, CURLOPT_LOW_SPEED_TIME,
        static_cast<long>(std::max<int64_t>(1, options_.stall_timeout.count() / 1000)));
    set(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    set(curl, CURLOPT_MAXCONNECTS, 2L);
    set(curl, CURLOPT_BUFFERSIZE, 256L * 1024);
    set(curl, CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024);
    set(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    set(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    set(curl, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    if (!options_.ca_file.empty()) set(curl, CURLOPT_CAINFO, options_.ca_file.c_str());
    // A proxy of the environment never stands between us and this machine.
    if (is_loopback_host(host) || is_link_local_host(host)) set(curl, CURLOPT_PROXY, "");
    set(curl, CURLOPT_HEADERFUNCTION, &on_header);
    set(curl, CURLOPT_HEADERDATA, &transfer);
    set(curl, CURLOPT_WRITEFUNCTION, &on_body);
    set(curl, CURLOPT_WRITEDATA, &transfer);
    set(curl, CURLOPT_XFERINFOFUNCTION, &on_progress);
    set(curl, CURLOPT_XFERINFODATA, &transfer);
    set(curl, CURLOPT_NOPROGRESS, 0L);

    HeaderList headers;
    bool content_type = false;
    for (const auto& [name, value] : request.headers) {
        // "name;" is curl's way to send an empty value.
        headers.add(value.empty() ? name + ";" : name + ": " + value);
        content_type = content_type || name == "Content-Type" || name == "content-type";
    }
    headers.add("Expect:");  // bodies follow at once: an answer to wait for costs a round trip
    if (!content_type) headers.add("Content-Type:");

    set(curl, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    if (request.method == "HEAD") {
        set(curl, CURLOPT_NOBODY, 1L);
    } else if (request.source) {
        set(curl, CURLOPT_UPLOAD, 1L);
        set(curl, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.source_size_bytes));
        set(curl, CURLOPT_READFUNCTION, &on_source);
        set(curl, CURLOPT_READDATA, &transfer);
        set(curl, CURLOPT_SEEKFUNCTION, &on_seek);
        set(curl, CURLOPT_SEEKDATA, &transfer);
    } else if (!request.body.empty() || request.method == "PUT" || request.method == "POST") {
        set(curl, CURLOPT_POST, 1L);
        set(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
        set(curl, CURLOPT_POSTFIELDS, request.body.empty() ? "" : request.body.data());
    }
    set(curl, CURLOPT_HTTPHEADER, headers.get());

    const CURLcode code = curl_easy_perform(curl);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    response.status = static_cast<int>(status);
    give_back();

    if (transfer.local) return failed(HttpFailure::Local, std::move(*transfer.local));
    if (transfer.too_large)
        return failed(HttpFailure::TooLarge, error_of(HttpFailure::TooLarge, request.url, ""));
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return failed(HttpFailure::Local, fail(ErrorCode::Cancelled, "cancelled"));
    if (code != CURLE_OK) {
        const std::string_view why = detail[0] != '\0' ? detail : curl_easy_strerror(code);
        const HttpFailure failure = failure_of(code);
        return failed(failure, error_of(failure, request.url, why));
    }
    // To curl a head that breaks off is a response without length: its body ends with the
    // connection.
    if (!transfer.head_complete) {
        return failed(HttpFailure::Cut,
                      error_of(HttpFailure::Cut, request.url, "the response has no whole head"));
    }
    return response;
}

std::string url_origin(std::string_view url) {
    const size_t scheme = url.find("://");
    if (scheme == std::string_view::npos) return std::string(url.substr(0, url.find('/')));
    const size_t end = url.find_first_of("/?#", scheme + 3);
    std::string_view authority = url.substr(
        scheme + 3, end == std::string_view::npos ? std::string_view::npos : end - scheme - 3);
    if (const size_t at = authority.rfind('@'); at != std::string_view::npos)
        authority.remove_prefix(at + 1);
    return fmt::format("{}://{}", url.substr(0, scheme), authority);
}

std::string url_host(std::string_view url) {
    std::string origin = url_origin(url);
    if (const size_t scheme = origin.find("://"); scheme != std::string::npos)
        origin.erase(0, scheme + 3);
    if (origin.starts_with('[')) {
        const size_t bracket = origin.find(']');
        return origin.substr(1, bracket == std::string::npos ? std::string::npos : bracket - 1);
    }
    return origin.substr(0, origin.find(':'));
}

bool is_loopback_host(std::string_view host) {
    return host == "localhost" || host == "::1" ||
           (host.starts_with("127.") &&
            host.find_first_not_of("0123456789.") == std::string_view::npos);
}

}  // namespace px::capi::curl
