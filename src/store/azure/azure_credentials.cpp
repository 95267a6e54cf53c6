#include "store/azure/azure_credentials.h"

#include <fmt/format.h>

#include "capi/curl/digest.h"
#include "capi/curl/http_client.h"

namespace px::store {
namespace {

// What Azurite answers to out of the box; published with it, so no secret.
constexpr std::string_view kEmulatorAccount = "devstoreaccount1";
constexpr std::string_view kEmulatorKey =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
constexpr std::string_view kConnectionString = "AZURE_STORAGE_CONNECTION_STRING";

Result<void> read_connection_string(std::string_view text, AzureCredentials& credentials) {
    std::string protocol = "https", suffix = "core.windows.net";
    bool emulator = false;
    while (!text.empty()) {
        const size_t end = text.find(';');
        const std::string_view part = text.substr(0, end);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
        if (part.empty()) continue;
        const size_t equals = part.find('=');
        if (equals == std::string_view::npos) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("{} has a part without '='", kConnectionString),
                        "Copy it again from the account's page of access keys");
        }
        const std::string_view name = part.substr(0, equals), value = part.substr(equals + 1);
        if (name == "DefaultEndpointsProtocol") protocol = value;
        if (name == "EndpointSuffix") suffix = value;
        if (name == "AccountName") credentials.account_name = value;
        if (name == "AccountKey") credentials.account_key = value;
        if (name == "SharedAccessSignature") credentials.sas_token = value;
        if (name == "BlobEndpoint") credentials.blob_endpoint = value;
        if (name == "UseDevelopmentStorage") emulator = value == "true";
    }
    if (emulator) {
        credentials.account_name = kEmulatorAccount;
        credentials.account_key = kEmulatorKey;
        if (credentials.blob_endpoint.empty())
            credentials.blob_endpoint = "http://127.0.0.1:10000/devstoreaccount1";
    }
    if (credentials.account_name.empty() && credentials.blob_endpoint.empty()) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("{} names neither AccountName nor BlobEndpoint", kConnectionString),
                    "Copy it again from the account's page of access keys");
    }
    if (credentials.blob_endpoint.empty() &&
        (suffix != "core.windows.net" || protocol != "https")) {
        credentials.blob_endpoint =
            fmt::format("{}://{}.blob.{}", protocol, credentials.account_name, suffix);
    }
    return {};
}

}  // namespace

std::string_view AzureCredentials::describe() const {
    if (!account_key.empty()) return "account key";
    if (!sas_token.empty()) return "SAS token";
    if (!client_secret.empty()) return "client secret";
    return "managed identity";
}

Result<AzureCredentials> resolve_azure_credentials(const VariableLookup& lookup) {
    AzureCredentials credentials;
    const auto value_of = [&](std::string_view name) { return lookup(name).value_or(""); };
    if (const std::string text = value_of(kConnectionString); !text.empty())
        PX_TRY(read_connection_string(text, credentials));
    const auto take = [&](std::string& field, std::initializer_list<std::string_view> names) {
        for (const std::string_view name : names) {
            if (std::string value = value_of(name); !value.empty()) {
                field = std::move(value);
                return;
            }
        }
    };
    take(credentials.account_name, {"AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"});
    take(credentials.account_key, {"AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"});
    take(credentials.sas_token, {"AZURE_STORAGE_SAS_TOKEN"});
    take(credentials.blob_endpoint, {"AZURE_STORAGE_ENDPOINT"});
    take(credentials.tenant_id, {"AZURE_TENANT_ID"});
    take(credentials.client_id, {"AZURE_CLIENT_ID"});
    take(credentials.client_secret, {"AZURE_CLIENT_SECRET"});
    take(credentials.authority_host, {"AZURE_AUTHORITY_HOST"});
    take(credentials.identity_endpoint, {"IDENTITY_ENDPOINT"});
    take(credentials.identity_header, {"IDENTITY_HEADER"});

    if (credentials.sas_token.starts_with('?')) credentials.sas_token.erase(0, 1);
    for (std::string* url : {&credentials.blob_endpoint, &credentials.authority_host}) {
        while (url->ends_with('/')) url->pop_back();
    }
    if (credentials.authority_host.find("://") == std::string::npos)
        credentials.authority_host.insert(0, "https://");
    if (!credentials.authority_host.starts_with("https://") &&
        !capi::curl::is_loopback_host(capi::curl::url_host(credentials.authority_host))) {
        return fail(ErrorCode::InvalidArgument,
                    "AZURE_AUTHORITY_HOST would take the client secret over an open connection",
                    "Begin it with https://");
    }
    if (credentials.account_key.empty() && credentials.sas_token.empty() &&
        credentials.client_secret.empty() && credentials.account_name == kEmulatorAccount)
        credentials.account_key = kEmulatorKey;
    if (!credentials.account_key.empty() && !capi::curl::base64_decode(credentials.account_key)) {
        return fail(ErrorCode::InvalidArgument, "AZURE_STORAGE_ACCOUNT_KEY is no base64 text",
                    "Copy the key again from the account's page of access keys");
    }
    if (credentials.account_key.empty() && credentials.sas_token.empty() &&
        !credentials.client_secret.empty()) {
        for (const auto& [name, value] : {std::pair{"AZURE_TENANT_ID", &credentials.tenant_id},
                                          std::pair{"AZURE_CLIENT_ID", &credentials.client_id}}) {
            if (!value->empty()) continue;
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("AZURE_CLIENT_SECRET is set and {} is not", name),
                        fmt::format("Set {}", name));
        }
    }
    return credentials;
}

}  // namespace px::store
