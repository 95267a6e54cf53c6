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

}  // namespace

}  // namespace px::embed

#include "embed/kernels/body.h"
#include "embed/kernels/body_int8.h"

namespace px::embed {

const Kernels kAvx2Kernels = {"avx2",    kPanel,     kInt8Panel, gemm,      gemm_int8,
                              attention, layer_norm, mean_pool,  normalize, quantize};

}  // namespace px::embed
