// The encodings of Parquet pages, appended to a buffer: bit packing, the RLE/bit-packed hybrid of levels
// and dictionary indices, DELTA_BINARY_PACKED. Pure; any thread.
// Source: apache/parquet-format, Encodings.md.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "columnar/byte_buffer.h"

namespace px::columnar {

/// Bits needed to write value; 0 for 0.
inline unsigned bits_for(uint64_t value) { return static_cast<unsigned>(std::bit_width(value)); }

/// Packs 32 values of `width` bits (0 to 64; value < 2^width), least significant bit first, into 4 * width bytes.
void pack_32(const uint64_t* values, unsigned width, char* out);
void pack_32(const uint32_t* values, unsigned width, char* out);

/// Dictionary indices as a hybrid of runs, without the leading width byte. width 1 to 32.
void append_hybrid(ByteBuffer& out, const uint32_t* values, size_t count, unsigned width);

/// One level per bit of a little-endian bitmap, as a hybrid of width 1, without the leading length.
void append_level_bitmap(ByteBuffer& out, const uint8_t* bits, size_t count);

/// A run of one level (below 256), without the leading length. count > 0.
inline void append_level_run(ByteBuffer& out, uint8_t level, uint64_t count) {
    out.append_varint(count << 1);
    out.append_byte(level);
}

/// DELTA_BINARY_PACKED, blocks of 128 in 4 miniblocks; arithmetic wraps in the type's own width.
void append_delta(ByteBuffer& out, const int64_t* values, size_t count);
void append_delta(ByteBuffer& out, const int32_t* values, size_t count);

/// 64-bit hash of bytes, well mixed; the same on every machine (little-endian).
uint64_t hash_bytes(const char* bytes, size_t size);
inline uint64_t hash_word(uint64_t word) {
    word *= 0x9E3779B97F4A7C15ULL;
    return word ^ word >> 32;
}

}  // namespace px::columnar
