// Stages one CSV file against a contract as a run does, into a folder, and prints what it cost as
// JSON. For bench/ingest.py and tests.
//   tool_pipeline_ingest FILE FOLDER COLUMN... [threads=N] [encoding=NAME] [delimiter=C]
// COLUMN: name=type[;required][;unique][;min=X][;max=X]
#include <fmt/format.h>
#include <sys/resource.h>
#include <time.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "pipeline/staging.h"
#include "source/text_stream.h"
#include "store/local/local_object_store.h"

namespace {

using namespace px;

double cpu_seconds() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

[[noreturn]] void stop(const Error& error) {
    fmt::print(stderr, "{}\n{}\n", error.message, error.hint);
    std::exit(1);
}

contract::ColumnRule column_of(std::string_view text) {
    contract::ColumnRule rule;
    const size_t equals = text.find('=');
    rule.name = text.substr(0, equals);
    text.remove_prefix(equals + 1);
    for (bool first = true; !text.empty(); first = false) {
        const size_t end = std::min(text.find(';'), text.size());
        const std::string_view word = text.substr(0, end);
        if (first) {
            auto type = contract::parse_type(word);
            if (!type) stop(type.error());
            rule.type = *type;
        }
        rule.required = rule.required || word == "required";
        rule.unique = rule.unique || word == "unique";
        if (word.starts_with("min=")) rule.min = word.substr(4);
        if (word.starts_with("max=")) rule.max = word.substr(4);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return rule;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        fmt::print(stderr, "tool_pipeline_ingest FILE FOLDER COLUMN... [threads=N]\n");
        return 2;
    }
    pipeline::SourceDefinition source;
    source.name = "rows";
    source.contract.name = "rows";
    source.contract.extra_columns = contract::ExtraColumns::Drop;
    const std::filesystem::path folder = argv[2];
    std::filesystem::create_directories(folder / "scratch");
    store::LocalObjectStore store(folder / "lake", "lake");
    if (auto made = store.ensure_container(); !made) stop(made.error());
    pipeline::StageTarget target{store, folder / "scratch"};
    for (int i = 3; i < argc; ++i) {
        const std::string_view word = argv[i];
        if (word.starts_with("threads=")) {
            target.thread_count = static_cast<size_t>(std::atoi(argv[i] + 8));
        } else if (word.starts_with("encoding=")) {
            auto encoding = source::parse_text_encoding(word.substr(9));
            if (!encoding) stop(encoding.error());
            source.csv.encoding = *encoding;
        } else if (word.starts_with("delimiter=")) {
            source.csv.delimiter = word.substr(10);
        } else {
            source.contract.columns.push_back(column_of(word));
        }
    }
    pipeline::InputFile file{argv[1], "landing/rows/2026-11-23/0123abcd.csv", "0123abcd",
                             static_cast<int64_t>(std::filesystem::file_size(argv[1])), argv[1]};
    NoProgress progress;
    const double cpu = cpu_seconds();
    const auto wall = std::chrono::steady_clock::now();
    const auto staged = pipeline::stage_source(source, "2026-11-23", {file}, target,
                                               Deadline::never(), progress, {});
    if (!staged) stop(staged.error());
    const double cpu_used = cpu_seconds() - cpu;
    const std::chrono::duration<double> wall_used = std::chrono::steady_clock::now() - wall;
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    int64_t bytes = 0;
    std::string paths;
    for (const pipeline::StagedFile& part : staged->rows.files) {
        bytes += part.add.size_bytes;
        paths += fmt::format("{}\"{}\"", paths.empty() ? "" : ",",
                             (folder / "lake" / "rows" / part.add.path).string());
    }
    fmt::print(
        "{{\"cpu_s\":{:.3f},\"wall_s\":{:.3f},\"csv_bytes\":{},\"parquet_bytes\":{},"
        "\"accepted\":{},\"rejected\":{},\"peak_kib\":{},\"files\":[{}]}}\n",
        cpu_used, wall_used.count(), file.size_bytes, bytes, staged->accepted, staged->rejected,
        usage.ru_maxrss, paths);
    return 0;
}
