// The int8 tile for AVX2 and for AVX-512 without VNNI.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace px::embed {

namespace {

constexpr size_t kInt8Panel = 16;

// Rows of inputs against one panel, four inner steps at once: bytes widened to 16 bits,
// multiplied and added in pairs, so that nothing saturates. Each 32-bit lane holds half of a
// column's sum until the end.
template <size_t rows>
void tile_int8(const uint8_t* a, size_t k, const int8_t* w, int32_t* sums_out) {
    __m256i sums[rows][4];
#pragma GCC unroll 2
    for (size_t i = 0; i < rows; ++i)
#pragma GCC unroll 4
        for (size_t v = 0; v < 4; ++v) sums[i][v] = _mm256_setzero_si256();
    for (size_t at = 0; at < k; at += 4) {
        __m256i weights[4];
#pragma GCC unroll 4
        for (size_t v = 0; v < 4; ++v) {
            weights[v] =
                _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w + v * 16)));
        }
#pragma GCC unroll 2
        for (size_t i = 0; i < rows; ++i) {
            int32_t quad;
            __builtin_memcpy(&quad, a + i * k + at, 4);
            const __m256i bytes =
                _mm256_broadcastq_epi64(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(quad)));
#pragma GCC unroll 4
            for (size_t v = 0; v < 4; ++v) {
                sums[i][v] = _mm256_add_epi32(sums[i][v], _mm256_madd_epi16(bytes, weights[v]));
            }
        }
        w += kInt8Panel * 4;
    }
#pragma GCC unroll 2
    for (size_t i = 0; i < rows; ++i) {
        int32_t halves[32];
#pragma GCC unroll 4
        for (size_t v = 0; v < 4; ++v) {
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(halves + v * 8), sums[i][v]);
        }
        for (size_t j = 0; j < kInt8Panel; ++j)
            sums_out[i * kInt8Panel + j] = halves[2 * j] + halves[2 * j + 1];
    }
}

}  // namespace

}  // namespace px::embed
