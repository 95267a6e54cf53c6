// /search, /v1/search, /v1/ask.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "answer/answer_json.h"
#include "gateway/problem.h"
#include "gateway/request_fields.h"
#include "gateway/requests.h"
#include "gateway/response_json.h"
#include "gateway/routes.h"

namespace px::gateway {
namespace {

namespace json = boost::json;

double milliseconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
        .count();
}

json::object search_response(const answer::Found& found, int64_t release, double elapsed_ms) {
    json::object object;
    object["results"] = passages_json(found.passages);
    object["count"] = found.passages.size();
    object["constraints"] = answer::to_json(found.constraints);
    object["release"] = release;
    object["elapsed_ms"] = static_cast<double>(static_cast<int64_t>(elapsed_ms * 1000)) / 1000;
    return object;
}

/// The file each passage comes from, as its source named it.
Result<std::vector<std::string>> files_of(catalog::Catalog& catalog,
                                          const answer::ReleaseView& view,
                                          const std::vector<answer::Passage>& passages) {
    std::map<std::string, std::string> by_document;
    std::vector<std::string> files;
    for (const answer::Passage& passage : passages) {
        auto [entry, is_new] = by_document.try_emplace(passage.point.document_id);
        if (is_new) {
            const auto document =
                PX_TRY(answer::find_document(view, catalog, passage.point.document_id));
            entry->second =
                document && !document->path.empty() ? document->path : passage.point.document_id;
        }
        files.push_back(entry->second);
    }
    return files;
}

bool wants_events(const http::Request& request) {
    return request.header("Accept").value_or("").find("text/event-stream") !=
           std::string_view::npos;
}

/// The events of an answer: passages, one sentence each, done.
Result<void> write_events(http::StreamWriter& writer, const answer::Answer& answer) {
    const auto send = [&writer](std::string_view name, const json::object& data) {
        return writer.write(http::server_sent_event(name, write_json(data)));
    };
    json::object found;
    found["passages"] = passages_json(answer.passages);
    found["release"] = answer.release;
    found["question"] = answer.question;
    found["constraints"] = answer::to_json(answer.constraints);
    PX_TRY(send("passages", found));
    for (const answer::Sentence& sentence : answer.sentences) {
        json::array citations;
        const auto cited =
            std::ranges::find(answer.citations, sentence.citation, &answer::Citation::n);
        if (cited != answer.citations.end()) citations.push_back(answer::to_json(*cited));
        json::object event;
        event["text"] = sentence.citation > 0
                            ? fmt::format("{} [{}]", sentence.text, sentence.citation)
                            : sentence.text;
        event["citations"] = std::move(citations);
        event["supported"] = sentence.supported;
        PX_TRY(send("sentence", event));
    }
    return send("done", answer::to_json(answer));
}

}  // namespace

std::vector<Route> Routes::search_routes() const {
    const auto find_passages = [this](const SearchInput& input,
                                      const Call& call) -> Result<http::Response> {
        const auto start = std::chrono::steady_clock::now();
        const auto view = PX_TRY(services_.releases.open(input.as_of, call.access));
        const auto found = PX_TRY(answer::find_passages(*view, services_.encoder, input.request,
                                                        services_.answer, call.deadline));
        return json_response(
            write_json(search_response(found, view->release.id.value, milliseconds_since(start))));
    };
    std::vector<Route> routes;
    routes.push_back(
        {.method = "POST",
         .pattern = "/v1/ask",
         .tag = "answers",
         .summary = "A grounded answer, each sentence with its citation.",
         .description =
             "With \"stream\": true or Accept: text/event-stream the answer comes as server-sent "
             "events: "
             "passages, one sentence event a sentence with its citations, then done (or error).",
         .request_schema = "AskRequest",
         .response_schema = "AskResponse",
         .example = R"({"question": "What is the financial outlook?"})",
         .handler = [this](const Call& call) -> Result<http::Response> {
             const auto input = PX_TRY(
                 read_search(PX_TRY(parse_object(call.request.body)), SearchFields::Ask, options_));
             const auto view = PX_TRY(services_.releases.open(input.as_of, call.access));
             const auto ask = [this, input,
                               view](const Deadline& deadline) -> Result<answer::Answer> {
                 auto answer = PX_TRY(answer::ask(*view, services_.catalog, services_.encoder,
                                                  input.request, services_.answer, deadline));
                 metrics_->record_answer(answer.grounded);
                 return answer;
             };
             if (input.delivery == SearchInput::Delivery::Whole && !wants_events(call.request)) {
                 const auto answer = PX_TRY(ask(call.deadline));
                 json::object object = answer::to_json(answer);
                 object["passages"] = passages_json(answer.passages);
                 return json_response(write_json(object));
             }
             http::Response response;
             response.with("Content-Type", "text/event-stream; charset=utf-8");
             response.stream = [ask, deadline = call.deadline, request_id = call.request_id](
                                   http::StreamWriter& writer) -> Result<void> {
                 const auto answer = ask(deadline);
                 if (answer) return write_events(writer, *answer);
                 return writer.write(
                     http::server_sent_event("error", problem_json(answer.error(), request_id)));
             };
             return response;
         }});
    routes.push_back(
        {.method = "POST",
         .pattern = "/v1/search",
         .tag = "answers",
         .summary = "The best passages for a question.",
         .request_schema = "SearchRequest",
         .response_schema = "SearchResponse",
         .example =
             R"({"question": "interest rates", "top_k": 5, "filters": {"from": "2026-01-01"}})",
         .handler = [this, find_passages](const Call& call) -> Result<http::Response> {
             return find_passages(PX_TRY(read_search(PX_TRY(parse_object(call.request.body)),
                                                     SearchFields::Search, options_)),
                                  call);
         }});
    routes.push_back(
        {.method = "GET",
         .pattern = "/v1/search",
         .tag = "answers",
         .summary = "The same by query parameters; author, category and source may be repeated.",
         .parameters = {{"question", "query", "string", "What to look for."},
                        {"top_k", "query", "integer", "Passages at most, 1 to 200; 10 without it."},
                        {"author", "query", "string", "Only this author."},
                        {"category", "query", "string", "Only this category."},
                        {"source", "query", "string", "Only this source of the pipeline file."},
                        {"from", "query", "string", "First day or moment."},
                        {"to", "query", "string",
                         "Last day, included, or the moment before which."},
                        {"mode", "query", "string", "hybrid, dense or lexical."},
                        {"constraints", "query", "boolean",
                         "false: what the question says of author and date narrows nothing."},
                        {"without", "query", "string",
                         "A constraint not to apply, by its text; may be repeated."},
                        {"recency_days", "query", "integer",
                         "Newer documents first: a score halves with every so many days."},
                        {"as_of", "query", "string", "A release id, a day or a moment."}},
         .response_schema = "SearchResponse",
         .handler = [this, find_passages](const Call& call) -> Result<http::Response> {
             return find_passages(PX_TRY(read_search(PX_TRY(search_object(call.request)),
                                                     SearchFields::Search, options_)),
                                  call);
         }});
    routes.push_back(
        {.method = "POST",
         .pattern = "/search",
         .tag = "answers",
         .summary = "The best passages, in the short form older clients use.",
         .request_schema = "SimpleSearchRequest",
         .response_schema = "SimpleSearchResponse",
         .example = R"({"question": "What is the financial outlook?", "top_k": 3})",
         .handler = [this](const Call& call) -> Result<http::Response> {
             const auto input = PX_TRY(read_search(PX_TRY(parse_object(call.request.body)),
                                                   SearchFields::Plain, options_));
             const auto view = PX_TRY(services_.releases.open(input.as_of, call.access));
             const auto passages = PX_TRY(answer::search(*view, services_.encoder, input.request,
                                                         services_.answer, call.deadline));
             const auto files = PX_TRY(files_of(services_.catalog, *view, passages));
             json::array results;
             for (size_t i = 0; i < passages.size(); ++i) {
                 results.push_back({{"score", passages[i].score},
                                    {"text", passages[i].point.text},
                                    {"source", files[i]}});
             }
             json::object object;
             object["results"] = std::move(results);
             object["count"] = passages.size();
             return json_response(write_json(object));
         }});
    return routes;
}

}  // namespace px::gateway
