#include "answer/fusion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>

namespace px::answer {

namespace {

void scale_to_unit(std::vector<float>& vector) {
    float square = 0;
    for (const float x : vector) square += x * x;
    const float norm = std::sqrt(square);
    if (norm > 0) {
        for (float& x : vector) x /= norm;
    }
}

constexpr size_t kHitsPerDocument = 2;    // passages looked at to see that many documents
constexpr size_t kPassagesMax = 16;       // of a longer document only those near a hit are scored
constexpr size_t kWordedMax = 5;          // … or beside one of so many of its best by words
constexpr size_t kWindow = 3;             // neighbouring passages that make a long one
constexpr size_t kFeedbackDocuments = 5;  // the question is drawn towards their centre
constexpr double kFeedbackPull = 0.5;
constexpr size_t kNeighbours = 5;  // a document gains by the score of those most like it
constexpr double kNeighbourWeight = 0.3;

struct Candidate {
    FusedDocument document;
    std::vector<uint64_t> near;     // its passages that dense search found
    size_t first = 0;               // of its passages among the vectors
    std::vector<double> run_norms;  // of the sums of kWindow passages from each on
    double document_lexical = 0;    // BM25 of the whole
    double passage_lexical = 0;     // of its best passage
    double dense = 0;               // how near the question is
    double lexical = 0;             // in [0, 1]
};

/// The norm of the sum of neighbouring passages: vectors are of unit length.
double run_norm(const index::PassageVectors& vectors, size_t begin, size_t end) {
    double square = static_cast<double>(end - begin);
    for (size_t i = begin; i < end; ++i) {
        for (size_t k = i + 1; k < end; ++k) square += 2 * static_cast<double>(vectors.dot(i, k));
    }
    return std::sqrt(std::max(0.0, square));
}

/// The mean of the cosines of a document's best passage and of its best run of neighbouring
/// passages: a long passage tells what a short one is about.
double nearness(const index::PassageVectors& vectors, Candidate& candidate,
                const std::vector<float>& cosines) {
    const size_t count = candidate.document.passages.size();
    if (count == 0) return 0;
    const auto own = cosines.begin() + static_cast<std::ptrdiff_t>(candidate.first);
    const auto best =
        static_cast<size_t>(std::max_element(own, own + static_cast<std::ptrdiff_t>(count)) - own);
    const size_t first = best >= kWindow - 1 ? best - (kWindow - 1) : 0;
    const size_t last = std::min(count, best + kWindow);
    candidate.run_norms.resize(count, -1);
    double best_run = -1;
    for (size_t begin = first; begin <= best; ++begin) {
        const size_t end = std::min(last, begin + kWindow);
        if (end - begin < kWindow && begin > first) break;
        double cosine = 0;
        for (size_t i = begin; i < end; ++i) cosine += own[static_cast<std::ptrdiff_t>(i)];
        double& norm = candidate.run_norms[begin];
        if (norm < 0) norm = run_norm(vectors, candidate.first + begin, candidate.first + end);
        if (norm > 0) best_run = std::max(best_run, cosine / norm);
    }
    return (own[static_cast<std::ptrdiff_t>(best)] + best_run) / 2;
}

/// The passages of a document that are scored: all, or of a very long one those beside a near
/// passage or beside one of its best by words.
std::vector<uint64_t> passages_of(const index::CollectionView& points,
                                  const index::HybridHits& hits, const std::vector<uint64_t>& near,
                                  uint32_t document) {
    std::vector<uint64_t> handles = points.points_in(document);
    if (handles.size() <= kPassagesMax) return handles;
    std::vector<std::pair<float, size_t>> worded;  // its best ones by words, best first
    worded.reserve(kWordedMax + 1);
    for (size_t i = 0; i < handles.size(); ++i) {
        const float score = hits.lexical(handles[i]);
        if (score <= 0 || (worded.size() == kWordedMax && score <= worded.back().first)) continue;
        size_t at = worded.size();
        while (at > 0 && worded[at - 1].first < score) --at;
        worded.insert(worded.begin() + static_cast<std::ptrdiff_t>(at), {score, i});
        if (worded.size() > kWordedMax) worded.pop_back();
    }
    std::vector<bool> keep(handles.size(), false);
    const auto keep_beside = [&](size_t i) {
        const size_t end = std::min(handles.size(), i + kWindow);
        for (size_t k = i >= kWindow - 1 ? i - (kWindow - 1) : 0; k < end; ++k) keep[k] = true;
    };
    for (const auto& [score, i] : worded) keep_beside(i);
    for (const uint64_t handle : near) {
        const auto at = std::find(handles.begin(), handles.end(), handle);
        if (at != handles.end()) keep_beside(static_cast<size_t>(at - handles.begin()));
    }
    std::vector<uint64_t> kept;
    for (size_t i = 0; i < handles.size(); ++i) {
        if (keep[i]) kept.push_back(handles[i]);
    }
    if (!kept.empty()) return kept;
    handles.resize(kPassagesMax);
    return handles;
}

/// Values divided by the largest; none below 0.
std::vector<double> relative(const std::vector<Candidate>& candidates, double Candidate::*value) {
    double largest = 0;
    for (const Candidate& candidate : candidates) largest = std::max(largest, candidate.*value);
    std::vector<double> result;
    result.reserve(candidates.size());
    for (const Candidate& candidate : candidates)
        result.push_back(largest > 0 ? std::max(0.0, candidate.*value / largest) : 0.0);
    return result;
}

/// Places of the candidates, best first; ties by document id.
std::vector<size_t> ranking(const index::CollectionView& points,
                            const std::vector<Candidate>& candidates) {
    std::vector<size_t> order(candidates.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        const FusedDocument& left = candidates[a].document;
        const FusedDocument& right = candidates[b].document;
        return left.score != right.score
                   ? left.score > right.score
                   : points.document_name(left.document) < points.document_name(right.document);
    });
    return order;
}

/// The mean of a document's passages, of unit length.
std::vector<float> centre_of(const index::PassageVectors& vectors, const Candidate& candidate,
                             size_t width) {
    std::vector<float> centre(width, 0.0F);
    for (size_t i = 0; i < candidate.document.passages.size(); ++i)
        vectors.add(candidate.first + i, centre.data());
    scale_to_unit(centre);
    return centre;
}

/// The question drawn towards the centre of the best documents.
std::vector<float> drawn(const std::vector<float>& question, const index::PassageVectors& vectors,
                         const std::vector<Candidate>& candidates,
                         const std::vector<size_t>& order) {
    std::vector<float> vector = question;
    const size_t count = std::min(kFeedbackDocuments, order.size());
    double total = 0;
    for (size_t i = 0; i < count; ++i) total += candidates[order[i]].document.score;
    if (total <= 0) return vector;
    for (size_t i = 0; i < count; ++i) {
        const Candidate& candidate = candidates[order[i]];
        const std::vector<float> centre = centre_of(vectors, candidate, vector.size());
        const auto share = static_cast<float>(kFeedbackPull * candidate.document.score / total);
        for (size_t d = 0; d < vector.size(); ++d) vector[d] += share * centre[d];
    }
    scale_to_unit(vector);
    return vector;
}

/// Adds to each of the first documents of order the mean score of those most like it.
void add_neighbours(const index::PassageVectors& vectors, std::vector<Candidate>& candidates,
                    const std::vector<size_t>& order, size_t width) {
    const size_t n = order.size();
    std::vector<std::vector<float>> centres;
    centres.reserve(n);
    for (const size_t place : order)
        centres.push_back(centre_of(vectors, candidates[place], width));
    const std::vector<float> likeness = vectors.products(centres);
    std::vector<double> gains(n, 0);
    std::vector<std::pair<float, size_t>> others;
    for (size_t i = 0; i < n; ++i) {
        others.clear();
        for (size_t k = 0; k < n; ++k) {
            if (k != i) others.emplace_back(-likeness[i * n + k], k);
        }
        const size_t count = std::min(kNeighbours, others.size());
        if (count == 0) continue;
        std::partial_sort(others.begin(), others.begin() + static_cast<std::ptrdiff_t>(count),
                          others.end());
        for (size_t m = 0; m < count; ++m)
            gains[i] += candidates[order[others[m].second]].document.score;
        gains[i] /= static_cast<double>(count);
    }
    for (size_t i = 0; i < n; ++i)
        candidates[order[i]].document.score += kNeighbourWeight * gains[i];
}

}  // namespace

Result<std::vector<FusedDocument>> rank_documents(const index::CollectionView& points,
                                                  const std::string& question,
                                                  const std::vector<float>& vector,
                                                  const index::Filter& filter,
                                                  const FusionOptions& options,
                                                  const Deadline& deadline) {
    const size_t width = points.width();
    const double dense_weight = std::clamp(options.dense_weight, 0.0, 1.0);
    const index::HybridHits hits = PX_TRY(points.search_hybrid(
        vector, question, {options.documents * kHitsPerDocument, options.documents}, filter,
        deadline, options.accuracy));

    std::vector<Candidate> candidates;
    std::unordered_map<uint32_t, size_t> places;
    const auto add = [&](uint32_t document) {
        if (places.emplace(document, candidates.size()).second)
            candidates.emplace_back().document.document = document;
    };
    for (const index::ScoredPoint& hit : hits.dense) {
        if (candidates.size() < options.documents) add(points.document_of(hit.point));
    }
    for (const index::RankedDocument& document : hits.documents) add(document.document);
    for (const index::ScoredPoint& hit : hits.dense) {
        const auto known = places.find(points.document_of(hit.point));
        if (known != places.end()) candidates[known->second].near.push_back(hit.point);
    }

    // The vectors of all passages at once: over a network that is one request.
    std::vector<uint64_t> handles;
    double lexical_max = 0;
    for (Candidate& candidate : candidates) {
        candidate.first = handles.size();
        candidate.document_lexical =
            static_cast<double>(hits.document_scores[candidate.document.document]);
        for (const uint64_t handle :
             passages_of(points, hits, candidate.near, candidate.document.document)) {
            const double lexical = static_cast<double>(hits.lexical(handle));
            candidate.passage_lexical = std::max(candidate.passage_lexical, lexical);
            candidate.document.passages.push_back({handle, 0, 0, lexical});
            handles.push_back(handle);
        }
        lexical_max = std::max(lexical_max, candidate.passage_lexical);
    }
    PX_TRY(deadline.check());
    const auto vectors = PX_TRY(points.passage_vectors(handles, deadline));
    std::vector<float> cosines(handles.size());
    vectors->dots(vector, cosines.data());
    double cosine_max = 0;
    for (Candidate& candidate : candidates) {
        for (size_t i = 0; i < candidate.document.passages.size(); ++i) {
            FusedPassage& passage = candidate.document.passages[i];
            passage.dense = static_cast<double>(cosines[candidate.first + i]);
            cosine_max = std::max(cosine_max, passage.dense);
        }
        candidate.dense = nearness(*vectors, candidate, cosines);
    }

    const auto by_document = relative(candidates, &Candidate::document_lexical);
    const auto by_passage = relative(candidates, &Candidate::passage_lexical);
    const auto by_meaning = relative(candidates, &Candidate::dense);
    for (size_t i = 0; i < candidates.size(); ++i) {
        candidates[i].lexical = (by_document[i] + by_passage[i]) / 2;
        candidates[i].document.score =
            dense_weight * by_meaning[i] + (1 - dense_weight) * candidates[i].lexical;
    }

    // A second look with a question that has seen the best documents.
    PX_TRY(deadline.check());
    vectors->dots(drawn(vector, *vectors, candidates, ranking(points, candidates)), cosines.data());
    for (Candidate& candidate : candidates)
        candidate.dense = nearness(*vectors, candidate, cosines);
    const auto by_second = relative(candidates, &Candidate::dense);
    for (size_t i = 0; i < candidates.size(); ++i) {
        candidates[i].document.score = dense_weight * (by_meaning[i] + by_second[i]) / 2 +
                                       (1 - dense_weight) * candidates[i].lexical;
    }
    std::vector<size_t> order = ranking(points, candidates);
    if (order.size() > options.documents) order.resize(options.documents);
    PX_TRY(deadline.check());
    add_neighbours(*vectors, candidates, order, width);

    order = ranking(points, candidates);
    const double largest = order.empty() ? 0 : candidates[order.front()].document.score;
    std::vector<FusedDocument> ranked;
    ranked.reserve(order.size());
    for (const size_t place : order) {
        FusedDocument& document = candidates[place].document;
        document.score = largest > 0 ? document.score / largest : 1;
        double best = 0;
        for (FusedPassage& passage : document.passages) {
            passage.score =
                (cosine_max > 0 ? dense_weight * std::max(0.0, passage.dense) / cosine_max : 0) +
                (lexical_max > 0 ? (1 - dense_weight) * passage.lexical / lexical_max : 0);
            best = std::max(best, passage.score);
        }
        for (FusedPassage& passage : document.passages)
            passage.score = document.score * (best > 0 ? passage.score / best : 1);
        ranked.push_back(std::move(document));
    }
    return ranked;
}

}  // namespace px::answer
