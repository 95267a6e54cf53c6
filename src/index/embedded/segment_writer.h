// Writes segment files. Specification: docs/formats/segment.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "index/embedded/segment.h"

namespace px::index {

/// A point to write, by reference: the strings and the vector belong to whoever made it.
struct PointRef {
    RawId id{};
    std::string_view document, source, ds, title, author, category, text;
    int64_t created_at = kNoDate;
    chunk::Span span;
    const float* vector = nullptr;
};

struct WrittenSegment {
    std::string name;  ///< SHA-256 of the file, 64 hex digits
    uint64_t size = 0;
};

struct SegmentOptions {
    size_t graph_points_min = 20'000;  ///< smaller segments are scanned: no graph
    GraphOptions graph;
    const kernels::Kernels* kernels = &kernels::best();
};

/// Writes points (strictly ascending by id, at least one, vectors of width finite values, text,
/// title and author well-formed UTF-8) as a new file. The bytes depend on the points and the
/// options but for threads and kernels. Memory: about 12 bytes a term occurrence, 128 + width a
/// point. Errors: as fail_errno, DeadlineExceeded, Cancelled, ResourceExhausted.
Result<WrittenSegment> write_segment(const std::filesystem::path& file,
                                     std::span<const PointRef> points, size_t width,
                                     const SegmentOptions& options, const Deadline& deadline);

}  // namespace px::index
