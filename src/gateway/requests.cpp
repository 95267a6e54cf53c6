#include "gateway/requests.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <charconv>
#include <limits>
#include <utility>

#include "base/utf8.h"
#include "gateway/request_fields.h"

namespace px::gateway {
namespace {

namespace json = boost::json;

constexpr size_t kShortText = 512;  // authors, categories, times
constexpr TimestampMicros kDayMicros = 86'400'000'000;

Result<int64_t> whole_number(std::string_view text, std::string_view name) {
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("parameter '{}' is '{}', not a whole number", name,
                                utf8_sanitize(text.substr(0, 60))));
    }
    return number;
}

Result<answer::AsOf> as_of_field(const RequestFields& fields) {
    const auto text = PX_TRY(fields.text_or_integer("as_of", kShortText));
    return answer::parse_as_of(text.value_or(""));
}

Result<index::Filter> read_filter(const RequestFields& fields) {
    index::Filter filter;
    filter.authors = PX_TRY(fields.texts("authors", kShortText));
    filter.categories = PX_TRY(fields.texts("categories", kShortText));
    filter.sources = PX_TRY(fields.texts("sources", kShortText));
    if (const auto from = PX_TRY(fields.text("from", kShortText))) {
        filter.from = PX_TRY(read_moment(*from, Edge::First, "filters.from"));
    }
    if (const auto to = PX_TRY(fields.text("to", kShortText))) {
        filter.to = PX_TRY(read_moment(*to, Edge::Last, "filters.to"));
    }
    if (filter.from && filter.to && *filter.from >= *filter.to) {
        return fail(ErrorCode::InvalidArgument, "field 'filters.from' is not before 'filters.to'");
    }
    return filter;
}

/// The texts of field 'input'.
Result<std::vector<std::string>> read_inputs(const RequestFields& fields,
                                             const GatewayOptions& options) {
    const json::value* input = fields.find("input");
    if (input == nullptr) {
        return fail(ErrorCode::InvalidArgument, "field 'input' is missing",
                    "Add \"input\" as a string or an array of strings");
    }
    const json::value* first = input;
    size_t count = 1;
    if (const json::array* items = input->if_array()) {
        first = items->data();
        count = items->size();
        if (count == 0 || count > options.embed_inputs) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("field 'input' has {} texts; 1 to {} are taken", count,
                                    options.embed_inputs));
        }
    }
    std::vector<std::string> texts;
    texts.reserve(count);
    for (size_t i = 0; i < count; ++i) {
        const json::value& item = first[i];
        const std::string name = input->is_array() ? fmt::format("input[{}]", i) : "input";
        if (input->is_array() && (item.is_number() || item.is_array())) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("field '{}' holds token numbers; only texts are taken", name),
                        "Send the text itself: the model has a vocabulary of its own");
        }
        if (!item.is_string()) {
            return fields.wrong_kind(
                name, input->is_array() ? "a string" : "a string or an array of strings", item);
        }
        const json::string& text = item.get_string();
        if (text.empty())
            return fail(ErrorCode::InvalidArgument, fmt::format("field '{}' is empty", name));
        if (text.size() > options.embed_input_bytes) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("field '{}' has {} bytes; at most {} are taken", name,
                                    text.size(), options.embed_input_bytes),
                        "Cut it into passages; the model reads only the first part of a long text");
        }
        texts.emplace_back(text.data(), text.size());
    }
    return texts;
}

}  // namespace

Result<TimestampMicros> read_moment(std::string_view text, Edge edge, std::string_view field) {
    if (const auto day = parse_date(text)) {
        return (TimestampMicros{*day} + (edge == Edge::Last ? 1 : 0)) * kDayMicros;
    }
    if (text.find('T') != std::string_view::npos) {
        const auto moment = answer::parse_as_of(text);
        if (moment && moment->time) return *moment->time;
    }
    return fail(
        ErrorCode::InvalidArgument,
        fmt::format("field '{}' is '{}', not a date", field, utf8_sanitize(text.substr(0, 60))),
        "Write a day such as 2026-11-23, or a moment such as 2026-11-23T08:00:00Z");
}

Result<SearchInput> read_search(json::object body, SearchFields fields,
                                const GatewayOptions& options) {
    std::vector<std::string_view> known{"question", "top_k"};
    if (fields != SearchFields::Plain)
        known.insert(known.end(),
                     {"filters", "as_of", "mode", "constraints", "without", "recency_days"});
    if (fields == SearchFields::Ask) known.insert(known.end(), {"stream", "history"});
    const auto input = PX_TRY(RequestFields::open(std::move(body), "", known));
    SearchInput search;
    search.request.question = PX_TRY(input.required_text("question", options.question_bytes));
    const auto top_k = PX_TRY(input.integer("top_k", 1, options.top_k));
    if (top_k) search.request.top_k = static_cast<size_t>(*top_k);
    if (fields == SearchFields::Plain) {
        search.request.constraints = answer::SearchRequest::Constraints::Ignore;
        return search;
    }
    if (const auto filters =
            PX_TRY(input.object("filters", {"authors", "categories", "sources", "from", "to"}))) {
        search.request.filter = PX_TRY(read_filter(*filters));
    }
    const auto mode = PX_TRY(input.choice("mode", {"hybrid", "dense", "lexical"}));
    if (mode == "dense") search.request.mode = answer::SearchRequest::Mode::Dense;
    if (mode == "lexical") search.request.mode = answer::SearchRequest::Mode::Lexical;
    if (!PX_TRY(input.boolean("constraints")).value_or(true))
        search.request.constraints = answer::SearchRequest::Constraints::Ignore;
    search.request.without = PX_TRY(input.texts("without", kShortText));
    search.request.half_life_days =
        static_cast<double>(PX_TRY(input.integer("recency_days", 1, 36'500)).value_or(0));
    if (fields == SearchFields::Ask) {
        search.request.history = PX_TRY(input.texts("history", options.question_bytes));
    }
    search.as_of = PX_TRY(as_of_field(input));
    if (fields == SearchFields::Ask && PX_TRY(input.boolean("stream")).value_or(false)) {
        search.delivery = SearchInput::Delivery::Streamed;
    }
    return search;
}

Result<json::object> search_object(const http::Request& request) {
    json::object object, filters;
    const auto add = [](json::object& to, std::string_view name, std::string_view value) {
        json::value& items = to[name];
        if (!items.is_array()) items = json::array();
        items.get_array().push_back(json::string(value));
    };
    for (const auto& [name, value] : request.query) {
        if (name == "top_k") {
            object["top_k"] = PX_TRY(whole_number(value, name));
        } else if (name == "author") {
            add(filters, "authors", value);
        } else if (name == "category") {
            add(filters, "categories", value);
        } else if (name == "source") {
            add(filters, "sources", value);
        } else if (name == "without") {
            add(object, name, value);
        } else if (name == "recency_days") {
            object[name] = PX_TRY(whole_number(value, name));
        } else if (name == "constraints") {
            if (value != "true" && value != "false") {
                return fail(ErrorCode::InvalidArgument,
                            fmt::format("parameter 'constraints' is '{}'; it must be true or false",
                                        utf8_sanitize(value.substr(0, 60))));
            }
            object[name] = value == "true";
        } else if (name == "from" || name == "to") {
            filters[name] = value;
        } else {
            object[name] = value;
        }
    }
    if (!filters.empty()) object["filters"] = std::move(filters);
    return object;
}

Result<SqlInput> read_sql(std::string_view body, const GatewayOptions& options) {
    const auto fields = PX_TRY(RequestFields::open(PX_TRY(parse_object(body)), "",
                                                   {"sql", "as_of", "limit", "cells", "explain"}));
    SqlInput input;
    input.sql = PX_TRY(fields.required_text("sql", options.sql_bytes));
    input.limit = PX_TRY(fields.integer("limit", 1, 1'000'000));
    input.as_of = PX_TRY(as_of_field(fields));
    input.text_cells = PX_TRY(fields.choice("cells", {"json", "text"})) == "text";
    input.explain = PX_TRY(fields.boolean("explain")).value_or(false);
    return input;
}

Result<EmbeddingsInput> read_embeddings(std::string_view body, const embed::Encoder& encoder,
                                        const GatewayOptions& options) {
    const auto fields = PX_TRY(
        RequestFields::open(PX_TRY(parse_object(body)), "",
                            {"input", "model", "encoding_format", "dimensions", "user", "kind"}));
    EmbeddingsInput made;
    made.texts = PX_TRY(read_inputs(fields, options));
    const std::string& id = encoder.model_id();
    const std::string name = id.substr(0, id.find('@'));
    made.model = PX_TRY(fields.text("model", kShortText)).value_or(name);
    if (made.model != name && made.model != id) {
        return fail(ErrorCode::NotFound,
                    fmt::format("the model '{}' is not served here",
                                utf8_sanitize(made.model.substr(0, 60))),
                    fmt::format("Ask for '{}', or leave the field out", name));
    }
    if (PX_TRY(fields.choice("encoding_format", {"float", "base64"})) == "base64")
        made.encoding = EmbeddingsInput::Encoding::Base64;
    if (PX_TRY(fields.choice("kind", {"passage", "query"})) == "query")
        made.kind = embed::TextKind::Query;
    const auto width = static_cast<int64_t>(encoder.width());
    const auto dimensions =
        PX_TRY(fields.integer("dimensions", 1, std::numeric_limits<int64_t>::max()));
    if (dimensions && *dimensions != width) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("field 'dimensions' is {}; vectors of '{}' have {}", *dimensions,
                                name, width),
                    "Leave it out: they can't be shortened");
    }
    PX_TRY(fields.text("user", kShortText));
    return made;
}

Result<answer::AsOf> read_as_of(const http::Request& request) {
    return answer::parse_as_of(request.query_value("as_of").value_or(""));
}

Result<int64_t> read_number(const http::Request& request, std::string_view name, int64_t fallback,
                            int64_t min, int64_t max) {
    const auto text = request.query_value(name);
    if (!text) return fallback;
    const int64_t number = PX_TRY(whole_number(*text, name));
    if (number < min || number > max) {
        return fail(
            ErrorCode::InvalidArgument,
            fmt::format("parameter '{}' is {}; it must be {} to {}", name, number, min, max));
    }
    return number;
}

}  // namespace px::gateway
