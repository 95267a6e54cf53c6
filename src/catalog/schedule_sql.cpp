#include "catalog/schedule_sql.h"

#include <fmt/format.h>

#include <utility>

namespace px::catalog {

const std::string_view kScheduleTables = R"sql(
CREATE TABLE schedule_pipelines (
    pipeline         text PRIMARY KEY,
    paused           bigint NOT NULL DEFAULT 0,
    failing          bigint NOT NULL DEFAULT 0,
    enumerated       bigint NOT NULL DEFAULT 0,
    enumerated_until bigint NOT NULL DEFAULT 0
);

CREATE TABLE schedule_items (
    item_id          bigint PRIMARY KEY,
    pipeline         text NOT NULL,
    kind             text NOT NULL CHECK (kind IN ('schedule', 'manual', 'backfill')),
    due_at           bigint NOT NULL,
    ds               text NOT NULL,
    state            text NOT NULL CHECK (state IN ('queued', 'running', 'done', 'skipped', 'halted', 'failed', 'cancelled')),
    parallel         bigint NOT NULL,
    attempt          bigint NOT NULL DEFAULT 0,
    failures         bigint NOT NULL DEFAULT 0,
    owner            text NOT NULL DEFAULT '',
    claim            text NOT NULL DEFAULT '',
    fence            bigint NOT NULL DEFAULT 0,
    beat             bigint NOT NULL DEFAULT 0,
    heartbeat_at     bigint NOT NULL DEFAULT 0,
    child            text NOT NULL DEFAULT '',
    next_attempt_at  bigint NOT NULL DEFAULT 0,
    cancel_requested bigint NOT NULL DEFAULT 0,
    run_id           text NOT NULL DEFAULT '',
    exit_code        bigint NOT NULL DEFAULT -1,
    message          text NOT NULL DEFAULT '',
    log_file         text NOT NULL DEFAULT '',
    created_at       bigint NOT NULL,
    started_at       bigint NOT NULL DEFAULT 0,
    finished_at      bigint NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX schedule_items_due ON schedule_items (pipeline, due_at) WHERE kind = 'schedule';
CREATE UNIQUE INDEX schedule_items_asked ON schedule_items (pipeline, kind, ds)
    WHERE kind <> 'schedule' AND state IN ('queued', 'running');
CREATE INDEX schedule_items_open ON schedule_items (pipeline, state, kind, item_id) WHERE state IN ('queued', 'running');

CREATE TABLE schedule_attempts (
    item_id     bigint NOT NULL REFERENCES schedule_items (item_id),
    attempt     bigint NOT NULL,
    owner       text NOT NULL,
    started_at  bigint NOT NULL,
    finished_at bigint NOT NULL DEFAULT 0,
    outcome     text NOT NULL DEFAULT '',
    exit_code   bigint NOT NULL DEFAULT -1,
    run_id      text NOT NULL DEFAULT '',
    message     text NOT NULL DEFAULT '',
    log_file    text NOT NULL DEFAULT '',
    PRIMARY KEY (item_id, attempt)
);
)sql";

int64_t SqlTable::int64(size_t row, size_t column) const {
    const auto* value = std::get_if<int64_t>(&rows.at(row).at(column));
    return value == nullptr ? 0 : *value;
}

const std::string& SqlTable::text(size_t row, size_t column) const {
    static const std::string kEmpty;
    const auto* value = std::get_if<std::string>(&rows.at(row).at(column));
    return value == nullptr ? kEmpty : *value;
}

namespace {

constexpr std::string_view kItemColumns =
    "item_id, pipeline, kind, due_at, ds, state, parallel, attempt, failures, owner, fence, beat, "
    "heartbeat_at, child, next_attempt_at, cancel_requested, run_id, exit_code, message, log_file, "
    "created_at, started_at, finished_at";

std::optional<TimestampMicros> instant(int64_t value) {
    return value == 0 ? std::nullopt : std::optional(value);
}

Result<ScheduleItem> item_at(const SqlTable& table, size_t row) {
    ScheduleItem item;
    item.id = table.int64(row, 0);
    item.pipeline = table.text(row, 1);
    const std::optional<ItemKind> kind = parse_item_kind(table.text(row, 2));
    const std::optional<ItemState> state = parse_item_state(table.text(row, 5));
    if (!kind || !state) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("item {} of the schedule is '{}', '{}'", item.id,
                                table.text(row, 2), table.text(row, 5)),
                    "Restore the catalog from a backup");
    }
    item.kind = *kind;
    item.state = *state;
    item.due_at = table.int64(row, 3);
    item.ds = table.text(row, 4);
    item.parallel = table.int64(row, 6);
    item.attempt = table.int64(row, 7);
    item.failures = table.int64(row, 8);
    item.owner = table.text(row, 9);
    item.fence = table.int64(row, 10);
    item.beat = table.int64(row, 11);
    item.heartbeat_at = table.int64(row, 12);
    item.child = table.text(row, 13);
    item.next_attempt_at = table.int64(row, 14);
    item.cancel_requested = table.int64(row, 15) != 0;
    item.run_id = table.text(row, 16);
    if (table.int64(row, 17) >= 0) item.exit_code = table.int64(row, 17);
    item.message = table.text(row, 18);
    item.log_file = table.text(row, 19);
    item.created_at = table.int64(row, 20);
    item.started_at = instant(table.int64(row, 21));
    item.finished_at = instant(table.int64(row, 22));
    return item;
}

Result<std::vector<ScheduleItem>> items_of(const SqlTable& table) {
    std::vector<ScheduleItem> items;
    for (size_t row = 0; row < table.rows.size(); ++row)
        items.push_back(PX_TRY(item_at(table, row)));
    return items;
}

Result<std::vector<ScheduleItem>> select(SqlSession& session, const std::string& where,
                                         const std::vector<SqlValue>& parameters) {
    return items_of(PX_TRY(session.execute(
        fmt::format("SELECT {} FROM schedule_items {}", kItemColumns, where), parameters)));
}

class SqlScheduleStore final : public ScheduleStore {
  public:
    explicit SqlScheduleStore(std::unique_ptr<SqlDatabase> database)
        : database_(std::move(database)) {}

    Result<PipelineSchedule> pipeline(const std::string& name) override {
        PipelineSchedule found;
        PX_TRY(database_->read([&](SqlSession& session) -> Result<void> {
            found = PX_TRY(pipeline_at(session, name));
            return {};
        }));
        return found;
    }

    Result<void> set_paused(const std::string& name, bool paused) override {
        return set_flag(name, "paused", paused);
    }
    Result<void> set_failing(const std::string& name, bool failing) override {
        return set_flag(name, "failing", failing);
    }

    Result<Enqueued> enumerate(const std::string& name, std::optional<TimestampMicros> expected,
                               TimestampMicros until, const std::vector<NewItem>& items,
                               Missed missed, TimestampMicros now) override {
        Enqueued made;
        PX_TRY(database_->write([&](SqlSession& session) -> Result<void> {
            made = {};
            const PipelineSchedule found = PX_TRY(pipeline_at(session, name));
            if (found.enumerated_until != expected) {
                return fail(ErrorCode::Conflict,
                            fmt::format("another scheduler looked at pipeline {} meanwhile", name));
            }
            if (missed == Missed::Superseded && !items.empty()) {
                PX_TRY(session.execute(
                    "UPDATE schedule_items SET state = 'skipped', finished_at = $2, message = "
                    "'a newer due time came first' WHERE pipeline = $1 AND state = 'queued' AND "
                    "state IN ('queued', 'running') AND kind = 'schedule' AND attempt = 0 AND "
                    "due_at < $3",
                    {name, now, items.front().due_at}));
            }
            for (const NewItem& item : items) {
                const auto present = PX_TRY(
                    select(session, "WHERE pipeline = $1 AND kind = 'schedule' AND due_at = $2",
                           {name, item.due_at}));
                if (!present.empty()) {
                    made.present.push_back(present.front());
                    continue;
                }
                made.added.push_back(PX_TRY(insert(session, name, item, now)));
            }
            PX_TRY(session.execute(
                "INSERT INTO schedule_pipelines (pipeline, enumerated, enumerated_until) "
                "VALUES ($1, 1, $2) ON CONFLICT (pipeline) DO UPDATE SET enumerated = 1, "
                "enumerated_until = excluded.enumerated_until",
                {name, until}));
            return {};
        }));
        return made;
    }

    Result<Enqueued> enqueue(const std::string& name, const std::vector<NewItem>& items,
                             TimestampMicros now) override {
        Enqueued made;
        PX_TRY(database_->write([&](SqlSession& session) -> Result<void> {
            made = {};
            for (const NewItem& item : items) {
                const auto present = PX_TRY(
                    select(session,
                           "WHERE pipeline = $1 AND kind = $2 AND ds = $3 AND state IN ('queued', "
                           "'running')",
                           {name, std::string(name_of(item.kind)), item.ds}));
                if (!present.empty()) {
                    made.present.push_back(present.front());
                    continue;
                }
                made.added.push_back(PX_TRY(insert(session, name, item, now)));
            }
            return {};
        }));
        return made;
    }

    Result<std::optional<ScheduleItem>> claim(const Claim& claim) override {
        std::optional<ScheduleItem> taken;
        PX_TRY(database_->write([&](SqlSession& session) -> Result<void> {
            taken.reset();
            auto mine = PX_TRY(select(session, "WHERE pipeline = $1 AND claim = $2",
                                      {claim.pipeline, claim.token}));
            if (!mine.empty()) {  // the reply of this very call was lost
                taken = std::move(mine.front());
                return {};
            }
            if (PX_TRY(pipeline_at(session, claim.pipeline)).paused) return {};
            const SqlTable running = PX_TRY(session.execute(
                "SELECT kind, count(*) FROM schedule_items WHERE pipeline = $1 AND state = "
                "'running' AND state IN ('queued', 'running') GROUP BY kind",
                {claim.pipeline}));
            int64_t active = 0;
            int64_t backfills = 0;
            for (size_t row = 0; row < running.rows.size(); ++row) {
                active += running.int64(row, 1);
                if (running.text(row, 0) == "backfill") backfills = running.int64(row, 1);
            }
            if (active >= claim.active_max) return {};
            for (const ItemKind kind : {ItemKind::Manual, ItemKind::Schedule, ItemKind::Backfill}) {
                const bool is_backfill = kind == ItemKind::Backfill;
                if (is_backfill ? !claim.backfills : !claim.runs) continue;
                auto ready = PX_TRY(select(
                    session,
                    "WHERE pipeline = $1 AND state = 'queued' AND state IN ('queued', 'running') "
                    "AND kind = $2 AND (next_attempt_at <= $3 OR next_attempt_at > $4) AND "
                    "parallel > $5 ORDER BY item_id LIMIT 1",
                    {claim.pipeline, std::string(name_of(kind)), claim.now,
                     claim.now + claim.retry_wait_max_us, is_backfill ? backfills : 0}));
                if (ready.empty()) continue;
                taken = PX_TRY(begin_attempt(session, std::move(ready.front()), claim));
                break;
            }
            return {};
        }));
        return taken;
    }

    Result<ScheduleItem> take_over(const ScheduleItem& seen, const Claim& claim) override {
        ScheduleItem taken;
        PX_TRY(database_->write([&](SqlSession& session) -> Result<void> {
            auto mine = PX_TRY(select(session, "WHERE pipeline = $1 AND claim = $2",
                                      {claim.pipeline, claim.token}));
            if (!mine.empty()) {
                taken = std::move(mine.front());
                return {};
            }
            auto found = PX_TRY(select(
                session, "WHERE item_id = $1 AND state = 'running' AND fence = $2 AND beat = $3",
                {seen.id, seen.fence, seen.beat}));
            if (found.empty()) return fence_lost(seen.id);
            PX_TRY(session.execute(
                "UPDATE schedule_attempts SET finished_at = $3, outcome = 'lost', message = 'its "
                "scheduler is gone' WHERE item_id = $1 AND attempt = $2",
                {seen.id, found.front().attempt, claim.now}));
            taken = PX_TRY(begin_attempt(session, std::move(found.front()), claim));
            return {};
        }));
        return taken;
    }

    Result<bool> heartbeat(int64_t item, int64_t fence, const std::string& child,
                           TimestampMicros now) override {
        bool cancel = false;
        PX_TRY(database_->write([&](SqlSession& session) -> Result<void> {
            const SqlTable changed = PX_TRY(session.execute(
                "UPDATE schedule_items SET beat = beat + 1, heartbeat_at = $3, child = $4 WHERE "
                "item_id = $1 AND fence = $2 AND state = 'running'",
                {item, fence, now, child}));
            if (changed.affected == 0) return fence_lost(item);
            cancel = PX_TRY(session.execute(
                                "SELECT cancel_requested FROM schedule_items WHERE item_id = $1",
                                {item}))
                         .int64(0, 0) != 0;
            return {};
        }));
        return cancel;
    }

    Result<void> finish(int64_t item, int64_t fence, const Ending& ending) override {
        return database_->write([&](SqlSession& session) -> Result<void> {
            const auto found =
                PX_TRY(select(session, "WHERE item_id = $1 AND fence = $2", {item, fence}));
            if (found.empty()) return fence_lost(item);
            if (found.front().state != ItemState::Running) return {};  // by this very call
            const bool ended = is_final(ending.state);
            PX_TRY(session.execute(
                "UPDATE schedule_items SET state = $2, next_attempt_at = $3, exit_code = $4, "
                "run_id = $5, message = $6, finished_at = $7, failures = failures + $8, child = '' "
                "WHERE item_id = $1",
                {item, std::string(name_of(ending.state)), ending.next_attempt_at,
                 ending.exit_code.value_or(-1), ending.run_id, ending.message,
                 ended ? ending.now : 0, ending.counts_as_failure ? 1 : 0}));
            PX_TRY(session.execute(
                "UPDATE schedule_attempts SET finished_at = $3, outcome = $4, exit_code = $5, "
                "run_id = $6, message = $7 WHERE item_id = $1 AND attempt = $2",
                {item, found.front().attempt, ending.now, ending.outcome,
                 ending.exit_code.value_or(-1), ending.run_id, ending.message}));
            return {};
        });
    }

    Result<bool> request_cancel(int64_t item, TimestampMicros now) override {
        bool changed = false;
        PX_TRY(database_->write([&](SqlSession& session) -> Result<void> {
            const SqlTable queued = PX_TRY(session.execute(
                "UPDATE schedule_items SET state = 'cancelled', cancel_requested = 1, finished_at "
                "= $2, message = 'cancelled before it began' WHERE item_id = $1 AND state = "
                "'queued'",
                {item, now}));
            const SqlTable running = PX_TRY(session.execute(
                "UPDATE schedule_items SET cancel_requested = 1 WHERE item_id = $1 AND state = "
                "'running'",
                {item}));
            changed = queued.affected + running.affected > 0;
            return {};
        }));
        return changed;
    }

    Result<std::vector<ScheduleItem>> items(const ItemFilter& filter) override {
        std::vector<ScheduleItem> found;
        PX_TRY(database_->read([&](SqlSession& session) -> Result<void> {
            std::string where = "WHERE item_id > $1";
            std::vector<SqlValue> values = {int64_t{0}};
            const auto add = [&](std::string_view condition, SqlValue value) {
                values.push_back(std::move(value));
                where += fmt::format(" AND {} ${}", condition, values.size());
            };
            if (!filter.pipeline.empty()) add("pipeline =", filter.pipeline);
            if (filter.id) add("item_id =", *filter.id);
            if (filter.state) add("state =", std::string(name_of(*filter.state)));
            if (filter.open)
                where += *filter.open ? " AND state IN ('queued', 'running')"
                                      : " AND state NOT IN ('queued', 'running')";
            where += " ORDER BY item_id DESC LIMIT ";
            values.emplace_back(static_cast<int64_t>(filter.limit));
            where += fmt::format("${}", values.size());
            found = PX_TRY(select(session, where, values));
            return {};
        }));
        return found;
    }

    Result<std::vector<ItemAttempt>> attempts(int64_t item) override {
        std::vector<ItemAttempt> all;
        PX_TRY(database_->read([&](SqlSession& session) -> Result<void> {
            all.clear();
            const SqlTable table = PX_TRY(session.execute(
                "SELECT attempt, owner, started_at, finished_at, outcome, exit_code, run_id, "
                "message, log_file FROM schedule_attempts WHERE item_id = $1 ORDER BY attempt",
                {item}));
            for (size_t row = 0; row < table.rows.size(); ++row) {
                ItemAttempt attempt;
                attempt.item = item;
                attempt.attempt = table.int64(row, 0);
                attempt.owner = table.text(row, 1);
                attempt.started_at = table.int64(row, 2);
                attempt.finished_at = instant(table.int64(row, 3));
                attempt.outcome = table.text(row, 4);
                if (table.int64(row, 5) >= 0) attempt.exit_code = table.int64(row, 5);
                attempt.run_id = table.text(row, 6);
                attempt.message = table.text(row, 7);
                attempt.log_file = table.text(row, 8);
                all.push_back(std::move(attempt));
            }
            return {};
        }));
        return all;
    }

  private:
    static Result<PipelineSchedule> pipeline_at(SqlSession& session, const std::string& name) {
        const SqlTable table = PX_TRY(session.execute(
            "SELECT paused, failing, enumerated, enumerated_until FROM schedule_pipelines WHERE "
            "pipeline = $1",
            {name}));
        PipelineSchedule found;
        if (table.rows.empty()) return found;
        found.paused = table.int64(0, 0) != 0;
        found.failing = table.int64(0, 1) != 0;
        if (table.int64(0, 2) != 0) found.enumerated_until = table.int64(0, 3);
        return found;
    }

    Result<void> set_flag(const std::string& name, std::string_view column, bool value) {
        return database_->write([&](SqlSession& session) -> Result<void> {
            PX_TRY(session.execute(
                fmt::format("INSERT INTO schedule_pipelines (pipeline, {0}) VALUES ($1, $2) ON "
                            "CONFLICT (pipeline) DO UPDATE SET {0} = excluded.{0}",
                            column),
                {name, int64_t{value ? 1 : 0}}));
            return {};
        });
    }

    /// Ids are given under the write lock and no row is ever deleted: they have no gaps.
    static Result<ScheduleItem> insert(SqlSession& session, const std::string& name,
                                       const NewItem& item, TimestampMicros now) {
        const int64_t id =
            PX_TRY(session.execute("SELECT coalesce(max(item_id), 0) + 1 FROM schedule_items", {}))
                .int64(0, 0);
        PX_TRY(session.execute(
            "INSERT INTO schedule_items (item_id, pipeline, kind, due_at, ds, state, parallel, "
            "created_at) VALUES ($1, $2, $3, $4, $5, 'queued', $6, $7)",
            {id, name, std::string(name_of(item.kind)), item.due_at, item.ds, item.parallel, now}));
        return only(session, id);
    }

    static Result<ScheduleItem> only(SqlSession& session, int64_t id) {
        auto found = PX_TRY(select(session, "WHERE item_id = $1", {id}));
        if (found.empty()) return fail(ErrorCode::NotFound, fmt::format("there is no item {}", id));
        return std::move(found.front());
    }

    static Result<ScheduleItem> begin_attempt(SqlSession& session, ScheduleItem item,
                                              const Claim& claim) {
        const int64_t attempt = item.attempt + 1;
        const std::string log_file = attempt_log_file(claim.log_file, item.id, attempt);
        PX_TRY(session.execute(
            "UPDATE schedule_items SET state = 'running', attempt = $2, owner = $3, claim = $4, "
            "fence = fence + 1, beat = 0, heartbeat_at = $5, started_at = $6, log_file = $7 WHERE "
            "item_id = $1",
            {item.id, attempt, claim.owner, claim.token, claim.now, claim.now, log_file}));
        PX_TRY(session.execute(
            "INSERT INTO schedule_attempts (item_id, attempt, owner, started_at, log_file) VALUES "
            "($1, $2, $3, $4, $5)",
            {item.id, attempt, claim.owner, claim.now, log_file}));
        return only(session, item.id);
    }

    std::unique_ptr<SqlDatabase> database_;
};

}  // namespace

std::unique_ptr<ScheduleStore> make_schedule_store(std::unique_ptr<SqlDatabase> database) {
    return std::make_unique<SqlScheduleStore>(std::move(database));
}

}  // namespace px::catalog
