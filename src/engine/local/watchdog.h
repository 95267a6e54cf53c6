// Stops a running query: at its deadline, when its caller gives up, or when the process has grown
// too large.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <thread>

#include "base/clock.h"
#include "base/result.h"
#include "capi/duckdb/duckdb_handle.h"

namespace px::engine {

/// One thread a session, asleep while no query runs. The connection outlives it.
class Watchdog {
  public:
    /// growth_bytes_max: how much the process may grow during a query. Not every byte of DuckDB
    /// counts against its own memory limit (long strings and lists do not); this catches the rest.
    Watchdog(duckdb::Connection& connection, int64_t growth_bytes_max);
    ~Watchdog();

    /// Watches from construction to destruction.
    class Watch {
      public:
        Watch(Watchdog& dog, Deadline deadline);
        ~Watch();
        Watch(const Watch&) = delete;
        Watch& operator=(const Watch&) = delete;
        /// DeadlineExceeded, Cancelled or ResourceExhausted once it has barked; else Ok. Looks at
        /// the clock itself too.
        Result<void> check() const;
        /// error, or what check() says if the error is the interruption this watch caused.
        Error explain(Error error) const;

      private:
        Watchdog& dog_;
    };

  private:
    enum class Reason { None, Deadline, Stopped, Memory };
    void run(const std::stop_token& stop);
    Reason reason_now() const;
    Result<void> verdict(Reason reason) const;

    duckdb::Connection& connection_;
    const int64_t growth_bytes_max_;
    mutable std::mutex mutex_;
    std::condition_variable_any changed_;
    bool watching_ = false;
    Deadline deadline_;
    int64_t resident_at_start_ = 0;
    Reason reason_ = Reason::None;
    std::jthread thread_;
};

/// Bytes of memory the process holds now; 0 when unknown.
int64_t resident_bytes();

}  // namespace px::engine
