#include "testing/azurite.h"

#include <cstdlib>
#include <utility>

namespace px::testing {

Result<std::unique_ptr<Azurite>> Azurite::start(Mode mode) {
    const std::filesystem::path program =
        std::filesystem::path(PX_SOURCE_DIR) /
        "tools/setup/azurite/node_modules/azurite/dist/src/blob/main.js";
    const std::filesystem::path pinned = std::filesystem::path(PX_DEPS) / "node/bin/node";
    if (!std::filesystem::exists(program)) {
        return fail(ErrorCode::NotFound, "Azurite is not installed: no " + program.string(),
                    "Run tools/setup.sh test");
    }
    std::unique_ptr<Azurite> azurite(new Azurite());
    azurite->mode_ = mode;
    std::vector<std::string> command = {std::filesystem::exists(pinned) ? pinned.string() : "node",
                                        program.string(),
                                        "--blobHost",
                                        "127.0.0.1",
                                        "--blobPort",
                                        "0",
                                        "--silent",
                                        "--inMemoryPersistence",
                                        "--disableTelemetry"};
    if (mode == Mode::HttpsWithTokens) {
        azurite->ca_file_ = azurite->folder_ / "cert.pem";
        const std::string key = azurite->folder_ / "key.pem";
        const std::string make =
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
            "-subj /CN=px-test -addext subjectAltName=IP:127.0.0.1 -keyout " +
            key + " -out " + azurite->ca_file_.string() + " 2>/dev/null";
        if (std::system(make.c_str()) != 0) {
            return fail(ErrorCode::NotFound, "openssl could not make a certificate",
                        "apt-get install openssl");
        }
        for (const std::string& word :
             {std::string("--cert"), azurite->ca_file_.string(), std::string("--key"), key,
              std::string("--oauth"), std::string("basic")})
            command.push_back(word);
    }
    azurite->process_ = PX_TRY(ServerProcess::start(command, "successfully listens on"));
    const std::string& line = azurite->process_->ready_line();
    azurite->port_ = static_cast<uint16_t>(std::atoi(line.c_str() + line.rfind(':') + 1));
    return azurite;
}

std::string Azurite::endpoint() const { return endpoint_at(port_); }

std::string Azurite::endpoint_at(uint16_t port) const {
    return std::string(mode_ == Mode::Http ? "http" : "https") +
           "://127.0.0.1:" + std::to_string(port) + "/" + kAzuriteAccount;
}

}  // namespace px::testing
