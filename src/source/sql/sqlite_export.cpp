#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>
#include <utility>

#include "capi/sqlite/sqlite.h"
#include "source/sql/json_lines_file.h"
#include "source/sql/sql_export.h"

namespace px::source {

namespace {

constexpr int kProgressOperations =
    10'000;  // virtual-machine steps between two looks at the deadline

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

Result<SqlExport> export_sqlite(const SqlExportOptions& options, const std::filesystem::path& file,
                                const Deadline& deadline) {
    constexpr std::string_view kScheme = "sqlite:";
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
    for (int i = 0; i < statement.column_count(); ++i)
        result.columns.emplace_back(statement.column_name(i));
    JsonLinesFile out = PX_TRY(JsonLinesFile::create(file, options.max_bytes));
    Result<void> begun = out.columns(result.columns);
    if (!begun) return explain(std::move(begun).error());
    for (;;) {
        auto stepped = statement.step();
        if (!stepped) return explain(std::move(stepped).error());
        if (!*stepped) break;
        for (int i = 0; i < statement.column_count(); ++i) {
            std::string& line = out.value(static_cast<size_t>(i));
            switch (statement.column_type(i)) {
                case sqlite::ValueType::Null:
                    line += "null";
                    break;
                case sqlite::ValueType::Int64:
                    fmt::format_to(std::back_inserter(line), "{}", statement.column_int64(i));
                    break;
                case sqlite::ValueType::Double:
                    append_real(statement.column_double(i), line);
                    break;
                case sqlite::ValueType::Text:
                    append_json_string(statement.column_text(i), line);
                    break;
                case sqlite::ValueType::Blob:
                    line += '"';
                    append_base64(statement.column_blob(i), line);
                    line += '"';
                    break;
            }
        }
        Result<void> ended = out.end_row(deadline);
        if (!ended) return explain(std::move(ended).error());
    }
    PX_TRY(out.finish());
    result.row_count = out.row_count();
    result.size_bytes = out.size_bytes();
    return result;
}

}  // namespace px::source
