"""The NEON kernels compiled for 64-bit ARM and compared with the scalar reference, run by qemu.

    python tests/peers/embed_neon.py --px-bin build/release/bin

Needs g++-aarch64-linux-gnu and qemu-user (tools/setup/debian-test.txt). What is compiled: the kernels and a driver of its own below, that
asks of every function of the table what kernels_test.cpp asks: products, encoded rows, attention, norms and pooling on random shapes.
"""
import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = ["-std=c++20", "-O2", "-ffp-contract=off", "-fno-math-errno", "-fno-strict-aliasing", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow",
         "-Wconversion", "-Werror", "-Wno-psabi", "-DPX_ARM_KERNELS", f"-I{ROOT / 'src'}"]

DRIVER = r"""
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "embed/kernels/kernels.h"

namespace px::embed {
uint16_t to_bf16(float x) {
    const auto bits = std::bit_cast<uint32_t>(x);
    return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}
}  // namespace px::embed

using namespace px::embed;
static std::mt19937 random_source(3);
static long failures = 0, compared = 0;

static std::vector<float> floats(size_t count, float size) {
    std::normal_distribution<float> normal(0, size);
    std::vector<float> values(count);
    for (float& value : values) value = normal(random_source);
    return values;
}

static void compare(const char* what, const std::vector<float>& got, const std::vector<float>& wanted, double tolerance) {
    for (size_t i = 0; i < wanted.size(); ++i) {
        ++compared;
        const double x = static_cast<double>(got[i]), y = static_cast<double>(wanted[i]);
        if (std::fabs(x - y) <= tolerance * std::fmax(1.0, std::fabs(y))) continue;
        if (++failures <= 10) std::printf("%s: element %zu is %g, the reference has %g\n", what, i, x, y);
    }
}

// One layer packed for a table: the layout kernels.h describes, written down once more.
struct Layer {
    std::vector<float> singles, scale, bias;
    std::vector<uint16_t> halves;
    std::vector<int8_t> bytes;
    std::vector<int32_t> offset;
    const void* weights(Coding coding) const {
        return coding == Coding::F32 ? static_cast<const void*>(singles.data())
               : coding == Coding::Int8 ? static_cast<const void*>(bytes.data()) : halves.data();
    }
};

static Layer pack(const Kernels& kernels, Coding coding, size_t k, size_t n, const std::vector<float>& weight, const std::vector<float>& bias) {
    const size_t panel = coding == Coding::Int8 ? kernels.panel_int8 : kernels.panel;
    const size_t padded = (n + panel - 1) / panel * panel, words = (k + 3) / 4;
    Layer layer;
    layer.bias.assign(padded, 0);
    layer.scale.assign(padded, 0);
    layer.offset.assign(padded, 0);
    layer.singles.assign(padded * k, 0);
    layer.halves.assign(padded * k, 0);
    layer.bytes.assign(padded * words * 4, 0);
    for (size_t column = 0; column < n; ++column) {
        layer.bias[column] = bias[column];
        const float* row = weight.data() + column * k;
        const size_t first = column / panel * panel;
        float largest = 0;
        for (size_t at = 0; at < k; ++at) {
            layer.singles[first * k + at * panel + column - first] = row[at];
            layer.halves[first * k + at * panel + column - first] = to_bf16(row[at]);
            largest = std::fmax(largest, std::fabs(row[at]));
        }
        layer.scale[column] = largest / 127;
        for (size_t at = 0; at < k; ++at) {
            const auto value = static_cast<int8_t>(std::lrint(row[at] * (127 / largest)));
            layer.bytes[first * words * 4 + (at / 4 * panel + column - first) * 4 + at % 4] = value;
            layer.offset[column] += 128 * value;
        }
    }
    return layer;
}

static std::vector<float> product(const Kernels& kernels, Coding coding, size_t rows, size_t k, size_t n, const std::vector<float>& a,
                                  const std::vector<float>& weight, const std::vector<float>& bias, After after) {
    const Layer layer = pack(kernels, coding, k, n, weight, bias);
    const size_t words = coding == Coding::Int8 ? (k + 3) / 4 : k;
    std::vector<float> out(rows * n, 0.25F), code(rows * words), scale(rows);
    if (coding == Coding::Int8) kernels.encode({a.data(), rows, k, coding, 127, code.data(), scale.data()});
    kernels.product({coding, coding == Coding::Int8 ? code.data() : a.data(), scale.data(), rows, words, layer.weights(coding),
                     layer.scale.data(), layer.offset.data(), layer.bias.data(), n, out.data(), after});
    return out;
}

int main() {
    const Kernels& neon = kNeonKernels;
    const Kernels& reference = kScalarKernels;
    for (int round = 0; round < 25; ++round) {
        const size_t rows = 1 + random_source() % 100, k = 1 + random_source() % 300, n = 1 + random_source() % 120;
        const auto a = floats(rows * k, 1), weight = floats(n * k, 0.2F), bias = floats(n, 1);
        for (const Coding coding : {Coding::F32, Coding::WideBf16, Coding::Int8}) {
            const double tolerance = coding == Coding::Int8 ? 1e-6 : 2e-6 * (1 + std::sqrt(static_cast<double>(k)));
            compare("product", product(neon, coding, rows, k, n, a, weight, bias, After::Store),
                    product(reference, coding, rows, k, n, a, weight, bias, After::Store), tolerance);
            compare("product added", product(neon, coding, rows, k, n, a, weight, bias, After::Add),
                    product(reference, coding, rows, k, n, a, weight, bias, After::Add), tolerance);
            // 6e-5 of the argument, which is up to about 20.
            compare("product and GELU", product(neon, coding, rows, k, n, a, weight, bias, After::Gelu),
                    product(reference, coding, rows, k, n, a, weight, bias, After::Gelu), coding == Coding::Int8 ? 1.2e-3 : tolerance + 8e-6);
        }
        std::vector<float> words(rows * ((k + 3) / 4)), other = words, scale(rows), other_scale(rows);
        neon.encode({a.data(), rows, k, Coding::Int8, 127, words.data(), scale.data()});
        reference.encode({a.data(), rows, k, Coding::Int8, 127, other.data(), other_scale.data()});
        if (std::memcmp(words.data(), other.data(), words.size() * 4) != 0 || scale != other_scale) {
            ++failures;
            std::printf("encode: rows of %zu differ\n", k);
        }
        const size_t tokens = 1 + random_source() % 90, heads = 1 + random_source() % 3, head = size_t{4} + random_source() % 40;
        const auto qkv = floats(tokens * 3 * heads * head, 1);
        std::vector<float> scratch(attention_scratch_floats(tokens, head)), out(tokens * heads * head), wanted(out.size());
        neon.attend({qkv.data(), tokens, heads, head, Coding::F32, out.data(), heads * head, scratch.data()});
        reference.attend({qkv.data(), tokens, heads, head, Coding::F32, wanted.data(), heads * head, scratch.data()});
        compare("attention", out, wanted, 1e-5);
        const size_t width = 8 + random_source() % 300;
        auto x = floats(rows * width, 2), y = x;
        const auto residual = floats(rows * width, 1), factor = floats(width, 1), shift = floats(width, 1);
        neon.layer_norm({x.data(), residual.data(), rows, width, factor.data(), shift.data(), 1e-12F, Coding::F32, 0, nullptr, nullptr});
        reference.layer_norm({y.data(), residual.data(), rows, width, factor.data(), shift.data(), 1e-12F, Coding::F32, 0, nullptr, nullptr});
        compare("layer norm", x, y, 2e-5);
        std::vector<float> pooled(width), pooled_wanted(width);
        neon.mean_pool(x.data(), rows, width, pooled.data());
        reference.mean_pool(x.data(), rows, width, pooled_wanted.data());
        compare("pooling", pooled, pooled_wanted, 1e-5);
    }
    std::printf("%ld numbers compared, %ld differ\n", compared, failures);
    return failures == 0 && compared > 100000 ? 0 : 1;
}
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", type=pathlib.Path, help="not needed: what is compared is compiled here")
    parser.parse_args()
    compiler, emulator = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")
    if not compiler or not emulator:
        sys.exit("aarch64-linux-gnu-g++ or qemu-aarch64 is missing: apt-get install g++-aarch64-linux-gnu qemu-user")
    with tempfile.TemporaryDirectory() as folder:
        driver, program = pathlib.Path(folder) / "driver.cpp", pathlib.Path(folder) / "driver"
        driver.write_text(DRIVER, encoding="utf-8")
        kernels = ROOT / "src" / "embed" / "kernels"
        subprocess.run([compiler, *FLAGS, "-static", "-o", program, driver, kernels / "neon.cpp", kernels / "scalar.cpp"], check=True)
        done = subprocess.run([emulator, program], stdout=subprocess.PIPE, text=True, timeout=300)
    print(f"{'ok' if done.returncode == 0 else 'FAILED'}: NEON beside scalar under qemu: {done.stdout.strip()}")
    sys.exit(1 if done.returncode else 0)


if __name__ == "__main__":
    main()
