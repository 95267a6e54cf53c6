#include "engine/local/batch_reader.h"

#include <fmt/format.h>

#include <set>

namespace px::engine {
namespace {

using columnar::DataType;
using columnar::Field;
using columnar::TypeId;
using DuckType = duckdb::TypeId;

std::string folded(std::string_view name) {
    std::string lower(name);
    for (char& c : lower) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    }
    return lower;
}

Result<DataType> type_of(const duckdb::Column& column) {
    const duckdb::Type& type = column.type;
    auto refuse = [&](std::string hint) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("column {} has the type {}, which a table can't hold", column.name,
                                type.sql),
                    std::move(hint));
    };
    switch (type.id) {
        case DuckType::Boolean:
            return DataType{TypeId::Bool};
        case DuckType::TinyInt:
        case DuckType::SmallInt:
        case DuckType::UTinyInt:
        case DuckType::USmallInt:
        case DuckType::Integer:
            return DataType{TypeId::Int32};
        case DuckType::UInteger:
        case DuckType::BigInt:
            return DataType{TypeId::Int64};
        case DuckType::UBigInt:
            return DataType{TypeId::Decimal, 20, 0};
        case DuckType::HugeInt:
            return DataType{TypeId::Decimal, 38, 0};
        case DuckType::Float:
            return DataType{TypeId::Float32};
        case DuckType::Double:
            return DataType{TypeId::Float64};
        case DuckType::Decimal:
            return DataType{TypeId::Decimal, type.precision, type.scale};
        case DuckType::Date:
            return DataType{TypeId::Date};
        case DuckType::Timestamp:
        case DuckType::TimestampTz:
        case DuckType::TimestampS:
        case DuckType::TimestampMs:
            return DataType{TypeId::Timestamp};
        case DuckType::Varchar:
        case DuckType::Enum:
        case DuckType::Uuid:
            return DataType{TypeId::String};
        case DuckType::Blob:
            return DataType{TypeId::Binary};
        case DuckType::List:
        case DuckType::Array:
            if (type.children[0].id == DuckType::Float) return DataType{TypeId::FloatList};
            return refuse(fmt::format("CAST({} AS FLOAT[]) or AS VARCHAR",
                                      duckdb::quote_identifier(column.name)));
        case DuckType::TimestampNs:
            return refuse(
                fmt::format("CAST({} AS TIMESTAMP)", duckdb::quote_identifier(column.name)));
        case DuckType::UHugeInt:
            return refuse(
                fmt::format("CAST({} AS DECIMAL(38,0))", duckdb::quote_identifier(column.name)));
        default:
            return refuse(
                fmt::format("CAST({} AS VARCHAR)", duckdb::quote_identifier(column.name)));
    }
}

Error does_not_fit(const Field& field, std::string_view what) {
    return fail(ErrorCode::InvalidArgument,
                fmt::format("column {} holds {}, which a table can't hold", field.name, what));
}

/// Rows without nulls and with nulls in one loop body each; `append` gets the row.
template <class F>
void for_rows(const duckdb::ColumnView& view, uint64_t rows, columnar::Column& out, F append) {
    if (view.validity() == nullptr) {
        for (uint64_t r = 0; r < rows; ++r) append(r);
        return;
    }
    for (uint64_t r = 0; r < rows; ++r) {
        if (view.is_null(r)) {
            out.append_null();
        } else {
            append(r);
        }
    }
}

Result<void> append_instants(const duckdb::ColumnView& view, uint64_t rows, int64_t factor,
                             const Field& field, columnar::Column& out) {
    bool bad = false;
    for_rows(view, rows, out, [&](uint64_t r) {
        int64_t value = view.data<int64_t>()[r], micros = 0;
        bad |= value == INT64_MAX || value == -INT64_MAX ||
               __builtin_mul_overflow(value, factor, &micros);
        out.append_int64(micros);
    });
    if (bad) return does_not_fit(field, "an infinite or too distant timestamp");
    return {};
}

Result<void> append_decimals(const duckdb::ColumnView& view, uint64_t rows, const Field& field,
                             columnar::Column& out) {
    if (field.type.precision <= 18) {
        for_rows(view, rows, out, [&](uint64_t r) { out.append_int64(view.int64_at(r)); });
        return {};
    }
    constexpr duckdb::Int128 kLimit =
        static_cast<duckdb::Int128>(10'000'000'000'000'000'000ULL) * 10'000'000'000'000'000'000ULL;
    bool bad = false;
    for_rows(view, rows, out, [&](uint64_t r) {
        duckdb::Int128 value = view.int128_at(r);
        bad |= value >= kLimit || value <= -kLimit;
        out.append_int128(value);
    });
    if (bad) return does_not_fit(field, "an integer of 39 digits");
    return {};
}

Result<void> append_lists(const duckdb::ColumnView& view, uint64_t rows, const Field& field,
                          columnar::Column& out) {
    duckdb::ColumnView elements = view.child();
    bool bad = false;
    for_rows(view, rows, out, [&](uint64_t r) {
        auto [offset, length] = view.list_at(r);
        if (elements.validity() != nullptr) {
            for (uint64_t i = 0; i < length; ++i) bad |= elements.is_null(offset + i);
        }
        out.append_floats(elements.data<float>() + offset, length);
    });
    if (bad) return does_not_fit(field, "a list with a null in it");
    return {};
}

Result<void> append_column(const duckdb::ColumnView& view, uint64_t rows, const Field& field,
                           columnar::Column& out) {
    switch (view.type().id) {
        case DuckType::Boolean:
            for_rows(view, rows, out, [&](uint64_t r) { out.append_bool(view.bool_at(r)); });
            return {};
        case DuckType::Integer:
            for_rows(view, rows, out,
                     [&](uint64_t r) { out.append_int32(view.data<int32_t>()[r]); });
            return {};
        case DuckType::Date: {
            bool bad = false;
            for_rows(view, rows, out, [&](uint64_t r) {
                int32_t days = view.data<int32_t>()[r];
                bad |= days == INT32_MAX || days == -INT32_MAX;
                out.append_int32(days);
            });
            if (bad) return does_not_fit(field, "an infinite date");
            return {};
        }
        case DuckType::TinyInt:
        case DuckType::SmallInt:
        case DuckType::UTinyInt:
        case DuckType::USmallInt:
            for_rows(view, rows, out,
                     [&](uint64_t r) { out.append_int32(static_cast<int32_t>(view.int64_at(r))); });
            return {};
        case DuckType::BigInt:
            for_rows(view, rows, out,
                     [&](uint64_t r) { out.append_int64(view.data<int64_t>()[r]); });
            return {};
        case DuckType::UInteger:
            for_rows(view, rows, out, [&](uint64_t r) { out.append_int64(view.int64_at(r)); });
            return {};
        case DuckType::UBigInt:
        case DuckType::HugeInt:
        case DuckType::Decimal:
            return append_decimals(view, rows, field, out);
        case DuckType::Float:
            for_rows(view, rows, out, [&](uint64_t r) { out.append_float(view.data<float>()[r]); });
            return {};
        case DuckType::Double:
            for_rows(view, rows, out,
                     [&](uint64_t r) { out.append_double(view.data<double>()[r]); });
            return {};
        case DuckType::Timestamp:
        case DuckType::TimestampTz:
            return append_instants(view, rows, 1, field, out);
        case DuckType::TimestampMs:
            return append_instants(view, rows, 1'000, field, out);
        case DuckType::TimestampS:
            return append_instants(view, rows, 1'000'000, field, out);
        case DuckType::Varchar:
        case DuckType::Blob:
            for_rows(view, rows, out, [&](uint64_t r) { out.append_bytes(view.bytes_at(r)); });
            return {};
        case DuckType::Enum:
            for_rows(view, rows, out, [&](uint64_t r) {
                out.append_bytes(view.type().names[static_cast<size_t>(view.int64_at(r))]);
            });
            return {};
        case DuckType::List:
        case DuckType::Array:
            return append_lists(view, rows, field, out);
        default: {
            std::string text;
            for (uint64_t r = 0; r < rows; ++r) {
                if (view.is_null(r)) {
                    out.append_null();
                    continue;
                }
                text.clear();
                PX_TRY(view.append_text(r, text));
                out.append_bytes(text);
            }
            return {};
        }
    }
}

}  // namespace

Result<columnar::Schema> schema_of(const std::vector<duckdb::Column>& columns) {
    columnar::Schema schema;
    std::set<std::string> names;
    for (const duckdb::Column& column : columns) {
        if (!names.insert(folded(column.name)).second) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("the query has two columns named {}", column.name),
                        "give one of them another name with AS");
        }
        schema.fields.push_back({column.name, PX_TRY(type_of(column)), true});
    }
    return schema;
}

Result<void> append_chunk(const duckdb::Chunk& chunk, columnar::RecordBatch& batch) {
    for (size_t c = 0; c < batch.column_count(); ++c) {
        PX_TRY(append_column(chunk.column(c), chunk.row_count(), batch.schema().fields[c],
                             batch.column(c)));
    }
    return {};
}

}  // namespace px::engine
