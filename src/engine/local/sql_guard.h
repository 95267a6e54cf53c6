// The gate for SQL of users: one SELECT whose whole syntax tree is made of known parts over known
// tables. The tree is DuckDB's own (json_serialize_sql), so what is judged is what will run.
// Everything not allowed here is refused: statements other than SELECT, SHOW/DESCRIBE/SUMMARIZE,
// tables that are not the session's (system tables, files by name), table functions but a few,
// scalar functions that read outside, reveal the environment or have effects, parameters.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "base/result.h"

namespace px::engine {

struct SqlGuardLimits {
    size_t sql_bytes = 100'000;
    int64_t table_reads =
        256;  ///< tables and functions read, CTEs counted as often as they are used
    /// Calls of functions that may take long for a single value. A query is stopped between two
    /// batches of about 2,000 rows: what it does for one of them has to end soon.
    int64_t heavy_calls = 32;
};

/// tree: answer of json_serialize_sql for sql. tables: the names that may be read, in lower case.
/// Errors: InvalidArgument, naming what is not allowed and the character where it stands.
Result<void> check_syntax_tree(std::string_view tree, std::string_view sql,
                               const std::set<std::string>& tables, const SqlGuardLimits& limits);

/// Errors: InvalidArgument: too long, empty, NUL or ill-formed UTF-8. Done before DuckDB sees the
/// text.
Result<void> check_sql_text(std::string_view sql, const SqlGuardLimits& limits);

/// Scalar, aggregate and window functions that users may call, in lower case, and those of this
/// version they may not.
const std::set<std::string_view>& allowed_functions();
const std::set<std::string_view>& refused_functions();

/// SQL to run once in a session: macros that stand before functions whose result may be far larger
/// than their input.
std::string_view guard_macros();

}  // namespace px::engine
