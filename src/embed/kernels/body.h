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
constexpr size_t kBlockWords = 96;  // inner steps whose panel stays in the first-level cache
constexpr size_t kBlockRows = 96;   // rows whose inputs stay in the second-level cache

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

// The same within 6e-5 · max(1, |x|), for results that are rounded to 16 bits or fewer anyway.
inline Vec short_gelu_vec(Vec x) {
    const Vec c = vec_max(vec_min(x, vec_set(3.8F)), vec_set(-3.8F));
    const Vec s = vec_fma(vec_mul(c, c), vec_set(0.138504155124653746F), vec_set(-1.0F));
    Vec p = vec_set(0.004943361040204763F);
    p = vec_fma(p, s, vec_set(-0.013202066533267498F));
    p = vec_fma(p, s, vec_set(0.020084498450160027F));
    p = vec_fma(p, s, vec_set(-0.03316468372941017F));
    p = vec_fma(p, s, vec_set(0.055276550352573395F));
    p = vec_fma(p, s, vec_set(-0.08711259812116623F));
    p = vec_fma(p, s, vec_set(0.1847492903470993F));
    return vec_mul(x, vec_fma(p, c, vec_set(0.5F)));
}

// What turns the sums of a tile into numbers, from its first row and column on.
struct Scales {
    const float* row;
    const float* column;
    const int32_t* offset;
    const float* bias;
};

// What multiplies words and adds them up, a lane for each column. Others (dot products of pairs and
// of quads) have the same members.
struct DotF32 {
    using Sum = Vec;
    using Words = Vec;
    struct Column {};
    static constexpr bool kShortGelu = false;
    static Sum zero() { return vec_set(0.0F); }
    static Sum load(const float* p) { return vec_load(p); }
    static void store(float* p, Sum sum) { vec_store(p, sum); }
    static Words words(const float* p) { return vec_load(p); }
    static Words broadcast(const float* p) { return vec_set(*p); }
    static void add(Sum& sum, Words factor, Words words) { sum = vec_fma(factor, words, sum); }
    /// What value() needs to know of the columns from `at` on.
    static Column column(const Scales&, size_t) { return {}; }
    /// The sum as a number, before the bias.
    static Vec value(Sum sum, Column, const Scales&, size_t) { return sum; }
};

enum class Begin { Zero, Sum };

// One tile: C[rows, vecs] (+)= A[rows, words] · B[words, vecs], sums held in registers.
template <class Dot, size_t rows, size_t vecs>
void tile(size_t words, const float* a, size_t lda, const float* b, size_t ldb, float* c,
          size_t ldc, Begin begin) {
    typename Dot::Sum sums[rows][vecs];
    if (begin == Begin::Sum) {
#pragma GCC unroll 16
        for (size_t i = 0; i < rows; ++i)
#pragma GCC unroll 8
            for (size_t v = 0; v < vecs; ++v) sums[i][v] = Dot::load(c + i * ldc + v * kWidth);
    } else {
#pragma GCC unroll 16
        for (size_t i = 0; i < rows; ++i)
#pragma GCC unroll 8
            for (size_t v = 0; v < vecs; ++v) sums[i][v] = Dot::zero();
    }
    for (size_t step = 0; step < words; ++step) {
        typename Dot::Words row_of_b[vecs];
#pragma GCC unroll 8
        for (size_t v = 0; v < vecs; ++v) row_of_b[v] = Dot::words(b + v * kWidth);
#pragma GCC unroll 16
        for (size_t i = 0; i < rows; ++i) {
            const typename Dot::Words factor = Dot::broadcast(a + i * lda);
#pragma GCC unroll 8
            for (size_t v = 0; v < vecs; ++v) Dot::add(sums[i][v], factor, row_of_b[v]);
        }
        ++a;
        b += ldb;
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < rows; ++i)
#pragma GCC unroll 8
        for (size_t v = 0; v < vecs; ++v) Dot::store(c + i * ldc + v * kWidth, sums[i][v]);
}

using TileFunction = void (*)(size_t words, const float* a, size_t lda, const float* b, size_t ldb,
                              float* c, size_t ldc, Begin begin);

// Tiles of 1 to min(12, kAccumulators / vecs) rows; the sums of a row are the same in all of them.
template <class Dot, size_t vecs>
TileFunction tile_of(size_t rows) {
    static constexpr TileFunction kTiles[] = {
        tile<Dot, 1, vecs>, tile<Dot, 2, vecs>, tile<Dot, 3, vecs>,
        tile<Dot, 4, vecs>, tile<Dot, 5, vecs>, tile<Dot, 6, vecs>,
    };
    if constexpr (kAccumulators / vecs > 6) {
        static constexpr TileFunction kTallTiles[] = {
            tile<Dot, 7, vecs>,  tile<Dot, 8, vecs>,  tile<Dot, 9, vecs>,
            tile<Dot, 10, vecs>, tile<Dot, 11, vecs>, tile<Dot, 12, vecs>,
        };
        if (rows > 6) return kTallTiles[rows - 7];
    }
    return kTiles[rows - 1];
}
template <size_t vecs>
constexpr size_t kRowsOf = kAccumulators / vecs < 12 ? kAccumulators / vecs : 12;

// Values of a tile's sums [rows, kPanel], stored as `after` says: out [rows, columns], ldo apart.
template <class Dot, After after>
inline void finish(const float* sums, size_t rows, size_t columns, const Scales& scales, float* out,
                   size_t ldo) {
    for (size_t v = 0; v < kPanelVecs; ++v) {
        const size_t at = v * kWidth;
        if (at >= columns) return;
        const auto column = Dot::column(scales, at);
        const Vec bias = vec_load(scales.bias + at);
        const bool whole = at + kWidth <= columns;
        for (size_t i = 0; i < rows; ++i) {
            float* const to = out + i * ldo + at;
            const auto sum = Dot::load(sums + i * kPanel + at);
            Vec value = vec_add(Dot::value(sum, column, scales, i), bias);
            if (after == After::Gelu)
                value = Dot::kShortGelu ? short_gelu_vec(value) : gelu_vec(value);
            if (whole) {
                vec_store(to, after == After::Add ? vec_add(vec_load(to), value) : value);
                continue;
            }
            alignas(64) float lanes[kWidth];
            vec_store(lanes, value);
            for (size_t j = 0; j < columns - at; ++j)
                to[j] = after == After::Add ? to[j] + lanes[j] : lanes[j];
        }
    }
}

// Where the words of block k0 of the panel that begins at column `first` are.
struct PackedWords {
    static const float* block(const ProductArgs& g, size_t first, size_t k0, size_t, float*) {
        return static_cast<const float*>(g.w) + first * g.words + k0 * kPanel;
    }
    static constexpr size_t kBytes = 4;
};
struct WidenedWords {
    static const float* block(const ProductArgs& g, size_t first, size_t k0, size_t steps,
                              float* widened) {
        const uint16_t* narrow = static_cast<const uint16_t*>(g.w) + first * g.words + k0 * kPanel;
        for (size_t i = 0; i < steps * kPanel; i += kWidth)
            vec_store(widened + i, vec_widen(narrow + i));
        return widened;
    }
    static constexpr size_t kBytes = 2;
};

// Sums of rows against a block of a panel; fetches `stride` bytes from `ahead` on at each step.
template <class Dot>
inline void sum_tile(size_t rows, size_t words, const float* a, size_t lda, const float* b,
                     float* sums, Begin begin, uintptr_t ahead, size_t stride) {
    if constexpr (requires { Dot::sum_tile(rows, words, a, lda, b, sums, begin, ahead, stride); }) {
        Dot::sum_tile(rows, words, a, lda, b, sums, begin, ahead, stride);
    } else {
        constexpr size_t kLine = 64;
        for (size_t i = 0; i < words * stride; i += kLine)
            __builtin_prefetch(reinterpret_cast<const void*>(ahead + i), 0, 3);
        tile_of<Dot, kPanelVecs>(rows)(words, a, lda, b, kPanel, sums, kPanel, begin);
    }
}

// Panels of weights in the first-level cache, rows in the second; while a block of weights is used,
// the one that follows it in memory is fetched.
template <class Dot, class Weights>
void product_of(const ProductArgs& g) {
    alignas(64) float widened[Weights::kBytes == 4 ? kWidth : kBlockWords * kPanel];
    alignas(64) float sums[kBlockRows * kPanel];
    constexpr size_t kLine = 64;
    for (size_t row0 = 0; row0 < g.rows; row0 += kBlockRows) {
        const size_t rows = smaller(kBlockRows, g.rows - row0);
        // Few rows in tiles of equal height.
        const size_t tiles = (rows + kTileRows - 1) / kTileRows;
        const size_t height = (rows + tiles - 1) / tiles;
        for (size_t first = 0; first < g.n; first += kPanel) {
            const size_t columns = smaller(kPanel, g.n - first);
            for (size_t k0 = 0; k0 < g.words; k0 += kBlockWords) {
                const size_t steps = smaller(kBlockWords, g.words - k0);
                const float* b = Weights::block(g, first, k0, steps, widened);
                uintptr_t ahead = reinterpret_cast<uintptr_t>(g.w) +
                                  (first * g.words + (k0 + steps) * kPanel) * Weights::kBytes;
                const size_t stride =
                    smaller(kLine, (kPanel * Weights::kBytes + tiles - 1) / tiles);
                for (size_t row = 0; row < rows; row += height) {
                    const size_t count = smaller(height, rows - row);
                    float* const tile_sums = sums + row * kPanel;
                    sum_tile<Dot>(count, steps, g.a + (row0 + row) * g.words + k0, g.words, b,
                                  tile_sums, k0 == 0 ? Begin::Zero : Begin::Sum, ahead, stride);
                    ahead += steps * stride;
                    if (k0 + steps != g.words) continue;
                    Scales scales = {nullptr, nullptr, nullptr, g.bias + first};
                    if (is_scaled(g.coding)) {
                        scales.row = g.a_scale + row0 + row;
                        scales.column = g.w_scale + first;
                    }
                    if (g.coding == Coding::Int8) scales.offset = g.w_offset + first;
                    float* const c = g.c + (row0 + row) * g.n + first;
                    switch (g.after) {
                        case After::Store:
                            finish<Dot, After::Store>(tile_sums, count, columns, scales, c, g.n);
                            break;
                        case After::Gelu:
                            finish<Dot, After::Gelu>(tile_sums, count, columns, scales, c, g.n);
                            break;
                        case After::Add:
                            finish<Dot, After::Add>(tile_sums, count, columns, scales, c, g.n);
                            break;
                    }
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
    constexpr size_t kRows = kRowsOf<vecs>;
    for (size_t row = 0; row < rows; row += kRows) {
        tile_of<DotF32, vecs>(smaller(kRows, rows - row))(
            tokens, p + row * ldp, ldp, values + first, padded_head,
            sums + row * padded_head + first, padded_head, Begin::Zero);
    }
}

[[maybe_unused]] void attend(const AttentionArgs& args) {
    const size_t tokens = args.tokens;
    const size_t head = args.head_width;
    const size_t width = args.heads * head;
    const size_t padded_tokens = round_up(tokens, kPanel);
    const size_t padded_head = round_up(head, kWidth);
    float* const keys = args.scratch;                          // panels of [D, kPanel]
    float* const values = keys + padded_tokens * head;         // [L, padded D]
    float* const scores = values + tokens * padded_head;       // [rows, padded L]
    float* const sums = scores + kQueryBlock * padded_tokens;  // [rows, padded D]
    const float scale = vec_inverse_sqrt(static_cast<float>(head));
    for (size_t h = 0; h < args.heads; ++h) {
        const float* q = args.qkv + h * head;
        for (size_t first = 0; first < padded_tokens; first += kPanel) {
            float* panel = keys + first * head;
            for (size_t j = 0; j < kPanel; j += kWidth) {
                const float* key = q + width + (first + j) * 3 * width;
                const size_t whole = first + j + kWidth <= tokens ? head / kWidth * kWidth : 0;
                for (size_t d = 0; d < whole; d += kWidth)
                    vec_transpose(key + d, 3 * width, panel + d * kPanel + j, kPanel);
                for (size_t i = 0; i < kWidth; ++i) {
                    const bool there = first + j + i < tokens;
                    for (size_t d = whole; d < head; ++d)
                        panel[d * kPanel + j + i] = there ? key[i * 3 * width + d] : 0.0F;
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
                    tile_of<DotF32, kPanelVecs>(smaller(kTileRows, rows - row))(
                        head, q + (row0 + row) * 3 * width, 3 * width, keys + first * head, kPanel,
                        scores + row * padded_tokens + first, padded_tokens, Begin::Zero);
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
                float* out = args.out + (row0 + i) * args.out_stride + h * head;
                for (size_t d = 0; d < head; ++d) out[d] = sums[i * padded_head + d] * inverse[i];
            }
        }
    }
}

using EncodeRow = void (*)(const EncodeArgs& args, size_t row);

template <EncodeRow encode_row>
void encode(const EncodeArgs& args) {
    for (size_t row = 0; row < args.rows; ++row) encode_row(args, row);
}

template <EncodeRow encode_row>
void layer_norm(const NormArgs& args) {
    const size_t width = args.width;
    const size_t whole = width / kWidth * kWidth;
    const float share = 1.0F / static_cast<float>(width);
    const EncodeArgs words = {args.x,     args.rows, width,     args.coding,
                              args.limit, args.out,  args.scale};
    for (size_t row = 0; row < args.rows; ++row) {
        float* values = args.x + row * width;
        const float* added = args.residual == nullptr ? nullptr : args.residual + row * width;
        Vec sums[2] = {vec_set(0.0F), vec_set(0.0F)};
        float rest = 0.0F;
        for (size_t i = 0; i < whole; i += kWidth) {
            Vec v = vec_load(values + i);
            if (added != nullptr) v = vec_add(v, vec_load(added + i));
            vec_store(values + i, v);
            sums[0] = vec_add(sums[0], v);
        }
        for (size_t i = whole; i < width; ++i) {
            if (added != nullptr) values[i] += added[i];
            rest += values[i];
        }
        const float mean = (vec_sum(sums[0]) + rest) * share;
        rest = 0.0F;
        size_t i = 0;
        sums[0] = vec_set(0.0F);
        for (; i + 2 * kWidth <= whole; i += 2 * kWidth) {
            for (size_t v = 0; v < 2; ++v) {
                const Vec off = vec_sub(vec_load(values + i + v * kWidth), vec_set(mean));
                sums[v] = vec_fma(off, off, sums[v]);
            }
        }
        for (; i < whole; i += kWidth) {
            const Vec off = vec_sub(vec_load(values + i), vec_set(mean));
            sums[0] = vec_fma(off, off, sums[0]);
        }
        for (; i < width; ++i) rest += (values[i] - mean) * (values[i] - mean);
        const float inverse =
            vec_inverse_sqrt((vec_sum(vec_add(sums[0], sums[1])) + rest) * share + args.epsilon);
        for (i = 0; i < whole; i += kWidth) {
            const Vec normal =
                vec_mul(vec_sub(vec_load(values + i), vec_set(mean)), vec_set(inverse));
            vec_store(values + i,
                      vec_fma(normal, vec_load(args.weight + i), vec_load(args.bias + i)));
        }
        for (; i < width; ++i)
            values[i] = (values[i] - mean) * inverse * args.weight[i] + args.bias[i];
        if (args.out != nullptr) encode_row(words, row);
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
    const float share = 1.0F / static_cast<float>(rows);
    const size_t whole = width / kWidth * kWidth;
    for (size_t i = 0; i < whole; i += kWidth) {
        Vec sum = vec_set(0.0F);
        for (size_t row = 0; row < rows; ++row) sum = vec_add(sum, vec_load(x + row * width + i));
        vec_store(out + i, vec_mul(sum, vec_set(share)));
    }
    for (size_t i = whole; i < width; ++i) {
        float sum = 0.0F;
        for (size_t row = 0; row < rows; ++row) sum += x[row * width + i];
        out[i] = sum * share;
    }
    normalize(out, width);
}

}  // namespace

}  // namespace px::embed
