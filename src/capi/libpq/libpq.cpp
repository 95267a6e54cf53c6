#include "capi/libpq/libpq.h"

#include <fmt/format.h>
#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/utf8.h"

namespace px::libpq {
namespace {

using std::chrono::milliseconds;

constexpr unsigned kBool = 16, kInt8 = 20, kText = 25, kTimestampTz = 1184;
constexpr int64_t kEpochMicros = 946'684'800'000'000;  // 2000-01-01, where PostgreSQL counts from
constexpr TimestampMicros kFirstInstant = -210'866'803'200'000'000;  // 4714-11-24 BC
constexpr size_t kPreparedMax = 256;
constexpr milliseconds kStopSlice{50};  // how soon a request to stop is noticed

// -------------------------------------------------------------------- values

template <class T>
void append_big_endian(std::string& out, T value) {
    for (int shift = static_cast<int>(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8)
        out += static_cast<char>(static_cast<uint64_t>(value) >> shift & 0xff);
}

int64_t read_big_endian(const char* bytes, int length) {
    uint64_t value = length > 0 && (bytes[0] & 0x80) != 0 ? ~uint64_t{0} : 0;
    for (int i = 0; i < length; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
    return static_cast<int64_t>(value);
}

bool is_storable(std::string_view text) {
    return text.find('\0') == std::string_view::npos && utf8_is_valid(text);
}

int64_t instant_to_wire(TimestampMicros micros) {
    return micros < kFirstInstant ? INT64_MIN : micros - kEpochMicros;
}

TimestampMicros instant_from_wire(int64_t wire) {
    if (wire == INT64_MIN || wire > INT64_MAX - kEpochMicros) return wire;
    return wire + kEpochMicros;
}

// -------------------------------------------------------------------- errors

struct State {
    std::string_view prefix;  ///< of the SQLSTATE; the first match counts
    ErrorCode code;
    std::string_view next_step;
};

constexpr std::string_view kServerLog = "see the server's log, then run the same command again";

constexpr State kStates[] = {
    {"08", ErrorCode::Unavailable,
     "check that the server runs and can be reached, then run the same command again"},
    {"22", ErrorCode::InvalidArgument, ""},
    {"23505", ErrorCode::AlreadyExists, ""},
    {"23", ErrorCode::InvalidArgument, ""},
    {"25006", ErrorCode::Unavailable,
     "give the address of the primary, or of several hosts with target_session_attrs=read-write"},
    {"25P03", ErrorCode::Unavailable, "run the same command again"},
    {"28", ErrorCode::Unauthenticated,
     "check user and password of the address, and the server's pg_hba.conf"},
    {"3D000", ErrorCode::Unavailable, "create the database (createdb), or mend the address"},
    {"3F000", ErrorCode::Unavailable,
     "it was dropped or never made: restore it from a backup, or mend its name"},
    {"40001", ErrorCode::Conflict, "run the same command again"},
    {"40P01", ErrorCode::Conflict, "run the same command again"},
    {"42501", ErrorCode::Unavailable,
     "let the owner GRANT the missing right to the user of the address"},
    {"42P01", ErrorCode::Unavailable,
     "it was dropped or never made: restore it from a backup, or mend its name"},
    {"42", ErrorCode::InvalidArgument, ""},
    {"0A", ErrorCode::InvalidArgument, ""},
    {"26", ErrorCode::Unavailable,
     "px needs a session of its own: connect to the server itself, or pool by session"},
    {"53100", ErrorCode::ResourceExhausted, "free space on the server's disk"},
    {"53300", ErrorCode::Unavailable,
     "raise max_connections of the server, or lower connections= of the address"},
    {"53", ErrorCode::ResourceExhausted, kServerLog},
    {"54", ErrorCode::ResourceExhausted, ""},
    {"55P03", ErrorCode::Unavailable, "another process holds its lock; try again"},
    {"57014", ErrorCode::DeadlineExceeded,
     "the server cancelled the statement: see statement_timeout of the role"},
    {"57P03", ErrorCode::Unavailable, "the server is starting up or going down; try again"},
    {"57P", ErrorCode::Unavailable,
     "check that the server runs and can be reached, then run the same command again"},
    {"58", ErrorCode::Unavailable, kServerLog},
    {"XX001", ErrorCode::Corrupt, "restore the database from a backup"},
    {"XX002", ErrorCode::Corrupt, "rebuild the index (REINDEX), or restore from a backup"},
};

const State* state_of(std::string_view sqlstate) {
    for (const State& state : kStates) {
        if (!sqlstate.empty() && sqlstate.starts_with(state.prefix)) return &state;
    }
    return nullptr;
}

std::string without(std::string text, std::string_view secret) {
    if (secret.empty()) return text;
    for (size_t at = text.find(secret); at != std::string::npos; at = text.find(secret, at + 3))
        text.replace(at, secret.size(), "***");
    return text;
}

/// The first line of a message.
std::string first_line(std::string_view text) {
    text = text.substr(0, text.find('\n'));
    while (!text.empty() && (text.back() == ' ' || text.back() == '\r')) text.remove_suffix(1);
    return std::string(text);
}

/// A failed attempt to connect, as libpq tells it with verbosity "verbose": a line for each address
/// tried, the server's own with ":  SQLSTATE: ". The last line with an SQLSTATE counts, else the
/// first.
Error connect_failure(std::string_view text, const Address& address) {
    const auto sqlstate_at = [](std::string_view line) {
        for (size_t at = line.find(":  "); at != std::string_view::npos;
             at = line.find(":  ", at + 1)) {
            const std::string_view found = line.substr(std::min(at + 3, line.size()), 7);
            if (found.size() == 7 && found.substr(5) == ": " &&
                std::all_of(found.begin(), found.begin() + 5, [](char c) {
                    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
                }))
                return at + 3;
        }
        return std::string_view::npos;
    };
    std::string message = first_line(text), sqlstate;
    for (size_t start = 0; start < text.size();) {
        const size_t end = std::min(text.find('\n', start), text.size());
        const std::string_view line = text.substr(start, end - start);
        if (const size_t at = sqlstate_at(line); at != std::string_view::npos) {
            sqlstate = line.substr(at, 5);
            message = line.substr(at + 7);
        }
        start = end + 1;
    }
    message = without(std::move(message), address.password);
    if (const State* state = state_of(sqlstate)) {
        return fail(state->code, fmt::format("PostgreSQL {}: {}", address.shown, message),
                    std::string(state->next_step));
    }
    std::string next_step = "check host and port of the address, and that the server runs there";
    for (const std::string_view word : {"SSL", "certificate"}) {
        if (message.find(word) != std::string::npos)
            next_step =
                "check sslmode and sslrootcert of the address, and the server's certificate";
    }
    if (message.find("no password supplied") != std::string::npos) {
        return fail(ErrorCode::Unauthenticated,
                    fmt::format("PostgreSQL {}: {}", address.shown, message),
                    "write the password into the address, as ${env:NAME}, or into ~/.pgpass");
    }
    return fail(ErrorCode::Unavailable, fmt::format("PostgreSQL {}: {}", address.shown, message),
                std::move(next_step));
}

void ignore_notice(void*, const char*) {}

}  // namespace

std::string storable(std::string_view text) {
    std::string clean = utf8_is_valid(text) ? std::string(text) : utf8_sanitize(text);
    for (size_t at = clean.find('\0'); at != std::string::npos; at = clean.find('\0', at + 3))
        clean.replace(at, 1, "\xef\xbf\xbd");
    return clean;
}

ErrorCode error_code_of(std::string_view sqlstate) {
    const State* state = state_of(sqlstate);
    return state ? state->code : ErrorCode::Internal;
}

std::string_view next_step_of(std::string_view sqlstate) {
    const State* state = state_of(sqlstate);
    return state ? state->next_step : kServerLog;
}

bool says_not_yet(const Error& error) {
    return error.code == ErrorCode::Unavailable && error.hint == next_step_of("57P03");
}

Result<Address> parse_address(std::string_view text) {
    const auto unreadable = [](std::string_view what) {
        return fail(
            ErrorCode::InvalidArgument,
            fmt::format("the PostgreSQL address can't be read: {}", what),
            "write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with %40 for @, %2F "
            "for / and so on in the password");
    };
    if (!text.starts_with("postgresql://") && !text.starts_with("postgres://"))
        return unreadable("it does not begin with postgresql://");
    if (text.find('\0') != std::string_view::npos) return unreadable("it holds a NUL character");
    // A password with a bare @ or / would be taken for a host, and then be shown in a message.
    if (std::count(text.begin(), text.end(), '@') > 1) return unreadable("it has more than one @");
    const size_t begin = text.find("//") + 2;
    const size_t authority_end = std::min(text.find_first_of("/?#", begin), text.size());
    const size_t at_sign = text.find('@');
    if (at_sign != std::string_view::npos && at_sign > authority_end)
        return unreadable("the part before @ holds a / or ?");
    if (text.find('#') != std::string_view::npos) return unreadable("it holds a #");

    Address address;
    address.text = text;
    char* complaint = nullptr;
    PQconninfoOption* options = PQconninfoParse(address.text.c_str(), &complaint);
    PQfreemem(complaint);  // it may hold what was written in the place of a password
    if (options == nullptr)
        return unreadable("a part of it is malformed, or a parameter is not one of libpq's");
    std::string host, port = "5432", database, user;
    for (const PQconninfoOption* option = options; option->keyword != nullptr; ++option) {
        if (option->val == nullptr) continue;
        const std::string_view keyword = option->keyword;
        if (keyword == "host" || (keyword == "hostaddr" && host.empty())) host = option->val;
        if (keyword == "port") port = option->val;
        if (keyword == "dbname") database = option->val;
        if (keyword == "user") user = option->val;
        if (keyword == "password") address.password = option->val;
    }
    PQconninfoFree(options);
    if (!std::all_of(port.begin(), port.end(),
                     [](char c) { return (c >= '0' && c <= '9') || c == ','; }))
        return unreadable("its port is not a number");
    if (database.empty()) database = user;
    address.shown = fmt::format("{}:{}/{}", host.empty() ? "localhost" : host, port, database);
    return address;
}

// ---------------------------------------------------------------- parameters

Parameters& Parameters::text(std::string_view value) {
    types_.push_back(kText);
    values_.emplace_back(storable(value));
    return *this;
}

Parameters& Parameters::int64(int64_t value) {
    types_.push_back(kInt8);
    append_big_endian(values_.emplace_back(std::string()).value(), value);
    return *this;
}

Parameters& Parameters::boolean(bool value) {
    types_.push_back(kBool);
    values_.emplace_back(std::string(1, value ? '\1' : '\0'));
    return *this;
}

Parameters& Parameters::instant(TimestampMicros value) {
    types_.push_back(kTimestampTz);
    append_big_endian(values_.emplace_back(std::string()).value(), instant_to_wire(value));
    return *this;
}

Parameters& Parameters::instant(const std::optional<TimestampMicros>& value) {
    if (value) return instant(*value);
    types_.push_back(kTimestampTz);
    values_.emplace_back(std::nullopt);
    return *this;
}

// ---------------------------------------------------------------------- rows

void Rows::Clear::operator()(pg_result* handle) const { PQclear(handle); }
Rows::Rows(pg_result* handle) : handle_(handle) {}
int Rows::row_count() const { return PQntuples(handle_.get()); }
int Rows::column_count() const { return PQnfields(handle_.get()); }
std::string_view Rows::column_name(int column) const { return PQfname(handle_.get(), column); }
unsigned Rows::column_type(int column) const { return PQftype(handle_.get(), column); }
int64_t Rows::affected() const {
    const char* count = PQcmdTuples(handle_.get());
    return count != nullptr ? std::strtoll(count, nullptr, 10) : 0;
}
bool Rows::is_null(int row, int column) const {
    return PQgetisnull(handle_.get(), row, column) != 0;
}
int64_t Rows::int64(int row, int column) const {
    return read_big_endian(PQgetvalue(handle_.get(), row, column),
                           std::min(PQgetlength(handle_.get(), row, column), 8));
}
bool Rows::boolean(int row, int column) const { return int64(row, column) != 0; }
std::string_view Rows::text(int row, int column) const {
    return {PQgetvalue(handle_.get(), row, column),
            static_cast<size_t>(PQgetlength(handle_.get(), row, column))};
}
TimestampMicros Rows::instant(int row, int column) const {
    return instant_from_wire(int64(row, column));
}
std::optional<TimestampMicros> Rows::optional_instant(int row, int column) const {
    if (is_null(row, column)) return std::nullopt;
    return instant(row, column);
}

// ----------------------------------------------------------------- copy rows

void CopyRows::header() {
    out_.append("PGCOPY\n\377\r\n\0", 11);
    out_.append(8, '\0');  // no flags, no extension
}
void CopyRows::row(int column_count) {
    append_big_endian(out_, static_cast<int16_t>(column_count));
}
void CopyRows::text(std::string_view value) {
    if (!is_storable(value)) return text(storable(value));
    append_big_endian(out_, static_cast<int32_t>(value.size()));
    out_ += value;
}
void CopyRows::null() { append_big_endian(out_, int32_t{-1}); }
void CopyRows::int32(int32_t value) {
    append_big_endian(out_, int32_t{4});
    append_big_endian(out_, value);
}
void CopyRows::int64(int64_t value) {
    append_big_endian(out_, int32_t{8});
    append_big_endian(out_, value);
}
void CopyRows::boolean(bool value) {
    append_big_endian(out_, int32_t{1});
    out_ += value ? '\1' : '\0';
}
void CopyRows::instant(const std::optional<TimestampMicros>& value) {
    if (value) return int64(instant_to_wire(*value));
    append_big_endian(out_, int32_t{-1});
}
void CopyRows::trailer() { append_big_endian(out_, int16_t{-1}); }

// ---------------------------------------------------------------- connection

Connection::Connection(pg_conn* handle, Address address)
    : handle_(handle), address_(std::move(address)) {}

Connection::~Connection() { PQfinish(handle_); }

Connection::Connection(Connection&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)),
      broken_(other.broken_),
      address_(std::move(other.address_)),
      sqlstate_(std::move(other.sqlstate_)),
      prepared_(std::move(other.prepared_)) {}

Connection& Connection::operator=(Connection&& other) noexcept {
    if (this != &other) {
        PQfinish(handle_);
        handle_ = std::exchange(other.handle_, nullptr);
        broken_ = other.broken_;
        address_ = std::move(other.address_);
        sqlstate_ = std::move(other.sqlstate_);
        prepared_ = std::move(other.prepared_);
    }
    return *this;
}

Result<Connection> Connection::connect(const Address& address, const ConnectOptions& options,
                                       const Deadline& deadline) {
    // What stands before the address is a default it may overrule.
    const std::array<const char*, 8> keywords = {
        "fallback_application_name", "keepalives_idle", "keepalives_interval", "keepalives_count",
        "tcp_user_timeout",          "dbname",          "client_encoding",     nullptr};
    const std::array<const char*, 8> values = {options.application_name.c_str(),
                                               "30",
                                               "10",
                                               "3",
                                               "30000",
                                               address.text.c_str(),
                                               "UTF8",
                                               nullptr};
    Connection connection(PQconnectStartParams(keywords.data(), values.data(), 1), address);
    if (connection.handle_ == nullptr)
        return fail(ErrorCode::ResourceExhausted, "no memory for a connection to PostgreSQL");
    PQsetNoticeProcessor(connection.handle_, ignore_notice, nullptr);
    PQsetErrorVerbosity(connection.handle_, PQERRORS_VERBOSE);  // with the SQLSTATE
    Deadline due = deadline;
    due.at = std::min(deadline.at, std::chrono::steady_clock::now() + options.connect_timeout);
    for (PostgresPollingStatusType state = PGRES_POLLING_WRITING; state != PGRES_POLLING_OK;) {
        if (PQstatus(connection.handle_) == CONNECTION_BAD || state == PGRES_POLLING_FAILED) {
            return connect_failure(PQerrorMessage(connection.handle_), address);
        }
        Result<void> ready =
            connection.wait(state == PGRES_POLLING_READING ? POLLIN : POLLOUT, due);
        if (!ready) {
            PX_TRY(deadline.check());
            return fail(ErrorCode::Unavailable,
                        fmt::format("PostgreSQL {}: no answer within {} ms", address.shown,
                                    options.connect_timeout.count()),
                        "check host and port of the address, and firewalls on the way");
        }
        state = PQconnectPoll(connection.handle_);
    }
    PQsetErrorVerbosity(connection.handle_, PQERRORS_DEFAULT);
    if (PQsetnonblocking(connection.handle_, 1) != 0) return connection.lost();
    return connection;
}

Error Connection::close_because(Error error) {
    broken_ = true;
    if (handle_ != nullptr && PQtransactionStatus(handle_) == PQTRANS_ACTIVE) {
        // Bounded by tcp_user_timeout. Whether it arrives is no matter: the session ends as well.
        if (PGcancel* cancel = PQgetCancel(handle_)) {
            std::array<char, 256> ignored{};
            PQcancel(cancel, ignored.data(), static_cast<int>(ignored.size()));
            PQfreeCancel(cancel);
        }
    }
    PQfinish(std::exchange(handle_, nullptr));
    return error;
}

Error Connection::lost() {
    broken_ = true;
    sqlstate_.clear();
    std::string message = first_line(handle_ != nullptr ? PQerrorMessage(handle_) : "");
    if (message.empty()) message = "the connection is closed";
    return fail(ErrorCode::Unavailable,
                fmt::format("PostgreSQL {}: {}", address_.shown,
                            without(std::move(message), address_.password)),
                "check that the server runs and can be reached, then run the same command again");
}

Error Connection::failure(pg_result* result) {
    const char* sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (sqlstate == nullptr) return lost();
    const char* primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char* severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    // FATAL and PANIC end the session.
    if (severity != nullptr && std::strcmp(severity, "ERROR") != 0) broken_ = true;
    sqlstate_ = sqlstate;
    return fail(error_code_of(sqlstate_),
                fmt::format("PostgreSQL {}: {}", address_.shown,
                            without(first_line(primary != nullptr ? primary : "failed"),
                                    address_.password)),
                std::string(next_step_of(sqlstate_)));
}

Result<void> Connection::wait(short events, const Deadline& deadline) {
    using Clock = std::chrono::steady_clock;
    for (;;) {
        PX_TRY(deadline.check());
        int timeout = -1;
        if (deadline.at != Clock::time_point::max()) {
            const auto left = std::chrono::ceil<milliseconds>(deadline.at - Clock::now()).count();
            timeout = static_cast<int>(std::clamp<int64_t>(left, 0, 1 << 30));
        }
        if (deadline.stop.stop_possible()) {
            const auto slice = static_cast<int>(kStopSlice.count());
            timeout = timeout < 0 ? slice : std::min(timeout, slice);
        }
        pollfd socket{PQsocket(handle_), events, 0};
        if (socket.fd < 0) return lost();
        const int ready = ::poll(&socket, 1, timeout);
        if (ready > 0) return {};
        if (ready < 0 && errno != EINTR) return fail_errno(errno, "cannot wait for PostgreSQL");
    }
}

Result<void> Connection::flush(const Deadline& deadline) {
    for (;;) {
        const int left = PQflush(handle_);
        if (left == 0) return {};
        if (left < 0) return lost();
        Result<void> ready = wait(POLLIN | POLLOUT, deadline);
        if (!ready) return close_because(std::move(ready).error());
        if (PQconsumeInput(handle_) == 0) return lost();
    }
}

/// The next result of what was sent, or null when there is none left.
Result<pg_result*> Connection::next_result(const Deadline& deadline) {
    PX_TRY(flush(deadline));
    while (PQisBusy(handle_) != 0) {
        Result<void> ready = wait(POLLIN, deadline);
        if (!ready) return close_because(std::move(ready).error());
        if (PQconsumeInput(handle_) == 0) {
            // What the server said last stands before the end of the stream.
            if (PQisBusy(handle_) == 0) break;
            return lost();
        }
    }
    return PQgetResult(handle_);
}

Result<Rows> Connection::collect(const Deadline& deadline) {
    sqlstate_.clear();
    Rows last;
    std::optional<Error> error;
    for (;;) {
        pg_result* result = PX_TRY(next_result(deadline));
        if (result == nullptr) break;
        Rows rows(result);
        switch (PQresultStatus(result)) {
            case PGRES_COMMAND_OK:
            case PGRES_TUPLES_OK:
            case PGRES_EMPTY_QUERY:
                last = std::move(rows);
                break;
            case PGRES_COPY_IN:
            case PGRES_COPY_OUT:
            case PGRES_COPY_BOTH:
                return close_because(
                    fail(ErrorCode::InvalidArgument, "COPY where a plain statement is expected"));
            default:
                // The first one says why; those behind it follow from it.
                if (!error) error = failure(result);
                if (PQstatus(handle_) == CONNECTION_BAD) {
                    broken_ = true;
                    return std::move(*error);
                }
        }
    }
    if (PQstatus(handle_) == CONNECTION_BAD) broken_ = true;
    if (error) return std::move(*error);
    if (broken_) return lost();
    return last;
}

bool Connection::has_hung_up() {
    if (!is_usable()) return true;
    pollfd socket{PQsocket(handle_), POLLIN, 0};
    // Between statements a server has little to say but farewell.
    if (::poll(&socket, 1, 0) != 0 || PQstatus(handle_) != CONNECTION_OK) broken_ = true;
    return broken_;
}

Result<Rows> Connection::execute(const std::string& sql, const Parameters& parameters,
                                 const Deadline& deadline) {
    if (!is_usable()) return lost();
    const auto count = static_cast<int>(parameters.types_.size());
    auto known = prepared_.find(sql);
    if (known == prepared_.end() && prepared_.size() < kPreparedMax) {
        const std::string name = fmt::format("px{}", prepared_.size() + 1);
        if (PQsendPrepare(handle_, name.c_str(), sql.c_str(), count, parameters.types_.data()) == 0)
            return lost();
        PX_TRY(collect(deadline));
        known = prepared_.emplace(sql, name).first;
    }
    std::vector<const char*> values;
    std::vector<int> lengths, formats;
    for (const std::optional<std::string>& value : parameters.values_) {
        values.push_back(value ? value->data() : nullptr);
        lengths.push_back(value ? static_cast<int>(value->size()) : 0);
        formats.push_back(1);
    }
    const int sent = known != prepared_.end()
                         ? PQsendQueryPrepared(handle_, known->second.c_str(), count, values.data(),
                                               lengths.data(), formats.data(), 1)
                         : PQsendQueryParams(handle_, sql.c_str(), count, parameters.types_.data(),
                                             values.data(), lengths.data(), formats.data(), 1);
    if (sent == 0) return lost();
    return collect(deadline);
}

Result<void> Connection::run(const std::string& sql, const Deadline& deadline) {
    if (!is_usable() || PQsendQuery(handle_, sql.c_str()) == 0) return lost();
    PX_TRY(collect(deadline));
    return {};
}

Result<Rows> Connection::describe(const std::string& sql, const Deadline& deadline) {
    if (!is_usable() || PQsendPrepare(handle_, "", sql.c_str(), 0, nullptr) == 0) return lost();
    PX_TRY(collect(deadline));
    if (PQsendDescribePrepared(handle_, "") == 0) return lost();
    return collect(deadline);
}

Result<int64_t> Connection::copy_in(const std::string& sql,
                                    const std::function<Result<bool>(std::string&)>& produce,
                                    const Deadline& deadline) {
    sqlstate_.clear();
    if (!is_usable() || PQsendQuery(handle_, sql.c_str()) == 0) return lost();
    pg_result* opened = PX_TRY(next_result(deadline));
    const Rows reply(opened);
    if (PQresultStatus(opened) != PGRES_COPY_IN) {
        (void)collect(deadline);
        return failure(opened);
    }
    std::string chunk;
    std::optional<Error> stopped;
    for (bool more = true; more && !stopped;) {
        chunk.clear();
        Result<bool> produced = produce(chunk);
        if (!produced) {
            stopped = std::move(produced).error();
            break;
        }
        more = *produced;
        if (chunk.empty()) continue;
        for (;;) {
            const int put = PQputCopyData(handle_, chunk.data(), static_cast<int>(chunk.size()));
            if (put == 1) break;
            if (put < 0) return lost();
            PX_TRY(flush(deadline));
        }
        PX_TRY(flush(deadline));
    }
    for (;;) {
        const int put = PQputCopyEnd(handle_, stopped ? "stopped by px" : nullptr);
        if (put == 1) break;
        if (put < 0) return lost();
        PX_TRY(flush(deadline));
    }
    Result<Rows> done = collect(deadline);
    if (stopped) return std::move(*stopped);
    if (!done) return std::move(done).error();
    return done->affected();
}

Result<int64_t> Connection::copy_out(const std::string& sql,
                                     const std::function<Result<void>(std::string_view)>& consume,
                                     const Deadline& deadline) {
    sqlstate_.clear();
    if (!is_usable() || PQsendQuery(handle_, sql.c_str()) == 0) return lost();
    pg_result* opened = PX_TRY(next_result(deadline));
    const Rows reply(opened);
    if (PQresultStatus(opened) != PGRES_COPY_OUT) {
        (void)collect(deadline);
        return failure(opened);
    }
    for (;;) {
        char* row = nullptr;
        const int length = PQgetCopyData(handle_, &row, 1);
        if (length > 0) {
            Result<void> consumed = consume(std::string_view(row, static_cast<size_t>(length)));
            PQfreemem(row);
            if (!consumed) return close_because(std::move(consumed).error());
        } else if (length == 0) {
            Result<void> ready = wait(POLLIN, deadline);
            if (!ready) return close_because(std::move(ready).error());
            if (PQconsumeInput(handle_) == 0) return lost();
        } else if (length == -1) {
            break;
        } else {
            return lost();
        }
    }
    Rows done = PX_TRY(collect(deadline));
    return done.affected();
}

std::string Connection::quote_literal(std::string_view text) const {
    // Only ' and \ need care, and E'' means the same whatever standard_conforming_strings says.
    std::string quoted = text.find('\\') == std::string_view::npos ? "'" : " E'";
    for (const char c : storable(text)) {
        if (c == '\'' || c == '\\') quoted += c;
        quoted += c;
    }
    return quoted + "'";
}

std::string Connection::quote_identifier(std::string_view name) const {
    std::string quoted = "\"";
    for (const char c : storable(name)) {
        if (c == '"') quoted += c;
        quoted += c;
    }
    return quoted + "\"";
}

int Connection::server_version() const { return PQserverVersion(handle_); }
int Connection::backend_pid() const { return PQbackendPID(handle_); }
bool Connection::uses_tls() const { return PQsslInUse(handle_) != 0; }
std::string Connection::parameter(const std::string& name) const {
    const char* value = PQparameterStatus(handle_, name.c_str());
    return value != nullptr ? value : "";
}

}  // namespace px::libpq
