// The request target: path and query, percent-decoded. Rank 1. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace px::http {

struct Target {
    std::string path;
    std::vector<std::pair<std::string, std::string>> query;
};

/// Origin form ("/a%20b?c=d"), absolute form ("http://host/a") or "*". In the query '+' is a space.
/// Errors: InvalidArgument: neither form, an incomplete %XX, NUL or ill-formed UTF-8 after
/// decoding. Source: RFC 9112 section 3.2, RFC 3986 section 2.1, application/x-www-form-urlencoded.
Result<Target> parse_target(std::string_view target);

/// The bytes behind %XX; plus_is_space for queries. Errors: InvalidArgument.
enum class Plus { IsPlus, IsSpace };
Result<std::string> percent_decode(std::string_view text, Plus plus);

/// Everything but unreserved characters as %XX.
std::string percent_encode(std::string_view text);

}  // namespace px::http
