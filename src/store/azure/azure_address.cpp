#include "store/azure/azure_address.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "capi/curl/http_client.h"
#include "store/object_key.h"

namespace px::store {
namespace {

/// Hosts of storage accounts in Azure's clouds.
constexpr std::array<std::string_view, 4> kServiceSuffixes = {
    ".core.windows.net", ".core.chinacloudapi.cn", ".core.usgovcloudapi.net", ".storage.azure.net"};

constexpr std::string_view kForms =
    "Write abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH or az://CONTAINER/PATH";
constexpr std::array<std::string_view, 6> kSchemes = {"abfss", "abfs",  "az",
                                                      "azure", "https", "http"};

std::string lower(std::string_view text) {
    std::string result(text);
    for (char& c : result) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    return result;
}

std::string_view take_until(std::string_view& text, char end) {
    const size_t found = text.find(end);
    const std::string_view taken = text.substr(0, found);
    text.remove_prefix(found == std::string_view::npos ? text.size() : found + 1);
    return taken;
}

/// "ACCOUNT" of ACCOUNT.blob.core.windows.net or ACCOUNT.dfs.…, and the host of the Blob service.
struct ServiceHost {
    std::string account, blob_host;
};
std::optional<ServiceHost> service_host(const std::string& host) {
    const size_t dot = host.find('.');
    if (dot == std::string::npos || dot == 0) return std::nullopt;
    ServiceHost result{host.substr(0, dot), host};
    for (const std::string_view service : {".blob.", ".dfs."}) {
        const size_t at = host.find(service);
        if (at == std::string::npos) continue;
        if (service == ".dfs.") result.blob_host.replace(at, service.size(), ".blob.");
        return result;
    }
    return std::nullopt;
}

Result<void> validate_container(std::string_view name, std::string_view shown) {
    const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
    });
    if (plain && name.size() >= 3 && name.size() <= 63 && name.front() != '-' &&
        name.back() != '-' && name.find("--") == std::string_view::npos)
        return {};
    return fail(ErrorCode::InvalidArgument,
                fmt::format("'{}': '{}' cannot name a container", shown, name),
                "Containers have 3 to 63 lower-case letters, digits and single hyphens");
}

}  // namespace

std::string AzureAddress::blob_name(std::string_view key) const {
    return path.empty() ? std::string(key) : fmt::format("{}/{}", path, key);
}

bool is_azure_address(std::string_view url) {
    const size_t colon = url.find("://");
    return colon != std::string_view::npos &&
           std::find(kSchemes.begin(), kSchemes.end(), lower(url.substr(0, colon))) !=
               kSchemes.end();
}

Result<AzureAddress> parse_azure_address(std::string_view url,
                                         const AzureCredentials& credentials) {
    const std::string_view shown = url.substr(0, url.find_first_of("?#"));
    if (shown.size() != url.size()) {
        return fail(ErrorCode::InvalidArgument, fmt::format("'{}' goes on with '?' or '#'", shown),
                    "Put a SAS token into AZURE_STORAGE_SAS_TOKEN, not into the address");
    }
    std::string_view rest = url;
    const std::string scheme = lower(take_until(rest, ':'));
    if (!is_azure_address(url))
        return fail(ErrorCode::InvalidArgument, fmt::format("'{}' is no address of Azure", url),
                    std::string(kForms));
    rest.remove_prefix(2);

    AzureAddress address;
    address.url = url;
    bool override_allowed = true;
    if (scheme == "abfss" || scheme == "abfs") {
        std::string_view path = rest;
        std::string_view authority = take_until(path, '/');
        const size_t at = authority.find('@');
        if (at == std::string_view::npos) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("'{}' does not name CONTAINER@ACCOUNT", url),
                        std::string(kForms));
        }
        address.container = authority.substr(0, at);
        const std::string host = lower(authority.substr(at + 1));
        const auto service = service_host(host);
        if (!service) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("'{}': '{}' is no host of a storage account", url, host),
                        std::string(kForms));
        }
        address.account = service->account;
        address.endpoint = "https://" + service->blob_host;
        address.path = path;
    } else if (scheme == "az" || scheme == "azure") {
        const std::string first(take_until(rest, '/'));
        if (const auto service = service_host(lower(first))) {
            address.account = service->account;
            address.endpoint = "https://" + service->blob_host;
            address.container = take_until(rest, '/');
        } else {
            address.account = credentials.account_name;
            address.container = first;
            if (address.account.empty()) {
                return fail(ErrorCode::InvalidArgument,
                            fmt::format("'{}' does not say which account", url),
                            "Set AZURE_STORAGE_ACCOUNT_NAME");
            }
            address.endpoint = fmt::format("https://{}.blob.core.windows.net", address.account);
        }
        address.path = rest;
    } else {
        override_allowed = false;
        const std::string_view authority = take_until(rest, '/');
        if (authority.find('@') != std::string_view::npos) {
            return fail(ErrorCode::InvalidArgument, "an address of Azure holds a user name",
                        "Put credentials into the environment (AZURE_STORAGE_ACCOUNT_KEY)");
        }
        const std::string host = capi::curl::url_host(url);
        if (host.empty())
            return fail(ErrorCode::InvalidArgument, fmt::format("'{}' names no host", url),
                        std::string(kForms));
        if (const auto service = service_host(lower(host))) {
            std::string blob_authority = lower(authority);
            blob_authority.replace(0, host.size(), service->blob_host);
            address.account = service->account;
            address.endpoint = fmt::format("{}://{}", scheme, blob_authority);
        } else {  // Azurite and its like: the account is the first part of the path
            address.account = take_until(rest, '/');
            address.endpoint = fmt::format("{}://{}/{}", scheme, authority, address.account);
            if (address.account.empty()) {
                return fail(ErrorCode::InvalidArgument,
                            fmt::format("'{}' does not say which account", url),
                            "Write http://HOST:PORT/ACCOUNT/CONTAINER/PATH");
            }
        }
        address.container = take_until(rest, '/');
        address.path = rest;
    }
    if (override_allowed && !credentials.blob_endpoint.empty() &&
        (credentials.account_name.empty() || credentials.account_name == address.account))
        address.endpoint = credentials.blob_endpoint;

    while (address.path.ends_with('/')) address.path.pop_back();
    PX_TRY(validate_container(address.container, url));
    if (!address.path.empty())
        PX_TRY(validate_key(address.path).context(fmt::format("address '{}'", url)));
    const bool secret_travels = credentials.account_key.empty();
    if (secret_travels && address.endpoint.starts_with("http://") &&
        !capi::curl::is_loopback_host(capi::curl::url_host(address.endpoint))) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("'{}' would send the {} over an open connection", url,
                                credentials.describe()),
                    "Use https");
    }
    // Tokens and SAS are for Azure: no address of a pipeline file may lead them elsewhere.
    const std::string host = lower(capi::curl::url_host(address.endpoint));
    const bool is_known = std::ranges::any_of(
        kServiceSuffixes, [&](std::string_view suffix) { return host.ends_with(suffix); });
    if (secret_travels && !is_known && !capi::curl::is_loopback_host(host) &&
        address.endpoint != credentials.blob_endpoint) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("'{}' would send the {} to {}, which is not Azure's", url,
                                credentials.describe(), host),
                    "If that is meant, name the service in AZURE_STORAGE_ENDPOINT");
    }
    return address;
}

}  // namespace px::store
