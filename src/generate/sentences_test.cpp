#include "generate/sentences.h"

#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <string>

#include "base/utf8.h"

namespace px::generate {
namespace {

std::string unescape(std::string_view text) {
    std::string result;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text.substr(i, 2) == "\\n") {
            result += '\n';
            ++i;
        } else {
            result += text[i];
        }
    }
    return result;
}

std::string escape(std::string_view text) {
    std::string result;
    for (const char c : text) {
        if (c == '\n') {
            result += "\\n";
        } else {
            result += c;
        }
    }
    return result;
}

std::string show(std::string_view text, const std::vector<Sentence>& sentences) {
    std::string result;
    for (const Sentence& sentence : sentences) {
        const char* mark = sentence.form == Sentence::Form::Heading ? "# "
                           : sentence.form == Sentence::Form::Item  ? "- "
                           : sentence.form == Sentence::Form::Table ? "| "
                           : !sentence.terminated                   ? "~ "
                           : sentence.doubtful_end                  ? "! "
                                                                    : ". ";
        result += mark + escape(text.substr(sentence.start, sentence.end - sentence.start)) + "\n";
    }
    return result;
}

TEST(Sentences, AreCutAsTheCasesSay) {
    const std::string path = PX_SOURCE_DIR "/tests/cases/answer/sentences.case";
    std::ifstream file(path);
    ASSERT_TRUE(file) << path;
    std::string line;
    std::string text;
    std::string expected;
    int cases = 0;
    int number = 0;
    const auto check = [&] {
        if (text.empty()) return;
        std::string actual = show(text, split_sentences(text));
        // A doubtful end matters at the end of a text only.
        for (size_t at = 0; (at = actual.find("! ", at)) != std::string::npos; ++at) {
            if ((at == 0 || actual[at - 1] == '\n') && actual.find('\n', at) + 1 != actual.size())
                actual[at] = '.';
        }
        EXPECT_EQ(actual, expected) << "line " << number << " of " << path;
        text.clear();
        expected.clear();
        ++cases;
    };
    while (std::getline(file, line)) {
        ++number;
        if (line.starts_with("text: ")) {
            text = unescape(line.substr(6));
        } else if (line.empty()) {
            check();
        } else if (!text.empty()) {
            expected += line + "\n";
        }
    }
    check();
    EXPECT_GT(cases, 20);
}

TEST(Sentences, NeverOverlapAndNeverCutACharacter) {
    std::mt19937_64 random(20261123);
    const std::string_view pieces[] = {".",  "!",   "?",    "…",      " ",   " ",  "\n", "\n\n",
                                       "a",  "The", "U.S.", "Mr",     "3",   "。", "”",  "\"",
                                       "(",  ")",   "- ",   "# ",     "|",   "é",  "中", "No",
                                       "\t", "[1]", "*",    "\u00A0", "e.g", "١"};
    for (int round = 0; round < 3000; ++round) {
        std::string text;
        for (uint64_t i = 0, n = random() % 40; i < n; ++i)
            text += pieces[random() % std::size(pieces)];
        size_t end = 0;
        for (const Sentence& sentence : split_sentences(text)) {
            ASSERT_GE(sentence.start, end) << escape(text);
            ASSERT_GT(sentence.end, sentence.start) << escape(text);
            ASSERT_LE(sentence.end, text.size()) << escape(text);
            ASSERT_TRUE(utf8_is_valid(
                std::string_view(text).substr(sentence.start, sentence.end - sentence.start)))
                << escape(text);
            end = sentence.end;
        }
        const size_t cut = text.empty() ? 0 : random() % text.size();
        if (utf8_is_valid(text.substr(0, cut)))
            is_sentence_break(text.substr(0, cut), text.substr(cut));
    }
}

TEST(Sentences, TakeLinearTime) {
    std::string text;
    for (int i = 0; i < 200'000; ++i) text += i % 7 == 0 ? ". A" : "word ";
    EXPECT_GT(split_sentences(text).size(), 10'000U);
    EXPECT_EQ(split_sentences(std::string(1'000'000, '.')).size(), 1U);
    EXPECT_LE(split_sentences(std::string(1'000'000, ')')).size(), 1U);
}

TEST(SentenceBreak, TellsWhetherAPassageBeginsASentence) {
    EXPECT_TRUE(is_sentence_break("The rate fell. ", "The Committee met."));
    EXPECT_TRUE(is_sentence_break("The rate fell.", "The Committee met."));
    EXPECT_FALSE(is_sentence_break("The Board of", "Governors met."));
    EXPECT_FALSE(is_sentence_break("as said by Mr.", "Powell in June."));
    EXPECT_FALSE(is_sentence_break("The rate fell.", "and rose."));
    EXPECT_TRUE(is_sentence_break("A heading\n", "The Committee met."));
    EXPECT_TRUE(is_sentence_break("\n\n", "The Committee met."));
    EXPECT_TRUE(is_sentence_break("收入增长。", "明年更好。"));
    EXPECT_TRUE(is_sentence_break("he said so.” ", "The Committee met."));
    EXPECT_FALSE(is_sentence_break("in the U.S. ", "Treasury market."));
}

}  // namespace
}  // namespace px::generate
