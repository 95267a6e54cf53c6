#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "capi/libpq/libpq.h"
#include "source/sql/copy_text.h"
#include "source/sql/json_lines_file.h"
#include "source/sql/sql_export.h"

namespace px::source {
namespace {

enum class Writing { Text, Number, Boolean, Bytes, Instant };

/// How a column's values are written, by the OID of its type.
Writing writing_of(unsigned type) {
    switch (type) {
        case 16:
            return Writing::Boolean;
        case 17:
            return Writing::Bytes;
        case 20:    // bigint
        case 21:    // smallint
        case 23:    // integer
        case 26:    // oid
        case 700:   // real
        case 701:   // double precision
        case 1700:  // numeric
            return Writing::Number;
        case 1184:
            return Writing::Instant;
        default:
            return Writing::Text;
    }
}

/// bytea as \x00ff…
std::string from_hex(std::string_view text) {
    std::string bytes;
    const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
    for (size_t i = 2; i + 1 < text.size(); i += 2)
        bytes += static_cast<char>(digit(text[i]) << 4 | digit(text[i + 1]));
    return bytes;
}

void append_value(Writing writing, std::string& value, std::string& out) {
    switch (writing) {
        case Writing::Number: {
            // NaN and the infinities are no numbers to JSON.
            const char first = value.empty() ? ' ' : value[value.size() > 1 && value[0] == '-'];
            if (first >= '0' && first <= '9') {
                out += value;
                return;
            }
            break;
        }
        case Writing::Boolean:
            out += value == "t" ? "true" : "false";
            return;
        case Writing::Bytes:
            out += '"';
            append_base64(from_hex(value), out);
            out += '"';
            return;
        case Writing::Instant:
            // The session's time zone is UTC: 2026-11-23 08:27:01+00 is 2026-11-23T08:27:01Z.
            if (value.size() >= 22 && value[10] == ' ' && value.ends_with("+00")) {
                value[10] = 'T';
                value.replace(value.size() - 3, 3, "Z");
            }
            break;
        case Writing::Text:
            break;
    }
    append_json_string(value, out);
}

}  // namespace

Result<SqlExport> export_postgres(const SqlExportOptions& options,
                                  const std::filesystem::path& file, const Deadline& deadline) {
    const libpq::Address address = PX_TRY(libpq::parse_address(options.connection));
    libpq::ConnectOptions connect_options;
    connect_options.application_name = "px source";
    connect_options.connect_timeout = options.connect_timeout;
    libpq::Connection connection =
        PX_TRY(libpq::Connection::connect(address, connect_options, deadline));
    const auto explain = [&](Error error) -> Error {
        if (connection.last_sqlstate() == "25006") {
            return fail(ErrorCode::Forbidden, "the query would change the database",
                        "write one SELECT");
        }
        if (error.hint.empty() && error.code == ErrorCode::InvalidArgument)
            error.hint =
                "correct the query of the source; `psql ADDRESS` with \\d shows the tables";
        return error;
    };

    // One snapshot, and texts that say the same whatever the server and its roles are set to.
    PX_TRY(connection.run(
        fmt::format("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL DateStyle = 'ISO, "
                    "YMD'; SET LOCAL TimeZone = 'UTC'; SET LOCAL IntervalStyle = 'iso_8601'; SET "
                    "LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL "
                    "standard_conforming_strings = on; SET LOCAL statement_timeout = 0; SET LOCAL "
                    "lock_timeout = {}",
                    options.busy_timeout.count()),
        deadline));
    const std::string query = PX_TRY(with_ds(options.query, connection.quote_literal(options.ds)));
    // Prepared first: it is one statement, so it can't end the COPY around it, and has these
    // columns.
    Result<libpq::Rows> described = connection.describe(query, deadline);
    if (!described) return explain(std::move(described).error());
    if (described->column_count() == 0) {
        return fail(ErrorCode::InvalidArgument, "the query yields no columns", "write one SELECT");
    }
    SqlExport result;
    std::vector<Writing> writings;
    for (int i = 0; i < described->column_count(); ++i) {
        result.columns.emplace_back(described->column_name(i));
        writings.push_back(writing_of(described->column_type(i)));
    }
    JsonLinesFile out = PX_TRY(JsonLinesFile::create(file, options.max_bytes));
    PX_TRY(out.columns(result.columns));
    std::vector<std::optional<std::string>> fields;
    const Result<int64_t> copied = connection.copy_out(
        fmt::format("COPY ({}\n) TO STDOUT", query),
        [&](std::string_view row) -> Result<void> {
            decode_copy_row(row, fields);
            if (fields.size() != writings.size()) {
                return fail(ErrorCode::Corrupt,
                            fmt::format("PostgreSQL {} sent a row of {} fields, not {}",
                                        address.shown, fields.size(), writings.size()),
                            "run the same command again");
            }
            for (size_t i = 0; i < fields.size(); ++i) {
                std::string& line = out.value(i);
                if (fields[i]) {
                    append_value(writings[i], *fields[i], line);
                } else {
                    line += "null";
                }
            }
            return out.end_row(deadline);
        },
        deadline);
    if (!copied) return explain(copied.error());
    PX_TRY(out.finish());
    result.row_count = out.row_count();
    result.size_bytes = out.size_bytes();
    return result;
}

}  // namespace px::source
