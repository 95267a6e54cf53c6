#include "gateway/gateway.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <atomic>
#include <utility>

#include "gateway/routes.h"

namespace px::gateway {
namespace {

bool is_loopback_address(const std::string& address) {
    in_addr four{};
    if (::inet_pton(AF_INET, address.c_str(), &four) == 1) return (ntohl(four.s_addr) >> 24) == 127;
    in6_addr six{};
    return ::inet_pton(AF_INET6, address.c_str(), &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

}  // namespace

bool is_loopback_host(std::string_view host) {
    std::string_view name = host;
    std::string_view port;
    if (name.starts_with('[')) {
        const size_t end = name.find(']');
        if (end == std::string_view::npos) return false;
        port = name.substr(end + 1);
        name = name.substr(1, end - 1);
    } else if (const size_t colon = name.find(':'); colon != std::string_view::npos) {
        port = name.substr(colon);
        name = name.substr(0, colon);
    }
    if (!port.empty() && (port[0] != ':' || port.substr(1).find_first_not_of("0123456789") !=
                                                std::string_view::npos)) {
        return false;
    }
    return http::equal_ignoring_case(name, "localhost") || is_loopback_address(std::string(name));
}

Result<void> GatewayOptions::validate() const {
    if (http.address != "localhost" && !is_loopback_address(http.address)) {
        return fail(
            ErrorCode::InvalidArgument,
            fmt::format(
                "the gateway will not listen on '{}': it has no access keys yet, so it serves this "
                "machine only",
                http.address),
            "Use 127.0.0.1, and a tunnel (ssh -L) to reach it from elsewhere");
    }
    if (question_bytes == 0 || sql_bytes == 0 || top_k <= 0 || list_rows <= 0 ||
        context_bytes < 0 || request_time.count() <= 0 || embed_inputs == 0 ||
        embed_input_bytes == 0 || embed_queue.batch_texts == 0) {
        return fail(ErrorCode::InvalidArgument, "a limit of the gateway is not above 0");
    }
    return {};
}

struct Gateway::State {
    State(GatewayServices given_services, GatewayOptions given_options)
        : services(std::move(given_services)),
          options(std::move(given_options)),
          routes(services, options) {}

    GatewayServices services;
    GatewayOptions options;
    Routes routes;
    std::unique_ptr<http::HttpServer> server;
    std::atomic<const http::HttpServer*> serving{
        nullptr};  ///< requests may come before start() has stored server
};

Gateway::Gateway(std::unique_ptr<State> state) : state_(std::move(state)) {}
Gateway::~Gateway() { stop(); }

Result<std::unique_ptr<Gateway>> Gateway::start(GatewayServices services, GatewayOptions options) {
    PX_TRY(options.validate());
    if (options.http.address == "localhost") options.http.address = "127.0.0.1";
    auto state = std::make_unique<State>(std::move(services), std::move(options));
    State* const raw = state.get();
    raw->routes.set_stats([raw] {
        const http::HttpServer* const server = raw->serving.load();
        return server != nullptr ? server->stats() : http::ServerStats();
    });
    http::Handlers handlers;
    handlers.handle = [raw](const http::Request& request) { return raw->routes.handle(request); };
    handlers.quick = [raw](const http::Request& request) { return raw->routes.quick(request); };
    handlers.refuse = [raw](int status, const std::string& detail) {
        return raw->routes.refuse(status, detail);
    };
    state->server = PX_TRY(http::HttpServer::start(state->options.http, std::move(handlers)));
    state->serving = state->server.get();
    return std::unique_ptr<Gateway>(new Gateway(std::move(state)));
}

uint16_t Gateway::port() const { return state_->server->port(); }

std::string Gateway::url() const {
    const std::string& address = state_->options.http.address;
    const bool six = address.find(':') != std::string::npos;
    return fmt::format(fmt::runtime(six ? "http://[{}]:{}" : "http://{}:{}"), address, port());
}

void Gateway::stop() {
    if (state_->server) state_->server->stop();
}

}  // namespace px::gateway
