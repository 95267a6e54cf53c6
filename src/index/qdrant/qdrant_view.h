// CollectionView over a release in Qdrant: its directory in memory, postings and vectors read when
// they are asked for and kept within bounds. Internal to the adapter.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "index/qdrant/directory.h"
#include "index/qdrant/qdrant_client.h"
#include "index/vector_store.h"

namespace px::index::qdrant {

/// The points that have a term or pair, ascending, and how often.
struct Postings {
    std::vector<uint32_t> rows;
    std::vector<uint32_t> counts;
};

class QdrantView final : public CollectionView {
  public:
    /// An empty collection: nothing is asked of the server.
    explicit QdrantView(ManifestId manifest);
    QdrantView(std::shared_ptr<QdrantClient> client, Manifest manifest,
               std::shared_ptr<const Directory> directory);

    const ManifestId& manifest() const override { return id_; }
    uint64_t point_count() const override { return directory_->rows().size(); }
    size_t width() const override { return static_cast<size_t>(manifest_.width); }
    Result<std::vector<ScoredPoint>> search_dense(const std::vector<float>& query, size_t top_k,
                                                  const Filter& filter, const Deadline& deadline,
                                                  Accuracy accuracy) const override;
    Result<std::vector<ScoredPoint>> search_lexical(std::string_view query, size_t top_k,
                                                    const Filter& filter,
                                                    const Deadline& deadline) const override;
    Result<std::vector<ScoredDocument>> search_documents(std::string_view query, size_t top_k,
                                                         const Filter& filter,
                                                         const Deadline& deadline) const override;
    /// One request: the dense search and the postings that are not in memory yet.
    Result<HybridHits> search_hybrid(const std::vector<float>& vector, std::string_view text,
                                     HybridCounts counts, const Filter& filter,
                                     const Deadline& deadline, Accuracy accuracy) const override;
    Result<VectorRows> vectors(const std::vector<uint64_t>& handles,
                               const Deadline& deadline) const override;
    Result<std::vector<Point>> points(const std::vector<uint64_t>& handles,
                                      const Deadline& deadline) const override;
    std::vector<uint64_t> all() const override;
    std::optional<uint64_t> find(const chunk::ChunkId& id) const override;
    uint32_t document_of(uint64_t handle) const override;
    std::string_view document_name(uint32_t document) const override;
    std::vector<uint64_t> points_in(uint32_t document) const override;
    std::vector<uint64_t> points_of(std::string_view document_id) const override;
    /// Qdrant filters by the groups of each point; the directory holds the audience's rows alone.
    Result<std::shared_ptr<const CollectionView>> narrowed(const Audience& audience) const override;

  private:
    using PostingsPtr = std::shared_ptr<const Postings>;
    struct Lexical {
        std::vector<std::string> terms;                             ///< of the query, in order
        std::unordered_map<std::string, PostingsPtr> words, pairs;  ///< a pair by "first\0second"
    };
    struct Dense {
        std::vector<float> query;
        size_t top_k = 0;
        const FoldedFilter* folded = nullptr;
        std::vector<ScoredPoint> found;
    };
    /// Sends what is missing of both in one request; either may be null.
    Result<void> fetch(Lexical* lexical, Dense* dense, const Deadline& deadline) const;
    /// BM25 of every row.
    Result<std::vector<float>> score_points(const Lexical& lexical, const Deadline& deadline) const;
    /// Of every document by its number.
    Result<std::vector<double>> score_documents(const Lexical& lexical,
                                                const Deadline& deadline) const;
    std::vector<uint32_t> best_documents(const std::vector<double>& scores, size_t top_k,
                                         const FoldedFilter& folded) const;
    Result<void> check_handles(const std::vector<uint64_t>& handles) const;
    /// The row of a hit; nullopt: not the audience's. Errors: Corrupt (not the release's).
    Result<std::optional<uint32_t>> row_of(const Uuid& id) const;

    std::shared_ptr<QdrantClient> client_;
    Manifest manifest_;
    ManifestId id_;
    std::shared_ptr<const Directory> directory_;
    std::optional<std::vector<std::string>> groups_;  ///< of the audience of a narrowed view
    std::vector<std::string> open_sources_;           ///< the same audience's
    size_t shown_rows_ = 0;                           ///< of the release, the audience's or not

    /// Both caches are emptied when they are full: what is asked often is soon there again.
    mutable std::mutex mutex_;
    mutable std::unordered_map<std::string, PostingsPtr> postings_;  ///< "w…" words, "p…" pairs
    mutable size_t posting_bytes_ = 0;
    mutable std::unordered_map<uint64_t, std::shared_ptr<const float[]>> vectors_;
};

}  // namespace px::index::qdrant
