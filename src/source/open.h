// Opens a landed file as records, whatever its format, and finds one record of it again.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "source/csv/csv_reader.h"
#include "source/jsonl/jsonl_reader.h"
#include "source/parquet/parquet_reader.h"
#include "source/record.h"

namespace px::source {

enum class SourceFormat { Csv, JsonLines, Parquet };

/// "csv", "jsonl", "parquet".
std::string_view source_format_name(SourceFormat format);

struct RecordOptions {
    CsvOptions csv;
    JsonlOptions jsonl;
    ParquetOptions parquet;
};

/// By extension, letter case aside, .gz and .zst put aside: csv tsv tab psv txt → Csv; jsonl ndjson
/// json → JsonLines; parquet pq → Parquet. nullopt: unknown.
std::optional<SourceFormat> format_of(const std::filesystem::path& path);

/// Errors: those of open_csv, open_jsonl and open_parquet.
Result<std::unique_ptr<RecordReader>> open_records(const std::filesystem::path& path,
                                                   SourceFormat format,
                                                   const RecordOptions& options);

/// A record on its own, as found again.
struct FoundRecord {
    std::vector<std::string> columns;
    std::vector<std::optional<std::string>> fields;  ///< one a column; all absent when malformed
    std::string raw;
    RecordPosition position;
    std::optional<RecordBlock::Malformed> malformed;
};

/// Reads the record at a position that a RecordReader of the same file and options told. When
/// offsets are raw, the bytes [byte_start, byte_end) are read and nothing else but the header; else
/// the file is read up to the record, which is known by its line (Parquet: row) and byte range.
/// Errors: those of open_records; NotFound when no record stands there; Corrupt when the bytes
/// there are not exactly one record.
Result<FoundRecord> read_record_at(const std::filesystem::path& path, SourceFormat format,
                                   const RecordOptions& options, const RecordPosition& position,
                                   const Deadline& deadline);

}  // namespace px::source
