// Kernels for AVX-512 with VNNI: int8 by vpdpbusd; 16 bits as whole numbers by vpdpwssd, twice as
// fast as f32 and, with 14 bits a weight and about as many an activation, finer than bf16.
#include "embed/kernels/avx512_vec.h"

#include "embed/kernels/body.h"

#include "embed/kernels/avx512_dot.h"

namespace px::embed {

const Kernels kAvx512VnniKernels = {
    .name = "avx512_vnni",
    .coding_16 = Coding::Int16,
    .attention = Coding::Int16,
    .panel = kPanel,
    .panel_int8 = kPanel,
    .encode = encode<encode_row<PairsInt16>>,
    .product = product_by_words<PairsInt16>,
    .attend = attend_pairs<PairsInt16>,
    .layer_norm = layer_norm<encode_row<PairsInt16>>,
    .mean_pool = mean_pool,
    .normalize = normalize,
};

}  // namespace px::embed
