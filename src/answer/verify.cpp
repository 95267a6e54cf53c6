#include <fmt/format.h>

#include "answer/answer.h"
#include "answer/citation.h"
#include "base/sha256.h"
#include "catalog/document_acl.h"

namespace px::answer {

Result<Verification> verify(const ReleaseView& view, catalog::Catalog& catalog,
                            const Citation& citation, const Rederive& rederive,
                            const Deadline& deadline) {
    Verification verification;
    const auto step = [&](const char* name, bool passed, std::string_view reason) {
        verification.steps.emplace_back(name, passed);
        verification.checked = verification.steps.size();
        if (!passed && verification.reason.empty()) verification.reason = reason;
        return passed;
    };
    // What is derived from bytes that are not the landed ones says nothing about the citation.
    const auto unchecked = [&] {
        for (const char* name : {"record bytes", "document text", "chunk id", "quote"})
            verification.steps.emplace_back(name, false);
        return verification;
    };
    if (citation.release != view.release.id.value) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("the citation is of release {}, not of release {}",
                                citation.release, view.release.id.value),
                    "Open the release of the citation.");
    }
    const std::optional<catalog::DocumentRow> document =
        PX_TRY(find_document(view, catalog, citation.document_id));
    if (!document) {
        step("landed file sha256", false,
             fmt::format("release {} has no document \"{}\"", view.release.id.value,
                         citation.document_id));
        return unchecked();
    }
    const Result<std::string> text = rederive(*document, deadline);
    if (!text && text.error().code != ErrorCode::Corrupt &&
        text.error().code != ErrorCode::NotFound)
        return text.error();
    std::string landed_reason;
    if (!text) {
        landed_reason = text.error().to_string();
    } else if (citation.source.sha256 != document->landed_sha256) {
        landed_reason =
            fmt::format("the citation names SHA-256 {}, the catalog {} for {}",
                        citation.source.sha256, document->landed_sha256, document->landed_key);
    } else if (citation.source.landed != document->landed_key ||
               citation.source.file != document->path) {
        landed_reason = fmt::format("the document was read from {}, landed as {}", document->path,
                                    document->landed_key);
    }
    if (!step("landed file sha256", landed_reason.empty(), landed_reason)) return unchecked();

    const ByteRange expected = landed_bytes(*document, citation.text_start, citation.text_end);
    const auto version = view.release.table_versions.find(document->source);
    const bool same_table =
        citation.table == document->source &&
        citation.version == (version == view.release.table_versions.end() ? -1 : version->second);
    const bool same_bytes =
        citation.source.line == document->line &&
        ByteRange{citation.source.byte_start, citation.source.byte_end} == expected;
    step("record bytes", same_bytes && same_table,
         same_bytes ? fmt::format("the record is not in table {} version {} of release {}",
                                  citation.table, citation.version, citation.release)
                    : fmt::format("the record stands at line {}, bytes {} to {} of {}",
                                  document->line, expected.start, expected.end, document->path));

    step("document text", sha256_hex(*text) == document->text_sha256,
         fmt::format("the text re-derived from {} differs from the one indexed", document->path));

    const auto slice = [&](int64_t start, int64_t end) -> std::optional<std::string_view> {
        if (start < 0 || end < start || static_cast<uint64_t>(end) > text->size())
            return std::nullopt;
        return std::string_view(*text).substr(static_cast<size_t>(start),
                                              static_cast<size_t>(end - start));
    };
    const std::optional<uint64_t> handle = view.points->find({citation.chunk_id});
    index::Point point;
    std::string chunk_reason;
    if (!handle) {
        chunk_reason = fmt::format("release {} has no passage {}", view.release.id.value,
                                   citation.chunk_id.substr(0, 64));
    } else {
        point = PX_TRY(view.points->point(*handle, deadline));
        const auto passage = slice(point.span.start, point.span.end);
        if (point.document_id != citation.document_id || point.title != citation.title ||
            point.author != citation.author || point.category != citation.category ||
            citation_date(point.created_at) != citation.date) {
            chunk_reason = "document, title, author, date or category are not those of the passage";
        } else if (!passage) {
            chunk_reason = "the passage lies outside the re-derived text";
        } else {
            point.text = *passage;
            point.acl = catalog::acl_of(*document);
            if (index::identify(point).value != citation.chunk_id)
                chunk_reason = "the id made anew from the re-derived passage is another";
        }
    }
    const bool chunk = step("chunk id", chunk_reason.empty(), chunk_reason);

    const auto quote = slice(citation.text_start, citation.text_end);
    const bool inside =
        !chunk || (citation.text_start >= point.span.start && citation.text_end <= point.span.end);
    const bool of_title = chunk && point.text.empty();  // of a document without text
    const bool quoted = (!citation.quote.empty() || of_title) &&
                        quote == std::string_view(citation.quote) && inside;
    step("quote", quoted,
         fmt::format("the re-derived text does not have the quote at bytes {} to {}",
                     citation.text_start, citation.text_end));
    verification.verified = verification.reason.empty();
    return verification;
}

}  // namespace px::answer
