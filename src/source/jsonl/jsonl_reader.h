// Reads JSON Lines as records: one object a line, its keys are the columns. First stage of the walk
// (source). Format, rules and decisions: docs/formats/records.md. Relies on text_feed.h and
// Boost.JSON's parser. Not thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "source/record.h"
#include "source/text_stream.h"

namespace px::source {

struct JsonlOptions {
    /// Columns are the keys of the first records in order of appearance: so many records, or so
    /// many bytes of them.
    int64_t sample_records = 1000;
    int64_t sample_bytes = 64LL << 20;
    std::vector<std::string> column_names;  ///< the columns instead; nothing is sampled
    TextEncoding encoding = TextEncoding::Auto;
    int64_t max_field_bytes =
        64LL << 20;  ///< a longer value makes its record Malformed, rule "too_long"
    int64_t max_record_bytes = 128LL << 20;  ///< likewise; also bounds the memory of the reader
    int64_t max_columns = 16'384;            ///< more keys in the sample are an error
    int64_t block_bytes = 512LL << 10;  ///< text a block holds; it grows for one long record only
    int64_t block_rows = 16'384;        ///< most rows of a block

    /// InvalidArgument naming the option.
    Result<void> validate() const;
};

class JsonlReader : public RecordReader {
  public:
    /// Parses bytes that hold exactly one record (a line without its end); for finding a record
    /// again by its byte range.
    virtual Result<void> parse_one(std::string_view record, int64_t byte_start, int64_t line,
                                   RecordBlock& block) = 0;
};

/// Opens a JSON Lines file and finds its columns.
/// Errors: those of options.validate() and open_text; Corrupt for an empty file, one without any
/// object, too many keys.
Result<std::unique_ptr<JsonlReader>> open_jsonl(const std::filesystem::path& path,
                                                const JsonlOptions& options);

}  // namespace px::source
