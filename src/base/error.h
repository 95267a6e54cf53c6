// Error: what every fallible function of px fails with. Lowest rank; relies on nothing of ours.
// Values are immutable after construction but for added context; any thread.
#pragma once

#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace px {

/// What kind of failure it is; decides retrying, HTTP status and exit code (see error_traits).
enum class ErrorCode {
    InvalidArgument,   ///< the caller or the configuration is wrong
    NotFound,          ///< a named thing is absent where it had to be there
    AlreadyExists,     ///< put-if-absent found something
    Conflict,          ///< another writer was first; re-read and decide
    ContractViolated,  ///< the gate said no
    Unauthenticated,   ///< a service refused us: it does not know us, or we lack a right there
    Forbidden,
    RateLimited,
    Unavailable,  ///< a service did not answer; retry later
    DeadlineExceeded,
    Cancelled,
    Corrupt,            ///< stored bytes are not what they must be
    OutcomeUnknown,     ///< a commit whose reply was lost: read again, never retry blindly
    ResourceExhausted,  ///< disk, memory or a configured limit is full
    Internal,           ///< our bug
};

struct ErrorTraits {
    std::string_view name;  ///< "NotFound"
    bool retryable;
    int http_status;
    int exit_code;  ///< 1 failed, 2 wrong usage or configuration, 3 halted by the gate, 4
                    ///< unreachable
};

/// The one table behind an ErrorCode. O(1), any thread.
const ErrorTraits& error_traits(ErrorCode code);

/// A failure: what happened (with the value), what the person can do, and where.
/// message and hint never hold a secret. context grows while unwinding: innermost first.
struct [[nodiscard]] Error {
    ErrorCode code = ErrorCode::Internal;
    std::string message;
    std::string hint;
    std::vector<std::string> context;
    std::source_location origin;

    /// Adds where it happened, for example "file data/reports.csv".
    Error with(std::string where) &&;

    /// One line for people: "message (context; context). hint".
    std::string to_string() const;
};

/// Makes an Error at the calling line.
Error fail(ErrorCode code, std::string message, std::string hint = {},
           std::source_location origin = std::source_location::current());

/// Maps an errno value to an Error: ENOENT NotFound, EACCES/EPERM Forbidden, ENOSPC/EDQUOT/EMFILE
/// ResourceExhausted, EEXIST AlreadyExists, others Internal. what: "cannot write lake/x".
Error fail_errno(int error_number, std::string what,
                 std::source_location origin = std::source_location::current());

}  // namespace px
