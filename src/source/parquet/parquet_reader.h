// Reads a Parquet file as records of text, through DuckDB. First stage of the walk (source). Not
// thread-safe. How each type is written: docs/formats/records.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/result.h"
#include "source/record.h"

namespace px::source {

struct ParquetOptions {
    int64_t memory_limit_bytes = 512LL << 20;  ///< of DuckDB's buffers
    int64_t max_field_bytes =
        64LL << 20;  ///< a longer value makes its record Malformed, rule "too_long"

    /// InvalidArgument naming the option.
    Result<void> validate() const;
};

/// Opens a Parquet file. Positions: line = 1-based row of the file, bytes = the whole file; raw =
/// the row as a JSON object of its texts. first_row: rows to skip (0: none). Errors: as fail_errno
/// for a file that cannot be read; Corrupt for one that is no Parquet file or empty;
/// InvalidArgument for a path with both a backslash and one of * ? [ in it.
Result<std::unique_ptr<RecordReader>> open_parquet(const std::filesystem::path& path,
                                                   const ParquetOptions& options,
                                                   int64_t first_row = 0);

}  // namespace px::source
