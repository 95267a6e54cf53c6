#include "index/embedded/kernels/kernels.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

namespace px::index::kernels {
namespace {

TEST(Kernels, ScalarIsAlwaysSupportedAndFoundByName) {
    ASSERT_FALSE(supported().empty());
    EXPECT_EQ(supported().front()->name, "scalar");
    EXPECT_EQ(find("scalar"), &kScalar);
    EXPECT_EQ(find("neon9000"), nullptr);
    EXPECT_EQ(&best(), supported().back());
}

TEST(Kernels, EveryInt8DotEqualsTheScalarOne) {
    std::mt19937_64 random(11);
    for (const Kernels* kernels : supported()) {
        for (const size_t stride : {64U, 384U, 448U, 1024U, 4096U, 65536U}) {
            for (const size_t rows : {1U, 3U, 4U, 9U}) {
                std::vector<uint8_t> codes(stride * rows);
                std::vector<int8_t> query(stride);
                for (uint8_t& code : codes) code = static_cast<uint8_t>(1 + random() % 255);
                for (int8_t& code : query)
                    code = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
                std::vector<int32_t> expected(rows);
                std::vector<int32_t> actual(rows);
                kScalar.dot_codes(codes.data(), stride, rows, query.data(), expected.data());
                kernels->dot_codes(codes.data(), stride, rows, query.data(), actual.data());
                EXPECT_EQ(actual, expected)
                    << kernels->name << " stride " << stride << " rows " << rows;
            }
        }
    }
}

TEST(Kernels, TheInt8DotDoesNotOverflowAtItsExtremes) {
    for (const Kernels* kernels : supported()) {
        for (const int sign : {-127, 127}) {
            const std::vector<uint8_t> row(65536, 255);
            const std::vector<int8_t> query(65536, static_cast<int8_t>(sign));
            int32_t out = 0;
            kernels->dot_codes(row.data(), row.size(), 1, query.data(), &out);
            EXPECT_EQ(out, 65536 * 255 * sign) << kernels->name;
        }
    }
}

TEST(Kernels, EveryF32DotHasTheBitsOfTheScalarOne) {
    std::mt19937_64 random(13);
    std::normal_distribution<float> normal;
    for (const Kernels* kernels : supported()) {
        for (size_t width = 1; width < 420; width += 7) {
            std::vector<float> a(width);
            std::vector<float> b(width);
            for (float& x : a) x = normal(random);
            for (float& x : b) x = normal(random);
            const float expected = kScalar.dot_f32(a.data(), b.data(), width);
            const float actual = kernels->dot_f32(a.data(), b.data(), width);
            EXPECT_EQ(std::memcmp(&actual, &expected, sizeof(float)), 0)
                << kernels->name << " width " << width;
        }
    }
}

}  // namespace
}  // namespace px::index::kernels
