#include "store/azure/blob_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "capi/curl/digest.h"

namespace px::store {
namespace {

using capi::curl::HttpFailure;
using capi::curl::HttpRequest;
using capi::curl::HttpResponse;
using capi::curl::RetriedResponse;

constexpr std::string_view kWriteIdHeader = "x-ms-meta-pxwriteid";
constexpr std::string_view kBlocksGone = "InvalidBlockList";
/// Reading may take long over a slow line; what stands still is given up by the stall time-out.
constexpr std::chrono::hours kReadTimeout{1};
/// The service accepts requests whose date is at most 15 minutes off.
constexpr int64_t kClockSkewSecondsMax = 15 * 60;

std::string error_code_of(const HttpResponse& response) {
    const std::string code = parse_error_code(response.body);
    return code.empty() ? plain_error_code(response.header("x-ms-error-code")) : code;
}

BlobProperties properties_of(const HttpResponse& response) {
    BlobProperties properties;
    const std::string_view size = response.header("content-length");
    std::from_chars(size.data(), size.data() + size.size(), properties.size_bytes);
    properties.modified_at =
        capi::curl::parse_http_date(response.header("last-modified")).value_or(0) * 1'000'000;
    properties.etag = response.header("etag");
    std::string_view md5 = response.header("x-ms-blob-content-md5");
    if (md5.empty()) md5 = response.header("content-md5");
    properties.content_md5 = capi::curl::base64_decode(md5).value_or("");
    properties.write_id = response.header(kWriteIdHeader);
    return properties;
}

bool is_folder(const HttpResponse& response) {
    return response.header("x-ms-meta-hdi_isfolder") == "true" ||
           response.header("x-ms-resource-type") == "directory";
}

/// The end of a SAS token ("se=2026-11-23T08%3A27%3A01Z") when that has passed, else "".
std::string passed_end_of(std::string_view sas_token) {
    size_t at = sas_token.starts_with("se=") ? 0 : sas_token.find("&se=");
    if (at == std::string_view::npos) return {};
    at = sas_token.find('=', at) + 1;
    std::string end(sas_token.substr(at, sas_token.find('&', at) - at));
    for (size_t colon; (colon = end.find("%3A")) != std::string::npos;) end.replace(colon, 3, ":");
    const std::string now = format_timestamp(SystemClock().now());
    const size_t digits = std::min<size_t>(end.size(), 19);
    if (digits < 10 || end.find_first_not_of("0123456789-:TZ") != std::string::npos ||
        end.compare(0, digits, now, 0, digits) >= 0)
        return {};
    return end;
}

}  // namespace

struct BlobClient::Call {
    std::string method{};
    std::string what{};  ///< "read blob 'lake/x'", for messages
    std::string name{};  ///< of a blob; empty: the container itself
    QueryParameters query{};
    capi::curl::Headers headers{};
    std::string_view body{};
    capi::curl::BodySink sink{};
    std::chrono::milliseconds timeout{0};
};

BlobClient::BlobClient(AzureAddress address, AzureCredentials credentials,
                       capi::curl::HttpClientOptions http, capi::curl::RetryOptions retry)
    : address_(std::move(address)),
      client_(http),
      retry_(retry),
      authorizer_(std::move(credentials), address_.account, http, retry) {}

Result<RetriedResponse> BlobClient::send(const Call& call) {
    const Deadline deadline = Deadline::never();
    const auto prepare = [&](int) -> Result<HttpRequest> {
        HttpRequest request;
        request.method = call.method;
        request.url = fmt::format("{}/{}", address_.endpoint, address_.container);
        if (!call.name.empty()) request.url += "/" + capi::curl::percent_encode(call.name, "/");
        request.headers = call.headers;
        request.body = call.body;
        request.sink = call.sink;
        request.timeout = call.timeout;
        PX_TRY(authorizer_.authorize(request, call.query, deadline));
        return request;
    };
    RetriedResponse reply =
        PX_TRY(capi::curl::send_with_retries(client_, retry_, deadline, prepare));
    if (reply.last.status == 401 && !reply.last.failure && authorizer_.uses_tokens()) {
        // A token may end before its time, for example when the identity was changed.
        authorizer_.forget_token();
        const bool uncertain = reply.earlier_uncertain;
        reply = PX_TRY(capi::curl::send_with_retries(client_, retry_, deadline, prepare));
        reply.earlier_uncertain = reply.earlier_uncertain || uncertain;
    }
    return reply;
}

Error BlobClient::failed(const Call& call, const RetriedResponse& reply) const {
    const HttpResponse& response = reply.last;
    const std::string account = fmt::format("storage account '{}'", address_.account);
    const std::string attempts =
        reply.attempts > 1 ? fmt::format(", {} attempts", reply.attempts) : std::string();
    const std::string where = fmt::format("cannot {}{}", call.what, attempts);
    if (response.failure) {
        Error error = response.error;
        if (response.failure == HttpFailure::UnknownHost) {
            error.message += fmt::format(": there is no {}, or no network", account);
            error.hint = "Check the account's name in the address, and the network";
        }
        return std::move(error).with(where);
    }
    const std::string code = error_code_of(response);
    const std::string_view way = authorizer_.credentials().describe();
    const std::string shown = fmt::format("{}{}{}", response.status, code.empty() ? "" : " ", code);
    const bool by_key = way == "account key", by_sas = way == "SAS token";

    if (code == "AccountIsDisabled") {
        return fail(ErrorCode::Unauthenticated, fmt::format("{} is disabled", account),
                    "Have it enabled (an overdue subscription disables its accounts)")
            .with(where);
    }
    if (code == "ContainerNotFound") {
        return fail(ErrorCode::NotFound,
                    fmt::format("container '{}' of {} does not exist", address_.container, account),
                    "px run creates it; or correct the address")
            .with(where);
    }
    if (code == "ContainerBeingDeleted") {
        return fail(ErrorCode::Unavailable,
                    fmt::format("container '{}' of {} is being deleted", address_.container,
                                account),
                    "Wait a minute and try again")
            .with(where);
    }
    if (code == "KeyBasedAuthenticationNotPermitted") {
        return fail(ErrorCode::Unauthenticated,
                    fmt::format("{} does not let anyone in by {}", account, way),
                    "Set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET instead, or use "
                    "a managed identity")
            .with(where);
    }
    // A key may do anything: whoever refuses it does not believe it (or the network it comes from).
    if (response.status == 401 || (response.status == 403 && by_key) ||
        code == "AuthenticationFailed" || code == "InvalidAuthenticationInfo" ||
        code == "NoAuthenticationInformation") {
        const auto theirs = capi::curl::parse_http_date(response.header("date"));
        const int64_t skew = theirs ? SystemClock().now() / 1'000'000 - *theirs : 0;
        if (std::abs(skew) > kClockSkewSecondsMax) {
            return fail(ErrorCode::Unauthenticated,
                        fmt::format("{} refuses the {}: this machine's clock is {} minutes {}",
                                    account, way, std::abs(skew) / 60,
                                    skew > 0 ? "ahead" : "behind"),
                        "Set the clock")
                .with(where);
        }
        return fail(ErrorCode::Unauthenticated,
                    fmt::format("{} refuses the {} ({})", account, way, shown),
                    by_key   ? "Check AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, "
                               "and the account's network rules"
                    : by_sas ? "Check AZURE_STORAGE_SAS_TOKEN: its account, its dates, and that "
                               "it is whole"
                             : "Check the tenant, and that the identity belongs to it")
            .with(where);
    }
    if (response.status == 403) {
        if (const std::string end = passed_end_of(authorizer_.credentials().sas_token);
            by_sas && !end.empty()) {
            return fail(ErrorCode::Unauthenticated,
                        fmt::format("{} refuses the SAS token: it ended {}", account, end),
                        "Put a new one into AZURE_STORAGE_SAS_TOKEN")
                .with(where);
        }
        return fail(
                   ErrorCode::Unauthenticated,
                   fmt::format("{} does not allow it to this {} ({})", account, way, shown),
                   by_sas
                       ? "Check AZURE_STORAGE_SAS_TOKEN: that it is whole, and has the permissions "
                         "racwdl on the container"
                       : "Give the identity the role Storage Blob Data Contributor, and check "
                         "the account's network rules")
            .with(where);
    }
    if (response.status == 404) {
        return fail(ErrorCode::NotFound, fmt::format("no blob '{}' in container '{}' of {}",
                                                     call.name, address_.container, account))
            .with(where);
    }
    if (response.status == 429) {
        return fail(ErrorCode::RateLimited,
                    fmt::format("{} asks for fewer requests ({})", account, shown),
                    "Try again later")
            .with(where);
    }
    if (response.status == 408 || response.status >= 500) {
        return fail(ErrorCode::Unavailable, fmt::format("{} answers {}", account, shown),
                    "Try again later")
            .with(where);
    }
    if (response.status == 409 || response.status == 412) {
        const bool leased = code.find("Lease") != std::string::npos;
        return fail(ErrorCode::Conflict, fmt::format("{} answers {}", account, shown),
                    leased ? "Another program holds a lease: end it, or wait" : "Try again")
            .with(where);
    }
    return fail(ErrorCode::InvalidArgument, fmt::format("{} answers {}", account, shown),
                "Check the address")
        .with(where);
}

Result<ServiceFacts> BlobClient::facts() {
    // A listing tells more than a HEAD when it fails, and a SAS for blobs may do it.
    const Call call{.method = "GET",
                    .what = fmt::format("list container '{}'", address_.container),
                    .query = {{"comp", "list"}, {"maxresults", "1"}, {"restype", "container"}}};
    const RetriedResponse reply = PX_TRY(send(call));
    if (!reply.last.ok()) return failed(call, reply);
    ServiceFacts facts;
    facts.version = reply.last.header("server");
    if (const std::string_view version = reply.last.header("x-ms-version"); !version.empty())
        facts.version += fmt::format(", Blob service {}", version);
    facts.is_encrypted = address_.endpoint.starts_with("https:");
    facts.is_loopback = capi::curl::is_loopback_host(capi::curl::url_host(address_.endpoint));
    if (const auto theirs = capi::curl::parse_http_date(reply.last.header("date")))
        facts.clock_ahead_ms = *theirs * 1000 - SystemClock().now() / 1000;
    facts.more = fmt::format("by {}", authorizer_.credentials().describe());
    return facts;
}

Result<bool> BlobClient::container_exists() {
    Call call{.method = "HEAD",
              .what = fmt::format("look at container '{}'", address_.container),
              .query = {{"restype", "container"}}};
    RetriedResponse reply = PX_TRY(send(call));
    if (reply.last.status == 403 && authorizer_.credentials().describe() == "SAS token") {
        // A SAS for blobs may list and not look at the container.
        call.method = "GET";
        call.query = {{"comp", "list"}, {"maxresults", "1"}, {"restype", "container"}};
        reply = PX_TRY(send(call));
    }
    if (reply.last.ok()) return true;
    // The answer to a HEAD has no body: ask again with one to learn why.
    if (!reply.last.failure && reply.last.status == 404) {
        const std::string code = error_code_of(reply.last);
        if (code.empty() || code == "ContainerNotFound" || code == "ResourceNotFound") return false;
    }
    if (!reply.last.failure && call.method == "HEAD") {
        call.method = "GET";
        reply = PX_TRY(send(call));
        if (reply.last.ok()) return true;
    }
    return failed(call, reply);
}

Result<bool> BlobClient::create_container() {
    const Call call{.method = "PUT",
                    .what = fmt::format("create container '{}'", address_.container),
                    .query = {{"restype", "container"}}};
    const RetriedResponse reply = PX_TRY(send(call));
    if (reply.last.ok()) return true;
    if (!reply.last.failure && error_code_of(reply.last) == "ContainerAlreadyExists") return false;
    return failed(call, reply);
}

Result<std::optional<BlobProperties>> BlobClient::properties(std::string_view name) {
    const Call call{.method = "HEAD",
                    .what = fmt::format("look at blob '{}'", name),
                    .name = std::string(name)};
    const RetriedResponse reply = PX_TRY(send(call));
    if (reply.last.ok()) {
        if (is_folder(reply.last)) return std::optional<BlobProperties>();
        return std::optional(properties_of(reply.last));
    }
    if (!reply.last.failure && reply.last.status == 404 &&
        error_code_of(reply.last) != "ContainerNotFound")
        return std::optional<BlobProperties>();
    return failed(call, reply);
}

Result<std::string> BlobClient::get(std::string_view name) {
    const Call call{.method = "GET",
                    .what = fmt::format("read blob '{}'", name),
                    .name = std::string(name),
                    .timeout = kReadTimeout};
    RetriedResponse reply = PX_TRY(send(call));
    if (!reply.last.ok()) return failed(call, reply);
    if (is_folder(reply.last)) {
        return fail(ErrorCode::NotFound,
                    fmt::format("'{}' in container '{}' is a folder", name, address_.container));
    }
    return std::move(reply.last.body);
}

Result<std::string> BlobClient::get_range(std::string_view name, int64_t offset, int64_t length,
                                          const std::string& if_match,
                                          const capi::curl::BodySink& sink) {
    Call call{.method = "GET",
              .what = fmt::format("read {} bytes from {} of blob '{}'", length, offset, name),
              .name = std::string(name),
              .headers = {{"x-ms-range", fmt::format("bytes={}-{}", offset, offset + length - 1)}},
              .sink = sink,
              .timeout = kReadTimeout};
    if (!if_match.empty()) call.headers.emplace_back("If-Match", if_match);
    RetriedResponse reply = PX_TRY(send(call));
    if (!reply.last.failure && reply.last.status == 416) return std::string();
    if (!reply.last.ok()) return failed(call, reply);
    if (is_folder(reply.last)) {
        return fail(ErrorCode::NotFound,
                    fmt::format("'{}' in container '{}' is a folder", name, address_.container));
    }
    if (reply.last.status != 206) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("the service answered a range of blob '{}' with {}", name,
                                reply.last.status));
    }
    return std::move(reply.last.body);
}

Result<std::optional<BlobProperties>> BlobClient::write(Call call,
                                                        const WriteCondition& condition) {
    const std::string write_id = capi::curl::random_hex(16);
    call.headers.emplace_back(kWriteIdHeader, write_id);
    if (condition.if_absent) call.headers.emplace_back("If-None-Match", "*");
    if (!condition.if_match.empty()) call.headers.emplace_back("If-Match", condition.if_match);
    const RetriedResponse reply = PX_TRY(send(call));
    if (reply.last.ok()) {
        BlobProperties written = properties_of(reply.last);
        written.size_bytes = static_cast<int64_t>(call.body.size());
        written.write_id = write_id;
        return std::optional(std::move(written));
    }
    const bool conditional = condition.if_absent || !condition.if_match.empty();
    const std::string code = reply.last.failure ? std::string() : error_code_of(reply.last);
    const bool blocks_gone = code == kBlocksGone;
    const bool refused = !reply.last.failure &&
                         (reply.last.status == 409 || reply.last.status == 412) &&
                         (code.empty() || code == "BlobAlreadyExists" || code == "ConditionNotMet");
    if (!conditional ||
        (!refused && !capi::curl::is_uncertain(reply.last) && !reply.earlier_uncertain)) {
        if (blocks_gone) return std::optional<BlobProperties>();
        return failed(call, reply);
    }

    // Who wrote what stands there? The blob says so itself. Asked after every refusal: the request
    // may have gone out twice without our knowing (a connection that died under it).
    const auto unknown = [&](const Error& why) {
        return fail(ErrorCode::OutcomeUnknown,
                    fmt::format("whether blob '{}' was written is not known: {}", call.name,
                                why.message),
                    "Read it, and decide then")
            .with(fmt::format("cannot {}", call.what));
    };
    const auto there = properties(call.name);
    if (!there) return unknown(there.error());
    if (*there && (*there)->write_id == write_id) return there;
    if (condition.if_absent && (refused || *there)) {
        return fail(ErrorCode::AlreadyExists,
                    fmt::format("blob '{}' already exists in container '{}' of storage account "
                                "'{}'",
                                call.name, address_.container, address_.account));
    }
    if (!condition.if_match.empty() && (!*there || (*there)->etag != condition.if_match)) {
        return fail(ErrorCode::Conflict,
                    fmt::format("blob '{}' was changed by another writer", call.name),
                    "Read it again and decide");
    }
    if (blocks_gone) return std::optional<BlobProperties>();
    // Not written so far. What was cut on its way may still arrive.
    return unknown(failed(call, reply));
}

Result<BlobProperties> BlobClient::put(std::string_view name, std::string_view bytes,
                                       const WriteCondition& condition) {
    const std::string md5 = capi::curl::base64_encode(capi::curl::md5(bytes));
    std::optional<BlobProperties> written =
        PX_TRY(write(Call{.method = "PUT",
                          .what = fmt::format("write blob '{}'", name),
                          .name = std::string(name),
                          .headers = {{"Content-Type", "application/octet-stream"},
                                      {"Content-MD5", md5},
                                      {"x-ms-blob-type", "BlockBlob"}},
                          .body = bytes},
                     condition));
    if (written) return std::move(*written);
    return fail(ErrorCode::Corrupt,
                fmt::format("the service answered a write of blob '{}' as if it had blocks", name));
}

Result<void> BlobClient::put_block(std::string_view name, std::string_view block_id,
                                   std::string_view bytes) {
    const Call call{.method = "PUT",
                    .what = fmt::format("write a block of blob '{}'", name),
                    .name = std::string(name),
                    .query = {{"blockid", capi::curl::base64_encode(block_id)}, {"comp", "block"}},
                    .headers = {{"Content-Type", "application/octet-stream"},
                                {"Content-MD5", capi::curl::base64_encode(capi::curl::md5(bytes))}},
                    .body = bytes};
    const RetriedResponse reply = PX_TRY(send(call));
    if (reply.last.ok()) return {};
    return failed(call, reply);
}

Result<std::optional<BlobProperties>> BlobClient::put_blocks(
    std::string_view name, const std::vector<std::string>& block_ids,
    const WriteCondition& condition, std::string_view content_md5) {
    std::string body = "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>";
    for (const std::string& id : block_ids)
        body += "<Latest>" + capi::curl::base64_encode(id) + "</Latest>";
    body += "</BlockList>";
    Call call{.method = "PUT",
              .what = fmt::format("commit the blocks of blob '{}'", name),
              .name = std::string(name),
              .query = {{"comp", "blocklist"}},
              .headers = {{"Content-Type", "application/xml"},
                          {"x-ms-blob-content-type", "application/octet-stream"}},
              .body = body};
    if (!content_md5.empty()) {
        call.headers.emplace_back("x-ms-blob-content-md5", capi::curl::base64_encode(content_md5));
    }
    return write(std::move(call), condition);
}

Result<void> BlobClient::remove(std::string_view name) {
    Call call{.method = "DELETE",
              .what = fmt::format("remove blob '{}'", name),
              .name = std::string(name)};
    call.headers.emplace_back("x-ms-delete-snapshots", "include");  // a backup may have made some
    const RetriedResponse reply = PX_TRY(send(call));
    if (reply.last.ok()) return {};
    if (!reply.last.failure) {
        const std::string code = error_code_of(reply.last);
        if (reply.last.status == 404 && code != "ContainerNotFound") return {};
        // The mark of a folder that still holds blobs: no object of that name is left.
        if (code == "DirectoryIsNotEmpty") return {};
    }
    return failed(call, reply);
}

Result<ListPage> BlobClient::list(std::string_view prefix, std::string_view marker) {
    Call call{.method = "GET",
              .what = fmt::format("list container '{}'", address_.container),
              .query = {{"comp", "list"}, {"include", "metadata"}, {"restype", "container"}}};
    if (!prefix.empty()) call.query.emplace_back("prefix", prefix);
    if (!marker.empty()) call.query.emplace_back("marker", marker);
    const RetriedResponse reply = PX_TRY(send(call));
    if (!reply.last.ok()) return failed(call, reply);
    return parse_list_page(reply.last.body).context(call.what);
}

}  // namespace px::store
