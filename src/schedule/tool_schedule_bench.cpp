// The scheduler's own cost, for bench/schedule.py:
//   tool_schedule_bench FOLDER COUNT [PROGRAM [ARGUMENT…]]
// drains a backlog of COUNT due runs of one pipeline, whose catalog is made in FOLDER. A run is the
// program (one process each), or without one nothing at all. Prints one JSON object.
#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <string>

#include "base/log.h"
#include "schedule/process_runner.h"
#include "schedule/scheduler.h"

namespace {

using namespace px;  // NOLINT(google-build-using-namespace)

/// Every run has ended, well, as soon as it began.
class InstantRunner final : public schedule::Runner {
  public:
    Result<std::string> start(
        const schedule::Command& command,
        const std::function<Result<void>(const std::string& child)>& announce) override {
        ++runs[command.words.back()];
        PX_TRY(announce("bench"));
        return std::string("bench");
    }
    std::optional<schedule::Exit> poll(const std::string&) override { return schedule::Exit{}; }
    void terminate(const std::string&, bool) override {}
    void wait(std::chrono::microseconds, std::stop_token) override {}
    std::map<std::string, int> runs;
};

double cpu_seconds() {
    rusage own{};
    ::getrusage(RUSAGE_SELF, &own);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return seconds(own.ru_utime) + seconds(own.ru_stime);
}

Result<int> bench(int count, char** words) {
    const std::filesystem::path folder = words[1];
    const int64_t runs = std::stoll(words[2]);
    static const SystemClock clock;
    const auto open = [&] {
        return catalog::open_sqlite_schedule(folder / "catalog.db", catalog::OpenMode::ReadWrite,
                                             clock);
    };
    schedule::ScheduledPipeline pipeline;
    pipeline.log_folder = folder / "logs";
    pipeline.name = "bench";
    pipeline.due = PX_TRY(schedule::DueTimes::parse("* * * * *", "UTC"));
    pipeline.catchup = true;
    for (int i = 3; i < count; ++i) pipeline.command.emplace_back(words[i]);
    pipeline.command.emplace_back("{ds}");
    pipeline.open = open;
    {  // a scheduler looked last `runs` minutes ago
        auto store = PX_TRY(open());
        const TimestampMicros now = clock.now() / 60'000'000 * 60'000'000;
        PX_TRY(store->enumerate("bench", std::nullopt, now - runs * 60'000'000, {},
                                catalog::Missed::Kept, now));
    }
    InstantRunner instant;
    schedule::ProcessRunner processes;
    schedule::Runner& runner = count > 3 ? static_cast<schedule::Runner&>(processes)
                                         : static_cast<schedule::Runner&>(instant);
    schedule::Scheduler scheduler({pipeline}, runner, schedule::real_world(clock, {}), {});
    const auto start = std::chrono::steady_clock::now();
    const double cpu = cpu_seconds();
    while (true) {
        const auto wait = scheduler.step();
        if (wait.count() > 0 && !scheduler.is_busy() && !scheduler.has_waiting()) break;
        if (wait.count() > 0) runner.wait(wait, {});
    }
    const double took =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    auto store = PX_TRY(open());
    std::map<TimestampMicros, int> dues;
    int64_t done = 0, attempts = 0;
    for (const auto& item : PX_TRY(store->items({.pipeline = "bench", .limit = 10'000'000}))) {
        ++dues[item.due_at];
        attempts += item.attempt;
        if (item.state == catalog::ItemState::Done) ++done;
    }
    fmt::print(
        "{{\"runs\":{},\"done\":{},\"due_times\":{},\"attempts\":{},\"seconds\":{:.3f},"
        "\"cpu_seconds\":{:.3f},\"ms_per_run\":{:.3f}}}\n",
        runs, done, dues.size(), attempts, took, cpu_seconds() - cpu,
        took * 1'000 / static_cast<double>(std::max<int64_t>(done, 1)));
    return 0;
}

}  // namespace

int main(int count, char** words) {
    if (count < 3) {
        std::fputs("tool_schedule_bench FOLDER COUNT [PROGRAM [ARGUMENT...]]\n", stderr);
        return 2;
    }
    px::log::set_level(px::log::Level::Error);
    const auto done = bench(count, words);
    if (done) return *done;
    fmt::print(stderr, "{}\n", done.error().to_string());
    return 1;
}
