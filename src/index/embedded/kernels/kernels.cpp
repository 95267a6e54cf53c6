#include "index/embedded/kernels/kernels.h"

namespace px::index::kernels {

std::vector<const Kernels*> supported() {
    std::vector<const Kernels*> all{&kScalar};
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) all.push_back(&kAvx2);
    if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512f")) {
        all.push_back(&kAvx512Vnni);
    }
#endif
    return all;
}

const Kernels& best() {
    static const Kernels& chosen = *supported().back();
    return chosen;
}

const Kernels* find(std::string_view name) {
    for (const Kernels* kernels : supported()) {
        if (kernels->name == name) return kernels;
    }
    return nullptr;
}

}  // namespace px::index::kernels
