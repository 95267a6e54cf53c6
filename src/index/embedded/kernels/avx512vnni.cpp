// Built with -mavx512f -mavx512bw -mavx512vnni -ffp-contract=off; called only where the CPU has
// them.
#include "index/embedded/kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace px::index::kernels {

namespace {

__m512i load(const void* at) { return _mm512_loadu_si512(at); }

/// The four sums of four vectors' lanes.
__m128i add_lanes(__m512i a, __m512i b, __m512i c, __m512i d) {
    const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    const __m512i all =
        _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    const __m256i half =
        _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

template <class RowAt>
void dots(RowAt&& row_at, size_t stride, size_t row_count, const int8_t* query, int32_t* out) {
    size_t r = 0;
    for (; r + 4 <= row_count; r += 4) {
        const uint8_t* row0 = row_at(r);
        const uint8_t* row1 = row_at(r + 1);
        const uint8_t* row2 = row_at(r + 2);
        const uint8_t* row3 = row_at(r + 3);
        __m512i sum0 = _mm512_setzero_si512();
        __m512i sum1 = _mm512_setzero_si512();
        __m512i sum2 = _mm512_setzero_si512();
        __m512i sum3 = _mm512_setzero_si512();
        for (size_t i = 0; i < stride; i += 64) {
            const __m512i q = load(query + i);
            sum0 = _mm512_dpbusd_epi32(sum0, load(row0 + i), q);
            sum1 = _mm512_dpbusd_epi32(sum1, load(row1 + i), q);
            sum2 = _mm512_dpbusd_epi32(sum2, load(row2 + i), q);
            sum3 = _mm512_dpbusd_epi32(sum3, load(row3 + i), q);
        }
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + r), add_lanes(sum0, sum1, sum2, sum3));
    }
    for (; r < row_count; ++r) {
        const uint8_t* row = row_at(r);
        __m512i sum = _mm512_setzero_si512();
        for (size_t i = 0; i < stride; i += 64)
            sum = _mm512_dpbusd_epi32(sum, load(row + i), load(query + i));
        out[r] = _mm512_reduce_add_epi32(sum);
    }
}

void dot_codes(const uint8_t* rows, size_t stride, size_t row_count, const int8_t* query,
               int32_t* out) {
    dots([&](size_t r) { return rows + r * stride; }, stride, row_count, query, out);
}

void dot_rows(const uint8_t* base, size_t stride, const uint32_t* rows, size_t row_count,
              const int8_t* query, int32_t* out) {
    dots([&](size_t r) { return base + rows[r] * stride; }, stride, row_count, query, out);
}

void add_row(const uint8_t* row, float scale, float* sum, size_t width) {
    const __m512 scales = _mm512_set1_ps(scale);
    const __m512i middle = _mm512_set1_epi32(128);
    size_t i = 0;
    for (; i + 16 <= width; i += 16) {
        const __m512i codes =
            _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + i)));
        const __m512 values = _mm512_cvtepi32_ps(_mm512_sub_epi32(codes, middle));
        _mm512_storeu_ps(sum + i,
                         _mm512_add_ps(_mm512_loadu_ps(sum + i), _mm512_mul_ps(scales, values)));
    }
    for (; i < width; ++i) sum[i] += scale * static_cast<float>(static_cast<int>(row[i]) - 128);
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

const Kernels kAvx512Vnni{"avx512vnni", dot_codes, dot_rows, add_row, dot_f32};

}  // namespace px::index::kernels
#endif
