#include "source/csv/csv_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "base/utf8.h"
#include "source/csv/record_scanner.h"
#include "source/csv/scan.h"
#include "source/text_feed.h"

namespace px::source {

namespace {

using csv::Dialect;
using csv::kNoPosition;
using csv::RawField;
using csv::scan_any_record;
using csv::scan_record;
using csv::ScannedRecord;
using csv::ScanStatus;
using csv::SpecialBytes;

constexpr size_t kMaxBlockFields = 1 << 20;        // bounds the field table of very wide files
constexpr size_t kLongRecordRawBytes = 64 * 1024;  // of a too long record that are kept as raw
constexpr size_t kSniffBytes = 256 * 1024;
constexpr size_t kSniffRecords = 1000;
constexpr std::string_view kSniffedDelimiters[] = {",", ";", "\t", "|"};

std::string printable(std::string_view delimiter) {
    std::string text;
    for (const char c : delimiter) {
        if (c == '\t') {
            text += "\\t";
        } else if (static_cast<unsigned char>(c) < 0x20) {
            text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        } else {
            text += c;
        }
    }
    return text;
}

Error bad_option(std::string_view option, std::string_view reason) {
    return fail(ErrorCode::InvalidArgument, fmt::format("csv option {}: {}", option, reason),
                "correct the csv options of the source");
}

Dialect dialect_of(const CsvOptions& options) {
    Dialect dialect;
    dialect.delimiter = options.delimiter.value_or(",");
    dialect.has_quote = options.quote.has_value();
    dialect.quote = options.quote.value_or('"');
    dialect.has_escape = options.escape.has_value() && options.escape != options.quote;
    dialect.escape = options.escape.value_or('"');
    dialect.has_comment = options.comment.has_value();
    dialect.comment = options.comment.value_or('#');
    dialect.keep_stray_quotes = options.stray_quotes == StrayQuotes::Keep;
    dialect.trim = options.trim;
    return dialect;
}

/// How well a delimiter explains the first records: the share of records with the commonest field
/// count, if that is more than one; halved when the first record has another count.
double delimiter_score(const csv::ScanKernel& kernel, Dialect dialect, std::string_view delimiter,
                       const char* data, size_t size, bool at_end, size_t start) {
    dialect.delimiter = std::string(delimiter);
    SpecialBytes special(kernel, dialect.scan_set());
    special.attach(data, size);
    std::vector<size_t> counts;
    size_t position = start;
    while (position < size && position - start < kSniffBytes && counts.size() < kSniffRecords) {
        if (dialect.has_comment && data[position] == dialect.comment) {
            while (position < size && data[position] != '\n' && data[position] != '\r') ++position;
        }
        const ScannedRecord record = scan_any_record(special, data, size, at_end, position, dialect,
                                                     [](size_t, const RawField&) {});
        if (record.status != ScanStatus::Complete) break;
        if (record.end != position) counts.push_back(record.field_count);
        position = record.next;
    }
    if (counts.empty()) return 0;
    const size_t first = counts.front();
    std::sort(counts.begin(), counts.end());
    size_t best_run = 0;
    size_t commonest = 0;
    for (size_t i = 0; i < counts.size();) {
        size_t j = i;
        while (j < counts.size() && counts[j] == counts[i]) ++j;
        if (j - i >= best_run) {
            best_run = j - i;
            commonest = counts[i];
        }
        i = j;
    }
    if (commonest < 2) return 0;
    const double share = static_cast<double>(best_run) / static_cast<double>(counts.size());
    return first == commonest ? share : share / 2;
}

class CsvFileReader final : public CsvReader {
  public:
    CsvFileReader(std::string name, const CsvOptions& options, OpenedText text)
        : name_(std::move(name)),
          options_(options),
          dialect_(dialect_of(options)),
          kernel_(csv::scan_kernel(options.scan_kernel)),
          encoding_(text.encoding),
          binary_format_(text.binary_format),
          feed_(std::move(text), static_cast<size_t>(options.block_bytes),
                static_cast<size_t>(std::max(options.max_record_bytes, options.block_bytes))),
          special_(kernel_, dialect_.scan_set()),
          ordinary_bytes_(
              static_cast<size_t>(std::min(options.max_field_bytes, options.max_record_bytes))) {}

    /// Reads a part of another reader's block.
    CsvFileReader(const CsvFileReader& whole, const CsvSlab& slab, int64_t bytes, int64_t rows)
        : name_(whole.name_),
          options_(whole.options_),
          dialect_(whole.dialect_),
          kernel_(whole.kernel_),
          encoding_(whole.encoding_),
          feed_(std::static_pointer_cast<TextStorage>(std::const_pointer_cast<void>(slab.storage)),
                slab.begin, slab.size_bytes, slab.offset, whole.feed_.is_raw()),
          special_(kernel_, dialect_.scan_set()),
          ordinary_bytes_(whole.ordinary_bytes_),
          columns_(whole.columns_),
          line_(slab.line) {
        options_.block_bytes = bytes;
        options_.block_rows = rows;
    }

    Result<void> read_header();
    /// The best delimiter for the first records. Nothing else of the reader may be used afterwards.
    Result<std::string> sniff_delimiter();

    const std::vector<std::string>& columns() const override { return columns_; }
    Result<bool> next(RecordBlock& block, const Deadline& deadline) override;
    Result<bool> next_slab(CsvSlab& slab, const Deadline& deadline) override;
    std::unique_ptr<RecordReader> read_slab(const CsvSlab& slab, int64_t bytes,
                                            int64_t rows) const override {
        return std::make_unique<CsvFileReader>(*this, slab, bytes, rows);
    }
    bool offsets_are_raw() const override { return feed_.is_raw(); }
    int64_t bytes_read() const override { return feed_.bytes_read(); }
    const std::string& delimiter() const override { return dialect_.delimiter; }
    TextEncoding encoding() const override { return encoding_; }
    Result<void> parse_one(std::string_view record, int64_t byte_start, int64_t line,
                           RecordBlock& block) override;

  private:
    enum class Stop { Full, NeedMore, Unterminated, End };

    struct HeaderRecord {
        std::vector<std::string> fields;
        bool found = false;  ///< false: the text ended before
    };

    void attach() { special_.attach(feed_.data(), feed_.size()); }
    Result<void> advance(size_t keep_from) {
        PX_TRY(feed_.advance(keep_from));
        position_ = 0;
        attach();
        return {};
    }
    /// Makes more of an unfinished record available. False: it is longer than max_record_bytes.
    Result<bool> more() {
        if (position_ > 0) {
            PX_TRY(advance(position_));
            return true;
        }
        const bool grown = PX_TRY(feed_.grow());
        attach();
        return grown;
    }
    Result<void> skip_physical_line();
    /// Skips a comment line at position_. False: its end is not at hand.
    bool skip_comment();
    Result<HeaderRecord> header_record();
    /// Fields of the first record that is no blank line; 1 when there is none. Consumes nothing.
    Result<size_t> first_field_count();
    Result<void> start();

    /// Where the last record at hand that surely is whole ends.
    struct Cut {
        size_t end = 0;  ///< position_ when there is none
        int64_t line_count = 0;
    };
    bool cut_by_quotes(Cut& cut);
    Cut cut_by_records();

    Stop scan_rows(RecordBlock& block) {
        return dialect_.is_plain() ? scan_rows_of<true>(block) : scan_rows_of<false>(block);
    }
    template <bool kPlain>
    Stop scan_rows_of(RecordBlock& block);
    size_t scan_ordinary_rows(RecordBlock& block, size_t first_row, size_t row_max,
                              size_t text_max);
    /// Adds the row whose fields stand in the block's table; start: of the record in the text it
    /// was scanned in.
    void finish_row(RecordBlock& block, size_t row, const ScannedRecord& record,
                    std::string_view raw, size_t start, const RecordPosition& place) {
        block.positions[row] = place;
        block.raw[row] = raw;
        if (record.field_count != columns_.size() || record.stray_at != kNoPosition ||
            raw.size() > ordinary_bytes_) [[unlikely]] {
            finish_odd_row(block, row, record, raw, start);
        }
    }
    void finish_odd_row(RecordBlock& block, size_t row, const ScannedRecord& record,
                        std::string_view raw, size_t start);
    void reject_row(RecordBlock& block, size_t row, std::string rule, std::string reason);
    void check_encoding(RecordBlock& block);
    Result<void> skip_long_record(RecordBlock& block, const Deadline& deadline);
    Error unterminated(size_t open_quote) const {
        return unterminated_on(
            line_ + csv::count_line_ends({feed_.data() + position_, open_quote - position_}));
    }
    Error unterminated_on(int64_t line) const {
        return fail(ErrorCode::Corrupt,
                    fmt::format("{}: the quote opened on line {} is never closed", name_, line),
                    "close the quote in the file, or set the quote and escape options of the "
                    "source to its dialect");
    }
    size_t row_limit() const {
        const size_t by_fields =
            std::max<size_t>(1, kMaxBlockFields / std::max<size_t>(1, columns_.size()));
        return std::min(static_cast<size_t>(options_.block_rows), by_fields);
    }
    /// Takes fields of a record into the block's table at `base`.
    auto field_taker(RecordBlock& block, TextStorage& storage, size_t base) {
        RecordBlock::FieldValue* const out = block.fields.data() + base;
        const size_t column_count = columns_.size();
        return [this, out, column_count, &storage](size_t index, const RawField& field) {
            if (index >= column_count) return;
            std::string_view text = field.text;
            if (field.escaped) [[unlikely]] {
                char* const buffer = storage.allocate(text.size());
                text = {buffer, csv::unescape(field, dialect_, buffer)};
            }
            out[index].text = text;
            out[index].present = true;
            out[index].quoted = field.quoted;
        };
    }
    /// Makes the block's tables long enough for the row. They are cut to size at the end.
    static void make_room(RecordBlock& block, size_t row, size_t column_count) {
        if (row < block.positions.size() && (row + 1) * column_count <= block.fields.size())
            [[likely]]
            return;
        const size_t rows = row + 32;  // few: each new element is written once more
        block.positions.resize(std::max(block.positions.size(), rows));
        block.raw.resize(block.positions.size());
        block.fields.resize(block.positions.size() * column_count);
    }

    std::string name_;
    CsvOptions options_;
    Dialect dialect_;
    const csv::ScanKernel& kernel_;
    TextEncoding encoding_;
    std::string binary_format_;
    TextFeed feed_;
    SpecialBytes special_;
    size_t ordinary_bytes_;  ///< no field of a record up to this size can be too long
    std::vector<std::string> columns_;
    size_t position_ = 0;  ///< in the text at hand: where the next record starts
    int64_t line_ = 1;     ///< on which it starts
    size_t open_quote_ = 0;
};

Result<void> CsvFileReader::skip_physical_line() {
    for (;;) {
        const std::string_view text(feed_.data() + position_, feed_.size() - position_);
        const size_t end = text.find_first_of("\r\n");
        if (end != std::string_view::npos &&
            (text[end] == '\n' || end + 1 < text.size() || feed_.at_end())) {
            const bool crlf = text[end] == '\r' && end + 1 < text.size() && text[end + 1] == '\n';
            position_ += end + (crlf ? 2 : 1);
            ++line_;
            return {};
        }
        if (feed_.at_end()) {
            position_ = feed_.size();
            return {};
        }
        const bool grown = PX_TRY(more());
        if (!grown) {
            return fail(ErrorCode::Corrupt,
                        fmt::format("{}: line {} is longer than max_record_bytes ({})", name_,
                                    line_, options_.max_record_bytes));
        }
    }
}

bool CsvFileReader::skip_comment() {
    const std::string_view text(feed_.data() + position_, feed_.size() - position_);
    const size_t end = text.find_first_of("\r\n");
    if (end == std::string_view::npos) {
        if (!feed_.at_end()) return false;
        position_ = feed_.size();
        return true;
    }
    if (text[end] == '\r' && end + 1 == text.size() && !feed_.at_end()) return false;
    const bool crlf = text[end] == '\r' && end + 1 < text.size() && text[end + 1] == '\n';
    position_ += end + (crlf ? 2 : 1);
    ++line_;
    return true;
}

Result<CsvFileReader::HeaderRecord> CsvFileReader::header_record() {
    HeaderRecord header;
    for (;;) {
        bool need_more = position_ == feed_.size();
        if (need_more && feed_.at_end()) return header;
        if (!need_more && dialect_.has_comment && feed_.data()[position_] == dialect_.comment) {
            if (skip_comment()) continue;
            need_more = true;
        }
        if (!need_more) {
            header.fields.clear();
            TextStorage& storage = *feed_.storage();
            const ScannedRecord record =
                scan_any_record(special_, feed_.data(), feed_.size(), feed_.at_end(), position_,
                                dialect_, [&](size_t index, const RawField& field) {
                                    if (index > static_cast<size_t>(options_.max_columns)) return;
                                    std::string_view text = field.text;
                                    if (field.escaped) {
                                        char* const buffer = storage.allocate(text.size());
                                        text = {buffer, csv::unescape(field, dialect_, buffer)};
                                    }
                                    header.fields.emplace_back(text);
                                });
            if (record.status == ScanStatus::Unterminated) return unterminated(record.open_quote);
            if (record.status == ScanStatus::Complete) {
                const std::string_view text(feed_.data() + position_, record.end - position_);
                if (text.empty()) {  // a blank line
                    position_ = record.next;
                    line_ += record.line_count;
                    continue;
                }
                header.found = true;
                const size_t bad = utf8_valid_prefix(text);
                const size_t nul = text.find('\0');
                if (bad != text.size() || nul != std::string_view::npos) {
                    const bool is_nul = nul < bad;
                    return fail(ErrorCode::Corrupt,
                                fmt::format("{}: the header on line {} is not text: {} at byte {} "
                                            "of it (read as {})",
                                            name_, line_,
                                            is_nul ? "a NUL byte"
                                                   : fmt::format("no {} character",
                                                                 text_encoding_name(encoding_)),
                                            is_nul ? nul : bad, text_encoding_name(encoding_)),
                                "set the source's encoding option, or skip_lines if the header "
                                "stands further down");
                }
                if (record.stray_at != kNoPosition) {
                    return fail(
                        ErrorCode::Corrupt,
                        fmt::format("{}: the header on line {} has a stray quote at byte {} of it",
                                    name_, line_, record.stray_at - position_),
                        "correct the header, or set the quote options of the source to its "
                        "dialect");
                }
                if (record.field_count > static_cast<size_t>(options_.max_columns)) {
                    return fail(
                        ErrorCode::Corrupt,
                        fmt::format("{}: the header on line {} has {} columns; max_columns is {}",
                                    name_, line_, record.field_count, options_.max_columns),
                        "check the delimiter, or raise max_columns");
                }
                position_ = record.next;
                line_ += record.line_count;
                return header;
            }
        }
        const bool grown = PX_TRY(more());
        if (!grown) {
            return fail(
                ErrorCode::Corrupt,
                fmt::format("{}: the header on line {} is longer than max_record_bytes ({})", name_,
                            line_, options_.max_record_bytes));
        }
    }
}

Result<size_t> CsvFileReader::first_field_count() {
    size_t at = position_;
    for (;;) {
        if (at == feed_.size() && feed_.at_end()) return size_t{1};
        bool complete = at < feed_.size();
        if (complete && dialect_.has_comment && feed_.data()[at] == dialect_.comment) {
            const std::string_view text(feed_.data(), feed_.size());
            const size_t end = text.find_first_of("\r\n", at);
            if (end != std::string_view::npos) {
                at = end + 1;  // the LF of a CR LF then is a blank line
                continue;
            }
            if (feed_.at_end()) return size_t{1};
            complete = false;
        }
        if (complete) {
            const ScannedRecord record =
                scan_any_record(special_, feed_.data(), feed_.size(), feed_.at_end(), at, dialect_,
                                [](size_t, const RawField&) {});
            if (record.status == ScanStatus::Unterminated) {
                return unterminated(record.open_quote);
            }
            if (record.status == ScanStatus::Complete) {
                if (record.end != at) return record.field_count;
                at = record.next;
                continue;
            }
        }
        if (!PX_TRY(more())) return size_t{1};  // the record is too long: next() says so
        at = position_;
    }
}

Result<std::string> CsvFileReader::sniff_delimiter() {
    PX_TRY(start());
    double best = 0;
    std::string delimiter = ",";
    for (const std::string_view candidate : kSniffedDelimiters) {
        if (dialect_.has_quote && candidate[0] == dialect_.quote) continue;
        if (dialect_.has_escape && candidate[0] == dialect_.escape) continue;
        if (dialect_.has_comment && candidate[0] == dialect_.comment) continue;
        if (dialect_.trim && csv::is_blank(candidate[0])) continue;
        const double score = delimiter_score(kernel_, dialect_, candidate, feed_.data(),
                                             feed_.size(), feed_.at_end(), position_);
        if (score > best) {
            best = score;
            delimiter = std::string(candidate);
        }
    }
    return delimiter;
}

/// Reads the first block up to where the header stands.
Result<void> CsvFileReader::start() {
    PX_TRY(advance(0));
    if (feed_.size() == 0) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("{}: empty file, no {}", name_,
                                options_.header_lines > 0 ? "header" : "record"),
                    "remove the file, or write at least its header");
    }
    if (!binary_format_.empty()) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("{} is {}, not CSV text", name_, binary_format_),
                    "export it as CSV, or leave it out of the source's pattern");
    }
    for (int64_t i = 0; i < options_.skip_lines; ++i) PX_TRY(skip_physical_line());
    return {};
}

Result<void> CsvFileReader::read_header() {
    PX_TRY(start());
    if (options_.header_lines == 0) {
        columns_ = options_.column_names;
        if (!columns_.empty()) return {};
        const size_t count = PX_TRY(first_field_count());
        if (count > static_cast<size_t>(options_.max_columns)) {
            return fail(ErrorCode::Corrupt,
                        fmt::format("{}: the first record has {} fields; max_columns is {}", name_,
                                    count, options_.max_columns),
                        "check the delimiter, or raise max_columns");
        }
        for (size_t i = 0; i < count; ++i) columns_.push_back(fmt::format("column_{}", i + 1));
        return {};
    }
    for (int i = 0; i < options_.header_lines; ++i) {
        const HeaderRecord header = PX_TRY(header_record());
        if (!header.found) {
            return fail(ErrorCode::Corrupt,
                        fmt::format("{}: no header: the file ends on line {} after blank lines, "
                                    "comments or skipped lines",
                                    name_, line_),
                        "write the header, or set header_lines: 0");
        }
        columns_.resize(std::max(columns_.size(), header.fields.size()));
        for (size_t k = 0; k < header.fields.size(); ++k) {
            if (!columns_[k].empty() && !header.fields[k].empty()) columns_[k] += ' ';
            columns_[k] += header.fields[k];
        }
    }
    return {};
}

void CsvFileReader::reject_row(RecordBlock& block, size_t row, std::string rule,
                               std::string reason) {
    const size_t column_count = columns_.size();
    std::fill_n(block.fields.begin() + static_cast<std::ptrdiff_t>(row * column_count),
                column_count, RecordBlock::FieldValue{{}, false, false});
    block.malformed.push_back({row, std::move(rule), std::move(reason)});
}

void CsvFileReader::finish_odd_row(RecordBlock& block, size_t row, const ScannedRecord& record,
                                   std::string_view raw, size_t start) {
    const size_t column_count = columns_.size();
    RecordBlock::FieldValue* const fields = block.fields.data() + row * column_count;
    if (raw.size() > static_cast<size_t>(options_.max_record_bytes)) {
        reject_row(block, row, "too_long",
                   fmt::format("the record has {} bytes; max_record_bytes is {}", raw.size(),
                               options_.max_record_bytes));
        return;
    }
    if (record.stray_at != kNoPosition) {
        const size_t at = record.stray_at - start;
        reject_row(
            block, row, "quote",
            record.stray_after_close
                ? fmt::format("text after a closing quote, at byte {} of the record", at)
                : fmt::format("a quote inside a field that is not quoted, at byte {} of the record",
                              at));
        return;
    }
    if (record.field_count != column_count) {
        if (record.field_count > column_count || options_.ragged == RaggedRows::Reject) {
            reject_row(
                block, row, "field_count",
                fmt::format("{} fields; the header has {}", record.field_count, column_count));
            return;
        }
        std::fill(fields + record.field_count, fields + column_count,
                  RecordBlock::FieldValue{{}, false, false});
    }
    for (size_t i = 0; i < std::min(column_count, record.field_count); ++i) {
        const size_t size = fields[i].text.size();
        if (size > static_cast<size_t>(options_.max_field_bytes)) {
            reject_row(block, row, "too_long",
                       fmt::format("column {} has {} bytes; max_field_bytes is {}", columns_[i],
                                   size, options_.max_field_bytes));
            return;
        }
    }
}

void CsvFileReader::check_encoding(RecordBlock& block) {
    const size_t rejected_before = block.malformed.size();
    const char* const begin = block.raw.front().data();
    const std::string_view text(
        begin, static_cast<size_t>(block.raw.back().data() + block.raw.back().size() - begin));
    const auto check = [&](size_t first_row, auto find, const auto& describe) {
        size_t at = 0;
        size_t row = first_row;
        while (at < text.size()) {
            const size_t bad = find(text.substr(at));
            if (bad == std::string_view::npos || at + bad >= text.size()) return;
            const char* const place = begin + at + bad;
            while (row < block.raw.size() && block.raw[row].data() + block.raw[row].size() <= place)
                ++row;
            if (row == block.raw.size()) return;
            if (block.raw[row].data() > place) {  // in a line that was skipped
                at = static_cast<size_t>(block.raw[row].data() - begin);
                continue;
            }
            reject_row(block, row, "encoding",
                       describe(static_cast<size_t>(place - block.raw[row].data())));
            at = static_cast<size_t>(block.raw[row].data() + block.raw[row].size() - begin);
        }
    };
    if (special_.notes.has_non_ascii) {
        check(
            0, [](std::string_view rest) { return utf8_valid_prefix(rest); },
            [&](size_t at) {
                return fmt::format("no {} character at byte {} of the record",
                                   text_encoding_name(encoding_), at);
            });
    }
    if (special_.notes.has_nul) {
        check(
            0, [](std::string_view rest) { return rest.find('\0'); },
            [](size_t at) { return fmt::format("a NUL byte at byte {} of the record", at); });
    }
    if (block.malformed.size() == rejected_before) return;
    std::stable_sort(block.malformed.begin(), block.malformed.end(),
                     [](const auto& a, const auto& b) { return a.row_index < b.row_index; });
    block.malformed.erase(
        std::unique(block.malformed.begin(), block.malformed.end(),
                    [](const auto& a, const auto& b) { return a.row_index == b.row_index; }),
        block.malformed.end());
}

template <bool kPlain>
CsvFileReader::Stop CsvFileReader::scan_rows_of(RecordBlock& block) {
    const char* const data = feed_.data();
    const size_t size = feed_.size();
    const bool at_end = feed_.at_end();
    const int64_t offset = feed_.offset();
    const size_t column_count = columns_.size();
    const size_t row_max = row_limit();
    const size_t text_max = position_ + static_cast<size_t>(options_.block_bytes);
    TextStorage& storage = *feed_.storage();
    Stop stop = Stop::Full;
    size_t row = 0;
    while (row < row_max && position_ < text_max) {
        if constexpr (kPlain) {
            row += scan_ordinary_rows(block, row, row_max, text_max);
            if (row == row_max || position_ >= text_max) break;
        }
        // Whatever is not ordinary: one record at a time.
        if (position_ == size) {
            stop = at_end ? Stop::End : Stop::NeedMore;
            break;
        }
        if (dialect_.has_comment && data[position_] == dialect_.comment) {
            if (skip_comment()) continue;
            stop = Stop::NeedMore;
            break;
        }
        make_room(block, row, column_count);
        const ScannedRecord record =
            scan_record<kPlain>(special_, data, size, at_end, position_, dialect_,
                                field_taker(block, storage, row * column_count));
        if (record.status != ScanStatus::Complete) {
            open_quote_ = record.open_quote;
            stop = record.status == ScanStatus::NeedMore ? Stop::NeedMore : Stop::Unterminated;
            break;
        }
        const bool blank_line = record.end == position_ && column_count > 1;
        if (!blank_line) {
            finish_row(block, row, record, {data + position_, record.end - position_}, position_,
                       {line_, offset + static_cast<int64_t>(position_),
                        offset + static_cast<int64_t>(record.end)});
            ++row;
        }
        position_ = record.next;
        line_ += record.line_count;
    }
    block.positions.resize(row);
    block.raw.resize(row);
    block.fields.resize(row * column_count);
    return stop;
}

/// The loop that most files stay in: records of the right number of fields, quoted ones without
/// escapes. Stops before the first record that is anything else. Returns the rows added from
/// `first_row` on.
size_t CsvFileReader::scan_ordinary_rows(RecordBlock& block, size_t first_row, size_t row_max,
                                         size_t text_max) {
    const char* const data = feed_.data();
    const size_t size = feed_.size();
    const int64_t offset = feed_.offset();
    const size_t column_count = columns_.size();
    const char delimiter = dialect_.delimiter[0];
    const char quote = dialect_.quote;
    const bool has_quote = dialect_.has_quote;
    // A comment mark or a blank line makes a record odd by its first byte.
    const char odd_first = dialect_.has_comment ? dialect_.comment : '\n';
    SpecialBytes& special = special_;

    size_t row = first_row;
    size_t start = position_;
    int64_t line = line_;
    csv::SpecialCursor cursor = special.seek(start);
    while (row < row_max && start < text_max && start < size && data[start] != odd_first) {
        make_room(block, row, column_count);
        RecordBlock::FieldValue* out = block.fields.data() + row * column_count;
        RecordBlock::FieldValue* const last = out + column_count - 1;
        size_t field_start = start;
        int64_t line_count = 1;
        size_t end = kNoPosition;
        for (;;) {
            size_t at = next_special(special, cursor);
            if (at == kNoPosition) break;
            size_t from = field_start;
            size_t to = at;
            bool quoted = false;
            if (data[at] == quote && has_quote) {
                if (at != field_start) break;
                const size_t close = next_quote(special, cursor, at + 1, line_count);
                if (close == kNoPosition || close + 1 == size) break;
                from = at + 1;
                to = close;
                quoted = true;
                // What follows is a delimiter or a line end, else the field is no ordinary one.
                at = close + 1;
                if (next_special(special, cursor) != at) break;
            }
            const char byte = data[at];
            if (byte == delimiter) {
                if (out == last) break;
                *out++ = {{data + from, to - from}, true, quoted};
                field_start = at + 1;
                continue;
            }
            if (out != last) break;
            if (byte == '\n') {
                end = at;
                *out = {{data + from, to - from}, true, quoted};
                field_start = at + 1;
            } else if (byte == '\r' && at + 1 < size && data[at + 1] == '\n') {
                end = at;
                *out = {{data + from, to - from}, true, quoted};
                if (next_special(special, cursor) != at + 1) return row - first_row;
                field_start = at + 2;
            }
            break;
        }
        if (end == kNoPosition || end - start > ordinary_bytes_ ||
            (end == start && column_count > 1))
            break;
        block.positions[row] = {line, offset + static_cast<int64_t>(start),
                                offset + static_cast<int64_t>(end)};
        block.raw[row] = {data + start, end - start};
        line += line_count;
        start = field_start;
        ++row;
        position_ = start;
        line_ = line;
    }
    return row - first_row;
}

Result<bool> CsvFileReader::next(RecordBlock& block, const Deadline& deadline) {
    block.column_count = columns_.size();
    block.readable = true;
    block.malformed.clear();
    block.storage.reset();
    for (;;) {
        PX_TRY(deadline.check());
        attach();  // notes start anew: they say whether this block's encoding needs a check
        const Stop stop = scan_rows(block);
        if (!block.positions.empty()) {
            block.storage = feed_.storage();
            if (special_.notes.has_non_ascii || special_.notes.has_nul) check_encoding(block);
            return true;
        }
        if (stop == Stop::Full) continue;  // only comments and blank lines so far
        if (stop == Stop::End) return false;
        if (stop == Stop::Unterminated) return unterminated(open_quote_);
        const bool grown = PX_TRY(more());
        if (!grown) {
            PX_TRY(skip_long_record(block, deadline));
            return true;
        }
    }
}

/// Finds the cut by telling what is quoted from the number of quotes before it. That is sound as
/// long as each quote that opens a field stands at the field's start, which is checked on the way;
/// false: it is not so.
bool CsvFileReader::cut_by_quotes(Cut& cut) {
    const char* const data = feed_.data();
    const size_t size = feed_.size();
    constexpr size_t kWindow = 128;
    csv::ChunkMask masks[kWindow];
    csv::ScanNotes notes;
    const csv::ScanSet set = dialect_.scan_set();
    uint64_t quoted_before = 0;   // all ones: the chunk begins inside quotes
    uint64_t special_before = 1;  // the byte before the chunk may have a quote behind it
    int64_t lines = 0;
    for (size_t base = position_; base < size;) {
        const size_t count =
            std::min(kWindow, (size - base + csv::kChunkBytes - 1) / csv::kChunkBytes);
        kernel_.classify(data + base, count, set, masks, notes);
        for (size_t i = 0; i < count; ++i, base += csv::kChunkBytes) {
            csv::ChunkMask& mask = masks[i];
            if (size - base < csv::kChunkBytes) {
                const uint64_t inside = (uint64_t{1} << (size - base)) - 1;
                mask.special &= inside;
                mask.quote &= inside;
                mask.line_end &= inside;
            }
            uint64_t ends = mask.line_end;
            if (dialect_.has_quote) {
                uint64_t quoted = mask.quote;
                quoted ^= quoted << 1;
                quoted ^= quoted << 2;
                quoted ^= quoted << 4;
                quoted ^= quoted << 8;
                quoted ^= quoted << 16;
                quoted ^= quoted << 32;
                quoted ^= quoted_before;
                const uint64_t opening = mask.quote & quoted;
                if ((opening & ~(mask.special << 1 | special_before)) != 0) return false;
                quoted_before = uint64_t{0} - (quoted >> 63);
                special_before = mask.special >> 63;
                ends &= ~quoted;
            }
            // A CR as the last byte at hand may belong to a CR LF.
            if (ends != 0 && base + csv::kChunkBytes >= size && data[size - 1] == '\r')
                ends &= ~(uint64_t{1} << (size - 1 - base));
            if (ends != 0) {
                const auto last = static_cast<unsigned>(63 - std::countl_zero(ends));
                cut.end = base + last + 1;
                cut.line_count =
                    lines + std::popcount(mask.line_end & (~uint64_t{0} >> (63 - last)));
            }
            lines += std::popcount(mask.line_end);
        }
    }
    return true;
}

CsvFileReader::Cut CsvFileReader::cut_by_records() {
    const size_t begin = position_;
    const int64_t first_line = line_;
    for (;;) {
        if (position_ == feed_.size()) break;
        if (dialect_.has_comment && feed_.data()[position_] == dialect_.comment) {
            if (!skip_comment()) break;
            continue;
        }
        const ScannedRecord record =
            scan_any_record(special_, feed_.data(), feed_.size(), feed_.at_end(), position_,
                            dialect_, [](size_t, const RawField&) {});
        if (record.status != ScanStatus::Complete) break;
        position_ = record.next;
        line_ += record.line_count;
    }
    const Cut cut{position_, line_ - first_line};
    position_ = begin;
    line_ = first_line;
    return cut;
}

Result<bool> CsvFileReader::next_slab(CsvSlab& slab, const Deadline& deadline) {
    slab.too_long.reset();
    slab.storage.reset();
    PX_TRY(deadline.check());
    if (position_ > 0) {
        PX_TRY(advance(position_));
    } else {
        attach();  // what follows a record that was skipped
    }
    for (;;) {
        Cut cut{position_, 0};
        if (feed_.at_end()) {
            if (position_ == feed_.size()) return false;
            cut = {feed_.size(), 0};
        } else if (!dialect_.is_plain() || dialect_.has_comment || !cut_by_quotes(cut)) {
            cut = cut_by_records();
        }
        if (cut.end > position_) {
            slab.storage = feed_.storage();
            slab.begin = position_;
            slab.size_bytes = cut.end - position_;
            slab.offset = feed_.offset() + static_cast<int64_t>(position_);
            slab.line = line_;
            position_ = cut.end;
            line_ += cut.line_count;
            return true;
        }
        PX_TRY(deadline.check());
        const bool grown = PX_TRY(more());
        if (!grown) {
            slab.too_long.emplace();
            slab.too_long->column_count = columns_.size();
            PX_TRY(skip_long_record(*slab.too_long, deadline));
            return true;
        }
    }
}

Result<void> CsvFileReader::skip_long_record(RecordBlock& block, const Deadline& deadline) {
    enum class State { FieldStart, Plain, Quoted, QuoteSeen, Closed };
    const RecordPosition start{line_, feed_.offset(), 0};
    // In storage of its own: the block's is read into again while the record is passed over, and
    // may be by the next record.
    const size_t kept = std::min(feed_.size(), kLongRecordRawBytes);
    auto storage = std::make_shared<TextStorage>(kept);
    std::memcpy(storage->data(), feed_.data(), kept);

    State state = State::FieldStart;
    int64_t open_line = line_;
    bool literal = false;   // the escape before takes this byte's meaning
    bool after_cr = false;  // the last byte was a CR that belongs to the record
    std::string recent;     // last bytes since the field began, as many as the delimiter has
    const std::string& delimiter = dialect_.delimiter;
    size_t i = position_;
    bool ended = false;
    while (!ended) {
        if (i == feed_.size()) {
            if (feed_.at_end()) break;
            PX_TRY(deadline.check());
            PX_TRY(feed_.discard());
            i = 0;
            continue;
        }
        const char byte = feed_.data()[i];
        const bool ends_cr_lf = after_cr && byte == '\n';  // its CR counted the line
        after_cr = false;
        if (literal || state == State::Quoted) {
            if (byte == '\r' || (byte == '\n' && !ends_cr_lf)) ++line_;
            after_cr = byte == '\r';
        }
        if (literal || ends_cr_lf) {
            literal = false;
            ++i;
            continue;
        }
        if (state == State::QuoteSeen) {
            if (byte == dialect_.quote) {
                state = State::Quoted;
                ++i;
                continue;
            }
            state = State::Closed;
        }
        if (state == State::Quoted) {
            if (dialect_.has_escape && byte == dialect_.escape) {
                literal = true;
            } else if (byte == dialect_.quote) {
                state = dialect_.has_escape ? State::Closed : State::QuoteSeen;
                recent.clear();
            }
            ++i;
            continue;
        }
        if (byte == '\n' || byte == '\r') {
            ended = true;
            continue;
        }
        if (dialect_.has_escape && byte == dialect_.escape && state != State::Closed) {
            literal = true;
            state = State::Plain;
            recent.clear();
            ++i;
            continue;
        }
        if (state == State::FieldStart && dialect_.has_quote && byte == dialect_.quote) {
            state = State::Quoted;
            open_line = line_;
            ++i;
            continue;
        }
        if (state == State::FieldStart && !(dialect_.trim && csv::is_blank(byte)))
            state = State::Plain;
        if (recent.size() == delimiter.size()) recent.erase(0, 1);
        recent.push_back(byte);
        if (recent == delimiter) {
            state = State::FieldStart;
            recent.clear();
        }
        ++i;
    }
    if (!ended && state == State::Quoted) return unterminated_on(open_line);

    RecordPosition place = start;
    place.byte_end = feed_.offset() + static_cast<int64_t>(i);
    if (ended) {
        const bool is_cr = feed_.data()[i] == '\r';
        ++i;
        ++line_;
        if (is_cr && i == feed_.size() && !feed_.at_end()) {
            PX_TRY(feed_.discard());
            i = 0;
        }
        if (is_cr && i < feed_.size() && feed_.data()[i] == '\n') ++i;
    }
    position_ = i;
    block.fields.resize(columns_.size());
    block.positions.assign(1, place);
    block.raw.assign(1, {storage->data(), kept});
    block.storage = std::move(storage);
    reject_row(
        block, 0, "too_long",
        fmt::format("the record has {} bytes; max_record_bytes is {} (raw holds its first {})",
                    place.byte_end - place.byte_start, options_.max_record_bytes, kept));
    return {};
}

Result<void> CsvFileReader::parse_one(std::string_view record, int64_t byte_start, int64_t line,
                                      RecordBlock& block) {
    auto storage = std::make_shared<TextStorage>(record.size());
    std::memcpy(storage->data(), record.data(), record.size());
    std::memset(storage->data() + record.size(), ' ', TextStorage::kPadding);
    block.column_count = columns_.size();
    block.positions.assign(1, {});
    block.raw.assign(1, {});
    block.malformed.clear();
    block.fields.assign(columns_.size(), {});
    block.readable = true;
    block.storage = storage;

    special_.attach(storage->data(), record.size());
    const ScannedRecord scanned = scan_any_record(special_, storage->data(), record.size(), true, 0,
                                                  dialect_, field_taker(block, *storage, 0));
    if (scanned.status != ScanStatus::Complete || scanned.next != record.size()) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("{}: bytes {} to {} do not hold exactly one record", name_,
                                byte_start, byte_start + static_cast<int64_t>(record.size())),
                    "the byte range does not belong to this file or this dialect");
    }
    finish_row(block, 0, scanned, {storage->data(), record.size()}, 0,
               {line, byte_start, byte_start + static_cast<int64_t>(record.size())});
    if (special_.notes.has_non_ascii || special_.notes.has_nul) check_encoding(block);
    return {};
}

}  // namespace

Result<void> CsvOptions::validate() const {
    const auto is_newline = [](char c) { return c == '\n' || c == '\r' || c == '\0'; };
    if (delimiter) {
        if (delimiter->empty() || delimiter->size() > 16)
            return bad_option("delimiter", "it must have 1 to 16 bytes");
        for (const char c : *delimiter) {
            if (is_newline(c)) return bad_option("delimiter", "it must not hold a line end or NUL");
            if (quote && c == *quote) {
                return bad_option("delimiter", fmt::format("\"{}\" holds the quote character",
                                                           printable(*delimiter)));
            }
            if (escape && c == *escape) {
                return bad_option("delimiter", fmt::format("\"{}\" holds the escape character",
                                                           printable(*delimiter)));
            }
        }
    }
    if (quote && is_newline(*quote)) return bad_option("quote", "it must not be a line end or NUL");
    if (escape && is_newline(*escape))
        return bad_option("escape", "it must not be a line end or NUL");
    if (comment) {
        if (is_newline(*comment)) return bad_option("comment", "it must not be a line end or NUL");
        if ((quote && *comment == *quote) || (delimiter && *comment == (*delimiter)[0])) {
            return bad_option("comment", "it must differ from the quote and the delimiter");
        }
    }
    if (trim && delimiter && csv::is_blank((*delimiter)[0])) {
        return bad_option("trim", "it cannot be used with a delimiter of spaces or tabs");
    }
    for (const auto& [name, value] :
         {std::pair{"skip_lines", skip_lines}, {"header_lines", int64_t{header_lines}}}) {
        if (value < 0 || value > 1'000'000)
            return bad_option(name, fmt::format("{} is not in 0 to 1000000", value));
    }
    if (!column_names.empty() && header_lines != 0) {
        return bad_option("column_names",
                          "they are for files without a header: set header_lines: 0");
    }
    for (const auto& [name, value, least] :
         {std::tuple{"max_field_bytes", max_field_bytes, int64_t{1}},
          {"max_record_bytes", max_record_bytes, 1},
          {"max_columns", max_columns, 1},
          {"block_bytes", block_bytes, 64},
          {"block_rows", block_rows, 1}}) {
        if (value < least || value > (int64_t{1} << 40)) {
            return bad_option(name, fmt::format("{} is not in {} to 2^40", value, least));
        }
    }
    return {};
}

Result<std::unique_ptr<CsvReader>> open_csv(const std::filesystem::path& path,
                                            const CsvOptions& options) {
    PX_TRY(options.validate());
    CsvOptions dialect = options;
    if (!options.delimiter) {
        // The sample has its own size, so that what is sniffed does not depend on blocks.
        CsvOptions sampling = options;
        sampling.block_bytes = kSniffBytes;
        sampling.max_record_bytes = std::max<int64_t>(options.max_record_bytes, kSniffBytes);
        CsvFileReader sampler(path.string(), sampling, PX_TRY(open_text(path, options.encoding)));
        dialect.delimiter = PX_TRY(sampler.sniff_delimiter());
    }
    auto reader = std::make_unique<CsvFileReader>(path.string(), dialect,
                                                  PX_TRY(open_text(path, options.encoding)));
    PX_TRY(reader->read_header());
    return std::unique_ptr<CsvReader>(std::move(reader));
}

namespace {

/// A number or a day: what a header hardly names a column.
bool looks_like_data(std::string_view cell) {
    while (!cell.empty() && cell.front() == ' ') cell.remove_prefix(1);
    while (!cell.empty() && cell.back() == ' ') cell.remove_suffix(1);
    // 2026-11-23, 23.11.2026, 2026-11-23T08:00:00Z, -1.50, 1,234
    const bool edges =
        !cell.empty() &&
        (cell.back() == 'Z' || std::isdigit(static_cast<unsigned char>(cell.back())) != 0);
    return edges &&
           std::any_of(cell.begin(), cell.end(),
                       [](unsigned char c) { return std::isdigit(c) != 0; }) &&
           cell.find_first_not_of("0123456789+-.,:/TZ ") == std::string_view::npos;
}

}  // namespace

std::string header_hint(const std::vector<std::string>& columns, const CsvOptions& options) {
    if (columns.size() == 1) {
        std::string_view best;
        std::ptrdiff_t most = 0;
        for (const std::string_view candidate : {";", "\t", "|", ","}) {
            const auto count = std::count(columns[0].begin(), columns[0].end(), candidate[0]);
            if (candidate != options.delimiter && count > most) {
                best = candidate;
                most = count;
            }
        }
        if (!best.empty()) {
            const std::string_view name = best == "\t" ? "tab" : best;
            return fmt::format(
                "The file looks '{}'-separated: set delimiter: \"{}\" for the source "
                "(csv: {{path: …, delimiter: \"{}\"}})",
                name, name, name);
        }
    }
    if (options.header_lines > 0 && std::any_of(columns.begin(), columns.end(), looks_like_data)) {
        return "Has the file no header line? Then set columns: [the names, in order], or header: "
               "false, for the source (csv: {path: …, columns: […]})";
    }
    return {};
}

}  // namespace px::source
