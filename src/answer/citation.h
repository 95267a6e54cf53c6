// Citations from points and the catalog. Internal to the room.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "answer/answer.h"

namespace px::answer {

/// The id as the source has it, of one as px has it ("reports/R-7", "reports@2026-11-23/R-7"): what
/// follows the first '/'.
std::string_view raw_document_id(std::string_view document_id);

/// "2026-11-23" when the time is midnight UTC, else format_timestamp; "" without one.
std::string citation_date(std::optional<TimestampMicros> time);

/// The bytes of the landed file that hold [text_start, text_end) of a document's text: exact where
/// the text stands in the file as it is, else those of the whole record.
struct ByteRange {
    int64_t start = 0, end = 0;
    bool operator==(const ByteRange&) const = default;
};
ByteRange landed_bytes(const catalog::DocumentRow& document, int64_t text_start, int64_t text_end);

/// A citation of bytes [start, end) of a point's text. Errors: those of the catalog; Corrupt when
/// it lacks the document.
Result<Citation> make_citation(const ReleaseView& view, catalog::Catalog& catalog,
                               const index::Point& point, size_t start, size_t end, int n);

}  // namespace px::answer
