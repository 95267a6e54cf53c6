// The lexical ranking all adapters share: BM25 and what counts as a phrase (docs/retrieval.md).
// Rank 2. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/utf8.h"
#include "index/analysis.h"

namespace px::index {

inline constexpr double kK1 = 1.2;
inline constexpr double kB = 0.75;
/// Of two neighbouring terms beside the terms themselves.
inline constexpr double kPhraseWeight = 0.2;

/// Terms of a query in order, repeats included. Ill-formed bytes are no reason to fail.
inline std::vector<std::string> query_terms(std::string_view query) {
    Analyzer analyzer;
    return analyzer.terms(utf8_is_valid(query) ? std::string(query) : utf8_sanitize(query));
}

/// Bigrams of scripts without spaces overlap: their neighbours say nothing new.
inline bool makes_phrases(std::string_view term) {
    return static_cast<unsigned char>(term.front()) < 0xE0;
}

}  // namespace px::index
