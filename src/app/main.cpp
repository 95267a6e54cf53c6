// px: the command line. Parses, runs one command, prints its error, returns its exit code.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
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
    ::signal(SIGCHLD, SIG_DFL);  // ignored by a parent, it would hide how children end
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

/// What is wrong with a command line that does not parse, in our words; `reported` is what the
/// parser says when nothing better is known.
px::Error usage_error(CLI::App& cli, const std::vector<std::string>& words, std::string reported) {
    const auto all = [](const CLI::App*) { return true; };
    std::vector<CLI::App*> chain{&cli};  // the program, the command, its own command
    std::string called = "px";
    const auto option_of = [&](const std::string& name) -> CLI::Option* {
        for (CLI::App* app : chain) {
            if (CLI::Option* option = app->get_option_no_throw(name)) return option;
        }
        return nullptr;
    };
    const auto mistaken = [&](std::string what, const std::optional<std::string>& near) {
        if (near) what += fmt::format("; did you mean {}?", *near);
        return px::fail(
            px::ErrorCode::InvalidArgument, std::move(what),
            called == "px" ? "See px help" : fmt::format("See px help {}", called.substr(3)));
    };
    for (size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
        const std::string& word = words[i];
        if (word.size() > 1 && word[0] == '-') {
            if (std::isdigit(static_cast<unsigned char>(word[1])) != 0) continue;
            const bool is_long = word[1] == '-';
            const size_t equals = word.find('=');
            const std::string name =
                is_long ? word.substr(0, std::min(equals, word.size())) : word.substr(0, 2);
            if (const CLI::Option* option = option_of(name)) {
                const bool holds_value = is_long ? equals != std::string::npos : word.size() > 2;
                if (option->get_expected_min() > 0 && !holds_value) ++i;
                continue;
            }
            std::vector<std::string> known;
            for (const CLI::App* app : chain) {
                for (const CLI::Option* option : app->get_options()) {
                    for (const std::string& other : option->get_lnames()) known.push_back(other);
                }
            }
            std::optional<std::string> near;
            if (is_long) near = px::app::nearest(name.substr(2), known);
            return mistaken(fmt::format("unknown option {} for {}", name, called),
                            near ? std::optional("--" + *near) : std::nullopt);
        }
        const std::vector<CLI::App*> below = chain.back()->get_subcommands(all);
        if (below.empty()) continue;  // an argument
        std::vector<std::string> names;
        for (const CLI::App* app : below) names.push_back(app->get_name());
        const auto at = std::ranges::find(names, word);
        if (at == names.end()) {
            const auto near = px::app::nearest(word, names);
            const std::string before = called == "px" ? "" : called.substr(3) + " ";
            return mistaken(fmt::format("unknown command '{}{}'", before, word),
                            near ? std::optional(fmt::format("'{}{}'", before, *near)) : near);
        }
        chain.push_back(below[static_cast<size_t>(at - names.begin())]);
        called += " " + word;
    }
    if (const std::vector<CLI::App*> below = chain.back()->get_subcommands(all); !below.empty()) {
        std::string names;
        for (const CLI::App* app : below) names += (names.empty() ? "" : ", ") + app->get_name();
        return mistaken(fmt::format("{} needs a command: {}", called, names), std::nullopt);
    }
    return mistaken(fmt::format("{}: {}", called, reported), std::nullopt);
}

/// `px help COMMAND` as `px COMMAND --help`.
bool is_help(std::vector<std::string>& words) {
    const auto at = std::ranges::find_if(
        words, [](const std::string& word) { return word.empty() || word[0] != '-'; });
    if (at == words.end() || *at != "help") return false;
    words.erase(at);
    return true;
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
    std::string log_format;
    cli.add_option("-f,--file", context.file,
                   "The pipeline file (default: pipeline.yaml in this folder)");
    cli.add_flag("--json", context.json, "Print JSON on stdout");
    cli.add_flag("-q,--quiet", context.quiet, "No log lines, only results and errors");
    cli.add_option("--log-level", log_level, "debug, info, warning or error")
        ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
    cli.add_option("--log-format", log_format, "text or json")
        ->check(CLI::IsMember({"text", "json"}));
    cli.fallthrough();
    cli.footer("`px help COMMAND` tells the options of a command.");
    px::app::add_run_commands(cli, context);
    px::app::add_ask_commands(cli, context);
    px::app::add_embed_command(cli, context);
    px::app::add_eval_command(cli, context);
    px::app::add_history_commands(cli, context);
    px::app::add_migrate_command(cli, context);
    px::app::add_backup_commands(cli, context);
    px::app::add_serve_commands(cli, context);
    px::app::add_schedule_commands(cli, context);
    px::app::add_setup_commands(cli, context);
    px::app::add_export_command(cli, context);
    px::app::add_doctor_command(cli, context);

    std::vector<std::string> arguments(words + 1, words + count);
    const bool json = std::find(arguments.begin(), std::ranges::find(arguments, "--"), "--json") !=
                      std::ranges::find(arguments, "--");
    const auto refuse = [&](const px::Error& error) {
        print_error(error, json);
        return leave(px::error_traits(error.code).exit_code);
    };
    if (is_help(arguments)) {
        const CLI::App* asked = &cli;
        for (const std::string& word : arguments) {
            if (word.empty() || word[0] == '-') continue;
            const auto below = asked->get_subcommands(
                [&](const CLI::App* app) { return app->get_name() == word; });
            if (below.empty()) return refuse(usage_error(cli, arguments, "it has no commands"));
            asked = below.front();
        }
        px::app::print(asked->help(asked == &cli ? "" : "px"));
        return leave(0);
    }
    try {
        std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
        cli.parse(std::move(reversed));
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return leave(cli.exit(error, std::cout, std::cerr));
        return refuse(usage_error(cli, arguments, error.what()));
    }
    using px::log::Level;
    if (context.quiet) px::log::set_level(Level::Error);
    if (log_level == "debug") px::log::set_level(Level::Debug);
    if (log_level == "warning") px::log::set_level(Level::Warning);
    if (log_level == "error") px::log::set_level(Level::Error);

    if (log_format == "json") px::log::set_format(px::log::Format::Json);

    const px::Result<int> result = context.chosen();
    if (result) return leave(*result);
    print_error(result.error(), context.json);
    return leave(px::error_traits(result.error().code).exit_code);
}
