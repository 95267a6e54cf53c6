#include "store/azure/blob_auth.h"

#include <gtest/gtest.h>

#include <mutex>

#include "capi/curl/digest.h"
#include "http/server.h"
#include "store/azure/azure_object_store.h"
#include "testing/azurite.h"
#include "testing/matchers.h"

namespace px::store {
namespace {

using px::testing::Azurite;
using px::testing::IsError;
using px::testing::IsOk;
using px::testing::TempDir;

capi::curl::RetryOptions quick() {
    capi::curl::RetryOptions retry;
    retry.delay_first = std::chrono::milliseconds(1);
    retry.delay_max = std::chrono::milliseconds(5);
    return retry;
}

TEST(StringToSign, IsThatOfTheServicesOwnExample) {
    // Microsoft, "Authorize with Shared Key", section "Specifying the Authorization header".
    const capi::curl::HttpRequest request{
        .method = "GET",
        .url = "https://myaccount.blob.core.windows.net/mycontainer",
        .headers = {{"x-ms-version", "2015-02-21"},
                    {"x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT"}}};
    EXPECT_EQ(string_to_sign("myaccount", request,
                             {{"restype", "container"}, {"comp", "metadata"}, {"timeout", "20"}}),
              "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\n"
              "x-ms-version:2015-02-21\n/myaccount/mycontainer\ncomp:metadata\n"
              "restype:container\ntimeout:20");
}

TEST(StringToSign, TakesLengthTypeAndConditionsOfAWrite) {
    const capi::curl::HttpRequest request{
        .method = "PUT",
        .url = "http://127.0.0.1:1/acme/c/a%20b",
        .headers = {{"Content-Type", "text/plain"}, {"If-None-Match", "*"}, {"Content-MD5", "m"}},
        .body = "12345"};
    EXPECT_EQ(string_to_sign("acme", request, {}),
              "PUT\n\n\n5\nm\ntext/plain\n\n\n\n*\n\n\n/acme/acme/c/a%20b");
}

/// A token server: client credentials and managed identity, as Microsoft documents them.
class TokenServer {
  public:
    TokenServer() {
        http::ServerOptions options;
        options.port = 0;
        server_ = http::HttpServer::start(
                      options,
                      {.handle = [this](const http::Request& request) { return answer(request); },
                       .quick = nullptr,
                       .refuse = nullptr})
                      .value();
    }
    std::string url() const { return "http://127.0.0.1:" + std::to_string(server_->port()); }
    int asked() const {
        const std::lock_guard lock(mutex_);
        return asked_;
    }
    void fail_next(int count) {
        const std::lock_guard lock(mutex_);
        failing_ = count;
    }
    void set_lifetime(int64_t seconds) {
        const std::lock_guard lock(mutex_);
        lifetime_ = seconds;
    }
    /// From now on tokens of another audience are given, which the store refuses.
    void set_audience(std::string audience) {
        const std::lock_guard lock(mutex_);
        audience_ = std::move(audience);
    }

  private:
    http::Response answer(const http::Request& request) {
        const std::lock_guard lock(mutex_);
        ++asked_;
        if (failing_ > 0) {
            --failing_;
            return http::Response{503};
        }
        const auto refuse = [](int status, const std::string& body) {
            http::Response response{status};
            response.body = body;
            return response;
        };
        if (request.method == "POST" && request.path == "/tenant-1/oauth2/v2.0/token") {
            if (request.body !=
                "grant_type=client_credentials&client_id=app-1&client_secret=s%26cret"
                "&scope=https%3A%2F%2Fstorage.azure.com%2F.default") {
                return refuse(401,
                              "{\"error\":\"invalid_client\",\"error_description\":"
                              "\"AADSTS7000215: Invalid client secret provided. Trace 1\"}");
            }
        } else if (request.method == "GET" && request.path == "/identity") {
            if (request.header("Metadata") != "true" ||
                request.query_value("resource") != "https://storage.azure.com/" ||
                request.query_value("api-version") != "2018-02-01")
                return refuse(400, "{\"error\":\"invalid_request\"}");
            if (request.query_value("client_id") == "unknown")
                return refuse(400,
                              "{\"error\":\"invalid_request\",\"error_description\":"
                              "\"Identity not found\"}");
        } else if (request.method == "GET" && request.path == "/app-service") {
            if (request.header("X-IDENTITY-HEADER") != "hush" ||
                request.query_value("api-version") != "2019-08-01")
                return refuse(401, "{}");
        } else {
            return refuse(404, "{}");
        }
        const int64_t now = SystemClock().now() / 1'000'000;
        const std::string claims =
            "{\"aud\":\"" + audience_ +
            "\",\"iss\":\"https://sts.windows.net/tenant-1/\",\"nbf\":" + std::to_string(now - 60) +
            ",\"iat\":" + std::to_string(now) + ",\"exp\":" + std::to_string(now + 3600) + "}";
        std::string token = capi::curl::base64_encode("{\"alg\":\"none\",\"typ\":\"JWT\"}") + "." +
                            capi::curl::base64_encode(claims) + ".AAAA";
        for (char& c : token) c = c == '+' ? '-' : c == '/' ? '_' : c;
        std::erase(token, '=');
        http::Response response;
        // The identity endpoints write numbers as texts.
        response.body = "{\"token_type\":\"Bearer\",\"access_token\":\"" + token +
                        "\",\"expires_in\":" +
                        (request.method == "GET" ? "\"" + std::to_string(lifetime_) + "\""
                                                 : std::to_string(lifetime_)) +
                        "}";
        return response;
    }

    mutable std::mutex mutex_;
    int asked_ = 0, failing_ = 0;
    int64_t lifetime_ = 3600;
    std::string audience_ = "https://storage.azure.com";
    std::unique_ptr<http::HttpServer> server_;
};

class Tokens : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        auto started = Azurite::start(Azurite::Mode::HttpsWithTokens);
        ASSERT_THAT(started, IsOk());
        azurite_ = std::move(*started);
    }
    static void TearDownTestSuite() { azurite_.reset(); }
    void SetUp() override { ASSERT_NE(azurite_, nullptr); }

    AzureCredentials by_secret() const {
        AzureCredentials credentials;
        credentials.tenant_id = "tenant-1";
        credentials.client_id = "app-1";
        credentials.client_secret = "s&cret";
        credentials.authority_host = tokens_.url();
        return credentials;
    }
    AzureCredentials by_identity() const {
        AzureCredentials credentials;
        credentials.identity_endpoint = tokens_.url() + "/identity";
        return credentials;
    }
    std::unique_ptr<AzureObjectStore> open(const AzureCredentials& credentials,
                                           const std::string& container = "tokens") {
        AzureObjectStoreOptions options;
        options.http.ca_file = azurite_->ca_file();
        options.retry = quick();
        return std::make_unique<AzureObjectStore>(
            parse_azure_address(azurite_->endpoint() + "/" + container, credentials).value(),
            credentials, FileCacheOptions{.folder = dir_ / "cache"}, options);
    }

    static inline std::unique_ptr<Azurite> azurite_;
    TempDir dir_;
    TokenServer tokens_;
};

TEST_F(Tokens, AClientSecretOpensTheStoreWithOneTokenForAll) {
    const auto store = open(by_secret());
    ASSERT_THAT(store->ensure_container(), IsOk());
    ASSERT_THAT(store->put("a", "1"), IsOk());
    EXPECT_EQ(store->get("a").value(), "1");
    EXPECT_EQ(tokens_.asked(), 1);
}

TEST_F(Tokens, AManagedIdentityDoesToo) {
    const auto store = open(by_identity());
    ASSERT_THAT(store->ensure_container(), IsOk());
    ASSERT_THAT(store->put("a", "2"), IsOk());
    EXPECT_EQ(store->get("a").value(), "2");
    AzureCredentials app_service;
    app_service.identity_endpoint = tokens_.url() + "/app-service";
    app_service.identity_header = "hush";
    EXPECT_EQ(open(app_service)->get("a").value(), "2");
}

TEST_F(Tokens, ATokenNearItsEndIsAskedForAgain) {
    tokens_.set_lifetime(0);
    const auto store = open(by_secret());
    ASSERT_THAT(store->ensure_container(), IsOk());
    const int before = tokens_.asked();
    ASSERT_THAT(store->put("a", "1"), IsOk());
    EXPECT_EQ(tokens_.asked(), before + 1);
}

TEST_F(Tokens, AHiccupOfTheTokenServerIsWaitedOut) {
    tokens_.fail_next(2);
    EXPECT_THAT(open(by_secret())->ensure_container(), IsOk());
    tokens_.fail_next(100);
    EXPECT_THAT(open(by_secret())->ensure_container(), IsError(ErrorCode::Unavailable, "no token"));
}

TEST_F(Tokens, AWrongSecretIsToldAndNeverShown) {
    AzureCredentials wrong = by_secret();
    wrong.client_secret = "guessed-secret";
    const auto refused = open(wrong)->ensure_container();
    ASSERT_THAT(refused, IsError(ErrorCode::Unauthenticated, "AADSTS7000215"));
    EXPECT_NE(refused.error().hint.find("AZURE_CLIENT_SECRET"), std::string::npos);
    EXPECT_EQ(refused.error().to_string().find("guessed-secret"), std::string::npos);
    AzureCredentials unknown = by_identity();
    unknown.client_id = "unknown";
    EXPECT_THAT(open(unknown)->ensure_container(),
                IsError(ErrorCode::Unauthenticated, "AZURE_CLIENT_ID"));
}

TEST_F(Tokens, WithoutAnyCredentialsTheErrorNamesWhatToSet) {
    AzureCredentials none;
    none.identity_endpoint = "http://127.0.0.1:9/identity";
    EXPECT_THAT(open(none)->ensure_container(),
                IsError(ErrorCode::Unauthenticated, "Set AZURE_STORAGE_ACCOUNT_KEY"));
}

TEST_F(Tokens, ATokenTheStoreRefusesIsReportedAsSuch) {
    tokens_.set_audience("https://other.example");
    EXPECT_THAT(open(by_secret())->ensure_container(),
                IsError(ErrorCode::Unauthenticated, "refuses the client secret"));
}

TEST_F(Tokens, ACertificateOfAnUnknownAuthorityIsNotAccepted) {
    const AzureCredentials credentials = by_secret();
    AzureObjectStoreOptions options;
    options.retry = quick();
    AzureObjectStore store(
        parse_azure_address(azurite_->endpoint() + "/tokens", credentials).value(), credentials,
        FileCacheOptions{.folder = dir_ / "cache"}, options);
    EXPECT_THAT(store.ensure_container(), IsError(ErrorCode::Unavailable, "certificate"));
}

}  // namespace
}  // namespace px::store
