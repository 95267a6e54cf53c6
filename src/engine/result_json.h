// QueryResult as JSON, for the gateway and the command line. Rank 2. Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/engine.h"

namespace px::engine {

/// Appends text as a JSON string with its quotes; ill-formed UTF-8 becomes U+FFFD.
void append_json_string(std::string_view text, std::string& out);

/// Appends a cell as a JSON literal: null; numbers and booleans bare, NaN and infinities quoted;
/// all else as a string.
void append_json_cell(std::string_view sql_type, const std::optional<std::string>& cell,
                      std::string& out);

/// Appends row `row` as an object, columns in order: {"author":"Ada","revenue":1.50}. A repeated
/// column name gets "_2", "_3" … behind it.
void append_json_object(const QueryResult& result, size_t row, std::string& out);

/// {"columns":[{"name":"a","type":"BIGINT"}],"rows":[[1]],"row_count":1,"truncated":false,"elapsed_ms":0.5}
std::string to_json(const QueryResult& result);

}  // namespace px::engine
