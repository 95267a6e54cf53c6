// Seeded random damage to files of every format: extract() must answer with valid text or an error,
// always.
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "source/document/sample_files.h"

namespace px::source {
namespace {

/// Flips, overwrites, deletes, repeats and cuts a few places.
std::string mutate(std::string bytes, std::mt19937_64& random) {
    const auto below = [&](size_t n) {
        return n == 0 ? size_t{0} : static_cast<size_t>(random() % n);
    };
    const size_t change_count = 1 + below(6);
    for (size_t i = 0; i < change_count && !bytes.empty(); ++i) {
        const size_t at = below(bytes.size());
        const size_t length = 1 + below(std::min<size_t>(bytes.size() - at, 32));
        switch (below(6)) {
            case 0:
                bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
                break;
            case 1:
                bytes[at] = static_cast<char>(random());
                break;
            case 2:
                bytes.erase(at, length);
                break;
            case 3:
                bytes.insert(at, bytes.substr(at, length));
                break;
            case 4:
                bytes.insert(below(bytes.size()), bytes.substr(at, length));
                break;
            default:
                if (below(8) == 0) bytes.resize(at);
                break;
        }
    }
    return bytes;
}

void check_mutations(const std::vector<std::string>& seeds, std::string_view name,
                     int round_count) {
    int extracted = 0;
    for (int round = 0; round < round_count; ++round) {
        std::mt19937_64 random(static_cast<uint64_t>(round) * 7919 + name.size());
        const std::string bytes = mutate(seeds[static_cast<size_t>(round) % seeds.size()], random);
        ExtractOptions options;
        options.unpacked_bytes_max = size_t{16} << 20;
        options.deadline = Deadline::after(std::chrono::seconds(20));
        const auto got = extract(bytes, name, options);
        if (got) {
            ++extracted;
            ASSERT_TRUE(utf8_is_valid(got->text)) << name << " round " << round;
            ASSERT_EQ(got->text.find('\0'), std::string::npos) << name << " round " << round;
            for (const auto* value : {&got->title, &got->author, &got->category}) {
                ASSERT_TRUE(utf8_is_valid(value->value_or(""))) << name << " round " << round;
            }
            if (got->text_is_raw) {
                ASSERT_EQ(bytes.substr(static_cast<size_t>(got->text_offset), got->text.size()),
                          got->text);
            }
        } else {
            ASSERT_FALSE(got.error().message.empty()) << name << " round " << round;
            ASSERT_NE(got.error().code, ErrorCode::Internal) << name << " round " << round;
            ASSERT_NE(got.error().code, ErrorCode::DeadlineExceeded) << name << " round " << round;
        }
    }
    EXPECT_GT(extracted, 0) << name << ": every mutation was refused, so nothing was exercised";
}

const std::string kDocs = PX_SOURCE_DIR "/../shared/data/docs/unstructured/";

TEST(Mutations, OfTextAndMarkdownAreSurvived) {
    const std::string md =
        "---\ntitle: \"A\"\nauthor: [B, 'C']\ndate: 2025-01-02\n---\n# "
        "Head\n\n```\ncode\n```\nText — ü.\n";
    check_mutations({md}, "m.md", 500);
    check_mutations({md, sample::read_file(kDocs + "fake-text-utf-16.txt"),
                     sample::read_file(kDocs + "fake-text-utf-32.txt")},
                    "m.txt", 300);
}

TEST(Mutations, OfHtmlAreSurvived) {
    check_mutations(
        {sample::read_file(kDocs + "fake-html.html"), sample::read_file(kDocs + "ideas-page.html"),
         sample::read_file(kDocs + "example-steelJIS-datasheet-utf-16.html"),
         "<html><head><meta "
         "charset=utf-8><title>T</title></head><body><table><tr><td>a<td><pre>b\n c</pre></table>"
         "<ul><li>x<li "
         "hidden>y</ul><svg><title>z</title></svg><template><p>q</template><select><option>o</"
         "select>"},
        "m.html", 400);
}

TEST(Mutations, OfPdfAreSurvived) {
    check_mutations({sample::make_pdf({sample::page_of({"One line.", "Another line."}),
                                       sample::page_of({"Page two."})},
                                      "/Title (T) /Author (A) /CreationDate (D:20250101)"),
                     sample::read_file(kDocs + "rotated-page-90.pdf"),
                     sample::read_file(kDocs + "pdf/embedded-cmap-cidfont.pdf"),
                     sample::read_file(kDocs + "pdf/fake-memo.pdf")},
                    "m.pdf", 400);
}

TEST(Mutations, OfDocxAreSurvived) {
    check_mutations({sample::read_file(kDocs + "teams_chat.docx"),
                     sample::read_file(kDocs + "docx-tables.docx"),
                     sample::read_file(kDocs + "docx-shapes.docx")},
                    "m.docx", 300);
}

TEST(Mutations, OfDocxXmlAreSurvived) {
    // Damage inside the parts, which the zip's checksums would hide.
    const std::string body =
        "<w:p><w:pPr><w:pStyle "
        "w:val=\"Heading1\"/></w:pPr><w:r><w:t>Head</w:t></w:r></"
        "w:p><w:tbl><w:tr><w:tc><w:p><w:r><w:t>a</w:t>"
        "</w:r></w:p></w:tc><w:tc><w:p/></w:tc></w:tr></w:tbl><w:p><w:r><w:t>Text &amp; "
        "more</w:t><w:br/><w:tab/></w:r></w:p>";
    int extracted = 0;
    for (int round = 0; round < 500; ++round) {
        std::mt19937_64 random(static_cast<uint64_t>(round) + 1);
        const std::string bytes =
            sample::make_zip({{"word/document.xml", mutate(sample::document_xml(body), random)}});
        const auto got = extract(bytes, "m.docx", {});
        if (got) {
            ++extracted;
            ASSERT_TRUE(utf8_is_valid(got->text)) << "round " << round;
        } else {
            ASSERT_NE(got.error().code, ErrorCode::Internal) << "round " << round;
        }
    }
    EXPECT_GT(extracted, 50);
}

}  // namespace
}  // namespace px::source
