// The groups that may read a document, as its row of the catalog says. Rank 2. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "catalog/catalog.h"

namespace px::catalog {

/// From "acl" of extra_json. nullopt: the row was made before its source had a column of role acl,
/// or without one.
std::optional<std::vector<std::string>> acl_of(const DocumentRow& row);
/// The column they stood in: "acl_column" of extra_json; "": as nullopt.
std::string acl_column_of(const DocumentRow& row);

}  // namespace px::catalog
