// Arbitrary bytes as an answer of Qdrant: read by everything that reads answers, or refused.
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "index/qdrant/directory.h"
#include "index/qdrant/qdrant_wire.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace px::index::qdrant;
    const std::string_view body(reinterpret_cast<const char*>(data), size);
    if (parse_error(body).find('\n') != std::string::npos) std::abort();
    const auto result = parse_result(body);
    if (!result) return 0;
    if (const auto hits = parse_hits(*result, 2); hits && hits->size() != 2) std::abort();
    (void)next_page(*result);
    const auto records = parse_records(*result);
    if (!records) return 0;
    for (const Record& record : *records) {
        std::vector<float> vector(4);
        (void)read_vector(record, vector.size(), vector.data());
        (void)read_point(record);
        (void)read_retired(record);
        if (record.payload == nullptr) continue;
        if (const auto manifest = parse_manifest(*record.payload); manifest) {
            if (manifest->chain.empty() || manifest->parts.empty()) std::abort();
        }
        Directory directory;
        auto part = parse_part(*record.payload, directory);
        if (!part) continue;
        directory.change(std::move(part->removed), std::move(part->added));
        directory.finish();
        for (uint32_t row = 0; row < directory.rows().size(); ++row) {
            if (directory.find_uuid(directory.uuid(row)) != row) std::abort();
        }
    }
    return 0;
}
