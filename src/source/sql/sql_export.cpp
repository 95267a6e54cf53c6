#include "source/sql/sql_export.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace px::source {

Result<SqlExport> export_sql(const SqlExportOptions& options, const std::filesystem::path& file,
                             const Deadline& deadline) {
    const std::string_view connection = options.connection;
    if (connection.starts_with("sqlite:")) return export_sqlite(options, file, deadline);
    if (connection.starts_with("postgresql://") || connection.starts_with("postgres://"))
        return export_postgres(options, file, deadline);
    // The text may hold a password: only its scheme is shown.
    return fail(ErrorCode::InvalidArgument,
                fmt::format("unknown kind of SQL connection \"{}:\"",
                            connection.substr(0, std::min(connection.find(':'), size_t{20}))),
                "write it as sqlite:PATH or postgresql://USER:PASSWORD@HOST:PORT/DATABASE");
}

}  // namespace px::source
