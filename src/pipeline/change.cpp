#include "pipeline/change.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace px::pipeline {

namespace {

bool same_name(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, [](char x, char y) {
        const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; };
        return lower(x) == lower(y);
    });
}

}  // namespace

std::string clash(const lake::Snapshot& table, const columnar::Field& field) {
    for (const columnar::Field& known : table.schema.fields) {
        if (!same_name(known.name, field.name)) continue;
        if (known.name != field.name) {
            return fmt::format("column '{}' differs from its column '{}' only in case", field.name,
                               known.name);
        }
        if (!(known.type == field.type)) {
            return fmt::format("column '{}' is {} in the lake and {} now", field.name,
                               columnar::delta_type_name(known.type),
                               columnar::delta_type_name(field.type));
        }
    }
    return {};
}

namespace {

Result<engine::TableFile> table_file(const std::string& table, const lake::Add& add,
                                     const store::ObjectStore& store) {
    engine::TableFile file;
    file.path = PX_TRY(store.local_path(table + "/" + add.path));
    for (const auto& [column, value] : add.partition_values)
        file.partition_values.emplace_back(column, value);
    return file;
}

}  // namespace

Result<engine::TableSource> table_source(const std::string& name, const lake::Snapshot& snapshot,
                                         const store::ObjectStore& store) {
    engine::TableSource source{name, snapshot.schema, {}};
    for (const lake::Add& add : snapshot.files)
        source.files.push_back(PX_TRY(table_file(name, add, store)));
    return source;
}

Result<engine::TableSource> staged_source(const std::string& name, const std::string& table,
                                          const columnar::Schema& schema,
                                          const std::vector<StagedFile>& files,
                                          const store::ObjectStore& lake_store,
                                          const store::ObjectStore& staged_store) {
    engine::TableSource source{name, schema, {}};
    for (const StagedFile& file : files) {
        source.files.push_back(
            PX_TRY(table_file(table, file.add, file.is_released ? lake_store : staged_store)));
    }
    return source;
}

Result<engine::TableSource> table_after(const std::optional<lake::Snapshot>& base,
                                        const SourceChange& change,
                                        const store::ObjectStore& lake_store,
                                        const store::ObjectStore& staged_store) {
    engine::TableSource source{change.source, change.schema, {}};
    if (base && !change.replaces_all) {
        for (const columnar::Field& f : base->schema.fields) {
            if (!source.schema.index_of(f.name)) source.schema.fields.push_back(f);
        }
        for (const lake::Add& add : base->files) {
            const auto ds = add.partition_values.find("ds");
            if (ds != add.partition_values.end() && ds->second &&
                change.partitions.contains(*ds->second))
                continue;
            source.files.push_back(PX_TRY(table_file(change.source, add, lake_store)));
        }
    }
    for (const auto& [ds, files] : change.partitions) {
        for (const StagedFile& file : files) {
            source.files.push_back(PX_TRY(
                table_file(change.source, file.add, file.is_released ? lake_store : staged_store)));
        }
    }
    return source;
}

}  // namespace px::pipeline
