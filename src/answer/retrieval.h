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

/// Passages by score × 2^(−age / half_life_days), the age against the newest of them; those without
/// a date count as old as the oldest. The best has its score again as before. Stable.
void prefer_recent(std::vector<Passage>& passages, double half_life_days);
/// The first `count` passages without near-duplicates of other documents (nine terms of ten shared)
/// and with at most per_document of one; what was passed over for the latter fills the rest.
std::vector<Passage> diverse(std::vector<Passage> passages, size_t count, size_t per_document);

/// An answer before its citations are looked up.
struct Draft {
    std::string question;  ///< a follow-up made whole
    std::vector<Constraint> constraints;
    std::vector<Passage> passages;
    generate::Extract extract;
};
/// Retrieves passages and lets the generator choose among their sentences.
Result<Draft> draft(const ReleaseView& view, const embed::Encoder& encoder,
                    const SearchRequest& request, const AnswerOptions& options,
                    const Deadline& deadline);

}  // namespace px::answer
