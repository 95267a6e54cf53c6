// Document: one file of a documents source as text with metadata. Rank 2 value type.
#pragma once

#include <optional>
#include <string>

#include "base/clock.h"

namespace px::source {

enum class DocumentFormat { PlainText, Markdown, Html, Pdf, Docx };

struct ExtractedDocument {
    DocumentFormat format = DocumentFormat::PlainText;
    std::string text;  ///< UTF-8, LF line ends, no NUL; paragraphs separated by blank lines
    std::optional<std::string> title;  ///< from the format (front matter, <title>, PDF/docx
                                       ///< properties), else first heading
    std::optional<std::string> author;
    std::optional<TimestampMicros> created_at;
    std::optional<std::string> category;  ///< front matter or meta keywords
    /// True when text[i] stands at byte text_offset + i of the file itself (UTF-8 txt/md with LF):
    /// citations then name the exact bytes, else the whole file.
    bool text_is_raw = false;
    int64_t text_offset = 0;
    int page_count = 0;
};

}  // namespace px::source
