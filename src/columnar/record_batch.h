// Schema, Field and RecordBatch: columns in memory with the buffer layout of the Arrow columnar
// format (validity bitmap, values, offsets), so that they can be handed to Arrow readers uncopied.
// Rank 1. Values; a RecordBatch is not thread-safe while it is being built.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace px::columnar {

enum class TypeId { Bool, Int32, Int64, Float32, Float64, Decimal, Date, Timestamp, String, Binary, FloatList };

/// A column type. Decimal has precision (1 to 38) and scale (0 to precision); other types leave them 0.
/// In memory: Bool 1 byte a value (0/1); Int32/Date int32; Int64/Timestamp int64 (UTC micros);
/// Float32, Float64; Decimal int64 when precision <= 18, else __int128; String/Binary int64 offsets + bytes;
/// FloatList (embedding vectors) int64 offsets + float32 values, elements never null.
struct DataType {
    TypeId id = TypeId::String;
    int precision = 0;
    int scale = 0;
    bool operator==(const DataType&) const = default;
};

/// Text of the pipeline file and of Delta: bool→"boolean", Int32→"integer", Int64→"long", Float32→"float",
/// Float64→"double", "decimal(p,s)", "date", "timestamp", "string", "binary", FloatList→"array<float>".
std::string delta_type_name(const DataType& type);
/// SQL type of the engine: BOOLEAN, INTEGER, BIGINT, FLOAT, DOUBLE, DECIMAL(p,s), DATE,
/// TIMESTAMP WITH TIME ZONE, VARCHAR, BLOB, FLOAT[].
std::string sql_type_name(const DataType& type);

struct Field {
    std::string name;
    DataType type;
    bool nullable = true;
    bool operator==(const Field&) const = default;
};

struct Schema {
    std::vector<Field> fields;
    std::optional<size_t> index_of(std::string_view name) const;
    bool operator==(const Schema&) const = default;
};

/// One column under construction or finished. Append calls are amortised O(1).
/// Each append_x must match type (checked by assertion).
class Column {
  public:
    explicit Column(DataType type);

    void append_null();
    void append_bool(bool value);
    void append_int32(int32_t value);       // Int32, Date
    void append_int64(int64_t value);       // Int64, Timestamp, Decimal with precision <= 18
    void append_int128(__int128 value);     // Decimal with precision > 18
    void append_float(float value);
    void append_double(double value);
    void append_bytes(std::string_view value);  // String, Binary
    void append_floats(const float* values, size_t count);  // FloatList
    void clear();           ///< keeps the capacity
    void reserve(size_t rows);

    DataType type() const { return type_; }
    int64_t length() const { return length_; }
    int64_t null_count() const { return null_count_; }
    bool is_null(int64_t row) const;
    /// Little-endian bitmap, bit 1 = valid; empty when null_count() == 0.
    const std::vector<uint8_t>& validity() const { return validity_; }
    /// Fixed-width values, length() * width bytes (nulls hold zero); string bytes; float32 list values.
    const std::vector<char>& data() const { return data_; }
    /// length() + 1 entries for String, Binary, FloatList (in bytes, or in floats); else empty.
    const std::vector<int64_t>& offsets() const { return offsets_; }
    /// Bytes of a String/Binary row; empty for null.
    std::string_view bytes_at(int64_t row) const;
    template <class T>
    T value_at(int64_t row) const;  ///< fixed-width types only
    size_t size_bytes() const { return data_.size() + offsets_.size() * 8 + validity_.size(); }

  private:
    void mark(bool valid);
    DataType type_;
    int64_t length_ = 0;
    int64_t null_count_ = 0;
    std::vector<uint8_t> validity_;
    std::vector<char> data_;
    std::vector<int64_t> offsets_;
};

/// Columns of equal length under one Schema.
class RecordBatch {
  public:
    explicit RecordBatch(Schema schema);
    const Schema& schema() const { return schema_; }
    Column& column(size_t index) { return columns_[index]; }
    const Column& column(size_t index) const { return columns_[index]; }
    size_t column_count() const { return columns_.size(); }
    int64_t row_count() const { return columns_.empty() ? 0 : columns_[0].length(); }
    size_t size_bytes() const;
    void clear();

  private:
    Schema schema_;
    std::vector<Column> columns_;
};

template <class T>
T Column::value_at(int64_t row) const {
    T value;
    __builtin_memcpy(&value, data_.data() + static_cast<size_t>(row) * sizeof(T), sizeof(T));
    return value;
}

}  // namespace px::columnar
