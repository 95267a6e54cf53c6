// Errors on the wire: application/problem+json (RFC 9457). Rank 5. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "http/message.h"

namespace px::gateway {

/// "NotFound" → "Not found".
std::string problem_title(std::string_view code_name);

/// {type, title, status, detail, code, hint?, request_id} of an Error; type points into /docs.
std::string problem_json(const Error& error, std::string_view request_id);
/// The same for a status that no ErrorCode stands for (404 of a path, 405, 408, 413, 431 …); code
/// is the phrase without spaces.
std::string problem_json(int status, std::string_view detail, std::string_view hint,
                         std::string_view request_id);

http::Response problem_response(const Error& error, std::string_view request_id);
http::Response problem_response(int status, std::string_view detail, std::string_view hint,
                                std::string_view request_id);

}  // namespace px::gateway
