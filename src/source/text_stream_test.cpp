#include "source/text_stream.h"

#include <gtest/gtest.h>

#include <string>

#include "base/utf8.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::source {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using px::testing::TempDir;
using px::testing::write_file;

std::string read_text(const std::filesystem::path& path, TextEncoding encoding, size_t step) {
    auto text = open_text(path, encoding);
    EXPECT_THAT(text, IsOk());
    std::string all;
    std::string part(step, '\0');
    for (;;) {
        const auto got = text->stream->read(part.data(), part.size());
        EXPECT_THAT(got, IsOk());
        if (!got || *got == 0) return all;
        all.append(part, 0, *got);
    }
}

TEST(TextStream, DecodesEveryCharacterOfUtf16AtEveryBlockBoundary) {
    const TempDir folder;
    std::string utf8;
    std::string little("\xFF\xFE", 2);
    std::string big("\xFE\xFF", 2);
    const auto append_unit = [&](char32_t unit) {
        little += static_cast<char>(unit & 0xFF);
        little += static_cast<char>(unit >> 8);
        big += static_cast<char>(unit >> 8);
        big += static_cast<char>(unit & 0xFF);
    };
    for (char32_t c = 1; c <= 0x10FFFF; c += c < 0x3000 ? 1 : 17) {
        if (c >= 0xD800 && c <= 0xDFFF) continue;
        utf8_append(utf8, c);
        if (c < 0x10000) {
            append_unit(c);
        } else {
            append_unit(0xD800 + ((c - 0x10000) >> 10));
            append_unit(0xDC00 + ((c - 0x10000) & 0x3FF));
        }
    }
    write_file(folder / "le.txt", little);
    write_file(folder / "be.txt", big);
    for (const size_t step : {1U, 7U, 65536U}) {
        EXPECT_TRUE(read_text(folder / "le.txt", TextEncoding::Auto, step) == utf8) << step;
        EXPECT_TRUE(read_text(folder / "be.txt", TextEncoding::Auto, step) == utf8) << step;
    }
    EXPECT_TRUE(read_text(folder / "le.txt", TextEncoding::Utf16Le, 99) == utf8);
}

TEST(TextStream, DecodesAllBytesOfTheSingleByteEncodings) {
    const TempDir folder;
    std::string bytes;
    std::string latin1;
    for (int c = 0; c < 256; ++c) {
        bytes += static_cast<char>(c);
        utf8_append(latin1, static_cast<char32_t>(c));
    }
    write_file(folder / "x.txt", bytes);
    EXPECT_TRUE(read_text(folder / "x.txt", TextEncoding::Latin1, 10) == latin1);
    const std::string windows = read_text(folder / "x.txt", TextEncoding::Windows1252, 10);
    EXPECT_NE(windows.find("€"), std::string::npos);
    EXPECT_NE(windows.find("Ÿ"), std::string::npos);
    EXPECT_EQ(std::count(windows.begin(), windows.end(), '\xFF'), 5)
        << "bytes without a meaning are marked";
}

TEST(TextStream, KnowsWhereRawTextBegins) {
    const TempDir folder;
    write_file(folder / "plain.txt", "x");
    write_file(folder / "mark.txt", "\xEF\xBB\xBFx");
    write_file(folder / "latin.txt", "\xE9");
    const auto plain = open_text(folder / "plain.txt", TextEncoding::Auto);
    const auto mark = open_text(folder / "mark.txt", TextEncoding::Auto);
    const auto latin = open_text(folder / "latin.txt", TextEncoding::Auto);
    EXPECT_TRUE(plain->is_raw);
    EXPECT_EQ(plain->first_offset, 0);
    EXPECT_TRUE(mark->is_raw);
    EXPECT_EQ(mark->first_offset, 3);
    EXPECT_FALSE(latin->is_raw);
    EXPECT_EQ(latin->encoding, TextEncoding::Windows1252);
}

TEST(TextStream, SniffsByTheFirstMebibyte) {
    std::string sample(kEncodingSampleBytes - 1, 'a');
    sample += '\xC3';  // its second byte lies beyond the sample
    EXPECT_EQ(sniff_encoding(sample), TextEncoding::Utf8);
    EXPECT_EQ(sniff_encoding("caf\xE9"), TextEncoding::Windows1252);
    EXPECT_EQ(sniff_encoding("ab\x82\xA0\x81"), TextEncoding::Utf8)
        << "Shift-JIS is not taken for Windows-1252";
    EXPECT_EQ(sniff_encoding(""), TextEncoding::Utf8);
    EXPECT_EQ(sniff_encoding(std::string("a\0b\0", 4)), TextEncoding::Utf16Le);
    EXPECT_EQ(sniff_encoding(std::string("\0a\0b", 4)), TextEncoding::Utf16Be);
}

TEST(TextStream, KnowsEncodingsByName) {
    for (const TextEncoding encoding :
         {TextEncoding::Auto, TextEncoding::Utf8, TextEncoding::Utf16Le, TextEncoding::Utf16Be,
          TextEncoding::Latin1, TextEncoding::Windows1252}) {
        EXPECT_EQ(*parse_text_encoding(text_encoding_name(encoding)), encoding);
    }
    EXPECT_EQ(*parse_text_encoding("ISO-8859-1"), TextEncoding::Latin1);
    EXPECT_THAT(parse_text_encoding("shift-jis"),
                IsError(ErrorCode::InvalidArgument, "use auto, utf-8"));
}

}  // namespace
}  // namespace px::source
