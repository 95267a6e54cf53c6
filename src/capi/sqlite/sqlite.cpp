#include "capi/sqlite/sqlite.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cerrno>
#include <limits>

namespace px::sqlite {
namespace {

ErrorCode code_of(int extended) {
    switch (extended & 0xff) {
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return ErrorCode::Unavailable;
        case SQLITE_FULL:
        case SQLITE_TOOBIG:
        case SQLITE_NOMEM:
            return ErrorCode::ResourceExhausted;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
            return ErrorCode::Corrupt;
        case SQLITE_READONLY:
        case SQLITE_PERM:
        case SQLITE_AUTH:
            return ErrorCode::Forbidden;
        case SQLITE_CONSTRAINT:
            return extended == SQLITE_CONSTRAINT_UNIQUE || extended == SQLITE_CONSTRAINT_PRIMARYKEY
                       ? ErrorCode::AlreadyExists
                       : ErrorCode::InvalidArgument;
        case SQLITE_INTERRUPT:
            return ErrorCode::Cancelled;
        case SQLITE_CANTOPEN:
            return ErrorCode::NotFound;
        case SQLITE_ERROR:
        case SQLITE_MISMATCH:
        case SQLITE_RANGE:
            return ErrorCode::InvalidArgument;
        default:
            return ErrorCode::Internal;
    }
}

std::string hint_of(ErrorCode code) {
    switch (code) {
        case ErrorCode::Unavailable:
            return "another process holds its lock; try again";
        case ErrorCode::ResourceExhausted:
            return "free some space on the disk";
        case ErrorCode::Corrupt:
            return "restore the file from a backup";
        case ErrorCode::Forbidden:
            return "check the permissions of the file and its folder";
        default:
            return {};
    }
}

std::string database_name(sqlite3* handle) {
    const char* file = handle ? sqlite3_db_filename(handle, "main") : nullptr;
    return file && *file ? fmt::format("database {}", file) : std::string("database");
}

Error sqlite_error(sqlite3* handle, int code, std::string_view sql = {}) {
    int extended = handle ? sqlite3_extended_errcode(handle) : code;
    if ((extended & 0xff) != (code & 0xff)) extended = code;
    const char* text =
        handle && extended != SQLITE_NOMEM ? sqlite3_errmsg(handle) : sqlite3_errstr(code);
    ErrorCode kind = code_of(extended);
    std::string message = fmt::format("{}: {}", database_name(handle), text);
    if ((extended & 0xff) == SQLITE_CANTOPEN && handle) {
        // The database is open: it is a file beside it that can't be, not "there is no database".
        // SQLite tries such a file again for reading alone, so ENOENT may not be the first cause.
        const int system_error = sqlite3_system_errno(handle);
        message += " (-wal, -shm or -journal beside it)";
        if (system_error != 0 && system_error != ENOENT)
            return fail_errno(system_error, std::move(message));
        return fail(ErrorCode::Unavailable, std::move(message),
                    "check space and permissions of its folder, then try again");
    }
    if (!sql.empty() && kind == ErrorCode::InvalidArgument) {
        constexpr size_t kShown = 200;
        message += fmt::format(" in `{}{}`", sql.substr(0, kShown), sql.size() > kShown ? "…" : "");
    }
    return fail(kind, std::move(message), hint_of(kind));
}

std::string uri_of(const std::filesystem::path& file, bool immutable) {
    std::string uri = "file:";
    for (char c : file.string()) {
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '/' || c == '.' || c == '-' || c == '_' || c == '~';
        if (plain) {
            uri += c;
        } else {
            uri += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
    if (immutable) uri += "?immutable=1";
    return uri;
}

}  // namespace

// ------------------------------------------------------------------ Statement

Statement::~Statement() { sqlite3_finalize(handle_); }

Statement& Statement::operator=(Statement&& other) noexcept {
    if (this != &other) {
        sqlite3_finalize(handle_);
        handle_ = std::exchange(other.handle_, nullptr);
        bind_error_ = other.bind_error_;
    }
    return *this;
}

Statement& Statement::bind_text(int index, std::string_view text) {
    // A null pointer would bind NULL: an empty view must stay an empty text.
    int code = sqlite3_bind_text64(handle_, index, text.data() ? text.data() : "", text.size(),
                                   SQLITE_TRANSIENT, SQLITE_UTF8);
    if (code != SQLITE_OK) bind_error_ = code;
    return *this;
}

Statement& Statement::bind_int64(int index, int64_t value) {
    int code = sqlite3_bind_int64(handle_, index, value);
    if (code != SQLITE_OK) bind_error_ = code;
    return *this;
}

Statement& Statement::bind_double(int index, double value) {
    int code = sqlite3_bind_double(handle_, index, value);
    if (code != SQLITE_OK) bind_error_ = code;
    return *this;
}

Statement& Statement::bind_blob(int index, std::string_view bytes) {
    int code = sqlite3_bind_blob64(handle_, index, bytes.data() ? bytes.data() : "", bytes.size(),
                                   SQLITE_TRANSIENT);
    if (code != SQLITE_OK) bind_error_ = code;
    return *this;
}

Statement& Statement::bind_null(int index) {
    int code = sqlite3_bind_null(handle_, index);
    if (code != SQLITE_OK) bind_error_ = code;
    return *this;
}

Statement& Statement::bind_optional_int64(int index, const std::optional<int64_t>& value) {
    return value ? bind_int64(index, *value) : bind_null(index);
}

int Statement::parameter_count() const { return sqlite3_bind_parameter_count(handle_); }

Result<bool> Statement::step() {
    if (handle_ == nullptr) return fail(ErrorCode::Internal, "step of an empty statement");
    if (bind_error_ != SQLITE_OK) {
        int code = std::exchange(bind_error_, SQLITE_OK);
        return fail(code_of(code), fmt::format("cannot bind a parameter of `{}`: {}",
                                               sqlite3_sql(handle_), sqlite3_errstr(code)));
    }
    int code = sqlite3_step(handle_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    Error error = sqlite_error(sqlite3_db_handle(handle_), code, sqlite3_sql(handle_));
    sqlite3_reset(handle_);
    return error;
}

Result<void> Statement::run() {
    while (PX_TRY(step())) {
    }
    reset();
    return {};
}

void Statement::reset() {
    sqlite3_reset(handle_);
    sqlite3_clear_bindings(handle_);
    bind_error_ = SQLITE_OK;
}

int Statement::column_count() const { return sqlite3_column_count(handle_); }

std::string_view Statement::column_name(int column) const {
    const char* name = sqlite3_column_name(handle_, column);
    return name ? name : "";
}

std::string_view Statement::column_decltype(int column) const {
    const char* name = sqlite3_column_decltype(handle_, column);
    return name ? name : "";
}

ValueType Statement::column_type(int column) const {
    switch (sqlite3_column_type(handle_, column)) {
        case SQLITE_INTEGER:
            return ValueType::Int64;
        case SQLITE_FLOAT:
            return ValueType::Double;
        case SQLITE_TEXT:
            return ValueType::Text;
        case SQLITE_BLOB:
            return ValueType::Blob;
        default:
            return ValueType::Null;
    }
}

int64_t Statement::column_int64(int column) const { return sqlite3_column_int64(handle_, column); }

double Statement::column_double(int column) const { return sqlite3_column_double(handle_, column); }

std::string_view Statement::column_text(int column) const {
    const unsigned char* text = sqlite3_column_text(handle_, column);
    if (!text) return {};
    return {reinterpret_cast<const char*>(text),
            static_cast<size_t>(sqlite3_column_bytes(handle_, column))};
}

std::string_view Statement::column_blob(int column) const {
    const void* bytes = sqlite3_column_blob(handle_, column);
    if (!bytes) return {};
    return {static_cast<const char*>(bytes),
            static_cast<size_t>(sqlite3_column_bytes(handle_, column))};
}

std::optional<int64_t> Statement::column_optional_int64(int column) const {
    if (is_null(column)) return std::nullopt;
    return column_int64(column);
}

// ------------------------------------------------------------------- Database

Result<Database> Database::open(const std::filesystem::path& file, const OpenOptions& options) {
    std::error_code ignored;
    if (options.mode != OpenMode::Create && !std::filesystem::exists(file, ignored)) {
        return fail(ErrorCode::NotFound, fmt::format("there is no database {}", file.string()));
    }
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI | SQLITE_OPEN_EXRESCODE;
    switch (options.mode) {
        case OpenMode::ReadOnly:
            flags |= SQLITE_OPEN_READONLY;
            break;
        case OpenMode::ReadWrite:
            flags |= SQLITE_OPEN_READWRITE;
            break;
        case OpenMode::Create:
            flags |= SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
            break;
    }
    std::filesystem::path absolute = std::filesystem::absolute(file, ignored);
    sqlite3* handle = nullptr;
    int code =
        sqlite3_open_v2(uri_of(absolute, options.immutable).c_str(), &handle, flags, nullptr);
    if (code != SQLITE_OK) {
        int system_error = handle ? sqlite3_system_errno(handle) : 0;
        Error error =
            (code & 0xff) == SQLITE_CANTOPEN && system_error != 0
                ? fail_errno(system_error, fmt::format("cannot open database {}", file.string()))
                : sqlite_error(handle, code);
        sqlite3_close_v2(handle);
        return error;
    }
    Database database(handle);
    auto timeout = std::min<int64_t>(options.busy_timeout.count(), std::numeric_limits<int>::max());
    sqlite3_busy_timeout(handle, static_cast<int>(timeout));
    return database;
}

Result<Database> Database::open_memory() {
    sqlite3* handle = nullptr;
    int code = sqlite3_open_v2(
        ":memory:", &handle,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
        nullptr);
    if (code != SQLITE_OK) {
        Error error = sqlite_error(handle, code);
        sqlite3_close_v2(handle);
        return error;
    }
    return Database(handle);
}

Database::~Database() { sqlite3_close_v2(handle_); }

Database& Database::operator=(Database&& other) noexcept {
    if (this != &other) {
        sqlite3_close_v2(handle_);
        handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
}

Result<void> Database::exec(const std::string& sql) {
    int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return sqlite_error(handle_, code, sql);
    return {};
}

Result<Statement> Database::prepare(std::string_view sql) {
    if (sql.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
        return fail(ErrorCode::InvalidArgument, "SQL text of 2 GiB or more");
    }
    sqlite3_stmt* handle = nullptr;
    const char* tail = nullptr;
    int code =
        sqlite3_prepare_v2(handle_, sql.data(), static_cast<int>(sql.size()), &handle, &tail);
    if (code != SQLITE_OK) return sqlite_error(handle_, code, sql);
    Statement statement(handle);
    if (handle == nullptr) return fail(ErrorCode::InvalidArgument, "SQL text without a statement");
    std::string_view rest(tail, static_cast<size_t>(sql.data() + sql.size() - tail));
    while (!rest.empty()) {
        sqlite3_stmt* next = nullptr;
        const char* next_tail = nullptr;
        code = sqlite3_prepare_v2(handle_, rest.data(), static_cast<int>(rest.size()), &next,
                                  &next_tail);
        bool is_statement = code != SQLITE_OK || next != nullptr;
        sqlite3_finalize(next);
        if (is_statement) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("more than one statement in `{}`", sql.substr(0, 200)),
                        "give one statement at a time");
        }
        if (next_tail == rest.data()) break;
        rest.remove_prefix(static_cast<size_t>(next_tail - rest.data()));
    }
    return statement;
}

Result<std::optional<int64_t>> Database::query_int64(std::string_view sql) {
    Statement statement = PX_TRY(prepare(sql));
    if (!PX_TRY(statement.step())) return std::optional<int64_t>();
    return statement.column_optional_int64(0);
}

Result<std::optional<std::string>> Database::query_text(std::string_view sql) {
    Statement statement = PX_TRY(prepare(sql));
    if (!PX_TRY(statement.step()) || statement.is_null(0)) return std::optional<std::string>();
    return std::optional<std::string>(std::string(statement.column_text(0)));
}

int64_t Database::changes() const { return sqlite3_changes64(handle_); }
int64_t Database::last_insert_rowid() const { return sqlite3_last_insert_rowid(handle_); }
bool Database::is_readonly() const { return sqlite3_db_readonly(handle_, "main") == 1; }
void Database::interrupt() { sqlite3_interrupt(handle_); }

void Database::set_progress_callback(int operations, int (*callback)(void*), void* context) {
    sqlite3_progress_handler(handle_, operations, callback, context);
}

// ---------------------------------------------------------------- Transaction

Result<Transaction> Transaction::begin(Database& database, Kind kind) {
    PX_TRY(database.exec(kind == Kind::Immediate ? "BEGIN IMMEDIATE" : "BEGIN"));
    return Transaction(&database);
}

Transaction::~Transaction() {
    if (database_ != nullptr && sqlite3_get_autocommit(database_->handle()) == 0) {
        sqlite3_exec(database_->handle(), "ROLLBACK", nullptr, nullptr, nullptr);
    }
}

Result<void> Transaction::commit() {
    if (database_ == nullptr) return fail(ErrorCode::Internal, "commit of a finished transaction");
    PX_TRY(database_->exec("COMMIT"));
    database_ = nullptr;
    return {};
}

}  // namespace px::sqlite
