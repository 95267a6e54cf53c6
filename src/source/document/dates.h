// Dates as documents write them → microseconds since the epoch. Rank 2; pure.
#pragma once

#include <optional>
#include <string_view>

#include "base/clock.h"

namespace px::source {

/// "2025-03-04", "2025/03/04", "20250304", ISO 8601 date-times with optional seconds, fraction and
/// offset ("Z", "+01:00",
/// "+0100"), "4 March 2025", "Mar 4, 2025", "Tue, 04 Mar 2025 10:00:00 GMT". No offset means UTC.
/// Trailing text that is no part of a date makes it nullopt, as do days that don't exist and years
/// outside 1 to 9999.
std::optional<TimestampMicros> parse_document_date(std::string_view text);

/// The PDF form D:YYYYMMDDHHmmSSOHH'mm' with everything after the year optional (PDF 32000-1
/// section 7.9.4); texts without "D:" are tried as parse_document_date.
std::optional<TimestampMicros> parse_pdf_date(std::string_view text);

}  // namespace px::source
