// What every adapter asks of points and filters: ids, widths, dates, text. Rank 2. Pure; any
// thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "index/vector_store.h"

namespace px::index {

/// The 16 bytes of a ChunkId.
using RawId = std::array<uint8_t, 16>;
/// Errors: InvalidArgument unless 32 lower-case hexadecimal digits.
Result<RawId> parse_chunk_id(std::string_view hex);
std::string format_chunk_id(const RawId& id);

/// 64 lower-case hexadecimal digits.
bool is_manifest_id(std::string_view id);

inline constexpr uint32_t kWidthMax = 65536;
/// Stands for a missing date.
inline constexpr int64_t kNoDate = INT64_MIN;

/// The id of a point that may be kept: a finite vector of the collection's width (width 0 becomes
/// the point's), well-formed UTF-8, a date in range. Errors: InvalidArgument.
Result<RawId> check_point(const Point& point, size_t& width);

/// The vector of a query. Errors: InvalidArgument (width, not finite).
Result<void> check_query(const std::vector<float>& query, size_t width);

/// Filter with its names folded once.
struct FoldedFilter {
    const Filter& filter;
    std::vector<std::string> authors, categories;
    bool restricts = false;

    explicit FoldedFilter(const Filter& given);
};

}  // namespace px::index
