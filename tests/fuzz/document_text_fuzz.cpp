// Bytes from outside → extract(): no crash, no hang, valid UTF-8 without NUL or an error with a
// message.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/utf8.h"
#include "source/document/extract.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    px::source::ExtractOptions options;
    options.unpacked_bytes_max = size_t{16} << 20;
    options.html_memory_max = size_t{256} << 20;
    options.deadline = px::Deadline::after(std::chrono::seconds(10));
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    const auto result = px::source::extract(bytes, "fuzz.md", options);
    if (result ? !px::utf8_is_valid(result->text) || result->text.find('\0') != std::string::npos
               : result.error().message.empty()) {
        std::abort();
    }
    return 0;
}
