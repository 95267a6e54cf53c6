// A PostgreSQL 15 server of a test's own, on a free loopback port, gone with the test, and a relay
// in front of it that cuts the connection at a chosen message. For tests only. A server that can't
// be started ends the program: without one no test means anything.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "testing/temp_dir.h"

namespace px::testing {

/// The server takes its work over TCP with passwords (SCRAM); fsync is off. Started as the user
/// postgres (or nobody) when the test runs as root, which PostgreSQL refuses.
class PostgresServer {
  public:
    /// Of its superuser `admin`; has to be written as kPasswordInAddress.
    static constexpr std::string_view kPassword = "se/cr@t";
    static constexpr std::string_view kPasswordInAddress = "se%2Fcr%40t";

    /// settings: lines of postgresql.conf.
    explicit PostgresServer(const std::vector<std::string>& settings = {});
    ~PostgresServer();
    PostgresServer(const PostgresServer&) = delete;
    PostgresServer& operator=(const PostgresServer&) = delete;

    /// One for the whole program, started by the first call.
    static PostgresServer& shared();

    uint16_t port() const { return port_; }
    /// postgresql://admin:…@127.0.0.1:PORT/DATABASE?sslmode=disable
    std::string address(std::string_view database = "postgres") const;
    std::string address_at(uint16_t port, std::string_view database) const;
    std::filesystem::path data_folder() const { return folder_.path() / "data"; }

    void start();
    /// Open sessions are ended, then the server shuts down.
    void stop();
    /// As after a power cut: no shutdown, recovery at the next start.
    void crash();
    bool runs() const { return process_ > 0; }
    /// A file in the data folder that the server's user may read.
    void write_data_file(const std::string& name, std::string_view bytes);

  private:
    void launch();
    void end(int signal);

    TempDir folder_;
    uint16_t port_ = 0;
    pid_t process_ = -1;
};

/// Relays the connections to a server and breaks one of them when told.
class PostgresRelay {
  public:
    enum class Cut {
        Before,     ///< the message does not reach the server
        LoseReply,  ///< it does, and its effect is done; the client gets nothing
        TornReply,  ///< likewise, and the client gets half of the reply
    };
    explicit PostgresRelay(uint16_t server_port);
    ~PostgresRelay();
    PostgresRelay(const PostgresRelay&) = delete;
    PostgresRelay& operator=(const PostgresRelay&) = delete;

    uint16_t port() const { return port_; }
    /// Breaks the connection at the nth message from now on (1: the next), once.
    void cut_at(int64_t message, Cut cut);
    /// From the cut on nobody is let through.
    void refuse_after_cut() { refuses_ = true; }
    /// Messages since cut_at: log-in, statements, chunks of a COPY.
    int64_t messages() const { return messages_; }
    bool has_cut() const { return has_cut_; }
    /// Replaces bytes in what the server says; both texts of one length.
    void falsify(std::string from, std::string to);

  private:
    struct Link;
    void serve();
    bool from_client(Link& link);
    bool from_server(Link& link);

    uint16_t server_port_, port_ = 0;
    int listener_ = -1;
    std::atomic<bool> stopped_{false}, has_cut_{false}, refuses_{false};
    std::atomic<int64_t> messages_{0};
    std::mutex mutex_;
    int64_t cut_message_ = 0;
    Cut cut_ = Cut::Before;
    std::string from_, to_;
    std::thread thread_;
};

}  // namespace px::testing
