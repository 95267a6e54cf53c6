// The neighbour graph of a segment: the ground level of HNSW over int8 codes, with a sample of
// points in place of its upper levels. Specification: docs/formats/segment.md. Rank 2. Pure; any
// thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "index/embedded/bitmap.h"
#include "index/embedded/kernels/kernels.h"

namespace px::index {

/// Quantised rows of a segment: n × stride codes, n scales.
struct CodeRows {
    const uint8_t* codes = nullptr;
    const float* scales = nullptr;
    size_t stride = 0;
    size_t count = 0;

    const uint8_t* at(size_t ordinal) const { return codes + ordinal * stride; }
};

/// A vector to compare with rows of codes.
class CodeQuery {
  public:
    /// Quantises width finite values.
    CodeQuery(const float* vector, size_t width, size_t stride);
    /// A row of the segment itself.
    CodeQuery(const CodeRows& rows, size_t ordinal);

    const int8_t* codes() const { return codes_.data(); }
    float scale() const { return scale_; }
    double error() const { return error_; }  ///< norm of what quantisation lost
    double norm() const { return norm_; }    ///< of the vector
    /// The dot product with a row, from the sum a kernel gave.
    float similarity(int32_t sum, float row_scale) const {
        return static_cast<float>(sum - 128 * code_sum_) * (scale_ * row_scale);
    }
    float similarity(const CodeRows& rows, uint32_t ordinal,
                     const kernels::Kernels& kernels) const {
        int32_t sum = 0;
        kernels.dot_codes(rows.at(ordinal), rows.stride, 1, codes(), &sum);
        return similarity(sum, rows.scales[ordinal]);
    }

  private:
    std::vector<int8_t> codes_;
    float scale_ = 0;
    int32_t code_sum_ = 0;
    double error_ = 0, norm_ = 0;
};

struct GraphOptions {
    uint32_t degree = 32;     ///< neighbours a point has at most
    uint32_t links = 20;      ///< that a new point chooses
    uint32_t beam = 100;      ///< points a new point chooses them from
    size_t thread_count = 0;  ///< 0: one per hardware thread
};

/// A place of a neighbour list that is not used.
inline constexpr uint32_t kNoNeighbour = UINT32_MAX;

/// A graph in memory or in a file. Lists of corrupt bytes lead nowhere: what is no ordinal is
/// passed over.
struct Graph {
    uint32_t degree = 0;
    std::span<const uint32_t> entries;     ///< where searches begin
    std::span<const uint32_t> neighbours;  ///< count × degree

    bool empty() const { return degree == 0; }
    /// Of the bytes of section 40. Errors: Corrupt, with what in the message.
    static Result<Graph> parse(std::span<const uint8_t> section, size_t point_count);
};

/// The bytes of section 40. They depend on the rows and the options but for the thread count.
/// Memory: (degree + 2) × 4 bytes a point. Cost: about 60 µs a point of 384 dimensions and thread.
/// Errors: DeadlineExceeded, Cancelled.
Result<std::string> build_graph(const CodeRows& rows, const GraphOptions& options,
                                const kernels::Kernels& kernels, const Deadline& deadline);

struct Near {
    float similarity = 0;
    uint32_t ordinal = 0;
};

/// The beam points nearest to a query as far as the graph leads, best first; ties by ordinal.
/// allowed: null for all. Cost: about 15 rows a point of the beam, more the fewer are allowed.
std::vector<Near> search_graph(const Graph& graph, const CodeRows& rows, const CodeQuery& query,
                               size_t beam, const Bitmap* allowed, const kernels::Kernels& kernels);

}  // namespace px::index
