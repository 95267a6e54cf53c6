// JSON of the gateway's responses beside what answer/answer_json.h and engine/result_json.h write;
// the shapes are specified in docs/formats/api.md. Rank 5. Pure; any thread.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "answer/answer.h"
#include "answer/release_reader.h"
#include "catalog/catalog.h"
#include "engine/engine.h"

namespace px::gateway {

/// JSON text with numbers as people write them (0.63, not 6.3E-1), shortest form that reads back
/// equal; NaN and infinities become null.
std::string write_json(const boost::json::value& value);

/// "2026-11-23T08:27:01.000000Z", or null.
boost::json::value time_json(std::optional<TimestampMicros> time);
/// restricted: without counts and tables, which tell of what the reader may not see.
boost::json::object release_json(const catalog::Release& release, bool restricted);
boost::json::object run_json(const catalog::Run& run);
boost::json::object task_json(const catalog::TaskAttempt& task);
boost::json::object document_json(const catalog::DocumentRow& document);
boost::json::object table_json(const answer::TableInfo& table);
boost::json::array citations_json(const std::vector<answer::Citation>& citations);
boost::json::array passages_json(const std::vector<answer::Passage>& passages);

/// {"columns","types","rows","row_count","truncated","elapsed_ms","release"}, written without an
/// intermediate tree. Cells::Json writes numbers and booleans as such, with all their digits;
/// Cells::Text writes every cell as a string, for readers whose numbers are doubles. NULL is null
/// either way.
enum class Cells { Json, Text };
std::string query_result_json(const engine::QueryResult& result, int64_t release, Cells cells);

/// {"object","data","model","usage"} of vectors [count, width], as OpenAI's clients read it. base64
/// holds the floats little-endian.
enum class VectorForm { Numbers, Base64 };
std::string embeddings_json(const std::vector<float>& vectors, size_t width, VectorForm form,
                            std::string_view model, int64_t token_count);

}  // namespace px::gateway
