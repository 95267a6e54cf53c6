// Any bytes as a JSON Lines file: no crash, no hang, and the size of blocks changes nothing.
#include <cstdlib>

#include "source/jsonl/jsonl_reader.h"
#include "source/record_text.h"
#include "source_memory_file.h"

using px::source::JsonlOptions;
using px::source::testing::ReadRecords;

static ReadRecords read(const std::string& path, const JsonlOptions& options) {
    auto reader = px::source::open_jsonl(path, options);
    if (reader) return px::source::testing::read_all(**reader);
    ReadRecords none;
    none.error = reader.error();
    return none;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const px::fuzz::MemoryFile file(data, size);
    JsonlOptions small;
    small.block_bytes = 64;
    small.block_rows = 2;
    const ReadRecords large = read(file.path(), {});
    const ReadRecords blocks = read(file.path(), small);
    if (large.error.has_value() != blocks.error.has_value() || !(large.records == blocks.records))
        std::abort();
    return 0;
}
