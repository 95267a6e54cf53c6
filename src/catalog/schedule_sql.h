// The rules of ScheduleStore in SQL both databases understand, over a seam as thin as one
// statement. Rank 2; for adapters.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "catalog/schedule_state.h"

namespace px::catalog {

using SqlValue = std::variant<int64_t, std::string>;

/// The rows of a statement, all in memory, and how many rows it changed.
struct SqlTable {
    std::vector<std::vector<SqlValue>> rows;
    int64_t affected = 0;
    int64_t int64(size_t row, size_t column) const;
    const std::string& text(size_t row, size_t column) const;
};

/// One statement with parameters $1, $2 …
class SqlSession {
  public:
    virtual ~SqlSession() = default;
    virtual Result<SqlTable> execute(const std::string& sql,
                                     const std::vector<SqlValue>& parameters) = 0;
};

class SqlDatabase {
  public:
    using Body = std::function<Result<void>(SqlSession&)>;
    virtual ~SqlDatabase() = default;
    virtual Result<void> read(const Body& body) = 0;
    /// One transaction that excludes other writers; the body may be done again when the connection
    /// is lost, also after it was committed.
    virtual Result<void> write(const Body& body) = 0;
};

/// The tables: one step of each adapter's migrations. No column is NULL: an absent instant is 0, an
/// absent exit code -1.
extern const std::string_view kScheduleTables;

std::unique_ptr<ScheduleStore> make_schedule_store(std::unique_ptr<SqlDatabase> database);

}  // namespace px::catalog
