// The extractive generator: an answer made of the passages' own sentences. Needs no model of its
// own. Rank 2. Pure but for the functions it is given; any thread. Same input, same output.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace px::generate {

struct SourcePassage {
    std::string_view text;     ///< well-formed UTF-8
    double score = 0;          ///< of retrieval, in [0, 1]
    bool starts_whole = true;  ///< its first sentence begins where the text does
    bool ends_whole = true;    ///< its last sentence ends where the text does
    /// What is known of its document: title, author, date in words. May be empty.
    std::string context{};
};

/// What the generator can't do itself.
struct TextTools {
    /// [texts, width] row-major unit vectors.
    std::function<Result<std::vector<float>>(const std::vector<std::string_view>& texts)> encode;
    /// Content terms of a text in order: stemmed, without stop words.
    std::function<std::vector<std::string>(std::string_view text)> terms;
    /// How rare a term is in the collection, about 0 (everywhere) to 10 and more (nowhere). Absent:
    /// estimated from the passages.
    std::function<Result<double>(const std::string& term)> rarity{};
    /// Whether a sentence is not to be quoted (it gives orders instead of saying something).
    std::function<bool(std::string_view sentence)> refused{};
};

struct ExtractiveOptions {
    size_t sentences = 5;           ///< chosen at most
    size_t encoded_sentences = 60;  ///< candidates encoded at most, in one call: bounds the cost
    double min_support = 0.5;       ///< below which nothing is chosen
    double min_sentence = 0.3;      ///< of a chosen sentence: cosine, raised by shared words
    double least_of_best = 0.62;    ///< of the best sentence's score, for a further one
    size_t sentence_bytes_max =
        700;  ///< longer sentences are left out: they can't be shortened faithfully
};

struct ChosenSentence {
    size_t passage = 0;         ///< index into the passages
    size_t start = 0, end = 0;  ///< bytes of its text
    double support = 0;         ///< for the question, about 0 to 1
};

/// How well the passages support an answer (docs/answers.md says how it was calibrated).
struct Support {
    double score = 0;    ///< about the probability that the best sentence answers, 0 to 1
    double meaning = 0;  ///< cosine of question and that sentence
    double words = 0;    ///< share of the question's terms in it, by rarity
    double context = 0;  ///< the same with its passage, its document's title, author and date
    double names = 1;    ///< of its names and numbers alone, likewise; 1 when it has none
    double kind = 1;     ///< 1: it holds what is asked for (a number, a date, a name), or that is
                         ///< not clear; 0: it does not
};

struct Extract {
    std::vector<ChosenSentence> sentences;  ///< by passage, then position; empty when not supported
    Support support;                        ///< of the best sentence, chosen or not
};

/// What kind of thing a question asks for.
enum class AskedFor { Anything, Number, Time, Person };
AskedFor asked_for(std::string_view question);
/// Whether a sentence holds such a thing.
bool holds(AskedFor kind, std::string_view sentence);

/// Chooses the sentences that answer a question: near to it in meaning and words, different from
/// one another, whole. Headings, table rows, boilerplate and sentences cut off by the passage's
/// edges are passed over. Errors: those of encode.
Result<Extract> extract(std::string_view question, const std::vector<float>& question_vector,
                        const std::vector<SourcePassage>& passages, const TextTools& tools,
                        const ExtractiveOptions& options, const Deadline& deadline);

/// A sentence as it stands in an answer: white space runs become one space, and bracketed numbers
/// ("[3]") go, since in an answer they mark citations.
std::string display_text(std::string_view sentence);

}  // namespace px::generate
