#include <gtest/gtest.h>

#include <string>

#include "source/document/sample_files.h"

namespace px::source {
namespace {

using namespace std::string_literals;

TEST(PlainText, IsTakenAsItStands) {
    const std::string bytes = "  First line\n\nSecond.\n";
    const auto got = extract(bytes, "notes/a.TXT", {});
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->format, DocumentFormat::PlainText);
    EXPECT_EQ(got->text, bytes);
    EXPECT_TRUE(got->text_is_raw);
    EXPECT_EQ(got->text_offset, 0);
    EXPECT_EQ(got->title, std::nullopt);
}

TEST(PlainText, RecodedTextIsNotRaw) {
    const auto got = extract("a\r\nb", "a.txt", {});
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->text, "a\nb");
    EXPECT_FALSE(got->text_is_raw);
}

TEST(PlainText, BinaryBlankAndEmptyFilesAreRefusedByName) {
    std::string noise;
    for (int i = 0; i < 3000; ++i) noise.push_back(static_cast<char>(i * 31 % 256));
    auto binary = extract(noise, "x.txt", {});
    ASSERT_FALSE(binary.has_value());
    EXPECT_EQ(binary.error().code, ErrorCode::Corrupt);
    EXPECT_NE(binary.error().to_string().find("x.txt"), std::string::npos);
    auto blank = extract(" \n\t\n\xC2\xA0", "x.txt", {});
    ASSERT_FALSE(blank.has_value());
    EXPECT_EQ(blank.error().code, ErrorCode::InvalidArgument);
    for (const char* name : {"x.txt", "x.md", "x.html", "x.pdf", "x.docx"}) {
        auto empty = extract("", name, {});
        ASSERT_FALSE(empty.has_value());
        EXPECT_EQ(empty.error().code, ErrorCode::Corrupt) << name;
        EXPECT_NE(empty.error().message.find("0 bytes"), std::string::npos);
    }
}

TEST(Extract, UnknownTypesAreRefusedWithWhatIsSupported) {
    for (const char* name : {"a.odt", "a", "folder.pdf/a", "a.", "a.tar.gz", ""}) {
        auto got = extract("text", name, {});
        ASSERT_FALSE(got.has_value()) << name;
        EXPECT_EQ(got.error().code, ErrorCode::InvalidArgument);
        EXPECT_NE(got.error().hint.find(".docx"), std::string::npos);
    }
}

TEST(Extract, BoundsAreErrorsNotCuts) {
    ExtractOptions options;
    options.file_bytes_max = 10;
    auto file = extract("0123456789a", "a.txt", options);
    ASSERT_FALSE(file.has_value());
    EXPECT_EQ(file.error().code, ErrorCode::ResourceExhausted);
    options = {};
    options.text_bytes_max = 10;
    for (const char* name : {"a.txt", "a.md", "a.html"}) {
        auto text = extract("0123456789 and more", name, options);
        ASSERT_FALSE(text.has_value()) << name;
        EXPECT_EQ(text.error().code, ErrorCode::ResourceExhausted);
    }
}

TEST(Extract, OptionsOfZeroAreRefused) {
    EXPECT_TRUE(ExtractOptions{}.validate().has_value());
    ExtractOptions options;
    options.html_depth_max = 0;
    auto got = options.validate();
    ASSERT_FALSE(got.has_value());
    EXPECT_NE(got.error().message.find("html_depth_max"), std::string::npos);
}

TEST(Markdown, FrontMatterGivesMetadataAndTheOffsetOfTheText) {
    const std::string bytes =
        "---\ntitle: \"Q2: outlook\" \nauthor: Mara O'Neil  # finance\ndate: 2025-07-14\ncategory: "
        "Finance\n"
        "tags:\n  - a\n  - b\n---\n\n# Heading\n\nText.\n";
    const auto got = extract(bytes, "a.md", {});
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->title, "Q2: outlook");
    EXPECT_EQ(got->author, "Mara O'Neil");
    EXPECT_EQ(got->category, "Finance");
    EXPECT_EQ(format_timestamp(got->created_at.value()), "2025-07-14T00:00:00.000000Z");
    EXPECT_EQ(got->text, "# Heading\n\nText.\n");
    ASSERT_TRUE(got->text_is_raw);
    EXPECT_EQ(bytes.substr(static_cast<size_t>(got->text_offset)), got->text);
}

TEST(Markdown, ListsOfAuthorsAndCategoriesAreRead) {
    const auto flow = extract(
        "---\nauthors: [Ann Lee, \"Bo, Jr.\"]\ncategories: [Risk, Plan]\n---\nx\n", "a.md", {});
    ASSERT_TRUE(flow.has_value());
    EXPECT_EQ(flow->author, "Ann Lee, Bo, Jr.");
    EXPECT_EQ(flow->category, "Risk");
    const auto block = extract("---\nauthor:\n- Ann Lee\n- 'It''s Bo'\n---\nx\n", "a.md", {});
    ASSERT_TRUE(block.has_value());
    EXPECT_EQ(block->author, "Ann Lee, It's Bo");
}

TEST(Markdown, ByteOrderMarkAndFrontMatterAddUpInTheOffset) {
    const std::string bytes = "\xEF\xBB\xBF---\ntitle: T\n---\nText\n";
    const auto got = extract(bytes, "a.md", {});
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->title, "T");
    ASSERT_TRUE(got->text_is_raw);
    EXPECT_EQ(bytes.substr(static_cast<size_t>(got->text_offset)), got->text);
}

TEST(Markdown, ARuleAtTheTopIsNoFrontMatter) {
    for (const std::string& bytes : {"---\n\nA text after a rule.\n\n---\n\nMore.\n"s,
                                     "---\nnever: closed\n"s, "----\na: b\n----\n"s}) {
        const auto got = extract(bytes, "a.md", {});
        ASSERT_TRUE(got.has_value());
        EXPECT_EQ(got->text, bytes);
    }
}

TEST(Markdown, TitleIsTheFirstTopHeadingOutsideOfCode) {
    const auto title = [](std::string_view bytes) {
        return extract(bytes, "a.md", {})->title.value_or("none");
    };
    EXPECT_EQ(title("```\n# not this\n```\n## Sub\n# Real one ##\n"), "Real one");
    EXPECT_EQ(title("Intro\n\nUnderlined\n==========\n"), "Underlined");
    EXPECT_EQ(title("## Only a sub heading\n"), "Only a sub heading");
    EXPECT_EQ(title("#hashtag is no heading\n"), "none");
    EXPECT_EQ(title("# C#\n"), "C#");
}

}  // namespace
}  // namespace px::source
