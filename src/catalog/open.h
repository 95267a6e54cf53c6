// Opens a Catalog by its address: `sqlite:./catalog.db` or `postgresql://user@host:port/database`.
// Rank 2. Any thread.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "catalog/catalog.h"

namespace px::catalog {

/// An address taken apart, without touching what it names.
struct CatalogAddress {
    enum class Kind { Sqlite, Postgres };
    Kind kind = Kind::Sqlite;
    std::filesystem::path file;  ///< of Sqlite: below the base folder unless absolute
    std::string connection;      ///< of Postgres: for open_postgres_catalog; holds the password
    std::string schema;          ///< of Postgres
    size_t connections_max = 8;
    /// What may be shown: "sqlite:./catalog.db", "postgresql://host:5432/db?schema=px".
    std::string shown;
};

/// Scheme `sqlite:PATH`, `postgresql://…` or `postgres://…`. Of PostgreSQL's parameters two are
/// ours: `schema` (default px) and `connections` (default 8); libpq gets the others (sslmode,
/// sslrootcert, connect_timeout …). Errors: InvalidArgument, showing nothing of an address that may
/// hold a password.
Result<CatalogAddress> parse_catalog_address(std::string_view address,
                                             const std::filesystem::path& base_folder);

/// The catalog behind an address; see open_sqlite_catalog and open_postgres_catalog. One of an
/// older px is brought forward, also for reading. The clock outlives it.
Result<std::unique_ptr<Catalog>> open_catalog(std::string_view address,
                                              const std::filesystem::path& base_folder,
                                              OpenMode mode, const Clock& clock);

}  // namespace px::catalog
