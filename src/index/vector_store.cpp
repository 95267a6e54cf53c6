#include "index/vector_store.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace px::index {

chunk::ChunkId identify(const Point& point) {
    const std::string date = point.created_at ? format_timestamp(*point.created_at) : std::string();
    std::optional<std::string> acl;
    if (point.acl) {
        acl.emplace();
        for (const std::string& group : *point.acl) *acl += (acl->empty() ? "" : ",") + group;
    }
    return chunk::make_chunk_id({.source = point.source,
                                 .ds = point.ds,
                                 .document_id = point.document_id,
                                 .title = point.title,
                                 .author = point.author,
                                 .date = date,
                                 .category = point.category,
                                 .text = point.text,
                                 .span = point.span,
                                 .acl = acl});
}

namespace {

/// Codes of eight bits and their scale, as a segment of the embedded index holds them.
class Coded {
  public:
    Coded(const float* vector, size_t width) : codes_(width) {
        float largest = 0;
        for (size_t i = 0; i < width; ++i) largest = std::max(largest, std::fabs(vector[i]));
        scale_ = largest / 127.0F;
        if (scale_ < std::numeric_limits<float>::min()) return;
        for (size_t i = 0; i < width; ++i) {
            codes_[i] = static_cast<int8_t>(
                std::clamp(std::nearbyint(vector[i] / scale_), -127.0F, 127.0F));
        }
    }
    float dot(const Coded& other) const {
        int32_t sum = 0;
        for (size_t i = 0; i < codes_.size(); ++i) sum += int32_t{codes_[i]} * other.codes_[i];
        return static_cast<float>(sum) * (scale_ * other.scale_);
    }
    void add_to(float* sum) const {
        for (size_t i = 0; i < codes_.size(); ++i) sum[i] += scale_ * static_cast<float>(codes_[i]);
    }

  private:
    std::vector<int8_t> codes_;
    float scale_ = 0;
};

/// Of f32 rows, in codes: a store that keeps no codes ranks as the embedded one does.
class RowVectors final : public PassageVectors {
  public:
    RowVectors(const VectorRows& rows, size_t width) : width_(width) {
        rows_.reserve(rows.rows.size());
        for (const float* row : rows.rows) rows_.emplace_back(row, width);
    }
    void dots(const std::vector<float>& query, float* out) const override {
        const Coded coded(query.data(), width_);
        for (size_t i = 0; i < rows_.size(); ++i) out[i] = coded.dot(rows_[i]);
    }
    float dot(size_t i, size_t k) const override { return rows_[i].dot(rows_[k]); }
    void add(size_t i, float* sum) const override { rows_[i].add_to(sum); }
    std::vector<float> products(const std::vector<std::vector<float>>& vectors) const override {
        const size_t n = vectors.size();
        std::vector<Coded> coded;
        coded.reserve(n);
        for (const std::vector<float>& vector : vectors) coded.emplace_back(vector.data(), width_);
        std::vector<float> all(n * n, 0.0F);
        for (size_t i = 0; i < n; ++i) {
            for (size_t k = i + 1; k < n; ++k)
                all[i * n + k] = all[k * n + i] = coded[i].dot(coded[k]);
        }
        return all;
    }

  private:
    std::vector<Coded> rows_;
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
