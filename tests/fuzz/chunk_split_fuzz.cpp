// Any bytes as a text to split: spans stay inside it and are never empty.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "chunk/chunk.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 2) return 0;
    px::chunk::SplitterOptions options;
    options.size = 1 + data[0] % 64;
    options.overlap = data[1] % options.size;
    const std::string_view text(reinterpret_cast<const char*>(data + 2), size - 2);
    const auto spans = px::chunk::split(text, options);
    if (!spans) std::abort();
    for (const px::chunk::Span& span : *spans) {
        if (span.start < 0 || span.end <= span.start ||
            span.end > static_cast<int64_t>(text.size())) {
            std::abort();
        }
    }
    return 0;
}
