#include <fmt/format.h>

#include "app/commands/commands.h"
#include "app/telemetry.h"
#include "pipeline/graph.h"
#include "pipeline/run.h"

namespace px::app {

namespace {

using pipeline::RunReport;
using pipeline::RunResult;

std::string report_text(const RunReport& report, bool planned, const std::string& currency) {
    std::string text;
    const char* const verb = planned ? "would " : "";
    for (const pipeline::SourceReport& source : report.sources) {
        if (source.unchanged) {
            text += fmt::format("  {:<16} unchanged\n", source.name);
            continue;
        }
        text += fmt::format("  {:<16} {} files, {} rows accepted, {} quarantined\n", source.name,
                            source.files, source.accepted, source.rejected);
        for (const pipeline::RejectedSample& sample : source.samples) {
            text += fmt::format("      {}:{} {}{}{}\n", sample.file, sample.line, sample.column,
                                sample.column.empty() ? "" : ": ", printable(sample.reason));
        }
    }
    std::string notes;
    for (const pipeline::SourceReport& source : report.sources) {
        if (!source.note.empty()) notes += fmt::format("  {:<16} {}\n", source.name, source.note);
    }
    switch (report.result) {
        case RunResult::Unchanged:
            if (notes.empty()) {
                text = "Nothing to do: the sources are what the newest release was made from.\n";
            } else {
                text = "Nothing to do.\n" + notes;
            }
            break;
        case RunResult::Halted:
            text += planned ? "The gate would halt this run:\n"
                    : report.serving > 0
                        ? fmt::format("The gate halted the run; release {} keeps serving:\n",
                                      report.serving)
                        : "The gate halted the run; nothing has been published yet:\n";
            for (const std::string& reason : report.reasons)
                text += "  - " + printable(reason) + "\n";
            break;
        case RunResult::Published:
            text += fmt::format("  chunks           {}embed {}, {}reuse {}, {}delete {}\n", verb,
                                report.chunks_embedded, verb, report.chunks_reused, verb,
                                report.chunks_deleted);
            if (report.chunks_truncated > 0) {
                text += fmt::format(
                    "  {} chunks are longer than the model reads; their ends are not searchable by "
                    "meaning: make chunking.size smaller\n",
                    report.chunks_truncated);
            }
            if (!planned && report.cost) {
                text += fmt::format(
                    "  cost             about {:.6f} {}: {:.1f} s of processor, "
                    "{} bytes new in the lake\n",
                    *report.cost, currency, report.cpu_s, report.bytes_written);
            }
            if (!planned) {
                text += fmt::format(
                    "Published release {} (run {}): {} documents, {} chunks, in {:.1f} s\n",
                    report.release, report.run_id, report.documents, report.chunks_total,
                    report.elapsed_s);
            }
            if (!planned && report.promotion) {
                text +=
                    fmt::format("{}: {} (demanded: {})\n",
                                report.promotion->promoted ? "It is served" : "It is NOT served",
                                report.promotion->reason, report.promotion->rule);
            }
            break;
    }
    return text;
}

int exit_code(const RunReport& report) {
    switch (report.result) {
        case RunResult::Published:
            return kExitDone;
        case RunResult::Unchanged:
            return kExitNothingToDo;
        case RunResult::Halted:
            return kExitHalted;
    }
    return 1;
}

struct RunOptions {
    std::string ds;
    std::string task, run;
    int lock_wait_s = 60;
    bool restart = false;
    bool retry = false;
    bool from_landing = false;
};

Result<int> run_once(CommandContext& context, const RunOptions& options) {
    const auto app = PX_TRY(context.open_app());
    pipeline::RunRequest request;
    request.ds = options.ds.empty() ? today(app->clock()) : options.ds;
    request.restart = options.restart;
    request.retry = options.retry;
    if (options.from_landing) request.input = pipeline::RunRequest::Input::Landed;
    const TimestampMicros since = app->clock().now();
    Result<RunReport> done = pipeline::run(app->run_services(), request, context.deadline());
    send_runs(*app, since);
    const RunReport report = PX_TRY(std::move(done));
    if (context.json) {
        print(pipeline::report_json(report) + "\n");
    } else {
        print(fmt::format("{} for {}\n{}", app->definition().name, report.ds,
                          report_text(report, false, app->definition().costs.currency)));
    }
    return exit_code(report);
}

Result<int> task_once(CommandContext& context, const RunOptions& options) {
    const auto app = PX_TRY(context.open_app());
    pipeline::TaskRequest request;
    request.task = options.task;
    request.run = options.run;
    request.ds = options.ds;
    request.lock_wait = std::chrono::seconds(options.lock_wait_s);
    Result<pipeline::TaskReport> done =
        pipeline::run_task(app->run_services(), request, context.deadline());
    send_task(*app, request.run, request.task);
    const pipeline::TaskReport report = PX_TRY(std::move(done));
    print(pipeline::task_report_json(report) + "\n");
    switch (report.result) {
        case pipeline::TaskResult::Done:
            return kExitDone;
        case pipeline::TaskResult::NothingToDo:
            return kExitNothingToDo;
        case pipeline::TaskResult::Halted:
            return kExitHalted;
    }
    return 1;
}

Result<int> plan_once(CommandContext& context, const RunOptions& options) {
    const auto app = PX_TRY(context.open_app());
    pipeline::RunRequest request;
    request.ds = options.ds.empty() ? today(app->clock()) : options.ds;
    const RunReport report =
        PX_TRY(pipeline::plan(app->run_services(), request, context.deadline()));
    if (context.json) {
        print(pipeline::report_json(report) + "\n");
    } else {
        print(fmt::format("Plan of {} for {}\n{}", app->definition().name, report.ds,
                          report_text(report, true, app->definition().costs.currency)));
    }
    return exit_code(report);
}

}  // namespace

void add_run_commands(CLI::App& cli, CommandContext& context) {
    auto options = std::make_shared<RunOptions>();
    CLI::App* run =
        cli.add_subcommand("run", "Run the pipeline for a logical date and publish a release");
    run->add_option("--ds", options->ds, "Logical date, YYYY-MM-DD (default: today, UTC)");
    run->add_flag("--restart", options->restart,
                  "Give up an unfinished run instead of finishing it");
    run->add_flag("--retry", options->retry,
                  "Start a task that failed for a reason that may pass again, as retries: says");
    run->add_flag("--from-landing", options->from_landing,
                  "Use the files landed for this date before, not the sources");
    run->callback([&context, options] {
        context.chosen = [&context, options] { return run_once(context, *options); };
    });

    CLI::App* task = cli.add_subcommand(
        "task",
        "Execute one task of the graph by itself, for orchestrators; prints a line of JSON");
    task->add_option("NAME", options->task, "A task of `px graph`, such as look or stage.reports")
        ->required();
    task->add_option("--run-id", options->run,
                     "What names the run: any text, the same for all its tasks")
        ->required();
    task->add_option("--ds", options->ds, "Logical date, YYYY-MM-DD")->required();
    task->add_option("--lock-wait", options->lock_wait_s,
                     "Seconds to wait for another px to be done with the pipeline (60)")
        ->check(CLI::Range(0, 86'400));
    task->callback([&context, options] {
        context.chosen = [&context, options] { return task_once(context, *options); };
    });

    CLI::App* plan =
        cli.add_subcommand("plan", "Say exactly what `px run` would do; writes nothing");
    plan->add_option("--ds", options->ds, "Logical date, YYYY-MM-DD (default: today, UTC)");
    plan->callback([&context, options] {
        context.chosen = [&context, options] { return plan_once(context, *options); };
    });

    CLI::App* graph =
        cli.add_subcommand("graph", "The tasks of the pipeline and what they wait for, as JSON");
    graph->callback([&context] {
        context.chosen = [&context]() -> Result<int> {
            const Config config =
                PX_TRY(load_config(PX_TRY(find_pipeline_file(context.file)), context.environment));
            print(pipeline::graph_json(config.definition) + "\n");
            return kExitDone;
        };
    });
}

}  // namespace px::app
