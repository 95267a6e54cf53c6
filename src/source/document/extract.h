// extract: one file of a documents source → text and metadata. Stage 1 (source), rank 2; pure:
// bytes in, value out. Relies on gumbo (html), PDFium (pdf), libzip and pugixml (docx).
// Thread-safe; PDFs take turns inside PDFium. What is read of each format, and how, is written in
// docs/formats/document.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "source/document.h"

namespace px::source {

/// Bounds of one extraction. A file beyond one of them is refused with ResourceExhausted, never
/// cut.
struct ExtractOptions {
    size_t file_bytes_max = size_t{256} << 20;  ///< of the file itself
    size_t text_bytes_max = size_t{64} << 20;   ///< of the text that comes out
    size_t unpacked_bytes_max = size_t{512}
                                << 20;  ///< docx: of the parts read, unpacked (zip bombs stop here)
    size_t html_memory_max = size_t{1} << 30;  ///< html: of the parsed tree, bytes
    int html_depth_max = 2'000;                ///< html: elements inside one another
    int page_count_max = 20'000;               ///< pdf
    /// Of work on one document. Beyond it the document is refused with ResourceExhausted, the
    /// others go on; a page of a PDF is always finished.
    std::chrono::milliseconds time_max{120'000};
    Deadline deadline = Deadline::never();  ///< of the caller; looked at between pages and inside
                                            ///< parsers

    /// InvalidArgument naming the field that is zero or negative.
    Result<void> validate() const;
};

/// The format a file name stands for: .txt .text .md .markdown .html .htm .xhtml .pdf .docx in any
/// case; else nullopt.
std::optional<DocumentFormat> document_format(std::string_view file_name);

/// ResourceExhausted when a file of this size is beyond file_bytes_max: to be asked before it is
/// read into memory. extract() asks as well.
Result<void> check_document_size(uint64_t size_bytes, std::string_view file_name,
                                 const ExtractOptions& options);

/// Extracts text and metadata. file_name decides the format and appears in errors. Text is never
/// empty, always valid UTF-8, without NUL. Errors, each with file_name as context:
///   InvalidArgument   another file type, or a document without any text (empty, blank, scanned
///   pages) Corrupt           damaged bytes, a missing part, a 0-byte file, or another format than
///   the name says Forbidden         encrypted: a password is needed ResourceExhausted a bound of
///   options; DeadlineExceeded, Cancelled; NotFound (PDFium is not installed)
Result<ExtractedDocument> extract(std::string_view bytes, std::string_view file_name,
                                  const ExtractOptions& options);

}  // namespace px::source
