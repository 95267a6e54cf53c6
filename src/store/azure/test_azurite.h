// One Azurite for a whole test program, and stores in fresh containers of it. For tests only.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>

#include "store/azure/azure_object_store.h"
#include "testing/azurite.h"
#include "testing/matchers.h"

namespace px::store {

class AzuriteEnvironment : public ::testing::Environment {
  public:
    void SetUp() override {
        auto started = px::testing::Azurite::start();
        ASSERT_THAT(started, px::testing::IsOk());
        server_ = std::move(*started);
    }
    void TearDown() override { server_.reset(); }
    static px::testing::Azurite& server() { return *server_; }

  private:
    static inline std::unique_ptr<px::testing::Azurite> server_;
};

inline ::testing::Environment* const azurite_environment =
    ::testing::AddGlobalTestEnvironment(new AzuriteEnvironment);

/// The published account of Azurite.
inline AzureCredentials azurite_credentials() {
    return resolve_azure_credentials([](std::string_view name) -> std::optional<std::string> {
               if (name == "AZURE_STORAGE_ACCOUNT_NAME") return px::testing::kAzuriteAccount;
               return std::nullopt;
           })
        .value();
}

inline std::string new_container() {
    static std::atomic<int> count{0};
    return "test-" + std::to_string(++count);
}

/// An address by way of a port (a proxy's), or of the server itself.
inline AzureAddress azurite_address(const std::string& container, const std::string& path = {},
                                    uint16_t port = 0) {
    const auto& server = AzuriteEnvironment::server();
    const std::string url = server.endpoint_at(port == 0 ? server.port() : port) + "/" + container +
                            (path.empty() ? "" : "/" + path);
    return parse_azure_address(url, azurite_credentials()).value();
}

/// Retries as ever, but without long waits.
inline AzureObjectStoreOptions quick_options() {
    AzureObjectStoreOptions options;
    options.retry.delay_first = std::chrono::milliseconds(5);
    options.retry.delay_max = std::chrono::milliseconds(20);
    options.http.stall_timeout = std::chrono::milliseconds(1000);
    return options;
}

}  // namespace px::store
