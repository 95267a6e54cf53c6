#include "generate/extractive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "testing/matchers.h"

namespace px::generate {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr size_t kWidth = 64;

std::vector<std::string> words(std::string_view text) {
    std::vector<std::string> result;
    std::string word;
    for (const char c : std::string(text) + " ") {
        if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
            word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        } else if (!word.empty()) {
            if (word.size() > 3) result.push_back(word);
            word.clear();
        }
    }
    return result;
}

/// A toy: texts that share words are near.
std::vector<float> embed(std::string_view text) {
    std::vector<float> vector(kWidth, 0.01F);
    for (const std::string& word : words(text))
        vector[std::hash<std::string>()(word) % kWidth] += 1;
    float norm = 0;
    for (const float x : vector) norm += x * x;
    for (float& x : vector) x /= std::sqrt(norm);
    return vector;
}

struct Toy {
    size_t calls = 0;
    size_t texts = 0;
    TextTools tools() {
        return {[this](const std::vector<std::string_view>& all) -> Result<std::vector<float>> {
                    ++calls;
                    texts += all.size();
                    std::vector<float> vectors;
                    for (const std::string_view text : all) {
                        const auto vector = embed(text);
                        vectors.insert(vectors.end(), vector.begin(), vector.end());
                    }
                    return vectors;
                },
                [](std::string_view text) { return words(text); }};
    }
};

std::vector<std::string> answer(std::string_view question,
                                const std::vector<SourcePassage>& passages,
                                ExtractiveOptions options = {}) {
    Toy toy;
    const auto extracted =
        extract(question, embed(question), passages, toy.tools(), options, Deadline::never());
    EXPECT_THAT(extracted, IsOk());
    EXPECT_LE(toy.calls, 1U);
    std::vector<std::string> result;
    for (const ChosenSentence& chosen : extracted->sentences) {
        result.emplace_back(
            passages[chosen.passage].text.substr(chosen.start, chosen.end - chosen.start));
    }
    return result;
}

TEST(Extract, ChoosesTheSentenceThatSharesTheQuestionsWords) {
    EXPECT_THAT(answer("What was the revenue growth in Zurich?",
                       {{"The weather was fine. The revenue growth in Zurich was four percent. "
                         "Nobody complained about lunch.",
                         0.9}}),
                ElementsAre("The revenue growth in Zurich was four percent."));
}

TEST(Extract, ChoosesNothingWhenNothingSupportsAnAnswer) {
    EXPECT_THAT(
        answer("Who painted the Sistine Chapel?",
               {{"The weather was fine. The revenue growth in Zurich was four percent.", 1.0}}),
        IsEmpty());
    EXPECT_THAT(answer("Who painted it?", {}), IsEmpty());
    EXPECT_THAT(answer("Who painted it?", {{"", 1.0}}), IsEmpty());
}

TEST(Extract, LeavesOutSentencesCutByThePassagesEdges) {
    const std::string text =
        "growth of revenue in Zurich was good. The middle sentence tells about revenue growth. The "
        "revenue growth in Zurich is the";
    SourcePassage passage{text, 1.0, false, false};
    EXPECT_THAT(answer("revenue growth Zurich", {passage}),
                ElementsAre("The middle sentence tells about revenue growth."));
    passage.starts_whole = true;
    passage.ends_whole = true;
    ExtractiveOptions options;
    options.least_of_best = 0;
    EXPECT_THAT(answer("revenue growth Zurich", {passage}, options),
                ElementsAre("growth of revenue in Zurich was good.",
                            "The middle sentence tells about revenue growth.",
                            "The revenue growth in Zurich is the"));
}

TEST(Extract, LeavesOutHeadingsTablesAndFurniture) {
    EXPECT_THAT(answer("revenue growth outlook",
                       {{"# Revenue growth outlook\n\n| revenue | growth | outlook |\n\nRevenue "
                         "growth outlook © 2026 All rights reserved.\n\n"
                         "Revenue.\n\nThe outlook for revenue growth is good.",
                         1.0}}),
                ElementsAre("The outlook for revenue growth is good."));
}

TEST(Extract, TakesASentenceOfOverlappingPassagesOnce) {
    EXPECT_THAT(answer("revenue growth", {{"The revenue growth was good. It rained much.", 1.0},
                                          {"It rained much. The revenue  growth was good.", 0.5}}),
                ElementsAre("The revenue growth was good."));
}

TEST(Extract, KeepsTheOrderOfPassagesAndPositions) {
    ExtractiveOptions options;
    options.min_support = 0.1;
    options.least_of_best = 0;
    const auto chosen =
        answer("alpha bravo charlie delta",
               {{"Some alpha and bravo and charlie here. Now alpha and bravo and delta here.", 0.4},
                {"The alpha and charlie and delta too.", 1.0}},
               options);
    EXPECT_THAT(chosen, ElementsAre("Some alpha and bravo and charlie here.",
                                    "Now alpha and bravo and delta here.",
                                    "The alpha and charlie and delta too."));
}

TEST(Extract, RespectsItsLimits) {
    std::string text;
    for (int i = 0; i < 200; ++i)
        text += "The revenue number " + std::to_string(i * 7919) + " grew somewhat again. ";
    ExtractiveOptions options;
    options.sentences = 3;
    Toy toy;
    const std::string question = "Which revenue number grew?";
    const auto extracted =
        extract(question, embed(question), {{text, 1.0}}, toy.tools(), options, Deadline::never());
    ASSERT_THAT(extracted, IsOk());
    EXPECT_LE(extracted->sentences.size(), 3U);
    EXPECT_EQ(toy.texts, options.encoded_sentences);
    options.sentences = 0;
    EXPECT_THAT(
        extract(question, embed(question), {{text, 1.0}}, toy.tools(), options, Deadline::never())
            ->sentences,
        IsEmpty());
    EXPECT_THAT(
        answer("revenue grew", {{"The revenue " + std::string(2000, 'x') + " grew much.", 1.0}}),
        IsEmpty());
}

TEST(Extract, PrefersAStatementToAQuestion) {
    ExtractiveOptions options;
    options.sentences = 1;
    EXPECT_THAT(
        answer("What is the revenue outlook?",
               {{"What is the revenue outlook? The revenue outlook is bright.", 1.0}}, options),
        ElementsAre("The revenue outlook is bright."));
}

TEST(Extract, PassesErrorsOn) {
    TextTools tools;
    tools.encode = [](const auto&) -> Result<std::vector<float>> {
        return fail(ErrorCode::DeadlineExceeded, "late");
    };
    tools.terms = [](std::string_view text) { return words(text); };
    const std::vector<SourcePassage> passages{{"The revenue growth was good.", 1.0}};
    EXPECT_THAT(extract("revenue", embed("revenue"), passages, tools, {}, Deadline::never()),
                IsError(ErrorCode::DeadlineExceeded));
    tools.encode = [](const auto&) -> Result<std::vector<float>> { return std::vector<float>(3); };
    EXPECT_THAT(extract("revenue", embed("revenue"), passages, tools, {}, Deadline::never()),
                IsError(ErrorCode::Internal));
}

TEST(DisplayText, JoinsLinesAndDropsWhatLooksLikeACitation) {
    EXPECT_EQ(display_text("  It grew\n  by 4 %[3] and [12]\tmore. "), "It grew by 4 % and more.");
    EXPECT_EQ(display_text("An [aside] and [] and [1234567]."), "An [aside] and [] and [1234567].");
}

}  // namespace
}  // namespace px::generate
