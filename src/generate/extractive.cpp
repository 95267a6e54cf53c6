#include "generate/extractive.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "base/utf8.h"
#include "generate/sentences.h"

namespace px::generate {

namespace {

// How a sentence is scored. Meaning leads; words decide between near ones; the passage's rank is a
// tie-breaker.
constexpr double kMeaning = 0.65;
constexpr double kWords = 0.25;
constexpr double kPassage = 0.10;
// Support is meaning, raised by shared words: a question's own words in a sentence are evidence the
// vector can miss.
constexpr double kSupportOfWords = 0.15;
constexpr double kUnterminatedPenalty = 0.05;
constexpr double kRedundancy = 0.35;  // of the likeness to what is chosen already
constexpr double kSame = 0.92;        // likeness at which a sentence adds nothing
constexpr size_t kWordsMin = 4;
constexpr size_t kUnspacedMin = 8;  // code points of a sentence without spaces

struct Candidate {
    size_t passage = 0;
    Sentence sentence;
    std::vector<std::string> terms;  // sorted, distinct
    double words = 0;                // shared with the question, 0 to 1
    double meaning = 0;
    double score = 0;
    double support = 0;
    size_t row = 0;  // of the encoded vectors
};

bool contains_any(std::string_view text, std::initializer_list<std::string_view> needles) {
    return std::any_of(needles.begin(), needles.end(), [&](std::string_view needle) {
        return text.find(needle) != std::string_view::npos;
    });
}

/// Long enough to say something, mostly words, and no furniture of a page.
bool says_something(std::string_view text) {
    size_t words = 0;
    size_t letters = 0;
    size_t others = 0;
    size_t wide = 0;
    bool in_word = false;
    for (size_t at = 0; at < text.size();) {
        const char32_t c = utf8_next(text, at);
        const bool space = c == ' ' || c == '\n' || c == '\t' || c == 0xA0 || c == 0x3000;
        if (!space && !in_word) ++words;
        in_word = !space;
        if (space) continue;
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c >= 0xC0;
        ++(letter ? letters : others);
        if (c >= 0x2E80) ++wide;
    }
    if (wide > 0 ? wide + words < kUnspacedMin : words < kWordsMin) return false;
    if (letters < others) return false;
    if (text.starts_with("See ")) return false;  // a footnote's reference
    return !contains_any(
        text, {"©", "views expressed", "opinions expressed", "All rights reserved",
               "all rights reserved", "Click here", "click here", "cookie policy", "Return to text",
               "Return to top", "Accessible version", "accessible version", "Last updated"});
}

double dot(const float* a, const float* b, size_t width) {
    double sum = 0;
    for (size_t i = 0; i < width; ++i) sum += static_cast<double>(a[i]) * b[i];
    return sum;
}

}  // namespace

Result<Extract> extract(std::string_view question, const std::vector<float>& question_vector,
                        const std::vector<SourcePassage>& passages, const TextTools& tools,
                        const ExtractiveOptions& options, const Deadline& deadline) {
    std::vector<std::string> asked = tools.terms(question);
    std::sort(asked.begin(), asked.end());
    asked.erase(std::unique(asked.begin(), asked.end()), asked.end());

    std::vector<Candidate> candidates;
    std::set<std::string, std::less<>>
        seen;  // the same sentence in overlapping passages counts once, in the best passage
    for (size_t p = 0; p < passages.size(); ++p) {
        PX_TRY(deadline.check());
        const SourcePassage& passage = passages[p];
        for (const Sentence& sentence : split_sentences(passage.text)) {
            const std::string_view text =
                passage.text.substr(sentence.start, sentence.end - sentence.start);
            if (sentence.form == Sentence::Form::Heading || sentence.form == Sentence::Form::Table)
                continue;
            if (sentence.start == passage.text.find_first_not_of(" \t\r\n") &&
                !passage.starts_whole)
                continue;
            if (sentence.end == passage.text.find_last_not_of(" \t\r\n") + 1 &&
                !passage.ends_whole && (!sentence.terminated || sentence.doubtful_end)) {
                continue;
            }
            if (text.size() > options.sentence_bytes_max || !says_something(text)) continue;
            if (text.ends_with('?') || text.ends_with("？") || text.ends_with("؟"))
                continue;  // what asks does not answer
            if (!seen.insert(display_text(text)).second) continue;
            Candidate candidate;
            candidate.passage = p;
            candidate.sentence = sentence;
            candidate.terms = tools.terms(text);
            std::sort(candidate.terms.begin(), candidate.terms.end());
            candidate.terms.erase(std::unique(candidate.terms.begin(), candidate.terms.end()),
                                  candidate.terms.end());
            candidates.push_back(std::move(candidate));
        }
    }
    Extract result;
    if (candidates.empty() || options.sentences == 0) return result;

    // Words: a question's term weighs the more the fewer of the sentences have it; one that none
    // has weighs most.
    std::vector<double> weights;
    double weight_sum = 0;
    bool any_term = false;
    for (const std::string& term : asked) {
        const auto having =
            std::count_if(candidates.begin(), candidates.end(), [&](const Candidate& candidate) {
                return std::binary_search(candidate.terms.begin(), candidate.terms.end(), term);
            });
        any_term = any_term || having > 0;
        weights.push_back(std::log(1 + static_cast<double>(candidates.size()) /
                                           (1 + static_cast<double>(having))));
        weight_sum += weights.back();
    }
    for (Candidate& candidate : candidates) {
        double shared = 0;
        for (size_t i = 0; i < asked.size(); ++i) {
            if (std::binary_search(candidate.terms.begin(), candidate.terms.end(), asked[i]))
                shared += weights[i];
        }
        candidate.words = weight_sum > 0 ? shared / weight_sum : 0;
    }
    if (candidates.size() > options.encoded_sentences) {
        const auto promise = [&](const Candidate& c) {
            return c.words + passages[c.passage].score;
        };
        std::stable_sort(
            candidates.begin(), candidates.end(),
            [&](const Candidate& a, const Candidate& b) { return promise(a) > promise(b); });
        candidates.resize(options.encoded_sentences);
    }
    std::vector<std::string> shown;
    for (const Candidate& candidate : candidates) {
        shown.push_back(display_text(passages[candidate.passage].text.substr(
            candidate.sentence.start, candidate.sentence.end - candidate.sentence.start)));
    }
    const std::vector<float> vectors = PX_TRY(tools.encode({shown.begin(), shown.end()}));
    const size_t width = question_vector.size();
    if (width == 0 || vectors.size() != width * candidates.size()) {
        return fail(ErrorCode::Internal,
                    "the encoder gave vectors of another width than the question's");
    }
    for (size_t i = 0; i < candidates.size(); ++i) {
        Candidate& candidate = candidates[i];
        candidate.row = i;
        candidate.meaning = dot(vectors.data() + i * width, question_vector.data(), width);
        candidate.support = candidate.meaning + kSupportOfWords * candidate.words;
        candidate.score = kMeaning * candidate.meaning + kWords * candidate.words +
                          kPassage * passages[candidate.passage].score -
                          (candidate.sentence.terminated ? 0 : kUnterminatedPenalty);
        if (candidate.support > result.support) {
            result.support = candidate.support;
            result.meaning = candidate.meaning;
            result.words = candidate.words;
        }
    }
    // No answer: nothing is near enough; or it is near only by half and shares no word with the
    // question.
    if (result.support < options.min_support) return result;
    if (!any_term && !asked.empty() && result.support < 1.3 * options.min_support) return result;

    std::vector<double> likeness(candidates.size(), 0);  // to the nearest chosen sentence
    std::vector<bool> taken(candidates.size(), false);
    double best_score = 0;
    while (result.sentences.size() < options.sentences) {
        size_t best = candidates.size();
        double best_value = 0;
        for (size_t i = 0; i < candidates.size(); ++i) {
            if (taken[i] || likeness[i] >= kSame || candidates[i].support < options.min_support)
                continue;
            const double value = candidates[i].score -
                                 kRedundancy * std::max(0.0, likeness[i]) * candidates[i].score;
            const auto place = [&](const Candidate& c) {
                return std::pair(c.passage, c.sentence.start);
            };
            if (best == candidates.size() || value > best_value ||
                (value == best_value && place(candidates[i]) < place(candidates[best]))) {
                best = i;
                best_value = value;
            }
        }
        if (best == candidates.size()) break;
        const Candidate& candidate = candidates[best];
        if (result.sentences.empty()) {
            best_score = candidate.score;
        } else if (best_value < options.least_of_best * best_score) {
            break;
        }
        taken[best] = true;
        result.sentences.push_back({candidate.passage, candidate.sentence.start,
                                    candidate.sentence.end, candidate.support});
        for (size_t i = 0; i < candidates.size(); ++i) {
            likeness[i] = std::max(
                likeness[i], dot(vectors.data() + i * width, vectors.data() + best * width, width));
        }
    }
    std::sort(result.sentences.begin(), result.sentences.end(),
              [](const ChosenSentence& a, const ChosenSentence& b) {
                  return std::pair(a.passage, a.start) < std::pair(b.passage, b.start);
              });
    return result;
}

std::string display_text(std::string_view sentence) {
    std::string shown;
    shown.reserve(sentence.size());
    for (size_t at = 0; at < sentence.size(); ++at) {
        const char c = sentence[at];
        if (c == '[') {
            size_t end = at + 1;
            while (end < sentence.size() && end - at <= 4 && sentence[end] >= '0' &&
                   sentence[end] <= '9')
                ++end;
            if (end > at + 1 && end < sentence.size() && sentence[end] == ']') {
                at = end;
                continue;
            }
        }
        if (c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' || c == '\v') {
            if (!shown.empty() && shown.back() != ' ') shown.push_back(' ');
        } else {
            shown.push_back(c);
        }
    }
    while (!shown.empty() && shown.back() == ' ') shown.pop_back();
    return shown;
}

}  // namespace px::generate
