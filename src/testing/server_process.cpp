#include "testing/server_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <thread>
#include <utility>

namespace px::testing {
namespace {

constexpr size_t kKeptBytes = 8 * 1024;

}  // namespace

struct ServerProcess::State {
    pid_t pid = -1;
    int output = -1;
    std::string ready_line;
    std::thread reader;

    ~State() {
        if (pid > 0) {
            ::kill(pid, SIGTERM);
            const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
            while (::waitpid(pid, nullptr, WNOHANG) == 0) {
                if (std::chrono::steady_clock::now() > until) {
                    ::kill(pid, SIGKILL);
                    ::waitpid(pid, nullptr, 0);
                    break;
                }
                std::this_thread::sleep_for(std::chrono::milliseconds(5));
            }
        }
        if (reader.joinable()) reader.join();
        if (output >= 0) ::close(output);
    }
};

ServerProcess::ServerProcess(std::unique_ptr<State> state) : state_(std::move(state)) {}
ServerProcess::~ServerProcess() = default;
pid_t ServerProcess::pid() const { return state_->pid; }
const std::string& ServerProcess::ready_line() const { return state_->ready_line; }

int64_t ServerProcess::memory_peak_bytes() const {
    std::ifstream stream("/proc/" + std::to_string(state_->pid) + "/status");
    std::string word;
    while (stream >> word) {
        int64_t kilobytes = 0;
        if (word == "VmHWM:" && stream >> kilobytes) return kilobytes * 1024;
    }
    return 0;
}

Result<std::unique_ptr<ServerProcess>> ServerProcess::start(
    const std::vector<std::string>& command, std::string_view ready,
    std::chrono::milliseconds patience, const std::vector<std::string>& environment) {
    auto state = std::make_unique<State>();
    int output[2], failure[2];
    if (::pipe2(output, O_CLOEXEC) != 0 || ::pipe2(failure, O_CLOEXEC) != 0)
        return fail_errno(errno, "cannot make a pipe");
    state->output = output[0];
    // Before the fork: the child of a process with threads may only do little.
    std::vector<char*> arguments, variables;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    for (const std::string& variable : environment)
        variables.push_back(const_cast<char*>(variable.c_str()));
    for (char** variable = environ; *variable != nullptr; ++variable)
        variables.push_back(*variable);
    variables.push_back(nullptr);
    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child < 0) return fail_errno(errno, "cannot fork");
    if (child == 0) {
        // Ends with the test, however that ends.
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) ::_exit(1);
        ::dup2(output[1], 1);
        ::dup2(output[1], 2);
        const int nothing = ::open("/dev/null", O_RDONLY);
        ::dup2(nothing, 0);
        ::execvpe(arguments[0], arguments.data(), variables.data());
        const int why = errno;
        (void)!::write(failure[1], &why, sizeof why);
        ::_exit(127);
    }
    ::close(output[1]);
    ::close(failure[1]);
    state->pid = child;
    int why = 0;
    const ssize_t told = ::read(failure[0], &why, sizeof why);
    ::close(failure[0]);
    if (told == sizeof why) {
        return fail(ErrorCode::NotFound, "cannot start " + command[0] + ": " + std::strerror(why),
                    "Install what the tests need: make test (tools/setup.sh test)");
    }

    const auto until = std::chrono::steady_clock::now() + patience;
    std::string text;
    while (true) {
        for (size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos;
             begin = end + 1) {
            const std::string line = text.substr(begin, end - begin);
            if (line.find(ready) != std::string::npos) state->ready_line = line;
        }
        if (!state->ready_line.empty()) break;
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            until - std::chrono::steady_clock::now());
        pollfd file{state->output, POLLIN, 0};
        if (left.count() <= 0 || ::poll(&file, 1, static_cast<int>(left.count())) == 0) {
            return fail(ErrorCode::DeadlineExceeded,
                        command[0] + " was not ready in time; it said: " + text);
        }
        char buffer[4096];
        const ssize_t got = ::read(state->output, buffer, sizeof buffer);
        if (got <= 0) return fail(ErrorCode::Unavailable, command[0] + " ended; it said: " + text);
        text.append(buffer, static_cast<size_t>(got));
        if (text.size() > kKeptBytes) text.erase(0, text.size() - kKeptBytes);
    }
    // A server whose output nobody reads stops when the pipe is full.
    state->reader = std::thread([output = state->output] {
        char buffer[4096];
        while (::read(output, buffer, sizeof buffer) > 0) {
        }
    });
    return std::unique_ptr<ServerProcess>(new ServerProcess(std::move(state)));
}

}  // namespace px::testing
