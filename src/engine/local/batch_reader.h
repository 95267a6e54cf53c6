// Result chunks of DuckDB as RecordBatches: which column type becomes which, and the copying.
#pragma once

#include <vector>

#include "base/result.h"
#include "capi/duckdb/duckdb_handle.h"
#include "columnar/record_batch.h"

namespace px::engine {

/// The Schema rows of these columns have. Small and unsigned integers widen to the next signed
/// type, UBIGINT to decimal(20,0), HUGEINT to decimal(38,0); ENUM, UUID and JSON become strings;
/// TIMESTAMP counts as UTC. Errors: InvalidArgument, naming the column, for other types and for two
/// columns of one name (in any letter case).
Result<columnar::Schema> schema_of(const std::vector<duckdb::Column>& columns);

/// Appends the rows of chunk. Errors: InvalidArgument (a value that does not fit: infinite date,
/// HUGEINT of 39 digits, null in a list).
Result<void> append_chunk(const duckdb::Chunk& chunk, columnar::RecordBatch& batch);

}  // namespace px::engine
