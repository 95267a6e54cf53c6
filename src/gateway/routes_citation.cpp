// /v1/citations/{chunk_id}, /v1/verify, /v1/documents: from an answer back to its source.
#include <algorithm>

#include "answer/answer_json.h"
#include "gateway/request_fields.h"
#include "gateway/requests.h"
#include "gateway/response_json.h"
#include "gateway/routes.h"

namespace px::gateway {
namespace {

namespace json = boost::json;

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

/// text around [start, end), reach bytes on either side, cut between words where a space is near.
json::object context_json(std::string_view text, int64_t start, int64_t end, int64_t reach) {
    const auto size = static_cast<int64_t>(text.size());
    const auto at = [&text](int64_t position) { return text[static_cast<size_t>(position)]; };
    int64_t from = std::max<int64_t>(0, start - reach);
    int64_t to = std::min(size, end + reach);
    for (int64_t i = from; from > 0 && i < std::min(from + 80, start); ++i) {
        if (at(i) == ' ' || at(i) == '\n') {
            from = i + 1;
            break;
        }
    }
    for (int64_t i = to; to < size && i > std::max(to - 80, end); --i) {
        if (at(i) == ' ' || at(i) == '\n') {
            to = i;
            break;
        }
    }
    while (from < start && is_continuation(at(from))) ++from;
    while (to < size && to > end && is_continuation(at(to))) --to;
    json::object object;
    object["text"] = text.substr(static_cast<size_t>(from), static_cast<size_t>(to - from));
    object["text_start"] = from;
    object["text_end"] = to;
    object["document_bytes"] = size;
    return object;
}

}  // namespace

std::vector<Route> Routes::citation_routes() const {
    std::vector<Route> routes;
    routes.push_back(
        {.method = "GET",
         .pattern = "/v1/citations/{chunk_id}",
         .tag = "provenance",
         .summary = "A cited passage with the document's text around it and where it comes from.",
         .description =
             "The text is derived anew from the landed file, whose SHA-256 is checked on the way.",
         .parameters = {{"chunk_id", "path", "string", "Of the citation."},
                        {"as_of", "query", "string", "Release of the citation."}},
         .response_schema = "CitationResponse",
         .handler = [this](const Call& call) -> Result<http::Response> {
             const std::string& chunk_id = call.path.find("chunk_id")->second;
             const auto view =
                 PX_TRY(services_.releases.open(PX_TRY(read_as_of(call.request)), call.access));
             const answer::Citation citation =
                 PX_TRY(answer::cite(*view, services_.catalog, chunk_id));
             const auto handle = view->points->find({chunk_id});
             if (!handle)
                 return fail(ErrorCode::NotFound, "no passage " + chunk_id + " in this release");
             const index::Point point = PX_TRY(view->points->point(*handle));

             json::object object;
             object["citation"] = answer::to_json(citation);
             object["passage"] = {{"text", point.text},
                                  {"text_start", point.span.start},
                                  {"text_end", point.span.end}};
             object["context"] = nullptr;
             object["context_problem"] = nullptr;
             const auto around = [&]() -> Result<json::object> {
                 const auto document =
                     PX_TRY(answer::find_document(*view, services_.catalog, point.document_id));
                 if (!document) {
                     return fail(ErrorCode::NotFound,
                                 "the catalog has no document " + point.document_id);
                 }
                 const std::string text = PX_TRY(services_.rederive(*document, call.deadline));
                 const auto size = static_cast<int64_t>(text.size());
                 if (point.span.start < 0 || point.span.end < point.span.start ||
                     point.span.end > size) {
                     return fail(ErrorCode::Corrupt,
                                 "the passage lies outside the re-derived text");
                 }
                 return context_json(text, point.span.start, point.span.end,
                                     options_.context_bytes);
             }();
             if (around) {
                 object["context"] = *around;
             } else {
                 object["context_problem"] = around.error().to_string();
             }
             object["run"] = view->release.run.value;
             object["published_at"] = time_json(view->release.published_at);
             return json_response(write_json(object));
         }});
    routes.push_back(
        {.method = "POST",
         .pattern = "/v1/verify",
         .tag = "provenance",
         .summary = "Derives a citation anew from the landed bytes, step by step.",
         .request_schema = "VerifyRequest",
         .response_schema = "VerifyResponse",
         .handler = [this](const Call& call) -> Result<http::Response> {
             const json::object body = PX_TRY(parse_object(call.request.body));
             const json::value* given = body.if_contains("citation");
             if (given == nullptr || !given->is_object()) {
                 return fail(ErrorCode::InvalidArgument,
                             "field 'citation' is missing or not an object",
                             R"(Send {"citation": …} with a citation as /v1/ask gave it)");
             }
             PX_TRY(RequestFields::open(body, "", {"citation"}));
             const answer::Citation citation =
                 PX_TRY(answer::citation_from_json(given->get_object()));
             if (citation.chunk_id.empty()) {
                 return fail(ErrorCode::InvalidArgument, "field 'citation.chunk_id' is missing",
                             "Send a citation as /v1/ask gave it");
             }
             answer::AsOf as_of;
             if (citation.release > 0) as_of.release = citation.release;
             const auto view = PX_TRY(services_.releases.open(as_of, call.access));
             const auto verification = PX_TRY(answer::verify(*view, services_.catalog, citation,
                                                             services_.rederive, call.deadline));
             return json_response(write_json(answer::to_json(verification)));
         }});
    routes.push_back(
        {.method = "GET",
         .pattern = "/v1/documents",
         .tag = "provenance",
         .summary = "Documents of a release, and its authors with their number of documents.",
         .parameters = {{"limit", "query", "integer", "Documents at most; 100 without it."},
                        {"offset", "query", "integer", "Documents to pass over."},
                        {"as_of", "query", "string", "A release id, a day or a moment."}},
         .response_schema = "DocumentsResponse",
         .handler = [this](const Call& call) -> Result<http::Response> {
             const int64_t limit =
                 PX_TRY(read_number(call.request, "limit", 100, 0, options_.list_rows));
             const int64_t offset =
                 PX_TRY(read_number(call.request, "offset", 0, 0, int64_t{1} << 40));
             const auto view =
                 PX_TRY(services_.releases.open(PX_TRY(read_as_of(call.request)), call.access));
             const catalog::Release& release = view->release;
             const auto documents =
                 PX_TRY(answer::list_documents(*view, services_.catalog, limit, offset));
             json::array rows, authors;
             for (const auto& document : documents.rows) rows.push_back(document_json(document));
             for (const auto& [name, count] :
                  PX_TRY(answer::list_authors(*view, services_.catalog))) {
                 authors.push_back({{"name", name}, {"count", count}});
             }
             const int64_t next = offset + static_cast<int64_t>(documents.rows.size());
             json::object object;
             object["documents"] = std::move(rows);
             object["authors"] = std::move(authors);
             object["total"] = documents.total;
             object["next_offset"] =
                 limit > 0 && next < documents.total ? json::value(next) : json::value(nullptr);
             object["release"] = release.id.value;
             return json_response(write_json(object));
         }});
    return routes;
}

}  // namespace px::gateway
