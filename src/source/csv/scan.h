// Finds the bytes that matter in CSV text: one bit a byte, 64 bytes at a time. Scalar is the
// reference; each instruction set is a file of its own; the best one the machine has is picked at
// start and can be forced by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace px::source::csv {

/// The bytes to look for. Without a quote it is '\\n'; without an escape that repeats the quote.
struct ScanSet {
    char delimiter = '\n';  ///< or its first byte
    char quote = '\n';
    char escape = '\n';
};

/// One bit for each of 64 bytes, the first byte in the lowest bit.
struct ChunkMask {
    uint64_t special = 0;   ///< delimiter, LF, CR, quote or escape
    uint64_t quote = 0;     ///< quote or escape
    uint64_t line_end = 0;  ///< LF, or CR with no LF behind it
};

/// What else was among the bytes.
struct ScanNotes {
    bool has_non_ascii = false;
    bool has_nul = false;
};

inline constexpr size_t kChunkBytes = 64;

/// Classifies chunk_count chunks from data (all readable, and one byte more) into out and adds to
/// notes. O(chunk_count).
using ClassifyFunction = void (*)(const char* data, size_t chunk_count, const ScanSet& set,
                                  ChunkMask* out, ScanNotes& notes);

struct ScanKernel {
    std::string_view name;  ///< "scalar", "avx2", "avx512"
    ClassifyFunction classify;
};

/// Those this machine can run, the slowest (scalar) first.
std::span<const ScanKernel> supported_scan_kernels();
/// The kernel of that name, or the best one when the name is empty or not supported here.
const ScanKernel& scan_kernel(std::string_view name = {});

void classify_scalar(const char* data, size_t chunk_count, const ScanSet& set, ChunkMask* out,
                     ScanNotes& notes);
void classify_avx2(const char* data, size_t chunk_count, const ScanSet& set, ChunkMask* out,
                   ScanNotes& notes);
void classify_avx512(const char* data, size_t chunk_count, const ScanSet& set, ChunkMask* out,
                     ScanNotes& notes);

}  // namespace px::source::csv
