// Sends traces of runs to an OpenTelemetry collector. Rank 6. Never fails or holds up a run for
// more than a few seconds: what can't be sent is a warning.
#pragma once

#include <string>

#include "app/wire.h"

namespace px::app {

/// Every run that ended at or after since, with the attempts of its tasks. Nothing if
/// `telemetry.otlp` is not set.
void send_runs(App& app, TimestampMicros since);
/// The attempts of one task of a run, named as TaskRequest::run does; with publish the run as well.
void send_task(App& app, const std::string& run_name, const std::string& task);

}  // namespace px::app
