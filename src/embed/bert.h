// The BERT encoder over packed weights: token ids of several texts, laid end to end without padding
// → one unit vector each. In the walk: the second half of embed. Immutable after load; forward()
// may run on any thread with a Workspace of its own.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "embed/encoder.h"
#include "embed/kernels/kernels.h"
#include "embed/model_config.h"
#include "embed/safetensors.h"

namespace px::embed {

/// Memory aligned for the widest vectors, left as it comes.
template <class T>
class AlignedBuffer {
  public:
    AlignedBuffer() = default;
    explicit AlignedBuffer(size_t count)
        : data_(static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 127) / 64 * 64))),
          size_(count) {
        if (data_ == nullptr) std::abort();
    }
    T* data() { return data_.get(); }
    const T* data() const { return data_.get(); }
    size_t size() const { return size_; }
    T& operator[](size_t i) { return data_.get()[i]; }
    const T& operator[](size_t i) const { return data_.get()[i]; }

  private:
    struct Free {
        void operator()(T* data) const { std::free(data); }
    };
    std::unique_ptr<T, Free> data_;
    size_t size_ = 0;
};

/// One linear layer, its weights in the panels the kernels want (kernels.h).
struct PackedLinear {
    size_t k = 0;
    size_t n = 0;
    size_t padded_k = 0;  ///< int8: k rounded up to 4; else k
    AlignedBuffer<float> f32;
    AlignedBuffer<uint16_t> bf16;
    AlignedBuffer<int8_t> int8;
    AlignedBuffer<float> scale;
    AlignedBuffer<int32_t> offset;
    AlignedBuffer<float> bias;
};

/// Packs weight [n, k] (row-major, one row for each output) and bias [n] for kernels and precision.
PackedLinear pack_linear(const float* weight, const float* bias, size_t k, size_t n,
                         const Kernels& kernels, Precision precision);

/// Scratch memory of one forward pass; kept and grown between passes.
struct Workspace {
    size_t tokens = 0;
    AlignedBuffer<float> states, qkv, context, inner, scratch, row_scale;
    AlignedBuffer<uint8_t> bytes;
};

class Bert {
  public:
    /// weights must outlive the model (its embedding tables are read in place). Packs on up to
    /// thread_count threads. Errors: Corrupt, InvalidArgument (see Safetensors::get).
    static Result<Bert> load(const ModelConfig& config, const Safetensors& weights,
                             const Kernels& kernels, Precision precision, size_t thread_count);

    /// ids: the texts' tokens one after another, each id below vocabulary_size; offsets: [texts +
    /// 1]; no text is empty or longer than tokens_max. out: [texts, hidden_width].
    void forward(std::span<const int32_t> ids, std::span<const size_t> offsets,
                 Workspace& workspace, float* out) const;

    const ModelConfig& config() const { return config_; }

  private:
    struct Norm {
        std::vector<float> weight, bias;
    };
    struct Layer {
        PackedLinear qkv, attention_out, inner, outer;
        Norm attention_norm, outer_norm;
    };

    void embed(std::span<const int32_t> ids, std::span<const size_t> offsets, float* states) const;
    void linear(const PackedLinear& layer, const float* in, size_t rows, float* out,
                Activation activation, Workspace& workspace) const;
    void prepare(Workspace& workspace, size_t tokens) const;

    ModelConfig config_;
    const Kernels* kernels_ = nullptr;
    Precision precision_ = Precision::Fp32;
    TensorView words_;
    std::vector<float> positions_;  ///< [positions, H], the row of token type 0 added
    Norm embedding_norm_;
    std::vector<Layer> layers_;
};

}  // namespace px::embed
