// The rules of object keys, the same for every adapter of ObjectStore. Rank 2. Pure functions.
#pragma once

#include <string_view>

#include "base/result.h"

namespace px::store {

/// Longest key in bytes, and longest part between two '/' (what the common stores and file systems
/// share).
inline constexpr size_t kMaxKeyBytes = 1024;
inline constexpr size_t kMaxKeyPartBytes = 255;
/// Parts beginning so belong to adapters (unfinished writes) and never name an object.
inline constexpr std::string_view kTemporaryPrefix = ".px-tmp-";

/// Errors: InvalidArgument for an empty or absolute key, an empty, "." or ".." part, a NUL byte, a
/// reserved name, or one that is too long.
Result<void> validate_key(std::string_view key);
/// As validate_key, but a prefix may be empty, end with '/' or stop inside a part.
Result<void> validate_prefix(std::string_view prefix);

}  // namespace px::store
