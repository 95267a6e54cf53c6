// Move-only handles over DuckDB: Database, Connection, Prepared, Rows, Chunk, ColumnView. Rank 1;
// relies on base only. A Database is thread-safe; a Connection and what came from it belong to one
// thread at a time, but for interrupt(). Errors everywhere, with DuckDB's message: Parser, Binder,
// Catalog, Conversion, Invalid Input, Out of Range, Constraint … InvalidArgument; Permission
// Forbidden; Out of Memory (memory or temporary space) ResourceExhausted; Interrupted Cancelled; IO
// NotFound, Forbidden, ResourceExhausted (disk full) or Unavailable; the rest Internal.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

struct _duckdb_database;
struct _duckdb_connection;
struct _duckdb_prepared_statement;
struct _duckdb_data_chunk;
struct _duckdb_vector;

namespace px::duckdb {

__extension__ typedef __int128 Int128;
__extension__ typedef unsigned __int128 UInt128;

/// Physical and logical kinds of a column; the numbers are DuckDB's own.
enum class TypeId {
    Invalid = 0,
    Boolean = 1,
    TinyInt = 2,
    SmallInt = 3,
    Integer = 4,
    BigInt = 5,
    UTinyInt = 6,
    USmallInt = 7,
    UInteger = 8,
    UBigInt = 9,
    Float = 10,
    Double = 11,
    Timestamp = 12,
    Date = 13,
    Time = 14,
    Interval = 15,
    HugeInt = 16,
    Varchar = 17,
    Blob = 18,
    Decimal = 19,
    TimestampS = 20,
    TimestampMs = 21,
    TimestampNs = 22,
    Enum = 23,
    List = 24,
    Struct = 25,
    Map = 26,
    Uuid = 27,
    Union = 28,
    Bit = 29,
    TimeTz = 30,
    TimestampTz = 31,
    UHugeInt = 32,
    Array = 33,
    BigNum = 35,
    SqlNull = 36,
    TimeNs = 39,
    Geometry = 40,
    Variant = 41,
};

/// A column type with everything reading its vectors takes.
struct Type {
    TypeId id = TypeId::Invalid;
    std::string sql;    ///< as SQL writes it: "DECIMAL(18,2)", "INTEGER[]", "STRUCT(a BIGINT)"
    std::string alias;  ///< "JSON" for that VARCHAR; else empty
    int precision = 0, scale = 0;  ///< Decimal
    int storage_bytes = 0;    ///< Decimal 2, 4, 8, 16; Enum 1, 2, 4; fixed-width types their width
    uint64_t array_size = 0;  ///< Array
    std::vector<std::string> names;  ///< Enum values; Struct and Union member names
    std::vector<Type> children;  ///< List, Array: element; Struct, Union: members; Map: key, value
};

struct Column {
    std::string name;
    Type type;
};

/// One vector of a chunk; valid as long as its Chunk and Rows.
class ColumnView {
  public:
    ColumnView(_duckdb_vector* vector, const Type* type);

    const Type& type() const { return *type_; }
    bool is_null(uint64_t row) const {
        return validity_ != nullptr && ((validity_[row >> 6] >> (row & 63)) & 1) == 0;
    }
    /// The values as they lie in memory; T must be of type().storage_bytes.
    template <class T>
    const T* data() const {
        return static_cast<const T*>(data_);
    }
    const uint64_t* validity() const { return validity_; }  ///< bit 1 = valid; null: no nulls
    bool bool_at(uint64_t row) const { return data<uint8_t>()[row] != 0; }
    /// Booleans, every integer up to 64 bits (UBigInt wraps), Date (days), Time and timestamps in
    /// their own unit, Decimal of at most 18 digits (unscaled). Enum: index of the value.
    int64_t int64_at(uint64_t row) const;
    /// As int64_at, and HugeInt, UHugeInt (wraps) and every Decimal.
    Int128 int128_at(uint64_t row) const;
    double double_at(uint64_t row) const;  ///< Float, Double
    /// Varchar, Blob: the bytes; not to be called on null.
    std::string_view bytes_at(uint64_t row) const {
        struct Slot {
            uint32_t length;
            char bytes[12];
        };
        const Slot* slot = data<Slot>() + row;
        if (slot->length <= sizeof(slot->bytes)) return {slot->bytes, slot->length};
        const char* pointer;
        std::memcpy(&pointer, slot->bytes + 4, sizeof pointer);
        return {pointer, slot->length};
    }
    /// List: where the row's elements lie in child(0).
    std::pair<uint64_t, uint64_t> list_at(uint64_t row) const;
    /// List, Map: the elements; Array: array_size a row; Struct, Union: member (Union: 0 is the
    /// tag).
    ColumnView child(size_t index = 0) const;
    /// Appends the value as SQL prints it. Errors: InvalidArgument for a type without a text here
    /// (hint: CAST).
    Result<void> append_text(uint64_t row, std::string& out) const;

  private:
    _duckdb_vector* vector_;
    const Type* type_;
    const void* data_;
    const uint64_t* validity_;
};

/// Up to about 2,048 rows.
class Chunk {
  public:
    ~Chunk();
    Chunk(Chunk&& other) noexcept
        : handle_(std::exchange(other.handle_, nullptr)),
          columns_(other.columns_),
          row_count_(other.row_count_) {}
    Chunk& operator=(Chunk&& other) noexcept;
    uint64_t row_count() const { return row_count_; }
    ColumnView column(size_t index) const;

  private:
    friend class Rows;
    Chunk(_duckdb_data_chunk* handle, const std::vector<Column>* columns);
    _duckdb_data_chunk* handle_ = nullptr;
    const std::vector<Column>* columns_ = nullptr;
    uint64_t row_count_ = 0;
};

/// The rows of a query, chunk by chunk, in the order of the query.
class Rows {
  public:
    Rows(Rows&&) noexcept;
    Rows& operator=(Rows&&) noexcept;
    ~Rows();
    const std::vector<Column>& columns() const;
    /// nullopt: no more. A streamed query runs while it is fetched, so it may fail here.
    Result<std::optional<Chunk>> next();
    /// All rows left, as text; nullopt = NULL.
    Result<std::vector<std::vector<std::optional<std::string>>>> read_text();
    /// Rows changed by INSERT, UPDATE, DELETE, COPY.
    uint64_t rows_changed() const;

  private:
    friend class Connection;
    friend class Prepared;
    struct State;
    explicit Rows(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

enum class StatementType {
    Select = 1,
    Insert = 2,
    Update = 3,
    Explain = 4,
    Delete = 5,
    Prepare = 6,
    Create = 7,
    Execute = 8,
    Alter = 9,
    Transaction = 10,
    Copy = 11,
    Drop = 15,
    Export = 16,
    Pragma = 17,
    Call = 19,
    Set = 20,
    Load = 21,
    Attach = 25,
    Detach = 26
};

class Prepared {
  public:
    ~Prepared();
    Prepared(Prepared&& other) noexcept
        : connection_(other.connection_), handle_(std::exchange(other.handle_, nullptr)) {}
    Prepared& operator=(Prepared&&) = delete;

    uint64_t parameter_count() const;
    StatementType type() const;
    /// Parameters are numbered from 1; a text converts to the type the statement wants. Errors:
    /// InvalidArgument.
    Result<void> bind_text(uint64_t index, std::string_view text);
    Result<void> bind_int64(uint64_t index, int64_t value);
    Result<void> bind_double(uint64_t index, double value);
    Result<void> bind_null(uint64_t index);
    Result<Rows> execute();  ///< the whole result is in memory
    Result<Rows> stream();   ///< runs as it is fetched; ended by the next query of the connection

  private:
    friend class Connection;
    Prepared(_duckdb_connection* connection, _duckdb_prepared_statement* handle)
        : connection_(connection), handle_(handle) {}
    _duckdb_connection* connection_ = nullptr;
    _duckdb_prepared_statement* handle_ = nullptr;
};

class Connection {
  public:
    ~Connection();
    Connection(Connection&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Connection& operator=(Connection&& other) noexcept;

    /// Runs every statement of sql, dropping rows.
    Result<void> execute(const std::string& sql);
    Result<Rows> query(const std::string& sql);   ///< the whole result is in memory
    Result<Rows> stream(const std::string& sql);  ///< one statement; see Prepared::stream
    Result<Prepared> prepare(const std::string& sql);
    /// How many statements the text holds. Parses only. Errors: InvalidArgument (syntax).
    Result<uint64_t> count_statements(const std::string& sql);
    /// The type of each statement. Binds each one, so tables must exist and files named in them are
    /// looked at.
    Result<std::vector<StatementType>> statement_types(const std::string& sql);
    /// Any thread: the query that runs now fails with Cancelled.
    void interrupt();

  private:
    friend class Database;
    explicit Connection(_duckdb_connection* handle) : handle_(handle) {}
    _duckdb_connection* handle_ = nullptr;
};

class Database {
  public:
    /// path empty: in memory. Settings are those of DuckDB's configuration. Errors: InvalidArgument
    /// (unknown setting).
    static Result<Database> open(const std::string& path,
                                 const std::map<std::string, std::string>& settings);
    ~Database();
    Database(Database&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Database& operator=(Database&& other) noexcept;
    Result<Connection> connect();

  private:
    explicit Database(_duckdb_database* handle) : handle_(handle) {}
    _duckdb_database* handle_ = nullptr;
};

/// "v1.5.5".
std::string library_version();
/// A name as an SQL identifier: "a""b". A text as an SQL literal: 'a''b'.
std::string quote_identifier(std::string_view name);
std::string quote_literal(std::string_view text);
/// A path as read_parquet and its like take it, which read a name with * ? [ as a pattern: such
/// characters stand in brackets. Under a sandbox both the path and this must be allowed. Errors:
/// InvalidArgument (a backslash as well, which DuckDB takes for a separator in patterns).
Result<std::string> glob_of(const std::string& path);

}  // namespace px::duckdb
