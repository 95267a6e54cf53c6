#include "contract/gate.h"

#include <fmt/format.h>

namespace px::contract {

namespace {

/// "1.5%": two digits after the point at most, more when a small share would read as 0.
std::string percent(double share) {
    const double value = share * 100;
    std::string text = fmt::format("{:.2f}", value);
    if (value > 0 && value < 0.01) text = fmt::format("{:.2g}", value);
    if (text.find('.') != std::string::npos && text.find('e') == std::string::npos) {
        text.erase(text.find_last_not_of('0') + 1);
        if (text.back() == '.') text.pop_back();
    }
    return text + "%";
}

std::string counted(int64_t count, std::string_view one, std::string_view many) {
    return fmt::format("{} {}", count, count == 1 ? one : many);
}

}  // namespace

GateDecision decide(const Contract& contract, const GateInput& input) {
    GateDecision decision;
    const int64_t total = input.accepted + input.rejected;
    const double share =
        total == 0 ? 0 : static_cast<double>(input.rejected) / static_cast<double>(total);
    if (share > contract.halt_above) {
        decision.reasons.push_back(fmt::format(
            "source {}: {} of {} ({}) {} rejected, {}", input.source, input.rejected,
            counted(total, "record", "records"), percent(share),
            input.rejected == 1 ? "was" : "were",
            contract.halt_above <= 0
                ? std::string("and the contract allows none (quarantine.halt_above)")
                : fmt::format("more than the {} the contract allows (quarantine.halt_above)",
                              percent(contract.halt_above))));
    }
    if (contract.max_drop && input.previous_rows && *input.previous_rows > 0) {
        const double drop = static_cast<double>(*input.previous_rows - input.accepted) /
                            static_cast<double>(*input.previous_rows);
        if (drop > *contract.max_drop) {
            decision.reasons.push_back(fmt::format(
                "source {}: {}, {} fewer than the {} of the last release, where the contract "
                "allows {} (max_drop)",
                input.source, counted(input.accepted, "row", "rows"), percent(drop),
                *input.previous_rows, percent(*contract.max_drop)));
        }
    }
    decision.passed = decision.reasons.empty();
    return decision;
}

}  // namespace px::contract
