// What becomes of an answer before it is shown: a model's sentences checked against the passages,
// numbers with unit, author and date, disagreements. Internal to the room. Pure but for the
// encoder.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "answer/answer.h"

namespace px::answer {

/// A sentence a model wrote, and the passages it named behind it ("[2]"), counted from 1.
struct WrittenSentence {
    std::string text;  ///< without marks, addresses and markup
    std::vector<int> named;
};
/// Cuts a model's text into sentences. Orders to whoever reads, addresses and markup do not come
/// through. At most 40 sentences.
std::vector<WrittenSentence> read_written(std::string_view text);

/// Where in a passage a written sentence is borne out.
struct Evidence {
    bool supported = false;
    size_t passage = 0, start = 0, end = 0;  ///< the nearest sentence of the passages
};
/// Checks each sentence against the passages it named, or all when it named none that exist: one of
/// their sentences must be near in meaning, share half its terms, and hold every number it has.
/// Errors: those of encode.
Result<std::vector<Evidence>> check_written(
    const std::vector<WrittenSentence>& sentences, const std::vector<std::string_view>& passages,
    const std::function<Result<std::vector<float>>(const std::vector<std::string_view>&)>& encode,
    size_t width);

/// The numbers of a text with their units.
struct Number {
    std::string text, value, unit;
};
std::vector<Number> numbers_of(std::string_view text);

/// Fills figures and disagreements from sentences and citations.
void note_figures(Answer& answer);

}  // namespace px::answer
