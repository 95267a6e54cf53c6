// The reference kernels: plain loops, the C library's exp and erf. Compiled for any processor.
#include <cmath>
#include <cstring>

#include "embed/kernels/kernels.h"
#include "embed/safetensors.h"

namespace px::embed {

namespace {

constexpr size_t kPanel = 16;

float from_bf16(uint16_t bits) {
    const uint32_t word = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &word, sizeof value);
    return value;
}

float gelu(float x) { return 0.5F * x * (1.0F + std::erf(x * 0.70710678118654752F)); }

// Sums of one row and one panel in f32: every coding but Int16 and Int8.
void float_sums(const ProductArgs& g, const float* a, size_t first, float* sums) {
    const uint16_t* halves = static_cast<const uint16_t*>(g.w) + first * g.words;
    const uint16_t* half_row = reinterpret_cast<const uint16_t*>(a);
    const float* singles = static_cast<const float*>(g.w) + first * g.words;
    for (size_t j = 0; j < kPanel; ++j) sums[j] = 0;
    for (size_t word = 0; word < g.words; ++word) {
        for (size_t j = 0; j < kPanel; ++j) {
            const size_t at = word * kPanel + j;
            if (g.coding == Coding::F32) {
                sums[j] += a[word] * singles[at];
            } else if (g.coding == Coding::WideBf16) {
                sums[j] += a[word] * from_bf16(halves[at]);
            } else {
                const uint16_t* pair =
                    static_cast<const uint16_t*>(g.w) + (first * g.words + at) * 2;
                sums[j] += from_bf16(half_row[2 * word + 1]) * from_bf16(pair[1]);
                sums[j] += from_bf16(half_row[2 * word]) * from_bf16(pair[0]);
            }
        }
    }
}

void whole_sums(const ProductArgs& g, const float* a, size_t first, int32_t* sums) {
    const size_t parts = values_per_word(g.coding);
    const uint8_t* bytes = reinterpret_cast<const uint8_t*>(a);
    const int16_t* shorts = reinterpret_cast<const int16_t*>(a);
    const size_t from = first * g.words * parts;
    for (size_t j = 0; j < kPanel; ++j) sums[j] = 0;
    for (size_t k = 0; k < g.words * parts; ++k) {
        for (size_t j = 0; j < kPanel; ++j) {
            const size_t at = from + (k / parts * kPanel + j) * parts + k % parts;
            sums[j] += parts == 4 ? bytes[k] * static_cast<const int8_t*>(g.w)[at]
                                  : shorts[k] * static_cast<const int16_t*>(g.w)[at];
        }
    }
}

void product(const ProductArgs& g) {
    for (size_t row = 0; row < g.rows; ++row) {
        const float* a = g.a + row * g.words;
        for (size_t first = 0; first < g.n; first += kPanel) {
            float sums[kPanel];
            if (is_scaled(g.coding)) {
                int32_t whole[kPanel];
                whole_sums(g, a, first, whole);
                for (size_t j = 0; j < kPanel; ++j) {
                    const int32_t offset = g.coding == Coding::Int8 ? g.w_offset[first + j] : 0;
                    sums[j] = static_cast<float>(whole[j] - offset) *
                              (g.a_scale[row] * g.w_scale[first + j]);
                }
            } else {
                float_sums(g, a, first, sums);
            }
            for (size_t j = 0; j < kPanel && first + j < g.n; ++j) {
                float& c = g.c[row * g.n + first + j];
                const float value = sums[j] + g.bias[first + j];
                c = g.after == After::Gelu  ? gelu(value)
                    : g.after == After::Add ? c + value
                                            : value;
            }
        }
    }
}

/// The length of a vector, its squares added in the order of the wide kernels: 16 sums, then
/// halves.
float length(const float* x, size_t width) {
    float sums[16] = {};
    for (size_t i = 0; i < width; ++i) sums[i % 16] += x[i] * x[i];
    for (size_t half = 8; half != 0; half /= 2)
        for (size_t i = 0; i < half; ++i) sums[i] += sums[i + half];
    return std::sqrt(sums[0]);
}

void encode(const EncodeArgs& args) {
    const size_t parts = values_per_word(args.coding);
    const size_t padded = (args.width + parts - 1) / parts * parts;
    for (size_t row = 0; row < args.rows; ++row) {
        const float* x = args.x + row * args.width;
        uint8_t* bytes = reinterpret_cast<uint8_t*>(args.out) + row * padded;
        uint16_t* halves = reinterpret_cast<uint16_t*>(args.out) + row * padded;
        float largest = 0;
        for (size_t i = 0; i < args.width; ++i) largest = std::fmax(largest, std::fabs(x[i]));
        float scale = largest / args.limit;
        if (args.coding == Coding::Int16)
            scale = std::fmax(largest / 32767.0F, length(x, args.width) / args.limit);
        if (is_scaled(args.coding)) args.scale[row] = scale;
        const float inverse = largest > 0 ? 1.0F / scale : 0.0F;
        for (size_t i = 0; i < padded; ++i) {
            const float value = i < args.width ? x[i] : 0.0F;
            if (args.coding == Coding::Bf16) {
                halves[i] = to_bf16(value);
                continue;
            }
            const long rounded = std::lrint(value * inverse);
            if (args.coding == Coding::Int8) {
                bytes[i] = static_cast<uint8_t>(128 + rounded);
            } else {
                halves[i] = static_cast<uint16_t>(rounded);
            }
        }
    }
}

void attend(const AttentionArgs& args) {
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
            float* out = args.out + i * args.out_stride + head * args.head_width;
            for (size_t d = 0; d < args.head_width; ++d) {
                float sum = 0;
                for (size_t j = 0; j < args.tokens; ++j)
                    sum += scores[j] * values[j * 3 * width + d];
                out[d] = sum / total;
            }
        }
    }
}

void layer_norm(const NormArgs& args) {
    const size_t width = args.width;
    for (size_t row = 0; row < args.rows; ++row) {
        float* values = args.x + row * width;
        double sum = 0;
        for (size_t i = 0; i < width; ++i) {
            if (args.residual != nullptr) values[i] += args.residual[row * width + i];
            sum += static_cast<double>(values[i]);
        }
        const double mean = sum / static_cast<double>(width);
        double squares = 0;
        for (size_t i = 0; i < width; ++i) {
            const double off = static_cast<double>(values[i]) - mean;
            squares += off * off;
        }
        const double inverse =
            1 / std::sqrt(squares / static_cast<double>(width) + static_cast<double>(args.epsilon));
        for (size_t i = 0; i < width; ++i) {
            const double normal = (static_cast<double>(values[i]) - mean) * inverse;
            values[i] = static_cast<float>(normal * static_cast<double>(args.weight[i]) +
                                           static_cast<double>(args.bias[i]));
        }
    }
    if (args.out != nullptr)
        encode({args.x, args.rows, width, args.coding, args.limit, args.out, args.scale});
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

}  // namespace

const Kernels kScalarKernels = {
    .name = "scalar",
    .coding_16 = Coding::WideBf16,
    .attention = Coding::F32,
    .panel = kPanel,
    .panel_int8 = kPanel,
    .encode = encode,
    .product = product,
    .attend = attend,
    .layer_norm = layer_norm,
    .mean_pool = mean_pool,
    .normalize = normalize,
};

}  // namespace px::embed
