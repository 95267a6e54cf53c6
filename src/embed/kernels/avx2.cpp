// Kernels for AVX2 with FMA.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace px::embed {

namespace {

using Vec = __m256;
constexpr size_t kWidth = 8;
constexpr size_t kPanelVecs = 2;
constexpr size_t kAccumulators = 12;

inline Vec vec_load(const float* p) { return _mm256_loadu_ps(p); }
inline void vec_store(float* p, Vec v) { _mm256_storeu_ps(p, v); }
inline Vec vec_set(float x) { return _mm256_set1_ps(x); }
inline Vec vec_add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
inline Vec vec_sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
inline Vec vec_mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
inline Vec vec_fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
inline Vec vec_min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
inline Vec vec_max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
inline Vec vec_round(Vec v) {
    return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/// v · 2^n, n whole and at least -126.
inline Vec vec_scale2(Vec v, Vec n) {
    const __m256i bits =
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(v, _mm256_castsi256_ps(bits));
}
/// v, or 0 where x < limit.
inline Vec vec_zero_below(Vec v, Vec x, Vec limit) {
    return _mm256_andnot_ps(_mm256_cmp_ps(x, limit, _CMP_LT_OQ), v);
}
inline float vec_sum(Vec v) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
inline float vec_inverse_sqrt(float x) { return 1.0F / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
inline Vec vec_widen(const uint16_t* p) {
    const __m128i narrow = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(narrow), 16));
}

/// A block of kWidth rows and columns, transposed.
inline void vec_transpose(const float* from, size_t from_stride, float* to, size_t to_stride) {
    __m256 pairs[8];
    for (size_t i = 0; i < 8; i += 2) {
        const __m256 a = vec_load(from + i * from_stride);
        const __m256 b = vec_load(from + (i + 1) * from_stride);
        pairs[i] = _mm256_unpacklo_ps(a, b);
        pairs[i + 1] = _mm256_unpackhi_ps(a, b);
    }
    __m256 quads[8];  // [4 g + m]: in lane l, rows 4 g to 4 g + 3 of column 4 l + m
    for (size_t g = 0; g < 8; g += 4) {
        for (size_t m = 0; m < 2; ++m) {
            const __m256d a = _mm256_castps_pd(pairs[g + m]);
            const __m256d b = _mm256_castps_pd(pairs[g + m + 2]);
            quads[g + 2 * m] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
            quads[g + 2 * m + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
        }
    }
    for (size_t m = 0; m < 4; ++m) {
        vec_store(to + m * to_stride, _mm256_permute2f128_ps(quads[m], quads[m + 4], 0x20));
        vec_store(to + (m + 4) * to_stride, _mm256_permute2f128_ps(quads[m], quads[m + 4], 0x31));
    }
}

}  // namespace

}  // namespace px::embed

#include "embed/kernels/avx2_int8.h"
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

const Kernels kAvx2Kernels = {
    .name = "avx2",
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
