#include "engine/local/table_view.h"

#include <fmt/format.h>

#include <map>
#include <set>

#include "capi/duckdb/duckdb_handle.h"

namespace px::engine {
namespace {

using duckdb::quote_identifier;
using duckdb::quote_literal;

/// More groups than this are not spelled out as a UNION ALL.
constexpr size_t kUnionPartsMax = 48;

std::string folded(std::string_view name) {
    std::string lower(name);
    for (char& c : lower) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    }
    return lower;
}

using PartitionValues = std::vector<std::pair<std::string, std::optional<std::string>>>;

std::string literal_or_null(const std::optional<std::string>& value) {
    return value ? quote_literal(*value) : "NULL";
}

/// The caller has seen to it that every path can be named.
std::string file_list(const std::vector<const TableFile*>& files) {
    std::string list = "[";
    for (const TableFile* file : files) {
        if (list.size() > 1) list += ", ";
        list += quote_literal(duckdb::glob_of(file->path.string()).value_or(file->path.string()));
    }
    return list += ']';
}

const std::optional<std::string>* value_of(const PartitionValues& values, std::string_view name) {
    for (const auto& [key, value] : values) {
        if (folded(key) == folded(name)) return &value;
    }
    return nullptr;
}

/// SELECT of every column of the schema; value(name) gives the SQL of a partition column, empty for
/// others.
std::string select_list(const columnar::Schema& schema, const FileColumns& file,
                        const std::function<std::string(const std::string&)>& value) {
    std::set<std::string> present;
    for (const auto& [name, type] : file.columns) present.insert(folded(name));
    std::string list;
    for (const columnar::Field& field : schema.fields) {
        std::string name = quote_identifier(field.name);
        std::string from = value(field.name);
        if (from.empty()) from = present.contains(folded(field.name)) ? name : "NULL";
        list += fmt::format("{}CAST({} AS {}) AS {}", list.empty() ? "" : ", ", from,
                            columnar::sql_type_name(field.type), name);
    }
    return list;
}

/// True where the folders of the path say exactly the partition values, in characters nobody
/// encodes.
bool hive_path_agrees(const TableFile& file) {
    size_t folders = 0;
    for (const std::filesystem::path& part : file.path.parent_path()) {
        std::string text = part.string();
        size_t equals = text.find('=');
        if (equals == std::string::npos) continue;
        ++folders;
        bool found = false;
        for (const auto& [name, value] : file.partition_values) {
            if (name == text.substr(0, equals) && value && *value == text.substr(equals + 1))
                found = true;
        }
        if (!found || text.find_first_of("%+ ") != std::string::npos || equals + 1 == text.size())
            return false;
    }
    return folders == file.partition_values.size();
}

struct Group {
    FileColumns columns;
    PartitionValues values;
    std::vector<const TableFile*> files;
};

}  // namespace

Result<TableView> make_table_view(const TableSource& table, const std::vector<FileColumns>& files,
                                  const std::string& mapping_name) {
    if (table.schema.fields.empty()) {
        return fail(ErrorCode::InvalidArgument, fmt::format("table {} has no columns", table.name));
    }
    std::set<std::string> names;
    for (const columnar::Field& field : table.schema.fields) {
        if (!names.insert(folded(field.name)).second) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("table {} has two columns named {}", table.name, field.name));
        }
    }
    for (const TableFile& file : table.files) {
        for (const auto& [name, value] : file.partition_values) {
            if (!names.contains(folded(name))) {
                return fail(
                    ErrorCode::InvalidArgument,
                    fmt::format("table {} has no column for the partition value {} of file {}",
                                table.name, name, file.path.string()));
            }
        }
    }

    TableView view;
    if (table.files.empty()) {
        view.select = fmt::format("SELECT {} WHERE false",
                                  select_list(table.schema, {}, [](const auto&) { return ""; }));
        return view;
    }

    // One group per kind of file and partition; their order is that of the files, so that the
    // view's rows are as well.
    std::map<std::string, size_t> kinds;
    std::map<std::pair<size_t, PartitionValues>, size_t> group_index;
    std::vector<Group> groups;
    std::vector<Group> by_kind;
    bool hive = true;
    for (size_t i = 0; i < table.files.size(); ++i) {
        const TableFile& file = table.files[i];
        std::string kind;
        for (const auto& [name, type] : files[i].columns)
            kind += fmt::format("{}:{}{}:{}", name.size(), name, type.size(), type);
        // Which partition columns there are belongs to the kind, their values don't.
        for (const auto& [name, value] : file.partition_values)
            kind += fmt::format("|{}", folded(name));
        auto [known, is_new] = kinds.emplace(kind, kinds.size());
        if (is_new) by_kind.push_back({files[i], file.partition_values, {}});
        by_kind[known->second].files.push_back(&file);
        auto [group, first] =
            group_index.emplace(std::pair(known->second, file.partition_values), groups.size());
        if (first) groups.push_back({files[i], file.partition_values, {}});
        groups[group->second].files.push_back(&file);
        hive = hive && hive_path_agrees(file);
    }

    auto add_part = [&](const std::string& part) {
        view.select += (view.select.empty() ? "" : " UNION ALL ") + part;
    };
    if (groups.size() <= kUnionPartsMax) {
        for (const Group& group : groups) {
            std::string columns = select_list(
                table.schema, group.columns, [&](const std::string& name) -> std::string {
                    const std::optional<std::string>* value = value_of(group.values, name);
                    return value ? literal_or_null(*value) : "";
                });
            add_part(fmt::format("SELECT {} FROM read_parquet({}, hive_partitioning = false)",
                                 columns, file_list(group.files)));
        }
        return view;
    }
    if (hive) {
        for (const Group& group : by_kind) {
            std::string columns = select_list(
                table.schema, group.columns, [&](const std::string& name) -> std::string {
                    return value_of(group.values, name) ? quote_identifier(name) : "";
                });
            add_part(
                fmt::format("SELECT {} FROM read_parquet({}, hive_partitioning = true, "
                            "hive_types_autocast = false)",
                            columns, file_list(group.files)));
        }
        return view;
    }
    // Values that a file lacks are NULL in the mapping too, so one mapping serves every kind of
    // file.
    std::vector<std::string> partition_names;
    std::set<std::string> seen;
    for (const TableFile& file : table.files) {
        for (const auto& [name, value] : file.partition_values) {
            if (seen.insert(folded(name)).second) partition_names.push_back(name);
        }
    }
    std::string definition = "px_file VARCHAR";
    for (size_t p = 0; p < partition_names.size(); ++p)
        definition += fmt::format(", px_value_{} VARCHAR", p);
    view.mapping =
        fmt::format("CREATE OR REPLACE TABLE {} ({});", quote_identifier(mapping_name), definition);
    std::set<std::string> paths;
    std::string rows;
    for (const TableFile& file : table.files) {
        if (!paths.insert(file.path.string()).second) continue;
        rows += fmt::format("{}({}", rows.empty() ? "" : ", ", quote_literal(file.path.string()));
        for (const std::string& name : partition_names) {
            const std::optional<std::string>* value = value_of(file.partition_values, name);
            rows += ", " + (value ? literal_or_null(*value) : "NULL");
        }
        rows += ')';
    }
    view.mapping += fmt::format(" INSERT INTO {} VALUES {};", quote_identifier(mapping_name), rows);
    for (const Group& group : by_kind) {
        std::string columns =
            select_list(table.schema, group.columns, [&](const std::string& name) -> std::string {
                if (!value_of(group.values, name)) return "";
                for (size_t p = 0; p < partition_names.size(); ++p) {
                    if (folded(partition_names[p]) == folded(name))
                        return fmt::format("px_value_{}", p);
                }
                return "NULL";
            });
        add_part(
            fmt::format("SELECT {} FROM read_parquet({}, hive_partitioning = false, filename = "
                        "'px_source_file') JOIN {} ON px_source_file = px_file",
                        columns, file_list(group.files), quote_identifier(mapping_name)));
    }
    return view;
}

}  // namespace px::engine
