// Exports the rows of an SQL query as JSON Lines, for the landing zone: of SQLite, and of
// PostgreSQL by COPY. First stage of the walk (source). Format: docs/formats/records.md. Any
// thread; each call has a connection of its own.
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
    /// "sqlite:PATH", a relative PATH below base_folder, or "postgresql://…" as libpq takes it.
    std::string connection;
    std::filesystem::path base_folder;
    std::string query;  ///< one SELECT
    std::string ds;     ///< bound to :ds, as text
    std::chrono::milliseconds busy_timeout{
        10'000};                     ///< how long to wait for another process's lock
    int64_t max_bytes = 64LL << 30;  ///< of the export
    std::chrono::milliseconds connect_timeout{10'000};  ///< PostgreSQL: TLS and log-in included
};

struct SqlExport {
    std::vector<std::string> columns;
    int64_t row_count = 0;
    int64_t size_bytes = 0;
};

/// Runs the query read-only, in one snapshot, and writes its rows, in its order, to `file`
/// (replaced). First line: the array of column names; then one object a row: numbers as numbers,
/// text as string, NULL as null, bytes as base64 strings. Memory: about a MiB and the longest row.
/// No error names a password. Errors: InvalidArgument (connection, SQL with the database's message,
/// a parameter other than :ds, a column name twice, no SELECT), NotFound (SQLite file), Forbidden
/// (the query writes), Corrupt, Unauthenticated, Unavailable (locked; no server; a missing table or
/// right of PostgreSQL), ResourceExhausted (disk, max_bytes), Cancelled, DeadlineExceeded. On
/// failure `file` is removed.
Result<SqlExport> export_sql(const SqlExportOptions& options, const std::filesystem::path& file,
                             const Deadline& deadline);

/// As export_sql, for one kind of connection.
Result<SqlExport> export_sqlite(const SqlExportOptions& options, const std::filesystem::path& file,
                                const Deadline& deadline);
Result<SqlExport> export_postgres(const SqlExportOptions& options,
                                  const std::filesystem::path& file, const Deadline& deadline);

}  // namespace px::source
