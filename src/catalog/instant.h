// Instants as the text catalogs keep and exchange: 27 characters in UTC, so that people can read
// and compare them in any SQLite shell. Rank 2. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"

namespace px::catalog {

/// Instants of the years 0000 to 9999.
inline constexpr TimestampMicros kTextMin = -62'167'219'200'000'000;
inline constexpr TimestampMicros kTextMax = 253'402'300'799'999'999;

/// As format_timestamp for the years 0000 to 9999; other instants are their microseconds in
/// decimal.
std::string instant_text(TimestampMicros micros);
/// The other way round. Errors: Corrupt.
Result<TimestampMicros> parse_instant(std::string_view text);

}  // namespace px::catalog
