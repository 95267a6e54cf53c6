// The reference kernels: plain loops, the C library's exp and erf. Compiled for any processor.
#include <cmath>
#include <cstring>

#include "embed/kernels/kernels.h"

namespace px::embed {

namespace {

constexpr size_t kPanel = 16;

float from_bf16(uint16_t bits) {
    const uint32_t word = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &word, sizeof value);
    return value;
}

float activate(float x, Activation activation) {
    return activation == Activation::Gelu ? 0.5F * x * (1.0F + std::erf(x * 0.70710678118654752F))
                                          : x;
}

void gemm(const GemmArgs& g) {
    for (size_t row = 0; row < g.rows; ++row) {
        const float* a = g.a + row * g.lda;
        for (size_t first = 0; first < g.n; first += kPanel) {
            float sums[kPanel];
            for (size_t j = 0; j < kPanel; ++j) sums[j] = g.bias[first + j];
            for (size_t k = 0; k < g.k; ++k) {
                for (size_t j = 0; j < kPanel; ++j) {
                    const size_t at = first * g.k + k * kPanel + j;
                    sums[j] += a[k] * (g.f32 != nullptr ? g.f32[at] : from_bf16(g.bf16[at]));
                }
            }
            for (size_t j = 0; j < kPanel && first + j < g.n; ++j) {
                g.c[row * g.ldc + first + j] = activate(sums[j], g.activation);
            }
        }
    }
}

void gemm_int8(const GemmInt8Args& g) {
    for (size_t row = 0; row < g.rows; ++row) {
        const uint8_t* a = g.a + row * g.k;
        for (size_t first = 0; first < g.n; first += kPanel) {
            int32_t sums[kPanel] = {};
            for (size_t k = 0; k < g.k; ++k) {
                for (size_t j = 0; j < kPanel; ++j) {
                    sums[j] += a[k] * g.w[first * g.k + (k / 4 * kPanel + j) * 4 + k % 4];
                }
            }
            for (size_t j = 0; j < kPanel && first + j < g.n; ++j) {
                const float exact = static_cast<float>(sums[j] - g.w_offset[first + j]);
                const float value =
                    exact * (g.a_scale[row] * g.w_scale[first + j]) + g.bias[first + j];
                g.c[row * g.ldc + first + j] = activate(value, g.activation);
            }
        }
    }
}

void attention(const AttentionArgs& args) {
    const size_t width = args.heads * args.head_width;
    const float scale = 1.0F / std::sqrt(static_cast<float>(args.head_width));
    float* scores = args.scratch;
    for (size_t head = 0; head < args.heads; ++head) {
        const float* queries = args.qkv + head * args.head_width;
        const float* keys = queries + width;
        const float* values = keys + width;
        for (size_t i = 0; i < args.tokens; ++i) {
            float largest = -INFINITY;
            for (size_t j = 0; j < args.tokens; ++j) {
                float sum = 0;
                for (size_t d = 0; d < args.head_width; ++d)
                    sum += queries[i * 3 * width + d] * keys[j * 3 * width + d];
                scores[j] = sum * scale;
                largest = std::fmax(largest, scores[j]);
            }
            float total = 0;
            for (size_t j = 0; j < args.tokens; ++j) {
                scores[j] = std::exp(scores[j] - largest);
                total += scores[j];
            }
            float* out = args.out + i * width + head * args.head_width;
            for (size_t d = 0; d < args.head_width; ++d) {
                float sum = 0;
                for (size_t j = 0; j < args.tokens; ++j)
                    sum += scores[j] * values[j * 3 * width + d];
                out[d] = sum / total;
            }
        }
    }
}

void layer_norm(float* x, const float* residual, size_t rows, size_t width, const float* weight,
                const float* bias, float epsilon) {
    for (size_t row = 0; row < rows; ++row) {
        float* values = x + row * width;
        double sum = 0;
        for (size_t i = 0; i < width; ++i) {
            if (residual != nullptr) values[i] += residual[row * width + i];
            sum += static_cast<double>(values[i]);
        }
        const double mean = sum / static_cast<double>(width);
        double squares = 0;
        for (size_t i = 0; i < width; ++i) {
            const double off = static_cast<double>(values[i]) - mean;
            squares += off * off;
        }
        const double inverse =
            1 / std::sqrt(squares / static_cast<double>(width) + static_cast<double>(epsilon));
        for (size_t i = 0; i < width; ++i) {
            const double normal = (static_cast<double>(values[i]) - mean) * inverse;
            values[i] = static_cast<float>(normal * static_cast<double>(weight[i]) +
                                           static_cast<double>(bias[i]));
        }
    }
}

void normalize(float* x, size_t width) {
    double squares = 0;
    for (size_t i = 0; i < width; ++i)
        squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    if (squares <= 0) return;
    const double inverse = 1 / std::sqrt(squares);
    for (size_t i = 0; i < width; ++i)
        x[i] = static_cast<float>(static_cast<double>(x[i]) * inverse);
}

void mean_pool(const float* x, size_t rows, size_t width, float* out) {
    for (size_t i = 0; i < width; ++i) out[i] = 0;
    for (size_t row = 0; row < rows; ++row) {
        for (size_t i = 0; i < width; ++i) out[i] += x[row * width + i];
    }
    for (size_t i = 0; i < width; ++i) out[i] /= static_cast<float>(rows);
    normalize(out, width);
}

void quantize(const float* x, size_t rows, size_t width, size_t padded, uint8_t* q, float* scale) {
    for (size_t row = 0; row < rows; ++row) {
        float largest = 0;
        for (size_t i = 0; i < width; ++i)
            largest = std::fmax(largest, std::fabs(x[row * width + i]));
        scale[row] = largest / 127.0F;
        const float inverse = largest > 0 ? 127.0F / largest : 0.0F;
        for (size_t i = 0; i < padded; ++i) {
            const long rounded = i < width ? std::lrint(x[row * width + i] * inverse) : 0;
            q[row * padded + i] = static_cast<uint8_t>(128 + rounded);
        }
    }
}

}  // namespace

const Kernels kScalarKernels = {"scalar",  kPanel,     kPanel,    gemm,      gemm_int8,
                                attention, layer_norm, mean_pool, normalize, quantize};

}  // namespace px::embed
