#include "pipeline/run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "base/parallel.h"
#include "pipeline/execution.h"
#include "pipeline/graph.h"
#include "pipeline/lock_watch.h"
#include "store/local/local_object_store.h"

namespace px::pipeline {

namespace json = boost::json;

namespace {

/// A scratch folder that is empty at the start and gone at the end.
class Scratch {
  public:
    static Result<Scratch> create(const std::filesystem::path& path) {
        std::error_code code;
        std::filesystem::remove_all(path, code);
        std::filesystem::create_directories(path, code);
        if (code)
            return fail_errno(code.value(), "cannot create the scratch folder " + path.string());
        return Scratch(path);
    }
    Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, {})) {}
    Scratch& operator=(Scratch&&) = delete;
    ~Scratch() {
        std::error_code ignored;
        if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
    }
    const std::filesystem::path& path() const { return path_; }

  private:
    explicit Scratch(std::filesystem::path path) : path_(std::move(path)) {}
    std::filesystem::path path_;
};

void log_report(const RunReport& report) {
    for (const SourceReport& source : report.sources) {
        if (source.unchanged) continue;
        log::info("stage.done", {{"source", source.name},
                                 {"files", source.files},
                                 {"accepted", source.accepted},
                                 {"quarantined", source.rejected}});
    }
}

/// Sleeps, unless the deadline comes first or the run is cancelled.
Result<void> pause(std::chrono::milliseconds time, const Deadline& deadline) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    wake.wait_until(lock, deadline.stop,
                    std::min(deadline.at, std::chrono::steady_clock::now() + time),
                    [] { return false; });
    return deadline.check();
}

/// Whether doing the same again may help: nothing is wrong with the pipeline file or its sources.
bool may_pass(ErrorCode code) {
    return error_traits(code).retryable || code == ErrorCode::Cancelled ||
           code == ErrorCode::ResourceExhausted || code == ErrorCode::DeadlineExceeded ||
           code == ErrorCode::OutcomeUnknown;
}

/// An attempt's own time, within the run's. 0: as long as the run.
Deadline limited(const Deadline& deadline, std::chrono::seconds time) {
    if (time.count() == 0) return deadline;
    Deadline own = Deadline::after(time, deadline.stop);
    own.at = std::min(own.at, deadline.at);
    return own;
}

/// A task within its time, and as often as its definition says.
Result<void> perform_with_retries(RunExecution& execution, const Definition& definition,
                                  const Task& task, bool retry, const Deadline& deadline) {
    const RetryDefinition& retries = definition.retries;
    std::chrono::milliseconds delay = retries.delay;
    for (int attempt = 1;; ++attempt) {
        Result<void> done = execution.perform(task, limited(deadline, retries.timeout));
        if (done || !retry || attempt >= retries.attempts ||
            done.error().code == ErrorCode::Cancelled || !may_pass(done.error().code))
            return done;
        log::warning("task.retry", {{"task", task.name},
                                    {"attempt", attempt},
                                    {"delay_s", delay.count() / 1000},
                                    {"error", done.error().to_string()}});
        PX_TRY(pause(delay, deadline));
        if (retries.exponential)
            delay = std::min<std::chrono::milliseconds>(delay * 2, std::chrono::hours(1));
    }
}

/// Performs the tasks of the given stages, each as soon as those it waits for are done, side by
/// side. One that fails stops those that wait for it and no others: what the others reach is kept.
Result<void> perform_stages(RunExecution& execution, const RunServices& services,
                            const Definition& definition, const std::vector<Stage>& stages,
                            bool retry, const Deadline& deadline) {
    enum class State { Waiting, Running, Done, Failed };
    const std::vector<Task> graph = make_graph(definition);
    std::vector<State> states(graph.size(), State::Done);
    size_t left = 0;
    for (size_t i = 0; i < graph.size(); ++i) {
        if (std::ranges::find(stages, graph[i].stage) == stages.end()) continue;
        states[i] = State::Waiting;
        ++left;
    }
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::optional<Error>> errors(graph.size());
    const auto work = [&](size_t) -> Result<void> {
        std::unique_lock lock(mutex);
        while (left > 0) {
            std::optional<size_t> next;
            bool running = false;
            for (size_t i = 0; i < graph.size() && !next; ++i) {
                running = running || states[i] == State::Running;
                if (states[i] != State::Waiting) continue;
                bool ready = true;
                bool lost = false;
                for (const size_t before : graph[i].depends_on) {
                    ready = ready && states[before] == State::Done;
                    lost = lost || states[before] == State::Failed;
                }
                if (lost) {
                    states[i] = State::Failed;
                    --left;
                } else if (ready) {
                    next = i;
                }
            }
            if (!next) {
                if (left == 0 || !running) break;
                changed.wait(lock);
                continue;
            }
            states[*next] = State::Running;
            lock.unlock();
            Result<void> done =
                perform_with_retries(execution, definition, graph[*next], retry, deadline);
            lock.lock();
            states[*next] = done ? State::Done : State::Failed;
            if (!done) errors[*next] = std::move(done).error();
            --left;
            changed.notify_all();
        }
        changed.notify_all();
        return {};
    };
    const size_t workers = std::clamp<size_t>(services.thread_count, 1, std::max<size_t>(left, 1));
    PX_TRY(parallel_for(workers, workers, Deadline::never(), work));
    for (std::optional<Error>& error : errors) {
        if (error) return std::move(*error);
    }
    return {};
}

const std::vector<Stage> kBeforeGate = {Stage::Stage, Stage::Gate};
const std::vector<Stage> kStreams = {Stage::Merge, Stage::Model, Stage::Metadata,
                                     Stage::Chunk, Stage::Embed, Stage::Index};

std::string joined(const std::vector<std::string>& reasons) {
    std::string message;
    for (const std::string& reason : reasons) message += (message.empty() ? "" : "\n") + reason;
    return message;
}

/// From staged to published, for a run that has landed.
Result<RunReport> carry_through(RunExecution& execution, const RunServices& services,
                                const Definition& definition, bool retry, catalog::Catalog& catalog,
                                const catalog::RunId& run, LockWatch& watch) {
    const Deadline& deadline = watch.deadline();
    const auto finish = [&](catalog::RunState state, const std::string& message) {
        execution.fill_source_reports();
        execution.note_elapsed();
        return catalog.finish_run(run, state, message, report_json(execution.report()));
    };
    Result<void> before =
        perform_stages(execution, services, definition, kBeforeGate, retry, deadline);
    if (before && execution.halted()) {
        execution.report().result = RunResult::Halted;
        PX_TRY(finish(catalog::RunState::Halted, joined(execution.report().reasons)));
        return execution.report();
    }
    if (before) before = perform_stages(execution, services, definition, kStreams, retry, deadline);
    if (before) before = execution.check_tables();
    if (!before) {
        // What may pass is taken up where it stopped, by the next call; else that one begins anew,
        // and finds the staged files again.
        Error error = watch.told(std::move(before)).error();
        if (error.code == ErrorCode::Cancelled) {
            error = fail(ErrorCode::Cancelled, "interrupted",
                         "`px run` takes it up where it stopped, `px run --restart` begins anew");
        } else if (may_pass(error.code)) {
            log::info("run.unfinished",
                      {{"run", run.value},
                       {"hint",
                        "the next px run takes it up where it stopped; px run --restart "
                        "begins anew"}});
        } else {
            const Result<void> noted = finish(catalog::RunState::Failed, error.to_string());
            if (!noted)
                log::warning("run.state_not_recorded",
                             {{"run", run.value}, {"error", noted.error().to_string()}});
        }
        return std::move(error).with("run " + run.value);
    }
    execution.fill_source_reports();
    log_report(execution.report());
    PX_TRY(watch.check());
    PX_TRY(perform_stages(execution, services, definition, {Stage::Publish}, retry, deadline)
               .context(fmt::format("run {}; publishing began, the next `px run` finishes it",
                                    run.value)));
    return execution.report();
}

/// Nothing is written before something is known to have changed: absent until the first run.
Result<std::unique_ptr<catalog::Catalog>> open_if_there(const RunServices& services) {
    Result<std::unique_ptr<catalog::Catalog>> existing =
        services.open_catalog(catalog::OpenMode::ReadOnly);
    if (!existing && existing.error().code == ErrorCode::NotFound)
        return std::unique_ptr<catalog::Catalog>();
    return existing;
}

/// Finishes or gives up what earlier processes left. Returns the report of the run for that date,
/// if it was among them.
Result<std::optional<RunReport>> finish_earlier_runs(const RunServices& services,
                                                     const RunRequest& request, LockWatch& watch,
                                                     const Scratch& scratch,
                                                     std::unique_ptr<catalog::Catalog>& catalog) {
    std::optional<RunReport> same_ds;
    if (!catalog) return same_ds;
    const std::vector<catalog::Run> unfinished = PX_TRY(catalog->unfinished_runs());
    if (!unfinished.empty()) catalog = PX_TRY(services.open_catalog(catalog::OpenMode::ReadWrite));
    const auto give_up = [&](const catalog::Run& run, const std::string& why) {
        return catalog->finish_run(run.id, catalog::RunState::Failed, why, "");
    };
    for (const catalog::Run& old : unfinished) {
        log::set_context("run", old.id.value);
        if (request.restart) {
            PX_TRY(give_up(old, "given up by --restart"));
            continue;
        }
        if (!PX_TRY(services.has_same_services(old.pipeline_text)
                        .context("pipeline file of run " + old.id.value))) {
            log::warning("run.given_up",
                         {{"run", old.id.value},
                          {"why", "addresses or embedding of the pipeline file are others now"}});
            PX_TRY(give_up(old, "given up: addresses or embedding changed"));
            continue;
        }
        log::info("run.resume", {{"run", old.id.value},
                                 {"ds", old.ds},
                                 {"hint",
                                  "it goes on with the files landed then; px run "
                                  "--restart gives it up and reads them anew"}});
        const Definition definition = PX_TRY(
            services.parse(old.pipeline_text).context("pipeline file of run " + old.id.value));
        RunExecution execution(services, definition, old.ds, RunExecution::Purpose::Run,
                               services.lake, scratch.path());
        if (!PX_TRY(execution.take_up(*catalog, old)) || !PX_TRY(execution.is_past(Stage::Land))) {
            PX_TRY(give_up(old, "interrupted before everything was landed"));
            continue;
        }
        Result<void> landed = perform_stages(execution, services, definition, {Stage::Land},
                                             request.retry, watch.deadline());
        if (!landed) return std::move(landed).error().with("run " + old.id.value);
        Result<RunReport> report =
            carry_through(execution, services, definition, request.retry, *catalog, old.id, watch);
        if (!report) {
            // Whoever changed the pipeline file meanwhile did so to get past this.
            const std::optional<catalog::Run> now = PX_TRY(catalog->run(old.id));
            const bool ended = now && now->state != catalog::RunState::Running;
            if (!ended && (old.pipeline_text == services.definition.text ||
                           report.error().code == ErrorCode::Cancelled))
                return std::move(report).error();
            log::warning("run.failed_again",
                         {{"run", old.id.value}, {"error", report.error().to_string()}});
            if (!ended) PX_TRY(give_up(old, report.error().to_string()));
            continue;
        }
        if (old.ds == request.ds) same_ds = std::move(*report);
    }
    log::set_context("run", "");
    return same_ds;
}

/// A run that could not even land: its error is recorded, or it is a halt.
Result<RunReport> end_before_landed(RunExecution& execution, catalog::Catalog& catalog,
                                    const catalog::Run& run, Error error) {
    const bool halt = error.code == ErrorCode::ContractViolated || error.code == ErrorCode::Corrupt;
    if (error.code != ErrorCode::Cancelled) {
        const Result<void> noted =
            catalog.finish_run(run.id, halt ? catalog::RunState::Halted : catalog::RunState::Failed,
                               error.to_string(), "");
        if (!noted) log::warning("run.state_not_recorded", {{"run", run.id.value}});
    }
    if (!halt) return std::move(error).with("run " + run.id.value);
    RunReport& report = execution.report();
    report.run_id = run.id.value;
    report.result = RunResult::Halted;
    report.reasons.push_back(error.to_string());
    return report;
}

}  // namespace

Result<PipelineLock> PipelineLock::acquire(const RunServices& services, catalog::LockMode mode,
                                           const Deadline& deadline) {
    constexpr std::chrono::milliseconds kPoll{100};
    for (;;) {
        Result<RunLock> folder = RunLock::acquire(services.work_folder / "run.lock", mode);
        Result<std::unique_ptr<catalog::PipelineLock>> shared =
            folder ? services.lock_catalog(mode)
                   : Result<std::unique_ptr<catalog::PipelineLock>>(folder.error());
        if (shared) return PipelineLock(std::move(*folder), std::move(*shared));
        // Another one holds it, or the server does not answer: both may pass.
        if (shared.error().code != ErrorCode::Unavailable ||
            std::chrono::steady_clock::now() + kPoll >= deadline.at)
            return std::move(shared).error();
        PX_TRY(pause(kPoll, deadline));
    }
}

Result<RunReport> run(const RunServices& services, const RunRequest& request,
                      const Deadline& caller) {
    const auto started = std::chrono::steady_clock::now();
    const PipelineLock lock =
        PX_TRY(PipelineLock::acquire(services, catalog::LockMode::Exclusive, {started, {}}));
    LockWatch watch([&] { return lock.check(); }, caller);
    const Scratch scratch = PX_TRY(Scratch::create(services.work_folder / "scratch"));
    PX_TRY(parse_date(request.ds).context("the logical date (--ds)"));
    const auto done = [&](RunReport report) {
        report.elapsed_s =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
        return report;
    };
    std::unique_ptr<catalog::Catalog> catalog = PX_TRY(open_if_there(services));
    std::optional<RunReport> finished_same_ds =
        PX_TRY(watch.told(finish_earlier_runs(services, request, watch, scratch, catalog)));

    const Definition& definition = services.definition;
    RunExecution execution(services, definition, request.ds, RunExecution::Purpose::Run,
                           services.lake, scratch.path());
    Result<void> looked =
        watch.told(execution.look(catalog.get(), request.input, watch.deadline()));
    if (looked && !execution.anything_changed()) {
        if (finished_same_ds) return done(std::move(*finished_same_ds));
        execution.fill_source_reports();
        return done(execution.report());
    }
    PX_TRY(services.ensure_containers());
    catalog = PX_TRY(services.open_catalog(catalog::OpenMode::ReadWrite));
    const catalog::Run begun = PX_TRY(catalog->begin_run(
        request.ds, definition.text, looked ? execution.input_fingerprint() : std::string()));
    log::set_context("run", begun.id.value);
    if (services.step) services.step("run.begun");
    if (looked) looked = execution.begin(*catalog, begun);
    if (looked) {
        looked = watch.told(perform_stages(execution, services, definition, {Stage::Land},
                                           request.retry, watch.deadline()));
    }
    if (!looked)
        return done(
            PX_TRY(end_before_landed(execution, *catalog, begun, std::move(looked).error())));
    return done(PX_TRY(
        carry_through(execution, services, definition, request.retry, *catalog, begun.id, watch)));
}

namespace {

/// The run an orchestrator means: by its own name for it, or by ours.
Result<std::optional<catalog::Run>> find_run(catalog::Catalog& catalog, const std::string& name) {
    if (std::optional<catalog::Run> run = PX_TRY(catalog.run_called(name))) return run;
    return catalog.run({name});
}

/// What a task has to say of a run that has ended, if it has.
Result<bool> report_ended(const catalog::Run& run, TaskReport& report) {
    report.run_id = run.id.value;
    switch (run.state) {
        case catalog::RunState::Running:
            return false;
        case catalog::RunState::Published:
        case catalog::RunState::Unchanged:
            report.already = true;
            return true;
        case catalog::RunState::Halted:
            report.result = TaskResult::Halted;
            report.reasons.push_back(run.message);
            return true;
        case catalog::RunState::Failed:
            break;
    }
    return fail(ErrorCode::Conflict,
                fmt::format("run {} has failed: {}", run.id.value, run.message),
                "Begin it anew with `px task look`");
}

Result<void> look_task(const RunServices& services, const TaskRequest& request, TaskReport& report,
                       const Deadline& caller) {
    const PipelineLock lock = PX_TRY(PipelineLock::acquire(
        services, catalog::LockMode::Exclusive, Deadline::after(request.lock_wait, caller.stop)));
    LockWatch watch([&] { return lock.check(); }, caller);
    const Scratch scratch = PX_TRY(Scratch::create(services.work_folder / "scratch"));
    std::unique_ptr<catalog::Catalog> catalog = PX_TRY(open_if_there(services));
    if (catalog) {
        const std::optional<catalog::Run> known = PX_TRY(find_run(*catalog, request.run));
        if (known && known->ds == request.ds) {
            // Asked again: what the run has done so far stands. One that ended badly begins anew.
            if (known->state == catalog::RunState::Published) {
                PX_TRY(report_ended(*known, report));
                return {};
            }
            if (known->state == catalog::RunState::Running &&
                PX_TRY(catalog->task_output(known->id, "look"))) {
                report.run_id = known->id.value;
                report.already = true;
                return {};
            }
        }
    }
    RunRequest earlier;
    earlier.ds = request.ds;
    PX_TRY(watch.told(finish_earlier_runs(services, earlier, watch, scratch, catalog)));
    RunExecution execution(services, services.definition, request.ds, RunExecution::Purpose::Run,
                           services.lake, scratch.path());
    Result<void> looked =
        watch.told(execution.look(catalog.get(), RunRequest::Input::Outside, watch.deadline()));
    if (looked && !execution.anything_changed()) {
        report.result = TaskResult::NothingToDo;
        return {};
    }
    PX_TRY(services.ensure_containers());
    catalog = PX_TRY(services.open_catalog(catalog::OpenMode::ReadWrite));
    const catalog::Run begun = PX_TRY(
        catalog->begin_run(request.ds, services.definition.text,
                           looked ? execution.input_fingerprint() : std::string(), request.run));
    report.run_id = begun.id.value;
    log::set_context("run", begun.id.value);
    if (services.step) services.step("run.begun");
    if (looked) looked = execution.begin(*catalog, begun);
    if (!looked) {
        const RunReport ended =
            PX_TRY(end_before_landed(execution, *catalog, begun, std::move(looked).error()));
        report.result = TaskResult::Halted;
        report.reasons = ended.reasons;
    }
    report.attempt = execution.attempt_of("look");
    return {};
}

Result<void> later_task(const RunServices& services, const TaskRequest& request, TaskReport& report,
                        const Deadline& deadline) {
    const bool publishes = request.task == "publish";
    const PipelineLock lock = PX_TRY(PipelineLock::acquire(
        services, publishes ? catalog::LockMode::Exclusive : catalog::LockMode::Shared,
        Deadline::after(request.lock_wait, deadline.stop)));
    LockWatch watch([&] { return lock.check(); }, deadline);
    const auto unknown = [&] {
        return fail(ErrorCode::NotFound, fmt::format("no run is called '{}'", request.run),
                    "`px task look` with the same --run-id begins it, or says that there is "
                    "nothing to do");
    };
    Result<std::unique_ptr<catalog::Catalog>> opened =
        services.open_catalog(catalog::OpenMode::ReadOnly);
    if (!opened && opened.error().code == ErrorCode::NotFound) return unknown();
    PX_TRY(std::move(opened));
    const std::unique_ptr<catalog::Catalog> catalog =
        PX_TRY(services.open_catalog(catalog::OpenMode::ReadWrite));
    const std::optional<catalog::Run> run = PX_TRY(find_run(*catalog, request.run));
    if (!run) return unknown();
    if (run->ds != request.ds) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("run {} ('{}') is for {}, not for {}", run->id.value, request.run,
                                run->ds, request.ds),
                    "Give every task of a run the same --run-id and --ds");
    }
    if (PX_TRY(report_ended(*run, report))) return {};
    if (!PX_TRY(services.has_same_services(run->pipeline_text))) {
        return fail(ErrorCode::Conflict,
                    fmt::format("run {} began with other addresses or another embedding than the "
                                "pipeline file has now",
                                run->id.value),
                    "Put them back, or begin anew with `px run --restart`");
    }
    log::set_context("run", run->id.value);
    // The run keeps the pipeline file it began with.
    const Definition definition =
        PX_TRY(services.parse(run->pipeline_text).context("pipeline file of run " + run->id.value));
    const Task task = PX_TRY(find_task(definition, request.task));
    const Scratch scratch = PX_TRY(Scratch::create(
        services.work_folder /
        (publishes ? "scratch" : fmt::format("scratch/{}-{}", ::getpid(), services.clock.now()))));
    RunExecution execution(services, definition, run->ds, RunExecution::Purpose::Run, services.lake,
                           scratch.path());
    execution.perform_alone();
    if (!PX_TRY(execution.take_up(*catalog, *run))) {
        return fail(ErrorCode::Conflict,
                    fmt::format("task look of run {} was interrupted", run->id.value),
                    "Begin it anew with `px task look`");
    }
    const Deadline own = limited(watch.deadline(), definition.retries.timeout);
    if (publishes) {
        for (const Task& before : make_graph(definition)) {
            if (before.stage != Stage::Look && before.stage != Stage::Publish)
                PX_TRY(execution.recall(before, own));
        }
        PX_TRY(execution.check_tables());
        execution.fill_source_reports();
        PX_TRY(watch.check());
    }
    Result<void> done = watch.told(execution.perform(task, own));
    const bool lands = task.stage == Stage::Land;
    if (!done && lands &&
        (done.error().code == ErrorCode::ContractViolated ||
         done.error().code == ErrorCode::Corrupt)) {
        execution.report().reasons.push_back(done.error().to_string());
        done = {};
    }
    PX_TRY(std::move(done).context("run " + run->id.value));
    report.attempt = execution.attempt_of(task.name);
    report.already = report.attempt == 0;
    report.metrics_json = json::serialize(execution.metrics_of(task.name));
    if (!execution.halted()) return {};
    report.result = TaskResult::Halted;
    report.reasons = execution.halt_reasons();
    execution.report().result = RunResult::Halted;
    execution.report().reasons = report.reasons;
    execution.fill_source_reports();
    execution.note_elapsed();
    return catalog->finish_run(run->id, catalog::RunState::Halted, joined(report.reasons),
                               report_json(execution.report()));
}

}  // namespace

Result<TaskReport> run_task(const RunServices& services, const TaskRequest& request,
                            const Deadline& deadline) {
    const auto started = std::chrono::steady_clock::now();
    PX_TRY(parse_date(request.ds).context("the logical date (--ds)"));
    if (request.run.empty() || request.run.size() > 500) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("a run's name has 1 to 500 bytes, not {}", request.run.size()),
                    "Pass what names the run with --run-id");
    }
    TaskReport report;
    report.task = request.task;
    report.ds = request.ds;
    if (request.task == "look") {
        PX_TRY(look_task(services, request, report, deadline));
    } else {
        PX_TRY(later_task(services, request, report, deadline));
    }
    const ProcessUsage usage = process_usage();
    report.cpu_s = usage.cpu_s;
    report.memory_max_bytes = usage.memory_max_bytes;
    report.elapsed_s =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    return report;
}

std::string task_report_json(const TaskReport& report) {
    static constexpr std::string_view kResults[] = {"done", "skipped", "halted"};
    json::object object{{"task", report.task},
                        {"run", report.run_id},
                        {"ds", report.ds},
                        {"state", kResults[static_cast<size_t>(report.result)]},
                        {"already", report.already},
                        {"attempt", report.attempt},
                        {"elapsed_s", report.elapsed_s},
                        {"cpu_s", report.cpu_s},
                        {"memory_max_bytes", report.memory_max_bytes}};
    boost::system::error_code code;
    json::value metrics = json::parse(report.metrics_json, code);
    if (!code && metrics.is_object()) object["metrics"] = std::move(metrics);
    if (!report.reasons.empty()) object["reasons"] = json::value_from(report.reasons);
    return json::serialize(object);
}

Result<RunReport> plan(const RunServices& services, const RunRequest& request,
                       const Deadline& deadline) {
    PX_TRY(parse_date(request.ds).context("the logical date (--ds)"));
    const Scratch scratch =
        PX_TRY(Scratch::create(services.work_folder / fmt::format("plan-{}", ::getpid())));
    store::LocalObjectStore target(scratch.path() / "lake", "scratch");
    PX_TRY(target.ensure_container());
    const std::unique_ptr<catalog::Catalog> catalog = PX_TRY(open_if_there(services));
    if (catalog) {
        for (const catalog::Run& unfinished : PX_TRY(catalog->unfinished_runs())) {
            log::warning("plan.unfinished_run",
                         {{"run", unfinished.id.value},
                          {"meaning", "`px run` finishes it first; this plan begins before it"}});
        }
    }
    RunExecution execution(services, services.definition, request.ds, RunExecution::Purpose::Plan,
                           target, scratch.path());
    PX_TRY(execution.look(catalog.get(), request.input, deadline));
    RunReport& report = execution.report();
    if (execution.anything_changed()) {
        execution.plan_landed();
        PX_TRY(
            perform_stages(execution, services, services.definition, kBeforeGate, false, deadline));
        if (execution.halted()) {
            report.result = RunResult::Halted;
        } else {
            PX_TRY(perform_stages(execution, services, services.definition,
                                  {Stage::Merge, Stage::Chunk, Stage::Embed}, false, deadline));
            report.result = RunResult::Published;
        }
    }
    execution.fill_source_reports();
    execution.note_elapsed();
    return report;
}

std::string report_json(const RunReport& report) {
    json::array sources;
    for (const SourceReport& source : report.sources) {
        json::array samples;
        for (const RejectedSample& sample : source.samples) {
            samples.push_back(json::object{{"file", sample.file},
                                           {"line", sample.line},
                                           {"rule", sample.rule},
                                           {"column", sample.column},
                                           {"reason", sample.reason}});
        }
        sources.push_back(json::object{{"name", source.name},
                                       {"files", source.files},
                                       {"bytes", source.bytes},
                                       {"accepted", source.accepted},
                                       {"quarantined", source.rejected},
                                       {"unchanged", source.unchanged},
                                       {"note", source.note},
                                       {"rejected_samples", std::move(samples)}});
    }
    static constexpr std::string_view kResults[] = {"published", "unchanged", "halted"};
    json::object object{{"result", kResults[static_cast<size_t>(report.result)]},
                        {"run", report.run_id},
                        {"ds", report.ds},
                        {"resumed", report.resumed},
                        {"sources", std::move(sources)},
                        {"tables", json::value_from(report.tables)},
                        {"chunks", json::object{{"embed", report.chunks_embedded},
                                                {"reuse", report.chunks_reused},
                                                {"delete", report.chunks_deleted},
                                                {"truncated", report.chunks_truncated},
                                                {"total", report.chunks_total}}},
                        {"documents", report.documents},
                        {"reasons", json::value_from(report.reasons)},
                        {"elapsed_s", report.elapsed_s},
                        {"cpu_s", report.cpu_s},
                        {"memory_max_bytes", report.memory_max_bytes},
                        {"bytes_written", report.bytes_written}};
    if (report.promotion) {
        object["promotion"] = json::object{{"rule", report.promotion->rule},
                                           {"reason", report.promotion->reason},
                                           {"served", report.promotion->promoted}};
    }
    if (report.cost) object["cost"] = *report.cost;
    if (report.release > 0) object["release"] = report.release;
    return json::serialize(object);
}

}  // namespace px::pipeline
