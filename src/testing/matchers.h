// Matchers for Result<T>: EXPECT_THAT(commit(), IsOk()); EXPECT_THAT(get(),
// IsError(ErrorCode::NotFound, "no 'x'")). For tests only. A failure prints the error with its
// context.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/result.h"

namespace px {

inline void PrintTo(const Error& error, std::ostream* stream) {
    *stream << error_traits(error.code).name << ": " << error.to_string();
}

template <class T>
void PrintTo(const Result<T>& result, std::ostream* stream) {
    if (result) {
        *stream << "a value";
    } else {
        PrintTo(result.error(), stream);
    }
}

}  // namespace px

namespace px::testing {

MATCHER(IsOk, negation ? "is a failure" : "is a value") {
    if (arg.has_value()) return true;
    *result_listener << "which is " << error_traits(arg.error().code).name << ": "
                     << arg.error().to_string();
    return false;
}

namespace internal {

class ErrorMatcher {
  public:
    using is_gtest_matcher = void;
    ErrorMatcher(ErrorCode code, std::string text) : code_(code), text_(std::move(text)) {}

    template <class T>
    bool MatchAndExplain(const Result<T>& result, std::ostream* stream) const {
        if (result.has_value()) {
            if (stream) *stream << "which is a value";
            return false;
        }
        const Error& error = result.error();
        if (stream) {
            *stream << "which is " << error_traits(error.code).name << ": " << error.to_string();
        }
        return error.code == code_ && error.to_string().find(text_) != std::string::npos;
    }
    void DescribeTo(std::ostream* stream) const {
        *stream << "is an error " << error_traits(code_).name;
        if (!text_.empty()) *stream << " saying \"" << text_ << '"';
    }
    void DescribeNegationTo(std::ostream* stream) const {
        *stream << "not: ";
        DescribeTo(stream);
    }

  private:
    ErrorCode code_;
    std::string text_;
};

}  // namespace internal

/// A failure with this code whose one-line text contains `text`.
inline internal::ErrorMatcher IsError(ErrorCode code, std::string text = {}) {
    return {code, std::move(text)};
}

}  // namespace px::testing
