#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "answer/answer.h"
#include "answer/citation.h"
#include "answer/fusion.h"
#include "answer/retrieval.h"
#include "index/analysis.h"

namespace px::answer {

namespace {

constexpr double kOverlapMax =
    0.5;  // of the shorter of two passages: more is the same passage cut twice
constexpr size_t kPassagesPerCandidate = 4;  // of a hybrid search
constexpr double kSharedTermsMax = 0.9;  // of the terms of two passages of one document (Jaccard)

bool is_blank(std::string_view text) {
    return text.find_first_not_of(" \t\r\n\f\v") == std::string_view::npos;
}

/// Raw scores to [0, 1]: the best is 1, the worst 0; all equal: all 1.
class MinMax {
  public:
    explicit MinMax(const std::vector<index::ScoredPoint>& found) {
        if (found.empty()) return;
        high_ = found.front().score;
        low_ = found.back().score;
    }
    double operator()(float score) const {
        return high_ > low_ ? (score - low_) / (high_ - low_) : 1.0;
    }

  private:
    double high_ = 0, low_ = 0;
};

FusionOptions fusion_options(const AnswerOptions& options, size_t top_k) {
    return {std::max(options.candidates, top_k), options.dense_weight};
}

/// The passages of a request, best first.
Result<std::vector<FusedPassage>> rank_passages(const ReleaseView& view, const Question& question,
                                                const SearchRequest& request, size_t candidates,
                                                const FusionOptions& options,
                                                const Deadline& deadline) {
    std::vector<FusedPassage> ranked;
    if (request.mode == SearchRequest::Mode::Hybrid) {
        auto documents = PX_TRY(rank_documents(*view.points, question.text, question.vector,
                                               request.filter, options, deadline));
        for (const FusedDocument& document : documents) {
            ranked.insert(ranked.end(), document.passages.begin(), document.passages.end());
        }
        // Sorting is cheap once only so many are left as a request can want, near-duplicates
        // included.
        const size_t wanted = candidates * kPassagesPerCandidate;
        if (ranked.size() > wanted) {
            std::vector<double> scores;
            scores.reserve(ranked.size());
            for (const FusedPassage& passage : ranked) scores.push_back(passage.score);
            const auto last = scores.begin() + static_cast<std::ptrdiff_t>(wanted - 1);
            std::nth_element(scores.begin(), last, scores.end(), std::greater<>());
            std::erase_if(ranked, [least = *last](const FusedPassage& passage) {
                return passage.score < least;
            });
        }
    } else if (request.mode == SearchRequest::Mode::Dense) {
        const auto found = PX_TRY(
            view.points->search_dense(question.vector, candidates, request.filter, deadline));
        const MinMax normal(found);
        for (const index::ScoredPoint& hit : found)
            ranked.push_back({hit.point, normal(hit.score), hit.score, 0});
    } else {
        const auto found = PX_TRY(
            view.points->search_lexical(question.text, candidates, request.filter, deadline));
        const MinMax normal(found);
        for (const index::ScoredPoint& hit : found)
            ranked.push_back({hit.point, normal(hit.score), 0, hit.score});
    }
    std::stable_sort(
        ranked.begin(), ranked.end(),
        [](const FusedPassage& a, const FusedPassage& b) { return a.score > b.score; });
    return ranked;
}

/// Terms of a passage, sorted and distinct, made when first needed.
class Likeness {
  public:
    bool same(const index::Point& a, const index::Point& b) {
        if (a.document_id != b.document_id) return false;
        const int64_t shared =
            std::min(a.span.end, b.span.end) - std::max(a.span.start, b.span.start);
        const int64_t shorter = std::min(a.span.end - a.span.start, b.span.end - b.span.start);
        if (shared > 0 && static_cast<double>(shared) > kOverlapMax * static_cast<double>(shorter))
            return true;
        if (a.text == b.text) return true;
        const size_t small = std::min(a.text.size(), b.text.size());
        const size_t large = std::max(a.text.size(), b.text.size());
        if (static_cast<double>(small) < kSharedTermsMax * static_cast<double>(large) / 2)
            return false;
        const std::vector<std::string>& terms_a = terms_of(a);
        const std::vector<std::string>& terms_b = terms_of(b);
        size_t common = 0;
        for (size_t i = 0, j = 0; i < terms_a.size() && j < terms_b.size();) {
            const int order = terms_a[i].compare(terms_b[j]);
            if (order == 0) ++common;
            if (order <= 0) ++i;
            if (order >= 0) ++j;
        }
        const size_t all = terms_a.size() + terms_b.size() - common;
        return all > 0 && static_cast<double>(common) >= kSharedTermsMax * static_cast<double>(all);
    }

  private:
    const std::vector<std::string>& terms_of(const index::Point& point) {
        const auto [entry, is_new] = terms_.try_emplace(point.id.value);
        if (is_new) {
            std::vector<std::string> terms = analyzer_.terms(point.text);
            std::sort(terms.begin(), terms.end());
            terms.erase(std::unique(terms.begin(), terms.end()), terms.end());
            entry->second = std::move(terms);
        }
        return entry->second;
    }

    index::Analyzer analyzer_;
    std::unordered_map<std::string, std::vector<std::string>> terms_;
};

}  // namespace

Result<Question> read_question(const ReleaseView& view, const embed::Encoder& encoder,
                               const std::string& text, EncodeQuestion encode,
                               const Deadline& deadline) {
    if (is_blank(text)) {
        return fail(ErrorCode::InvalidArgument, "the question is empty",
                    "Ask something, for example \"What is the financial outlook?\".");
    }
    Question question;
    question.text = text;
    if (encode == EncodeQuestion::No || view.points->point_count() == 0) return question;
    NoProgress progress;
    question.vector =
        PX_TRY(encoder.encode({question.text}, embed::TextKind::Query, deadline, progress));
    return question;
}

Result<std::vector<Passage>> search_passages(const ReleaseView& view, const Question& question,
                                             const SearchRequest& request, size_t top_k,
                                             const AnswerOptions& options,
                                             const Deadline& deadline) {
    std::vector<Passage> passages;
    if (top_k == 0) return passages;
    const size_t candidates = std::max(options.candidates, top_k);
    const std::vector<FusedPassage> fused = PX_TRY(rank_passages(
        view, question, request, candidates, fusion_options(options, top_k), deadline));
    // Equal scores come in the order of chunk ids; points are read a few at a time, no further than
    // needed.
    Likeness likeness;
    std::vector<index::Point> points;  // of the first ones of fused
    const auto read = [&](size_t count) -> Result<void> {
        if (count <= points.size()) return {};
        count = std::min(fused.size(), std::max(count, points.size() + top_k));
        std::vector<uint64_t> handles;
        for (size_t i = points.size(); i < count; ++i) handles.push_back(fused[i].point);
        for (index::Point& point : PX_TRY(view.points->points(handles, deadline)))
            points.push_back(std::move(point));
        return {};
    };
    for (size_t begin = 0; begin < fused.size() && passages.size() < top_k;) {
        size_t end = begin;
        while (end < fused.size() && fused[end].score == fused[begin].score) ++end;
        PX_TRY(read(end));
        std::vector<Passage> equal;
        for (size_t i = begin; i < end; ++i) {
            equal.push_back(
                {std::move(points[i]), fused[i].score, fused[i].dense, fused[i].lexical});
        }
        std::sort(equal.begin(), equal.end(),
                  [](const Passage& a, const Passage& b) { return a.point.id < b.point.id; });
        for (Passage& passage : equal) {
            if (passages.size() == top_k) break;
            const bool known = std::any_of(
                passages.begin(), passages.end(),
                [&](const Passage& better) { return likeness.same(better.point, passage.point); });
            if (!known) passages.push_back(std::move(passage));
        }
        begin = end;
    }
    return passages;
}

Result<std::vector<Passage>> search(const ReleaseView& view, const embed::Encoder& encoder,
                                    const SearchRequest& request, const AnswerOptions& options,
                                    const Deadline& deadline) {
    const auto encode =
        request.mode == SearchRequest::Mode::Lexical ? EncodeQuestion::No : EncodeQuestion::Yes;
    const Question question =
        PX_TRY(read_question(view, encoder, request.question, encode, deadline));
    return search_passages(view, question, request, request.top_k, options, deadline);
}

Result<std::vector<std::pair<std::string, double>>> search_documents(const ReleaseView& view,
                                                                     const embed::Encoder& encoder,
                                                                     const SearchRequest& request,
                                                                     const AnswerOptions& options,
                                                                     const Deadline& deadline) {
    const auto encode =
        request.mode == SearchRequest::Mode::Lexical ? EncodeQuestion::No : EncodeQuestion::Yes;
    const Question question =
        PX_TRY(read_question(view, encoder, request.question, encode, deadline));
    std::vector<std::pair<std::string, double>> documents;
    if (request.top_k == 0) return documents;
    const FusionOptions fusion = fusion_options(options, request.top_k);
    if (request.mode == SearchRequest::Mode::Hybrid) {
        const auto ranked = PX_TRY(rank_documents(*view.points, question.text, question.vector,
                                                  request.filter, fusion, deadline));
        for (const FusedDocument& document : ranked) {
            if (documents.size() == request.top_k) break;
            documents.emplace_back(raw_document_id(view.points->document_name(document.document)),
                                   document.score);
        }
        return documents;
    }
    // A document has many chunks: look at enough of them to see top_k documents.
    constexpr size_t kChunksPerDocument = 20;
    const size_t candidates = std::max(options.candidates, request.top_k * kChunksPerDocument);
    std::unordered_map<std::string, double> best;
    const std::vector<FusedPassage> ranked =
        PX_TRY(rank_passages(view, question, request, candidates, fusion, deadline));
    for (const FusedPassage& hit : ranked) {
        const auto [entry, is_new] = best.emplace(view.points->document_id(hit.point), hit.score);
        if (!is_new) entry->second = std::max(entry->second, hit.score);
    }
    documents.assign(best.begin(), best.end());
    std::sort(documents.begin(), documents.end(), [](const auto& a, const auto& b) {
        return a.second != b.second ? a.second > b.second : a.first < b.first;
    });
    if (documents.size() > request.top_k) documents.resize(request.top_k);
    for (auto& [id, score] : documents) id = raw_document_id(id);
    return documents;
}

}  // namespace px::answer
