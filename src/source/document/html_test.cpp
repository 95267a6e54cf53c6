#include <gtest/gtest.h>

#include <chrono>
#include <ctime>
#include <random>
#include <string>
#include <string_view>
#include <vector>

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

TEST(Html, NestingIsBoundedWhateverHidesIt) {
    const std::string deep = [] {
        std::string tags;
        for (int i = 0; i < 200'000; ++i) tags += "<div>";
        return tags;
    }();
    const auto repeated = [](std::string_view part, int count) {
        std::string text;
        for (int i = 0; i < count; ++i) text += part;
        return text;
    };
    for (const std::string& page :
         {"<!--><body>" + deep + "x",         // an empty comment, not the start of one
          "<!---><body>" + deep + "x",        // likewise
          "<p><a b=c\">" + deep + "x",        // a quote that opens no value
          "<p><a b=\"c\"d=e'>" + deep + "x",  //
          "<select><title>" + deep + "x",     // no title, so no text up to its end tag
          "<svg><style>" + repeated("<g>", 100'000) + "x",  // no raw text in SVG
          "<body><frameset><noframes></noframes></frameset>" + deep + "x<svg>" +
              repeated("<g>", 100'000),
          "<svg><![CDATA[ <!-- ]]></svg><!-- x --!>" + deep + "x",
          repeated("<div><table><tr><td></div>", 3000) + "x",  // end tags that close nothing
          "<!--><body>" + deep + "<frameset>"}) {
        const std::clock_t start = std::clock();
        const auto got = extract(page, "deep.html", {});
        EXPECT_LT(std::clock() - start, 20 * CLOCKS_PER_SEC) << page.substr(0, 60);
        if (got) {
            EXPECT_NE(got->text.find('x'), std::string::npos) << page.substr(0, 60);
        } else {
            EXPECT_TRUE(got.error().code == ErrorCode::ResourceExhausted ||
                        got.error().code == ErrorCode::InvalidArgument)
                << page.substr(0, 60) << got.error().to_string();
        }
    }
    EXPECT_EQ(extract("<!--><body>" + deep + "x", "a.html", {}).error().code,
              ErrorCode::ResourceExhausted);
    EXPECT_EQ(extract("<a b=c\">" + deep + "x", "a.html", {}).error().code,
              ErrorCode::ResourceExhausted);
}

TEST(Html, DepthIsThatOfTheTree) {
    ExtractOptions options;
    options.html_depth_max = 40;
    const auto page = [](int depth) {
        std::string text;
        for (int i = 0; i < depth; ++i) text += "<div>";
        return text + "bottom";
    };
    EXPECT_TRUE(extract(page(38), "a.html", options).has_value()) << "html and body are two";
    const auto deeper = extract(page(39), "a.html", options);
    ASSERT_FALSE(deeper.has_value());
    EXPECT_NE(deeper.error().message.find("more than 40 elements"), std::string::npos);
    // What looks like tags in comments, scripts and values does not count, nor do items.
    std::string flat = "<!-- " + page(100) + " --><script>'" + page(100) + "'</script><i title=\"" +
                       page(100) + "\"></i><ul>";
    for (int i = 0; i < 20'000; ++i) flat += "<li>item<p>text";
    EXPECT_TRUE(extract(flat, "a.html", options).has_value());
}

TEST(Html, LargeFilesMayNestLess) {
    // gumbo looks through all open elements for every character of bold text.
    std::string page = "<body>";
    for (int i = 0; i < 1'500; ++i) page += "<div>";
    page += "<b>";
    page += std::string(size_t{60} << 20, 'x');
    const std::clock_t start = std::clock();
    const auto got = extract(page, "large.html", {});
    EXPECT_LT(std::clock() - start, 20 * CLOCKS_PER_SEC);
    ASSERT_FALSE(got.has_value());
    EXPECT_EQ(got.error().code, ErrorCode::ResourceExhausted);
}

TEST(Html, TagSoupTakesBoundedTime) {
    const std::vector<std::string_view> pieces{"<div>",       "</div>",
                                               "<b>",         "</b>",
                                               "<a href=x>",  "</a>",
                                               "<i class='q", "'>",
                                               "<!--",        "-->",
                                               "<!-->",       "<table>",
                                               "<tr>",        "<td>",
                                               "</table>",    "<p>",
                                               "</p>",        "<font size=",
                                               "\">",         "<svg>",
                                               "</svg>",      "<style>",
                                               "</style>",    "<script>",
                                               "</script>",   "<select>",
                                               "<option>",    "</select>",
                                               "<title>",     "</title>",
                                               "<template>",  "</template>",
                                               "<nobr>",      "<frameset>",
                                               "<textarea>",  "</textarea>",
                                               "<![CDATA[",   "]]>",
                                               "<math><mi>",  "<ul><li>",
                                               "word ",       "&amp;",
                                               "<",           ">",
                                               "<plaintext",  "<em x=1 y=2 z=3>",
                                               "<h1>",        "</h1>",
                                               "<form>",      "<button>",
                                               "<applet>"};
    for (uint64_t seed = 1; seed <= 60; ++seed) {
        std::mt19937_64 random(seed);
        // Few kinds of pieces a page, so that some pages nest or repeat one thing without end.
        std::vector<std::string_view> chosen;
        for (size_t i = 0, count = 2 + random() % 8; i < count; ++i)
            chosen.push_back(pieces[random() % pieces.size()]);
        std::string page;
        while (page.size() < 200'000) page += chosen[random() % chosen.size()];
        ExtractOptions options;
        options.html_memory_max = size_t{64} << 20;
        const std::clock_t start = std::clock();
        const auto got = extract(page, "soup.html", options);
        EXPECT_LT(std::clock() - start, 20 * CLOCKS_PER_SEC) << "seed " << seed;
        if (!got) {
            EXPECT_NE(got.error().code, ErrorCode::Internal) << "seed " << seed;
        }
    }
}

TEST(Extract, ADocumentThatTakesTooLongIsRefusedAndDoesNotEndTheRun) {
    std::string page;
    for (int i = 0; i < 50'000; ++i) page += "<p>x</p>";
    ExtractOptions options;
    options.time_max = std::chrono::milliseconds(1);
    const auto slow = extract(page, "slow.html", options);
    ASSERT_FALSE(slow.has_value());
    EXPECT_EQ(slow.error().code, ErrorCode::ResourceExhausted) << "the document's own limit";
    EXPECT_NE(slow.error().message.find("longer than 1 ms"), std::string::npos)
        << slow.error().message;
    options.time_max = std::chrono::milliseconds(0);
    EXPECT_EQ(extract(page, "slow.html", options).error().code, ErrorCode::InvalidArgument);
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
