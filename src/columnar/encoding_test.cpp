#include "columnar/encoding.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace px::columnar {
namespace {

/// Reads what the encoders wrote, as simply as the specification says it.
struct Reader {
    std::string_view bytes;
    size_t at = 0;

    uint64_t varint() {
        uint64_t value = 0;
        for (unsigned shift = 0;; shift += 7) {
            const auto byte = static_cast<unsigned char>(bytes.at(at++));
            value |= static_cast<uint64_t>(byte & 0x7F) << shift;
            if (byte < 0x80) return value;
        }
    }
    int64_t zigzag() {
        const uint64_t value = varint();
        return static_cast<int64_t>(value >> 1 ^ (~(value & 1) + 1));
    }
    uint64_t packed(size_t start, size_t index, unsigned width) const {
        uint64_t value = 0;
        for (unsigned b = 0; b < width; ++b) {
            const size_t bit = index * width + b;
            const auto byte = static_cast<unsigned char>(bytes.at(start + bit / 8));
            value |= static_cast<uint64_t>(byte >> bit % 8 & 1) << b;
        }
        return value;
    }
};

std::vector<uint32_t> decode_hybrid(std::string_view bytes, size_t count, unsigned width) {
    Reader in{bytes};
    std::vector<uint32_t> values;
    while (values.size() < count) {
        const uint64_t header = in.varint();
        if (header & 1) {
            const size_t groups = header >> 1;
            for (size_t i = 0; i < groups * 8; ++i) {
                values.push_back(static_cast<uint32_t>(in.packed(in.at, i, width)));
            }
            in.at += groups * width;
        } else {
            uint32_t value = 0;
            for (unsigned b = 0; b < (width + 7) / 8; ++b) {
                value |= static_cast<uint32_t>(static_cast<unsigned char>(bytes.at(in.at++)))
                         << 8 * b;
            }
            values.insert(values.end(), header >> 1, value);
        }
    }
    EXPECT_EQ(in.at, bytes.size());
    EXPECT_LT(values.size(), count + 8);
    values.resize(count);
    return values;
}

template <class T>
std::vector<T> decode_delta(std::string_view bytes) {
    using U = std::make_unsigned_t<T>;
    Reader in{bytes};
    const uint64_t block = in.varint();
    const uint64_t minis = in.varint();
    const uint64_t total = in.varint();
    U value = static_cast<U>(in.zigzag());
    std::vector<T> values;
    if (total > 0) values.push_back(static_cast<T>(value));
    while (values.size() < total) {
        const U least = static_cast<U>(in.zigzag());
        const size_t widths = in.at;
        in.at += minis;
        for (size_t m = 0; m < minis && values.size() < total; ++m) {
            const auto width = static_cast<unsigned>(static_cast<unsigned char>(bytes[widths + m]));
            EXPECT_LE(width, sizeof(T) * 8);
            for (size_t i = 0; i < block / minis && values.size() < total; ++i) {
                value = static_cast<U>(value + least + static_cast<U>(in.packed(in.at, i, width)));
                values.push_back(static_cast<T>(value));
            }
            in.at += block / minis * width / 8;
        }
    }
    EXPECT_EQ(in.at, bytes.size());
    return values;
}

TEST(Hybrid, RoundTripsRunsAndLiteralsOfEveryWidth) {
    for (uint32_t seed = 0; seed < 300; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937 random(seed);
        const unsigned width = 1 + seed % 32;
        std::vector<uint32_t> values;
        const size_t target = random() % 10'000;
        while (values.size() < target) {
            const auto value = static_cast<uint32_t>(random() & ((uint64_t{1} << width) - 1));
            values.insert(values.end(), random() % 3 == 0 ? random() % 40 : 1, value);
        }
        ByteBuffer out;
        append_hybrid(out, values.data(), values.size(), width);
        ASSERT_EQ(decode_hybrid(out.view(), values.size(), width), values);
    }
}

TEST(LevelBitmap, RoundTripsAndSqueezesRuns) {
    for (uint32_t seed = 0; seed < 200; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937 random(seed);
        std::vector<uint32_t> levels;
        const size_t target = random() % 50'000;
        while (levels.size() < target) {
            levels.insert(levels.end(), 1 + random() % (random() % 2 == 0 ? 4 : 900), random() & 1);
        }
        std::vector<uint8_t> bits(levels.size() / 8 + 1);
        for (size_t i = 0; i < levels.size(); ++i) {
            bits[i / 8] = static_cast<uint8_t>(bits[i / 8] | levels[i] << i % 8);
        }
        ByteBuffer out;
        append_level_bitmap(out, bits.data(), levels.size());
        ASSERT_EQ(decode_hybrid(out.view(), levels.size(), 1), levels);
    }
    const std::vector<uint8_t> ones(10'000, 0xFF);
    ByteBuffer out;
    append_level_bitmap(out, ones.data(), 80'000);
    EXPECT_LE(out.size(), 4U);
}

template <class T>
void expect_delta_round_trips(uint32_t seed) {
    std::mt19937_64 random(seed);
    std::vector<T> values(random() % 1000);
    const int kind = static_cast<int>(seed % 4);
    T next = static_cast<T>(random());
    for (T& value : values) {
        switch (kind) {
            case 0:
                value = static_cast<T>(random());
                break;
            case 1:
                value = static_cast<T>(random() % 1000);
                break;
            case 2:
                next = static_cast<T>(static_cast<std::make_unsigned_t<T>>(next) + random() % 90);
                value = next;
                break;
            default:
                value = random() % 2 == 0 ? std::numeric_limits<T>::min()
                                          : std::numeric_limits<T>::max();
        }
    }
    ByteBuffer out;
    append_delta(out, values.data(), values.size());
    ASSERT_EQ(decode_delta<T>(out.view()), values);
}

TEST(Delta, RoundTripsIntegersOfBothWidthsWithWraparound) {
    for (uint32_t seed = 0; seed < 400; ++seed) {
        SCOPED_TRACE(seed);
        expect_delta_round_trips<int64_t>(seed);
        expect_delta_round_trips<int32_t>(seed);
        if (testing::Test::HasFatalFailure()) return;
    }
}

TEST(Delta, TakesAlmostNothingForSteadySteps) {
    std::vector<int64_t> lines(100'000);
    for (size_t i = 0; i < lines.size(); ++i) lines[i] = static_cast<int64_t>(i) + 2;
    ByteBuffer out;
    append_delta(out, lines.data(), lines.size());
    EXPECT_LT(out.size(), 5'000U);
}

TEST(HashBytes, TellsLengthsAndPositionsApart) {
    const std::string zeros(64, '\0');
    std::vector<uint64_t> seen;
    for (size_t n = 0; n <= 64; ++n) seen.push_back(hash_bytes(zeros.data(), n));
    for (size_t i = 0; i < 40; ++i) {
        std::string text(40, 'a');
        text[i] = 'b';
        seen.push_back(hash_bytes(text.data(), text.size()));
    }
    std::sort(seen.begin(), seen.end());
    EXPECT_EQ(std::adjacent_find(seen.begin(), seen.end()), seen.end());
}

}  // namespace
}  // namespace px::columnar
