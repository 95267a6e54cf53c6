// For tests: the kernels of avx512_bf16.cpp with vdpbf16ps put together from two fused
// multiply-adds, the upper halves of the pairs first, as the instruction does it (it also takes
// subnormal numbers for zero). All but the instruction itself is so tested on any AVX-512.
#include "embed/kernels/avx512_vec.h"

#include "embed/kernels/body.h"

#include "embed/kernels/avx512_dot.h"

namespace px::embed {

namespace {

struct Instruction {
    static Vec upper(__m512i pairs) {
        return _mm512_castsi512_ps(
            _mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int32_t>(0xFFFF0000U))));
    }
    static Vec lower(__m512i pairs) { return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)); }
    static void add(__m512& sum, __m512i a, __m512i b) {
        sum = vec_fma(upper(a), upper(b), sum);
        sum = vec_fma(lower(a), lower(b), sum);
    }
};

}  // namespace

extern const Kernels kAvx512Bf16EmulatedKernels;
const Kernels kAvx512Bf16EmulatedKernels = {
    .name = "avx512_bf16_emulated",
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
