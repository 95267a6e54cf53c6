// Move-only handles over SQLite: Database, Statement, Transaction. Rank 1; relies on base only.
// A Database and its Statements belong to one thread at a time (opened without SQLite's own mutex).
// Errors everywhere: SQLITE_BUSY/LOCKED Unavailable, FULL/TOOBIG/NOMEM ResourceExhausted,
// CORRUPT/NOTADB Corrupt, READONLY/PERM/AUTH Forbidden, CANTOPEN NotFound, Unavailable or Forbidden, CONSTRAINT
// AlreadyExists (unique) or InvalidArgument, INTERRUPT Cancelled, ERROR (SQL that does not compile)
// InvalidArgument, the rest Internal.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace px::sqlite {

enum class OpenMode {
    ReadOnly,   ///< must exist; never written
    ReadWrite,  ///< must exist
    Create,     ///< made when missing
};

struct OpenOptions {
    OpenMode mode = OpenMode::ReadOnly;
    /// How long a statement waits for another connection's lock before it fails with Unavailable.
    std::chrono::milliseconds busy_timeout{10'000};
    /// With ReadOnly: the file can't change while open, so no lock is taken and no -wal/-shm is
    /// touched or made.
    bool immutable = false;
};

enum class ValueType { Null, Int64, Double, Text, Blob };

/// One prepared statement. Must be destroyed before its Database.
class Statement {
  public:
    Statement() = default;
    ~Statement();
    Statement(Statement&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Statement& operator=(Statement&& other) noexcept;

    /// Parameters are numbered from 1. The bytes are copied. A failed bind is told by the next
    /// step().
    Statement& bind_text(int index, std::string_view text);
    Statement& bind_int64(int index, int64_t value);
    Statement& bind_double(int index, double value);
    Statement& bind_blob(int index, std::string_view bytes);
    Statement& bind_null(int index);
    Statement& bind_optional_int64(int index, const std::optional<int64_t>& value);
    int parameter_count() const;

    /// True: a row stands ready; false: done.
    Result<bool> step();
    /// Steps to the end, dropping rows, then resets: for statements without a result.
    Result<void> run();
    /// Ready to be stepped again; bindings are cleared.
    void reset();

    int column_count() const;
    std::string_view column_name(int column) const;      ///< until the statement is destroyed
    std::string_view column_decltype(int column) const;  ///< declared type; empty for expressions
    /// Of the current row; columns are numbered from 0.
    ValueType column_type(int column) const;
    bool is_null(int column) const { return column_type(column) == ValueType::Null; }
    int64_t column_int64(int column) const;
    double column_double(int column) const;
    std::string_view column_text(int column) const;  ///< until the next step, reset or text access
    std::string_view column_blob(int column) const;  ///< until the next step, reset or text access
    std::optional<int64_t> column_optional_int64(int column) const;

  private:
    friend class Database;
    explicit Statement(sqlite3_stmt* handle) : handle_(handle) {}
    sqlite3_stmt* handle_ = nullptr;
    int bind_error_ = 0;
};

class Database {
  public:
    /// Errors: NotFound (no such file in ReadOnly or ReadWrite), Forbidden, Corrupt (told by the
    /// first statement too).
    static Result<Database> open(const std::filesystem::path& file, const OpenOptions& options);
    /// A private database in memory.
    static Result<Database> open_memory();
    ~Database();
    Database(Database&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Database& operator=(Database&& other) noexcept;

    /// Runs every statement of sql, dropping rows.
    Result<void> exec(const std::string& sql);
    /// Exactly one statement. Errors: InvalidArgument with SQLite's message and the SQL around it.
    Result<Statement> prepare(std::string_view sql);
    /// First column of the first row of a query; nullopt: no row or NULL.
    Result<std::optional<int64_t>> query_int64(std::string_view sql);
    Result<std::optional<std::string>> query_text(std::string_view sql);

    int64_t changes() const;  ///< rows the last INSERT, UPDATE or DELETE touched
    int64_t last_insert_rowid() const;
    bool is_readonly() const;
    /// Any thread: the statement that runs now fails with Cancelled.
    void interrupt();
    /// callback(context) is called about every `operations` virtual-machine steps; non-zero
    /// interrupts. Null: off.
    void set_progress_callback(int operations, int (*callback)(void*), void* context);
    sqlite3* handle() const { return handle_; }

  private:
    explicit Database(sqlite3* handle) : handle_(handle) {}
    sqlite3* handle_ = nullptr;
};

/// BEGIN … COMMIT; rolled back when destroyed before commit(). The Database must stay where it is.
class Transaction {
  public:
    enum class Kind {
        Deferred,   ///< the write lock is taken by the first write
        Immediate,  ///< the write lock is taken now (waits up to the busy timeout)
    };
    static Result<Transaction> begin(Database& database, Kind kind);
    ~Transaction();
    Transaction(Transaction&& other) noexcept
        : database_(std::exchange(other.database_, nullptr)) {}
    Transaction& operator=(Transaction&&) = delete;
    Result<void> commit();

  private:
    explicit Transaction(Database* database) : database_(database) {}
    Database* database_ = nullptr;
};

}  // namespace px::sqlite
