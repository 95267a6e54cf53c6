#include "schedule/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <random>
#include <utility>

#include "base/log.h"
#include "schedule/process_runner.h"

namespace px::schedule {

using catalog::Claim;
using catalog::Ending;
using catalog::ItemKind;
using catalog::ItemState;
using catalog::ScheduleItem;

namespace {

constexpr int64_t kNever = INT64_MAX / 4;

int64_t micros(std::chrono::milliseconds time) { return time.count() * 1'000; }

/// What a run said in its last line of JSON.
struct Said {
    std::string run_id;
    std::string message;
};

Said said_in(const std::string& line) {
    Said said;
    boost::system::error_code code;
    const boost::json::value value = boost::json::parse(line, code);
    if (code || !value.is_object()) return said;
    const boost::json::object& object = value.get_object();
    if (const auto* id = object.if_contains("run"); id != nullptr && id->is_string())
        said.run_id = std::string(id->get_string());
    if (const auto* error = object.if_contains("error"); error != nullptr && error->is_object()) {
        const auto* message = error->get_object().if_contains("message");
        if (message != nullptr && message->is_string())
            said.message = std::string(message->get_string());
    }
    if (const auto* reasons = object.if_contains("reasons");
        reasons != nullptr && reasons->is_array() && !reasons->get_array().empty() &&
        reasons->get_array().front().is_string())
        said.message = std::string(reasons->get_array().front().get_string());
    constexpr size_t kMessageMax = 2'000;
    if (said.message.size() > kMessageMax) said.message.resize(kMessageMax);
    return said;
}

}  // namespace

std::chrono::microseconds RetryPolicy::delay_after(int64_t failures, double random) const {
    std::chrono::microseconds wait = std::min<std::chrono::microseconds>(delay, delay_max);
    for (int64_t i = 1; exponential && i < failures && wait < delay_max; ++i)
        wait = std::min<std::chrono::microseconds>(wait * 2, delay_max);
    return wait + std::chrono::microseconds(
                      static_cast<int64_t>(static_cast<double>(wait.count()) * jitter * random));
}

Result<void> SchedulerOptions::validate() const {
    if (runs_max < 1 || runs_max > 256 || backfills_max < 1 || backfills_max > 256)
        return fail(ErrorCode::InvalidArgument, "a scheduler works on 1 to 256 runs at once",
                    "Choose --runs and --backfills between 1 and 256");
    if (stale_after < heartbeat_every * 3)
        return fail(ErrorCode::InvalidArgument,
                    "stale_after must be at least three heartbeats of the scheduler");
    return {};
}

SchedulerWorld real_world(const Clock& clock, std::function<void(const Event&)> on_event) {
    auto generator = std::make_shared<std::mt19937_64>(std::random_device{}());
    return SchedulerWorld{
        clock,
        [] {
            return std::chrono::duration_cast<std::chrono::microseconds>(
                       std::chrono::steady_clock::now().time_since_epoch())
                .count();
        },
        [generator] { return std::uniform_real_distribution<double>(0, 1)(*generator); },
        [generator] { return fmt::format("{:016x}{:016x}", (*generator)(), (*generator)()); },
        this_process(),
        is_process_alive,
        std::move(on_event)};
}

/// A pipeline and when to look at it again.
struct Scheduler::Entry {
    ScheduledPipeline pipeline;
    std::unique_ptr<catalog::ScheduleStore> store{};
    bool must_look = true;
    bool wants_slot = false;
    bool paused = false;
    size_t waiting = 0;
    int64_t look_at_us = 0;           // steady
    TimestampMicros due_at = kNever;  // wall: the next due time or retry
    int64_t used_us = 0;              // steady
    TimestampMicros wall_at_look = 0;
    std::string stamp{};
    struct Sight {
        int64_t fence, beat, since_us;
    };
    std::map<int64_t, Sight> sights{};  // running items of others
};

/// An item this scheduler works on.
struct Scheduler::Active {
    Entry* entry = nullptr;
    ScheduleItem item{};
    std::string child{};
    bool adopted = false;  // waits for a process of a scheduler that is gone
    bool lost = false;     // belongs to another now: only the process is still to be ended
    bool cancelled = false;
    bool timed_out = false;
    bool killed = false;
    int64_t began_us = 0;
    int64_t beat_us = 0;
    std::optional<int64_t> told_to_end_us{};
    bool ended = false;
    std::optional<Ending> unwritten{};  // its ending could not be written yet
    int64_t try_write_us = 0;
};

Scheduler::Scheduler(std::vector<ScheduledPipeline> pipelines, Runner& runner, SchedulerWorld world,
                     SchedulerOptions options)
    : runner_(runner), world_(std::move(world)), options_(options) {
    for (ScheduledPipeline& pipeline : pipelines) {
        entries_.push_back(std::make_unique<Entry>());
        entries_.back()->pipeline = std::move(pipeline);
    }
}

Scheduler::~Scheduler() = default;

int Scheduler::slots_left(bool backfill) const {
    int used = 0;
    for (const auto& active : active_) {
        if (!active->lost && (active->item.kind == ItemKind::Backfill) == backfill) ++used;
    }
    return (backfill ? options_.backfills_max : options_.runs_max) - used;
}

Claim Scheduler::claim_of(const Entry& entry) const {
    Claim claim;
    claim.pipeline = entry.pipeline.name;
    claim.owner = world_.owner;
    claim.token = world_.token();
    claim.active_max = entry.pipeline.max_active_runs;
    claim.now = world_.clock.now();
    claim.runs = slots_left(false) > 0;
    claim.backfills = slots_left(true) > 0;
    claim.retry_wait_max_us =
        2 * std::chrono::microseconds(entry.pipeline.retries.delay_max).count();
    claim.log_file = (entry.pipeline.log_folder / "{item}-{attempt}.log").string();
    return claim;
}

bool Scheduler::has_waiting() const {
    return std::ranges::any_of(
        entries_, [](const auto& entry) { return entry->waiting > 0 && !entry->paused; });
}

std::chrono::microseconds Scheduler::step() {
    for (auto& active : active_) tend(*active);
    const size_t before = active_.size();
    std::erase_if(active_, [](const auto& active) { return active->ended; });
    slot_was_freed_ = slot_was_freed_ || active_.size() < before;

    const int64_t now_us = world_.steady_us();
    const bool compares = now_us - stamps_compared_us_ >= micros(options_.poll_stamp);
    if (compares) stamps_compared_us_ = now_us;
    const TimestampMicros wall = world_.clock.now();
    const bool freed = std::exchange(slot_was_freed_, false);
    bool has_stamps = false;
    next_ = entries_.empty() ? 0 : (next_ + 1) % entries_.size();
    int64_t wait_us = micros(std::chrono::minutes(1));
    for (size_t i = 0; i < entries_.size(); ++i) {
        Entry& entry = *entries_[(next_ + i) % entries_.size()];
        has_stamps = has_stamps || entry.pipeline.stamp;
        bool looks = entry.must_look || now_us >= entry.look_at_us || wall >= entry.due_at ||
                     (freed && entry.wants_slot) || wall < entry.wall_at_look;
        if (!looks && compares && entry.pipeline.stamp)
            looks = entry.pipeline.stamp() != entry.stamp;
        if (looks) {
            look(entry);
            beat_when_due();  // a store that makes us wait must not make others' runs look dead
        }
        close_idle(entry);
        if (entry.must_look) wait_us = 0;
        wait_us = std::min({wait_us, entry.look_at_us - now_us, entry.due_at - wall});
    }
    if (has_stamps) wait_us = std::min(wait_us, micros(options_.poll_stamp));
    for (const auto& active : active_) {
        if (active->unwritten) {
            wait_us = std::min(wait_us, active->try_write_us - now_us);
            continue;
        }
        if (!active->lost)
            wait_us =
                std::min(wait_us, active->beat_us + micros(options_.heartbeat_every) - now_us);
        if (active->told_to_end_us || active->adopted)
            wait_us = std::min<int64_t>(wait_us, 100'000);
        if (active->entry->pipeline.timeout.count() > 0)
            wait_us = std::min<int64_t>(wait_us, 1'000'000);
    }
    if (slot_was_freed_) wait_us = 0;
    return std::chrono::microseconds(std::max<int64_t>(wait_us, 0));
}

void Scheduler::close_idle(Entry& entry) {
    if (!entry.store ||
        std::ranges::any_of(active_, [&](const auto& active) { return active->entry == &entry; }))
        return;
    const auto open = std::ranges::count_if(entries_, [](const auto& e) { return !!e->store; });
    if (static_cast<size_t>(open) > options_.idle_stores_max ||
        world_.steady_us() - entry.used_us > micros(options_.idle_close))
        entry.store.reset();
}

void Scheduler::beat_when_due() {
    for (auto& active : active_) {
        if (!active->ended && !active->unwritten && !active->lost && !active->child.empty())
            beat(*active);
    }
}

void Scheduler::look(Entry& entry) {
    if (entry.pipeline.stamp) entry.stamp = entry.pipeline.stamp();
    entry.must_look = false;
    entry.wants_slot = false;
    entry.due_at = kNever;
    entry.wall_at_look = world_.clock.now();
    const int64_t now_us = world_.steady_us();
    entry.look_at_us = entry.pipeline.stamp ? kNever : now_us + micros(options_.poll_store);
    const Result<void> looked = look_into(entry);
    entry.used_us = world_.steady_us();
    if (looked) return;
    if (looked.error().code == ErrorCode::Conflict) {  // another scheduler was first: look again
        entry.must_look = true;
        return;
    }
    log::error("schedule.store", {{"pipeline", entry.pipeline.name},
                                  {"error", looked.error().to_string()},
                                  {"again_in_s", options_.error_pause.count() / 1'000}});
    entry.store.reset();
    entry.due_at = kNever;
    entry.look_at_us = now_us + micros(options_.error_pause);
}

Result<catalog::ScheduleStore*> Scheduler::store_of(Entry& entry) {
    if (!entry.store) entry.store = PX_TRY(entry.pipeline.open());
    return entry.store.get();
}

Result<void> Scheduler::look_into(Entry& entry) {
    PX_TRY(store_of(entry));
    PX_TRY(enumerate(entry));
    PX_TRY(rescue(entry));
    if (draining_) return {};
    return claim(entry);
}

Result<void> Scheduler::enumerate(Entry& entry) {
    if (!entry.pipeline.due || draining_) return {};
    const DueTimes& due = *entry.pipeline.due;
    const catalog::PipelineSchedule state = PX_TRY(entry.store->pipeline(entry.pipeline.name));
    entry.paused = state.paused;
    if (state.paused) return {};
    const TimestampMicros now = world_.clock.now();
    TimestampMicros until = now;
    std::vector<catalog::NewItem> items;
    const auto add = [&](TimestampMicros at) {
        items.push_back({ItemKind::Schedule, at, due.ds_of(at), 1});
    };
    if (!state.enumerated_until) {
        // The first look: what was due before nobody asked for.
        PX_TRY(entry.store->enumerate(entry.pipeline.name, std::nullopt, now, {},
                                      catalog::Missed::Kept, now));
    } else if (*state.enumerated_until < now) {
        if (entry.pipeline.catchup) {
            for (const TimestampMicros at :
                 due.between(*state.enumerated_until, now, options_.enumerate_max))
                add(at);
            if (items.size() == options_.enumerate_max) {
                until = items.back().due_at;
                entry.must_look = true;
            }
        } else if (const auto newest = due.newest(*state.enumerated_until, now)) {
            add(*newest);
        }
        if (!items.empty()) {
            const catalog::Enqueued made = PX_TRY(entry.store->enumerate(
                entry.pipeline.name, state.enumerated_until, until, items,
                entry.pipeline.catchup ? catalog::Missed::Kept : catalog::Missed::Superseded, now));
            for (const ScheduleItem& item : made.added) {
                log::info("schedule.due", {{"pipeline", item.pipeline},
                                           {"item", item.id},
                                           {"ds", item.ds},
                                           {"due", format_timestamp(item.due_at)}});
            }
        }
    }
    // Nothing due is no reason to write: the next look begins where this one did.
    const Result<TimestampMicros> next =
        due.next_after(std::max(until, state.enumerated_until.value_or(now)));
    if (next) entry.due_at = std::min(entry.due_at, *next);
    return {};
}

Result<void> Scheduler::rescue(Entry& entry) {
    catalog::ItemFilter filter;
    filter.pipeline = entry.pipeline.name;
    filter.state = ItemState::Running;
    const std::vector<ScheduleItem> running = PX_TRY(entry.store->items(filter));
    const int64_t now_us = world_.steady_us();
    std::map<int64_t, Entry::Sight> sights;
    for (const ScheduleItem& item : running) {
        const auto mine = std::ranges::find_if(active_, [&](const auto& active) {
            return active->entry == &entry && active->item.id == item.id &&
                   active->item.fence == item.fence;
        });
        if (mine != active_.end()) {
            (*mine)->cancelled = (*mine)->cancelled || item.cancel_requested;
            continue;
        }
        const auto seen = entry.sights.find(item.id);
        Entry::Sight sight{item.fence, item.beat, now_us};
        if (seen != entry.sights.end() && seen->second.fence == item.fence &&
            seen->second.beat == item.beat)
            sight.since_us = seen->second.since_us;
        const bool gone = !world_.is_alive(item.owner).value_or(true) ||
                          item.owner == world_.owner ||  // claimed, and the reply was lost
                          now_us - sight.since_us >= micros(options_.stale_after);
        if (!gone) {
            sights.emplace(item.id, sight);
            entry.look_at_us = std::min(entry.look_at_us, now_us + micros(options_.poll_store));
            continue;
        }
        if (draining_) continue;
        const Result<ScheduleItem> taken = entry.store->take_over(item, claim_of(entry));
        if (!taken) {
            if (taken.error().code == ErrorCode::Conflict) continue;  // another was first
            return taken.error();
        }
        log::warning("schedule.taken_over", {{"pipeline", item.pipeline},
                                             {"item", item.id},
                                             {"ds", item.ds},
                                             {"owner", item.owner}});
        PX_TRY(begin(entry, *taken));
    }
    entry.sights = std::move(sights);
    return {};
}

Result<void> Scheduler::claim(Entry& entry) {
    while (true) {
        const Claim claim = claim_of(entry);
        entry.wants_slot = !claim.runs || !claim.backfills;
        if (!claim.runs && !claim.backfills) break;
        const auto taken = PX_TRY(entry.store->claim(claim));
        if (!taken) break;
        PX_TRY(begin(entry, *taken));
    }
    // Somebody's retry may be next.
    catalog::ItemFilter filter;
    filter.pipeline = entry.pipeline.name;
    filter.state = ItemState::Queued;
    const TimestampMicros now = world_.clock.now();
    const std::vector<ScheduleItem> queued = PX_TRY(entry.store->items(filter));
    entry.waiting = queued.size();
    for (const ScheduleItem& item : queued) {
        if (item.next_attempt_at > now) entry.due_at = std::min(entry.due_at, item.next_attempt_at);
    }
    return {};
}

Result<void> Scheduler::begin(Entry& entry, ScheduleItem item) {
    auto active = std::make_unique<Active>();
    active->entry = &entry;
    active->began_us = active->beat_us = world_.steady_us();
    active->cancelled = item.cancel_requested;
    active->item = std::move(item);
    if (!active->item.child.empty()) {
        active->child = active->item.child;
        active->adopted = true;
    }
    active_.push_back(std::move(active));
    tend(*active_.back());
    return {};
}

void Scheduler::start(Active& active) {
    const ScheduledPipeline& pipeline = active.entry->pipeline;
    Command command;
    for (std::string word : pipeline.command) {
        if (const size_t at = word.find("{ds}"); at != std::string::npos)
            word.replace(at, 4, active.item.ds);
        command.words.push_back(std::move(word));
    }
    command.log_file = active.item.log_file;
    command.log_bytes_max = options_.log_bytes_max;
    log::info("schedule.start", {{"pipeline", active.item.pipeline},
                                 {"item", active.item.id},
                                 {"kind", name_of(active.item.kind)},
                                 {"ds", active.item.ds},
                                 {"attempt", active.item.attempt}});
    const Result<std::string> started =
        runner_.start(command, [&](const std::string& child) -> Result<void> {
            catalog::ScheduleStore* const store = PX_TRY(store_of(*active.entry));
            const bool cancel = PX_TRY(
                store->heartbeat(active.item.id, active.item.fence, child, world_.clock.now()));
            active.cancelled = active.cancelled || cancel;
            return {};
        });
    active.began_us = active.beat_us = world_.steady_us();
    if (started) {
        active.child = *started;
        return;
    }
    if (started.error().code == ErrorCode::Conflict) {
        active.ended = true;  // another scheduler has it
        return;
    }
    Exit exit;
    exit.code = 4;
    exit.last_line.clear();
    log::error("schedule.start", {{"pipeline", active.item.pipeline},
                                  {"item", active.item.id},
                                  {"error", started.error().to_string()}});
    end(active, exit);
}

void Scheduler::tend(Active& active) {
    const int64_t now_us = world_.steady_us();
    if (active.ended) return;
    if (active.unwritten) {
        if (now_us >= active.try_write_us) finish(active, *active.unwritten);
        return;
    }
    if (active.child.empty()) {
        if (active.cancelled) {
            Ending ending;
            ending.state = ItemState::Cancelled;
            ending.outcome = "cancelled";
            ending.message = "cancelled before it began";
            finish(active, ending);
            return;
        }
        start(active);
        if (active.ended || active.unwritten || active.child.empty()) return;
    }
    const std::optional<Exit> exit = runner_.poll(active.child);
    if (exit) {
        if (active.lost) {
            active.ended = true;
        } else if (active.adopted && !active.cancelled) {
            // What became of the orphan nobody knows; a run that is done has nothing left to do.
            active.adopted = false;
            active.child.clear();
            active.told_to_end_us.reset();
            active.timed_out = active.killed = false;
            if (draining_) {
                Ending ending;
                ending.state = ItemState::Queued;
                ending.outcome = "stopped";
                ending.message = "the scheduler stopped";
                ending.counts_as_failure = false;
                ending.next_attempt_at = world_.clock.now();
                finish(active, std::move(ending));
                return;
            }
            start(active);
        } else {
            end(active, *exit);
        }
        return;
    }
    const std::chrono::seconds timeout = active.entry->pipeline.timeout;
    if (timeout.count() > 0 && now_us - active.began_us > timeout.count() * 1'000'000)
        active.timed_out = true;
    if ((active.cancelled || active.timed_out || active.lost) && !active.told_to_end_us) {
        log::warning("schedule.terminate",
                     {{"pipeline", active.item.pipeline},
                      {"item", active.item.id},
                      {"reason", active.lost        ? "another scheduler took it over"
                                 : active.cancelled ? "cancelled"
                                                    : "timed out"}});
        runner_.terminate(active.child, false);
        active.told_to_end_us = now_us;
    }
    if (active.told_to_end_us && !active.killed &&
        now_us - *active.told_to_end_us > micros(options_.grace)) {
        runner_.terminate(active.child, true);
        active.killed = true;
    }
    if (!active.lost) beat(active);
}

/// Tells the store that the run is alive, when it is time to.
void Scheduler::beat(Active& active) {
    const int64_t now_us = world_.steady_us();
    if (now_us - active.beat_us < micros(options_.heartbeat_every)) return;
    active.beat_us = now_us;
    const Result<bool> beat = [&]() -> Result<bool> {
        catalog::ScheduleStore* const store = PX_TRY(store_of(*active.entry));
        return store->heartbeat(active.item.id, active.item.fence, active.child,
                                world_.clock.now());
    }();
    if (beat) {
        active.cancelled = active.cancelled || *beat;
    } else if (beat.error().code == ErrorCode::Conflict) {
        active.lost = true;
    } else {
        log::warning("schedule.heartbeat", {{"pipeline", active.item.pipeline},
                                            {"item", active.item.id},
                                            {"error", beat.error().to_string()}});
    }
}

void Scheduler::end(Active& active, const Exit& exit) {
    const RetryPolicy& retries = active.entry->pipeline.retries;
    const Said said = said_in(exit.last_line);
    Ending ending;
    ending.run_id = said.run_id;
    ending.message = said.message;
    if (exit.signal == 0 && !exit.unknown) ending.exit_code = exit.code;
    bool again = false;
    if (active.cancelled) {
        ending.state = ItemState::Cancelled;
        ending.outcome = "cancelled";
        if (ending.message.empty()) ending.message = "cancelled";
    } else if (active.timed_out) {
        ending.outcome = "timed out";
        ending.message =
            fmt::format("took longer than {} s", active.entry->pipeline.timeout.count());
        again = true;
    } else if (exit.signal != 0) {
        ending.outcome = "crashed";
        ending.message = fmt::format("ended by signal {}", exit.signal);
        again = true;
    } else if (exit.unknown) {
        ending.outcome = "lost";
        ending.message = "nobody knows how it ended";
        again = true;
    } else if (exit.code == 0) {
        ending.state = ItemState::Done;
        ending.outcome = "done";
    } else if (exit.code == 99) {
        ending.state = ItemState::Skipped;
        ending.outcome = "skipped";
        if (ending.message.empty()) ending.message = "nothing to do";
    } else if (exit.code == 3) {
        ending.state = ItemState::Halted;
        ending.outcome = "halted";
    } else if (exit.code == 2) {
        ending.state = ItemState::Failed;  // a mistake does not pass by waiting
        ending.outcome = "failed";
    } else {
        ending.outcome = "failed";
        again = true;
    }
    if (again) {
        const TimestampMicros now = world_.clock.now();
        // A pipeline that another process works on is no failure of this run.
        const bool is_busy = exit.signal == 0 && exit.code == 4 &&
                             said.message.find("is working on this pipeline") != std::string::npos;
        ending.counts_as_failure = !is_busy;
        const int64_t failures = active.item.failures + (is_busy ? 0 : 1);
        if (ending.message.empty()) ending.message = fmt::format("exit code {}", exit.code);
        if (failures >= retries.attempts && !is_busy) {
            ending.state = ItemState::Failed;
        } else {
            ending.state = ItemState::Queued;
            // While another works: after half a minute, then twice as long each time, to 5 minutes.
            constexpr RetryPolicy kBusy{0, std::chrono::seconds(30), true, std::chrono::minutes(5)};
            const int64_t times_busy = active.item.attempt - active.item.failures;
            const auto wait = is_busy ? std::min(kBusy.delay_after(times_busy, world_.random()),
                                                 retries.delay_after(1, world_.random()))
                                      : retries.delay_after(failures, world_.random());
            ending.next_attempt_at = now + wait.count();
        }
    }
    finish(active, std::move(ending));
}

void Scheduler::finish(Active& active, Ending ending) {
    Entry& entry = *active.entry;
    ending.now = world_.clock.now();
    Result<void> written = [&]() -> Result<void> {
        catalog::ScheduleStore* const store = PX_TRY(store_of(entry));
        return store->finish(active.item.id, active.item.fence, ending);
    }();
    entry.used_us = world_.steady_us();
    if (!written && written.error().code != ErrorCode::Conflict) {
        // It is known here alone how the run ended: kept until the catalog can be written.
        log::error("schedule.finish", {{"pipeline", active.item.pipeline},
                                       {"item", active.item.id},
                                       {"error", written.error().to_string()}});
        entry.store.reset();
        active.unwritten = std::move(ending);
        active.try_write_us = world_.steady_us() + 1'000'000;
        return;
    }
    active.ended = true;
    slot_was_freed_ = true;
    entry.must_look = true;
    if (!written) return;
    log::write(ending.state == ItemState::Done || ending.state == ItemState::Skipped
                   ? log::Level::Info
                   : log::Level::Warning,
               "schedule.end",
               {{"pipeline", active.item.pipeline},
                {"item", active.item.id},
                {"ds", active.item.ds},
                {"attempt", active.item.attempt},
                {"state", name_of(ending.state)},
                {"outcome", ending.outcome},
                {"message", ending.message}});
    tell(active, ending.state, ending);
    keep_logs_bounded(entry);
}

void Scheduler::tell(Active& active, ItemState state, const Ending& ending) {
    const bool good = state == ItemState::Done || state == ItemState::Skipped;
    const bool bad = state == ItemState::Failed || state == ItemState::Halted;
    if (!good && !bad) return;
    catalog::ScheduleStore& store = *active.entry->store;
    const auto before = store.pipeline(active.item.pipeline);
    if (before && before->failing != bad) {
        const Result<void> kept = store.set_failing(active.item.pipeline, bad);
        if (!kept) log::warning("schedule.failing", {{"error", kept.error().to_string()}});
    }
    if (good && (!before || !before->failing)) return;
    if (!world_.on_event) return;
    Event event;
    event.kind = good                         ? Event::Kind::Recovered
                 : state == ItemState::Halted ? Event::Kind::Halted
                                              : Event::Kind::Failed;
    event.item = active.item;
    event.item.state = state;
    event.item.run_id = ending.run_id;
    event.item.message = ending.message;
    event.item.exit_code = ending.exit_code;
    event.item.finished_at = ending.now;
    event.pipeline_file = active.entry->pipeline.file;
    world_.on_event(event);
}

void Scheduler::keep_logs_bounded(const Entry& entry) const {
    std::vector<std::pair<std::filesystem::file_time_type, std::filesystem::path>> logs;
    std::error_code code;
    for (std::filesystem::directory_iterator at(entry.pipeline.log_folder, code), last;
         !code && at != last; at.increment(code)) {
        if (at->path().extension() == ".log")
            logs.emplace_back(at->last_write_time(code), at->path());
    }
    if (logs.size() <= options_.logs_max) return;
    std::ranges::sort(logs);
    for (size_t i = 0; i + options_.logs_max < logs.size(); ++i)
        std::filesystem::remove(logs[i].second, code);
}

void Scheduler::run(std::stop_token stop) {
    while (true) {
        if (stop.stop_requested() && !draining_) {
            log::info("schedule.drain", {{"runs", active_.size()}});
            drain();
        }
        const std::chrono::microseconds wait = step();
        if (draining_ && active_.empty()) return;
        if (wait.count() > 0) runner_.wait(wait, stop);
    }
}

}  // namespace px::schedule
