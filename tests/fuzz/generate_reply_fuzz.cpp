// Any bytes as the reply of a model's server: refused, or well-formed text within its bound.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/utf8.h"
#include "generate/openai/openai_writer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    px::generate::OpenAiReply reply(4096);
    const size_t half = size / 2;
    if (!reply.push(bytes.substr(0, half)) || !reply.push(bytes.substr(half))) return 0;
    const auto text = reply.finish();
    if (text && (!px::utf8_is_valid(*text) || text->size() > 3 * 4096)) std::abort();
    return 0;
}
