// Staging: landed files → Parquet files that no table refers to yet, and the quarantine beside
// them. Stages 1 and 2 of the walk driven batch by batch. Rank 4. Results are values that survive a
// kill as JSON (task outputs).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <boost/json/value.hpp>

#include "base/clock.h"
#include "base/progress.h"
#include "columnar/parquet_writer.h"
#include "contract/gate.h"
#include "lake/delta_table.h"
#include "pipeline/definition.h"
#include "pipeline/step.h"
#include "source/open.h"
#include "store/object_store.h"

namespace px::pipeline {

/// A landed file as staging reads it.
struct InputFile {
    std::string path;  ///< as the source named it
    std::string key;   ///< in the landing zone
    std::string sha256;
    int64_t size_bytes = 0;
    std::filesystem::path local;  ///< where its bytes can be read
};

/// A finished Parquet file in the lake's store, not yet part of a table.
struct StagedFile {
    lake::Add add;  ///< path relative to the table; stats
    int64_t row_count = 0;
    bool is_released = false;  ///< one of the release, read again: never in a plan's scratch store
};

/// Files that belong to one table.
struct StagedTable {
    std::string table;
    columnar::Schema schema;  ///< with partition columns
    std::vector<std::string> partition_columns;
    std::vector<StagedFile> files;
    int64_t row_count() const;
};

/// A rejected record, for people.
struct RejectedSample {
    std::string file;
    int64_t line = 0;
    std::string rule, column, value, reason;
};

struct StageResult {
    StagedTable rows;
    StagedTable quarantine;
    int64_t accepted = 0;
    int64_t rejected = 0;
    std::map<std::string, int64_t> rejected_by_rule;
    std::vector<RejectedSample> samples;  ///< the first few
};

/// Where staged files go, and within which bounds they are made.
struct StageTarget {
    store::ObjectStore& store;             ///< of the lake (or a scratch one, for plans)
    std::filesystem::path scratch_folder;  ///< local, on the store's file system if that is local
    int64_t file_bytes_max = 256LL << 20;  ///< a part file is closed beyond this size on disk
    int64_t batch_rows = 16'384;
    /// That read, judge and encode beside each other; 0: one a processor. Changes no byte.
    size_t thread_count = 0;
};

/// Reads every file of a source against its contract. Errors: ContractViolated (header), Corrupt
/// (unreadable file), both with file and line; ResourceExhausted (disk); Cancelled. Nothing refers
/// to what was written.
Result<StageResult> stage_source(const SourceDefinition& source, const std::string& ds,
                                 const std::vector<InputFile>& files, const StageTarget& target,
                                 const Deadline& deadline, Progress& progress,
                                 const StepObserver& step);

/// Writes batches of one table partition as part files named by their content.
class PartWriter {
  public:
    PartWriter(const StageTarget& target, std::string table, lake::PartitionValues partition,
               const Clock& clock);
    ~PartWriter();
    /// A batch of another schema than the one before closes the file and begins another.
    Result<void> write(const columnar::RecordBatch& batch);
    /// A row group of a RowGroupEncoder with default options, likewise.
    Result<void> append(const columnar::Schema& schema, columnar::RowGroup group);
    Result<std::vector<StagedFile>> finish();

  private:
    Result<void> open_file(const columnar::Schema& schema);
    Result<void> close_file();
    const StageTarget& target_;
    std::string table_;
    lake::PartitionValues partition_;
    const Clock& clock_;
    columnar::Schema schema_;
    std::unique_ptr<columnar::ParquetWriter> writer_;
    std::filesystem::path path_;
    int64_t written_bytes_ = 0;
    int file_number_ = 0;
    std::vector<StagedFile> files_;
};

/// Puts a finished local Parquet file into the store under its table and partition.
Result<StagedFile> store_part(const StageTarget& target, const std::string& table,
                              const lake::PartitionValues& partition,
                              const columnar::Schema& file_schema,
                              const columnar::ParquetFileInfo& info,
                              const std::filesystem::path& file, const Clock& clock);

/// How a source's landed files are read; SQL sources are landed as JSON Lines.
source::SourceFormat record_format(const SourceDefinition& source);

columnar::Schema
quarantine_schema();  ///< of the files, without the partition columns source and ds

boost::json::value to_json(const StagedTable& table);
Result<StagedTable> staged_table_from_json(const boost::json::value& json);
boost::json::value to_json(const StageResult& result);
Result<StageResult> stage_result_from_json(const boost::json::value& json);
/// Delta type names, as in tables' schemas. Errors: Corrupt.
boost::json::value to_json(const columnar::Schema& schema);
Result<columnar::Schema> schema_from_json(const boost::json::value& json);

}  // namespace px::pipeline
