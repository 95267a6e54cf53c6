// tool_source_bench: how fast CSV and JSON Lines text is split into fields. Prints MB per
// CPU-second of one thread, for three generated files (short unquoted fields, quoted text, JSON
// Lines) or for the file given.
//   tool_source_bench [--mb N] [--kernel NAME] [FILE]
#include <fmt/format.h>

#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "source/csv/csv_reader.h"
#include "source/jsonl/jsonl_reader.h"

namespace {

using px::Deadline;
using px::source::RecordBlock;
using px::source::RecordReader;

double cpu_seconds() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

int measure(const char* what, const std::filesystem::path& path,
            px::Result<std::unique_ptr<RecordReader>> opened, double start) {
    if (!opened) {
        fmt::print(stderr, "{}\n", opened.error().to_string());
        return 1;
    }
    RecordReader& reader = **opened;
    RecordBlock block;
    size_t rows = 0;
    size_t malformed = 0;
    size_t text_bytes = 0;
    for (;;) {
        const auto more = reader.next(block, Deadline::never());
        if (!more) {
            fmt::print(stderr, "{}\n", more.error().to_string());
            return 1;
        }
        if (!*more) break;
        rows += block.row_count();
        malformed += block.malformed.size();
        for (const auto& field : block.fields) text_bytes += field.text.size();
    }
    const double seconds = cpu_seconds() - start;
    const double mb = static_cast<double>(std::filesystem::file_size(path)) / 1e6;
    fmt::print(
        "{:<28} {:8.1f} MB {:10} rows {:6} malformed {:12} text bytes {:8.0f} MB per CPU-second\n",
        what, mb, rows, malformed, text_bytes, mb / seconds);
    return 0;
}

void generate(const std::filesystem::path& plain, const std::filesystem::path& quoted,
              const std::filesystem::path& jsonl, size_t megabytes) {
    std::mt19937_64 random(42);
    std::ofstream plain_file(plain, std::ios::binary);
    std::ofstream quoted_file(quoted, std::ios::binary);
    std::ofstream jsonl_file(jsonl, std::ios::binary);
    plain_file << "id,day,name,category,amount,quantity,flag,note\n";
    quoted_file << "id,title,text\n";
    std::string line;
    size_t written = 0;
    for (size_t id = 1; written < megabytes * 1'000'000; ++id) {
        line = fmt::format(
            "{},2026-{:02}-{:02},name {},category {},{}.{:02},{},{},some words of a note {}\n", id,
            1 + random() % 12, 1 + random() % 28, random() % 100000, random() % 20,
            random() % 100000, random() % 100, random() % 1000,
            random() % 2 == 0 ? "true" : "false", random());
        plain_file << line;
        written += line.size();
    }
    written = 0;
    for (size_t id = 1; written < megabytes * 1'000'000; ++id) {
        line = fmt::format("{},\"Report, {}\",\"", id, random() % 1000);
        for (size_t word = 0; word < 60 + random() % 60; ++word) {
            line += word % 17 == 16 ? "he said \"\"yes\"\",\n" : "revenue, ";
        }
        line += "\"\n";
        quoted_file << line;
        written += line.size();
    }
    written = 0;
    for (size_t id = 1; written < megabytes * 1'000'000; ++id) {
        line = fmt::format(
            "{{\"id\":{},\"day\":\"2026-{:02}-{:02}\",\"name\":\"name "
            "{}\",\"amount\":{}.{:02},\"flag\":true,"
            "\"note\":\"some words of a \\\"note\\\" {}\"}}\n",
            id, 1 + random() % 12, 1 + random() % 28, random() % 100000, random() % 100000,
            random() % 100, random());
        jsonl_file << line;
        written += line.size();
    }
}

}  // namespace

int main(int argc, char** argv) {
    size_t megabytes = 200;
    px::source::CsvOptions options;
    std::filesystem::path file;
    for (int i = 1; i < argc; ++i) {
        const std::string argument = argv[i];
        if (argument == "--mb" && i + 1 < argc) {
            megabytes = std::strtoul(argv[++i], nullptr, 10);
        } else if (argument == "--kernel" && i + 1 < argc) {
            options.scan_kernel = argv[++i];
        } else {
            file = argument;
        }
    }
    const auto csv = [&](const char* what, const std::filesystem::path& path) {
        const double start = cpu_seconds();
        auto opened = px::source::open_csv(path, options);
        if (!opened) return measure(what, path, std::move(opened).error(), start);
        return measure(what, path, std::unique_ptr<RecordReader>(std::move(*opened)), start);
    };
    if (!file.empty()) return csv("file", file);

    const auto folder =
        std::filesystem::temp_directory_path() / fmt::format("px_source_bench_{}", ::getpid());
    std::filesystem::create_directories(folder);
    generate(folder / "plain.csv", folder / "quoted.csv", folder / "records.jsonl", megabytes);
    int status = csv("csv, short plain fields", folder / "plain.csv");
    status |= csv("csv, quoted text", folder / "quoted.csv");
    const double start = cpu_seconds();
    auto opened = px::source::open_jsonl(folder / "records.jsonl", {});
    if (!opened)
        return measure("jsonl", folder / "records.jsonl", std::move(opened).error(), start);
    status |= measure("jsonl", folder / "records.jsonl",
                      std::unique_ptr<RecordReader>(std::move(*opened)), start);
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
    return status;
}
