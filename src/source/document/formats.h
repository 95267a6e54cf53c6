// The extractors behind extract(), one a format. Private to this room. Each may return text that is
// blank, or not yet valid UTF-8 for the docx and html libraries; extract() checks both. bytes are
// within options.file_bytes_max.
#pragma once

#include <string_view>

#include "base/result.h"
#include "source/document.h"
#include "source/document/extract.h"

namespace px::source {

Result<ExtractedDocument> extract_plain(std::string_view bytes);
Result<ExtractedDocument> extract_markdown(std::string_view bytes);
Result<ExtractedDocument> extract_html(std::string_view bytes, const ExtractOptions& options);
Result<ExtractedDocument> extract_pdf(std::string_view bytes, const ExtractOptions& options);
Result<ExtractedDocument> extract_docx(std::string_view bytes, const ExtractOptions& options);

/// ResourceExhausted: the text grew beyond text_bytes_max.
Error text_too_long(const ExtractOptions& options);

}  // namespace px::source
