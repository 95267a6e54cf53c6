// Every table this processor runs against the scalar reference, on seeded random shapes.
// Tolerances: 2e-6 relative to the size of a sum's terms for products, 4e-7 · max(1, |x|) for GELU
// of f32 and 6e-5 · max(1, |x|) for GELU of narrower codings, 1e-5 for softmax and norms. Sums of
// whole numbers and encoded rows are exact.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "embed/bert.h"
#include "embed/kernels/select.h"

namespace px::embed {
#if defined(PX_X86_KERNELS)
extern const Kernels kAvx512Bf16EmulatedKernels;
#endif
namespace {

std::vector<float> random_floats(std::mt19937& random, size_t count, float size) {
    std::normal_distribution<float> normal(0, size);
    std::vector<float> values(count);
    for (float& value : values) value = normal(random);
    return values;
}

/// The supported tables, and that of bf16 products with the instruction put together from others.
std::vector<const Kernels*> tested_kernels() {
    std::vector<const Kernels*> tables = supported_kernels();
#if defined(PX_X86_KERNELS)
    if (select_kernels("avx512")) tables.push_back(&kAvx512Bf16EmulatedKernels);
#endif
    return tables;
}

class EveryKernel : public testing::TestWithParam<const Kernels*> {};

struct Owned {
    AlignedBuffer<std::byte> memory;
    PackedLinear layer;
};
Owned packed(const Kernels& kernels, Coding coding, size_t k, size_t n,
             const std::vector<float>& weight, const std::vector<float>& bias) {
    Owned made;
    made.layer = PackedLinear(k, n, kernels, coding);
    made.memory = AlignedBuffer<std::byte>(made.layer.bind(nullptr));
    std::fill_n(made.memory.data(), made.memory.size(), std::byte{0});
    made.layer.bind(made.memory.data());
    made.layer.pack(weight.data(), bias.data());
    return made;
}

/// What a result holds before a product is added to it.
constexpr float kThere = 0.25F;

std::vector<float> product(const Kernels& kernels, Coding coding, const std::vector<float>& a,
                           size_t rows, size_t k, size_t n, const std::vector<float>& weight,
                           const std::vector<float>& bias, After after) {
    const Owned made = packed(kernels, coding, k, n, weight, bias);
    const PackedLinear& layer = made.layer;
    std::vector<float> out(rows * n, kThere);
    AlignedBuffer<float> words(rows * layer.words());
    std::vector<float> scale(rows);
    const float* in = a.data();
    if (is_encoded(coding)) {
        kernels.encode({a.data(), rows, k, coding, layer.limit == nullptr ? 0 : *layer.limit,
                        words.data(), scale.data()});
        in = words.data();
    }
    kernels.product({coding, in, scale.data(), rows, layer.words(), layer.weights, layer.scale,
                     layer.offset, layer.bias, n, out.data(), after});
    return out;
}

/// The codings a table has.
std::vector<Coding> codings_of(const Kernels& kernels) {
    std::vector<Coding> codings = {Coding::F32, Coding::WideBf16, Coding::Int8};
    if (kernels.coding_16 != Coding::WideBf16) codings.push_back(kernels.coding_16);
    if (&kernels == &kScalarKernels) codings.insert(codings.end(), {Coding::Bf16, Coding::Int16});
    return codings;
}

TEST_P(EveryKernel, MultipliesLikeTheReferenceOnRandomShapes) {
    std::mt19937 random(7);
    for (int round = 0; round < 60; ++round) {
        const size_t rows = 1 + random() % 130;
        const size_t k = 1 + random() % 400;
        const size_t n = 1 + random() % 300;
        const auto a = random_floats(random, rows * k, 1);
        const auto weight = random_floats(random, n * k, 0.2F);
        const auto bias = random_floats(random, n, 1);
        for (const Coding coding : codings_of(*GetParam())) {
            const auto wanted =
                product(kScalarKernels, coding, a, rows, k, n, weight, bias, After::Store);
            const auto got =
                product(*GetParam(), coding, a, rows, k, n, weight, bias, After::Store);
            const auto activated =
                product(*GetParam(), coding, a, rows, k, n, weight, bias, After::Gelu);
            const auto added =
                product(*GetParam(), coding, a, rows, k, n, weight, bias, After::Add);
            // Whole sums are exact; sums of f32 differ in their order.
            const double tolerance =
                is_scaled(coding) ? 1e-6 : 2e-6 * (1 + std::sqrt(static_cast<double>(k)));
            const double gelu_tolerance =
                is_encoded(coding) && GetParam() != &kScalarKernels ? 6e-5 : 4e-7;
            for (size_t i = 0; i < wanted.size(); ++i) {
                const auto where = [&] {
                    return fmt::format("{} coding {} rows {} k {} n {}", GetParam()->name,
                                       static_cast<int>(coding), rows, k, n);
                };
                const auto x = static_cast<double>(got[i]);
                ASSERT_NEAR(x, static_cast<double>(wanted[i]),
                            tolerance * std::max(1.0, std::fabs(x)))
                    << where();
                ASSERT_EQ(added[i], kThere + got[i]) << where();
                ASSERT_NEAR(static_cast<double>(activated[i]),
                            0.5 * x * (1 + std::erf(x * 0.70710678118654752)),
                            gelu_tolerance * std::max(1.0, std::fabs(x)))
                    << where();
            }
        }
    }
}

TEST_P(EveryKernel, KeepsSumsInRangeWhenRowsLieAlongColumns) {
    // The largest sums a row of its length can have, also with all values of one size.
    std::mt19937 random(12);
    for (const bool flat : {false, true}) {
        for (const size_t k : {1U, 64U, 384U, 1024U}) {
            auto weight = random_floats(random, k, 0.2F);
            if (flat) std::fill(weight.begin(), weight.end(), 0.2F);
            std::vector<float> a(2 * k);
            double squares = 0;
            for (size_t i = 0; i < k; ++i) {
                a[i] = 5 * weight[i];
                a[k + i] = -5 * weight[i];
                squares += 5 * static_cast<double>(weight[i]) * static_cast<double>(weight[i]);
            }
            for (const Coding coding : codings_of(*GetParam())) {
                const auto got =
                    product(*GetParam(), coding, a, 2, k, 1, weight, {0.0F}, After::Store);
                EXPECT_NEAR(static_cast<double>(got[0]), squares, 0.01 * squares);
                EXPECT_NEAR(static_cast<double>(got[1]), -squares, 0.01 * squares);
            }
        }
    }
}

TEST_P(EveryKernel, GivesARowTheSameBitsWhateverRowsStandBesideIt) {
    std::mt19937 random(8);
    const size_t k = 384;
    const size_t n = 200;
    const auto a = random_floats(random, 131 * k, 1);
    const auto weight = random_floats(random, n * k, 0.2F);
    const auto bias = random_floats(random, n, 1);
    for (const Coding coding : codings_of(*GetParam())) {
        const auto all = product(*GetParam(), coding, a, 131, k, n, weight, bias, After::Gelu);
        for (const size_t row : {0U, 1U, 5U, 6U, 95U, 96U, 97U, 126U, 130U}) {
            for (size_t rows = 1; rows <= std::min<size_t>(7, 131 - row); ++rows) {
                const std::vector<float> part(
                    a.begin() + static_cast<std::ptrdiff_t>(row * k),
                    a.begin() + static_cast<std::ptrdiff_t>((row + rows) * k));
                const auto few =
                    product(*GetParam(), coding, part, rows, k, n, weight, bias, After::Gelu);
                for (size_t i = 0; i < few.size(); ++i) {
                    ASSERT_EQ(few[i], all[row * n + i])
                        << GetParam()->name << " " << static_cast<int>(coding);
                }
            }
        }
    }
}

TEST_P(EveryKernel, ComputesExactGelu) {
    // An identity matrix brings the inputs to the activation.
    const size_t n = 64;
    std::vector<float> identity(n * n, 0);
    for (size_t i = 0; i < n; ++i) identity[i * n + i] = 1;
    std::vector<float> x;
    for (float value = -12; value <= 12; value += 0.00173F) x.push_back(value);
    x.resize(x.size() / n * n);
    const auto got = product(*GetParam(), Coding::F32, x, x.size() / n, n, n, identity,
                             std::vector<float>(n, 0), After::Gelu);
    for (size_t i = 0; i < x.size(); ++i) {
        const double exact = static_cast<double>(x[i]) * 0.5 *
                             (1 + std::erf(static_cast<double>(x[i]) * 0.70710678118654752));
        ASSERT_NEAR(static_cast<double>(got[i]), exact,
                    4e-7 * std::max(1.0, std::fabs(static_cast<double>(x[i]))))
            << x[i];
    }
}

TEST_P(EveryKernel, AttendsLikeTheReference) {
    std::mt19937 random(9);
    for (int round = 0; round < 40; ++round) {
        const size_t tokens = 1 + random() % 200;
        const size_t heads = 1 + random() % 4;
        const size_t head = std::vector<size_t>{8, 20, 26, 32, 64, 80}[random() % 6];
        // Every third round has scores far apart, where the weights of all but a few tokens vanish.
        const auto qkv =
            random_floats(random, tokens * 3 * heads * head, round % 3 == 0 ? 8.0F : 1.0F);
        AlignedBuffer<float> scratch(attention_scratch_floats(tokens, head));
        std::vector<float> wanted(tokens * heads * head);
        std::vector<float> got(wanted.size());
        kScalarKernels.attend({qkv.data(), tokens, heads, head, Coding::F32, wanted.data(),
                               heads * head, scratch.data()});
        for (const Coding coding : {Coding::F32, GetParam()->attention}) {
            // Scores of 64 known to 8 bits say nothing about weights.
            if (coding == Coding::Bf16 && round % 3 == 0) continue;
            GetParam()->attend({qkv.data(), tokens, heads, head, coding, got.data(), heads * head,
                                scratch.data()});
            const float size = coding == Coding::Bf16    ? 0.03F
                               : coding == Coding::Int16 ? (round % 3 == 0 ? 0.5F : 2e-3F)
                                                         : (round % 3 == 0 ? 8e-4F : 1e-5F);
            for (size_t i = 0; i < wanted.size(); ++i) {
                ASSERT_NEAR(got[i], wanted[i], size)
                    << GetParam()->name << " tokens " << tokens << " head " << head << " coding "
                    << static_cast<int>(coding);
            }
        }
    }
}

TEST_P(EveryKernel, NormalizesAndPoolsLikeTheReference) {
    std::mt19937 random(10);
    for (int round = 0; round < 40; ++round) {
        const size_t rows = 1 + random() % 20;
        const size_t width = 1 + random() % 500;
        const auto x = random_floats(random, rows * width, 3);
        const auto residual = random_floats(random, rows * width, 1);
        const auto weight = random_floats(random, width, 1);
        const auto bias = random_floats(random, width, 1);
        for (const float* added : {residual.data(), static_cast<const float*>(nullptr)}) {
            auto wanted = x;
            auto got = x;
            const auto normalize = [&](const Kernels& kernels, std::vector<float>& values) {
                kernels.layer_norm({values.data(), added, rows, width, weight.data(), bias.data(),
                                    1e-12F, Coding::F32, 0, nullptr, nullptr});
            };
            normalize(kScalarKernels, wanted);
            normalize(*GetParam(), got);
            // The variance of two or three equal-looking numbers is mostly rounding.
            const float tolerance = width < 8 ? 1e-3F : 2e-5F;
            for (size_t i = 0; i < x.size(); ++i)
                ASSERT_NEAR(got[i], wanted[i], tolerance * (1 + std::fabs(wanted[i])));
        }
        std::vector<float> wanted(width);
        std::vector<float> got(width);
        kScalarKernels.mean_pool(x.data(), rows, width, wanted.data());
        GetParam()->mean_pool(x.data(), rows, width, got.data());
        double squares = 0;
        for (size_t i = 0; i < width; ++i) {
            ASSERT_NEAR(got[i], wanted[i], 1e-5F);
            squares += static_cast<double>(got[i]) * static_cast<double>(got[i]);
        }
        ASSERT_NEAR(squares, 1, 1e-5);
    }
}

TEST_P(EveryKernel, EncodesRowsLikeTheReference) {
    std::mt19937 random(11);
    for (const size_t width : {1U, 3U, 31U, 32U, 33U, 63U, 64U, 65U, 384U, 389U}) {
        auto x = random_floats(random, 3 * width, 2);
        std::fill(x.begin() + static_cast<std::ptrdiff_t>(width),
                  x.begin() + static_cast<std::ptrdiff_t>(2 * width), 0.0F);
        for (const Coding coding : codings_of(*GetParam())) {
            if (!is_encoded(coding)) continue;
            const size_t parts = values_per_word(coding);
            const size_t words = (width + parts - 1) / parts;
            const float limit = coding == Coding::Int8 ? 127 : 5000;
            std::vector<float> wanted(3 * words), got(3 * words, -1), scale(3), other_scale(3);
            kScalarKernels.encode({x.data(), 3, width, coding, limit, wanted.data(), scale.data()});
            GetParam()->encode({x.data(), 3, width, coding, limit, got.data(), other_scale.data()});
            EXPECT_EQ(std::memcmp(wanted.data(), got.data(), wanted.size() * 4), 0)
                << GetParam()->name << " " << static_cast<int>(coding) << " width " << width;
            if (is_scaled(coding)) {
                EXPECT_EQ(scale, other_scale);
            }
            if (coding != Coding::Int8) continue;
            const auto* bytes = reinterpret_cast<const uint8_t*>(got.data());
            for (size_t i = 0; i < 3 * words * 4; ++i) {
                const size_t row = i / (words * 4);
                const size_t at = i % (words * 4);
                const float exact = at < width ? x[row * width + at] : 0.0F;
                ASSERT_NEAR(scale[row] * static_cast<float>(bytes[i] - 128), exact,
                            scale[row] * 0.5001F);
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Supported, EveryKernel, testing::ValuesIn(tested_kernels()),
                         [](const auto& suite) { return std::string(suite.param->name); });

TEST(SelectKernels, PicksTheBestAndRefusesUnknownOnes) {
    EXPECT_EQ(select_kernels("").value(), supported_kernels().front());
    EXPECT_EQ(select_kernels("scalar").value(), &kScalarKernels);
    const auto refused = select_kernels("neon");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::InvalidArgument);
    EXPECT_NE(refused.error().hint.find("scalar"), std::string::npos);
}

TEST(Bf16, RoundsToTheNearestHalvesToEven) {
    EXPECT_EQ(to_bf16(1.0F), 0x3F80);
    EXPECT_EQ(to_bf16(-2.5F), 0xC020);
    EXPECT_EQ(to_bf16(1.00390625F), 0x3F80);  // half a step: to even
    EXPECT_EQ(to_bf16(1.01171875F), 0x3F82);  // one and a half: to even
    EXPECT_EQ(to_bf16(1.00391F), 0x3F81);
    EXPECT_TRUE(std::isnan(std::bit_cast<float>(static_cast<uint32_t>(to_bf16(NAN)) << 16)));
}

}  // namespace
}  // namespace px::embed
