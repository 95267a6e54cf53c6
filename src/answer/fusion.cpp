#include "answer/fusion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>

namespace px::answer {

namespace {

constexpr size_t kHitsPerDocument = 10;   // passages looked at to see that many documents
constexpr size_t kPassagesMax = 16;       // of a longer document only those near a hit are scored
constexpr size_t kWindow = 3;             // neighbouring passages that make a long one
constexpr size_t kFeedbackDocuments = 5;  // the question is drawn towards their centre
constexpr double kFeedbackPull = 0.5;
constexpr size_t kNeighbours = 5;  // a document gains by the score of those most like it
constexpr double kNeighbourWeight = 0.3;

// Compiled twice, and picked at start. Sanitizers do not know such functions.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define PX_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define PX_WIDE
#endif

/// Sixteen sums side by side, so that the compiler can keep them in registers; their order is the
/// same on every processor.
PX_WIDE float dot(const float* a, const float* b, size_t width) {
    constexpr size_t kLanes = 16;
    std::array<float, kLanes> sums{};
    size_t i = 0;
    for (; i + kLanes <= width; i += kLanes) {
        for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
    }
    float sum = 0;
    for (; i < width; ++i) sum += a[i] * b[i];
    for (const float part : sums) sum += part;
    return sum;
}

PX_WIDE void add(float* sum, const float* vector, size_t width) {
    for (size_t i = 0; i < width; ++i) sum[i] += vector[i];
}

void scale_to_unit(std::vector<float>& vector) {
    const float norm = std::sqrt(dot(vector.data(), vector.data(), vector.size()));
    if (norm > 0) {
        for (float& x : vector) x /= norm;
    }
}

struct Candidate {
    FusedDocument document;
    std::vector<float> centre;    // mean of its passages, unit length
    double document_lexical = 0;  // BM25 of the whole
    double passage_lexical = 0;   // of its best passage
    double dense = 0;             // how near the question is
    double lexical = 0;           // in [0, 1]
};

/// The mean of the cosines of a document's best passage and of its best run of neighbouring
/// passages: a long passage tells what a short one is about. rows[begin_row …]: its vectors.
double nearness(const std::vector<const float*>& rows, size_t begin_row,
                const std::vector<double>& cosines, size_t width) {
    if (cosines.empty()) return 0;
    const auto best =
        static_cast<size_t>(std::max_element(cosines.begin(), cosines.end()) - cosines.begin());
    const size_t first = best >= kWindow - 1 ? best - (kWindow - 1) : 0;
    const size_t last = std::min(cosines.size(), best + kWindow);
    double best_run = -1;
    std::vector<float> sum(width);
    for (size_t begin = first; begin <= best; ++begin) {
        const size_t end = std::min(last, begin + kWindow);
        if (end - begin < kWindow && begin > first) break;
        std::fill(sum.begin(), sum.end(), 0.0F);
        double cosine = 0;
        for (size_t i = begin; i < end; ++i) {
            cosine += cosines[i];
            add(sum.data(), rows[begin_row + i], width);
        }
        const double norm = std::sqrt(static_cast<double>(dot(sum.data(), sum.data(), width)));
        if (norm > 0) best_run = std::max(best_run, cosine / norm);
    }
    return (cosines[best] + best_run) / 2;
}

/// The passages of a document that are scored: all, or of a very long one those beside a hit.
std::vector<uint64_t> passages_of(const index::CollectionView& points, const std::string& id,
                                  const std::unordered_map<uint64_t, double>& dense_hits,
                                  const std::unordered_map<uint64_t, double>& lexical_hits) {
    std::vector<uint64_t> handles = points.points_of(id);
    if (handles.size() <= kPassagesMax) return handles;
    std::vector<bool> keep(handles.size(), false);
    for (size_t i = 0; i < handles.size(); ++i) {
        if (!dense_hits.contains(handles[i]) && !lexical_hits.contains(handles[i])) continue;
        const size_t end = std::min(handles.size(), i + kWindow);
        for (size_t k = i >= kWindow - 1 ? i - (kWindow - 1) : 0; k < end; ++k) keep[k] = true;
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

/// Places of the candidates, best first; ties by id.
std::vector<size_t> ranking(const std::vector<Candidate>& candidates) {
    std::vector<size_t> order(candidates.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        const FusedDocument& left = candidates[a].document;
        const FusedDocument& right = candidates[b].document;
        return left.score != right.score ? left.score > right.score : left.id < right.id;
    });
    return order;
}

/// The question drawn towards the centre of the best documents.
std::vector<float> drawn(const std::vector<float>& question,
                         const std::vector<Candidate>& candidates,
                         const std::vector<size_t>& order) {
    std::vector<float> vector = question;
    const size_t count = std::min(kFeedbackDocuments, order.size());
    double total = 0;
    for (size_t i = 0; i < count; ++i) total += candidates[order[i]].document.score;
    if (total <= 0) return vector;
    for (size_t i = 0; i < count; ++i) {
        const Candidate& candidate = candidates[order[i]];
        const auto share = static_cast<float>(kFeedbackPull * candidate.document.score / total);
        for (size_t d = 0; d < vector.size(); ++d) vector[d] += share * candidate.centre[d];
    }
    scale_to_unit(vector);
    return vector;
}

/// Adds to each of the first documents of order the mean score of those most like it.
void add_neighbours(std::vector<Candidate>& candidates, const std::vector<size_t>& order,
                    size_t width) {
    std::vector<double> gains(order.size(), 0);
    std::vector<std::pair<float, size_t>> others;
    for (size_t i = 0; i < order.size(); ++i) {
        others.clear();
        const std::vector<float>& own = candidates[order[i]].centre;
        for (size_t k = 0; k < order.size(); ++k) {
            if (k == i) continue;
            others.emplace_back(-dot(own.data(), candidates[order[k]].centre.data(), width), k);
        }
        const size_t count = std::min(kNeighbours, others.size());
        if (count == 0) continue;
        std::partial_sort(others.begin(), others.begin() + static_cast<std::ptrdiff_t>(count),
                          others.end());
        for (size_t n = 0; n < count; ++n)
            gains[i] += candidates[order[others[n].second]].document.score;
        gains[i] /= static_cast<double>(count);
    }
    for (size_t i = 0; i < order.size(); ++i)
        candidates[order[i]].document.score += kNeighbourWeight * gains[i];
}

}  // namespace

Result<std::vector<FusedDocument>> rank_documents(const index::CollectionView& points,
                                                  const std::string& question,
                                                  const std::vector<float>& vector,
                                                  const index::Filter& filter,
                                                  const FusionOptions& options,
                                                  const Deadline& deadline) {
    const size_t hits = options.documents * kHitsPerDocument;
    const size_t width = points.width();
    const double dense_weight = std::clamp(options.dense_weight, 0.0, 1.0);
    const auto [near, worded, whole] =
        PX_TRY(points.search_hybrid(vector, question, hits, filter, deadline));

    std::vector<Candidate> candidates;
    std::unordered_map<std::string, size_t> places;
    const auto place_of = [&](std::string id) {
        const auto [entry, is_new] = places.emplace(std::move(id), candidates.size());
        if (is_new) candidates.emplace_back().document.id = entry->first;
        return entry->second;
    };
    std::unordered_map<uint64_t, double> dense_hits;
    for (const index::ScoredPoint& hit : near) {
        dense_hits.emplace(hit.point, hit.score);
        if (candidates.size() < options.documents) place_of(points.document_id(hit.point));
    }
    for (size_t i = 0; i < whole.size(); ++i) {
        // Beyond the first ones only those that came by their meaning gain by their words.
        const auto known = places.find(whole[i].document_id);
        if (known == places.end() && i >= options.documents) continue;
        const size_t place = known == places.end() ? place_of(whole[i].document_id) : known->second;
        candidates[place].document_lexical = whole[i].score;
    }
    std::unordered_map<uint64_t, double> lexical_hits;
    double lexical_max = 0;
    for (const index::ScoredPoint& hit : worded) {
        lexical_hits.emplace(hit.point, hit.score);
        lexical_max = std::max(lexical_max, static_cast<double>(hit.score));
        const auto known = places.find(points.document_id(hit.point));
        if (known == places.end()) continue;
        double& best = candidates[known->second].passage_lexical;
        best = std::max(best, static_cast<double>(hit.score));
    }

    // The vectors of all passages at once: over a network that is one request.
    std::vector<uint64_t> handles;
    std::vector<size_t> first_rows;
    for (const Candidate& candidate : candidates) {
        PX_TRY(deadline.check());
        first_rows.push_back(handles.size());
        const std::vector<uint64_t> own =
            passages_of(points, candidate.document.id, dense_hits, lexical_hits);
        handles.insert(handles.end(), own.begin(), own.end());
    }
    first_rows.push_back(handles.size());
    const index::VectorRows vectors = PX_TRY(points.vectors(handles, deadline));

    double cosine_max = 0;
    std::vector<double> cosines;
    for (size_t c = 0; c < candidates.size(); ++c) {
        PX_TRY(deadline.check());
        Candidate& candidate = candidates[c];
        const size_t first = first_rows[c];
        const size_t count = first_rows[c + 1] - first;
        candidate.centre.assign(width, 0.0F);
        candidate.document.passages.reserve(count);
        cosines.assign(count, 0);
        for (size_t i = 0; i < count; ++i) {
            const float* own = vectors.rows[first + i];
            add(candidate.centre.data(), own, width);
            cosines[i] = dot(own, vector.data(), width);
            cosine_max = std::max(cosine_max, cosines[i]);
            const uint64_t handle = handles[first + i];
            const auto lexical = lexical_hits.find(handle);
            candidate.document.passages.push_back(
                {handle, 0, cosines[i], lexical == lexical_hits.end() ? 0 : lexical->second});
        }
        scale_to_unit(candidate.centre);
        candidate.dense = nearness(vectors.rows, first, cosines, width);
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
    const std::vector<float> second = drawn(vector, candidates, ranking(candidates));
    for (size_t c = 0; c < candidates.size(); ++c) {
        PX_TRY(deadline.check());
        cosines.assign(first_rows[c + 1] - first_rows[c], 0);
        for (size_t i = 0; i < cosines.size(); ++i)
            cosines[i] = dot(vectors.rows[first_rows[c] + i], second.data(), width);
        candidates[c].dense = nearness(vectors.rows, first_rows[c], cosines, width);
    }
    const auto by_second = relative(candidates, &Candidate::dense);
    for (size_t i = 0; i < candidates.size(); ++i) {
        candidates[i].document.score = dense_weight * (by_meaning[i] + by_second[i]) / 2 +
                                       (1 - dense_weight) * candidates[i].lexical;
    }
    std::vector<size_t> order = ranking(candidates);
    if (order.size() > options.documents) order.resize(options.documents);
    add_neighbours(candidates, order, width);

    order = ranking(candidates);
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
