#include "source/parquet/parquet_reader.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "capi/duckdb/duckdb_handle.h"
#include "source/byte_stream.h"

namespace px::source {

namespace {

using duckdb::TypeId;

/// The SQL that makes a column's value the text of the contract's grammar, or one that
/// append_text() prints so.
std::string projection(const duckdb::Column& column) {
    const std::string name = duckdb::quote_identifier(column.name);
    const std::string iso = "'%Y-%m-%dT%H:%M:%S.%fZ'";
    switch (column.type.id) {
        case TypeId::Timestamp:
        case TypeId::TimestampS:
        case TypeId::TimestampMs:
            return fmt::format("strftime({}::TIMESTAMP, {})", name, iso);
        case TypeId::TimestampTz:
            // Of the instant, whatever the session's time zone is.
            return fmt::format("strftime(make_timestamp(epoch_us({})), {})", name, iso);
        case TypeId::TimestampNs:
            return fmt::format(
                "regexp_replace(strftime({}, '%Y-%m-%dT%H:%M:%S.%n'), '000$', '') || 'Z'", name);
        case TypeId::Blob:
            return fmt::format("to_base64({})", name);
        case TypeId::List:
        case TypeId::Struct:
        case TypeId::Map:
        case TypeId::Array:
        case TypeId::Union:
        case TypeId::Variant:
            return fmt::format("to_json({})::VARCHAR", name);
        case TypeId::Boolean:
        case TypeId::TinyInt:
        case TypeId::SmallInt:
        case TypeId::Integer:
        case TypeId::BigInt:
        case TypeId::UTinyInt:
        case TypeId::USmallInt:
        case TypeId::UInteger:
        case TypeId::UBigInt:
        case TypeId::HugeInt:
        case TypeId::UHugeInt:
        case TypeId::Float:
        case TypeId::Double:
        case TypeId::Decimal:
        case TypeId::Date:
        case TypeId::Varchar:
            return name;
        default:
            return fmt::format("{}::VARCHAR", name);
    }
}

void append_json_string(std::string_view text, std::string& out) {
    out += '"';
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte >= 0x20) {
            out += c;
        } else {
            out += fmt::format("\\u{:04x}", byte);
        }
    }
    out += '"';
}

class ParquetFileReader final : public RecordReader {
  public:
    ParquetFileReader(std::string name, const ParquetOptions& options, int64_t file_bytes,
                      int64_t first_row, duckdb::Database database, duckdb::Connection connection)
        : name_(std::move(name)),
          options_(options),
          file_bytes_(file_bytes),
          next_row_(first_row),
          database_(std::move(database)),
          connection_(std::move(connection)) {}

    Result<void> start() {
        const std::string glob = PX_TRY(duckdb::glob_of(name_));
        const std::string file =
            fmt::format("read_parquet({}, hive_partitioning = false)", duckdb::quote_literal(glob));
        std::string select;
        {
            const auto described = connection_.query(fmt::format("SELECT * FROM {} LIMIT 0", file));
            if (!described) return unreadable(described.error());
            for (const duckdb::Column& column : described->columns()) {
                columns_.push_back(column.name);
                if (!select.empty()) select += ", ";
                select += projection(column);
            }
        }
        auto counted = connection_.query(fmt::format("SELECT count(*) FROM {}", file));
        if (!counted) return unreadable(counted.error());
        const auto count = counted->read_text();
        if (!count) return unreadable(count.error());
        row_count_ = std::strtoll(count->at(0).at(0).value_or("0").c_str(), nullptr, 10);
        auto rows =
            connection_.stream(fmt::format("SELECT {} FROM {} OFFSET {}", select, file, next_row_));
        if (!rows) return unreadable(rows.error());
        rows_.emplace(std::move(*rows));
        return {};
    }

    const std::vector<std::string>& columns() const override { return columns_; }
    bool offsets_are_raw() const override { return false; }
    int64_t bytes_read() const override {
        // DuckDB reads ahead and by column: told by the share of rows.
        if (row_count_ <= 0) return file_bytes_;
        const double share = static_cast<double>(next_row_) / static_cast<double>(row_count_);
        return static_cast<int64_t>(share * static_cast<double>(file_bytes_));
    }

    Result<bool> next(RecordBlock& block, const Deadline& deadline) override {
        PX_TRY(deadline.check());
        const size_t column_count = columns_.size();
        block.column_count = column_count;
        block.readable = false;
        block.malformed.clear();
        block.storage.reset();
        block.positions.clear();
        block.raw.clear();
        block.fields.clear();
        auto fetched = rows_->next();
        if (!fetched) return unreadable(fetched.error());
        if (!*fetched) return false;
        const duckdb::Chunk& chunk = **fetched;
        const auto row_count = static_cast<size_t>(chunk.row_count());

        // All texts go into one string; views are made when it grows no more.
        const auto text = std::make_shared<std::string>();
        struct Span {
            size_t begin = 0;
            size_t end = 0;
            bool present = false;
        };
        std::vector<Span> spans(row_count * column_count);
        for (size_t column = 0; column < column_count; ++column) {
            const duckdb::ColumnView view = chunk.column(column);
            const bool is_text = view.type().id == TypeId::Varchar;
            for (size_t row = 0; row < row_count; ++row) {
                if (view.is_null(row)) continue;
                Span& span = spans[row * column_count + column];
                span.begin = text->size();
                if (is_text) {
                    text->append(view.bytes_at(row));
                } else {
                    PX_TRY(view.append_text(row, *text)
                               .context(fmt::format("column {}", columns_[column])));
                }
                span.end = text->size();
                span.present = true;
            }
        }
        std::vector<Span> raw(row_count);
        std::string value;
        for (size_t row = 0; row < row_count; ++row) {
            raw[row].begin = text->size();
            for (size_t column = 0; column < column_count; ++column) {
                const Span& span = spans[row * column_count + column];
                *text += column == 0 ? '{' : ',';
                append_json_string(columns_[column], *text);
                *text += ':';
                if (span.present) {
                    value.assign(*text, span.begin, span.end - span.begin);
                    append_json_string(value, *text);
                } else {
                    *text += "null";
                }
            }
            *text += column_count == 0 ? "{}" : "}";
            raw[row].end = text->size();
        }
        const auto view_of = [&](const Span& span) {
            return std::string_view(text->data() + span.begin, span.end - span.begin);
        };
        block.fields.resize(spans.size());
        for (size_t i = 0; i < spans.size(); ++i) {
            if (spans[i].present) {
                block.fields[i].text = view_of(spans[i]);
            } else {
                block.fields[i].present = false;
            }
        }
        for (size_t row = 0; row < row_count; ++row) {
            block.positions.push_back({++next_row_, 0, file_bytes_});
            block.raw.push_back(view_of(raw[row]));
            check_row(block, row);
        }
        block.storage = text;
        return true;
    }

  private:
    void check_row(RecordBlock& block, size_t row) {
        auto* const fields = block.fields.data() + row * columns_.size();
        for (size_t column = 0; column < columns_.size(); ++column) {
            const std::string_view text = fields[column].text;
            std::string rule;
            std::string reason;
            if (text.size() > static_cast<size_t>(options_.max_field_bytes)) {
                rule = "too_long";
                reason = fmt::format("column {} has {} bytes; max_field_bytes is {}",
                                     columns_[column], text.size(), options_.max_field_bytes);
            } else if (text.find('\0') != std::string_view::npos) {
                rule = "encoding";
                reason = fmt::format("a NUL character in column {}", columns_[column]);
            } else {
                continue;
            }
            std::fill_n(fields, columns_.size(), RecordBlock::FieldValue{{}, false, false});
            block.malformed.push_back({row, std::move(rule), std::move(reason)});
            return;
        }
    }
    Error unreadable(const Error& error) const {
        if (error.code == ErrorCode::ResourceExhausted || error.code == ErrorCode::Cancelled ||
            error.code == ErrorCode::Forbidden) {
            return Error(error).with(fmt::format("file {}", name_));
        }
        return fail(ErrorCode::Corrupt,
                    fmt::format("{} is no readable Parquet file: {}", name_, error.message),
                    "write the file again, or leave it out of the source's pattern");
    }

    std::string name_;
    ParquetOptions options_;
    int64_t file_bytes_;
    int64_t next_row_;
    int64_t row_count_ = 0;
    duckdb::Database database_;
    duckdb::Connection connection_;
    std::optional<duckdb::Rows> rows_;
    std::vector<std::string> columns_;
};

}  // namespace

Result<void> ParquetOptions::validate() const {
    if (memory_limit_bytes < (16LL << 20)) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("parquet option memory_limit_bytes: {} is below 16 MiB",
                                memory_limit_bytes));
    }
    if (max_field_bytes < 1) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("parquet option max_field_bytes: {} is below 1", max_field_bytes));
    }
    return {};
}

Result<std::unique_ptr<RecordReader>> open_parquet(const std::filesystem::path& path,
                                                   const ParquetOptions& options,
                                                   int64_t first_row) {
    PX_TRY(options.validate());
    const std::string name = path.string();
    PX_TRY(duckdb::glob_of(name));
    PX_TRY(open_bytes(path));  // tells what is missing or forbidden in our words
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (error) return fail_errno(error.value(), fmt::format("cannot look at {}", name));
    if (size == 0) {
        return fail(ErrorCode::Corrupt, fmt::format("{} is empty", name),
                    "remove the file, or write it again");
    }
    duckdb::Database database = PX_TRY(duckdb::Database::open(
        "", {{"threads", "1"},
             {"memory_limit", fmt::format("{}B", options.memory_limit_bytes)},
             {"autoinstall_known_extensions", "false"},
             {"autoload_known_extensions", "false"}}));
    duckdb::Connection connection = PX_TRY(database.connect());
    auto reader = std::make_unique<ParquetFileReader>(name, options, static_cast<int64_t>(size),
                                                      std::max<int64_t>(0, first_row),
                                                      std::move(database), std::move(connection));
    PX_TRY(reader->start());
    return std::unique_ptr<RecordReader>(std::move(reader));
}

}  // namespace px::source
