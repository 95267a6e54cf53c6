// Checkpoints of the Delta log: Parquet files of actions, read and written through DuckDB. Rank 3.
// Pure but for its files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>

#include "base/result.h"
#include "capi/duckdb/duckdb_handle.h"
#include "lake/action.h"
#include "lake/log.h"

namespace px::lake {

/// The DuckDB that reads and writes checkpoint files, opened (20 ms) when first needed.
/// Thread-safe.
class CheckpointEngine {
  public:
    Result<duckdb::Connection> connect();

  private:
    std::mutex mutex_;
    std::optional<duckdb::Database> database_;
};

/// Reads one checkpoint file (or one part of a multi-part one) into entry. Errors: Corrupt.
Result<void> read_checkpoint_file(CheckpointEngine& engine, const std::filesystem::path& file,
                                  LogEntry& entry);

struct CheckpointWritten {
    int64_t action_count = 0;
    int64_t add_count = 0;
};
/// Writes the state as a classic checkpoint to path; tombstones older than oldest_tombstone_ms are
/// left out. folder: an existing one for intermediate files, which are removed. Errors:
/// ResourceExhausted, Internal.
Result<CheckpointWritten> write_checkpoint_file(CheckpointEngine& engine, const LogState& state,
                                                int64_t oldest_tombstone_ms,
                                                const std::filesystem::path& folder,
                                                const std::filesystem::path& path);

}  // namespace px::lake
