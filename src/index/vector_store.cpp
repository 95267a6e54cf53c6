#include "index/vector_store.h"

#include <array>

namespace px::index {

chunk::ChunkId identify(const Point& point) {
    const std::string date = point.created_at ? format_timestamp(*point.created_at) : std::string();
    return chunk::make_chunk_id({.source = point.source,
                                 .ds = point.ds,
                                 .document_id = point.document_id,
                                 .title = point.title,
                                 .author = point.author,
                                 .date = date,
                                 .category = point.category,
                                 .text = point.text,
                                 .span = point.span});
}

namespace {

/// Of f32 rows; sixteen sums side by side, in one order on every processor.
class RowVectors final : public PassageVectors {
  public:
    RowVectors(VectorRows rows, size_t width) : rows_(std::move(rows)), width_(width) {}
    void dots(const std::vector<float>& query, float* out) const override {
        for (size_t i = 0; i < rows_.rows.size(); ++i)
            out[i] = product(rows_.rows[i], query.data());
    }
    float dot(size_t i, size_t k) const override { return product(rows_.rows[i], rows_.rows[k]); }
    void add(size_t i, float* sum) const override {
        for (size_t d = 0; d < width_; ++d) sum[d] += rows_.rows[i][d];
    }

    std::vector<float> products(const std::vector<std::vector<float>>& vectors) const override {
        const size_t n = vectors.size();
        std::vector<float> all(n * n, 0.0F);
        for (size_t i = 0; i < n; ++i) {
            for (size_t k = i + 1; k < n; ++k)
                all[i * n + k] = all[k * n + i] = product(vectors[i].data(), vectors[k].data());
        }
        return all;
    }

  private:
    float product(const float* a, const float* b) const {
        constexpr size_t kLanes = 16;
        std::array<float, kLanes> sums{};
        size_t i = 0;
        for (; i + kLanes <= width_; i += kLanes) {
            for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
        }
        float sum = 0;
        for (; i < width_; ++i) sum += a[i] * b[i];
        for (const float part : sums) sum += part;
        return sum;
    }

    VectorRows rows_;
    size_t width_;
};

}  // namespace

Result<std::unique_ptr<const PassageVectors>> CollectionView::passage_vectors(
    const std::vector<uint64_t>& handles, const Deadline& deadline) const {
    return std::unique_ptr<const PassageVectors>(
        std::make_unique<RowVectors>(PX_TRY(vectors(handles, deadline)), width()));
}

Result<Point> CollectionView::point(uint64_t handle, const Deadline& deadline) const {
    std::vector<Point> found = PX_TRY(points({handle}, deadline));
    return std::move(found.front());
}

}  // namespace px::index
