// Test driver of the splitter. Reads JSON lines {"text", "size", "overlap", "separators"} from
// standard input and prints one line of [start, end] pairs for each. With --measure N it splits
// every text N times and prints one JSON object: seconds of CPU, chunks and bytes of one pass.
#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "chunk/chunk.h"

namespace json = boost::json;

namespace {

struct Task {
    std::string text;
    px::chunk::SplitterOptions options;
};

bool parse_task(const std::string& line, Task& task) {
    boost::system::error_code code;
    const json::value value = json::parse(line, code);
    if (code || !value.is_object()) return false;
    for (const auto& [key, member] : value.get_object()) {
        if (key == "text" && member.is_string()) {
            task.text = member.get_string();
        } else if (key == "size" && member.is_int64()) {
            task.options.size = member.get_int64();
        } else if (key == "overlap" && member.is_int64()) {
            task.options.overlap = member.get_int64();
        } else if (key == "separators" && member.is_array()) {
            task.options.separators.clear();
            for (const auto& item : member.get_array()) {
                if (!item.is_string()) return false;
                task.options.separators.emplace_back(item.get_string());
            }
        } else {
            return false;
        }
    }
    return true;
}

double cpu_seconds() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace

int main(int argc, char** argv) {
    const bool measure = argc == 3 && std::string_view(argv[1]) == "--measure";
    const int rounds = measure ? std::atoi(argv[2]) : 1;
    if ((argc != 1 && !measure) || rounds < 1) {
        fmt::print(stderr, "usage: tool_chunk_split [--measure ROUNDS] < tasks.jsonl\n");
        return 2;
    }
    std::vector<Task> tasks;
    std::string line;
    std::string out;
    size_t line_number = 0;
    while (std::getline(std::cin, line)) {
        ++line_number;
        Task task;
        if (!parse_task(line, task)) {
            fmt::print(stderr, "line {}: not a task\n", line_number);
            return 2;
        }
        if (measure) {
            tasks.push_back(std::move(task));
            continue;
        }
        const auto spans = px::chunk::split(task.text, task.options);
        if (!spans) {
            fmt::print(stderr, "line {}: {}\n", line_number, spans.error().to_string());
            return 1;
        }
        out.assign(1, '[');
        for (const px::chunk::Span& span : *spans) {
            fmt::format_to(std::back_inserter(out), "{}[{},{}]", out.size() > 1 ? "," : "",
                           span.start, span.end);
        }
        out += "]\n";
        std::fwrite(out.data(), 1, out.size(), stdout);
    }
    if (!measure) return 0;

    size_t chunks = 0;
    size_t bytes = 0;
    const double start = cpu_seconds();
    for (int round = 0; round < rounds; ++round) {
        chunks = bytes = 0;
        for (const Task& task : tasks) {
            const auto spans = px::chunk::split(task.text, task.options);
            if (!spans) return 1;
            chunks += spans->size();
            bytes += task.text.size();
        }
    }
    fmt::print("{{\"cpu_seconds\":{:.6f},\"rounds\":{},\"chunks\":{},\"bytes\":{}}}\n",
               cpu_seconds() - start, rounds, chunks, bytes);
    return 0;
}
