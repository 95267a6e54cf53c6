// Test driver of the tokenizer. Reads one JSON string a line from standard input, or {"hex": …} for
// bytes that are no text, and prints its ids as a JSON array, with [CLS] and [SEP]. With --measure
// N it tokenizes every text N times and prints seconds of CPU, tokens and bytes of a pass.
#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "embed/tokenizer.h"

namespace {

double cpu_seconds() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// The bytes of a line; false when it holds none.
bool read_line(const std::string& line, std::string& text) {
    boost::system::error_code code;
    const boost::json::value value = boost::json::parse(line, code);
    if (!code && value.is_string()) {
        text = value.get_string();
        return true;
    }
    const auto* object = code ? nullptr : value.if_object();
    const auto* hex = object == nullptr ? nullptr : object->if_contains("hex");
    if (hex == nullptr || !hex->is_string()) return false;
    text.clear();
    const std::string digits(hex->get_string());
    for (size_t i = 0; i + 1 < digits.size(); i += 2) {
        text.push_back(static_cast<char>(std::strtol(digits.substr(i, 2).c_str(), nullptr, 16)));
    }
    return true;
}

}  // namespace

int main(int argc, char** argv) {
    const bool measure = argc == 4 && std::string_view(argv[2]) == "--measure";
    const int rounds = measure ? std::atoi(argv[3]) : 1;
    if ((argc != 2 && !measure) || rounds < 1) {
        fmt::print(stderr,
                   "usage: tool_embed_tokenize MODEL_FOLDER [--measure ROUNDS] < texts.jsonl\n");
        return 2;
    }
    const auto tokenizer = px::embed::Tokenizer::load(argv[1]);
    if (!tokenizer) {
        fmt::print(stderr, "{}\n", tokenizer.error().to_string());
        return 1;
    }
    using px::embed::Tokenizer;
    std::vector<std::string> texts;
    std::vector<int32_t> ids;
    std::string line;
    std::string text;
    std::string out;
    while (std::getline(std::cin, line)) {
        if (!read_line(line, text)) {
            fmt::print(stderr, "neither a JSON string nor {{\"hex\": …}}: {}\n",
                       line.substr(0, 80));
            return 2;
        }
        if (measure) {
            texts.push_back(text);
            continue;
        }
        ids.clear();
        tokenizer->encode(text, Tokenizer::kNoLimit, ids);
        out.clear();
        out.push_back('[');
        for (size_t i = 0; i < ids.size(); ++i) {
            if (i > 0) out.push_back(',');
            fmt::format_to(std::back_inserter(out), "{}", ids[i]);
        }
        out += "]\n";
        std::fwrite(out.data(), 1, out.size(), stdout);
    }
    if (!measure) return 0;

    size_t tokens = 0;
    size_t bytes = 0;
    const double start = cpu_seconds();
    for (int round = 0; round < rounds; ++round) {
        tokens = bytes = 0;
        for (const std::string& given : texts) {
            ids.clear();
            tokenizer->encode(given, Tokenizer::kNoLimit, ids);
            tokens += ids.size();
            bytes += given.size();
        }
    }
    fmt::print("{{\"cpu_seconds\":{:.6f},\"rounds\":{},\"tokens\":{},\"bytes\":{}}}\n",
               cpu_seconds() - start, rounds, tokens, bytes);
    return 0;
}
