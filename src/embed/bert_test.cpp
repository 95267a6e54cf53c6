// The whole forward pass of a small model with random weights, wide enough for several groups of
// heads and slices of inner columns, on batches of random shape: every table and precision beside
// the scalar reference in f32. Least cosine: 0.999999 (fp32), 0.9999 (bf16), 0.99 (int8).
#include "embed/bert.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "embed/kernels/select.h"

namespace px::embed {
namespace {

/// A safetensors file, tensor by tensor.
class WeightsFile {
  public:
    WeightsFile& add(const std::string& name, const std::vector<size_t>& shape, float mean,
                     float spread) {
        size_t count = 1;
        for (const size_t side : shape) count *= side;
        std::normal_distribution<float> normal(mean, spread);
        const size_t begin = data_.size();
        for (size_t i = 0; i < count; ++i) {
            const float value = normal(random_);
            char bytes[sizeof value];
            std::memcpy(bytes, &value, sizeof value);
            data_.append(bytes, sizeof bytes);
        }
        header_ += fmt::format(R"({}"{}":{{"dtype":"F32","shape":[{}],"data_offsets":[{},{}]}})",
                               header_.empty() ? "" : ",", name, fmt::join(shape, ","), begin,
                               data_.size());
        return *this;
    }
    std::string bytes() const {
        const std::string header = "{" + header_ + "}";
        const uint64_t length = header.size();
        std::string all(sizeof length, '\0');
        std::memcpy(all.data(), &length, sizeof length);
        return all + header + data_;
    }

  private:
    std::mt19937 random_{5};
    std::string header_, data_;
};

ModelConfig small_config() {
    ModelConfig config;
    config.hidden_width = 300;
    config.heads = 6;  // two and two of width 50 make a group
    config.inner_width = 500;
    config.layers = 2;
    config.vocabulary_size = 64;
    config.positions = config.tokens_max = 512;
    config.types = 2;
    return config;
}

std::string small_weights(const ModelConfig& config) {
    const size_t h = config.hidden_width;
    const size_t f = config.inner_width;
    WeightsFile file;
    const auto linear = [&](const std::string& name, size_t n, size_t k) {
        file.add(name + ".weight", {n, k}, 0, 0.06F).add(name + ".bias", {n}, 0, 0.1F);
    };
    const auto norm = [&](const std::string& name) {
        file.add(name + ".weight", {h}, 1, 0.1F).add(name + ".bias", {h}, 0, 0.1F);
    };
    file.add("embeddings.word_embeddings.weight", {config.vocabulary_size, h}, 0, 1);
    file.add("embeddings.position_embeddings.weight", {config.positions, h}, 0, 0.3F);
    file.add("embeddings.token_type_embeddings.weight", {config.types, h}, 0, 0.1F);
    norm("embeddings.LayerNorm");
    for (size_t layer = 0; layer < config.layers; ++layer) {
        const std::string name = fmt::format("encoder.layer.{}.", layer);
        for (const char* side : {"query", "key", "value"})
            linear(name + "attention.self." + side, h, h);
        linear(name + "attention.output.dense", h, h);
        norm(name + "attention.output.LayerNorm");
        linear(name + "intermediate.dense", f, h);
        linear(name + "output.dense", h, f);
        norm(name + "output.LayerNorm");
    }
    return file.bytes();
}

TEST(Bert, AgreesWithTheReferenceOnBatchesOfRandomShape) {
    const ModelConfig config = small_config();
    const std::string bytes = small_weights(config);
    const Safetensors weights = Safetensors::parse(bytes).value();
    const size_t h = config.hidden_width;
    std::mt19937 random(6);
    const auto lengths_of = [&](size_t texts, size_t longest) {
        std::vector<size_t> lengths(texts);
        for (size_t& length : lengths) length = 1 + random() % longest;
        return lengths;
    };
    const std::vector<std::vector<size_t>> batches = {
        {1}, {512}, lengths_of(300, 5), lengths_of(25, 60), lengths_of(3, 400), lengths_of(9, 17)};
    const Bert reference = Bert::load(config, weights, kScalarKernels, Precision::Fp32, 1).value();
    for (const std::vector<size_t>& lengths : batches) {
        std::vector<size_t> offsets{0};
        for (const size_t length : lengths) offsets.push_back(offsets.back() + length);
        std::vector<int32_t> ids(offsets.back());
        for (int32_t& id : ids) id = static_cast<int32_t>(random() % config.vocabulary_size);
        std::vector<float> wanted(lengths.size() * h), got(wanted.size());
        Workspace workspace;
        reference.forward(ids, offsets, workspace, wanted.data());
        for (const Kernels* kernels : supported_kernels()) {
            for (const auto& [precision, least] : {std::pair{Precision::Fp32, 0.999999},
                                                   {Precision::Bf16, 0.9999},
                                                   {Precision::Int8, 0.99}}) {
                const Bert bert = Bert::load(config, weights, *kernels, precision, 1).value();
                Workspace own;
                bert.forward(ids, offsets, own, got.data());
                for (size_t text = 0; text < lengths.size(); ++text) {
                    double cosine = 0;
                    for (size_t i = text * h; i < (text + 1) * h; ++i)
                        cosine += static_cast<double>(wanted[i]) * static_cast<double>(got[i]);
                    ASSERT_GE(cosine, least)
                        << kernels->name << " " << precision_name(precision) << " text " << text
                        << " of " << lengths.size() << ", " << lengths[text] << " tokens";
                }
            }
        }
    }
}

}  // namespace
}  // namespace px::embed
