// Bounded parallelism over equal items (files, chunks, row groups).
#pragma once

#include <cstddef>
#include <functional>

#include "base/clock.h"
#include "base/result.h"

namespace px {

/// Calls body(i) for every i in [0, count) on at most thread_count threads (the caller's included).
/// The first failure by index wins and stops further items; cancelled between items by the
/// deadline. body must be safe to call concurrently and must not throw. Results never depend on
/// thread_count when body(i) writes only what belongs to i.
Result<void> parallel_for(size_t count, size_t thread_count, const Deadline& deadline,
                          const std::function<Result<void>(size_t)>& body);

}  // namespace px
