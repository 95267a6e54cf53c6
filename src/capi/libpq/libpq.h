// Move-only handles over libpq: Connection, Rows, Parameters, CopyRows. Rank 1; relies on base
// only. A Connection belongs to one thread at a time. Every wait takes a Deadline; a wait that ends
// by it cancels the statement and closes the connection. No password is in any error. Errors by
// SQLSTATE: see error_code_of. Instants travel as microseconds, text as UTF-8.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

struct pg_conn;
struct pg_result;

namespace px::libpq {

/// What kind of failure an SQLSTATE is. A server that can't be used as it is (no such database, no
/// such table, missing rights, read-only, going down, too many connections) is Unavailable; a wrong
/// password or role Unauthenticated; serialization failure and deadlock Conflict; a unique key
/// AlreadyExists; wrong SQL or values InvalidArgument.
ErrorCode error_code_of(std::string_view sqlstate);
/// What a person can do about it; may be empty.
std::string_view next_step_of(std::string_view sqlstate);
/// True for a server that is starting up, going down or recovering: it may answer in a moment.
bool says_not_yet(const Error& error);

/// A `postgresql://` address, checked. Holds the password; `shown` doesn't.
struct Address {
    std::string text;
    std::string shown;     ///< "HOST:PORT/DATABASE"
    std::string password;  ///< to be kept out of messages
};
/// Errors: InvalidArgument, without any part of the text: it may hold a password in a wrong place.
Result<Address> parse_address(std::string_view text);

/// Text as PostgreSQL can hold it: NUL and ill-formed UTF-8 become U+FFFD.
std::string storable(std::string_view text);

/// Values of $1, $2 …, each with its type.
class Parameters {
  public:
    /// Bytes PostgreSQL's text can't hold (NUL, ill-formed UTF-8) become U+FFFD.
    Parameters& text(std::string_view value);
    Parameters& int64(int64_t value);
    Parameters& boolean(bool value);
    /// timestamptz. Before 4713 BC: -infinity, which reads back as the smallest int64.
    Parameters& instant(TimestampMicros value);
    Parameters& instant(const std::optional<TimestampMicros>& value);

  private:
    friend class Connection;
    std::vector<unsigned> types_;
    std::vector<std::optional<std::string>> values_;
};

/// The rows of a finished statement, all in memory. Columns and rows are numbered from 0.
class Rows {
  public:
    Rows() = default;
    int row_count() const;
    int column_count() const;
    std::string_view column_name(int column) const;
    unsigned column_type(int column) const;  ///< OID
    int64_t affected() const;                ///< rows an INSERT, UPDATE, DELETE or COPY touched
    bool is_null(int row, int column) const;
    int64_t int64(int row, int column) const;  ///< of smallint, integer or bigint
    bool boolean(int row, int column) const;
    std::string_view text(int row, int column) const;  ///< bytes of text; as long as the Rows
    TimestampMicros instant(int row, int column) const;
    std::optional<TimestampMicros> optional_instant(int row, int column) const;

  private:
    friend class Connection;
    explicit Rows(pg_result* handle);
    struct Clear {
        void operator()(pg_result* handle) const;
    };
    std::unique_ptr<pg_result, Clear> handle_;
};

/// Rows in COPY's binary format, appended to a buffer of the caller.
class CopyRows {
  public:
    explicit CopyRows(std::string& out) : out_(out) {}
    void header();
    void row(int column_count);
    void text(std::string_view value);  ///< as Parameters::text
    void null();
    void int32(int32_t value);  ///< of an integer column
    void int64(int64_t value);
    void boolean(bool value);
    void instant(const std::optional<TimestampMicros>& value);
    void trailer();

  private:
    std::string& out_;
};

struct ConnectOptions {
    std::string application_name = "px";  ///< shown in pg_stat_activity
    std::chrono::milliseconds connect_timeout{10'000};
};

class Connection {
  public:
    /// Errors: Unauthenticated, Unavailable (host, port, TLS, database, server starting up),
    /// DeadlineExceeded or Cancelled (of the deadline).
    static Result<Connection> connect(const Address& address, const ConnectOptions& options,
                                      const Deadline& deadline);
    ~Connection();
    Connection(Connection&& other) noexcept;
    Connection& operator=(Connection&& other) noexcept;

    /// False once the connection is known to be lost. Without a round trip.
    bool is_usable() const { return handle_ != nullptr && !broken_; }
    /// Looks, without a round trip, whether the server has hung up meanwhile.
    bool has_hung_up();
    /// SQLSTATE of the last statement's failure; empty: none, or the connection was lost.
    const std::string& last_sqlstate() const { return sqlstate_; }

    /// One statement, prepared at its first use on this connection and kept (up to 256 texts).
    Result<Rows> execute(const std::string& sql, const Parameters& parameters,
                         const Deadline& deadline);
    /// Any number of statements without parameters; nothing of their rows is kept.
    Result<void> run(const std::string& sql, const Deadline& deadline);
    /// Prepares one statement without running it: its columns. Errors: InvalidArgument …
    Result<Rows> describe(const std::string& sql, const Deadline& deadline);

    /// COPY … FROM STDIN. produce(chunk) appends bytes and says whether more will come; its error
    /// ends the COPY. Memory: two chunks. Returns the rows copied.
    Result<int64_t> copy_in(const std::string& sql,
                            const std::function<Result<bool>(std::string&)>& produce,
                            const Deadline& deadline);
    /// COPY … TO STDOUT. consume(row) gets one row's bytes at a time; its error ends the COPY and
    /// the connection. Memory: one row. Returns the rows copied.
    Result<int64_t> copy_out(const std::string& sql,
                             const std::function<Result<void>(std::string_view)>& consume,
                             const Deadline& deadline);

    std::string quote_literal(std::string_view text) const;
    std::string quote_identifier(std::string_view name) const;

    int server_version() const;  ///< 150018
    int backend_pid() const;
    bool uses_tls() const;
    /// Of the server's reports: "server_encoding", "in_hot_standby" …; empty: not reported.
    std::string parameter(const std::string& name) const;
    const std::string& shown() const { return address_.shown; }

  private:
    explicit Connection(pg_conn* handle, Address address);
    Result<void> wait(short events, const Deadline& deadline);
    Result<void> flush(const Deadline& deadline);
    Result<pg_result*> next_result(const Deadline& deadline);
    Result<Rows> collect(const Deadline& deadline);
    Error lost();
    Error failure(pg_result* result);
    Error close_because(Error error);

    pg_conn* handle_ = nullptr;
    bool broken_ = false;
    Address address_;
    std::string sqlstate_;
    std::map<std::string, std::string> prepared_;
};

}  // namespace px::libpq
