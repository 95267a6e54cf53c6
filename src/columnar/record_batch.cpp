#include "columnar/record_batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace px::columnar {

size_t fixed_width(const DataType& type) {
    switch (type.id) {
        case TypeId::Bool:
            return 1;
        case TypeId::Int32:
        case TypeId::Date:
        case TypeId::Float32:
            return 4;
        case TypeId::Int64:
        case TypeId::Timestamp:
        case TypeId::Float64:
            return 8;
        case TypeId::Decimal:
            return type.precision <= 18 ? 8 : 16;
        case TypeId::String:
        case TypeId::Binary:
        case TypeId::FloatList:
            return 0;
    }
    return 0;
}

std::string delta_type_name(const DataType& type) {
    switch (type.id) {
        case TypeId::Bool:
            return "boolean";
        case TypeId::Int32:
            return "integer";
        case TypeId::Int64:
            return "long";
        case TypeId::Float32:
            return "float";
        case TypeId::Float64:
            return "double";
        case TypeId::Decimal:
            return fmt::format("decimal({},{})", type.precision, type.scale);
        case TypeId::Date:
            return "date";
        case TypeId::Timestamp:
            return "timestamp";
        case TypeId::String:
            return "string";
        case TypeId::Binary:
            return "binary";
        case TypeId::FloatList:
            return "array<float>";
    }
    return {};
}

std::string sql_type_name(const DataType& type) {
    switch (type.id) {
        case TypeId::Bool:
            return "BOOLEAN";
        case TypeId::Int32:
            return "INTEGER";
        case TypeId::Int64:
            return "BIGINT";
        case TypeId::Float32:
            return "FLOAT";
        case TypeId::Float64:
            return "DOUBLE";
        case TypeId::Decimal:
            return fmt::format("DECIMAL({},{})", type.precision, type.scale);
        case TypeId::Date:
            return "DATE";
        case TypeId::Timestamp:
            return "TIMESTAMP WITH TIME ZONE";
        case TypeId::String:
            return "VARCHAR";
        case TypeId::Binary:
            return "BLOB";
        case TypeId::FloatList:
            return "FLOAT[]";
    }
    return {};
}

std::string format_decimal(Int128 unscaled, int scale) {
    UInt128 rest =
        unscaled < 0 ? UInt128{0} - static_cast<UInt128>(unscaled) : static_cast<UInt128>(unscaled);
    char digits[48];
    size_t at = sizeof digits;
    for (int written = 0; rest != 0 || written <= scale; ++written) {
        if (written == scale && scale > 0) digits[--at] = '.';
        digits[--at] = static_cast<char>('0' + static_cast<int>(rest % 10));
        rest /= 10;
    }
    if (unscaled < 0) digits[--at] = '-';
    return {digits + at, sizeof digits - at};
}

std::optional<size_t> Schema::index_of(std::string_view name) const {
    for (size_t i = 0; i < fields.size(); ++i) {
        if (fields[i].name == name) return i;
    }
    return std::nullopt;
}

Column::Column(DataType type) : type_(type), width_(fixed_width(type)) {
    if (width_ == 0) offsets_.push_back(0);
}

void Column::start_validity() {
    const auto rows = static_cast<size_t>(length_);
    validity_.assign((rows + 7) / 8, 0xFF);
    if (rows % 8 != 0) validity_.back() = static_cast<uint8_t>((1U << rows % 8) - 1);
}

void Column::drop_validity_if_all_valid() {
    if (null_count_ == 0) validity_.clear();
}

void Column::mark_valid_bits(int64_t rows) {
    const auto end = static_cast<size_t>(length_);
    validity_.resize((end + 7) / 8, 0);
    for (auto bit = static_cast<size_t>(length_ - rows); bit < end;) {
        if (bit % 8 == 0 && end - bit >= 8) {
            validity_[bit / 8] = 0xFF;
            bit += 8;
        } else {
            validity_[bit / 8] = static_cast<uint8_t>(validity_[bit / 8] | 1U << bit % 8);
            ++bit;
        }
    }
}

void Column::append_null() {
    if (null_count_ == 0) start_validity();
    if (width_ != 0) {
        data_.resize(data_.size() + width_);
    } else {
        offsets_.push_back(offsets_.back());
    }
    ++length_;
    ++null_count_;
    validity_.resize((static_cast<size_t>(length_) + 7) / 8, 0);
}

void Column::append_bytes(std::string_view value) {
    assert(type_.id == TypeId::String || type_.id == TypeId::Binary);
    data_.insert(data_.end(), value.begin(), value.end());
    offsets_.push_back(static_cast<int64_t>(data_.size()));
    mark_valid(1);
}

void Column::append_floats(const float* values, size_t count) {
    assert(type_.id == TypeId::FloatList);
    const auto* bytes = reinterpret_cast<const char*>(values);
    data_.insert(data_.end(), bytes, bytes + count * sizeof(float));
    offsets_.push_back(static_cast<int64_t>(data_.size() / sizeof(float)));
    mark_valid(1);
}

void Column::clear() {
    length_ = 0;
    null_count_ = 0;
    validity_.clear();
    data_.clear();
    if (width_ == 0) offsets_.resize(1);
}

void Column::reserve(size_t rows) {
    if (width_ != 0) {
        data_.reserve(rows * width_);
    } else {
        offsets_.reserve(rows + 1);
    }
}

void Column::truncate(int64_t rows) {
    assert(rows >= 0);
    if (rows >= length_) return;
    for (int64_t row = rows; row < length_ && null_count_ != 0;) {
        const auto bit = static_cast<size_t>(row);
        if (bit % 8 == 0 && length_ - row >= 8) {
            null_count_ -= 8 - std::popcount(validity_[bit / 8]);
            row += 8;
        } else {
            null_count_ -= (validity_[bit / 8] >> bit % 8 & 1) == 0 ? 1 : 0;
            ++row;
        }
    }
    const auto kept = static_cast<size_t>(rows);
    if (null_count_ != 0) {
        validity_.resize((kept + 7) / 8);
        if (kept % 8 != 0) {
            validity_.back() = static_cast<uint8_t>(validity_.back() & ((1U << kept % 8) - 1));
        }
    }
    length_ = rows;
    drop_validity_if_all_valid();
    if (width_ != 0) {
        data_.resize(kept * width_);
    } else {
        offsets_.resize(kept + 1);
        const size_t unit = type_.id == TypeId::FloatList ? sizeof(float) : 1;
        data_.resize(static_cast<size_t>(offsets_.back()) * unit);
    }
}

Column::BytesStretch Column::extend_bytes(int64_t rows, size_t size_bytes) {
    assert(type_.id == TypeId::String || type_.id == TypeId::Binary);
    const size_t at = data_.size();
    const size_t first = offsets_.size();
    data_.resize(at + size_bytes);
    offsets_.resize(first + static_cast<size_t>(rows));
    mark_valid(rows);
    return {data_.data() + at, offsets_.data() + first, static_cast<int64_t>(at)};
}

void Column::set_null(int64_t row) {
    assert(row >= 0 && row < length_);
    if (is_null(row)) return;
    if (null_count_ == 0) start_validity();
    const auto bit = static_cast<size_t>(row);
    validity_[bit / 8] = static_cast<uint8_t>(validity_[bit / 8] & ~(1U << bit % 8));
    ++null_count_;
    if (width_ != 0) {
        std::memset(data_.data() + bit * width_, 0, width_);
    } else {
        assert(offsets_[bit] == offsets_[bit + 1]);
    }
}

void Column::keep_rows(int64_t from, const uint8_t* keep) {
    assert(from >= 0 && from <= length_);
    const size_t unit = type_.id == TypeId::FloatList ? sizeof(float) : 1;
    auto to = static_cast<size_t>(from);
    size_t bytes_to = width_ != 0 ? 0 : static_cast<size_t>(offsets_[to]);
    size_t nulls_kept = 0;
    size_t nulls_seen = 0;
    size_t begin = width_ != 0 ? 0 : static_cast<size_t>(offsets_[to]);
    for (auto row = static_cast<size_t>(from); row < static_cast<size_t>(length_); ++row) {
        const bool kept = keep[row - static_cast<size_t>(from)] != 0;
        const size_t end = width_ != 0 ? 0 : static_cast<size_t>(offsets_[row + 1]);
        if (null_count_ != 0) {
            const bool valid = (validity_[row / 8] >> row % 8 & 1) != 0;
            nulls_seen += valid ? 0 : 1;
            if (kept) {
                nulls_kept += valid ? 0 : 1;
                const auto mask = static_cast<uint8_t>(1U << to % 8);
                validity_[to / 8] = valid ? static_cast<uint8_t>(validity_[to / 8] | mask)
                                          : static_cast<uint8_t>(validity_[to / 8] & ~mask);
            }
        }
        if (kept) {
            if (width_ != 0) {
                if (to != row) std::memcpy(&data_[to * width_], &data_[row * width_], width_);
            } else {
                const size_t size = end - begin;
                if (to != row && size != 0) {
                    std::memmove(&data_[bytes_to * unit], &data_[begin * unit], size * unit);
                }
                bytes_to += size;
                offsets_[to + 1] = static_cast<int64_t>(bytes_to);
            }
            ++to;
        }
        begin = end;
    }
    null_count_ = null_count_ - static_cast<int64_t>(nulls_seen) + static_cast<int64_t>(nulls_kept);
    length_ = static_cast<int64_t>(to);
    if (null_count_ != 0) {
        validity_.resize((to + 7) / 8);
        if (to % 8 != 0) {
            validity_.back() = static_cast<uint8_t>(validity_.back() & ((1U << to % 8) - 1));
        }
    }
    drop_validity_if_all_valid();
    if (width_ != 0) {
        data_.resize(to * width_);
    } else {
        offsets_.resize(to + 1);
        data_.resize(bytes_to * unit);
    }
}

RecordBatch::RecordBatch(Schema schema) : schema_(std::move(schema)) {
    columns_.reserve(schema_.fields.size());
    for (const Field& field : schema_.fields) columns_.emplace_back(field.type);
}

size_t RecordBatch::size_bytes() const {
    size_t total = 0;
    for (const Column& column : columns_) total += column.size_bytes();
    return total;
}

void RecordBatch::clear() {
    for (Column& column : columns_) column.clear();
}

}  // namespace px::columnar
