// Engine on this machine: DuckDB, in process. Every session is a private database in memory, with
// its own memory limit, temporary space and (after lock_down) sandbox. Rank 2.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "base/result.h"
#include "engine/engine.h"

namespace px::engine {

struct LocalEngineOptions {
    int64_t memory_limit_mb =
        1024;              ///< of a session's tables, sorts and joins; beyond it they spill
    int thread_count = 0;  ///< of a session; 0: one per processor
    /// Where sessions spill; made when needed, emptied when a session ends. Empty: the system's
    /// folder for temporary files.
    std::filesystem::path temp_directory;
    int64_t max_temp_mb = 8192;  ///< of a session's spilled data; beyond it ResourceExhausted
    /// What the queries of all sessions together may make the process grow by, in MB; beyond it
    /// the one that took the most is stopped with ResourceExhausted. 0: memory_limit_mb and 512
    /// for what DuckDB does not count.
    int64_t growth_limit_mb = 0;
    Result<void> validate() const;
};

/// Errors: InvalidArgument (options).
Result<std::unique_ptr<Engine>> open_local_engine(const LocalEngineOptions& options);

}  // namespace px::engine
