// /v1/tables, /v1/quarantine, /v1/runs, /v1/releases: the lake and how it came to be.
#include <fmt/format.h>

#include "gateway/requests.h"
#include "gateway/response_json.h"
#include "gateway/routes.h"

namespace px::gateway {
namespace {

namespace json = boost::json;

constexpr std::string_view kQuarantineTable = "quarantine";

}  // namespace

std::vector<Route> Routes::lake_routes() const {
    std::vector<Route> routes;
    routes.push_back(
        {.method = "GET",
         .pattern = "/v1/tables",
         .tag = "lake",
         .summary = "Tables of a release with their columns and sizes.",
         .parameters = {{"as_of", "query", "string", "A release id, a day or a moment."}},
         .response_schema = "TablesResponse",
         .handler = [this](const Call& call) -> Result<http::Response> {
             const auto view =
                 PX_TRY(services_.releases.open(PX_TRY(read_as_of(call.request)), call.access));
             json::array tables;
             for (const auto& table : PX_TRY(services_.releases.tables(*view))) {
                 tables.push_back(table_json(table));
             }
             json::object object;
             object["tables"] = std::move(tables);
             object["release"] = view->release.id.value;
             return json_response(write_json(object));
         }});
    routes.push_back(
        {.method = "GET",
         .pattern = "/v1/quarantine",
         .tag = "lake",
         .summary = "Rejected records with the rule each broke, where it was and its raw bytes.",
         .parameters = {{"source", "query", "string", "Only of this source."},
                        {"limit", "query", "integer", "Rows at most; 100 without it."},
                        {"as_of", "query", "string", "A release id, a day or a moment."}},
         .response_schema = "Grid",
         .handler = [this](const Call& call) -> Result<http::Response> {
             PX_TRY(only_unrestricted(call, "the quarantine"));
             const int64_t limit =
                 PX_TRY(read_number(call.request, "limit", 100, 1, options_.list_rows));
             const auto view =
                 PX_TRY(services_.releases.open(PX_TRY(read_as_of(call.request)), call.access));
             engine::QueryResult rows;
             // A pipeline that never rejected anything may have no such table.
             if (view->release.table_versions.contains(std::string(kQuarantineTable))) {
                 engine::QueryLimits limits = services_.query_limits;
                 limits.rows = limit;
                 const auto source = call.request.query_value("source");
                 // Raw bytes as text where they are text.
                 std::string sql = fmt::format(
                     R"(SELECT source, ds, rule, "column", value, reason, file, line, byte_start, byte_end, )"
                     R"(coalesce(try(decode(raw)), CAST(raw AS VARCHAR)) AS raw FROM {})",
                     kQuarantineTable);
                 std::vector<std::string> parameters;
                 if (source) {
                     sql += " WHERE source = $1";
                     parameters.emplace_back(*source);
                 }
                 sql += " ORDER BY source, ds, file, line, byte_start, rule";
                 rows = PX_TRY(
                     services_.releases.query(*view, sql, parameters, limits, call.deadline));
             }
             return json_response(query_result_json(rows, view->release.id.value, Cells::Text));
         }});
    routes.push_back({.method = "GET",
                      .pattern = "/v1/runs",
                      .tag = "runs",
                      .summary = "Runs of the pipeline, newest first.",
                      .parameters = {{"limit", "query", "integer", "Runs at most; 50 without it."}},
                      .response_schema = "RunsResponse",
                      .handler = [this](const Call& call) -> Result<http::Response> {
                          PX_TRY(only_unrestricted(call, "a run's counts and messages"));
                          const int64_t limit =
                              PX_TRY(read_number(call.request, "limit", 50, 1, options_.list_rows));
                          json::array runs;
                          for (const auto& run : PX_TRY(services_.catalog.runs(limit)))
                              runs.push_back(run_json(run));
                          json::object object;
                          object["runs"] = std::move(runs);
                          return json_response(write_json(object));
                      }});
    routes.push_back(
        {.method = "GET",
         .pattern = "/v1/runs/{id}",
         .tag = "runs",
         .summary = "One run: its tasks, checks, quarantine counts and landed files.",
         .parameters = {{"id", "path", "string", "Of the run, such as 2026-11-23-0007."}},
         .response_schema = "RunResponse",
         .handler = [this](const Call& call) -> Result<http::Response> {
             PX_TRY(only_unrestricted(call, "a run's counts and messages"));
             const catalog::RunId id{call.path.find("id")->second};
             const auto run = PX_TRY(services_.catalog.run(id));
             if (!run) {
                 return fail(ErrorCode::NotFound, "there is no run " + id.value,
                             "GET /v1/runs lists the runs");
             }
             json::array tasks, checks, quarantine, landed;
             for (const auto& task : PX_TRY(services_.catalog.tasks(id)))
                 tasks.push_back(task_json(task));
             for (const auto& check : PX_TRY(services_.catalog.checks(id))) {
                 checks.push_back({{"source", check.source},
                                   {"check", check.check},
                                   {"expected", check.expected},
                                   {"actual", check.actual},
                                   {"passed", check.passed}});
             }
             for (const auto& count : PX_TRY(services_.catalog.quarantine_counts(id))) {
                 quarantine.push_back(
                     {{"source", count.source}, {"rule", count.rule}, {"count", count.count}});
             }
             for (const auto& file : PX_TRY(services_.catalog.landed_files(id))) {
                 landed.push_back({{"source", file.source},
                                   {"ds", file.ds},
                                   {"file", file.path},
                                   {"landed", file.key},
                                   {"sha256", file.sha256},
                                   {"size_bytes", file.size_bytes},
                                   {"landed_at", time_json(file.landed_at)}});
             }
             json::object object;
             object["run"] = run_json(*run);
             object["tasks"] = std::move(tasks);
             object["checks"] = std::move(checks);
             object["quarantine"] = std::move(quarantine);
             object["landed"] = std::move(landed);
             object["pipeline_text"] = run->pipeline_text;
             return json_response(write_json(object));
         }});
    routes.push_back(
        {.method = "GET",
         .pattern = "/v1/releases",
         .tag = "runs",
         .summary = "Releases, newest first.",
         .parameters = {{"limit", "query", "integer", "Releases at most; 50 without it."}},
         .response_schema = "ReleasesResponse",
         .handler = [this](const Call& call) -> Result<http::Response> {
             const int64_t limit =
                 PX_TRY(read_number(call.request, "limit", 50, 1, options_.list_rows));
             json::array releases;
             for (const auto& release : PX_TRY(services_.catalog.releases(limit))) {
                 releases.push_back(
                     release_json(release, services_.releases.restricts(call.access)));
             }
             json::object object;
             object["releases"] = std::move(releases);
             return json_response(write_json(object));
         }});
    return routes;
}

}  // namespace px::gateway
