#include "catalog/schedule_state.h"

#include <fmt/format.h>

#include <array>

namespace px::catalog {

namespace {

constexpr std::array<std::string_view, 3> kKinds = {"schedule", "manual", "backfill"};
constexpr std::array<std::string_view, 7> kStates = {"queued", "running", "done",     "skipped",
                                                     "halted", "failed",  "cancelled"};

}  // namespace

std::string_view name_of(ItemKind kind) { return kKinds.at(static_cast<size_t>(kind)); }
std::string_view name_of(ItemState state) { return kStates.at(static_cast<size_t>(state)); }

std::optional<ItemKind> parse_item_kind(std::string_view text) {
    for (size_t i = 0; i < kKinds.size(); ++i) {
        if (kKinds.at(i) == text) return static_cast<ItemKind>(i);
    }
    return std::nullopt;
}

std::optional<ItemState> parse_item_state(std::string_view text) {
    for (size_t i = 0; i < kStates.size(); ++i) {
        if (kStates.at(i) == text) return static_cast<ItemState>(i);
    }
    return std::nullopt;
}

Error fence_lost(int64_t item) {
    return fail(ErrorCode::Conflict,
                fmt::format("item {} of the schedule belongs to another scheduler now", item),
                "px schedule status shows who works on it");
}

std::string attempt_log_file(std::string_view pattern, int64_t item, int64_t attempt) {
    std::string text(pattern);
    for (const auto& [key, value] : {std::pair<std::string_view, int64_t>{"{item}", item},
                                     std::pair<std::string_view, int64_t>{"{attempt}", attempt}}) {
        if (const size_t at = text.find(key); at != std::string::npos)
            text.replace(at, key.size(), std::to_string(value));
    }
    return text;
}

Result<std::unique_ptr<ScheduleStore>> open_schedule(const CatalogAddress& address, OpenMode mode,
                                                     const Clock& clock) {
    constexpr size_t kConnections = 2;
    // Short: one scheduler looks after many pipelines, and comes back to one it could not reach.
    constexpr std::chrono::milliseconds kWait{3'000};
    constexpr std::chrono::milliseconds kStatement{15'000};
    if (address.kind == CatalogAddress::Kind::Sqlite) {
        SqliteCatalogOptions options;
        options.connections_max = kConnections;
        options.busy_timeout = kWait;
        return open_sqlite_schedule(address.file, mode, clock, options);
    }
    PostgresCatalogOptions options;
    options.schema = address.schema;
    options.connections_max = kConnections;
    options.connect_timeout = kWait;
    options.reconnect_timeout = kWait;
    options.lock_timeout = kWait;
    options.statement_timeout = kStatement;
    return open_postgres_schedule(address.connection, mode, clock, options);
}

}  // namespace px::catalog
