// QueryResult as CSV, for the gateway and the command line. Rank 2. Any thread.
#pragma once

#include <string>

#include "engine/engine.h"

namespace px::engine {

/// RFC 4180: lines end in CR LF, the first one names the columns, fields with a quote, comma or
/// line end are quoted. NULL is an empty field, an empty text is "".
std::string to_csv(const QueryResult& result);

}  // namespace px::engine
