// Who we are to Azure Storage: values alone, and the rules by which they follow from the names
// people set in the environment. Rank 2. Pure; any thread. Secrets here are never printed: no
// member goes into a message, and describe() names the way only.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace px::store {

/// Which way is taken follows from what is set, in this order: account_key (SharedKey), sas_token,
/// client_secret (OAuth client credentials), else the managed identity of the machine.
struct AzureCredentials {
    std::string account_name;  ///< of `az://container/…` and of account_key and sas_token
    std::string account_key;   ///< base64
    std::string sas_token;     ///< "sv=…&sig=…", a leading '?' is dropped
    std::string tenant_id;
    std::string client_id;  ///< of the client credentials, or of a user-assigned managed identity
    std::string client_secret;
    /// Service root instead of https://ACCOUNT.blob.core.windows.net, for the account account_name:
    /// "http://127.0.0.1:10000/devstoreaccount1".
    std::string blob_endpoint;
    /// Who gives tokens to client_secret.
    std::string authority_host = "https://login.microsoftonline.com";
    /// Who gives tokens of the managed identity. App Service and Container Apps name another one,
    /// with a secret header of its own.
    std::string identity_endpoint = "http://169.254.169.254/metadata/identity/oauth2/token";
    std::string identity_header;

    /// "account key", "SAS token", "client secret" or "managed identity".
    std::string_view describe() const;
};

/// Looks a name up in the environment or .env; nullopt or "" when it is not set.
using VariableLookup = std::function<std::optional<std::string>(std::string_view name)>;

/// Reads AZURE_STORAGE_CONNECTION_STRING first; then AZURE_STORAGE_ACCOUNT_NAME (or
/// AZURE_STORAGE_ACCOUNT), AZURE_STORAGE_ACCOUNT_KEY (or AZURE_STORAGE_KEY),
/// AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_ENDPOINT, AZURE_TENANT_ID, AZURE_CLIENT_ID,
/// AZURE_CLIENT_SECRET, AZURE_AUTHORITY_HOST, IDENTITY_ENDPOINT and IDENTITY_HEADER, each of which
/// wins over the connection string. Nothing set: the managed identity. Errors: InvalidArgument for
/// a connection string or key that can't be read, or a client secret without tenant or client; the
/// message names the variable, never its value.
Result<AzureCredentials> resolve_azure_credentials(const VariableLookup& lookup);

}  // namespace px::store
