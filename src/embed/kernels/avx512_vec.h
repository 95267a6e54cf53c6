// Vec for AVX-512. Included by the files compiled for it, before body.h.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace px::embed {

namespace {

using Vec = __m512;
constexpr size_t kWidth = 16;
constexpr size_t kPanelVecs = 3;
constexpr size_t kAccumulators = 24;

inline Vec vec_load(const float* p) { return _mm512_loadu_ps(p); }
inline void vec_store(float* p, Vec v) { _mm512_storeu_ps(p, v); }
inline Vec vec_set(float x) { return _mm512_set1_ps(x); }
inline Vec vec_add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
inline Vec vec_sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
inline Vec vec_mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
inline Vec vec_fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
inline Vec vec_min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
inline Vec vec_max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
inline Vec vec_round(Vec v) {
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
/// v · 2^n, n whole.
inline Vec vec_scale2(Vec v, Vec n) { return _mm512_scalef_ps(v, n); }
/// v, or 0 where x < limit.
inline Vec vec_zero_below(Vec v, Vec x, Vec limit) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_GE_OQ), v);
}
inline float vec_sum(Vec v) {
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    quarter = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
    return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)));
}
inline float vec_inverse_sqrt(float x) { return 1.0F / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
inline Vec vec_widen(const uint16_t* p) {
    const __m256i narrow = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow), 16));
}

/// Column c of the 16 rows, each 16 words, to row c.
inline void vec_transpose(Vec (&rows)[16]) {
    __m512 pairs[16];
#pragma GCC unroll 8
    for (size_t i = 0; i < 16; i += 2) {
        pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    __m512 quads[16];  // [4 g + m]: in lane l, rows 4 g to 4 g + 3 of column 4 l + m
#pragma GCC unroll 4
    for (size_t g = 0; g < 16; g += 4) {
#pragma GCC unroll 2
        for (size_t m = 0; m < 2; ++m) {
            const __m512d a = _mm512_castps_pd(pairs[g + m]);
            const __m512d b = _mm512_castps_pd(pairs[g + m + 2]);
            quads[g + 2 * m] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            quads[g + 2 * m + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    }
#pragma GCC unroll 4
    for (size_t m = 0; m < 4; ++m) {
        const __m512 a = _mm512_shuffle_f32x4(quads[m], quads[m + 4], 0x88);
        const __m512 b = _mm512_shuffle_f32x4(quads[m], quads[m + 4], 0xDD);
        const __m512 c = _mm512_shuffle_f32x4(quads[m + 8], quads[m + 12], 0x88);
        const __m512 d = _mm512_shuffle_f32x4(quads[m + 8], quads[m + 12], 0xDD);
        rows[m] = _mm512_shuffle_f32x4(a, c, 0x88);
        rows[m + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        rows[m + 8] = _mm512_shuffle_f32x4(a, c, 0xDD);
        rows[m + 12] = _mm512_shuffle_f32x4(b, d, 0xDD);
    }
}
/// A block of kWidth rows and columns, transposed.
inline void vec_transpose(const float* from, size_t from_stride, float* to, size_t to_stride) {
    Vec rows[16];
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; ++i) rows[i] = vec_load(from + i * from_stride);
    vec_transpose(rows);
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; ++i) vec_store(to + i * to_stride, rows[i]);
}

}  // namespace

}  // namespace px::embed
