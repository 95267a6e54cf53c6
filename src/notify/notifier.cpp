#include "notify/notifier.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "base/log.h"
#include "capi/curl/http_client.h"
#include "capi/curl/mail.h"

extern char** environ;

namespace px::notify {

namespace json = boost::json;
using std::chrono::steady_clock;

namespace {

constexpr std::array<std::string_view, 3> kNames = {"failure", "halt", "recovery"};

Result<void> post(const Options& options, const std::string& text) {
    capi::curl::HttpClientOptions http;
    http.connections_max = 1;
    http.connect_timeout = options.timeout;
    http.request_timeout = options.timeout;
    http.body_bytes_max = 64 << 10;
    capi::curl::HttpClient client(http);
    capi::curl::HttpRequest request;
    request.method = "POST";
    request.url = options.webhook_url;
    request.headers = {{"Content-Type", "application/json"}};
    request.body = text;
    const capi::curl::HttpResponse response = client.send(request);
    if (response.ok()) return {};
    if (response.failure) return response.error;
    return fail(response.status >= 500 || response.status == 429 ? ErrorCode::Unavailable
                                                                 : ErrorCode::InvalidArgument,
                fmt::format("{} answered {}", capi::curl::url_origin(options.webhook_url),
                            response.status));
}

/// The program with the text on its stdin; it has `timeout`, or as long as `may_go_on` says so, and
/// is killed then.
Result<void> call(const Options& options, const std::string& text,
                  const std::function<bool()>& may_go_on) {
    std::array<int, 2> input{};
    if (::pipe2(input.data(), O_CLOEXEC) != 0) return fail_errno(errno, "cannot make a pipe");
    (void)::fcntl(input[1], F_SETFL, O_NONBLOCK);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input[0], STDIN_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t defaults;
    ::sigemptyset(&defaults);
    for (const int number : {SIGPIPE, SIGTERM, SIGINT}) ::sigaddset(&defaults, number);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    std::vector<char*> words;
    for (const std::string& word : options.command)
        words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    pid_t pid = 0;
    const int spawned =
        ::posix_spawnp(&pid, words[0], &actions, &attributes, words.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    ::close(input[0]);
    if (spawned != 0) {
        ::close(input[1]);
        return fail_errno(spawned, "cannot start " + options.command[0]);
    }
    const auto until = steady_clock::now() + options.timeout;
    size_t written = 0;
    int status = 0;
    bool open = true;
    while (true) {
        if (open) {
            const ssize_t count = ::write(input[1], text.data() + written, text.size() - written);
            if (count > 0) written += static_cast<size_t>(count);
            if (written == text.size() || (count < 0 && errno != EAGAIN && errno != EINTR)) {
                ::close(input[1]);
                open = false;
            }
        }
        const pid_t ended = ::waitpid(pid, &status, WNOHANG);
        if (ended != 0) break;
        const bool late = steady_clock::now() > until;
        if (late || !may_go_on()) {
            ::kill(-pid, SIGKILL);
            ::waitpid(pid, &status, 0);
            if (open) ::close(input[1]);
            return fail(ErrorCode::DeadlineExceeded,
                        late ? fmt::format("{} took longer than {} ms", options.command[0],
                                           options.timeout.count())
                             : fmt::format("{} was still busy when px ended", options.command[0]));
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    if (open) ::close(input[1]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
    return fail(ErrorCode::Unavailable,
                fmt::format("{} ended with {}", options.command[0],
                            WIFEXITED(status) ? fmt::format("exit code {}", WEXITSTATUS(status))
                                              : fmt::format("signal {}", WTERMSIG(status))));
}

Result<void> mail(const Options& options, const Message& message) {
    capi::curl::Mail letter;
    letter.url = options.smtp_url;
    letter.from = options.mail_from;
    letter.to = options.mail_to;
    letter.subject = message_subject(message);
    letter.text = fmt::format(
        "{}\n\n{}\n\npipeline   {}\nds         {}\nrun        {}\nitem       {}\nattempt    {}\n"
        "exit code  {}\ntime       {}\n{}\nSee px logs {} and px schedule status.\n",
        letter.subject, without_secrets(message.text), message.pipeline, message.ds,
        message.run_id.empty() ? "-" : message.run_id, message.item, message.attempt,
        message.exit_code ? std::to_string(*message.exit_code) : "-", format_timestamp(message.at),
        message.suppressed > 0
            ? fmt::format("\n{} messages of this kind were held back.\n", message.suppressed)
            : "",
        message.item);
    letter.date = message.at;
    letter.timeout = options.timeout;
    return capi::curl::send_mail(letter);
}

}  // namespace

std::string_view name_of(Kind kind) { return kNames.at(static_cast<size_t>(kind)); }

std::optional<Kind> parse_kind(std::string_view name) {
    for (size_t i = 0; i < kNames.size(); ++i) {
        if (kNames.at(i) == name) return static_cast<Kind>(i);
    }
    return std::nullopt;
}

Result<void> Options::validate() const {
    const auto wrong = [](const char* what, const char* hint) {
        return fail(ErrorCode::InvalidArgument, what, hint);
    };
    if (!webhook_url.empty() && !webhook_url.starts_with("http://") &&
        !webhook_url.starts_with("https://"))
        return wrong("the webhook's address is no http address", "Write https://…");
    if (!smtp_url.empty() && !smtp_url.starts_with("smtp://") && !smtp_url.starts_with("smtps://"))
        return wrong("the mail server's address is no smtp address",
                     "Write smtp://HOST:587 or smtps://HOST");
    if (!smtp_url.empty() && (mail_from.empty() || mail_to.empty()))
        return wrong("an e-mail needs 'from' and 'to'", "Write name@example.org");
    if (!command.empty() && command[0].empty())
        return wrong("the command is empty", "Name a program");
    if (attempts < 1 || queue_max < 1 || timeout.count() < 1)
        return wrong("attempts, queue and time-out must be positive", "");
    return {};
}

std::string without_secrets(std::string_view text) {
    std::string clean;
    size_t at = 0;
    while (at < text.size()) {
        const size_t scheme = text.find("://", at);
        if (scheme == std::string_view::npos) break;
        const size_t begin = scheme + 3;
        const size_t end = std::min(text.find_first_of(" \t\n'\"<>()", begin), text.size());
        std::string_view url = text.substr(begin, end - begin);
        clean += text.substr(at, begin - at);
        const size_t query = url.find_first_of("?#");
        const std::string_view path = url.substr(0, query);
        if (const size_t user = path.rfind('@'); user != std::string_view::npos) {
            clean += "***";
            clean += path.substr(user);
        } else {
            clean += path;
        }
        if (query != std::string_view::npos) clean += "?***";
        at = end;
    }
    if (at < text.size()) clean += text.substr(at);
    return clean;
}

std::string message_subject(const Message& message) {
    const char* const what = message.kind == Kind::Failure ? "failed"
                             : message.kind == Kind::Halt  ? "was halted by its gate"
                                                           : "works again";
    return fmt::format("px: pipeline {} {} for {}", message.pipeline, what, message.ds);
}

std::string message_json(const Message& message) {
    return json::serialize(json::object{
        {"event", name_of(message.kind)},
        {"pipeline", message.pipeline},
        {"ds", message.ds},
        {"run_id", message.run_id},
        {"item", message.item},
        {"attempt", message.attempt},
        {"exit_code", message.exit_code ? json::value(*message.exit_code) : json::value()},
        {"subject", message_subject(message)},
        {"message", without_secrets(message.text)},
        {"at", format_timestamp(message.at)},
        {"suppressed", message.suppressed}});
}

/// Shared with the thread, which may outlive the Notifier by one attempt.
struct Notifier::State {
    Options options;
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<Message> queue;
    std::map<Kind, steady_clock::time_point> last;
    std::map<Kind, int64_t> suppressed;
    bool ending = false;
    steady_clock::time_point end_by;
    bool command_runs = false;
    bool done = false;

    Result<void> run_command(const std::string& text) {
        std::unique_lock lock(mutex);
        command_runs = true;
        lock.unlock();
        Result<void> called = call(options, text, [this] { return may_go_on(); });
        lock.lock();
        command_runs = false;
        changed.notify_all();
        return called;
    }

    bool may_go_on() {
        const std::lock_guard lock(mutex);
        return !ending || steady_clock::now() < end_by;
    }

    void deliver(const Message& message) {
        const std::string text = message_json(message);
        using Way = std::pair<const char*, std::function<Result<void>()>>;
        std::vector<Way> ways;
        if (!options.webhook_url.empty())
            ways.emplace_back("webhook", [&] { return post(options, text); });
        if (!options.command.empty())
            ways.emplace_back("command", [&] { return run_command(text); });
        if (!options.smtp_url.empty())
            ways.emplace_back("smtp", [&] { return mail(options, message); });
        for (const auto& [name, send] : ways) {
            std::chrono::milliseconds pause = options.pause;
            for (int attempt = 1; may_go_on(); ++attempt) {
                const Result<void> sent = send();
                if (sent) {
                    log::info("notify.sent", {{"way", name},
                                              {"event", name_of(message.kind)},
                                              {"pipeline", message.pipeline}});
                    break;
                }
                const bool again =
                    attempt < options.attempts && error_traits(sent.error().code).retryable;
                log::warning("notify.failed", {{"way", name},
                                               {"event", name_of(message.kind)},
                                               {"attempt", attempt},
                                               {"again", again},
                                               {"error", without_secrets(sent.error().message)}});
                if (!again) break;
                std::unique_lock lock(mutex);
                changed.wait_for(lock, pause, [&] { return ending; });
                pause *= 2;
            }
        }
    }

    void work() {
        std::unique_lock lock(mutex);
        while (true) {
            changed.wait(lock, [&] { return ending || !queue.empty(); });
            if (queue.empty() || (ending && steady_clock::now() >= end_by)) break;
            const Message message = std::move(queue.front());
            queue.pop_front();
            lock.unlock();
            deliver(message);
            lock.lock();
        }
        done = true;
        changed.notify_all();
    }
};

Notifier::Notifier(Options options) : state_(std::make_shared<State>()) {
    state_->options = std::move(options);
    std::thread([state = state_] { state->work(); }).detach();
}

Notifier::~Notifier() {
    std::unique_lock lock(state_->mutex);
    state_->ending = true;
    state_->end_by = steady_clock::now() + state_->options.end_timeout;
    state_->changed.notify_all();
    state_->changed.wait_until(lock, state_->end_by, [&] { return state_->done; });
    // A command is killed at end_by; nothing px started stays behind it.
    state_->changed.wait_for(lock, std::chrono::seconds(5),
                             [&] { return state_->done || !state_->command_runs; });
}

void Notifier::send(Message message) {
    const std::lock_guard lock(state_->mutex);
    const Options& options = state_->options;
    if (options.empty() || !options.kinds.contains(message.kind) || state_->ending) return;
    const auto now = steady_clock::now();
    const auto last = state_->last.find(message.kind);
    if (last != state_->last.end() && now - last->second < options.at_most_every) {
        ++state_->suppressed[message.kind];
        return;
    }
    if (state_->queue.size() >= options.queue_max) {
        log::warning("notify.dropped", {{"pipeline", message.pipeline}});
        return;
    }
    state_->last[message.kind] = now;
    message.suppressed = std::exchange(state_->suppressed[message.kind], 0);
    state_->queue.push_back(std::move(message));
    state_->changed.notify_all();
}

}  // namespace px::notify
