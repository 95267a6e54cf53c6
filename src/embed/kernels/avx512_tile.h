// Tiles of up to eight rows and kPanel = 48 columns for AVX-512, written as assembly: g++ 12 spills
// the sums of a tile around intrinsics, depending on what stands near them. Included by the files
// compiled for AVX-512, after body.h.
//
// Registers: zmm0 to zmm23 are the sums, three of them a row; zmm24 to zmm26 a word of each column;
// zmm27 a word of a row, broadcast.
#pragma once

// One step of row i, whose sums are x, y and z.
#define PX_ROW(product, a, x, y, z)                                                        \
    "vpbroadcastd " a ", %%zmm27\n\t" product " %%zmm24, %%zmm27, %%zmm" #x "\n\t" product \
    " %%zmm25, %%zmm27, %%zmm" #y "\n\t" product " %%zmm26, %%zmm27, %%zmm" #z "\n\t"
#define PX_ROWS_1(product) PX_ROW(product, "(%[a])", 0, 1, 2)
#define PX_ROWS_2(product) PX_ROWS_1(product) PX_ROW(product, "(%[a], %[lda])", 3, 4, 5)
#define PX_ROWS_3(product) PX_ROWS_2(product) PX_ROW(product, "(%[a], %[lda], 2)", 6, 7, 8)
#define PX_ROWS_4(product) PX_ROWS_3(product) PX_ROW(product, "(%[a], %[lda3])", 9, 10, 11)
#define PX_ROWS_5(product) PX_ROWS_4(product) PX_ROW(product, "(%[a], %[lda], 4)", 12, 13, 14)
#define PX_ROWS_6(product) PX_ROWS_5(product) PX_ROW(product, "(%[a], %[lda5])", 15, 16, 17)
#define PX_ROWS_7(product) PX_ROWS_6(product) PX_ROW(product, "(%[a], %[lda3], 2)", 18, 19, 20)
#define PX_ROWS_8(product) PX_ROWS_7(product) PX_ROW(product, "(%[a], %[lda7])", 21, 22, 23)

// The sums of row i, kept 192 bytes apart: to zero, from memory, to memory.
#define PX_ZERO(x) "vpxord %%zmm" #x ", %%zmm" #x ", %%zmm" #x "\n\t"
#define PX_ZERO_3(i, x, y, z) PX_ZERO(x) PX_ZERO(y) PX_ZERO(z)
#define PX_LOAD_3(i, x, y, z)                  \
    "vmovups 192*" #i "(%[sums]), %%zmm" #x    \
    "\n\t"                                     \
    "vmovups 192*" #i "+64(%[sums]), %%zmm" #y \
    "\n\t"                                     \
    "vmovups 192*" #i "+128(%[sums]), %%zmm" #z "\n\t"
#define PX_STORE_3(i, x, y, z)     \
    "vmovups %%zmm" #x ", 192*" #i \
    "(%[sums])\n\t"                \
    "vmovups %%zmm" #y ", 192*" #i \
    "+64(%[sums])\n\t"             \
    "vmovups %%zmm" #z ", 192*" #i "+128(%[sums])\n\t"
#define PX_EACH_1(what) what(0, 0, 1, 2)
#define PX_EACH_2(what) PX_EACH_1(what) what(1, 3, 4, 5)
#define PX_EACH_3(what) PX_EACH_2(what) what(2, 6, 7, 8)
#define PX_EACH_4(what) PX_EACH_3(what) what(3, 9, 10, 11)
#define PX_EACH_5(what) PX_EACH_4(what) what(4, 12, 13, 14)
#define PX_EACH_6(what) PX_EACH_5(what) what(5, 15, 16, 17)
#define PX_EACH_7(what) PX_EACH_6(what) what(6, 18, 19, 20)
#define PX_EACH_8(what) PX_EACH_7(what) what(7, 21, 22, 23)

#define PX_TILE_CASE(rows, product)                                                               \
    case rows:                                                                                    \
        __asm__ volatile(                                                                       \
            "test %[again], %[again]\n\t"                                                       \
            "jz 1f\n\t"                                                                         \
            PX_EACH_##rows(PX_LOAD_3)                                                           \
            "jmp 2f\n"                                                                          \
            "1:\n\t"                                                                            \
            PX_EACH_##rows(PX_ZERO_3)                                                           \
            ".p2align 5\n"                                                                      \
            "2:\n\t"                                                                            \
            "vmovups (%[b]), %%zmm24\n\t"                                                       \
            "vmovups 64(%[b]), %%zmm25\n\t"                                                     \
            "vmovups 128(%[b]), %%zmm26\n\t"                                                    \
            "add $192, %[b]\n\t"                                                                \
            PX_ROWS_##rows(product)                                                             \
            "prefetcht0 (%[ahead])\n\t"                                                         \
            "add %[stride], %[ahead]\n\t"                                                       \
            "add $4, %[a]\n\t"                                                                  \
            "dec %[words]\n\t"                                                                  \
            "jnz 2b\n\t"                                                                        \
            PX_EACH_##rows(PX_STORE_3)                                                          \
            : [a] "+&r"(a), [b] "+&r"(b), [ahead] "+&r"(ahead), [words] "+&r"(words)                \
            : [lda] "r"(step), [lda3] "r"(3 * step), [lda5] "r"(5 * step),                      \
              [lda7] "r"(7 * step), [sums] "r"(sums), [stride] "r"(stride), [again] "r"(again)  \
            : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",   \
              "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16",    \
              "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",  \
              "xmm26", "xmm27"); \
        break;

/// Defines sum_tile of body.h with the instruction that multiplies words and adds them to sums.
/// words ≥ 1.
#define PX_SUM_TILE(product)                                                                    \
    static void sum_tile(size_t rows, size_t words, const float* a, size_t lda, const float* b, \
                         float* sums, Begin begin, uintptr_t ahead, size_t stride) {            \
        const size_t step = lda * sizeof(float);                                                \
        const size_t again = begin == Begin::Sum;                                               \
        switch (rows) {                                                                         \
            PX_TILE_CASE(1, product)                                                            \
            PX_TILE_CASE(2, product)                                                            \
            PX_TILE_CASE(3, product)                                                            \
            PX_TILE_CASE(4, product)                                                            \
            PX_TILE_CASE(5, product)                                                            \
            PX_TILE_CASE(6, product)                                                            \
            PX_TILE_CASE(7, product)                                                            \
            PX_TILE_CASE(8, product)                                                            \
        }                                                                                       \
    }

namespace px::embed {

namespace {

static_assert(kPanel == 48 && kTileRows == 8);

struct DotF32Wide : DotF32 {
    PX_SUM_TILE("vfmadd231ps")
};

}  // namespace

}  // namespace px::embed
