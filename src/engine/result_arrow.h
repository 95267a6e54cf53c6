// QueryResult as a stream of Arrow's IPC format (encapsulated messages: a schema, record batches,
// the end), for the gateway. Rank 2. Any thread.
// Source: https://arrow.apache.org/docs/format/Columnar.html, metadata version 5.
#pragma once

#include <string>

#include "engine/engine.h"

namespace px::engine {

inline constexpr std::string_view kArrowStreamType = "application/vnd.apache.arrow.stream";

/// Integers of 8 to 64 bits, FLOAT, DOUBLE, DECIMAL, BOOLEAN, DATE and TIMESTAMP (with time zone:
/// UTC) as such, all else, and a column with a value out of its Arrow type's range, as text as SQL
/// prints it. Little-endian. Cost: the result once more in memory.
std::string to_arrow_stream(const QueryResult& result);

}  // namespace px::engine
