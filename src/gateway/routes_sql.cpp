// /v1/sql: SQL of users over the tables of a release.
#include <algorithm>

#include "gateway/requests.h"
#include "gateway/response_json.h"
#include "gateway/routes.h"

namespace px::gateway {

std::vector<Route> Routes::sql_routes() const {
    std::vector<Route> routes;
    routes.push_back(
        {.method = "POST",
         .pattern = "/v1/sql",
         .tag = "lake",
         .summary = "One read-only SELECT over the tables of a release.",
         .description =
             "Sandboxed: no files, no network, no settings; time, rows and memory are limited.",
         .request_schema = "SqlRequest",
         .response_schema = "Grid",
         .example =
             R"({"sql": "select author, count(*) as documents from documents group by 1 order by 2 desc"})",
         .handler = [this](const Call& call) -> Result<http::Response> {
             const auto input = PX_TRY(read_sql(call.request.body, options_));
             const auto view = PX_TRY(services_.releases.open(input.as_of));
             engine::QueryLimits limits = services_.query_limits;
             if (input.limit) limits.rows = std::min(limits.rows, *input.limit);
             const auto result =
                 PX_TRY(services_.releases.sql(*view, input.sql, limits, call.deadline));
             return json_response(query_result_json(result, view->release.id.value,
                                                    input.text_cells ? Cells::Text : Cells::Json));
         }});
    return routes;
}

}  // namespace px::gateway
