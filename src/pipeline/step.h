// The labelled steps of a run. Between two steps the run may die and be finished by the next one;
// the tests kill it at each.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace px::pipeline {

/// Told the label of every step as it is reached: "stage.reports.begin", "publish.commit.reports".
/// Thread-safe.
using StepObserver = std::function<void(std::string_view label)>;

}  // namespace px::pipeline
