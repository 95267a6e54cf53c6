#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <chrono>
#include <fstream>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "chunk/chunk.h"

namespace px::chunk {
namespace {

using testing::ElementsAre;
namespace json = boost::json;

std::vector<std::string> chunks(std::string_view text, const SplitterOptions& options) {
    const auto spans = split(text, options);
    EXPECT_TRUE(spans) << spans.error().to_string();
    std::vector<std::string> parts;
    for (const Span& span : spans.value()) {
        parts.emplace_back(text.substr(static_cast<size_t>(span.start),
                                       static_cast<size_t>(span.end - span.start)));
    }
    return parts;
}

SplitterOptions options(int64_t size, int64_t overlap) {
    SplitterOptions made;
    made.size = size;
    made.overlap = overlap;
    return made;
}

TEST(Splitter, CutsEveryCaseOfTheTableAsWrittenThere) {
    std::ifstream file(PX_SOURCE_DIR "/tests/cases/chunk/split.case");
    ASSERT_TRUE(file.is_open());
    std::string line;
    size_t cases = 0;
    while (std::getline(file, line)) {
        if (line.empty() || line[0] == '#') continue;
        boost::system::error_code code;
        const json::value value = json::parse(line, code);
        ASSERT_FALSE(code) << line;
        const json::object& object = value.as_object();
        SplitterOptions made =
            options(object.at("size").as_int64(), object.at("overlap").as_int64());
        if (object.contains("separators")) {
            made.separators.clear();
            for (const auto& item : object.at("separators").as_array()) {
                made.separators.emplace_back(item.as_string());
            }
        }
        std::vector<std::string> expected;
        for (const auto& item : object.at("chunks").as_array())
            expected.emplace_back(item.as_string());
        EXPECT_EQ(chunks(std::string_view(object.at("text").as_string()), made), expected) << line;
        ++cases;
    }
    EXPECT_GE(cases, 20U);
}

TEST(Splitter, GivesByteOffsetsIntoTheSourceText) {
    const std::string text = "  größer  \n\n  日本語 テキスト  ";
    const auto spans = split(text, options(16, 0)).value();
    ASSERT_EQ(spans.size(), 2U);
    EXPECT_EQ(text.substr(2, 8), "größer");
    EXPECT_EQ(spans[0], (Span{2, 10}));
    EXPECT_EQ(text.substr(static_cast<size_t>(spans[1].start),
                          static_cast<size_t>(spans[1].end - spans[1].start)),
              "日本語 テキスト");
}

TEST(Splitter, FindsNothingInAnEmptyOrWhiteText) {
    EXPECT_TRUE(chunks("", options(10, 2)).empty());
    EXPECT_TRUE(chunks(" \n\t\xC2\xA0 ", options(10, 2)).empty());
}

TEST(Splitter, RefusesOptionsItCannotObeyAndNamesThem) {
    for (const auto& [size, overlap] :
         {std::pair<int64_t, int64_t>{0, 0}, {-5, 0}, {10, 10}, {10, -1}}) {
        const auto refused = split("text", options(size, overlap));
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, ErrorCode::InvalidArgument);
        EXPECT_THAT(refused.error().message, testing::HasSubstr("chunk."));
        EXPECT_FALSE(refused.error().hint.empty());
    }
    SplitterOptions none;
    none.separators.clear();
    EXPECT_EQ(split("text", none).error().code, ErrorCode::InvalidArgument);
    SplitterOptions broken;
    broken.separators = {"\xFF"};
    EXPECT_EQ(split("text", broken).error().code, ErrorCode::InvalidArgument);
}

TEST(Splitter, KeepsTimeLinearOnFiftyMegabytesWhateverTheirShape) {
    const size_t bytes = size_t{50} << 20;
    std::string words;
    while (words.size() < bytes) words += "lorem ipsum dolor sit amet consetetur ";
    const std::string blank(bytes, '\n');
    const std::string solid(bytes, 'x');
    std::string wide;
    while (wide.size() < bytes) wide += "語";
    for (const std::string* text :
         std::initializer_list<const std::string*>{&words, &blank, &solid, &wide}) {
        const auto start = std::chrono::steady_clock::now();
        const auto spans = split(*text, SplitterOptions{});
        const auto elapsed = std::chrono::steady_clock::now() - start;
        ASSERT_TRUE(spans);
        EXPECT_LT(elapsed, std::chrono::seconds(20));
        if (text == &blank) {
            EXPECT_TRUE(spans->empty());
        } else {
            EXPECT_GT(spans->size(), text->size() / 3 / 500);
            EXPECT_EQ(spans->back().end, static_cast<int64_t>(text->find_last_not_of(' ') + 1));
        }
    }
}

TEST(Splitter, StaysInsideTheTextOnSeededRandomBytes) {
    for (uint32_t seed = 1; seed <= 500; ++seed) {
        std::mt19937 random(seed);
        std::string text;
        const size_t length = random() % 400;
        for (size_t i = 0; i < length; ++i) {
            text.push_back(random() % 3 == 0 ? " \n\t\xC2\xA0\xE3\x80"[random() % 7]
                                             : static_cast<char>(random() % 256));
        }
        SplitterOptions made = options(1 + static_cast<int64_t>(random() % 40), 0);
        made.overlap = static_cast<int64_t>(random() % static_cast<uint32_t>(made.size));
        const std::string clean = utf8_sanitize(text);
        for (const std::string* input : {&std::as_const(text), &clean}) {
            const auto spans = split(*input, made);
            ASSERT_TRUE(spans) << "seed " << seed;
            int64_t last_start = 0;
            for (const Span& span : *spans) {
                ASSERT_GE(span.start, 0) << "seed " << seed;
                ASSERT_LT(span.start, span.end) << "seed " << seed;
                ASSERT_LE(span.end, static_cast<int64_t>(input->size())) << "seed " << seed;
                ASSERT_TRUE(input != &clean || span.start >= last_start) << "seed " << seed;
                last_start = span.start;
            }
        }
    }
}

}  // namespace
}  // namespace px::chunk
