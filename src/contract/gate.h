// Gate: whether a staged source may go on, by figures alone. Pure; any thread. Rank 2.
// Table checks in SQL are run by the pipeline; their outcome adds to the reasons.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "contract/contract.h"

namespace px::contract {

struct GateInput {
    std::string source;
    int64_t accepted = 0;
    int64_t rejected = 0;
    /// Rows of the last release to compare accepted with; absent: nothing to compare (first
    /// release, appended source).
    std::optional<int64_t> previous_rows;
};

struct GateDecision {
    bool passed = true;
    std::vector<std::string> reasons;  ///< for people, with the figures; empty when passed
};

/// Halts when the share of rejected records is above halt_above, or when the rows fell by more than
/// max_drop. A share equal to its limit passes.
GateDecision decide(const Contract& contract, const GateInput& input);

}  // namespace px::contract
