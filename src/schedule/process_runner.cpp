#include "schedule/process_runner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>
#include <vector>

#include "base/log.h"

namespace px::schedule {

namespace {

/// The moment a process began, in clock ticks since the machine's start: a pid that was given to
/// another one has another. nullopt: there is no such process, or it has ended already.
std::optional<std::string> start_of(pid_t pid) {
    std::ifstream in(fmt::format("/proc/{}/stat", pid));
    std::string text;
    if (!std::getline(in, text)) return std::nullopt;
    const size_t name_end = text.rfind(')');  // the name may hold anything
    if (name_end == std::string::npos || name_end + 2 >= text.size()) return std::nullopt;
    if (text[name_end + 2] == 'Z' || text[name_end + 2] == 'X') return std::nullopt;
    size_t at = name_end + 2;
    for (int field = 3; field < 22; ++field) {
        at = text.find(' ', at);
        if (at == std::string::npos) return std::nullopt;
        ++at;
    }
    return text.substr(at, text.find(' ', at) - at);
}

/// "host:boot:pid:start" taken apart.
struct ProcessName {
    std::string host, boot, start;
    pid_t pid = 0;
};

std::optional<ProcessName> parse_process(std::string_view name) {
    std::array<std::string_view, 4> parts;
    for (size_t i = 0; i < parts.size(); ++i) {
        const size_t colon = i + 1 < parts.size() ? name.find(':') : name.size();
        if (colon == std::string_view::npos) return std::nullopt;
        parts.at(i) = name.substr(0, colon);
        name.remove_prefix(std::min(colon + 1, name.size()));
    }
    ProcessName process{std::string(parts[0]), std::string(parts[1]), std::string(parts[3])};
    std::from_chars(parts[2].data(), parts[2].data() + parts[2].size(), process.pid);
    if (process.pid <= 1) return std::nullopt;
    return process;
}

std::string boot_id() {
    std::ifstream in("/proc/sys/kernel/random/boot_id");
    std::string id;
    std::getline(in, id);
    id.erase(std::remove(id.begin(), id.end(), '-'), id.end());
    return id.substr(0, 12);
}

/// Where a process id means one process: the machine, by more than its name, which two may share,
/// and the container on it.
std::string host_name() {
    std::array<char, 256> name{};
    ::gethostname(name.data(), name.size() - 1);
    std::ifstream in("/etc/machine-id");
    std::string machine;
    std::getline(in, machine);
    struct stat space {};
    const bool known = ::stat("/proc/self/ns/pid", &space) == 0;
    std::string host =
        fmt::format("{}/{}/{}", name.data(), machine.substr(0, 8), known ? space.st_ino : ino_t{0});
    std::ranges::replace(host, ':', '_');
    return host;
}

class Descriptor {
  public:
    explicit Descriptor(int fd = -1) : fd_(fd) {}
    ~Descriptor() { reset(); }
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        if (this != &other) {
            reset();
            fd_ = std::exchange(other.fd_, -1);
        }
        return *this;
    }
    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    void reset() {
        if (fd_ >= 0) ::close(fd_);
        fd_ = -1;
    }

  private:
    int fd_;
};

constexpr size_t kLastLineMax = 64 << 10;
constexpr std::chrono::microseconds kDrainTick{20'000};

}  // namespace

std::string process_name(pid_t pid) {
    return fmt::format("{}:{}:{}:{}", host_name(), boot_id(), pid, start_of(pid).value_or("0"));
}

std::string this_process() { return process_name(::getpid()); }

std::optional<bool> is_process_alive(const std::string& name) {
    const std::optional<ProcessName> process = parse_process(name);
    if (!process || process->host != host_name()) return std::nullopt;
    const std::string boot = boot_id();
    if (boot.empty() || process->boot.empty()) return std::nullopt;  // /proc does not show it
    if (process->boot != boot) return false;
    return start_of(process->pid) == process->start;
}

/// A running child. Its output comes through a pipe, so that the log has a bound, the disk may be
/// full, and the last line is at hand.
struct ProcessRunner::Child {
    pid_t pid = -1;
    Descriptor output;
    Descriptor log;
    int64_t log_bytes = 0;
    int64_t log_bytes_max = 0;
    bool log_failed = false;
    std::string line;       // the one being read
    std::string last_json;  // the last one that began with {

    void write_log(std::string_view bytes) {
        if (!log || log_failed) return;
        if (log_bytes_max > 0 && log_bytes + static_cast<int64_t>(bytes.size()) > log_bytes_max) {
            static constexpr std::string_view kCut = "\n[the log is cut here: it is full]\n";
            log_failed = true;
            [[maybe_unused]] const auto cut = ::write(log.get(), kCut.data(), kCut.size());
            return;
        }
        while (!bytes.empty()) {
            const ssize_t written = ::write(log.get(), bytes.data(), bytes.size());
            if (written < 0 && errno == EINTR) continue;
            if (written <= 0) {
                log_failed = true;
                log::warning("schedule.log_lost",
                             {{"error", std::strerror(errno)}});  // NOLINT(concurrency-mt-unsafe)
                return;
            }
            log_bytes += written;
            bytes.remove_prefix(static_cast<size_t>(written));
        }
    }

    void take(std::string_view bytes) {
        write_log(bytes);
        while (!bytes.empty()) {
            const size_t end = bytes.find('\n');
            const std::string_view part = bytes.substr(0, end);
            if (line.size() + part.size() <= kLastLineMax) line += part;
            if (end == std::string_view::npos) return;
            if (line.starts_with('{')) last_json = line;
            line.clear();
            bytes.remove_prefix(end + 1);
        }
    }

    void drain() {
        std::array<char, 64 << 10> buffer;
        while (output) {
            const ssize_t got = ::read(output.get(), buffer.data(), buffer.size());
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) {
                if (got == 0) output.reset();
                return;
            }
            take({buffer.data(), static_cast<size_t>(got)});
        }
    }
};

ProcessRunner::ProcessRunner() = default;
ProcessRunner::~ProcessRunner() = default;

Result<std::string> ProcessRunner::start(
    const Command& command, const std::function<Result<void>(const std::string& child)>& announce) {
    auto child = std::make_unique<Child>();
    child->log_bytes_max = command.log_bytes_max;
    if (!command.log_file.empty()) {
        std::error_code code;
        const std::filesystem::path file = command.log_file;
        std::filesystem::create_directories(file.parent_path(), code);
        child->log =
            Descriptor(::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
        if (!child->log) {  // a run is worth more than its log
            log::warning("schedule.log_lost",
                         {{"file", command.log_file},
                          {"error", std::strerror(errno)}});  // NOLINT(concurrency-mt-unsafe)
        }
    }
    std::array<int, 2> output{}, gate{};
    if (::pipe2(output.data(), O_CLOEXEC) != 0)
        return fail_errno(errno, "cannot make a pipe for a run");
    child->output = Descriptor(output[0]);
    Descriptor output_end(output[1]);
    if (::pipe2(gate.data(), O_CLOEXEC) != 0)
        return fail_errno(errno, "cannot make a pipe for a run");
    Descriptor gate_reader(gate[0]);
    Descriptor gate_writer(gate[1]);
    (void)::fcntl(child->output.get(), F_SETFL, O_NONBLOCK);

    std::vector<char*> words;
    for (const std::string& word : command.words) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    Descriptor null_input(null);

    const pid_t pid = ::fork();
    if (pid < 0) return fail_errno(errno, "cannot start a process for a run");
    if (pid == 0) {
        // Only calls that are safe between fork and exec.
        ::setpgid(0, 0);
        ::close(gate_writer.get());
        char go = 0;
        ssize_t got = 0;
        do {
            got = ::read(gate_reader.get(), &go, 1);
        } while (got < 0 && errno == EINTR);
        if (got != 1) ::_exit(126);  // nobody knows of this process: it must not work
        if (null >= 0) ::dup2(null, STDIN_FILENO);
        ::dup2(output_end.get(), STDOUT_FILENO);
        ::dup2(output_end.get(), STDERR_FILENO);
        struct sigaction plain {};
        plain.sa_handler = SIG_DFL;
        for (const int number : {SIGINT, SIGTERM, SIGPIPE, SIGCHLD})
            ::sigaction(number, &plain, nullptr);
        sigset_t none;
        ::sigemptyset(&none);
        ::sigprocmask(SIG_SETMASK, &none, nullptr);
        ::execv(words[0], words.data());
        ::_exit(errno == ENOENT ? 127 : 126);
    }
    ::setpgid(pid, pid);
    child->pid = pid;
    const std::string name = process_name(pid);
    const Result<void> announced = announce(name);
    if (!announced) {
        gate_writer.reset();
        int status = 0;
        ::waitpid(pid, &status, 0);
        return announced.error();
    }
    [[maybe_unused]] const auto opened = ::write(gate_writer.get(), "g", 1);
    children_.emplace(name, std::move(child));
    return name;
}

std::optional<Exit> ProcessRunner::poll(const std::string& name) {
    const auto at = children_.find(name);
    if (at == children_.end()) {
        if (is_process_alive(name).value_or(false)) return std::nullopt;
        Exit gone;
        gone.unknown = true;
        return gone;
    }
    Child& child = *at->second;
    child.drain();
    int status = 0;
    const pid_t ended = ::waitpid(child.pid, &status, WNOHANG);
    if (ended == 0) return std::nullopt;
    child.drain();
    if (child.line.starts_with('{')) child.last_json = child.line;
    Exit exit;
    if (ended < 0) {
        exit.unknown = true;
    } else if (WIFSIGNALED(status)) {
        exit.signal = WTERMSIG(status);
    } else {
        exit.code = WEXITSTATUS(status);
    }
    exit.last_line = std::move(child.last_json);
    children_.erase(at);
    return exit;
}

void ProcessRunner::terminate(const std::string& name, bool by_force) {
    if (!children_.contains(name) && !is_process_alive(name).value_or(false)) return;
    const std::optional<ProcessName> process = parse_process(name);
    if (process) ::kill(-process->pid, by_force ? SIGKILL : SIGTERM);
}

void ProcessRunner::wait(std::chrono::microseconds time, std::stop_token stop) {
    std::array<int, 2> wake{};
    if (::pipe2(wake.data(), O_CLOEXEC | O_NONBLOCK) != 0) return;
    const Descriptor reader(wake[0]);
    const Descriptor writer(wake[1]);
    const std::stop_callback on_stop(
        stop, [&] { [[maybe_unused]] const auto woken = ::write(writer.get(), "s", 1); });
    if (stop.stop_requested() && time > kDrainTick) time = kDrainTick;
    std::vector<pollfd> fds;
    if (!stop.stop_requested()) fds.push_back({reader.get(), POLLIN, 0});
    for (const auto& [name, child] : children_) {
        if (child->output) {
            fds.push_back({child->output.get(), POLLIN, 0});
        } else {
            time = std::min(time, kDrainTick);  // nothing tells of its end
        }
    }
    const auto ms = std::clamp<int64_t>((time.count() + 999) / 1'000, 1, 60'000);
    (void)::poll(fds.data(), fds.size(), static_cast<int>(ms));
}

}  // namespace px::schedule
