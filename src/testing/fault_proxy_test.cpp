#include "testing/fault_proxy.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>

namespace px::testing {
namespace {

int loopback_socket(uint16_t port, bool listening, uint16_t* chosen) {
    const int file = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const plain = reinterpret_cast<sockaddr*>(&address);
    if (!listening) {
        EXPECT_EQ(::connect(file, plain, size), 0);
        return file;
    }
    EXPECT_EQ(::bind(file, plain, size), 0);
    EXPECT_EQ(::listen(file, 16), 0);
    EXPECT_EQ(::getsockname(file, plain, &size), 0);
    *chosen = ntohs(address.sin_port);
    return file;
}

/// Answers each line with "<LINE>\n", and keeps what it got.
class LineServer {
  public:
    LineServer() : listener_(loopback_socket(0, true, &port_)), acceptor_([this] { accept(); }) {}
    ~LineServer() {
        ::shutdown(listener_, SHUT_RDWR);
        acceptor_.join();
        for (std::thread& thread : threads_) thread.join();
        ::close(listener_);
    }
    uint16_t port() const { return port_; }
    std::string seen() const {
        const std::lock_guard lock(mutex_);
        return seen_;
    }

  private:
    void accept() {
        for (int client; (client = ::accept(listener_, nullptr, nullptr)) >= 0;) {
            threads_.emplace_back([this, client] {
                char buffer[256];
                for (ssize_t got; (got = ::recv(client, buffer, sizeof buffer, 0)) > 0;) {
                    const std::string text(buffer, static_cast<size_t>(got));
                    {
                        const std::lock_guard lock(mutex_);
                        seen_ += text;
                    }
                    if (!text.ends_with('\n')) continue;
                    const std::string reply = "<" + text.substr(0, text.size() - 1) + ">\n";
                    (void)!::send(client, reply.data(), reply.size(), MSG_NOSIGNAL);
                }
                ::close(client);
            });
        }
    }
    uint16_t port_ = 0;
    int listener_;
    mutable std::mutex mutex_;
    std::string seen_;
    std::vector<std::thread> threads_;
    std::thread acceptor_;
};

class Client {
  public:
    explicit Client(uint16_t port) : file_(loopback_socket(port, false, nullptr)) {}
    ~Client() { ::close(file_); }
    /// What came back until a line's end or the connection's; "" when it was cut.
    std::string ask(const std::string& line) {
        (void)!::send(file_, line.data(), line.size(), MSG_NOSIGNAL);
        std::string reply;
        char buffer[256];
        while (!reply.ends_with('\n')) {
            const ssize_t got = ::recv(file_, buffer, sizeof buffer, 0);
            if (got <= 0) return reply;
            reply.append(buffer, static_cast<size_t>(got));
        }
        return reply;
    }

  private:
    int file_;
};

TEST(FaultProxy, PassesEverythingOnWithoutAPlan) {
    LineServer server;
    FaultProxy proxy(server.port());
    Client client(proxy.port());
    EXPECT_EQ(client.ask("a\n"), "<a>\n");
    EXPECT_EQ(client.ask("b\n"), "<b>\n");
    EXPECT_EQ(proxy.requests(), 2);
    EXPECT_EQ(proxy.faults(), 0);
    EXPECT_EQ(proxy.connections_most(), 1);
}

TEST(FaultProxy, BreaksTheNthRequestOfAllConnections) {
    LineServer server;
    FaultProxy proxy(server.port(), fault_at(2, ProxyFault::cut_before()));
    Client first(proxy.port()), second(proxy.port());
    EXPECT_EQ(first.ask("a\n"), "<a>\n");
    EXPECT_EQ(second.ask("b\n"), "");
    EXPECT_EQ(first.ask("c\n"), "<c>\n");
    EXPECT_EQ(server.seen(), "a\nc\n");
    EXPECT_EQ(proxy.faults(), 1);
}

TEST(FaultProxy, EachFaultDoesWhatItSays) {
    const auto run = [](const ProxyFault& fault) {
        auto server = std::make_unique<LineServer>();
        std::string reply;
        {
            FaultProxy proxy(server->port(), fault_at(1, fault));
            reply = Client(proxy.port()).ask("abcdef\n");
        }
        return std::pair(server->seen(), reply);
    };
    using Pair = std::pair<std::string, std::string>;
    EXPECT_EQ(run(ProxyFault::none()), Pair("abcdef\n", "<abcdef>\n"));
    EXPECT_EQ(run(ProxyFault::cut_before()), Pair("", ""));
    EXPECT_EQ(run(ProxyFault::cut_reply()), Pair("abcdef\n", ""));
    EXPECT_EQ(run(ProxyFault::cut_reply(3)), Pair("abcdef\n", "<ab"));
    EXPECT_EQ(run(ProxyFault::reply("no\n")), Pair("", "no\n"));
    EXPECT_EQ(run(ProxyFault::duplicate()), Pair("abcdef\nabcdef\n", "<abcdef>\n"));
    EXPECT_EQ(run(ProxyFault::cut_request(3)).second, "");
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(run(ProxyFault::delay_reply(std::chrono::milliseconds(60))),
              Pair("abcdef\n", "<abcdef>\n"));
    EXPECT_EQ(run(ProxyFault::delay_request(std::chrono::milliseconds(60))),
              Pair("abcdef\n", "<abcdef>\n"));
    EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(120));
}

TEST(FaultProxy, CutsWhatIsOpenWhenTold) {
    LineServer server;
    FaultProxy proxy(server.port());
    Client client(proxy.port());
    EXPECT_EQ(client.ask("a\n"), "<a>\n");
    proxy.cut_all();
    EXPECT_EQ(client.ask("b"), "");
    Client again(proxy.port());
    EXPECT_EQ(again.ask("c\n"), "<c>\n");
}

}  // namespace
}  // namespace px::testing
