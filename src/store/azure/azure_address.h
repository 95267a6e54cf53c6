// Where in Azure Storage a store lives: account, service root, container and the path below it. The
// forms of addresses: docs/formats/addresses.md. Rank 2. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "store/azure/azure_credentials.h"

namespace px::store {

struct AzureAddress {
    std::string url;      ///< as written
    std::string account;  ///< what SharedKey signs with
    /// Without a '/' at the end: "https://ACCOUNT.blob.core.windows.net", or with the account in
    /// its path: "http://127.0.0.1:10000/devstoreaccount1".
    std::string endpoint;
    std::string container;
    std::string path;  ///< "" or "lake/x", neither beginning nor ending with '/'

    /// Key to blob name.
    std::string blob_name(std::string_view key) const;
};

/// True for abfss:, abfs:, az:, azure:, https: and http:.
bool is_azure_address(std::string_view url);

/// Errors: InvalidArgument, quoting at most what stands before '?' or '@'.
Result<AzureAddress> parse_azure_address(std::string_view url, const AzureCredentials& credentials);

}  // namespace px::store
