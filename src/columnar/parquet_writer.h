// Writes Parquet files (format 2, data page v1) of flat columns and float lists, Snappy-compressed,
// readable by every Parquet reader. Specification: docs/formats/parquet.md. Rank 1.
// Output bytes depend on the input rows and the options alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "columnar/record_batch.h"

namespace px::columnar {

struct ParquetWriterOptions {
    int64_t row_group_rows = 122'880;  ///< rows a row group at most
    int64_t row_group_bytes =
        64LL * 1024 *
        1024;  ///< uncompressed bytes after which a row group ends early: bounds memory
    int64_t page_bytes = 1024 * 1024;  ///< uncompressed bytes a data page at most
    bool snappy = true;
    int64_t dictionary_bytes =
        1024 * 1024;  ///< a column whose dictionary grows larger is written plain
};

/// What the log of the lake wants to know about a finished file. min/max as the JSON literals Delta
/// statistics use (numbers bare; strings, dates, timestamps quoted; strings cut to 32 code points
/// with the max rounded up); absent when unknown, all null, or not orderable (NaN).
struct ColumnStatistics {
    int64_t null_count = 0;
    std::optional<std::string> min_json;
    std::optional<std::string> max_json;
};

struct ParquetFileInfo {
    int64_t row_count = 0;
    int64_t size_bytes = 0;
    std::string sha256;                     ///< of the file's bytes, hexadecimal
    std::vector<ColumnStatistics> columns;  ///< in schema order
};

/// One file being written. Not thread-safe. A writer destroyed before close() removes its file.
class ParquetWriter {
  public:
    /// Creates path (parent must exist). Errors: as fail_errno; InvalidArgument for a schema
    /// without columns.
    static Result<std::unique_ptr<ParquetWriter>> create(const std::filesystem::path& path,
                                                         Schema schema,
                                                         ParquetWriterOptions options);
    virtual ~ParquetWriter() = default;
    /// Appends rows; the batch may be reused afterwards. Errors: ResourceExhausted (disk full).
    virtual Result<void> write(const RecordBatch& batch) = 0;
    /// Writes the footer and fsyncs. The writer can't be used after.
    virtual Result<ParquetFileInfo> close() = 0;
};

}  // namespace px::columnar
