// Arbitrary bytes as a log entry, a file name of the log and a schema: nothing but an Error may
// come of damage, and what was understood must survive being written.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "lake/action.h"
#include "lake/log.h"
#include "lake/schema_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    (void)px::lake::parse_log_file_name(bytes);
    (void)px::lake::parse_schema(bytes).has_value();
    const px::Result<px::lake::LogEntry> entry = px::lake::parse_log_entry(bytes);
    if (entry) {
        const px::Result<px::lake::LogEntry> again =
            px::lake::parse_log_entry(px::lake::write_log_entry(*entry));
        if (!again || again->adds.size() != entry->adds.size()) std::abort();
        if (entry->metadata)
            (void)px::lake::parse_schema(entry->metadata->schema_string).has_value();
    }
    return 0;
}
