#include "source/open.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "source/byte_stream.h"

namespace px::source {

namespace {

FoundRecord found_record(const std::vector<std::string>& columns, const RecordBlock& block,
                         size_t row) {
    FoundRecord found;
    found.columns = columns;
    found.raw = std::string(block.raw[row]);
    found.position = block.positions[row];
    for (size_t column = 0; column < block.column_count; ++column) {
        const RecordBlock::FieldValue& field = block.fields[row * block.column_count + column];
        if (field.present) {
            found.fields.emplace_back(std::string(field.text));
        } else {
            found.fields.emplace_back(std::nullopt);
        }
    }
    for (const auto& malformed : block.malformed) {
        if (malformed.row_index == row) {
            found.malformed = malformed;
            found.malformed->row_index = 0;
        }
    }
    return found;
}

Error no_record(const std::filesystem::path& path, const RecordPosition& position) {
    return fail(ErrorCode::NotFound,
                fmt::format("{} has no record on line {} at bytes {} to {}", path.string(),
                            position.line, position.byte_start, position.byte_end),
                "the position belongs to another file, or to other options of the source");
}

/// Parses the bytes of a record at their place in the file.
template <class Reader>
Result<FoundRecord> read_raw(Reader& reader, const std::filesystem::path& path,
                             const RecordPosition& position) {
    OpenedBytes bytes = PX_TRY(open_bytes(path, position.byte_start));
    std::string text(static_cast<size_t>(position.byte_end - position.byte_start), '\0');
    const size_t got = PX_TRY(bytes.stream->read(text.data(), text.size()));
    if (got != text.size()) return no_record(path, position);
    RecordBlock block;
    PX_TRY(reader.parse_one(text, position.byte_start, position.line, block));
    return found_record(reader.columns(), block, 0);
}

Result<FoundRecord> read_by_scan(RecordReader& reader, const std::filesystem::path& path,
                                 const RecordPosition& position, const Deadline& deadline) {
    RecordBlock block;
    while (PX_TRY(reader.next(block, deadline))) {
        if (block.positions.back().line < position.line) continue;
        for (size_t row = 0; row < block.row_count(); ++row) {
            const RecordPosition& at = block.positions[row];
            if (at.line == position.line && at.byte_start == position.byte_start &&
                at.byte_end == position.byte_end) {
                return found_record(reader.columns(), block, row);
            }
        }
        break;
    }
    return no_record(path, position);
}

}  // namespace

std::string_view source_format_name(SourceFormat format) {
    switch (format) {
        case SourceFormat::Csv:
            return "csv";
        case SourceFormat::JsonLines:
            return "jsonl";
        case SourceFormat::Parquet:
            return "parquet";
    }
    return "csv";
}

std::optional<SourceFormat> format_of(const std::filesystem::path& path) {
    const auto extension_of = [](const std::filesystem::path& name) {
        std::string extension = name.extension().string();
        std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) {
            return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
        });
        return extension;
    };
    std::string extension = extension_of(path);
    if (extension == ".gz" || extension == ".zst") extension = extension_of(path.stem());
    for (const std::string_view known : {".csv", ".tsv", ".tab", ".psv", ".txt"}) {
        if (extension == known) return SourceFormat::Csv;
    }
    for (const std::string_view known : {".jsonl", ".ndjson", ".json"}) {
        if (extension == known) return SourceFormat::JsonLines;
    }
    if (extension == ".parquet" || extension == ".pq") return SourceFormat::Parquet;
    return std::nullopt;
}

Result<std::unique_ptr<RecordReader>> open_records(const std::filesystem::path& path,
                                                   SourceFormat format,
                                                   const RecordOptions& options) {
    switch (format) {
        case SourceFormat::Csv:
            return std::unique_ptr<RecordReader>(PX_TRY(open_csv(path, options.csv)));
        case SourceFormat::JsonLines:
            return std::unique_ptr<RecordReader>(PX_TRY(open_jsonl(path, options.jsonl)));
        case SourceFormat::Parquet:
            return std::unique_ptr<RecordReader>(PX_TRY(open_parquet(path, options.parquet)));
    }
    return fail(ErrorCode::Internal, "unknown source format");
}

Result<FoundRecord> read_record_at(const std::filesystem::path& path, SourceFormat format,
                                   const RecordOptions& options, const RecordPosition& position,
                                   const Deadline& deadline) {
    const int64_t size = position.byte_end - position.byte_start;
    if (position.byte_start < 0 || size < 0) return no_record(path, position);
    switch (format) {
        case SourceFormat::Csv: {
            const auto reader = PX_TRY(open_csv(path, options.csv));
            // A record above the limit is told as too long only by reading on to its end.
            if (reader->offsets_are_raw() && size <= options.csv.max_record_bytes) {
                return read_raw(*reader, path, position);
            }
            return read_by_scan(*reader, path, position, deadline);
        }
        case SourceFormat::JsonLines: {
            const auto reader = PX_TRY(open_jsonl(path, options.jsonl));
            if (reader->offsets_are_raw() && size <= options.jsonl.max_record_bytes) {
                return read_raw(*reader, path, position);
            }
            return read_by_scan(*reader, path, position, deadline);
        }
        case SourceFormat::Parquet: {
            const auto reader = PX_TRY(open_parquet(path, options.parquet, position.line - 1));
            return read_by_scan(*reader, path, position, deadline);
        }
    }
    return fail(ErrorCode::Internal, "unknown source format");
}

}  // namespace px::source
