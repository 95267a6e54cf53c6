// Delta's schemaString (a struct type in JSON) to and from columnar::Schema. Rank 3. Pure
// functions.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "columnar/record_batch.h"

namespace px::lake {

/// short and byte are read as Int32 (their files hold 32-bit integers); array<float> without nulls
/// as FloatList. Errors: Corrupt (not a struct type in JSON), InvalidArgument naming column and
/// type for what Schema can't hold.
Result<columnar::Schema> parse_schema(std::string_view schema_string);

std::string write_schema(const columnar::Schema& schema);

/// schema_string with the columns of grown that it lacks appended; everything it says about the
/// others is kept. Equal to schema_string when nothing is new. Errors: InvalidArgument when a
/// column is gone, has another type or nullability, or a new one is required.
Result<std::string> grow_schema(const std::string& schema_string, const columnar::Schema& grown);

/// What a new table's schema must satisfy: columns with names that differ also when case is
/// ignored, partition columns among them, at least one that is not, none of a type partition values
/// can't have. Errors: InvalidArgument.
Result<void> validate_schema(const columnar::Schema& schema,
                             const std::vector<std::string>& partition_columns);

/// True if a column's metadata holds this key (delta.invariants, delta.generationExpression …).
bool any_column_has_metadata(std::string_view schema_string, std::string_view key);

}  // namespace px::lake
