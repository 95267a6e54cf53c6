// Kernels of the dense scan, one implementation for each instruction set, picked at run time.
// Scalar is the reference; all give the same bits: the int8 dot is exact, the f32 dot adds in one
// fixed order without fused operations.
//   W = width (dimensions), S = stride (bytes of a row: W rounded up to 64), R = rows
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace px::index::kernels {

/// Bytes a row of codes is padded to.
inline constexpr size_t kRowAlignment = 64;

struct Kernels {
    std::string_view name;  ///< "scalar", "avx2", "avx512vnni"
    /// out[r] = sum over i < S of rows[r * S + i] * query[i]; rows [R, S] u8, query [S] s8. S % 64
    /// == 0, S <= 65536, so that the sum stays below 2^31.
    void (*dot_codes)(const uint8_t* rows, size_t stride, size_t row_count, const int8_t* query,
                      int32_t* out);
    /// The same of rows anywhere: out[r] = the sum over base[rows[r] * S + i] * query[i].
    void (*dot_rows)(const uint8_t* base, size_t stride, const uint32_t* rows, size_t row_count,
                     const int8_t* query, int32_t* out);
    /// sum[i] += scale * (row[i] - 128) for i < W.
    void (*add_row)(const uint8_t* row, float scale, float* sum, size_t width);
    /// Dot of two [W] f32 vectors: 16 lanes, lane i % 16 adds products in ascending i, then lanes
    /// pairwise 8, 4, 2, 1 apart.
    float (*dot_f32)(const float* a, const float* b, size_t width);
};

/// The best this machine supports.
const Kernels& best();
/// By name, if this machine supports it; else null.
const Kernels* find(std::string_view name);
/// Every supported implementation, scalar first.
std::vector<const Kernels*> supported();

extern const Kernels kScalar;
#if defined(__x86_64__)
extern const Kernels kAvx2;
extern const Kernels kAvx512Vnni;
#endif

}  // namespace px::index::kernels
