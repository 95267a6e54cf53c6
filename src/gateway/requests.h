// What requests ask for, read from JSON bodies and query parameters. Rank 5. Pure; any thread.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "answer/answer.h"
#include "answer/release_reader.h"
#include "embed/encoder.h"
#include "gateway/gateway.h"
#include "http/message.h"

namespace px::gateway {

/// A question with everything that narrows it.
struct SearchInput {
    answer::SearchRequest request;
    answer::AsOf as_of;
    enum class Delivery { Whole, Streamed } delivery = Delivery::Whole;
};

/// Which fields a route's body may have besides question and top_k.
enum class SearchFields {
    Plain,   ///< POST /search: nothing else
    Search,  ///< filters, as_of, mode
    Ask,     ///< and stream
};
/// Errors: InvalidArgument, naming the field.
Result<SearchInput> read_search(boost::json::object body, SearchFields fields,
                                const GatewayOptions& options);
/// GET /v1/search?question=…&author=…: the same as JSON.
Result<boost::json::object> search_object(const http::Request& request);

struct SqlInput {
    std::string sql;
    answer::AsOf as_of;
    std::optional<int64_t> limit;
    bool text_cells = false;
    bool explain = false;  ///< the plan instead of rows
};
Result<SqlInput> read_sql(std::string_view body, const GatewayOptions& options);

/// A request for vectors, as OpenAI's clients write it.
struct EmbeddingsInput {
    std::vector<std::string> texts;
    embed::TextKind kind = embed::TextKind::Passage;
    std::string model;  ///< by the name it was asked for
    enum class Encoding { Float, Base64 } encoding = Encoding::Float;
};
/// encoder: what a model name and dimensions must fit. Errors: InvalidArgument, naming the field;
/// NotFound for another model.
Result<EmbeddingsInput> read_embeddings(std::string_view body, const embed::Encoder& encoder,
                                        const GatewayOptions& options);

/// A day ("2026-11-23") or a moment ("2026-11-23T08:00:00Z"). Edge::Last stands for the end of a
/// day that is meant whole.
enum class Edge { First, Last };
Result<TimestampMicros> read_moment(std::string_view text, Edge edge, std::string_view field);

/// ?as_of=; the newest release without it.
Result<answer::AsOf> read_as_of(const http::Request& request);
/// ?limit= or another whole number, fallback without it.
Result<int64_t> read_number(const http::Request& request, std::string_view name, int64_t fallback,
                            int64_t min, int64_t max);

}  // namespace px::gateway
