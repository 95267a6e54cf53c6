#include "lake/conflict.h"

#include <fmt/format.h>

#include <set>

namespace px::lake {
namespace {

Error conflict(int64_t version, std::string_view what) {
    return fail(ErrorCode::Conflict,
                fmt::format("version {}, committed meanwhile, {}", version, what),
                "Read the table again and repeat the change");
}

std::string partition_text(const PartitionValues& partition) {
    if (partition.empty()) return "the table";
    std::string text = "partition ";
    bool first = true;
    for (const auto& [column, value] : partition) {
        text += fmt::format("{}{}={}", first ? "" : "/", column, value ? *value : "null");
        first = false;
    }
    return text;
}

}  // namespace

bool is_in_partition(const PartitionValues& file, const PartitionValues& partition) {
    for (const auto& [column, value] : partition) {
        const auto found = file.find(column);
        if (found == file.end()) return false;
        const std::string_view have =
            found->second ? std::string_view(*found->second) : std::string_view();
        const std::string_view want = value ? std::string_view(*value) : std::string_view();
        if (have != want) return false;
    }
    return true;
}

Result<void> check_conflict(const Change& change, const LogEntry& winner, int64_t winner_version,
                            const PartitionLookup& partition_of) {
    if (winner.protocol) return conflict(winner_version, "changed the protocol");
    if (winner.metadata) return conflict(winner_version, "changed the table's metadata");
    for (const TransactionAction& transaction : winner.transactions) {
        if (!change.app_id.empty() && transaction.app_id == change.app_id) {
            return conflict(winner_version,
                            fmt::format("is transaction {} of the same application '{}'",
                                        transaction.version, transaction.app_id));
        }
    }
    const std::set<std::string_view> removed(change.remove.begin(), change.remove.end());
    for (const RemoveAction& remove : winner.removes) {
        if (removed.contains(remove.path)) {
            return conflict(
                winner_version,
                fmt::format("removed file '{}', which this change removes", remove.path));
        }
        if (!change.overwrites) continue;
        const PartitionValues* const partition =
            remove.partition_values ? &*remove.partition_values : partition_of(remove.path);
        // Where it lay can't be told: the safe answer.
        if (partition == nullptr || is_in_partition(*partition, *change.overwrites)) {
            return conflict(winner_version,
                            fmt::format("removed a file from {}, which this change overwrites",
                                        partition_text(*change.overwrites)));
        }
    }
    std::set<std::string_view> added;
    for (const Add& add : change.add) added.insert(add.path);
    for (const AddAction& add : winner.adds) {
        if (added.contains(add.add.path)) {
            return conflict(winner_version,
                            fmt::format("added file '{}', which this change adds", add.add.path));
        }
        if (change.overwrites && is_in_partition(add.add.partition_values, *change.overwrites)) {
            return conflict(winner_version,
                            fmt::format("added a file to {}, which this change overwrites",
                                        partition_text(*change.overwrites)));
        }
    }
    return {};
}

}  // namespace px::lake
