// Azurite, the emulator of Azure Blob Storage, as a server of a test: on a free port of 127.0.0.1,
// in memory, with its published account. For tests only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/result.h"
#include "testing/server_process.h"
#include "testing/temp_dir.h"

namespace px::testing {

inline constexpr const char* kAzuriteAccount = "devstoreaccount1";

class Azurite {
  public:
    enum class Mode {
        Http,
        /// https with a certificate of its own (ca_file()), and bearer tokens: not verified, but
        /// for issuer, audience and dates.
        HttpsWithTokens,
    };
    static Result<std::unique_ptr<Azurite>> start(Mode mode = Mode::Http);

    uint16_t port() const { return port_; }
    /// "http://127.0.0.1:PORT/devstoreaccount1"
    std::string endpoint() const;
    /// The same by way of a proxy on another port.
    std::string endpoint_at(uint16_t port) const;
    const std::filesystem::path& ca_file() const { return ca_file_; }
    const ServerProcess& process() const { return *process_; }

  private:
    Azurite() = default;
    Mode mode_ = Mode::Http;
    TempDir folder_;
    std::filesystem::path ca_file_;
    std::unique_ptr<ServerProcess> process_;
    uint16_t port_ = 0;
};

}  // namespace px::testing
