#include "pipeline/execution.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/log.h"
#include "lake/schema_json.h"
#include "pipeline/change.h"

namespace px::pipeline {

namespace {

constexpr int kCommitAttempts = 5;  ///< when foreign writers come in between

bool is_reserved(std::string_view name) {
    return std::ranges::find(kReservedTables, name) != std::end(kReservedTables);
}

}  // namespace

/// The tables, then the one row that makes the release visible.
Result<RunExecution::Output> RunExecution::publish(const Deadline& deadline) {
    if (!documents_) PX_TRY(prepare_document_rows(deadline));
    report_.tables.clear();  // of an attempt that failed
    step("publish.begin");
    catalog::Publication publication;
    publication.release.run = run_->id;
    publication.release.ds = ds_;
    publication.release.input_fingerprints = fingerprints_after();
    publication.release.index_manifest = manifest_.value;
    publication.expected_latest = base_ ? base_->id.value : 0;
    if (base_) publication.release.table_versions = base_->table_versions;
    std::erase_if(publication.release.table_versions, [&](const auto& entry) {
        const std::string& name = entry.first;
        return definition_.source(name) == nullptr && !is_reserved(name) &&
               std::ranges::find(definition_.models, name, &ModelDefinition::name) ==
                   definition_.models.end();
    });
    for (const TableChange& change : table_changes()) {
        const lake::TableVersion version = PX_TRY(commit(change).context("table " + change.table));
        publication.release.table_versions[change.table] = version.value;
        report_.tables.push_back(fmt::format("{} {}", change.table, version.value));
        step("publish.commit." + change.table);
    }
    // Vectors that a killed attempt committed already belong to this release too.
    if (const std::optional<lake::Snapshot> vectors =
            PX_TRY(newest(std::string(kEmbeddingsTable)))) {
        publication.release.table_versions[std::string(kEmbeddingsTable)] = vectors->version.value;
    }
    const auto view = PX_TRY(services_.vectors.open(manifest_));
    publication.release.chunks = static_cast<int64_t>(view->point_count());
    report_.chunks_total = publication.release.chunks;
    if (services_.promote) {
        report_.promotion = PX_TRY(services_.promote(view, deadline));
        catalog::CheckResult check;
        check.run = run_->id;
        check.source = kServeSource;
        check.check = kPromoteCheck;
        check.expected = report_.promotion->rule;
        check.actual = report_.promotion->reason;
        check.passed = report_.promotion->promoted;
        PX_TRY(catalog_->record_checks({check}));
    }
    publication.documents = *documents_;
    report_.result = RunResult::Published;
    publication.report = [this](const catalog::Release& release) {
        report_.release = release.id.value;
        report_.documents = release.documents;
        note_elapsed();
        return report_json(report_);
    };
    step("publish.release.begin");
    const catalog::Release release = PX_TRY(catalog_->publish(publication));
    step("publish.release.end");
    report_.release = release.id.value;
    report_.documents = release.documents;
    return Output{{}, {{"release", release.id.value}, {"documents", release.documents}}};
}

Result<void> RunExecution::check_tables() {
    PX_TRY(know_changes());
    for (const TableChange& change : table_changes()) {
        const auto refused = [&](std::string why) {
            return fail(ErrorCode::InvalidArgument, fmt::format("table {}: {}", change.table, why),
                        "Give the source or model another name; nothing was changed");
        };
        const std::optional<lake::Snapshot> now = PX_TRY(newest(change.table));
        if (!now) {
            PX_TRY(lake::validate_schema(change.schema, change.partition_columns)
                       .context("table " + change.table));
            continue;
        }
        if (now->partition_columns != change.partition_columns)
            return refused("the lake has one of this name with other partitions");
        if (change.replaces_schema) {
            PX_TRY(lake::validate_schema(change.schema, change.partition_columns)
                       .context("table " + change.table));
            continue;
        }
        for (const columnar::Field& field : change.schema.fields) {
            if (const std::string why = clash(*now, field); !why.empty()) return refused(why);
        }
    }
    return {};
}

/// Every table the run writes, in a fixed order.
std::vector<TableChange> RunExecution::table_changes() const {
    std::vector<TableChange> changes;
    for (const SourceChange& source : row_changes_) {
        TableChange change;
        change.table = source.source;
        change.schema = source.schema;
        change.partition_columns = {"ds"};
        for (const auto& [ds, files] : source.partitions) {
            change.files.insert(change.files.end(), files.begin(), files.end());
        }
        const bool all = source.replaces_all;
        std::set<std::string> partitions;
        for (const auto& [ds, files] : source.partitions) partitions.insert(ds);
        change.replaces = [all, partitions](const lake::Add& add) {
            return all || partitions.contains(add.partition_values.at("ds").value_or(""));
        };
        changes.push_back(std::move(change));
    }
    for (const ModelDefinition& model : definition_.models)
        changes.push_back(models_.at(model.name));

    TableChange quarantine;
    quarantine.table = std::string(kQuarantineTable);
    std::set<std::pair<std::string, std::string>> replaced;  // source, ds or "" for all
    for (const SourceState& state : sources_) {
        if (!state.changed) continue;
        quarantine.schema = state.staged.quarantine.schema;
        quarantine.files.insert(quarantine.files.end(), state.staged.quarantine.files.begin(),
                                state.staged.quarantine.files.end());
        replaced.emplace(state.source->name, state.source->mode == SourceMode::Snapshot ? "" : ds_);
    }
    if (!replaced.empty()) {
        quarantine.partition_columns = {"source", "ds"};
        quarantine.replaces = [replaced](const lake::Add& add) {
            const std::string source = add.partition_values.at("source").value_or("");
            return replaced.contains({source, ""}) ||
                   replaced.contains({source, add.partition_values.at("ds").value_or("")});
        };
        changes.push_back(std::move(quarantine));
    }
    if (!chunks_replaced_.empty()) {
        TableChange chunks;
        chunks.table = std::string(kChunksTable);
        chunks.partition_columns = {"source", "ds"};
        chunks.schema = chunks_schema();
        for (const char* name : {"source", "ds"}) {
            chunks.schema.fields.push_back({name, {columnar::TypeId::String}, true});
        }
        for (const StagedTable& staged : chunk_tables_) {
            chunks.files.insert(chunks.files.end(), staged.files.begin(), staged.files.end());
        }
        chunks.replaces = [replaced_parts = chunks_replaced_](const lake::Add& add) {
            return std::ranges::any_of(replaced_parts, [&](const auto& part) {
                return add.partition_values.at("source").value_or("") == part.first &&
                       (!part.second || *part.second == add.partition_values.at("ds").value_or(""));
            });
        };
        changes.push_back(std::move(chunks));
    }
    if (!embeddings_.files.empty()) {
        TableChange embeddings;
        embeddings.table = std::string(kEmbeddingsTable);
        embeddings.schema = embeddings_.schema;
        embeddings.files = embeddings_.files;
        embeddings.replaces = [](const lake::Add&) { return false; };
        embeddings.is_cache = true;
        changes.push_back(std::move(embeddings));
    }
    return changes;
}

Result<lake::TableVersion> RunExecution::commit(const TableChange& change) {
    for (int attempt = 1;; ++attempt) {
        Result<lake::TableVersion> done = commit_once(change);
        if (done || done.error().code != ErrorCode::Conflict || attempt == kCommitAttempts)
            return done;
        log::warning("publish.commit_again",
                     {{"table", change.table}, {"why", done.error().to_string()}});
    }
}

/// Makes the table hold what the release held, less what the change replaces, and the staged
/// files; nothing is written if it does already, as after a kill. What is in the newest version
/// and neither released nor staged was left by a run that was given up, or put there past the
/// gate: it goes.
Result<lake::TableVersion> RunExecution::commit_once(const TableChange& change) {
    lake::DeltaTable delta_table = table(change.table);
    const std::optional<lake::Snapshot> now = PX_TRY(delta_table.snapshot());
    const std::optional<lake::Snapshot> before =
        change.is_cache ? now : PX_TRY(released(change.table));
    std::map<std::string, const lake::Add*> wanted;
    if (before) {
        for (const lake::Add& add : before->files) {
            if (!change.replaces(add)) wanted.emplace(add.path, &add);
        }
    }
    for (const StagedFile& file : change.files) wanted.emplace(file.add.path, &file.add);
    lake::Change commit;
    std::set<std::string> live;
    int64_t added_bytes = 0;
    if (now) {
        for (const lake::Add& add : now->files) {
            live.insert(add.path);
            if (!wanted.contains(add.path)) commit.remove.push_back(add.path);
        }
    }
    for (const auto& [path, add] : wanted) {
        if (live.contains(path)) continue;
        commit.add.push_back(*add);
        added_bytes += add->size_bytes;
    }
    if (!now) {
        commit.schema = change.schema;
        commit.partition_columns = change.partition_columns;
    } else if (change.replaces_schema) {
        if (lake::write_schema(now->schema) != lake::write_schema(change.schema)) {
            commit.schema = change.schema;
            commit.replace_schema = true;
        }
    } else {
        columnar::Schema grown = now->schema;
        for (const columnar::Field& field : change.schema.fields) {
            if (!grown.index_of(field.name)) grown.fields.push_back(field);
        }
        if (!(grown == now->schema)) commit.schema = std::move(grown);
    }
    if (now && commit.add.empty() && commit.remove.empty() && !commit.schema) return now->version;
    if (!change.is_cache) commit.overwrites.emplace();
    commit.info.operation = now ? "WRITE" : "CREATE TABLE AS SELECT";
    commit.info.run_id = run_->id.value;
    const lake::TableVersion version = PX_TRY(delta_table.commit(now, commit));
    report_.bytes_written += added_bytes;
    return version;
}

lake::DeltaTable RunExecution::table(const std::string& name) const {
    return lake::DeltaTable(services_.lake, name, services_.clock);
}

/// The table as the release has it: what a run builds on, whatever versions a run that was given
/// up has left behind. nullopt: the release has no such table.
Result<std::optional<lake::Snapshot>> RunExecution::released(const std::string& name) const {
    if (!base_) return std::nullopt;
    const auto version = base_->table_versions.find(name);
    if (version == base_->table_versions.end()) return std::nullopt;
    return std::optional(PX_TRY(table(name)
                                    .snapshot_at({version->second})
                                    .context(fmt::format("release {}, whose tables should be in {}",
                                                         base_->id.value, services_.lake.url()))));
}

/// The newest version in the log: what a commit has to be put on top of.
Result<std::optional<lake::Snapshot>> RunExecution::newest(const std::string& name) const {
    Result<std::optional<lake::Snapshot>> snapshot = table(name).snapshot();
    // A plan before the first run: there is no lake yet, and a plan does not make one.
    if (!snapshot && purpose_ == Purpose::Plan && snapshot.error().code == ErrorCode::NotFound)
        return std::nullopt;
    return snapshot;
}

}  // namespace px::pipeline
