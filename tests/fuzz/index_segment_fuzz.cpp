// Opens arbitrary bytes as a segment, with checksums put right, and uses all it offers.
#include <cstdint>
#include <cstring>
#include <new>

#include "index/embedded/collection_view.h"
#include "index/embedded/crc32c.h"
#include "index/embedded/manifest.h"

namespace {

void repair(uint8_t* bytes, size_t size) {
    if (size < 192) return;
    const auto put = [&](size_t at, uint32_t value) { std::memcpy(bytes + at, &value, 4); };
    put(60, px::index::crc32c(0, bytes, 60));
    const size_t tail = size - 64;
    uint64_t table = 0;
    uint32_t count = 0;
    std::memcpy(&table, bytes + tail, 8);
    std::memcpy(&count, bytes + tail + 8, 4);
    if (table <= tail && count <= (tail - table) / 32) {
        for (size_t i = 0; i < count; ++i) {
            uint64_t offset = 0;
            uint64_t length = 0;
            std::memcpy(&offset, bytes + table + i * 32 + 8, 8);
            std::memcpy(&length, bytes + table + i * 32 + 16, 8);
            if (offset <= size && length <= size - offset)
                put(table + i * 32 + 4, px::index::crc32c(0, bytes + offset, length));
        }
        put(tail + 12, px::index::crc32c(0, bytes + table, size_t{count} * 32));
    }
    put(tail + 52, px::index::crc32c(0, bytes + tail, 52));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace px;
    using namespace px::index;
    (void)parse_manifest({reinterpret_cast<const char*>(data), size});
    auto* bytes = new (std::align_val_t{64}) uint8_t[size + 64];
    std::memcpy(bytes, data, size);
    repair(bytes, size);
    {
        uint64_t budget = UINT64_MAX;
        const auto segment = Segment::parse({bytes, size}, "fuzz", budget);
        if (segment) {
            LiveSegment live;
            live.segment = *segment;
            live.living = (*segment)->point_count();
            live.living_length = (*segment)->total_length();
            const EmbeddedView view({}, (*segment)->width(), {live}, kernels::kScalar);
            (void)view.search_dense(std::vector<float>((*segment)->width(), 0.1F), 5, {},
                                    Deadline::never(), Accuracy::Fast);
            (void)view.search_hybrid(std::vector<float>((*segment)->width(), 0.1F),
                                     "the inflation outlook", {5, 5}, {}, Deadline::never(),
                                     Accuracy::Fast);
            (void)view.search_lexical("inflation outlook", 5, {}, Deadline::never());
            for (uint64_t i = 0; i < (*segment)->point_count() && i < 100; ++i)
                (void)view.points_of(view.point(i).document_id);
        }
    }
    ::operator delete[](bytes, std::align_val_t{64});
    return 0;
}
