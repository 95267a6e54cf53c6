// Authorization of requests to the Blob service: SharedKey, SAS, and bearer tokens of client
// credentials or a managed identity. Rank 2. Thread-safe. No secret leaves but towards the service
// it belongs to.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "capi/curl/http_client.h"
#include "capi/curl/retry.h"
#include "store/azure/azure_credentials.h"

namespace px::store {

/// Query parameters, decoded.
using QueryParameters = std::vector<std::pair<std::string, std::string>>;

/// What SharedKey signs (Blob service, versions from 2015-02-21 on). request.url: without query.
/// Source: Microsoft's "Authorize with Shared Key".
std::string string_to_sign(std::string_view account, const capi::curl::HttpRequest& request,
                           const QueryParameters& query);

class BlobAuthorizer {
  public:
    BlobAuthorizer(AzureCredentials credentials, std::string account,
                   capi::curl::HttpClientOptions http, capi::curl::RetryOptions retry);

    /// Completes a request whose URL has no query yet: adds date, authorization and query. May ask
    /// for a token first. Errors: Unauthenticated (the token service says no, or there is no
    /// managed identity here), Unavailable.
    Result<void> authorize(capi::curl::HttpRequest& request, const QueryParameters& query,
                           const Deadline& deadline);
    /// The service refused the token: ask for a new one next time.
    void forget_token();
    bool uses_tokens() const;
    const AzureCredentials& credentials() const { return credentials_; }

  private:
    Result<std::string> token(const Deadline& deadline);
    Result<std::string> fetch_token(const Deadline& deadline);

    AzureCredentials credentials_;
    std::string account_;
    std::string key_;  ///< decoded
    capi::curl::HttpClient client_;
    capi::curl::RetryOptions retry_;
    std::mutex mutex_;
    std::string token_;
    std::chrono::steady_clock::time_point token_until_;
};

}  // namespace px::store
