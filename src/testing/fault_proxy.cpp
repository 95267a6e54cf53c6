#include "testing/fault_proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace px::testing {
namespace {

constexpr size_t kPieceBytes = 64 * 1024;

[[noreturn]] void give_up(const char* what) {
    std::perror(what);
    std::abort();
}

class Socket {
  public:
    explicit Socket(int descriptor = -1) : descriptor_(descriptor) {}
    Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
    Socket& operator=(Socket&& other) noexcept {
        std::swap(descriptor_, other.descriptor_);
        return *this;
    }
    ~Socket() { close(); }
    int get() const { return descriptor_; }
    bool is_open() const { return descriptor_ >= 0; }
    void close() {
        if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
    }
    /// Ends it with RST instead of FIN.
    void reset() {
        if (descriptor_ < 0) return;
        const linger now{1, 0};
        ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close();
    }

  private:
    int descriptor_;
};

sockaddr_in loopback(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

Socket connect_to(uint16_t port) {
    Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = loopback(port);
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        return Socket();
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return socket;
}

}  // namespace

struct FaultProxy::State {
    uint16_t upstream_port = 0;
    uint16_t port = 0;
    Socket listener;
    Socket wake{::eventfd(0, EFD_CLOEXEC)};  // readable once: all threads end

    mutable std::mutex mutex;
    ProxyPlan plan;
    int64_t requests = 0, faults = 0, open = 0, open_most = 0;
    /// Raised by cut_all(): connections begun before it end.
    std::atomic<int64_t> epoch{0};

    struct Worker {
        std::thread thread;
        std::atomic<bool> done{false};
    };
    std::list<Worker> workers;
    std::thread acceptor;

    ProxyFault next(std::string_view head) {
        const std::lock_guard lock(mutex);
        ++requests;
        ProxyFault fault = plan ? plan(requests, head) : ProxyFault();
        if (fault.kind != ProxyFault::Kind::None) ++faults;
        return fault;
    }

    enum class Ready { Client, Server, Both, Ended };
    Ready wait(int client, int server, int64_t begun,
               std::optional<std::chrono::steady_clock::time_point> until = std::nullopt) {
        while (true) {
            pollfd files[3] = {{client, POLLIN, 0}, {server, POLLIN, 0}, {wake.get(), POLLIN, 0}};
            // cut_all() is noticed within a twentieth of a second.
            int patience_ms = 50;
            if (until) {
                const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                    *until - std::chrono::steady_clock::now());
                patience_ms = static_cast<int>(std::clamp<int64_t>(left.count() + 1, 0, 50));
            }
            ::poll(files, 3, patience_ms);
            if (files[2].revents != 0 || epoch != begun) return Ready::Ended;
            const bool from_client = client >= 0 && files[0].revents != 0;
            const bool from_server = server >= 0 && files[1].revents != 0;
            if (from_client && from_server) return Ready::Both;
            if (from_client) return Ready::Client;
            if (from_server) return Ready::Server;
            if (until && std::chrono::steady_clock::now() >= *until) return Ready::Both;
        }
    }

    /// False when the other side is gone, or the proxy ends.
    bool send(int socket, std::string_view bytes, int64_t begun) {
        while (!bytes.empty()) {
            const ssize_t sent =
                ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent > 0) {
                bytes.remove_prefix(static_cast<size_t>(sent));
                continue;
            }
            if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
            pollfd files[2] = {{socket, POLLOUT, 0}, {wake.get(), POLLIN, 0}};
            ::poll(files, 2, 50);
            if (files[1].revents != 0 || epoch != begun) return false;
        }
        return true;
    }

    /// True when the time has passed, false when the proxy ended first.
    bool pause(std::chrono::milliseconds delay, int64_t begun) {
        return wait(-1, -1, begun, std::chrono::steady_clock::now() + delay) != Ready::Ended;
    }

    /// Reads and drops what the client still sends, until it ends.
    void drain(int client, int64_t begun) {
        std::string buffer(kPieceBytes, '\0');
        while (wait(client, -1, begun) == Ready::Client) {
            if (::recv(client, buffer.data(), buffer.size(), MSG_DONTWAIT) <= 0) return;
        }
    }

    /// The same request once more, to its reply's first bytes.
    void duplicate(std::string_view request, int64_t begun) {
        const Socket again = connect_to(upstream_port);
        if (!again.is_open() || !send(again.get(), request, begun)) return;
        std::string buffer(kPieceBytes, '\0');
        if (wait(-1, again.get(), begun) != Ready::Ended)
            (void)!::recv(again.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    }

    void serve(Socket client, int64_t begun) {
        Socket server = connect_to(upstream_port);
        if (!server.is_open()) return client.reset();
        std::string buffer(kPieceBytes, '\0');
        bool in_request = false;  // the last bytes came from the client
        ProxyFault fault;
        size_t request_bytes = 0, reply_bytes = 0;
        std::string kept;  // of a request that is to arrive twice
        using Kind = ProxyFault::Kind;
        const auto cut = [&] {
            client.reset();
            server.reset();
        };
        while (true) {
            const Ready ready = wait(client.get(), server.get(), begun);
            if (ready == Ready::Ended) return cut();
            // The server's bytes first: a client that speaks too has them already.
            if (ready != Ready::Client) {
                const ssize_t got = ::recv(server.get(), buffer.data(), buffer.size(), 0);
                if (got <= 0) {
                    if (got < 0) return cut();
                    return;
                }
                std::string_view bytes(buffer.data(), static_cast<size_t>(got));
                if (in_request && fault.kind == Kind::DelayReply && !pause(fault.delay, begun))
                    return cut();
                if (in_request && fault.kind == Kind::DuplicateAfter) duplicate(kept, begun);
                in_request = false;
                if (fault.kind == Kind::CutReply) {
                    bytes = bytes.substr(0, fault.bytes - std::min(fault.bytes, reply_bytes));
                    reply_bytes += bytes.size();
                    if (!bytes.empty() && !send(client.get(), bytes, begun)) return cut();
                    if (reply_bytes < fault.bytes) continue;
                    server.reset();
                    // FIN after some bytes, that they arrive; RST without any.
                    return reply_bytes > 0 ? client.close() : client.reset();
                }
                if (!send(client.get(), bytes, begun)) return cut();
                continue;
            }
            const ssize_t got = ::recv(client.get(), buffer.data(), buffer.size(), 0);
            if (got <= 0) return;
            std::string_view bytes(buffer.data(), static_cast<size_t>(got));
            if (!in_request) {
                in_request = true;
                request_bytes = reply_bytes = 0;
                kept.clear();
                fault = next(bytes);
                if (fault.kind == Kind::CutBefore) return cut();
                if (fault.kind == Kind::DelayRequest && !pause(fault.delay, begun)) return cut();
                if (fault.kind == Kind::Stall) return drain(client.get(), begun);
                if (fault.kind == Kind::Reply) {
                    server.close();
                    if (send(client.get(), fault.text, begun)) {
                        ::shutdown(client.get(), SHUT_WR);
                        drain(client.get(), begun);
                    }
                    return;
                }
            }
            if (fault.kind == Kind::DuplicateAfter) kept.append(bytes);
            if (fault.kind == Kind::CutRequest) {
                bytes = bytes.substr(0, fault.bytes - std::min(fault.bytes, request_bytes));
            }
            request_bytes += bytes.size();
            if (!bytes.empty() && !send(server.get(), bytes, begun)) return cut();
            if (fault.kind == Kind::CutRequest && request_bytes >= fault.bytes) return cut();
        }
    }

    void accept() {
        while (true) {
            pollfd files[2] = {{listener.get(), POLLIN, 0}, {wake.get(), POLLIN, 0}};
            ::poll(files, 2, -1);
            if (files[1].revents != 0) return;
            Socket client(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
            if (!client.is_open()) continue;
            const int on = 1;
            ::setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            for (auto worker = workers.begin(); worker != workers.end();) {
                if (worker->done) {
                    worker->thread.join();
                    worker = workers.erase(worker);
                } else {
                    ++worker;
                }
            }
            {
                const std::lock_guard lock(mutex);
                open_most = std::max(open_most, ++open);
            }
            Worker& worker = workers.emplace_back();
            worker.thread = std::thread(
                [this, &worker, begun = epoch.load(), socket = std::move(client)]() mutable {
                    serve(std::move(socket), begun);
                    const std::lock_guard lock(mutex);
                    --open;
                    worker.done = true;
                });
        }
    }
};

ProxyFault ProxyFault::http(std::string_view status, std::vector<std::string> headers) {
    std::string text = "HTTP/1.1 " + std::string(status) + "\r\n";
    for (const std::string& header : headers) text += header + "\r\n";
    text += "Content-Length: 0\r\nConnection: close\r\n\r\n";
    return reply(std::move(text));
}

FaultProxy::FaultProxy(uint16_t upstream_port, ProxyPlan plan) : state_(std::make_unique<State>()) {
    state_->upstream_port = upstream_port;
    state_->plan = std::move(plan);
    state_->listener = Socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (::bind(state_->listener.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(state_->listener.get(), 256) != 0 ||
        ::getsockname(state_->listener.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
        give_up("fault proxy: listen");
    state_->port = ntohs(address.sin_port);
    state_->acceptor = std::thread([state = state_.get()] { state->accept(); });
}

FaultProxy::~FaultProxy() {
    const uint64_t one = 1;
    if (::write(state_->wake.get(), &one, sizeof one) != sizeof one) give_up("fault proxy: stop");
    state_->acceptor.join();
    for (State::Worker& worker : state_->workers) worker.thread.join();
}

uint16_t FaultProxy::port() const { return state_->port; }

void FaultProxy::set_plan(ProxyPlan plan) {
    const std::lock_guard lock(state_->mutex);
    state_->plan = std::move(plan);
    state_->requests = state_->faults = 0;
}

int64_t FaultProxy::requests() const {
    const std::lock_guard lock(state_->mutex);
    return state_->requests;
}
int64_t FaultProxy::faults() const {
    const std::lock_guard lock(state_->mutex);
    return state_->faults;
}
int64_t FaultProxy::connections() const {
    const std::lock_guard lock(state_->mutex);
    return state_->open;
}
int64_t FaultProxy::connections_most() const {
    const std::lock_guard lock(state_->mutex);
    return state_->open_most;
}
void FaultProxy::cut_all() { ++state_->epoch; }

ProxyPlan fault_at(int64_t n, ProxyFault fault) {
    return [n, fault = std::move(fault)](int64_t request, std::string_view) {
        return request == n ? fault : ProxyFault();
    };
}

}  // namespace px::testing
