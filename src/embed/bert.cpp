// Letters as in kernels/kernels.h. Source: Devlin et al. 2019 (post-norm encoder).
#include "embed/bert.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <ctime>
#include <string>

#include <fmt/format.h>

#include "base/parallel.h"

namespace px::embed {

namespace {

/// Columns of a group, about.
constexpr size_t kGroupColumns = 384;

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

/// The largest whole number in the weights of Int16: 13 bits and a sign.
constexpr float kWeightLimit16 = 8191.0F;

/// Calls put(k, value) for each weight of one column, as whole numbers of up to limit.
template <class Put>
float quantize_column(const float* row, size_t k, float limit, const Put& put) {
    float largest = 0;
    for (size_t at = 0; at < k; ++at) largest = std::max(largest, std::fabs(row[at]));
    const float inverse = largest > 0 ? limit / largest : 0.0F;
    for (size_t at = 0; at < k; ++at) put(at, static_cast<int32_t>(std::lrint(row[at] * inverse)));
    return largest / limit;
}

Result<std::vector<float>> read_tensor(const Safetensors& weights, const std::string& name,
                                       const std::vector<size_t>& shape) {
    const TensorView view = PX_TRY(weights.get(name, shape));
    std::vector<float> values(view.element_count());
    view.read(0, values.size(), values.data());
    return values;
}

double thread_seconds() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// Adds up the time of a part of a pass where somebody wants to know it.
template <class Body>
void timed(const Workspace& workspace, Profile::Part part, const Body& body) {
    if (workspace.profile == nullptr) return body();
    const double start = thread_seconds();
    body();
    workspace.profile->seconds[part] += thread_seconds() - start;
}

/// Hands out parts of one stretch of memory, each at a multiple of 64.
class Carver {
  public:
    explicit Carver(std::byte* memory) : memory_(memory) {}
    template <class T>
    T* take(size_t count) {
        T* const part = memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + used_);
        used_ += round_up(count * sizeof(T), 64);
        return part;
    }
    void linear(PackedLinear& layer) {
        used_ += layer.bind(memory_ == nullptr ? nullptr : memory_ + used_);
    }
    size_t used() const { return used_; }

  private:
    std::byte* memory_;
    size_t used_ = 0;
};

}  // namespace

Coding coding_of(Precision precision, const Kernels& kernels) {
    switch (precision) {
        case Precision::Fp32:
            return Coding::F32;
        case Precision::Bf16:
            return kernels.coding_16;
        case Precision::Int8:
            break;
    }
    return Coding::Int8;
}

size_t PackedLinear::bind(std::byte* memory) {
    Carver carver(memory);
    const size_t columns = padded_n();
    weights = carver.take<std::byte>(columns * words() * (coding == Coding::WideBf16 ? 2 : 4));
    bias = carver.take<float>(columns);
    if (is_scaled(coding)) {
        scale = carver.take<float>(columns);
        limit = carver.take<float>(1);
    }
    if (coding == Coding::Int8) offset = carver.take<int32_t>(columns);
    return carver.used();
}

void PackedLinear::pack(const float* weight, const float* bias_values) {
    std::copy_n(bias_values, n, bias);
    const size_t parts = values_per_word(coding);
    // Where value `at` of a column is among values of the same width.
    const auto place = [&](size_t column, size_t at) {
        const size_t first = column / panel * panel;
        return first * words() * parts + (at / parts * panel + column - first) * parts + at % parts;
    };
    auto* const singles = reinterpret_cast<float*>(weights);
    auto* const halves = reinterpret_cast<uint16_t*>(weights);
    auto* const bytes = reinterpret_cast<int8_t*>(weights);
    switch (coding) {
        case Coding::F32:
            each_packed(weight, k, n, panel, [&](size_t at, float value) { singles[at] = value; });
            return;
        case Coding::WideBf16:
            each_packed(weight, k, n, panel,
                        [&](size_t at, float value) { halves[at] = to_bf16(value); });
            return;
        case Coding::Bf16:
            for (size_t column = 0; column < n; ++column) {
                for (size_t at = 0; at < k; ++at)
                    halves[place(column, at)] = to_bf16(weight[column * k + at]);
            }
            return;
        case Coding::Int16: {
            // No sum of products leaves 32 bits: it is at most the length of the row times that of
            // the column (Cauchy, Schwarz), and so are all sums on the way.
            double longest = 1;
            for (size_t column = 0; column < n; ++column) {
                double squares = 0;
                scale[column] = quantize_column(
                    weight + column * k, k, kWeightLimit16, [&](size_t at, int32_t value) {
                        halves[place(column, at)] = static_cast<uint16_t>(value);
                        squares += static_cast<double>(value) * value;
                    });
                longest = std::max(longest, std::sqrt(squares));
            }
            // Rounding lengthens a row by no more than half a step for each value; a thousandth is
            // for the floats that measure it.
            const double length = 0x7FFFFFFF / longest * 0.999;
            *limit = static_cast<float>(length - 0.5 * std::sqrt(static_cast<double>(k)));
            return;
        }
        case Coding::Int8:
            *limit = 127.0F;
            for (size_t column = 0; column < n; ++column) {
                int32_t sum = 0;
                scale[column] =
                    quantize_column(weight + column * k, k, 127.0F, [&](size_t at, int32_t value) {
                        bytes[place(column, at)] = static_cast<int8_t>(value);
                        sum += value;
                    });
                offset[column] = 128 * sum;
            }
            return;
    }
}

Result<Bert> Bert::make(const ModelConfig& config, const Safetensors& weights,
                        const Kernels& kernels, Precision precision) {
    Bert bert;
    bert.config_ = config;
    bert.kernels_ = &kernels;
    bert.coding_ = coding_of(precision, kernels);
    bert.attention_ = precision == Precision::Fp32 ? Coding::F32 : kernels.attention;
    // Some files keep the name of the model around the encoder in front.
    if (weights.has("bert.embeddings.word_embeddings.weight")) bert.prefix_ = "bert.";
    const size_t h = config.hidden_width;
    const size_t f = config.inner_width;
    bert.words_ = PX_TRY(weights.get(bert.prefix_ + "embeddings.word_embeddings.weight",
                                     {config.vocabulary_size, h}));
    bert.layers_.resize(config.layers);
    const size_t head = config.head_width();
    const size_t heads = std::max<size_t>(1, kGroupColumns / (3 * head));
    for (Layer& layer : bert.layers_) {
        for (size_t first = 0; first < config.heads; first += heads) {
            const size_t count = std::min(heads, config.heads - first);
            layer.heads.push_back(
                {PackedLinear(h, 3 * count * head, kernels, bert.coding_), first, count});
        }
        layer.attention_out = PackedLinear(h, h, kernels, bert.coding_);
        for (size_t first = 0; first < f; first += kGroupColumns) {
            const size_t count = std::min(kGroupColumns, f - first);
            layer.slices.push_back({PackedLinear(h, count, kernels, bert.coding_),
                                    PackedLinear(count, h, kernels, bert.coding_), first});
        }
    }
    return bert;
}

size_t Bert::bind(std::byte* memory) {
    const size_t h = config_.hidden_width;
    Carver carver(memory);
    const auto norm = [&] { return Norm{carver.take<float>(h), carver.take<float>(h)}; };
    positions_ = carver.take<float>(config_.positions * h);
    embedding_norm_ = norm();
    for (Layer& layer : layers_) {
        for (Heads& group : layer.heads) carver.linear(group.qkv);
        carver.linear(layer.attention_out);
        layer.attention_norm = norm();
        for (Slice& slice : layer.slices) carver.linear(slice.inner);
        for (Slice& slice : layer.slices) carver.linear(slice.outer);
        layer.outer_norm = norm();
    }
    return carver.used();
}

Result<Bert> Bert::load(const ModelConfig& config, const Safetensors& weights,
                        const Kernels& kernels, Precision precision, size_t thread_count) {
    Bert bert = PX_TRY(make(config, weights, kernels, precision));
    bert.memory_ = PX_TRY(MappedFile::zeros(bert.bind(nullptr)));
    bert.bind(bert.memory_.data());
    PX_TRY(bert.pack(weights, thread_count));
    return bert;
}

Result<Bert> Bert::open(const ModelConfig& config, const Safetensors& weights,
                        const Kernels& kernels, Precision precision, MappedFile memory,
                        size_t memory_offset) {
    Bert bert = PX_TRY(make(config, weights, kernels, precision));
    const size_t needed = bert.bind(nullptr);
    if (memory_offset % 64 != 0 || memory.bytes().size() != memory_offset + needed) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("{} bytes at {} are no packed model of {} bytes",
                                memory.bytes().size(), memory_offset, needed),
                    "Remove the packed file: it is made anew");
    }
    bert.memory_ = std::move(memory);
    bert.memory_offset_ = memory_offset;
    bert.bind(bert.memory_.data() + memory_offset);
    return bert;
}

Result<void> Bert::pack(const Safetensors& weights, size_t thread_count) {
    const size_t h = config_.hidden_width;
    const size_t f = config_.inner_width;
    const auto copy = [&](const std::string& name, const std::vector<size_t>& shape,
                          float* out) -> Result<void> {
        const TensorView view = PX_TRY(weights.get(prefix_ + name, shape));
        view.read(0, view.element_count(), out);
        return {};
    };
    const auto read_norm = [&](const std::string& name, const Norm& norm) -> Result<void> {
        PX_TRY(copy(name + ".weight", {h}, norm.weight));
        return copy(name + ".bias", {h}, norm.bias);
    };
    PX_TRY(copy("embeddings.position_embeddings.weight", {config_.positions, h}, positions_));
    const std::vector<float> types = PX_TRY(read_tensor(
        weights, prefix_ + "embeddings.token_type_embeddings.weight", {config_.types, h}));
    for (size_t i = 0; i < config_.positions * h; ++i) positions_[i] += types[i % h];
    PX_TRY(read_norm("embeddings.LayerNorm", embedding_norm_));

    // Groups that read the same rows read them encoded with one limit.
    const auto share_limit = [&](auto& groups, auto linear) {
        if (!is_scaled(coding_)) return;
        float least = *linear(groups.front()).limit;
        for (auto& group : groups) least = std::min(least, *linear(group).limit);
        for (auto& group : groups) *linear(group).limit = least;
    };
    constexpr size_t kParts = 4;
    const auto pack_part = [&](size_t item) -> Result<void> {
        Layer& layer = layers_[item / kParts];
        const std::string name = fmt::format("encoder.layer.{}.", item / kParts);
        const auto tensor = [&](const std::string& of, const std::vector<size_t>& shape) {
            return read_tensor(weights, prefix_ + name + of, shape);
        };
        switch (item % kParts) {
            case 0: {
                std::vector<std::vector<float>> weight, bias;
                for (const char* which : {"query", "key", "value"}) {
                    const std::string of = fmt::format("attention.self.{}", which);
                    weight.push_back(PX_TRY(tensor(of + ".weight", {h, h})));
                    bias.push_back(PX_TRY(tensor(of + ".bias", {h})));
                }
                const size_t head = config_.head_width();
                for (Heads& group : layer.heads) {
                    std::vector<float> rows, biases;
                    const auto from = static_cast<std::ptrdiff_t>(group.first * head);
                    const auto to = from + static_cast<std::ptrdiff_t>(group.count * head);
                    const auto wide = static_cast<std::ptrdiff_t>(h);
                    for (size_t part = 0; part < weight.size(); ++part) {
                        rows.insert(rows.end(), weight[part].begin() + from * wide,
                                    weight[part].begin() + to * wide);
                        biases.insert(biases.end(), bias[part].begin() + from,
                                      bias[part].begin() + to);
                    }
                    group.qkv.pack(rows.data(), biases.data());
                }
                share_limit(layer.heads, [](Heads& group) -> PackedLinear& { return group.qkv; });
                return {};
            }
            case 1: {
                PX_TRY(read_norm(name + "attention.output.LayerNorm", layer.attention_norm));
                PX_TRY(read_norm(name + "output.LayerNorm", layer.outer_norm));
                const auto weight = PX_TRY(tensor("attention.output.dense.weight", {h, h}));
                const auto bias = PX_TRY(tensor("attention.output.dense.bias", {h}));
                layer.attention_out.pack(weight.data(), bias.data());
                return {};
            }
            case 2: {
                const auto weight = PX_TRY(tensor("intermediate.dense.weight", {f, h}));
                const auto bias = PX_TRY(tensor("intermediate.dense.bias", {f}));
                for (Slice& slice : layer.slices)
                    slice.inner.pack(weight.data() + slice.first * h, bias.data() + slice.first);
                share_limit(layer.slices,
                            [](Slice& slice) -> PackedLinear& { return slice.inner; });
                return {};
            }
            default: {
                const auto weight = PX_TRY(tensor("output.dense.weight", {h, f}));
                auto bias = PX_TRY(tensor("output.dense.bias", {h}));
                std::vector<float> part;
                for (Slice& slice : layer.slices) {
                    part.resize(h * slice.outer.k);
                    for (size_t row = 0; row < h; ++row)
                        std::copy_n(weight.data() + row * f + slice.first, slice.outer.k,
                                    part.data() + row * slice.outer.k);
                    slice.outer.pack(part.data(), bias.data());
                    std::fill(bias.begin(), bias.end(), 0.0F);  // the first slice brings it
                }
                return {};
            }
        }
    };
    return parallel_for(config_.layers * kParts, thread_count, Deadline::never(), pack_part);
}

void Bert::prepare(Workspace& workspace, size_t tokens) const {
    if (workspace.tokens >= tokens) return;
    const size_t h = config_.hidden_width;
    size_t widest = 0;  // of the groups
    for (const Heads& group : layers_.front().heads) widest = std::max(widest, group.qkv.n);
    for (const Slice& slice : layers_.front().slices) widest = std::max(widest, slice.inner.n);
    workspace.tokens = tokens;
    workspace.states = AlignedBuffer<float>(tokens * h);
    workspace.group = AlignedBuffer<float>(tokens * widest);
    workspace.context = AlignedBuffer<float>(tokens * h);
    workspace.sums = AlignedBuffer<float>(tokens * h);
    workspace.scratch =
        AlignedBuffer<float>(attention_scratch_floats(config_.tokens_max, config_.head_width()));
    if (is_encoded(coding_)) {
        const size_t parts = values_per_word(coding_);
        workspace.coded_states = AlignedBuffer<float>(tokens * (round_up(h, parts) / parts));
        workspace.coded =
            AlignedBuffer<float>(tokens * (round_up(std::max(h, widest), parts) / parts));
        workspace.state_scale = AlignedBuffer<float>(tokens);
        workspace.coded_scale = AlignedBuffer<float>(tokens);
    }
}

/// The rows as a product by `layer` wants them: encoded into workspace.coded unless f32 do.
const float* Bert::encode(const PackedLinear& layer, const float* in, size_t rows,
                          Workspace& workspace) const {
    if (!is_encoded(coding_)) return in;
    timed(workspace, Profile::Encode, [&] {
        kernels_->encode({in, rows, layer.k, coding_, layer.limit == nullptr ? 0.0F : *layer.limit,
                          workspace.coded.data(), workspace.coded_scale.data()});
    });
    return workspace.coded.data();
}

void Bert::product(const PackedLinear& layer, const float* in, const float* scale, size_t rows,
                   float* out, After after) const {
    kernels_->product({layer.coding, in, scale, rows, layer.words(), layer.weights, layer.scale,
                       layer.offset, layer.bias, layer.n, out, after});
}

/// states = norm(states + residual), encoded for the product that follows.
void Bert::norm(const Norm& norm, const float* residual, size_t rows, const PackedLinear& next,
                Workspace& workspace) const {
    kernels_->layer_norm({workspace.states.data(), residual, rows, config_.hidden_width,
                          norm.weight, norm.bias, config_.epsilon, coding_,
                          next.limit == nullptr ? 0.0F : *next.limit,
                          is_encoded(coding_) ? workspace.coded_states.data() : nullptr,
                          workspace.state_scale.data()});
}

void Bert::embed(std::span<const int32_t> ids, std::span<const size_t> offsets,
                 Workspace& workspace) const {
    const size_t h = config_.hidden_width;
    for (size_t text = 0; text + 1 < offsets.size(); ++text) {
        for (size_t at = offsets[text]; at < offsets[text + 1]; ++at) {
            float* row = workspace.states.data() + at * h;
            words_.read(static_cast<size_t>(ids[at]) * h, h, row);
            const float* position = positions_ + (at - offsets[text]) * h;
            for (size_t i = 0; i < h; ++i) row[i] += position[i];
        }
    }
    norm(embedding_norm_, nullptr, ids.size(), layers_.front().heads.front().qkv, workspace);
}

/// sums = the attention of every text over the states.
void Bert::attend(const Layer& layer, std::span<const size_t> offsets, Workspace& workspace) const {
    const size_t h = config_.hidden_width;
    const size_t head = config_.head_width();
    const size_t tokens = offsets.back();
    const float* const states =
        is_encoded(coding_) ? workspace.coded_states.data() : workspace.states.data();
    float* const qkv = workspace.group.data();
    float* const context = workspace.context.data();
    for (const Heads& group : layer.heads) {
        timed(workspace, Profile::QkvProduct, [&] {
            product(group.qkv, states, workspace.state_scale.data(), tokens, qkv, After::Store);
        });
        timed(workspace, Profile::Attention, [&] {
            for (size_t text = 0; text + 1 < offsets.size(); ++text) {
                kernels_->attend({qkv + offsets[text] * group.qkv.n,
                                  offsets[text + 1] - offsets[text], group.count, head, attention_,
                                  context + offsets[text] * h + group.first * head, h,
                                  workspace.scratch.data()});
            }
        });
    }
    const float* in = encode(layer.attention_out, context, tokens, workspace);
    timed(workspace, Profile::OutProduct, [&] {
        product(layer.attention_out, in, workspace.coded_scale.data(), tokens,
                workspace.sums.data(), After::Store);
    });
}

/// sums = the feed-forward part over the states.
void Bert::feed(const Layer& layer, size_t tokens, Workspace& workspace) const {
    const float* const states =
        is_encoded(coding_) ? workspace.coded_states.data() : workspace.states.data();
    float* const inner = workspace.group.data();
    for (const Slice& slice : layer.slices) {
        timed(workspace, Profile::InnerProduct, [&] {
            product(slice.inner, states, workspace.state_scale.data(), tokens, inner, After::Gelu);
        });
        const float* in = encode(slice.outer, inner, tokens, workspace);
        timed(workspace, Profile::OuterProduct, [&] {
            product(slice.outer, in, workspace.coded_scale.data(), tokens, workspace.sums.data(),
                    slice.first == 0 ? After::Store : After::Add);
        });
    }
}

void Bert::forward(std::span<const int32_t> ids, std::span<const size_t> offsets,
                   Workspace& workspace, float* out) const {
    const size_t h = config_.hidden_width;
    const size_t tokens = ids.size();
    prepare(workspace, tokens);
    timed(workspace, Profile::Embed, [&] { embed(ids, offsets, workspace); });
    for (size_t index = 0; index < layers_.size(); ++index) {
        const Layer& layer = layers_[index];
        const Layer& next = layers_[std::min(index + 1, layers_.size() - 1)];
        attend(layer, offsets, workspace);
        timed(workspace, Profile::Norm, [&] {
            norm(layer.attention_norm, workspace.sums.data(), tokens, layer.slices.front().inner,
                 workspace);
        });
        feed(layer, tokens, workspace);
        timed(workspace, Profile::Norm, [&] {
            norm(layer.outer_norm, workspace.sums.data(), tokens, next.heads.front().qkv,
                 workspace);
        });
    }
    timed(workspace, Profile::Pool, [&] {
        for (size_t text = 0; text + 1 < offsets.size(); ++text) {
            const float* first = workspace.states.data() + offsets[text] * h;
            if (config_.pooling == Pooling::Mean) {
                kernels_->mean_pool(first, offsets[text + 1] - offsets[text], h, out + text * h);
            } else {
                std::memcpy(out + text * h, first, h * sizeof(float));
                kernels_->normalize(out + text * h, h);
            }
        }
    });
}

}  // namespace px::embed
