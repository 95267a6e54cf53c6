#include "index/embedded/manifest.h"

#include <gtest/gtest.h>

#include <random>

#include "index/embedded/crc32c.h"
#include "testing/matchers.h"

namespace px::index {
namespace {

using px::testing::IsError;
using px::testing::IsOk;

Manifest sample() {
    Manifest manifest;
    manifest.width = 384;
    manifest.segments.push_back({std::string(64, '1'), 4096, 1000, {0, 1, 7, 999}});
    manifest.segments.push_back({std::string(63, 'a') + "b", 1, 1, {}});
    return manifest;
}

void expect_equal(const Manifest& a, const Manifest& b) {
    EXPECT_EQ(a.width, b.width);
    ASSERT_EQ(a.segments.size(), b.segments.size());
    for (size_t i = 0; i < a.segments.size(); ++i) {
        EXPECT_EQ(a.segments[i].name, b.segments[i].name);
        EXPECT_EQ(a.segments[i].size, b.segments[i].size);
        EXPECT_EQ(a.segments[i].point_count, b.segments[i].point_count);
        EXPECT_EQ(a.segments[i].deleted, b.segments[i].deleted);
    }
}

TEST(Manifest, ReadsBackWhatWasWritten) {
    const auto parsed = parse_manifest(format_manifest(sample()));
    ASSERT_THAT(parsed, IsOk());
    expect_equal(*parsed, sample());
    const auto empty = parse_manifest(format_manifest({}));
    ASSERT_THAT(empty, IsOk());
    EXPECT_TRUE(empty->segments.empty());
}

TEST(Manifest, RefusesEveryFlippedBit) {
    const std::string bytes = format_manifest(sample());
    for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        std::string damaged = bytes;
        damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
        EXPECT_THAT(parse_manifest(damaged), IsError(ErrorCode::Corrupt)) << "bit " << bit;
    }
}

TEST(Manifest, RefusesEveryTruncation) {
    const std::string bytes = format_manifest(sample());
    for (size_t size = 0; size < bytes.size(); ++size) {
        EXPECT_THAT(parse_manifest(bytes.substr(0, size)), IsError(ErrorCode::Corrupt))
            << size << " bytes";
    }
}

TEST(Manifest, SurvivesRandomMutationsWithARightChecksum) {
    const std::string bytes = format_manifest(sample());
    std::mt19937_64 random(20261123);
    for (int round = 0; round < 2000; ++round) {
        std::string damaged = bytes.substr(0, bytes.size() - 4);
        for (uint64_t i = 0, n = 1 + random() % 4; i < n; ++i)
            damaged[random() % damaged.size()] = static_cast<char>(random());
        if (random() % 4 == 0) damaged.resize(random() % (damaged.size() + 1));
        const uint32_t crc = crc32c(0, damaged.data(), damaged.size());
        damaged.append(reinterpret_cast<const char*>(&crc), 4);
        const auto parsed = parse_manifest(damaged);
        if (parsed) {
            EXPECT_EQ(format_manifest(*parsed), damaged) << "round " << round;
        }
    }
}

}  // namespace
}  // namespace px::index
