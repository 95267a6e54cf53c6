#include "base/error.h"

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace px {

const ErrorTraits& error_traits(ErrorCode code) {
    // Order of the enumeration.
    static constexpr std::array<ErrorTraits, 15> kTraits{{
        {"InvalidArgument", false, 400, 2},
        {"NotFound", false, 404, 1},
        {"AlreadyExists", false, 409, 1},
        {"Conflict", true, 409, 1},
        {"ContractViolated", false, 422, 3},
        {"Unauthenticated", false, 401, 4},
        {"Forbidden", false, 403, 1},
        {"RateLimited", true, 429, 4},
        {"Unavailable", true, 503, 4},
        {"DeadlineExceeded", true, 504, 1},
        {"Cancelled", false, 499, 1},
        {"Corrupt", false, 500, 1},
        {"OutcomeUnknown", false, 500, 4},
        {"ResourceExhausted", false, 507, 1},
        {"Internal", false, 500, 1},
    }};
    return kTraits[static_cast<size_t>(code)];
}

Error Error::with(std::string where) && {
    context.push_back(std::move(where));
    return std::move(*this);
}

std::string Error::to_string() const {
    std::string text = message;
    if (!context.empty()) {
        text += " (";
        for (size_t i = 0; i < context.size(); ++i) {
            if (i > 0) text += "; ";
            text += context[i];
        }
        text += ")";
    }
    if (!hint.empty()) {
        text += ". ";
        text += hint;
    }
    return text;
}

Error fail(ErrorCode code, std::string message, std::string hint, std::source_location origin) {
    return Error{code, std::move(message), std::move(hint), {}, origin};
}

Error fail_errno(int error_number, std::string what, std::source_location origin) {
    ErrorCode code = ErrorCode::Internal;
    std::string hint;
    switch (error_number) {
        case ENOENT:
        case ENOTDIR:
            code = ErrorCode::NotFound;
            hint = "Check the path";
            break;
        case EACCES:
        case EPERM:
        case EROFS:
            code = ErrorCode::Forbidden;
            hint = "Check the owner and mode of the path";
            break;
        case EEXIST:
            code = ErrorCode::AlreadyExists;
            break;
        case ENOSPC:
        case EDQUOT:
        case EFBIG:
            code = ErrorCode::ResourceExhausted;
            hint =
                "Free some disk space and run the same command again; it continues where it "
                "stopped";
            break;
        case EMFILE:
        case ENFILE:
            code = ErrorCode::ResourceExhausted;
            hint = "Raise the limit of open files (ulimit -n)";
            break;
        case EISDIR:
        case EINVAL:
        case ENAMETOOLONG:
            code = ErrorCode::InvalidArgument;
            break;
        default:
            break;
    }
    what += ": ";
    what += std::generic_category().message(error_number);
    return Error{code, std::move(what), std::move(hint), {}, origin};
}

}  // namespace px
