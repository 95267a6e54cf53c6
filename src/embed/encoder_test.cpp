#include "embed/encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "embed/kernels/select.h"

namespace px::embed {
namespace {

const std::filesystem::path kModel = PX_SOURCE_DIR "/.deps/models/all-MiniLM-L6-v2";

const std::vector<std::string_view> kTexts = {
    "The Committee decided today to raise its target for the federal funds rate by 25 basis "
    "points.",
    "Inflation has eased over the past year but remains elevated.",
    "A cat sleeps on the warm windowsill.",
    "",
    "financial outlook",
    "Die Verteidigung der Panthers gab nur 308 Punkte ab.",
    "x",
};

EncoderOptions options(Precision precision, const std::string& kernel = "", size_t threads = 1) {
    EncoderOptions made;
    made.model_directory = kModel;
    made.precision = precision;
    made.kernel = kernel;
    made.thread_count = threads;
    return made;
}

std::unique_ptr<Encoder> load(const EncoderOptions& made) {
    auto encoder = Encoder::load(made);
    EXPECT_TRUE(encoder) << encoder.error().to_string();
    return std::move(encoder).value();
}

std::vector<float> encode(const Encoder& encoder, const std::vector<std::string_view>& texts,
                          TextKind kind = TextKind::Passage) {
    NoProgress progress;
    return encoder.encode(texts, kind, Deadline::never(), progress).value();
}

double cosine(const std::vector<float>& a, const std::vector<float>& b, size_t text, size_t width) {
    double sum = 0;
    for (size_t i = text * width; i < (text + 1) * width; ++i)
        sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    return sum;
}

TEST(Encoder, AgreesWithTheReferenceInEveryKernelAndPrecision) {
    const auto reference = encode(*load(options(Precision::Fp32, "scalar")), kTexts);
    for (const Kernels* kernels : supported_kernels()) {
        for (const auto& [precision, least] : {std::pair{Precision::Fp32, 0.999999},
                                               {Precision::Bf16, 0.9999},
                                               {Precision::Int8, 0.98}}) {
            const auto encoder = load(options(precision, kernels->name));
            EXPECT_EQ(encoder->kernel(), kernels->name);
            const auto vectors = encode(*encoder, kTexts);
            for (size_t text = 0; text < kTexts.size(); ++text) {
                EXPECT_GE(cosine(vectors, reference, text, encoder->width()), least)
                    << kernels->name << " " << precision_name(precision) << " text " << text;
                EXPECT_NEAR(cosine(vectors, vectors, text, encoder->width()), 1, 1e-5);
            }
        }
    }
}

TEST(Encoder, FindsWhatTheModelsAuthorsFound) {
    // Similar sentences are near each other, others are not.
    const auto encoder = load(options(Precision::Bf16));
    const auto vectors =
        encode(*encoder, {"A man is eating food.", "A man is eating a piece of bread.",
                          "The girl is carrying a baby."});
    const auto dot = [&](size_t a, size_t b) {
        double sum = 0;
        for (size_t i = 0; i < encoder->width(); ++i) {
            sum += static_cast<double>(vectors[a * encoder->width() + i]) *
                   static_cast<double>(vectors[b * encoder->width() + i]);
        }
        return sum;
    };
    EXPECT_GT(dot(0, 1), 0.7);
    EXPECT_LT(dot(0, 2), 0.2);
}

TEST(Encoder, GivesATextTheSameBitsInAnyBatchAndOnAnyNumberOfThreads) {
    for (const Precision precision : {Precision::Fp32, Precision::Bf16, Precision::Int8}) {
        const auto one = load(options(precision));
        const auto all = encode(*one, kTexts);
        for (size_t text = 0; text < kTexts.size(); ++text) {
            const auto alone = encode(*one, {kTexts[text]});
            EXPECT_EQ(std::memcmp(alone.data(), all.data() + text * one->width(),
                                  alone.size() * sizeof(float)),
                      0)
                << text;
        }
        EncoderOptions other = options(precision, "", 3);
        other.batch_tokens = 40;
        EXPECT_EQ(encode(*load(other), kTexts), all);
        std::vector<std::string_view> backwards(kTexts.rbegin(), kTexts.rend());
        const auto turned = encode(*one, backwards);
        for (size_t text = 0; text < kTexts.size(); ++text) {
            EXPECT_EQ(std::memcmp(turned.data() + (kTexts.size() - 1 - text) * one->width(),
                                  all.data() + text * one->width(), one->width() * sizeof(float)),
                      0);
        }
    }
}

TEST(Encoder, TakesTextsByTheHundredInOrder) {
    const auto encoder = load(options(Precision::Bf16, "", 2));
    std::vector<std::string_view> many;
    for (size_t i = 0; i < 200; ++i) many.push_back(kTexts[i % kTexts.size()]);
    const auto vectors = encode(*encoder, many);
    for (size_t i = kTexts.size(); i < many.size(); ++i) {
        ASSERT_EQ(std::memcmp(vectors.data() + i * encoder->width(),
                              vectors.data() + (i % kTexts.size()) * encoder->width(),
                              encoder->width() * sizeof(float)),
                  0);
    }
}

TEST(Encoder, CutsLongTextsAtItsLimit) {
    const auto encoder = load(options(Precision::Bf16));
    EXPECT_EQ(encoder->max_tokens(), 256U);
    EXPECT_EQ(encoder->count_tokens("Hello, world!"), 6U);
    std::string words;
    for (int i = 0; i < 254; ++i) words += "rate ";
    const std::string longer = words + "and much more of it";
    EXPECT_EQ(encoder->count_tokens(words), 256U);
    EXPECT_EQ(encode(*encoder, {words}), encode(*encoder, {longer}));
}

TEST(Encoder, CountsTheTextsItCuts) {
    const auto encoder = load(options(Precision::Bf16));
    std::string fits;
    for (int i = 0; i < 254; ++i) fits += "rate ";
    const std::string longer = fits + "x";
    NoProgress progress;
    EncodeStats stats;
    const auto vectors = encoder->encode_counted(
        {fits, longer, "x", fits + fits}, TextKind::Passage, Deadline::never(), progress, stats);
    ASSERT_TRUE(vectors);
    EXPECT_EQ(stats.texts, 4U);
    EXPECT_EQ(stats.truncated, 2U);
    EXPECT_EQ(stats.tokens, 3 * 256U + 3);
}

TEST(Encoder, PutsThePrefixesBeforeTheTexts) {
    EncoderOptions prefixed = options(Precision::Bf16);
    prefixed.query_prefix = "query: ";
    prefixed.passage_prefix = "passage: ";
    const auto encoder = load(prefixed);
    const auto plain = load(options(Precision::Bf16));
    EXPECT_EQ(encode(*encoder, {"outlook"}, TextKind::Query), encode(*plain, {"query: outlook"}));
    EXPECT_EQ(encode(*encoder, {"outlook"}), encode(*plain, {"passage: outlook"}));
    EXPECT_NE(encoder->model_id(), plain->model_id());
}

TEST(Encoder, NamesTheModelByFolderAndContent) {
    const auto encoder = load(options(Precision::Bf16));
    EXPECT_THAT(encoder->model_id(), testing::MatchesRegex("all-MiniLM-L6-v2@[0-9a-f]+"));
    EXPECT_EQ(encoder->model_id().size(), std::strlen("all-MiniLM-L6-v2@") + 12);
    EXPECT_EQ(encoder->model_id(), load(options(Precision::Int8))->model_id());
    EXPECT_EQ(encoder->width(), 384U);
    EXPECT_EQ(encoder->precision(), Precision::Bf16);
}

TEST(Encoder, StopsWhenItsTimeIsUp) {
    const auto encoder = load(options(Precision::Bf16));
    NoProgress progress;
    const auto late = encoder->encode(kTexts, TextKind::Passage,
                                      Deadline::after(std::chrono::milliseconds(-1)), progress);
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code, ErrorCode::DeadlineExceeded);
    std::stop_source source;
    source.request_stop();
    const auto stopped =
        encoder->encode(kTexts, TextKind::Passage, {.stop = source.get_token()}, progress);
    EXPECT_EQ(stopped.error().code, ErrorCode::Cancelled);
    EXPECT_TRUE(encode(*encoder, {}).empty());
}

TEST(Precision, HasANameForEach) {
    for (const Precision precision : {Precision::Fp32, Precision::Bf16, Precision::Int8}) {
        EXPECT_EQ(parse_precision(precision_name(precision)).value(), precision);
    }
    EXPECT_EQ(parse_precision("fp64").error().code, ErrorCode::InvalidArgument);
}

/// A copy of the model's small files, its weights linked, to change one thing in.
class ModelFolder : public testing::Test {
  protected:
    void SetUp() override {
        folder_ = std::filesystem::temp_directory_path() /
                  ("px_model_" +
                   std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()));
        std::filesystem::create_directories(folder_ / "1_Pooling");
        for (const char* name : {"config.json", "tokenizer.json", "sentence_bert_config.json",
                                 "modules.json", "1_Pooling/config.json"}) {
            std::filesystem::copy_file(kModel / name, folder_ / name);
        }
        std::filesystem::create_symlink(kModel / "model.safetensors",
                                        folder_ / "model.safetensors");
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    void change(const std::string& name, const std::string& what, const std::string& by) const {
        std::ifstream in(folder_ / name);
        std::string text((std::istreambuf_iterator<char>(in)), {});
        const size_t at = text.find(what);
        ASSERT_NE(at, std::string::npos) << what;
        std::ofstream(folder_ / name) << text.replace(at, what.size(), by);
    }
    std::vector<std::filesystem::path> packed_files() const {
        std::vector<std::filesystem::path> files;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_ / "cache")) {
            if (entry.is_regular_file()) files.push_back(entry.path());
        }
        return files;
    }
    Error refusal() const {
        EncoderOptions made = options(Precision::Bf16);
        made.model_directory = folder_;
        auto encoder = Encoder::load(made);
        EXPECT_FALSE(encoder);
        return encoder ? Error{} : encoder.error();
    }

    std::filesystem::path folder_;
};

TEST_F(ModelFolder, IsRefusedByTheNameOfTheFieldThatIsNotSupported) {
    const struct {
        const char *file, *what, *by, *field;
    } changes[] = {
        {"config.json", "\"bert\"", "\"roberta\"", "model_type"},
        {"config.json", "\"gelu\"", "\"relu\"", "hidden_act"},
        {"config.json", "\"absolute\"", "\"relative_key\"", "position_embedding_type"},
        {"config.json", "\"num_attention_heads\": 12", "\"num_attention_heads\": 13",
         "num_attention_heads"},
        {"config.json", "\"hidden_size\": 384", "\"hidden_size\": 0", "hidden_size"},
        {"1_Pooling/config.json", "\"pooling_mode_max_tokens\": false",
         "\"pooling_mode_max_tokens\": true", "pooling_mode_max_tokens"},
        {"modules.json", "models.Normalize", "models.Dense", "Dense"},
        {"sentence_bert_config.json", "256", "0", "max_seq_length"},
    };
    for (const auto& change_of : changes) {
        TearDown();
        SetUp();
        change(change_of.file, change_of.what, change_of.by);
        const Error error = refusal();
        EXPECT_EQ(error.code, ErrorCode::InvalidArgument) << change_of.field;
        EXPECT_THAT(error.to_string(), testing::HasSubstr(change_of.field));
        EXPECT_THAT(error.to_string(), testing::HasSubstr(change_of.file));
    }
}

TEST_F(ModelFolder, IsRefusedWhenItsFilesDoNotBelongTogetherOrAreDamaged) {
    change("config.json", "\"intermediate_size\": 1536", "\"intermediate_size\": 1024");
    EXPECT_EQ(refusal().code, ErrorCode::Corrupt);
    EXPECT_THAT(refusal().message, testing::HasSubstr("intermediate.dense.weight"));
    TearDown();
    SetUp();
    std::filesystem::remove(folder_ / "model.safetensors");
    EXPECT_EQ(refusal().code, ErrorCode::NotFound);
    std::ofstream(folder_ / "model.safetensors") << "not weights";
    EXPECT_EQ(refusal().code, ErrorCode::Corrupt);
    EncoderOptions nowhere = options(Precision::Bf16);
    nowhere.model_directory = "/nonexistent/model";
    EXPECT_EQ(Encoder::load(nowhere).error().code, ErrorCode::NotFound);
    nowhere.kernel = "abacus";
    EXPECT_EQ(Encoder::load(nowhere).error().code, ErrorCode::InvalidArgument);
}

TEST_F(ModelFolder, IsPackedOnceAndMappedAfterwardsWithTheSameBits) {
    for (const Precision precision : {Precision::Fp32, Precision::Bf16, Precision::Int8}) {
        EncoderOptions made = options(precision);
        made.model_directory = folder_;
        const auto plain = load(made);
        made.cache_directory = folder_ / "cache" / "deeper";
        const auto first = load(made);
        const auto second = load(made);
        const auto wanted = encode(*plain, kTexts);
        EXPECT_EQ(encode(*first, kTexts), wanted);
        EXPECT_EQ(encode(*second, kTexts), wanted);
        EXPECT_EQ(second->model_id(), plain->model_id());
    }
    EXPECT_EQ(packed_files().size(), 3U);
}

TEST_F(ModelFolder, IsPackedAnewWhenThePackedFileIsDamagedShortOrOfOtherWeights) {
    EncoderOptions made = options(Precision::Int8);
    made.model_directory = folder_;
    made.cache_directory = folder_ / "cache";
    const auto wanted = encode(*load(made), kTexts);
    ASSERT_EQ(packed_files().size(), 1U);
    const std::filesystem::path file = packed_files().front();
    std::ifstream in(file, std::ios::binary);
    const std::string whole((std::istreambuf_iterator<char>(in)), {});
    const auto write = [&](const std::string& bytes) {
        std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
    };
    const auto read = [&] {
        std::ifstream now(file, std::ios::binary);
        return std::string((std::istreambuf_iterator<char>(now)), {});
    };
    std::mt19937 random(5);
    for (int round = 0; round < 12; ++round) {
        std::string bytes = whole;
        const size_t at = round < 6 ? random() % 256 : random() % bytes.size();
        if (round % 4 == 3) {
            bytes.resize(at);
        } else if (round < 6 || at >= 4096) {
            bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
        }
        write(bytes);
        EXPECT_EQ(encode(*load(made), kTexts), wanted) << "byte " << at;
        EXPECT_TRUE(read() == whole) << "byte " << at << " was not made anew";
    }
    // Other weights under the same name: the time of their last change tells.
    std::filesystem::remove(folder_ / "model.safetensors");
    std::filesystem::copy_file(kModel / "model.safetensors", folder_ / "model.safetensors");
    {
        std::fstream weights(folder_ / "model.safetensors",
                             std::ios::binary | std::ios::in | std::ios::out);
        weights.seekp(-4, std::ios::end);
        weights.write("\0\0\0\x3f", 4);
    }
    const auto other = load(made);
    EXPECT_FALSE(read() == whole);
    made.cache_directory.clear();
    EXPECT_EQ(other->model_id(), load(made)->model_id());
}

TEST_F(ModelFolder, IsLoadedWhenItsCacheCannotBeWritten) {
    EncoderOptions made = options(Precision::Int8);
    made.model_directory = folder_;
    made.cache_directory = folder_ / "config.json" / "cache";
    EXPECT_EQ(encode(*load(made), {"x"}), encode(*load(options(Precision::Int8)), {"x"}));
}

TEST_F(ModelFolder, PoolsTheFirstTokenWhenToldTo) {
    change("1_Pooling/config.json", "\"pooling_mode_cls_token\": false",
           "\"pooling_mode_cls_token\": true");
    change("1_Pooling/config.json", "\"pooling_mode_mean_tokens\": true",
           "\"pooling_mode_mean_tokens\": false");
    EncoderOptions made = options(Precision::Bf16);
    made.model_directory = folder_;
    const auto encoder = load(made);
    const auto mean = load(options(Precision::Bf16));
    const auto a = encode(*encoder, kTexts);
    const auto b = encode(*mean, kTexts);
    EXPECT_NEAR(cosine(a, a, 0, encoder->width()), 1, 1e-5);
    EXPECT_LT(cosine(a, b, 0, encoder->width()), 0.99);
}

}  // namespace
}  // namespace px::embed
