// Feeds bytes to every type's grammar and every transform. The first byte chooses.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "contract/acl.h"
#include "contract/contract.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace px;
    static constexpr std::string_view kTypes[] = {
        "string",    "integer",      "double",         "boolean",       "date",
        "timestamp", "decimal(9,2)", "decimal(18,18)", "decimal(38,10)"};
    if (size == 0) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    columnar::Column column(contract::parse_type(kTypes[data[0] % std::size(kTypes)]).value());
    const auto parsed = contract::parse_into(column, text);
    if (column.length() != (parsed ? 1 : 0)) __builtin_trap();
    std::string once(text);
    contract::apply_transform(static_cast<contract::Transform>(data[0] % 5), once);
    std::string twice = once;
    contract::apply_transform(static_cast<contract::Transform>(data[0] % 5), twice);
    if (once != twice) __builtin_trap();
    for (const std::string& group : contract::parse_acl(text)) {
        if (contract::parse_acl(group) != std::vector{group}) __builtin_trap();
    }
    return 0;
}
