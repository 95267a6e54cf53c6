#include <gtest/gtest.h>

#include <ctime>
#include <string>

#include "source/document/sample_files.h"

namespace px::source {
namespace {

using sample::make_docx;
using sample::make_zip;
using sample::text_of;

std::string docx(std::string_view body) { return text_of(make_docx(body), "a.docx"); }

TEST(Docx, ParagraphsRunsTabsAndBreaks) {
    EXPECT_EQ(docx("<w:p><w:r><w:t>One</w:t></w:r><w:r><w:t xml:space=\"preserve\"> "
                   "two</w:t><w:tab/><w:t>three</w:t><w:br/>"
                   "<w:t>four</w:t></w:r></w:p><w:p/><w:p><w:r><w:t>Five</w:t><w:noBreakHyphen/"
                   "><w:t>six &amp; ü</w:t></w:r></w:p>"),
              "One two three\nfour\n\nFive-six & ü");
}

TEST(Docx, ListItemsAreLines) {
    const std::string item = "<w:p><w:pPr><w:numPr/></w:pPr><w:r><w:t>{}</w:t></w:r></w:p>";
    EXPECT_EQ(docx("<w:p><w:r><w:t>See</w:t></w:r></w:p>" + fmt::format(fmt::runtime(item), "a") +
                   fmt::format(fmt::runtime(item), "b") + "<w:p><w:r><w:t>End</w:t></w:r></w:p>"),
              "See\n\na\nb\n\nEnd");
}

TEST(Docx, TablesAreRowsOfCells) {
    const auto cell = [](std::string_view text) {
        return fmt::format("<w:tc><w:tcPr/><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:tc>", text);
    };
    EXPECT_EQ(docx("<w:p><w:r><w:t>T</w:t></w:r></w:p><w:tbl><w:tblPr/><w:tr>" + cell("a") +
                   cell("b") + "</w:tr><w:tr>" + cell("") + cell("c") +
                   "</w:tr></w:tbl><w:p><w:r><w:t>U</w:t></w:r></w:p>"),
              "T\n\na | b\nc\n\nU");
}

TEST(Docx, DeletedHiddenAndFieldCodesAreLeftOut) {
    EXPECT_EQ(docx("<w:p><w:del><w:r><w:delText>gone</w:delText></w:r></"
                   "w:del><w:ins><w:r><w:t>new</w:t></w:r></w:ins>"
                   "<w:r><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t></w:r><w:r><w:rPr><w:vanish "
                   "w:val=\"0\"/></w:rPr><w:t>seen</w:t></w:r>"
                   "<w:r><w:instrText>PAGE</w:instrText></w:r></w:p>"),
              "newseen");
}

TEST(Docx, AlternateContentIsReadOnce) {
    EXPECT_EQ(docx("<w:p><w:r><mc:AlternateContent><mc:Choice><w:t>once</w:t></"
                   "mc:Choice><mc:Fallback><w:t>twice</w:t></mc:Fallback>"
                   "</mc:AlternateContent></w:r></w:p>"),
              "once");
}

TEST(Docx, AlternateContentIsReadInLinearTime) {
    std::string body = "<w:p><w:r><mc:AlternateContent>";
    for (int i = 0; i < 300'000; ++i) body += "<mc:Fallback/>";
    body += "<mc:Fallback><w:t>end</w:t></mc:Fallback></mc:AlternateContent></w:r></w:p>";
    const std::clock_t start = std::clock();
    EXPECT_EQ(docx(body), "end");
    EXPECT_LT(std::clock() - start, 20 * CLOCKS_PER_SEC);
}

TEST(Docx, AlternateContentMayNest) {
    EXPECT_EQ(docx("<w:p><w:r><mc:AlternateContent><mc:Choice><mc:AlternateContent><mc:Fallback>"
                   "<w:t>in</w:t></mc:Fallback></mc:AlternateContent><w:t> first</w:t></mc:Choice>"
                   "<mc:Choice><w:t>second</w:t></mc:Choice><mc:Fallback><w:t>last</w:t>"
                   "</mc:Fallback></mc:AlternateContent></w:r></w:p>"),
              "in first");
}

TEST(Docx, NotesFollowTheText) {
    const std::string notes =
        "<w:footnotes xmlns:w=\"x\"><w:footnote "
        "w:type=\"separator\"><w:p><w:r><w:t>no</w:t></w:r></w:p></w:footnote>"
        "<w:footnote w:id=\"2\"><w:p><w:r><w:t>A "
        "note.</w:t></w:r></w:p></w:footnote></w:footnotes>";
    EXPECT_EQ(
        text_of(make_docx("<w:p><w:r><w:t>Body</w:t></w:r></w:p>", {{"word/footnotes.xml", notes}}),
                "a.docx"),
        "Body\n\nA note.");
}

TEST(Docx, CorePropertiesAreRead) {
    const std::string core =
        "<cp:coreProperties xmlns:cp=\"c\" xmlns:dc=\"d\" xmlns:dcterms=\"t\"><dc:title>Plan "
        "2026</dc:title>"
        "<dc:creator>Ida "
        "Berg</dc:creator><dcterms:created>2025-03-04T10:00:00Z</"
        "dcterms:created><cp:keywords>Risk, Plan</cp:keywords>"
        "</cp:coreProperties>";
    const auto got =
        extract(make_docx("<w:p><w:r><w:t>x</w:t></w:r></w:p>", {{"docProps/core.xml", core}}),
                "a.docx", {});
    ASSERT_TRUE(got.has_value()) << got.error().to_string();
    EXPECT_EQ(got->title, "Plan 2026");
    EXPECT_EQ(got->author, "Ida Berg");
    EXPECT_EQ(got->category, "Risk");
    EXPECT_EQ(format_timestamp(got->created_at.value()), "2025-03-04T10:00:00.000000Z");
}

TEST(Docx, HeadingIsTheFallbackTitleWhateverTheStyleIdsLanguage) {
    const std::string styles =
        "<w:styles xmlns:w=\"x\"><w:style w:styleId=\"berschrift1\"><w:name w:val=\"heading "
        "1\"/></w:style></w:styles>";
    const auto got =
        extract(make_docx("<w:p><w:r><w:t>Intro</w:t></w:r></w:p><w:p><w:pPr><w:pStyle "
                          "w:val=\"berschrift1\"/></w:pPr><w:r>"
                          "<w:t>Kapitel</w:t></w:r></w:p>",
                          {{"word/styles.xml", styles}}),
                "a.docx", {});
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ(got->title, "Kapitel");
}

TEST(Docx, MissingPartIsNamed) {
    auto got = extract(make_zip({{"other.xml", "<a/>"}}), "a.docx", {});
    ASSERT_FALSE(got.has_value());
    EXPECT_EQ(got.error().code, ErrorCode::Corrupt);
    EXPECT_NE(got.error().message.find("word/document.xml"), std::string::npos);
}

TEST(Docx, DamageIsNamed) {
    auto broken_xml =
        extract(make_zip({{"word/document.xml", "<w:document><w:body>"}}), "a.docx", {});
    ASSERT_FALSE(broken_xml.has_value());
    EXPECT_EQ(broken_xml.error().code, ErrorCode::Corrupt);
    EXPECT_NE(broken_xml.error().message.find("word/document.xml"), std::string::npos);
    auto no_zip = extract("no zip at all", "a.docx", {});
    ASSERT_FALSE(no_zip.has_value());
    EXPECT_EQ(no_zip.error().code, ErrorCode::Corrupt);
    std::string cut = make_docx("<w:p><w:r><w:t>x</w:t></w:r></w:p>");
    cut.resize(cut.size() / 2);
    EXPECT_EQ(extract(cut, "a.docx", {}).error().code, ErrorCode::Corrupt);
}

TEST(Docx, EncryptedAndOldFormatsAreToldApart) {
    const std::string ole("\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1");
    std::string encrypted = ole;
    for (const char c : std::string("EncryptedPackage")) (encrypted += c) += '\0';
    EXPECT_EQ(extract(encrypted, "a.docx", {}).error().code, ErrorCode::Forbidden);
    EXPECT_EQ(extract(ole + "WordDocument", "a.docx", {}).error().code, ErrorCode::Corrupt);
}

TEST(Docx, ZipBombStopsAtTheBound) {
    const std::string bomb = make_docx("<w:p>" + std::string(50'000'000, ' ') + "</w:p>");
    ASSERT_LT(bomb.size(), 200'000u);
    ExtractOptions options;
    options.unpacked_bytes_max = 1'000'000;
    auto got = extract(bomb, "a.docx", options);
    ASSERT_FALSE(got.has_value());
    EXPECT_EQ(got.error().code, ErrorCode::ResourceExhausted) << got.error().to_string();
}

TEST(Docx, DeepNestingIsWalkedWithoutRecursion) {
    std::string body;
    for (int i = 0; i < 200'000; ++i) body += "<w:sdt>";
    body += "<w:p><w:r><w:t>deep</w:t></w:r></w:p>";
    for (int i = 0; i < 200'000; ++i) body += "</w:sdt>";
    EXPECT_EQ(docx(body), "deep");
}

}  // namespace
}  // namespace px::source
