// Hybrid ranking: documents by what their passages mean and by the words they share with the
// question, then their passages. Internal to the room; docs/retrieval.md says how and why.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "index/vector_store.h"

namespace px::answer {

struct FusedPassage {
    uint64_t point = 0;  ///< handle into the view
    double score = 0;    ///< of its document × how near it comes to the document's best passage
    double dense = 0;    ///< cosine
    double lexical = 0;  ///< BM25
};
struct FusedDocument {
    uint32_t document = 0;               ///< number in the view
    double score = 0;                    ///< in [0, 1]; the best has 1
    std::vector<FusedPassage> passages;  ///< by their place in the text
};

struct FusionOptions {
    size_t documents = 100;     ///< taken from each of the dense and the lexical search
    double dense_weight = 0.5;  ///< against the words, in [0, 1]
    index::Accuracy accuracy = index::Accuracy::Fast;
};

/// The documents that fit a question best, best first; ties by id. vector: of the question, unit
/// length. Deterministic. Cost: one dense and two lexical searches, and a look at the vectors of at
/// most 2 × documents documents. Errors: those of the searches.
Result<std::vector<FusedDocument>> rank_documents(const index::CollectionView& points,
                                                  const std::string& question,
                                                  const std::vector<float>& vector,
                                                  const index::Filter& filter,
                                                  const FusionOptions& options,
                                                  const Deadline& deadline);

}  // namespace px::answer
