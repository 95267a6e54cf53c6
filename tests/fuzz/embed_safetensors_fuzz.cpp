// Any bytes as a safetensors file: refused with a message, or every tensor can be read to its end.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "embed/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto file = px::embed::Safetensors::parse({reinterpret_cast<const char*>(data), size});
    if (!file) {
        if (file.error().message.empty()) std::abort();
        return 0;
    }
    for (const std::vector<size_t>& shape :
         {std::vector<size_t>{}, {1}, {2}, {4}, {2, 2}, {4, 4}}) {
        for (const char* name : {"a", "b", "h", ""}) {
            const auto tensor = file->get(name, shape);
            if (!tensor) continue;
            std::vector<float> values(tensor->element_count());
            tensor->read(0, values.size(), values.data());
        }
    }
    return 0;
}
