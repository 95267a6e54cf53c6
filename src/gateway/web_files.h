// The page's files, compiled into the program by cmake/PxWeb.cmake. Rank 5.
#pragma once

#include <span>
#include <string_view>

namespace px::gateway {

struct WebFile {
    std::string_view path;  ///< "/index.html"
    std::string_view content_type;
    std::string_view etag;  ///< quoted; of the bytes before compression
    std::string_view bytes;
    std::string_view gzip;  ///< empty when compression does not pay
};

/// Sorted by path; lives as long as the program.
std::span<const WebFile> web_files();

}  // namespace px::gateway
