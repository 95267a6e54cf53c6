// The arithmetic of the encoder, one table of functions for each instruction set. Scalar is the
// reference; tests compare the others with it. A row of a result depends on its own row of input
// alone: every sum runs in one order that neither the number of rows nor their place in the batch
// changes. Pure functions; any thread.
//
// Letters: R rows (tokens), K inner width, N outer width, H hidden width, D head width, A heads, L
// tokens of one text.
#pragma once

#include <cstddef>
#include <cstdint>

namespace px::embed {

/// What follows the bias of a product.
enum class Activation { None, Gelu };

/// C[R, N] = act(A[R, K] · W + bias), W packed by pack_weights: panels of `panel` columns, each [K,
/// panel]. Exactly one of f32 and bf16 is set. N is padded with zero columns to whole panels.
struct GemmArgs {
    const float* a;  ///< [rows, k], lda floats from row to row
    size_t lda;
    size_t rows;
    const float* f32;
    const uint16_t* bf16;
    const float* bias;  ///< [padded n]
    size_t k;
    size_t n;
    float* c;  ///< [rows, n]
    size_t ldc;
    Activation activation;
};

/// C[R, N] = act(scale_a · scale_w · (A − 128) · W + bias) with A as bytes around 128 and W packed
/// in panels of [K / 4, panel, 4] signed bytes. K padded to 4 with A = 128 and W = 0.
struct GemmInt8Args {
    const uint8_t* a;  ///< [rows, k]
    const float* a_scale;
    size_t rows;
    const int8_t* w;
    const float* w_scale;     ///< [padded n]
    const int32_t* w_offset;  ///< [padded n]: 128 · sum of the column
    const float* bias;        ///< [padded n]
    size_t k;                 ///< padded
    size_t n;
    float* c;
    size_t ldc;
    Activation activation;
};

/// Attention of one text: out[L, H] = softmax(Q Kᵀ / √D) V for each head, heads side by side.
struct AttentionArgs {
    const float* qkv;  ///< [L, 3 H]: queries, keys, values
    size_t tokens;
    size_t heads;
    size_t head_width;
    float* out;      ///< [L, H]
    float* scratch;  ///< attention_scratch_floats(L, D) floats, 64-byte aligned
};

constexpr size_t kPanelMax = 64;    ///< columns of the widest panel
constexpr size_t kQueryBlock = 24;  ///< query rows worked on at once
constexpr size_t attention_scratch_floats(size_t tokens, size_t head_width) {
    const size_t padded_tokens = (tokens + kPanelMax - 1) / kPanelMax * kPanelMax;
    const size_t padded_head = (head_width + kPanelMax - 1) / kPanelMax * kPanelMax;
    return padded_tokens * head_width + tokens * padded_head +
           kQueryBlock * (padded_tokens + padded_head);
}

struct Kernels {
    const char* name;
    size_t panel;       ///< columns of a packed f32 or bf16 panel
    size_t panel_int8;  ///< columns of a packed int8 panel
    void (*gemm)(const GemmArgs& args);
    void (*gemm_int8)(const GemmInt8Args& args);
    void (*attention)(const AttentionArgs& args);
    /// x = layer_norm(x + residual) · weight + bias, row by row; residual may be null. Source: Ba
    /// et al. 2016.
    void (*layer_norm)(float* x, const float* residual, size_t rows, size_t width,
                       const float* weight, const float* bias, float epsilon);
    /// Mean of the rows, then L2 norm 1 (a zero vector stays zero).
    void (*mean_pool)(const float* x, size_t rows, size_t width, float* out);
    void (*normalize)(float* x, size_t width);
    /// q = 128 + round(x / scale) with scale = max |x| / 127 of the row; columns from width to
    /// padded are 128.
    void (*quantize)(const float* x, size_t rows, size_t width, size_t padded, uint8_t* q,
                     float* scale);
};

extern const Kernels kScalarKernels;
#if defined(PX_X86_KERNELS)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512VnniKernels;
#endif

}  // namespace px::embed
