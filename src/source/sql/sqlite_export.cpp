#include "source/sql/sqlite_export.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <iterator>
#include <string_view>
#include <utility>

#include "capi/sqlite/sqlite.h"

namespace px::source {

namespace {

constexpr size_t kWriteBytes = 1 << 20;
constexpr int kProgressOperations =
    10'000;  // virtual-machine steps between two looks at the deadline

class OutputFile {
  public:
    explicit OutputFile(std::filesystem::path path)
        : path_(std::move(path)),
          descriptor_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) {}
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;
    ~OutputFile() {
        if (descriptor_ >= 0) ::close(descriptor_);
        if (!finished_) {
            std::error_code ignored;
            std::filesystem::remove(path_, ignored);
        }
    }
    bool is_open() const { return descriptor_ >= 0; }
    std::string buffer;

    Result<void> flush() {
        size_t done = 0;
        while (done < buffer.size()) {
            const ssize_t written =
                ::write(descriptor_, buffer.data() + done, buffer.size() - done);
            if (written < 0) {
                if (errno == EINTR) continue;
                return fail_errno(errno, fmt::format("cannot write {}", path_.string()));
            }
            done += static_cast<size_t>(written);
        }
        written_ += static_cast<int64_t>(buffer.size());
        buffer.clear();
        return {};
    }
    Result<void> finish() {
        PX_TRY(flush());
        if (::fsync(descriptor_) != 0 || ::close(std::exchange(descriptor_, -1)) != 0) {
            return fail_errno(errno, fmt::format("cannot write {}", path_.string()));
        }
        finished_ = true;
        return {};
    }
    int64_t size_bytes() const { return written_ + static_cast<int64_t>(buffer.size()); }

  private:
    std::filesystem::path path_;
    int descriptor_;
    bool finished_ = false;
    int64_t written_ = 0;
};

void append_json_string(std::string_view text, std::string& out) {
    out += '"';
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (byte >= 0x20) {
            out += c;  // bytes that are no UTF-8 stay: the reader rejects the record by rule
                       // "encoding"
        } else if (c == '\n') {
            out += "\\n";
        } else if (c == '\r') {
            out += "\\r";
        } else if (c == '\t') {
            out += "\\t";
        } else {
            fmt::format_to(std::back_inserter(out), "\\u{:04x}", byte);
        }
    }
    out += '"';
}

void append_base64(std::string_view bytes, std::string& out) {
    static constexpr char kAlphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const auto at = [&](size_t i) {
        return i < bytes.size() ? static_cast<unsigned char>(bytes[i]) : 0U;
    };
    for (size_t i = 0; i < bytes.size(); i += 3) {
        const unsigned group = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
        out += kAlphabet[group >> 18];
        out += kAlphabet[group >> 12 & 63];
        out += i + 1 < bytes.size() ? kAlphabet[group >> 6 & 63] : '=';
        out += i + 2 < bytes.size() ? kAlphabet[group & 63] : '=';
    }
}

/// The shortest text that reads back as the same number; infinities, which JSON lacks, as strings.
void append_real(double value, std::string& out) {
    if (!std::isfinite(value)) {
        out += value < 0 ? "\"-Infinity\"" : "\"Infinity\"";
        return;
    }
    const size_t start = out.size();
    fmt::format_to(std::back_inserter(out), "{}", value);
    if (out.find_first_of(".e", start) == std::string::npos) out += ".0";
}

/// True when the query names :ds (or @ds, $ds) as a parameter.
bool names_ds(std::string_view query) {
    const auto is_name = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '$' || static_cast<unsigned char>(c) >= 0x80;
    };
    for (size_t at = query.find("ds"); at != std::string_view::npos;
         at = query.find("ds", at + 1)) {
        const bool marked =
            at > 0 && (query[at - 1] == ':' || query[at - 1] == '@' || query[at - 1] == '$');
        const bool ends = at + 2 == query.size() || !is_name(query[at + 2]);
        if (marked && ends) return true;
    }
    return false;
}

int stop_when_due(void* deadline) {
    return static_cast<const Deadline*>(deadline)->check() ? 0 : 1;
}

}  // namespace

Result<SqlExport> export_sql(const SqlExportOptions& options, const std::filesystem::path& file,
                             const Deadline& deadline) {
    constexpr std::string_view kScheme = "sqlite:";
    if (options.connection.substr(0, kScheme.size()) != kScheme) {
        // The text may hold a password: only its scheme is shown.
        const size_t colon = std::min(options.connection.find(':'), size_t{20});
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("unknown kind of SQL connection \"{}:\"",
                                options.connection.substr(0, colon)),
                    "write it as sqlite:PATH");
    }
    const std::filesystem::path database_path =
        options.base_folder / options.connection.substr(kScheme.size());
    const std::string place = fmt::format("SQLite database {}", database_path.string());

    sqlite::OpenOptions open_options;
    open_options.mode = sqlite::OpenMode::ReadOnly;
    open_options.busy_timeout = options.busy_timeout;
    sqlite::Database database =
        PX_TRY(sqlite::Database::open(database_path, open_options).context(place));
    database.set_progress_callback(kProgressOperations, stop_when_due,
                                   const_cast<Deadline*>(&deadline));
    const auto explain = [&](Error error) -> Error {
        if (error.code == ErrorCode::Cancelled) {
            const auto due = deadline.check();
            if (!due) return due.error();
        }
        if (error.hint.empty() && error.code == ErrorCode::InvalidArgument) {
            error.hint =
                "correct the query of the source; `sqlite3 DATABASE .schema` shows its tables and "
                "columns";
        }
        return std::move(error).with(place);
    };

    auto prepared = database.prepare(options.query);
    if (!prepared) return explain(std::move(prepared).error());
    sqlite::Statement& statement = *prepared;
    if (statement.column_count() == 0) {
        return explain(
            fail(ErrorCode::InvalidArgument, "the query yields no columns", "write one SELECT"));
    }
    if (statement.parameter_count() > 1 ||
        (statement.parameter_count() == 1 && !names_ds(options.query))) {
        return explain(fail(ErrorCode::InvalidArgument, "the query has a parameter other than :ds",
                            "only :ds, the logical date, is bound"));
    }
    if (statement.parameter_count() == 1) statement.bind_text(1, options.ds);

    SqlExport result;
    std::vector<std::string> keys;  // of the columns, ready to be written
    for (int i = 0; i < statement.column_count(); ++i) {
        std::string name(statement.column_name(i));
        if (std::find(result.columns.begin(), result.columns.end(), name) != result.columns.end()) {
            return explain(fail(ErrorCode::InvalidArgument,
                                fmt::format("the query yields two columns named \"{}\"", name),
                                "give one of them another name: select … as …"));
        }
        std::string key = i == 0 ? "{" : ",";
        append_json_string(name, key);
        keys.push_back(key + ":");
        result.columns.push_back(std::move(name));
    }

    OutputFile out(file);
    if (!out.is_open()) return fail_errno(errno, fmt::format("cannot create {}", file.string()));
    for (size_t i = 0; i < result.columns.size(); ++i) {
        out.buffer += i == 0 ? '[' : ',';
        append_json_string(result.columns[i], out.buffer);
    }
    out.buffer += "]\n";
    for (;;) {
        auto stepped = statement.step();
        if (!stepped) return explain(std::move(stepped).error());
        if (!*stepped) break;
        for (int i = 0; i < statement.column_count(); ++i) {
            out.buffer += keys[static_cast<size_t>(i)];
            switch (statement.column_type(i)) {
                case sqlite::ValueType::Null:
                    out.buffer += "null";
                    break;
                case sqlite::ValueType::Int64:
                    fmt::format_to(std::back_inserter(out.buffer), "{}", statement.column_int64(i));
                    break;
                case sqlite::ValueType::Double:
                    append_real(statement.column_double(i), out.buffer);
                    break;
                case sqlite::ValueType::Text:
                    append_json_string(statement.column_text(i), out.buffer);
                    break;
                case sqlite::ValueType::Blob:
                    out.buffer += '"';
                    append_base64(statement.column_blob(i), out.buffer);
                    out.buffer += '"';
                    break;
            }
        }
        out.buffer += "}\n";
        ++result.row_count;
        if (out.size_bytes() > options.max_bytes) {
            return explain(
                fail(ErrorCode::ResourceExhausted,
                     fmt::format("the export is larger than max_bytes ({})", options.max_bytes),
                     "narrow the query, for example by :ds, or raise the limit"));
        }
        if (out.buffer.size() >= kWriteBytes) {
            PX_TRY(deadline.check());
            PX_TRY(out.flush());
        }
    }
    PX_TRY(out.finish());
    result.size_bytes = out.size_bytes();
    return result;
}

}  // namespace px::source
