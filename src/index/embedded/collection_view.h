// CollectionView over mapped segments and their deleted points: searches and look-ups. Immutable;
// any thread.
#pragma once

#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "index/embedded/bitmap.h"
#include "index/embedded/kernels/kernels.h"
#include "index/embedded/segment.h"
#include "index/vector_store.h"

namespace px::index {

/// A segment as one manifest sees it.
struct LiveSegment {
    std::shared_ptr<const Segment> segment;
    Bitmap deleted;  ///< empty: nothing is deleted
    uint32_t living = 0;
    uint64_t living_length = 0;  ///< terms of the living points

    bool is_deleted(size_t ordinal) const { return !deleted.empty() && deleted.test(ordinal); }
};

class EmbeddedView final : public CollectionView {
  public:
    EmbeddedView(ManifestId manifest, size_t width, std::vector<LiveSegment> segments,
                 const kernels::Kernels& kernels);

    const ManifestId& manifest() const override { return manifest_; }
    uint64_t point_count() const override { return point_count_; }
    size_t width() const override { return width_; }
    Result<std::vector<ScoredPoint>> search_dense(const std::vector<float>& query, size_t top_k,
                                                  const Filter& filter, const Deadline& deadline,
                                                  Accuracy accuracy) const override;
    Result<std::vector<ScoredPoint>> search_lexical(std::string_view query, size_t top_k,
                                                    const Filter& filter,
                                                    const Deadline& deadline) const override;
    Result<std::vector<ScoredDocument>> search_documents(std::string_view query, size_t top_k,
                                                         const Filter& filter,
                                                         const Deadline& deadline) const override;
    Result<HybridHits> search_hybrid(const std::vector<float>& vector, std::string_view text,
                                     HybridCounts counts, const Filter& filter,
                                     const Deadline& deadline, Accuracy accuracy) const override;
    Result<std::unique_ptr<const PassageVectors>> passage_vectors(
        const std::vector<uint64_t>& handles, const Deadline& deadline) const override;
    Result<VectorRows> vectors(const std::vector<uint64_t>& handles,
                               const Deadline& deadline) const override;
    Result<std::vector<Point>> points(const std::vector<uint64_t>& handles,
                                      const Deadline& deadline) const override;
    std::vector<uint64_t> all() const override;
    std::optional<uint64_t> find(const chunk::ChunkId& id) const override;
    uint32_t document_of(uint64_t handle) const override {
        return document_of_
            [handle >> 32][segments_[handle >> 32].segment->document().codes[handle & 0xFFFFFFFFU]];
    }
    std::string_view document_name(uint32_t document) const override {
        return document_names_[document];
    }
    std::vector<uint64_t> points_in(uint32_t document) const override;
    std::vector<uint64_t> points_of(std::string_view document_id) const override;
    /// Points of other documents are as deleted.
    Result<std::shared_ptr<const CollectionView>> narrowed(const Audience& audience) const override;

    const std::vector<LiveSegment>& segments() const { return segments_; }

  private:
    /// The documents of all segments: one that grew has points in several.
    void number_documents();
    struct Words;
    /// Adds the BM25 of a question to what is not null: of every point, of every document.
    Result<void> score_words(const Words& words, std::vector<std::vector<float>>* points,
                             std::vector<double>* documents, const Deadline& deadline) const;
    std::vector<uint32_t> best_documents(const std::vector<double>& scores, size_t top_k,
                                         const Filter& filter) const;
    const RawId& id_of(uint64_t handle) const;
    Point read_point(uint64_t handle) const;
    std::vector<ScoredPoint> best(std::vector<ScoredPoint> found, size_t top_k) const;

    ManifestId manifest_;
    size_t width_;
    std::vector<LiveSegment> segments_;
    const kernels::Kernels& kernels_;
    uint64_t point_count_ = 0;
    uint64_t total_length_ = 0;
    std::vector<std::vector<uint32_t>> document_of_;  ///< [segment][document code] → number
    std::vector<std::string_view> document_names_;    ///< by number, in the segments
    /// By number: where its points are in other segments than the first that has it.
    struct Place {
        uint32_t segment, code;
    };
    std::vector<Place> first_places_;
    std::unordered_map<uint32_t, std::vector<Place>> more_places_;
    std::vector<uint32_t> document_lengths_;  ///< terms of its living points
    uint64_t document_count_ = 0;             ///< with a living point
};

}  // namespace px::index
