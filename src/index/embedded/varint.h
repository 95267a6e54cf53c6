// LEB128 of unsigned 32-bit values: at most five bytes.
#pragma once

#include <cstdint>
#include <string>

namespace px::index {

inline void append_varint(std::string& out, uint32_t value) {
    while (value >= 0x80) {
        out.push_back(static_cast<char>(value | 0x80));
        value >>= 7;
    }
    out.push_back(static_cast<char>(value));
}

/// Reads one value and moves at behind it; false when the bytes end or the value needs more than 32
/// bits.
inline bool read_varint(const uint8_t*& at, const uint8_t* end, uint32_t& value) {
    if (at != end && *at < 0x80) {
        value = *at++;
        return true;
    }
    uint64_t result = 0;
    for (unsigned shift = 0; shift < 35 && at != end; shift += 7) {
        const uint8_t byte = *at++;
        result |= static_cast<uint64_t>(byte & 0x7F) << shift;
        if (byte < 0x80) {
            value = static_cast<uint32_t>(result);
            return result <= UINT32_MAX;
        }
    }
    return false;
}

}  // namespace px::index
