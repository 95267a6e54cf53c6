// Exports the rows of an SQLite query as JSON Lines, for the landing zone. First stage of the walk
// (source). Format: docs/formats/records.md. Any thread; each call has a connection of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace px::source {

struct SqlExportOptions {
    std::string connection;  ///< "sqlite:PATH"; a relative PATH is below base_folder
    std::filesystem::path base_folder;
    std::string query;  ///< one SELECT
    std::string ds;     ///< bound to :ds, as text
    std::chrono::milliseconds busy_timeout{
        10'000};                     ///< how long to wait for another process's lock
    int64_t max_bytes = 64LL << 30;  ///< of the export
};

struct SqlExport {
    std::vector<std::string> columns;
    int64_t row_count = 0;
    int64_t size_bytes = 0;
};

/// Runs the query read-only and writes its rows, in its order, to `file` (replaced). First line:
/// the array of column names; then one object a row: integers and reals as numbers, text as string,
/// NULL as null, blobs as base64 strings. Errors: InvalidArgument (connection, SQL with SQLite's
/// message, a parameter other than :ds, a column name twice, no SELECT), NotFound, Forbidden,
/// Corrupt, Unavailable (locked), ResourceExhausted (disk, max_bytes), Cancelled, DeadlineExceeded.
/// On failure `file` is removed.
Result<SqlExport> export_sql(const SqlExportOptions& options, const std::filesystem::path& file,
                             const Deadline& deadline);

}  // namespace px::source
