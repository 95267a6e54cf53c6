#include "catalog/postgres/migrations.h"

#include <array>

#include "catalog/schedule_sql.h"

namespace px::catalog {
namespace {

constexpr std::string_view kFirstTables = R"sql(
CREATE TABLE runs (
    run_number        bigint PRIMARY KEY,
    run_id            text COLLATE "C" NOT NULL UNIQUE,
    ds                text COLLATE "C" NOT NULL,
    sequence          bigint NOT NULL,
    state             text NOT NULL CHECK (state IN ('running', 'published', 'unchanged', 'halted', 'failed')),
    started_at        timestamptz NOT NULL,
    finished_at       timestamptz,
    pipeline_text     text NOT NULL,
    input_fingerprint text NOT NULL,
    message           text NOT NULL DEFAULT '',
    report_json       text NOT NULL DEFAULT '',
    token             text COLLATE "C" NOT NULL UNIQUE,
    UNIQUE (ds, sequence)
);
CREATE INDEX runs_by_state ON runs (state, run_number);

CREATE TABLE task_attempts (
    attempt_number bigint GENERATED ALWAYS AS IDENTITY,
    run_id         text COLLATE "C" NOT NULL REFERENCES runs (run_id),
    task           text COLLATE "C" NOT NULL,
    attempt        integer NOT NULL,
    state          text NOT NULL,
    started_at     timestamptz NOT NULL,
    finished_at    timestamptz,
    message        text NOT NULL DEFAULT '',
    output_json    text NOT NULL DEFAULT '',
    token          text COLLATE "C" NOT NULL UNIQUE,
    PRIMARY KEY (run_id, task, attempt)
);

CREATE TABLE landed_files (
    run_id     text COLLATE "C" NOT NULL REFERENCES runs (run_id),
    source     text COLLATE "C" NOT NULL,
    path       text COLLATE "C" NOT NULL,
    ds         text COLLATE "C" NOT NULL,
    key        text COLLATE "C" NOT NULL,
    sha256     text NOT NULL,
    size_bytes bigint NOT NULL,
    landed_at  timestamptz NOT NULL,
    PRIMARY KEY (run_id, source, path)
);
CREATE INDEX landed_files_by_source ON landed_files (source, ds, run_id);
CREATE INDEX landed_files_by_key ON landed_files (key);

CREATE TABLE checks (
    run_id     text COLLATE "C" NOT NULL REFERENCES runs (run_id),
    source     text COLLATE "C" NOT NULL,
    check_name text COLLATE "C" NOT NULL,
    expected   text NOT NULL,
    actual     text NOT NULL,
    passed     boolean NOT NULL,
    PRIMARY KEY (run_id, source, check_name)
);

CREATE TABLE quarantine_counts (
    run_id text COLLATE "C" NOT NULL REFERENCES runs (run_id),
    source text COLLATE "C" NOT NULL,
    rule   text COLLATE "C" NOT NULL,
    count  bigint NOT NULL,
    PRIMARY KEY (run_id, source, rule)
);

CREATE TABLE releases (
    release_id     bigint PRIMARY KEY,
    run_id         text COLLATE "C" NOT NULL UNIQUE REFERENCES runs (run_id),
    ds             text COLLATE "C" NOT NULL,
    published_at   timestamptz NOT NULL,
    index_manifest text NOT NULL,
    documents      bigint NOT NULL,
    chunks         bigint NOT NULL
);

CREATE TABLE release_tables (
    release_id bigint NOT NULL REFERENCES releases (release_id),
    table_name text COLLATE "C" NOT NULL,
    version    bigint NOT NULL,
    PRIMARY KEY (release_id, table_name)
);

CREATE TABLE release_inputs (
    ds           text COLLATE "C" NOT NULL,
    fingerprint  text COLLATE "C" NOT NULL,
    from_release bigint NOT NULL,
    to_release   bigint
);
CREATE UNIQUE INDEX release_inputs_live ON release_inputs (ds) WHERE to_release IS NULL;

CREATE TABLE analytics_metadata (
    id              text NOT NULL,
    title           text NOT NULL,
    author          text COLLATE "C" NOT NULL,
    created_at      timestamptz,
    category        text NOT NULL,
    ingested_at     timestamptz NOT NULL,
    document_id     text COLLATE "C" NOT NULL,
    source          text COLLATE "C" NOT NULL,
    ds              text COLLATE "C" NOT NULL,
    landed_key      text NOT NULL,
    landed_sha256   text NOT NULL,
    path            text NOT NULL,
    line            bigint NOT NULL,
    byte_start      bigint NOT NULL,
    byte_end        bigint NOT NULL,
    offsets_are_raw boolean NOT NULL,
    text_sha256     text NOT NULL,
    text_length     bigint NOT NULL,
    extra_json      text NOT NULL,
    from_release    bigint NOT NULL,
    PRIMARY KEY (document_id, ds)
);
CREATE INDEX analytics_metadata_partition ON analytics_metadata (source, ds);

CREATE TABLE analytics_metadata_history (LIKE analytics_metadata INCLUDING DEFAULTS, to_release bigint NOT NULL);
CREATE INDEX analytics_metadata_history_document ON analytics_metadata_history (document_id, ds, from_release);

CREATE VIEW documents AS
    SELECT id, title, author, created_at, category, ingested_at, document_id, source, ds, path, landed_key,
           landed_sha256, text_sha256, text_length, from_release
    FROM analytics_metadata;

-- SQL that says analytics_metadata and knows no schema goes on working. A table of that name stays as it is, and of two
-- catalogs made in one database at the same moment the first one's view stays.
DO $do$ BEGIN
    IF current_schema() <> 'public' AND to_regclass('public.analytics_metadata') IS NULL
       AND to_regnamespace('public') IS NOT NULL AND has_schema_privilege('public', 'CREATE') THEN
        EXECUTE format('CREATE VIEW public.analytics_metadata AS '
                       'SELECT id, title, author, created_at, category, ingested_at FROM %I.analytics_metadata',
                       current_schema());
    END IF;
EXCEPTION WHEN unique_violation OR duplicate_table OR duplicate_object THEN
    NULL;
END $do$;
)sql";

constexpr std::string_view kExternalIds = R"sql(
ALTER TABLE runs ADD COLUMN external_id text COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX runs_by_external_id ON runs (external_id, run_number) WHERE external_id <> '';
)sql";

const std::array<PostgresMigration, 3> kMigrations = {{
    {"runs, releases and documents", kFirstTables},
    {"names orchestrators give to runs", kExternalIds},
    {"the schedule", kScheduleTables},
}};

constexpr std::array<std::string_view, 14> kTables = {"schema_version",
                                                      "runs",
                                                      "task_attempts",
                                                      "landed_files",
                                                      "checks",
                                                      "releases",
                                                      "release_tables",
                                                      "quarantine_counts",
                                                      "release_inputs",
                                                      "analytics_metadata",
                                                      "analytics_metadata_history",
                                                      "schedule_pipelines",
                                                      "schedule_items",
                                                      "schedule_attempts"};

}  // namespace

std::span<const PostgresMigration> postgres_migrations() { return kMigrations; }
std::span<const std::string_view> postgres_tables() { return kTables; }

}  // namespace px::catalog
