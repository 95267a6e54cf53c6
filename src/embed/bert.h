// The BERT encoder over packed weights: token ids of several texts, laid end to end without padding
// → one unit vector each. In the walk: the second half of embed. Immutable after load; forward()
// may run on any thread with a Workspace of its own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
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

/// One linear layer, its weights in the panels the kernels want (kernels.h). The memory is
/// another's.
struct PackedLinear {
    size_t k = 0;
    size_t n = 0;
    size_t panel = 0;
    Coding coding = Coding::F32;
    std::byte* weights = nullptr;  ///< [padded n / panel][words][panel], WideBf16: 2 bytes each
    float* bias = nullptr;         ///< [padded n]
    float* scale = nullptr;        ///< [padded n]; Int16 and Int8
    int32_t* offset = nullptr;     ///< [padded n]; Int8
    float* limit = nullptr;        ///< of EncodeArgs; Int16 and Int8

    PackedLinear() = default;
    PackedLinear(size_t k_of, size_t n_of, const Kernels& kernels, Coding coding_of)
        : k(k_of),
          n(n_of),
          panel(coding_of == Coding::Int8 ? kernels.panel_int8 : kernels.panel),
          coding(coding_of) {}
    size_t padded_n() const { return (n + panel - 1) / panel * panel; }
    size_t words() const {
        const size_t parts = values_per_word(coding);
        return (k + parts - 1) / parts;
    }
    /// Lets the pointers point into memory; null: only counts. Returns the bytes used, a multiple
    /// of 64.
    size_t bind(std::byte* memory);
    /// Fills the bound memory, all zeros before, from weight [n, k] (row-major, one row for each
    /// output) and bias [n].
    void pack(const float* weight, const float* bias_values);
};

/// How kernels compute a precision.
Coding coding_of(Precision precision, const Kernels& kernels);

/// Seconds in the parts of forward(), for measurements.
struct Profile {
    enum Part : size_t {
        Embed,
        QkvProduct,
        Attention,
        OutProduct,
        InnerProduct,
        OuterProduct,
        Encode,
        Norm,
        Pool,
        kParts
    };
    std::array<double, kParts> seconds{};
};

/// Scratch memory of one forward pass; kept and grown between passes. `group`: what one group of
/// heads or of inner columns makes.
struct Workspace {
    size_t tokens = 0;
    AlignedBuffer<float> states, coded_states, group, context, sums, coded, scratch;
    AlignedBuffer<float> state_scale, coded_scale;
    Profile* profile = nullptr;
};

class Bert {
  public:
    /// Packs weights for kernels and precision on up to thread_count threads. weights must outlive
    /// the model (its table of words is read in place). Errors: Corrupt, InvalidArgument (see
    /// Safetensors::get).
    static Result<Bert> load(const ModelConfig& config, const Safetensors& weights,
                             const Kernels& kernels, Precision precision, size_t thread_count);

    /// The same from memory() of a model loaded with the same arguments. Errors: Corrupt (another
    /// size), and those of load for the table of words.
    static Result<Bert> open(const ModelConfig& config, const Safetensors& weights,
                             const Kernels& kernels, Precision precision, MappedFile memory,
                             size_t memory_offset);

    /// ids: the texts' tokens one after another, each id below vocabulary_size; offsets: [texts +
    /// 1]; no text is empty or longer than tokens_max. out: [texts, hidden_width].
    void forward(std::span<const int32_t> ids, std::span<const size_t> offsets,
                 Workspace& workspace, float* out) const;

    const ModelConfig& config() const { return config_; }
    /// All that was packed: what open() takes.
    std::string_view memory() const { return memory_.bytes().substr(memory_offset_); }

  private:
    struct Norm {
        float* weight = nullptr;
        float* bias = nullptr;
    };
    /// Wide layers come in groups whose output for a pass of texts stays in the cache: heads with
    /// their queries, keys and values, and slices of the inner columns, each with its part of the
    /// sums behind them.
    struct Heads {
        PackedLinear qkv;
        size_t first = 0, count = 0;
    };
    struct Slice {
        PackedLinear inner, outer;
        size_t first = 0;  ///< inner column
    };
    struct Layer {
        std::vector<Heads> heads;
        PackedLinear attention_out;
        std::vector<Slice> slices;
        Norm attention_norm, outer_norm;
    };

    static Result<Bert> make(const ModelConfig& config, const Safetensors& weights,
                             const Kernels& kernels, Precision precision);
    size_t bind(std::byte* memory);
    Result<void> pack(const Safetensors& weights, size_t thread_count);
    void embed(std::span<const int32_t> ids, std::span<const size_t> offsets,
               Workspace& workspace) const;
    void product(const PackedLinear& layer, const float* in, const float* scale, size_t rows,
                 float* out, After after) const;
    const float* encode(const PackedLinear& layer, const float* in, size_t rows,
                        Workspace& workspace) const;
    void norm(const Norm& norm, const float* residual, size_t rows, const PackedLinear& next,
              Workspace& workspace) const;
    void attend(const Layer& layer, std::span<const size_t> offsets, Workspace& workspace) const;
    void feed(const Layer& layer, size_t tokens, Workspace& workspace) const;
    void prepare(Workspace& workspace, size_t tokens) const;

    ModelConfig config_;
    const Kernels* kernels_ = nullptr;
    Coding coding_ = Coding::F32;
    Coding attention_ = Coding::F32;
    std::string prefix_;  ///< of the tensors' names
    TensorView words_;
    MappedFile memory_;
    size_t memory_offset_ = 0;
    float* positions_ = nullptr;  ///< [positions, H], the row of token type 0 added
    Norm embedding_norm_;
    std::vector<Layer> layers_;
};

}  // namespace px::embed
