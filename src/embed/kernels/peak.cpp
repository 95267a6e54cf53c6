#include "embed/kernels/peak.h"

#include <algorithm>
#include <cstddef>
#include <ctime>

namespace px::embed {

#if defined(PX_X86_KERNELS)
namespace {

double thread_seconds() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

constexpr size_t kSteps = 200'000;
constexpr size_t kChains = 12;  // enough to hide the latency of an addition on every processor

// Twelve independent chains x = y · x + y in registers; what they hold does not matter, only that
// it is no slow number: the registers are cleared first.
__attribute__((target("avx512f"))) double flops_512() {
    __asm__ volatile("vzeroall" ::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                           "xmm9", "xmm10", "xmm11", "xmm12");
    for (size_t step = 0; step < kSteps; ++step) {
        __asm__ volatile(
            "vfmadd213ps %%zmm12, %%zmm12, %%zmm0\n\t"
            "vfmadd213ps %%zmm12, %%zmm12, %%zmm1\n\t"
            "vfmadd213ps %%zmm12, %%zmm12, %%zmm2\n\t"
            "vfmadd213ps %%zmm12, %%zmm12, %%zmm3\n\t"
            "vfmadd213ps %%zmm12, %%zmm12, %%zmm4\n\t"
            "vfmadd213ps %%zmm12, %%zmm12, %%zmm5\n\t"
            "vfmadd213ps %%zmm12, %%zmm12, %%zmm6\n\t"
            "vfmadd213ps %%zmm12, %%zmm12, %%zmm7\n\t"
            "vfmadd213ps %%zmm12, %%zmm12, %%zmm8\n\t"
            "vfmadd213ps %%zmm12, %%zmm12, %%zmm9\n\t"
            "vfmadd213ps %%zmm12, %%zmm12, %%zmm10\n\t"
            "vfmadd213ps %%zmm12, %%zmm12, %%zmm11\n\t"
            :
            :
            : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
              "xmm10", "xmm11", "xmm12");
    }
    return 2.0 * 16 * kChains * kSteps;
}

__attribute__((target("avx2,fma"))) double flops_256() {
    __asm__ volatile("vzeroall" ::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                           "xmm9", "xmm10", "xmm11", "xmm12");
    for (size_t step = 0; step < kSteps; ++step) {
        __asm__ volatile(
            "vfmadd213ps %%ymm12, %%ymm12, %%ymm0\n\t"
            "vfmadd213ps %%ymm12, %%ymm12, %%ymm1\n\t"
            "vfmadd213ps %%ymm12, %%ymm12, %%ymm2\n\t"
            "vfmadd213ps %%ymm12, %%ymm12, %%ymm3\n\t"
            "vfmadd213ps %%ymm12, %%ymm12, %%ymm4\n\t"
            "vfmadd213ps %%ymm12, %%ymm12, %%ymm5\n\t"
            "vfmadd213ps %%ymm12, %%ymm12, %%ymm6\n\t"
            "vfmadd213ps %%ymm12, %%ymm12, %%ymm7\n\t"
            "vfmadd213ps %%ymm12, %%ymm12, %%ymm8\n\t"
            "vfmadd213ps %%ymm12, %%ymm12, %%ymm9\n\t"
            "vfmadd213ps %%ymm12, %%ymm12, %%ymm10\n\t"
            "vfmadd213ps %%ymm12, %%ymm12, %%ymm11\n\t"
            :
            :
            : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
              "xmm10", "xmm11", "xmm12");
    }
    return 2.0 * 8 * kChains * kSteps;
}

}  // namespace

double measure_peak_gflops() {
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    const bool wide = __builtin_cpu_supports("avx512f");
    double best = 0;
    for (int round = 0; round < 100; ++round) {
        const double start = thread_seconds();
        const double flops = wide ? flops_512() : flops_256();
        best = std::max(best, flops / (thread_seconds() - start) / 1e9);
    }
    return best;
}
#else
double measure_peak_gflops() { return 0; }
#endif

}  // namespace px::embed
