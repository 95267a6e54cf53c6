// A run as a trace: its tasks' attempts as spans, in OpenTelemetry's JSON. Rank 4. Made from what
// the catalog recorded, so that a run carried by many processes is one trace whoever sends it.
// Pure.
#pragma once

#include <string>
#include <vector>

#include "catalog/catalog.h"

namespace px::pipeline {

/// Body of a request to a collector's /v1/traces (OTLP 1.x over HTTP, JSON). Ids are hashes of
/// pipeline, run, task and attempt: sending a span twice is sending it once. run: a span of its own
/// if it has ended. attempts: those that have ended become spans, children of the run's. Source:
/// opentelemetry.io, OTLP specification; trace.proto.
std::string otlp_traces_json(const std::string& pipeline, const catalog::Run& run,
                             const std::vector<catalog::TaskAttempt>& attempts,
                             const std::string& version);

}  // namespace px::pipeline
