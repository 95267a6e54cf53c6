// Manifest: which segments make up a state of the collection, and which of their points are
// deleted. Specification: docs/formats/manifest.md. Values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace px::index {

struct ManifestSegment {
    std::string name;  ///< 64 hex digits
    uint64_t size = 0;
    uint32_t point_count = 0;
    std::vector<uint32_t> deleted;  ///< ordinals, ascending
    uint32_t living() const { return point_count - static_cast<uint32_t>(deleted.size()); }
};

struct Manifest {
    uint32_t width = 0;
    std::vector<ManifestSegment> segments;  ///< ascending by name
};

std::string format_manifest(const Manifest& manifest);
/// Errors: Corrupt.
Result<Manifest> parse_manifest(std::string_view bytes);

}  // namespace px::index
