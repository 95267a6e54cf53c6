// Names that no table of ours may take, since the engine has tables, views or file scans of its own
// under them. Rank 2. Pure; any thread.
#pragma once

#include <string_view>

namespace px::engine {

/// duckdb_…, pg_…, sqlite_…, pragma_…, information_schema…, px_…, in any letter case.
bool is_reserved_table_name(std::string_view name);

}  // namespace px::engine
