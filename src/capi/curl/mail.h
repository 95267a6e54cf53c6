// One e-mail over SMTP by libcurl. Rank 1; curl.h stays in the .cpp. Blocking, any thread.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace px::capi::curl {

struct Mail {
    /// smtp://USER:PASSWORD@HOST:PORT (with STARTTLS beyond loopback) or smtps://…
    std::string url;
    std::string from;
    std::vector<std::string> to;
    std::string subject;
    std::string text;          ///< UTF-8
    TimestampMicros date = 0;  ///< of its Date header
    std::chrono::milliseconds timeout{10'000};
};

/// Errors: InvalidArgument (no smtp address; a line break or a bracket in an address), Unavailable,
/// Unauthenticated. No error shows user or password.
Result<void> send_mail(const Mail& mail);

}  // namespace px::capi::curl
