#include "engine/local/local_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <thread>

#include "engine/local/batch_reader.h"
#include "engine/local/table_view.h"
#include "engine/table_name.h"

namespace px::engine {
namespace {

using duckdb::quote_identifier;
using duckdb::quote_literal;

/// A batch is handed on after this many rows or bytes.
constexpr int64_t kBatchRows = 16'384;
constexpr size_t kBatchBytes = 8 << 20;

std::string folded(std::string_view name) {
    std::string lower(name);
    for (char& c : lower) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    }
    return lower;
}

std::string list_literal(const std::vector<std::string>& texts) {
    std::string list = "[";
    for (const std::string& text : texts) {
        if (list.size() > 1) list += ", ";
        list += quote_literal(text);
    }
    return list += ']';
}

}  // namespace

LocalSession::LocalSession(LocalEngineOptions options, duckdb::Database database,
                           duckdb::Connection connection, std::shared_ptr<Watchdog> watchdog)
    : options_(std::move(options)),
      database_(std::move(database)),
      connection_(std::move(connection)),
      watchdog_(std::move(watchdog)) {}

LocalSession::~LocalSession() {
    std::error_code ignored;
    std::filesystem::remove_all(options_.temp_directory, ignored);
}

Result<std::unique_ptr<Session>> LocalSession::open(const LocalEngineOptions& options,
                                                    std::shared_ptr<Watchdog> watchdog) {
    std::error_code error;
    std::filesystem::create_directories(options.temp_directory, error);
    if (error)
        return fail_errno(error.value(),
                          "cannot make the temporary folder " + options.temp_directory.string());
    int threads = options.thread_count;
    if (threads == 0) threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    LocalEngineOptions filled = options;
    filled.thread_count = threads;
    std::map<std::string, std::string> settings = {
        {"threads", std::to_string(threads)},
        {"memory_limit", fmt::format("{}MiB", options.memory_limit_mb)},
        {"autoinstall_known_extensions", "false"},
        {"autoload_known_extensions", "false"},
        {"allow_community_extensions", "false"},
        {"allow_persistent_secrets", "false"},
        {"preserve_insertion_order", "true"},
    };
    duckdb::Database database = PX_TRY(duckdb::Database::open("", settings));
    duckdb::Connection connection = PX_TRY(database.connect());
    // The limit of the temporary space holds only when it is set after the folder, on an open
    // database.
    PX_TRY(connection.execute(fmt::format(
        "SET temp_directory = {}; SET max_temp_directory_size = '{}MiB'; SET TimeZone = 'UTC'; "
        "SET Calendar = 'gregorian'; SET enable_progress_bar = false; "
        // The system's cache holds files already; a session that is kept must not hold them too.
        "SET enable_external_file_cache = false",
        quote_literal(options.temp_directory.string()), options.max_temp_mb)));
    return std::unique_ptr<Session>(new LocalSession(std::move(filled), std::move(database),
                                                     std::move(connection), std::move(watchdog)));
}

Result<void> LocalSession::only_trusted() const {
    if (!locked_) return {};
    return fail(ErrorCode::Forbidden, "the session is locked down: it takes queries of users only",
                "open another session");
}

// -------------------------------------------------------------------- tables

Result<std::vector<std::vector<std::pair<std::string, std::string>>>> LocalSession::file_columns(
    const TableSource& table) {
    std::vector<std::vector<std::pair<std::string, std::string>>> all(table.files.size());
    constexpr size_t kFilesAtOnce = 500;
    for (size_t first = 0; first < table.files.size(); first += kFilesAtOnce) {
        size_t last = std::min(first + kFilesAtOnce, table.files.size());
        std::vector<std::string> paths;
        std::map<std::string, std::vector<size_t>> index;
        for (size_t i = first; i < last; ++i) {
            auto& same = index[table.files[i].path.string()];
            if (same.empty())
                paths.push_back(PX_TRY(duckdb::glob_of(table.files[i].path.string())));
            same.push_back(i);
        }
        Result<duckdb::Rows> rows = connection_.query(
            fmt::format("SELECT file_name, name, coalesce(num_children, 0)::BIGINT, concat_ws(' ', "
                        "type, type_length, logical_type, "
                        "converted_type, precision, scale, num_children) FROM parquet_schema({})",
                        list_literal(paths)));
        if (!rows) return std::move(rows).error();
        auto lines = PX_TRY(rows->read_text());
        // Depth first, root first: a column of the table is a child of the root; what lies below it
        // is skipped.
        std::string file;
        std::vector<std::pair<std::string, std::string>>* columns = nullptr;
        int64_t below = 0;  // entries left that belong to the column before
        for (auto& line : lines) {
            int64_t children = std::strtoll(line[2]->c_str(), nullptr, 10);
            if (columns == nullptr || *line[0] != file) {
                file = *line[0];
                auto found = index.find(file);
                if (found == index.end())
                    return fail(ErrorCode::Internal,
                                "DuckDB names a file it was not given: " + file);
                columns = &all[found->second.front()];
                below = 0;
                continue;
            }
            if (below > 0) {
                below += children - 1;
                columns->back().second.append("/").append(line[3].value_or(""));
                continue;
            }
            columns->emplace_back(line[1].value_or(""), line[3].value_or(""));
            below = children;
        }
        for (const auto& [path, same] : index) {
            for (size_t i : same) all[i] = all[same.front()];
        }
    }
    return all;
}

Result<void> LocalSession::add_table(const TableSource& table) {
    PX_TRY(only_trusted());
    if (table.name.empty() || is_reserved_table_name(table.name) ||
        table.name.find('\0') != std::string::npos) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("a table can't be named \"{}\"", table.name),
                    "names of the engine's own tables (duckdb_…, pg_…, sqlite_…, px_…) are taken");
    }
    TableSource resolved = table;
    std::vector<std::string> paths;
    for (TableFile& file : resolved.files) {
        std::error_code error;
        std::filesystem::path real = std::filesystem::canonical(file.path, error);
        if (error) {
            return fail(ErrorCode::Corrupt,
                        fmt::format("table {} lists the file {}, which can't be read: {}",
                                    table.name, file.path.string(), error.message()),
                        "restore the file, or ask an older version of the table");
        }
        file.path = real;
        paths.push_back(real.string());
    }
    for (const std::string& path : paths) PX_TRY(duckdb::glob_of(path));
    auto columns = file_columns(resolved);
    if (!columns) {
        Error error = std::move(columns).error();
        bool unreadable = error.code == ErrorCode::InvalidArgument ||
                          error.code == ErrorCode::NotFound || error.code == ErrorCode::Unavailable;
        if (unreadable) error.code = ErrorCode::Corrupt;
        return std::move(error).with("table " + table.name);
    }
    std::vector<FileColumns> files;
    for (auto& found : *columns) files.push_back({std::move(found)});
    TableView view = PX_TRY(make_table_view(resolved, files, "px_files_of_" + folded(table.name)));
    if (!view.mapping.empty()) PX_TRY(connection_.execute(view.mapping));
    Result<void> made = connection_.execute(
        fmt::format("CREATE OR REPLACE VIEW {} AS {}", quote_identifier(table.name), view.select));
    if (!made) return std::move(made).context("table " + table.name);
    tables_[folded(table.name)] = std::move(paths);
    return {};
}

// ------------------------------------------------------------------- queries

Result<duckdb::Rows> LocalSession::start(const std::string& sql,
                                         const std::vector<std::string>& parameters,
                                         const Watchdog::Watch& watch) {
    PX_TRY(watch.check());
    Result<duckdb::Prepared> prepared = connection_.prepare(sql);
    if (!prepared) return watch.explain(std::move(prepared).error());
    if (prepared->parameter_count() != parameters.size()) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("the statement has {} parameters, {} values were given",
                                prepared->parameter_count(), parameters.size()));
    }
    for (size_t i = 0; i < parameters.size(); ++i)
        PX_TRY(prepared->bind_text(i + 1, parameters[i]));
    Result<duckdb::Rows> rows = prepared->stream();
    if (!rows) return watch.explain(std::move(rows).error());
    return rows;
}

Result<QueryResult> LocalSession::collect(const std::string& sql,
                                          const std::vector<std::string>& parameters,
                                          const QueryLimits& limits, Watchdog::Origin origin,
                                          const Deadline& deadline) {
    auto begin = std::chrono::steady_clock::now();
    Deadline bounded = deadline;
    if (limits.time < std::chrono::hours(24 * 365))
        bounded.at = std::min(bounded.at, begin + limits.time);
    Watchdog::Watch watch(*watchdog_, connection_, origin, bounded);
    duckdb::Rows rows = PX_TRY(start(sql, parameters, watch));
    QueryResult result;
    for (const duckdb::Column& column : rows.columns()) {
        result.columns.push_back(column.name);
        result.types.push_back(column.type.sql);
    }
    int64_t bytes = 0;
    while (!result.truncated) {
        Result<std::optional<duckdb::Chunk>> chunk = rows.next();
        if (!chunk) return watch.explain(std::move(chunk).error());
        if (!*chunk) break;
        PX_TRY(watch.check());
        std::vector<duckdb::ColumnView> views;
        for (size_t c = 0; c < result.columns.size(); ++c) views.push_back((*chunk)->column(c));
        for (uint64_t r = 0; r < (*chunk)->row_count(); ++r) {
            if (static_cast<int64_t>(result.rows.size()) >= limits.rows) {
                result.truncated = true;
                break;
            }
            std::vector<std::optional<std::string>> cells(views.size());
            int64_t row_bytes = 0;
            for (size_t c = 0; c < views.size(); ++c) {
                if (views[c].is_null(r)) continue;
                PX_TRY(views[c]
                           .append_text(r, cells[c].emplace())
                           .context("column " + result.columns[c]));
                row_bytes += static_cast<int64_t>(cells[c]->size());
            }
            if (bytes + row_bytes > limits.result_bytes) {
                result.truncated = true;
                break;
            }
            bytes += row_bytes;
            result.rows.push_back(std::move(cells));
        }
    }
    result.elapsed_ms =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
    return result;
}

Result<QueryResult> LocalSession::query(const std::string& sql,
                                        const std::vector<std::string>& parameters,
                                        const QueryLimits& limits, const Deadline& deadline) {
    PX_TRY(only_trusted());
    return collect(sql, parameters, limits, Watchdog::Origin::Ours, deadline);
}

Result<void> LocalSession::stream_batches(
    const std::string& sql, const std::vector<std::string>& parameters,
    const std::function<Result<void>(const columnar::Schema&)>& on_schema,
    const std::function<Result<void>(const columnar::RecordBatch&)>& on_batch,
    const Deadline& deadline) {
    Watchdog::Watch watch(*watchdog_, connection_, Watchdog::Origin::Ours, deadline);
    duckdb::Rows rows = PX_TRY(start(sql, parameters, watch));
    columnar::Schema schema = PX_TRY(schema_of(rows.columns()));
    PX_TRY(on_schema(schema));
    columnar::RecordBatch batch(schema);
    while (true) {
        Result<std::optional<duckdb::Chunk>> chunk = rows.next();
        if (!chunk) return watch.explain(std::move(chunk).error());
        PX_TRY(watch.check());
        if (*chunk) PX_TRY(append_chunk(**chunk, batch));
        bool full = batch.row_count() >= kBatchRows || batch.size_bytes() >= kBatchBytes;
        if (batch.row_count() > 0 && (full || !*chunk)) {
            PX_TRY(on_batch(batch));
            batch.clear();
        }
        if (!*chunk) return {};
    }
}

Result<void> LocalSession::stream(
    const std::string& sql, const std::vector<std::string>& parameters,
    const std::function<Result<void>(const columnar::RecordBatch&)>& consume,
    const Deadline& deadline) {
    PX_TRY(only_trusted());
    return stream_batches(
        sql, parameters, [](const columnar::Schema&) -> Result<void> { return {}; }, consume,
        deadline);
}

Result<std::pair<columnar::Schema, columnar::ParquetFileInfo>> LocalSession::copy_to_parquet(
    const std::string& sql, const std::filesystem::path& path, const Deadline& deadline) {
    PX_TRY(only_trusted());
    // With several threads neither the order of groups nor sums of floating-point numbers would be
    // the same every time.
    PX_TRY(connection_.execute("SET threads = 1"));
    std::unique_ptr<columnar::ParquetWriter> writer;
    columnar::Schema schema;
    Result<void> copied = stream_batches(
        sql, {},
        [&](const columnar::Schema& found) -> Result<void> {
            schema = found;
            writer = PX_TRY(columnar::ParquetWriter::create(path, schema, {}));
            return {};
        },
        [&](const columnar::RecordBatch& batch) { return writer->write(batch); }, deadline);
    PX_TRY(connection_.execute(fmt::format("SET threads = {}", options_.thread_count)));
    if (!copied) return std::move(copied).error();
    columnar::ParquetFileInfo info = PX_TRY(writer->close());
    return std::pair(std::move(schema), std::move(info));
}

// --------------------------------------------------------------------- plans

namespace {

namespace json = boost::json;

constexpr size_t kPlanDepth = 200;
constexpr size_t kPlanBytes = 100'000;

double number_of(const json::object& node, std::string_view name) {
    const json::value* value = node.if_contains(name);
    boost::system::error_code error;
    return value != nullptr && value->is_number() ? value->to_number<double>(error) : 0;
}

/// What an operator tells of itself; nothing that may name a file.
void append_details(const json::object& node, std::string& text) {
    const json::value* extra = node.if_contains("extra_info");
    if (extra == nullptr || !extra->is_object()) return;
    for (const std::string_view name :
         {"Projections", "Filters", "Groups", "Aggregates", "Conditions", "Join Type", "Order By",
          "Expression", "Top"}) {
        const json::value* value = extra->get_object().if_contains(name);
        if (value == nullptr) continue;
        std::string told;
        const auto add = [&](const json::value& one) {
            if (one.is_string()) told += (told.empty() ? "" : ", ") + std::string(one.get_string());
        };
        if (value->is_array()) {
            for (const json::value& one : value->get_array()) add(one);
        } else {
            add(*value);
        }
        if (!told.empty()) text += fmt::format("  {}: {}", name, told.substr(0, 300));
    }
}

void append_operators(const json::object& node, size_t depth, QueryPlan& plan) {
    const json::value* name = node.if_contains("operator_name");
    if (name == nullptr) name = node.if_contains("name");
    const bool shown = name != nullptr && name->is_string() &&
                       name->get_string() != "EXPLAIN_ANALYZE" && name->get_string() != "EXPLAIN";
    if (shown) {
        const auto rows = static_cast<int64_t>(number_of(node, "operator_cardinality"));
        std::string label(name->get_string());
        while (label.ends_with(' ')) label.pop_back();
        const bool scans = label.find("SCAN") != std::string::npos || label.starts_with("READ_");
        if (scans)
            plan.rows_scanned += static_cast<int64_t>(number_of(node, "operator_rows_scanned"));
        plan.text += fmt::format("{:>{}}{}  {} rows, {:.1f} ms", "", 2 * depth, label, rows,
                                 1000 * number_of(node, "operator_timing"));
        append_details(node, plan.text);
        plan.text += '\n';
    }
    const json::value* children = node.if_contains("children");
    if (children == nullptr || !children->is_array() || depth >= kPlanDepth ||
        plan.text.size() >= kPlanBytes)
        return;
    for (const json::value& child : children->get_array()) {
        if (child.is_object()) append_operators(child.get_object(), depth + (shown ? 1 : 0), plan);
    }
}

/// The answer of EXPLAIN (ANALYZE, FORMAT json) as a plan without rows.
Result<QueryResult> read_plan(QueryResult result) {
    const auto unknown = [] {
        return fail(ErrorCode::Internal, "DuckDB's plan has an unknown form");
    };
    if (result.rows.empty() || result.rows[0].empty() || !result.rows[0].back()) return unknown();
    boost::system::error_code error;
    json::parse_options options;
    options.max_depth = 4 * kPlanDepth;
    const json::value parsed = json::parse(*result.rows[0].back(), error, {}, options);
    if (error || !parsed.is_object()) return unknown();
    QueryPlan plan;
    plan.bytes_scanned = static_cast<int64_t>(number_of(parsed.get_object(), "total_bytes_read"));
    append_operators(parsed.get_object(), 0, plan);
    QueryResult made;
    made.elapsed_ms = result.elapsed_ms;
    made.plan = std::move(plan);
    return made;
}

}  // namespace

// ------------------------------------------------------------------- sandbox

Result<void> LocalSession::lock_down() {
    if (locked_) return {};
    PX_TRY(connection_.execute(std::string(guard_macros())));
    std::vector<std::string> files;
    for (const auto& [name, paths] : tables_) {
        for (const std::string& path : paths) {
            files.push_back(path);
            files.push_back(PX_TRY(duckdb::glob_of(path)));  // what the views name
        }
    }
    std::sort(files.begin(), files.end());
    files.erase(std::unique(files.begin(), files.end()), files.end());
    if (!files.empty()) PX_TRY(connection_.execute("SET allowed_paths = " + list_literal(files)));
    PX_TRY(
        connection_.execute("SET enable_external_access = false; SET lock_configuration = true"));
    locked_ = true;
    return {};
}

Result<QueryResult> LocalSession::query_untrusted(const std::string& sql, const QueryLimits& limits,
                                                  const Deadline& deadline) {
    if (!locked_) {
        return fail(ErrorCode::Internal, "query_untrusted before lock_down",
                    "call lock_down() once every table is added");
    }
    SqlGuardLimits guard;
    PX_TRY(check_sql_text(sql, guard));
    uint64_t statements = PX_TRY(connection_.count_statements(sql));
    if (statements != 1) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("the text holds {} statements, not one", statements),
                    "send one SELECT");
    }
    duckdb::Prepared serialize =
        PX_TRY(connection_.prepare("SELECT json_serialize_sql($1::VARCHAR)"));
    PX_TRY(serialize.bind_text(1, sql));
    auto tree = PX_TRY(PX_TRY(serialize.execute()).read_text());
    if (tree.size() != 1 || !tree[0][0])
        return fail(ErrorCode::Internal, "DuckDB gave no syntax tree");
    std::set<std::string> names;
    for (const auto& [name, paths] : tables_) names.insert(name);
    PX_TRY(check_syntax_tree(*tree[0][0], sql, names, guard));

    // Nothing that passed can write; should something be missed, this transaction can't either.
    PX_TRY(connection_.execute("BEGIN TRANSACTION READ ONLY"));
    Result<QueryResult> result =
        collect(limits.explain ? "EXPLAIN (ANALYZE, FORMAT json) " + sql : sql, {}, limits,
                Watchdog::Origin::User, deadline);
    if (result && limits.explain) result = read_plan(std::move(*result));
    Result<void> ended = connection_.execute("ROLLBACK");
    if (result && !ended) return std::move(ended).error();
    return result;
}

}  // namespace px::engine
