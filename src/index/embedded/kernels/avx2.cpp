// Built with -mavx2 -ffp-contract=off; called only where the CPU has AVX2.
#include "index/embedded/kernels/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <vector>

namespace px::index::kernels {

namespace {

int32_t add_lanes(__m256i v) {
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1));
    return _mm_cvtsi128_si32(sum);
}

// u8 × s8 by way of 16 bits: maddubs would saturate at 255 * 127 * 2.
template <class RowAt>
void dots(RowAt&& row_at, size_t stride, size_t row_count, const int8_t* query, int32_t* out) {
    alignas(32) int16_t fixed[2048];
    std::vector<int16_t> large;
    int16_t* wide = fixed;
    if (stride > 2048) {
        large.resize(stride);
        wide = large.data();
    }
    for (size_t i = 0; i < stride; ++i) wide[i] = query[i];
    for (size_t r = 0; r < row_count; ++r) {
        const uint8_t* rows = row_at(r);
        __m256i sum0 = _mm256_setzero_si256();
        __m256i sum1 = _mm256_setzero_si256();
        for (size_t i = 0; i < stride; i += 32) {
            const __m256i row0 =
                _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + i)));
            const __m256i row1 = _mm256_cvtepu8_epi16(
                _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + i + 16)));
            const __m256i query0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(wide + i));
            const __m256i query1 =
                _mm256_loadu_si256(reinterpret_cast<const __m256i*>(wide + i + 16));
            sum0 = _mm256_add_epi32(sum0, _mm256_madd_epi16(row0, query0));
            sum1 = _mm256_add_epi32(sum1, _mm256_madd_epi16(row1, query1));
        }
        out[r] = add_lanes(_mm256_add_epi32(sum0, sum1));
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
    const __m256 scales = _mm256_set1_ps(scale);
    const __m256i middle = _mm256_set1_epi32(128);
    size_t i = 0;
    for (; i + 8 <= width; i += 8) {
        const __m256i codes =
            _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(row + i)));
        const __m256 values = _mm256_cvtepi32_ps(_mm256_sub_epi32(codes, middle));
        _mm256_storeu_ps(sum + i,
                         _mm256_add_ps(_mm256_loadu_ps(sum + i), _mm256_mul_ps(scales, values)));
    }
    for (; i < width; ++i) sum[i] += scale * static_cast<float>(static_cast<int>(row[i]) - 128);
}

float dot_f32(const float* a, const float* b, size_t width) {
    __m256 low = _mm256_setzero_ps();
    __m256 high = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + 16 <= width; i += 16) {
        low = _mm256_add_ps(low, _mm256_mul_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
        high = _mm256_add_ps(high,
                             _mm256_mul_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8)));
    }
    alignas(32) float lanes[16];
    _mm256_store_ps(lanes, low);
    _mm256_store_ps(lanes + 8, high);
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

const Kernels kAvx2{"avx2", dot_codes, dot_rows, add_row, dot_f32};

}  // namespace px::index::kernels
#endif
