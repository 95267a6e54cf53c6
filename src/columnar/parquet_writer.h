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
    /// For readers that know no more than PLAIN and dictionary pages: no DELTA encodings.
    bool compatible = false;

    /// InvalidArgument for a limit out of range.
    Result<void> validate() const;
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

struct EncodedRowGroup;  // column_chunk.h
struct EncodedRowGroupDeleter {
    void operator()(EncodedRowGroup* group) const;
};
using RowGroup = std::unique_ptr<EncodedRowGroup, EncodedRowGroupDeleter>;

/// Encodes one row group after another in memory, apart from any file: several threads, each with
/// an encoder of its own, can make the groups of one file. Not thread-safe. Bounds of rows and
/// bytes are the caller's.
class RowGroupEncoder {
  public:
    /// Errors: InvalidArgument for a schema without columns, a type that cannot be, options out of
    /// range.
    static Result<std::unique_ptr<RowGroupEncoder>> create(Schema schema,
                                                           ParquetWriterOptions options);
    virtual ~RowGroupEncoder() = default;
    /// Appends rows to the group; the batch may be reused afterwards. Errors: InvalidArgument for
    /// another schema; ResourceExhausted for a value that fits no page.
    virtual Result<void> write(const RecordBatch& batch) = 0;
    virtual int64_t row_count() const = 0;
    /// The group, and a new one begins. null: it has no row.
    virtual RowGroup finish() = 0;
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
    /// Ends the row group at hand and writes one made by a RowGroupEncoder of the same schema and
    /// options. Errors: those of write.
    virtual Result<void> append(RowGroup group) = 0;
    /// Bytes of the file so far.
    virtual int64_t size_bytes() const = 0;
    /// Writes the footer and fsyncs. The writer can't be used after.
    virtual Result<ParquetFileInfo> close() = 0;
};

}  // namespace px::columnar
