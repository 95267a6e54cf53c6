// Kernels for 64-bit ARM: the vectors every such processor has.
#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace px::embed {

namespace {

using Vec = float32x4_t;
constexpr size_t kWidth = 4;
constexpr size_t kPanelVecs = 4;
constexpr size_t kAccumulators = 24;

inline Vec vec_load(const float* p) { return vld1q_f32(p); }
inline void vec_store(float* p, Vec v) { vst1q_f32(p, v); }
inline Vec vec_set(float x) { return vdupq_n_f32(x); }
inline Vec vec_add(Vec a, Vec b) { return vaddq_f32(a, b); }
inline Vec vec_sub(Vec a, Vec b) { return vsubq_f32(a, b); }
inline Vec vec_mul(Vec a, Vec b) { return vmulq_f32(a, b); }
inline Vec vec_fma(Vec a, Vec b, Vec c) { return vfmaq_f32(c, a, b); }
inline Vec vec_min(Vec a, Vec b) { return vminq_f32(a, b); }
inline Vec vec_max(Vec a, Vec b) { return vmaxq_f32(a, b); }
inline Vec vec_round(Vec v) { return vrndnq_f32(v); }
/// v · 2^n, n whole and at least -126.
inline Vec vec_scale2(Vec v, Vec n) {
    const int32x4_t bits = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23);
    return vmulq_f32(v, vreinterpretq_f32_s32(bits));
}
/// v, or 0 where x < limit.
inline Vec vec_zero_below(Vec v, Vec x, Vec limit) {
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(v), vcltq_f32(x, limit)));
}
inline float vec_sum(Vec v) { return vaddvq_f32(v); }
inline float vec_inverse_sqrt(float x) {
    return 1.0F / vgetq_lane_f32(vsqrtq_f32(vdupq_n_f32(x)), 0);
}
inline Vec vec_widen(const uint16_t* p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}
/// A block of kWidth rows and columns, transposed.
inline void vec_transpose(const float* from, size_t from_stride, float* to, size_t to_stride) {
    const float32x4x2_t upper = vtrnq_f32(vec_load(from), vec_load(from + from_stride));
    const float32x4x2_t lower =
        vtrnq_f32(vec_load(from + 2 * from_stride), vec_load(from + 3 * from_stride));
    for (size_t m = 0; m < 2; ++m) {
        vec_store(to + m * to_stride,
                  vcombine_f32(vget_low_f32(upper.val[m]), vget_low_f32(lower.val[m])));
        vec_store(to + (m + 2) * to_stride,
                  vcombine_f32(vget_high_f32(upper.val[m]), vget_high_f32(lower.val[m])));
    }
}

constexpr size_t kInt8Panel = 16;

// Rows of inputs against one panel, exact: bytes around 128 and weights widened to 16 bits, their
// products added in 32, a vector of four inner steps for each column.
template <size_t rows>
void tile_int8(const uint8_t* a, size_t k, const int8_t* w, int32_t* sums_out) {
    for (size_t i = 0; i < rows; ++i) {
        int32x4_t sums[kInt8Panel];
        for (size_t j = 0; j < kInt8Panel; ++j) sums[j] = vdupq_n_s32(0);
        const int8_t* weights = w;
        for (size_t at = 0; at < k; at += 4) {
            uint32_t quad;
            __builtin_memcpy(&quad, a + i * k + at, 4);
            const int16x4_t bytes =
                vreinterpret_s16_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(quad)))));
#pragma GCC unroll 8
            for (size_t j = 0; j < kInt8Panel; j += 2) {
                const int16x8_t two = vmovl_s8(vld1_s8(weights + j * 4));
                sums[j] = vmlal_s16(sums[j], bytes, vget_low_s16(two));
                sums[j + 1] = vmlal_s16(sums[j + 1], bytes, vget_high_s16(two));
            }
            weights += kInt8Panel * 4;
        }
        for (size_t j = 0; j < kInt8Panel; ++j) sums_out[i * kInt8Panel + j] = vaddvq_s32(sums[j]);
    }
}

}  // namespace

}  // namespace px::embed

#include "embed/kernels/body.h"
#include "embed/kernels/body_int8.h"

namespace px::embed {

namespace {

void product(const ProductArgs& g) {
    switch (g.coding) {
        case Coding::Int8:
            return product_int8(g);
        case Coding::WideBf16:
            return product_of<DotF32, WidenedWords>(g);
        default:
            return product_of<DotF32, PackedWords>(g);
    }
}

}  // namespace

const Kernels kNeonKernels = {
    .name = "neon",
    .coding_16 = Coding::WideBf16,
    .attention = Coding::F32,
    .panel = kPanel,
    .panel_int8 = kInt8Panel,
    .encode = encode<encode_row_int8>,
    .product = product,
    .attend = attend,
    .layer_norm = layer_norm<encode_row_int8>,
    .mean_pool = mean_pool,
    .normalize = normalize,
};

}  // namespace px::embed
