#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "source/document/pdf_reflow.h"
#include "source/document/sample_files.h"

namespace px::source {
namespace {

using pdfium::TextLine;
using sample::make_pdf;
using sample::page_of;

TextLine line(std::string text, double x, double y, double right, double size = 10) {
    return {std::move(text), x, y, right, y, size};
}

TEST(Pdf, TextMetadataAndPagesAreRead) {
    const std::string pdf =
        make_pdf({page_of({"First page."}), page_of({}), page_of({"Third page."})},
                 "/Title (Microsoft Word - Plan) /Author (Ida Berg) /CreationDate "
                 "(D:20250304101500+01'00') /Keywords (Plan; Finance)");
    const auto got = extract(pdf, "a.pdf", {});
    ASSERT_TRUE(got.has_value()) << got.error().to_string();
    EXPECT_EQ(got->text, "First page.\n\nThird page.");
    EXPECT_EQ(got->page_count, 3);
    EXPECT_EQ(got->title, "Plan");
    EXPECT_EQ(got->author, "Ida Berg");
    EXPECT_EQ(got->category, "Plan");
    EXPECT_EQ(format_timestamp(got->created_at.value()), "2025-03-04T09:15:00.000000Z");
}

TEST(Pdf, WrappedLinesAreJoinedAndParagraphsKept) {
    const std::string pdf = make_pdf(
        {page_of({"Revenue of the group grew in the first half of the year and",
                  "reached the level that had been planned for it, which is", "good.", "",
                  "The second paragraph begins here and it goes on to the", "next line."})});
    EXPECT_EQ(
        sample::text_of(pdf, "a.pdf"),
        "Revenue of the group grew in the first half of the year and reached the level that had "
        "been planned for it, "
        "which is good.\n\nThe second paragraph begins here and it goes on to the next line.");
}

TEST(Pdf, PagesWithoutTextAreAClearError) {
    auto got = extract(make_pdf({"", ""}), "scan.pdf", {});
    ASSERT_FALSE(got.has_value());
    EXPECT_EQ(got.error().code, ErrorCode::InvalidArgument);
    EXPECT_NE(got.error().message.find("no text layer"), std::string::npos);
    EXPECT_NE(got.error().hint.find("OCR"), std::string::npos);
}

TEST(Pdf, OtherAndDamagedBytesAreCorrupt) {
    for (const std::string& bytes :
         {std::string("hello"), std::string("%PDF-1.4\ngarbage"), std::string("%PDF-")}) {
        auto got = extract(bytes, "a.pdf", {});
        ASSERT_FALSE(got.has_value());
        EXPECT_EQ(got.error().code, ErrorCode::Corrupt) << got.error().to_string();
        EXPECT_FALSE(got.error().hint.empty());
    }
}

TEST(Pdf, PageLimitAndDeadlineHold) {
    const std::string pdf = make_pdf({page_of({"a"}), page_of({"b"})});
    ExtractOptions options;
    options.page_count_max = 1;
    EXPECT_EQ(extract(pdf, "a.pdf", options).error().code, ErrorCode::ResourceExhausted);
    options = {};
    options.deadline = Deadline::after(std::chrono::milliseconds(0));
    EXPECT_EQ(extract(pdf, "a.pdf", options).error().code, ErrorCode::DeadlineExceeded);
    options = {};
    options.text_bytes_max = 1;
    EXPECT_EQ(extract(pdf, "a.pdf", options).error().code, ErrorCode::ResourceExhausted);
}

TEST(Reflow, HyphensAtLineEndsAreJoinedIntoWords) {
    EXPECT_EQ(reflow({line("the easy reuse of im\xEF\xBF\xBEportant work", 0, 100, 200)}),
              "the easy reuse of important work");
    EXPECT_EQ(reflow({line("a strong Lucene\xEF\xBF\xBE"
                           "BM25 system",
                           0, 100, 200)}),
              "a strong Lucene-BM25 system");
}

TEST(Reflow, RaisedFiguresStayInTheirLine) {
    EXPECT_EQ(reflow({line("Zejiang Shen", 0, 100, 60), line("1", 61, 104, 64, 7),
                      line(", Ruochen Zhang", 65, 100, 140)}),
              "Zejiang Shen1, Ruochen Zhang");
}

TEST(Reflow, TableRowsStayLines) {
    EXPECT_EQ(reflow({line("Revenue 2024 58.1", 0, 100, 200), line("Revenue 2025 61.8", 0, 88, 200),
                      line("Costs 2025 44.0", 0, 76, 200)}),
              "Revenue 2024 58.1\nRevenue 2025 61.8\nCosts 2025 44.0");
}

TEST(Reflow, HeadingsAndGapsAreParagraphs) {
    EXPECT_EQ(reflow({line("Outlook", 0, 200, 60, 16), line("We expect growth.", 0, 180, 90),
                      line("And more.", 0, 168, 60), line("Later.", 0, 130, 40)}),
              "Outlook\n\nWe expect growth.\nAnd more.\n\nLater.");
}

TEST(Reflow, ASentenceGoesOnInTheNextColumn) {
    EXPECT_EQ(reflow({line("a sentence that fills its whole narrow column and", 0, 112, 200),
                      line("breaks off at the very end of the column before", 0, 100, 200),
                      line("the last word.", 300, 700, 350)}),
              "a sentence that fills its whole narrow column and breaks off at the very end of the "
              "column before the last word.");
}

}  // namespace
}  // namespace px::source
