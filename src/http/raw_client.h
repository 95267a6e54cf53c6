// RawClient: a TCP client that sends and receives exactly what a test says. For tests only.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

namespace px::http {

/// A socket that sends and receives exactly what a test says.
class RawClient {
  public:
    explicit RawClient(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
            std::abort();  // nothing listens: no test means anything
        }
    }
    RawClient(RawClient&& other) noexcept : socket_(std::exchange(other.socket_, -1)) {}
    ~RawClient() { close(); }

    void close() {
        if (socket_ >= 0) ::close(std::exchange(socket_, -1));
    }
    void send(std::string_view bytes) const {
        while (!bytes.empty()) {
            const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) return;
            bytes.remove_prefix(static_cast<size_t>(sent));
        }
    }
    void end_sending() const { ::shutdown(socket_, SHUT_WR); }

    /// What has arrived once it contains wanted, the peer has closed, or 5 s are over.
    std::string receive_until(std::string_view wanted) {
        const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(5);
        while (received_.find(wanted) == std::string::npos &&
               std::chrono::steady_clock::now() < give_up) {
            pollfd ready{socket_, POLLIN, 0};
            if (::poll(&ready, 1, 100) <= 0) continue;
            char bytes[65536];
            const ssize_t count = ::recv(socket_, bytes, sizeof bytes, 0);
            if (count <= 0) {
                closed_ = true;
                break;
            }
            received_.append(bytes, static_cast<size_t>(count));
        }
        return received_;
    }
    /// Everything until the peer closes.
    std::string receive_all() { return receive_until("\xFF never \xFF"); }
    bool closed() const { return closed_; }
    void forget() { received_.clear(); }

  private:
    int socket_;
    std::string received_;
    bool closed_ = false;
};

}  // namespace px::http
