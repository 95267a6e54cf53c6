#include "index/embedded/graph.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include "base/parallel.h"

namespace px::index {

namespace {

constexpr size_t kBatchShare = 50;  // of the points so far, a new batch is at most one in this many
constexpr size_t kBatchGrain = 64;  // points a thread takes at once
constexpr size_t kBeginsMax = 6;    // of the entries a search sets out from
constexpr uint64_t kSeed = 0x9E3779B97F4A7C15ULL;

/// Better first; ties by ordinal, so that equal rows make equal graphs.
bool nearer(const Near& a, const Near& b) {
    return a.similarity != b.similarity ? a.similarity > b.similarity : a.ordinal < b.ordinal;
}
/// For heaps whose front is the worst …
struct WorstFirst {
    bool operator()(const Near& a, const Near& b) const { return nearer(a, b); }
};
/// … or the best.
struct BestFirst {
    bool operator()(const Near& a, const Near& b) const { return nearer(b, a); }
};

/// What a search needs beside the graph, kept by each thread.
struct Scratch {
    std::vector<uint64_t> seen;
    std::vector<Near> open, found;
    std::vector<uint32_t> fresh;
    std::vector<int32_t> sums;
};

/// neighbours_of(ordinal) → span of the list.
template <class NeighboursOf>
void search(NeighboursOf&& neighbours_of, std::span<const uint32_t> entries, const CodeRows& rows,
            const CodeQuery& query, size_t beam, const Bitmap* allowed,
            const kernels::Kernels& kernels, Scratch& scratch) {
    const size_t n = rows.count;
    scratch.seen.assign((n + 63) / 64, 0);
    scratch.open.clear();
    scratch.found.clear();
    std::vector<Near>& open = scratch.open;
    std::vector<Near>& found = scratch.found;
    const auto is_new = [&](uint32_t ordinal) {
        uint64_t& word = scratch.seen[ordinal / 64];
        const uint64_t bit = uint64_t{1} << (ordinal % 64);
        if ((word & bit) != 0) return false;
        word |= bit;
        return true;
    };
    const auto score = [&](const std::vector<uint32_t>& ordinals) {
        scratch.sums.resize(ordinals.size());
        kernels.dot_rows(rows.codes, rows.stride, ordinals.data(), ordinals.size(), query.codes(),
                         scratch.sums.data());
    };
    const auto take = [&](const Near& near) {
        const bool is_full = found.size() >= beam;
        if (is_full && !nearer(near, found.front())) return;
        open.push_back(near);
        std::push_heap(open.begin(), open.end(), BestFirst());
        if (allowed != nullptr && !allowed->test(near.ordinal)) return;
        if (is_full) {
            std::pop_heap(found.begin(), found.end(), WorstFirst());
            found.back() = near;
        } else {
            found.push_back(near);
        }
        std::push_heap(found.begin(), found.end(), WorstFirst());
    };

    std::vector<uint32_t>& fresh = scratch.fresh;
    fresh.clear();
    for (const uint32_t entry : entries) {
        if (entry < n) fresh.push_back(entry);
    }
    score(fresh);
    std::vector<Near> begins;
    begins.reserve(fresh.size());
    for (size_t i = 0; i < fresh.size(); ++i)
        begins.push_back({query.similarity(scratch.sums[i], rows.scales[fresh[i]]), fresh[i]});
    const size_t count = std::min(kBeginsMax, begins.size());
    std::partial_sort(begins.begin(), begins.begin() + static_cast<std::ptrdiff_t>(count),
                      begins.end(), nearer);
    for (size_t i = 0; i < count; ++i) {
        if (is_new(begins[i].ordinal)) take(begins[i]);
    }

    while (!open.empty()) {
        const Near best = open.front();
        if (found.size() >= beam && !nearer(best, found.front())) break;
        std::pop_heap(open.begin(), open.end(), BestFirst());
        open.pop_back();
        fresh.clear();
        for (const uint32_t neighbour : neighbours_of(best.ordinal)) {
            if (neighbour >= n || !is_new(neighbour)) continue;
            const uint8_t* row = rows.at(neighbour);
            for (size_t at = 0; at < rows.stride; at += 64) __builtin_prefetch(row + at);
            fresh.push_back(neighbour);
        }
        score(fresh);
        for (size_t i = 0; i < fresh.size(); ++i)
            take({query.similarity(scratch.sums[i], rows.scales[fresh[i]]), fresh[i]});
    }
    std::sort(found.begin(), found.end(), nearer);
}

Scratch& thread_scratch() {
    thread_local Scratch scratch;
    return scratch;
}

/// A graph that grows.
class Builder {
  public:
    Builder(const CodeRows& rows, const GraphOptions& options, const kernels::Kernels& kernels)
        : rows_(rows),
          options_(options),
          kernels_(kernels),
          counts_(rows.count, 0),
          neighbours_(rows.count * options.degree, kNoNeighbour) {
        // An order of its own: neighbouring ordinals are passages of one document.
        order_.resize(rows.count);
        for (size_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<uint32_t>(i);
        uint64_t state = kSeed;
        for (size_t i = order_.size(); i > 1; --i) {
            state += kSeed;
            uint64_t z = state;
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
            std::swap(order_[i - 1], order_[(z ^ (z >> 31)) % i]);
        }
        entry_count_ =
            std::max<size_t>(1, static_cast<size_t>(std::sqrt(static_cast<double>(rows.count))));
    }

    Result<void> build(const Deadline& deadline) {
        const size_t threads = options_.thread_count > 0
                                   ? options_.thread_count
                                   : std::max(1U, std::thread::hardware_concurrency());
        for (size_t done = 1; done < order_.size();) {
            const size_t size = std::min(
                {order_.size() - done, done, std::max<size_t>(kBatchGrain, done / kBatchShare)});
            PX_TRY(add(done, size, threads, deadline));
            done += size;
        }
        return {};
    }

    std::string bytes() const {
        std::string out;
        const auto append = [&](const uint32_t* values, size_t count) {
            out.append(reinterpret_cast<const char*>(values), count * sizeof(uint32_t));
        };
        const auto entry_count = static_cast<uint32_t>(entry_count_);
        out.reserve((2 + entry_count_ + neighbours_.size()) * sizeof(uint32_t));
        append(&options_.degree, 1);
        append(&entry_count, 1);
        append(order_.data(), entry_count_);
        append(neighbours_.data(), neighbours_.size());
        return out;
    }

  private:
    std::span<uint32_t> list(uint32_t ordinal) {
        return {neighbours_.data() + size_t{ordinal} * options_.degree, counts_[ordinal]};
    }

    /// Of the candidates, best first, those that no chosen one is nearer to than the point is.
    void choose(std::vector<Near>& candidates, size_t count) const {
        std::vector<Near> chosen;
        for (const Near& candidate : candidates) {
            if (chosen.size() == count) break;
            const CodeQuery own(rows_, candidate.ordinal);
            const bool is_covered =
                std::any_of(chosen.begin(), chosen.end(), [&](const Near& better) {
                    return own.similarity(rows_, better.ordinal, kernels_) > candidate.similarity;
                });
            if (!is_covered) chosen.push_back(candidate);
        }
        candidates = std::move(chosen);
    }

    Result<void> add(size_t done, size_t size, size_t threads, const Deadline& deadline) {
        // 1. Each new point looks for its neighbours among those that were there before.
        std::vector<std::vector<Near>> chosen(size);
        const size_t grains = (size + kBatchGrain - 1) / kBatchGrain;
        const std::span<const uint32_t> entries(order_.data(), std::min(done, entry_count_));
        PX_TRY(parallel_for(grains, threads, deadline, [&](size_t g) -> Result<void> {
            Scratch& scratch = thread_scratch();
            for (size_t i = g * kBatchGrain; i < std::min(size, (g + 1) * kBatchGrain); ++i) {
                search([this](uint32_t ordinal) { return list(ordinal); }, entries, rows_,
                       CodeQuery(rows_, order_[done + i]), options_.beam, nullptr, kernels_,
                       scratch);
                chosen[i] = scratch.found;
                choose(chosen[i], options_.links);
            }
            return {};
        }));
        // 2. Their lists, and the links back by the point they lead to.
        struct Link {
            uint32_t to;
            Near from;
        };
        std::vector<Link> links;
        for (size_t i = 0; i < size; ++i) {
            const uint32_t ordinal = order_[done + i];
            for (const Near& near : chosen[i]) {
                neighbours_[size_t{ordinal} * options_.degree + counts_[ordinal]++] = near.ordinal;
                links.push_back({near.ordinal, {near.similarity, ordinal}});
            }
        }
        std::sort(links.begin(), links.end(), [](const Link& a, const Link& b) {
            return a.to != b.to ? a.to < b.to : nearer(a.from, b.from);
        });
        std::vector<size_t> firsts;
        for (size_t i = 0; i < links.size(); ++i) {
            if (i == 0 || links[i].to != links[i - 1].to) firsts.push_back(i);
        }
        firsts.push_back(links.size());
        const size_t targets = firsts.size() - 1;
        return parallel_for((targets + kBatchGrain - 1) / kBatchGrain, threads, deadline,
                            [&](size_t g) -> Result<void> {
                                for (size_t t = g * kBatchGrain;
                                     t < std::min(targets, (g + 1) * kBatchGrain); ++t) {
                                    link_back(links[firsts[t]].to, firsts[t + 1] - firsts[t],
                                              [&](size_t i) { return links[firsts[t] + i].from; });
                                }
                                return {};
                            });
    }

    template <class At>
    void link_back(uint32_t to, size_t count, At&& at) {
        uint32_t* own = neighbours_.data() + size_t{to} * options_.degree;
        if (counts_[to] + count <= options_.degree) {
            for (size_t i = 0; i < count; ++i) own[counts_[to]++] = at(i).ordinal;
            return;
        }
        std::vector<Near> candidates;
        const CodeQuery query(rows_, to);
        for (const uint32_t known : list(to))
            candidates.push_back({query.similarity(rows_, known, kernels_), known});
        for (size_t i = 0; i < count; ++i) candidates.push_back(at(i));
        std::sort(candidates.begin(), candidates.end(), nearer);
        choose(candidates, options_.degree);
        std::fill(own, own + options_.degree, kNoNeighbour);
        counts_[to] = static_cast<uint32_t>(candidates.size());
        for (size_t i = 0; i < candidates.size(); ++i) own[i] = candidates[i].ordinal;
    }

    const CodeRows& rows_;
    const GraphOptions& options_;
    const kernels::Kernels& kernels_;
    std::vector<uint32_t> order_;
    size_t entry_count_ = 1;
    std::vector<uint32_t> counts_;
    std::vector<uint32_t> neighbours_;
};

}  // namespace

CodeQuery::CodeQuery(const float* vector, size_t width, size_t stride) : codes_(stride, 0) {
    float largest = 0;
    for (size_t i = 0; i < width; ++i) largest = std::max(largest, std::fabs(vector[i]));
    scale_ = largest / 127.0F;
    double error = 0;
    double norm = 0;
    for (size_t i = 0; i < width; ++i) {
        const float steps =
            scale_ < std::numeric_limits<float>::min() ? 0.0F : std::nearbyint(vector[i] / scale_);
        const int code = static_cast<int>(std::clamp(steps, -127.0F, 127.0F));
        codes_[i] = static_cast<int8_t>(code);
        code_sum_ += code;
        const double difference = vector[i] - static_cast<double>(scale_) * code;
        error += difference * difference;
        norm += static_cast<double>(vector[i]) * vector[i];
    }
    error_ = std::sqrt(error);
    norm_ = std::sqrt(norm);
}

CodeQuery::CodeQuery(const CodeRows& rows, size_t ordinal)
    : codes_(rows.stride), scale_(rows.scales[ordinal]) {
    const uint8_t* row = rows.at(ordinal);
    for (size_t i = 0; i < rows.stride; ++i) {
        codes_[i] = static_cast<int8_t>(row[i] - 128);
        code_sum_ += codes_[i];
    }
}

Result<Graph> Graph::parse(std::span<const uint8_t> section, size_t point_count) {
    Graph graph;
    if (section.empty()) return graph;
    const auto bad = [] {
        return fail(ErrorCode::Corrupt, "section graph does not have the size its counts demand");
    };
    uint32_t head[2] = {};
    if (section.size() < sizeof(head)) return bad();
    std::memcpy(head, section.data(), sizeof(head));
    const uint64_t values = section.size() / sizeof(uint32_t);
    if (section.size() % sizeof(uint32_t) != 0 || head[0] == 0 || head[0] > 4096 || head[1] == 0 ||
        values != 2 + uint64_t{head[1]} + uint64_t{head[0]} * point_count) {
        return bad();
    }
    const auto* at = reinterpret_cast<const uint32_t*>(section.data());
    graph.degree = head[0];
    graph.entries = {at + 2, head[1]};
    graph.neighbours = {at + 2 + head[1], size_t{head[0]} * point_count};
    return graph;
}

Result<std::string> build_graph(const CodeRows& rows, const GraphOptions& options,
                                const kernels::Kernels& kernels, const Deadline& deadline) {
    Builder builder(rows, options, kernels);
    PX_TRY(builder.build(deadline));
    return builder.bytes();
}

std::vector<Near> search_graph(const Graph& graph, const CodeRows& rows, const CodeQuery& query,
                               size_t beam, const Bitmap* allowed,
                               const kernels::Kernels& kernels) {
    Scratch& scratch = thread_scratch();
    search(
        [&](uint32_t ordinal) {
            return graph.neighbours.subspan(size_t{ordinal} * graph.degree, graph.degree);
        },
        graph.entries, rows, query, beam, allowed, kernels, scratch);
    return scratch.found;
}

}  // namespace px::index
