// A TCP proxy on loopback before a real server, which goes wrong at the requests it is told to: to
// prove what a client does when a connection is cut, a reply is lost, torn or late, or a request
// arrives twice. For tests only; knows no protocol: a request is what a client sends after it
// connected or after the server's last bytes, so one at a time on each connection (HTTP/1.1,
// PostgreSQL). Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace px::testing {

struct ProxyFault {
    enum class Kind {
        None,
        CutBefore,       ///< the connection ends (RST); the server sees nothing
        CutRequest,      ///< the server gets the first `bytes` bytes, then both sides end
        CutReply,        ///< the server gets all; the client gets `bytes` bytes of the reply
        DelayRequest,    ///< the server gets it `delay` later
        DelayReply,      ///< the client gets the reply `delay` later
        Stall,           ///< the server sees nothing and the client never hears of it
        DuplicateAfter,  ///< when the reply begins, the server gets the same request once more, on
                         ///< a connection of its own; the first reply is passed on after that
        Reply,           ///< the client gets `text`, then the end; the server sees nothing
    };
    Kind kind = Kind::None;
    size_t bytes = 0;
    std::chrono::milliseconds delay{0};
    std::string text{};

    static ProxyFault none() { return {}; }
    static ProxyFault cut_before() { return {.kind = Kind::CutBefore}; }
    static ProxyFault cut_request(size_t bytes) {
        return {.kind = Kind::CutRequest, .bytes = bytes};
    }
    /// With 0 bytes the whole reply is lost although the server did what was asked.
    static ProxyFault cut_reply(size_t bytes = 0) {
        return {.kind = Kind::CutReply, .bytes = bytes};
    }
    static ProxyFault delay_request(std::chrono::milliseconds delay) {
        return {.kind = Kind::DelayRequest, .delay = delay};
    }
    static ProxyFault delay_reply(std::chrono::milliseconds delay) {
        return {.kind = Kind::DelayReply, .delay = delay};
    }
    static ProxyFault stall() { return {.kind = Kind::Stall}; }
    static ProxyFault duplicate() { return {.kind = Kind::DuplicateAfter}; }
    static ProxyFault reply(std::string text) {
        return {.kind = Kind::Reply, .text = std::move(text)};
    }
    /// A whole HTTP/1.1 answer without body: "503 Server Busy", {"Retry-After: 1"}.
    static ProxyFault http(std::string_view status, std::vector<std::string> headers = {});
};

/// What to do with the n-th request of all connections, counted from 1 in the order in which their
/// first bytes arrive; head: these bytes (of HTTP, at least the request line). Called under a lock.
using ProxyPlan = std::function<ProxyFault(int64_t n, std::string_view head)>;

class FaultProxy {
  public:
    /// Listens on a free port of 127.0.0.1 and passes on to 127.0.0.1:upstream_port. Aborts the
    /// program when it can't: without it no test means anything.
    explicit FaultProxy(uint16_t upstream_port, ProxyPlan plan = nullptr);
    /// Cuts what is open.
    ~FaultProxy();
    FaultProxy(const FaultProxy&) = delete;
    FaultProxy& operator=(const FaultProxy&) = delete;

    uint16_t port() const;
    /// Another plan from the next request on; the count starts at 1 again.
    void set_plan(ProxyPlan plan);
    /// Requests since the last plan was set, and how many of them were not passed on unharmed.
    int64_t requests() const;
    int64_t faults() const;
    /// Connections open to clients now, and the most there were.
    int64_t connections() const;
    int64_t connections_most() const;
    /// Ends all open connections at once.
    void cut_all();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

/// A plan with one fault, at the n-th request.
ProxyPlan fault_at(int64_t n, ProxyFault fault);

}  // namespace px::testing
