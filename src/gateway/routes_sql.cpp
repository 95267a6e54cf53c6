// /v1/sql: SQL of users over the tables of a release.
#include <algorithm>

#include "engine/result_arrow.h"
#include "engine/result_csv.h"
#include "gateway/requests.h"
#include "gateway/response_json.h"
#include "gateway/routes.h"

namespace px::gateway {
namespace {

constexpr std::string_view kCsvType = "text/csv";

enum class Shape { Json, Csv, Arrow };

/// What a client takes, by the first of its Accept header that we have; "q" only tells what it does
/// not take.
Shape shape_of(const http::Request& request) {
    std::string_view accept = request.header("Accept").value_or("");
    while (!accept.empty()) {
        const size_t comma = std::min(accept.find(','), accept.size());
        std::string_view item = accept.substr(0, comma);
        accept.remove_prefix(std::min(comma + 1, accept.size()));
        const size_t semicolon = std::min(item.find(';'), item.size());
        const std::string_view parameters = item.substr(semicolon);
        item = item.substr(0, semicolon);
        while (item.starts_with(' ')) item.remove_prefix(1);
        while (item.ends_with(' ')) item.remove_suffix(1);
        const size_t q = parameters.find("q=");
        if (q != std::string_view::npos &&
            parameters.substr(q + 2).find_first_not_of("0. ") == std::string_view::npos)
            continue;
        if (item == kCsvType) return Shape::Csv;
        if (item == engine::kArrowStreamType) return Shape::Arrow;
        if (item == "application/json" || item == "application/*" || item == "*/*")
            return Shape::Json;
    }
    return Shape::Json;
}

/// A result as a file; what JSON says beside the rows stands in headers.
http::Response file_of(const engine::QueryResult& result, Shape shape, int64_t release) {
    http::Response response;
    response.body = shape == Shape::Csv ? engine::to_csv(result) : engine::to_arrow_stream(result);
    response
        .with("Content-Type", shape == Shape::Csv ? "text/csv; charset=utf-8; header=present"
                                                  : std::string(engine::kArrowStreamType))
        .with("X-Px-Release", std::to_string(release))
        .with("X-Px-Row-Count", std::to_string(result.rows.size()))
        .with("X-Px-Truncated", result.truncated ? "true" : "false");
    return response;
}

}  // namespace

std::vector<Route> Routes::sql_routes() const {
    std::vector<Route> routes;
    routes.push_back(
        {.method = "POST",
         .pattern = "/v1/sql",
         .tag = "lake",
         .summary = "One read-only SELECT over the tables of a release.",
         .description =
             "Sandboxed: no files, no network, no settings; time, rows and memory are limited. "
             "Accept: text/csv or application/vnd.apache.arrow.stream gets the rows in that form, "
             "with X-Px-Release, X-Px-Row-Count and X-Px-Truncated. \"explain\": true runs the "
             "query and answers with its plan, the rows it looked at and the bytes it read.",
         .request_schema = "SqlRequest",
         .response_schema = "Grid",
         .example =
             R"({"sql": "select author, count(*) as documents from documents group by 1 order by 2 desc"})",
         .handler = [this](const Call& call) -> Result<http::Response> {
             const auto input = PX_TRY(read_sql(call.request.body, options_));
             const auto view = PX_TRY(services_.releases.open(input.as_of, call.access));
             engine::QueryLimits limits = services_.query_limits;
             if (input.limit) limits.rows = std::min(limits.rows, *input.limit);
             limits.explain = input.explain;
             const auto result =
                 PX_TRY(services_.releases.sql(*view, input.sql, limits, call.deadline));
             const Shape shape = input.explain ? Shape::Json : shape_of(call.request);
             auto response = shape == Shape::Json
                                 ? json_response(query_result_json(
                                       result, view->release.id.value,
                                       input.text_cells ? Cells::Text : Cells::Json))
                                 : file_of(result, shape, view->release.id.value);
             response.with("Vary", "Accept");
             return response;
         }});
    return routes;
}

}  // namespace px::gateway
