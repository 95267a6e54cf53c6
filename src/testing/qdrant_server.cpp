#include "testing/qdrant_server.h"

#include <cstdlib>
#include <filesystem>

namespace px::testing {

Result<std::unique_ptr<QdrantServer>> QdrantServer::start(const std::string& api_key) {
    const std::filesystem::path top = PX_SOURCE_DIR;
    const std::filesystem::path python = top / "build/venv-test/bin/python";
    if (!std::filesystem::exists(python)) {
        return fail(ErrorCode::NotFound,
                    "the tests' Python is not installed: no " + python.string(),
                    "Run tools/setup.sh test");
    }
    std::unique_ptr<QdrantServer> server(new QdrantServer());
    server->process_ = PX_TRY(ServerProcess::start(
        {python.string(), (top / "tests/e2e/lib/qdrant_server.py").string(), "--api-key", api_key},
        "qdrant test server listens on"));
    const std::string& line = server->process_->ready_line();
    server->port_ = static_cast<uint16_t>(std::atoi(line.c_str() + line.rfind(':') + 1));
    return server;
}

}  // namespace px::testing
