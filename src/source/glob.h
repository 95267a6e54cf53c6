// Patterns of a source's files: reports/*.csv, filings/**/*.{pdf,html}.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace px::source {

struct GlobOptions {
    size_t max_files = 1'000'000;  ///< more matches are ResourceExhausted
    size_t max_patterns = 1'000;   ///< what {a,b} may multiply to
    size_t max_depth = 64;         ///< folders that ** goes down
};

/// The regular files that a pattern matches, sorted bytewise, each once, as written from `base`
/// (absolute for an absolute pattern). `*` any characters but '/', `?` one character (a whole UTF-8
/// one), `**` as a whole part any number of folders, none too, `{a,b}` alternatives, also nested;
/// everything else, brackets too, stands for itself. Names that start with a dot match only where
/// the pattern writes the dot. Links are followed; a folder that is its own ancestor is entered
/// once. A matching name that is no regular file is left out; none at all is an empty list. Errors:
/// Forbidden with the path of a folder that cannot be read; InvalidArgument for an empty pattern or
/// an unclosed brace; ResourceExhausted above a limit of options.
Result<std::vector<std::filesystem::path>> glob(const std::filesystem::path& base,
                                                std::string_view pattern,
                                                const GlobOptions& options = {});

/// One part of a path (no '/') against one part of a pattern without braces. O(name * pattern).
bool glob_matches_name(std::string_view pattern, std::string_view name);

}  // namespace px::source
