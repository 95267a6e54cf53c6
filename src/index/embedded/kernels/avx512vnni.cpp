// Built with -mavx512f -mavx512bw -mavx512vnni -ffp-contract=off; called only where the CPU has
// them.
#include "index/embedded/kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace px::index::kernels {

namespace {

__m512i load(const void* at) { return _mm512_loadu_si512(at); }

void dot_codes(const uint8_t* rows, size_t stride, size_t row_count, const int8_t* query,
               int32_t* out) {
    size_t r = 0;
    for (; r + 4 <= row_count; r += 4, rows += 4 * stride) {
        __m512i sum0 = _mm512_setzero_si512();
        __m512i sum1 = _mm512_setzero_si512();
        __m512i sum2 = _mm512_setzero_si512();
        __m512i sum3 = _mm512_setzero_si512();
        for (size_t i = 0; i < stride; i += 64) {
            const __m512i q = load(query + i);
            sum0 = _mm512_dpbusd_epi32(sum0, load(rows + i), q);
            sum1 = _mm512_dpbusd_epi32(sum1, load(rows + stride + i), q);
            sum2 = _mm512_dpbusd_epi32(sum2, load(rows + 2 * stride + i), q);
            sum3 = _mm512_dpbusd_epi32(sum3, load(rows + 3 * stride + i), q);
        }
        out[r] = _mm512_reduce_add_epi32(sum0);
        out[r + 1] = _mm512_reduce_add_epi32(sum1);
        out[r + 2] = _mm512_reduce_add_epi32(sum2);
        out[r + 3] = _mm512_reduce_add_epi32(sum3);
    }
    for (; r < row_count; ++r, rows += stride) {
        __m512i sum = _mm512_setzero_si512();
        for (size_t i = 0; i < stride; i += 64)
            sum = _mm512_dpbusd_epi32(sum, load(rows + i), load(query + i));
        out[r] = _mm512_reduce_add_epi32(sum);
    }
}

float dot_f32(const float* a, const float* b, size_t width) {
    __m512 sums = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + 16 <= width; i += 16) {
        sums = _mm512_add_ps(sums, _mm512_mul_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i)));
    }
    alignas(64) float lanes[16];
    _mm512_store_ps(lanes, sums);
    for (; i < width; ++i) {
        const float product = a[i] * b[i];
        lanes[i % 16] += product;
    }
    for (size_t apart = 8; apart > 0; apart /= 2) {
        for (size_t lane = 0; lane < apart; ++lane) lanes[lane] += lanes[lane + apart];
    }
    return lanes[0];
}

}  // namespace

const Kernels kAvx512Vnni{"avx512vnni", dot_codes, dot_f32};

}  // namespace px::index::kernels
#endif
