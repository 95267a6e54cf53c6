#include "contract/gate.h"

#include <gtest/gtest.h>

namespace px::contract {
namespace {

std::string reasons(double halt_above, std::optional<double> max_drop, GateInput input) {
    Contract contract;
    contract.halt_above = halt_above;
    contract.max_drop = max_drop;
    input.source = "reports";
    const GateDecision decision = decide(contract, input);
    EXPECT_EQ(decision.passed, decision.reasons.empty());
    std::string text;
    for (const std::string& reason : decision.reasons) text += (text.empty() ? "" : " | ") + reason;
    return text;
}

TEST(Gate, HaltsOnlyStrictlyAboveTheShareOfRejectedRecords) {
    EXPECT_EQ(reasons(0.01, {}, {"", 99, 1, {}}), "");
    EXPECT_EQ(
        reasons(0.01, {}, {"", 98, 2, {}}),
        "source reports: 2 of 100 records (2%) were rejected, more than the 1% the contract allows "
        "(quarantine.halt_above)");
    EXPECT_EQ(reasons(0, {}, {"", 0, 1, {}}),
              "source reports: 1 of 1 record (100%) was rejected, and the contract allows none "
              "(quarantine.halt_above)");
    EXPECT_EQ(reasons(1, {}, {"", 0, 10, {}}), "");
    EXPECT_EQ(reasons(0, {}, {"", 0, 0, {}}), "");
}

TEST(Gate, SharesThatAreSmallStillShow) {
    EXPECT_EQ(reasons(0, {}, {"", 2'999'999, 1, {}}),
              "source reports: 1 of 3000000 records (3.3e-05%) was rejected, and the contract "
              "allows none "
              "(quarantine.halt_above)");
    EXPECT_EQ(reasons(0.001, {}, {"", 800, 3, {}}),
              "source reports: 3 of 803 records (0.37%) were rejected, more than the 0.1% the "
              "contract allows "
              "(quarantine.halt_above)");
}

TEST(Gate, HaltsWhenRowsVanish) {
    EXPECT_EQ(reasons(0, 0.2, {"", 80, 0, 100}), "");
    EXPECT_EQ(reasons(0, 0.2, {"", 79, 0, 100}),
              "source reports: 79 rows, 21% fewer than the 100 of the last release, where the "
              "contract allows 20% "
              "(max_drop)");
    EXPECT_EQ(reasons(0, 0.2, {"", 0, 0, 0}), "");
    EXPECT_EQ(reasons(0, 0.2, {"", 500, 0, 100}), "");
    EXPECT_EQ(reasons(0, {}, {"", 0, 0, 100}), "");
}

TEST(Gate, NamesEveryReason) {
    EXPECT_NE(reasons(0.1, 0.5, {"", 1, 9, 100}).find(" | "), std::string::npos);
}

}  // namespace
}  // namespace px::contract
