#include "engine/table_name.h"

#include <algorithm>

namespace px::engine {

bool is_reserved_table_name(std::string_view name) {
    const auto begins_with = [&](std::string_view prefix) {
        return name.size() >= prefix.size() &&
               std::equal(prefix.begin(), prefix.end(), name.begin(), [](char small, char c) {
                   return (c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c) == small;
               });
    };
    for (const std::string_view prefix :
         {"duckdb_", "pragma_", "pg_", "sqlite_", "information_schema", "px_"}) {
        if (begins_with(prefix)) return true;
    }
    return false;
}

}  // namespace px::engine
