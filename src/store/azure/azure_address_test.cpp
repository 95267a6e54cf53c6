#include "store/azure/azure_address.h"

#include <gtest/gtest.h>

#include <map>

#include "testing/matchers.h"

namespace px::store {
namespace {

using px::testing::IsError;
using px::testing::IsOk;

AzureCredentials some_key() {
    AzureCredentials credentials;
    credentials.account_name = "acme";
    credentials.account_key = "a2V5";
    return credentials;
}

Result<AzureCredentials> resolve(std::map<std::string, std::string, std::less<>> variables) {
    return resolve_azure_credentials(
        [variables = std::move(variables)](std::string_view name) -> std::optional<std::string> {
            const auto found = variables.find(name);
            return found == variables.end() ? std::nullopt : std::optional(found->second);
        });
}

struct Form {
    const char *url, *account, *endpoint, *container, *path;
};

TEST(AzureAddress, EveryFormSaysAccountServiceContainerAndPath) {
    for (const Form& form : {
             Form{"abfss://lake@acme.dfs.core.windows.net/a/b", "acme",
                  "https://acme.blob.core.windows.net", "lake", "a/b"},
             Form{"abfss://raw-landing-zone@acme.dfs.core.windows.net/", "acme",
                  "https://acme.blob.core.windows.net", "raw-landing-zone", ""},
             Form{"ABFSS://lake@ACME.dfs.core.chinacloudapi.cn", "acme",
                  "https://acme.blob.core.chinacloudapi.cn", "lake", ""},
             Form{"az://lake/a/b/", "acme", "https://acme.blob.core.windows.net", "lake", "a/b"},
             Form{"az://other.blob.core.windows.net/lake/a", "other",
                  "https://other.blob.core.windows.net", "lake", "a"},
             Form{"https://other.dfs.core.windows.net/lake/a", "other",
                  "https://other.blob.core.windows.net", "lake", "a"},
             Form{"https://other.blob.core.windows.net:8443/lake", "other",
                  "https://other.blob.core.windows.net:8443", "lake", ""},
             Form{"http://127.0.0.1:10000/devstoreaccount1/lake/a", "devstoreaccount1",
                  "http://127.0.0.1:10000/devstoreaccount1", "lake", "a"},
             Form{"http://azurite:10000/devstoreaccount1/lake", "devstoreaccount1",
                  "http://azurite:10000/devstoreaccount1", "lake", ""},
         }) {
        const auto address = parse_azure_address(form.url, some_key());
        ASSERT_THAT(address, IsOk()) << form.url;
        EXPECT_EQ(address->url, form.url);
        EXPECT_EQ(address->account, form.account) << form.url;
        EXPECT_EQ(address->endpoint, form.endpoint) << form.url;
        EXPECT_EQ(address->container, form.container) << form.url;
        EXPECT_EQ(address->path, form.path) << form.url;
    }
    EXPECT_EQ(parse_azure_address("az://lake/a", some_key())->blob_name("k/x"), "a/k/x");
    EXPECT_EQ(parse_azure_address("az://lake", some_key())->blob_name("k/x"), "k/x");
}

TEST(AzureAddress, AnEndpointStandsInForTheAccountItBelongsTo) {
    AzureCredentials credentials = some_key();
    credentials.blob_endpoint = "http://127.0.0.1:10000/acme";
    EXPECT_EQ(
        parse_azure_address("abfss://lake@acme.dfs.core.windows.net/x", credentials)->endpoint,
        "http://127.0.0.1:10000/acme");
    EXPECT_EQ(parse_azure_address("az://lake/x", credentials)->endpoint,
              "http://127.0.0.1:10000/acme");
    EXPECT_EQ(
        parse_azure_address("abfss://lake@other.dfs.core.windows.net/x", credentials)->endpoint,
        "https://other.blob.core.windows.net");
    EXPECT_EQ(parse_azure_address("https://acme.blob.core.windows.net/lake", credentials)->endpoint,
              "https://acme.blob.core.windows.net");
}

TEST(AzureAddress, RefusesWhatItCannotMeanAndHidesSecrets) {
    const auto refusal = [](const char* url, const AzureCredentials& credentials) {
        const auto address = parse_azure_address(url, credentials);
        EXPECT_THAT(address, IsError(ErrorCode::InvalidArgument)) << url;
        return address ? std::string() : address.error().to_string();
    };
    for (const char* url :
         {"abfss://acme.dfs.core.windows.net/x", "abfss://lake@acme/x", "az://UPPER/x", "az://a/x",
          "az://la--ke/x", "az://lake/../x", "az://lake/a//b", "https:///lake",
          "https://acme.blob.core.windows.net/", "http://127.0.0.1:10000/", "abfss://", "az://"})
        EXPECT_FALSE(refusal(url, some_key()).empty());
    EXPECT_NE(refusal("az://lake/x", {}).find("AZURE_STORAGE_ACCOUNT_NAME"), std::string::npos);
    for (const char* url : {"https://acme.blob.core.windows.net/lake?sig=SECRET",
                            "https://user:SECRET@acme.blob.core.windows.net/lake"})
        EXPECT_EQ(refusal(url, some_key()).find("SECRET"), std::string::npos);
    AzureCredentials sas;
    sas.sas_token = "sig=SECRET";
    EXPECT_NE(refusal("http://azurite:10000/acme/lake", sas).find("Use https"), std::string::npos);
    EXPECT_THAT(parse_azure_address("http://127.0.0.1:10000/acme/lake", sas), IsOk());
}

TEST(AzureCredentials, ComeFromTheNamesPeopleKnow) {
    EXPECT_EQ(resolve({})->describe(), "managed identity");
    EXPECT_EQ(resolve({{"AZURE_STORAGE_SAS_TOKEN", "?sv=1&sig=2"}})->sas_token, "sv=1&sig=2");
    const auto secret =
        resolve({{"AZURE_TENANT_ID", "t"}, {"AZURE_CLIENT_ID", "c"}, {"AZURE_CLIENT_SECRET", "s"}});
    EXPECT_EQ(secret->describe(), "client secret");
    EXPECT_THAT(resolve({{"AZURE_CLIENT_SECRET", "hush"}, {"AZURE_CLIENT_ID", "c"}}),
                IsError(ErrorCode::InvalidArgument, "AZURE_TENANT_ID is not"));
    const auto bad_key = resolve({{"AZURE_STORAGE_ACCOUNT_KEY", "no base64!"}});
    ASSERT_THAT(bad_key, IsError(ErrorCode::InvalidArgument, "AZURE_STORAGE_ACCOUNT_KEY"));
    EXPECT_EQ(bad_key.error().to_string().find("no base64!"), std::string::npos);
    EXPECT_EQ(resolve({{"AZURE_STORAGE_ACCOUNT_NAME", "devstoreaccount1"}})->describe(),
              "account key");
}

TEST(AzureCredentials, AConnectionStringSaysTheSame) {
    const auto full = resolve({{"AZURE_STORAGE_CONNECTION_STRING",
                                "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=a2V5;"
                                "EndpointSuffix=core.windows.net"}});
    ASSERT_THAT(full, IsOk());
    EXPECT_EQ(full->account_name, "acme");
    EXPECT_EQ(full->account_key, "a2V5");
    EXPECT_EQ(full->blob_endpoint, "");
    const auto over = resolve({{"AZURE_STORAGE_CONNECTION_STRING",
                                "AccountName=acme;AccountKey=a2V5;BlobEndpoint=http://h:1/acme/"},
                               {"AZURE_STORAGE_ACCOUNT_KEY", "b3RoZXI="}});
    EXPECT_EQ(over->account_key, "b3RoZXI=");
    EXPECT_EQ(over->blob_endpoint, "http://h:1/acme");
    const auto emulator =
        resolve({{"AZURE_STORAGE_CONNECTION_STRING", "UseDevelopmentStorage=true"}});
    EXPECT_EQ(emulator->blob_endpoint, "http://127.0.0.1:10000/devstoreaccount1");
    EXPECT_EQ(emulator->describe(), "account key");
    EXPECT_EQ(resolve({{"AZURE_STORAGE_CONNECTION_STRING",
                        "AccountName=acme;EndpointSuffix=core.chinacloudapi.cn"}})
                  ->blob_endpoint,
              "https://acme.blob.core.chinacloudapi.cn");
    const auto broken = resolve({{"AZURE_STORAGE_CONNECTION_STRING", "SECRETSECRET"}});
    ASSERT_THAT(broken, IsError(ErrorCode::InvalidArgument, "AZURE_STORAGE_CONNECTION_STRING"));
    EXPECT_EQ(broken.error().to_string().find("SECRET="), std::string::npos);
    EXPECT_EQ(broken.error().to_string().find("SECRETSECRET"), std::string::npos);
}

}  // namespace
}  // namespace px::store
