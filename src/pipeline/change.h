// SourceChange: which partitions of a source's table a run replaces, and with what. Rank 4.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "lake/delta_table.h"
#include "pipeline/staging.h"

namespace px::pipeline {

struct SourceChange {
    std::string source;
    /// True: partitions that are not listed become empty (snapshot sources, sources taken out of
    /// the pipeline).
    bool replaces_all = false;
    std::map<std::string, std::vector<StagedFile>> partitions;  ///< ds → all files of it afterwards
    columnar::Schema schema;                                    ///< of the table, with ds
};

/// Why a table can't take a column; empty: it can.
std::string clash(const lake::Snapshot& table, const columnar::Field& field);

/// The table as it will be after the change: base (nullopt: no table) without the replaced
/// partitions, plus the new files.
Result<engine::TableSource> table_after(const std::optional<lake::Snapshot>& base,
                                        const SourceChange& change,
                                        const store::ObjectStore& lake_store,
                                        const store::ObjectStore& staged_store);
/// A committed table for a session. Files are reached through store.local_path.
Result<engine::TableSource> table_source(const std::string& name, const lake::Snapshot& snapshot,
                                         const store::ObjectStore& store);
/// Staged files for a session; those that are released already are found in lake_store.
Result<engine::TableSource> staged_source(const std::string& name, const std::string& table,
                                          const columnar::Schema& schema,
                                          const std::vector<StagedFile>& files,
                                          const store::ObjectStore& lake_store,
                                          const store::ObjectStore& staged_store);

}  // namespace px::pipeline
