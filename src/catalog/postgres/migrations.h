// The tables of the catalog in PostgreSQL and how an older schema becomes a newer one. Forward
// only. Specification: docs/formats/catalog.md.
#pragma once

#include <span>
#include <string_view>

namespace px::catalog {

/// Step n (1-based, by position) brings a schema from version n - 1 to version n. Names are looked
/// up in the catalog's schema.
struct PostgresMigration {
    std::string_view description;
    std::string_view sql;
};

std::span<const PostgresMigration> postgres_migrations();

/// Every table the newest version has.
std::span<const std::string_view> postgres_tables();

}  // namespace px::catalog
