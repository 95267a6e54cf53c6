#include "index/analysis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/utf8.h"

namespace px::index {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> tokens(std::string_view text) {
    Analyzer analyzer;
    std::vector<std::string> result;
    analyzer.tokens(text, [&](std::string_view token) { result.emplace_back(token); });
    return result;
}

std::vector<std::string> terms(std::string_view text) { return Analyzer().terms(text); }

TEST(Analyzer, FoldsCaseAndDropsAccents) {
    EXPECT_THAT(tokens("Zürich CAFÉ naïve Straße ΑΘΗΝΑ"),
                ElementsAre("zurich", "cafe", "naive", "strasse", "αθηνα"));
    EXPECT_EQ(tokens("e\u0301tude"), tokens("étude"));
    EXPECT_EQ(tokens("ＦＵＬＬ　ｗｉｄｔｈ"), tokens("full width"));
    EXPECT_THAT(tokens("ﬁnance"), ElementsAre("finance"));
}

TEST(Analyzer, KeepsNumbersWholeAndDropsThousandsCommas) {
    EXPECT_THAT(tokens("4.25 percent, 1,250,000 dollars; 12,34 and 5."),
                ElementsAre("4.25", "percent", "1250000", "dollars", "12", "34", "and", "5"));
    EXPECT_THAT(tokens("4-1/2 to 4½"), ElementsAre("4", "1", "2", "to", "4", "1", "2"));
    EXPECT_THAT(tokens("Q3 FY2024 2022Q1"), ElementsAre("q3", "fy2024", "2022q1"));
}

TEST(Analyzer, SplitsDigitsGluedToTheEndOfAWord) {
    EXPECT_THAT(tokens("inflation2 COVID-19 covid19"),
                ElementsAre("inflation", "2", "covid", "19", "covid", "19"));
    EXPECT_THAT(tokens("word¹ x²"), ElementsAre("word", "1", "x", "2"));
}

TEST(Analyzer, KeepsApostrophesInsideWordsOnly) {
    EXPECT_THAT(tokens("don't 'quoted' Fed’s O'Brien dogs'"),
                ElementsAre("don't", "quoted", "fed's", "o'brien", "dogs"));
    EXPECT_THAT(terms("the Fed’s policies"), ElementsAre("fed", "polici"));
}

TEST(Analyzer, GivesBigramsForScriptsWithoutSpaces) {
    EXPECT_THAT(tokens("金融政策 Bank"), ElementsAre("金融", "融政", "政策", "bank"));
    EXPECT_THAT(tokens("税"), ElementsAre("税"));
    EXPECT_THAT(tokens("GDP增长2%"), ElementsAre("gdp", "增长", "2"));
    EXPECT_THAT(tokens("日本。銀行"), ElementsAre("日本", "銀行"));
}

TEST(Analyzer, StemsEnglishAndDropsStopWords) {
    EXPECT_THAT(terms("What is the outlook for rising rates and inflationary pressures?"),
                ElementsAre("outlook", "rise", "rate", "inflationari", "pressur"));
    EXPECT_THAT(terms("to be or not to be"), IsEmpty());
    EXPECT_THAT(terms(""), IsEmpty());
    EXPECT_THAT(terms(" \n\t.,;"), IsEmpty());
}

TEST(Analyzer, SoftHyphensAndZeroWidthCharactersJoin) {
    EXPECT_EQ(tokens("eco\u00ADnomy"), tokens("economy"));
    EXPECT_EQ(tokens("eco\u200Bnomy"), tokens("economy"));
}

TEST(Analyzer, KeepsVowelSignsOfOtherScripts) {
    EXPECT_THAT(tokens("हिन्दी भाषा"), ElementsAre("हिन्दी", "भाषा"));
    EXPECT_NE(tokens("की"), tokens("का"));
}

TEST(Analyzer, CutsVeryLongTokens) {
    const auto result = tokens(std::string(100'000, 'x') + " y");
    ASSERT_EQ(result.size(), 2U);
    EXPECT_EQ(result[0].size(), 64U);
    EXPECT_EQ(result[1], "y");
}

TEST(Analyzer, EveryTokenOfRandomTextIsWellFormedAndShort) {
    std::mt19937_64 random(20261123);
    for (int round = 0; round < 300; ++round) {
        std::string text;
        for (int i = 0; i < 200; ++i) {
            const uint64_t pick = random() % 5;
            const char32_t top = pick == 0   ? 0x7F
                                 : pick == 1 ? 0x7FF
                                 : pick == 2 ? 0xFFFF
                                 : pick == 3 ? 0x9FFF
                                             : 0x10FFFF;
            utf8_append(text, static_cast<char32_t>(random() % top));
        }
        for (const std::string& token : tokens(text)) {
            ASSERT_FALSE(token.empty());
            ASSERT_LE(token.size(), 64U);
            ASSERT_TRUE(utf8_is_valid(token)) << "round " << round;
        }
        Analyzer().terms(text);
    }
}

TEST(FoldCase, MakesNamesComparable) {
    EXPECT_EQ(fold_case("JEROME H. POWELL"), fold_case("Jerome h. Powell"));
    EXPECT_EQ(fold_case("MÜLLER"), fold_case("mu\u0308ller"));
    EXPECT_NE(fold_case("Muller"), fold_case("Müller"));
    EXPECT_EQ(fold_case("a\xFFz"), "a\uFFFDz");
}

}  // namespace
}  // namespace px::index
