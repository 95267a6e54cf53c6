#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>
#include <map>

#include "answer/answer.h"
#include "answer/citation.h"
#include "answer/compose.h"
#include "answer/retrieval.h"
#include "answer/table_question.h"
#include "base/log.h"
#include "chunk/inspect.h"
#include "generate/extractive.h"
#include "generate/sentences.h"
#include "index/analysis.h"

namespace px::answer {

namespace {

constexpr std::string_view kNotInTheSources = "Not in the sources.";

/// Where a passage stands among its document's chunks tells whether its first and last sentence
/// are whole. sources[i] is of passages[i].
Result<void> mark_edges(const ReleaseView& view, const std::vector<Passage>& passages,
                        std::vector<generate::SourcePassage>& sources, const Deadline& deadline) {
    struct Neighbours {
        std::optional<size_t> before, after;  // places in handles
    };
    std::vector<uint64_t> handles;
    std::vector<Neighbours> neighbours(passages.size());
    for (size_t i = 0; i < passages.size(); ++i) {
        const index::Point& point = passages[i].point;
        const std::optional<uint64_t> handle = view.points->find(point.id);
        const std::vector<uint64_t> all = view.points->points_of(point.document_id);
        const auto place = handle ? std::find(all.begin(), all.end(), *handle) : all.end();
        if (place == all.end()) continue;
        if (place != all.begin()) {
            neighbours[i].before = handles.size();
            handles.push_back(*(place - 1));
        }
        if (place + 1 != all.end()) {
            neighbours[i].after = handles.size();
            handles.push_back(*(place + 1));
        }
    }
    const std::vector<index::Point> points = PX_TRY(view.points->points(handles, deadline));
    for (size_t i = 0; i < passages.size(); ++i) {
        const index::Point& point = passages[i].point;
        if (neighbours[i].before) {
            const index::Point& before = points[*neighbours[i].before];
            const int64_t gap = point.span.start - before.span.end;
            if (gap >= 0) {
                // What the splitter took away between them is white space: two bytes are a blank
                // line.
                sources[i].starts_whole =
                    gap >= 2 || generate::is_sentence_break(before.text, point.text);
            } else {
                const auto shared = static_cast<size_t>(
                    std::clamp<int64_t>(point.span.start - before.span.start, 0,
                                        static_cast<int64_t>(before.text.size())));
                sources[i].starts_whole = generate::is_sentence_break(
                    std::string_view(before.text).substr(0, shared), point.text);
            }
        }
        if (neighbours[i].after) {
            sources[i].ends_whole = points[*neighbours[i].after].span.start - point.span.end >= 2;
        }
    }
    return {};
}

constexpr size_t kCandidatesPerPassage = 3;  // looked at for each passage of an answer
constexpr TimestampMicros kDayMicros = 86'400'000'000;
constexpr size_t kTermsAsked = 24;  // of a question whose rarity is looked up
constexpr double kSharedTermsMax = 0.9;

/// How rare a term is: what BM25 gives the best point for this term alone, which is its inverse
/// document frequency times at most 1 + k1. A term of no point is rarer than any.
class Rarity {
  public:
    Rarity(const ReleaseView& view, const Deadline& deadline) : view_(view), deadline_(deadline) {}
    Result<double> operator()(const std::string& term) {
        if (++asked_ > kTermsAsked) return 1.0;
        const auto found = PX_TRY(view_.points->search_lexical(term, 1, {}, deadline_));
        if (!found.empty()) return std::max(0.1, static_cast<double>(found.front().score) / 2.2);
        return 1 + std::log(1 + static_cast<double>(view_.points->point_count()));
    }

  private:
    const ReleaseView& view_;
    const Deadline& deadline_;
    size_t asked_ = 0;
};

/// Title, author and date of a passage's document, in words a question may use.
std::string context_of(const index::Point& point) {
    std::string text = point.title + "\n" + point.author + "\n" + point.category;
    if (point.created_at) {
        static constexpr std::string_view kMonths[] = {
            "January", "February", "March",     "April",   "May",      "June",
            "July",    "August",   "September", "October", "November", "December"};
        int64_t days = *point.created_at / kDayMicros;
        if (*point.created_at % kDayMicros < 0) --days;
        const std::string date = format_date(static_cast<int32_t>(days));
        const auto month = static_cast<size_t>((date[5] - '0') * 10 + date[6] - '1');
        text += "\n" + date.substr(0, 4) + ' ';
        if (month < 12) text += kMonths[month];
        text += ' ' + std::to_string((date[8] - '0') * 10 + date[9] - '0');
    }
    return text;
}

}  // namespace

void prefer_recent(std::vector<Passage>& passages, double half_life_days) {
    if (half_life_days <= 0 || passages.empty()) return;
    std::optional<TimestampMicros> newest, oldest;
    for (const Passage& passage : passages) {
        const auto time = passage.point.created_at;
        if (!time) continue;
        newest = std::max(newest.value_or(*time), *time);
        oldest = std::min(oldest.value_or(*time), *time);
    }
    if (!newest) return;
    double best = 0, best_then = 0;
    for (Passage& passage : passages) {
        best = std::max(best, passage.score);
        const TimestampMicros time = passage.point.created_at.value_or(*oldest);
        const double days = static_cast<double>(*newest - time) / static_cast<double>(kDayMicros);
        passage.score *= std::exp2(-days / half_life_days);
        best_then = std::max(best_then, passage.score);
    }
    if (best_then > 0) {
        for (Passage& passage : passages) passage.score *= best / best_then;
    }
    std::stable_sort(passages.begin(), passages.end(),
                     [](const Passage& a, const Passage& b) { return a.score > b.score; });
}

std::vector<Passage> diverse(std::vector<Passage> passages, size_t count, size_t per_document) {
    index::Analyzer analyzer;
    std::vector<Passage> chosen, more;
    std::vector<std::vector<std::string>> terms;  // of the chosen
    std::map<std::string, size_t> of_document;
    for (Passage& passage : passages) {
        if (chosen.size() == count) break;
        std::vector<std::string> own = analyzer.terms(passage.point.text);
        std::sort(own.begin(), own.end());
        own.erase(std::unique(own.begin(), own.end()), own.end());
        const bool known = std::any_of(terms.begin(), terms.end(), [&](const auto& other) {
            std::vector<std::string> common;
            std::set_intersection(own.begin(), own.end(), other.begin(), other.end(),
                                  std::back_inserter(common));
            const size_t all = own.size() + other.size() - common.size();
            // The same with another number is no duplicate: sources may disagree.
            const auto figure = [](const std::string& term) {
                return std::any_of(term.begin(), term.end(),
                                   [](char c) { return c >= '0' && c <= '9'; });
            };
            const auto figures = std::count_if(common.begin(), common.end(), figure);
            return all > 0 && figures == std::count_if(own.begin(), own.end(), figure) &&
                   figures == std::count_if(other.begin(), other.end(), figure) &&
                   static_cast<double>(common.size()) >= kSharedTermsMax * static_cast<double>(all);
        });
        if (known) continue;
        if (of_document[passage.point.document_id]++ >= per_document) {
            more.push_back(std::move(passage));
            continue;
        }
        terms.push_back(std::move(own));
        chosen.push_back(std::move(passage));
    }
    for (Passage& passage : more) {
        if (chosen.size() == count) break;
        chosen.push_back(std::move(passage));
    }
    return chosen;
}

Result<Found> find_passages(const ReleaseView& view, const embed::Encoder& encoder,
                            SearchRequest request, const AnswerOptions& options,
                            const Deadline& deadline) {
    Found found;
    found.constraints = apply_constraints(view, request);
    const size_t top_k = request.top_k;
    if (request.half_life_days > 0) request.top_k = top_k * kCandidatesPerPassage;
    found.passages = PX_TRY(search(view, encoder, request, options, deadline));
    prefer_recent(found.passages, request.half_life_days);
    if (found.passages.size() > top_k) found.passages.resize(top_k);
    return found;
}

namespace {

Result<Draft> draft_once(const ReleaseView& view, const embed::Encoder& encoder,
                         const SearchRequest& request, const AnswerOptions& options,
                         const Deadline& deadline) {
    Draft result;
    SearchRequest narrowed = request;
    result.constraints = apply_constraints(view, narrowed);
    result.question = narrowed.question;
    const Question question =
        PX_TRY(read_question(view, encoder, narrowed.question, EncodeQuestion::Yes, deadline));
    result.passages = PX_TRY(search_passages(
        view, question, narrowed, options.passages * kCandidatesPerPassage, options, deadline));
    prefer_recent(result.passages, narrowed.half_life_days);
    result.passages = diverse(std::move(result.passages), options.passages, options.per_document);
    std::vector<generate::SourcePassage> sources;
    for (const Passage& passage : result.passages) {
        sources.push_back(
            {passage.point.text, passage.score, true, true, context_of(passage.point)});
    }
    PX_TRY(mark_edges(view, result.passages, sources, deadline));
    index::Analyzer analyzer;
    const generate::TextTools tools{
        [&](const std::vector<std::string_view>& texts) -> Result<std::vector<float>> {
            NoProgress progress;
            return encoder.encode(texts, embed::TextKind::Passage, deadline, progress);
        },
        [&](std::string_view text) { return analyzer.terms(text); }, Rarity(view, deadline),
        [](std::string_view sentence) { return chunk::is_instruction(sentence); }};
    generate::ExtractiveOptions extractive;
    extractive.sentences = options.sentences;
    extractive.min_support = options.min_support;
    result.extract = PX_TRY(
        generate::extract(question.text, question.vector, sources, tools, extractive, deadline));
    return result;
}

}  // namespace

Result<Draft> draft(const ReleaseView& view, const embed::Encoder& encoder,
                    const SearchRequest& request, const AnswerOptions& options,
                    const Deadline& deadline) {
    SearchRequest whole = request;
    static const std::vector<std::string> kNobody;
    whole.question =
        rewrite_follow_up(request.history, request.question, view.authors ? *view.authors : kNobody,
                          view.release.published_at);
    Draft first = PX_TRY(draft_once(view, encoder, whole, options, deadline));
    if (!first.extract.sentences.empty()) return first;
    // Nothing within a time the question names in passing: it may be part of what is asked about.
    bool soft = false;
    for (const Constraint& constraint : first.constraints) {
        if (constraint.firm || constraint.op == "latest") continue;
        whole.without.push_back(constraint.text);
        soft = true;
    }
    if (!soft) return first;
    return draft_once(view, encoder, whole, options, deadline);
}

namespace {

constexpr std::string_view kInstructions =
    "You answer questions from numbered passages of documents, and from nothing else. Write at "
    "most five short sentences of plain text, without links or markup. End each sentence with the "
    "number of the passage it rests on, like [2]. Copy numbers, units, names and dates exactly. "
    "When passages disagree, say so with their dates. If the passages do not answer the question, "
    "write exactly: Not in the sources.";

/// The words kInstructions asks for when there is nothing to write.
bool has_no_answer(std::string_view text) {
    constexpr std::string_view kSaid = "not in the sources";
    const size_t begin = text.find_first_not_of(" \t\r\n\"'*");
    if (begin == std::string_view::npos) return false;
    const std::string_view start = text.substr(begin, kSaid.size());
    return std::equal(start.begin(), start.end(), kSaid.begin(), kSaid.end(), [](char a, char b) {
        return (a >= 'A' && a <= 'Z' ? static_cast<char>(a | 0x20) : a) == b;
    });
}

/// The question answered by the writer from the draft's passages, each sentence checked. nullopt:
/// nothing of it holds, and why.
Result<bool> write_answer(const ReleaseView& view, catalog::Catalog& catalog,
                          const embed::Encoder& encoder, const AnswerOptions& options,
                          const Deadline& deadline, Answer& answer) {
    generate::Prompt prompt;
    prompt.instructions = kInstructions;
    prompt.question = answer.question;
    std::vector<std::string_view> texts;
    for (const Passage& passage : answer.passages) {
        const index::Point& point = passage.point;
        std::string heading = point.title;
        if (!point.author.empty()) heading += ", " + point.author;
        if (point.created_at) heading += ", " + citation_date(point.created_at).substr(0, 10);
        prompt.passages.push_back(chunk::visible_text(heading + "\n" + point.text));
        texts.emplace_back(point.text);
    }
    // Time is left for the answer without a model.
    Deadline own = deadline;
    const auto now = std::chrono::steady_clock::now();
    if (own.at > now && own.at - now < std::chrono::hours(24))
        own.at -= std::min<std::chrono::steady_clock::duration>((own.at - now) / 4,
                                                                std::chrono::seconds(5));
    const auto text = options.writer->write(prompt, own);
    if (!text) {
        // A deadline of ours is ours; all else is the model's trouble.
        PX_TRY(deadline.check());
        log::warning("ask.model", {{"error", text.error().to_string()}});
        answer.notice = "the model did not answer";
        return false;
    }
    if (has_no_answer(*text)) {
        answer.notice = "the model found no answer in the passages; these are their own sentences";
        return false;
    }
    const std::vector<WrittenSentence> written = read_written(*text);
    const std::vector<Evidence> evidence = PX_TRY(check_written(
        written, texts,
        [&](const std::vector<std::string_view>& all) -> Result<std::vector<float>> {
            NoProgress progress;
            return encoder.encode(all, embed::TextKind::Passage, deadline, progress);
        },
        encoder.width()));
    const bool any = std::any_of(evidence.begin(), evidence.end(),
                                 [](const Evidence& one) { return one.supported; });
    if (!any) {
        answer.notice = "no sentence of the model's answer was supported by the passages";
        return false;
    }
    std::map<std::pair<size_t, size_t>, int> known;  // the same evidence is one citation
    for (size_t i = 0; i < written.size(); ++i) {
        Sentence sentence{written[i].text, 0, evidence[i].supported};
        if (evidence[i].supported) {
            const auto [entry, is_new] = known.try_emplace({evidence[i].passage, evidence[i].start},
                                                           static_cast<int>(known.size()) + 1);
            sentence.citation = entry->second;
            if (is_new) {
                answer.citations.push_back(
                    PX_TRY(make_citation(view, catalog, answer.passages[evidence[i].passage].point,
                                         evidence[i].start, evidence[i].end, entry->second)));
            }
        }
        answer.sentences.push_back(std::move(sentence));
    }
    answer.generator = options.writer->name();
    return true;
}

}  // namespace

Result<Answer> ask(const ReleaseView& view, catalog::Catalog& catalog,
                   const embed::Encoder& encoder, const SearchRequest& request,
                   const AnswerOptions& options, const Deadline& deadline) {
    const auto started = std::chrono::steady_clock::now();
    Draft found = PX_TRY(draft(view, encoder, request, options, deadline));
    Answer answer;
    answer.release = view.release.id.value;
    answer.question = std::move(found.question);
    answer.constraints = std::move(found.constraints);
    answer.support = found.extract.support;
    answer.passages = std::move(found.passages);
    static const std::vector<std::string> kNobody;
    answer.sql = offer_sql(answer.question, options.tables, view.authors ? *view.authors : kNobody,
                           view.release.published_at);
    bool written = false;
    if (options.writer != nullptr && !found.extract.sentences.empty()) {
        written = PX_TRY(write_answer(view, catalog, encoder, options, deadline, answer));
    }
    for (const generate::ChosenSentence& chosen : found.extract.sentences) {
        if (written) break;
        const index::Point& point = answer.passages[chosen.passage].point;
        const int n = static_cast<int>(answer.citations.size()) + 1;
        answer.citations.push_back(
            PX_TRY(make_citation(view, catalog, point, chosen.start, chosen.end, n)));
        answer.sentences.push_back(
            {generate::display_text(chunk::visible_text(answer.citations.back().quote)), n});
    }
    for (const Sentence& sentence : answer.sentences) {
        if (!answer.answer.empty()) answer.answer += ' ';
        answer.answer += sentence.text;
        answer.answer += sentence.citation > 0 ? fmt::format(" [{}]", sentence.citation)
                                               : std::string(" [not supported]");
    }
    note_figures(answer);
    answer.grounded = !answer.citations.empty();
    if (!answer.grounded) {
        answer.answer = kNotInTheSources;
        answer.sentences = {{answer.answer, 0}};
    }
    answer.elapsed_ms =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - started)
            .count();
    return answer;
}

}  // namespace px::answer
