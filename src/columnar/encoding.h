// The encodings of Parquet pages, appended to a buffer: bit packing, the RLE/bit-packed hybrid of
// levels and dictionary indices, DELTA_BINARY_PACKED. Pure; any thread. Source:
// apache/parquet-format, Encodings.md.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "columnar/byte_buffer.h"
#include "columnar/record_batch.h"

namespace px::columnar {

/// Bits needed to write value; 0 for 0.
inline unsigned bits_for(uint64_t value) { return static_cast<unsigned>(std::bit_width(value)); }

/// Packs 32 values of `width` bits (0 to 64; value < 2^width), least significant bit first, into 4
/// * width bytes.
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

namespace hash_detail {

inline uint64_t load_64(const char* from) {
    uint64_t word;
    std::memcpy(&word, from, 8);
    return word;
}

inline uint64_t load_32(const char* from) {
    uint32_t word;
    std::memcpy(&word, from, 4);
    return word;
}

/// Folds the 128-bit product of two words.
inline uint64_t fold(uint64_t a, uint64_t b) {
    const UInt128 product = static_cast<UInt128>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace hash_detail

/// 64-bit hash of bytes, well mixed; the same on every machine (little-endian).
inline uint64_t hash_bytes(const char* bytes, size_t size) {
    using namespace hash_detail;
    constexpr uint64_t kA = 0xD6E8FEB86659FD93ULL;
    constexpr uint64_t kB = 0xA0761D6478BD642FULL;
    uint64_t state = fold(static_cast<uint64_t>(size) ^ kA, kB);
    while (size > 16) {
        state = fold(load_64(bytes) ^ kA ^ state, load_64(bytes + 8) ^ kB);
        bytes += 16;
        size -= 16;
    }
    uint64_t low = 0;
    uint64_t high = 0;
    if (size >= 8) {
        low = load_64(bytes);
        high = load_64(bytes + size - 8);
    } else if (size >= 4) {
        low = load_32(bytes);
        high = load_32(bytes + size - 4);
    } else if (size > 0) {
        low = static_cast<uint64_t>(static_cast<unsigned char>(bytes[0])) |
              static_cast<uint64_t>(static_cast<unsigned char>(bytes[size / 2])) << 8 |
              static_cast<uint64_t>(static_cast<unsigned char>(bytes[size - 1])) << 16;
    }
    return fold(low ^ kA ^ state, high ^ kB ^ state);
}

inline uint64_t hash_word(uint64_t word) {
    word *= 0x9E3779B97F4A7C15ULL;
    return word ^ word >> 32;
}

}  // namespace px::columnar
