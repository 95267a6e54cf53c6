// Retrieval as search() and ask() share it: the question is encoded once. Internal to the room.
#pragma once

#include <string>
#include <vector>

#include "answer/answer.h"
#include "generate/extractive.h"

namespace px::answer {

struct Question {
    std::string text;
    std::vector<float> vector;  ///< empty when not encoded
};
enum class EncodeQuestion { Yes, No };
/// Errors: InvalidArgument (blank), those of the encoder.
Result<Question> read_question(const ReleaseView& view, const embed::Encoder& encoder,
                               const std::string& text, EncodeQuestion encode,
                               const Deadline& deadline);
/// The best passages, without near-duplicates of one document.
Result<std::vector<Passage>> search_passages(const ReleaseView& view, const Question& question,
                                             const SearchRequest& request, size_t top_k,
                                             const AnswerOptions& options,
                                             const Deadline& deadline);

/// An answer before its citations are looked up.
struct Draft {
    std::vector<Passage> passages;
    generate::Extract extract;
};
/// Retrieves passages and lets the generator choose among their sentences.
Result<Draft> draft(const ReleaseView& view, const embed::Encoder& encoder,
                    const SearchRequest& request, const AnswerOptions& options,
                    const Deadline& deadline);

}  // namespace px::answer
