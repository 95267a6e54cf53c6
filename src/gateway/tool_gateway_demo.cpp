// Serves the demo company: to look at the page, and for the browser test. Usage: tool_gateway_demo
// [--port N] [--folder F]
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "gateway/demo_company.h"
#include "gateway/gateway.h"

int main(int argc, char** argv) {
    px::gateway::GatewayOptions options;
    options.http.port = 0;
    std::filesystem::path folder =
        std::filesystem::temp_directory_path() / fmt::format("px-gateway-demo-{}", ::getpid());
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string_view flag = argv[i];
        if (flag == "--port") options.http.port = static_cast<uint16_t>(std::atoi(argv[i + 1]));
        if (flag == "--folder") folder = argv[i + 1];
    }
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::filesystem::create_directories(folder);
    const auto company = px::gateway::DemoCompany::create(folder);
    if (!company) {
        fmt::print(stderr, "{}\n", company.error().to_string());
        return 1;
    }
    {
        const auto gateway = px::gateway::Gateway::start((*company)->services(), options);
        if (!gateway) {
            fmt::print(stderr, "{}\n", gateway.error().to_string());
            return 1;
        }
        fmt::print("{}\n", (*gateway)->url());
        std::fflush(stdout);
        int signal = 0;
        sigwait(&signals, &signal);
    }
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
    return 0;
}
