#include "source/csv/scan.h"

#include <vector>

namespace px::source::csv {

void classify_scalar(const char* data, size_t chunk_count, const ScanSet& set, ChunkMask* out,
                     ScanNotes& notes) {
    for (size_t chunk = 0; chunk < chunk_count; ++chunk) {
        ChunkMask mask;
        for (size_t i = 0; i < kChunkBytes; ++i) {
            const char byte = data[chunk * kChunkBytes + i];
            const uint64_t bit = uint64_t{1} << i;
            const bool before_lf = data[chunk * kChunkBytes + i + 1] == '\n';
            if (byte == '\n' || (byte == '\r' && !before_lf)) mask.line_end |= bit;
            if (byte == set.quote || byte == set.escape) mask.quote |= bit;
            if (byte == set.delimiter || byte == '\n' || byte == '\r') mask.special |= bit;
            notes.has_non_ascii |= (static_cast<unsigned char>(byte) & 0x80U) != 0;
            notes.has_nul |= byte == '\0';
        }
        mask.special |= mask.quote;
        out[chunk] = mask;
    }
}

std::span<const ScanKernel> supported_scan_kernels() {
    static const std::vector<ScanKernel> kernels = [] {
        std::vector<ScanKernel> found{{"scalar", classify_scalar}};
#ifdef PX_SOURCE_X86_KERNELS
        if (__builtin_cpu_supports("avx2")) found.push_back({"avx2", classify_avx2});
        if (__builtin_cpu_supports("avx512bw")) found.push_back({"avx512", classify_avx512});
#endif
        return found;
    }();
    return kernels;
}

const ScanKernel& scan_kernel(std::string_view name) {
    const auto kernels = supported_scan_kernels();
    for (const ScanKernel& kernel : kernels) {
        if (kernel.name == name) return kernel;
    }
    return kernels.back();
}

}  // namespace px::source::csv
