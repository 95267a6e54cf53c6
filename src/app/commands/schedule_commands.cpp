#include <fmt/format.h>

#include <boost/json.hpp>
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include "app/commands/commands.h"
#include "app/schedule_wire.h"
#include "base/log.h"
#include "schedule/process_runner.h"

namespace px::app {

namespace {

namespace json = boost::json;
using catalog::ItemKind;
using catalog::ItemState;
using catalog::OpenMode;
using catalog::ScheduleItem;
using catalog::ScheduleStore;

struct ScheduleOptions {
    std::vector<std::string> files;
    int runs = schedule::SchedulerOptions().runs_max;
    int backfills = schedule::SchedulerOptions().backfills_max;
    bool until_idle = false;
    std::string ds;
    std::string from, to;
    std::string order;
    bool newest_first = false;
    int64_t parallel = 1;
    bool wait = false;
    bool detach = false;
    bool keep_going = false;
    std::string item;
    std::string task;
    int64_t attempt = 0;
    int64_t limit = 20;
};

json::value instant_json(std::optional<TimestampMicros> at) {
    return at && *at != 0 ? json::value(format_timestamp(*at)) : json::value();
}

json::object item_json(const ScheduleItem& item) {
    return {{"item", item.id},
            {"pipeline", item.pipeline},
            {"kind", catalog::name_of(item.kind)},
            {"ds", item.ds},
            {"due_at", instant_json(item.due_at)},
            {"state", catalog::name_of(item.state)},
            {"attempt", item.attempt},
            {"owner", item.owner},
            {"heartbeat_at", instant_json(item.heartbeat_at)},
            {"next_attempt_at",
             item.state == ItemState::Queued ? instant_json(item.next_attempt_at) : json::value()},
            {"cancel_requested", item.cancel_requested},
            {"run_id", item.run_id},
            {"exit_code", item.exit_code ? json::value(*item.exit_code) : json::value()},
            {"message", item.message},
            {"log_file", item.log_file},
            {"created_at", instant_json(item.created_at)},
            {"started_at", instant_json(item.started_at)},
            {"finished_at", instant_json(item.finished_at)}};
}

/// A pipeline file and the state of its schedule.
struct Opened {
    Config config;
    std::unique_ptr<ScheduleStore> store;
};

Result<Opened> open(const CommandContext& context, OpenMode mode, const Clock& clock) {
    Config config =
        PX_TRY(load_config(PX_TRY(find_pipeline_file(context.file)), context.environment));
    auto store = open_schedule_store(config, mode, clock);
    if (!store && store.error().code == ErrorCode::NotFound) {
        return fail(ErrorCode::NotFound,
                    fmt::format("pipeline '{}' was never run or scheduled", config.definition.name),
                    "Start `px schedule`, or run it with `px run`");
    }
    return Opened{std::move(config), PX_TRY(std::move(store))};
}

schedule::SchedulerOptions scheduler_options(const ScheduleOptions& options) {
    schedule::SchedulerOptions made;
    made.runs_max = options.runs;
    made.backfills_max = options.backfills;
    return made;
}

Result<int> run_schedule(CommandContext& context, const ScheduleOptions& options) {
    static const SystemClock clock;
    const schedule::SchedulerOptions scheduler = scheduler_options(options);
    PX_TRY(scheduler.validate());
    std::vector<schedule::ScheduledPipeline> pipelines;
    Messengers messengers;
    std::map<std::string, std::string> catalogs;
    for (const std::filesystem::path& file :
         PX_TRY(find_pipeline_files(options.files, context.file))) {
        const Config config = PX_TRY(load_config(file, context.environment));
        pipelines.push_back(PX_TRY(scheduled_pipeline(config, context.environment, clock)));
        messengers.add(config);
        const catalog::CatalogAddress address = PX_TRY(catalog::parse_catalog_address(
            config.definition.catalog_url, config.definition.base_folder));
        const std::string place = address.kind == catalog::CatalogAddress::Kind::Sqlite
                                      ? address.file.string()
                                      : address.shown;
        const auto [at, is_new] = catalogs.emplace(place + "\n" + config.definition.name, file);
        if (!is_new) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("{} and {} are the same pipeline '{}' in one catalog",
                                    at->second, file.string(), config.definition.name),
                        "Give each pipeline a name and a catalog of its own");
        }
    }
    for (const auto& pipeline : pipelines) {
        const auto next = pipeline.due->next_after(clock.now());
        log::info("schedule.watch", {{"pipeline", pipeline.name},
                                     {"file", pipeline.file.string()},
                                     {"next", next ? format_timestamp(*next) : "never"}});
    }
    schedule::ProcessRunner runner;
    schedule::Scheduler loop(
        std::move(pipelines), runner,
        schedule::real_world(clock, [&](const schedule::Event& event) { messengers.tell(event); }),
        scheduler);
    if (!options.until_idle) {
        loop.run(context.stop);
        return kExitDone;
    }
    while (!context.stop.stop_requested()) {
        const std::chrono::microseconds wait = loop.step();
        if (!loop.is_busy() && wait.count() > 0 && !loop.has_waiting()) break;
        if (wait.count() > 0) runner.wait(wait, context.stop);
    }
    if (context.stop.stop_requested()) loop.run(context.stop);
    return kExitDone;
}

Result<int> status(CommandContext& context, const ScheduleOptions& options) {
    const SystemClock clock;
    Opened opened = PX_TRY(open(context, OpenMode::ReadOnly, clock));
    const pipeline::Definition& definition = opened.config.definition;
    const catalog::PipelineSchedule state = PX_TRY(opened.store->pipeline(definition.name));
    catalog::ItemFilter filter;
    filter.pipeline = definition.name;
    filter.limit = static_cast<size_t>(options.limit);
    std::vector<ScheduleItem> items;
    for (const bool is_open : {true, false}) {
        filter.open = is_open;
        for (ScheduleItem& item : PX_TRY(opened.store->items(filter)))
            items.push_back(std::move(item));
    }
    const schedule::DueTimes due =
        PX_TRY(schedule::DueTimes::parse(definition.schedule.cron, definition.schedule.timezone));
    const TimestampMicros now = clock.now();
    const auto next = due.next_after(std::max(now, state.enumerated_until.value_or(now)));
    // The clock was ahead once and was put right: nothing is due until it is there again.
    constexpr int64_t kAheadMax = int64_t{3'600} * 1'000'000;
    const bool is_ahead = state.enumerated_until && *state.enumerated_until > now + kAheadMax;
    if (context.json) {
        json::array list;
        for (const ScheduleItem& item : items) list.push_back(item_json(item));
        print(json::serialize(json::object{
                  {"pipeline", definition.name},
                  {"cron", definition.schedule.cron},
                  {"timezone", definition.schedule.timezone},
                  {"paused", state.paused},
                  {"failing", state.failing},
                  {"enumerated_until", instant_json(state.enumerated_until)},
                  {"next_due", next ? json::value(format_timestamp(*next)) : json::value()},
                  {"items", std::move(list)}}) +
              "\n");
        return kExitDone;
    }
    print(fmt::format("{}  {} {}{}{}\nnext due {}\n", definition.name, definition.schedule.cron,
                      definition.schedule.timezone, state.paused ? ", paused" : "",
                      state.failing ? ", the last run failed" : "",
                      next ? short_time(*next) + " UTC" : "never"));
    if (is_ahead) {
        print(fmt::format("The clock was ahead until {} UTC: px resume begins again from now.\n",
                          short_time(*state.enumerated_until)));
    }
    std::vector<std::vector<std::string>> rows;
    for (const ScheduleItem& item : items) {
        rows.push_back({std::to_string(item.id), std::string(catalog::name_of(item.kind)), item.ds,
                        std::string(catalog::name_of(item.state)), std::to_string(item.attempt),
                        item.started_at ? short_time(*item.started_at) : "-", item.run_id,
                        item.message});
    }
    if (!rows.empty()) {
        print("\n" +
              render_table({"item", "kind", "ds", "state", "attempt", "started", "run", "message"},
                           rows));
    }
    return kExitDone;
}

Result<void> check_ds(const std::string& ds, const pipeline::Definition& definition,
                      const Clock& clock, const char* option) {
    const int32_t day = PX_TRY(parse_date(ds).context(option));
    const schedule::DueTimes due =
        PX_TRY(schedule::DueTimes::parse(definition.schedule.cron, definition.schedule.timezone));
    const std::string today_there = due.ds_of(clock.now());
    if (day > PX_TRY(parse_date(today_there))) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("{} {} is in the future: in {} it is {}", option, ds,
                                definition.schedule.timezone, today_there),
                    "Name a date that has begun");
    }
    return {};
}

Result<int> trigger(CommandContext& context, const ScheduleOptions& options) {
    const SystemClock clock;
    Opened opened = PX_TRY(open(context, OpenMode::ReadWrite, clock));
    const pipeline::Definition& definition = opened.config.definition;
    const schedule::DueTimes due =
        PX_TRY(schedule::DueTimes::parse(definition.schedule.cron, definition.schedule.timezone));
    const std::string ds = options.ds.empty() ? due.ds_of(clock.now()) : options.ds;
    PX_TRY(check_ds(ds, definition, clock, "--ds"));
    const catalog::Enqueued made = PX_TRY(opened.store->enqueue(
        definition.name, {{ItemKind::Manual, clock.now(), ds, 1}}, clock.now()));
    const bool is_new = !made.added.empty();
    const ScheduleItem& item = is_new ? made.added.front() : made.present.front();
    if (context.json) {
        print(json::serialize(item_json(item)) + "\n");
    } else {
        print(fmt::format("Item {} for {}{}\n", item.id, ds,
                          is_new ? ": waits for a scheduler (px schedule, px up)"
                                 : fmt::format(" is {} already", catalog::name_of(item.state))));
    }
    return kExitDone;
}

Result<int> set_paused(CommandContext& context, bool paused) {
    const SystemClock clock;
    Opened opened = PX_TRY(open(context, OpenMode::ReadWrite, clock));
    const std::string& name = opened.config.definition.name;
    PX_TRY(opened.store->set_paused(name, paused));
    const catalog::PipelineSchedule state = PX_TRY(opened.store->pipeline(name));
    if (!paused && state.enumerated_until && *state.enumerated_until > clock.now()) {
        PX_TRY(opened.store->enumerate(name, state.enumerated_until, clock.now(), {},
                                       catalog::Missed::Kept, clock.now()));
    }
    if (context.json) {
        print(json::serialize(json::object{{"pipeline", name}, {"paused", paused}}) + "\n");
    } else {
        print(fmt::format("{} is {}\n", name,
                          paused ? "paused: nothing new starts until px resume" : "resumed"));
    }
    return kExitDone;
}

/// An item by its number, or by the run it made. Empty: none given.
Result<std::optional<ScheduleItem>> find_item(ScheduleStore& store, const std::string& pipeline,
                                              const std::string& word) {
    if (word.empty()) return std::optional<ScheduleItem>();
    catalog::ItemFilter filter;
    filter.pipeline = pipeline;
    if (word.find_first_not_of("0123456789") == std::string::npos && word.size() < 10) {
        filter.id = std::stoll(word);
        auto found = PX_TRY(store.items(filter));
        if (!found.empty()) return std::optional<ScheduleItem>(std::move(found.front()));
    } else {
        filter.limit = 10'000;
        for (ScheduleItem& item : PX_TRY(store.items(filter))) {
            if (item.run_id == word || item.ds == word)
                return std::optional<ScheduleItem>(std::move(item));
        }
    }
    return fail(ErrorCode::NotFound,
                fmt::format("there is no item or run '{}' in the schedule", word),
                "See px schedule status");
}

Result<int> cancel(CommandContext& context, const ScheduleOptions& options) {
    const SystemClock clock;
    Opened opened = PX_TRY(open(context, OpenMode::ReadWrite, clock));
    const std::string& name = opened.config.definition.name;
    std::vector<ScheduleItem> chosen;
    if (const auto item = PX_TRY(find_item(*opened.store, name, options.item))) {
        chosen.push_back(*item);
    } else {
        catalog::ItemFilter filter;
        filter.pipeline = name;
        filter.state = ItemState::Running;
        chosen = PX_TRY(opened.store->items(filter));
    }
    int64_t cancelled = 0;
    for (const ScheduleItem& item : chosen) {
        if (PX_TRY(opened.store->request_cancel(item.id, clock.now()))) ++cancelled;
    }
    if (context.json) {
        print(json::serialize(json::object{{"pipeline", name}, {"cancelled", cancelled}}) + "\n");
    } else if (cancelled == 0) {
        print("Nothing to cancel.\n");
    } else {
        print(fmt::format("Cancelling {} {}: a run that works gets SIGTERM, then half a minute.\n",
                          cancelled, cancelled == 1 ? "item" : "items"));
    }
    return cancelled > 0 ? kExitDone : kExitNothingToDo;
}

void print_item(const CommandContext& context, const ScheduleItem& item) {
    if (context.json) {
        print(json::serialize(item_json(item)) + "\n");
    } else {
        print(fmt::format("{}  {}{}{}{}\n", item.ds, catalog::name_of(item.state),
                          item.run_id.empty() ? "" : "  run " + item.run_id,
                          item.message.empty() ? "" : "  ", printable(item.message)));
    }
    std::fflush(stdout);
}

/// Works on the queue itself, and watches what other schedulers do of it, until every item ended.
Result<int> wait_for(CommandContext& context, const ScheduleOptions& options, Opened& opened,
                     const std::set<int64_t>& ids, const Clock& clock) {
    schedule::ScheduledPipeline pipeline =
        PX_TRY(scheduled_pipeline(opened.config, context.environment, clock));
    pipeline.due.reset();  // due times are the scheduler's, not ours
    const std::string name = pipeline.name;
    Messengers messengers;
    messengers.add(opened.config);
    schedule::ProcessRunner runner;
    schedule::Scheduler loop(
        {std::move(pipeline)}, runner,
        schedule::real_world(clock, [&](const schedule::Event& event) { messengers.tell(event); }),
        scheduler_options(options));
    std::set<int64_t> open_ids = ids;
    std::set<int64_t> to_cancel;
    int code = kExitNothingToDo;
    bool stopping = false;
    bool is_reached = true;
    // A catalog that can't be reached for a while holds us up and is no reason to end.
    const auto passes = [&](const Error& error) {
        if (!error_traits(error.code).retryable) return false;
        if (std::exchange(is_reached, false))
            log::warning("backfill.catalog", {{"error", error.to_string()}, {"next", "waiting"}});
        return true;
    };
    while (true) {
        const std::chrono::microseconds wait = loop.step();
        for (auto at = to_cancel.begin(); at != to_cancel.end(); at = to_cancel.erase(at)) {
            const Result<bool> asked = opened.store->request_cancel(*at, clock.now());
            if (asked) continue;
            if (!passes(asked.error())) return asked.error();
            break;
        }
        for (auto at = open_ids.begin(); at != open_ids.end();) {
            catalog::ItemFilter filter;
            filter.id = *at;
            const Result<std::vector<ScheduleItem>> seen = opened.store->items(filter);
            if (!seen) {
                if (!passes(seen.error())) return seen.error();
                break;
            }
            is_reached = true;
            const std::vector<ScheduleItem>& found = *seen;
            if (found.empty() || !catalog::is_final(found.front().state)) {
                // In order: those behind one that has not begun have not either. One that waits to
                // be tried again holds up none.
                if (!found.empty() && found.front().state == ItemState::Queued &&
                    found.front().attempt == 0)
                    break;
                ++at;
                continue;
            }
            const ScheduleItem& item = found.front();
            print_item(context, item);
            at = open_ids.erase(at);
            if (item.state == ItemState::Done && code == kExitNothingToDo) code = kExitDone;
            const bool bad = item.state == ItemState::Halted || item.state == ItemState::Failed ||
                             item.state == ItemState::Cancelled;
            if (!bad) continue;
            if (item.state == ItemState::Halted) {
                code = kExitHalted;
            } else if (code != kExitHalted) {
                code = static_cast<int>(item.exit_code.value_or(1));
                if (code == kExitDone || code == kExitNothingToDo || code == kExitHalted) code = 1;
            }
            if (!options.keep_going && !stopping) {
                stopping = true;
                log::error("backfill.stopped",
                           {{"ds", item.ds},
                            {"state", catalog::name_of(item.state)},
                            {"next", "mend the cause, then repeat the same command"}});
                to_cancel = open_ids;
            }
        }
        if (open_ids.empty() && !loop.is_busy()) return code;
        if (context.stop.stop_requested()) {
            // What waits stays in the queue for a scheduler; what works here ends as it began.
            loop.drain();
            if (!loop.is_busy()) {
                return fail(ErrorCode::Cancelled,
                            fmt::format("stopped with {} dates left", open_ids.size()),
                            "The same command goes on with them, as does px schedule");
            }
        }
        runner.wait(
            std::clamp(wait, std::chrono::microseconds(1'000), std::chrono::microseconds(500'000)),
            context.stop);
    }
}

Result<int> backfill(CommandContext& context, const ScheduleOptions& options) {
    const SystemClock clock;
    const int32_t from = PX_TRY(parse_date(options.from).context("--from"));
    const int32_t to = PX_TRY(parse_date(options.to).context("--to"));
    if (to < from) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("--to {} is before --from {}", options.to, options.from),
                    "Name the first date with --from and the last with --to");
    }
    if (to - from > 36'600)
        return fail(ErrorCode::InvalidArgument, "the range is longer than a hundred years");
    if (options.wait && options.detach)
        return fail(ErrorCode::InvalidArgument, "--wait and --detach exclude each other");
    Opened opened = PX_TRY(open(context, OpenMode::ReadWrite, clock));
    const pipeline::Definition& definition = opened.config.definition;
    PX_TRY(check_ds(options.to, definition, clock, "--to"));
    if (!options.detach && PX_TRY(opened.store->pipeline(definition.name)).paused) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("pipeline '{}' is paused", definition.name),
                    "px resume, or queue the dates with --detach");
    }
    if (options.parallel > definition.schedule.max_active_runs) {
        log::warning("backfill.parallel", {{"asked", options.parallel},
                                           {"max_active_runs", definition.schedule.max_active_runs},
                                           {"effect", "one date after another"}});
    }
    const bool newest_first = options.newest_first || options.order == "newest";
    std::vector<catalog::NewItem> items;
    for (int32_t i = 0; i <= to - from; ++i) {
        items.push_back({ItemKind::Backfill, clock.now(),
                         format_date(newest_first ? to - i : from + i), options.parallel});
    }
    const catalog::Enqueued made =
        PX_TRY(opened.store->enqueue(definition.name, items, clock.now()));
    log::info("backfill.queued", {{"pipeline", definition.name},
                                  {"added", made.added.size()},
                                  {"present", made.present.size()}});
    if (options.detach) {
        if (context.json) {
            json::array list;
            for (const auto* part : {&made.added, &made.present}) {
                for (const ScheduleItem& item : *part) list.push_back(item_json(item));
            }
            print(json::serialize(json::object{{"added", made.added.size()},
                                               {"present", made.present.size()},
                                               {"items", std::move(list)}}) +
                  "\n");
        } else {
            print(fmt::format("{} dates queued, {} were there already; px schedule works on them\n",
                              made.added.size(), made.present.size()));
        }
        return kExitDone;
    }
    std::set<int64_t> ids;
    for (const auto* part : {&made.added, &made.present}) {
        for (const ScheduleItem& item : *part) ids.insert(item.id);
    }
    return wait_for(context, options, opened, ids, clock);
}

Result<int> logs(CommandContext& context, const ScheduleOptions& options) {
    const SystemClock clock;
    Opened opened = PX_TRY(open(context, OpenMode::ReadOnly, clock));
    const std::string& name = opened.config.definition.name;
    std::optional<ScheduleItem> item = PX_TRY(find_item(*opened.store, name, options.item));
    if (!item) {
        catalog::ItemFilter filter;
        filter.pipeline = name;
        filter.limit = 1'000;
        for (ScheduleItem& each : PX_TRY(opened.store->items(filter))) {
            if (each.attempt > 0 && (!item || each.started_at > item->started_at))
                item = std::move(each);
        }
        if (!item)
            return fail(ErrorCode::NotFound, "no scheduled run has begun yet",
                        "See px schedule status");
    }
    for (const catalog::ItemAttempt& attempt : PX_TRY(opened.store->attempts(item->id))) {
        if (options.attempt > 0 && attempt.attempt != options.attempt) continue;
        std::ifstream in(attempt.log_file);
        if (context.json) {
            std::string text((std::istreambuf_iterator<char>(in)), {});
            print(json::serialize(
                      json::object{{"item", item->id},
                                   {"ds", item->ds},
                                   {"attempt", attempt.attempt},
                                   {"outcome", attempt.outcome},
                                   {"exit_code", attempt.exit_code ? json::value(*attempt.exit_code)
                                                                   : json::value()},
                                   {"run_id", attempt.run_id},
                                   {"started_at", instant_json(attempt.started_at)},
                                   {"finished_at", instant_json(attempt.finished_at)},
                                   {"log_file", attempt.log_file},
                                   {"log", json::string(printable(text))}}) +
                  "\n");
            continue;
        }
        print(fmt::format("== item {} for {}, attempt {}: {}{} ({})\n", item->id, item->ds,
                          attempt.attempt, attempt.outcome.empty() ? "works" : attempt.outcome,
                          attempt.message.empty() ? "" : ", " + printable(attempt.message),
                          short_time(attempt.started_at)));
        if (!in) {
            print(fmt::format("(its log {} is not here: another machine, or rotated away)\n",
                              attempt.log_file));
        }
        std::string line;
        while (std::getline(in, line)) {
            if (options.task.empty() || line.find(options.task) != std::string::npos)
                print(printable(line) + "\n");
        }
    }
    return kExitDone;
}

}  // namespace

void add_schedule_commands(CLI::App& cli, CommandContext& context) {
    auto options = std::make_shared<ScheduleOptions>();
    const auto choose = [&context, options](CLI::App* command, auto function) {
        command->callback([&context, options, function] {
            if (!context.chosen)
                context.chosen = [&context, options, function] {
                    return function(context, *options);
                };
        });
    };

    CLI::App* schedule = cli.add_subcommand(
        "schedule", "Run pipelines on their schedules until stopped; SIGTERM lets runs end");
    schedule->add_option("files", options->files,
                         "Pipeline files, or folders of them (default: pipeline.yaml here)");
    schedule->add_option("--runs", options->runs, "Scheduled and manual runs at once")
        ->check(CLI::Range(1, 256));
    schedule->add_option("--backfills", options->backfills, "Backfilled dates at once, besides")
        ->check(CLI::Range(1, 256));
    schedule->add_flag("--until-idle", options->until_idle,
                       "End when nothing waits and nothing works");
    CLI::App* state = schedule->add_subcommand("status", "What is due, waits, works and was done");
    state->add_option("--limit", options->limit, "Items of each kind of state")
        ->check(CLI::Range(1, 100'000));
    choose(state, status);
    choose(schedule, run_schedule);

    CLI::App* fire = cli.add_subcommand("trigger", "Put a run into the queue of the scheduler");
    fire->add_option("--ds", options->ds, "Logical date (default: today in the schedule's zone)");
    choose(fire, trigger);

    CLI::App* pause = cli.add_subcommand("pause", "Start nothing new of this pipeline");
    choose(pause, [](CommandContext& c, const ScheduleOptions&) { return set_paused(c, true); });
    CLI::App* resume = cli.add_subcommand("resume", "Start runs again");
    choose(resume, [](CommandContext& c, const ScheduleOptions&) { return set_paused(c, false); });

    CLI::App* stop =
        cli.add_subcommand("cancel", "End a scheduled run, or take it out of the queue");
    stop->add_option("item", options->item, "Item, run or date (default: what works now)");
    choose(stop, cancel);

    CLI::App* fill = cli.add_subcommand("backfill", "Run a range of logical dates");
    fill->add_option("--from", options->from, "First date")->required();
    fill->add_option("--to", options->to, "Last date")->required();
    fill->add_option("--order", options->order, "oldest or newest first")
        ->check(CLI::IsMember({"oldest", "newest"}));
    fill->add_flag("--newest-first", options->newest_first, "The same as --order newest");
    fill->add_option("--parallel", options->parallel,
                     "Dates at once; a pipeline has one run at a time (max_active_runs)")
        ->check(CLI::Range(1, 64));
    fill->add_flag("--wait", options->wait, "Work on them here until all have ended (default)");
    fill->add_flag("--detach", options->detach, "Leave them to px schedule");
    fill->add_flag("--keep-going", options->keep_going,
                   "Go on with other dates when one halts or fails");
    choose(fill, backfill);

    CLI::App* show = cli.add_subcommand("logs", "What scheduled runs said, attempt by attempt");
    show->add_option("item", options->item, "Item, run or date (default: the newest)");
    show->add_option("--task", options->task, "Only lines that name this task");
    show->add_option("--attempt", options->attempt, "One attempt only");
    choose(show, logs);
}

}  // namespace px::app
