#include "store/azure/blob_auth.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <map>

#include "capi/curl/digest.h"
#include "capi/curl/retry.h"

namespace px::store {
namespace {

using capi::curl::HttpRequest;

constexpr std::string_view kVersion = "2021-12-02";
constexpr std::string_view kResource = "https://storage.azure.com/";
constexpr std::chrono::seconds kTokenMargin{300};

std::string lower(std::string_view text) {
    std::string result(text);
    for (char& c : result) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    return result;
}

std::string header_of(const HttpRequest& request, std::string_view name) {
    for (const auto& [known, value] : request.headers) {
        if (lower(known) == name) return value;
    }
    return {};
}

std::string_view path_of(std::string_view url) {
    const size_t slash = url.find('/', url.find("://") + 3);
    return slash == std::string_view::npos ? "/" : url.substr(slash);
}

/// "AADSTS7000215" out of a token service's description; what it is called else.
std::string refusal_code(const boost::json::value& body) {
    const auto* object = body.if_object();
    if (!object) return {};
    const auto text_of = [&](std::string_view name) -> std::string {
        const auto* field = object->if_contains(name);
        return field && field->is_string() ? std::string(field->get_string()) : std::string();
    };
    const std::string description = text_of("error_description");
    if (const size_t at = description.find("AADSTS"); at != std::string::npos) {
        const size_t end = description.find_first_not_of("0123456789", at + 6);
        return description.substr(at, std::min(end, at + 20) - at);
    }
    std::string code = text_of("error").substr(0, 64);
    std::erase_if(code, [](char c) {
        return !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_');
    });
    return code;
}

/// Seconds a token lives: expires_in, or expires_on (seconds since 1970); each a number or a text.
int64_t lifetime_of(const boost::json::object& token) {
    const auto number = [&](std::string_view name) -> int64_t {
        const auto* field = token.if_contains(name);
        if (!field) return 0;
        if (field->is_int64()) return field->get_int64();
        if (field->is_string()) {
            int64_t value = 0;
            const auto& text = field->get_string();
            std::from_chars(text.data(), text.data() + text.size(), value);
            return value;
        }
        return 0;
    };
    if (const int64_t seconds = number("expires_in"); seconds > 0) return seconds;
    return number("expires_on") - SystemClock().now() / 1'000'000;
}

}  // namespace

std::string string_to_sign(std::string_view account, const HttpRequest& request,
                           const QueryParameters& query) {
    const int64_t length =
        request.source ? request.source_size_bytes : static_cast<int64_t>(request.body.size());
    std::string text = request.method + "\n";
    text += header_of(request, "content-encoding") + "\n";
    text += header_of(request, "content-language") + "\n";
    text += (length > 0 ? std::to_string(length) : std::string()) + "\n";
    for (const std::string_view name :
         {"content-md5", "content-type", "date", "if-modified-since", "if-match", "if-none-match",
          "if-unmodified-since", "range"})
        text += header_of(request, name) + "\n";
    std::map<std::string, std::string> own;
    for (const auto& [name, value] : request.headers) {
        if (std::string key = lower(name); key.starts_with("x-ms-")) own[std::move(key)] = value;
    }
    for (const auto& [name, value] : own) text += name + ":" + value + "\n";
    text += fmt::format("/{}{}", account, path_of(request.url));
    std::map<std::string, std::string> parameters;
    for (const auto& [name, value] : query) parameters[lower(name)] = value;
    for (const auto& [name, value] : parameters) text += "\n" + name + ":" + value;
    return text;
}

BlobAuthorizer::BlobAuthorizer(AzureCredentials credentials, std::string account,
                               capi::curl::HttpClientOptions http, capi::curl::RetryOptions retry)
    : credentials_(std::move(credentials)),
      account_(std::move(account)),
      client_([&] {
          http.connections_max = 1;
          http.body_bytes_max = 1 << 20;
          http.connect_timeout = std::min(http.connect_timeout, std::chrono::milliseconds(3000));
          http.request_timeout = std::min(http.request_timeout, std::chrono::milliseconds(30'000));
          return http;
      }()),
      retry_(retry) {
    key_ = capi::curl::base64_decode(credentials_.account_key).value_or("");
}

bool BlobAuthorizer::uses_tokens() const {
    return credentials_.account_key.empty() && credentials_.sas_token.empty();
}

Result<void> BlobAuthorizer::authorize(HttpRequest& request, const QueryParameters& query,
                                       const Deadline& deadline) {
    request.headers.emplace_back("x-ms-date",
                                 capi::curl::format_http_date(SystemClock().now() / 1'000'000));
    request.headers.emplace_back("x-ms-version", kVersion);
    if (!credentials_.account_key.empty()) {
        const std::string signature = capi::curl::base64_encode(
            capi::curl::hmac_sha256(key_, string_to_sign(account_, request, query)));
        request.headers.emplace_back("Authorization",
                                     fmt::format("SharedKey {}:{}", account_, signature));
    } else if (uses_tokens()) {
        request.headers.emplace_back("Authorization", "Bearer " + PX_TRY(token(deadline)));
    }
    std::string text;
    for (const auto& [name, value] : query) {
        text += fmt::format("{}{}={}", text.empty() ? "" : "&", name,
                            capi::curl::percent_encode(value));
    }
    if (credentials_.account_key.empty() && !credentials_.sas_token.empty())
        text += (text.empty() ? "" : "&") + credentials_.sas_token;
    if (!text.empty()) request.url += "?" + text;
    return {};
}

void BlobAuthorizer::forget_token() {
    const std::lock_guard lock(mutex_);
    token_.clear();
}

Result<std::string> BlobAuthorizer::token(const Deadline& deadline) {
    // Held while asking: whoever else needs the token can only wait for the same answer.
    const std::lock_guard lock(mutex_);
    if (token_.empty() || std::chrono::steady_clock::now() >= token_until_)
        token_ = PX_TRY(fetch_token(deadline));
    return token_;
}

Result<std::string> BlobAuthorizer::fetch_token(const Deadline& deadline) {
    const bool by_secret = !credentials_.client_secret.empty();
    const std::string form =
        by_secret ? fmt::format(
                        "grant_type=client_credentials&client_id={}&client_secret={}"
                        "&scope={}",
                        capi::curl::percent_encode(credentials_.client_id),
                        capi::curl::percent_encode(credentials_.client_secret),
                        capi::curl::percent_encode(std::string(kResource) + ".default"))
                  : std::string();
    const auto prepare = [&](int) -> Result<HttpRequest> {
        HttpRequest request;
        if (by_secret) {
            request.method = "POST";
            request.url = fmt::format("{}/{}/oauth2/v2.0/token", credentials_.authority_host,
                                      capi::curl::percent_encode(credentials_.tenant_id));
            request.headers.emplace_back("Content-Type", "application/x-www-form-urlencoded");
            request.body = form;
            return request;
        }
        const bool app_service = !credentials_.identity_header.empty();
        request.url = fmt::format("{}?api-version={}&resource={}", credentials_.identity_endpoint,
                                  app_service ? "2019-08-01" : "2018-02-01",
                                  capi::curl::percent_encode(kResource));
        if (!credentials_.client_id.empty())
            request.url += "&client_id=" + capi::curl::percent_encode(credentials_.client_id);
        if (app_service) {
            request.headers.emplace_back("X-IDENTITY-HEADER", credentials_.identity_header);
        } else {
            request.headers.emplace_back("Metadata", "true");
        }
        return request;
    };
    capi::curl::RetryOptions retry = retry_;
    // A machine without managed identity does not answer at all: say so soon.
    if (!by_secret) {
        retry.attempts_max = std::min(retry.attempts_max, 3);
        // The metadata service says 404 while it starts and 410 while it is updated.
        retry.more_statuses = {404, 410};
    }
    retry.total_max = std::min(retry.total_max, std::chrono::milliseconds(60'000));
    const auto reply = PX_TRY(capi::curl::send_with_retries(client_, retry, deadline, prepare));
    if (reply.last.failure) {
        if (by_secret)
            return Error(reply.last.error).with("asking for a token of the client secret");
        return fail(ErrorCode::Unauthenticated,
                    fmt::format("no credentials for storage account '{}': none are set, and this "
                                "machine has no managed identity",
                                account_),
                    "Set AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or AZURE_TENANT_ID, "
                    "AZURE_CLIENT_ID and AZURE_CLIENT_SECRET");
    }
    boost::system::error_code error;
    const boost::json::value body = boost::json::parse(reply.last.body, error);
    if (!reply.last.ok()) {
        const std::string code = error ? std::string() : refusal_code(body);
        const bool busy = reply.last.status >= 500 || reply.last.status == 429;
        return fail(
            busy ? ErrorCode::Unavailable : ErrorCode::Unauthenticated,
            fmt::format("no token for storage account '{}': the {} was refused ({}{}{})", account_,
                        credentials_.describe(), reply.last.status, code.empty() ? "" : " ", code),
            busy        ? "Try again later"
            : by_secret ? "Check AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"
                        : "Assign an identity to this machine, or check AZURE_CLIENT_ID");
    }
    const auto* object = error ? nullptr : body.if_object();
    const auto* token = object ? object->if_contains("access_token") : nullptr;
    if (!token || !token->is_string() || token->get_string().empty() ||
        token->get_string().find_first_of("\r\n") != boost::json::string::npos) {
        return fail(ErrorCode::Unavailable,
                    fmt::format("the token service of storage account '{}' answered without a "
                                "token",
                                account_),
                    "Check AZURE_AUTHORITY_HOST");
    }
    const std::chrono::seconds lifetime(std::clamp<int64_t>(lifetime_of(*object), 0, 86'400));
    token_until_ = std::chrono::steady_clock::now() +
                   (lifetime > 2 * kTokenMargin ? lifetime - kTokenMargin : lifetime / 2);
    return std::string(token->get_string());
}

}  // namespace px::store
