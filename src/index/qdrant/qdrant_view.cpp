#include "index/qdrant/qdrant_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "base/parallel.h"
#include "index/ranking.h"

namespace px::index::qdrant {

namespace {

constexpr size_t kRowsPerCheck = 65536;
// Asked for beyond top_k, so that points of equal score at the end can be put in order.
constexpr size_t kBeyond = 32;

Error unknown_point(const QdrantClient& client) {
    return fail(ErrorCode::Corrupt,
                fmt::format("{} shows a point its directory does not list", client.describe()),
                "Nobody but px may write to the collection: restore it from a snapshot, or rebuild "
                "the index from the lake.");
}

std::string pair_key(const std::string& first, const std::string& second) {
    return first + '\0' + second;
}

template <class Item, class Better>
void keep_best(std::vector<Item>& items, size_t top_k, Better&& better) {
    const size_t k = std::min(top_k, items.size());
    std::partial_sort(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(k), items.end(),
                      better);
    items.resize(k);
}

}  // namespace

QdrantView::QdrantView(ManifestId manifest) : id_(std::move(manifest)) {
    auto empty = std::make_shared<Directory>();
    empty->finish();
    directory_ = std::move(empty);
}

QdrantView::QdrantView(std::shared_ptr<QdrantClient> client, Manifest manifest,
                       std::shared_ptr<const Directory> directory)
    : client_(std::move(client)),
      manifest_(std::move(manifest)),
      id_{manifest_.id},
      directory_(std::move(directory)),
      shown_rows_(directory_->rows().size()) {}

Result<std::shared_ptr<const CollectionView>> QdrantView::narrowed(const Audience& audience) const {
    auto directory = std::make_shared<const Directory>(directory_->of_documents(audience.admits));
    if (!client_) return std::shared_ptr<const CollectionView>(std::make_shared<QdrantView>(id_));
    auto view = std::make_shared<QdrantView>(client_, manifest_, std::move(directory));
    view->groups_ = audience.groups;
    view->open_sources_ = audience.open_sources;
    view->shown_rows_ = shown_rows_;
    return std::shared_ptr<const CollectionView>(std::move(view));
}

Result<std::optional<uint32_t>> QdrantView::row_of(const Uuid& id) const {
    std::optional<uint32_t> row = directory_->find_uuid(id);
    // What the release's metadata denies may pass the filter of the server.
    if (!row && !groups_) return unknown_point(*client_);
    return row;
}

Result<void> QdrantView::fetch(Lexical* lexical, Dense* dense, const Deadline& deadline) const {
    json::array searches;
    std::vector<std::pair<std::string, PostingsPtr*>> missing;
    if (lexical != nullptr) {
        const std::vector<std::string>& terms = lexical->terms;
        for (size_t i = 0; i < terms.size(); ++i) {
            lexical->words.emplace(terms[i], nullptr);
            if (i > 0 && makes_phrases(terms[i - 1]) && makes_phrases(terms[i]))
                lexical->pairs.emplace(pair_key(terms[i - 1], terms[i]), nullptr);
        }
        const auto ask = [&](const std::string& key, std::string_view vector, uint32_t number,
                             PostingsPtr& wanted) {
            if (const auto known = postings_.find(key); known != postings_.end()) {
                wanted = known->second;
                return;
            }
            missing.emplace_back(key, &wanted);
            // A weight of one: the score is how often the term stands in the point.
            json::object filter = visible_filter(manifest_.chain);
            if (groups_) narrow_filter(filter, *groups_, open_sources_);
            searches.push_back(json::object{{"query", json::object{{"indices", json::array{number}},
                                                                   {"values", json::array{1.0}}}},
                                            {"using", vector},
                                            {"filter", std::move(filter)},
                                            {"limit", shown_rows_}});
        };
        const std::lock_guard lock(mutex_);
        for (auto& [word, wanted] : lexical->words)
            ask("w" + word, kWords, term_number(word), wanted);
        for (auto& [pair, wanted] : lexical->pairs) {
            const size_t middle = pair.find('\0');
            ask("p" + pair, kPairs, pair_number(pair.substr(0, middle), pair.substr(middle + 1)),
                wanted);
        }
    }
    const size_t row_count = shown_rows_;
    size_t limit = 0;
    const auto dense_search = [&] {
        json::object filter = visible_filter(manifest_.chain, *dense->folded);
        if (groups_) narrow_filter(filter, *groups_, open_sources_);
        return json::object{{"query", json::array(dense->query.begin(), dense->query.end())},
                            {"using", kDense},
                            {"filter", std::move(filter)},
                            {"params", json::object{{"exact", true}}},
                            {"limit", limit}};
    };
    if (dense != nullptr) {
        limit = dense->top_k >= row_count - std::min(row_count, kBeyond) ? row_count
                                                                         : dense->top_k + kBeyond;
        searches.push_back(dense_search());
    }
    if (searches.empty()) return {};
    const json::value result = PX_TRY(client_->call(
        "POST", "/points/query/batch", json::object{{"searches", searches}}, "search", deadline));
    const auto lists = PX_TRY(parse_hits(result, searches.size()));
    for (size_t i = 0; i < missing.size(); ++i) {
        std::vector<std::pair<uint32_t, uint32_t>> found;
        found.reserve(lists[i].size());
        for (const Hit& hit : lists[i]) {
            const auto row = PX_TRY(row_of(hit.id));
            if (!(hit.score >= 1)) return unknown_point(*client_);
            if (!row) continue;
            found.emplace_back(*row, static_cast<uint32_t>(std::lround(hit.score)));
        }
        std::sort(found.begin(), found.end());
        auto postings = std::make_shared<Postings>();
        for (const auto& [row, count] : found) {
            postings->rows.push_back(row);
            postings->counts.push_back(count);
        }
        *missing[i].second = postings;
        const size_t bytes = 64 + missing[i].first.size() + found.size() * sizeof(found[0]);
        const std::lock_guard lock(mutex_);
        if (posting_bytes_ + bytes > client_->options().posting_cache_bytes) {
            postings_.clear();
            posting_bytes_ = 0;
        }
        if (postings_.emplace(missing[i].first, std::move(postings)).second)
            posting_bytes_ += bytes;
    }
    if (dense == nullptr) return {};
    std::vector<Hit> hits = lists.back();
    // The score of the last point that is wanted; -inf: there are too few yet.
    const auto least = [&]() -> Result<float> {
        size_t known = 0;
        for (const Hit& hit : hits) {
            if (PX_TRY(row_of(hit.id)) && ++known == dense->top_k) return hit.score;
        }
        return -std::numeric_limits<float>::infinity();
    };
    // Points of one score come in the order of their ids, so all of them must be known.
    while (hits.size() == limit && limit < row_count && hits.back().score >= PX_TRY(least())) {
        limit = std::min(row_count, 4 * limit);
        const json::value more = PX_TRY(client_->call(
            "POST", "/points/query/batch", json::object{{"searches", json::array{dense_search()}}},
            "search", deadline));
        hits = std::move(PX_TRY(parse_hits(more, 1)).front());
    }
    for (const Hit& hit : hits) {
        if (const auto row = PX_TRY(row_of(hit.id))) dense->found.push_back({*row, hit.score});
    }
    // Rows ascend by id.
    keep_best(dense->found, dense->top_k, [](const ScoredPoint& a, const ScoredPoint& b) {
        return a.score != b.score ? a.score > b.score : a.point < b.point;
    });
    return {};
}

Result<std::vector<ScoredPoint>> QdrantView::search_dense(const std::vector<float>& query,
                                                          size_t top_k, const Filter& filter,
                                                          const Deadline& deadline,
                                                          Accuracy /*always exact*/) const {
    PX_TRY(deadline.check());
    if (point_count() == 0 || top_k == 0) return std::vector<ScoredPoint>();
    PX_TRY(check_query(query, width()));
    const FoldedFilter folded(filter);
    Dense dense{query, std::min<size_t>(top_k, point_count()), &folded, {}};
    PX_TRY(fetch(nullptr, &dense, deadline));
    return std::move(dense.found);
}

Result<std::vector<ScoredPoint>> QdrantView::search_lexical(std::string_view query, size_t top_k,
                                                            const Filter& filter,
                                                            const Deadline& deadline) const {
    PX_TRY(deadline.check());
    if (point_count() == 0 || top_k == 0) return std::vector<ScoredPoint>();
    Lexical lexical{query_terms(query), {}, {}};
    PX_TRY(fetch(&lexical, nullptr, deadline));
    const std::vector<float> scores = PX_TRY(score_points(lexical, deadline));
    const std::vector<bool> allowed = directory_->allowed(FoldedFilter(filter));
    std::vector<ScoredPoint> found;
    for (size_t row = 0; row < scores.size(); ++row) {
        if (row % kRowsPerCheck == 0) PX_TRY(deadline.check());
        if (scores[row] > 0 && (allowed.empty() || allowed[row]))
            found.push_back({row, scores[row]});
    }
    keep_best(found, top_k, [](const ScoredPoint& a, const ScoredPoint& b) {
        return a.score != b.score ? a.score > b.score : a.point < b.point;
    });
    return found;
}

Result<std::vector<ScoredDocument>> QdrantView::search_documents(std::string_view query,
                                                                 size_t top_k, const Filter& filter,
                                                                 const Deadline& deadline) const {
    PX_TRY(deadline.check());
    std::vector<ScoredDocument> found;
    if (point_count() == 0 || top_k == 0) return found;
    Lexical lexical{query_terms(query), {}, {}};
    PX_TRY(fetch(&lexical, nullptr, deadline));
    const std::vector<double> scores = PX_TRY(score_documents(lexical, deadline));
    for (const uint32_t number : best_documents(scores, top_k, FoldedFilter(filter))) {
        found.push_back(
            {std::string(directory_->document_name(number)), static_cast<float>(scores[number])});
    }
    return found;
}

Result<HybridHits> QdrantView::search_hybrid(const std::vector<float>& vector,
                                             std::string_view text, HybridCounts counts,
                                             const Filter& filter, const Deadline& deadline,
                                             Accuracy /*always exact*/) const {
    PX_TRY(deadline.check());
    HybridHits hits;
    if (point_count() == 0) return hits;
    PX_TRY(check_query(vector, width()));
    const FoldedFilter folded(filter);
    Lexical lexical{query_terms(text), {}, {}};
    Dense dense{vector, std::min<size_t>(counts.points, point_count()), &folded, {}};
    PX_TRY(fetch(&lexical, counts.points > 0 ? &dense : nullptr, deadline));
    hits.dense = std::move(dense.found);
    hits.point_scores.push_back(PX_TRY(score_points(lexical, deadline)));
    const std::vector<double> scores = PX_TRY(score_documents(lexical, deadline));
    hits.document_scores.assign(scores.begin(), scores.end());
    for (const uint32_t number : best_documents(scores, counts.documents, folded))
        hits.documents.push_back({number, hits.document_scores[number]});
    return hits;
}

// The sums below have the order and precision of the embedded adapter: equal scores, to the bit.

Result<std::vector<float>> QdrantView::score_points(const Lexical& lexical,
                                                    const Deadline& deadline) const {
    std::map<std::string_view, double> weights;
    for (const std::string& term : lexical.terms) weights[term] += 1;
    const std::vector<Row>& rows = directory_->rows();
    const auto total = static_cast<double>(rows.size());
    const double mean_length =
        std::max(1.0, static_cast<double>(directory_->total_length()) / total);
    const auto flat = static_cast<float>(kK1 * (1 - kB));
    const auto slope = static_cast<float>(kK1 * kB / mean_length);
    std::vector<float> scores(rows.size(), 0);
    for (const auto& [term, times] : weights) {
        PX_TRY(deadline.check());
        const Postings& postings = *lexical.words.find(std::string(term))->second;
        const auto df = static_cast<double>(postings.rows.size());
        const auto weight =
            static_cast<float>(times * std::log(1 + (total - df + 0.5) / (df + 0.5)) * (kK1 + 1));
        for (size_t i = 0; i < postings.rows.size(); ++i) {
            const uint32_t row = postings.rows[i];
            const auto tf = static_cast<float>(postings.counts[i]);
            scores[row] += weight * tf / (tf + flat + slope * static_cast<float>(rows[row].length));
        }
    }
    return scores;
}

Result<std::vector<double>> QdrantView::score_documents(const Lexical& lexical,
                                                        const Deadline& deadline) const {
    std::map<std::string_view, double> words;
    std::map<std::pair<std::string_view, std::string_view>, double> pairs;
    const std::vector<std::string>& terms = lexical.terms;
    for (size_t i = 0; i < terms.size(); ++i) {
        words[terms[i]] += 1;
        if (i > 0 && makes_phrases(terms[i - 1]) && makes_phrases(terms[i]))
            pairs[{terms[i - 1], terms[i]}] += 1;
    }
    const Directory& directory = *directory_;
    const auto total = static_cast<double>(directory.document_count());
    const double mean_length = std::max(1.0, static_cast<double>(directory.total_length()) / total);
    std::vector<double> scores(directory.document_count(), 0);
    std::vector<uint32_t> frequencies(directory.document_count(), 0);
    std::vector<uint32_t> touched;
    const auto add = [&](const Postings& postings, double weight) {
        for (size_t i = 0; i < postings.rows.size(); ++i) {
            const uint32_t number = directory.document_of(postings.rows[i]);
            if (frequencies[number] == 0) touched.push_back(number);
            frequencies[number] += postings.counts[i];
        }
        const auto df = static_cast<double>(touched.size());
        weight *= (kK1 + 1) * std::log(1 + (total - df + 0.5) / (df + 0.5));
        for (const uint32_t number : touched) {
            const double tf = std::exchange(frequencies[number], 0U);
            scores[number] +=
                weight * tf /
                (tf + kK1 * (1 - kB + kB * directory.document_length(number) / mean_length));
        }
        touched.clear();
    };
    for (const auto& [word, times] : words) {
        PX_TRY(deadline.check());
        add(*lexical.words.find(std::string(word))->second, times);
    }
    for (const auto& [pair, times] : pairs) {
        PX_TRY(deadline.check());
        const std::string key = pair_key(std::string(pair.first), std::string(pair.second));
        add(*lexical.pairs.find(key)->second, times * kPhraseWeight);
    }

    return scores;
}

std::vector<uint32_t> QdrantView::best_documents(const std::vector<double>& scores, size_t top_k,
                                                 const FoldedFilter& folded) const {
    const Directory& directory = *directory_;
    // A filter admits a document by any of its points.
    std::vector<bool> admitted;
    if (const std::vector<bool> allowed = directory.allowed(folded); !allowed.empty()) {
        admitted.resize(directory.document_count(), false);
        for (uint32_t row = 0; row < allowed.size(); ++row) {
            if (allowed[row]) admitted[directory.document_of(row)] = true;
        }
    }
    std::vector<uint32_t> ranked;
    for (uint32_t number = 0; number < scores.size(); ++number) {
        if (scores[number] > 0 && (admitted.empty() || admitted[number])) ranked.push_back(number);
    }
    // Documents are numbered by their ids.
    keep_best(ranked, top_k, [&](uint32_t a, uint32_t b) {
        return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
    });
    return ranked;
}

Result<void> QdrantView::check_handles(const std::vector<uint64_t>& handles) const {
    for (const uint64_t handle : handles) {
        if (handle >= point_count())
            return fail(ErrorCode::Internal, fmt::format("{} is no handle of the view", handle));
    }
    return {};
}

Result<VectorRows> QdrantView::vectors(const std::vector<uint64_t>& handles,
                                       const Deadline& deadline) const {
    PX_TRY(deadline.check());
    PX_TRY(check_handles(handles));
    const size_t dimensions = width();
    auto owner = std::make_shared<std::vector<std::shared_ptr<const float[]>>>(handles.size());
    std::vector<uint64_t> missing;
    {
        const std::lock_guard lock(mutex_);
        for (size_t i = 0; i < handles.size(); ++i) {
            const auto known = vectors_.find(handles[i]);
            if (known != vectors_.end()) {
                (*owner)[i] = known->second;
            } else {
                missing.push_back(handles[i]);
            }
        }
    }
    std::sort(missing.begin(), missing.end());
    missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
    std::unordered_map<uint64_t, std::shared_ptr<const float[]>> read;
    const size_t batch = client_ ? client_->options().fetch_points : 1;
    const size_t batches = (missing.size() + batch - 1) / batch;
    std::mutex read_mutex;
    PX_TRY(parallel_for(
        batches, client_ ? client_->options().requests_in_flight : 1, deadline,
        [&](size_t b) -> Result<void> {
            json::array ids;
            const size_t end = std::min(missing.size(), (b + 1) * batch);
            for (size_t i = b * batch; i < end; ++i) {
                ids.push_back(
                    json::string(format_uuid(directory_->uuid(static_cast<uint32_t>(missing[i])))));
            }
            const json::value result =
                PX_TRY(client_->call("POST", "/points",
                                     json::object{{"ids", std::move(ids)},
                                                  {"with_payload", false},
                                                  {"with_vector", json::array{kDense}}},
                                     "read vectors", deadline));
            for (const Record& record : PX_TRY(parse_records(result))) {
                const auto row = directory_->find_uuid(record.id);
                if (!row) return unknown_point(*client_);
                std::shared_ptr<float[]> vector(new float[dimensions]);
                PX_TRY(read_vector(record, dimensions, vector.get()));
                const std::lock_guard lock(read_mutex);
                read[*row] = std::move(vector);
            }
            return {};
        }));
    VectorRows rows;
    rows.rows.reserve(handles.size());
    for (size_t i = 0; i < handles.size(); ++i) {
        if (!(*owner)[i]) {
            const auto found = read.find(handles[i]);
            if (found == read.end()) {
                return fail(ErrorCode::NotFound,
                            fmt::format("{} lacks a point of the release", client_->describe()),
                            "Restore the collection from a snapshot, or rebuild the index from the "
                            "lake.");
            }
            (*owner)[i] = found->second;
        }
        rows.rows.push_back((*owner)[i].get());
    }
    rows.owner = owner;
    const std::lock_guard lock(mutex_);
    if (!read.empty() && (vectors_.size() + read.size()) * dimensions * sizeof(float) >
                             client_->options().vector_cache_bytes) {
        vectors_.clear();
    }
    if (read.size() * dimensions * sizeof(float) <=
        (client_ ? client_->options().vector_cache_bytes : 0)) {
        for (auto& [row, vector] : read) vectors_.emplace(row, std::move(vector));
    }
    return rows;
}

Result<std::vector<Point>> QdrantView::points(const std::vector<uint64_t>& handles,
                                              const Deadline& deadline) const {
    PX_TRY(deadline.check());
    PX_TRY(check_handles(handles));
    std::vector<Point> points(handles.size());
    if (handles.empty()) return points;
    const size_t batch = client_->options().fetch_points;
    PX_TRY(parallel_for(
        (handles.size() + batch - 1) / batch, client_->options().requests_in_flight, deadline,
        [&](size_t b) -> Result<void> {
            json::array ids;
            std::unordered_multimap<uint64_t, size_t> places;
            const size_t end = std::min(handles.size(), (b + 1) * batch);
            for (size_t i = b * batch; i < end; ++i) {
                if (!places.contains(handles[i])) {
                    ids.push_back(json::string(
                        format_uuid(directory_->uuid(static_cast<uint32_t>(handles[i])))));
                }
                places.emplace(handles[i], i);
            }
            const json::value result = PX_TRY(client_->call(
                "POST", "/points",
                json::object{
                    {"ids", std::move(ids)}, {"with_payload", true}, {"with_vector", false}},
                "read points", deadline));
            size_t read = 0;
            for (const Record& record : PX_TRY(parse_records(result))) {
                const auto row = directory_->find_uuid(record.id);
                if (!row) return unknown_point(*client_);
                const Point point = PX_TRY(read_point(record));
                const auto [first, last] = places.equal_range(*row);
                for (auto place = first; place != last; ++place, ++read)
                    points[place->second] = point;
            }
            if (read < end - b * batch) {
                return fail(ErrorCode::NotFound,
                            fmt::format("{} lacks a point of the release", client_->describe()),
                            "Restore the collection from a snapshot, or rebuild the index from the "
                            "lake.");
            }
            return {};
        }));
    return points;
}

std::vector<uint64_t> QdrantView::all() const {
    std::vector<uint64_t> handles(point_count());
    std::iota(handles.begin(), handles.end(), uint64_t{0});
    return handles;
}

std::optional<uint64_t> QdrantView::find(const chunk::ChunkId& id) const {
    const auto raw = parse_chunk_id(id.value);
    if (!raw) return std::nullopt;
    return directory_->find(*raw);
}

uint32_t QdrantView::document_of(uint64_t handle) const {
    return directory_->document_of(static_cast<uint32_t>(handle));
}

std::string_view QdrantView::document_name(uint32_t document) const {
    return directory_->document_name(document);
}

std::vector<uint64_t> QdrantView::points_in(uint32_t document) const {
    const auto rows = directory_->rows_of(document);
    return {rows.begin(), rows.end()};
}

std::vector<uint64_t> QdrantView::points_of(std::string_view document_id) const {
    const auto number = directory_->find_document(document_id);
    if (!number) return {};
    const auto rows = directory_->rows_of(*number);
    return {rows.begin(), rows.end()};
}

}  // namespace px::index::qdrant
