// Vec for AVX-512. Included by the files compiled for it, before body.h.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace px::embed {

namespace {

using Vec = __m512;
constexpr size_t kWidth = 16;
constexpr size_t kPanelVecs = 4;
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

}  // namespace

}  // namespace px::embed
