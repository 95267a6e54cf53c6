#include "source/document/extract.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <string>
#include <utility>

#include "base/utf8.h"
#include "source/document/formats.h"

namespace px::source {
namespace {

struct Extension {
    std::string_view name;
    DocumentFormat format;
};
constexpr std::array<Extension, 9> kExtensions{{{"txt", DocumentFormat::PlainText},
                                                {"text", DocumentFormat::PlainText},
                                                {"md", DocumentFormat::Markdown},
                                                {"markdown", DocumentFormat::Markdown},
                                                {"html", DocumentFormat::Html},
                                                {"htm", DocumentFormat::Html},
                                                {"xhtml", DocumentFormat::Html},
                                                {"pdf", DocumentFormat::Pdf},
                                                {"docx", DocumentFormat::Docx}}};

std::string extension_of(std::string_view file_name) {
    const size_t slash = file_name.find_last_of('/');
    if (slash != std::string_view::npos) file_name.remove_prefix(slash + 1);
    const size_t dot = file_name.find_last_of('.');
    if (dot == std::string_view::npos) return {};
    std::string out;
    for (const char c : file_name.substr(dot + 1)) {
        out.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
    }
    return out;
}

bool is_blank(std::string_view text) {
    size_t i = 0;
    while (i < text.size()) {
        if (static_cast<unsigned char>(text[i]) <= ' ') {
            ++i;
        } else if (text.substr(i, 2) == "\xC2\xA0") {
            i += 2;
        } else {
            return false;
        }
    }
    return true;
}

void make_valid(std::optional<std::string>& value) {
    if (!value) return;
    if (!utf8_is_valid(*value)) *value = utf8_sanitize(*value);
    if (value->empty()) value.reset();
}

Result<ExtractedDocument> dispatch(std::string_view bytes, std::string_view file_name,
                                   const ExtractOptions& options) {
    const auto format = document_format(file_name);
    if (!format) {
        const std::string extension = extension_of(file_name);
        return fail(ErrorCode::InvalidArgument,
                    extension.empty()
                        ? "the file has no extension, so its format is unknown"
                        : fmt::format("files of type .{} are not supported", extension),
                    "Supported: .txt .md .html .pdf .docx; narrow the source's pattern or convert "
                    "the file");
    }
    if (bytes.empty()) {
        return fail(ErrorCode::Corrupt, "the file is empty (0 bytes)",
                    "Put the real file in its place or delete it");
    }
    switch (*format) {
        case DocumentFormat::PlainText:
            return extract_plain(bytes);
        case DocumentFormat::Markdown:
            return extract_markdown(bytes);
        case DocumentFormat::Html:
            return extract_html(bytes, options);
        case DocumentFormat::Pdf:
            return extract_pdf(bytes, options);
        case DocumentFormat::Docx:
            return extract_docx(bytes, options);
    }
    return fail(ErrorCode::Internal, "unknown document format");
}

}  // namespace

Result<void> ExtractOptions::validate() const {
    const auto refuse = [](std::string_view field) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("documents: {} must be greater than 0", field));
    };
    if (file_bytes_max == 0) return refuse("file_bytes_max");
    if (text_bytes_max == 0) return refuse("text_bytes_max");
    if (unpacked_bytes_max == 0) return refuse("unpacked_bytes_max");
    if (html_memory_max == 0) return refuse("html_memory_max");
    if (html_depth_max <= 0) return refuse("html_depth_max");
    if (page_count_max <= 0) return refuse("page_count_max");
    if (time_max.count() <= 0) return refuse("time_max");
    return {};
}

Error text_too_long(const ExtractOptions& options) {
    return fail(
        ErrorCode::ResourceExhausted,
        fmt::format("the text of the document is longer than {} bytes", options.text_bytes_max),
        "Raise the limit of text bytes of a document or split the file");
}

std::optional<DocumentFormat> document_format(std::string_view file_name) {
    const std::string extension = extension_of(file_name);
    for (const auto& known : kExtensions) {
        if (known.name == extension) return known.format;
    }
    return std::nullopt;
}

Result<void> check_document_size(uint64_t size_bytes, std::string_view file_name,
                                 const ExtractOptions& options) {
    if (size_bytes <= options.file_bytes_max) return {};
    return fail(ErrorCode::ResourceExhausted,
                fmt::format("the file has {} bytes, the limit is {}", size_bytes,
                            options.file_bytes_max),
                "Raise the limit of bytes of a document or split the file")
        .with(fmt::format("document {}", file_name));
}

Result<ExtractedDocument> extract(std::string_view bytes, std::string_view file_name,
                                  const ExtractOptions& options) {
    const std::string place = fmt::format("document {}", file_name);
    PX_TRY(options.validate().context(place));
    PX_TRY(check_document_size(bytes.size(), file_name, options));
    ExtractOptions bounded = options;
    const auto now = std::chrono::steady_clock::now();
    if (options.deadline.at - now > options.time_max) bounded.deadline.at = now + options.time_max;
    auto result = dispatch(bytes, file_name, bounded);
    if (!result) {
        if (result.error().code == ErrorCode::DeadlineExceeded &&
            options.deadline.check().has_value()) {
            return fail(ErrorCode::ResourceExhausted,
                        fmt::format("reading the document took longer than {} ms",
                                    options.time_max.count()),
                        "Leave it out of the source's pattern, or split it")
                .with(place);
        }
        return std::move(result).context(place);
    }
    ExtractedDocument& document = result.value();
    if (!utf8_is_valid(document.text)) {
        document.text = utf8_sanitize(document.text);
        document.text_is_raw = false;
        document.text_offset = 0;
    }
    if (document.text.size() > options.text_bytes_max) {
        return text_too_long(options).with(place);
    }
    if (is_blank(document.text)) {
        return fail(ErrorCode::InvalidArgument, "the document holds no text",
                    "Delete it or put text in it; blank documents cannot be searched")
            .with(place);
    }
    make_valid(document.title);
    make_valid(document.author);
    make_valid(document.category);
    return result;
}

}  // namespace px::source
