// Measures dense search over vectors of a file: build, open, memory, recall@10 against the exact
// search, queries a second on one and two threads, without a filter and with ones of several
// shares.
//   tool_index_bench build FOLDER VECTORS.f32 WIDTH QUERIES    prints {build_s, manifest, …}
//   tool_index_bench search FOLDER VECTORS.f32 WIDTH QUERIES MANIFEST
// The last QUERIES rows are the questions. Prints one JSON object. Searching is a process of its
// own, so that its memory is that of who serves.
#include <fmt/format.h>

#include <atomic>
#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <set>
#include <string_view>
#include <thread>

#include "index/embedded/embedded_store.h"
#include "store/local/local_object_store.h"

namespace {

using namespace px;
namespace json = boost::json;

constexpr size_t kRounds = 3;  // of the questions; the best counts

double now_s() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

double cpu_now_s() {
    timespec now{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// A line of /proc/self/status ("VmRSS:"), in bytes; pages of mapped files count once touched.
int64_t memory_bytes(std::string_view name) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with(name)) return std::stoll(line.substr(name.size())) * 1024;
    }
    return 0;
}

struct Input {
    std::ifstream stream;
    size_t width = 0, points = 0, questions = 0;

    std::vector<float> row() {
        std::vector<float> row(width);
        stream.read(reinterpret_cast<char*>(row.data()),
                    static_cast<std::streamsize>(width * sizeof(float)));
        return row;
    }
};

Result<Input> open_input(const std::string& file, size_t width, size_t question_count) {
    const size_t rows = std::filesystem::file_size(file) / sizeof(float) / width;
    if (rows <= question_count)
        return fail(ErrorCode::InvalidArgument, "fewer rows than questions");
    return Input{std::ifstream(file, std::ios::binary), width, rows - question_count,
                 question_count};
}

Result<json::object> build(index::VectorStore& store, Input input) {
    std::vector<index::Point> points(input.points);
    for (size_t i = 0; i < points.size(); ++i) {
        points[i].document_id = fmt::format("bench/{}", i);
        points[i].source = "bench";
        points[i].created_at = static_cast<int64_t>(i * 7919 % 1000);
        points[i].vector = input.row();
        points[i].id = index::identify(points[i]);
    }
    const int64_t held = memory_bytes("VmRSS:");
    const double started = now_s();
    const index::ManifestId manifest =
        PX_TRY(store.apply(std::nullopt, {}, std::move(points), Deadline::never()));
    return json::object{{"build_s", now_s() - started},
                        {"build_grown_bytes", memory_bytes("VmHWM:") - held},
                        {"manifest", manifest.value}};
}

Result<json::object> search(index::VectorStore& store, Input input, const std::string& manifest) {
    input.stream.seekg(static_cast<std::streamoff>(input.points * input.width * sizeof(float)));
    std::vector<std::vector<float>> queries;
    for (size_t i = 0; i < input.questions; ++i) queries.push_back(input.row());
    json::object report;
    const int64_t held = memory_bytes("VmRSS:");
    double started = now_s();
    const auto view = PX_TRY(store.open(index::ManifestId{manifest}));
    report["open_ms"] = (now_s() - started) * 1e3;
    report["points"] = view->point_count();
    json::array filters;
    for (const int permille : {1000, 500, 100, 10, 1}) {
        index::Filter filter;
        if (permille < 1000) filter.to = permille;
        std::vector<std::vector<uint64_t>> found(queries.size());
        json::object row{{"percent", permille / 10.0}};
        for (const size_t threads : {1U, 2U}) {
            double best_s = 0;
            double cpu_s = 0;
            for (size_t round = 0; round < kRounds; ++round) {
                started = now_s();
                const double cpu_started = cpu_now_s();
                {
                    std::vector<std::jthread> workers;
                    for (size_t t = 0; t < threads; ++t) {
                        workers.emplace_back([&, t] {
                            for (size_t q = t; q < queries.size(); q += threads) {
                                const auto hits =
                                    view->search_dense(queries[q], 10, filter, Deadline::never());
                                found[q].clear();
                                if (!hits) continue;
                                for (const auto& hit : *hits) found[q].push_back(hit.point);
                            }
                        });
                    }
                }
                const double took = now_s() - started;
                best_s = round == 0 ? took : std::min(best_s, took);
                const double cpu = cpu_now_s() - cpu_started;
                cpu_s = round == 0 ? cpu : std::min(cpu_s, cpu);
            }
            row[fmt::format("qps_{}", threads)] = static_cast<double>(queries.size()) / best_s;
            if (threads == 1) row["cpu_us"] = cpu_s * 1e6 / static_cast<double>(queries.size());
        }
        if (permille == 1000) report["grown_bytes"] = memory_bytes("VmRSS:") - held;
        size_t hit_count = 0;
        size_t wanted_count = 0;
        for (size_t q = 0; q < queries.size(); ++q) {
            std::set<uint64_t> wanted;
            for (const auto& hit : PX_TRY(view->search_dense(
                     queries[q], 10, filter, Deadline::never(), index::Accuracy::Exact)))
                wanted.insert(hit.point);
            wanted_count += wanted.size();
            for (const uint64_t point : found[q]) hit_count += wanted.count(point);
        }
        row["recall"] = static_cast<double>(hit_count) / static_cast<double>(wanted_count);
        filters.push_back(std::move(row));
    }
    report["searches"] = std::move(filters);
    return report;
}

Result<json::object> run(int argc, char** argv) {
    const std::filesystem::path folder = argv[2];
    Input input = PX_TRY(open_input(argv[3], std::stoul(argv[4]), std::stoul(argv[5])));
    store::LocalObjectStore objects(folder, "index");
    PX_TRY(objects.ensure_container());
    index::EmbeddedOptions options;
    options.scratch_directory = folder / "scratch";
    const auto store = PX_TRY(index::open_embedded_store(objects, options));
    if (argc == 7) return search(*store, std::move(input), argv[6]);
    return build(*store, std::move(input));
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view mode = argc > 1 ? argv[1] : "";
    if (!(mode == "build" && argc == 6) && !(mode == "search" && argc == 7)) {
        fmt::print(stderr,
                   "usage: tool_index_bench build FOLDER VECTORS.f32 WIDTH QUERIES\n"
                   "       tool_index_bench search FOLDER VECTORS.f32 WIDTH QUERIES MANIFEST\n");
        return 2;
    }
    const auto report = run(argc, argv);
    if (!report) {
        fmt::print(stderr, "{}\n", report.error().to_string());
        return 1;
    }
    fmt::print("{}\n", json::serialize(*report));
    return 0;
}
