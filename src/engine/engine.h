// Port Engine: SQL over sets of Parquet files. It gets files and schemas and never learns what
// Delta is. Adapter: local/ (DuckDB). Rank 2. An Engine is thread-safe; a Session belongs to one
// thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "columnar/parquet_writer.h"
#include "columnar/record_batch.h"

namespace px::engine {

/// A Parquet file of a table; partition values are constants of its rows (columns absent from the
/// file).
struct TableFile {
    std::filesystem::path path;
    std::vector<std::pair<std::string, std::optional<std::string>>> partition_values;
};

/// A table as a session sees it: schema includes the partition columns. No file: an empty table.
struct TableSource {
    std::string name;
    columnar::Schema schema;
    std::vector<TableFile> files;
};

struct QueryLimits {
    std::chrono::milliseconds time{30'000};
    int64_t rows = 10'000;              ///< further rows are cut; QueryResult::truncated tells
    int64_t result_bytes = 64LL << 20;  ///< of text
    /// query_untrusted: the query runs, and its plan comes back instead of its rows.
    bool explain = false;
};

/// How a query ran.
struct QueryPlan {
    std::string text;  ///< one operator a line, indented below the one it feeds; rows each gave
    int64_t rows_scanned = 0;
    int64_t bytes_scanned = 0;  ///< read from files
};

/// A result in text: cells as SQL prints them, nullopt = NULL. json[r][c] is the cell as a JSON
/// literal.
struct QueryResult {
    std::vector<std::string> columns;
    std::vector<std::string> types;
    std::vector<std::vector<std::optional<std::string>>> rows;
    bool truncated = false;
    double elapsed_ms = 0;
    std::optional<QueryPlan> plan{};  ///< when it was asked for
};
/// True for types whose text is a JSON number or boolean as it stands.
bool is_json_literal_type(std::string_view sql_type);

class Session {
  public:
    virtual ~Session() = default;
    /// Makes a table known by its name. Errors: InvalidArgument, Corrupt (unreadable file, by
    /// name).
    virtual Result<void> add_table(const TableSource& table) = 0;
    /// Runs one statement of ours with bound parameters ($1, $2 …; all as text). Trusted SQL only.
    virtual Result<QueryResult> query(const std::string& sql,
                                      const std::vector<std::string>& parameters,
                                      const QueryLimits& limits, const Deadline& deadline) = 0;
    /// Runs a query and writes its rows, in the order of the query, as one Snappy Parquet file.
    /// The Schema written is returned with the file's statistics.
    virtual Result<std::pair<columnar::Schema, columnar::ParquetFileInfo>> copy_to_parquet(
        const std::string& sql, const std::filesystem::path& path, const Deadline& deadline) = 0;
    /// Runs trusted SQL and hands its rows over in batches, in the order of the query. The batch is
    /// only valid during the call; its schema is that of the query. Memory: a batch at a time.
    /// Errors: also those of consume.
    virtual Result<void> stream(
        const std::string& sql, const std::vector<std::string>& parameters,
        const std::function<Result<void>(const columnar::RecordBatch&)>& consume,
        const Deadline& deadline) = 0;
    /// From now on: no file but those of the tables added, no network, no attach, no settings, and
    /// query_untrusted only.
    virtual Result<void> lock_down() = 0;
    /// One read-only SELECT written by a user. Errors: InvalidArgument (not one SELECT, a forbidden
    /// function or name; the engine's message with position), DeadlineExceeded, ResourceExhausted.
    virtual Result<QueryResult> query_untrusted(const std::string& sql, const QueryLimits& limits,
                                                const Deadline& deadline) = 0;
};

class Engine {
  public:
    virtual ~Engine() = default;
    virtual Result<std::unique_ptr<Session>> open_session() = 0;
    virtual std::string version() const = 0;
};

}  // namespace px::engine
