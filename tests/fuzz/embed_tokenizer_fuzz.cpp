// Any bytes as a text to tokenize: ids of the vocabulary, no more than the limit. PX_MODEL names
// the model folder.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "embed/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const char* folder = std::getenv("PX_MODEL");
    static const px::embed::Tokenizer tokenizer =
        px::embed::Tokenizer::load(folder != nullptr ? folder : ".deps/models/all-MiniLM-L6-v2")
            .value();
    if (size < 1) return 0;
    const size_t limit = 2 + data[0];
    std::vector<int32_t> ids;
    tokenizer.encode({reinterpret_cast<const char*>(data + 1), size - 1}, limit, ids);
    if (ids.size() > limit) std::abort();
    for (const int32_t id : ids) {
        if (id < 0 || static_cast<size_t>(id) >= tokenizer.vocabulary_size()) std::abort();
    }
    return 0;
}
