// Int8 kernels for AVX2 and up: whole numbers throughout, so that their sums are exact and equal to
// the reference. Included after body.h.
#pragma once

namespace px::embed {

namespace {

constexpr size_t kInt8Panel = 16;

// Scales a panel's sums back to floats: bias + scales · (sum − offset), then the activation.
inline void finish_int8(const GemmInt8Args& g, size_t row, size_t first, size_t columns,
                        const int32_t* sums) {
    float* c = g.c + row * g.ldc + first;
    alignas(64) float values[kPanelMax];
    for (size_t j = 0; j < columns; ++j) {
        const float exact = static_cast<float>(sums[j] - g.w_offset[first + j]);
        values[j] = exact * (g.a_scale[row] * g.w_scale[first + j]) + g.bias[first + j];
    }
    if (g.activation == Activation::Gelu) {
        for (size_t j = columns; j < round_up(columns, kWidth); ++j) values[j] = 0.0F;
        for (size_t j = 0; j < columns; j += kWidth)
            vec_store(values + j, gelu_vec(vec_load(values + j)));
    }
    for (size_t j = 0; j < columns; ++j) c[j] = values[j];
}

// One row of inputs against one panel, four inner steps at once: bytes widened to 16 bits,
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

[[maybe_unused]] void gemm_int8(const GemmInt8Args& g) {
    for (size_t row0 = 0; row0 < g.rows; row0 += kBlockRows) {
        const size_t end = smaller(g.rows, row0 + kBlockRows);
        for (size_t first = 0; first < g.n; first += kInt8Panel) {
            const int8_t* w = g.w + first * g.k;
            const size_t columns = smaller(kInt8Panel, g.n - first);
            for (size_t row = row0; row < end; row += 2) {
                int32_t sums[2 * kInt8Panel];
                const bool two = row + 1 < end;
                (two ? tile_int8<2> : tile_int8<1>)(g.a + row * g.k, g.k, w, sums);
                finish_int8(g, row, first, columns, sums);
                if (two) finish_int8(g, row + 1, first, columns, sums + kInt8Panel);
            }
        }
    }
}

void quantize(const float* x, size_t rows, size_t width, size_t padded, uint8_t* q, float* scale) {
    for (size_t row = 0; row < rows; ++row) {
        const float* values = x + row * width;
        uint8_t* out = q + row * padded;
        const size_t whole = width / kWidth * kWidth;
        Vec top = vec_set(0.0F);
        for (size_t i = 0; i < whole; i += kWidth) {
            const Vec v = vec_load(values + i);
            top = vec_max(top, vec_max(v, vec_sub(vec_set(0.0F), v)));
        }
        alignas(64) float lanes[kWidth];
        vec_store(lanes, top);
        float largest = largest_of(lanes, kWidth);
        for (size_t i = whole; i < width; ++i) {
            const float size = values[i] < 0 ? -values[i] : values[i];
            largest = size > largest ? size : largest;
        }
        scale[row] = largest / 127.0F;
        const float inverse = largest > 0 ? 127.0F / largest : 0.0F;
        for (size_t i = 0; i < width; ++i) {
            // Adding 1.5 · 2^23 rounds to the nearest whole number, halves to even.
            const float shifted = values[i] * inverse + 12582912.0F;
            out[i] = static_cast<uint8_t>(128 + static_cast<int32_t>(shifted - 12582912.0F));
        }
        for (size_t i = width; i < padded; ++i) out[i] = 128;
    }
}

}  // namespace

}  // namespace px::embed
