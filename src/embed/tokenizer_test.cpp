#include "embed/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <boost/json.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace px::embed {
namespace {

namespace json = boost::json;
using testing::ElementsAre;

const std::filesystem::path kModel = PX_SOURCE_DIR "/.deps/models/all-MiniLM-L6-v2";

const Tokenizer& model_tokenizer() {
    static const Tokenizer tokenizer = Tokenizer::load(kModel).value();
    return tokenizer;
}

std::vector<int32_t> encode(const Tokenizer& tokenizer, std::string_view text,
                            size_t limit = Tokenizer::kNoLimit) {
    std::vector<int32_t> ids;
    tokenizer.encode(text, limit, ids);
    return ids;
}

/// A folder with a tokenizer of a few words, removed at the end.
class TokenizerFolder : public testing::Test {
  protected:
    void SetUp() override {
        folder_ = std::filesystem::temp_directory_path() /
                  ("px_tokenizer_" +
                   std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()));
        std::filesystem::create_directories(folder_);
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    void write(const std::string& name, const std::string& text) const {
        std::ofstream(folder_ / name) << text;
    }
    /// tokenizer.json with one part replaced.
    void write_json(const std::string& what = "", const std::string& by = "") const {
        std::string text =
            R"({"added_tokens":[{"id":1,"content":"[CLS]","single_word":false,"lstrip":false,"rstrip":false,"normalized":false}],)"
            R"("normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":false},)"
            R"("pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":{"type":"BertProcessing","sep":["[SEP]",2],"cls":["[CLS]",1]},)"
            R"("model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":4,)"
            R"("vocab":{"[UNK]":0,"[CLS]":1,"[SEP]":2,"a":3,"##b":4,"A":5,"é":6,"##bb":7}}})";
        if (!what.empty()) {
            const size_t at = text.find(what);
            ASSERT_NE(at, std::string::npos);
            text.replace(at, what.size(), by);
        }
        write("tokenizer.json", text);
    }

    std::filesystem::path folder_;
};

TEST(Tokenizer, GivesTheIdsOfEveryCaseOfTheTable) {
    std::ifstream file(PX_SOURCE_DIR "/tests/cases/embed/tokenize.case");
    ASSERT_TRUE(file.is_open());
    std::string line;
    size_t cases = 0;
    while (std::getline(file, line)) {
        if (line.empty() || line[0] == '#') continue;
        boost::system::error_code code;
        const json::value value = json::parse(line, code);
        ASSERT_FALSE(code) << line;
        std::vector<int32_t> expected;
        for (const auto& id : value.as_object().at("ids").as_array())
            expected.push_back(static_cast<int32_t>(id.as_int64()));
        EXPECT_EQ(
            encode(model_tokenizer(), std::string_view(value.as_object().at("text").as_string())),
            expected)
            << line;
        ++cases;
    }
    EXPECT_GE(cases, 25U);
}

TEST(Tokenizer, CutsWhereTheLimitIs) {
    const auto all = encode(model_tokenizer(), "the outlook is unbelievably good");
    for (size_t limit = 2; limit <= all.size() + 1; ++limit) {
        std::vector<int32_t> expected = all;
        if (limit < all.size()) {
            expected.resize(limit - 1);
            expected.push_back(all.back());
        }
        EXPECT_EQ(encode(model_tokenizer(), "the outlook is unbelievably good", limit), expected)
            << limit;
    }
}

TEST(Tokenizer, ReadsNoMoreOfAHugeTextThanItNeeds) {
    std::string text;
    while (text.size() < size_t{50} << 20) text += "growth and inflation, ";
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 100; ++i) EXPECT_EQ(encode(model_tokenizer(), text, 256).size(), 256U);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
}

TEST(Tokenizer, KeepsTimeLinearInAWordOfTenMegabytes) {
    EXPECT_THAT(encode(model_tokenizer(), std::string(size_t{10} << 20, 'x')),
                ElementsAre(101, 100, 102));
    std::string marks;
    for (int i = 0; i < 1'000'000; ++i)
        marks += "\xE3\x80\xAE";  // U+302E, which canonical ordering moves
    EXPECT_THAT(encode(model_tokenizer(), marks), ElementsAre(101, 100, 102));
}

/// Words and marks joined in every way give the ids of each alone, wherever they stand in the
/// spans the tokenizer reads at once.
TEST(Tokenizer, GivesAWordTheSameIdsWhereverItStands) {
    const std::vector<std::string> parts = {"a",
                                            "The",
                                            "inflation",
                                            "unbelievably",
                                            "Pneumonoultramicroscopic",
                                            "x7",
                                            "2026",
                                            ".",
                                            "'",
                                            "[",
                                            "[SEP]",
                                            "\xC3\xA9t\xC3\xA9",
                                            "na\xC3\xAFve",
                                            "\xE8\xAA\x9E",
                                            "\xF0\x9F\x98\x80",
                                            "\x01",
                                            "\n",
                                            "\t",
                                            std::string(63, 'q'),
                                            std::string(64, 'q'),
                                            std::string(65, 'q'),
                                            std::string(101, 'q')};
    for (uint32_t seed = 1; seed <= 400; ++seed) {
        std::mt19937 random(seed);
        std::string text(random() % 70, ' ');
        std::vector<int32_t> expected = {101};
        for (size_t i = 0, count = random() % 60; i < count; ++i) {
            const std::string& part = parts[random() % parts.size()];
            const std::vector<int32_t> alone = encode(model_tokenizer(), part);
            expected.insert(expected.end(), alone.begin() + 1, alone.end() - 1);
            text += part;
            text.append(1 + random() % 3, random() % 4 == 0 ? '\n' : ' ');
        }
        expected.push_back(102);
        // In memory of exactly its size, so that a sanitizer sees what is read behind its end.
        const std::vector<char> exact(text.begin(), text.end());
        ASSERT_EQ(encode(model_tokenizer(), {exact.data(), exact.size()}), expected)
            << "seed " << seed;
    }
}

TEST(Tokenizer, GivesTheSameIdsOnEveryThread) {
    std::vector<std::string> texts;
    std::mt19937 random(7);
    for (size_t i = 0; i < 300; ++i) {
        std::string text;
        for (size_t j = 0; j < 200; ++j) {
            for (size_t letters = 1 + random() % 9; letters > 0; --letters)
                text.push_back(static_cast<char>('a' + random() % 6));
            text.push_back(' ');
        }
        texts.push_back(text);
    }
    std::vector<std::vector<int32_t>> expected;
    for (const std::string& text : texts) expected.push_back(encode(model_tokenizer(), text));
    std::atomic<size_t> wrong{0};
    std::vector<std::jthread> threads;
    for (size_t t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (size_t i = 0; i < texts.size(); ++i) {
                const size_t at = (i * 7 + t * 31) % texts.size();
                if (encode(model_tokenizer(), texts[at]) != expected[at]) ++wrong;
            }
        });
    }
    threads.clear();
    EXPECT_EQ(wrong, 0U);
}

TEST_F(TokenizerFolder, KeepsTheWordsOfTwoTokenizersApart) {
    write_json();
    const Tokenizer small = Tokenizer::load(folder_).value();
    for (int i = 0; i < 3; ++i) {
        EXPECT_THAT(encode(small, "a ab"), ElementsAre(1, 3, 3, 4, 2));
        EXPECT_THAT(encode(model_tokenizer(), "a ab"), ElementsAre(101, 1037, 11113, 102));
    }
}

TEST(Tokenizer, SurvivesSeededRandomBytes) {
    for (uint32_t seed = 1; seed <= 500; ++seed) {
        std::mt19937 random(seed);
        std::string text;
        for (size_t i = 0, length = random() % 300; i < length; ++i) {
            text.push_back(random() % 4 == 0 ? static_cast<char>(random())
                                             : "abc [SEP]\xCC\x81\xE4\xB8\x80"[random() % 15]);
        }
        const std::vector<int32_t> ids = encode(model_tokenizer(), std::string(text), 64);
        ASSERT_LE(ids.size(), 64U);
        for (const int32_t id : ids)
            ASSERT_TRUE(id >= 0 && static_cast<size_t>(id) < model_tokenizer().vocabulary_size());
    }
}

TEST_F(TokenizerFolder, ObeysTheSettingsOfTokenizerJson) {
    write_json();
    const Tokenizer tokenizer = Tokenizer::load(folder_).value();
    EXPECT_FALSE(tokenizer.lowercases());
    EXPECT_THAT(encode(tokenizer, "a A ab abbb \xC3\xA9 abbbb [CLS]"),
                ElementsAre(1, 3, 5, 3, 4, 3, 7, 4, 6, 0, 1, 2));
}

TEST_F(TokenizerFolder, RefusesSettingsItDoesNotSupportByName) {
    const std::pair<const char*, const char*> changes[] = {
        {"BertNormalizer", "Lowercase"},
        {"BertPreTokenizer", "ByteLevel"},
        {"WordPiece", "BPE"},
        {"\"lstrip\":false", "\"lstrip\":true"},
        {"BertProcessing", "ByteLevel"},
        {"_per_word\":4", "_per_word\":4000"},
        {"\"clean_text\":true", "\"clean_text\":7"},
    };
    for (const auto& [what, by] : changes) {
        write_json(what, by);
        const auto refused = Tokenizer::load(folder_);
        ASSERT_FALSE(refused) << what;
        EXPECT_EQ(refused.error().code, ErrorCode::InvalidArgument) << what;
        EXPECT_THAT(refused.error().to_string(), testing::HasSubstr("tokenizer.json")) << what;
    }
    for (const auto& [what, by] :
         {std::pair{"\"a\":3", "\"a\":-3"}, {"\"[SEP]\":2,", ""}, {"}}}", ""}}) {
        write_json(what, by);
        EXPECT_EQ(Tokenizer::load(folder_).error().code, ErrorCode::Corrupt) << what;
    }
}

TEST_F(TokenizerFolder, ReadsVocabTxtWhereThereIsNoTokenizerJson) {
    EXPECT_EQ(Tokenizer::load(folder_).error().code, ErrorCode::NotFound);
    std::filesystem::copy_file(kModel / "vocab.txt", folder_ / "vocab.txt");
    std::filesystem::copy_file(kModel / "tokenizer_config.json", folder_ / "tokenizer_config.json");
    const Tokenizer tokenizer = Tokenizer::load(folder_).value();
    for (const char* text : {"Hello, World! [SEP] unbelievable", "Größenwahn 日本語", ""}) {
        EXPECT_EQ(encode(tokenizer, text), encode(model_tokenizer(), text));
    }
    EXPECT_EQ(tokenizer.vocabulary_size(), model_tokenizer().vocabulary_size());
}

}  // namespace
}  // namespace px::embed
