// The SQL of a view over the Parquet files of a table: files of different age and partition seen as
// one schema.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace px::engine {

/// Which columns a file has: (name, description of its physical type) in order, as Parquet names
/// them.
struct FileColumns {
    std::vector<std::pair<std::string, std::string>> columns;
};

struct TableView {
    std::string select;   ///< what the view is made of
    std::string mapping;  ///< SQL to run before it (a table of partition values); empty: none
};

/// files[i] describes table.files[i]. mapping_name: a free table name. Columns a file lacks are
/// NULL, those it has are cast to the schema's type, partition columns are constants. Few
/// partitions become a UNION ALL of constants, so that filters skip files; many partitions are read
/// from Hive-style folder names where those say the same, else joined by file name (then the order
/// of rows is not that of the files). Errors:
/// InvalidArgument (no column, two columns of one name, a partition value without a column).
Result<TableView> make_table_view(const TableSource& table, const std::vector<FileColumns>& files,
                                  const std::string& mapping_name);

}  // namespace px::engine
