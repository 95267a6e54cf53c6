// The embedded catalog. SQL in capitals, one statement a constant where it is used; instants are
// stored as text (27 characters, UTC), so that people can read and compare them in any SQLite
// shell.
#include <fmt/format.h>

#include <set>

#include <algorithm>
#include <charconv>
#include <thread>
#include <utility>

#include "catalog/catalog.h"
#include "catalog/instant.h"
#include "catalog/publication.h"
#include "catalog/sqlite/connection_pool.h"
#include "catalog/sqlite/migrations.h"

namespace px::catalog {
namespace {

using sqlite::Database;
using sqlite::Statement;

// ------------------------------------------------------------------- instants

Statement& bind_instant(Statement& statement, int index,
                        const std::optional<TimestampMicros>& micros) {
    return micros ? statement.bind_text(index, instant_text(*micros)) : statement.bind_null(index);
}

Result<TimestampMicros> instant_at(const Statement& row, int column) {
    return parse_instant(row.column_text(column));
}

Result<std::optional<TimestampMicros>> optional_instant_at(const Statement& row, int column) {
    if (row.is_null(column)) return std::optional<TimestampMicros>();
    return std::optional<TimestampMicros>(PX_TRY(instant_at(row, column)));
}

std::string text_at(const Statement& row, int column) {
    return std::string(row.column_text(column));
}

// ----------------------------------------------------------------------- rows

constexpr std::string_view kRunColumns =
    "r.run_id, r.ds, r.state, r.started_at, r.finished_at, r.input_fingerprint, r.message, "
    "r.report_json, "
    "p.release_id, r.external_id, r.pipeline_text";
constexpr std::string_view kRunTables = "runs r LEFT JOIN releases p ON p.run_id = r.run_id";

Result<Run> run_at(const Statement& row) {
    Run run;
    run.id.value = text_at(row, 0);
    run.ds = text_at(row, 1);
    std::optional<RunState> state = parse_run_state(row.column_text(2));
    if (!state) return unknown_state(run.id, row.column_text(2));
    run.state = *state;
    run.started_at = PX_TRY(instant_at(row, 3));
    run.finished_at = PX_TRY(optional_instant_at(row, 4));
    run.input_fingerprint = text_at(row, 5);
    run.message = text_at(row, 6);
    run.report_json = text_at(row, 7);
    if (!row.is_null(8)) run.release = ReleaseId{row.column_int64(8)};
    run.external_id = text_at(row, 9);
    run.pipeline_text = text_at(row, 10);
    return run;
}

/// Attempts that are running when their run ends, end with it.
Result<void> end_attempts(Database& database, const RunId& run, std::string_view state,
                          TimestampMicros at) {
    Statement update = PX_TRY(
        database.prepare("UPDATE task_attempts SET state = ?2, finished_at = ?3 WHERE run_id = ?1 "
                         "AND state = 'running'"));
    update.bind_text(1, run.value).bind_text(2, state);
    bind_instant(update, 3, at);
    return update.run();
}

Result<LandedFile> landed_at(const Statement& row) {
    LandedFile file;
    file.source = text_at(row, 0);
    file.path = text_at(row, 1);
    file.ds = text_at(row, 2);
    file.key = text_at(row, 3);
    file.sha256 = text_at(row, 4);
    file.size_bytes = row.column_int64(5);
    file.landed_at = PX_TRY(instant_at(row, 6));
    return file;
}

constexpr std::string_view kDocumentColumns =
    "id, title, author, created_at, category, ingested_at, document_id, source, ds, landed_key, "
    "landed_sha256, path, line, "
    "byte_start, byte_end, offsets_are_raw, text_sha256, text_length, extra_json";

/// True where the row m of analytics_metadata and the row i of incoming say the same; ingested_at
/// does not count.
constexpr std::string_view kSameDocument =
    "i.document_id = m.document_id AND i.ds = m.ds AND i.id = m.id AND i.title = m.title AND "
    "i.author = m.author "
    "AND i.created_at IS m.created_at AND i.category = m.category AND i.source = m.source "
    "AND i.landed_key = m.landed_key AND i.landed_sha256 = m.landed_sha256 AND i.path = m.path AND "
    "i.line = m.line "
    "AND i.byte_start = m.byte_start AND i.byte_end = m.byte_end AND i.offsets_are_raw = "
    "m.offsets_are_raw "
    "AND i.text_sha256 = m.text_sha256 AND i.text_length = m.text_length AND i.extra_json = "
    "m.extra_json";

void bind_document(Statement& statement, const DocumentRow& row) {
    statement.bind_text(1, row.id).bind_text(2, row.title).bind_text(3, row.author);
    bind_instant(statement, 4, row.created_at).bind_text(5, row.category);
    bind_instant(statement, 6, row.ingested_at)
        .bind_text(7, row.document_id)
        .bind_text(8, row.source);
    statement.bind_text(9, row.ds).bind_text(10, row.landed_key).bind_text(11, row.landed_sha256);
    statement.bind_text(12, row.path).bind_int64(13, row.line).bind_int64(14, row.byte_start);
    statement.bind_int64(15, row.byte_end).bind_int64(16, row.offsets_are_raw ? 1 : 0);
    statement.bind_text(17, row.text_sha256)
        .bind_int64(18, row.text_length)
        .bind_text(19, row.extra_json);
}

Result<DocumentRow> document_at(const Statement& row) {
    DocumentRow document;
    document.id = text_at(row, 0);
    document.title = text_at(row, 1);
    document.author = text_at(row, 2);
    document.created_at = PX_TRY(optional_instant_at(row, 3));
    document.category = text_at(row, 4);
    document.ingested_at = PX_TRY(instant_at(row, 5));
    document.document_id = text_at(row, 6);
    document.source = text_at(row, 7);
    document.ds = text_at(row, 8);
    document.landed_key = text_at(row, 9);
    document.landed_sha256 = text_at(row, 10);
    document.path = text_at(row, 11);
    document.line = row.column_int64(12);
    document.byte_start = row.column_int64(13);
    document.byte_end = row.column_int64(14);
    document.offsets_are_raw = row.column_int64(15) != 0;
    document.text_sha256 = text_at(row, 16);
    document.text_length = row.column_int64(17);
    document.extra_json = text_at(row, 18);
    document.first_release.value = row.column_int64(19);
    return document;
}

constexpr std::string_view kLiveAt =
    "from_release <= ?1 AND (to_release IS NULL OR to_release > ?1)";

Result<std::vector<Release>> read_releases(Database& database, Statement& ids) {
    Statement tables = PX_TRY(
        database.prepare("SELECT table_name, version FROM release_tables WHERE release_id = ?"));
    Statement inputs = PX_TRY(database.prepare(
        fmt::format("SELECT ds, fingerprint FROM release_inputs WHERE {}", kLiveAt)));
    std::vector<Release> releases;
    while (PX_TRY(ids.step())) {
        Release release;
        release.id.value = ids.column_int64(0);
        release.run.value = text_at(ids, 1);
        release.ds = text_at(ids, 2);
        release.published_at = PX_TRY(instant_at(ids, 3));
        release.index_manifest = text_at(ids, 4);
        release.documents = ids.column_int64(5);
        release.chunks = ids.column_int64(6);
        tables.bind_int64(1, release.id.value);
        while (PX_TRY(tables.step()))
            release.table_versions.emplace(text_at(tables, 0), tables.column_int64(1));
        tables.reset();
        inputs.bind_int64(1, release.id.value);
        while (PX_TRY(inputs.step()))
            release.input_fingerprints.emplace(text_at(inputs, 0), text_at(inputs, 1));
        inputs.reset();
        releases.push_back(std::move(release));
    }
    return releases;
}

constexpr std::string_view kReleaseColumns =
    "release_id, run_id, ds, published_at, index_manifest, documents, chunks FROM releases";

Result<std::optional<Release>> first_release(Database& database, Statement& ids);

Result<std::optional<Release>> newest_release(Database& database) {
    Statement ids = PX_TRY(database.prepare(
        fmt::format("SELECT {} ORDER BY release_id DESC LIMIT 1", kReleaseColumns)));
    return first_release(database, ids);
}

Result<std::optional<Release>> first_release(Database& database, Statement& ids) {
    std::vector<Release> found = PX_TRY(read_releases(database, ids));
    if (found.empty()) return std::optional<Release>();
    return std::optional<Release>(std::move(found.front()));
}

Result<std::optional<Release>> release_of_run(Database& database, const RunId& run) {
    Statement ids =
        PX_TRY(database.prepare(fmt::format("SELECT {} WHERE run_id = ?", kReleaseColumns)));
    ids.bind_text(1, run.value);
    return first_release(database, ids);
}

// -------------------------------------------------------------------- publish

Result<void> publish_partition(Database& database, const Publication::Partition& partition,
                               int64_t release_id) {
    PX_TRY(database.exec("DELETE FROM temp.incoming"));
    Statement insert = PX_TRY(database.prepare(
        fmt::format("INSERT INTO temp.incoming ({}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                    kDocumentColumns)));
    // In the order of its key the table grows at its end only.
    for (const DocumentRow* document : in_key_order(partition)) {
        const DocumentRow& row = *document;
        bind_document(insert, row);
        Result<void> added = insert.run();
        if (!added) {
            if (added.error().code != ErrorCode::AlreadyExists) return added;
            return listed_twice(row);
        }
    }
    std::string scope = partition.ds ? "m.source = ?2 AND m.ds = ?3" : "m.source = ?2";
    Statement end = PX_TRY(database.prepare(fmt::format(
        "UPDATE analytics_metadata AS m SET to_release = ?1 WHERE m.to_release IS NULL AND {} "
        "AND NOT EXISTS (SELECT 1 FROM temp.incoming AS i WHERE {})",
        scope, kSameDocument)));
    end.bind_int64(1, release_id).bind_text(2, partition.source);
    if (partition.ds) end.bind_text(3, *partition.ds);
    PX_TRY(end.run());
    Statement begin = PX_TRY(database.prepare(fmt::format(
        "INSERT INTO analytics_metadata ({0}, from_release) SELECT {0}, ?1 FROM temp.incoming AS i "
        "WHERE NOT "
        "EXISTS (SELECT 1 FROM analytics_metadata AS m WHERE m.to_release IS NULL AND "
        "m.document_id = "
        "i.document_id AND m.ds = i.ds AND m.source = i.source) ORDER BY i.document_id, i.ds",
        kDocumentColumns)));
    begin.bind_int64(1, release_id);
    Result<void> begun = begin.run();
    if (!begun && begun.error().code == ErrorCode::AlreadyExists)
        return id_of_another_source(partition.source);
    return begun;
}

constexpr std::string_view kIncoming =
    "CREATE TEMP TABLE IF NOT EXISTS incoming (id, title, author, created_at, category, "
    "ingested_at, document_id TEXT, "
    "source, ds TEXT, landed_key, landed_sha256, path, line, byte_start, byte_end, "
    "offsets_are_raw, text_sha256, "
    "text_length, extra_json, PRIMARY KEY (document_id, ds)) WITHOUT ROWID";

// -------------------------------------------------------------------- catalog

class SqliteCatalog final : public Catalog {
  public:
    SqliteCatalog(std::filesystem::path file, OpenMode mode, const Clock& clock,
                  const SqliteCatalogOptions& options)
        : pool_(std::move(file), mode, options), clock_(clock) {}

    ConnectionPool& pool() { return pool_; }

    Result<ServiceFacts> facts() override {
        return pool_.read([&](Database& database) -> Result<ServiceFacts> {
            ServiceFacts facts;
            facts.is_loopback = true;
            facts.version = "SQLite " + PX_TRY(database.query_text("SELECT sqlite_version()"))
                                            .value_or("of an unknown version");
            facts.more = fmt::format("tables of version {}", catalog_migrations().size());
            return facts;
        });
    }

    Result<Run> begin_run(const std::string& ds, const std::string& pipeline_text,
                          const std::string& input_fingerprint,
                          const std::string& external_id) override {
        return pool_.write([&](Database& database) -> Result<Run> {
            Statement last =
                PX_TRY(database.prepare("SELECT max(sequence) FROM runs WHERE ds = ?"));
            last.bind_text(1, ds);
            PX_TRY(last.step());
            int64_t sequence = last.column_int64(0) + 1;
            Run run;
            run.id.value = fmt::format("{}-{:04}", ds, sequence);
            run.ds = ds;
            run.started_at = clock_.now();
            run.pipeline_text = pipeline_text;
            run.input_fingerprint = input_fingerprint;
            run.external_id = external_id;
            Statement insert = PX_TRY(database.prepare(
                "INSERT INTO runs (run_id, ds, sequence, state, started_at, pipeline_text, "
                "input_fingerprint, external_id) VALUES (?, ?, ?, 'running', ?, ?, ?, ?)"));
            insert.bind_text(1, run.id.value).bind_text(2, ds).bind_int64(3, sequence);
            bind_instant(insert, 4, run.started_at)
                .bind_text(5, pipeline_text)
                .bind_text(6, input_fingerprint)
                .bind_text(7, external_id);
            PX_TRY(insert.run());
            return run;
        });
    }

    Result<std::vector<Run>> unfinished_runs() override {
        return pool_.read([&](Database& database) -> Result<std::vector<Run>> {
            Statement rows = PX_TRY(database.prepare(
                fmt::format("SELECT {} FROM {} WHERE r.state = 'running' ORDER BY r.run_number",
                            kRunColumns, kRunTables)));
            return collect(rows, run_at);
        });
    }

    Result<void> finish_run(const RunId& run, RunState state, const std::string& message,
                            const std::string& report_json) override {
        return pool_.write([&](Database& database) -> Result<void> {
            Statement found =
                PX_TRY(database.prepare("SELECT (SELECT release_id FROM releases p WHERE p.run_id "
                                        "= r.run_id) FROM runs r WHERE r.run_id = ?"));
            found.bind_text(1, run.value);
            if (!PX_TRY(found.step())) return no_run(run);
            bool released = !found.is_null(0);
            found.reset();
            if (released != (state == RunState::Published)) {
                return wrong_ending(run, released, state);
            }
            Statement update =
                PX_TRY(database.prepare("UPDATE runs SET state = ?2, finished_at = CASE WHEN ?2 = "
                                        "'running' THEN NULL ELSE ?3 END, message = ?4, "
                                        "report_json = ?5 WHERE run_id = ?1"));
            update.bind_text(1, run.value).bind_text(2, run_state_name(state));
            bind_instant(update, 3, clock_.now()).bind_text(4, message).bind_text(5, report_json);
            PX_TRY(update.run());
            if (state == RunState::Running) return {};
            return end_attempts(database, run, "failed", clock_.now());
        });
    }

    Result<std::optional<Run>> run(const RunId& id) override {
        return pool_.read([&](Database& database) -> Result<std::optional<Run>> {
            Statement rows = PX_TRY(database.prepare(
                fmt::format("SELECT {} FROM {} WHERE r.run_id = ?", kRunColumns, kRunTables)));
            rows.bind_text(1, id.value);
            if (!PX_TRY(rows.step())) return std::optional<Run>();
            return std::optional<Run>(PX_TRY(run_at(rows)));
        });
    }

    Result<std::optional<Run>> run_called(const std::string& external_id) override {
        return pool_.read([&](Database& database) -> Result<std::optional<Run>> {
            Statement rows = PX_TRY(database.prepare(
                fmt::format("SELECT {} FROM {} WHERE r.external_id = ?1 AND ?1 <> '' "
                            "ORDER BY r.run_number DESC LIMIT 1",
                            kRunColumns, kRunTables)));
            rows.bind_text(1, external_id);
            if (!PX_TRY(rows.step())) return std::optional<Run>();
            return std::optional<Run>(PX_TRY(run_at(rows)));
        });
    }

    Result<std::vector<Run>> runs(int64_t limit) override {
        return pool_.read([&](Database& database) -> Result<std::vector<Run>> {
            std::string columns(kRunColumns.substr(0, kRunColumns.rfind("r.pipeline_text")));
            Statement rows = PX_TRY(database.prepare(fmt::format(
                "SELECT {} '' FROM {} ORDER BY r.run_number DESC LIMIT ?", columns, kRunTables)));
            rows.bind_int64(1, limit);
            return collect(rows, run_at);
        });
    }

    Result<int> begin_task(const RunId& run, const std::string& task) override {
        return pool_.write([&](Database& database) -> Result<int> {
            Statement known = PX_TRY(database.prepare("SELECT state FROM runs WHERE run_id = ?"));
            known.bind_text(1, run.value);
            if (!PX_TRY(known.step())) return no_run(run);
            if (known.column_text(0) != run_state_name(RunState::Running)) return run_ended(run);
            known.reset();
            Statement lost =
                PX_TRY(database.prepare("UPDATE task_attempts SET state = 'failed', message = "
                                        "'ended without a word', finished_at = ?3 "
                                        "WHERE run_id = ?1 AND task = ?2 AND state = 'running'"));
            lost.bind_text(1, run.value).bind_text(2, task);
            bind_instant(lost, 3, clock_.now());
            PX_TRY(lost.run());
            Statement insert =
                PX_TRY(database.prepare("INSERT INTO task_attempts (run_id, task, attempt, state, "
                                        "started_at) SELECT ?1, ?2, "
                                        "coalesce(max(attempt), 0) + 1, 'running', ?3 FROM "
                                        "task_attempts WHERE run_id = ?1 AND task = ?2 "
                                        "RETURNING attempt"));
            insert.bind_text(1, run.value).bind_text(2, task);
            bind_instant(insert, 3, clock_.now());
            if (!PX_TRY(insert.step()))
                return fail(ErrorCode::Internal, "an attempt without a number");
            auto attempt = static_cast<int>(insert.column_int64(0));
            insert.reset();
            return attempt;
        });
    }

    Result<void> finish_task(const RunId& run, const std::string& task, int attempt,
                             const std::string& state, const std::string& message,
                             const std::string& output_json) override {
        return pool_.write([&](Database& database) -> Result<void> {
            Statement update =
                PX_TRY(database.prepare("UPDATE task_attempts SET state = ?4, message = ?5, "
                                        "output_json = ?6, finished_at = ?7 "
                                        "WHERE run_id = ?1 AND task = ?2 AND attempt = ?3 "
                                        "AND state = 'running'"));
            update.bind_text(1, run.value)
                .bind_text(2, task)
                .bind_int64(3, attempt)
                .bind_text(4, state);
            update.bind_text(5, message).bind_text(6, output_json);
            bind_instant(update, 7, clock_.now());
            PX_TRY(update.run());
            if (database.changes() > 0) return {};
            Statement known = PX_TRY(
                database.prepare("SELECT state FROM task_attempts WHERE run_id = ?1 AND task = ?2 "
                                 "AND attempt = ?3"));
            known.bind_text(1, run.value).bind_text(2, task).bind_int64(3, attempt);
            if (!PX_TRY(known.step())) return no_attempt(run, task, attempt);
            return attempt_ended(run, task, attempt, known.column_text(0));
        });
    }

    Result<std::optional<std::string>> task_output(const RunId& run,
                                                   const std::string& task) override {
        return pool_.read([&](Database& database) -> Result<std::optional<std::string>> {
            Statement row =
                PX_TRY(database.prepare("SELECT output_json FROM task_attempts WHERE run_id = ? "
                                        "AND task = ? AND state = 'done' "
                                        "ORDER BY attempt DESC LIMIT 1"));
            row.bind_text(1, run.value).bind_text(2, task);
            if (!PX_TRY(row.step())) return std::optional<std::string>();
            return std::optional<std::string>(text_at(row, 0));
        });
    }

    Result<std::vector<TaskAttempt>> tasks(const RunId& run) override {
        return pool_.read([&](Database& database) -> Result<std::vector<TaskAttempt>> {
            Statement rows =
                PX_TRY(database.prepare("SELECT task, attempt, state, started_at, finished_at, "
                                        "message, output_json FROM task_attempts "
                                        "WHERE run_id = ? ORDER BY rowid"));
            rows.bind_text(1, run.value);
            return collect(rows, [&](const Statement& row) -> Result<TaskAttempt> {
                TaskAttempt attempt;
                attempt.run = run;
                attempt.task = text_at(row, 0);
                attempt.attempt = static_cast<int>(row.column_int64(1));
                attempt.state = text_at(row, 2);
                attempt.started_at = PX_TRY(instant_at(row, 3));
                attempt.finished_at = PX_TRY(optional_instant_at(row, 4));
                attempt.message = text_at(row, 5);
                attempt.output_json = text_at(row, 6);
                return attempt;
            });
        });
    }

    Result<void> record_landed(const RunId& run, const std::vector<LandedFile>& files) override {
        return pool_.write([&](Database& database) -> Result<void> {
            std::set<std::string> sources;
            for (const LandedFile& file : files) sources.insert(file.source);
            for (const std::string& source : sources) {
                Statement clear = PX_TRY(
                    database.prepare("DELETE FROM landed_files WHERE run_id = ? AND source = ?"));
                clear.bind_text(1, run.value).bind_text(2, source);
                PX_TRY(clear.run());
            }
            Statement insert =
                PX_TRY(database.prepare("INSERT OR REPLACE INTO landed_files (run_id, source, "
                                        "path, ds, key, sha256, size_bytes, landed_at) "
                                        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"));
            for (const LandedFile& file : files) {
                insert.bind_text(1, run.value)
                    .bind_text(2, file.source)
                    .bind_text(3, file.path)
                    .bind_text(4, file.ds);
                insert.bind_text(5, file.key)
                    .bind_text(6, file.sha256)
                    .bind_int64(7, file.size_bytes);
                bind_instant(insert, 8, file.landed_at);
                PX_TRY(known_run(insert.run(), run));
            }
            return {};
        });
    }

    Result<std::vector<LandedFile>> landed_files(const RunId& run) override {
        return pool_.read([&](Database& database) -> Result<std::vector<LandedFile>> {
            Statement rows =
                PX_TRY(database.prepare("SELECT source, path, ds, key, sha256, size_bytes, "
                                        "landed_at FROM landed_files WHERE run_id = ? "
                                        "ORDER BY source, path"));
            rows.bind_text(1, run.value);
            return collect(rows, landed_at);
        });
    }

    Result<std::vector<LandedFile>> published_files(const std::string& source) override {
        return pool_.read([&](Database& database) -> Result<std::vector<LandedFile>> {
            Statement rows =
                PX_TRY(database.prepare("WITH newest AS (SELECT f.ds, max(p.release_id) AS "
                                        "release_id FROM landed_files f JOIN releases p "
                                        "ON p.run_id = f.run_id WHERE f.source = ?1 GROUP BY f.ds) "
                                        "SELECT f.source, f.path, f.ds, f.key, f.sha256, "
                                        "f.size_bytes, f.landed_at FROM newest n "
                                        "JOIN releases p ON p.release_id = n.release_id "
                                        "JOIN landed_files f ON f.run_id = p.run_id AND f.source = "
                                        "?1 AND f.ds = n.ds ORDER BY f.ds, f.path"));
            rows.bind_text(1, source);
            return collect(rows, landed_at);
        });
    }

    Result<std::optional<LandedFile>> landed_file(const std::string& key) override {
        return pool_.read([&](Database& database) -> Result<std::optional<LandedFile>> {
            Statement row = PX_TRY(database.prepare(
                "SELECT source, path, ds, key, sha256, size_bytes, landed_at FROM landed_files "
                "WHERE key = ? ORDER BY landed_at DESC, run_id DESC LIMIT 1"));
            row.bind_text(1, key);
            if (!PX_TRY(row.step())) return std::optional<LandedFile>();
            return std::optional<LandedFile>(PX_TRY(landed_at(row)));
        });
    }

    Result<void> record_checks(const std::vector<CheckResult>& checks) override {
        return pool_.write([&](Database& database) -> Result<void> {
            Statement insert =
                PX_TRY(database.prepare("INSERT OR REPLACE INTO checks (run_id, source, "
                                        "check_name, expected, actual, passed) "
                                        "VALUES (?, ?, ?, ?, ?, ?)"));
            for (const CheckResult& check : checks) {
                insert.bind_text(1, check.run.value)
                    .bind_text(2, check.source)
                    .bind_text(3, check.check);
                insert.bind_text(4, check.expected)
                    .bind_text(5, check.actual)
                    .bind_int64(6, check.passed ? 1 : 0);
                PX_TRY(known_run(insert.run(), check.run));
            }
            return {};
        });
    }

    Result<std::vector<CheckResult>> checks(const RunId& run) override {
        return pool_.read([&](Database& database) -> Result<std::vector<CheckResult>> {
            Statement rows = PX_TRY(database.prepare(
                "SELECT source, check_name, expected, actual, passed FROM checks WHERE run_id = ? "
                "ORDER BY source, check_name"));
            rows.bind_text(1, run.value);
            return collect(rows, [&](const Statement& row) -> Result<CheckResult> {
                return CheckResult{run,
                                   text_at(row, 0),
                                   text_at(row, 1),
                                   text_at(row, 2),
                                   text_at(row, 3),
                                   row.column_int64(4) != 0};
            });
        });
    }

    Result<void> record_quarantine(const RunId& run,
                                   const std::vector<QuarantineCount>& counts) override {
        return pool_.write([&](Database& database) -> Result<void> {
            Statement insert =
                PX_TRY(database.prepare("INSERT OR REPLACE INTO quarantine_counts (run_id, source, "
                                        "rule, count) VALUES (?, ?, ?, ?)"));
            for (const QuarantineCount& count : counts) {
                insert.bind_text(1, run.value).bind_text(2, count.source).bind_text(3, count.rule);
                insert.bind_int64(4, count.count);
                PX_TRY(known_run(insert.run(), run));
            }
            return {};
        });
    }

    Result<std::vector<QuarantineCount>> quarantine_counts(const RunId& run) override {
        return pool_.read([&](Database& database) -> Result<std::vector<QuarantineCount>> {
            Statement rows =
                PX_TRY(database.prepare("SELECT source, rule, count FROM quarantine_counts WHERE "
                                        "run_id = ? ORDER BY source, rule"));
            rows.bind_text(1, run.value);
            return collect(rows, [&](const Statement& row) -> Result<QuarantineCount> {
                return QuarantineCount{run, text_at(row, 0), text_at(row, 1), row.column_int64(2)};
            });
        });
    }

    Result<Release> publish(const Publication& publication) override {
        PX_TRY(check_publication(publication));
        return pool_.write([&](Database& database) -> Result<Release> {
            const RunId& run = publication.release.run;
            if (std::optional<Release> done = PX_TRY(release_of_run(database, run)))
                return std::move(*done);
            Statement state =
                PX_TRY(database.prepare("SELECT state, ds FROM runs WHERE run_id = ?"));
            state.bind_text(1, run.value);
            if (!PX_TRY(state.step())) return no_run(run);
            if (state.column_text(0) != run_state_name(RunState::Running)) {
                return not_publishable(run, state.column_text(0));
            }
            const std::map<std::string, std::string>& inputs =
                publication.release.input_fingerprints;
            std::string ds =
                publication.release.ds.empty() ? text_at(state, 1) : publication.release.ds;
            state.reset();

            const std::optional<Release> latest = PX_TRY(newest_release(database));
            const int64_t latest_id = latest ? latest->id.value : 0;
            if (publication.expected_latest && *publication.expected_latest != latest_id) {
                return not_the_newest(publication, latest_id);
            }
            const int64_t id = latest_id + 1;
            TimestampMicros at = publication.release.published_at;
            if (at == 0) at = std::max(clock_.now(), latest ? latest->published_at + 1 : kTextMin);
            Statement insert =
                PX_TRY(database.prepare("INSERT INTO releases VALUES (?, ?, ?, ?, ?, ?, ?)"));
            insert.bind_int64(1, id).bind_text(2, run.value).bind_text(3, ds);
            bind_instant(insert, 4, at).bind_text(5, publication.release.index_manifest);
            insert.bind_int64(6, publication.release.documents)
                .bind_int64(7, publication.release.chunks);
            PX_TRY(insert.run());

            Statement table =
                PX_TRY(database.prepare("INSERT INTO release_tables VALUES (?, ?, ?)"));
            for (const auto& [name, version] : publication.release.table_versions) {
                table.bind_int64(1, id).bind_text(2, name).bind_int64(3, version);
                PX_TRY(table.run());
            }
            Statement input_end =
                PX_TRY(database.prepare("UPDATE release_inputs SET to_release = ?1 WHERE "
                                        "to_release IS NULL AND ds = ?2 AND fingerprint <> ?3"));
            Statement input_begin = PX_TRY(database.prepare(
                "INSERT INTO release_inputs (ds, fingerprint, from_release) SELECT ?2, ?3, ?1 "
                "WHERE NOT EXISTS "
                "(SELECT 1 FROM release_inputs WHERE to_release IS NULL AND ds = ?2)"));
            for (const auto& [input_ds, fingerprint] : inputs) {
                for (Statement* statement : {&input_end, &input_begin}) {
                    statement->bind_int64(1, id).bind_text(2, input_ds).bind_text(3, fingerprint);
                    PX_TRY(statement->run());
                }
            }
            // What the map no longer holds ends here.
            std::vector<std::string> gone;
            Statement live_inputs =
                PX_TRY(database.prepare("SELECT ds FROM release_inputs WHERE to_release IS NULL"));
            while (PX_TRY(live_inputs.step())) {
                std::string key = text_at(live_inputs, 0);
                if (!inputs.contains(key)) gone.push_back(std::move(key));
            }
            live_inputs.reset();
            Statement input_gone = PX_TRY(database.prepare(
                "UPDATE release_inputs SET to_release = ?1 WHERE to_release IS NULL AND ds = ?2"));
            for (const std::string& key : gone) {
                input_gone.bind_int64(1, id).bind_text(2, key);
                PX_TRY(input_gone.run());
            }
            PX_TRY(database.exec(std::string(kIncoming)));
            for (const Publication::Partition& partition : publication.documents) {
                PX_TRY(publish_partition(database, partition, id));
            }
            PX_TRY(database.exec("DELETE FROM temp.incoming"));
            Statement count = PX_TRY(database.prepare(
                "UPDATE releases SET documents = (SELECT count(*) FROM analytics_metadata WHERE "
                "to_release IS NULL) WHERE release_id = ?1"));
            count.bind_int64(1, id);
            PX_TRY(count.run());

            std::optional<Release> made = PX_TRY(release_of_run(database, run));
            if (!made) return fail(ErrorCode::Internal, "a release vanished while it was made");
            Statement finish =
                PX_TRY(database.prepare("UPDATE runs SET state = 'published', finished_at = ?2, "
                                        "message = '', report_json = ?3 WHERE run_id = ?1"));
            finish.bind_text(1, run.value);
            bind_instant(finish, 2, at)
                .bind_text(3, publication.report ? publication.report(*made) : "");
            PX_TRY(finish.run());
            PX_TRY(end_attempts(database, run, "done", at));
            return std::move(*made);
        });
    }

    Result<std::optional<Release>> latest_release() override {
        return pool_.read([&](Database& database) { return newest_release(database); });
    }

    Result<std::optional<ReleaseId>> latest_release_id() override {
        return pool_.read([&](Database& database) -> Result<std::optional<ReleaseId>> {
            Statement newest = PX_TRY(database.prepare(
                "SELECT release_id FROM releases ORDER BY release_id DESC LIMIT 1"));
            if (!PX_TRY(newest.step())) return std::optional<ReleaseId>();
            return std::optional(ReleaseId{newest.column_int64(0)});
        });
    }

    Result<std::optional<Release>> release(ReleaseId id) override {
        return pool_.read([&](Database& database) -> Result<std::optional<Release>> {
            Statement ids = PX_TRY(
                database.prepare(fmt::format("SELECT {} WHERE release_id = ?", kReleaseColumns)));
            ids.bind_int64(1, id.value);
            return first_release(database, ids);
        });
    }

    Result<std::optional<Release>> release_as_of(TimestampMicros time) override {
        return pool_.read([&](Database& database) -> Result<std::optional<Release>> {
            Statement ids = PX_TRY(database.prepare(
                fmt::format("SELECT {} WHERE published_at <= ? ORDER BY release_id DESC LIMIT 1",
                            kReleaseColumns)));
            bind_instant(ids, 1, std::clamp(time, kTextMin, kTextMax));
            return first_release(database, ids);
        });
    }

    Result<std::vector<Release>> releases(int64_t limit) override {
        return pool_.read([&](Database& database) -> Result<std::vector<Release>> {
            Statement ids = PX_TRY(database.prepare(
                fmt::format("SELECT {} ORDER BY release_id DESC LIMIT ?", kReleaseColumns)));
            ids.bind_int64(1, limit);
            return read_releases(database, ids);
        });
    }

    Result<std::optional<DocumentRow>> document(ReleaseId release,
                                                const std::string& document_id) override {
        return pool_.read([&](Database& database) -> Result<std::optional<DocumentRow>> {
            Statement row = PX_TRY(database.prepare(
                fmt::format("SELECT {}, from_release FROM analytics_metadata WHERE document_id "
                            "= ?2 AND {} ORDER BY ds DESC LIMIT 1",
                            kDocumentColumns, kLiveAt)));
            row.bind_int64(1, release.value).bind_text(2, document_id);
            if (!PX_TRY(row.step())) return std::optional<DocumentRow>();
            return std::optional<DocumentRow>(PX_TRY(document_at(row)));
        });
    }

    Result<std::vector<DocumentRow>> documents(ReleaseId release, int64_t limit,
                                               int64_t offset) override {
        return pool_.read([&](Database& database) -> Result<std::vector<DocumentRow>> {
            Statement rows = PX_TRY(database.prepare(
                fmt::format("SELECT {}, from_release FROM analytics_metadata WHERE {} "
                            "ORDER BY document_id, ds LIMIT ?2 OFFSET ?3",
                            kDocumentColumns, kLiveAt)));
            rows.bind_int64(1, release.value).bind_int64(2, limit).bind_int64(3, offset);
            return collect(rows, document_at);
        });
    }

    Result<std::vector<std::pair<std::string, int64_t>>> distinct_authors(
        ReleaseId release) override {
        return pool_.read(
            [&](Database& database) -> Result<std::vector<std::pair<std::string, int64_t>>> {
                Statement rows = PX_TRY(
                    database.prepare(fmt::format("SELECT author, count(*) FROM analytics_metadata "
                                                 "WHERE {} AND author <> '' GROUP BY author "
                                                 "ORDER BY count(*) DESC, author",
                                                 kLiveAt)));
                rows.bind_int64(1, release.value);
                return collect(rows,
                               [](const Statement& row) -> Result<std::pair<std::string, int64_t>> {
                                   return std::pair(text_at(row, 0), row.column_int64(1));
                               });
            });
    }

    Result<void> dump(const StoredRowSink& sink) override {
        bool begun = false;
        return pool_.read([&](Database& database) -> Result<void> {
            if (begun) {
                return fail(ErrorCode::Unavailable, "the catalog was changed while it was copied",
                            "stop what works on it and try again");
            }
            begun = true;
            // In the order they were made: each after those it refers to.
            Statement tables = PX_TRY(database.prepare(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' "
                "AND name <> 'schema_version' ORDER BY rowid"));
            while (PX_TRY(tables.step())) {
                StoredRow stored;
                stored.table = text_at(tables, 0);
                Statement rows =
                    PX_TRY(database.prepare(fmt::format("SELECT * FROM \"{}\"", stored.table)));
                for (int c = 0; c < rows.column_count(); ++c)
                    stored.columns.emplace_back(rows.column_name(c));
                stored.values.resize(stored.columns.size());
                while (PX_TRY(rows.step())) {
                    for (int c = 0; c < rows.column_count(); ++c) {
                        std::optional<std::string>& value = stored.values[static_cast<size_t>(c)];
                        if (rows.is_null(c)) {
                            value.reset();
                        } else {
                            value = text_at(rows, c);
                        }
                    }
                    PX_TRY(sink(stored));
                }
            }
            return {};
        });
    }

    Result<void> restore(
        const std::function<Result<void>(const StoredRowSink& sink)>& produce) override {
        return pool_.write([&](Database& database) -> Result<void> {
            if (PX_TRY(database.query_int64("SELECT count(*) FROM runs")).value_or(0) > 0)
                return not_empty();
            std::string table;
            Statement insert;
            return produce([&](const StoredRow& row) -> Result<void> {
                if (row.table != table) {
                    std::string names, marks;
                    for (const std::string& column : row.columns) {
                        names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", column);
                        marks += marks.empty() ? "?" : ", ?";
                    }
                    insert = PX_TRY(database.prepare(fmt::format(
                        "INSERT INTO \"{}\" ({}) VALUES ({})", row.table, names, marks)));
                    table = row.table;
                }
                // The columns' affinity makes numbers of the texts.
                for (size_t c = 0; c < row.values.size(); ++c) {
                    if (row.values[c]) insert.bind_text(static_cast<int>(c) + 1, *row.values[c]);
                }
                return insert.run().context("table " + row.table);
            });
        });
    }

  private:
    template <class F>
    static auto collect(Statement& rows, F make) -> Result<
        std::vector<typename decltype(make(std::declval<const Statement&>()))::value_type>> {
        std::vector<typename decltype(make(std::declval<const Statement&>()))::value_type> all;
        while (PX_TRY(rows.step())) all.push_back(PX_TRY(make(rows)));
        return all;
    }

    /// A row of a run the catalog doesn't know breaks its foreign key.
    static Result<void> known_run(Result<void> done, const RunId& run) {
        if (!done && done.error().code == ErrorCode::InvalidArgument &&
            done.error().message.find("FOREIGN KEY") != std::string::npos) {
            return no_run(run);
        }
        return done;
    }

    ConnectionPool pool_;
    const Clock& clock_;
};

/// WAL is a property of the file, set once. Setting it needs the file for itself for a moment.
Result<void> ensure_wal(Database& database, std::chrono::milliseconds patience) {
    auto until = std::chrono::steady_clock::now() + patience;
    while (true) {
        std::string mode = PX_TRY(database.query_text("PRAGMA journal_mode")).value_or("");
        if (mode == "wal") return {};
        Result<std::optional<std::string>> set = database.query_text("PRAGMA journal_mode = wal");
        if (set && *set == "wal") return {};
        if (!set && set.error().code != ErrorCode::Unavailable) return std::move(set).error();
        if (std::chrono::steady_clock::now() >= until) {
            return fail(ErrorCode::Unavailable,
                        "another process holds the catalog while it is being created", "try again");
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
}

}  // namespace

Result<void> SqliteCatalogOptions::validate() const {
    if (busy_timeout.count() < 0) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("catalog busy_timeout {} ms is negative", busy_timeout.count()));
    }
    if (connections_max == 0)
        return fail(ErrorCode::InvalidArgument, "catalog connections_max must be at least 1");
    return {};
}

Result<std::unique_ptr<Catalog>> open_sqlite_catalog(const std::filesystem::path& file,
                                                     OpenMode mode, const Clock& clock,
                                                     const SqliteCatalogOptions& options) {
    PX_TRY(options.validate());
    auto where = [&] { return fmt::format("catalog {}", file.string()); };
    auto catalog = std::make_unique<SqliteCatalog>(file, mode, clock, options);
    if (mode == OpenMode::ReadOnly) {
        PX_TRY(catalog->pool()
                   .read([](Database& database) {
                       return check_version(database, catalog_migrations());
                   })
                   .context(where()));
        return std::unique_ptr<Catalog>(std::move(catalog));
    }
    Database database = PX_TRY(sqlite::Database::open(file, {.mode = sqlite::OpenMode::Create,
                                                             .busy_timeout = options.busy_timeout,
                                                             .immutable = false}));
    PX_TRY(schema_version(database).context(
        where()));  // before anything is written: is it a catalog at all?
    PX_TRY(ensure_wal(database, options.busy_timeout).context(where()));
    PX_TRY(database.exec("PRAGMA synchronous = FULL"));
    PX_TRY(migrate(database, catalog_migrations(), clock).context(where()));
    return std::unique_ptr<Catalog>(std::move(catalog));
}

}  // namespace px::catalog
