#include "pipeline/texts.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <numeric>
#include <unordered_map>
#include <unordered_set>

#include "base/sha256.h"
#include "chunk/inspect.h"
#include "contract/acl.h"
#include "pipeline/sql_text.h"

namespace px::pipeline {

namespace {

constexpr size_t kVectorGroup = 512;  ///< texts a staged file of vectors: what a kill can cost

columnar::Field field(std::string name, columnar::TypeId type) {
    return {std::move(name), {type}, true};
}

/// The expression of a role's column as text, or NULL.
std::string role_text(const SourceDefinition& source, contract::Role role) {
    const contract::ColumnRule* rule = source.contract.with_role(role);
    return rule == nullptr ? "CAST(NULL AS VARCHAR)"
                           : fmt::format("CAST({} AS VARCHAR)", sql_name(rule->name));
}

/// The role date as microseconds since 1970, or NULL.
std::string role_date(const SourceDefinition& source) {
    const contract::ColumnRule* rule = source.contract.with_role(contract::Role::Date);
    if (rule == nullptr) return "CAST(NULL AS BIGINT)";
    if (rule->type.id == columnar::TypeId::String) {
        return fmt::format("epoch_us(TRY_CAST({} AS TIMESTAMP))", sql_name(rule->name));
    }
    if (rule->type.id == columnar::TypeId::Date) {
        return fmt::format("epoch_us(CAST({} AS TIMESTAMP))", sql_name(rule->name));
    }
    return fmt::format("epoch_us({})", sql_name(rule->name));
}

std::string text_at(const columnar::RecordBatch& batch, size_t column, int64_t row) {
    return std::string(batch.column(column).bytes_at(row));
}

std::optional<int64_t> number_at(const columnar::RecordBatch& batch, size_t column, int64_t row) {
    if (batch.column(column).is_null(row)) return std::nullopt;
    return batch.column(column).value_at<int64_t>(row);
}

/// The groups of a row's acl; nullopt: its source has no column of that role.
std::optional<std::vector<std::string>> acl_at(const SourceDefinition& source,
                                               const columnar::RecordBatch& batch, size_t column,
                                               int64_t row) {
    if (source.contract.with_role(contract::Role::Acl) == nullptr) return std::nullopt;
    if (batch.column(column).is_null(row)) return std::vector<std::string>();
    return contract::parse_acl(batch.column(column).bytes_at(row));
}

}  // namespace

/// As a key of PostgreSQL, whose rows of an index end at about 2,700 bytes.
constexpr size_t kDocumentIdBytesMax = 2'000;

std::string make_document_id(const SourceDefinition& source, std::string_view ds,
                             std::string_view id) {
    if (source.mode == SourceMode::Append) return fmt::format("{}@{}/{}", source.name, ds, id);
    return fmt::format("{}/{}", source.name, id);
}

columnar::Schema chunks_schema() {
    using columnar::TypeId;
    return {{field("chunk_id", TypeId::String), field("document_id", TypeId::String),
             field("title", TypeId::String), field("author", TypeId::String),
             field("created_at", TypeId::Timestamp), field("category", TypeId::String),
             field("text", TypeId::String), field("start", TypeId::Int64),
             field("end", TypeId::Int64), field("content_hash", TypeId::String),
             field("flags", TypeId::String)}};
}

columnar::Schema embeddings_schema() {
    using columnar::TypeId;
    return {{field("content_hash", TypeId::String), field("model", TypeId::String),
             field("precision", TypeId::String), field("vector", TypeId::FloatList)}};
}

// ---- chunks
// ----------------------------------------------------------------------------------------

namespace {

/// Chunks of one partition, row by row.
class PartitionChunker {
  public:
    PartitionChunker(const TextServices& services, const SourceDefinition& source,
                     const std::string& ds, const std::unordered_set<std::string>& old_ids,
                     ChunkDelta& delta)
        : services_(services),
          source_(source),
          ds_(ds),
          old_ids_(old_ids),
          delta_(delta),
          batch_(chunks_schema()),
          writer_(services.target, std::string(kChunksTable), {{"source", source.name}, {"ds", ds}},
                  services.clock) {}

    Result<void> run(engine::Session& session, const std::string& table, const Deadline& deadline) {
        const std::string sql = fmt::format(
            "SELECT {} AS id, {} AS title, {} AS author, {} AS created_at, {} AS category, {} AS "
            "text, {} AS acl FROM {}",
            role_text(source_, contract::Role::Id), role_text(source_, contract::Role::Title),
            role_text(source_, contract::Role::Author), role_date(source_),
            role_text(source_, contract::Role::Category),
            fmt::format("coalesce({}, '')", role_text(source_, contract::Role::Text)),
            role_text(source_, contract::Role::Acl), sql_name(table));
        PX_TRY(session.stream(
            sql, {}, [&](const columnar::RecordBatch& rows) { return documents(rows, deadline); },
            deadline));
        PX_TRY(writer_.write(batch_));
        StagedTable staged;
        staged.table = std::string(kChunksTable);
        staged.schema = chunks_schema();
        staged.schema.fields.push_back(field("source", columnar::TypeId::String));
        staged.schema.fields.push_back(field("ds", columnar::TypeId::String));
        staged.partition_columns = {"source", "ds"};
        staged.files = PX_TRY(writer_.finish());
        delta_.chunks.push_back(std::move(staged));
        return {};
    }

    const std::unordered_set<std::string>& seen() const { return seen_; }

  private:
    Result<void> documents(const columnar::RecordBatch& rows, const Deadline& deadline) {
        for (int64_t r = 0; r < rows.row_count(); ++r) {
            if (rows.column(5).is_null(r) || rows.column(0).is_null(r)) continue;
            PX_TRY(deadline.check());
            PX_TRY(document(rows, r));
        }
        return {};
    }

    Result<void> document(const columnar::RecordBatch& rows, int64_t r) {
        const std::string_view text = rows.column(5).bytes_at(r);
        const std::string document_id = make_document_id(source_, ds_, rows.column(0).bytes_at(r));
        const std::string title = text_at(rows, 1, r);
        const std::string author = text_at(rows, 2, r);
        const std::optional<int64_t> created_at = number_at(rows, 3, r);
        const std::string category = text_at(rows, 4, r);
        const std::string date = created_at ? format_timestamp(*created_at) : "";
        const auto acl = acl_at(source_, rows, 6, r);
        const std::string acl_text = acl ? fmt::format("{}", fmt::join(*acl, ",")) : std::string();
        std::vector<chunk::Span> spans = PX_TRY(chunk::split(text, services_.definition.chunking));
        // A document without text is found by its title.
        if (spans.empty() && !title.empty()) spans.push_back({});
        for (const chunk::Span span : spans) {
            const std::string_view piece = text.substr(static_cast<size_t>(span.start),
                                                       static_cast<size_t>(span.end - span.start));
            chunk::ChunkId id = chunk::make_chunk_id(
                {source_.name, ds_of_identity(), document_id, title, author, date, category, piece,
                 span, acl ? std::optional<std::string_view>(acl_text) : std::nullopt});
            const std::string hash = sha256_hex(chunk::embedding_text(title, piece));
            append(id, document_id, title, author, created_at, category, piece, span, hash);
            if (batch_.row_count() >= 4'096) {
                PX_TRY(writer_.write(batch_));
                batch_.clear();
            }
            ++delta_.total;
            if (!seen_.insert(id.value).second) continue;
            if (old_ids_.contains(id.value)) {
                ++delta_.kept;
                continue;
            }
            index::Point point;
            point.id = std::move(id);
            point.document_id = document_id;
            point.source = source_.name;
            point.ds = ds_of_identity();
            point.title = title;
            point.author = author;
            point.category = category;
            point.created_at = created_at;
            point.text = piece;
            point.span = span;
            point.acl = acl;
            delta_.added.push_back(std::move(point));
            delta_.content_hashes.push_back(hash);
        }
        return {};
    }

    /// Snapshot and merge sources move to a new ds at every run; what did not change keeps its
    /// chunks.
    std::string ds_of_identity() const {
        return source_.mode == SourceMode::Append ? ds_ : std::string();
    }

    void append(const chunk::ChunkId& id, const std::string& document_id, const std::string& title,
                const std::string& author, std::optional<int64_t> created_at,
                const std::string& category, std::string_view piece, chunk::Span span,
                const std::string& hash) {
        batch_.column(0).append_bytes(id.value);
        batch_.column(1).append_bytes(document_id);
        batch_.column(2).append_bytes(title);
        batch_.column(3).append_bytes(author);
        if (created_at) {
            batch_.column(4).append_int64(*created_at);
        } else {
            batch_.column(4).append_null();
        }
        batch_.column(5).append_bytes(category);
        batch_.column(6).append_bytes(piece);
        batch_.column(7).append_int64(span.start);
        batch_.column(8).append_int64(span.end);
        batch_.column(9).append_bytes(hash);
        std::string flags;
        for (const std::string& kind : chunk::inspect(title + "\n" + std::string(piece)))
            flags += (flags.empty() ? "" : " ") + kind;
        if (flags.empty()) {
            batch_.column(10).append_null();
        } else {
            batch_.column(10).append_bytes(flags);
        }
    }

    const TextServices& services_;
    const SourceDefinition& source_;
    const std::string& ds_;
    const std::unordered_set<std::string>& old_ids_;
    ChunkDelta& delta_;
    columnar::RecordBatch batch_;
    PartWriter writer_;
    std::unordered_set<std::string> seen_;
};

/// Chunk ids the release has in a source's partition (ds) or in all of them.
Result<std::unordered_set<std::string>> chunk_ids(engine::Session& session,
                                                  const std::string& source,
                                                  const std::optional<std::string>& ds,
                                                  const Deadline& deadline) {
    std::unordered_set<std::string> ids;
    std::string sql =
        fmt::format("SELECT chunk_id FROM {} WHERE source = {}", kChunksTable, sql_literal(source));
    if (ds) sql += " AND ds = " + sql_literal(*ds);
    PX_TRY(session.stream(
        sql, {},
        [&](const columnar::RecordBatch& batch) -> Result<void> {
            for (int64_t r = 0; r < batch.row_count(); ++r)
                ids.emplace(batch.column(0).bytes_at(r));
            return {};
        },
        deadline));
    return ids;
}

}  // namespace

Result<ChunkDelta> prepare_chunks(const TextServices& services,
                                  const std::vector<SourceChange>& changes,
                                  const std::optional<lake::Snapshot>& base_chunks,
                                  const Deadline& deadline) {
    ChunkDelta delta;
    const auto session = PX_TRY(services.engine.open_session());
    if (base_chunks) {
        PX_TRY(session->add_table(
            PX_TRY(table_source(std::string(kChunksTable), *base_chunks, services.lake_store))));
    }
    int number = 0;
    for (const SourceChange& change : changes) {
        const SourceDefinition* source = services.definition.source(change.source);
        const bool has_text = source != nullptr && source->has_text();
        std::unordered_set<std::string> all_old;
        std::unordered_set<std::string> all_seen;
        if (change.replaces_all && base_chunks) {
            all_old = PX_TRY(chunk_ids(*session, change.source, std::nullopt, deadline));
        }
        if (change.replaces_all) delta.replaced.emplace_back(change.source, std::nullopt);
        for (const auto& [ds, files] : change.partitions) {
            std::unordered_set<std::string> partition_old;
            if (!change.replaces_all) {
                delta.replaced.emplace_back(change.source, ds);
                if (base_chunks)
                    partition_old = PX_TRY(chunk_ids(*session, change.source, ds, deadline));
            }
            const std::unordered_set<std::string>& old =
                change.replaces_all ? all_old : partition_old;
            if (has_text) {
                const std::string table = fmt::format("staged_rows_{}", number++);
                PX_TRY(session->add_table(
                    PX_TRY(staged_source(table, change.source, change.schema, files,
                                         services.lake_store, services.target.store))));
                PartitionChunker chunker(services, *source, ds, old, delta);
                PX_TRY(chunker.run(*session, table, deadline).context("source " + change.source));
                all_seen.insert(chunker.seen().begin(), chunker.seen().end());
            }
            if (!change.replaces_all) {
                for (const std::string& id : partition_old) {
                    if (!all_seen.contains(id)) delta.removed.push_back({id});
                }
            }
        }
        if (change.replaces_all) {
            for (const std::string& id : all_old) {
                if (!all_seen.contains(id)) delta.removed.push_back({id});
            }
        }
    }
    std::ranges::sort(delta.removed);
    // One order for everything that follows, whatever the order of the sources.
    std::vector<size_t> order(delta.added.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::sort(order,
                      [&](size_t a, size_t b) { return delta.added[a].id < delta.added[b].id; });
    std::vector<index::Point> added;
    std::vector<std::string> hashes;
    added.reserve(order.size());
    for (size_t i : order) {
        added.push_back(std::move(delta.added[i]));
        hashes.push_back(std::move(delta.content_hashes[i]));
    }
    delta.added = std::move(added);
    delta.content_hashes = std::move(hashes);
    // A merge may move a row to another partition: what is added again is not removed.
    std::erase_if(delta.removed, [&](const chunk::ChunkId& id) {
        return std::ranges::binary_search(delta.added, id, {}, &index::Point::id);
    });
    return delta;
}

// ---- vectors
// ---------------------------------------------------------------------------------------

namespace {

using VectorMap = std::unordered_map<std::string, std::vector<float>>;

/// Calls found(hash, row, batch) for the rows of an embeddings table whose hash is wanted.
Result<void> read_vectors(const TextServices& services, const engine::TableSource& table,
                          const std::string& model_id,
                          const std::unordered_set<std::string>& wanted, VectorMap* vectors,
                          std::unordered_set<std::string>& found, const Deadline& deadline) {
    if (wanted.empty() || table.files.empty()) return {};
    const auto session = PX_TRY(services.engine.open_session());
    PX_TRY(session->add_table(table));
    const std::string sql =
        fmt::format("SELECT content_hash{} FROM {} WHERE model = {} AND precision = {}",
                    vectors ? ", vector" : "", sql_name(table.name), sql_literal(model_id),
                    sql_literal(services.definition.embedding_precision));
    return session->stream(
        sql, {},
        [&](const columnar::RecordBatch& batch) -> Result<void> {
            for (int64_t r = 0; r < batch.row_count(); ++r) {
                std::string hash = text_at(batch, 0, r);
                if (!wanted.contains(hash)) continue;
                if (vectors != nullptr) {
                    const columnar::Column& column = batch.column(1);
                    const auto begin =
                        static_cast<size_t>(column.offsets()[static_cast<size_t>(r)]);
                    const auto end =
                        static_cast<size_t>(column.offsets()[static_cast<size_t>(r) + 1]);
                    const auto* floats = reinterpret_cast<const float*>(column.data().data());
                    (*vectors)[hash].assign(floats + begin, floats + end);
                }
                found.insert(std::move(hash));
            }
            return {};
        },
        deadline);
}

/// Progress of one group as progress of all of them.
class GroupProgress final : public Progress {
  public:
    GroupProgress(Progress& all, size_t before, size_t total)
        : all_(all), before_(static_cast<int64_t>(before)), total_(static_cast<int64_t>(total)) {}
    void update(std::string_view stage, int64_t done, int64_t, std::string_view unit) override {
        all_.update(stage, before_ + done, total_, unit);
    }
    void finish(std::string_view) override {}

  private:
    Progress& all_;
    int64_t before_, total_;
};

}  // namespace

Result<VectorPlan> plan_vectors(const TextServices& services, const ChunkDelta& delta,
                                const std::optional<lake::Snapshot>& base_embeddings,
                                const std::string& model_id, const Deadline& deadline) {
    VectorPlan plan;
    const std::unordered_set<std::string> wanted(delta.content_hashes.begin(),
                                                 delta.content_hashes.end());
    std::unordered_set<std::string> found;
    if (base_embeddings) {
        const engine::TableSource table = PX_TRY(
            table_source(std::string(kEmbeddingsTable), *base_embeddings, services.lake_store));
        PX_TRY(read_vectors(services, table, model_id, wanted, nullptr, found, deadline));
    }
    for (const std::string& hash : wanted) {
        if (!found.contains(hash)) plan.missing.push_back(hash);
    }
    std::ranges::sort(plan.missing);
    plan.reused = std::ranges::count_if(
        delta.content_hashes, [&](const std::string& hash) { return found.contains(hash); });
    return plan;
}

Result<StagedTable> fill_vectors(const TextServices& services, ChunkDelta& delta,
                                 const VectorPlan& plan,
                                 const std::optional<lake::Snapshot>& base_embeddings,
                                 const embed::Encoder& encoder, int64_t& truncated,
                                 const Deadline& deadline) {
    StagedTable staged;
    staged.table = std::string(kEmbeddingsTable);
    staged.schema = embeddings_schema();
    VectorMap vectors;
    std::unordered_set<std::string> found;
    std::unordered_set<std::string> cached(delta.content_hashes.begin(),
                                           delta.content_hashes.end());
    for (const std::string& hash : plan.missing) cached.erase(hash);
    if (base_embeddings) {
        const engine::TableSource table = PX_TRY(
            table_source(std::string(kEmbeddingsTable), *base_embeddings, services.lake_store));
        PX_TRY(
            read_vectors(services, table, encoder.model_id(), cached, &vectors, found, deadline));
    }

    std::unordered_map<std::string, size_t> first_of;  // hash → a chunk with that text
    for (size_t i = 0; i < delta.content_hashes.size(); ++i)
        first_of.emplace(delta.content_hashes[i], i);

    const std::string precision = services.definition.embedding_precision;
    embed::EncodeStats stats;
    for (size_t begin = 0; begin < plan.missing.size(); begin += kVectorGroup) {
        const size_t end = std::min(begin + kVectorGroup, plan.missing.size());
        const std::unordered_set<std::string> group(
            plan.missing.begin() + static_cast<std::ptrdiff_t>(begin),
            plan.missing.begin() + static_cast<std::ptrdiff_t>(end));
        Sha256 name;
        name.update(encoder.model_id() + "/" + precision + "/" + std::string(encoder.kernel()) +
                    "/");
        for (size_t i = begin; i < end; ++i) name.update(plan.missing[i]);
        StagedFile file;
        file.add.path = fmt::format("part-{}.snappy.parquet", to_hex(name.finish()).substr(0, 32));
        const std::string key = fmt::format("{}/{}", kEmbeddingsTable, file.add.path);
        std::optional<store::ObjectMeta> known = PX_TRY(services.target.store.head(key));
        if (!known) {
            std::vector<std::string> texts;
            std::vector<std::string_view> views;
            texts.reserve(end - begin);
            for (size_t i = begin; i < end; ++i) {
                const index::Point& point = delta.added[first_of.at(plan.missing[i])];
                texts.push_back(chunk::embedding_text(point.title, point.text));
            }
            views.assign(texts.begin(), texts.end());
            GroupProgress progress(services.progress, begin, plan.missing.size());
            const std::vector<float> encoded = PX_TRY(
                encoder.encode_counted(views, embed::TextKind::Passage, deadline, progress, stats));
            columnar::RecordBatch batch(embeddings_schema());
            for (size_t i = begin; i < end; ++i) {
                batch.column(0).append_bytes(plan.missing[i]);
                batch.column(1).append_bytes(encoder.model_id());
                batch.column(2).append_bytes(precision);
                batch.column(3).append_floats(encoded.data() + (i - begin) * encoder.width(),
                                              encoder.width());
            }
            const std::filesystem::path path =
                services.target.scratch_folder / fmt::format("vectors-{}.parquet", begin);
            const auto writer =
                PX_TRY(columnar::ParquetWriter::create(path, embeddings_schema(), {}));
            PX_TRY(writer->write(batch));
            const columnar::ParquetFileInfo info = PX_TRY(writer->close());
            PX_TRY(services.target.store.put_file(key, path));
            file.row_count = info.row_count;
            file.add.size_bytes = info.size_bytes;
            file.add.stats_json = lake::make_stats_json(embeddings_schema(), info);
            for (size_t i = begin; i < end; ++i) {
                const float* row = encoded.data() + (i - begin) * encoder.width();
                vectors[plan.missing[i]].assign(row, row + encoder.width());
            }
        } else {
            file.row_count = static_cast<int64_t>(end - begin);
            file.add.size_bytes = known->size_bytes;
            file.add.stats_json = fmt::format("{{\"numRecords\":{}}}", file.row_count);
            const engine::TableSource table = PX_TRY(
                staged_source("staged_vectors", std::string(kEmbeddingsTable), embeddings_schema(),
                              {file}, services.lake_store, services.target.store));
            std::unordered_set<std::string> read;
            PX_TRY(
                read_vectors(services, table, encoder.model_id(), group, &vectors, read, deadline));
            if (read.size() != group.size()) {
                return fail(ErrorCode::Corrupt,
                            fmt::format("the staged vectors {} are incomplete", key),
                            "Remove that file and run again");
            }
        }
        file.add.modification_time_ms = services.clock.now() / 1000;
        staged.files.push_back(std::move(file));
        services.progress.update("embed", static_cast<int64_t>(end),
                                 static_cast<int64_t>(plan.missing.size()), "chunks");
        if (services.step) services.step("embed.group");
    }
    services.progress.finish("embed");
    truncated = static_cast<int64_t>(stats.truncated);
    std::unordered_map<std::string_view, size_t> uses;
    for (const std::string& hash : delta.content_hashes) ++uses[hash];
    for (size_t i = 0; i < delta.added.size(); ++i) {
        const auto vector = vectors.find(delta.content_hashes[i]);
        if (vector == vectors.end()) {
            return fail(ErrorCode::Internal,
                        fmt::format("no vector for content {}", delta.content_hashes[i]));
        }
        // Most texts occur once: their vector is never held twice.
        if (--uses[delta.content_hashes[i]] == 0) {
            delta.added[i].vector = std::move(vector->second);
        } else {
            delta.added[i].vector = vector->second;
        }
    }
    return staged;
}

// ---- metadata
// --------------------------------------------------------------------------------------

Result<std::vector<catalog::Publication::Partition>> prepare_documents(
    const TextServices& services, const std::vector<SourceChange>& changes,
    const std::function<Result<std::optional<catalog::LandedFile>>(const std::string& key)>& landed,
    const Deadline& deadline) {
    std::vector<catalog::Publication::Partition> partitions;
    const auto session = PX_TRY(services.engine.open_session());
    const TimestampMicros now = services.clock.now();
    int number = 0;
    for (const SourceChange& change : changes) {
        const SourceDefinition* source = services.definition.source(change.source);
        catalog::Publication::Partition whole;
        whole.source = change.source;
        const bool has_text = source != nullptr && source->has_text();
        for (const auto& [ds, files] : change.partitions) {
            catalog::Publication::Partition one;
            one.source = change.source;
            one.ds = ds;
            std::vector<catalog::DocumentRow>& rows =
                change.replaces_all ? whole.documents : one.documents;
            if (has_text) {
                const std::string table = fmt::format("staged_documents_{}", number++);
                PX_TRY(session->add_table(
                    PX_TRY(staged_source(table, change.source, change.schema, files,
                                         services.lake_store, services.target.store))));
                const bool documents = source->kind == SourceKind::Documents;
                const std::string text =
                    fmt::format("coalesce({}, '')", role_text(*source, contract::Role::Text));
                const std::string sql = fmt::format(
                    "SELECT {} AS id, {} AS title, {} AS author, {} AS created_at, {} AS category, "
                    "sha256({}) AS hash, "
                    "CAST(strlen({}) AS BIGINT) AS length, _px_file, _px_line, _px_start, _px_end, "
                    "{} AS text_offset, {} AS acl FROM {}",
                    role_text(*source, contract::Role::Id),
                    role_text(*source, contract::Role::Title),
                    role_text(*source, contract::Role::Author), role_date(*source),
                    role_text(*source, contract::Role::Category), text, text,
                    documents ? "text_offset" : "CAST(-1 AS BIGINT)",
                    role_text(*source, contract::Role::Acl), sql_name(table));
                PX_TRY(session->stream(
                    sql, {},
                    [&](const columnar::RecordBatch& batch) -> Result<void> {
                        for (int64_t r = 0; r < batch.row_count(); ++r) {
                            if (batch.column(0).is_null(r) || batch.column(5).is_null(r)) continue;
                            catalog::DocumentRow row;
                            row.id = text_at(batch, 0, r);
                            row.document_id = make_document_id(*source, ds, row.id);
                            if (row.document_id.size() > kDocumentIdBytesMax) {
                                return fail(
                                    ErrorCode::ContractViolated,
                                    fmt::format("source {} has an id of {} bytes, and {} are the "
                                                "most: {}…",
                                                source->name, row.id.size(), kDocumentIdBytesMax,
                                                row.id.substr(0, 60)),
                                    "Give the role id to a column of short values");
                            }
                            row.source = change.source;
                            row.ds = ds;
                            row.title = text_at(batch, 1, r);
                            row.author = text_at(batch, 2, r);
                            row.created_at = number_at(batch, 3, r);
                            row.category = text_at(batch, 4, r);
                            row.ingested_at = now;
                            row.text_sha256 = text_at(batch, 5, r);
                            row.text_length = number_at(batch, 6, r).value_or(0);
                            row.landed_key = text_at(batch, 7, r);
                            row.line = number_at(batch, 8, r).value_or(0);
                            row.byte_start = number_at(batch, 9, r).value_or(0);
                            row.byte_end = number_at(batch, 10, r).value_or(0);
                            const int64_t offset = number_at(batch, 11, r).value_or(-1);
                            boost::json::object extra;
                            if (documents) {
                                extra["text_is_raw"] = offset >= 0;
                                extra["text_offset"] = offset;
                            }
                            if (const auto acl = acl_at(*source, batch, 12, r)) {
                                extra["acl"] = boost::json::array(acl->begin(), acl->end());
                                extra["acl_column"] =
                                    source->contract.with_role(contract::Role::Acl)->name;
                            }
                            if (!extra.empty()) row.extra_json = boost::json::serialize(extra);
                            const std::optional<catalog::LandedFile> file =
                                PX_TRY(landed(row.landed_key));
                            if (!file) {
                                return fail(ErrorCode::Corrupt,
                                            fmt::format("row '{}' names the landed file {}, which "
                                                        "the catalog does not know",
                                                        row.id, row.landed_key));
                            }
                            row.landed_sha256 = file->sha256;
                            row.path = file->path;
                            row.offsets_are_raw =
                                !file->path.ends_with(".gz") && !file->path.ends_with(".zst");
                            rows.push_back(std::move(row));
                        }
                        return {};
                    },
                    deadline));
            }
            if (!change.replaces_all) partitions.push_back(std::move(one));
        }
        if (change.replaces_all) partitions.push_back(std::move(whole));
    }
    return partitions;
}

}  // namespace px::pipeline
