// ScheduleStore: which runs of a pipeline are due, who works on them, what became of them. A port
// beside Catalog in the same database; adapters sqlite/, postgres/. Rank 2. Thread-safe.
// Every change is one transaction. An item belongs to whoever claimed it last: each claim makes its
// fence grow, and a heartbeat or an ending with an older fence is refused (Conflict).
// Specification: docs/formats/schedule.md. Errors besides those named: as Catalog.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "catalog/catalog.h"
#include "catalog/open.h"

namespace px::catalog {

enum class ItemKind { Schedule, Manual, Backfill };
enum class ItemState { Queued, Running, Done, Skipped, Halted, Failed, Cancelled };

std::string_view name_of(ItemKind kind);
std::string_view name_of(ItemState state);
std::optional<ItemKind> parse_item_kind(std::string_view text);
std::optional<ItemState> parse_item_state(std::string_view text);
/// Nothing will happen to it any more.
inline bool is_final(ItemState state) {
    return state != ItemState::Queued && state != ItemState::Running;
}

/// One due run.
struct ScheduleItem {
    int64_t id = 0;
    std::string pipeline;
    ItemKind kind = ItemKind::Schedule;
    TimestampMicros due_at = 0;  ///< when it was to start; of others than Schedule: when asked for
    std::string ds;
    ItemState state = ItemState::Queued;
    int64_t parallel = 1;  ///< of a backfill: how many of its dates may be in work at once
    int64_t attempt = 0;   ///< attempts begun
    int64_t failures = 0;  ///< attempts that counted as failed
    std::string owner;     ///< "host:boot:pid:start" of the scheduler that has it
    int64_t fence = 0;     ///< grows with each claim
    int64_t beat = 0;      ///< grows with each heartbeat
    TimestampMicros heartbeat_at = 0;
    std::string child;  ///< "host:boot:pid:start" of the process that runs it
    TimestampMicros next_attempt_at = 0;
    bool cancel_requested = false;
    std::string run_id;  ///< of the last attempt, when it told one
    std::optional<int64_t> exit_code;
    std::string message;
    std::string log_file;
    TimestampMicros created_at = 0;
    std::optional<TimestampMicros> started_at;  ///< of the last attempt
    std::optional<TimestampMicros> finished_at;
};

/// One try at an item, kept for ever: the history.
struct ItemAttempt {
    int64_t item = 0;
    int64_t attempt = 0;
    std::string owner;
    TimestampMicros started_at = 0;
    std::optional<TimestampMicros> finished_at;
    std::string outcome;  ///< "done", "failed", "retry", "lost" …; empty while it runs
    std::optional<int64_t> exit_code;
    std::string run_id;
    std::string message;
    std::string log_file;
};

struct PipelineSchedule {
    bool paused = false;
    /// Due times up to here are in the queue; nullopt: never looked.
    std::optional<TimestampMicros> enumerated_until;
    /// The last scheduled or manual run that ended for good did not succeed.
    bool failing = false;
};

struct NewItem {
    ItemKind kind = ItemKind::Schedule;
    TimestampMicros due_at = 0;
    std::string ds;
    int64_t parallel = 1;
};

/// What becomes of scheduled items that still wait when a newer one is due.
enum class Missed { Kept, Superseded };

/// What became of asking for items.
struct Enqueued {
    std::vector<ScheduleItem> added;
    std::vector<ScheduleItem> present;  ///< queued or running already: nothing was doubled
};

struct Claim {
    std::string pipeline;
    std::string owner;
    std::string token;       ///< unlike any other claim's: makes a repeated call harmless
    int64_t active_max = 1;  ///< items of the pipeline in work at once, of any kind
    /// Kinds that may be taken now.
    bool runs = true;
    bool backfills = true;
    TimestampMicros now = 0;
    /// No retry waits longer, whatever next_attempt_at says: the clock was set back.
    int64_t retry_wait_max_us = int64_t{86'400} * 1'000'000;
    std::string log_file;  ///< "{item}" and "{attempt}" are replaced
};

struct Ending {
    ItemState state = ItemState::Done;  ///< Queued: another attempt at next_attempt_at
    std::string outcome;
    bool counts_as_failure = false;
    TimestampMicros now = 0;
    TimestampMicros next_attempt_at = 0;
    std::optional<int64_t> exit_code;
    std::string run_id;
    std::string message;
};

struct ItemFilter {
    std::string pipeline{};      ///< empty: all
    std::optional<bool> open{};  ///< true: queued or running
    std::optional<ItemState> state{};
    std::optional<int64_t> id{};
    size_t limit = 100;  ///< newest first
};

class ScheduleStore {
  public:
    virtual ~ScheduleStore() = default;

    virtual Result<PipelineSchedule> pipeline(const std::string& pipeline) = 0;
    virtual Result<void> set_paused(const std::string& pipeline, bool paused) = 0;
    virtual Result<void> set_failing(const std::string& pipeline, bool failing) = 0;

    /// Adds scheduled items (one for each due_at, never twice) and moves enumerated_until from
    /// `expected` to `until`. With Missed::Superseded, scheduled items that
    /// never began are skipped when one is added. Errors: Conflict when another scheduler moved it.
    virtual Result<Enqueued> enumerate(const std::string& pipeline,
                                       std::optional<TimestampMicros> expected,
                                       TimestampMicros until, const std::vector<NewItem>& items,
                                       Missed missed, TimestampMicros now) = 0;
    /// Adds manual or backfill items in this order; one whose kind and ds is queued or running
    /// stays as it is.
    virtual Result<Enqueued> enqueue(const std::string& pipeline, const std::vector<NewItem>& items,
                                     TimestampMicros now) = 0;

    /// Takes the next queued item: manual ones first, then scheduled, then backfills, each
    /// in the order they came, none before its next_attempt_at. nullopt: none is ready, or
    /// active_max are in work.
    virtual Result<std::optional<ScheduleItem>> claim(const Claim& claim) = 0;
    /// Takes a running item from an owner that is gone; fence and beat as they were seen.
    /// Errors: Conflict when the item moved on meanwhile.
    virtual Result<ScheduleItem> take_over(const ScheduleItem& seen, const Claim& claim) = 0;
    /// "I work on it", and which process does. Returns whether a cancel was asked for.
    /// Errors: Conflict when the item belongs to another.
    virtual Result<bool> heartbeat(int64_t item, int64_t fence, const std::string& child,
                                   TimestampMicros now) = 0;
    /// Ends an attempt. Errors: Conflict when the item belongs to another.
    virtual Result<void> finish(int64_t item, int64_t fence, const Ending& ending) = 0;

    /// Queued: cancelled at once; running: its owner is told. False: it has ended already, or there
    /// is none.
    virtual Result<bool> request_cancel(int64_t item, TimestampMicros now) = 0;
    virtual Result<std::vector<ScheduleItem>> items(const ItemFilter& filter) = 0;
    virtual Result<std::vector<ItemAttempt>> attempts(int64_t item) = 0;
};

/// The clock outlives the store. ReadWrite creates or migrates the catalog, as opening it does.
Result<std::unique_ptr<ScheduleStore>> open_sqlite_schedule(
    const std::filesystem::path& file, OpenMode mode, const Clock& clock,
    const SqliteCatalogOptions& options = {});
Result<std::unique_ptr<ScheduleStore>> open_postgres_schedule(
    const std::string& address, OpenMode mode, const Clock& clock,
    const PostgresCatalogOptions& options = {});
/// Of a parsed address. Two connections at most.
Result<std::unique_ptr<ScheduleStore>> open_schedule(const CatalogAddress& address, OpenMode mode,
                                                     const Clock& clock);

// Rules both adapters share.
Error fence_lost(int64_t item);
/// "{item}" and "{attempt}" replaced.
std::string attempt_log_file(std::string_view pattern, int64_t item, int64_t attempt);

}  // namespace px::catalog
