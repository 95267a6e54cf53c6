// The collection of a pipeline: points (chunks with vector, text and payload) grouped into
// one view a release by a manifest. Rank 2. Adapters: index/embedded/ (docs/formats/segment.md,
// docs/formats/manifest.md), index/qdrant/ (docs/formats/qdrant.md).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/service_facts.h"
#include "chunk/chunk.h"

namespace px::index {

/// A chunk as the index keeps it.
struct Point {
    chunk::ChunkId id;
    std::string document_id;                    ///< "<source>/<id>"
    std::string source;                         ///< source of the pipeline file
    std::string ds;                             ///< logical date of the run that brought it
    std::string title, author, category;        ///< may be empty
    std::optional<TimestampMicros> created_at;  ///< role date
    std::string text;                           ///< the chunk's text
    chunk::Span span;                           ///< in the document's text
    std::vector<float> vector;                  ///< unit length; size = Collection width
    /// Groups that may read it, sorted; nullopt: everybody. Written by adapters that filter by it
    /// themselves; points() need not give it back.
    std::optional<std::vector<std::string>> acl{};
};

/// The id a point has to have: chunk::make_chunk_id over its parts, the date as format_timestamp or
/// "". Whoever makes points and whoever verifies citations agree by this.
chunk::ChunkId identify(const Point& point);

/// Which points a search may return: all given conditions must hold. Comparison of author and
/// category ignores case.
struct Filter {
    std::vector<std::string> authors, categories, sources;  ///< any of; empty = all
    std::optional<TimestampMicros> from,
        to;  ///< created_at in [from, to); a point without date fails a given bound
    std::optional<std::string> document_id;
};

/// Who may see what: of a view narrowed to somebody.
struct Audience {
    std::vector<std::string> groups;  ///< his
    /// Sources everybody may read today, whatever their points say.
    std::vector<std::string> open_sources;
    /// Whether he may see a document, by what the release says of it. Has the last word.
    std::function<bool(std::string_view document_id)> admits;
};

struct ScoredPoint {
    uint64_t point = 0;  ///< handle into the view that returned it
    float score = 0;
};

struct ScoredDocument {
    std::string document_id;
    float score = 0;
};

/// Name of an immutable manifest, by content: 64 hex digits. The empty collection has a manifest
/// too.
struct ManifestId {
    std::string value;
    auto operator<=>(const ManifestId&) const = default;
};

/// Whether a dense search may miss a point: Fast finds at least 95 of 100 of the best ones in a
/// large collection and all in a small one.
enum class Accuracy { Fast, Exact };

/// A document by its number in a view, from 0.
struct RankedDocument {
    uint32_t document = 0;
    float score = 0;
};

/// What the searches of one question find.
struct HybridHits {
    std::vector<ScoredPoint> dense;         ///< as search_dense() gives them
    std::vector<RankedDocument> documents;  ///< as search_documents() gives them
    /// Of every document by its number, as search_documents() scores it; 0 without any term.
    std::vector<float> document_scores;
    /// Of every point, as search_lexical() scores it: [handle >> 32][handle & 0xFFFFFFFF].
    std::vector<std::vector<float>> point_scores;

    float lexical(uint64_t handle) const {
        return point_scores[handle >> 32][handle & 0xFFFFFFFFU];
    }
};

/// Vectors of points: rows[i] has CollectionView::width() floats. They live as long as this and the
/// view it came from.
struct VectorRows {
    std::vector<const float*> rows;
    std::shared_ptr<const void> owner;  ///< of what is not the view's
};

/// Vectors of some points to compare with each other and with questions, numbered in the order they
/// were asked for. How near they are is known to about 0.005 where only codes are kept.
class PassageVectors {
  public:
    virtual ~PassageVectors() = default;
    /// out[i] = the dot product of query and vector i, for all of them.
    virtual void dots(const std::vector<float>& query, float* out) const = 0;
    virtual float dot(size_t i, size_t k) const = 0;
    /// Adds a vector to width floats.
    virtual void add(size_t i, float* sum) const = 0;
    /// [n, n] products of n vectors of unit length, row-major; the diagonal is 0.
    virtual std::vector<float> products(const std::vector<std::vector<float>>& vectors) const = 0;
};

/// One release's points, opened read-only. Thread-safe. Ties are ordered by ChunkId. Where the
/// points are on another machine, methods that return a Result send requests, as few as they can:
/// ask for many points at once. Their errors then include those of the way there (Unavailable …).
class CollectionView {
  public:
    virtual ~CollectionView() = default;
    virtual const ManifestId& manifest() const = 0;
    virtual uint64_t point_count() const = 0;
    virtual size_t width() const = 0;  ///< 0 for the empty collection
    /// Cosine (vectors are unit length), of full precision. Best first.
    virtual Result<std::vector<ScoredPoint>> search_dense(
        const std::vector<float>& query, size_t top_k, const Filter& filter,
        const Deadline& deadline, Accuracy accuracy = Accuracy::Fast) const = 0;
    /// BM25 (k1 = 1.2, b = 0.75) over analysed title + author + text. Best first; points without
    /// any term are left out.
    virtual Result<std::vector<ScoredPoint>> search_lexical(std::string_view query, size_t top_k,
                                                            const Filter& filter,
                                                            const Deadline& deadline) const = 0;
    /// BM25 (same constants) over whole documents: a term stands in a document as often as in all
    /// its points together. Plus 0.2 × BM25 of the query's neighbouring terms where they stand side
    /// by side. Best first, ties by document id; a filter admits a document by any of its points.
    virtual Result<std::vector<ScoredDocument>> search_documents(
        std::string_view query, size_t top_k, const Filter& filter,
        const Deadline& deadline) const = 0;
    /// The nearest points and the best documents by words, with the words' score of everything: one
    /// request where it goes over a network.
    struct HybridCounts {
        size_t points = 0, documents = 0;  ///< at most
    };
    virtual Result<HybridHits> search_hybrid(const std::vector<float>& vector,
                                             std::string_view text, HybridCounts counts,
                                             const Filter& filter, const Deadline& deadline,
                                             Accuracy accuracy = Accuracy::Fast) const = 0;
    virtual Result<std::unique_ptr<const PassageVectors>> passage_vectors(
        const std::vector<uint64_t>& handles, const Deadline& deadline) const;
    virtual Result<VectorRows> vectors(const std::vector<uint64_t>& handles,
                                       const Deadline& deadline) const = 0;
    /// Payload and text of points, in order, without their vectors. Cost: one copy of each.
    virtual Result<std::vector<Point>> points(const std::vector<uint64_t>& handles,
                                              const Deadline& deadline) const = 0;
    /// points() of one.
    Result<Point> point(uint64_t handle, const Deadline& deadline = Deadline::never()) const;
    /// Handles of every point, ascending by ChunkId.
    virtual std::vector<uint64_t> all() const = 0;
    virtual std::optional<uint64_t> find(const chunk::ChunkId& id) const = 0;
    /// The number of the point's document.
    virtual uint32_t document_of(uint64_t handle) const = 0;
    /// The id of a document; it lives as long as the view.
    virtual std::string_view document_name(uint32_t document) const = 0;
    /// Handles of a document's points, by span.start.
    virtual std::vector<uint64_t> points_in(uint32_t document) const = 0;
    std::string document_id(uint64_t handle) const {
        return std::string(document_name(document_of(handle)));
    }
    /// Handles of a document's points, by span.start.
    virtual std::vector<uint64_t> points_of(std::string_view document_id) const = 0;
    /// This view as if it held the audience's documents alone: what is found, counted and scored
    /// is the same as without the others. Cost: a look at every point. The view itself need not
    /// live on.
    virtual Result<std::shared_ptr<const CollectionView>> narrowed(
        const Audience& audience) const = 0;
};

/// Writes are invisible: what apply() makes nothing refers to until a release names the manifest.
class VectorStore {
  public:
    virtual ~VectorStore() = default;
    /// Before anything is written: the store answers and lets us in; where it lives is made when it
    /// is missing. Errors: Unavailable, Unauthenticated, InvalidArgument.
    virtual Result<void> prepare() = 0;
    /// What the service tells about itself, for `px doctor`. The embedded one has nothing to tell
    /// beyond the store of its files.
    virtual Result<ServiceFacts> facts() { return ServiceFacts(); }
    /// base (nullopt: empty) minus removed plus added, as a new manifest. Deterministic: equal
    /// arguments give an equal manifest id. Removing what is absent is Ok; an added
    /// id that exists replaces it. Durable on return.
    virtual Result<ManifestId> apply(const std::optional<ManifestId>& base,
                                     std::vector<chunk::ChunkId> removed, std::vector<Point> added,
                                     const Deadline& deadline) = 0;
    /// Errors: NotFound, Corrupt (checksums).
    virtual Result<std::shared_ptr<const CollectionView>> open(const ManifestId& manifest) = 0;
    /// Deletes what no manifest of keep refers to. Returns the bytes freed, as far as they are
    /// known.
    virtual Result<int64_t> vacuum(const std::vector<ManifestId>& keep) = 0;
};

}  // namespace px::index
