#include "catalog/open.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <utility>

#include "capi/libpq/libpq.h"

namespace px::catalog {
namespace {

constexpr std::string_view kSqlite = "sqlite:";
constexpr size_t kConnectionsMax = 1000;

/// %41 → A. Nullopt: malformed, or NUL.
std::optional<std::string> percent_decoded(std::string_view text) {
    std::string plain;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            plain += text[i];
            continue;
        }
        unsigned byte = 0;
        const std::string_view digits = text.substr(i + 1, 2);
        const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
        if (digits.size() != 2 || error != std::errc() || end != digits.data() + 2 || byte == 0)
            return std::nullopt;
        plain += static_cast<char>(byte);
        i += 2;
    }
    return plain;
}

Result<CatalogAddress> parse_postgres(std::string_view text) {
    CatalogAddress address;
    address.kind = CatalogAddress::Kind::Postgres;
    address.schema = PostgresCatalogOptions().schema;
    const size_t question = std::min(text.find('?'), text.size());
    address.connection = text.substr(0, question);
    std::string_view left = text.substr(std::min(question + 1, text.size()));
    // Ours are taken out: libpq refuses what it does not know.
    char separator = '?';
    while (!left.empty()) {
        const std::string_view parameter = left.substr(0, left.find('&'));
        left.remove_prefix(std::min(parameter.size() + 1, left.size()));
        const std::string_view key = parameter.substr(0, parameter.find('='));
        const std::string_view value = parameter.substr(std::min(key.size() + 1, parameter.size()));
        if (key == "schema") {
            const std::optional<std::string> name = percent_decoded(value);
            if (!name) {
                return fail(ErrorCode::InvalidArgument,
                            "the catalog's address has a malformed schema",
                            "write it as ?schema=px");
            }
            address.schema = *name;
        } else if (key == "connections") {
            const auto [end, error] =
                std::from_chars(value.data(), value.data() + value.size(), address.connections_max);
            if (error != std::errc() || end != value.data() + value.size() ||
                address.connections_max == 0 || address.connections_max > kConnectionsMax) {
                return fail(ErrorCode::InvalidArgument,
                            "the catalog's address has a wrong number of connections",
                            fmt::format("write it as ?connections=N, 1 to {}", kConnectionsMax));
            }
        } else {
            address.connection += separator;
            address.connection += parameter;
            separator = '&';
        }
    }
    const libpq::Address checked = PX_TRY(libpq::parse_address(address.connection));
    address.shown = fmt::format("postgresql://{}?schema={}", checked.shown, address.schema);
    return address;
}

}  // namespace

Result<CatalogAddress> parse_catalog_address(std::string_view address,
                                             const std::filesystem::path& base_folder) {
    if (address.starts_with(kSqlite) && address.size() > kSqlite.size()) {
        CatalogAddress parsed;
        parsed.file = (base_folder / std::filesystem::path(address.substr(kSqlite.size())))
                          .lexically_normal();
        parsed.shown = address;
        return parsed;
    }
    if (address.starts_with("postgresql://") || address.starts_with("postgres://"))
        return parse_postgres(address).context("catalog.url");
    // The text may hold a password: only its scheme is shown.
    return fail(ErrorCode::InvalidArgument,
                fmt::format("unknown kind of catalog '{}:'",
                            address.substr(0, std::min(address.find(':'), size_t{20}))),
                "Write it as sqlite:./catalog.db or postgresql://USER:PASSWORD@HOST:PORT/DATABASE");
}

namespace {

Result<std::unique_ptr<Catalog>> open_parsed(const CatalogAddress& parsed, OpenMode mode,
                                             const Clock& clock) {
    if (parsed.kind == CatalogAddress::Kind::Sqlite)
        return open_sqlite_catalog(parsed.file, mode, clock);
    PostgresCatalogOptions options;
    options.schema = parsed.schema;
    options.connections_max = parsed.connections_max;
    return open_postgres_catalog(parsed.connection, mode, clock, options);
}

}  // namespace

Result<std::unique_ptr<Catalog>> open_catalog(std::string_view address,
                                              const std::filesystem::path& base_folder,
                                              OpenMode mode, const Clock& clock) {
    const CatalogAddress parsed = PX_TRY(parse_catalog_address(address, base_folder));
    Result<std::unique_ptr<Catalog>> opened = open_parsed(parsed, mode, clock);
    if (opened || mode == OpenMode::ReadWrite || opened.error().code != ErrorCode::Conflict)
        return opened;
    // Of an older px: whoever may write brings it forward, so that a new px serves at once.
    if (!open_parsed(parsed, OpenMode::ReadWrite, clock)) return opened;
    return open_parsed(parsed, mode, clock);
}

}  // namespace px::catalog
