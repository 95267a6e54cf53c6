#include "source/document/decode.h"

#include <gtest/gtest.h>

#include <string>

#include "base/utf8.h"

namespace px::source {
namespace {

using namespace std::string_literals;

TEST(Decode, PlainUtf8IsTheFileItself) {
    const auto got = decode_text("Grüße\nzwei\n");
    EXPECT_EQ(got.text, "Grüße\nzwei\n");
    EXPECT_TRUE(got.is_raw);
    EXPECT_EQ(got.raw_offset, 0u);
}

TEST(Decode, Utf8MarkIsSkippedAndCounted) {
    const auto got = decode_text("\xEF\xBB\xBFja\n");
    EXPECT_EQ(got.text, "ja\n");
    EXPECT_TRUE(got.is_raw);
    EXPECT_EQ(got.raw_offset, 3u);
}

TEST(Decode, LineEndsBecomeLfAndNulGoes) {
    const auto got = decode_text("a\r\nb\rc\0d\r\r\ne"s);
    EXPECT_EQ(got.text, "a\nb\ncd\n\ne");
    EXPECT_FALSE(got.is_raw);
}

TEST(Decode, Utf16And32ByMark) {
    EXPECT_EQ(decode_text("\xFF\xFEh\0\xE9\0\x3D\xD8\x00\xDE"s).text, "hé\xF0\x9F\x98\x80");
    EXPECT_EQ(decode_text("\xFE\xFF\0h\0\xE9"s).text, "hé");
    EXPECT_EQ(decode_text("\xFF\xFE\0\0h\0\0\0\x00\xF6\x01\0"s).text, "h\xF0\x9F\x98\x80");
    EXPECT_EQ(decode_text("\0\0\xFE\xFF\0\0\0h"s).text, "h");
}

TEST(Decode, Utf16WithoutMarkIsSeenByItsZeros) {
    EXPECT_EQ(decode_text("h\0e\0l\0l\0o\0"s).text, "hello");
    EXPECT_EQ(decode_text("\0h\0e\0l\0l\0o"s).text, "hello");
}

TEST(Decode, LoneSurrogatesAndHalfUnitsBecomeReplacements) {
    EXPECT_EQ(decode_text("\xFF\xFE\x00\xD8h\0"s).text, "\xEF\xBF\xBDh");
    EXPECT_EQ(decode_text("\xFF\xFEh\0x"s).text, "h\xEF\xBF\xBD");
}

TEST(Decode, NoUtf8MeansWindows1252) {
    EXPECT_EQ(decode_text("f\xFCr 5 \x80 \x96 \x93quoted\x94").text, "für 5 € – “quoted”");
}

TEST(Decode, OneBrokenByteInUtf8StaysUtf8) {
    EXPECT_EQ(decode_text("Grüße an Jürgen \xFF und Käthe").text,
              "Grüße an Jürgen \xEF\xBF\xBD und Käthe");
}

TEST(Decode, DeclaredCharsetIsUsed) {
    EXPECT_EQ(decode_text("\xCF\xF0\xE8\xE2\xE5\xF2", "windows-1251").text, "Привет");
    EXPECT_EQ(decode_text("\x93\xFA\x96\x7B", "Shift_JIS").text, "日本");
    EXPECT_EQ(decode_text("\xE9", "ISO-8859-1").text, "é");
}

TEST(Decode, UnknownOrWrongDeclarationFallsBack) {
    EXPECT_EQ(decode_text("Grüße", "no-such-charset").text, "Grüße");
    EXPECT_EQ(decode_text("Grüße", "utf-16").text, "Grüße");
    EXPECT_EQ(decode_text("gr\xFC\xDF", "utf-8").text, "grüß");
}

TEST(Decode, BinaryIsSeen) {
    std::string noise;
    for (int i = 0; i < 2000; ++i) noise.push_back(static_cast<char>(i * 7 % 256));
    EXPECT_TRUE(looks_binary(decode_text(noise).text));
    EXPECT_FALSE(looks_binary("tabs\tand\nlines\f\n"));
}

TEST(Decode, EveryResultIsValidUtf8) {
    uint64_t seed = 42;
    for (int round = 0; round < 2000; ++round) {
        std::string bytes;
        for (int i = 0; i < round % 64; ++i) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            bytes.push_back(static_cast<char>(seed >> 56));
        }
        const auto got = decode_text(
            bytes, round % 2 == 0 ? std::nullopt : std::optional<std::string_view>("gb18030"));
        ASSERT_TRUE(utf8_is_valid(got.text)) << "round " << round;
        ASSERT_EQ(got.text.find('\0'), std::string::npos);
        if (got.is_raw) {
            ASSERT_EQ(got.text, bytes.substr(got.raw_offset));
        }
    }
}

}  // namespace
}  // namespace px::source
