#include "columnar/parquet_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "columnar/column_chunk.h"
#include "columnar/file_sink.h"
#include "columnar/thrift_writer.h"

namespace px::columnar {

namespace {

constexpr std::string_view kMagic = "PAR1";
constexpr std::string_view kCreatedBy = "pipeline-x";

/// A row group as the footer knows it.
struct GroupInfo {
    int64_t row_count = 0;
    int64_t offset = 0;
    std::vector<ChunkInfo> chunks;
};

// Enumerators of parquet.thrift.
constexpr int32_t kRequired = 0;
constexpr int32_t kOptional = 1;
constexpr int32_t kRepeated = 2;

/// ConvertedType and LogicalType of a leaf; fields 6 to 10 of SchemaElement.
void write_annotation(ThriftWriter& out, const DataType& type) {
    switch (type.id) {
        case TypeId::String:
            out.field_i32(6, 0);
            out.begin_struct(10);
            out.field_empty(1);
            out.end_struct();
            break;
        case TypeId::Decimal:
            out.field_i32(6, 5);
            out.field_i32(7, type.scale);
            out.field_i32(8, type.precision);
            out.begin_struct(10);
            out.begin_struct(5);
            out.field_i32(1, type.scale);
            out.field_i32(2, type.precision);
            out.end_struct();
            out.end_struct();
            break;
        case TypeId::Date:
            out.field_i32(6, 6);
            out.begin_struct(10);
            out.field_empty(6);
            out.end_struct();
            break;
        case TypeId::Timestamp:
            out.field_i32(6, 10);
            out.begin_struct(10);
            out.begin_struct(8);
            out.field_bool(1, true);
            out.begin_struct(2);
            out.field_empty(2);
            out.end_struct();
            out.end_struct();
            out.end_struct();
            break;
        default:
            break;
    }
}

void write_schema_field(ThriftWriter& out, const Field& field) {
    const int32_t repetition = field.nullable ? kOptional : kRequired;
    out.begin_element();
    if (field.type.id == TypeId::FloatList) {
        out.field_i32(3, repetition);
        out.field_binary(4, field.name);
        out.field_i32(5, 1);
        out.field_i32(6, 3);
        out.begin_struct(10);
        out.field_empty(3);
        out.end_struct();
        out.end_struct();

        out.begin_element();
        out.field_i32(3, kRepeated);
        out.field_binary(4, "list");
        out.field_i32(5, 1);
        out.end_struct();

        out.begin_element();
        out.field_i32(1, static_cast<int32_t>(PhysicalType::Float));
        out.field_i32(3, kRequired);
        out.field_binary(4, "element");
        out.end_struct();
        return;
    }
    const PhysicalType physical = physical_type(field.type);
    out.field_i32(1, static_cast<int32_t>(physical));
    if (physical == PhysicalType::FixedLenByteArray) out.field_i32(2, 16);
    out.field_i32(3, repetition);
    out.field_binary(4, field.name);
    write_annotation(out, field.type);
    out.end_struct();
}

void write_chunk(ThriftWriter& out, const Field& field, int64_t group_offset,
                 const ChunkInfo& chunk, bool snappy) {
    const bool list = field.type.id == TypeId::FloatList;
    out.begin_element();
    out.field_i64(2, 0);
    out.begin_struct(3);
    out.field_i32(1, static_cast<int32_t>(physical_type(field.type)));
    out.begin_list(2, ThriftWriter::Type::I32, chunk.encodings.size());
    for (const Encoding encoding : chunk.encodings) {
        out.element_i32(static_cast<int32_t>(encoding));
    }
    out.begin_list(3, ThriftWriter::Type::Binary, list ? 3 : 1);
    out.element_binary(field.name);
    if (list) {
        out.element_binary("list");
        out.element_binary("element");
    }
    out.field_i32(4, snappy ? 1 : 0);
    out.field_i64(5, chunk.value_count);
    out.field_i64(6, chunk.uncompressed_bytes);
    out.field_i64(7, chunk.compressed_bytes);
    out.field_i64(9, group_offset + chunk.data_offset);
    if (chunk.dictionary_offset >= 0) out.field_i64(11, group_offset + chunk.dictionary_offset);
    out.begin_struct(12);
    out.field_i64(3, chunk.null_count);
    const Extremes::Encoded extremes = chunk.extremes.encode(field.type);
    if (extremes.max_value) out.field_binary(5, *extremes.max_value);
    if (extremes.min_value) out.field_binary(6, *extremes.min_value);
    if (extremes.max_value) out.field_bool(7, extremes.max_exact);
    if (extremes.min_value) out.field_bool(8, extremes.min_exact);
    out.end_struct();
    out.end_struct();
    out.end_struct();
}

ByteBuffer footer(const Schema& schema, const std::vector<GroupInfo>& groups, int64_t row_count,
                  bool snappy) {
    ByteBuffer bytes;
    ThriftWriter out(bytes);
    out.field_i32(1, 2);
    size_t elements = 1;
    for (const Field& field : schema.fields) elements += field.type.id == TypeId::FloatList ? 3 : 1;
    out.begin_list(2, ThriftWriter::Type::Struct, elements);
    out.begin_element();
    out.field_i32(3, kRequired);
    out.field_binary(4, "schema");
    out.field_i32(5, static_cast<int32_t>(schema.fields.size()));
    out.end_struct();
    for (const Field& field : schema.fields) write_schema_field(out, field);
    out.field_i64(3, row_count);
    out.begin_list(4, ThriftWriter::Type::Struct, groups.size());
    for (size_t g = 0; g < groups.size(); ++g) {
        const GroupInfo& group = groups[g];
        int64_t plain = 0;
        int64_t stored = 0;
        out.begin_element();
        out.begin_list(1, ThriftWriter::Type::Struct, group.chunks.size());
        for (size_t c = 0; c < group.chunks.size(); ++c) {
            write_chunk(out, schema.fields[c], group.offset, group.chunks[c], snappy);
            plain += group.chunks[c].uncompressed_bytes;
            stored += group.chunks[c].compressed_bytes;
        }
        out.field_i64(2, plain);
        out.field_i64(3, group.row_count);
        out.field_i64(5, group.offset);
        out.field_i64(6, stored);
        if (g <= 32'767) out.field_i16(7, static_cast<int16_t>(g));  // an i16 in the format
        out.end_struct();
    }
    out.field_binary(6, kCreatedBy);
    out.begin_list(7, ThriftWriter::Type::Struct, schema.fields.size());
    for (size_t c = 0; c < schema.fields.size(); ++c) {
        out.begin_element();
        out.field_empty(1);
        out.end_struct();
    }
    out.end_struct();
    return bytes;
}

class GroupEncoder final : public RowGroupEncoder {
  public:
    GroupEncoder(Schema schema, const ParquetWriterOptions& options) : schema_(std::move(schema)) {
        columns_.reserve(schema_.fields.size());
        for (const Field& field : schema_.fields) columns_.emplace_back(field, options);
    }
    const Schema& schema() const { return schema_; }
    int64_t row_count() const override { return row_count_; }

    Result<void> write(const RecordBatch& batch) override {
        PX_TRY(check(batch));
        append(batch, 0, batch.row_count());
        return {};
    }
    /// Rows of a batch that was checked.
    void append(const RecordBatch& batch, int64_t begin, int64_t end) {
        for (size_t c = 0; c < columns_.size(); ++c)
            columns_[c].append(batch.column(c), begin, end);
        row_count_ += end - begin;
    }

    RowGroup finish() override {
        if (row_count_ == 0) return nullptr;
        RowGroup group(new EncodedRowGroup);
        group->row_count = std::exchange(row_count_, 0);
        group->chunks.reserve(columns_.size());
        for (ColumnChunkWriter& column : columns_) column.finish(*group);
        return group;
    }

    Result<void> check(const RecordBatch& batch) const {
        if (!(batch.schema() == schema_)) {
            return fail(ErrorCode::InvalidArgument,
                        "the batch has another schema than the Parquet file");
        }
        for (size_t c = 0; c < columns_.size(); ++c) {
            const Column& column = batch.column(c);
            const Field& field = schema_.fields[c];
            if (column.length() != batch.row_count()) {
                return fail(ErrorCode::InvalidArgument,
                            fmt::format("column '{}' has {} rows where the batch has {}",
                                        field.name, column.length(), batch.row_count()));
            }
            if (!field.nullable && column.null_count() > 0) {
                return fail(ErrorCode::InvalidArgument,
                            fmt::format("column '{}' may not be null, but {} of its rows are",
                                        field.name, column.null_count()));
            }
            if (fixed_width(field.type) != 0 ||
                column.data().size() <= static_cast<size_t>(kValueBytesMax)) {
                continue;
            }
            const int64_t unit = field.type.id == TypeId::FloatList ? 4 : 1;
            const auto& offsets = column.offsets();
            for (size_t r = 1; r < offsets.size(); ++r) {
                const int64_t size = (offsets[r] - offsets[r - 1]) * unit;
                if (size > kValueBytesMax) {
                    return fail(ErrorCode::ResourceExhausted,
                                fmt::format("a value of column '{}' has {} bytes; a Parquet page "
                                            "holds values of at most {}",
                                            field.name, size, kValueBytesMax),
                                "Split the value, or leave it out of the source");
                }
            }
        }
        return {};
    }

  private:
    Schema schema_;
    std::vector<ColumnChunkWriter> columns_;
    int64_t row_count_ = 0;
};

class Writer final : public ParquetWriter {
  public:
    Writer(std::unique_ptr<FileSink> sink, const Schema& schema,
           const ParquetWriterOptions& options)
        : sink_(std::move(sink)),
          encoder_(schema, options),
          options_(options),
          extremes_(schema.fields.size()),
          nulls_(schema.fields.size()) {
        for (const Field& field : schema.fields) {
            const size_t width = fixed_width(field.type);
            fixed_row_bytes_ += static_cast<int64_t>(width == 0 ? 4 : width);
        }
    }

    Result<void> write(const RecordBatch& batch) override {
        PX_TRY(encoder_.check(batch));
        const int64_t end = batch.row_count();
        for (int64_t row = 0; row < end;) {
            const int64_t rows = rows_to_group_end(batch, row, end);
            encoder_.append(batch, row, row + rows);
            group_bytes_ += bytes_between(batch, row, row + rows);
            row += rows;
            if (encoder_.row_count() >= options_.row_group_rows ||
                group_bytes_ >= options_.row_group_bytes) {
                PX_TRY(end_row_group());
            }
        }
        return {};
    }

    Result<void> append(RowGroup group) override {
        PX_TRY(end_row_group());
        return put(std::move(group));
    }

    int64_t size_bytes() const override { return sink_->offset(); }

    Result<ParquetFileInfo> close() override {
        PX_TRY(end_row_group());
        const Schema& schema = encoder_.schema();
        ByteBuffer bytes = footer(schema, groups_, row_count_, options_.snappy);
        bytes.append_value(static_cast<uint32_t>(bytes.size()));
        bytes.append(kMagic);
        PX_TRY(sink_->write(bytes.view()));
        ParquetFileInfo info;
        info.row_count = row_count_;
        info.size_bytes = sink_->offset();
        info.sha256 = PX_TRY(sink_->close());
        for (size_t c = 0; c < extremes_.size(); ++c) {
            ColumnStatistics& column = info.columns.emplace_back();
            column.null_count = nulls_[c];
            extremes_[c].to_json(schema.fields[c].type, column);
        }
        return info;
    }

  private:
    /// Uncompressed bytes of rows [begin, end), lengths counted for nulls too.
    int64_t bytes_between(const RecordBatch& batch, int64_t begin, int64_t end) const {
        int64_t total = fixed_row_bytes_ * (end - begin);
        for (size_t c = 0; c < batch.column_count(); ++c) {
            const auto& offsets = batch.column(c).offsets();
            if (offsets.empty()) continue;
            const int64_t unit = batch.column(c).type().id == TypeId::FloatList ? 4 : 1;
            total +=
                unit * (offsets[static_cast<size_t>(end)] - offsets[static_cast<size_t>(begin)]);
        }
        return total;
    }

    /// Rows up to and with the one that fills the row group, or all.
    int64_t rows_to_group_end(const RecordBatch& batch, int64_t begin, int64_t end) const {
        end = std::min(end, begin + options_.row_group_rows - encoder_.row_count());
        const int64_t room = options_.row_group_bytes - group_bytes_;
        int64_t low = begin + 1;
        int64_t high = end;
        if (bytes_between(batch, begin, end) < room) return end - begin;
        while (low < high) {
            const int64_t middle = low + (high - low) / 2;
            if (bytes_between(batch, begin, middle) >= room) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        return low - begin;
    }

    Result<void> end_row_group() {
        group_bytes_ = 0;
        return put(encoder_.finish());
    }

    Result<void> put(RowGroup group) {
        if (group == nullptr) return {};
        GroupInfo info{group->row_count, sink_->offset(), std::move(group->chunks)};
        for (ByteBuffer& part : group->parts) {
            PX_TRY(sink_->write(part.view()));
            part = ByteBuffer();
        }
        for (size_t c = 0; c < info.chunks.size(); ++c) {
            extremes_[c].merge(info.chunks[c].extremes);
            nulls_[c] += info.chunks[c].null_rows;
        }
        row_count_ += info.row_count;
        groups_.push_back(std::move(info));
        return {};
    }

    std::unique_ptr<FileSink> sink_;
    GroupEncoder encoder_;
    ParquetWriterOptions options_;
    std::vector<GroupInfo> groups_;
    std::vector<Extremes> extremes_;  ///< over all groups, one a column
    std::vector<int64_t> nulls_;
    int64_t fixed_row_bytes_ = 0;
    int64_t row_count_ = 0;
    int64_t group_bytes_ = 0;
};

Result<void> check_schema(const Schema& schema) {
    if (schema.fields.empty())
        return fail(ErrorCode::InvalidArgument, "a Parquet file needs at least one column");
    for (const Field& field : schema.fields) {
        const DataType& type = field.type;
        if (type.id == TypeId::Decimal && (type.precision < 1 || type.precision > 38 ||
                                           type.scale < 0 || type.scale > type.precision)) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("column '{}' has the impossible type decimal({},{})",
                                    field.name, type.precision, type.scale));
        }
    }
    return {};
}

}  // namespace

void EncodedRowGroupDeleter::operator()(EncodedRowGroup* group) const { delete group; }

Result<void> ParquetWriterOptions::validate() const {
    if (row_group_rows < 1 || row_group_bytes < 1 || page_bytes < 1 ||
        page_bytes > kValueBytesMax || dictionary_bytes < 0 || dictionary_bytes > kValueBytesMax ||
        row_group_rows > kValueBytesMax) {
        return fail(ErrorCode::InvalidArgument, "a limit of the Parquet writer is out of range",
                    "Row groups and pages must be positive, pages and dictionaries at most 1 GiB");
    }
    return {};
}

Result<std::unique_ptr<RowGroupEncoder>> RowGroupEncoder::create(Schema schema,
                                                                 ParquetWriterOptions options) {
    PX_TRY(check_schema(schema));
    PX_TRY(options.validate());
    return std::unique_ptr<RowGroupEncoder>(
        std::make_unique<GroupEncoder>(std::move(schema), options));
}

Result<std::unique_ptr<ParquetWriter>> ParquetWriter::create(const std::filesystem::path& path,
                                                             Schema schema,
                                                             ParquetWriterOptions options) {
    PX_TRY(check_schema(schema).context(path.string()));
    PX_TRY(options.validate());
    std::unique_ptr<FileSink> sink = PX_TRY(FileSink::create(path));
    PX_TRY(sink->write(kMagic));
    return std::unique_ptr<ParquetWriter>(
        std::make_unique<Writer>(std::move(sink), schema, options));
}

}  // namespace px::columnar
