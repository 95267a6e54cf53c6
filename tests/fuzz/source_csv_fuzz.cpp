// Any bytes as a CSV file in any dialect: no crash, no hang, and neither the size of
// blocks nor reading it slab by slab changes anything. The first two bytes choose the dialect.
#include <cstdlib>

#include "source/csv/csv_reader.h"
#include "source/record_text.h"
#include "source_memory_file.h"

using px::source::CsvOptions;
using px::source::testing::ReadRecords;

static ReadRecords read(const std::string& path, const CsvOptions& options) {
    auto reader = px::source::open_csv(path, options);
    if (reader) return px::source::testing::read_all(**reader);
    ReadRecords none;
    none.error = reader.error();
    return none;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size < 2) return 0;
    const uint8_t choice = data[0];
    CsvOptions options;
    if (choice & 1) options.delimiter.reset();
    if (choice & 2) options.escape = '\\';
    if (choice & 4) options.trim = true;
    if (choice & 8) options.comment = '#';
    if (choice & 16) options.header_lines = 0;
    if (choice & 32) options.stray_quotes = px::source::StrayQuotes::Keep;
    if (choice & 64) options.ragged = px::source::RaggedRows::PadShort;
    if (choice & 128) options.quote.reset();
    options.encoding = static_cast<px::source::TextEncoding>(data[1] % 6);
    if (data[1] & 64) options.delimiter = "||";
    const px::fuzz::MemoryFile file(data + 2, size - 2);
    CsvOptions small = options;
    small.block_bytes = 64;
    small.block_rows = 3;
    small.scan_kernel = "scalar";
    const ReadRecords large = read(file.path(), options);
    const ReadRecords blocks = read(file.path(), small);
    if (large.error.has_value() != blocks.error.has_value() || !(large.records == blocks.records))
        std::abort();
    if (large.error && large.records.empty()) return 0;  // no header
    auto file_reader = px::source::open_csv(file.path(), small);
    if (!file_reader) std::abort();
    px::source::testing::SlabbedReader slabs(std::move(*file_reader), small);
    const ReadRecords slabbed = px::source::testing::read_all(slabs);
    if (large.error.has_value() != slabbed.error.has_value()) std::abort();
    if (!large.error && !(large.records == slabbed.records)) std::abort();
    return 0;
}
