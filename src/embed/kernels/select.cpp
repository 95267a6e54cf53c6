#include "embed/kernels/select.h"

#include <fmt/format.h>

namespace px::embed {

std::vector<const Kernels*> supported_kernels() {
    std::vector<const Kernels*> tables;
    // __builtin_cpu_supports counts a vector extension only where the system keeps its registers.
#if defined(PX_X86_KERNELS)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512dq");
    const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
    if (vnni && __builtin_cpu_supports("avx512bf16")) tables.push_back(&kAvx512Bf16Kernels);
    if (vnni) tables.push_back(&kAvx512VnniKernels);
    if (avx512) tables.push_back(&kAvx512Kernels);
    if (avx2) tables.push_back(&kAvx2Kernels);
#endif
#if defined(PX_ARM_KERNELS)
    tables.push_back(&kNeonKernels);  // part of every 64-bit ARM processor
#endif
    tables.push_back(&kScalarKernels);
    return tables;
}

Result<const Kernels*> select_kernels(std::string_view name) {
    const std::vector<const Kernels*> tables = supported_kernels();
    if (name.empty()) return tables.front();
    std::string names;
    for (const Kernels* table : tables) {
        if (name == table->name) return table;
        names += fmt::format("{}{}", names.empty() ? "" : ", ", table->name);
    }
    return fail(ErrorCode::InvalidArgument, fmt::format("embedding.kernel is '{}'", name),
                fmt::format("This processor runs: {}; leave it empty for the first", names));
}

}  // namespace px::embed
