// The arithmetic of the encoder, one table of functions for each instruction set. Scalar is the
// reference; tests compare the others with it. A row of a result depends on its own text alone:
// every sum runs in one order that neither the number of rows nor their place in the batch changes.
// Pure functions; any thread.
//
// Letters: R rows (tokens), K inner width, N outer width, H hidden width, D head width, A heads, L
// tokens of one text, W words: the 4-byte units in which the K values of a row are kept.
#pragma once

#include <cstddef>
#include <cstdint>

namespace px::embed {

/// What becomes of a product and its bias: stored, stored through GELU, or added to what is there.
enum class After { Store, Gelu, Add };

/// How the two sides of a product are kept and multiplied.
enum class Coding : uint8_t {
    F32,       ///< a word is one f32
    WideBf16,  ///< rows as F32; weights are 2-byte bf16, widened when read
    Bf16,      ///< a word is two bf16; products of pairs are added to f32 sums
    Int16,     ///< a word is two int16; a scale for each row and column, exact 32-bit sums
    Int8,      ///< a word is four bytes, those of rows around 128; scales and sums as Int16
};

constexpr size_t values_per_word(Coding coding) {
    return coding == Coding::Int8 ? 4 : coding == Coding::Int16 || coding == Coding::Bf16 ? 2 : 1;
}
/// True where rows are turned into words by encode(); else the f32 themselves are the words.
constexpr bool is_encoded(Coding coding) { return values_per_word(coding) != 1; }
/// True where rows and columns have scales.
constexpr bool is_scaled(Coding coding) {
    return coding == Coding::Int16 || coding == Coding::Int8;
}

/// Turns rows of f32 into words. Int8: scale = max |x| / limit of the row; Int16: scale = the
/// larger of max |x| / 32767 and |x| / limit, |x| the length of the row. Value = round(x / scale)
/// to the nearest, halves to even, Int8 with 128 added. Values from width to the end of the last
/// word are 0.
struct EncodeArgs {
    const float* x;  ///< [rows, width]
    size_t rows;
    size_t width;
    Coding coding;
    float limit;   ///< Int8: largest whole number; Int16: longest row of whole numbers
    float* out;    ///< [rows, words of width]
    float* scale;  ///< [rows]; Int16 and Int8
};

/// C[R, N] = A[R, K] · W + bias, then `after`; W packed by PackedLinear in panels of `panel`
/// columns, each [W, panel] words. N is padded with zero columns to whole panels.
/// Int16 and Int8: scale_a · scale_w · (sum − offset) + bias.
struct ProductArgs {
    Coding coding;
    const float* a;        ///< [rows, words]
    const float* a_scale;  ///< [rows]; Int16 and Int8
    size_t rows;
    size_t words;
    const void* w;
    const float* w_scale;     ///< [padded n]; Int16 and Int8
    const int32_t* w_offset;  ///< [padded n]; Int8: 128 · sum of the column
    const float* bias;        ///< [padded n]
    size_t n;
    float* c;  ///< [rows, n]
    After after;
};

/// Attention of one text: out[L, A · D] = softmax(Q Kᵀ / √D) V for each head, heads side by side.
struct AttentionArgs {
    const float* qkv;  ///< [L, 3 A · D]: queries, keys, values
    size_t tokens;
    size_t heads;
    size_t head_width;
    Coding coding;  ///< F32, or the table's attention coding
    float* out;     ///< rows of A · D, out_stride apart
    size_t out_stride;
    float* scratch;  ///< attention_scratch_floats(L, D) floats, 64-byte aligned
};

constexpr size_t kPanelMax = 64;    ///< columns of the widest panel
constexpr size_t kQueryBlock = 24;  ///< query rows worked on at once
constexpr size_t attention_scratch_floats(size_t tokens, size_t head_width) {
    const size_t padded_tokens = tokens + kPanelMax;
    const size_t padded_head = head_width + kPanelMax;
    return padded_tokens * padded_head + padded_tokens * padded_head +
           2 * kQueryBlock * (padded_tokens + padded_head);
}

/// x = layer_norm(x + residual) · weight + bias, row by row, then the rows as words as by encode().
/// Source: Ba et al. 2016.
struct NormArgs {
    float* x;               ///< [rows, width]
    const float* residual;  ///< [rows, width], or null
    size_t rows;
    size_t width;
    const float* weight;
    const float* bias;
    float epsilon;
    Coding coding;
    float limit;
    float* out;  ///< as EncodeArgs::out, or null: no words wanted
    float* scale;
};

struct Kernels {
    const char* name;
    Coding coding_16;  ///< how Precision::Bf16 is computed: WideBf16, Int16 or Bf16
    Coding attention;  ///< coding of attention for Bf16 and Int8
    size_t panel;      ///< columns of a packed panel
    size_t panel_int8;
    void (*encode)(const EncodeArgs& args);
    void (*product)(const ProductArgs& args);
    void (*attend)(const AttentionArgs& args);
    void (*layer_norm)(const NormArgs& args);
    /// Mean of the rows, then L2 norm 1 (a zero vector stays zero).
    void (*mean_pool)(const float* x, size_t rows, size_t width, float* out);
    void (*normalize)(float* x, size_t width);
};

extern const Kernels kScalarKernels;
#if defined(PX_X86_KERNELS)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512VnniKernels;
extern const Kernels kAvx512Bf16Kernels;
#endif
#if defined(PX_ARM_KERNELS)
extern const Kernels kNeonKernels;
#endif

}  // namespace px::embed
