// The schedule's state in the embedded catalog.
#include <utility>

#include "catalog/schedule_sql.h"
#include "catalog/sqlite/connection_pool.h"

namespace px::catalog {
namespace {

using sqlite::Database;
using sqlite::Statement;

class SqliteSession final : public SqlSession {
  public:
    explicit SqliteSession(Database& database) : database_(database) {}

    Result<SqlTable> execute(const std::string& sql,
                             const std::vector<SqlValue>& parameters) override {
        std::string numbered = sql;  // $1 is a name to SQLite, ?1 a number
        for (char& c : numbered) c = c == '$' ? '?' : c;
        Statement statement = PX_TRY(database_.prepare(numbered));
        for (size_t i = 0; i < parameters.size(); ++i) {
            const int index = static_cast<int>(i) + 1;
            if (const auto* number = std::get_if<int64_t>(&parameters[i])) {
                statement.bind_int64(index, *number);
            } else {
                statement.bind_text(index, std::get<std::string>(parameters[i]));
            }
        }
        SqlTable table;
        while (PX_TRY(statement.step())) {
            std::vector<SqlValue>& row = table.rows.emplace_back();
            for (int column = 0; column < statement.column_count(); ++column) {
                if (statement.column_type(column) == sqlite::ValueType::Int64) {
                    row.emplace_back(statement.column_int64(column));
                } else {
                    row.emplace_back(std::string(statement.column_text(column)));
                }
            }
        }
        table.affected = database_.changes();
        return table;
    }

  private:
    Database& database_;
};

class SqliteDatabase final : public SqlDatabase {
  public:
    SqliteDatabase(std::filesystem::path file, OpenMode mode, const SqliteCatalogOptions& options)
        : pool_(std::move(file), mode, options) {}

    Result<void> read(const Body& body) override {
        return pool_.read([&](Database& database) -> Result<void> {
            SqliteSession session(database);
            return body(session);
        });
    }
    Result<void> write(const Body& body) override {
        return pool_.write([&](Database& database) -> Result<void> {
            SqliteSession session(database);
            return body(session);
        });
    }

  private:
    ConnectionPool pool_;
};

}  // namespace

Result<std::unique_ptr<ScheduleStore>> open_sqlite_schedule(const std::filesystem::path& file,
                                                            OpenMode mode, const Clock& clock,
                                                            const SqliteCatalogOptions& options) {
    PX_TRY(open_sqlite_catalog(file, mode, clock, options));  // makes, migrates or refuses it
    return make_schedule_store(std::make_unique<SqliteDatabase>(file, mode, options));
}

}  // namespace px::catalog
