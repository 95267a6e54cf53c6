// Test support: small PDF and docx files built in memory, and files read from disk. Linked by tests
// only.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zip.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "source/document/extract.h"

namespace px::source::sample {

inline std::string read_file(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    EXPECT_TRUE(in.is_open()) << path;
    std::ostringstream out;
    out << in.rdbuf();
    return std::move(out).str();
}

/// A PDF with one page a text stream ("BT ... ET" operators), font Helvetica as /F1. info: the
/// information dictionary's body.
inline std::string make_pdf(const std::vector<std::string>& pages, std::string_view info = "") {
    std::vector<std::string> objects;
    std::string kids;
    for (size_t i = 0; i < pages.size(); ++i) kids += fmt::format("{} 0 R ", 5 + 2 * i);
    objects.push_back("<< /Type /Catalog /Pages 2 0 R >>");
    objects.push_back(fmt::format("<< /Type /Pages /Kids [{}] /Count {} >>", kids, pages.size()));
    objects.push_back(
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>");
    objects.push_back(fmt::format("<< {} >>", info));
    for (size_t i = 0; i < pages.size(); ++i) {
        objects.push_back(
            fmt::format("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font "
                        "<< /F1 3 0 R >> >> "
                        "/Contents {} 0 R >>",
                        6 + 2 * i));
        objects.push_back(
            fmt::format("<< /Length {} >>\nstream\n{}\nendstream", pages[i].size(), pages[i]));
    }
    std::string out = "%PDF-1.4\n";
    std::vector<size_t> offsets;
    for (size_t i = 0; i < objects.size(); ++i) {
        offsets.push_back(out.size());
        out += fmt::format("{} 0 obj\n{}\nendobj\n", i + 1, objects[i]);
    }
    const size_t xref = out.size();
    out += fmt::format("xref\n0 {}\n0000000000 65535 f \n", objects.size() + 1);
    for (const size_t offset : offsets) out += fmt::format("{:010} 00000 n \n", offset);
    out += fmt::format("trailer\n<< /Size {} /Root 1 0 R /Info 4 0 R >>\nstartxref\n{}\n%%EOF\n",
                       objects.size() + 1, xref);
    return out;
}

/// Lines of a page from y downwards, 14 points apart, 11 point letters; an empty line is a gap.
inline std::string page_of(const std::vector<std::string>& lines) {
    std::string out = "BT /F1 11 Tf\n";
    int y = 780;
    for (const auto& line : lines) {
        if (!line.empty()) out += fmt::format("1 0 0 1 72 {} Tm ({}) Tj\n", y, line);
        y -= 14;
    }
    return out + "ET";
}

using Parts = std::vector<std::pair<std::string, std::string>>;

inline std::string make_zip(const Parts& parts) {
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t* buffer = zip_source_buffer_create(nullptr, 0, 0, &error);
    zip_t* archive = zip_open_from_source(buffer, ZIP_TRUNCATE, &error);
    EXPECT_NE(archive, nullptr);
    zip_source_keep(buffer);
    for (const auto& [name, text] : parts) {
        zip_source_t* source = zip_source_buffer(archive, text.data(), text.size(), 0);
        const zip_int64_t index = zip_file_add(archive, name.c_str(), source, ZIP_FL_ENC_UTF_8);
        EXPECT_GE(index, 0);
        zip_file_set_mtime(archive, static_cast<zip_uint64_t>(index), 315532800, 0);
    }
    EXPECT_EQ(zip_close(archive), 0);
    zip_source_open(buffer);
    zip_source_seek(buffer, 0, SEEK_END);
    std::string out(static_cast<size_t>(zip_source_tell(buffer)), '\0');
    zip_source_seek(buffer, 0, SEEK_SET);
    EXPECT_EQ(zip_source_read(buffer, out.data(), out.size()),
              static_cast<zip_int64_t>(out.size()));
    zip_source_close(buffer);
    zip_source_free(buffer);
    zip_error_fini(&error);
    return out;
}

inline std::string document_xml(std::string_view body) {
    return fmt::format(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><w:document "
        "xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\" "
        "xmlns:mc=\"http://schemas.openxmlformats.org/markup-compatibility/2006\"><w:body>{}</"
        "w:body></w:document>",
        body);
}

inline std::string make_docx(std::string_view body, Parts more = {}) {
    Parts parts{{"word/document.xml", document_xml(body)}};
    for (auto& part : more) parts.push_back(std::move(part));
    return make_zip(parts);
}

inline std::string text_of(std::string_view bytes, std::string_view name) {
    auto result = extract(bytes, name, {});
    EXPECT_TRUE(result.has_value()) << result.error().to_string();
    return result ? result->text : std::string();
}

}  // namespace px::source::sample
