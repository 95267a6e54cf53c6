// The commands of px: each adds itself to the command line and returns an exit code when it ran.
// Rank 6. stdout carries data, stderr logs and messages; --json prints one JSON value (or JSON
// lines) on stdout.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "answer/access.h"
#include "app/config.h"
#include "app/wire.h"

namespace px::app {

/// Exit codes besides those of error_traits().
inline constexpr int kExitDone = 0;
inline constexpr int kExitHalted = 3;
inline constexpr int kExitNothingToDo = 99;

/// What every command shares.
struct CommandContext {
    Environment environment;
    std::optional<std::string> file;  ///< --file
    bool json = false;                ///< --json
    bool quiet = false;               ///< --quiet
    /// --as-groups: see what a member of these groups may see, nothing else.
    std::optional<std::string> as_groups;
    std::stop_token stop;  ///< SIGINT, SIGTERM
    /// Set by the command that was chosen; main runs it.
    std::function<Result<int>()> chosen;

    Result<std::unique_ptr<App>> open_app() const;
    /// Who asks on the command line: everything, or what --as-groups says.
    answer::Access access() const;
    Deadline deadline() const { return {std::chrono::steady_clock::time_point::max(), stop}; }
};

void add_run_commands(CLI::App& cli, CommandContext& context);   // run plan graph
void add_ask_commands(CLI::App& cli, CommandContext& context);   // ask search sql verify
void add_embed_command(CLI::App& cli, CommandContext& context);  // embed
void add_eval_command(CLI::App& cli, CommandContext& context);   // eval
void add_history_commands(
    CLI::App& cli, CommandContext& context);  // status runs releases tables quarantine vacuum
void add_migrate_command(CLI::App& cli, CommandContext& context);  // migrate
void add_backup_commands(CLI::App& cli, CommandContext& context);  // backup restore
void add_serve_commands(CLI::App& cli, CommandContext& context);   // serve up
void add_schedule_commands(
    CLI::App& cli, CommandContext& context);  // schedule trigger pause resume cancel backfill logs
void add_setup_commands(CLI::App& cli,
                        CommandContext& context);                 // init config completion
void add_export_command(CLI::App& cli, CommandContext& context);  // export airflow
void add_doctor_command(CLI::App& cli, CommandContext& context);  // doctor

/// --as-groups, for commands that read rows of a release.
void add_as_groups(CLI::App& command, CommandContext& context);

/// Today in UTC.
std::string today(const Clock& clock);
/// Writes to stdout. What went wrong is told by finish_output().
void print(std::string_view text);
/// Flushes stdout. Errors: ResourceExhausted and others when something printed since the start did
/// not arrive. Nobody reading any more is no error: EPIPE ends quietly.
Result<void> finish_output();
/// Columns aligned for people; on a terminal long cells are cut.
std::string render_table(const std::vector<std::string>& columns,
                         const std::vector<std::vector<std::string>>& rows);
/// "2026-11-23 08:27:01".
std::string short_time(TimestampMicros micros);
/// Text without control characters (terminal escapes of hostile sources), line breaks and tabs
/// kept.
std::string printable(std::string_view text);
/// As a JSON string, with its quotes.
std::string json_quote(std::string_view text);

}  // namespace px::app
