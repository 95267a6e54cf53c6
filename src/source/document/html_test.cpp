#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "source/document/html_parse.h"
#include "source/document/sample_files.h"
#include "source/document/text_writer.h"

namespace px::source {
namespace {

using sample::text_of;

std::string html(std::string_view body) { return text_of(body, "page.html"); }

TEST(Html, BlocksAreSeparatedByBlankLinesAndSpacesCollapse) {
    EXPECT_EQ(html("<h1>Head</h1><p>One\n  two</p><div>three <b>four</b>!</div>"),
              "Head\n\nOne two\n\nthree four!");
}

TEST(Html, ListItemsAndLineBreaksAreLines) {
    EXPECT_EQ(html("<p>See:</p><ul><li>a</li><li><p>b</p><ol><li>b1<li>b2</ol></li><li>c</"
                   "ul><p>x<br>y</p>"),
              "See:\n\na\nb\nb1\nb2\nc\n\nx\ny");
}

TEST(Html, TwoLineBreaksMakeAParagraph) {
    EXPECT_EQ(html("a<br>b<br><br/>c<br> <br> <br>d"), "a\nb\n\nc\n\nd");
}

TEST(Html, RowsAreLinesAndCellsAreJoined) {
    EXPECT_EQ(html("<table><tr><th>Year</th><th> Revenue "
                   "</th></tr><tr><td><p>2025</p></td><td></td><td>61.8</td></tr>"
                   "<tr><td></td><td>only</td></tr></table>after"),
              "Year | Revenue\n2025 | 61.8\nonly\n\nafter");
    EXPECT_EQ(html("<table><tr><td><table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></"
                   "table></td><td>d</td></tr></table>"),
              "a | b\nc | d");
}

TEST(Html, WhatIsNotShownIsLeftOut) {
    EXPECT_EQ(html("<script>bad()</script><style>p{}</style><body><noscript>on</"
                   "noscript><template><p>t</p></template>"
                   "<p hidden>h</p><p style='color:red; DISPLAY : "
                   "none'>d</p><svg><text>s</text></svg><!-- c --><p>shown</p>"),
              "shown");
}

TEST(Html, EntitiesAreDecoded) {
    EXPECT_EQ(html("<p>R&amp;D &lt;5 &euro;&nbsp;7 &#x1F600; &unknown;</p>"),
              "R&D <5 € 7 \xF0\x9F\x98\x80 &unknown;");
}

TEST(Html, PreKeepsItsLines) {
    EXPECT_EQ(html("<p>a</p><pre>\nx = 1\n  y = 2\n\nz\n</pre><p>b</p>"),
              "a\n\nx = 1\n  y = 2\n\nz\n\nb");
}

TEST(Html, MetadataComesFromTheHead) {
    const auto got = extract(
        "<html><head><title> The\n title </title><meta name=Author content='Ida Berg'>"
        "<meta property='article:published_time' content='2025-03-04T08:00:00+01:00'>"
        "<meta name=keywords content='outlook, finance'></head><body><h1>Other</h1>x</body></html>",
        "a.html", {});
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->title, "The title");
    EXPECT_EQ(got->author, "Ida Berg");
    EXPECT_EQ(got->category, "outlook");
    EXPECT_EQ(format_timestamp(got->created_at.value()), "2025-03-04T07:00:00.000000Z");
    EXPECT_EQ(got->text, "Other\n\nx");
    EXPECT_FALSE(got->text_is_raw);
}

TEST(Html, FirstHeadingIsTheFallbackTitle) {
    EXPECT_EQ(extract("<title>  </title><h1>A <i>big</i> head</h1><h1>B</h1>", "a.htm", {})->title,
              "A big head");
    EXPECT_EQ(extract("<p>none</p>", "a.htm", {})->title, std::nullopt);
}

TEST(Html, CharsetIsReadFromTheMeta) {
    EXPECT_EQ(html("<meta http-equiv=Content-Type content='text/html; "
                   "charset=windows-1251'><p>\xCF\xF0</p>"),
              "Пр");
    EXPECT_EQ(html("<meta charset=\"utf-8\"><p>für</p>"), "für");
    EXPECT_EQ(html("<p>f\xFCr</p>"), "für");
}

TEST(Html, DeepNestingIsRefusedNotCrashedOn) {
    for (const char* tag : {"div", "b", "span", "table><tr><td", "font", "ul><li"}) {
        std::string page;
        for (int i = 0; i < 200'000; ++i) page += fmt::format("<{}>", tag);
        page += "x";
        auto got = extract(page, "deep.html", {});
        ASSERT_FALSE(got.has_value()) << tag;
        EXPECT_EQ(got.error().code, ErrorCode::ResourceExhausted) << got.error().to_string();
    }
}

TEST(Html, NestingBehindMisleadingEndTagsDoesNotOverflowTheStack) {
    // The end tags close nothing inside of a cell, so the tree is deeper than the tags look.
    std::string page;
    for (int i = 0; i < 3000; ++i) page += "<div><table><tr><td></div>";
    page += "bottom";
    EXPECT_NE(html(page).find("bottom"), std::string::npos);
}

TEST(Html, UnclosedParagraphsAndItemsAreNotDeep) {
    std::string page = "<ul>";
    for (int i = 0; i < 20'000; ++i) page += "<li>item<p>text";
    EXPECT_EQ(html_depth_estimate(page, 2000), 1);
    EXPECT_NE(html(page).find("item"), std::string::npos);
}

TEST(Html, DepthSeesThroughCommentsScriptsAndQuotes) {
    EXPECT_EQ(html_depth_estimate(
                  "<!-- <b><b> --><script>'<b><b>'</script><i title=\"<b>\"></i><u></u>", 100),
              1);
    EXPECT_EQ(html_depth_estimate("<a><b></a><c></c>", 100), 2);
}

TEST(Html, MemoryAndTimeAreBounded) {
    std::string page;
    for (int i = 0; i < 50'000; ++i) page += "<p>x</p>";
    ExtractOptions options;
    options.html_memory_max = size_t{4} << 20;
    auto small = extract(page, "a.html", options);
    ASSERT_FALSE(small.has_value());
    EXPECT_EQ(small.error().code, ErrorCode::ResourceExhausted);
    options = {};
    options.deadline = Deadline::after(std::chrono::milliseconds(0));
    auto late = extract(page, "a.html", options);
    ASSERT_FALSE(late.has_value());
    EXPECT_EQ(late.error().code, ErrorCode::DeadlineExceeded);
}

TEST(TextWriter, TheStrongestBreakWins) {
    TextWriter writer(100);
    writer.break_at_least(Break::Paragraph);
    writer.inline_text(" a ");
    writer.break_at_least(Break::Line);
    writer.break_at_least(Break::Space);
    writer.inline_text("b\xC2\xA0 c ");
    EXPECT_EQ(std::move(writer).take(), "a\nb c");
}

}  // namespace
}  // namespace px::source
