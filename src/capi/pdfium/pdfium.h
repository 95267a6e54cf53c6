// Document: a move-only handle over a PDF opened by PDFium (libpdfium.so, loaded at first use).
// Rank 1; relies on base. PDFium is not thread-safe; one mutex inside serialises all calls, so any
// thread may use its own Document.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace px::pdfium {

/// A run of text that PDFium separates from the next by a line end, in page order. Coordinates are
/// PDF points (1/72 inch) with the origin at the page's lower left corner. A run in which PDFium
/// removed a hyphen at a line end spans several lines of the page; it holds U+FFFE where the hyphen
/// stood.
struct TextLine {
    std::string text;    ///< UTF-8, no line ends, no NUL
    double start_x = 0;  ///< left end of the baseline of the first visible character
    double start_y = 0;
    double end_x = 0;      ///< right edge of the last visible character
    double end_y = 0;      ///< baseline of the last visible character
    double font_size = 0;  ///< of the first visible character, points as shown on the page
};

class Document {
  public:
    /// bytes must outlive the Document. Errors: Corrupt (not a PDF, damaged), Forbidden (needs a
    /// password, or an unsupported security scheme), NotFound (libpdfium.so is missing),
    /// ResourceExhausted.
    static Result<Document> open(std::string_view bytes);

    Document(Document&&) noexcept;
    Document& operator=(Document&&) noexcept;
    ~Document();

    int page_count() const;
    /// The lines of a page's text layer; empty for a page of images. page_index: [0, page_count).
    /// Errors: Corrupt (the page can't be read), ResourceExhausted (more than char_count_max
    /// characters).
    Result<std::vector<TextLine>> page_lines(int page_index, size_t char_count_max) const;
    /// A text of the document information dictionary ("Title", "Author", "CreationDate",
    /// "Keywords"), UTF-8, empty if absent.
    std::string meta_text(const char* tag) const;

  private:
    struct Handle;
    explicit Document(std::unique_ptr<Handle> handle);
    std::unique_ptr<Handle> handle_;
};

}  // namespace px::pdfium
