// Test driver of the encoder. Reads one JSON string a line from standard input and writes its
// vectors as raw little-endian f32 rows. With --measure it encodes all of them on one thread and
// prints seconds of CPU and tokens instead, beside the processor's peak: fused multiply-adds that
// touch nothing but registers.
#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "embed/encoder.h"
#include "embed/kernels/peak.h"

namespace {

double cpu_seconds() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

int usage() {
    fmt::print(stderr,
               "usage: tool_embed_encode MODEL_FOLDER [--precision P] [--kernel K] [--threads N] "
               "[--measure] < texts.jsonl\n");
    return 2;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) return usage();
    px::embed::EncoderOptions options;
    options.model_directory = argv[1];
    options.precision = px::embed::Precision::Fp32;
    bool measure = false;
    for (int i = 2; i < argc; ++i) {
        const std::string_view name = argv[i];
        if (name == "--measure") {
            measure = true;
        } else if (i + 1 == argc) {
            return usage();
        } else if (name == "--precision") {
            const auto precision = px::embed::parse_precision(argv[++i]);
            if (!precision) return usage();
            options.precision = *precision;
        } else if (name == "--kernel") {
            options.kernel = argv[++i];
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
    if (measure) options.thread_count = 1;
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
    const double start = cpu_seconds();
    const auto vectors = run();
    const double seconds = cpu_seconds() - start;
    const double peak = std::max(peak_before, px::embed::measure_peak_gflops());
    if (!vectors) return 1;
    fmt::print(
        "{{\"cpu_seconds\":{:.6f},\"tokens\":{},\"texts\":{},\"kernel\":\"{}\",\"precision\":\"{}"
        "\",\"load_seconds\":{:.4f},"
        "\"peak_gflops\":{:.1f}}}\n",
        seconds, tokens, texts.size(), (*encoder)->kernel(),
        px::embed::precision_name((*encoder)->precision()), load_seconds.count(), peak);
    return 0;
}
