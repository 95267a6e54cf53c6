// Schema, Field and RecordBatch: columns in memory with the buffer layout of the Arrow columnar
// format (validity bitmap, values, offsets), so that they can be handed to Arrow readers uncopied.
// Rank 1. Values; a RecordBatch is not thread-safe while it is being built.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace px::columnar {

enum class TypeId {
    Bool,
    Int32,
    Int64,
    Float32,
    Float64,
    Decimal,
    Date,
    Timestamp,
    String,
    Binary,
    FloatList
};

/// A column type. Decimal has precision (1 to 38) and scale (0 to precision); other types leave
/// them 0. In memory: Bool 1 byte a value (0/1); Int32/Date int32; Int64/Timestamp int64 (UTC
/// micros); Float32, Float64; Decimal int64 when precision <= 18, else __int128; String/Binary
/// int64 offsets + bytes; FloatList (embedding vectors) int64 offsets + float32 values, elements
/// never null.
struct DataType {
    TypeId id = TypeId::String;
    int precision = 0;
    int scale = 0;
    bool operator==(const DataType&) const = default;
};

__extension__ typedef __int128 Int128;
__extension__ typedef unsigned __int128 UInt128;

/// Bytes a value in memory; 0 for String, Binary and FloatList.
size_t fixed_width(const DataType& type);

/// Text of the pipeline file and of Delta: bool→"boolean", Int32→"integer", Int64→"long",
/// Float32→"float", Float64→"double", "decimal(p,s)", "date", "timestamp", "string", "binary",
/// FloatList→"array<float>".
std::string delta_type_name(const DataType& type);
/// SQL type of the engine: BOOLEAN, INTEGER, BIGINT, FLOAT, DOUBLE, DECIMAL(p,s), DATE,
/// TIMESTAMP WITH TIME ZONE, VARCHAR, BLOB, FLOAT[].
std::string sql_type_name(const DataType& type);
/// "-12.34" for an unscaled value of a decimal with that scale.
std::string format_decimal(Int128 unscaled, int scale);

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
    void append_bool(bool value) { append_fixed(static_cast<uint8_t>(value), TypeId::Bool); }
    void append_int32(int32_t value) { append_fixed(value, TypeId::Int32, TypeId::Date); }
    void append_int64(int64_t value) {  // Int64, Timestamp, Decimal with precision <= 18
        append_fixed(value, TypeId::Int64, TypeId::Timestamp, TypeId::Decimal);
    }
    void append_int128(Int128 value) {  // Decimal with precision > 18
        append_fixed(value, TypeId::Decimal);
    }
    void append_float(float value) { append_fixed(value, TypeId::Float32); }
    void append_double(double value) { append_fixed(value, TypeId::Float64); }
    void append_bytes(std::string_view value);              // String, Binary
    void append_floats(const float* values, size_t count);  // FloatList
    void clear();                                           ///< keeps the capacity
    void reserve(size_t rows);
    /// Drops all rows from row `rows` on. O(dropped rows / 8).
    void truncate(int64_t rows);

    // Whole stretches at a time, for readers and validators.
    /// Appends `rows` valid values, all zero, of a fixed-width type; T must have its width. The
    /// pointer to the first of them stays valid until the next append.
    template <class T>
    T* extend(int64_t rows);
    /// The new stretch of a String/Binary column: `bytes` to fill, and the end offset of each new
    /// row to store (offsets count from the column's first byte; `base` is where `bytes` stands).
    struct BytesStretch {
        char* bytes;
        int64_t* ends;
        int64_t base;
    };
    /// Appends `rows` valid values of `size_bytes` bytes in all, which the caller fills.
    BytesStretch extend_bytes(int64_t rows, size_t size_bytes);
    /// Makes a row null: a fixed-width value becomes zero; a String/Binary row must be empty.
    void set_null(int64_t row);
    /// Of the rows from `from` on keeps those with keep[row - from] != 0.
    void keep_rows(int64_t from, const uint8_t* keep);

    DataType type() const { return type_; }
    int64_t length() const { return length_; }
    int64_t null_count() const { return null_count_; }
    bool is_null(int64_t row) const {
        return null_count_ != 0 &&
               (validity_[static_cast<size_t>(row) / 8] >> (static_cast<size_t>(row) % 8) & 1) == 0;
    }
    /// Little-endian bitmap, bit 1 = valid; empty when null_count() == 0.
    const std::vector<uint8_t>& validity() const { return validity_; }
    /// Fixed-width values, length() * width bytes (nulls hold zero); string bytes; float32 list
    /// values.
    const std::vector<char>& data() const { return data_; }
    /// length() + 1 entries for String, Binary, FloatList (in bytes, or in floats); else empty.
    const std::vector<int64_t>& offsets() const { return offsets_; }
    /// Bytes of a String/Binary row; empty for null.
    std::string_view bytes_at(int64_t row) const {
        const auto begin = static_cast<size_t>(offsets_[static_cast<size_t>(row)]);
        return {data_.data() + begin,
                static_cast<size_t>(offsets_[static_cast<size_t>(row) + 1]) - begin};
    }
    template <class T>
    T value_at(int64_t row) const;  ///< fixed-width types only
    size_t size_bytes() const { return data_.size() + offsets_.size() * 8 + validity_.size(); }

  private:
    template <class T, class... Ids>
    void append_fixed(T value, [[maybe_unused]] Ids... allowed) {
        assert(((type_.id == allowed) || ...) && sizeof(T) == width_);
        const size_t at = data_.size();
        data_.resize(at + sizeof(T));
        std::memcpy(data_.data() + at, &value, sizeof(T));
        mark_valid(1);
    }
    void mark_valid(int64_t rows) {
        length_ += rows;
        if (null_count_ != 0) mark_valid_bits(rows);
    }
    void mark_valid_bits(int64_t rows);
    void start_validity();
    void drop_validity_if_all_valid();

    DataType type_;
    size_t width_;
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

template <class T>
T* Column::extend(int64_t rows) {
    assert(sizeof(T) == width_ && rows >= 0);
    const size_t at = data_.size();
    data_.resize(at + static_cast<size_t>(rows) * sizeof(T));
    mark_valid(rows);
    return reinterpret_cast<T*>(data_.data() + at);
}

}  // namespace px::columnar
