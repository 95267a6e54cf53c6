// One private DuckDB with the tables of a session; see engine.h for the promises. One thread at a
// time.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "capi/duckdb/duckdb_handle.h"
#include "engine/engine.h"
#include "engine/local/local_engine.h"
#include "engine/local/sql_guard.h"
#include "engine/local/watchdog.h"

namespace px::engine {

class LocalSession final : public Session {
  public:
    /// options.temp_directory belongs to this session alone; it is removed in the end.
    static Result<std::unique_ptr<Session>> open(const LocalEngineOptions& options,
                                                 std::shared_ptr<Watchdog> watchdog);
    ~LocalSession() override;

    Result<void> add_table(const TableSource& table) override;
    Result<QueryResult> query(const std::string& sql, const std::vector<std::string>& parameters,
                              const QueryLimits& limits, const Deadline& deadline) override;
    Result<std::pair<columnar::Schema, columnar::ParquetFileInfo>> copy_to_parquet(
        const std::string& sql, const std::filesystem::path& path,
        const Deadline& deadline) override;
    Result<void> stream(const std::string& sql, const std::vector<std::string>& parameters,
                        const std::function<Result<void>(const columnar::RecordBatch&)>& consume,
                        const Deadline& deadline) override;
    Result<void> lock_down() override;
    Result<QueryResult> query_untrusted(const std::string& sql, const QueryLimits& limits,
                                        const Deadline& deadline) override;

  private:
    LocalSession(LocalEngineOptions options, duckdb::Database database,
                 duckdb::Connection connection, std::shared_ptr<Watchdog> watchdog);
    Result<void> only_trusted() const;
    Result<std::vector<std::vector<std::pair<std::string, std::string>>>> file_columns(
        const TableSource& table);
    Result<duckdb::Rows> start(const std::string& sql, const std::vector<std::string>& parameters,
                               const Watchdog::Watch& watch);
    Result<QueryResult> collect(const std::string& sql, const std::vector<std::string>& parameters,
                                const QueryLimits& limits, Watchdog::Origin origin,
                                const Deadline& deadline);
    /// on_schema is called once, before the first batch, also when there are no rows.
    Result<void> stream_batches(
        const std::string& sql, const std::vector<std::string>& parameters,
        const std::function<Result<void>(const columnar::Schema&)>& on_schema,
        const std::function<Result<void>(const columnar::RecordBatch&)>& on_batch,
        const Deadline& deadline);

    LocalEngineOptions options_;
    duckdb::Database database_;
    duckdb::Connection connection_;
    std::shared_ptr<Watchdog> watchdog_;                      ///< of all sessions of the engine
    std::map<std::string, std::vector<std::string>> tables_;  ///< lower-case name → its files
    bool locked_ = false;
};

}  // namespace px::engine
