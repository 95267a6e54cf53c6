// Records written down for comparison, and options read from a case file. For tests and test tools
// only.
#pragma once

#include <boost/json.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "source/csv/csv_reader.h"
#include "source/jsonl/jsonl_reader.h"
#include "source/record.h"

namespace px::source::testing {

/// Reads a CSV file as its slabs, one after another, each with a reader of its own.
class SlabbedReader final : public RecordReader {
  public:
    SlabbedReader(std::unique_ptr<CsvReader> file, const CsvOptions& options)
        : file_(std::move(file)), options_(options) {}
    const std::vector<std::string>& columns() const override { return file_->columns(); }
    bool offsets_are_raw() const override { return file_->offsets_are_raw(); }
    int64_t bytes_read() const override { return file_->bytes_read(); }
    Result<bool> next(RecordBlock& block, const Deadline& deadline) override {
        for (;;) {
            if (reader_) {
                if (PX_TRY(reader_->next(block, deadline))) return true;
                reader_.reset();
            }
            CsvSlab slab;
            if (!PX_TRY(file_->next_slab(slab, deadline))) return false;
            if (slab.too_long) {
                block = *std::move(slab.too_long);
                return true;
            }
            reader_ = file_->read_slab(slab, options_.block_bytes, options_.block_rows);
        }
    }

  private:
    std::unique_ptr<CsvReader> file_;
    CsvOptions options_;
    std::unique_ptr<RecordReader> reader_;
};

/// Everything a reader said, owned.
struct ReadRecords {
    struct Record {
        std::vector<std::optional<std::string>> fields;
        std::vector<bool> quoted;
        RecordPosition position;
        std::string raw;
        std::string rule;  ///< of a malformed record, else empty
        std::string reason;
        bool operator==(const Record& other) const {
            return fields == other.fields && quoted == other.quoted &&
                   position.line == other.position.line &&
                   position.byte_start == other.position.byte_start &&
                   position.byte_end == other.position.byte_end && raw == other.raw &&
                   rule == other.rule && reason == other.reason;
        }
    };
    std::vector<std::string> columns;
    std::vector<Record> records;
    std::optional<Error> error;  ///< that ended the reading
};

/// Reads to the end or the first error. Two blocks are used in turn, so that a block which does not
/// outlive the next one shows.
inline ReadRecords read_all(RecordReader& reader) {
    ReadRecords all;
    all.columns = reader.columns();
    RecordBlock blocks[2];
    const auto take = [&](const RecordBlock& block) {
        size_t malformed = 0;
        for (size_t row = 0; row < block.row_count(); ++row) {
            ReadRecords::Record record;
            for (size_t column = 0; column < block.column_count; ++column) {
                const auto& field = block.fields[row * block.column_count + column];
                record.fields.push_back(field.present ? std::optional(std::string(field.text))
                                                      : std::nullopt);
                record.quoted.push_back(field.quoted);
            }
            record.position = block.positions[row];
            record.raw = std::string(block.raw[row]);
            if (malformed < block.malformed.size() && block.malformed[malformed].row_index == row) {
                record.rule = block.malformed[malformed].rule;
                record.reason = block.malformed[malformed].reason;
                ++malformed;
            }
            all.records.push_back(std::move(record));
        }
    };
    const Deadline deadline = Deadline::never();
    bool waiting = false;
    for (size_t i = 0;; ++i) {
        auto more = reader.next(blocks[i % 2], deadline);
        if (waiting) take(blocks[(i + 1) % 2]);
        waiting = more && *more;
        if (!more) {
            all.error = std::move(more).error();
            return all;
        }
        if (!*more) return all;
    }
}

inline CsvOptions csv_options_from(const boost::json::object& json) {
    CsvOptions options;
    const auto character = [&](const char* name, std::optional<char>& out) {
        const auto* value = json.if_contains(name);
        if (value == nullptr) return;
        out = value->is_string() && !value->as_string().empty()
                  ? std::optional<char>(value->as_string()[0])
                  : std::nullopt;
    };
    if (const auto* value = json.if_contains("delimiter")) {
        options.delimiter =
            value->is_string() ? std::optional(std::string(value->as_string())) : std::nullopt;
    }
    character("quote", options.quote);
    character("escape", options.escape);
    character("comment", options.comment);
    if (const auto* value = json.if_contains("skip_lines")) options.skip_lines = value->as_int64();
    if (const auto* value = json.if_contains("header_lines"))
        options.header_lines = static_cast<int>(value->as_int64());
    if (const auto* value = json.if_contains("column_names")) {
        for (const auto& name : value->as_array())
            options.column_names.emplace_back(name.as_string());
    }
    if (const auto* value = json.if_contains("encoding")) {
        const auto encoding = parse_text_encoding(std::string(value->as_string()));
        if (encoding) options.encoding = *encoding;
    }
    if (json.contains("pad_short")) options.ragged = RaggedRows::PadShort;
    if (json.contains("keep_stray_quotes")) options.stray_quotes = StrayQuotes::Keep;
    if (json.contains("trim")) options.trim = true;
    if (const auto* value = json.if_contains("max_field_bytes"))
        options.max_field_bytes = value->as_int64();
    if (const auto* value = json.if_contains("max_record_bytes"))
        options.max_record_bytes = value->as_int64();
    if (const auto* value = json.if_contains("max_columns"))
        options.max_columns = value->as_int64();
    if (const auto* value = json.if_contains("block_bytes"))
        options.block_bytes = value->as_int64();
    if (const auto* value = json.if_contains("block_rows")) options.block_rows = value->as_int64();
    return options;
}

inline JsonlOptions jsonl_options_from(const boost::json::object& json) {
    JsonlOptions options;
    if (const auto* value = json.if_contains("sample_records"))
        options.sample_records = value->as_int64();
    if (const auto* value = json.if_contains("max_field_bytes"))
        options.max_field_bytes = value->as_int64();
    if (const auto* value = json.if_contains("max_record_bytes"))
        options.max_record_bytes = value->as_int64();
    if (const auto* value = json.if_contains("max_columns"))
        options.max_columns = value->as_int64();
    if (const auto* value = json.if_contains("block_bytes"))
        options.block_bytes = value->as_int64();
    if (const auto* value = json.if_contains("column_names")) {
        for (const auto& name : value->as_array())
            options.column_names.emplace_back(name.as_string());
    }
    return options;
}

/// {"columns":[…],"rows":[…]}: a row is the array of its fields (null: absent), a malformed one its
/// rule; with positions, "at" holds [line, byte_start, byte_end] of each.
inline boost::json::object as_json(const ReadRecords& read) {
    boost::json::object json;
    boost::json::array columns(read.columns.begin(), read.columns.end());
    boost::json::array rows;
    boost::json::array places;
    for (const auto& record : read.records) {
        if (!record.rule.empty()) {
            rows.emplace_back(record.rule);
        } else {
            boost::json::array fields;
            for (const auto& field : record.fields) {
                if (field) {
                    fields.emplace_back(*field);
                } else {
                    fields.emplace_back(nullptr);
                }
            }
            rows.push_back(std::move(fields));
        }
        places.push_back(boost::json::array{record.position.line, record.position.byte_start,
                                            record.position.byte_end});
    }
    json["columns"] = std::move(columns);
    json["rows"] = std::move(rows);
    json["at"] = std::move(places);
    if (read.error) json["error"] = read.error->message;
    return json;
}

}  // namespace px::source::testing
