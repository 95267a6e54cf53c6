#include "pipeline/execution.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/log.h"
#include "pipeline/change.h"
#include "pipeline/sql_text.h"

namespace px::pipeline {

namespace json = boost::json;

namespace {

/// The columns of a source's files, for SQL.
std::string column_list(const columnar::Schema& schema) {
    std::string columns;
    for (const columnar::Field& field : schema.fields) {
        if (field.name == "ds") continue;
        columns += (columns.empty() ? "" : ", ") + sql_name(field.name);
    }
    return columns;
}

}  // namespace

// ---- what changes ------------------------------------------------------------------------------

Result<RunExecution::Output> RunExecution::merge(SourceState& state, const Deadline& deadline) {
    SourceChange change;
    change.source = state.source->name;
    change.schema = state.staged.rows.schema;
    change.partitions[ds_] = state.staged.rows.files;
    PX_TRY(merge_into(*state.source, state.staged, change, deadline));
    json::array partitions;
    for (const auto& [ds, files] : change.partitions) {
        const StagedTable part{change.source, change.schema, {"ds"}, files};
        partitions.push_back(json::object{{"ds", ds}, {"files", to_json(part)}});
    }
    Output output{{{"base", base_id()}, {"partitions", std::move(partitions)}},
                  {{"partitions", change.partitions.size()}}};
    const std::lock_guard lock(mutex_);
    merged_[change.source] = std::move(change);
    return output;
}

Result<void> RunExecution::know_changes() {
    const std::lock_guard lock(mutex_);
    if (changes_known_) return {};
    row_changes_.clear();
    text_changes_.clear();
    for (SourceState& state : sources_) {
        if (!state.changed) continue;
        SourceChange change;
        change.source = state.source->name;
        change.schema = state.staged.rows.schema;
        change.replaces_all = state.source->mode == SourceMode::Snapshot;
        change.partitions[ds_] = state.staged.rows.files;
        if (state.source->mode == SourceMode::Merge) change = merged_.at(change.source);
        row_changes_.push_back(change);
        text_changes_.push_back(std::move(change));
    }
    for (const std::string& removed : removed_sources_)
        text_changes_.push_back({removed, true, {}, {}});
    if (text_changed_) {
        // Another model or another way to chunk: every text is looked at again.
        for (const SourceState& state : sources_) {
            if (state.changed && state.source->mode == SourceMode::Snapshot) continue;
            if (!state.source->has_text()) continue;
            const std::optional<lake::Snapshot> base = PX_TRY(released(state.source->name));
            if (!base) continue;
            SourceChange whole{state.source->name, true, {}, base->schema};
            for (const lake::Add& add : base->files) {
                whole.partitions[add.partition_values.at("ds").value_or("")].push_back(
                    {add, 0, true});
            }
            const auto already =
                std::ranges::find(text_changes_, whole.source, &SourceChange::source);
            if (already == text_changes_.end()) {
                text_changes_.push_back(std::move(whole));
            } else {
                for (auto& [ds, files] : already->partitions) whole.partitions[ds] = files;
                *already = std::move(whole);
            }
        }
    }
    changes_known_ = true;
    return {};
}

/// Upsert: partitions that hold a key of the staged rows are rewritten without it.
Result<void> RunExecution::merge_into(const SourceDefinition& source, const StageResult& staged,
                                      SourceChange& change, const Deadline& deadline) {
    const std::optional<lake::Snapshot> base = PX_TRY(released(source.name));
    if (!base) return {};
    const std::string key = sql_name(source.contract.with_role(contract::Role::Id)->name);
    const auto session = PX_TRY(services_.engine.open_session());
    PX_TRY(session->add_table(PX_TRY(table_source(source.name, *base, services_.lake))));
    PX_TRY(session->add_table(
        PX_TRY(staged_source("staged", source.name, staged.rows.schema, staged.rows.files,
                             services_.lake, target_.store))));
    // Another date's delivery is not newer for being read later: its keys stay as a later date
    // has them.
    std::string not_later;
    if (source.is_dated()) {
        PX_TRY(drop_superseded(source, staged, key, *session, change, deadline));
        not_later = fmt::format(" AND ds <= '{}'", ds_);
    }
    const std::string matched = fmt::format(
        "SELECT DISTINCT ds FROM {} WHERE (ds = '{}' OR {} IN (SELECT {} FROM staged)){} ORDER "
        "BY ds",
        sql_name(source.name), ds_, key, key, not_later);
    engine::QueryLimits limits;
    limits.time = kQueryTime;
    limits.rows = 1'000'000;
    const engine::QueryResult partitions = PX_TRY(session->query(matched, {}, limits, deadline));
    if (partitions.truncated) {
        return fail(ErrorCode::ResourceExhausted,
                    fmt::format("source {} has more than {} partitions to merge into", source.name,
                                limits.rows));
    }
    const std::string columns = column_list(base->schema);
    for (const auto& row : partitions.rows) {
        const std::string ds = row[0].value_or("");
        const std::string sql = fmt::format(
            "SELECT {} FROM {} WHERE ds = '{}' AND ({} IS NULL OR {} NOT IN (SELECT {} FROM "
            "staged WHERE {} IS NOT NULL))",
            columns, sql_name(source.name), ds, key, key, key, key);
        const std::filesystem::path path =
            target_.scratch_folder / fmt::format("merge-{}-{}.parquet", source.name, ds);
        const auto [schema, info] = PX_TRY(session->copy_to_parquet(sql, path, deadline));
        std::vector<StagedFile>& files = change.partitions[ds];
        if (info.row_count > 0) {
            files.push_back(PX_TRY(store_part(target_, source.name, {{"ds", ds}}, schema, info,
                                              path, services_.clock)));
        } else {
            std::error_code ignored;
            std::filesystem::remove(path, ignored);
        }
        step("merge." + source.name);
    }
    for (const columnar::Field& field : base->schema.fields) {
        if (!change.schema.index_of(field.name)) change.schema.fields.push_back(field);
    }
    return {};
}

/// Leaves out of a merge what a later date has brought already.
Result<void> RunExecution::drop_superseded(const SourceDefinition& source,
                                           const StageResult& staged, const std::string& key,
                                           engine::Session& session, SourceChange& change,
                                           const Deadline& deadline) {
    const std::string superseded = fmt::format("{} IN (SELECT {} FROM {} WHERE ds > '{}')", key,
                                               key, sql_name(source.name), ds_);
    engine::QueryLimits limits;
    limits.time = kQueryTime;
    const engine::QueryResult count = PX_TRY(session.query(
        fmt::format("SELECT count(*) FROM staged WHERE {}", superseded), {}, limits, deadline));
    if (count.rows.at(0).at(0).value_or("0") == "0") return {};
    log::info("merge.superseded", {{"source", source.name}, {"rows", *count.rows[0][0]}});
    const std::filesystem::path path =
        target_.scratch_folder / fmt::format("merge-{}.parquet", source.name);
    const auto [schema, info] = PX_TRY(
        session.copy_to_parquet(fmt::format("SELECT {} FROM staged WHERE {} IS NULL OR NOT ({})",
                                            column_list(staged.rows.schema), key, superseded),
                                path, deadline));
    std::vector<StagedFile>& files = change.partitions[ds_];
    files.clear();
    if (info.row_count > 0) {
        files.push_back(PX_TRY(
            store_part(target_, source.name, {{"ds", ds_}}, schema, info, path, services_.clock)));
    }
    return {};
}

// ---- the lake ----------------------------------------------------------------------------------

TableChange RunExecution::model_change(StagedTable table) {
    TableChange change;
    change.table = std::move(table.table);
    change.schema = std::move(table.schema);
    change.files = std::move(table.files);
    change.replaces = [](const lake::Add&) { return true; };
    change.replaces_schema = true;
    return change;
}

Result<RunExecution::Output> RunExecution::model(const ModelDefinition& model,
                                                 const Deadline& deadline) {
    PX_TRY(know_changes());
    const auto session = PX_TRY(services_.engine.open_session());
    for (const SourceState& state : sources_) {
        const std::string& name = state.source->name;
        const std::optional<lake::Snapshot> base = PX_TRY(released(name));
        const auto change = std::ranges::find(row_changes_, name, &SourceChange::source);
        if (change != row_changes_.end()) {
            PX_TRY(session->add_table(
                PX_TRY(table_after(base, *change, services_.lake, target_.store))));
        } else if (base) {
            PX_TRY(session->add_table(PX_TRY(table_source(name, *base, services_.lake))));
        }
    }
    for (const ModelDefinition& earlier : definition_.models) {
        if (earlier.name == model.name) break;
        const TableChange& made = models_.at(earlier.name);
        PX_TRY(session->add_table(PX_TRY(staged_source(
            made.table, made.table, made.schema, made.files, services_.lake, target_.store))));
    }
    const std::filesystem::path path =
        target_.scratch_folder / ("model-" + model.name + ".parquet");
    const auto [schema, info] =
        PX_TRY(session->copy_to_parquet(model.sql, path, deadline).context("model " + model.name));
    StagedTable table{model.name, schema, {}, {}};
    table.files.push_back(
        PX_TRY(store_part(target_, model.name, {}, schema, info, path, services_.clock)));
    Output output{{{"base", base_id()}, {"table", to_json(table)}}, {{"rows", info.row_count}}};
    {
        const std::lock_guard lock(mutex_);
        models_[model.name] = model_change(std::move(table));
    }
    step("models." + model.name);
    return output;
}

// ---- metadata ----------------------------------------------------------------------------------

Result<RunExecution::Output> RunExecution::metadata(const Deadline& deadline) {
    step("metadata.begin");
    PX_TRY(prepare_document_rows(deadline));
    size_t count = 0;
    for (const catalog::Publication::Partition& partition : *documents_)
        count += partition.documents.size();
    step("metadata.end");
    return Output{{}, {{"documents", count}}};
}

Result<void> RunExecution::prepare_document_rows(const Deadline& deadline) {
    PX_TRY(know_changes());
    std::map<std::string, catalog::LandedFile> landed;
    for (const SourceState& state : sources_) {
        for (const InputFile& file : state.input.files) {
            landed[file.key] = {state.source->name, ds_, file.path, file.key, file.sha256,
                                file.size_bytes,    0};
        }
        if (!state.source->has_text()) continue;
        for (catalog::LandedFile& file : PX_TRY(catalog_->published_files(state.source->name))) {
            landed.emplace(file.key, file);
        }
    }
    documents_ = PX_TRY(prepare_documents(
        text_services(), text_changes_,
        [&](const std::string& key) -> Result<std::optional<catalog::LandedFile>> {
            auto found = landed.find(key);
            if (found == landed.end()) {
                // A merge keeps rows of any earlier delivery.
                std::optional<catalog::LandedFile> earlier = PX_TRY(catalog_->landed_file(key));
                if (!earlier) return std::optional<catalog::LandedFile>();
                found = landed.emplace(key, std::move(*earlier)).first;
            }
            return std::optional(found->second);
        },
        deadline));
    return {};
}

// ---- vectors -----------------------------------------------------------------------------------

std::optional<index::ManifestId> RunExecution::base_manifest() const {
    // Vectors of another model are not mixed with those there are: the index is made anew, from all
    // texts.
    if (!base_ || base_->index_manifest.empty() || vectors_changed_) return std::nullopt;
    return index::ManifestId{base_->index_manifest};
}

TextServices RunExecution::text_services() const {
    return {definition_,     services_.engine,   services_.lake, target_,
            services_.clock, services_.progress, services_.step, services_.thread_count};
}

/// The chunks of the changed partitions, in memory.
Result<void> RunExecution::prepare_delta(const Deadline& deadline) {
    if (delta_) return {};
    std::optional<lake::Snapshot> base_chunks;
    if (!vectors_changed_) base_chunks = PX_TRY(released(std::string(kChunksTable)));
    delta_ = PX_TRY(prepare_chunks(text_services(), text_changes_, base_chunks, deadline));
    delta_has_vectors_ = false;
    return {};
}

Result<RunExecution::Output> RunExecution::chunk(const Deadline& deadline) {
    PX_TRY(know_changes());
    Output output{{{"base", base_id()}}, {}};
    json::array tables;
    json::array replaced;
    if (!texts_stay()) {
        step("chunk.begin");
        PX_TRY(prepare_delta(deadline));
        chunk_tables_ = delta_->chunks;
        chunks_replaced_ = delta_->replaced;
        report_.chunks_deleted = static_cast<int64_t>(delta_->removed.size());
        chunks_touched_ = delta_->kept + static_cast<int64_t>(delta_->added.size());
        for (const StagedTable& part : chunk_tables_) tables.push_back(to_json(part));
        for (const auto& [source, ds] : chunks_replaced_) {
            replaced.push_back(
                json::object{{"source", source}, {"ds", ds ? json::value(*ds) : json::value()}});
        }
        output.metrics["chunks"] = delta_->total;
        output.metrics["added"] = delta_->added.size();
        step("chunk.end");
    }
    output.state["tables"] = std::move(tables);
    output.state["replaced"] = std::move(replaced);
    output.state["deleted"] = report_.chunks_deleted;
    output.state["touched"] = chunks_touched_;
    output.metrics["deleted"] = report_.chunks_deleted;
    return output;
}

Result<RunExecution::Output> RunExecution::embed(const Deadline& deadline) {
    PX_TRY(know_changes());
    if (encoder_ != nullptr && !texts_stay()) {
        PX_TRY(prepare_delta(deadline));
        const std::optional<lake::Snapshot> vectors = PX_TRY(newest(std::string(kEmbeddingsTable)));
        const VectorPlan plan =
            PX_TRY(plan_vectors(text_services(), *delta_, vectors, encoder_->model_id(), deadline));
        report_.chunks_embedded = static_cast<int64_t>(plan.missing.size());
        report_.chunks_reused = chunks_touched_ - report_.chunks_embedded;
        if (purpose_ == Purpose::Plan) return Output{};
        step("embed.begin");
        Result<StagedTable> filled = fill_vectors(text_services(), *delta_, plan, vectors,
                                                  *encoder_, report_.chunks_truncated, deadline);
        if (!filled) {
            delta_.reset();  // half filled: the next attempt begins with whole chunks
            return std::move(filled).error();
        }
        embeddings_ = std::move(*filled);
        delta_has_vectors_ = true;
        step("embed.end");
    }
    const json::object metrics{{"embedded", report_.chunks_embedded},
                               {"reused", report_.chunks_reused},
                               {"truncated", report_.chunks_truncated}};
    Output output{metrics, metrics};
    output.state["base"] = base_id();
    output.state["files"] = to_json(embeddings_);
    return output;
}

Result<RunExecution::Output> RunExecution::index(const Deadline& deadline) {
    PX_TRY(know_changes());
    const std::optional<index::ManifestId> base = base_manifest();
    if (texts_stay()) {
        manifest_ = *base;
    } else {
        step("index.begin");
        PX_TRY(prepare_delta(deadline));
        if (encoder_ != nullptr && !delta_has_vectors_) {
            // Staged by task embed: found again, group by group.
            const std::optional<lake::Snapshot> vectors =
                PX_TRY(newest(std::string(kEmbeddingsTable)));
            const VectorPlan plan = PX_TRY(
                plan_vectors(text_services(), *delta_, vectors, encoder_->model_id(), deadline));
            int64_t truncated_again = 0;
            PX_TRY(fill_vectors(text_services(), *delta_, plan, vectors, *encoder_, truncated_again,
                                deadline));
        }
        ChunkDelta delta = std::move(*delta_);
        delta_.reset();
        manifest_ =
            PX_TRY(services_.vectors.apply(base, delta.removed, std::move(delta.added), deadline));
        step("index.end");
    }
    return Output{{{"base", base_id()}, {"manifest", manifest_.value}}, {}};
}

}  // namespace px::pipeline
