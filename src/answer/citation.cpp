#include "answer/citation.h"

#include <fmt/format.h>

#include <boost/json.hpp>

namespace px::answer {

namespace {

constexpr TimestampMicros kDay = 86'400'000'000;

}  // namespace

std::string_view raw_document_id(std::string_view document_id) {
    const size_t slash = document_id.find('/');
    return slash == std::string_view::npos ? document_id : document_id.substr(slash + 1);
}

std::string citation_date(std::optional<TimestampMicros> time) {
    if (!time) return {};
    std::string text = format_timestamp(*time);
    if (*time % kDay == 0 && text.size() > 10 && text[10] == 'T') text.resize(10);
    return text;
}

ByteRange landed_bytes(const catalog::DocumentRow& document, int64_t text_start, int64_t text_end) {
    const ByteRange whole{document.byte_start, document.byte_end};
    boost::system::error_code error;
    const boost::json::value extra =
        boost::json::parse(document.extra_json.empty() ? "{}" : document.extra_json, error);
    if (error || !extra.is_object()) return whole;
    const boost::json::value* raw = extra.get_object().if_contains("text_is_raw");
    const boost::json::value* offset = extra.get_object().if_contains("text_offset");
    if (raw == nullptr || !raw->is_bool() || !raw->get_bool()) return whole;
    const int64_t base = offset != nullptr && offset->is_int64() ? offset->get_int64() : 0;
    const ByteRange exact{base + text_start, base + text_end};
    if (exact.start < whole.start || exact.end > whole.end || exact.start > exact.end) return whole;
    return exact;
}

Result<Citation> make_citation(const ReleaseView& view, catalog::Catalog& catalog,
                               const index::Point& point, size_t start, size_t end, int n) {
    const std::optional<catalog::DocumentRow> document =
        PX_TRY(find_document(view, catalog, point.document_id));
    if (!document) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("release {} has passages of {}, which its metadata does not list",
                                view.release.id.value, point.document_id),
                    "Check the catalog with `px doctor`.");
    }
    Citation citation;
    citation.n = n;
    citation.quote = point.text.substr(start, end - start);
    citation.chunk_id = point.id.value;
    citation.document_id = point.document_id;
    citation.title = point.title;
    citation.author = point.author;
    citation.date = citation_date(point.created_at);
    citation.category = point.category;
    citation.text_start = point.span.start + static_cast<int64_t>(start);
    citation.text_end = point.span.start + static_cast<int64_t>(end);
    const ByteRange bytes = landed_bytes(*document, citation.text_start, citation.text_end);
    citation.source = {document->path, document->landed_key, document->landed_sha256,
                       document->line, bytes.start,          bytes.end};
    citation.table = point.source;
    const auto version = view.release.table_versions.find(point.source);
    citation.version = version == view.release.table_versions.end() ? -1 : version->second;
    citation.release = view.release.id.value;
    return citation;
}

Result<Citation> cite(const ReleaseView& view, catalog::Catalog& catalog,
                      const std::string& chunk_id) {
    const std::optional<uint64_t> handle = view.points->find({chunk_id});
    if (!handle) {
        return fail(ErrorCode::NotFound,
                    fmt::format("release {} has no passage {}", view.release.id.value,
                                chunk_id.substr(0, 64)),
                    "Passages change with the documents: ask again, or name the release the "
                    "citation is of.");
    }
    const index::Point point = PX_TRY(view.points->point(*handle));
    return make_citation(view, catalog, point, 0, point.text.size(), 1);
}

}  // namespace px::answer
