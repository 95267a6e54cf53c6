// The stand-in for Qdrant's server (tests/e2e/lib/qdrant_server.py, which says what is whose) as a
// server of a test: on a free port of 127.0.0.1. For tests only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "testing/server_process.h"

namespace px::testing {

class QdrantServer {
  public:
    /// api_key: empty, or what each request has to bring.
    static Result<std::unique_ptr<QdrantServer>> start(const std::string& api_key = {});

    uint16_t port() const { return port_; }
    /// "http://127.0.0.1:PORT"
    std::string url() const { return url_at(port_); }
    /// The same by way of a proxy on another port.
    static std::string url_at(uint16_t port) { return "http://127.0.0.1:" + std::to_string(port); }

  private:
    QdrantServer() = default;
    std::unique_ptr<ServerProcess> process_;
    uint16_t port_ = 0;
};

}  // namespace px::testing
