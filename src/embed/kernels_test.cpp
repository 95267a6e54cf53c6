// Every table this processor runs against the scalar reference, on seeded random shapes.
// Tolerances: 2e-6 relative to the size of a sum's terms for products, 4e-7 · max(1, |x|) for GELU,
// 1e-5 for softmax and norms. Int8 sums are exact.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "embed/bert.h"
#include "embed/kernels/select.h"

namespace px::embed {
namespace {

std::vector<float> random_floats(std::mt19937& random, size_t count, float size) {
    std::normal_distribution<float> normal(0, size);
    std::vector<float> values(count);
    for (float& value : values) value = normal(random);
    return values;
}

class EveryKernel : public testing::TestWithParam<const Kernels*> {};

std::vector<float> product(const Kernels& kernels, Precision precision, const std::vector<float>& a,
                           size_t rows, size_t k, size_t n, const std::vector<float>& weight,
                           const std::vector<float>& bias, Activation activation) {
    const PackedLinear packed = pack_linear(weight.data(), bias.data(), k, n, kernels, precision);
    std::vector<float> out(rows * n);
    if (precision == Precision::Int8) {
        std::vector<uint8_t> bytes(rows * packed.padded_k);
        std::vector<float> scale(rows);
        kernels.quantize(a.data(), rows, k, packed.padded_k, bytes.data(), scale.data());
        kernels.gemm_int8({bytes.data(), scale.data(), rows, packed.int8.data(),
                           packed.scale.data(), packed.offset.data(), packed.bias.data(),
                           packed.padded_k, n, out.data(), n, activation});
    } else {
        kernels.gemm({a.data(), k, rows, packed.f32.data(), packed.bf16.data(), packed.bias.data(),
                      k, n, out.data(), n, activation});
    }
    return out;
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
        for (const Precision precision : {Precision::Fp32, Precision::Bf16, Precision::Int8}) {
            for (const Activation activation : {Activation::None, Activation::Gelu}) {
                const auto wanted =
                    product(kScalarKernels, precision, a, rows, k, n, weight, bias, activation);
                const auto got =
                    product(*GetParam(), precision, a, rows, k, n, weight, bias, activation);
                // Two roundings of an activation may differ by one step of its scale: 1/127 of the
                // largest.
                const float tolerance = precision == Precision::Int8
                                            ? 2e-5F * std::sqrt(static_cast<float>(k)) + 2e-5F
                                            : 2e-6F * (1 + std::sqrt(static_cast<float>(k)));
                for (size_t i = 0; i < wanted.size(); ++i) {
                    ASSERT_NEAR(got[i], wanted[i], tolerance * std::max(1.0F, std::fabs(wanted[i])))
                        << GetParam()->name << " " << precision_name(precision) << " rows " << rows
                        << " k " << k << " n " << n;
                }
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
    for (const Precision precision : {Precision::Fp32, Precision::Bf16, Precision::Int8}) {
        const auto all =
            product(*GetParam(), precision, a, 131, k, n, weight, bias, Activation::Gelu);
        for (const size_t row : {0U, 1U, 5U, 6U, 95U, 96U, 97U, 126U, 130U}) {
            for (size_t rows = 1; rows <= std::min<size_t>(7, 131 - row); ++rows) {
                const std::vector<float> part(
                    a.begin() + static_cast<std::ptrdiff_t>(row * k),
                    a.begin() + static_cast<std::ptrdiff_t>((row + rows) * k));
                const auto few = product(*GetParam(), precision, part, rows, k, n, weight, bias,
                                         Activation::Gelu);
                for (size_t i = 0; i < few.size(); ++i) {
                    ASSERT_EQ(few[i], all[row * n + i])
                        << GetParam()->name << " " << precision_name(precision);
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
    const auto got = product(*GetParam(), Precision::Fp32, x, x.size() / n, n, n, identity,
                             std::vector<float>(n, 0), Activation::Gelu);
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
        kScalarKernels.attention({qkv.data(), tokens, heads, head, wanted.data(), scratch.data()});
        GetParam()->attention({qkv.data(), tokens, heads, head, got.data(), scratch.data()});
        const float size = round % 3 == 0 ? 8e-4F : 1e-5F;
        for (size_t i = 0; i < wanted.size(); ++i) {
            ASSERT_NEAR(got[i], wanted[i], size)
                << GetParam()->name << " tokens " << tokens << " head " << head;
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
            kScalarKernels.layer_norm(wanted.data(), added, rows, width, weight.data(), bias.data(),
                                      1e-12F);
            GetParam()->layer_norm(got.data(), added, rows, width, weight.data(), bias.data(),
                                   1e-12F);
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

TEST_P(EveryKernel, QuantizesToAtMostHalfAStepOff) {
    std::mt19937 random(11);
    const size_t width = 389;
    auto x = random_floats(random, 3 * width, 2);
    std::fill(x.begin() + width, x.begin() + 2 * width, 0.0F);
    std::vector<uint8_t> bytes(3 * 392);
    std::vector<float> scale(3);
    GetParam()->quantize(x.data(), 3, width, 392, bytes.data(), scale.data());
    for (size_t row = 0; row < 3; ++row) {
        for (size_t i = 0; i < 392; ++i) {
            const float back = scale[row] * static_cast<float>(bytes[row * 392 + i] - 128);
            const float wanted = i < width ? x[row * width + i] : 0.0F;
            ASSERT_NEAR(back, wanted, scale[row] * 0.5001F) << GetParam()->name;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Supported, EveryKernel, testing::ValuesIn(supported_kernels()),
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
