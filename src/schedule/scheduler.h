// Scheduler: puts due times into the queue of each pipeline's catalog, takes runs out of it and
// works on them through a Runner, until it is told to stop. Any number of schedulers may look after
// one pipeline. Rank 5; relies on ScheduleStore for what only one of them may do. One thread.
// Specification: docs/formats/schedule.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "catalog/schedule_state.h"
#include "schedule/due.h"
#include "schedule/runner.h"

namespace px::schedule {

struct RetryPolicy {
    int attempts = 3;  ///< in all, of attempts that fail
    std::chrono::seconds delay{300};
    bool exponential = true;  ///< each delay twice the one before
    std::chrono::seconds delay_max{3'600};
    double jitter = 0.25;  ///< up to so much of a delay is added, so that not all come at once

    /// After so many failures (1, 2 …); random in [0, 1).
    std::chrono::microseconds delay_after(int64_t failures, double random) const;
};

struct ScheduledPipeline {
    std::string name;
    std::filesystem::path file;
    std::optional<DueTimes> due;  ///< nullopt: only what is asked for
    bool catchup = false;         ///< every missed due time, not only the newest
    int max_active_runs = 1;
    RetryPolicy retries;
    std::chrono::seconds timeout{0};   ///< of one attempt; 0: none
    std::vector<std::string> command;  ///< "{ds}" in a word is replaced
    std::filesystem::path log_folder;
    std::function<Result<std::unique_ptr<catalog::ScheduleStore>>()> open;
    /// Another text whenever the store may have changed, cheaply; null: nobody can tell.
    std::function<std::string()> stamp;
};

struct SchedulerOptions {
    int runs_max = 4;       ///< scheduled and manual runs at once, of all pipelines
    int backfills_max = 2;  ///< backfills at once: they have slots of their own
    std::chrono::milliseconds heartbeat_every{10'000};
    /// A scheduler of another machine that shows no sign of life for so long is gone.
    std::chrono::milliseconds stale_after{60'000};
    std::chrono::milliseconds poll_stamp{1'000};    ///< how often stamps are compared
    std::chrono::milliseconds poll_store{5'000};    ///< how often a store without one is asked
    std::chrono::milliseconds idle_close{5'000};    ///< a store not needed for so long is closed
    size_t idle_stores_max = 8;                     ///< of those; an open one holds memory
    std::chrono::milliseconds grace{30'000};        ///< between SIGTERM and SIGKILL
    std::chrono::milliseconds error_pause{30'000};  ///< after a store could not be reached
    size_t enumerate_max = 1'000;                   ///< due times put into the queue in one step
    int64_t log_bytes_max = int64_t{16} << 20;      ///< of one attempt
    size_t logs_max = 200;                          ///< kept for each pipeline
    Result<void> validate() const;
};

/// What a person may want to hear of.
struct Event {
    enum class Kind { Failed, Halted, Recovered } kind = Kind::Failed;
    catalog::ScheduleItem item;
    std::filesystem::path pipeline_file;
};

/// Time, chance and the rest of the world.
struct SchedulerWorld {
    const Clock& clock;
    std::function<int64_t()> steady_us;  ///< never set back
    std::function<double()> random;      ///< in [0, 1)
    std::function<std::string()> token;  ///< unlike any other
    std::string owner;                   ///< this scheduler
    std::function<std::optional<bool>(const std::string& owner)> is_alive;
    std::function<void(const Event&)> on_event;
};
/// The machine's.
SchedulerWorld real_world(const Clock& clock, std::function<void(const Event&)> on_event);

class Scheduler {
  public:
    Scheduler(std::vector<ScheduledPipeline> pipelines, Runner& runner, SchedulerWorld world,
              SchedulerOptions options);
    ~Scheduler();

    /// Does all that can be done now and returns how long nothing will have to be done, unless a
    /// child ends or somebody asks for something. Errors of stores are logged and tried again.
    std::chrono::microseconds step();
    /// From now on nothing is started; what works goes on.
    void drain() { draining_ = true; }
    bool is_busy() const { return !active_.empty(); }
    /// Something is queued, also what waits for its next attempt, in a pipeline that is not paused.
    bool has_waiting() const;
    /// Until stop; then drains and returns when the last child has ended.
    void run(std::stop_token stop);

  private:
    struct Entry;
    struct Active;
    static Result<catalog::ScheduleStore*> store_of(Entry& entry);
    void look(Entry& entry);
    void close_idle(Entry& entry);
    void beat_when_due();
    void beat(Active& active);
    Result<void> look_into(Entry& entry);
    Result<void> enumerate(Entry& entry);
    Result<void> rescue(Entry& entry);
    Result<void> claim(Entry& entry);
    Result<void> begin(Entry& entry, catalog::ScheduleItem item);
    void start(Active& active);
    void tend(Active& active);
    void end(Active& active, const Exit& exit);
    void finish(Active& active, catalog::Ending ending);
    void tell(Active& active, catalog::ItemState state, const catalog::Ending& ending);
    catalog::Claim claim_of(const Entry& entry) const;
    void keep_logs_bounded(const Entry& entry) const;
    int slots_left(bool backfill) const;

    std::vector<std::unique_ptr<Entry>> entries_;
    Runner& runner_;
    SchedulerWorld world_;
    SchedulerOptions options_;
    std::vector<std::unique_ptr<Active>> active_;
    bool draining_ = false;
    bool slot_was_freed_ = false;
    int64_t stamps_compared_us_ = 0;
    size_t next_ = 0;  // whose turn it is to be first
};

}  // namespace px::schedule
