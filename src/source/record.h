// Records: what every source yields, whatever its format: rows of text fields that know where they
// stood in the landed file. Rank 2 value types; contract/ turns them into typed columns.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace px::source {

/// Where a record stood in the decoded, landed file: byte_start/byte_end are offsets into the
/// landed file's bytes when it is plain UTF-8, else into its decoded UTF-8 text (see
/// RecordReader::offsets_are_raw).
struct RecordPosition {
    int64_t line = 0;  ///< 1-based line on which the record begins
    int64_t byte_start = 0;
    int64_t byte_end = 0;  ///< one past the last byte, without the line end
};

/// A block of records with one field list. Views stay valid until the block is refilled or
/// destroyed.
struct RecordBlock {
    /// A field: text, or absent (JSON null, SQL NULL, missing key). CSV fields are never absent;
    /// the contract decides what empty text means. quoted: a CSV field that stood in quotes.
    struct FieldValue {
        std::string_view text;
        bool present = true;
        bool quoted = false;
    };
    /// A record that could not be read as fields of the header (ragged row, bad quote, bad
    /// encoding, bad JSON).
    struct Malformed {
        size_t row_index = 0;  ///< the record's place among the block's rows
        std::string rule;      ///< "field_count", "quote", "encoding", "json", "too_long"
        std::string reason;    ///< for people
    };
    size_t column_count = 0;
    std::vector<FieldValue>
        fields;  ///< row-major, row_count * column_count; malformed rows hold absent fields
    std::vector<RecordPosition> positions;  ///< one a row
    std::vector<std::string_view> raw;      ///< the record's text as decoded, one a row
    std::vector<Malformed> malformed;       ///< ordered by row_index
    /// 16 bytes before and behind each field's text can be read (they say nothing).
    bool readable = false;
    /// Owns the bytes behind the views; a reader fills it. It keeps a block valid beside later
    /// blocks of the same reader and after the reader is gone.
    std::shared_ptr<const void> storage;
    size_t row_count() const { return positions.size(); }
};

/// Reads one landed file as records. Not thread-safe. Memory is bounded by its options.
class RecordReader {
  public:
    virtual ~RecordReader() = default;
    /// Names of the fields, as found (header line, JSON keys of the first records, query columns).
    /// Known from the start.
    virtual const std::vector<std::string>& columns() const = 0;
    /// Fills block with the next rows (at least one). False: the end. Errors: Corrupt (unreadable
    /// file, unterminated quote with its line, broken gzip), Cancelled, as fail_errno.
    virtual Result<bool> next(RecordBlock& block, const Deadline& deadline) = 0;
    /// True when positions count bytes of the landed file itself; false when they count bytes of
    /// its decoded (decompressed, UTF-8) text.
    virtual bool offsets_are_raw() const = 0;
    /// Bytes of the landed file consumed so far, for progress.
    virtual int64_t bytes_read() const = 0;
};

}  // namespace px::source
