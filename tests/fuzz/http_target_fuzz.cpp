// Any bytes as a request target: refused, or UTF-8 without NUL.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/utf8.h"
#include "http/target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto target =
        px::http::parse_target(std::string_view(reinterpret_cast<const char*>(data), size));
    if (target &&
        (!px::utf8_is_valid(target->path) || target->path.find('\0') != std::string::npos)) {
        std::abort();
    }
    return 0;
}
