// Kernels for AVX-512 F, BW, VL and DQ.
#include "embed/kernels/avx512_vec.h"

#include "embed/kernels/avx2_int8.h"
#include "embed/kernels/body.h"
#include "embed/kernels/body_int8.h"

#include "embed/kernels/avx512_tile.h"

namespace px::embed {

namespace {

void product(const ProductArgs& g) {
    switch (g.coding) {
        case Coding::Int8:
            return product_int8(g);
        case Coding::WideBf16:
            return product_of<DotF32Wide, WidenedWords>(g);
        default:
            return product_of<DotF32Wide, PackedWords>(g);
    }
}

}  // namespace

const Kernels kAvx512Kernels = {
    .name = "avx512",
    .coding_16 = Coding::WideBf16,
    .attention = Coding::F32,
    .panel = kPanel,
    .panel_int8 = kInt8Panel,
    .encode = encode<encode_row_int8>,
    .product = product,
    .attend = attend,
    .layer_norm = layer_norm<encode_row_int8>,
    .mean_pool = mean_pool,
    .normalize = normalize,
};

}  // namespace px::embed
