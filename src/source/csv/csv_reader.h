// Reads CSV text as records: RFC 4180 by default, other dialects by options. First stage of the
// walk (source). Format, rules and decisions: docs/formats/records.md. Relies on text_feed.h. Not
// thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "source/record.h"
#include "source/text_stream.h"

namespace px::source {

/// What becomes of a record with another number of fields than the header.
enum class RaggedRows {
    Reject,    ///< Malformed, rule "field_count"
    PadShort,  ///< missing fields at the end are absent; records with too many are still Malformed
};

/// What becomes of a quote inside a field that does not start with one: 5" disk.
enum class StrayQuotes {
    Reject,  ///< Malformed, rule "quote" (RFC 4180, section 2.5)
    Keep,    ///< an ordinary character
};

struct CsvOptions {
    std::optional<std::string> delimiter = ",";  ///< 1 to 16 bytes; none: sniffed among , ; tab |
    std::optional<char> quote = '"';             ///< none: no field is quoted
    /// None: a quote inside a quoted field is doubled. A character (often a backslash): it takes
    /// the meaning from a quote, delimiter, line end or itself behind it, inside and outside of
    /// quotes; before anything else it is itself.
    std::optional<char> escape;
    std::optional<char> comment;  ///< a line that starts with it is skipped
    int64_t skip_lines = 0;       ///< physical lines before the header
    int header_lines =
        1;  ///< records that name the columns, joined by a space; 0: column_1, column_2, …
    std::vector<std::string>
        column_names;  ///< names instead, with header_lines 0; gives the number of fields
    TextEncoding encoding = TextEncoding::Auto;
    RaggedRows ragged = RaggedRows::Reject;
    StrayQuotes stray_quotes = StrayQuotes::Reject;
    bool trim = false;  ///< spaces and tabs around a field, and around its quotes, are dropped
    int64_t max_field_bytes =
        64LL << 20;  ///< a longer field makes its record Malformed, rule "too_long"
    int64_t max_record_bytes = 128LL << 20;  ///< likewise; also bounds the memory of the reader
    int64_t max_columns = 16'384;            ///< a wider header is an error
    int64_t block_bytes = 512LL << 10;  ///< text a block holds; it grows for one long record only
    int64_t block_rows = 16'384;        ///< most rows of a block
    std::string scan_kernel;  ///< "scalar", "avx2", "avx512"; empty: the best of this machine

    /// InvalidArgument naming the option.
    Result<void> validate() const;
};

/// Whole records in one piece of text, to be read apart from the file: on another thread, say.
struct CsvSlab {
    std::shared_ptr<const void> storage;  ///< owns the text
    size_t begin = 0;                     ///< of the text in its storage
    size_t size_bytes = 0;
    int64_t offset = 0;  ///< as in RecordPosition::byte_start
    int64_t line = 1;    ///< on which it starts
    /// A single record instead that is longer than a reader holds.
    std::optional<RecordBlock> too_long;
};

/// A RecordReader that tells what was sniffed.
class CsvReader : public RecordReader {
  public:
    /// Takes the next records, block_bytes of text or less, without looking at their fields: much
    /// faster than next(). What the records are stays exact: where quotes leave a doubt the slab
    /// is scanned record by record. False: the end. Errors: those of next() but for an open quote,
    /// which the slab's reader tells.
    virtual Result<bool> next_slab(CsvSlab& slab, const Deadline& deadline) = 0;
    /// Reads a slab of this reader's (not too_long), in blocks of `bytes` of text and `rows` rows;
    /// independent of the reader and of its thread.
    virtual std::unique_ptr<RecordReader> read_slab(const CsvSlab& slab, int64_t bytes,
                                                    int64_t rows) const = 0;

    /// The dialect in use: never "sniff".
    virtual const std::string& delimiter() const = 0;
    virtual TextEncoding encoding() const = 0;

    /// Parses bytes that hold exactly one record (without its line end) by this reader's dialect
    /// and columns; for finding a record again by its byte range. encoding: must be UTF-8 already.
    virtual Result<void> parse_one(std::string_view record, int64_t byte_start, int64_t line,
                                   RecordBlock& block) = 0;
};

/// Opens a CSV file and reads its header.
/// Errors: those of options.validate() and open_text; Corrupt for an empty file, a header that is
/// no text in the encoding, badly quoted or too wide.
Result<std::unique_ptr<CsvReader>> open_csv(const std::filesystem::path& path,
                                            const CsvOptions& options);

/// What a person may have to set when a header lacks columns that were expected: the delimiter is
/// another, or there is no header. Empty: it looks like a header.
std::string header_hint(const std::vector<std::string>& columns, const CsvOptions& options);

}  // namespace px::source
