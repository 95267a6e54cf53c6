// Texts: the third stream: documents of the changed partitions → chunks → vectors → a new index
// manifest. Rank 4. Reads staged Parquet, never the outside. Everything it writes is invisible
// until the release names it, and named by its content, so that doing it again after a kill writes
// the same.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/progress.h"
#include "catalog/catalog.h"
#include "embed/encoder.h"
#include "engine/engine.h"
#include "index/vector_store.h"
#include "pipeline/change.h"

namespace px::pipeline {

/// "<source>/<id>", or "<source>@<ds>/<id>" for append sources, whose partitions may repeat an id.
std::string make_document_id(const SourceDefinition& source, std::string_view ds,
                             std::string_view id);

/// What the changed partitions do to the chunks.
struct ChunkDelta {
    std::vector<StagedTable> chunks;  ///< one a changed partition; table kChunksTable
    std::vector<std::pair<std::string, std::optional<std::string>>>
        replaced;  ///< (source, ds or all) partitions of it
    std::vector<chunk::ChunkId> removed;
    std::vector<index::Point> added;          ///< without vectors; by ChunkId
    std::vector<std::string> content_hashes;  ///< of added, same order
    int64_t kept = 0;
    int64_t total = 0;  ///< chunks of the changed partitions
};

struct VectorPlan {
    std::vector<std::string>
        missing;         ///< content hashes without a cached vector, sorted, each once
    int64_t reused = 0;  ///< added chunks whose vector is cached
};

struct TextServices {
    const Definition& definition;
    engine::Engine& engine;
    store::ObjectStore& lake_store;
    const StageTarget& target;  ///< where staged files are and go
    const Clock& clock;
    Progress& progress;
    const StepObserver& step;
    size_t thread_count = 1;
};

/// Splits the documents of the changed partitions and compares with what the release has.
/// base_chunks: the chunks table at the release's version. Documents without text yield nothing.
Result<ChunkDelta> prepare_chunks(const TextServices& services,
                                  const std::vector<SourceChange>& changes,
                                  const std::optional<lake::Snapshot>& base_chunks,
                                  const Deadline& deadline);

/// Which vectors the added chunks lack. base_embeddings: the embeddings table, newest version.
Result<VectorPlan> plan_vectors(const TextServices& services, const ChunkDelta& delta,
                                const std::optional<lake::Snapshot>& base_embeddings,
                                const std::string& model_id, const Deadline& deadline);

/// Fills the vectors of delta.added: cached ones are read, missing ones are encoded in groups, each
/// staged as one file, so that a resumed run encodes only what is missing. Returns the files for
/// the embeddings table. truncated: texts, among those encoded now, that were longer than the model
/// reads.
Result<StagedTable> fill_vectors(const TextServices& services, ChunkDelta& delta,
                                 const VectorPlan& plan,
                                 const std::optional<lake::Snapshot>& base_embeddings,
                                 const embed::Encoder& encoder, int64_t& truncated,
                                 const Deadline& deadline);

/// The documents' rows of the changed partitions for the catalog (second stream).
Result<std::vector<catalog::Publication::Partition>> prepare_documents(
    const TextServices& services, const std::vector<SourceChange>& changes,
    const std::function<Result<std::optional<catalog::LandedFile>>(const std::string& key)>& landed,
    const Deadline& deadline);

columnar::Schema chunks_schema();  ///< of the files: without source and ds
columnar::Schema embeddings_schema();

}  // namespace px::pipeline
