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
constexpr double kKind = 0.10;  // it holds the number, date or name that is asked for
// The support of an answer, a logistic regression over development questions (docs/answers.md).
constexpr double kSupportBias = -8.8;
constexpr double kSupportMeaning = 2.0;
constexpr double kSupportWords = 1.6;
constexpr double kSupportContext = 3.9;
constexpr double kSupportNames = 3.4;
constexpr double kSupportKind = 1.5;
// Support is meaning, raised by shared words: a question's own words in a sentence are evidence the
// vector can miss.
constexpr double kSupportOfWords = 0.15;
constexpr double kUnterminatedPenalty = 0.05;
constexpr double kRedundancy = 0.35;   // of the likeness to what is chosen already
constexpr double kSame = 0.92;         // likeness at which a sentence adds nothing
constexpr double kOtherFigures = 0.6;  // likeness at most of sentences whose numbers differ
constexpr size_t kWordsMin = 4;
constexpr size_t kUnspacedMin = 8;  // code points of a sentence without spaces

struct Candidate {
    size_t passage = 0;
    Sentence sentence;
    std::vector<std::string> terms;  // sorted, distinct
    double words = 0;                // shared with the question, 0 to 1
    double context = 0, names = 1, kind = 1;
    double meaning = 0;
    double score = 0;
    double near = 0;     // meaning, raised by shared words
    double support = 0;  // as Support::score
    size_t row = 0;      // of the encoded vectors
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

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Words of ASCII letters and digits, in order, as they are written.
std::vector<std::string_view> plain_words(std::string_view text) {
    std::vector<std::string_view> words;
    const auto inside = [](char c) {
        return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               static_cast<unsigned char>(c) >= 0x80;
    };
    for (size_t at = 0; at < text.size();) {
        size_t end = at;
        while (end < text.size() && inside(text[end])) ++end;
        if (end > at) words.push_back(text.substr(at, end - at));
        at = std::max(end, at + 1);
    }
    return words;
}

std::string small(std::string_view word) {
    std::string result(word);
    for (char& c : result) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    }
    return result;
}

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> list) {
    return std::find(list.begin(), list.end(), word) != list.end();
}

std::vector<std::string> distinct(std::vector<std::string> terms) {
    std::sort(terms.begin(), terms.end());
    terms.erase(std::unique(terms.begin(), terms.end()), terms.end());
    return terms;
}

bool has(const std::vector<std::string>& sorted, const std::string& term) {
    return std::binary_search(sorted.begin(), sorted.end(), term);
}

/// The terms with a digit.
std::vector<std::string> figures(const std::vector<std::string>& terms) {
    std::vector<std::string> found;
    for (const std::string& term : terms) {
        if (std::any_of(term.begin(), term.end(), is_digit)) found.push_back(term);
    }
    return found;
}

double dot(const float* a, const float* b, size_t width) {
    double sum = 0;
    for (size_t i = 0; i < width; ++i) sum += static_cast<double>(a[i]) * b[i];
    return sum;
}

}  // namespace

AskedFor asked_for(std::string_view question) {
    std::vector<std::string> words;
    for (const std::string_view word : plain_words(question)) {
        words.push_back(small(word));
        if (words.size() == 40) break;
    }
    for (size_t i = 0; i < words.size(); ++i) {
        const std::string& word = words[i];
        const std::string next = i + 1 < words.size() ? words[i + 1] : "";
        if (word == "how" && is_one_of(next, {"many", "much", "large", "big", "high", "old", "far",
                                              "often", "low", "tall"})) {
            return AskedFor::Number;
        }
        if (is_one_of(word, {"what", "which"}) &&
            is_one_of(next, {"share", "percentage", "rate", "number", "amount", "proportion",
                             "fraction", "level", "range", "price"})) {
            return AskedFor::Number;
        }
        if (is_one_of(word, {"what", "which"}) && is_one_of(next, {"year", "day", "date", "month"}))
            return AskedFor::Time;
        if (i < 3 && word == "when") return AskedFor::Time;
        if (i < 3 && is_one_of(word, {"who", "whom", "whose"})) return AskedFor::Person;
    }
    return AskedFor::Anything;
}

constexpr std::string_view kAskingWords =
    "how many much long often far old what which who whom whose when where why do does did done is "
    "are was were be been can could would should will shall may might must have has had say said "
    "tell give show find there any";

bool holds(AskedFor kind, std::string_view sentence) {
    if (kind == AskedFor::Anything) return true;
    static const std::set<std::string_view> kNumbers{
        "one",   "two",    "three",  "four",    "five",    "six",     "seven",    "eight",
        "nine",  "ten",    "eleven", "twelve",  "dozen",   "hundred", "thousand", "million",
        "half",  "third",  "tenth",  "quarter", "billion", "double",  "doubled",  "tenfold",
        "twice", "triple", "zero",   "none",    "trillion"};
    static const std::set<std::string_view> kTimes{
        "january", "february",  "march",   "april",    "may",       "june",   "july",
        "august",  "september", "october", "november", "december",  "today",  "yesterday",
        "year",    "month",     "week",    "spring",   "summer",    "autumn", "fall",
        "winter",  "decade",    "century", "1990s",    "depression"};
    bool first = true;
    for (const std::string_view word : plain_words(sentence)) {
        const std::string folded = small(word);
        if (kind == AskedFor::Person) {
            if (!first && word[0] >= 'A' && word[0] <= 'Z') return true;
            if (is_one_of(folded, {"i", "we", "he", "she", "my", "me"})) return true;
        } else if (kind == AskedFor::Number) {
            if (std::any_of(word.begin(), word.end(), is_digit) || kNumbers.contains(folded))
                return true;
        } else if ((word.size() >= 4 && std::any_of(word.begin(), word.end(), is_digit)) ||
                   kTimes.contains(folded)) {
            return true;
        }
        first = false;
    }
    return false;
}

Result<Extract> extract(std::string_view question, const std::vector<float>& question_vector,
                        const std::vector<SourcePassage>& passages, const TextTools& tools,
                        const ExtractiveOptions& options, const Deadline& deadline) {
    const std::vector<std::string> asked = distinct(tools.terms(question));
    const AskedFor kind = asked_for(question);
    // Names and numbers of the question: what must not be another one in the answer.
    std::string named_text;
    bool first_word = true;
    for (const std::string_view word : plain_words(question)) {
        if ((!first_word && word[0] >= 'A' && word[0] <= 'Z') ||
            std::any_of(word.begin(), word.end(), is_digit)) {
            named_text += word;
            named_text += ' ';
        }
        first_word = false;
    }
    const std::vector<std::string> named = distinct(tools.terms(named_text));

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
            if (tools.refused && tools.refused(text)) continue;
            if (!seen.insert(display_text(text)).second) continue;
            Candidate candidate;
            candidate.passage = p;
            candidate.sentence = sentence;
            candidate.terms = distinct(tools.terms(text));
            candidate.kind = holds(kind, text) ? 1 : 0;
            candidates.push_back(std::move(candidate));
        }
    }
    Extract result;
    if (candidates.empty() || options.sentences == 0) return result;

    std::vector<std::vector<std::string>> around;  // terms of each passage with its context
    for (const SourcePassage& passage : passages) {
        std::string text(passage.text);
        text += '\n';
        text += passage.context;
        around.push_back(distinct(tools.terms(text)));
    }
    // Words: a question's term weighs the more the rarer it is. What only asks is rare in a small
    // collection too, and tells nothing there.
    const std::vector<std::string> asking = distinct(tools.terms(kAskingWords));
    std::vector<double> weights, named_weights;
    double weight_sum = 0, named_sum = 0;
    for (const std::string& term : asked) {
        double weight = 0;
        if (tools.rarity) {
            weight = PX_TRY(tools.rarity(term));
        } else {
            const auto having = std::count_if(
                candidates.begin(), candidates.end(),
                [&](const Candidate& candidate) { return has(candidate.terms, term); });
            weight = std::log(1 + static_cast<double>(candidates.size()) /
                                      (1 + static_cast<double>(having)));
        }
        if (has(asking, term) && std::none_of(around.begin(), around.end(), [&](const auto& terms) {
                return has(terms, term);
            })) {
            weight = 0;
        }
        weights.push_back(weight);
        weight_sum += weight;
        named_weights.push_back(has(named, term) ? weight : 0);
        named_sum += named_weights.back();
    }
    for (Candidate& candidate : candidates) {
        double shared = 0, near = 0, near_named = 0;
        for (size_t i = 0; i < asked.size(); ++i) {
            if (has(candidate.terms, asked[i])) shared += weights[i];
            if (!has(around[candidate.passage], asked[i])) continue;
            near += weights[i];
            near_named += named_weights[i];
        }
        candidate.words = weight_sum > 0 ? shared / weight_sum : 0;
        candidate.context = weight_sum > 0 ? near / weight_sum : 0;
        candidate.names = named_sum > 0 ? near_named / named_sum : 1;
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
        candidate.near = candidate.meaning + kSupportOfWords * candidate.words;
        candidate.score = kMeaning * candidate.meaning + kWords * candidate.words +
                          kPassage * passages[candidate.passage].score + kKind * candidate.kind -
                          (candidate.sentence.terminated ? 0 : kUnterminatedPenalty);
        candidate.support =
            1 /
            (1 + std::exp(-(kSupportBias + kSupportMeaning * candidate.meaning +
                            kSupportWords * candidate.words + kSupportContext * candidate.context +
                            kSupportNames * candidate.names + kSupportKind * candidate.kind)));
        if (candidate.near >= options.min_sentence && candidate.support > result.support.score) {
            result.support = {candidate.support, candidate.meaning, candidate.words,
                              candidate.context, candidate.names,   candidate.kind};
        }
    }
    if (result.support.score < options.min_support) return result;

    std::vector<double> likeness(candidates.size(), 0);  // to the nearest chosen sentence
    std::vector<bool> taken(candidates.size(), false);
    double best_score = 0;
    while (result.sentences.size() < options.sentences) {
        size_t best = candidates.size();
        double best_value = 0;
        for (size_t i = 0; i < candidates.size(); ++i) {
            if (taken[i] || likeness[i] >= kSame || candidates[i].near < options.min_sentence)
                continue;
            // The answer itself has to be supported; what is added to it need not answer alone.
            if (result.sentences.empty() && candidates[i].support < options.min_support) continue;
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
            double like = dot(vectors.data() + i * width, vectors.data() + best * width, width);
            // The same with another number is not the same: sources may disagree.
            if (figures(candidates[i].terms) != figures(candidate.terms))
                like = std::min(like, kOtherFigures);
            likeness[i] = std::max(likeness[i], like);
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
