#include "capi/pdfium/pdfium.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace px::pdfium {
namespace {

/// No cross-reference table: PDFium rebuilds it.
const char* const kSmallPdf =
    "%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n"
    "2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n"
    "3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 300] /Contents 4 0 R /Resources << "
    "/Font << /F << /Type /Font "
    "/Subtype /Type1 /BaseFont /Helvetica >> >> >> >>\nendobj\n"
    "4 0 obj\n<< /Length 68 >>\nstream\nBT /F 12 Tf 1 0 0 1 20 200 Tm (Hello) Tj 1 0 0 1 20 180 Tm "
    "(World) Tj ET\nendstream\nendobj\n"
    "5 0 obj\n<< /Title (T\\366n) >>\nendobj\n"
    "trailer\n<< /Root 1 0 R /Info 5 0 R >>\n%%EOF\n";

TEST(Pdfium, LinesComeWithTheirPlace) {
    auto document = Document::open(kSmallPdf);
    ASSERT_TRUE(document.has_value()) << document.error().to_string();
    EXPECT_EQ(document->page_count(), 1);
    auto lines = document->page_lines(0, 1000);
    ASSERT_TRUE(lines.has_value());
    ASSERT_EQ(lines->size(), 2u);
    EXPECT_EQ(lines->at(0).text, "Hello");
    EXPECT_EQ(lines->at(1).text, "World");
    EXPECT_NEAR(lines->at(0).start_x, 20, 0.01);
    EXPECT_NEAR(lines->at(0).start_y, 200, 0.01);
    EXPECT_NEAR(lines->at(1).end_y, 180, 0.01);
    EXPECT_GT(lines->at(0).end_x, 40);
    EXPECT_NEAR(lines->at(0).font_size, 12, 0.01);
    EXPECT_EQ(document->meta_text("Title"), "Tön");
    EXPECT_EQ(document->meta_text("Author"), "");
}

TEST(Pdfium, TheCharacterBoundIsAnError) {
    auto document = Document::open(kSmallPdf);
    ASSERT_TRUE(document.has_value());
    auto lines = document->page_lines(0, 3);
    ASSERT_FALSE(lines.has_value());
    EXPECT_EQ(lines.error().code, ErrorCode::ResourceExhausted);
}

TEST(Pdfium, GarbageAndMissingPagesAreCorrupt) {
    EXPECT_EQ(Document::open("").error().code, ErrorCode::Corrupt);
    EXPECT_EQ(Document::open("%PDF-1.7\nnothing").error().code, ErrorCode::Corrupt);
    auto document = Document::open(kSmallPdf);
    ASSERT_TRUE(document.has_value());
    EXPECT_EQ(document->page_lines(7, 1000).error().code, ErrorCode::Corrupt);
}

TEST(Pdfium, ManyThreadsTakeTurns) {
    std::vector<std::jthread> threads;
    std::vector<int> good(8, 0);
    for (size_t t = 0; t < good.size(); ++t) {
        threads.emplace_back([&good, t] {
            for (int i = 0; i < 25; ++i) {
                auto document = Document::open(kSmallPdf);
                if (!document) continue;
                auto lines = document->page_lines(0, 1000);
                if (lines && lines->size() == 2 && lines->at(1).text == "World") ++good[t];
            }
        });
    }
    threads.clear();
    for (const int count : good) EXPECT_EQ(count, 25);
}

}  // namespace
}  // namespace px::pdfium
