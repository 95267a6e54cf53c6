// Stops running queries: each at its deadline or when its caller gives up; and, when all of them
// together have made the process grow too large, the one that took the most.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "base/result.h"
#include "capi/duckdb/duckdb_handle.h"

namespace px::engine {

/// One thread for all sessions of an engine, asleep while no query runs. Thread-safe. Connections
/// outlive their watches, the dog outlives both.
class Watchdog {
  public:
    enum class Origin { Ours, User };

    /// growth_bytes_max: how much the running queries may make the process grow, together. Not
    /// every byte of DuckDB counts against its own memory limit (long strings and lists do not);
    /// this catches the rest.
    explicit Watchdog(int64_t growth_bytes_max);
    ~Watchdog();

  private:
    enum class Reason { None, Deadline, Stopped, Memory };
    struct Query {
        duckdb::Connection* connection;
        Origin origin;
        Deadline deadline;
        double grown = 0;  ///< bytes the process grew that are laid to this query
        Reason reason = Reason::None;
    };

  public:
    /// Watches one query of a connection from construction to destruction.
    class Watch {
      public:
        Watch(Watchdog& dog, duckdb::Connection& connection, Origin origin, Deadline deadline);
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
        std::list<Query>::iterator query_;
    };

  private:
    void run(const std::stop_token& stop);
    void measure();
    void stop_largest();
    Result<void> verdict(Reason reason) const;

    const int64_t growth_bytes_max_;
    std::mutex mutex_;
    std::condition_variable_any changed_;
    std::list<Query> queries_;  ///< oldest first
    int64_t resident_ = 0;      ///< when last measured
    std::jthread thread_;
};

/// Bytes of memory of its own the process holds now, mapped files not counted; 0 when unknown.
int64_t resident_bytes();

}  // namespace px::engine
