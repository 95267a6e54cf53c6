// CRC-32C (Castagnoli) of the segment and manifest formats. Any thread. About 7 bytes a cycle with
// SSE 4.2, else by tables.
#pragma once

#include <cstddef>
#include <cstdint>

namespace px::index {

/// Goes on from crc (0 at the start); the same value in one call or in pieces.
uint32_t crc32c(uint32_t crc, const void* bytes, size_t size);
/// The table-driven reference.
uint32_t crc32c_portable(uint32_t crc, const void* bytes, size_t size);

}  // namespace px::index
