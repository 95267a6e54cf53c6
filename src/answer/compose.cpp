#include "answer/compose.h"

#include <algorithm>
#include <set>

#include "chunk/inspect.h"
#include "generate/extractive.h"
#include "generate/sentences.h"
#include "index/analysis.h"

namespace px::answer {

namespace {

constexpr size_t kWrittenMax = 40;       // sentences of a model's text
constexpr size_t kEvidenceMax = 120;     // sentences of the passages looked at
constexpr double kNearMin = 0.55;        // cosine of a written sentence and its evidence
constexpr double kSharedMin = 0.5;       // of the written sentence's terms, in evidence or passage
constexpr double kSameSubjectMin = 0.5;  // of the terms of two sentences beside their numbers

bool digit(char c) { return c >= '0' && c <= '9'; }

std::vector<std::string> distinct_terms(index::Analyzer& analyzer, std::string_view text) {
    std::vector<std::string> terms = analyzer.terms(text);
    std::sort(terms.begin(), terms.end());
    terms.erase(std::unique(terms.begin(), terms.end()), terms.end());
    return terms;
}

size_t common(const std::vector<std::string>& a, const std::vector<std::string>& b) {
    return static_cast<size_t>(std::count_if(a.begin(), a.end(), [&](const std::string& term) {
        return std::binary_search(b.begin(), b.end(), term);
    }));
}

/// Without addresses, tags and images of Markdown: what a page or a terminal would act on.
std::string plain(std::string_view text) {
    std::string shown = chunk::visible_text(text);
    std::string out;
    for (size_t at = 0; at < shown.size();) {
        const std::string_view rest = std::string_view(shown).substr(at);
        if (rest[0] == '<') {
            const size_t end = rest.find('>');
            if (end != std::string_view::npos && rest.size() > 1 &&
                (rest[1] == '/' || rest[1] == '!' || (rest[1] | 0x20) >= 'a') && end < 2000) {
                at += end + 1;
                continue;
            }
        }
        if (rest.starts_with("](")) {  // of a link its words stay
            const size_t end = rest.find(')');
            if (end != std::string_view::npos) {
                at += end + 1;
                continue;
            }
        }
        if (rest.starts_with("http://") || rest.starts_with("https://") ||
            rest.starts_with("javascript:") || rest.starts_with("data:")) {
            const size_t end = rest.find_first_of(" \n\t)>\"'");
            at += std::min(end, rest.size());
            continue;
        }
        out += shown[at++];
    }
    return out;
}

}  // namespace

std::vector<WrittenSentence> read_written(std::string_view text) {
    std::vector<WrittenSentence> written;
    const std::string shown = plain(text);
    // "… rose by 4 %. [2]": the mark belongs to the sentence before it.
    std::string joined;
    for (size_t at = 0; at < shown.size(); ++at) {
        const char c = shown[at];
        if (c == '[' && at + 2 < shown.size() && digit(shown[at + 1])) {
            size_t end = at + 1;
            while (end < shown.size() &&
                   (digit(shown[end]) || shown[end] == ',' || shown[end] == ' '))
                ++end;
            if (end < shown.size() && shown[end] == ']') {
                size_t stop = joined.find_last_not_of(" \t");
                if (stop != std::string::npos && (joined[stop] == '.' || joined[stop] == '!')) {
                    joined.insert(stop, shown.substr(at, end + 1 - at));
                } else {
                    joined.append(shown, at, end + 1 - at);
                }
                at = end;
                continue;
            }
        }
        joined += c;
    }
    for (const generate::Sentence& sentence : generate::split_sentences(joined)) {
        if (written.size() == kWrittenMax) break;
        const std::string_view piece =
            std::string_view(joined).substr(sentence.start, sentence.end - sentence.start);
        WrittenSentence one;
        std::string words;
        for (size_t at = 0; at < piece.size(); ++at) {
            if (piece[at] == '[' && at + 1 < piece.size() && digit(piece[at + 1])) {
                const size_t end = piece.find_first_not_of("0123456789, ", at + 1);
                if (end != std::string_view::npos && piece[end] == ']' && end - at < 40) {
                    int n = 0;
                    for (size_t i = at + 1; i <= end; ++i) {
                        if (digit(piece[i])) {
                            n = std::min(n * 10 + (piece[i] - '0'), 100'000);
                        } else if (n > 0) {
                            one.named.push_back(n);
                            n = 0;
                        }
                    }
                    at = end;
                    continue;
                }
            }
            words += piece[at];
        }
        one.text = generate::display_text(words);
        for (size_t at = one.text.find(" ."); at != std::string::npos; at = one.text.find(" ."))
            one.text.erase(at, 1);
        if (one.text.size() < 3 || chunk::is_instruction(one.text)) continue;
        written.push_back(std::move(one));
    }
    return written;
}

std::vector<Number> numbers_of(std::string_view text) {
    static constexpr std::string_view kUnits[] = {"percentage points",
                                                  "percentage point",
                                                  "basis points",
                                                  "basis point",
                                                  "per cent",
                                                  "percent",
                                                  "%",
                                                  "trillion",
                                                  "billion",
                                                  "million",
                                                  "thousand",
                                                  "years",
                                                  "year",
                                                  "months",
                                                  "month",
                                                  "days",
                                                  "hours",
                                                  "jobs",
                                                  "dollars",
                                                  "euro",
                                                  "euros",
                                                  "francs",
                                                  "people",
                                                  "banks",
                                                  "km",
                                                  "tonnes",
                                                  "kWh",
                                                  "MW"};
    static constexpr std::string_view kMoney[] = {"$", "€", "£", "¥", "CHF ", "USD ", "EUR "};
    std::vector<Number> numbers;
    for (size_t at = 0; at < text.size() && numbers.size() < 100;) {
        const char before = at > 0 ? text[at - 1] : ' ';
        const bool inside = digit(before) || (before >= 'a' && before <= 'z') ||
                            (before >= 'A' && before <= 'Z') || before == '.' || before == ',';
        if (!digit(text[at]) || inside) {
            ++at;
            continue;
        }
        size_t end = at;
        const auto goes_on = [&](size_t i) {
            if (digit(text[i])) return true;
            const bool joint = text[i] == '.' || text[i] == ',' || text[i] == '/' || text[i] == '-';
            return joint && i + 1 < text.size() && digit(text[i + 1]);
        };
        while (end < text.size() && goes_on(end)) ++end;
        size_t start = at;
        std::string unit;
        for (const std::string_view money : kMoney) {
            if (text.substr(0, at).ends_with(money)) {
                start = at - money.size();
                unit = money.ends_with(' ') ? money.substr(0, money.size() - 1) : money;
            }
        }
        Number number;
        number.value = std::string(text.substr(at, end - at));
        std::erase(number.value, ',');
        for (bool again = true; again;) {
            again = false;
            size_t next = end;
            while (next < text.size() && (text[next] == ' ' || text[next] == '\n')) ++next;
            for (const std::string_view word : kUnits) {
                if (!text.substr(next).starts_with(word)) continue;
                const size_t behind = next + word.size();
                if (behind < text.size() && word != "%" &&
                    ((text[behind] | 0x20) >= 'a' && (text[behind] | 0x20) <= 'z')) {
                    continue;
                }
                if (!unit.empty()) unit += ' ';
                unit += word;
                end = behind;
                again = true;
                break;
            }
        }
        number.unit = unit;
        number.text = generate::display_text(text.substr(start, end - start));
        numbers.push_back(std::move(number));
        at = end;
    }
    return numbers;
}

Result<std::vector<Evidence>> check_written(
    const std::vector<WrittenSentence>& sentences, const std::vector<std::string_view>& passages,
    const std::function<Result<std::vector<float>>(const std::vector<std::string_view>&)>& encode,
    size_t width) {
    std::vector<Evidence> found(sentences.size());
    std::vector<Evidence> places;  // of every sentence of the passages
    std::vector<std::string> shown;
    for (const WrittenSentence& sentence : sentences) shown.push_back(sentence.text);
    for (size_t p = 0; p < passages.size(); ++p) {
        for (const generate::Sentence& sentence : generate::split_sentences(passages[p])) {
            if (places.size() == kEvidenceMax) break;
            const std::string_view text =
                passages[p].substr(sentence.start, sentence.end - sentence.start);
            if (chunk::is_instruction(text)) continue;
            places.push_back({true, p, sentence.start, sentence.end});
            shown.push_back(generate::display_text(text));
        }
    }
    if (sentences.empty() || places.empty()) return found;
    const std::vector<float> vectors = PX_TRY(encode({shown.begin(), shown.end()}));
    if (vectors.size() != width * shown.size())
        return fail(ErrorCode::Internal, "the encoder gave vectors of another width");
    index::Analyzer analyzer;
    std::vector<std::vector<std::string>> terms;
    for (const std::string_view passage : passages)
        terms.push_back(distinct_terms(analyzer, passage));
    for (size_t s = 0; s < sentences.size(); ++s) {
        const std::vector<std::string> own = distinct_terms(analyzer, sentences[s].text);
        const std::vector<Number> numbers = numbers_of(sentences[s].text);
        std::set<size_t> named;
        for (const int n : sentences[s].named) {
            if (n >= 1 && static_cast<size_t>(n) <= passages.size())
                named.insert(static_cast<size_t>(n) - 1);
        }
        double best = -2;
        for (size_t e = 0; e < places.size(); ++e) {
            if (!named.empty() && !named.contains(places[e].passage)) continue;
            double near = 0;
            for (size_t d = 0; d < width; ++d) {
                near += static_cast<double>(vectors[s * width + d]) *
                        vectors[(sentences.size() + e) * width + d];
            }
            if (near <= best) continue;
            best = near;
            found[s] = places[e];
        }
        if (best < -1) continue;
        const std::string_view passage = passages[found[s].passage];
        const std::vector<Number> there = numbers_of(passage);
        const bool all_numbers = std::all_of(numbers.begin(), numbers.end(), [&](const Number& n) {
            return std::any_of(there.begin(), there.end(),
                               [&](const Number& other) { return other.value == n.value; });
        });
        found[s].supported = best >= kNearMin && all_numbers && !own.empty() &&
                             static_cast<double>(common(own, terms[found[s].passage])) >=
                                 kSharedMin * static_cast<double>(own.size());
    }
    return found;
}

void note_figures(Answer& answer) {
    index::Analyzer analyzer;
    struct Said {
        const Citation* citation;
        std::vector<std::string> subject;  // terms beside numbers
        std::vector<Number> numbers;
    };
    std::vector<Said> said;
    for (const Citation& citation : answer.citations) {
        Said one{&citation, {}, numbers_of(citation.quote)};
        for (std::string& term : distinct_terms(analyzer, citation.quote)) {
            if (!std::any_of(term.begin(), term.end(), digit))
                one.subject.push_back(std::move(term));
        }
        for (const Number& number : one.numbers) {
            // A year by itself is a date, no figure.
            if (number.unit.empty() && number.value.size() == 4) continue;
            answer.figures.push_back({citation.n, number.text, number.value, number.unit,
                                      citation.author, citation.date});
        }
        std::erase_if(one.numbers, [](const Number& number) { return number.unit.empty(); });
        if (!one.numbers.empty()) said.push_back(std::move(one));
    }
    for (size_t a = 0; a < said.size(); ++a) {
        for (size_t b = a + 1; b < said.size(); ++b) {
            if (said[a].citation->document_id == said[b].citation->document_id) continue;
            const size_t shared = common(said[a].subject, said[b].subject);
            const size_t all = said[a].subject.size() + said[b].subject.size() - shared;
            if (all == 0 ||
                static_cast<double>(shared) < kSameSubjectMin * static_cast<double>(all))
                continue;
            const Number& first = said[a].numbers.front();
            const Number& second = said[b].numbers.front();
            const bool same = std::any_of(
                said[a].numbers.begin(), said[a].numbers.end(), [&](const Number& number) {
                    return std::any_of(
                        said[b].numbers.begin(), said[b].numbers.end(), [&](const Number& other) {
                            return number.value == other.value && number.unit == other.unit;
                        });
                });
            if (same || first.unit != second.unit) continue;
            const bool in_order = said[a].citation->date <= said[b].citation->date;
            const Said& older = in_order ? said[a] : said[b];
            const Said& newer = in_order ? said[b] : said[a];
            answer.disagreements.push_back(
                {{older.citation->n, newer.citation->n},
                 {older.numbers.front().text, newer.numbers.front().text},
                 {older.citation->date, newer.citation->date}});
        }
    }
}

}  // namespace px::answer
