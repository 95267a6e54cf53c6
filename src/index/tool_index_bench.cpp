// Measures dense search over vectors of a file: build, open, recall@10 against the exact search,
// queries a second on one and two threads, without a filter and with ones of several shares.
//   tool_index_bench FOLDER VECTORS.f32 WIDTH QUERIES   (the last QUERIES rows are the questions)
// Prints one JSON object.
#include <fmt/format.h>

#include <atomic>
#include <boost/json.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "index/embedded/embedded_store.h"
#include "store/local/local_object_store.h"

namespace {

using namespace px;
namespace json = boost::json;

double now_s() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

Result<json::object> run(const std::filesystem::path& folder, const std::string& file, size_t width,
                         size_t query_count) {
    const size_t rows = std::filesystem::file_size(file) / sizeof(float) / width;
    if (rows <= query_count) return fail(ErrorCode::InvalidArgument, "fewer rows than questions");
    const size_t n = rows - query_count;
    std::ifstream stream(file, std::ios::binary);
    const auto read_row = [&] {
        std::vector<float> row(width);
        stream.read(reinterpret_cast<char*>(row.data()),
                    static_cast<std::streamsize>(width * sizeof(float)));
        return row;
    };
    store::LocalObjectStore objects(folder, "index");
    PX_TRY(objects.ensure_container());
    index::EmbeddedOptions options;
    options.scratch_directory = folder / "scratch";
    const auto store = PX_TRY(index::open_embedded_store(objects, options));
    json::object report;
    double started = now_s();
    index::ManifestId manifest;
    {
        std::vector<index::Point> points(n);
        for (size_t i = 0; i < n; ++i) {
            points[i].document_id = fmt::format("bench/{}", i);
            points[i].source = "bench";
            points[i].created_at = static_cast<int64_t>(i * 7919 % 1000);
            points[i].vector = read_row();
            points[i].id = index::identify(points[i]);
        }
        started = now_s();
        manifest = PX_TRY(store->apply(std::nullopt, {}, std::move(points), Deadline::never()));
        report["build_s"] = now_s() - started;
    }
    std::vector<std::vector<float>> queries;
    for (size_t i = 0; i < query_count; ++i) queries.push_back(read_row());
    started = now_s();
    const auto view = PX_TRY(store->open(manifest));
    report["open_ms"] = (now_s() - started) * 1e3;
    report["points"] = view->point_count();
    json::array filters;
    for (const int permille : {1000, 500, 100, 10, 1}) {
        index::Filter filter;
        if (permille < 1000) filter.to = permille;
        std::vector<std::set<uint64_t>> exact;
        for (const auto& query : queries) {
            auto& wanted = exact.emplace_back();
            for (const auto& hit : PX_TRY(view->search_dense(query, 10, filter, Deadline::never(),
                                                             index::Accuracy::Exact)))
                wanted.insert(hit.point);
        }
        json::object row{{"percent", permille / 10.0}};
        for (const size_t threads : {1U, 2U}) {
            std::atomic<size_t> found{0};
            std::atomic<size_t> wanted{0};
            started = now_s();
            {
                std::vector<std::jthread> workers;
                for (size_t t = 0; t < threads; ++t) {
                    workers.emplace_back([&, t] {
                        for (size_t q = t; q < queries.size(); q += threads) {
                            const auto hits =
                                view->search_dense(queries[q], 10, filter, Deadline::never());
                            if (!hits) continue;
                            wanted += exact[q].size();
                            for (const auto& hit : *hits) found += exact[q].count(hit.point);
                        }
                    });
                }
            }
            row[fmt::format("qps_{}", threads)] =
                static_cast<double>(queries.size()) / (now_s() - started);
            row["recall"] = static_cast<double>(found.load()) / static_cast<double>(wanted.load());
        }
        filters.push_back(std::move(row));
    }
    report["searches"] = std::move(filters);
    return report;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 5) {
        fmt::print(stderr, "usage: tool_index_bench FOLDER VECTORS.f32 WIDTH QUERIES\n");
        return 2;
    }
    const auto report = run(argv[1], argv[2], std::stoul(argv[3]), std::stoul(argv[4]));
    if (!report) {
        fmt::print(stderr, "{}\n", report.error().to_string());
        return 1;
    }
    fmt::print("{}\n", json::serialize(*report));
    return 0;
}
