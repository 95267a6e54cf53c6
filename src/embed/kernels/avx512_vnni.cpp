// Kernels for AVX-512 with VNNI: those of avx512.cpp, and the int8 product by vpdpbusd.
#include "embed/kernels/avx512_vec.h"

#include "embed/kernels/body.h"
#include "embed/kernels/body_int8.h"

namespace px::embed {

namespace {

constexpr size_t kVnniPanel = 64;
constexpr size_t kVnniVecs = kVnniPanel / 16;
constexpr size_t kVnniRows = 6;

// Sums of four products of bytes. Assembly, because g++ 12 spills the sums of the loop below around
// its intrinsic.
inline __attribute__((always_inline)) void dot_add(__m512i& sum, __m512i bytes, __m512i weights) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "v"(weights));
}

template <size_t rows>
void tile_vnni(const uint8_t* a, size_t k, const int8_t* w, int32_t* sums_out) {
    __m512i sums[rows][kVnniVecs];
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; ++i)
#pragma GCC unroll 4
        for (size_t v = 0; v < kVnniVecs; ++v) sums[i][v] = _mm512_setzero_si512();
    for (size_t at = 0; at < k; at += 4) {
        __m512i weights[kVnniVecs];
#pragma GCC unroll 4
        for (size_t v = 0; v < kVnniVecs; ++v) weights[v] = _mm512_loadu_si512(w + v * 64);
#pragma GCC unroll 8
        for (size_t i = 0; i < rows; ++i) {
            int32_t quad;
            __builtin_memcpy(&quad, a + i * k + at, 4);
            const __m512i bytes = _mm512_set1_epi32(quad);
#pragma GCC unroll 4
            for (size_t v = 0; v < kVnniVecs; ++v) dot_add(sums[i][v], bytes, weights[v]);
        }
        w += kVnniPanel * 4;
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < rows; ++i)
#pragma GCC unroll 4
        for (size_t v = 0; v < kVnniVecs; ++v)
            _mm512_storeu_si512(sums_out + i * kVnniPanel + v * 16, sums[i][v]);
}

// bias + scales · (sum − offset) for a whole panel of one row.
inline void finish_panel(const GemmInt8Args& g, size_t row, size_t first, const int32_t* sums) {
    const Vec scale = vec_set(g.a_scale[row]);
    for (size_t v = 0; v < kVnniVecs; ++v) {
        const size_t at = first + v * 16;
        const __m512i exact = _mm512_sub_epi32(_mm512_loadu_si512(sums + v * 16),
                                               _mm512_loadu_si512(g.w_offset + at));
        const Vec factor = vec_mul(scale, vec_load(g.w_scale + at));
        // Two roundings, as in the other kernels.
        Vec value = vec_add(vec_mul(_mm512_cvtepi32_ps(exact), factor), vec_load(g.bias + at));
        if (g.activation == Activation::Gelu) value = gelu_vec(value);
        vec_store(g.c + row * g.ldc + at, value);
    }
}

void gemm_vnni(const GemmInt8Args& g) {
    using Tile = void (*)(const uint8_t*, size_t, const int8_t*, int32_t*);
    static constexpr Tile kTiles[kVnniRows] = {tile_vnni<1>, tile_vnni<2>, tile_vnni<3>,
                                               tile_vnni<4>, tile_vnni<5>, tile_vnni<6>};
    alignas(64) int32_t sums[kVnniRows * kVnniPanel];
    for (size_t row0 = 0; row0 < g.rows; row0 += kBlockRows) {
        const size_t end = smaller(g.rows, row0 + kBlockRows);
        for (size_t first = 0; first < g.n; first += kVnniPanel) {
            const int8_t* w = g.w + first * g.k;
            const size_t columns = smaller(kVnniPanel, g.n - first);
            for (size_t row = row0; row < end; row += kVnniRows) {
                const size_t count = smaller(kVnniRows, end - row);
                kTiles[count - 1](g.a + row * g.k, g.k, w, sums);
                for (size_t i = 0; i < count; ++i) {
                    if (columns == kVnniPanel) {
                        finish_panel(g, row + i, first, sums + i * kVnniPanel);
                    } else {
                        finish_int8(g, row + i, first, columns, sums + i * kVnniPanel);
                    }
                }
            }
        }
    }
}

}  // namespace

const Kernels kAvx512VnniKernels = {"avx512_vnni", kPanel,     kVnniPanel, gemm,      gemm_vnni,
                                    attention,     layer_norm, mean_pool,  normalize, quantize};

}  // namespace px::embed
