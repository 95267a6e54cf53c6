// Writes made-up points into a Qdrant collection and says how long it took, for
// bench/qdrant_upsert.py: tool_index_qdrant URL COLLECTION POINTS WIDTH. The key: QDRANT_API_KEY.
#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <string>

#include "index/embedded/test_points.h"
#include "index/qdrant/qdrant_store.h"

namespace {

double cpu_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

px::Result<void> run(const std::string& url, const std::string& collection, int count,
                     size_t width) {
    using namespace px;
    index::QdrantOptions options;
    options.url = url;
    options.collection = collection;
    const char* key = std::getenv("QDRANT_API_KEY");
    options.api_key = key == nullptr ? "" : key;
    const auto store = PX_TRY(index::open_qdrant_store(options));
    index::PointMaker maker(1, width);
    std::vector<index::Point> points = maker.points(0, count);
    // As long as chunks are: made-up texts have 22 words on average.
    for (index::Point& point : points) point.text += ". " + point.text + ". " + point.text;
    const double cpu = cpu_seconds();
    const auto started = std::chrono::steady_clock::now();
    const auto manifest =
        PX_TRY(store->apply(std::nullopt, {}, std::move(points), Deadline::never()));
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - started;
    fmt::print(
        "{{\"points\": {}, \"seconds\": {:.3f}, \"cpu_seconds\": {:.3f}, "
        "\"manifest\": \"{}\"}}\n",
        count, elapsed.count(), cpu_seconds() - cpu, manifest.value);
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 5) {
        fmt::print(stderr, "usage: tool_index_qdrant URL COLLECTION POINTS WIDTH\n");
        return 2;
    }
    const auto done =
        run(argv[1], argv[2], std::atoi(argv[3]), static_cast<size_t>(std::atoi(argv[4])));
    if (!done) fmt::print(stderr, "{}\n", done.error().to_string());
    return done ? 0 : 1;
}
