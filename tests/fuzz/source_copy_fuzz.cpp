// Any bytes as a row of COPY and as a query: no crash, no hang, and what has no escape stays
// itself.
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "source/sql/copy_text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    std::vector<std::optional<std::string>> fields;
    px::source::decode_copy_row(text, fields);
    if (fields.empty()) std::abort();
    size_t bytes = fields.size() - 1;
    for (const auto& field : fields) bytes += field ? field->size() : 0;
    if (bytes > size) std::abort();
    const auto bound = px::source::with_ds(text, "'2026-11-23'");
    if (bound && text.find(':') == std::string_view::npos && bound->size() != size) std::abort();
    return 0;
}
