#include <fmt/format.h>

#include <boost/json.hpp>
#include <set>

#include "answer/release_reader.h"
#include "app/commands/commands.h"
#include "engine/result_json.h"
#include "lake/delta_table.h"
#include "pipeline/run.h"

namespace px::app {

namespace {

namespace json = boost::json;

struct ListOptions {
    int64_t limit = 20;
    std::string as_of;
    std::string source;
    std::string run;
    std::string ds;
    std::string table;
    double retention_days = 7;
    bool dry_run = false;
};

/// Text that is JSON already, or null.
json::value embedded_json(const std::string& text) {
    boost::system::error_code code;
    json::value value = json::parse(text, code);
    return code ? json::value() : value;
}

json::object run_json(const catalog::Run& run) {
    json::object object{
        {"id", run.id.value},
        {"ds", run.ds},
        {"state", catalog::run_state_name(run.state)},
        {"started_at", format_timestamp(run.started_at)},
        {"finished_at",
         run.finished_at ? json::value(format_timestamp(*run.finished_at)) : json::value()},
        {"message", run.message},
        {"report", embedded_json(run.report_json)}};
    if (run.release) object["release"] = run.release->value;
    return object;
}

/// "1.2 s", or "-" while it lasts.
std::string took(TimestampMicros started, std::optional<TimestampMicros> finished) {
    if (!finished) return "-";
    return fmt::format("{:.1f} s", static_cast<double>(*finished - started) / 1e6);
}

/// One run for people: what it did, each attempt of each task, its checks.
std::string run_text(const catalog::Run& run, const std::vector<catalog::TaskAttempt>& tasks,
                     const std::vector<catalog::CheckResult>& checks) {
    std::string text =
        fmt::format("run      {} of {}\nstate    {}{}\nstarted  {} UTC, took {}\n", run.id.value,
                    run.ds, catalog::run_state_name(run.state),
                    run.release ? fmt::format(" as release {}", run.release->value) : std::string(),
                    short_time(run.started_at), took(run.started_at, run.finished_at));
    if (!run.message.empty()) text += "message  " + printable(run.message) + "\n";
    std::vector<std::vector<std::string>> rows;
    for (const catalog::TaskAttempt& task : tasks) {
        rows.push_back({task.task, std::to_string(task.attempt), task.state,
                        took(task.started_at, task.finished_at), task.message});
    }
    if (!rows.empty())
        text += "\n" + render_table({"task", "attempt", "state", "took", "message"}, rows);
    rows.clear();
    for (const catalog::CheckResult& check : checks) {
        rows.push_back({check.source, check.check, check.passed ? "passed" : "FAILED",
                        check.expected, check.actual});
    }
    if (!rows.empty())
        text += "\n" + render_table({"source", "check", "result", "expected", "actual"}, rows);
    return text;
}

Result<int> runs(CommandContext& context, const ListOptions& options) {
    const auto app = PX_TRY(context.open_app());
    catalog::Catalog* catalog = PX_TRY(app->catalog());
    if (!options.run.empty()) {
        const std::optional<catalog::Run> run = PX_TRY(catalog->run({options.run}));
        if (!run)
            return fail(ErrorCode::NotFound, fmt::format("there is no run {}", options.run),
                        "See `px runs`");
        const std::vector<catalog::TaskAttempt> attempts = PX_TRY(catalog->tasks(run->id));
        const std::vector<catalog::CheckResult> results = PX_TRY(catalog->checks(run->id));
        if (!context.json) {
            print(run_text(*run, attempts, results));
            return kExitDone;
        }
        json::object object = run_json(*run);
        json::array tasks;
        for (const catalog::TaskAttempt& task : attempts) {
            tasks.push_back(json::object{
                {"task", task.task},
                {"attempt", task.attempt},
                {"state", task.state},
                {"started_at", format_timestamp(task.started_at)},
                {"finished_at", task.finished_at ? json::value(format_timestamp(*task.finished_at))
                                                 : json::value()},
                {"message", task.message}});
        }
        object["tasks"] = std::move(tasks);
        json::array checks;
        for (const catalog::CheckResult& check : results) {
            checks.push_back(json::object{{"source", check.source},
                                          {"check", check.check},
                                          {"expected", check.expected},
                                          {"actual", check.actual},
                                          {"passed", check.passed}});
        }
        object["checks"] = std::move(checks);
        print(json::serialize(object) + "\n");
        return kExitDone;
    }
    const std::vector<catalog::Run> list = PX_TRY(catalog->runs(options.limit));
    if (context.json) {
        json::array array;
        for (const catalog::Run& run : list) array.push_back(run_json(run));
        print(json::serialize(array) + "\n");
        return kExitDone;
    }
    std::vector<std::vector<std::string>> rows;
    for (const catalog::Run& run : list) {
        rows.push_back({run.id.value, run.ds, std::string(catalog::run_state_name(run.state)),
                        short_time(run.started_at), took(run.started_at, run.finished_at),
                        run.release ? std::to_string(run.release->value) : "-", run.message});
    }
    print(
        render_table({"run", "ds", "state", "started (UTC)", "took", "release", "message"}, rows));
    return kExitDone;
}

json::object release_json(const catalog::Release& release) {
    json::object tables;
    for (const auto& [table, version] : release.table_versions) tables[table] = version;
    return {{"id", release.id.value},
            {"run", release.run.value},
            {"ds", release.ds},
            {"published_at", format_timestamp(release.published_at)},
            {"documents", release.documents},
            {"chunks", release.chunks},
            {"tables", std::move(tables)},
            {"index_manifest", release.index_manifest}};
}

Result<int> releases(CommandContext& context, const ListOptions& options) {
    const auto app = PX_TRY(context.open_app());
    catalog::Catalog* catalog = PX_TRY(app->catalog());
    const std::vector<catalog::Release> list = PX_TRY(catalog->releases(options.limit));
    if (context.json) {
        json::array array;
        for (const catalog::Release& release : list) {
            json::object object = release_json(release);
            const auto why = PX_TRY(answer::why_not_served(*catalog, release));
            object["served"] = !why.has_value();
            if (why) object["not_served"] = *why;
            array.push_back(std::move(object));
        }
        print(json::serialize(array) + "\n");
        return kExitDone;
    }
    std::vector<std::vector<std::string>> rows;
    for (const catalog::Release& release : list) {
        std::string tables;
        for (const auto& [table, version] : release.table_versions) {
            tables += fmt::format("{}{}@{}", tables.empty() ? "" : " ", table, version);
        }
        if (const auto why = PX_TRY(answer::why_not_served(*catalog, release)))
            tables += "  not served: " + *why;
        rows.push_back({std::to_string(release.id.value), release.ds,
                        short_time(release.published_at), std::to_string(release.documents),
                        std::to_string(release.chunks), tables});
    }
    print(
        render_table({"release", "ds", "published (UTC)", "documents", "chunks", "tables"}, rows));
    return kExitDone;
}

/// The catalog's documents as SQL sees them: a table like the others, but of no lake.
Result<json::array> documents_columns(answer::ReleaseReader& reader,
                                      const answer::ReleaseView& view, const Deadline& deadline) {
    const engine::QueryResult empty =
        PX_TRY(reader.query(view, "SELECT * FROM documents LIMIT 0", {}, {}, deadline));
    json::array columns;
    for (size_t c = 0; c < empty.columns.size(); ++c) {
        const std::string& type = empty.types[c];
        columns.push_back(json::object{{"name", empty.columns[c]},
                                       {"type", type == "BIGINT"                ? "long"
                                                : type.starts_with("TIMESTAMP") ? "timestamp"
                                                                                : "string"}});
    }
    return columns;
}

int64_t shown_documents(const answer::ReleaseView& view) {
    return view.admitted ? static_cast<int64_t>(view.admitted->documents.size())
                         : view.release.documents;
}

Result<int> tables(CommandContext& context, const ListOptions& options) {
    const auto app = PX_TRY(context.open_app());
    answer::ReleaseReader* reader = PX_TRY(app->reader());
    const auto view =
        PX_TRY(reader->open(PX_TRY(answer::parse_as_of(options.as_of)), context.access()));
    const std::vector<answer::TableInfo> list = PX_TRY(reader->tables(*view));
    json::array documents = PX_TRY(documents_columns(*reader, *view, context.deadline()));
    const size_t document_columns = documents.size();
    if (context.json) {
        json::array array;
        for (const answer::TableInfo& table : list) {
            json::array columns;
            for (const columnar::Field& field : table.schema.fields) {
                columns.push_back(json::object{{"name", field.name},
                                               {"type", columnar::delta_type_name(field.type)}});
            }
            array.push_back(json::object{
                {"name", table.name},
                {"version", table.version},
                {"rows", table.row_count ? json::value(*table.row_count) : json::value()},
                {"files", table.narrowed ? json::value() : json::value(table.file_count)},
                {"bytes", table.narrowed ? json::value() : json::value(table.size_bytes)},
                {"partition_columns", json::value_from(table.partition_columns)},
                {"columns", std::move(columns)}});
        }
        array.push_back(json::object{{"name", "documents"},
                                     {"version", nullptr},
                                     {"rows", shown_documents(*view)},
                                     {"files", nullptr},
                                     {"bytes", nullptr},
                                     {"partition_columns", json::array()},
                                     {"columns", std::move(documents)}});
        print(json::serialize(array) + "\n");
        return kExitDone;
    }
    std::vector<std::vector<std::string>> rows;
    for (const answer::TableInfo& table : list) {
        rows.push_back({table.name, std::to_string(table.version),
                        table.row_count ? std::to_string(*table.row_count) : "?",
                        table.narrowed ? "?" : std::to_string(table.file_count),
                        table.narrowed ? "?" : std::to_string(table.size_bytes),
                        std::to_string(table.schema.fields.size())});
    }
    rows.push_back({"documents", "-", std::to_string(shown_documents(*view)), "-", "-",
                    std::to_string(document_columns)});
    print(render_table({"table", "version", "rows", "files", "bytes", "columns"}, rows));
    return kExitDone;
}

Result<int> quarantine_list(CommandContext& context, const ListOptions& options) {
    const auto app = PX_TRY(context.open_app());
    answer::ReleaseReader* reader = PX_TRY(app->reader());
    const auto view =
        PX_TRY(reader->open(PX_TRY(answer::parse_as_of(options.as_of)), context.access()));
    engine::QueryLimits limits;
    limits.rows = options.limit;
    std::string where = " WHERE true";
    std::vector<std::string> parameters;
    for (const auto& [column, value] :
         {std::pair{"source", options.source}, std::pair{"ds", options.ds}}) {
        if (value.empty()) continue;
        parameters.push_back(value);
        where += fmt::format(" AND {} = ${}", column, parameters.size());
    }
    if (view->admitted) return answer::forbidden_to_restricted("the quarantine");
    if (!view->release.table_versions.contains("quarantine")) {
        print(context.json ? "[]\n" : "No record was ever quarantined.\n");
        return kExitDone;
    }
    const engine::QueryResult result = PX_TRY(reader->query(
        *view,
        "SELECT source, ds, file, line, rule, \"column\", value, reason, byte_start, byte_end, "
        "landed, "
        "substr(coalesce(TRY(decode(raw)), CAST(raw AS VARCHAR)), 1, 200) AS raw FROM quarantine" +
            where + " ORDER BY source, ds, file, line",
        parameters, limits, context.deadline()));
    if (context.json) {
        std::string lines = "[";
        for (size_t r = 0; r < result.rows.size(); ++r) {
            if (r > 0) lines += ",";
            engine::append_json_object(result, r, lines);
        }
        print(lines + "]\n");
        return kExitDone;
    }
    std::vector<std::vector<std::string>> rows;
    for (const auto& row : result.rows) {
        rows.push_back({row[0].value_or(""), row[1].value_or(""),
                        row[2].value_or("") + ":" + row[3].value_or(""), row[4].value_or(""),
                        row[5].value_or(""), row[7].value_or("")});
    }
    print(render_table({"source", "ds", "record", "rule", "column", "reason"}, rows));
    return kExitDone;
}

Result<int> quarantine_replay(CommandContext& context, const ListOptions& options) {
    const auto app = PX_TRY(context.open_app());
    pipeline::RunRequest request;
    request.ds = options.ds.empty() ? today(app->clock()) : options.ds;
    request.input = pipeline::RunRequest::Input::Landed;
    const pipeline::RunReport report =
        PX_TRY(pipeline::run(app->run_services(), request, context.deadline()));
    if (context.json) {
        print(pipeline::report_json(report) + "\n");
    } else if (report.result == pipeline::RunResult::Unchanged) {
        print("Nothing to replay: neither the contract nor the landed files changed.\n");
    } else {
        int64_t accepted = 0;
        int64_t rejected = 0;
        for (const pipeline::SourceReport& source : report.sources) {
            accepted += source.accepted;
            rejected += source.rejected;
        }
        print(fmt::format("Replayed {}: {} rows accepted, {} still quarantined, release {}\n",
                          request.ds, accepted, rejected, report.release));
    }
    if (report.result == pipeline::RunResult::Halted) return kExitHalted;
    return report.result == pipeline::RunResult::Unchanged ? kExitNothingToDo : kExitDone;
}

Result<int> status(CommandContext& context, const ListOptions&) {
    const auto app = PX_TRY(context.open_app());
    catalog::Catalog* catalog = PX_TRY(app->catalog());
    const std::optional<catalog::Release> release = PX_TRY(catalog->latest_release());
    const std::vector<catalog::Run> last = PX_TRY(catalog->runs(1));
    const std::vector<catalog::Run> unfinished = PX_TRY(catalog->unfinished_runs());
    if (context.json) {
        print(json::serialize(json::object{
                  {"pipeline", app->definition().name},
                  {"release", release ? json::value(release_json(*release)) : json::value()},
                  {"last_run", last.empty() ? json::value() : json::value(run_json(last[0]))},
                  {"unfinished_runs", unfinished.size()}}) +
              "\n");
        return kExitDone;
    }
    print(fmt::format("pipeline    {}\n", app->definition().name));
    if (release) {
        print(
            fmt::format("release     {} of {} (published {}): {} documents, {} chunks, {} tables\n",
                        release->id.value, release->ds, short_time(release->published_at),
                        release->documents, release->chunks, release->table_versions.size()));
    } else {
        print("release     none yet\n");
    }
    if (!last.empty()) {
        print(fmt::format("last run    {} {}{}\n", last[0].id.value,
                          catalog::run_state_name(last[0].state),
                          last[0].message.empty() ? "" : ": " + last[0].message));
    }
    if (!unfinished.empty())
        print(fmt::format("unfinished  {} run(s); `px run` finishes them\n", unfinished.size()));
    return kExitDone;
}

Result<int> vacuum(CommandContext& context, const ListOptions& options) {
    const auto app = PX_TRY(context.open_app());
    catalog::Catalog* catalog = PX_TRY(app->catalog());
    // No run may begin, or publish, while files are looked through.
    const pipeline::PipelineLock lock = PX_TRY(pipeline::PipelineLock::acquire(
        app->run_services(), catalog::LockMode::Exclusive, {std::chrono::steady_clock::now(), {}}));
    if (!PX_TRY(catalog->unfinished_runs()).empty()) {
        return fail(ErrorCode::Conflict, "a run is unfinished; its staged files must stay",
                    "Finish it with `px run` first");
    }
    const TimestampMicros older_than =
        app->clock().now() - static_cast<int64_t>(options.retention_days * 86'400.0 * 1e6);
    // A release stays readable as long as it was the newest one that is served at some time within
    // the retention.
    std::vector<catalog::Release> kept;
    for (const catalog::Release& release : PX_TRY(catalog->releases(1'000'000))) {
        kept.push_back(release);
        if (release.published_at < older_than && !PX_TRY(answer::why_not_served(*catalog, release)))
            break;
    }
    std::map<std::string, std::set<int64_t>> versions;
    std::vector<index::ManifestId> manifests;
    for (const catalog::Release& release : kept) {
        for (const auto& [table, version] : release.table_versions) versions[table].insert(version);
        manifests.push_back({release.index_manifest});
    }
    json::array report;
    int64_t total = 0;
    for (const auto& [table, wanted] : versions) {
        lake::DeltaTable delta(app->lake(), table, app->clock());
        std::vector<lake::TableVersion> keep;
        for (int64_t version : wanted) keep.push_back({version});
        const lake::VacuumReport freed =
            PX_TRY(delta.vacuum(older_than, keep,
                                options.dry_run ? lake::DeltaTable::VacuumMode::DryRun
                                                : lake::DeltaTable::VacuumMode::Delete));
        total += freed.bytes;
        report.push_back(
            json::object{{"table", table}, {"files", freed.files}, {"bytes", freed.bytes}});
    }
    if (!options.dry_run) {
        PX_TRY(app->lake().sweep_temporary());
        PX_TRY(app->landing().sweep_temporary());
    }
    int64_t index_bytes = 0;
    if (!options.dry_run) index_bytes = PX_TRY(app->vectors().vacuum(manifests));
    if (context.json) {
        print(json::serialize(json::object{{"dry_run", options.dry_run},
                                           {"tables", std::move(report)},
                                           {"index_bytes", index_bytes},
                                           {"releases_kept", kept.size()}}) +
              "\n");
    } else {
        print(
            fmt::format("{} {} bytes of the lake and {} of the index; {} releases stay readable\n",
                        options.dry_run ? "Would free" : "Freed", total, index_bytes, kept.size()));
    }
    return kExitDone;
}

}  // namespace

void add_history_commands(CLI::App& cli, CommandContext& context) {
    auto options = std::make_shared<ListOptions>();
    const auto choose = [&context, options](
                            CLI::App* command,
                            Result<int> (*function)(CommandContext&, const ListOptions&)) {
        command->callback([&context, options, function] {
            context.chosen = [&context, options, function] { return function(context, *options); };
        });
    };
    choose(cli.add_subcommand("status", "The release served, the last run, what is unfinished"),
           status);
    CLI::App* runs_command =
        cli.add_subcommand("runs", "Past runs; with an id: its tasks and checks");
    runs_command->add_option("run", options->run, "A run id");
    runs_command->add_option("--limit", options->limit, "How many")
        ->check(CLI::Range(1, 1'000'000));
    choose(runs_command, runs);
    CLI::App* releases_command =
        cli.add_subcommand("releases", "Published releases, the newest first");
    releases_command->add_option("--limit", options->limit, "How many")
        ->check(CLI::Range(1, 1'000'000));
    choose(releases_command, releases);
    CLI::App* tables_command = cli.add_subcommand("tables", "Tables of a release");
    tables_command->add_option("--as-of", options->as_of, "A release id or a time");
    add_as_groups(*tables_command, context);
    choose(tables_command, tables);
    CLI::App* quarantine_command = cli.add_subcommand("quarantine", "Rejected records");
    quarantine_command->require_subcommand(1);
    CLI::App* list_command =
        quarantine_command->add_subcommand("list", "Rejected records with rule, place and reason");
    list_command->add_option("--source", options->source, "Of this source");
    list_command->add_option("--ds", options->ds, "Of this logical date");
    list_command->add_option("--as-of", options->as_of, "A release id or a time");
    add_as_groups(*list_command, context);
    list_command->add_option("--limit", options->limit, "How many")
        ->check(CLI::Range(1, 1'000'000));
    choose(list_command, quarantine_list);
    CLI::App* replay_command = quarantine_command->add_subcommand(
        "replay", "Read a date's landed files again, after the contract was mended");
    replay_command->add_option("--ds", options->ds, "Logical date (default: today, UTC)");
    choose(replay_command, quarantine_replay);
    CLI::App* vacuum_command = cli.add_subcommand("vacuum", "Delete files no kept release needs");
    vacuum_command
        ->add_option("--retention-days", options->retention_days,
                     "Releases of so many days stay readable")
        ->check(CLI::Range(0.0, 36'500.0));
    vacuum_command->add_flag("--dry-run", options->dry_run, "Only say what would be deleted");
    choose(vacuum_command, vacuum);
}

}  // namespace px::app
