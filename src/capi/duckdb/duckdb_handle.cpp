#include "capi/duckdb/duckdb_handle.h"

#include <duckdb.h>
#include <fmt/format.h>

namespace px::duckdb {
namespace {

struct FreeText {
    void operator()(char* text) const { duckdb_free(text); }
};
using OwnedText = std::unique_ptr<char, FreeText>;

struct LogicalType {
    duckdb_logical_type handle;
    explicit LogicalType(duckdb_logical_type type) : handle(type) {}
    LogicalType(const LogicalType&) = delete;
    LogicalType& operator=(const LogicalType&) = delete;
    ~LogicalType() { duckdb_destroy_logical_type(&handle); }
};

bool starts_with(std::string_view text, std::string_view prefix) {
    return text.substr(0, prefix.size()) == prefix;
}
bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

/// Every message of DuckDB begins with its kind, also where the C library gives no error type.
Error duckdb_error(const char* text) {
    std::string message = text ? text : "unknown error of DuckDB";
    if (starts_with(message, "Out of Memory Error")) {
        return fail(ErrorCode::ResourceExhausted, std::move(message),
                    "give it more memory or temporary space, or ask for less at once");
    }
    if (starts_with(message, "INTERRUPT Error"))
        return fail(ErrorCode::Cancelled, std::move(message));
    if (starts_with(message, "Permission Error"))
        return fail(ErrorCode::Forbidden, std::move(message));
    if (starts_with(message, "IO Error")) {
        if (contains(message, "No space left")) {
            return fail(ErrorCode::ResourceExhausted, std::move(message),
                        "free some space on the disk");
        }
        if (contains(message, "Permission denied") ||
            contains(message, "disabled by configuration")) {
            return fail(ErrorCode::Forbidden, std::move(message));
        }
        if (contains(message, "No such file") || contains(message, "No files found") ||
            contains(message, "does not exist")) {
            return fail(ErrorCode::NotFound, std::move(message));
        }
        return fail(ErrorCode::Unavailable, std::move(message));
    }
    for (std::string_view kind :
         {"INTERNAL Error", "FATAL Error", "TransactionContext Error", "Connection Error",
          "Serialization Error", "Executor Error", "Scheduler Error"}) {
        if (starts_with(message, kind)) return fail(ErrorCode::Internal, std::move(message));
    }
    return fail(ErrorCode::InvalidArgument, std::move(message));
}

std::string_view plain_name(TypeId id) {
    switch (id) {
        case TypeId::Boolean:
            return "BOOLEAN";
        case TypeId::TinyInt:
            return "TINYINT";
        case TypeId::SmallInt:
            return "SMALLINT";
        case TypeId::Integer:
            return "INTEGER";
        case TypeId::BigInt:
            return "BIGINT";
        case TypeId::UTinyInt:
            return "UTINYINT";
        case TypeId::USmallInt:
            return "USMALLINT";
        case TypeId::UInteger:
            return "UINTEGER";
        case TypeId::UBigInt:
            return "UBIGINT";
        case TypeId::Float:
            return "FLOAT";
        case TypeId::Double:
            return "DOUBLE";
        case TypeId::Timestamp:
            return "TIMESTAMP";
        case TypeId::Date:
            return "DATE";
        case TypeId::Time:
            return "TIME";
        case TypeId::Interval:
            return "INTERVAL";
        case TypeId::HugeInt:
            return "HUGEINT";
        case TypeId::UHugeInt:
            return "UHUGEINT";
        case TypeId::Varchar:
            return "VARCHAR";
        case TypeId::Blob:
            return "BLOB";
        case TypeId::TimestampS:
            return "TIMESTAMP_S";
        case TypeId::TimestampMs:
            return "TIMESTAMP_MS";
        case TypeId::TimestampNs:
            return "TIMESTAMP_NS";
        case TypeId::Uuid:
            return "UUID";
        case TypeId::Bit:
            return "BIT";
        case TypeId::TimeTz:
            return "TIME WITH TIME ZONE";
        case TypeId::TimestampTz:
            return "TIMESTAMP WITH TIME ZONE";
        case TypeId::BigNum:
            return "BIGNUM";
        case TypeId::SqlNull:
            return "\"NULL\"";
        case TypeId::TimeNs:
            return "TIME_NS";
        case TypeId::Geometry:
            return "GEOMETRY";
        case TypeId::Variant:
            return "VARIANT";
        default:
            return "UNKNOWN";
    }
}

int plain_bytes(TypeId id) {
    switch (id) {
        case TypeId::Boolean:
        case TypeId::TinyInt:
        case TypeId::UTinyInt:
            return 1;
        case TypeId::SmallInt:
        case TypeId::USmallInt:
            return 2;
        case TypeId::Integer:
        case TypeId::UInteger:
        case TypeId::Float:
        case TypeId::Date:
            return 4;
        case TypeId::HugeInt:
        case TypeId::UHugeInt:
        case TypeId::Uuid:
        case TypeId::Interval:
        case TypeId::Varchar:
        case TypeId::Blob:
        case TypeId::Bit:
            return 16;
        default:
            return 8;
    }
}

int storage_bytes_of(duckdb_type internal) {
    switch (internal) {
        case DUCKDB_TYPE_TINYINT:
        case DUCKDB_TYPE_UTINYINT:
            return 1;
        case DUCKDB_TYPE_SMALLINT:
        case DUCKDB_TYPE_USMALLINT:
            return 2;
        case DUCKDB_TYPE_INTEGER:
        case DUCKDB_TYPE_UINTEGER:
            return 4;
        case DUCKDB_TYPE_HUGEINT:
            return 16;
        default:
            return 8;
    }
}

Type describe(duckdb_logical_type handle) {
    Type type;
    type.id = static_cast<TypeId>(duckdb_get_type_id(handle));
    if (OwnedText alias(duckdb_logical_type_get_alias(handle)); alias) type.alias = alias.get();
    type.storage_bytes = plain_bytes(type.id);
    type.sql = plain_name(type.id);
    switch (type.id) {
        case TypeId::Decimal:
            type.precision = duckdb_decimal_width(handle);
            type.scale = duckdb_decimal_scale(handle);
            type.storage_bytes = storage_bytes_of(duckdb_decimal_internal_type(handle));
            type.sql = fmt::format("DECIMAL({},{})", type.precision, type.scale);
            break;
        case TypeId::Enum: {
            type.storage_bytes = storage_bytes_of(duckdb_enum_internal_type(handle));
            type.sql = "ENUM(";
            uint32_t count = duckdb_enum_dictionary_size(handle);
            for (uint32_t i = 0; i < count; ++i) {
                OwnedText value(duckdb_enum_dictionary_value(handle, i));
                type.names.emplace_back(value.get());
                type.sql += (i ? ", " : "") + quote_literal(value.get());
            }
            type.sql += ')';
            break;
        }
        case TypeId::List: {
            LogicalType child(duckdb_list_type_child_type(handle));
            type.children.push_back(describe(child.handle));
            type.sql = type.children[0].sql + "[]";
            break;
        }
        case TypeId::Array: {
            LogicalType child(duckdb_array_type_child_type(handle));
            type.children.push_back(describe(child.handle));
            type.array_size = duckdb_array_type_array_size(handle);
            type.sql = fmt::format("{}[{}]", type.children[0].sql, type.array_size);
            break;
        }
        case TypeId::Map: {
            LogicalType key(duckdb_map_type_key_type(handle));
            LogicalType value(duckdb_map_type_value_type(handle));
            type.children.push_back(describe(key.handle));
            type.children.push_back(describe(value.handle));
            type.sql = fmt::format("MAP({}, {})", type.children[0].sql, type.children[1].sql);
            break;
        }
        case TypeId::Struct:
        case TypeId::Union: {
            bool is_union = type.id == TypeId::Union;
            uint64_t count = is_union ? duckdb_union_type_member_count(handle)
                                      : duckdb_struct_type_child_count(handle);
            type.sql = is_union ? "UNION(" : "STRUCT(";
            for (uint64_t i = 0; i < count; ++i) {
                OwnedText name(is_union ? duckdb_union_type_member_name(handle, i)
                                        : duckdb_struct_type_child_name(handle, i));
                LogicalType member(is_union ? duckdb_union_type_member_type(handle, i)
                                            : duckdb_struct_type_child_type(handle, i));
                type.names.emplace_back(name.get());
                type.children.push_back(describe(member.handle));
                type.sql += fmt::format("{}{} {}", i ? ", " : "", quote_identifier(name.get()),
                                        type.children.back().sql);
            }
            type.sql += ')';
            break;
        }
        default:
            break;
    }
    if (!type.alias.empty()) type.sql = type.alias;
    return type;
}

template <class T>
T load(const void* data, uint64_t row) {
    T value;
    std::memcpy(&value, static_cast<const char*>(data) + row * sizeof(T), sizeof(T));
    return value;
}

}  // namespace

std::string library_version() { return duckdb_library_version(); }

std::string quote_identifier(std::string_view name) {
    std::string quoted = "\"";
    for (char c : name) {
        if (c == '"') quoted += '"';
        quoted += c;
    }
    return quoted += '"';
}

std::string quote_literal(std::string_view text) {
    std::string quoted = "'";
    for (char c : text) {
        if (c == '\'') quoted += '\'';
        quoted += c;
    }
    return quoted += '\'';
}

Result<std::string> glob_of(const std::string& path) {
    if (path.find_first_of("*?[") == std::string::npos) return path;
    if (path.find('\\') != std::string::npos) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("the path {} has both a backslash and one of * ? [ in it", path),
                    "Rename the folder or file");
    }
    std::string pattern;
    for (const char c : path) {
        if (c == '*' || c == '?' || c == '[') {
            pattern += {'[', c, ']'};
        } else {
            pattern += c;
        }
    }
    return pattern;
}

// ----------------------------------------------------------------- ColumnView

ColumnView::ColumnView(_duckdb_vector* vector, const Type* type)
    : vector_(vector),
      type_(type),
      data_(duckdb_vector_get_data(vector)),
      validity_(duckdb_vector_get_validity(vector)) {}

int64_t ColumnView::int64_at(uint64_t row) const {
    switch (type_->id) {
        case TypeId::Boolean:
        case TypeId::UTinyInt:
            return load<uint8_t>(data_, row);
        case TypeId::TinyInt:
            return load<int8_t>(data_, row);
        case TypeId::USmallInt:
            return load<uint16_t>(data_, row);
        case TypeId::SmallInt:
            return load<int16_t>(data_, row);
        case TypeId::UInteger:
            return load<uint32_t>(data_, row);
        case TypeId::Integer:
        case TypeId::Date:
            return load<int32_t>(data_, row);
        case TypeId::Enum:
            switch (type_->storage_bytes) {
                case 1:
                    return load<uint8_t>(data_, row);
                case 2:
                    return load<uint16_t>(data_, row);
                default:
                    return load<uint32_t>(data_, row);
            }
        case TypeId::Decimal:
            switch (type_->storage_bytes) {
                case 2:
                    return load<int16_t>(data_, row);
                case 4:
                    return load<int32_t>(data_, row);
                case 8:
                    return load<int64_t>(data_, row);
                default:
                    return static_cast<int64_t>(load<Int128>(data_, row));
            }
        default:
            return load<int64_t>(data_, row);
    }
}

Int128 ColumnView::int128_at(uint64_t row) const {
    if (type_->storage_bytes == 16) return load<Int128>(data_, row);
    if (type_->id == TypeId::UBigInt) return load<uint64_t>(data_, row);
    return int64_at(row);
}

double ColumnView::double_at(uint64_t row) const {
    return type_->id == TypeId::Float ? static_cast<double>(load<float>(data_, row))
                                      : load<double>(data_, row);
}

std::pair<uint64_t, uint64_t> ColumnView::list_at(uint64_t row) const {
    if (type_->id == TypeId::Array) return {row * type_->array_size, type_->array_size};
    auto entry = load<duckdb_list_entry>(data_, row);
    return {entry.offset, entry.length};
}

ColumnView ColumnView::child(size_t index) const {
    static const Type kTag = [] {
        Type tag;
        tag.id = TypeId::UTinyInt;
        tag.sql = "UTINYINT";
        tag.storage_bytes = 1;
        return tag;
    }();
    switch (type_->id) {
        case TypeId::List:
            return {duckdb_list_vector_get_child(vector_), &type_->children[0]};
        case TypeId::Array:
            return {duckdb_array_vector_get_child(vector_), &type_->children[0]};
        case TypeId::Map:
            return {duckdb_struct_vector_get_child(duckdb_list_vector_get_child(vector_), index),
                    &type_->children[index]};
        case TypeId::Union:
            return {duckdb_struct_vector_get_child(vector_, index),
                    index == 0 ? &kTag : &type_->children[index - 1]};
        default:
            return {duckdb_struct_vector_get_child(vector_, index), &type_->children[index]};
    }
}

// ---------------------------------------------------------------------- Chunk

Chunk::Chunk(_duckdb_data_chunk* handle, const std::vector<Column>* columns)
    : handle_(handle), columns_(columns), row_count_(duckdb_data_chunk_get_size(handle)) {}

Chunk::~Chunk() {
    if (handle_) duckdb_destroy_data_chunk(&handle_);
}

Chunk& Chunk::operator=(Chunk&& other) noexcept {
    if (this != &other) {
        if (handle_) duckdb_destroy_data_chunk(&handle_);
        handle_ = std::exchange(other.handle_, nullptr);
        columns_ = other.columns_;
        row_count_ = other.row_count_;
    }
    return *this;
}

ColumnView Chunk::column(size_t index) const {
    return {duckdb_data_chunk_get_vector(handle_, index), &(*columns_)[index].type};
}

// ----------------------------------------------------------------------- Rows

struct Rows::State {
    duckdb_result result{};
    std::vector<Column> columns;
    bool done = false;

    ~State() { duckdb_destroy_result(&result); }
    void describe_columns() {
        idx_t count = duckdb_column_count(&result);
        columns.reserve(count);
        for (idx_t i = 0; i < count; ++i) {
            LogicalType type(duckdb_column_logical_type(&result, i));
            columns.push_back({duckdb_column_name(&result, i), describe(type.handle)});
        }
    }
};

Rows::Rows(std::unique_ptr<State> state) : state_(std::move(state)) { state_->describe_columns(); }
Rows::Rows(Rows&&) noexcept = default;
Rows& Rows::operator=(Rows&&) noexcept = default;
Rows::~Rows() = default;

const std::vector<Column>& Rows::columns() const { return state_->columns; }
uint64_t Rows::rows_changed() const { return duckdb_rows_changed(&state_->result); }

Result<std::optional<Chunk>> Rows::next() {
    while (!state_->done) {
        duckdb_data_chunk handle = duckdb_fetch_chunk(state_->result);
        if (handle == nullptr) {
            state_->done = true;
            const char* error = duckdb_result_error(&state_->result);
            if (error != nullptr && *error != '\0') return duckdb_error(error);
            break;
        }
        Chunk chunk(handle, &state_->columns);
        if (chunk.row_count() > 0) return std::optional<Chunk>(std::move(chunk));
    }
    return std::optional<Chunk>();
}

Result<std::vector<std::vector<std::optional<std::string>>>> Rows::read_text() {
    std::vector<std::vector<std::optional<std::string>>> rows;
    while (std::optional<Chunk> chunk = PX_TRY(next())) {
        size_t first = rows.size();
        rows.resize(first + chunk->row_count());
        for (uint64_t r = 0; r < chunk->row_count(); ++r)
            rows[first + r].resize(state_->columns.size());
        for (size_t c = 0; c < state_->columns.size(); ++c) {
            ColumnView column = chunk->column(c);
            for (uint64_t r = 0; r < chunk->row_count(); ++r) {
                if (column.is_null(r)) continue;
                PX_TRY(column.append_text(r, rows[first + r][c].emplace()));
            }
        }
    }
    return rows;
}

// ------------------------------------------------------------------- Prepared

Prepared::~Prepared() {
    if (handle_) duckdb_destroy_prepare(&handle_);
}

uint64_t Prepared::parameter_count() const { return duckdb_nparams(handle_); }
StatementType Prepared::type() const {
    return static_cast<StatementType>(duckdb_prepared_statement_type(handle_));
}

namespace {
Result<void> bound(duckdb_state state, duckdb_prepared_statement handle, uint64_t index) {
    if (state == DuckDBSuccess) return {};
    const char* error = duckdb_prepare_error(handle);
    if (error != nullptr && *error != '\0') return duckdb_error(error);
    return fail(ErrorCode::InvalidArgument,
                fmt::format("cannot bind parameter ${} of a statement with {} parameters", index,
                            duckdb_nparams(handle)));
}
}  // namespace

Result<void> Prepared::bind_text(uint64_t index, std::string_view text) {
    return bound(
        duckdb_bind_varchar_length(handle_, index, text.data() ? text.data() : "", text.size()),
        handle_, index);
}
Result<void> Prepared::bind_int64(uint64_t index, int64_t value) {
    return bound(duckdb_bind_int64(handle_, index, value), handle_, index);
}
Result<void> Prepared::bind_double(uint64_t index, double value) {
    return bound(duckdb_bind_double(handle_, index, value), handle_, index);
}
Result<void> Prepared::bind_null(uint64_t index) {
    return bound(duckdb_bind_null(handle_, index), handle_, index);
}

Result<Rows> Prepared::execute() {
    auto state = std::make_unique<Rows::State>();
    if (duckdb_execute_prepared(handle_, &state->result) != DuckDBSuccess) {
        return duckdb_error(duckdb_result_error(&state->result));
    }
    return Rows(std::move(state));
}

Result<Rows> Prepared::stream() {
    duckdb_pending_result pending = nullptr;
    if (duckdb_pending_prepared_streaming(handle_, &pending) != DuckDBSuccess) {
        Error error = duckdb_error(pending ? duckdb_pending_error(pending) : nullptr);
        if (pending) duckdb_destroy_pending(&pending);
        return error;
    }
    auto state = std::make_unique<Rows::State>();
    duckdb_state done = duckdb_execute_pending(pending, &state->result);
    if (done != DuckDBSuccess) {
        const char* text = duckdb_result_error(&state->result);
        Error error = duckdb_error(text && *text ? text : duckdb_pending_error(pending));
        duckdb_destroy_pending(&pending);
        return error;
    }
    duckdb_destroy_pending(&pending);
    return Rows(std::move(state));
}

// ----------------------------------------------------------------- Connection

Connection::~Connection() {
    if (handle_) duckdb_disconnect(&handle_);
}

Connection& Connection::operator=(Connection&& other) noexcept {
    if (this != &other) {
        if (handle_) duckdb_disconnect(&handle_);
        handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
}

Result<void> Connection::execute(const std::string& sql) {
    PX_TRY(query(sql));
    return {};
}

Result<Rows> Connection::query(const std::string& sql) {
    auto state = std::make_unique<Rows::State>();
    if (duckdb_query(handle_, sql.c_str(), &state->result) != DuckDBSuccess) {
        return duckdb_error(duckdb_result_error(&state->result));
    }
    return Rows(std::move(state));
}

Result<Rows> Connection::stream(const std::string& sql) {
    Prepared prepared = PX_TRY(prepare(sql));
    return prepared.stream();
}

Result<Prepared> Connection::prepare(const std::string& sql) {
    duckdb_prepared_statement handle = nullptr;
    duckdb_state state = duckdb_prepare(handle_, sql.c_str(), &handle);
    Prepared prepared(handle_, handle);
    if (state != DuckDBSuccess)
        return duckdb_error(handle ? duckdb_prepare_error(handle) : nullptr);
    return prepared;
}

namespace {
struct Extracted {
    duckdb_extracted_statements handle = nullptr;
    idx_t count = 0;
    Extracted() = default;
    Extracted(const Extracted&) = delete;
    Extracted& operator=(const Extracted&) = delete;
    ~Extracted() { duckdb_destroy_extracted(&handle); }
    Result<void> parse(duckdb_connection connection, const std::string& sql) {
        count = duckdb_extract_statements(connection, sql.c_str(), &handle);
        if (count == 0) {
            const char* error = duckdb_extract_statements_error(handle);
            if (error != nullptr && *error != '\0') return duckdb_error(error);
        }
        return {};
    }
};
}  // namespace

Result<uint64_t> Connection::count_statements(const std::string& sql) {
    Extracted extracted;
    PX_TRY(extracted.parse(handle_, sql));
    return extracted.count;
}

Result<std::vector<StatementType>> Connection::statement_types(const std::string& sql) {
    Extracted extracted;
    PX_TRY(extracted.parse(handle_, sql));
    std::vector<StatementType> types;
    for (idx_t i = 0; i < extracted.count; ++i) {
        duckdb_prepared_statement handle = nullptr;
        duckdb_state state =
            duckdb_prepare_extracted_statement(handle_, extracted.handle, i, &handle);
        Prepared prepared(handle_, handle);
        if (state != DuckDBSuccess)
            return duckdb_error(handle ? duckdb_prepare_error(handle) : nullptr);
        types.push_back(prepared.type());
    }
    return types;
}

void Connection::interrupt() { duckdb_interrupt(handle_); }

// ------------------------------------------------------------------- Database

Result<Database> Database::open(const std::string& path,
                                const std::map<std::string, std::string>& settings) {
    struct Config {
        duckdb_config handle = nullptr;
        ~Config() { duckdb_destroy_config(&handle); }
    } config;
    if (duckdb_create_config(&config.handle) != DuckDBSuccess) {
        return fail(ErrorCode::Internal, "DuckDB cannot make a configuration");
    }
    for (const auto& [name, value] : settings) {
        if (duckdb_set_config(config.handle, name.c_str(), value.c_str()) != DuckDBSuccess) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("DuckDB refuses the setting {}={}", name, value));
        }
    }
    duckdb_database handle = nullptr;
    char* error = nullptr;
    if (duckdb_open_ext(path.empty() ? nullptr : path.c_str(), &handle, config.handle, &error) !=
        DuckDBSuccess) {
        OwnedText owned(error);
        return duckdb_error(error);
    }
    return Database(handle);
}

Database::~Database() {
    if (handle_) duckdb_close(&handle_);
}

Database& Database::operator=(Database&& other) noexcept {
    if (this != &other) {
        if (handle_) duckdb_close(&handle_);
        handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
}

Result<Connection> Database::connect() {
    duckdb_connection handle = nullptr;
    if (duckdb_connect(handle_, &handle) != DuckDBSuccess) {
        return fail(ErrorCode::ResourceExhausted, "DuckDB cannot open another connection");
    }
    return Connection(handle);
}

}  // namespace px::duckdb
