// Dot products of pairs and quads for AVX-512, encoding of rows for them, and attention over pairs.
// Included by the files of processors that have them, after body.h. Letters as in kernels.h.
#pragma once

#include "embed/kernels/avx512_tile.h"

namespace px::embed {

namespace {

inline __m512i ints_at(const float* p) { return _mm512_loadu_si512(p); }
inline __m512i broadcast_word(const float* p) {
    int32_t word;
    __builtin_memcpy(&word, p, 4);
    return _mm512_set1_epi32(word);
}

// Exact 32-bit sums. Assembly, because g++ 12 spills the sums of a tile around the intrinsics.
struct DotInt {
    using Sum = __m512i;
    using Words = __m512i;
    static constexpr bool kShortGelu = true;
    static Sum zero() { return _mm512_setzero_si512(); }
    static Sum load(const float* p) { return ints_at(p); }
    static void store(float* p, Sum sum) { _mm512_storeu_si512(p, sum); }
    static Words words(const float* p) { return ints_at(p); }
    static Words broadcast(const float* p) { return broadcast_word(p); }
    static Vec number(Sum sum) { return _mm512_cvtepi32_ps(sum); }
    // Scaling and bias are two roundings, as in the other kernels.
    static Vec scaled(Sum sum, Vec column, const Scales& s, size_t row) {
        return vec_mul(number(sum), vec_mul(vec_set(s.row[row]), column));
    }
};

struct DotInt8 : DotInt {
    struct Column {
        Vec scale;
        Sum offset;
    };
    static inline __attribute__((always_inline)) void add(Sum& sum, Words bytes, Words weights) {
        __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(bytes), "v"(weights));
    }
    PX_SUM_TILE("vpdpbusd")
    static Column column(const Scales& s, size_t at) {
        return {vec_load(s.column + at), _mm512_loadu_si512(s.offset + at)};
    }
    static Vec value(Sum sum, const Column& column, const Scales& s, size_t row) {
        return scaled(_mm512_sub_epi32(sum, column.offset), column.scale, s, row);
    }
};

struct DotInt16 : DotInt {
    using Column = Vec;
    static constexpr bool kShortGelu = false;
    static inline __attribute__((always_inline)) void add(Sum& sum, Words factor, Words weights) {
        __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(factor), "v"(weights));
    }
    PX_SUM_TILE("vpdpwssd")
    static Column column(const Scales& s, size_t at) { return vec_load(s.column + at); }
    static Vec value(Sum sum, Column column, const Scales& s, size_t row) {
        return scaled(sum, column, s, row);
    }
};

// Pairs of bf16 by Instruction::add.
template <class Instruction>
struct DotBf16 : Instruction {
    struct Column {};
    using Sum = __m512;
    using Words = __m512i;
    static constexpr bool kShortGelu = true;
    static Sum zero() { return vec_set(0.0F); }
    static Sum load(const float* p) { return vec_load(p); }
    static void store(float* p, Sum sum) { vec_store(p, sum); }
    static Words words(const float* p) { return ints_at(p); }
    static Words broadcast(const float* p) { return broadcast_word(p); }
    static inline __attribute__((always_inline)) void add(Sum& sum, Words factor, Words weights) {
        Instruction::add(sum, factor, weights);
    }
    static Vec number(Sum sum) { return sum; }
    static Column column(const Scales&, size_t) { return {}; }
    static Vec value(Sum sum, Column, const Scales&, size_t) { return sum; }
};

/// Pairs as whole numbers: values are divided by a scale first.
struct PairsInt16 {
    using Dot = DotInt16;
    static constexpr Coding kCoding = Coding::Int16;
    static __m512i narrow(Vec x) { return _mm512_cvtps_epi32(x); }
    static __m512i pack(__m512i a, __m512i b) { return _mm512_packs_epi32(a, b); }
};

/// Pairs of bf16, rounded to the nearest, halves to even.
template <class Instruction>
struct PairsBf16 {
    using Dot = DotBf16<Instruction>;
    static constexpr Coding kCoding = Coding::Bf16;
    static __m512i narrow(Vec x) {
        const __m512i bits = _mm512_castps_si512(x);
        const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        const __m512i rounded = _mm512_srli_epi32(
            _mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7FFF)), 16);
        return _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q),
                                     _mm512_set1_epi32(0x7FC0));
    }
    static __m512i pack(__m512i a, __m512i b) { return _mm512_packus_epi32(a, b); }
};

inline __mmask16 first_lanes(size_t count) {
    return static_cast<__mmask16>(count >= 16 ? 0xFFFFU : (1U << count) - 1U);
}

/// The first count values of x, then zeros.
inline Vec load_part(const float* x, size_t count) {
    return count >= 16 ? vec_load(x) : _mm512_maskz_loadu_ps(first_lanes(count), x);
}

/// Up to 32 values as 16 words, the rest of them 0.
template <class Pairs>
inline __m512i encode_pairs(const float* x, size_t count, Vec factor) {
    Vec low = load_part(x, count);
    Vec high = load_part(x + 16, count > 16 ? count - 16 : 0);
    if constexpr (Pairs::kCoding == Coding::Int16) {
        low = vec_mul(low, factor);
        high = vec_mul(high, factor);
    }
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7),
                                    Pairs::pack(Pairs::narrow(low), Pairs::narrow(high)));
}

inline Vec magnitude(Vec x) { return _mm512_abs_ps(x); }

inline float largest_magnitude(const float* x, size_t width) {
    Vec top[2] = {vec_set(0.0F), vec_set(0.0F)};
    size_t i = 0;
    for (; i + 32 <= width; i += 32) {
        top[0] = vec_max(top[0], magnitude(vec_load(x + i)));
        top[1] = vec_max(top[1], magnitude(vec_load(x + i + 16)));
    }
    for (; i < width; i += 16) top[0] = vec_max(top[0], magnitude(load_part(x + i, width - i)));
    return _mm512_reduce_max_ps(vec_max(top[0], top[1]));
}

/// The length of a vector.
inline float length(const float* x, size_t width) {
    Vec sum = vec_set(0.0F);
    for (size_t i = 0; i < width; i += 16) {
        const Vec part = load_part(x + i, width - i);
        sum = vec_add(sum, vec_mul(part, part));
    }
    return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(vec_sum(sum))));
}

template <class Pairs>
void encode_row(const EncodeArgs& args, size_t row) {
    const size_t width = args.width;
    const float* x = args.x + row * width;
    float inverse = 1.0F;
    if (is_scaled(args.coding)) {
        const float largest = largest_magnitude(x, width);
        float scale = largest / args.limit;
        if (args.coding == Coding::Int16) {
            const float by_length = length(x, width) / args.limit;
            scale = largest / 32767.0F;
            scale = by_length > scale ? by_length : scale;
        }
        args.scale[row] = scale;
        inverse = largest > 0 ? 1.0F / scale : 0.0F;
    }
    const Vec factor = vec_set(inverse);
    if (args.coding == Coding::Int8) {
        const size_t words = round_up(width, 4) / 4;
        float* out = args.out + row * words;
        const __m512i order =
            _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        for (size_t i = 0; i < width; i += 64) {
            __m512i whole[4];
#pragma GCC unroll 4
            for (size_t v = 0; v < 4; ++v) {
                const size_t at = i + v * 16;
                whole[v] = _mm512_cvtps_epi32(
                    vec_mul(load_part(x + at, at < width ? width - at : 0), factor));
            }
            const __m512i packed = _mm512_packs_epi16(_mm512_packs_epi32(whole[0], whole[1]),
                                                      _mm512_packs_epi32(whole[2], whole[3]));
            const __m512i bytes = _mm512_xor_si512(_mm512_permutexvar_epi32(order, packed),
                                                   _mm512_set1_epi8(static_cast<char>(0x80)));
            _mm512_mask_storeu_epi32(out + i / 4, first_lanes(words - i / 4), bytes);
        }
        return;
    }
    const size_t words = round_up(width, 2) / 2;
    float* out = args.out + row * words;
    for (size_t i = 0; i < width; i += 32) {
        _mm512_mask_storeu_epi32(out + i / 2, first_lanes(words - i / 2),
                                 encode_pairs<Pairs>(x + i, width - i, factor));
    }
}

// 2^x within 3e-6 of its value, for x ≤ 0.
inline Vec exp2_vec(Vec x) {
    const Vec n = vec_round(x);
    const Vec r = vec_sub(x, n);
    Vec p = vec_set(0.009560510516166687F);
    p = vec_fma(p, r, vec_set(0.05591703951358795F));
    p = vec_fma(p, r, vec_set(0.24024981260299683F));
    p = vec_fma(p, r, vec_set(0.6931219696998596F));
    p = vec_fma(p, r, vec_set(0.9999991655349731F));
    return vec_scale2(p, n);
}

// rows × vecs sums of one panel, for any number of rows.
template <class Dot, size_t vecs>
void multiply_panel(size_t rows, size_t words, const float* a, size_t lda, const float* b,
                    size_t ldb, float* c, size_t ldc) {
    for (size_t row = 0; row < rows; row += kRowsOf<vecs>) {
        tile_of<Dot, vecs>(smaller(kRowsOf<vecs>, rows - row))(words, a + row * lda, lda, b, ldb,
                                                               c + row * ldc, ldc, Begin::Zero);
    }
}
template <class Dot>
void multiply_columns(size_t rows, size_t columns, size_t words, const float* a, size_t lda,
                      const float* b, size_t ldb, float* c, size_t ldc) {
    switch ((columns + 15) / 16) {
        case 1:
            return multiply_panel<Dot, 1>(rows, words, a, lda, b, ldb, c, ldc);
        case 2:
            return multiply_panel<Dot, 2>(rows, words, a, lda, b, ldb, c, ldc);
        case 3:
            return multiply_panel<Dot, 3>(rows, words, a, lda, b, ldb, c, ldc);
        default:
            return multiply_panel<Dot, 4>(rows, words, a, lda, b, ldb, c, ldc);
    }
}

// Softmax of one row of sums: its words to out. Returns what the weighted sums are to be multiplied
// by. Source of the bound in Int16: the weights add up to at most 32767 and half a step for each.
template <class Pairs>
inline float soften(float* row, size_t count, float factor, float* out) {
    constexpr bool kWhole = Pairs::kCoding == Coding::Int16;
    constexpr float kOne = 32767.0F;
    Vec top = vec_set(-1e20F);
    size_t j = 0;
    for (; j + 16 <= count; j += 16) {
        const Vec x = Pairs::Dot::number(Pairs::Dot::load(row + j));
        vec_store(row + j, x);
        top = vec_max(top, x);
    }
    if (j < count) {
        const Vec x = _mm512_mask_mov_ps(vec_set(-1e20F), first_lanes(count - j),
                                         Pairs::Dot::number(Pairs::Dot::load(row + j)));
        vec_store(row + j, x);
        top = vec_max(top, x);
    }
    const Vec largest = vec_set(_mm512_reduce_max_ps(top));
    Vec sum = vec_set(0.0F);
    for (j = 0; j < count; j += 16) {
        const Vec e = exp2_vec(vec_mul(vec_sub(vec_load(row + j), largest), vec_set(factor)));
        vec_store(row + j, e);
        sum = vec_add(sum, e);
    }
    const float total = vec_sum(sum);
    const Vec share = vec_set(kWhole ? kOne / total : 1.0F);
    const size_t known = round_up(count, 16);
    for (j = 0; j < known; j += 32)
        _mm512_storeu_si512(out + j / 2, encode_pairs<Pairs>(row + j, known - j, share));
    return kWhole ? 1.0F / kOne : 1.0F / total;
}

// Attention over pairs: queries and keys paired along the head, weights and values along the text.
// Int16 has one scale for the queries, keys and values each of a head of a text.
template <class Pairs>
void attend_pairs(const AttentionArgs& args) {
    using Dot = typename Pairs::Dot;
    constexpr bool kWhole = Pairs::kCoding == Coding::Int16;
    const size_t tokens = args.tokens;
    const size_t head = args.head_width;
    if (args.coding == Coding::F32 || head % 2 != 0) return attend(args);
    const size_t width = args.heads * head;
    const size_t stride = 3 * width;
    const size_t half = head / 2;
    const size_t pairs = (tokens + 1) / 2;
    const size_t padded_tokens = round_up(tokens, kPanel);
    const size_t padded_head = round_up(head, kWidth);
    float* const keys = args.scratch;                             // panels of [D / 2, kPanel] words
    float* const values = keys + padded_tokens * half;            // [L / 2, padded D] words
    float* const scores = values + pairs * padded_head;           // [rows, padded L]
    float* const weights = scores + kQueryBlock * padded_tokens;  // [rows, padded L / 2] words
    float* const queries = weights + kQueryBlock * padded_tokens / 2;  // [rows, D / 2] words
    float* const sums = queries + kQueryBlock * half;                  // [rows, padded D]
    const float root = vec_inverse_sqrt(static_cast<float>(head));
    const auto product_limit =
        static_cast<float>(smaller(32767, static_cast<size_t>(46340.0F * 0.99999F * root)));
    for (size_t h = 0; h < args.heads; ++h) {
        const float* q = args.qkv + h * head;
        const float* k = q + width;
        const float* v = k + width;
        float q_factor = 1.0F, k_factor = 1.0F, v_factor = 1.0F;
        float score_factor = root * 1.44269504088896341F, out_factor = 1.0F;
        if constexpr (kWhole) {
            Vec top[3] = {vec_set(0.0F), vec_set(0.0F), vec_set(0.0F)};
            for (size_t j = 0; j < tokens; ++j) {
                for (size_t d = 0; d < head; d += 16) {
#pragma GCC unroll 3
                    for (size_t side = 0; side < 3; ++side) {
                        const float* at = q + side * width + j * stride + d;
                        top[side] = vec_max(top[side], magnitude(load_part(at, head - d)));
                    }
                }
            }
            const float q_top = _mm512_reduce_max_ps(top[0]);
            const float k_top = _mm512_reduce_max_ps(top[1]);
            const float v_top = _mm512_reduce_max_ps(top[2]);
            q_factor = q_top > 0 ? product_limit / q_top : 0.0F;
            k_factor = k_top > 0 ? product_limit / k_top : 0.0F;
            v_factor = v_top > 0 ? 32767.0F / v_top : 0.0F;
            score_factor *= (q_top / product_limit) * (k_top / product_limit);
            out_factor = v_top / 32767.0F;
        }
        for (size_t j = 0; j < tokens; j += 16) {
            float* const panel = keys + j / kPanel * kPanel * half + j % kPanel;
            for (size_t d = 0; d < head; d += 32) {
                Vec block[16];
#pragma GCC unroll 16
                for (size_t i = 0; i < 16; ++i) {
                    const size_t there = j + i < tokens ? head - d : 0;
                    block[i] = _mm512_castsi512_ps(encode_pairs<Pairs>(
                        k + (there == 0 ? j : j + i) * stride + d, there, vec_set(k_factor)));
                }
                vec_transpose(block);
                const size_t count = smaller(16, half - d / 2);
                for (size_t i = 0; i < count; ++i)
                    vec_store(panel + (d / 2 + i) * kPanel, block[i]);
            }
        }
        for (size_t pair = 0; pair < pairs; ++pair) {
            const float* first = v + 2 * pair * stride;
            const size_t second = 2 * pair + 1 < tokens ? stride : 0;
            for (size_t d = 0; d < padded_head; d += 16) {
                Vec low = load_part(first + d, head - d);
                Vec high = load_part(first + second + d, second == 0 ? 0 : head - d);
                if constexpr (kWhole) {
                    low = vec_mul(low, vec_set(v_factor));
                    high = vec_mul(high, vec_set(v_factor));
                }
                _mm512_storeu_si512(
                    values + pair * padded_head + d,
                    _mm512_or_si512(_mm512_and_si512(Pairs::narrow(low), _mm512_set1_epi32(0xFFFF)),
                                    _mm512_slli_epi32(Pairs::narrow(high), 16)));
            }
        }
        for (size_t row0 = 0; row0 < tokens; row0 += kQueryBlock) {
            const size_t rows = smaller(kQueryBlock, tokens - row0);
            for (size_t i = 0; i < rows; ++i) {
                for (size_t d = 0; d < head; d += 32) {
                    _mm512_mask_storeu_epi32(queries + i * half + d / 2, first_lanes(half - d / 2),
                                             encode_pairs<Pairs>(q + (row0 + i) * stride + d,
                                                                 head - d, vec_set(q_factor)));
                }
            }
            for (size_t first = 0; first < tokens; first += kPanel) {
                multiply_columns<Dot>(rows, smaller(kPanel, tokens - first), half, queries, half,
                                      keys + first * half, kPanel, scores + first, padded_tokens);
            }
            float inverse[kQueryBlock];
            for (size_t i = 0; i < rows; ++i) {
                inverse[i] =
                    out_factor * soften<Pairs>(scores + i * padded_tokens, tokens, score_factor,
                                               weights + i * padded_tokens / 2);
            }
            for (size_t first = 0; first < padded_head; first += kPanel) {
                multiply_columns<Dot>(rows, smaller(kPanel, padded_head - first), pairs, weights,
                                      padded_tokens / 2, values + first, padded_head, sums + first,
                                      padded_head);
            }
            for (size_t i = 0; i < rows; ++i) {
                float* out = args.out + (row0 + i) * args.out_stride + h * head;
                for (size_t d = 0; d < head; d += 16) {
                    const Vec x = vec_mul(Dot::number(Dot::load(sums + i * padded_head + d)),
                                          vec_set(inverse[i]));
                    _mm512_mask_storeu_ps(out + d, first_lanes(head - d), x);
                }
            }
        }
    }
}

/// The products of a processor with VNNI and what it has for pairs.
template <class Pairs>
void product_by_words(const ProductArgs& g) {
    switch (g.coding) {
        case Coding::Int8:
            return product_of<DotInt8, PackedWords>(g);
        case Coding::WideBf16:
            return product_of<DotF32Wide, WidenedWords>(g);
        case Coding::F32:
            return product_of<DotF32Wide, PackedWords>(g);
        default:
            return product_of<typename Pairs::Dot, PackedWords>(g);
    }
}

}  // namespace

}  // namespace px::embed
