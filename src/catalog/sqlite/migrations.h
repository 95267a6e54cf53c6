// The tables of the embedded catalog and how an older file becomes a newer one. Forward only.
// Specification: docs/formats/catalog.md.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "capi/sqlite/sqlite.h"

namespace px::catalog {

/// Step n (1-based, by position) brings a file from version n - 1 to version n.
struct Migration {
    std::string_view description;
    std::string_view sql;
};

std::span<const Migration> catalog_migrations();

/// Version of the tables in the database: 0 for an empty file. Errors: InvalidArgument (not a
/// catalog), Corrupt.
Result<int64_t> schema_version(sqlite::Database& database);

/// Brings the tables to migrations.size(), each step in a transaction of its own. Writes nothing
/// when they are there already. Errors: InvalidArgument (written by a newer program), as
/// schema_version, as Database.
Result<void> migrate(sqlite::Database& database, std::span<const Migration> migrations,
                     const Clock& clock);

/// Ok when the tables are exactly at migrations.size(). Errors as migrate; NotFound when there are
/// none yet, InvalidArgument when they are older.
Result<void> check_version(sqlite::Database& database, std::span<const Migration> migrations);

}  // namespace px::catalog
