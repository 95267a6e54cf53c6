// Arbitrary bytes as a listing and as an error of the blob service: a page, a code, or nothing.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "store/azure/blob_xml.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    if (px::store::parse_error_code(bytes).size() > 64) std::abort();
    const auto page = px::store::parse_list_page(bytes);
    if (!page) return 0;
    for (const px::store::ListedBlob& blob : page->blobs) {
        if (blob.name.empty() || (!blob.is_folder && blob.size_bytes < 0)) std::abort();
    }
    return 0;
}
