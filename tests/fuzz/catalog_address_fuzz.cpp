// Any text as a catalog's address: no crash, and what may be shown never holds the password.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "capi/libpq/libpq.h"
#include "catalog/open.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    const auto parsed = px::catalog::parse_catalog_address(text, "/base");
    if (!parsed || parsed->kind == px::catalog::CatalogAddress::Kind::Sqlite) return 0;
    const auto address = px::libpq::parse_address(parsed->connection);
    if (!address) std::abort();
    return 0;
}
