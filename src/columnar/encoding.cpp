#include "columnar/encoding.h"

#include <algorithm>
#include <array>
#include <limits>
#include <type_traits>
#include <utility>

#include "columnar/record_batch.h"

namespace px::columnar {

namespace {

template <class T, unsigned Width>
void pack_32_of(const T* values, char* out) {
    if constexpr (Width > 0) {
        uint64_t word = 0;
        unsigned used = 0;
#pragma GCC unroll 32
        for (unsigned i = 0; i < 32; ++i) {
            const auto value = static_cast<uint64_t>(values[i]);
            word |= value << used;
            used += Width;
            if (used >= 64) {
                std::memcpy(out, &word, 8);
                out += 8;
                used -= 64;
                word = used == 0 ? 0 : value >> (Width - used);
            }
        }
        if (used > 0) std::memcpy(out, &word, 4);  // 32 * Width is a multiple of 32
    }
}

template <class T, size_t... Widths>
constexpr std::array<void (*)(const T*, char*), sizeof...(Widths)> packers(
    std::index_sequence<Widths...>) {
    return {&pack_32_of<T, static_cast<unsigned>(Widths)>...};
}

constexpr auto kPackers64 = packers<uint64_t>(std::make_index_sequence<65>());
constexpr auto kPackers32 = packers<uint32_t>(std::make_index_sequence<33>());

constexpr size_t kLiteralMax = 4096;  // values of one bit-packed run: a bound on its header

void append_literals(ByteBuffer& out, const uint32_t* values, size_t count, unsigned width) {
    while (count > 0) {
        const size_t now = std::min(count, kLiteralMax);
        const size_t groups = (now + 7) / 8;
        out.append_varint(static_cast<uint64_t>(groups) << 1 | 1);
        char* to = out.prepare(groups * width + 4 * size_t{width});
        size_t done = 0;
        for (; now - done >= 32; done += 32, to += 4 * size_t{width}) {
            kPackers32[width](values + done, to);
        }
        if (done < now) {
            uint32_t rest[32] = {};
            std::copy(values + done, values + now, rest);
            kPackers32[width](rest, to);
        }
        out.commit(groups * width);
        values += now;
        count -= now;
    }
}

template <class T>
void append_delta_of(ByteBuffer& out, const T* values, size_t count) {
    using U = std::make_unsigned_t<T>;
    constexpr size_t kBlock = 128;
    constexpr size_t kMini = 32;
    out.append_varint(kBlock);
    out.append_varint(kBlock / kMini);
    out.append_varint(count);
    out.append_zigzag(count == 0 ? 0 : static_cast<int64_t>(values[0]));
    U deltas[kBlock];
    for (size_t at = 1; at < count; at += kBlock) {
        const size_t n = std::min(kBlock, count - at);
        T least = std::numeric_limits<T>::max();
        for (size_t i = 0; i < n; ++i) {
            deltas[i] =
                static_cast<U>(static_cast<U>(values[at + i]) - static_cast<U>(values[at + i - 1]));
            least = std::min(least, static_cast<T>(deltas[i]));
        }
        const size_t minis = (n + kMini - 1) / kMini;
        for (size_t i = 0; i < n; ++i)
            deltas[i] = static_cast<U>(deltas[i] - static_cast<U>(least));
        for (size_t i = n; i < minis * kMini; ++i) deltas[i] = 0;
        out.append_zigzag(static_cast<int64_t>(least));
        char* const start = out.prepare(4 + kBlock * sizeof(T) + 8);
        char* to = start + 4;
        for (size_t m = 0; m < kBlock / kMini; ++m) {
            unsigned width = 0;
            if (m < minis) {
                U all = 0;
                for (size_t i = 0; i < kMini; ++i) all |= deltas[m * kMini + i];
                width = bits_for(all);
                pack_32(deltas + m * kMini, width, to);
                to += 4 * size_t{width};
            }
            start[m] = static_cast<char>(width);
        }
        out.commit(static_cast<size_t>(to - start));
    }
}

}  // namespace

void pack_32(const uint64_t* values, unsigned width, char* out) { kPackers64[width](values, out); }
void pack_32(const uint32_t* values, unsigned width, char* out) { kPackers32[width](values, out); }

void append_hybrid(ByteBuffer& out, const uint32_t* values, size_t count, unsigned width) {
    const size_t value_bytes = (width + 7) / 8;
    size_t literal_begin = 0;
    size_t at = 0;
    while (at < count) {
        // A repeated run may only begin where the literals before it fill whole groups of eight.
        size_t run = 1;
        while (at + run < count && values[at + run] == values[at]) ++run;
        if (run >= 8) {
            append_literals(out, values + literal_begin, at - literal_begin, width);
            out.append_varint(static_cast<uint64_t>(run) << 1);
            out.append(&values[at], value_bytes);
            at += run;
            literal_begin = at;
        } else {
            at = std::min(at + 8, count);
        }
    }
    append_literals(out, values + literal_begin, count - literal_begin, width);
}

void append_level_bitmap(ByteBuffer& out, const uint8_t* bits, size_t count) {
    const size_t whole = count / 8;
    size_t literal_begin = 0;
    const auto literals_to = [&](size_t end) {
        while (literal_begin < end) {
            const size_t groups = std::min(end - literal_begin, kLiteralMax / 8);
            out.append_varint(static_cast<uint64_t>(groups) << 1 | 1);
            out.append(bits + literal_begin, groups);
            literal_begin += groups;
        }
    };
    size_t byte = 0;
    while (byte < whole) {
        size_t end = byte;
        if (bits[byte] == 0x00 || bits[byte] == 0xFF) {
            while (end < whole && bits[end] == bits[byte]) ++end;
        }
        if (end - byte >= 4) {
            literals_to(byte);
            append_level_run(out, bits[byte] & 1, static_cast<uint64_t>(end - byte) * 8);
            literal_begin = end;
            byte = end;
        } else {
            byte = std::max(end, byte + 1);
        }
    }
    literals_to(whole);
    if (count % 8 != 0) {
        out.append_varint(3);
        out.append_byte(static_cast<uint8_t>(bits[whole] & ((1U << count % 8) - 1)));
    }
}

void append_delta(ByteBuffer& out, const int64_t* values, size_t count) {
    append_delta_of(out, values, count);
}
void append_delta(ByteBuffer& out, const int32_t* values, size_t count) {
    append_delta_of(out, values, count);
}

}  // namespace px::columnar
