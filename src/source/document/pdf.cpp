// PDF: the text layer by PDFium, page by page, reflowed into paragraphs.
#include <fmt/format.h>

#include <string>
#include <utility>

#include "base/utf8.h"
#include "capi/pdfium/pdfium.h"
#include "source/document/dates.h"
#include "source/document/decode.h"
#include "source/document/formats.h"
#include "source/document/metadata.h"
#include "source/document/pdf_reflow.h"

namespace px::source {

Result<ExtractedDocument> extract_pdf(std::string_view bytes, const ExtractOptions& options) {
    // Readers accept junk before the header within the first kilobyte.
    if (bytes.substr(0, 1024 + 5).find("%PDF-") == std::string_view::npos) {
        return fail(ErrorCode::Corrupt, "the file is not a PDF: it does not begin with %PDF-",
                    "Give it the extension of its format, or export it anew as PDF");
    }
    const pdfium::Document pdf = PX_TRY(pdfium::Document::open(bytes));
    ExtractedDocument document;
    document.format = DocumentFormat::Pdf;
    document.page_count = pdf.page_count();
    if (document.page_count <= 0) {
        return fail(ErrorCode::Corrupt, "the PDF has no pages", "Export it anew as PDF");
    }
    if (document.page_count > options.page_count_max) {
        return fail(ErrorCode::ResourceExhausted,
                    fmt::format("the PDF has {} pages, the limit is {}", document.page_count,
                                options.page_count_max),
                    "Raise the limit of pages of a document or split the file");
    }
    for (int page = 0; page < document.page_count; ++page) {
        PX_TRY(options.deadline.check().context(fmt::format("page {}", page + 1)));
        const auto lines = PX_TRY(pdf.page_lines(page, options.text_bytes_max));
        std::string text = reflow(lines);
        if (text.empty()) continue;
        if (!document.text.empty()) document.text += "\n\n";
        document.text += text;
        if (document.text.size() > options.text_bytes_max) return text_too_long(options);
    }
    drop_controls(document.text);
    if (document.text.empty()) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("the PDF has {} {} of images and no text layer",
                                document.page_count, document.page_count == 1 ? "page" : "pages"),
                    "Run text recognition (OCR) over it and put the searchable PDF in its place");
    }
    document.title = clean_title(pdf.meta_text("Title"));
    document.author = clean_value(pdf.meta_text("Author"));
    document.created_at = parse_pdf_date(pdf.meta_text("CreationDate"));
    document.category = first_keyword(pdf.meta_text("Keywords"));
    return document;
}

}  // namespace px::source
