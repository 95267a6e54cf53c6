// The schedule's state in PostgreSQL.
#include <utility>

#include "catalog/postgres/session_pool.h"
#include "catalog/schedule_sql.h"

namespace px::catalog {
namespace {

constexpr unsigned kBigint = 20;  // OIDs of pg_type
constexpr unsigned kInteger = 23;

class PostgresSession final : public SqlSession {
  public:
    explicit PostgresSession(Session& session) : session_(session) {}

    Result<SqlTable> execute(const std::string& sql,
                             const std::vector<SqlValue>& parameters) override {
        libpq::Parameters values;
        for (const SqlValue& value : parameters) {
            if (const auto* number = std::get_if<int64_t>(&value)) {
                values.int64(*number);
            } else {
                values.text(std::get<std::string>(value));
            }
        }
        const libpq::Rows rows = PX_TRY(session_.execute(sql, values));
        SqlTable table;
        for (int row = 0; row < rows.row_count(); ++row) {
            std::vector<SqlValue>& out = table.rows.emplace_back();
            for (int column = 0; column < rows.column_count(); ++column) {
                const unsigned type = rows.column_type(column);
                if (type == kBigint || type == kInteger) {
                    out.emplace_back(rows.int64(row, column));
                } else {
                    out.emplace_back(std::string(rows.text(row, column)));
                }
            }
        }
        table.affected = rows.affected();
        return table;
    }

  private:
    Session& session_;
};

class PostgresDatabase final : public SqlDatabase {
  public:
    PostgresDatabase(libpq::Address address, OpenMode mode, const PostgresCatalogOptions& options)
        : pool_(std::move(address), mode, options) {}

    Result<void> read(const Body& body) override {
        return pool_.read([&](Session& session) -> Result<void> {
            PostgresSession seam(session);
            return body(seam);
        });
    }
    Result<void> write(const Body& body) override {
        return pool_.write([&](Session& session) -> Result<void> {
            PostgresSession seam(session);
            return body(seam);
        });
    }

  private:
    SessionPool pool_;
};

}  // namespace

Result<std::unique_ptr<ScheduleStore>> open_postgres_schedule(
    const std::string& address, OpenMode mode, const Clock& clock,
    const PostgresCatalogOptions& options) {
    PX_TRY(open_postgres_catalog(address, mode, clock, options));
    libpq::Address parsed = PX_TRY(libpq::parse_address(address));
    return make_schedule_store(
        std::make_unique<PostgresDatabase>(std::move(parsed), mode, options));
}

}  // namespace px::catalog
