// Rules of publish() that hold for every adapter, and the errors they share. Pure. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "catalog/catalog.h"

namespace px::catalog {

/// Partitions that don't overlap, each with documents of its own only. Errors: InvalidArgument.
Result<void> check_publication(const Publication& publication);

/// The documents of a partition by (document_id, ds).
std::vector<const DocumentRow*> in_key_order(const Publication::Partition& partition);

Error no_run(const RunId& run);
Error run_ended(const RunId& run);
Error not_publishable(const RunId& run, std::string_view state);
Error not_the_newest(const Publication& publication, int64_t latest);
Error wrong_ending(const RunId& run, bool released, RunState state);
Error no_attempt(const RunId& run, std::string_view task, int attempt);
Error attempt_ended(const RunId& run, std::string_view task, int attempt, std::string_view state);
Error not_empty();
Error listed_twice(const DocumentRow& row);
Error id_of_another_source(std::string_view source);
Error unknown_state(const RunId& run, std::string_view state);
/// Of tables at a version above or below those this program knows.
Error newer_catalog(int64_t found, size_t known);
Error older_catalog(int64_t found, size_t known);

}  // namespace px::catalog
