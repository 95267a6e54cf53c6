// Kernels for AVX-512 F, BW, VL and DQ.
#include "embed/kernels/avx512_vec.h"

#include "embed/kernels/body.h"
#include "embed/kernels/body_int8.h"

namespace px::embed {

const Kernels kAvx512Kernels = {"avx512",  kPanel,     kInt8Panel, gemm,      gemm_int8,
                                attention, layer_norm, mean_pool,  normalize, quantize};

}  // namespace px::embed
