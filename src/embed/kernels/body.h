// The kernels in terms of a vector type, included by one file for each instruction set after it has
// defined, in an unnamed namespace: Vec, kWidth (floats of a Vec), kPanelVecs (Vecs of a panel),
// kAccumulators (registers for sums) and the operations vec_*. Nothing from the standard library is
// used here: an inline function of it, compiled with this file's flags, could be picked by the
// linker for code that runs on any processor.
//
// Letters as in kernels.h.
#pragma once

#include "embed/kernels/kernels.h"

namespace px::embed {

namespace {

constexpr size_t kPanel = kWidth * kPanelVecs;
constexpr size_t kTileRows = kAccumulators / kPanelVecs;
constexpr size_t kBlockK = 128;    // inner steps whose panel stays in the first-level cache
constexpr size_t kBlockRows = 96;  // rows whose inputs stay in the second-level cache

static_assert(kPanel <= kPanelMax && kQueryBlock % kTileRows == 0);

size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
size_t round_up(size_t value, size_t step) { return (value + step - 1) / step * step; }

// e^x within 2e-7 of its value, for x ≤ 0; 0 for -inf and all x below -87.
inline Vec exp_vec(Vec x) {
    const Vec clamped = vec_max(x, vec_set(-87.3F));
    const Vec n = vec_round(vec_mul(clamped, vec_set(1.44269504088896341F)));
    Vec r = vec_fma(n, vec_set(-0.693145751953125F),
                    clamped);  // ln 2 in two parts, the first with a short mantissa
    r = vec_fma(n, vec_set(-1.42860682030941723e-6F), r);
    Vec p = vec_set(0.0013836836442351341F);
    p = vec_fma(p, r, vec_set(0.008374815806746483F));
    p = vec_fma(p, r, vec_set(0.04166822507977486F));
    p = vec_fma(p, r, vec_set(0.16666419804096222F));
    p = vec_fma(p, r, vec_set(0.49999991059303284F));
    p = vec_fma(p, r, vec_set(1.0F));
    p = vec_fma(p, r, vec_set(1.0F));
    return vec_zero_below(vec_scale2(p, n), x, vec_set(-87.3F));
}

// x · Φ(x), Φ the normal distribution function: exact GELU within 4e-7 · max(1, |x|). Φ(x) − ½ is
// odd; divided by x it is a polynomial in s = x² / 15.125 − 1, fitted on |x| ≤ 5.5, beyond which Φ
// is 0 or 1 to 2e-8.
inline Vec gelu_vec(Vec x) {
    const Vec c = vec_max(vec_min(x, vec_set(5.5F)), vec_set(-5.5F));
    const Vec s = vec_fma(vec_mul(c, c), vec_set(1.0F / 15.125F), vec_set(-1.0F));
    Vec p = vec_set(-0.0011590770445764065F);
    p = vec_fma(p, s, vec_set(0.0028019100427627563F));
    p = vec_fma(p, s, vec_set(-0.001858461881056428F));
    p = vec_fma(p, s, vec_set(0.001936180517077446F));
    p = vec_fma(p, s, vec_set(-0.006954135838896036F));
    p = vec_fma(p, s, vec_set(0.011938334442675114F));
    p = vec_fma(p, s, vec_set(-0.015064212493598461F));
    p = vec_fma(p, s, vec_set(0.01980808563530445F));
    p = vec_fma(p, s, vec_set(-0.02600940130650997F));
    p = vec_fma(p, s, vec_set(0.032155975699424744F));
    p = vec_fma(p, s, vec_set(-0.03879871219396591F));
    p = vec_fma(p, s, vec_set(0.04773271083831787F));
    p = vec_fma(p, s, vec_set(-0.06417211890220642F));
    p = vec_fma(p, s, vec_set(0.12855197489261627F));
    return vec_mul(x, vec_fma(p, c, vec_set(0.5F)));
}

enum class Begin { Zero, Bias, Sum };

// One tile: C[rows, vecs] (+)= A[rows, k] · B[k, vecs], sums held in registers.
template <size_t rows, size_t vecs>
inline __attribute__((always_inline)) void tile(size_t k, const float* a, size_t lda,
                                                const float* b, size_t ldb, const float* bias,
                                                float* c, size_t ldc, Begin begin,
                                                Activation activation) {
    Vec sums[rows][vecs];
    if (begin == Begin::Sum) {
#pragma GCC unroll 16
        for (size_t i = 0; i < rows; ++i)
#pragma GCC unroll 8
            for (size_t v = 0; v < vecs; ++v) sums[i][v] = vec_load(c + i * ldc + v * kWidth);
    } else {
#pragma GCC unroll 8
        for (size_t v = 0; v < vecs; ++v) {
            const Vec first = begin == Begin::Bias ? vec_load(bias + v * kWidth) : vec_set(0.0F);
#pragma GCC unroll 16
            for (size_t i = 0; i < rows; ++i) sums[i][v] = first;
        }
    }
    for (size_t step = 0; step < k; ++step) {
        Vec row[vecs];
#pragma GCC unroll 8
        for (size_t v = 0; v < vecs; ++v) row[v] = vec_load(b + v * kWidth);
#pragma GCC unroll 16
        for (size_t i = 0; i < rows; ++i) {
            const Vec factor = vec_set(a[i * lda]);
#pragma GCC unroll 8
            for (size_t v = 0; v < vecs; ++v) sums[i][v] = vec_fma(factor, row[v], sums[i][v]);
        }
        ++a;
        b += ldb;
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < rows; ++i)
#pragma GCC unroll 8
        for (size_t v = 0; v < vecs; ++v) vec_store(c + i * ldc + v * kWidth, sums[i][v]);
    if (activation == Activation::Gelu) {
        for (size_t i = 0; i < rows; ++i) {
            for (size_t v = 0; v < vecs; ++v) {
                float* at = c + i * ldc + v * kWidth;
                vec_store(at, gelu_vec(vec_load(at)));
            }
        }
    }
}

using TileFunction = void (*)(size_t k, const float* a, size_t lda, const float* b, size_t ldb,
                              const float* bias, float* c, size_t ldc, Begin begin,
                              Activation activation);

template <size_t rows, size_t vecs>
void tile_function(size_t k, const float* a, size_t lda, const float* b, size_t ldb,
                   const float* bias, float* c, size_t ldc, Begin begin, Activation activation) {
    tile<rows, vecs>(k, a, lda, b, ldb, bias, c, ldc, begin, activation);
}

// Tiles of 1 to kAccumulators / vecs rows; the sums of a row are the same in all of them.
template <size_t vecs>
TileFunction tile_of(size_t rows) {
    static constexpr TileFunction kTiles[] = {
        tile_function<1, vecs>, tile_function<2, vecs>, tile_function<3, vecs>,
        tile_function<4, vecs>, tile_function<5, vecs>, tile_function<6, vecs>,
    };
    if constexpr (kAccumulators / vecs > 6) {
        static constexpr TileFunction kTallTiles[] = {
            tile_function<7, vecs>,  tile_function<8, vecs>,  tile_function<9, vecs>,
            tile_function<10, vecs>, tile_function<11, vecs>, tile_function<12, vecs>,
        };
        if (rows > 6) return kTallTiles[rows - 7];
    }
    return kTiles[rows - 1];
}

void gemm(const GemmArgs& g) {
    alignas(64) float widened[kBlockK * kPanel];
    alignas(64) float edge[kTileRows * kPanel];
    for (size_t row0 = 0; row0 < g.rows; row0 += kBlockRows) {
        const size_t rows = smaller(kBlockRows, g.rows - row0);
        for (size_t k0 = 0; k0 < g.k; k0 += kBlockK) {
            const size_t steps = smaller(kBlockK, g.k - k0);
            const Begin begin = k0 == 0 ? Begin::Bias : Begin::Sum;
            const Activation activation = k0 + steps == g.k ? g.activation : Activation::None;
            for (size_t first = 0; first < g.n; first += kPanel) {
                const float* b = g.f32 + first * g.k + k0 * kPanel;
                if (g.f32 == nullptr) {
                    const uint16_t* narrow = g.bf16 + first * g.k + k0 * kPanel;
                    for (size_t i = 0; i < steps * kPanel; i += kWidth)
                        vec_store(widened + i, vec_widen(narrow + i));
                    b = widened;
                }
                const size_t columns = smaller(kPanel, g.n - first);
                for (size_t row = 0; row < rows; row += kTileRows) {
                    const size_t count = smaller(kTileRows, rows - row);
                    const float* a = g.a + (row0 + row) * g.lda + k0;
                    float* c = g.c + (row0 + row) * g.ldc + first;
                    if (columns == kPanel) {
                        if (count == kTileRows) {
                            tile<kTileRows, kPanelVecs>(steps, a, g.lda, b, kPanel, g.bias + first,
                                                        c, g.ldc, begin, activation);
                        } else {
                            tile_of<kPanelVecs>(count)(steps, a, g.lda, b, kPanel, g.bias + first,
                                                       c, g.ldc, begin, activation);
                        }
                        continue;
                    }
                    // The last, narrower panel goes through a tile of its own.
                    for (size_t i = 0; i < count && begin == Begin::Sum; ++i)
                        for (size_t j = 0; j < kPanel; ++j)
                            edge[i * kPanel + j] = j < columns ? c[i * g.ldc + j] : 0.0F;
                    tile_of<kPanelVecs>(count)(steps, a, g.lda, b, kPanel, g.bias + first, edge,
                                               kPanel, begin, activation);
                    for (size_t i = 0; i < count; ++i)
                        for (size_t j = 0; j < columns; ++j)
                            c[i * g.ldc + j] = edge[i * kPanel + j];
                }
            }
        }
    }
}

// The largest of count whole vectors.
inline float largest_of(const float* values, size_t count) {
    Vec top = vec_load(values);
    for (size_t j = kWidth; j < count; j += kWidth) top = vec_max(top, vec_load(values + j));
    alignas(64) float lanes[kWidth];
    vec_store(lanes, top);
    float largest = lanes[0];
    for (size_t j = 1; j < kWidth; ++j) largest = lanes[j] > largest ? lanes[j] : largest;
    return largest;
}

// Softmax numerators of one row in place; returns 1 / their sum. Columns from count to padded
// are overwritten.
inline float softmax_row(float* row, size_t count, size_t padded, float scale) {
    for (size_t j = count; j < padded; ++j) row[j] = -1e30F;
    const Vec top = vec_set(largest_of(row, padded));
    const Vec factor = vec_set(scale);
    Vec sum = vec_set(0.0F);
    for (size_t j = 0; j < round_up(count, kWidth); j += kWidth) {
        const Vec e = exp_vec(vec_mul(vec_sub(vec_load(row + j), top), factor));
        vec_store(row + j, e);
        sum = vec_add(sum, e);
    }
    return 1.0F / vec_sum(sum);
}

// Weighted sums of values for one block of queries: out[rows, D] = P[rows, L] · V[L, D] · inverse.
template <size_t vecs>
inline void weigh(const float* p, size_t ldp, const float* values, size_t padded_head,
                  size_t tokens, size_t rows, float* sums, size_t first) {
    constexpr size_t kRows = kAccumulators / vecs < 12 ? kAccumulators / vecs : 12;
    for (size_t row = 0; row < rows; row += kRows) {
        tile_of<vecs>(smaller(kRows, rows - row))(
            tokens, p + row * ldp, ldp, values + first, padded_head, nullptr,
            sums + row * padded_head + first, padded_head, Begin::Zero, Activation::None);
    }
}

void attention(const AttentionArgs& args) {
    const size_t tokens = args.tokens;
    const size_t head = args.head_width;
    const size_t width = args.heads * head;
    const size_t padded_tokens = round_up(tokens, kPanel);
    const size_t padded_head = round_up(head, kWidth);
    float* const keys = args.scratch;                                 // panels of [D, kPanel]
    float* const values = keys + round_up(tokens, kPanelMax) * head;  // [L, padded D]
    float* const scores = values + tokens * round_up(head, kPanelMax);
    float* const sums = scores + kQueryBlock * round_up(tokens, kPanelMax);
    const float scale = vec_inverse_sqrt(static_cast<float>(head));
    for (size_t h = 0; h < args.heads; ++h) {
        const float* q = args.qkv + h * head;
        for (size_t first = 0; first < padded_tokens; first += kPanel) {
            float* panel = keys + first * head;
            for (size_t j = 0; j < kPanel; ++j) {
                if (first + j < tokens) {
                    const float* key = q + width + (first + j) * 3 * width;
                    for (size_t d = 0; d < head; ++d) panel[d * kPanel + j] = key[d];
                } else {
                    for (size_t d = 0; d < head; ++d) panel[d * kPanel + j] = 0.0F;
                }
            }
        }
        for (size_t j = 0; j < tokens; ++j) {
            const float* value = q + 2 * width + j * 3 * width;
            for (size_t d = 0; d < padded_head; ++d)
                values[j * padded_head + d] = d < head ? value[d] : 0.0F;
        }
        for (size_t row0 = 0; row0 < tokens; row0 += kQueryBlock) {
            const size_t rows = smaller(kQueryBlock, tokens - row0);
            for (size_t first = 0; first < padded_tokens; first += kPanel) {
                for (size_t row = 0; row < rows; row += kTileRows) {
                    tile_of<kPanelVecs>(smaller(kTileRows, rows - row))(
                        head, q + (row0 + row) * 3 * width, 3 * width, keys + first * head, kPanel,
                        nullptr, scores + row * padded_tokens + first, padded_tokens, Begin::Zero,
                        Activation::None);
                }
            }
            float inverse[kQueryBlock];
            for (size_t i = 0; i < rows; ++i)
                inverse[i] = softmax_row(scores + i * padded_tokens, tokens, padded_tokens, scale);
            size_t first = 0;
            for (; first + kPanel <= padded_head; first += kPanel) {
                weigh<kPanelVecs>(scores, padded_tokens, values, padded_head, tokens, rows, sums,
                                  first);
            }
            for (; first + 2 * kWidth <= padded_head; first += 2 * kWidth) {
                weigh<2>(scores, padded_tokens, values, padded_head, tokens, rows, sums, first);
            }
            for (; first < padded_head; first += kWidth) {
                weigh<1>(scores, padded_tokens, values, padded_head, tokens, rows, sums, first);
            }
            for (size_t i = 0; i < rows; ++i) {
                float* out = args.out + (row0 + i) * width + h * head;
                for (size_t d = 0; d < head; ++d) out[d] = sums[i * padded_head + d] * inverse[i];
            }
        }
    }
}

void layer_norm(float* x, const float* residual, size_t rows, size_t width, const float* weight,
                const float* bias, float epsilon) {
    const size_t whole = width / kWidth * kWidth;
    const float share = 1.0F / static_cast<float>(width);
    for (size_t row = 0; row < rows; ++row) {
        float* values = x + row * width;
        const float* added = residual == nullptr ? nullptr : residual + row * width;
        Vec sum = vec_set(0.0F);
        float rest = 0.0F;
        for (size_t i = 0; i < whole; i += kWidth) {
            Vec v = vec_load(values + i);
            if (added != nullptr) v = vec_add(v, vec_load(added + i));
            vec_store(values + i, v);
            sum = vec_add(sum, v);
        }
        for (size_t i = whole; i < width; ++i) {
            if (added != nullptr) values[i] += added[i];
            rest += values[i];
        }
        const float mean = (vec_sum(sum) + rest) * share;
        Vec squares = vec_set(0.0F);
        rest = 0.0F;
        for (size_t i = 0; i < whole; i += kWidth) {
            const Vec off = vec_sub(vec_load(values + i), vec_set(mean));
            squares = vec_fma(off, off, squares);
        }
        for (size_t i = whole; i < width; ++i) rest += (values[i] - mean) * (values[i] - mean);
        const float inverse = vec_inverse_sqrt((vec_sum(squares) + rest) * share + epsilon);
        for (size_t i = 0; i < whole; i += kWidth) {
            const Vec normal =
                vec_mul(vec_sub(vec_load(values + i), vec_set(mean)), vec_set(inverse));
            vec_store(values + i, vec_fma(normal, vec_load(weight + i), vec_load(bias + i)));
        }
        for (size_t i = whole; i < width; ++i)
            values[i] = (values[i] - mean) * inverse * weight[i] + bias[i];
    }
}

void normalize(float* x, size_t width) {
    const size_t whole = width / kWidth * kWidth;
    Vec squares = vec_set(0.0F);
    float rest = 0.0F;
    for (size_t i = 0; i < whole; i += kWidth)
        squares = vec_fma(vec_load(x + i), vec_load(x + i), squares);
    for (size_t i = whole; i < width; ++i) rest += x[i] * x[i];
    const float total = vec_sum(squares) + rest;
    if (!(total > 0.0F)) return;
    const float inverse = vec_inverse_sqrt(total);
    for (size_t i = 0; i < width; ++i) x[i] *= inverse;
}

void mean_pool(const float* x, size_t rows, size_t width, float* out) {
    for (size_t i = 0; i < width; ++i) out[i] = 0.0F;
    for (size_t row = 0; row < rows; ++row) {
        for (size_t i = 0; i < width; ++i) out[i] += x[row * width + i];
    }
    const float share = 1.0F / static_cast<float>(rows);
    for (size_t i = 0; i < width; ++i) out[i] *= share;
    normalize(out, width);
}

}  // namespace

}  // namespace px::embed
