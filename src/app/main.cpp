// px: the command line. Parses, runs one command, prints its error, returns its exit code.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <iostream>
#include <thread>

#include "app/commands/commands.h"
#include "base/log.h"
#include "px_version.h"

namespace {

int g_signal_pipe[2] = {-1, -1};

extern "C" void on_signal(int number) {
    const char byte = static_cast<char>(number);
    [[maybe_unused]] const auto written = ::write(g_signal_pipe[1], &byte, 1);
}

/// Turns the first SIGINT/SIGTERM into a stop request; a second one ends the process at once.
void watch_signals(std::stop_source& source) {
    if (::pipe2(g_signal_pipe, O_CLOEXEC) != 0) return;
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    std::thread([&source] {
        char byte = 0;
        for (int count = 0; ::read(g_signal_pipe[0], &byte, 1) == 1; ++count) {
            if (count > 0) ::_exit(128 + byte);
            source.request_stop();
        }
    }).detach();
}

void print_error(const px::Error& error, bool json) {
    if (json) {
        std::cout << fmt::format("{{\"error\":{{\"code\":{},\"message\":{},\"hint\":{}}}}}\n",
                                 px::app::json_quote(px::error_traits(error.code).name),
                                 px::app::json_quote(error.message),
                                 px::app::json_quote(error.hint));
    }
    std::string text = "px: " + error.message;
    for (const std::string& where : error.context) text += "\n    in " + where;
    if (!error.hint.empty()) text += "\n    next: " + error.hint;
    if (error.code == px::ErrorCode::Internal) {
        text += fmt::format("\n    at {}:{}", error.origin.file_name(), error.origin.line());
    }
    std::cerr << text << "\n";
}

/// "did you mean" for a mistyped command.
std::string suggestion(const CLI::App& cli, int count, char** words) {
    std::vector<std::string> names;
    for (const CLI::App* sub : cli.get_subcommands([](const CLI::App*) { return true; }))
        names.push_back(sub->get_name());
    for (int i = 1; i < count; ++i) {
        const std::string word = words[i];
        if (word.empty() || word[0] == '-') continue;
        if (std::ranges::find(names, word) != names.end()) return {};
        const auto near = px::app::nearest(word, names);
        return near ? fmt::format("px: did you mean `px {}`?\n", *near) : std::string();
    }
    return {};
}

/// A standard stream that is closed would hand its number to the next file opened, which would then
/// be written over: it is opened so that using it fails.
void hold_standard_streams() {
    for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (::fcntl(descriptor, F_GETFD) >= 0) continue;
        [[maybe_unused]] const int held =
            ::open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    }
}

/// The exit code of a command that printed: what did not arrive was not done.
int leave(int code) {
    const px::Result<void> arrived = px::app::finish_output();
    if (arrived) return code;
    print_error(arrived.error(), false);
    return code == 0 ? 1 : code;
}

}  // namespace

int main(int count, char** words) {
    hold_standard_streams();
    static std::stop_source stop;
    watch_signals(stop);

    CLI::App cli(
        "Pipeline-X: from raw files to one atomic release, served as cited answers and SQL.", "px");
    cli.set_version_flag("--version", std::string("px ") + px::app::kVersion);
    cli.require_subcommand(1);
    px::app::CommandContext context;
    context.environment = px::app::process_environment();
    context.stop = stop.get_token();
    std::string log_level;
    cli.add_option("-f,--file", context.file,
                   "The pipeline file (default: pipeline.yaml in this folder)");
    cli.add_flag("--json", context.json, "Print JSON on stdout");
    cli.add_flag("-q,--quiet", context.quiet, "No log lines, only results and errors");
    cli.add_option("--log-level", log_level, "debug, info, warning or error")
        ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
    cli.fallthrough();
    px::app::add_run_commands(cli, context);
    px::app::add_ask_commands(cli, context);
    px::app::add_embed_command(cli, context);
    px::app::add_history_commands(cli, context);
    px::app::add_serve_commands(cli, context);
    px::app::add_setup_commands(cli, context);

    try {
        cli.parse(count, words);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return leave(cli.exit(error, std::cout, std::cerr));
        cli.exit(error, std::cerr, std::cerr);
        std::cerr << suggestion(cli, count, words);
        return 2;
    }
    using px::log::Level;
    if (context.quiet) px::log::set_level(Level::Error);
    if (log_level == "debug") px::log::set_level(Level::Debug);
    if (log_level == "warning") px::log::set_level(Level::Warning);
    if (log_level == "error") px::log::set_level(Level::Error);

    const px::Result<int> result = context.chosen();
    if (result) return leave(*result);
    print_error(result.error(), context.json);
    return leave(px::error_traits(result.error().code).exit_code);
}
