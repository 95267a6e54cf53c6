#include "testing/postgres_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>

namespace px::testing {
namespace {

constexpr const char* kPrograms = "/usr/lib/postgresql/15/bin/";

[[noreturn]] void give_up(const std::string& what) {
    std::fprintf(stderr, "test set-up: %s\n", what.c_str());
    std::abort();
}

std::string text_of(const std::filesystem::path& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

/// Whom the server runs as: PostgreSQL refuses root.
std::optional<passwd> other_user() {
    if (::geteuid() != 0) return std::nullopt;
    for (const char* name : {"postgres", "nobody"}) {
        if (const passwd* user = ::getpwnam(name)) return *user;
    }
    give_up("PostgreSQL can't run as root and there is no user postgres; install postgresql-15");
}

void give_to(const std::filesystem::path& path) {
    const std::optional<passwd> user = other_user();
    if (user && ::chown(path.c_str(), user->pw_uid, user->pw_gid) != 0)
        give_up("cannot change the owner of " + path.string());
}

/// Starts a program that dies with this thread; its output goes to log.
pid_t spawn(const std::vector<std::string>& words, const std::filesystem::path& log) {
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    const std::optional<passwd> user = other_user();
    const int output = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    std::array<char*, 3> environment = {const_cast<char*>("LC_ALL=C.UTF-8"),
                                        const_cast<char*>("PATH=/usr/bin:/bin"), nullptr};
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child < 0) give_up("cannot fork");
    if (child > 0) {
        ::close(output);
        return child;
    }
    ::dup2(output, 1);
    ::dup2(output, 2);
    ::setsid();  // Ctrl-C is for the test, which then ends the server
    if (user && (::setgroups(0, nullptr) != 0 || ::setgid(user->pw_gid) != 0 ||
                 ::setuid(user->pw_uid) != 0))
        ::_exit(126);
    ::prctl(PR_SET_PDEATHSIG, SIGQUIT);
    if (::getppid() != parent) ::_exit(126);
    ::execve(arguments[0], arguments.data(), environment.data());
    ::_exit(127);
}

int listen_on_free_port(uint16_t& port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(fd, 64) != 0 ||
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
        give_up("cannot listen on the loopback");
    port = ntohs(address.sin_port);
    return fd;
}

void send_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent <= 0) return;  // the other end is gone: its reader notices
        bytes.remove_prefix(static_cast<size_t>(sent));
    }
}

uint32_t length_at(std::string_view bytes, size_t at) {
    uint32_t length = 0;
    for (size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<unsigned char>(bytes[at + i]);
    return length;
}

}  // namespace

// -------------------------------------------------------------------- server

PostgresServer::PostgresServer(const std::vector<std::string>& settings) {
    if (::access((std::string(kPrograms) + "initdb").c_str(), X_OK) != 0)
        give_up(std::string("no PostgreSQL 15 in ") + kPrograms +
                "; run tools/setup.sh test (Debian package postgresql-15)");
    give_to(folder_.path());
    const std::filesystem::path password = folder_ / "password";
    write_file(password, std::string(kPassword) + "\n");
    give_to(password);
    const std::filesystem::path log = folder_ / "initdb.log";
    const pid_t made =
        spawn({std::string(kPrograms) + "initdb", "-D", data_folder().string(), "-U", "admin",
               "--auth=scram-sha-256", "--pwfile=" + password.string(), "--encoding=UTF8",
               "--locale=C.UTF-8", "--no-sync", "--no-instructions"},
              log);
    int status = 0;
    ::waitpid(made, &status, 0);
    if (status != 0) give_up("initdb failed:\n" + text_of(log));
    std::string configuration =
        "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n"
        "full_page_writes = off\nmax_connections = 60\nshared_buffers = 32MB\n"
        "max_parallel_workers = 0\nautovacuum = off\nlogging_collector = off\n"
        "temp_file_limit = 1GB\n";
    for (const std::string& line : settings) configuration += line + "\n";
    std::ofstream(data_folder() / "postgresql.conf", std::ios::app) << configuration;
    for (int attempt = 0; attempt < 5 && !runs(); ++attempt) {
        ::close(listen_on_free_port(port_));  // another program may take it meanwhile
        launch();
    }
    if (!runs()) give_up("PostgreSQL does not start:\n" + text_of(folder_ / "server.log"));
}

PostgresServer::~PostgresServer() { end(SIGQUIT); }

PostgresServer& PostgresServer::shared() {
    static PostgresServer server;
    return server;
}

std::string PostgresServer::address(std::string_view database) const {
    return address_at(port_, database);
}

std::string PostgresServer::address_at(uint16_t port, std::string_view database) const {
    return "postgresql://admin:" + std::string(kPasswordInAddress) +
           "@127.0.0.1:" + std::to_string(port) + "/" + std::string(database) + "?sslmode=disable";
}

void PostgresServer::launch() {
    const std::filesystem::path log = folder_ / "server.log",
                                state = data_folder() / "postmaster.pid";
    process_ = spawn({std::string(kPrograms) + "postgres", "-D", data_folder().string(), "-p",
                      std::to_string(port_)},
                     log);
    // The eighth line of postmaster.pid tells how far it is.
    for (int i = 0; i < 6000; ++i) {
        int status = 0;
        if (::waitpid(process_, &status, WNOHANG) == process_) {
            process_ = -1;
            return;
        }
        const std::string text = text_of(state);
        if (text.starts_with(std::to_string(process_) + "\n") &&
            (text.find("ready") != std::string::npos))
            return;
        ::usleep(10'000);
    }
    end(SIGQUIT);
}

void PostgresServer::start() {
    launch();
    if (!runs()) give_up("PostgreSQL does not start again:\n" + text_of(folder_ / "server.log"));
}

void PostgresServer::end(int signal) {
    if (!runs()) return;
    ::kill(process_, signal);
    int status = 0;
    ::waitpid(process_, &status, 0);
    process_ = -1;
}

void PostgresServer::stop() { end(SIGINT); }
void PostgresServer::crash() { end(SIGQUIT); }

void PostgresServer::write_data_file(const std::string& name, std::string_view bytes) {
    write_file(data_folder() / name, bytes);
    ::chmod((data_folder() / name).c_str(), 0600);
    give_to(data_folder() / name);
}

// --------------------------------------------------------------------- relay

struct PostgresRelay::Link {
    int client = -1, server = -1;
    std::string asked, told;  // bytes of messages that are not whole yet
    bool greeted = false;     // the start-up packet, which has no type, is through
    bool breaks = false;      // after the reply that is on its way
    std::string reply;        // kept back meanwhile
    ~Link() {
        ::close(client);
        ::close(server);
    }
};

PostgresRelay::PostgresRelay(uint16_t server_port) : server_port_(server_port) {
    listener_ = listen_on_free_port(port_);
    thread_ = std::thread([this] { serve(); });
}

PostgresRelay::~PostgresRelay() {
    stopped_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
}

void PostgresRelay::cut_at(int64_t message, Cut cut) {
    const std::lock_guard lock(mutex_);
    messages_ = 0;
    has_cut_ = false;
    cut_message_ = message;
    cut_ = cut;
}

void PostgresRelay::falsify(std::string from, std::string to) {
    const std::lock_guard lock(mutex_);
    from_ = std::move(from);
    to_ = std::move(to);
}

void PostgresRelay::serve() {
    std::vector<std::unique_ptr<Link>> links;
    while (!stopped_) {
        std::vector<pollfd> sockets = {{listener_, POLLIN, 0}};
        for (const auto& link : links) {
            sockets.push_back({link->client, POLLIN, 0});
            sockets.push_back({link->server, POLLIN, 0});
        }
        if (::poll(sockets.data(), sockets.size(), 100) <= 0) continue;
        std::vector<std::unique_ptr<Link>> kept;
        for (size_t i = 0; i < links.size(); ++i) {
            Link& link = *links[i];
            bool goes_on = true;
            if (sockets[2 * i + 1].revents != 0) goes_on = from_client(link);
            if (goes_on && sockets[2 * i + 2].revents != 0) goes_on = from_server(link);
            if (goes_on) kept.push_back(std::move(links[i]));
        }
        links = std::move(kept);
        if ((sockets[0].revents & POLLIN) == 0) continue;
        auto link = std::make_unique<Link>();
        link->client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        link->server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(server_port_);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (link->client >= 0 && !(refuses_ && has_cut_) &&
            ::connect(link->server, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
            // Small messages must not wait for acknowledgements.
            const int on = 1;
            for (const int fd : {link->client, link->server})
                ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            links.push_back(std::move(link));
        }
    }
}

bool PostgresRelay::from_client(Link& link) {
    std::array<char, 1 << 16> bytes;
    const ssize_t got = ::recv(link.client, bytes.data(), bytes.size(), 0);
    if (got <= 0) return false;
    link.asked.append(bytes.data(), static_cast<size_t>(got));
    for (;;) {
        const size_t head = link.greeted ? 1 : 0;
        if (link.asked.size() < head + 4) return true;
        const size_t size = head + length_at(link.asked, head);
        if (link.asked.size() < size) return true;
        const char type = link.greeted ? link.asked[0] : 'p';
        link.greeted = true;
        const std::string message = link.asked.substr(0, size);
        link.asked.erase(0, size);
        bool breaks = false;
        Cut cut = Cut::Before;
        if (std::string_view("pQSdc").find(type) != std::string_view::npos) {
            const std::lock_guard lock(mutex_);
            ++messages_;
            breaks = messages_ == cut_message_;
            cut = cut_;
        }
        if (breaks) has_cut_ = true;
        if (breaks && cut == Cut::Before) return false;
        send_all(link.server, message);
        if (breaks && (type == 'd' || type == 'p')) return false;  // nothing answers these
        link.breaks = link.breaks || breaks;
    }
}

bool PostgresRelay::from_server(Link& link) {
    std::array<char, 1 << 16> bytes;
    const ssize_t got = ::recv(link.server, bytes.data(), bytes.size(), 0);
    if (got <= 0) return false;
    std::string said(bytes.data(), static_cast<size_t>(got));
    Cut cut;
    {
        const std::lock_guard lock(mutex_);
        cut = cut_;
        for (size_t at = 0; !from_.empty() && (at = said.find(from_, at)) != std::string::npos;)
            said.replace(at, from_.size(), to_);
    }
    if (!link.breaks) {
        send_all(link.client, said);
        return true;
    }
    // Ready for the next statement (Z), or for the rows of a COPY (G): all that was asked is done.
    link.reply += said;
    link.told += said;
    while (link.told.size() >= 5) {
        const size_t size = 1 + length_at(link.told, 1);
        if (link.told.size() < size) return true;
        if (link.told[0] == 'Z' || link.told[0] == 'G') {
            if (cut == Cut::TornReply)
                send_all(link.client,
                         std::string_view(link.reply).substr(0, link.reply.size() / 2));
            return false;
        }
        link.told.erase(0, size);
    }
    return true;
}

}  // namespace px::testing
