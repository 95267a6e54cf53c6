#include "catalog/catalog.h"

#include <array>
#include <utility>

namespace px::catalog {
namespace {

constexpr std::array<std::pair<RunState, std::string_view>, 5> kStates = {{
    {RunState::Running, "running"},
    {RunState::Published, "published"},
    {RunState::Unchanged, "unchanged"},
    {RunState::Halted, "halted"},
    {RunState::Failed, "failed"},
}};

}  // namespace

std::string_view run_state_name(RunState state) {
    for (const auto& [value, name] : kStates) {
        if (value == state) return name;
    }
    return "unknown";
}

std::optional<RunState> parse_run_state(std::string_view name) {
    for (const auto& [value, text] : kStates) {
        if (text == name) return value;
    }
    return std::nullopt;
}

}  // namespace px::catalog
