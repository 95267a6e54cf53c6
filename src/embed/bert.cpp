// Letters as in kernels/kernels.h. Source: Devlin et al. 2019 (post-norm encoder).
#include "embed/bert.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include <fmt/format.h>

#include "base/parallel.h"

namespace px::embed {

namespace {

/// Rows that pass through the whole feed-forward part together, so that its inner states stay in
/// the cache.
constexpr size_t kRowBlock = 96;

size_t round_up(size_t value, size_t step) { return (value + step - 1) / step * step; }

/// Calls put(index in the packed panels, value) for every weight, in an order that is kind to the
/// cache.
template <class Put>
void each_packed(const float* weight, size_t k, size_t n, size_t panel, const Put& put) {
    constexpr size_t kStrip = 16;
    for (size_t first = 0; first < n; first += panel) {
        const size_t columns = std::min(panel, n - first);
        for (size_t k0 = 0; k0 < k; k0 += kStrip) {
            const size_t k1 = std::min(k, k0 + kStrip);
            for (size_t j = 0; j < columns; ++j) {
                const float* row = weight + (first + j) * k;
                for (size_t at = k0; at < k1; ++at) put(first * k + at * panel + j, row[at]);
            }
        }
    }
}

void pack_int8(PackedLinear& packed, const float* weight, size_t panel) {
    const size_t padded_n = round_up(packed.n, panel);
    packed.padded_k = round_up(packed.k, 4);
    packed.int8 = AlignedBuffer<int8_t>(padded_n * packed.padded_k);
    packed.scale = AlignedBuffer<float>(padded_n);
    packed.offset = AlignedBuffer<int32_t>(padded_n);
    std::memset(packed.int8.data(), 0, packed.int8.size());
    for (size_t column = 0; column < padded_n; ++column) {
        packed.scale[column] = 0;
        packed.offset[column] = 0;
        if (column >= packed.n) continue;
        const float* row = weight + column * packed.k;
        float largest = 0;
        for (size_t at = 0; at < packed.k; ++at) largest = std::max(largest, std::fabs(row[at]));
        packed.scale[column] = largest / 127.0F;
        const float inverse = largest > 0 ? 127.0F / largest : 0.0F;
        const size_t first = column / panel * panel;
        int32_t sum = 0;
        for (size_t at = 0; at < packed.k; ++at) {
            const auto value = static_cast<int8_t>(std::lrint(row[at] * inverse));
            packed.int8[first * packed.padded_k + (at / 4 * panel + column - first) * 4 + at % 4] =
                value;
            sum += value;
        }
        packed.offset[column] = 128 * sum;
    }
}

Result<std::vector<float>> read_tensor(const Safetensors& weights, const std::string& name,
                                       const std::vector<size_t>& shape) {
    const TensorView view = PX_TRY(weights.get(name, shape));
    std::vector<float> values(view.element_count());
    view.read(0, values.size(), values.data());
    return values;
}

}  // namespace

PackedLinear pack_linear(const float* weight, const float* bias, size_t k, size_t n,
                         const Kernels& kernels, Precision precision) {
    PackedLinear packed;
    packed.k = packed.padded_k = k;
    packed.n = n;
    const size_t panel = precision == Precision::Int8 ? kernels.panel_int8 : kernels.panel;
    const size_t padded_n = round_up(n, panel);
    packed.bias = AlignedBuffer<float>(padded_n);
    for (size_t i = 0; i < padded_n; ++i) packed.bias[i] = i < n ? bias[i] : 0.0F;
    switch (precision) {
        case Precision::Fp32: {
            packed.f32 = AlignedBuffer<float>(padded_n * k);
            if (padded_n != n) std::memset(packed.f32.data(), 0, padded_n * k * sizeof(float));
            float* out = packed.f32.data();
            each_packed(weight, k, n, panel, [out](size_t at, float value) { out[at] = value; });
            break;
        }
        case Precision::Bf16: {
            packed.bf16 = AlignedBuffer<uint16_t>(padded_n * k);
            if (padded_n != n) std::memset(packed.bf16.data(), 0, padded_n * k * sizeof(uint16_t));
            uint16_t* out = packed.bf16.data();
            each_packed(weight, k, n, panel,
                        [out](size_t at, float value) { out[at] = to_bf16(value); });
            break;
        }
        case Precision::Int8:
            pack_int8(packed, weight, panel);
            break;
    }
    return packed;
}

Result<Bert> Bert::load(const ModelConfig& config, const Safetensors& weights,
                        const Kernels& kernels, Precision precision, size_t thread_count) {
    Bert bert;
    bert.config_ = config;
    bert.kernels_ = &kernels;
    bert.precision_ = precision;
    const size_t h = config.hidden_width;
    const size_t f = config.inner_width;
    // Some files keep the name of the model around the encoder in front.
    const std::string prefix = weights.has("bert.embeddings.word_embeddings.weight") ? "bert." : "";

    const auto norm = [&](const std::string& name) -> Result<Norm> {
        Norm made;
        made.weight = PX_TRY(read_tensor(weights, name + ".weight", {h}));
        made.bias = PX_TRY(read_tensor(weights, name + ".bias", {h}));
        return made;
    };
    bert.words_ = PX_TRY(
        weights.get(prefix + "embeddings.word_embeddings.weight", {config.vocabulary_size, h}));
    bert.positions_ = PX_TRY(read_tensor(weights, prefix + "embeddings.position_embeddings.weight",
                                         {config.positions, h}));
    const std::vector<float> types = PX_TRY(read_tensor(
        weights, prefix + "embeddings.token_type_embeddings.weight", {config.types, h}));
    for (size_t i = 0; i < bert.positions_.size(); ++i) bert.positions_[i] += types[i % h];
    bert.embedding_norm_ = PX_TRY(norm(prefix + "embeddings.LayerNorm"));

    bert.layers_.resize(config.layers);
    constexpr size_t kParts = 4;
    const auto load_part = [&](size_t item) -> Result<void> {
        Layer& layer = bert.layers_[item / kParts];
        const std::string name = fmt::format("{}encoder.layer.{}.", prefix, item / kParts);
        // The weights [n, k] in place when the file has them as aligned f32, else a copy.
        const auto matrix = [&](const std::string& tensor, size_t n, size_t k,
                                std::vector<float>& copy) -> Result<const float*> {
            const TensorView view = PX_TRY(weights.get(tensor, {n, k}));
            if (view.type == DataType::F32 &&
                reinterpret_cast<uintptr_t>(view.bytes.data()) % alignof(float) == 0) {
                return reinterpret_cast<const float*>(view.bytes.data());
            }
            copy.resize(n * k);
            view.read(0, n * k, copy.data());
            return static_cast<const float*>(copy.data());
        };
        const auto one = [&](const std::string& tensor, size_t n,
                             size_t k) -> Result<PackedLinear> {
            std::vector<float> copy;
            const float* weight = PX_TRY(matrix(tensor + ".weight", n, k, copy));
            const std::vector<float> bias = PX_TRY(read_tensor(weights, tensor + ".bias", {n}));
            return pack_linear(weight, bias.data(), k, n, kernels, precision);
        };
        switch (item % kParts) {
            case 0: {
                std::vector<float> weight(3 * h * h);
                std::vector<float> bias(3 * h);
                size_t part = 0;
                for (const char* which : {"query", "key", "value"}) {
                    const std::string tensor = fmt::format("{}attention.self.{}", name, which);
                    PX_TRY(weights.get(tensor + ".weight", {h, h}))
                        .read(0, h * h, weight.data() + part * h * h);
                    PX_TRY(weights.get(tensor + ".bias", {h})).read(0, h, bias.data() + part * h);
                    ++part;
                }
                layer.qkv = pack_linear(weight.data(), bias.data(), h, 3 * h, kernels, precision);
                break;
            }
            case 1:
                layer.attention_out = PX_TRY(one(name + "attention.output.dense", h, h));
                layer.attention_norm = PX_TRY(norm(name + "attention.output.LayerNorm"));
                layer.outer_norm = PX_TRY(norm(name + "output.LayerNorm"));
                break;
            case 2:
                layer.inner = PX_TRY(one(name + "intermediate.dense", f, h));
                break;
            default:
                layer.outer = PX_TRY(one(name + "output.dense", h, f));
                break;
        }
        return {};
    };
    PX_TRY(parallel_for(config.layers * kParts, thread_count, Deadline::never(), load_part));
    return bert;
}

void Bert::prepare(Workspace& workspace, size_t tokens) const {
    if (workspace.tokens >= tokens) return;
    const size_t h = config_.hidden_width;
    const size_t widest = round_up(std::max(h, config_.inner_width), 4);
    workspace.tokens = tokens;
    workspace.states = AlignedBuffer<float>(tokens * h);
    workspace.qkv = AlignedBuffer<float>(tokens * 3 * h);
    workspace.context = AlignedBuffer<float>(tokens * h);
    workspace.inner = AlignedBuffer<float>(kRowBlock * (config_.inner_width + h));
    workspace.scratch =
        AlignedBuffer<float>(attention_scratch_floats(config_.tokens_max, config_.head_width()));
    if (precision_ == Precision::Int8) {
        workspace.bytes = AlignedBuffer<uint8_t>(kRowBlock * widest);
        workspace.row_scale = AlignedBuffer<float>(kRowBlock);
    }
}

void Bert::embed(std::span<const int32_t> ids, std::span<const size_t> offsets,
                 float* states) const {
    const size_t h = config_.hidden_width;
    for (size_t text = 0; text + 1 < offsets.size(); ++text) {
        for (size_t at = offsets[text]; at < offsets[text + 1]; ++at) {
            float* row = states + at * h;
            words_.read(static_cast<size_t>(ids[at]) * h, h, row);
            const float* position = positions_.data() + (at - offsets[text]) * h;
            for (size_t i = 0; i < h; ++i) row[i] += position[i];
        }
    }
    kernels_->layer_norm(states, nullptr, ids.size(), h, embedding_norm_.weight.data(),
                         embedding_norm_.bias.data(), config_.epsilon);
}

void Bert::linear(const PackedLinear& layer, const float* in, size_t rows, float* out,
                  Activation activation, Workspace& workspace) const {
    if (precision_ == Precision::Int8) {
        kernels_->quantize(in, rows, layer.k, layer.padded_k, workspace.bytes.data(),
                           workspace.row_scale.data());
        kernels_->gemm_int8({workspace.bytes.data(), workspace.row_scale.data(), rows,
                             layer.int8.data(), layer.scale.data(), layer.offset.data(),
                             layer.bias.data(), layer.padded_k, layer.n, out, layer.n, activation});
        return;
    }
    kernels_->gemm({in, layer.k, rows, layer.f32.data(), layer.bf16.data(), layer.bias.data(),
                    layer.k, layer.n, out, layer.n, activation});
}

void Bert::forward(std::span<const int32_t> ids, std::span<const size_t> offsets,
                   Workspace& workspace, float* out) const {
    const size_t h = config_.hidden_width;
    const size_t tokens = ids.size();
    prepare(workspace, tokens);
    float* const states = workspace.states.data();
    float* const qkv = workspace.qkv.data();
    float* const context = workspace.context.data();
    float* const inner = workspace.inner.data();
    float* const outer = inner + kRowBlock * config_.inner_width;
    embed(ids, offsets, states);
    for (const Layer& layer : layers_) {
        for (size_t row = 0; row < tokens; row += kRowBlock) {
            linear(layer.qkv, states + row * h, std::min(kRowBlock, tokens - row),
                   qkv + row * 3 * h, Activation::None, workspace);
        }
        for (size_t text = 0; text + 1 < offsets.size(); ++text) {
            kernels_->attention({qkv + offsets[text] * 3 * h, offsets[text + 1] - offsets[text],
                                 config_.heads, config_.head_width(), context + offsets[text] * h,
                                 workspace.scratch.data()});
        }
        for (size_t row = 0; row < tokens; row += kRowBlock) {
            const size_t rows = std::min(kRowBlock, tokens - row);
            float* const state = states + row * h;
            linear(layer.attention_out, context + row * h, rows, outer, Activation::None,
                   workspace);
            kernels_->layer_norm(state, outer, rows, h, layer.attention_norm.weight.data(),
                                 layer.attention_norm.bias.data(), config_.epsilon);
            linear(layer.inner, state, rows, inner, Activation::Gelu, workspace);
            linear(layer.outer, inner, rows, outer, Activation::None, workspace);
            kernels_->layer_norm(state, outer, rows, h, layer.outer_norm.weight.data(),
                                 layer.outer_norm.bias.data(), config_.epsilon);
        }
    }
    for (size_t text = 0; text + 1 < offsets.size(); ++text) {
        const float* first = states + offsets[text] * h;
        if (config_.pooling == Pooling::Mean) {
            kernels_->mean_pool(first, offsets[text + 1] - offsets[text], h, out + text * h);
        } else {
            std::memcpy(out + text * h, first, h * sizeof(float));
            kernels_->normalize(out + text * h, h);
        }
    }
}

}  // namespace px::embed
