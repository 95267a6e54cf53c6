// Test driver of the encoder. Reads one JSON string a line from standard input and writes its
// vectors as raw little-endian f32 rows. With --measure it encodes all of them --rounds times and
// prints seconds of CPU and of the clock and tokens instead, beside the processor's peak: products
// that touch nothing but registers. --profile adds where the time of a pass goes, on one thread.
#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "embed/bert.h"
#include "embed/encoder.h"
#include "embed/kernels/peak.h"
#include "embed/kernels/select.h"
#include "embed/tokenizer.h"

namespace {

double cpu_seconds() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// VmHWM: getrusage would give what the parent held before it became this program.
double peak_memory_mb() {
    std::ifstream status("/proc/self/status");
    std::string line;
    while (std::getline(status, line))
        if (line.starts_with("VmHWM:")) return std::atof(line.c_str() + 6) / 1024;
    return 0;
}

int usage() {
    fmt::print(stderr,
               "usage: tool_embed_encode MODEL_FOLDER [--precision P] [--kernel K] [--threads N] "
               "[--cache FOLDER] [--measure] [--rounds N] [--profile] < texts.jsonl\n");
    return 2;
}

/// Prints what share of a pass each part of it takes, and the peak its products reach.
int profile(const px::embed::EncoderOptions& options, const std::vector<std::string>& texts) {
    using namespace px::embed;
    const auto config = ModelConfig::load(options.model_directory);
    const auto tokenizer = Tokenizer::load(options.model_directory);
    const auto file = MappedFile::open(options.model_directory / "model.safetensors");
    const auto kernels = select_kernels(options.kernel);
    if (!config || !tokenizer || !file || !kernels) return 1;
    const auto weights = Safetensors::parse(file->bytes());
    if (!weights) return 1;
    const auto bert = Bert::load(*config, *weights, **kernels, options.precision, 1);
    if (!bert) return 1;
    constexpr size_t kPassTokens = 256;
    Workspace workspace;
    Profile spent;
    std::vector<float> vectors;
    size_t tokens = 0;
    const double peak_before = measure_peak_gflops();
    for (int round = 0; round < 2; ++round) {
        workspace.profile = round == 0 ? nullptr : &spent;
        for (size_t i = 0; i < texts.size();) {
            std::vector<int32_t> ids;
            std::vector<size_t> offsets{0};
            for (; i < texts.size() && (ids.empty() || ids.size() < kPassTokens); ++i) {
                tokenizer->encode(texts[i], config->tokens_max, ids);
                offsets.push_back(ids.size());
            }
            vectors.resize((offsets.size() - 1) * config->hidden_width);
            bert->forward(ids, offsets, workspace, vectors.data());
            if (round == 1) tokens += ids.size();
        }
    }
    const double peak = std::max(peak_before, measure_peak_gflops());
    const double ratio =
        static_cast<double>(values_per_word(coding_of(options.precision, **kernels)));
    double total = 0;
    for (const double part : spent.seconds) total += part;
    const auto h = static_cast<double>(config->hidden_width);
    const auto f = static_cast<double>(config->inner_width);
    const double products[] = {0, 3 * h * h, 0, h * h, h * f, h * f, 0, 0, 0};
    const char* const names[] = {"embed",       "qkv product",   "attention",
                                 "out product", "inner product", "outer product",
                                 "encode",      "norm",          "pool"};
    fmt::print("{} {}: {} tokens, {:.0f} a second, f32 peak {:.0f} GFLOPS\n", (*kernels)->name,
               precision_name(options.precision), tokens, static_cast<double>(tokens) / total,
               peak);
    for (size_t part = 0; part < Profile::kParts; ++part) {
        const double gflops = 2 * products[part] * static_cast<double>(tokens * config->layers) /
                              spent.seconds[part] / 1e9;
        fmt::print("{:14} {:6.1f} % {:8.3f} us a token", names[part],
                   100 * spent.seconds[part] / total,
                   1e6 * spent.seconds[part] / static_cast<double>(tokens));
        if (products[part] > 0) fmt::print(" {:6.1f} % of peak", 100 * gflops / peak / ratio);
        fmt::print("\n");
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) return usage();
    px::embed::EncoderOptions options;
    options.model_directory = argv[1];
    options.precision = px::embed::Precision::Fp32;
    bool measure = false;
    bool profiled = false;
    int rounds = 1;
    for (int i = 2; i < argc; ++i) {
        const std::string_view name = argv[i];
        if (name == "--measure") {
            measure = true;
        } else if (name == "--profile") {
            profiled = true;
        } else if (i + 1 == argc) {
            return usage();
        } else if (name == "--precision") {
            const auto precision = px::embed::parse_precision(argv[++i]);
            if (!precision) return usage();
            options.precision = *precision;
        } else if (name == "--kernel") {
            options.kernel = argv[++i];
        } else if (name == "--cache") {
            options.cache_directory = argv[++i];
        } else if (name == "--rounds") {
            rounds = std::max(1, std::atoi(argv[++i]));
        } else if (name == "--threads") {
            options.thread_count = static_cast<size_t>(std::max(0, std::atoi(argv[++i])));
        } else {
            return usage();
        }
    }
    std::vector<std::string> texts;
    std::string line;
    while (std::getline(std::cin, line)) {
        boost::system::error_code code;
        const boost::json::value value = boost::json::parse(line, code);
        if (code || !value.is_string()) {
            fmt::print(stderr, "not a JSON string: {}\n", line.substr(0, 80));
            return 2;
        }
        texts.emplace_back(value.get_string());
    }
    if (profiled) return profile(options, texts);
    if (measure && options.thread_count == 0) options.thread_count = 1;
    const auto load_start = std::chrono::steady_clock::now();
    const auto encoder = px::embed::Encoder::load(options);
    const std::chrono::duration<double> load_seconds =
        std::chrono::steady_clock::now() - load_start;
    if (!encoder) {
        fmt::print(stderr, "{}\n", encoder.error().to_string());
        return 1;
    }
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    px::NoProgress progress;
    const auto run = [&] {
        return (*encoder)->encode(views, px::embed::TextKind::Passage, px::Deadline::never(),
                                  progress);
    };
    if (!measure) {
        const auto vectors = run();
        if (!vectors) {
            fmt::print(stderr, "{}\n", vectors.error().to_string());
            return 1;
        }
        std::fwrite(vectors->data(), sizeof(float), vectors->size(), stdout);
        return 0;
    }

    size_t tokens = 0;
    for (const std::string& text : texts)
        tokens += std::min((*encoder)->count_tokens(text), (*encoder)->max_tokens());
    const double peak_before = px::embed::measure_peak_gflops();
    double best = 0;
    double best_wall = 0;
    for (int round = 0; round < rounds; ++round) {
        const auto wall_start = std::chrono::steady_clock::now();
        const double start = cpu_seconds();
        if (!run()) return 1;
        const double seconds = cpu_seconds() - start;
        const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - wall_start;
        best = round == 0 ? seconds : std::min(best, seconds);
        best_wall = round == 0 ? wall.count() : std::min(best_wall, wall.count());
    }
    const double peak = std::max(peak_before, px::embed::measure_peak_gflops());
    const auto kernels = px::embed::select_kernels((*encoder)->kernel());
    if (!kernels) return 1;
    // How many times the products of f32 a step of this precision makes.
    const size_t ratio =
        px::embed::values_per_word(px::embed::coding_of((*encoder)->precision(), **kernels));
    fmt::print(
        "{{\"cpu_seconds\":{:.6f},\"wall_seconds\":{:.6f},\"tokens\":{},\"texts\":{},"
        "\"kernel\":\"{}\",\"precision\":\"{}\",\"load_seconds\":{:.4f},"
        "\"peak_gflops\":{:.1f},\"memory_mb\":{:.1f},\"products_a_word\":{}}}\n",
        best, best_wall, tokens, texts.size(), (*encoder)->kernel(),
        px::embed::precision_name((*encoder)->precision()), load_seconds.count(), peak,
        peak_memory_mb(), ratio);
    return 0;
}
