// Metrics of the gateway in Prometheus' text format 0.0.4. Rank 5. Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/embed_queue.h"
#include "http/server.h"

namespace px::gateway {

class Metrics {
  public:
    /// Upper bounds of the latency buckets, in seconds.
    static constexpr std::array<double, 14> kBuckets{
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};

    /// routes: method and pattern of each; index 0 stands for requests that reached none.
    struct RouteName {
        std::string method, pattern;
    };
    explicit Metrics(std::vector<RouteName> routes);

    void record(size_t route, int status, std::chrono::nanoseconds elapsed);
    void record_answer(bool grounded);

    /// The newest run that has ended.
    struct LastRun {
        std::string state;
        double finished_seconds = 0, elapsed_seconds = 0, cpu_seconds = 0;
        int64_t memory_bytes = 0, bytes_written = 0;
        int64_t chunks_embedded = 0, chunks_reused = 0, chunks_deleted = 0;
        struct Source {
            std::string name;
            int64_t accepted = 0, quarantined = 0, bytes = 0;
        };
        std::vector<Source> sources;
        std::vector<std::pair<std::string, double>> tasks;  ///< name, seconds of its last attempt
    };
    struct Gauges {
        std::string version, pipeline;
        int64_t release = 0, points = 0, documents = 0;
        double published_seconds = 0;
        http::ServerStats server;
        EmbedQueue::Counts embedded;
        std::optional<LastRun> last_run;
        int64_t runs_unfinished = 0;
    };
    std::string text(const Gauges& gauges) const;

  private:
    struct Route {
        RouteName name;
        mutable std::mutex mutex;
        std::map<int, int64_t> by_status;
        std::array<int64_t, kBuckets.size() + 1> buckets{};  ///< not cumulative; the last is +Inf
        double seconds = 0;
    };
    std::vector<std::unique_ptr<Route>> routes_;
    std::atomic<int64_t> grounded_{0}, ungrounded_{0};
};

}  // namespace px::gateway
