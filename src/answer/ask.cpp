#include <algorithm>
#include <chrono>

#include "answer/answer.h"
#include "answer/citation.h"
#include "answer/retrieval.h"
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

}  // namespace

Result<Draft> draft(const ReleaseView& view, const embed::Encoder& encoder,
                    const SearchRequest& request, const AnswerOptions& options,
                    const Deadline& deadline) {
    const Question question =
        PX_TRY(read_question(view, encoder, request.question, EncodeQuestion::Yes, deadline));
    Draft result;
    result.passages =
        PX_TRY(search_passages(view, question, request, options.passages, options, deadline));
    std::vector<generate::SourcePassage> sources;
    for (const Passage& passage : result.passages) {
        sources.push_back({passage.point.text, passage.score, true, true});
    }
    PX_TRY(mark_edges(view, result.passages, sources, deadline));
    index::Analyzer analyzer;
    const generate::TextTools tools{
        [&](const std::vector<std::string_view>& texts) -> Result<std::vector<float>> {
            NoProgress progress;
            return encoder.encode(texts, embed::TextKind::Passage, deadline, progress);
        },
        [&](std::string_view text) { return analyzer.terms(text); }};
    generate::ExtractiveOptions extractive;
    extractive.sentences = options.sentences;
    extractive.min_support = options.min_support;
    result.extract = PX_TRY(
        generate::extract(question.text, question.vector, sources, tools, extractive, deadline));
    return result;
}

Result<Answer> ask(const ReleaseView& view, catalog::Catalog& catalog,
                   const embed::Encoder& encoder, const SearchRequest& request,
                   const AnswerOptions& options, const Deadline& deadline) {
    const auto started = std::chrono::steady_clock::now();
    Draft found = PX_TRY(draft(view, encoder, request, options, deadline));
    Answer answer;
    answer.release = view.release.id.value;
    answer.passages = std::move(found.passages);
    for (const generate::ChosenSentence& chosen : found.extract.sentences) {
        const index::Point& point = answer.passages[chosen.passage].point;
        const int n = static_cast<int>(answer.citations.size()) + 1;
        answer.citations.push_back(
            PX_TRY(make_citation(view, catalog, point, chosen.start, chosen.end, n)));
        answer.sentences.push_back({generate::display_text(answer.citations.back().quote), n});
        if (!answer.answer.empty()) answer.answer += ' ';
        answer.answer += answer.sentences.back().text;
        answer.answer += " [" + std::to_string(n) + "]";
    }
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
