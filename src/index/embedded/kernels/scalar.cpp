// The reference. Built without contraction to fused multiply-add, like its siblings.
#include "index/embedded/kernels/kernels.h"

namespace px::index::kernels {

namespace {

void dot_codes(const uint8_t* rows, size_t stride, size_t row_count, const int8_t* query,
               int32_t* out) {
    for (size_t r = 0; r < row_count; ++r, rows += stride) {
        int32_t sum = 0;
        for (size_t i = 0; i < stride; ++i) sum += static_cast<int32_t>(rows[i]) * query[i];
        out[r] = sum;
    }
}

void dot_rows(const uint8_t* base, size_t stride, const uint32_t* rows, size_t row_count,
              const int8_t* query, int32_t* out) {
    for (size_t r = 0; r < row_count; ++r)
        dot_codes(base + rows[r] * stride, stride, 1, query, out + r);
}

void add_row(const uint8_t* row, float scale, float* sum, size_t width) {
    for (size_t i = 0; i < width; ++i)
        sum[i] += scale * static_cast<float>(static_cast<int>(row[i]) - 128);
}

float dot_f32(const float* a, const float* b, size_t width) {
    float lanes[16] = {};
    for (size_t i = 0; i < width; ++i) {
        const float product = a[i] * b[i];
        lanes[i % 16] += product;
    }
    for (size_t apart = 8; apart > 0; apart /= 2) {
        for (size_t lane = 0; lane < apart; ++lane) lanes[lane] += lanes[lane + apart];
    }
    return lanes[0];
}

}  // namespace

const Kernels kScalar{"scalar", dot_codes, dot_rows, add_row, dot_f32};

}  // namespace px::index::kernels
