// The XML the Blob service answers with: pages of listings and errors. Rank 2. Pure; any thread.
// Bounded by the size of the text; entities and document types of the text are not followed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace px::store {

struct ListedBlob {
    std::string name;
    int64_t size_bytes = 0;
    TimestampMicros modified_at = 0;
    std::string content_md5;  ///< 16 raw bytes, or empty
    /// The mark of a folder in an account with hierarchical namespace, and no blob.
    bool is_folder = false;
};

struct ListPage {
    std::vector<ListedBlob> blobs;
    std::string next_marker;  ///< empty: the last page
};

inline constexpr size_t kListPageBytesMax = size_t{64} << 20;
inline constexpr size_t kErrorBytesMax = 64 * 1024;

/// Errors: Corrupt when it is no listing, an entry has no name or no readable size, or the text is
/// larger than kListPageBytesMax.
Result<ListPage> parse_list_page(std::string_view xml);

/// "BlobNotFound" of an error's body; empty when it is no such text.
std::string parse_error_code(std::string_view xml);
/// The text when it looks like a code of the service (letters and digits, at most 64), else "".
std::string plain_error_code(std::string_view text);

}  // namespace px::store
