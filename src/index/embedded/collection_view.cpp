#include "index/embedded/collection_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <unordered_map>
#include <utility>

#include "index/ranking.h"

namespace px::index {

namespace {

constexpr size_t kBlockRows = 512;  // rows between looks at the deadline, and codes scored at once
constexpr size_t kPostingsPerCheck = 65536;  // postings between looks at the deadline

uint64_t make_handle(size_t segment, size_t ordinal) {
    return (static_cast<uint64_t>(segment) << 32) | ordinal;
}
size_t segment_of(uint64_t handle) { return handle >> 32; }
size_t ordinal_of(uint64_t handle) { return handle & 0xFFFFFFFFU; }

/// Which codes of a column are wanted; empty: none at all.
std::vector<uint8_t> wanted_codes(size_t count, const std::vector<std::string>& wanted,
                                  auto&& name_at) {
    std::vector<uint8_t> flags(count, 0);
    bool any = false;
    for (size_t code = 0; code < count; ++code) {
        const bool match = std::any_of(wanted.begin(), wanted.end(), [&](const std::string& value) {
            return name_at(code) == value;
        });
        flags[code] = match ? 1 : 0;
        any = any || match;
    }
    if (!any) flags.clear();
    return flags;
}

/// Keeps the bits whose point passes.
template <class Pass>
void intersect(Bitmap& allowed, Pass&& pass) {
    std::vector<uint64_t>& words = allowed.words();
    for (size_t w = 0; w < words.size(); ++w) {
        uint64_t rest = words[w];
        uint64_t kept = 0;
        while (rest != 0) {
            const auto bit = static_cast<size_t>(__builtin_ctzll(rest));
            rest &= rest - 1;
            if (pass(w * 64 + bit)) kept |= uint64_t{1} << bit;
        }
        words[w] = kept;
    }
}

/// The points of a segment a search may return; an empty bitmap: all. nullopt: none.
std::optional<Bitmap> allowed_points(const LiveSegment& live, const FoldedFilter& folded) {
    const Segment& segment = *live.segment;
    const Filter& filter = folded.filter;
    if (!folded.restricts && live.deleted.empty()) return Bitmap();
    Bitmap allowed;
    if (filter.document_id) {
        const auto code = segment.document().names.find(*filter.document_id);
        if (!code) return std::nullopt;
        allowed = Bitmap(segment.point_count());
        for (const uint32_t ordinal : segment.points_of(*code)) allowed.set(ordinal);
    } else {
        allowed = Bitmap(segment.point_count(), true);
    }
    if (!live.deleted.empty()) {
        for (size_t w = 0; w < allowed.words().size(); ++w)
            allowed.words()[w] &= ~live.deleted.words()[w];
    }
    const auto by_code = [&](const Column& column, const std::vector<uint8_t>& flags) {
        intersect(allowed, [&](size_t ordinal) { return flags[column.codes[ordinal]] != 0; });
    };
    if (!folded.authors.empty()) {
        const auto& names = segment.folded_authors();
        const auto flags = wanted_codes(names.size(), folded.authors,
                                        [&](size_t i) -> const std::string& { return names[i]; });
        if (flags.empty()) return std::nullopt;
        by_code(segment.author(), flags);
    }
    if (!folded.categories.empty()) {
        const auto& names = segment.folded_categories();
        const auto flags = wanted_codes(names.size(), folded.categories,
                                        [&](size_t i) -> const std::string& { return names[i]; });
        if (flags.empty()) return std::nullopt;
        by_code(segment.category(), flags);
    }
    if (!filter.sources.empty()) {
        const StringTable& names = segment.source().names;
        const auto flags =
            wanted_codes(names.size(), filter.sources, [&](size_t i) { return names[i]; });
        if (flags.empty()) return std::nullopt;
        by_code(segment.source(), flags);
    }
    if (filter.from || filter.to) {
        intersect(allowed, [&](size_t ordinal) {
            const int64_t created = segment.created_at(ordinal);
            return created != kNoDate && (!filter.from || created >= *filter.from) &&
                   (!filter.to || created < *filter.to);
        });
    }
    return allowed;
}

/// Calls body(first row, row count) for the rows of [begin, end) that are allowed: whole words
/// while they are dense, single rows where they are sparse.
template <class Body>
void for_allowed_rows(const Bitmap& allowed, size_t begin, size_t end, Body&& body) {
    if (allowed.empty()) return body(begin, end - begin);
    for (size_t w = begin / 64; w * 64 < end; ++w) {
        uint64_t word = allowed.words()[w];
        if (word == 0) continue;
        if (__builtin_popcountll(word) >= 24) {
            body(w * 64, std::min<size_t>(64, end - w * 64));
            continue;
        }
        while (word != 0) {
            const auto bit = static_cast<size_t>(__builtin_ctzll(word));
            word &= word - 1;
            body(w * 64 + bit, 1);
        }
    }
}

struct Candidate {
    uint64_t handle;
    float upper;  ///< its score is at most this
};

Error corrupt(const Segment& segment) {
    return fail(ErrorCode::Corrupt,
                fmt::format("index segment {}.pxseg is damaged: its postings can't be read",
                            segment.name()),
                "Rebuild the index from the lake, or restore the file from a backup.");
}

/// The k largest lower bounds seen: their smallest is a floor under the k-th best score.
class Floor {
  public:
    explicit Floor(size_t k) : k_(k) {}
    float value() const {
        return heap_.size() < k_ ? -std::numeric_limits<float>::infinity() : heap_.front();
    }
    void add(float lower) {
        if (heap_.size() < k_) {
            heap_.push_back(lower);
            std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
        } else if (lower > heap_.front()) {
            std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
            heap_.back() = lower;
            std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
        }
    }

  private:
    size_t k_;
    std::vector<float> heap_;
};

}  // namespace

EmbeddedView::EmbeddedView(ManifestId manifest, size_t width, std::vector<LiveSegment> segments,
                           const kernels::Kernels& kernels)
    : manifest_(std::move(manifest)),
      width_(width),
      segments_(std::move(segments)),
      kernels_(kernels) {
    for (const LiveSegment& live : segments_) {
        point_count_ += live.living;
        total_length_ += live.living_length;
    }
    number_documents();
}

void EmbeddedView::number_documents() {
    std::unordered_map<std::string_view, uint32_t> numbers;
    std::vector<bool> lives;
    for (const LiveSegment& live : segments_) {
        const Segment& segment = *live.segment;
        const StringTable& names = segment.document().names;
        std::vector<uint32_t>& of_segment = document_of_.emplace_back(names.size());
        for (size_t code = 0; code < names.size(); ++code) {
            const auto next = static_cast<uint32_t>(document_names_.size());
            of_segment[code] =
                segments_.size() == 1 ? next : numbers.emplace(names[code], next).first->second;
            if (of_segment[code] == next) document_names_.push_back(names[code]);
        }
        document_lengths_.resize(document_names_.size(), 0);
        lives.resize(document_names_.size(), false);
        for (size_t ordinal = 0; ordinal < segment.point_count(); ++ordinal) {
            if (live.is_deleted(ordinal)) continue;
            const uint32_t number = of_segment[segment.document().codes[ordinal]];
            document_lengths_[number] += segment.length(ordinal);
            lives[number] = true;
        }
    }
    document_count_ = static_cast<uint64_t>(std::count(lives.begin(), lives.end(), true));
}

const RawId& EmbeddedView::id_of(uint64_t handle) const {
    return segments_[segment_of(handle)].segment->id(ordinal_of(handle));
}

std::vector<ScoredPoint> EmbeddedView::best(std::vector<ScoredPoint> found, size_t top_k) const {
    const auto better = [this](const ScoredPoint& a, const ScoredPoint& b) {
        if (a.score != b.score) return a.score > b.score;
        return id_of(a.point) < id_of(b.point);
    };
    if (found.size() > top_k) {
        std::nth_element(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(top_k),
                         found.end(), better);
        found.resize(top_k);
    }
    std::sort(found.begin(), found.end(), better);
    return found;
}

Result<std::vector<ScoredPoint>> EmbeddedView::search_dense(const std::vector<float>& query,
                                                            size_t top_k, const Filter& filter,
                                                            const Deadline& deadline) const {
    PX_TRY(deadline.check());
    if (segments_.empty() || top_k == 0) return std::vector<ScoredPoint>();
    PX_TRY(check_query(query, width_));
    // The query in int8, and how far that is from the query.
    const size_t stride = segments_.front().segment->stride();
    std::vector<int8_t> codes(stride, 0);
    float largest = 0;
    for (const float x : query) {
        largest = std::max(largest, std::fabs(x));
    }
    const float query_scale = largest / 127.0F;
    double query_error = 0;
    double query_norm = 0;
    int32_t code_sum = 0;
    for (size_t i = 0; i < width_; ++i) {
        const float steps = query_scale < std::numeric_limits<float>::min()
                                ? 0.0F
                                : std::nearbyint(query[i] / query_scale);
        const int code = static_cast<int>(std::clamp(steps, -127.0F, 127.0F));
        codes[i] = static_cast<int8_t>(code);
        code_sum += code;
        const double difference = query[i] - static_cast<double>(query_scale) * code;
        query_error += difference * difference;
        query_norm += static_cast<double>(query[i]) * query[i];
    }
    query_error = std::sqrt(query_error);
    query_norm = std::sqrt(query_norm);

    const FoldedFilter folded(filter);
    const size_t k = std::min<uint64_t>(top_k, point_count_);
    Floor floor(k);
    std::vector<Candidate> candidates;
    size_t compact_at = 4096 + 8 * k;
    std::vector<int32_t> dots(kBlockRows);
    for (size_t s = 0; s < segments_.size(); ++s) {
        const Segment& segment = *segments_[s].segment;
        PX_TRY(segment.verify_rest());
        const auto allowed = allowed_points(segments_[s], folded);
        if (!allowed) continue;
        // |p·q − p̂·q̂| <= error_max‖q‖ + norm_max‖q − q̂‖ (docs/formats/segment.md), and rounding of
        // the f32 arithmetic.
        const auto bound =
            static_cast<float>(segment.error_max() * query_norm + segment.norm_max() * query_error +
                               1e-5 * (1 + segment.norm_max() * query_norm));
        const size_t n = segment.point_count();
        for (size_t begin = 0; begin < n; begin += kBlockRows) {
            PX_TRY(deadline.check());
            for_allowed_rows(
                *allowed, begin, std::min(n, begin + kBlockRows), [&](size_t first, size_t count) {
                    kernels_.dot_codes(segment.codes() + first * stride, stride, count,
                                       codes.data(), dots.data());
                    for (size_t i = 0; i < count; ++i) {
                        const float approximate = static_cast<float>(dots[i] - 128 * code_sum) *
                                                  (query_scale * segment.scales()[first + i]);
                        const float upper = approximate + bound;
                        if (!(upper >= floor.value())) continue;
                        if (!allowed->empty() && !allowed->test(first + i)) continue;
                        floor.add(approximate - bound);
                        candidates.push_back({make_handle(s, first + i), upper});
                    }
                });
            if (candidates.size() > compact_at) {
                std::erase_if(candidates,
                              [&](const Candidate& c) { return c.upper < floor.value(); });
                compact_at = std::max(compact_at, 2 * candidates.size());
            }
        }
    }
    std::vector<ScoredPoint> found;
    for (size_t i = 0; i < candidates.size(); ++i) {
        if (i % kBlockRows == 0) PX_TRY(deadline.check());
        const Candidate& candidate = candidates[i];
        if (candidate.upper < floor.value()) continue;
        const Segment& segment = *segments_[segment_of(candidate.handle)].segment;
        found.push_back(
            {candidate.handle,
             kernels_.dot_f32(segment.vector(ordinal_of(candidate.handle)), query.data(), width_)});
    }
    return best(std::move(found), k);
}

Result<std::vector<ScoredPoint>> EmbeddedView::search_lexical(std::string_view query, size_t top_k,
                                                              const Filter& filter,
                                                              const Deadline& deadline) const {
    PX_TRY(deadline.check());
    if (segments_.empty() || top_k == 0) return std::vector<ScoredPoint>();
    std::vector<std::string> words = query_terms(query);
    std::sort(words.begin(), words.end());
    struct Term {
        std::string text;
        double weight = 1;  // times in the query, then × idf
        uint64_t df = 0;
    };
    std::vector<Term> terms;
    for (std::string& word : words) {
        if (!terms.empty() && terms.back().text == word) {
            terms.back().weight += 1;
        } else {
            terms.push_back({std::move(word), 1, 0});
        }
    }
    // Living points that have each term, over the whole collection.
    for (const LiveSegment& live : segments_) {
        PX_TRY(live.segment->verify_rest());
        for (Term& term : terms) {
            const auto postings = live.segment->postings(term.text);
            if (!postings) continue;
            if (live.deleted.empty()) {
                term.df += postings->df;
                continue;
            }
            PostingsReader reader(postings->bytes, live.segment->point_count());
            uint32_t ordinal = 0;
            uint32_t frequency = 0;
            while (reader.next(ordinal, frequency)) term.df += live.deleted.test(ordinal) ? 0 : 1;
            if (reader.corrupt()) return corrupt(*live.segment);
        }
        PX_TRY(deadline.check());
    }
    const auto total = static_cast<double>(point_count_);
    for (Term& term : terms) {
        const auto df = static_cast<double>(std::min<uint64_t>(term.df, point_count_));
        term.weight *= std::log(1 + (total - df + 0.5) / (df + 0.5));
    }
    const double mean_length =
        std::max(1.0, static_cast<double>(total_length_) / std::max(1.0, total));

    const FoldedFilter folded(filter);
    const size_t k = std::min<uint64_t>(top_k, point_count_);
    Floor floor(k);
    std::vector<ScoredPoint> found;
    size_t compact_at = 4096 + 8 * k;
    std::vector<float> scores;
    for (size_t s = 0; s < segments_.size(); ++s) {
        const LiveSegment& live = segments_[s];
        const Segment& segment = *live.segment;
        const auto allowed = allowed_points(live, folded);
        if (!allowed) continue;
        scores.assign(segment.point_count(), 0.0F);
        bool any = false;
        size_t until_check = kPostingsPerCheck;
        for (const Term& term : terms) {
            const auto postings = segment.postings(term.text);
            if (!postings) continue;
            any = true;
            PostingsReader reader(postings->bytes, segment.point_count());
            uint32_t ordinal = 0;
            uint32_t frequency = 0;
            const auto weight = static_cast<float>(term.weight * (kK1 + 1));
            const auto flat = static_cast<float>(kK1 * (1 - kB));
            const auto slope = static_cast<float>(kK1 * kB / mean_length);
            while (reader.next(ordinal, frequency)) {
                const auto tf = static_cast<float>(frequency);
                scores[ordinal] +=
                    weight * tf / (tf + flat + slope * static_cast<float>(segment.length(ordinal)));
                if (--until_check == 0) {
                    until_check = kPostingsPerCheck;
                    PX_TRY(deadline.check());
                }
            }
            if (reader.corrupt()) return corrupt(segment);
        }
        if (!any) continue;
        for (size_t ordinal = 0; ordinal < scores.size(); ++ordinal) {
            const float score = scores[ordinal];
            if (score <= 0 || score < floor.value()) continue;
            if (!allowed->empty() && !allowed->test(ordinal)) continue;
            floor.add(score);
            found.push_back({make_handle(s, ordinal), score});
            if (found.size() > compact_at) {
                std::erase_if(found, [&](const ScoredPoint& p) { return p.score < floor.value(); });
                compact_at = std::max(compact_at, 2 * found.size());
            }
        }
    }
    return best(std::move(found), k);
}

Result<std::vector<ScoredDocument>> EmbeddedView::search_documents(std::string_view query,
                                                                   size_t top_k,
                                                                   const Filter& filter,
                                                                   const Deadline& deadline) const {
    PX_TRY(deadline.check());
    std::vector<ScoredDocument> found;
    if (document_count_ == 0 || top_k == 0) return found;
    const std::vector<std::string> terms = query_terms(query);
    std::map<std::string_view, double> words;
    std::map<std::pair<std::string_view, std::string_view>, double> pairs;
    for (size_t i = 0; i < terms.size(); ++i) {
        words[terms[i]] += 1;
        if (i > 0 && makes_phrases(terms[i - 1]) && makes_phrases(terms[i]))
            pairs[{terms[i - 1], terms[i]}] += 1;
    }

    // Which documents a filter admits; empty: all.
    std::vector<bool> admitted;
    const FoldedFilter folded(filter);
    if (folded.restricts) admitted.resize(document_names_.size(), false);
    for (size_t s = 0; s < segments_.size(); ++s) {
        PX_TRY(segments_[s].segment->verify_rest());
        if (!folded.restricts) continue;
        const auto allowed = allowed_points(segments_[s], folded);
        if (!allowed) continue;
        const auto& codes = segments_[s].segment->document().codes;
        for (size_t ordinal = 0; ordinal < codes.size(); ++ordinal) {
            if (allowed->test(ordinal)) admitted[document_of_[s][codes[ordinal]]] = true;
        }
    }

    const auto total = static_cast<double>(document_count_);
    const double mean_length = std::max(1.0, static_cast<double>(total_length_) / total);
    std::vector<double> scores(document_names_.size(), 0);
    std::vector<uint32_t> frequencies(document_names_.size(), 0);
    std::vector<uint32_t> touched;
    const auto count = [&](size_t s, uint32_t ordinal, uint32_t frequency) {
        if (segments_[s].is_deleted(ordinal)) return;
        const uint32_t number = document_of_[s][segments_[s].segment->document().codes[ordinal]];
        if (frequencies[number] == 0) touched.push_back(number);
        frequencies[number] += frequency;
    };
    const auto add_counted = [&](double weight) {
        const auto df = static_cast<double>(touched.size());
        weight *= (kK1 + 1) * std::log(1 + (total - df + 0.5) / (df + 0.5));
        for (const uint32_t number : touched) {
            const double tf = std::exchange(frequencies[number], 0U);
            scores[number] +=
                weight * tf / (tf + kK1 * (1 - kB + kB * document_lengths_[number] / mean_length));
        }
        touched.clear();
    };
    for (const auto& [word, times] : words) {
        PX_TRY(deadline.check());
        for (size_t s = 0; s < segments_.size(); ++s) {
            const Segment& segment = *segments_[s].segment;
            const auto postings = segment.postings(word);
            if (!postings) continue;
            PostingsReader reader(postings->bytes, segment.point_count());
            uint32_t ordinal = 0;
            uint32_t frequency = 0;
            while (reader.next(ordinal, frequency)) count(s, ordinal, frequency);
            if (reader.corrupt()) return corrupt(segment);
        }
        add_counted(times);
    }
    std::vector<uint32_t> first_places;
    std::vector<uint32_t> second_places;
    for (const auto& [pair, times] : pairs) {
        PX_TRY(deadline.check());
        for (size_t s = 0; s < segments_.size(); ++s) {
            const Segment& segment = *segments_[s].segment;
            const auto first = segment.postings(pair.first);
            const auto second = segment.postings(pair.second);
            if (!first || !second) continue;
            PostingsReader a(first->bytes, segment.point_count());
            PostingsReader b(second->bytes, segment.point_count());
            uint32_t at_a = 0;
            uint32_t at_b = 0;
            uint32_t frequency = 0;
            bool more = a.next(at_a, frequency) && b.next(at_b, frequency);
            while (more) {
                if (at_a < at_b) {
                    more = a.next(at_a, frequency);
                } else if (at_b < at_a) {
                    more = b.next(at_b, frequency);
                } else {
                    a.positions(first_places);
                    b.positions(second_places);
                    uint32_t together = 0;
                    for (size_t i = 0, j = 0;
                         i < first_places.size() && j < second_places.size();) {
                        const uint32_t wanted = first_places[i] + 1;
                        if (second_places[j] == wanted) ++together;
                        if (second_places[j] <= wanted) {
                            ++j;
                        } else {
                            ++i;
                        }
                    }
                    if (together > 0) count(s, at_a, together);
                    more = a.next(at_a, frequency) && b.next(at_b, frequency);
                }
            }
            if (a.corrupt() || b.corrupt()) return corrupt(segment);
        }
        add_counted(times * kPhraseWeight);
    }

    std::vector<uint32_t> ranked;
    for (uint32_t number = 0; number < scores.size(); ++number) {
        if (scores[number] > 0 && (admitted.empty() || admitted[number])) ranked.push_back(number);
    }
    const auto better = [&](uint32_t a, uint32_t b) {
        return scores[a] != scores[b] ? scores[a] > scores[b]
                                      : document_names_[a] < document_names_[b];
    };
    const size_t k = std::min(top_k, ranked.size());
    std::partial_sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(k), ranked.end(),
                      better);
    for (size_t i = 0; i < k; ++i) {
        found.push_back(
            {std::string(document_names_[ranked[i]]), static_cast<float>(scores[ranked[i]])});
    }
    return found;
}

Result<VectorRows> EmbeddedView::vectors(const std::vector<uint64_t>& handles,
                                         const Deadline& deadline) const {
    PX_TRY(deadline.check());
    VectorRows vectors;
    vectors.rows.reserve(handles.size());
    for (const uint64_t handle : handles)
        vectors.rows.push_back(segments_[segment_of(handle)].segment->vector(ordinal_of(handle)));
    return vectors;
}

Result<std::vector<Point>> EmbeddedView::points(const std::vector<uint64_t>& handles,
                                                const Deadline& deadline) const {
    PX_TRY(deadline.check());
    std::vector<Point> points;
    points.reserve(handles.size());
    for (const uint64_t handle : handles) points.push_back(read_point(handle));
    return points;
}

Point EmbeddedView::read_point(uint64_t handle) const {
    Point point;
    if (segment_of(handle) >= segments_.size()) return point;
    const Segment& segment = *segments_[segment_of(handle)].segment;
    const size_t ordinal = ordinal_of(handle);
    if (ordinal >= segment.point_count()) return point;
    point.id.value = format_chunk_id(segment.id(ordinal));
    point.document_id = segment.document().at(ordinal);
    point.source = segment.source().at(ordinal);
    point.ds = segment.ds().at(ordinal);
    point.title = segment.title().at(ordinal);
    point.author = segment.author().at(ordinal);
    point.category = segment.category().at(ordinal);
    if (segment.created_at(ordinal) != kNoDate) point.created_at = segment.created_at(ordinal);
    point.text = segment.text(ordinal);
    point.span = segment.span(ordinal);
    return point;
}

std::string EmbeddedView::document_id(uint64_t handle) const {
    return std::string(segments_[segment_of(handle)].segment->document().at(ordinal_of(handle)));
}

std::vector<uint64_t> EmbeddedView::all() const {
    std::vector<uint64_t> handles;
    handles.reserve(point_count());
    for (size_t s = 0; s < segments_.size(); ++s) {
        const size_t count = segments_[s].segment->point_count();
        for (size_t ordinal = 0; ordinal < count; ++ordinal) {
            if (!segments_[s].is_deleted(ordinal)) handles.push_back(make_handle(s, ordinal));
        }
    }
    std::sort(handles.begin(), handles.end(),
              [this](uint64_t a, uint64_t b) { return id_of(a) < id_of(b); });
    return handles;
}

std::optional<uint64_t> EmbeddedView::find(const chunk::ChunkId& id) const {
    const auto raw = parse_chunk_id(id.value);
    if (!raw) return std::nullopt;
    for (size_t s = 0; s < segments_.size(); ++s) {
        const auto ordinal = segments_[s].segment->find(*raw);
        if (ordinal && !segments_[s].is_deleted(*ordinal)) return make_handle(s, *ordinal);
    }
    return std::nullopt;
}

std::vector<uint64_t> EmbeddedView::points_of(std::string_view document_id) const {
    std::vector<uint64_t> handles;
    for (size_t s = 0; s < segments_.size(); ++s) {
        const Segment& segment = *segments_[s].segment;
        const auto code = segment.document().names.find(document_id);
        if (!code) continue;
        for (const uint32_t ordinal : segment.points_of(*code)) {
            if (!segments_[s].is_deleted(ordinal)) handles.push_back(make_handle(s, ordinal));
        }
    }
    if (segments_.size() == 1) return handles;  // its points are in order
    std::sort(handles.begin(), handles.end(), [this](uint64_t a, uint64_t b) {
        const int64_t start_a = segments_[segment_of(a)].segment->span(ordinal_of(a)).start;
        const int64_t start_b = segments_[segment_of(b)].segment->span(ordinal_of(b)).start;
        if (start_a != start_b) return start_a < start_b;
        return id_of(a) < id_of(b);
    });
    return handles;
}

}  // namespace px::index
