#include "capi/pdfium/pdfium.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <mutex>
#include <utility>

#include "base/utf8.h"

namespace px::pdfium {
namespace {

// The C interface, as documented in PDFium's public fpdfview.h, fpdf_doc.h and fpdf_text.h.
extern "C" {
struct LibraryConfig {
    int version;  // 2: the fields up to v8_embedder_slot count
    const char** user_font_paths;
    void* isolate;
    unsigned int v8_embedder_slot;
};
using InitLibraryWithConfig = void(const LibraryConfig*);
using LoadMemDocument64 = void*(const void* data, size_t size, const char* password);
using CloseDocument = void(void* document);
using GetLastError = unsigned long();
using GetPageCount = int(void* document);
using GetMetaText = unsigned long(void* document, const char* tag, void* buffer,
                                  unsigned long size);
using LoadPage = void*(void* document, int index);
using ClosePage = void(void* page);
using LoadTextPage = void*(void* page);
using CloseTextPage = void(void* text_page);
using CountChars = int(void* text_page);
using GetUnicode = unsigned int(void* text_page, int index);
using GetFontSize = double(void* text_page, int index);
struct Matrix {
    float a, b, c, d, e, f;
};
using GetMatrix = int(void* text_page, int index, Matrix* matrix);
using GetCharOrigin = int(void* text_page, int index, double* x, double* y);
using GetCharBox = int(void* text_page, int index, double* left, double* right, double* bottom,
                       double* top);
}

constexpr unsigned long kErrorFile = 2;
constexpr unsigned long kErrorFormat = 3;
constexpr unsigned long kErrorPassword = 4;
constexpr unsigned long kErrorSecurity = 5;

struct Library {
    InitLibraryWithConfig* init = nullptr;
    LoadMemDocument64* load_document = nullptr;
    CloseDocument* close_document = nullptr;
    GetLastError* last_error = nullptr;
    GetPageCount* page_count = nullptr;
    GetMetaText* meta_text = nullptr;
    LoadPage* load_page = nullptr;
    ClosePage* close_page = nullptr;
    LoadTextPage* load_text_page = nullptr;
    CloseTextPage* close_text_page = nullptr;
    CountChars* count_chars = nullptr;
    GetUnicode* unicode = nullptr;
    GetFontSize* font_size = nullptr;
    GetMatrix* matrix = nullptr;
    GetCharOrigin* char_origin = nullptr;
    GetCharBox* char_box = nullptr;
    std::mutex mutex;  ///< held for every call
    std::string load_error;
};

std::string path_beside_program() {
    std::array<char, 4096> path{};
    const ssize_t length = readlink("/proc/self/exe", path.data(), path.size());
    if (length <= 0) return {};
    std::string text(path.data(), static_cast<size_t>(length));
    const size_t slash = text.rfind('/');
    if (slash == std::string::npos) return {};
    return text.substr(0, slash) + "/../lib/libpdfium.so";
}

template <class Function>
bool bind(void* handle, const char* name, Function*& function, std::string& error) {
    function = reinterpret_cast<Function*>(dlsym(handle, name));
    if (function == nullptr) error = fmt::format("libpdfium.so has no function {}", name);
    return function != nullptr;
}

void load(Library& lib) {
    void* handle = nullptr;
    if (const std::string beside = path_beside_program(); !beside.empty()) {
        handle = dlopen(beside.c_str(), RTLD_NOW | RTLD_LOCAL);
    }
    if (handle == nullptr) handle = dlopen("libpdfium.so", RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
        const char* reason = dlerror();
        lib.load_error = reason != nullptr ? reason : "libpdfium.so cannot be loaded";
        return;
    }
    std::string& error = lib.load_error;
    const bool bound = bind(handle, "FPDF_InitLibraryWithConfig", lib.init, error) &&
                       bind(handle, "FPDF_LoadMemDocument64", lib.load_document, error) &&
                       bind(handle, "FPDF_CloseDocument", lib.close_document, error) &&
                       bind(handle, "FPDF_GetLastError", lib.last_error, error) &&
                       bind(handle, "FPDF_GetPageCount", lib.page_count, error) &&
                       bind(handle, "FPDF_GetMetaText", lib.meta_text, error) &&
                       bind(handle, "FPDF_LoadPage", lib.load_page, error) &&
                       bind(handle, "FPDF_ClosePage", lib.close_page, error) &&
                       bind(handle, "FPDFText_LoadPage", lib.load_text_page, error) &&
                       bind(handle, "FPDFText_ClosePage", lib.close_text_page, error) &&
                       bind(handle, "FPDFText_CountChars", lib.count_chars, error) &&
                       bind(handle, "FPDFText_GetUnicode", lib.unicode, error) &&
                       bind(handle, "FPDFText_GetFontSize", lib.font_size, error) &&
                       bind(handle, "FPDFText_GetMatrix", lib.matrix, error) &&
                       bind(handle, "FPDFText_GetCharOrigin", lib.char_origin, error) &&
                       bind(handle, "FPDFText_GetCharBox", lib.char_box, error);
    if (!bound) {
        dlclose(handle);
        return;
    }
    // Stays loaded until the process ends: PDFium keeps process-wide state.
    const LibraryConfig config{2, nullptr, nullptr, 0};
    lib.init(&config);
}

Library& library() {
    // Never destroyed, so that a Document may outlive static destruction.
    static Library* const lib = [] {
        auto* made = new Library;
        load(*made);
        return made;
    }();
    return *lib;
}

bool is_line_end(unsigned int code) { return code == '\r' || code == '\n'; }
/// The hyphen PDFium took out at a line end, in its two spellings.
bool is_removed_hyphen(unsigned int code) { return code == 0x02 || code == 0xFFFE; }
bool is_blank(unsigned int code) { return code == ' ' || code == '\t' || code == 0xA0; }

struct PageHandle {
    const Library& lib;
    void* page = nullptr;
    void* text = nullptr;
    explicit PageHandle(const Library& library) : lib(library) {}
    PageHandle(const PageHandle&) = delete;
    PageHandle& operator=(const PageHandle&) = delete;
    ~PageHandle() {
        if (text != nullptr) lib.close_text_page(text);
        if (page != nullptr) lib.close_page(page);
    }
};

/// Places the visible ends of a line. first, last: character indices, first < 0 when nothing is
/// visible.
void place(const Library& lib, void* text, int first, int last, TextLine& line) {
    double left = 0, right = 0, bottom = 0, top = 0;
    if (!lib.char_origin(text, first, &line.start_x, &line.start_y))
        line.start_x = line.start_y = 0;
    line.font_size = lib.font_size(text, first);
    // The size may be 1 with the real one in the text matrix.
    if (Matrix matrix{}; lib.matrix(text, first, &matrix)) {
        const double scale = std::hypot(double{matrix.c}, double{matrix.d});
        if (scale > 0 && std::isfinite(scale)) line.font_size *= scale;
    }
    double x = 0, y = 0;
    line.end_y = lib.char_origin(text, last, &x, &y) ? y : line.start_y;
    line.end_x = lib.char_box(text, last, &left, &right, &bottom, &top) ? right : x;
}

std::string utf16le_to_utf8(const std::vector<unsigned char>& bytes) {
    std::string out;
    const size_t unit_count = bytes.size() / 2;
    const auto unit = [&](size_t i) {
        return static_cast<char32_t>(bytes[2 * i] | (bytes[2 * i + 1] << 8));
    };
    for (size_t i = 0; i < unit_count; ++i) {
        char32_t code = unit(i);
        if (code == 0) continue;
        if (code >= 0xD800 && code < 0xDC00 && i + 1 < unit_count) {
            const char32_t low = unit(i + 1);
            if (low >= 0xDC00 && low < 0xE000) {
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                ++i;
            }
        }
        utf8_append(out, code);
    }
    return out;
}

}  // namespace

struct Document::Handle {
    Library& lib;
    void* document;
    ~Handle() {
        const std::lock_guard lock(lib.mutex);
        lib.close_document(document);
    }
};

Document::Document(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
Document::Document(Document&&) noexcept = default;
Document& Document::operator=(Document&&) noexcept = default;
Document::~Document() = default;

Result<Document> Document::open(std::string_view bytes) {
    Library& lib = library();
    if (!lib.load_error.empty()) {
        return fail(
            ErrorCode::NotFound, fmt::format("cannot load PDFium: {}", lib.load_error),
            "Run `make build` again; it puts libpdfium.so into lib/ beside the program's folder");
    }
    void* document = nullptr;
    unsigned long error = 0;
    {
        const std::lock_guard lock(lib.mutex);
        document = lib.load_document(bytes.data(), bytes.size(), nullptr);
        if (document == nullptr) error = lib.last_error();
    }
    if (document != nullptr) {
        return Document(std::unique_ptr<Handle>(new Handle{lib, document}));
    }
    switch (error) {
        case kErrorPassword:
            return fail(ErrorCode::Forbidden, "the PDF is encrypted and needs a password to open",
                        "Remove the password (for example print it to a new PDF) and run again");
        case kErrorSecurity:
            return fail(ErrorCode::Forbidden,
                        "the PDF uses a security scheme that is not supported",
                        "Remove the protection (for example print it to a new PDF) and run again");
        case kErrorFile:
        case kErrorFormat:
            return fail(ErrorCode::Corrupt, "the PDF is damaged: its structure cannot be read",
                        "Open it in a PDF viewer and save it again, or export it anew");
        default:
            return fail(ErrorCode::Corrupt,
                        fmt::format("the PDF cannot be opened (PDFium error {})", error),
                        "Open it in a PDF viewer and save it again, or export it anew");
    }
}

int Document::page_count() const {
    const std::lock_guard lock(handle_->lib.mutex);
    return handle_->lib.page_count(handle_->document);
}

Result<std::vector<TextLine>> Document::page_lines(int page_index, size_t char_count_max) const {
    const Library& lib = handle_->lib;
    const std::lock_guard lock(handle_->lib.mutex);
    PageHandle page(lib);
    page.page = lib.load_page(handle_->document, page_index);
    if (page.page != nullptr) page.text = lib.load_text_page(page.page);
    if (page.text == nullptr) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("page {} of the PDF is damaged", page_index + 1),
                    "Open it in a PDF viewer and save it again, or export it anew");
    }
    const int char_count = lib.count_chars(page.text);
    std::vector<TextLine> lines;
    if (char_count <= 0) return lines;
    if (static_cast<size_t>(char_count) > char_count_max) {
        return fail(ErrorCode::ResourceExhausted,
                    fmt::format("page {} of the PDF holds {} characters, the limit is {}",
                                page_index + 1, char_count, char_count_max),
                    "Raise the limit of text bytes of a document or split the file");
    }
    TextLine line;
    int first = -1, last = -1;
    const auto finish = [&] {
        if (first >= 0) {
            place(lib, page.text, first, last, line);
            lines.push_back(std::move(line));
        }
        line = TextLine{};
        first = last = -1;
    };
    for (int i = 0; i < char_count; ++i) {
        const unsigned int code = lib.unicode(page.text, i);
        if (is_line_end(code)) {
            finish();
        } else if (is_removed_hyphen(code)) {
            utf8_append(line.text, 0xFFFE);
        } else if (code == '\t' || code >= 0x20) {
            utf8_append(line.text, code);
            if (!is_blank(code)) {
                if (first < 0) first = i;
                last = i;
            }
        }
    }
    finish();
    return lines;
}

std::string Document::meta_text(const char* tag) const {
    const Library& lib = handle_->lib;
    const std::lock_guard lock(handle_->lib.mutex);
    constexpr unsigned long kBytesMax = 64 * 1024;
    const unsigned long size = lib.meta_text(handle_->document, tag, nullptr, 0);
    if (size <= 2 || size > kBytesMax) return {};
    std::vector<unsigned char> buffer(size);
    lib.meta_text(handle_->document, tag, buffer.data(), size);
    return utf16le_to_utf8(buffer);
}

}  // namespace px::pdfium
