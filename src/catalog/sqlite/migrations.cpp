#include "catalog/sqlite/migrations.h"

#include <fmt/format.h>

#include <array>

#include "catalog/publication.h"
#include "catalog/schedule_sql.h"

namespace px::catalog {
namespace {

constexpr std::string_view kFirstTables = R"sql(
CREATE TABLE runs (
    run_number        INTEGER PRIMARY KEY,
    run_id            TEXT NOT NULL UNIQUE,
    ds                TEXT NOT NULL,
    sequence          INTEGER NOT NULL,
    state             TEXT NOT NULL CHECK (state IN ('running', 'published', 'unchanged', 'halted', 'failed')),
    started_at        TEXT NOT NULL,
    finished_at       TEXT,
    pipeline_text     TEXT NOT NULL,
    input_fingerprint TEXT NOT NULL,
    message           TEXT NOT NULL DEFAULT '',
    report_json       TEXT NOT NULL DEFAULT '',
    UNIQUE (ds, sequence)
);
CREATE INDEX runs_by_state ON runs (state, run_number);

CREATE TABLE task_attempts (
    run_id      TEXT NOT NULL REFERENCES runs (run_id),
    task        TEXT NOT NULL,
    attempt     INTEGER NOT NULL,
    state       TEXT NOT NULL,
    started_at  TEXT NOT NULL,
    finished_at TEXT,
    message     TEXT NOT NULL DEFAULT '',
    output_json TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (run_id, task, attempt)
);

CREATE TABLE landed_files (
    run_id     TEXT NOT NULL REFERENCES runs (run_id),
    source     TEXT NOT NULL,
    path       TEXT NOT NULL,
    ds         TEXT NOT NULL,
    key        TEXT NOT NULL,
    sha256     TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    landed_at  TEXT NOT NULL,
    PRIMARY KEY (run_id, source, path)
);
CREATE INDEX landed_files_by_source ON landed_files (source, ds, run_id);

CREATE TABLE checks (
    run_id     TEXT NOT NULL REFERENCES runs (run_id),
    source     TEXT NOT NULL,
    check_name TEXT NOT NULL,
    expected   TEXT NOT NULL,
    actual     TEXT NOT NULL,
    passed     INTEGER NOT NULL,
    PRIMARY KEY (run_id, source, check_name)
);

CREATE TABLE quarantine_counts (
    run_id TEXT NOT NULL REFERENCES runs (run_id),
    source TEXT NOT NULL,
    rule   TEXT NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (run_id, source, rule)
);

CREATE TABLE releases (
    release_id     INTEGER PRIMARY KEY,
    run_id         TEXT NOT NULL UNIQUE REFERENCES runs (run_id),
    ds             TEXT NOT NULL,
    published_at   TEXT NOT NULL,
    index_manifest TEXT NOT NULL,
    documents      INTEGER NOT NULL,
    chunks         INTEGER NOT NULL
);

CREATE TABLE release_tables (
    release_id INTEGER NOT NULL REFERENCES releases (release_id),
    table_name TEXT NOT NULL,
    version    INTEGER NOT NULL,
    PRIMARY KEY (release_id, table_name)
) WITHOUT ROWID;

CREATE TABLE release_inputs (
    ds           TEXT NOT NULL,
    fingerprint  TEXT NOT NULL,
    from_release INTEGER NOT NULL,
    to_release   INTEGER
);
CREATE UNIQUE INDEX release_inputs_live ON release_inputs (ds) WHERE to_release IS NULL;

CREATE TABLE analytics_metadata (
    id              TEXT NOT NULL,
    title           TEXT NOT NULL,
    author          TEXT NOT NULL,
    created_at      TEXT,
    category        TEXT NOT NULL,
    ingested_at     TEXT NOT NULL,
    document_id     TEXT NOT NULL,
    source          TEXT NOT NULL,
    ds              TEXT NOT NULL,
    landed_key      TEXT NOT NULL,
    landed_sha256   TEXT NOT NULL,
    path            TEXT NOT NULL,
    line            INTEGER NOT NULL,
    byte_start      INTEGER NOT NULL,
    byte_end        INTEGER NOT NULL,
    offsets_are_raw INTEGER NOT NULL,
    text_sha256     TEXT NOT NULL,
    text_length     INTEGER NOT NULL,
    extra_json      TEXT NOT NULL,
    from_release    INTEGER NOT NULL,
    to_release      INTEGER
);
CREATE UNIQUE INDEX analytics_metadata_live ON analytics_metadata (document_id, ds) WHERE to_release IS NULL;
CREATE INDEX analytics_metadata_partition ON analytics_metadata (source, ds) WHERE to_release IS NULL;
CREATE INDEX analytics_metadata_document ON analytics_metadata (document_id, ds, from_release);

CREATE VIEW documents AS
    SELECT id, title, author, created_at, category, ingested_at, document_id, source, ds, path, landed_key,
           landed_sha256, text_sha256, text_length, from_release
    FROM analytics_metadata WHERE to_release IS NULL;
)sql";

constexpr std::string_view kExternalIds = R"sql(
ALTER TABLE runs ADD COLUMN external_id TEXT NOT NULL DEFAULT '';
CREATE INDEX runs_by_external_id ON runs (external_id, run_number) WHERE external_id <> '';
)sql";

const std::array<Migration, 3> kMigrations = {{
    {"runs, releases and documents", kFirstTables},
    {"names orchestrators give to runs", kExternalIds},
    {"the schedule", kScheduleTables},
}};

}  // namespace

std::span<const Migration> catalog_migrations() { return kMigrations; }

Result<int64_t> schema_version(sqlite::Database& database) {
    int64_t objects =
        PX_TRY(database.query_int64("SELECT count(*) FROM sqlite_schema")).value_or(0);
    if (objects == 0) return int64_t{0};
    int64_t table = PX_TRY(database.query_int64(
                               "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = "
                               "'schema_version'"))
                        .value_or(0);
    if (table == 0) {
        return fail(ErrorCode::InvalidArgument,
                    "the file is an SQLite database but not a px catalog",
                    "give the catalog a file of its own (catalog.url)");
    }
    return PX_TRY(database.query_int64("SELECT max(version) FROM schema_version")).value_or(0);
}

Result<void> migrate(sqlite::Database& database, std::span<const Migration> migrations,
                     const Clock& clock) {
    while (true) {
        int64_t found = PX_TRY(schema_version(database));
        auto known = static_cast<int64_t>(migrations.size());
        if (found > known) return newer_catalog(found, migrations.size());
        if (found == known) return {};
        sqlite::Transaction transaction =
            PX_TRY(sqlite::Transaction::begin(database, sqlite::Transaction::Kind::Immediate));
        // Another process may have been first while this one waited for the lock.
        found = PX_TRY(schema_version(database));
        if (found > known) return newer_catalog(found, migrations.size());
        if (found == known) return {};
        const Migration& step = migrations[static_cast<size_t>(found)];
        if (found == 0) {
            PX_TRY(
                database.exec("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY "
                              "KEY, applied_at TEXT NOT NULL, "
                              "description TEXT NOT NULL)"));
        }
        PX_TRY(database.exec(std::string(step.sql))
                   .context(fmt::format("migration {}: {}", found + 1, step.description)));
        sqlite::Statement insert =
            PX_TRY(database.prepare("INSERT INTO schema_version VALUES (?, ?, ?)"));
        insert.bind_int64(1, found + 1)
            .bind_text(2, format_timestamp(clock.now()))
            .bind_text(3, step.description);
        PX_TRY(insert.run());
        PX_TRY(transaction.commit());
    }
}

Result<void> check_version(sqlite::Database& database, std::span<const Migration> migrations) {
    int64_t found = PX_TRY(schema_version(database));
    if (found > static_cast<int64_t>(migrations.size()))
        return newer_catalog(found, migrations.size());
    if (found == 0 && !migrations.empty()) {
        // Whoever made the file died before its first tables were there.
        return fail(ErrorCode::NotFound, "the file holds no catalog yet",
                    "run `px run` once: it makes the catalog");
    }
    if (found < static_cast<int64_t>(migrations.size())) {
        return older_catalog(found, migrations.size());
    }
    return {};
}

}  // namespace px::catalog
