// Which commits of other writers a change can be rebased over: the optimistic concurrency rules.
// Rank 3. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "lake/action.h"
#include "lake/delta_table.h"

namespace px::lake {

/// Partition values of a file that the base snapshot or an earlier winner knows; null: unknown.
using PartitionLookup = std::function<const PartitionValues*(const std::string& path)>;

/// Ok if change may be committed after winner, which was committed since its base. Else Conflict,
/// saying why: the winner changed the protocol or the table's metadata; it is of the same
/// application (txn); it added to or removed from what the change overwrites; it removed a file the
/// change removes; it added a file the change adds.
Result<void> check_conflict(const Change& change, const LogEntry& winner, int64_t winner_version,
                            const PartitionLookup& partition_of);

/// True if every value that overwrites names is the file's; NULL and "" are equal.
bool is_in_partition(const PartitionValues& file, const PartitionValues& partition);

}  // namespace px::lake
