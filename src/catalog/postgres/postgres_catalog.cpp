// The catalog in PostgreSQL. Every read is one statement, so one snapshot, and waits for no writer;
// writers take turns by an advisory lock, as SQLite's do by its file lock. Each write looks first
// whether it was done already: it is repeated when the reply of a COMMIT is lost.
#include <fmt/format.h>

#include <unistd.h>
#include <set>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/json.hpp>
#include <charconv>
#include <deque>
#include <limits>
#include <map>
#include <random>
#include <utility>

#include "catalog/catalog.h"
#include "catalog/instant.h"
#include "catalog/postgres/migrations.h"
#include "catalog/postgres/session_pool.h"
#include "catalog/publication.h"

namespace px::catalog {
namespace {

using libpq::Parameters;
using libpq::Rows;

constexpr size_t kCopyChunkBytes = 256 << 10;
constexpr size_t kAnalyzeRows = 1000;  // the planner can't know a fresh temporary table's size

std::string text_at(const Rows& rows, int row, int column) {
    return std::string(rows.text(row, column));
}

/// Unlike any other, of any process.
std::string new_token() {
    static const std::string process = [] {
        std::random_device device;
        return fmt::format("{:08x}{:08x}{:08x}{:08x}", device(), device(), device(), device());
    }();
    static std::atomic<uint64_t> count{0};
    return fmt::format("{}-{}", process, ++count);
}

// ----------------------------------------------------------------------- rows

constexpr std::string_view kRunColumns =
    "r.run_id, r.ds, r.state, r.started_at, r.finished_at, r.input_fingerprint, r.message, "
    "r.report_json, p.release_id, r.external_id";
constexpr std::string_view kRunTables = "runs r LEFT JOIN releases p ON p.run_id = r.run_id";

Result<Run> run_at(const Rows& rows, int row) {
    Run run;
    run.id.value = text_at(rows, row, 0);
    run.ds = text_at(rows, row, 1);
    std::optional<RunState> state = parse_run_state(rows.text(row, 2));
    if (!state) return unknown_state(run.id, rows.text(row, 2));
    run.state = *state;
    run.started_at = rows.instant(row, 3);
    run.finished_at = rows.optional_instant(row, 4);
    run.input_fingerprint = text_at(rows, row, 5);
    run.message = text_at(rows, row, 6);
    run.report_json = text_at(rows, row, 7);
    if (!rows.is_null(row, 8)) run.release = ReleaseId{rows.int64(row, 8)};
    run.external_id = text_at(rows, row, 9);
    run.pipeline_text = text_at(rows, row, 10);
    return run;
}

/// Attempts that are running when their run ends, end with it.
Result<void> end_attempts(Session& session, const RunId& run, std::string_view state,
                          TimestampMicros at) {
    PX_TRY(
        session.execute("UPDATE task_attempts SET state = $2, finished_at = $3 WHERE run_id = $1 "
                        "AND state = 'running'",
                        Parameters().text(run.value).text(state).instant(at)));
    return {};
}

constexpr std::string_view kLandedColumns =
    "f.source, f.path, f.ds, f.key, f.sha256, f.size_bytes, f.landed_at";

Result<LandedFile> landed_at(const Rows& rows, int row) {
    LandedFile file;
    file.source = text_at(rows, row, 0);
    file.path = text_at(rows, row, 1);
    file.ds = text_at(rows, row, 2);
    file.key = text_at(rows, row, 3);
    file.sha256 = text_at(rows, row, 4);
    file.size_bytes = rows.int64(row, 5);
    file.landed_at = rows.instant(row, 6);
    return file;
}

constexpr std::string_view kDocumentColumns =
    "id, title, author, created_at, category, ingested_at, document_id, source, ds, landed_key, "
    "landed_sha256, path, line, byte_start, byte_end, offsets_are_raw, text_sha256, text_length, "
    "extra_json";
constexpr int kDocumentColumnCount = 19;

/// True where the row m of analytics_metadata and the row i of px_incoming say the same;
/// ingested_at does not count.
constexpr std::string_view kSameDocument =
    "i.document_id = m.document_id AND i.ds = m.ds AND i.id = m.id AND i.title = m.title "
    "AND i.author = m.author AND i.created_at IS NOT DISTINCT FROM m.created_at "
    "AND i.category = m.category AND i.source = m.source AND i.landed_key = m.landed_key "
    "AND i.landed_sha256 = m.landed_sha256 AND i.path = m.path AND i.line = m.line "
    "AND i.byte_start = m.byte_start AND i.byte_end = m.byte_end "
    "AND i.offsets_are_raw = m.offsets_are_raw AND i.text_sha256 = m.text_sha256 "
    "AND i.text_length = m.text_length AND i.extra_json = m.extra_json";

void copy_document(libpq::CopyRows& out, const DocumentRow& row) {
    out.row(kDocumentColumnCount);
    out.text(row.id);
    out.text(row.title);
    out.text(row.author);
    out.instant(row.created_at);
    out.text(row.category);
    out.instant(row.ingested_at);
    out.text(row.document_id);
    out.text(row.source);
    out.text(row.ds);
    out.text(row.landed_key);
    out.text(row.landed_sha256);
    out.text(row.path);
    out.int64(row.line);
    out.int64(row.byte_start);
    out.int64(row.byte_end);
    out.boolean(row.offsets_are_raw);
    out.text(row.text_sha256);
    out.int64(row.text_length);
    out.text(row.extra_json);
}

Result<DocumentRow> document_at(const Rows& rows, int row) {
    DocumentRow document;
    document.id = text_at(rows, row, 0);
    document.title = text_at(rows, row, 1);
    document.author = text_at(rows, row, 2);
    document.created_at = rows.optional_instant(row, 3);
    document.category = text_at(rows, row, 4);
    document.ingested_at = rows.instant(row, 5);
    document.document_id = text_at(rows, row, 6);
    document.source = text_at(rows, row, 7);
    document.ds = text_at(rows, row, 8);
    document.landed_key = text_at(rows, row, 9);
    document.landed_sha256 = text_at(rows, row, 10);
    document.path = text_at(rows, row, 11);
    document.line = rows.int64(row, 12);
    document.byte_start = rows.int64(row, 13);
    document.byte_end = rows.int64(row, 14);
    document.offsets_are_raw = rows.boolean(row, 15);
    document.text_sha256 = text_at(rows, row, 16);
    document.text_length = rows.int64(row, 17);
    document.extra_json = text_at(rows, row, 18);
    document.first_release.value = rows.int64(row, 19);
    return document;
}

/// The documents of release $1, with these columns.
std::string documents_of_release(std::string_view columns) {
    return fmt::format(
        "(SELECT {0} FROM analytics_metadata WHERE from_release <= $1 UNION ALL "
        "SELECT {0} FROM analytics_metadata_history WHERE from_release <= $1 AND to_release > $1)",
        columns);
}

constexpr std::string_view kReleases =
    "SELECT r.release_id, r.run_id, r.ds, r.published_at, r.index_manifest, r.documents, r.chunks, "
    "coalesce((SELECT jsonb_object_agg(t.table_name, t.version) FROM release_tables t "
    "WHERE t.release_id = r.release_id), '{}')::text, "
    "coalesce((SELECT jsonb_object_agg(i.ds, i.fingerprint) FROM release_inputs i "
    "WHERE i.from_release <= r.release_id "
    "AND (i.to_release IS NULL OR i.to_release > r.release_id)), '{}')::text FROM releases r";

Result<boost::json::object> json_object(std::string_view text) {
    boost::system::error_code code;
    boost::json::value value = boost::json::parse(text, code);
    if (code || !value.is_object())
        return fail(ErrorCode::Corrupt, "the catalog holds a release that can't be read",
                    "restore the catalog from a backup");
    return std::move(value.get_object());
}

Result<Release> release_at(const Rows& rows, int row) {
    Release release;
    release.id.value = rows.int64(row, 0);
    release.run.value = text_at(rows, row, 1);
    release.ds = text_at(rows, row, 2);
    release.published_at = rows.instant(row, 3);
    release.index_manifest = text_at(rows, row, 4);
    release.documents = rows.int64(row, 5);
    release.chunks = rows.int64(row, 6);
    for (const auto& [table, version] : PX_TRY(json_object(rows.text(row, 7)))) {
        boost::system::error_code code;
        release.table_versions.emplace(table, version.to_number<int64_t>(code));
    }
    for (const auto& [input, fingerprint] : PX_TRY(json_object(rows.text(row, 8)))) {
        if (fingerprint.is_string())
            release.input_fingerprints.emplace(input, std::string(fingerprint.get_string()));
    }
    return release;
}

template <class F>
auto collect(const Rows& rows, F make)
    -> Result<std::vector<typename decltype(make(rows, 0))::value_type>> {
    std::vector<typename decltype(make(rows, 0))::value_type> all;
    all.reserve(static_cast<size_t>(rows.row_count()));
    for (int row = 0; row < rows.row_count(); ++row) all.push_back(PX_TRY(make(rows, row)));
    return all;
}

template <class F>
auto first(const Rows& rows, F make)
    -> Result<std::optional<typename decltype(make(rows, 0))::value_type>> {
    using Found = std::optional<typename decltype(make(rows, 0))::value_type>;
    if (rows.row_count() == 0) return Found();
    return Found(PX_TRY(make(rows, 0)));
}

Result<std::optional<Release>> newest_release(Session& session) {
    Rows rows =
        PX_TRY(session.execute(fmt::format("{} ORDER BY r.release_id DESC LIMIT 1", kReleases)));
    return first(rows, release_at);
}

Result<std::optional<Release>> release_of_run(Session& session, const RunId& run) {
    Rows rows = PX_TRY(session.execute(fmt::format("{} WHERE r.run_id = $1", kReleases),
                                       Parameters().text(run.value)));
    return first(rows, release_at);
}

/// A row of a run the catalog doesn't know breaks its foreign key.
Result<void> known_run(Session& session, Result<Rows> done, const RunId& run) {
    if (done) return {};
    if (session.connection().last_sqlstate() == "23503") return no_run(run);
    return std::move(done).error();
}

// -------------------------------------------------------------------- publish

/// As PostgreSQL sees them; the adapter below finds what SQLite finds by a key of its own.
Result<void> check_ids(const Publication& publication) {
    // Ids as they are stored: two that differ in ill-formed bytes alone become one.
    struct Key {
        std::string_view id, ds;
        const DocumentRow* row;
    };
    std::deque<std::string> mended;
    const auto stored = [&](const std::string& text) -> std::string_view {
        std::string clean = libpq::storable(text);
        return clean == text ? std::string_view(text) : mended.emplace_back(std::move(clean));
    };
    std::vector<Key> all;
    for (const Publication::Partition& partition : publication.documents) {
        for (const DocumentRow& row : partition.documents)
            all.push_back({stored(row.document_id), stored(row.ds), &row});
    }
    std::stable_sort(all.begin(), all.end(), [](const Key& a, const Key& b) {
        return std::tie(a.id, a.ds) < std::tie(b.id, b.ds);
    });
    for (size_t i = 1; i < all.size(); ++i) {
        const Key& a = all[i - 1];
        const Key& b = all[i];
        if (a.id != b.id || a.ds != b.ds) continue;
        return a.row->source == b.row->source ? listed_twice(*b.row)
                                              : id_of_another_source(b.row->source);
    }
    return {};
}

Result<void> load_incoming(Session& session, const Publication::Partition& partition) {
    if (partition.documents.empty()) return {};
    // In the order of its key the table grows at its end only.
    const std::vector<const DocumentRow*> ordered = in_key_order(partition);
    size_t next = 0;
    PX_TRY(session.copy_in(
        fmt::format("COPY pg_temp.px_incoming ({}) FROM STDIN (FORMAT binary)", kDocumentColumns),
        [&](std::string& chunk) -> Result<bool> {
            libpq::CopyRows out(chunk);
            if (next == 0) out.header();
            while (next < ordered.size() && chunk.size() < kCopyChunkBytes)
                copy_document(out, *ordered[next++]);
            if (next < ordered.size()) return true;
            out.trailer();
            return false;
        }));
    if (ordered.size() >= kAnalyzeRows) PX_TRY(session.run("ANALYZE pg_temp.px_incoming"));
    return {};
}

Result<void> publish_partition(Session& session, const Publication::Partition& partition,
                               int64_t release_id) {
    PX_TRY(load_incoming(session, partition));
    Parameters ended;
    ended.int64(release_id).text(partition.source);
    if (partition.ds) ended.text(*partition.ds);
    PX_TRY(session.execute(
        fmt::format("WITH ended AS (DELETE FROM analytics_metadata AS m WHERE m.source = $2{} AND "
                    "NOT EXISTS (SELECT 1 FROM pg_temp.px_incoming AS i WHERE {}) RETURNING m.*) "
                    "INSERT INTO analytics_metadata_history ({}, from_release, to_release) "
                    "SELECT {}, from_release, $1 FROM ended",
                    partition.ds ? " AND m.ds = $3" : "", kSameDocument, kDocumentColumns,
                    kDocumentColumns),
        ended));
    Result<Rows> begun = session.execute(
        fmt::format("INSERT INTO analytics_metadata ({0}, from_release) SELECT {0}, $1 "
                    "FROM pg_temp.px_incoming AS i WHERE NOT EXISTS (SELECT 1 FROM "
                    "analytics_metadata AS m WHERE m.document_id = i.document_id AND m.ds = i.ds "
                    "AND m.source = i.source) ORDER BY i.document_id, i.ds",
                    kDocumentColumns),
        Parameters().int64(release_id));
    if (!begun) {
        if (begun.error().code == ErrorCode::AlreadyExists)
            return id_of_another_source(partition.source);
        return std::move(begun).error();
    }
    return {};
}

std::string json_of(const std::map<std::string, std::string>& texts) {
    boost::json::object object;
    for (const auto& [key, value] : texts) object[key] = value;
    return boost::json::serialize(object);
}

// ------------------------------------------------------------- dump and restore

constexpr std::string_view kLive = "analytics_metadata";
constexpr std::string_view kHistory = "analytics_metadata_history";
constexpr int kDumpRows = 200;                     // at a time
constexpr size_t kRestoreBufferBytes = 4U << 20U;  // of a COPY

// PostgreSQL's numbers of types.
constexpr unsigned kBool = 16, kInt8 = 20, kInt4 = 23, kTimestamptz = 1184;

struct StoredColumn {
    std::string name;
    unsigned type = 0;
};

/// Columns this adapter keeps for itself.
bool is_own_column(std::string_view name) { return name == "token" || name == "attempt_number"; }

Result<std::vector<StoredColumn>> columns_of(Session& session, std::string_view table) {
    const Rows none = PX_TRY(session.execute(fmt::format(
        "SELECT * FROM {} LIMIT 0", session.connection().quote_identifier(std::string(table)))));
    std::vector<StoredColumn> columns;
    for (int c = 0; c < none.column_count(); ++c)
        columns.push_back({std::string(none.column_name(c)), none.column_type(c)});
    return columns;
}

/// Rows of a table in the shape all adapters share; see Catalog::dump.
Result<void> dump_table(Session& session, std::string_view table, const StoredRowSink& sink) {
    StoredRow stored;
    stored.table = table;
    std::vector<unsigned> types;
    std::string wanted, order;
    for (const StoredColumn& column : PX_TRY(columns_of(session, table))) {
        if (column.name == "attempt_number") order = " ORDER BY attempt_number";
        if (is_own_column(column.name)) continue;
        const std::string name = session.connection().quote_identifier(column.name);
        if (!wanted.empty()) wanted += ", ";
        wanted += column.type == kTimestamptz ? name
                  : column.type == kBool      ? name + "::int::text"
                                              : name + "::text";
        stored.columns.push_back(column.name);
        types.push_back(column.type);
    }
    std::string from = fmt::format("SELECT {} FROM {}", wanted, table);
    if (table == kLive) {
        // Here the ended rows are a table of their own.
        from = fmt::format(
            "SELECT {0}, NULL::text AS to_release FROM {1} UNION ALL "
            "SELECT {0}, to_release::text FROM {2}",
            wanted, kLive, kHistory);
        stored.columns.emplace_back("to_release");
        types.push_back(0);
    }
    stored.values.resize(stored.columns.size());
    const std::string cursor = fmt::format("px_dump_{}", table);
    PX_TRY(session.run(fmt::format("DECLARE {} NO SCROLL CURSOR FOR {}{}", cursor, from, order)));
    for (;;) {
        const Rows rows =
            PX_TRY(session.execute(fmt::format("FETCH {} FROM {}", kDumpRows, cursor)));
        for (int row = 0; row < rows.row_count(); ++row) {
            for (size_t c = 0; c < stored.values.size(); ++c) {
                const int column = static_cast<int>(c);
                if (rows.is_null(row, column)) {
                    stored.values[c].reset();
                } else if (types[c] == kTimestamptz) {
                    stored.values[c] = instant_text(rows.instant(row, column));
                } else {
                    stored.values[c] = text_at(rows, row, column);
                }
            }
            PX_TRY(sink(stored));
        }
        if (rows.row_count() < kDumpRows) break;
    }
    return session.run("CLOSE " + cursor);
}

/// Puts rows of all tables where they belong, by COPY.
class Restorer {
  public:
    Restorer(Session& session, std::string token) : session_(session), token_(std::move(token)) {}

    Result<void> add(const StoredRow& row) {
        if (row.table != table_) {
            PX_TRY(flush());
            targets_.clear();
            table_ = row.table;
        }
        const auto ended = std::find(row.columns.begin(), row.columns.end(), "to_release");
        const bool is_live =
            table_ == kLive &&
            (ended == row.columns.end() ||
             !row.values[static_cast<size_t>(ended - row.columns.begin())].has_value());
        Target& target =
            *PX_TRY(target_of(table_ == kLive && !is_live ? kHistory : std::string_view(table_)));
        libpq::CopyRows out(target.rows);
        if (target.rows.empty()) out.header();
        out.row(static_cast<int>(target.columns.size()));
        for (const StoredColumn& column : target.columns) {
            if (column.name == "token") {
                out.text(fmt::format("{}-{}", token_, ++count_));
                continue;
            }
            const auto at = std::find(row.columns.begin(), row.columns.end(), column.name);
            if (at == row.columns.end() ||
                !row.values[static_cast<size_t>(at - row.columns.begin())]) {
                out.null();
                continue;
            }
            PX_TRY(append(out, column, *row.values[static_cast<size_t>(at - row.columns.begin())])
                       .context(fmt::format("table {}, column {}", table_, column.name)));
        }
        return target.rows.size() < kRestoreBufferBytes ? Result<void>() : flush();
    }

    Result<void> flush() {
        for (auto& [name, target] : targets_) {
            if (target.rows.empty()) continue;
            libpq::CopyRows(target.rows).trailer();
            std::string names;
            for (const StoredColumn& column : target.columns) {
                if (!names.empty()) names += ", ";
                names += session_.connection().quote_identifier(column.name);
            }
            PX_TRY(session_
                       .copy_in(fmt::format("COPY {} ({}) FROM STDIN (FORMAT binary)",
                                            session_.connection().quote_identifier(name), names),
                                [&rows = target.rows](std::string& chunk) -> Result<bool> {
                                    chunk = std::move(rows);
                                    return false;
                                })
                       .context("table " + name));
            target.rows.clear();
        }
        return {};
    }

  private:
    struct Target {
        std::vector<StoredColumn> columns;
        std::string rows;
    };

    Result<Target*> target_of(std::string_view name) {
        const auto [entry, is_new] = targets_.try_emplace(std::string(name));
        if (is_new) {
            entry->second.columns = PX_TRY(columns_of(session_, name));
            std::erase_if(entry->second.columns, [](const StoredColumn& column) {
                return column.name == "attempt_number";
            });
        }
        return &entry->second;
    }

    static Result<void> append(libpq::CopyRows& out, const StoredColumn& column,
                               const std::string& value) {
        if (column.type == kTimestamptz) {
            out.instant(std::optional<TimestampMicros>(PX_TRY(parse_instant(value))));
            return {};
        }
        if (column.type != kInt8 && column.type != kInt4 && column.type != kBool) {
            out.text(value);
            return {};
        }
        int64_t number = 0;
        const auto [end, error] =
            std::from_chars(value.data(), value.data() + value.size(), number);
        if (error != std::errc() || end != value.data() + value.size() ||
            (column.type == kInt4 && number != static_cast<int32_t>(number))) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("'{}' is no number of that column", value.substr(0, 40)));
        }
        if (column.type == kInt8) {
            out.int64(number);
        } else if (column.type == kInt4) {
            out.int32(static_cast<int32_t>(number));
        } else {
            out.boolean(number != 0);
        }
        return {};
    }

    Session& session_;
    std::string token_;
    int64_t count_ = 0;
    std::string table_;
    std::map<std::string, Target> targets_;  ///< of table_
};

// ----------------------------------------------------------------------- lock

class PostgresLock final : public PipelineLock {
  public:
    explicit PostgresLock(std::unique_ptr<Session> session) : session_(std::move(session)) {}
    Result<void> check() override {
        Result<void> answered = session_->run("SELECT 1");
        if (answered) return {};
        return fail(ErrorCode::Unavailable,
                    fmt::format("the lock of this pipeline in PostgreSQL {} is lost: its session "
                                "ended",
                                session_->connection().shown()),
                    "run the same command again: it takes the run up where it stopped");
    }

  private:
    std::unique_ptr<Session> session_;
};

// -------------------------------------------------------------------- catalog

class PostgresCatalog final : public Catalog {
  public:
    PostgresCatalog(libpq::Address address, OpenMode mode, const Clock& clock,
                    const PostgresCatalogOptions& options)
        : pool_(std::move(address), mode, options), clock_(clock) {}

    SessionPool& pool() { return pool_; }

    Result<std::unique_ptr<PipelineLock>> lock_pipeline(LockMode mode) override {
        if (pool_.mode() == OpenMode::ReadOnly) {
            return fail(ErrorCode::Forbidden,
                        fmt::format("the catalog {} was opened for reading only", pool_.shown()));
        }
        std::array<char, 256> host{};
        ::gethostname(host.data(), host.size() - 1);
        // The name tells whoever waits who works.
        auto session =
            PX_TRY(pool_.connect(fmt::format("px run, process {} on {}", ::getpid(), host.data())));
        // A machine that vanished is noticed by the server, and its lock given back, in a minute.
        PX_TRY(
            session->run("SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; "
                         "SET tcp_keepalives_count = 3; SET idle_session_timeout = 0"));
        Rows taken = PX_TRY(session->execute(
            fmt::format("SELECT pg_catalog.pg_try_advisory_lock{}({})",
                        mode == LockMode::Shared ? "_shared" : "", pool_.lock_keys("run"))));
        if (taken.boolean(0, 0)) {
            return std::unique_ptr<PipelineLock>(
                std::make_unique<PostgresLock>(std::move(session)));
        }
        Rows holder = PX_TRY(session->execute(fmt::format(
            "SELECT a.application_name FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity "
            "a "
            "ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 "
            "AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = "
            "current_database()) AND (l.classid::bigint, l.objid::bigint) = "
            "(SELECT a::bit(32)::bigint, b::bit(32)::bigint FROM (VALUES ({})) AS k(a, b))",
            pool_.lock_keys("run"))));
        return fail(ErrorCode::Unavailable,
                    fmt::format("another px is working on this pipeline ({})",
                                holder.row_count() > 0 ? holder.text(0, 0) : "it just ended"),
                    "Wait until it is done (px runs shows it), or stop it");
    }

    Result<ServiceFacts> facts() override {
        return pool_.read([&](Session& session) -> Result<ServiceFacts> {
            const TimestampMicros before = clock_.now();
            const Rows row = PX_TRY(session.execute(
                "SELECT clock_timestamp(), current_setting('server_version'), "
                "current_user::text, coalesce(inet_server_addr() <<= '127.0.0.0/8' OR "
                "inet_server_addr() = '::1', true)"));
            const TimestampMicros after = clock_.now();
            ServiceFacts facts;
            facts.version = fmt::format("PostgreSQL {}", row.text(0, 1));
            facts.is_encrypted = session.connection().uses_tls();
            facts.is_loopback = row.boolean(0, 3);
            facts.clock_ahead_ms = (row.instant(0, 0) - (before + after) / 2) / 1000;
            facts.more = fmt::format("as {}, tables of version {}", row.text(0, 2),
                                     postgres_migrations().size());
            return facts;
        });
    }

    Result<Run> begin_run(const std::string& ds, const std::string& pipeline_text,
                          const std::string& input_fingerprint,
                          const std::string& external_id) override {
        const std::string token = new_token();
        return pool_.write([&](Session& session) -> Result<Run> {
            Rows done = PX_TRY(
                session.execute(fmt::format("SELECT {}, r.pipeline_text FROM {} WHERE r.token = $1",
                                            kRunColumns, kRunTables),
                                Parameters().text(token)));
            if (done.row_count() > 0) return run_at(done, 0);
            Rows last = PX_TRY(
                session.execute("SELECT coalesce(max(sequence) FILTER (WHERE ds = $1), 0) + 1, "
                                "coalesce(max(run_number), 0) + 1 FROM runs",
                                Parameters().text(ds)));
            Run run;
            run.id.value = fmt::format("{}-{:04}", ds, last.int64(0, 0));
            run.ds = ds;
            run.started_at = clock_.now();
            run.pipeline_text = pipeline_text;
            run.input_fingerprint = input_fingerprint;
            run.external_id = external_id;
            PX_TRY(session.execute(
                "INSERT INTO runs (run_number, run_id, ds, sequence, state, started_at, "
                "pipeline_text, input_fingerprint, token, external_id) "
                "VALUES ($1, $2, $3, $4, 'running', $5, $6, $7, $8, $9)",
                Parameters()
                    .int64(last.int64(0, 1))
                    .text(run.id.value)
                    .text(ds)
                    .int64(last.int64(0, 0))
                    .instant(run.started_at)
                    .text(pipeline_text)
                    .text(input_fingerprint)
                    .text(token)
                    .text(external_id)));
            return run;
        });
    }

    Result<std::vector<Run>> unfinished_runs() override {
        return pool_.read([&](Session& session) -> Result<std::vector<Run>> {
            Rows rows = PX_TRY(session.execute(
                fmt::format("SELECT {}, r.pipeline_text FROM {} WHERE r.state = 'running' ORDER BY "
                            "r.run_number",
                            kRunColumns, kRunTables)));
            return collect(rows, run_at);
        });
    }

    Result<void> finish_run(const RunId& run, RunState state, const std::string& message,
                            const std::string& report_json) override {
        return pool_.write([&](Session& session) -> Result<void> {
            Rows found = PX_TRY(session.execute(
                "SELECT EXISTS (SELECT 1 FROM releases p WHERE p.run_id = r.run_id) FROM runs r "
                "WHERE r.run_id = $1",
                Parameters().text(run.value)));
            if (found.row_count() == 0) return no_run(run);
            const bool released = found.boolean(0, 0);
            if (released != (state == RunState::Published))
                return wrong_ending(run, released, state);
            std::optional<TimestampMicros> finished_at;
            if (state != RunState::Running) finished_at = clock_.now();
            PX_TRY(session.execute(
                "UPDATE runs SET state = $2, finished_at = $3, message = $4, report_json = $5 "
                "WHERE run_id = $1",
                Parameters()
                    .text(run.value)
                    .text(run_state_name(state))
                    .instant(finished_at)
                    .text(message)
                    .text(report_json)));
            if (state == RunState::Running) return {};
            return end_attempts(session, run, "failed", clock_.now());
        });
    }

    Result<std::optional<Run>> run_called(const std::string& external_id) override {
        return pool_.read([&](Session& session) -> Result<std::optional<Run>> {
            Rows rows = PX_TRY(session.execute(
                fmt::format("SELECT {}, r.pipeline_text FROM {} WHERE r.external_id = $1 AND "
                            "r.external_id <> '' ORDER BY r.run_number DESC LIMIT 1",
                            kRunColumns, kRunTables),
                Parameters().text(external_id)));
            return first(rows, run_at);
        });
    }

    Result<std::optional<Run>> run(const RunId& id) override {
        return pool_.read([&](Session& session) -> Result<std::optional<Run>> {
            Rows rows = PX_TRY(session.execute(
                fmt::format("SELECT {}, r.pipeline_text FROM {} WHERE r.run_id = $1", kRunColumns,
                            kRunTables),
                Parameters().text(id.value)));
            return first(rows, run_at);
        });
    }

    Result<std::vector<Run>> runs(int64_t limit) override {
        return pool_.read([&](Session& session) -> Result<std::vector<Run>> {
            Rows rows = PX_TRY(session.execute(
                fmt::format("SELECT {}, '' FROM {} ORDER BY r.run_number DESC LIMIT $1",
                            kRunColumns, kRunTables),
                Parameters().int64(limit)));
            return collect(rows, run_at);
        });
    }

    Result<int> begin_task(const RunId& run, const std::string& task) override {
        const std::string token = new_token();
        return pool_.write([&](Session& session) -> Result<int> {
            Rows done = PX_TRY(session.execute("SELECT attempt FROM task_attempts WHERE token = $1",
                                               Parameters().text(token)));
            if (done.row_count() > 0) return static_cast<int>(done.int64(0, 0));
            // Locked, so that it does not end before this attempt is there.
            Rows known =
                PX_TRY(session.execute("SELECT state FROM runs WHERE run_id = $1 FOR SHARE",
                                       Parameters().text(run.value)));
            if (known.row_count() == 0) return no_run(run);
            if (known.text(0, 0) != run_state_name(RunState::Running)) return run_ended(run);
            PX_TRY(session.execute(
                "UPDATE task_attempts SET state = 'failed', message = 'ended without a word', "
                "finished_at = $3 WHERE run_id = $1 AND task = $2 AND state = 'running'",
                Parameters().text(run.value).text(task).instant(clock_.now())));
            Rows attempt = PX_TRY(session.execute(
                "INSERT INTO task_attempts (run_id, task, attempt, state, started_at, token) "
                "SELECT $1, $2, coalesce(max(attempt), 0) + 1, 'running', $3, $4 FROM "
                "task_attempts "
                "WHERE run_id = $1 AND task = $2 RETURNING attempt",
                Parameters().text(run.value).text(task).instant(clock_.now()).text(token)));
            if (attempt.row_count() == 0)
                return fail(ErrorCode::Internal, "an attempt without a number");
            return static_cast<int>(attempt.int64(0, 0));
        });
    }

    Result<void> finish_task(const RunId& run, const std::string& task, int attempt,
                             const std::string& state, const std::string& message,
                             const std::string& output_json) override {
        return pool_.write([&](Session& session) -> Result<void> {
            Rows updated = PX_TRY(session.execute(
                "UPDATE task_attempts SET state = $4, message = $5, output_json = $6, "
                "finished_at = $7 WHERE run_id = $1 AND task = $2 AND attempt = $3 "
                "AND state = 'running'",
                Parameters()
                    .text(run.value)
                    .text(task)
                    .int64(attempt)
                    .text(state)
                    .text(message)
                    .text(output_json)
                    .instant(clock_.now())));
            if (updated.affected() > 0) return {};
            Rows known = PX_TRY(session.execute(
                "SELECT state, state = $4 AND message = $5 AND output_json = $6 FROM task_attempts "
                "WHERE run_id = $1 AND task = $2 AND attempt = $3",
                Parameters()
                    .text(run.value)
                    .text(task)
                    .int64(attempt)
                    .text(state)
                    .text(message)
                    .text(output_json)));
            if (known.row_count() == 0) return no_attempt(run, task, attempt);
            // Done before, when only the reply was lost.
            if (known.boolean(0, 1)) return {};
            return attempt_ended(run, task, attempt, known.text(0, 0));
        });
    }

    Result<std::optional<std::string>> task_output(const RunId& run,
                                                   const std::string& task) override {
        return pool_.read([&](Session& session) -> Result<std::optional<std::string>> {
            Rows rows = PX_TRY(session.execute(
                "SELECT output_json FROM task_attempts WHERE run_id = $1 AND task = $2 AND state = "
                "'done' ORDER BY attempt DESC LIMIT 1",
                Parameters().text(run.value).text(task)));
            return first(rows, [](const Rows& found, int row) -> Result<std::string> {
                return text_at(found, row, 0);
            });
        });
    }

    Result<std::vector<TaskAttempt>> tasks(const RunId& run) override {
        return pool_.read([&](Session& session) -> Result<std::vector<TaskAttempt>> {
            Rows rows = PX_TRY(session.execute(
                "SELECT task, attempt, state, started_at, finished_at, message, output_json FROM "
                "task_attempts WHERE run_id = $1 ORDER BY attempt_number",
                Parameters().text(run.value)));
            return collect(rows, [&](const Rows& found, int row) -> Result<TaskAttempt> {
                TaskAttempt attempt;
                attempt.run = run;
                attempt.task = text_at(found, row, 0);
                attempt.attempt = static_cast<int>(found.int64(row, 1));
                attempt.state = text_at(found, row, 2);
                attempt.started_at = found.instant(row, 3);
                attempt.finished_at = found.optional_instant(row, 4);
                attempt.message = text_at(found, row, 5);
                attempt.output_json = text_at(found, row, 6);
                return attempt;
            });
        });
    }

    Result<void> record_landed(const RunId& run, const std::vector<LandedFile>& files) override {
        return pool_.write([&](Session& session) -> Result<void> {
            std::set<std::string> sources;
            for (const LandedFile& file : files) sources.insert(file.source);
            for (const std::string& source : sources) {
                PX_TRY(session.execute("DELETE FROM landed_files WHERE run_id = $1 AND source = $2",
                                       Parameters().text(run.value).text(source)));
            }
            for (const LandedFile& file : files) {
                PX_TRY(known_run(
                    session,
                    session.execute("INSERT INTO landed_files (run_id, source, path, ds, key, "
                                    "sha256, size_bytes, landed_at) "
                                    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
                                    "ON CONFLICT (run_id, source, path) DO UPDATE SET ds = "
                                    "EXCLUDED.ds, key = EXCLUDED.key, sha256 = EXCLUDED.sha256, "
                                    "size_bytes = EXCLUDED.size_bytes, landed_at = "
                                    "EXCLUDED.landed_at",
                                    Parameters()
                                        .text(run.value)
                                        .text(file.source)
                                        .text(file.path)
                                        .text(file.ds)
                                        .text(file.key)
                                        .text(file.sha256)
                                        .int64(file.size_bytes)
                                        .instant(file.landed_at)),
                    run));
            }
            return {};
        });
    }

    Result<std::vector<LandedFile>> landed_files(const RunId& run) override {
        return pool_.read([&](Session& session) -> Result<std::vector<LandedFile>> {
            Rows rows = PX_TRY(session.execute(
                fmt::format("SELECT {} FROM landed_files f WHERE f.run_id = $1 ORDER BY f.source, "
                            "f.path",
                            kLandedColumns),
                Parameters().text(run.value)));
            return collect(rows, landed_at);
        });
    }

    Result<std::vector<LandedFile>> published_files(const std::string& source) override {
        return pool_.read([&](Session& session) -> Result<std::vector<LandedFile>> {
            Rows rows = PX_TRY(session.execute(
                fmt::format(
                    "WITH newest AS (SELECT f.ds, max(p.release_id) AS release_id FROM "
                    "landed_files f JOIN releases p ON p.run_id = f.run_id WHERE f.source = "
                    "$1 GROUP BY f.ds) SELECT {} FROM newest n JOIN releases p ON "
                    "p.release_id = n.release_id JOIN landed_files f ON f.run_id = p.run_id "
                    "AND f.source = $1 AND f.ds = n.ds ORDER BY f.ds, f.path",
                    kLandedColumns),
                Parameters().text(source)));
            return collect(rows, landed_at);
        });
    }

    Result<std::optional<LandedFile>> landed_file(const std::string& key) override {
        return pool_.read([&](Session& session) -> Result<std::optional<LandedFile>> {
            Rows rows = PX_TRY(session.execute(
                fmt::format("SELECT {} FROM landed_files f WHERE f.key = $1 ORDER BY f.landed_at "
                            "DESC, f.run_id DESC LIMIT 1",
                            kLandedColumns),
                Parameters().text(key)));
            return first(rows, landed_at);
        });
    }

    Result<void> record_checks(const std::vector<CheckResult>& checks) override {
        return pool_.write([&](Session& session) -> Result<void> {
            for (const CheckResult& check : checks) {
                PX_TRY(known_run(
                    session,
                    session.execute("INSERT INTO checks (run_id, source, check_name, expected, "
                                    "actual, passed) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT "
                                    "(run_id, source, check_name) DO UPDATE SET expected = "
                                    "EXCLUDED.expected, actual = EXCLUDED.actual, passed = "
                                    "EXCLUDED.passed",
                                    Parameters()
                                        .text(check.run.value)
                                        .text(check.source)
                                        .text(check.check)
                                        .text(check.expected)
                                        .text(check.actual)
                                        .boolean(check.passed)),
                    check.run));
            }
            return {};
        });
    }

    Result<std::vector<CheckResult>> checks(const RunId& run) override {
        return pool_.read([&](Session& session) -> Result<std::vector<CheckResult>> {
            Rows rows = PX_TRY(session.execute(
                "SELECT source, check_name, expected, actual, passed FROM checks WHERE run_id = $1 "
                "ORDER BY source, check_name",
                Parameters().text(run.value)));
            return collect(rows, [&](const Rows& found, int row) -> Result<CheckResult> {
                return CheckResult{run,
                                   text_at(found, row, 0),
                                   text_at(found, row, 1),
                                   text_at(found, row, 2),
                                   text_at(found, row, 3),
                                   found.boolean(row, 4)};
            });
        });
    }

    Result<void> record_quarantine(const RunId& run,
                                   const std::vector<QuarantineCount>& counts) override {
        return pool_.write([&](Session& session) -> Result<void> {
            for (const QuarantineCount& count : counts) {
                PX_TRY(known_run(
                    session,
                    session.execute("INSERT INTO quarantine_counts (run_id, source, rule, count) "
                                    "VALUES ($1, $2, $3, $4) ON CONFLICT (run_id, source, rule) DO "
                                    "UPDATE SET count = EXCLUDED.count",
                                    Parameters()
                                        .text(run.value)
                                        .text(count.source)
                                        .text(count.rule)
                                        .int64(count.count)),
                    run));
            }
            return {};
        });
    }

    Result<std::vector<QuarantineCount>> quarantine_counts(const RunId& run) override {
        return pool_.read([&](Session& session) -> Result<std::vector<QuarantineCount>> {
            Rows rows = PX_TRY(session.execute(
                "SELECT source, rule, count FROM quarantine_counts WHERE run_id = $1 ORDER BY "
                "source, rule",
                Parameters().text(run.value)));
            return collect(rows, [&](const Rows& found, int row) -> Result<QuarantineCount> {
                return QuarantineCount{run, text_at(found, row, 0), text_at(found, row, 1),
                                       found.int64(row, 2)};
            });
        });
    }

    Result<Release> publish(const Publication& publication) override {
        PX_TRY(check_publication(publication));
        PX_TRY(check_ids(publication));
        return pool_.write([&](Session& session) -> Result<Release> {
            const RunId& run = publication.release.run;
            if (std::optional<Release> done = PX_TRY(release_of_run(session, run)))
                return std::move(*done);
            Rows state = PX_TRY(session.execute("SELECT state, ds FROM runs WHERE run_id = $1",
                                                Parameters().text(run.value)));
            if (state.row_count() == 0) return no_run(run);
            if (state.text(0, 0) != run_state_name(RunState::Running))
                return not_publishable(run, state.text(0, 0));
            const std::string ds =
                publication.release.ds.empty() ? text_at(state, 0, 1) : publication.release.ds;
            Rows newest = PX_TRY(session.execute(
                "SELECT release_id, published_at FROM releases ORDER BY release_id DESC LIMIT 1"));
            const int64_t latest_id = newest.row_count() > 0 ? newest.int64(0, 0) : 0;
            if (publication.expected_latest && *publication.expected_latest != latest_id)
                return not_the_newest(publication, latest_id);
            const int64_t id = latest_id + 1;
            TimestampMicros at = publication.release.published_at;
            if (at == 0)
                at =
                    latest_id > 0 ? std::max(clock_.now(), newest.instant(0, 1) + 1) : clock_.now();
            PX_TRY(session.execute(
                "INSERT INTO releases (release_id, run_id, ds, published_at, index_manifest, "
                "documents, chunks) VALUES ($1, $2, $3, $4, $5, 0, $6)",
                Parameters()
                    .int64(id)
                    .text(run.value)
                    .text(ds)
                    .instant(at)
                    .text(publication.release.index_manifest)
                    .int64(publication.release.chunks)));
            std::map<std::string, std::string> versions;
            for (const auto& [name, version] : publication.release.table_versions)
                versions.emplace(name, std::to_string(version));
            PX_TRY(session.execute(
                "INSERT INTO release_tables (release_id, table_name, version) SELECT $1, e.key, "
                "e.value::bigint FROM jsonb_each_text($2::jsonb) AS e",
                Parameters().int64(id).text(json_of(versions))));
            // What changed, or is not listed any more, ends here.
            const std::string inputs = json_of(publication.release.input_fingerprints);
            PX_TRY(session.execute(
                "UPDATE release_inputs SET to_release = $1 WHERE to_release IS NULL AND "
                "fingerprint IS DISTINCT FROM ($2::jsonb ->> ds)",
                Parameters().int64(id).text(inputs)));
            PX_TRY(session.execute(
                "INSERT INTO release_inputs (ds, fingerprint, from_release) SELECT e.key, e.value, "
                "$1 FROM jsonb_each_text($2::jsonb) AS e WHERE NOT EXISTS (SELECT 1 FROM "
                "release_inputs r WHERE r.to_release IS NULL AND r.ds = e.key)",
                Parameters().int64(id).text(inputs)));
            if (!publication.documents.empty()) {
                PX_TRY(session.run(fmt::format(
                    "CREATE TEMP TABLE IF NOT EXISTS px_incoming ON COMMIT DELETE ROWS AS "
                    "SELECT {} FROM analytics_metadata WITH NO DATA; "
                    "CREATE INDEX IF NOT EXISTS px_incoming_key ON pg_temp.px_incoming "
                    "(document_id, ds)",
                    kDocumentColumns)));
            }
            bool empty = true;
            for (const Publication::Partition& partition : publication.documents) {
                if (!empty) PX_TRY(session.run("TRUNCATE pg_temp.px_incoming"));
                PX_TRY(publish_partition(session, partition, id));
                empty = partition.documents.empty();
            }
            PX_TRY(session.execute(
                "UPDATE releases SET documents = (SELECT count(*) FROM analytics_metadata) WHERE "
                "release_id = $1",
                Parameters().int64(id)));
            std::optional<Release> made = PX_TRY(release_of_run(session, run));
            if (!made) return fail(ErrorCode::Internal, "a release vanished while it was made");
            PX_TRY(
                session.execute("UPDATE runs SET state = 'published', finished_at = $2, message = "
                                "'', report_json = "
                                "$3 WHERE run_id = $1",
                                Parameters().text(run.value).instant(at).text(
                                    publication.report ? publication.report(*made) : "")));
            PX_TRY(end_attempts(session, run, "done", at));
            return std::move(*made);
        });
    }

    Result<std::optional<Release>> latest_release() override {
        return pool_.read([&](Session& session) { return newest_release(session); });
    }

    Result<std::optional<ReleaseId>> latest_release_id() override {
        return pool_.read([&](Session& session) -> Result<std::optional<ReleaseId>> {
            const Rows rows = PX_TRY(session.execute(
                "SELECT release_id FROM releases ORDER BY release_id DESC LIMIT 1"));
            if (rows.row_count() == 0) return std::optional<ReleaseId>();
            return std::optional(ReleaseId{rows.int64(0, 0)});
        });
    }

    Result<std::optional<Release>> release(ReleaseId id) override {
        return pool_.read([&](Session& session) -> Result<std::optional<Release>> {
            Rows rows = PX_TRY(session.execute(fmt::format("{} WHERE r.release_id = $1", kReleases),
                                               Parameters().int64(id.value)));
            return first(rows, release_at);
        });
    }

    Result<std::optional<Release>> release_as_of(TimestampMicros time) override {
        return pool_.read([&](Session& session) -> Result<std::optional<Release>> {
            Rows rows = PX_TRY(session.execute(
                fmt::format("{} WHERE r.published_at <= $1 ORDER BY r.release_id DESC LIMIT 1",
                            kReleases),
                Parameters().instant(time)));
            return first(rows, release_at);
        });
    }

    Result<std::vector<Release>> releases(int64_t limit) override {
        return pool_.read([&](Session& session) -> Result<std::vector<Release>> {
            Rows rows = PX_TRY(
                session.execute(fmt::format("{} ORDER BY r.release_id DESC LIMIT $1", kReleases),
                                Parameters().int64(limit)));
            return collect(rows, release_at);
        });
    }

    Result<std::optional<DocumentRow>> document(ReleaseId release,
                                                const std::string& document_id) override {
        return pool_.read([&](Session& session) -> Result<std::optional<DocumentRow>> {
            const std::string columns = fmt::format("{}, from_release", kDocumentColumns);
            Rows rows = PX_TRY(session.execute(
                fmt::format(
                    "SELECT * FROM {} AS d WHERE d.document_id = $2 ORDER BY d.ds DESC LIMIT "
                    "1",
                    documents_of_release(columns)),
                Parameters().int64(release.value).text(document_id)));
            return first(rows, document_at);
        });
    }

    Result<std::vector<DocumentRow>> documents(ReleaseId release, int64_t limit,
                                               int64_t offset) override {
        return pool_.read([&](Session& session) -> Result<std::vector<DocumentRow>> {
            const std::string columns = fmt::format("{}, from_release", kDocumentColumns);
            Rows rows = PX_TRY(session.execute(
                fmt::format("SELECT * FROM {} AS d ORDER BY d.document_id, d.ds LIMIT $2 OFFSET $3",
                            documents_of_release(columns)),
                Parameters().int64(release.value).int64(limit).int64(offset)));
            return collect(rows, document_at);
        });
    }

    Result<std::vector<std::pair<std::string, int64_t>>> distinct_authors(
        ReleaseId release) override {
        using Author = std::pair<std::string, int64_t>;
        return pool_.read([&](Session& session) -> Result<std::vector<Author>> {
            Rows rows = PX_TRY(session.execute(
                fmt::format("SELECT d.author, count(*) FROM {} AS d WHERE d.author <> '' GROUP BY "
                            "d.author ORDER BY count(*) DESC, d.author",
                            documents_of_release("author")),
                Parameters().int64(release.value)));
            return collect(rows, [](const Rows& found, int row) -> Result<Author> {
                return Author(text_at(found, row, 0), found.int64(row, 1));
            });
        });
    }

    Result<void> dump(const StoredRowSink& sink) override {
        // A session of its own: what was handed over can't be handed over again.
        const auto session = PX_TRY(pool_.connect("px migrate"));
        PX_TRY(session->run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
        for (const std::string_view table : postgres_tables()) {
            if (table == "schema_version" || table == kHistory) continue;
            PX_TRY(dump_table(*session, table, sink));
        }
        return session->run("COMMIT");
    }

    Result<void> restore(
        const std::function<Result<void>(const StoredRowSink& sink)>& produce) override {
        const std::string token = new_token();
        return pool_.write([&](Session& session) -> Result<void> {
            const Rows found = PX_TRY(
                session.execute("SELECT count(*), count(*) FILTER (WHERE starts_with(token, $1)) "
                                "FROM runs",
                                Parameters().text(token)));
            if (found.int64(0, 1) > 0) return {};  // done; only the reply of the COMMIT was lost
            if (found.int64(0, 0) > 0) return not_empty();
            Restorer restorer(session, token);
            PX_TRY(produce([&](const StoredRow& row) { return restorer.add(row); }));
            return restorer.flush();
        });
    }

  private:
    SessionPool pool_;
    const Clock& clock_;
};

// ----------------------------------------------------------------------- open

Error missing_rights(Session& session, std::string_view user, std::string_view what,
                     const std::string& schema, OpenMode mode) {
    return fail(
        ErrorCode::Unavailable,
        fmt::format("user {} may not {} {} of the catalog {}", user,
                    mode == OpenMode::ReadWrite ? "read and write" : "read", what,
                    session.connection().shown()),
        fmt::format("as its owner: GRANT USAGE ON SCHEMA {0} TO {1}; GRANT {2} ON ALL TABLES "
                    "IN SCHEMA {0} TO {1}",
                    schema, user,
                    mode == OpenMode::ReadWrite ? "SELECT, INSERT, UPDATE, DELETE" : "SELECT"));
}

/// Version of the tables in the schema: 0 when it is missing or empty.
Result<int64_t> schema_version(Session& session, const std::string& schema, OpenMode mode) {
    Rows found = PX_TRY(session.execute(
        "SELECT c.relname, has_schema_privilege(n.oid, 'USAGE'), current_user::text "
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = "
        "c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 1",
        Parameters().text(schema)));
    if (found.row_count() > 0 && !found.boolean(0, 1))
        return missing_rights(session, found.text(0, 2), "schema " + schema, schema, mode);
    size_t ours = 0;
    bool versioned = false;
    for (int row = 0; row < found.row_count(); ++row) {
        versioned = versioned || found.text(row, 0) == "schema_version";
        const auto tables = postgres_tables();
        if (std::find(tables.begin(), tables.end(), found.text(row, 0)) != tables.end()) ++ours;
    }
    if (found.row_count() == 0) return int64_t{0};
    if (!versioned && ours < 3) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("the schema {} of {} holds other tables ({} …) and no px catalog",
                                schema, session.connection().shown(), found.text(0, 0)),
                    "give the catalog a schema of its own: ?schema=NAME in its address");
    }
    if (!versioned) return static_cast<int64_t>(postgres_migrations().size());
    Rows version = PX_TRY(session.execute("SELECT coalesce(max(version), 0) FROM schema_version"));
    return version.int64(0, 0);
}

Result<void> migrate(SessionPool& pool, const Clock& clock) {
    const std::string& schema = pool.options().schema;
    const auto known = static_cast<int64_t>(postgres_migrations().size());
    for (;;) {
        int64_t found = PX_TRY(pool.read(
            [&](Session& session) { return schema_version(session, schema, pool.mode()); }));
        if (found > known) return newer_catalog(found, postgres_migrations().size());
        if (found == known) return {};
        PX_TRY(pool.write([&](Session& session) -> Result<void> {
            // Another process may have been first while this one waited for the lock.
            found = PX_TRY(schema_version(session, schema, pool.mode()));
            if (found >= known) return {};
            const PostgresMigration& step = postgres_migrations()[static_cast<size_t>(found)];
            if (found == 0) {
                Rows exists = PX_TRY(
                    session.execute("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1",
                                    Parameters().text(schema)));
                // Asked first: CREATE SCHEMA IF NOT EXISTS wants the right to create it anyway.
                if (exists.row_count() == 0) {
                    PX_TRY(session.run(fmt::format("CREATE SCHEMA {}",
                                                   session.connection().quote_identifier(schema))));
                }
                PX_TRY(session.run(
                    "CREATE TABLE schema_version (version bigint PRIMARY KEY, applied_at "
                    "timestamptz NOT NULL, description text NOT NULL)"));
            }
            PX_TRY(session.run(std::string(step.sql))
                       .context(fmt::format("migration {}: {}", found + 1, step.description)));
            PX_TRY(session.execute(
                "INSERT INTO schema_version (version, applied_at, description) VALUES ($1, $2, $3)",
                Parameters().int64(found + 1).instant(clock.now()).text(step.description)));
            return {};
        }));
    }
}

/// A table that was dropped or rights that lack are told now, not after hours of work.
Result<void> check_tables(Session& session, const std::string& schema, OpenMode mode) {
    std::string names;
    for (const std::string_view name : postgres_tables())
        names += fmt::format("{}('{}')", names.empty() ? "" : ", ", name);
    Rows rows = PX_TRY(session.execute(
        fmt::format(
            "SELECT t.name, c.oid IS NOT NULL, current_user::text, "
            "coalesce(has_schema_privilege(n.oid, 'USAGE'), false), "
            "coalesce(has_table_privilege(c.oid, 'SELECT'), false), "
            "coalesce(has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, "
            "'UPDATE') AND has_table_privilege(c.oid, 'DELETE'), false), "
            "has_database_privilege(current_database(), 'TEMPORARY') "
            "FROM (VALUES {}) AS t(name) LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = "
            "$1 LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = "
            "t.name ORDER BY 1",
            names),
        Parameters().text(schema)));
    for (int row = 0; row < rows.row_count(); ++row) {
        const std::string table = fmt::format("{}.{}", schema, rows.text(row, 0));
        const std::string_view user = rows.text(row, 2);
        if (!rows.boolean(row, 1)) {
            return fail(
                ErrorCode::Unavailable,
                fmt::format("the table {} of the catalog {} is missing", table,
                            session.connection().shown()),
                fmt::format("it was dropped: restore schema {0} from a backup, or begin anew: "
                            "DROP SCHEMA {0} CASCADE",
                            schema));
        }
        const bool writes = mode == OpenMode::ReadWrite;
        if (!rows.boolean(row, 3) || !rows.boolean(row, 4) || (writes && !rows.boolean(row, 5))) {
            return missing_rights(session, user, "the table " + table, schema, mode);
        }
        if (writes && !rows.boolean(row, 6)) {
            return fail(
                ErrorCode::Unavailable,
                fmt::format("user {} may not make temporary tables in {}", user,
                            session.connection().shown()),
                fmt::format("as the owner of the database: GRANT TEMPORARY ON DATABASE … TO "
                            "{}",
                            user));
        }
    }
    return {};
}

}  // namespace

Result<void> PostgresCatalogOptions::validate() const {
    const auto wrong = [](std::string what) {
        return fail(ErrorCode::InvalidArgument, std::move(what));
    };
    if (schema.empty() || schema.size() > 63 || schema.starts_with("pg_"))
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("'{}' can't be the schema of a catalog", schema),
                    "choose a name of at most 63 bytes that does not begin with pg_");
    if (connections_max == 0) return wrong("catalog connections_max must be at least 1");
    if (transaction_attempts < 1) return wrong("catalog transaction_attempts must be at least 1");
    for (const std::chrono::milliseconds time :
         {connect_timeout, reconnect_timeout, lock_timeout, statement_timeout}) {
        if (time.count() <= 0 || time.count() > std::numeric_limits<int32_t>::max())
            return wrong(fmt::format("a catalog timeout is {} ms", time.count()));
    }
    return {};
}

Result<std::unique_ptr<Catalog>> open_postgres_catalog(const std::string& address, OpenMode mode,
                                                       const Clock& clock,
                                                       const PostgresCatalogOptions& options) {
    PX_TRY(options.validate());
    libpq::Address parsed = PX_TRY(libpq::parse_address(address));
    auto catalog = std::make_unique<PostgresCatalog>(std::move(parsed), mode, clock, options);
    SessionPool& pool = catalog->pool();
    if (mode == OpenMode::ReadWrite) {
        PX_TRY(migrate(pool, clock));
    } else {
        const int64_t found = PX_TRY(pool.read(
            [&](Session& session) { return schema_version(session, options.schema, mode); }));
        if (found == 0) {
            return fail(
                ErrorCode::NotFound,
                fmt::format("there is no catalog in schema {} of {}", options.schema, pool.shown()),
                "run `px run` once: it makes the catalog");
        }
        const size_t known = postgres_migrations().size();
        if (found > static_cast<int64_t>(known)) return newer_catalog(found, known);
        if (found < static_cast<int64_t>(known)) return older_catalog(found, known);
    }
    PX_TRY(pool.read([&](Session& session) -> Result<void> {
        return check_tables(session, options.schema, mode);
    }));
    return std::unique_ptr<Catalog>(std::move(catalog));
}

}  // namespace px::catalog
