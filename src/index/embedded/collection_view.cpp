#include "index/embedded/collection_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
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
constexpr size_t kCopiedMax = 128;           // vectors copied out of a file at most
constexpr size_t kBeamMin = 96;              // nearest points a graph is searched for at least
// What one row costs in a scan and in a graph, where it comes from anywhere, and how many rows a
// point of the beam makes a graph look at; measured with 384 dimensions (bench/vector_index.py).
constexpr double kScanRow = 1.0;
constexpr double kGraphRow = 2.0;
constexpr double kRowsPerBeam = 16.0;

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

/// Keeps the bits whose point passes. pass: without branches, called for points of the bitmap only.
template <class Pass>
void intersect(Bitmap& allowed, Pass&& pass) {
    std::vector<uint64_t>& words = allowed.words();
    for (size_t w = 0; w < words.size(); ++w) {
        uint64_t rest = words[w];
        if (rest == ~uint64_t{0}) {
            uint64_t all = 0;
            for (size_t bit = 0; bit < 64; ++bit)
                all |= static_cast<uint64_t>(pass(w * 64 + bit)) << bit;
            words[w] = all;
            continue;
        }
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
        const auto [first, last] = segment.points_of(*code);
        for (uint32_t ordinal = first; ordinal < last; ++ordinal) allowed.set(ordinal);
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
        // kNoDate is the least value there is.
        const int64_t from = std::max(filter.from.value_or(kNoDate + 1), kNoDate + 1);
        const int64_t to = filter.to.value_or(std::numeric_limits<int64_t>::max());
        const bool has_end = filter.to.has_value();
        intersect(allowed, [&](size_t ordinal) {
            const int64_t created = segment.created_at(ordinal);
            return (created >= from) & ((created < to) | !has_end);
        });
    }
    return allowed;
}

/// Scores the rows of [begin, end) that are allowed: all at once while they are dense, else those
/// alone. take(ordinal, sum). room: of kBlockRows values each.
struct BlockRoom {
    std::vector<uint32_t> ordinals = std::vector<uint32_t>(kBlockRows);
    std::vector<int32_t> sums = std::vector<int32_t>(kBlockRows);
};
template <class Take>
void scan_rows(const Bitmap& allowed, const CodeRows& rows, size_t begin, size_t end,
               const CodeQuery& query, const kernels::Kernels& kernels, BlockRoom& room,
               Take&& take) {
    constexpr size_t kDense = 3;  // one of so many rows: reading past the others is as fast
    const size_t n = end - begin;
    size_t count = n;
    if (!allowed.empty()) {
        count = 0;
        for (size_t w = begin / 64; w * 64 < end; ++w)
            count += static_cast<size_t>(__builtin_popcountll(allowed.words()[w]));
    }
    if (count == 0) return;
    if (count * kDense >= n) {
        kernels.dot_codes(rows.at(begin), rows.stride, n, query.codes(), room.sums.data());
        for (size_t i = 0; i < n; ++i) {
            if (count == n || allowed.test(begin + i))
                take(static_cast<uint32_t>(begin + i), room.sums[i]);
        }
        return;
    }
    count = 0;
    for (size_t w = begin / 64; w * 64 < end; ++w) {
        for (uint64_t word = allowed.words()[w]; word != 0; word &= word - 1) {
            const auto bit = static_cast<size_t>(__builtin_ctzll(word));
            room.ordinals[count++] = static_cast<uint32_t>(w * 64 + bit);
            const uint8_t* row = rows.at(w * 64 + bit);
            for (size_t at = 0; at < rows.stride; at += 64) __builtin_prefetch(row + at);
        }
    }
    kernels.dot_rows(rows.codes, rows.stride, room.ordinals.data(), count, query.codes(),
                     room.sums.data());
    for (size_t i = 0; i < count; ++i) take(room.ordinals[i], room.sums[i]);
}

/// A graph passes over what a filter forbids, so that it looks at more rows the less is allowed; a
/// scan looks at fewer.
bool is_graph_cheaper(const Segment& segment, size_t beam, size_t allowed_count) {
    if (segment.graph().empty() || allowed_count == 0) return false;
    const double share = static_cast<double>(allowed_count) / segment.point_count();
    return kGraphRow * kRowsPerBeam * static_cast<double>(beam) / share <
           kScanRow * static_cast<double>(allowed_count);
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
            const Place place{static_cast<uint32_t>(document_of_.size() - 1),
                              static_cast<uint32_t>(code)};
            if (of_segment[code] == next) {
                document_names_.push_back(names[code]);
                first_places_.push_back(place);
            } else {
                more_places_[of_segment[code]].push_back(place);
            }
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
                                                            const Deadline& deadline,
                                                            Accuracy accuracy) const {
    PX_TRY(deadline.check());
    if (point_count_ == 0 || top_k == 0) return std::vector<ScoredPoint>();
    PX_TRY(check_query(query, width_));
    const size_t stride = segments_.front().segment->stride();
    const CodeQuery coded(query.data(), width_, stride);
    const FoldedFilter folded(filter);
    const size_t k = std::min<uint64_t>(top_k, point_count_);
    Floor floor(k);
    std::vector<Candidate> candidates;
    size_t compact_at = 4096 + 8 * k;
    BlockRoom room;
    for (size_t s = 0; s < segments_.size(); ++s) {
        const Segment& segment = *segments_[s].segment;
        PX_TRY(segment.verify_rest());
        const auto allowed = allowed_points(segments_[s], folded);
        if (!allowed) continue;
        // |p·q − p̂·q̂| <= error_max‖q‖ + norm_max‖q − q̂‖ (docs/formats/segment.md), and rounding of
        // the f32 arithmetic.
        const auto bound = static_cast<float>(segment.error_max() * coded.norm() +
                                              segment.norm_max() * coded.error() +
                                              1e-5 * (1 + segment.norm_max() * coded.norm()));
        const size_t n = segment.point_count();
        const CodeRows rows = segment.rows();
        const auto take = [&](uint32_t ordinal, float similarity) {
            floor.add(similarity - bound);
            candidates.push_back({make_handle(s, ordinal), similarity + bound});
        };
        const size_t beam = std::max(kBeamMin, k + k / 4);
        const size_t allowed_count = allowed->empty() ? n : allowed->count();
        if (accuracy == Accuracy::Fast && is_graph_cheaper(segment, beam, allowed_count)) {
            for (const Near& near : search_graph(segment.graph(), rows, coded, beam,
                                                 allowed->empty() ? nullptr : &*allowed, kernels_))
                take(near.ordinal, near.similarity);
            continue;
        }
        for (size_t begin = 0; begin < n; begin += kBlockRows) {
            PX_TRY(deadline.check());
            scan_rows(*allowed, rows, begin, std::min(n, begin + kBlockRows), coded, kernels_, room,
                      [&](uint32_t ordinal, int32_t sum) {
                          const float similarity = coded.similarity(sum, rows.scales[ordinal]);
                          if (similarity + bound >= floor.value()) take(ordinal, similarity);
                      });
            if (candidates.size() > compact_at) {
                std::erase_if(candidates,
                              [&](const Candidate& c) { return c.upper < floor.value(); });
                compact_at = std::max(compact_at, 2 * candidates.size());
            }
        }
    }
    std::erase_if(candidates, [&](const Candidate& c) { return c.upper < floor.value(); });
    std::vector<ScoredPoint> found;
    found.reserve(candidates.size());
    // A few vectors are copied out of the file: the pages of all that were ever found would make
    // this process several times as large. Many are read where they are mapped.
    const bool is_copied = candidates.size() <= kCopiedMax;
    std::vector<float> copy(is_copied ? width_ : 0);
    constexpr size_t kAhead = 4;
    for (size_t i = 0; i < candidates.size(); ++i) {
        if (i % kBlockRows == 0) PX_TRY(deadline.check());
        const auto segment_at = [&](size_t place) -> const Segment& {
            return *segments_[segment_of(candidates[place].handle)].segment;
        };
        const size_t ordinal = ordinal_of(candidates[i].handle);
        const float* row = nullptr;
        if (is_copied) {
            row = PX_TRY(segment_at(i).read_vector(ordinal, copy.data()));
        } else {
            row = segment_at(i).vector(ordinal);
            if (i + kAhead < candidates.size()) {
                const float* next =
                    segment_at(i + kAhead).vector(ordinal_of(candidates[i + kAhead].handle));
                for (size_t d = 0; d < width_; d += 16) __builtin_prefetch(next + d);
            }
        }
        found.push_back({candidates[i].handle, kernels_.dot_f32(row, query.data(), width_)});
    }
    return best(std::move(found), k);
}

/// The terms of a question.
struct EmbeddedView::Words {
    std::vector<std::string> terms;  ///< in order
    /// How often each stands there, ascending by term: the order of all sums.
    std::map<std::string_view, double> single;
    std::map<std::pair<std::string_view, std::string_view>, double> pairs;

    explicit Words(std::string_view question) : terms(query_terms(question)) {
        for (size_t i = 0; i < terms.size(); ++i) {
            single[terms[i]] += 1;
            if (i > 0 && makes_phrases(terms[i - 1]) && makes_phrases(terms[i]))
                pairs[{terms[i - 1], terms[i]}] += 1;
        }
    }
};

namespace {

/// How often a term or pair stands in documents. Points of a document stand together in a segment.
class DocumentCounts {
  public:
    DocumentCounts(size_t documents, bool repeat) : repeat_(repeat) {
        if (repeat) frequencies_.resize(documents, 0);
    }
    void add(uint32_t document, uint32_t frequency) {
        if (repeat_) {
            if (frequencies_[document] == 0) counts_.emplace_back(document, 0);
            frequencies_[document] += frequency;
        } else if (!counts_.empty() && counts_.back().first == document) {
            counts_.back().second += frequency;
        } else {
            counts_.emplace_back(document, frequency);
        }
    }
    /// (document, how often), and forgets them.
    template <class Take>
    void drain(Take&& take) {
        for (auto& [document, frequency] : counts_) {
            if (repeat_) frequency = std::exchange(frequencies_[document], 0U);
            take(document, frequency);
        }
        counts_.clear();
    }
    size_t size() const { return counts_.size(); }

  private:
    bool repeat_;  ///< documents may come again: they have points in several segments
    std::vector<uint32_t> frequencies_;
    std::vector<std::pair<uint32_t, uint32_t>> counts_;
};

/// Calls found(ordinal, how often) for every point where second follows first.
template <class Found>
bool for_pairs(const TermPostings& first, const TermPostings& second, uint32_t point_count,
               Found&& found) {
    PostingsReader a(first, point_count);
    PostingsReader b(second, point_count);
    std::vector<uint32_t> first_places;
    std::vector<uint32_t> second_places;
    size_t i = 0;
    size_t k = 0;
    bool more = a.next() && b.next();
    while (more) {
        const uint32_t at_a = a.ordinals()[i];
        const uint32_t at_b = b.ordinals()[k];
        if (at_a == at_b) {
            a.positions(i, first_places);
            b.positions(k, second_places);
            if (a.corrupt() || b.corrupt()) break;
            uint32_t together = 0;
            for (size_t x = 0, y = 0; x < first_places.size() && y < second_places.size();) {
                const uint32_t wanted = first_places[x] + 1;
                if (second_places[y] == wanted) ++together;
                if (second_places[y] <= wanted) {
                    ++y;
                } else {
                    ++x;
                }
            }
            if (together > 0) found(at_a, together);
        }
        if (at_a <= at_b && ++i == a.size()) {
            i = 0;
            more = a.next() && a.seek(at_b);
        }
        if (more && at_b <= at_a && ++k == b.size()) {
            k = 0;
            more = b.next() && b.seek(at_a);
        }
    }
    return !a.corrupt() && !b.corrupt();
}

}  // namespace

// The sums have the order and precision of the Qdrant adapter: equal scores, to the bit.
Result<void> EmbeddedView::score_words(const Words& words, std::vector<std::vector<float>>* points,
                                       std::vector<double>* documents,
                                       const Deadline& deadline) const {
    const auto point_total = static_cast<double>(point_count_);
    const double point_mean =
        std::max(1.0, static_cast<double>(total_length_) / std::max(1.0, point_total));
    const auto flat = static_cast<float>(kK1 * (1 - kB));
    const auto slope = static_cast<float>(kK1 * kB / point_mean);
    const auto document_total = static_cast<double>(document_count_);
    const double document_mean =
        std::max(1.0, static_cast<double>(total_length_) / std::max(1.0, document_total));
    const auto idf = [](double total, double df) {
        return std::log(1 + (total - df + 0.5) / (df + 0.5));
    };
    for (const LiveSegment& live : segments_) PX_TRY(live.segment->verify_rest());
    if (points != nullptr) {
        points->resize(segments_.size());
        for (size_t s = 0; s < segments_.size(); ++s)
            (*points)[s].assign(segments_[s].segment->point_count(), 0.0F);
    }
    if (documents != nullptr) documents->assign(document_names_.size(), 0);
    DocumentCounts counts(document_names_.size(), segments_.size() > 1);
    const auto add_counted = [&](double weight) {
        weight *= (kK1 + 1) * idf(document_total, static_cast<double>(counts.size()));
        counts.drain([&](uint32_t number, uint32_t frequency) {
            const double tf = frequency;
            (*documents)[number] +=
                weight * tf /
                (tf + kK1 * (1 - kB + kB * document_lengths_[number] / document_mean));
        });
    };
    size_t until_check = kPostingsPerCheck;
    for (const auto& [word, times] : words.single) {
        PX_TRY(deadline.check());
        std::vector<std::optional<TermPostings>> postings(segments_.size());
        uint64_t df = 0;  // living points that have the term
        for (size_t s = 0; s < segments_.size(); ++s) {
            const LiveSegment& live = segments_[s];
            postings[s] = live.segment->postings(word);
            if (!postings[s] || points == nullptr) continue;
            if (live.deleted.empty()) {
                df += postings[s]->df;
                continue;
            }
            PostingsReader reader(*postings[s], live.segment->point_count());
            while (reader.next()) {
                for (size_t i = 0; i < reader.size(); ++i)
                    df += live.deleted.test(reader.ordinals()[i]) ? 0 : 1;
            }
        }
        const auto weight = static_cast<float>(
            times * idf(point_total, static_cast<double>(std::min<uint64_t>(df, point_count_))) *
            (kK1 + 1));
        for (size_t s = 0; s < segments_.size(); ++s) {
            if (!postings[s]) continue;
            const LiveSegment& live = segments_[s];
            const Segment& segment = *live.segment;
            PostingsReader reader(*postings[s], segment.point_count());
            const uint32_t* codes = segment.document().codes.data();
            const uint32_t* numbers = document_of_[s].data();
            while (reader.next()) {
                const size_t size = reader.size();
                const uint32_t* ordinals = reader.ordinals();
                const uint32_t* frequencies = reader.frequencies();
                if (points != nullptr) {
                    float* scores = (*points)[s].data();
                    for (size_t i = 0; i < size; ++i) {
                        const auto tf = static_cast<float>(frequencies[i]);
                        scores[ordinals[i]] +=
                            weight * tf /
                            (tf + flat + slope * static_cast<float>(segment.length(ordinals[i])));
                    }
                }
                if (documents != nullptr && live.deleted.empty()) {
                    for (size_t i = 0; i < size;) {
                        const uint32_t code = codes[ordinals[i]];
                        uint32_t frequency = 0;
                        for (; i < size && codes[ordinals[i]] == code; ++i)
                            frequency += frequencies[i];
                        counts.add(numbers[code], frequency);
                    }
                } else if (documents != nullptr) {
                    for (size_t i = 0; i < size; ++i) {
                        if (!live.is_deleted(ordinals[i]))
                            counts.add(numbers[codes[ordinals[i]]], frequencies[i]);
                    }
                }
                if (until_check <= size) {
                    until_check = kPostingsPerCheck;
                    PX_TRY(deadline.check());
                }
                until_check -= std::min(until_check, size);
            }
            if (reader.corrupt()) return corrupt(segment);
        }
        if (documents != nullptr) add_counted(times);
    }
    if (documents == nullptr) return {};
    for (const auto& [pair, times] : words.pairs) {
        PX_TRY(deadline.check());
        for (size_t s = 0; s < segments_.size(); ++s) {
            const LiveSegment& live = segments_[s];
            const Segment& segment = *live.segment;
            const auto first = segment.postings(pair.first);
            const auto second = segment.postings(pair.second);
            if (!first || !second) continue;
            const bool sound = for_pairs(
                *first, *second, segment.point_count(), [&](uint32_t ordinal, uint32_t frequency) {
                    if (!live.is_deleted(ordinal))
                        counts.add(document_of_[s][segment.document().codes[ordinal]], frequency);
                });
            if (!sound) return corrupt(segment);
        }
        add_counted(times * kPhraseWeight);
    }
    return {};
}

Result<std::vector<ScoredPoint>> EmbeddedView::search_lexical(std::string_view query, size_t top_k,
                                                              const Filter& filter,
                                                              const Deadline& deadline) const {
    PX_TRY(deadline.check());
    std::vector<ScoredPoint> found;
    if (point_count_ == 0 || top_k == 0) return found;
    std::vector<std::vector<float>> scores;
    PX_TRY(score_words(Words(query), &scores, nullptr, deadline));
    const FoldedFilter folded(filter);
    const size_t k = std::min<uint64_t>(top_k, point_count_);
    Floor floor(k);
    size_t compact_at = 4096 + 8 * k;
    for (size_t s = 0; s < segments_.size(); ++s) {
        const auto allowed = allowed_points(segments_[s], folded);
        if (!allowed) continue;
        for (size_t ordinal = 0; ordinal < scores[s].size(); ++ordinal) {
            const float score = scores[s][ordinal];
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

std::vector<uint32_t> EmbeddedView::best_documents(const std::vector<double>& scores, size_t top_k,
                                                   const Filter& filter) const {
    // Which documents a filter admits; empty: all.
    std::vector<bool> admitted;
    const FoldedFilter folded(filter);
    if (folded.restricts) {
        admitted.resize(document_names_.size(), false);
        for (size_t s = 0; s < segments_.size(); ++s) {
            const auto allowed = allowed_points(segments_[s], folded);
            if (!allowed) continue;
            const auto& codes = segments_[s].segment->document().codes;
            for (size_t ordinal = 0; ordinal < codes.size(); ++ordinal) {
                if (allowed->test(ordinal)) admitted[document_of_[s][codes[ordinal]]] = true;
            }
        }
    }
    std::vector<uint32_t> ranked;
    for (uint32_t number = 0; number < scores.size(); ++number) {
        if (scores[number] > 0 && (admitted.empty() || admitted[number])) ranked.push_back(number);
    }
    const auto better = [&](uint32_t a, uint32_t b) {
        return scores[a] != scores[b] ? scores[a] > scores[b]
                                      : document_names_[a] < document_names_[b];
    };
    const auto k = static_cast<std::ptrdiff_t>(std::min(top_k, ranked.size()));
    std::nth_element(ranked.begin(), ranked.begin() + k, ranked.end(), better);
    ranked.resize(static_cast<size_t>(k));
    std::sort(ranked.begin(), ranked.end(), better);
    return ranked;
}

Result<std::vector<ScoredDocument>> EmbeddedView::search_documents(std::string_view query,
                                                                   size_t top_k,
                                                                   const Filter& filter,
                                                                   const Deadline& deadline) const {
    PX_TRY(deadline.check());
    std::vector<ScoredDocument> found;
    if (document_count_ == 0 || top_k == 0) return found;
    std::vector<double> scores;
    PX_TRY(score_words(Words(query), nullptr, &scores, deadline));
    for (const uint32_t number : best_documents(scores, top_k, filter))
        found.push_back({std::string(document_names_[number]), static_cast<float>(scores[number])});
    return found;
}

Result<HybridHits> EmbeddedView::search_hybrid(const std::vector<float>& vector,
                                               std::string_view text, HybridCounts counts,
                                               const Filter& filter, const Deadline& deadline,
                                               Accuracy accuracy) const {
    HybridHits hits;
    hits.dense = PX_TRY(search_dense(vector, counts.points, filter, deadline, accuracy));
    std::vector<double> scores;
    PX_TRY(score_words(Words(text), &hits.point_scores, &scores, deadline));
    hits.document_scores.assign(scores.begin(), scores.end());
    for (const uint32_t number : best_documents(scores, counts.documents, filter))
        hits.documents.push_back({number, hits.document_scores[number]});
    return hits;
}

namespace {

/// Codes of points, in place.
class CodeVectors final : public PassageVectors {
  public:
    CodeVectors(size_t width, size_t stride, const kernels::Kernels& kernels, size_t count)
        : width_(width), stride_(stride), kernels_(kernels), ones_(stride, 1) {
        rows_.reserve(count);
    }
    void push(const CodeRows& rows, size_t ordinal) {
        rows_.push_back({rows.at(ordinal), rows.scales[ordinal]});
    }
    void dots(const std::vector<float>& query, float* out) const override {
        const CodeQuery coded(query.data(), width_, stride_);
        int32_t sums[64];
        for (size_t i = 0; i < rows_.size();) {
            // Passages of a document stand together.
            size_t count = 1;
            while (i + count < rows_.size() && count < std::size(sums) &&
                   rows_[i + count].codes == rows_[i].codes + count * stride_) {
                ++count;
            }
            kernels_.dot_codes(rows_[i].codes, stride_, count, coded.codes(), sums);
            for (size_t k = 0; k < count; ++k)
                out[i + k] = coded.similarity(sums[k], rows_[i + k].scale);
            i += count;
        }
    }
    float dot(size_t i, size_t k) const override {
        alignas(64) std::array<int8_t, 1024> fixed;
        std::vector<int8_t> large;
        int8_t* codes = fixed.data();
        if (stride_ > fixed.size()) {
            large.resize(stride_);
            codes = large.data();
        }
        for (size_t d = 0; d < stride_; ++d)
            codes[d] = static_cast<int8_t>(rows_[i].codes[d] ^ 0x80U);
        int32_t sum = 0;
        int32_t code_sum = 0;
        kernels_.dot_codes(rows_[k].codes, stride_, 1, codes, &sum);
        kernels_.dot_codes(rows_[i].codes, stride_, 1, ones_.data(), &code_sum);
        code_sum -= 128 * static_cast<int32_t>(stride_);
        return static_cast<float>(sum - 128 * code_sum) * (rows_[i].scale * rows_[k].scale);
    }
    void add(size_t i, float* sum) const override {
        kernels_.add_row(rows_[i].codes, rows_[i].scale, sum, width_);
    }
    std::vector<float> products(const std::vector<std::vector<float>>& vectors) const override {
        const size_t n = vectors.size();
        std::vector<CodeQuery> coded;
        coded.reserve(n);
        std::vector<uint8_t> rows(n * stride_);
        for (size_t i = 0; i < n; ++i) {
            const CodeQuery& own = coded.emplace_back(vectors[i].data(), width_, stride_);
            for (size_t d = 0; d < stride_; ++d)
                rows[i * stride_ + d] = static_cast<uint8_t>(own.codes()[d] + 128);
        }
        std::vector<float> all(n * n, 0.0F);
        std::vector<int32_t> sums(n);
        for (size_t i = 0; i < n; ++i) {
            kernels_.dot_codes(rows.data() + (i + 1) * stride_, stride_, n - i - 1,
                               coded[i].codes(), sums.data());
            for (size_t k = i + 1; k < n; ++k) {
                all[i * n + k] = all[k * n + i] =
                    coded[i].similarity(sums[k - i - 1], coded[k].scale());
            }
        }
        return all;
    }

  private:
    struct Row {
        const uint8_t* codes;
        float scale;
    };
    size_t width_, stride_;
    const kernels::Kernels& kernels_;
    std::vector<int8_t> ones_;
    std::vector<Row> rows_;
};

}  // namespace

Result<std::unique_ptr<const PassageVectors>> EmbeddedView::passage_vectors(
    const std::vector<uint64_t>& handles, const Deadline& deadline) const {
    PX_TRY(deadline.check());
    const size_t stride = segments_.empty() ? 0 : segments_.front().segment->stride();
    auto vectors = std::make_unique<CodeVectors>(width_, stride, kernels_, handles.size());
    for (const uint64_t handle : handles)
        vectors->push(segments_[segment_of(handle)].segment->rows(), ordinal_of(handle));
    return std::unique_ptr<const PassageVectors>(std::move(vectors));
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
    for (size_t s = 0; s < segments_.size(); ++s) {
        if (const auto code = segments_[s].segment->document().names.find(document_id))
            return points_in(document_of_[s][*code]);
    }
    return {};
}

std::vector<uint64_t> EmbeddedView::points_in(uint32_t document) const {
    std::vector<uint64_t> handles;
    const auto take = [&](const Place& place) {
        const LiveSegment& live = segments_[place.segment];
        const auto [first, last] = live.segment->points_of(place.code);
        for (uint32_t ordinal = first; ordinal < last; ++ordinal) {
            if (!live.is_deleted(ordinal)) handles.push_back(make_handle(place.segment, ordinal));
        }
    };
    take(first_places_[document]);
    const auto more = more_places_.find(document);
    if (more == more_places_.end()) return handles;  // its points are in order
    for (const Place& place : more->second) take(place);
    std::sort(handles.begin(), handles.end(), [this](uint64_t a, uint64_t b) {
        const int64_t start_a = segments_[segment_of(a)].segment->span(ordinal_of(a)).start;
        const int64_t start_b = segments_[segment_of(b)].segment->span(ordinal_of(b)).start;
        if (start_a != start_b) return start_a < start_b;
        return id_of(a) < id_of(b);
    });
    return handles;
}

Result<std::shared_ptr<const CollectionView>> EmbeddedView::narrowed(
    const Audience& audience) const {
    std::vector<LiveSegment> segments;
    for (const LiveSegment& live : segments_) {
        const Segment& segment = *live.segment;
        const StringTable& names = segment.document().names;
        std::vector<uint8_t> admitted(names.size());
        for (size_t code = 0; code < names.size(); ++code)
            admitted[code] = audience.admits(names[code]) ? 1 : 0;
        LiveSegment own{live.segment, live.deleted, 0, 0};
        if (own.deleted.empty()) own.deleted = Bitmap(segment.point_count());
        for (size_t ordinal = 0; ordinal < segment.point_count(); ++ordinal) {
            if (own.deleted.test(ordinal)) continue;
            if (admitted[segment.document().codes[ordinal]] == 0) {
                own.deleted.set(ordinal);
                continue;
            }
            ++own.living;
            own.living_length += segment.length(ordinal);
        }
        // One without any point of his has nothing to tell.
        if (own.living > 0) segments.push_back(std::move(own));
    }
    return std::shared_ptr<const CollectionView>(
        std::make_shared<EmbeddedView>(manifest_, width_, std::move(segments), kernels_));
}

}  // namespace px::index
