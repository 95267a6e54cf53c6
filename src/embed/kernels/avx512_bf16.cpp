// Kernels for AVX-512 with VNNI and BF16: int8 by vpdpbusd, 16 bits by vdpbf16ps.
#include "embed/kernels/avx512_vec.h"

#include "embed/kernels/body.h"

#include "embed/kernels/avx512_dot.h"

namespace px::embed {

namespace {

struct Instruction {
    static inline __attribute__((always_inline)) void add(__m512& sum, __m512i a, __m512i b) {
        __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    }
    PX_SUM_TILE("vdpbf16ps")
};

}  // namespace

const Kernels kAvx512Bf16Kernels = {
    .name = "avx512_bf16",
    .coding_16 = Coding::Bf16,
    .attention = Coding::Bf16,
    .panel = kPanel,
    .panel_int8 = kPanel,
    .encode = encode<encode_row<PairsBf16<Instruction>>>,
    .product = product_by_words<PairsBf16<Instruction>>,
    .attend = attend_pairs<PairsBf16<Instruction>>,
    .layer_norm = layer_norm<encode_row<PairsBf16<Instruction>>>,
    .mean_pool = mean_pool,
    .normalize = normalize,
};

}  // namespace px::embed
