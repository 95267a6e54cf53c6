// What every adapter of VectorStore must do, as a parameterised gtest suite: include it in the
// adapter's test and instantiate VectorStoreConformance with a VectorStoreUnderTest. For tests
// only.
#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "index/analysis.h"
#include "index/embedded/kernels/kernels.h"
#include "index/embedded/test_points.h"
#include "index/vector_store.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::index {

using px::testing::IsError;
using px::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

struct VectorStoreUnderTest {
    std::string name;
    /// A new place without any manifest, and how to open it, as often as one likes; scratch is an
    /// empty folder that outlives it.
    std::function<std::function<std::unique_ptr<VectorStore>()>(
        const std::filesystem::path& scratch)>
        make_place;
    /// Of dense scores; 0: the bits of the kernels.
    double score_tolerance = 0;
    /// Points and rounds of the longer tests, in percent: where each step is a request.
    int size_percent = 100;
};

inline std::string conformance_name(const ::testing::TestParamInfo<VectorStoreUnderTest>& info) {
    return info.param.name;
}
inline void PrintTo(const VectorStoreUnderTest& store, std::ostream* stream) {
    *stream << store.name;
}

/// What the index must hold, searched the slow way.
class Model {
  public:
    void apply(const std::vector<chunk::ChunkId>& removed, const std::vector<Point>& added) {
        for (const auto& id : removed) points_.erase(id.value);
        for (const Point& point : added) points_[point.id.value] = point;
        words_.clear();
        lengths_.clear();
        df_.clear();
        total_ = 0;
    }
    size_t size() const { return points_.size(); }
    const std::map<std::string, Point>& points() const { return points_; }

    static bool passes(const Point& point, const Filter& filter) {
        const auto any = [](const std::vector<std::string>& wanted, const std::string& value,
                            bool fold) {
            if (wanted.empty()) return true;
            return std::any_of(wanted.begin(), wanted.end(), [&](const std::string& w) {
                return fold ? fold_case(w) == fold_case(value) : w == value;
            });
        };
        if (!any(filter.authors, point.author, true) ||
            !any(filter.categories, point.category, true))
            return false;
        if (!any(filter.sources, point.source, false)) return false;
        if (filter.from && (!point.created_at || *point.created_at < *filter.from)) return false;
        if (filter.to && (!point.created_at || *point.created_at >= *filter.to)) return false;
        return !filter.document_id || point.document_id == *filter.document_id;
    }

    using Hits = std::vector<std::pair<std::string, double>>;
    static Hits top(Hits hits, size_t k) {
        std::sort(hits.begin(), hits.end(), [](const auto& a, const auto& b) {
            return a.second != b.second ? a.second > b.second : a.first < b.first;
        });
        if (hits.size() > k) hits.resize(k);
        return hits;
    }
    Hits dense(const std::vector<float>& query, size_t k, const Filter& filter) const {
        Hits hits;
        for (const auto& [id, point] : points_) {
            if (passes(point, filter))
                hits.emplace_back(
                    id, kernels::kScalar.dot_f32(point.vector.data(), query.data(), query.size()));
        }
        return top(std::move(hits), k);
    }
    double score(const std::string& id, const std::vector<float>& query) const {
        return kernels::kScalar.dot_f32(points_.at(id).vector.data(), query.data(), query.size());
    }
    Hits lexical(std::string_view query, size_t k, const Filter& filter) const {
        Analyzer analyzer;
        if (words_.empty()) {
            for (const auto& [id, point] : points_) {
                for (const std::string& part : {point.title, point.author, point.text}) {
                    for (const std::string& term : analyzer.terms(part)) {
                        if (words_[id][term]++ == 0) ++df_[term];
                        ++lengths_[id];
                        ++total_;
                    }
                }
            }
        }
        const double n = static_cast<double>(points_.size());
        Hits hits;
        for (const auto& [id, point] : points_) {
            double score = 0;
            for (const std::string& term : analyzer.terms(query)) {
                const double tf = words_[id][term];
                const double idf = std::log(1 + (n - df_[term] + 0.5) / (df_[term] + 0.5));
                if (tf > 0)
                    score +=
                        idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * lengths_[id] / (total_ / n)));
            }
            if (score > 0 && passes(point, filter)) hits.emplace_back(id, score);
        }
        return top(std::move(hits), k);
    }

  private:
    std::map<std::string, Point> points_;
    mutable std::map<std::string, std::map<std::string, int>>
        words_;  // of the lexical search, made when first needed
    mutable std::map<std::string, double> lengths_;
    mutable std::map<std::string, int> df_;
    mutable double total_ = 0;
};

inline std::vector<std::string> ids(const CollectionView& view,
                                    const std::vector<ScoredPoint>& found) {
    std::vector<uint64_t> handles;
    for (const ScoredPoint& hit : found) handles.push_back(hit.point);
    std::vector<std::string> result;
    for (const Point& point : *view.points(handles, Deadline::never()))
        result.push_back(point.id.value);
    return result;
}

/// found is as good as expected: the same, or not worse by more than the tolerance.
inline void expect_hits(const CollectionView& view, const Model& model,
                        const std::vector<float>& query, const std::vector<ScoredPoint>& found,
                        const Model::Hits& expected, double tolerance) {
    ASSERT_EQ(found.size(), expected.size());
    const auto names = ids(view, found);
    for (size_t i = 0; i < found.size(); ++i) {
        if (tolerance == 0) {
            ASSERT_EQ(names[i], expected[i].first) << "place " << i;
            ASSERT_EQ(found[i].score, static_cast<float>(expected[i].second));
        } else {
            ASSERT_NEAR(found[i].score, expected[i].second, tolerance) << "place " << i;
            ASSERT_NEAR(model.score(names[i], query), expected[i].second, tolerance)
                << "place " << i;
        }
    }
}

/// The view holds exactly the model's points and finds what brute force finds.
inline void expect_equal(const CollectionView& view, const Model& model, PointMaker& maker,
                         size_t queries = 8, double tolerance = 0) {
    ASSERT_EQ(view.point_count(), model.size());
    std::vector<uint64_t> handles;
    for (const auto& [id, point] : model.points()) {
        const auto handle = view.find({id});
        ASSERT_TRUE(handle) << id;
        ASSERT_EQ(view.document_id(*handle), point.document_id);
        handles.push_back(*handle);
    }
    const auto read = view.points(handles, Deadline::never());
    ASSERT_THAT(read, IsOk());
    const auto vectors = view.vectors(handles, Deadline::never());
    ASSERT_THAT(vectors, IsOk());
    size_t place = 0;
    for (const auto& [id, point] : model.points()) {
        const Point& found = (*read)[place];
        ASSERT_EQ(found.id.value, id);
        ASSERT_EQ(found.text, point.text);
        ASSERT_EQ(found.title, point.title);
        ASSERT_EQ(found.author, point.author);
        ASSERT_EQ(found.category, point.category);
        ASSERT_EQ(found.created_at, point.created_at);
        ASSERT_EQ(found.span, point.span);
        ASSERT_EQ(found.ds, point.ds);
        ASSERT_EQ(found.source, point.source);
        ASSERT_EQ(found.document_id, point.document_id);
        const float* row = vectors->rows[place++];
        ASSERT_EQ(std::vector<float>(row, row + view.width()), point.vector);
    }
    std::vector<Filter> filters(7);
    filters[1].authors = {"AUTHOR 3", "author 1"};
    filters[2].categories = {"ÉNERGIE"};
    filters[2].sources = {"filings"};
    filters[3].from = 1'700'000'000'000'000 + 50 * 86'400'000'000LL;
    filters[4].from = 1'700'000'000'000'000;
    filters[4].to = 1'700'000'000'000'000 + 90 * 86'400'000'000LL;
    filters[5].document_id = "reports/doc-3";
    filters[6].authors = {"Nobody"};
    for (size_t q = 0; q < queries; ++q) {
        const std::vector<float> query = maker.vector();
        for (const Filter& filter : filters) {
            for (const size_t k : {1U, 10U, 1000U}) {
                const auto found = view.search_dense(query, k, filter, Deadline::never());
                ASSERT_THAT(found, IsOk());
                expect_hits(view, model, query, *found, model.dense(query, k, filter), tolerance);
                if (::testing::Test::HasFatalFailure()) return;
            }
            const char* text =
                q % 2 == 0 ? "Inflation outlook: the rates of 3 trades" : "housing housing credits";
            const auto found = view.search_lexical(text, 10, filter, Deadline::never());
            ASSERT_THAT(found, IsOk());
            const auto expected = model.lexical(text, 10, filter);
            ASSERT_EQ(found->size(), expected.size());
            for (size_t i = 0; i < expected.size(); ++i) {
                ASSERT_NEAR((*found)[i].score, expected[i].second, 1e-4) << "place " << i;
            }
        }
    }
}

class VectorStoreConformance : public ::testing::TestWithParam<VectorStoreUnderTest> {
  protected:
    void SetUp() override { open_ = GetParam().make_place(scratch_ / "place"); }
    std::unique_ptr<VectorStore> reopen() {
        auto store = open_();
        EXPECT_THAT(store->prepare(), IsOk());
        return store;
    }
    static int sized(int count) { return count * GetParam().size_percent / 100; }

    static void expect_hits(const CollectionView& view, const Model& model,
                            const std::vector<float>& query, const std::vector<ScoredPoint>& found,
                            const Model::Hits& expected) {
        index::expect_hits(view, model, query, found, expected, GetParam().score_tolerance);
    }
    static void expect_equal(const CollectionView& view, const Model& model, PointMaker& maker,
                             size_t queries = 8) {
        index::expect_equal(view, model, maker, queries, GetParam().score_tolerance);
    }

    px::testing::TempDir scratch_;
    std::function<std::unique_ptr<VectorStore>()> open_;
};

TEST_P(VectorStoreConformance, AnEmptyCollectionHasAManifestAndFindsNothing) {
    auto store = reopen();
    const auto id = store->apply(std::nullopt, {}, {}, Deadline::never());
    ASSERT_THAT(id, IsOk());
    const auto view = store->open(*id);
    ASSERT_THAT(view, IsOk());
    EXPECT_EQ((*view)->point_count(), 0U);
    EXPECT_EQ((*view)->width(), 0U);
    EXPECT_EQ((*view)->manifest(), *id);
    EXPECT_THAT(*(*view)->search_dense({1, 0}, 5, {}, Deadline::never()), IsEmpty());
    EXPECT_THAT(*(*view)->search_lexical("outlook", 5, {}, Deadline::never()), IsEmpty());
    EXPECT_THAT((*view)->points_of("reports/1"), IsEmpty());
    EXPECT_FALSE((*view)->find({"00112233445566778899aabbccddeeff"}));
    EXPECT_FALSE((*view)->find({"no id"}));
}

TEST_P(VectorStoreConformance, FindsWhatBruteForceFinds) {
    auto store = reopen();
    PointMaker maker(1);
    Model model;
    const auto points = maker.points(0, sized(700));
    model.apply({}, points);
    const auto view = *store->open(*store->apply(std::nullopt, {}, points, Deadline::never()));
    expect_equal(*view, model, maker, 4);
}

TEST_P(VectorStoreConformance, IsExactEvenWhenVectorsAreHardToTellApart) {
    // All in one narrow cone and many equal: the int8 scan alone would order them at random.
    auto store = reopen();
    PointMaker maker(2, 384, 1);
    Model model;
    std::vector<Point> points = maker.points(0, sized(3000));
    for (size_t i = 0; i < points.size(); ++i) {
        if (i % 3 == 0) points[i].vector = points[0].vector;
        for (size_t d = 0; d < 384; ++d)
            points[i].vector[d] = points[0].vector[d] + points[i].vector[d] * 0.003F;
        points[i].vector = unit(points[i].vector);
    }
    model.apply({}, points);
    const auto view = *store->open(*store->apply(std::nullopt, {}, points, Deadline::never()));
    for (int q = 0; q < 10; ++q) {
        const auto query = q == 0 ? points[0].vector : maker.vector();
        const auto found = *view->search_dense(query, 50, {}, Deadline::never());
        const auto expected = model.dense(query, 50, {});
        ASSERT_THAT(found, SizeIs(50));
        expect_hits(*view, model, query, found, expected);
    }
}

TEST_P(VectorStoreConformance, TiesAreOrderedByChunkId) {
    auto store = reopen();
    PointMaker maker(5);
    auto points = maker.points(0, 60);
    for (Point& point : points) {
        point.vector = points[0].vector;
        point.text = "same words here";
        point.title = "";
        point.author = "";
    }
    std::optional<ManifestId> id;
    for (int i = 0; i < 3; ++i) {
        id = *store->apply(id, {}, {points.begin() + i * 20, points.begin() + (i + 1) * 20},
                           Deadline::never());
    }
    const auto view = *store->open(*id);
    for (const auto& found : {*view->search_dense(points[0].vector, 60, {}, Deadline::never()),
                              *view->search_lexical("same words", 60, {}, Deadline::never())}) {
        const auto order = ids(*view, found);
        ASSERT_THAT(order, SizeIs(60));
        EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
    }
}

TEST_P(VectorStoreConformance, RanksADocumentByTheWordsOfAllItsPoints) {
    auto store = reopen();
    PointMaker maker(7);
    auto points = maker.points(0, 5);
    const std::vector<std::pair<std::string, std::string>> contents{
        {"s/split", "the pump leaks"},
        {"s/split", "the valve rusts"},
        {"s/apart", "a valve beside another pump"},
        {"s/together", "our pump valve broke down"},
        {"s/other", "nothing of the kind"}};
    for (size_t i = 0; i < points.size(); ++i) {
        points[i].document_id = contents[i].first;
        points[i].text = contents[i].second;
        points[i].title = points[i].author = "";
    }
    const ManifestId first =
        *store->apply(std::nullopt, {}, {points.begin(), points.begin() + 1}, Deadline::never());
    const ManifestId both =
        *store->apply(first, {}, {points.begin() + 1, points.end()}, Deadline::never());
    const auto documents = [&](const ManifestId& manifest, const Filter& filter) {
        std::vector<std::string> names;
        const auto view = *store->open(manifest);
        for (const ScoredDocument& found :
             *view->search_documents("pump valve", 10, filter, Deadline::never()))
            names.push_back(found.document_id);
        return names;
    };
    const std::vector<std::string> all = documents(both, {});
    ASSERT_THAT(all, SizeIs(3)) << "a document without any of the words is left out";
    EXPECT_EQ(all.front(), "s/together") << "the words stand side by side in it alone";
    Filter filter;
    filter.document_id = "s/split";
    EXPECT_EQ(documents(both, filter), std::vector<std::string>{"s/split"});
    const ManifestId without =
        *store->apply(both, {points[0].id, points[1].id}, {}, Deadline::never());
    EXPECT_EQ(documents(without, {}).size(), 2U) << "what is deleted is not counted";
}

TEST_P(VectorStoreConformance, ApplyingNothingNewKeepsTheManifest) {
    auto store = reopen();
    PointMaker maker(7);
    const auto points = maker.points(0, 50);
    const auto id = *store->apply(std::nullopt, {}, points, Deadline::never());
    EXPECT_EQ(*store->apply(id, {}, {}, Deadline::never()), id);
    EXPECT_EQ(*store->apply(id, {}, points, Deadline::never()), id)
        << "equal points change nothing";
    EXPECT_EQ(*store->apply(id, {{"ffffffffffffffffffffffffffffffff"}}, {}, Deadline::never()), id);
    EXPECT_EQ(*store->apply(id, {points[3].id}, {points[3]}, Deadline::never()), id)
        << "removed and added again";
}

TEST_P(VectorStoreConformance, TheLastOfEqualAddedIdsCounts) {
    auto store = reopen();
    PointMaker maker(8);
    auto points = maker.points(0, 2);
    points[1].id = points[0].id;
    const auto view = *store->open(*store->apply(std::nullopt, {}, points, Deadline::never()));
    EXPECT_EQ(view->point_count(), 1U);
    EXPECT_EQ(view->point(*view->find(points[0].id)).value().text, points[1].text);
}

TEST_P(VectorStoreConformance, OldManifestsStayAsTheyWere) {
    auto store = reopen();
    PointMaker maker(11);
    const auto first = maker.points(0, 80);
    const auto old = *store->apply(std::nullopt, {}, first, Deadline::never());
    const auto view = *store->open(old);
    auto id =
        *store->apply(old, {first[0].id, first[1].id}, maker.points(100, 50), Deadline::never());
    Model model;
    model.apply({}, first);
    expect_equal(*view, model, maker);
    auto reopened = reopen();
    expect_equal(**reopened->open(old), model, maker);
    EXPECT_EQ((*reopened->open(id))->point_count(), 128U);
}

TEST_P(VectorStoreConformance, PointsOfADocumentComeInItsOrder) {
    auto store = reopen();
    PointMaker maker(12);
    auto points = maker.points(0, 70);
    auto id =
        *store->apply(std::nullopt, {}, {points.begin(), points.begin() + 35}, Deadline::never());
    std::shuffle(points.begin() + 35, points.end(), maker.random());
    id = *store->apply(id, {}, {points.begin() + 35, points.end()}, Deadline::never());
    const auto view = *store->open(id);
    for (int document = 0; document < 10; ++document) {
        const auto handles = view->points_of(fmt::format("reports/doc-{}", document));
        ASSERT_THAT(handles, SizeIs(7));
        for (size_t i = 0; i < 7; ++i)
            EXPECT_EQ(view->point(handles[i]).value().span.start, static_cast<int64_t>(i) * 100);
    }
}

TEST_P(VectorStoreConformance, FindsTextOfAnyScript) {
    auto store = reopen();
    PointMaker maker(13);
    auto points = maker.points(0, 4);
    points[0].text = "日本銀行は金融政策を発表した。";
    points[1].text = "Die Zürcher Straße führt über die Brücke.";
    points[2].text = "Ставка рефинансирования повышена.";
    points[3].text = "Crème brûlée à l’Élysée";
    const auto view = *store->open(*store->apply(std::nullopt, {}, points, Deadline::never()));
    const auto first = [&](std::string_view query) {
        const auto found = *view->search_lexical(query, 1, {}, Deadline::never());
        return found.empty() ? std::string("nothing") : view->point(found[0].point).value().text;
    };
    EXPECT_EQ(first("金融政策"), points[0].text);
    EXPECT_EQ(first("STRASSE zurcher"), points[1].text);
    EXPECT_EQ(first("СТАВКА"), points[2].text);
    EXPECT_EQ(first("creme elysee"), points[3].text);
    EXPECT_EQ(first("the of and"), "nothing");
    EXPECT_EQ(first(""), "nothing");
    EXPECT_EQ(first("\xFF\xFE brulee \x80"), points[3].text)
        << "ill-formed bytes of a query are no reason to fail";
}

TEST_P(VectorStoreConformance, RefusesWhatItCannotKeep) {
    auto store = reopen();
    PointMaker maker(14);
    const auto good = maker.points(0, 3);
    const auto id = *store->apply(std::nullopt, {}, good, Deadline::never());
    const auto refused = [&](auto change, const char* text) {
        auto points = maker.points(10, 1);
        change(points[0]);
        EXPECT_THAT(store->apply(id, {}, points, Deadline::never()),
                    IsError(ErrorCode::InvalidArgument, text));
    };
    refused([](Point& p) { p.id.value = "xyz"; }, "chunk id");
    refused([](Point& p) { p.vector.pop_back(); }, "47 dimensions");
    refused([](Point& p) { p.vector[3] = std::numeric_limits<float>::quiet_NaN(); }, "not finite");
    refused([](Point& p) { p.vector[3] = std::numeric_limits<float>::infinity(); }, "not finite");
    refused([](Point& p) { p.text = "\xC3("; }, "not UTF-8");
    refused([](Point& p) { p.title = "\xED\xA0\x80"; }, "not UTF-8");
    EXPECT_THAT(store->apply(id, {{"nope"}}, {}, Deadline::never()),
                IsError(ErrorCode::InvalidArgument));
    EXPECT_THAT(store->apply(ManifestId{"../../etc/passwd"}, {}, {}, Deadline::never()),
                IsError(ErrorCode::InvalidArgument));
    EXPECT_THAT(store->open(ManifestId{std::string(64, '0')}), IsError(ErrorCode::NotFound));
    const auto view = *store->open(id);
    EXPECT_THAT(view->search_dense({1, 2, 3}, 5, {}, Deadline::never()),
                IsError(ErrorCode::InvalidArgument, "3 dimensions"));
    EXPECT_THAT(view->search_dense(std::vector<float>(48, std::numeric_limits<float>::quiet_NaN()),
                                   5, {}, Deadline::never()),
                IsError(ErrorCode::InvalidArgument));
    EXPECT_THAT(*view->search_dense(std::vector<float>(48, 0.0F), 5, {}, Deadline::never()),
                SizeIs(3));
    EXPECT_THAT(*view->search_dense(good[0].vector, 0, {}, Deadline::never()), IsEmpty());
    EXPECT_THAT(*view->search_dense(good[0].vector, SIZE_MAX, {}, Deadline::never()), SizeIs(3));
}

TEST_P(VectorStoreConformance, StopsAtTheDeadline) {
    auto store = reopen();
    PointMaker maker(15);
    const auto points = maker.points(0, 30);
    const auto view = *store->open(*store->apply(std::nullopt, {}, points, Deadline::never()));
    Deadline past;
    past.at = std::chrono::steady_clock::now() - std::chrono::seconds(1);
    EXPECT_THAT(view->search_dense(points[0].vector, 5, {}, past),
                IsError(ErrorCode::DeadlineExceeded));
    EXPECT_THAT(view->search_lexical("inflation", 5, {}, past),
                IsError(ErrorCode::DeadlineExceeded));
    EXPECT_THAT(store->apply(std::nullopt, {}, points, past), IsError(ErrorCode::DeadlineExceeded));
    std::stop_source stop;
    stop.request_stop();
    Deadline cancelled;
    cancelled.stop = stop.get_token();
    EXPECT_THAT(view->search_dense(points[0].vector, 5, {}, cancelled),
                IsError(ErrorCode::Cancelled));
}

TEST_P(VectorStoreConformance, StaysEqualToTheModelThroughRandomChanges) {
    const uint64_t seed = 20261124;
    SCOPED_TRACE(seed);
    auto store = reopen();
    PointMaker maker(seed, 16);
    Model model;
    std::optional<ManifestId> id;
    int next = 0;
    const int rounds = sized(40);
    for (int round = 0; round < rounds; ++round) {
        std::vector<chunk::ChunkId> removed;
        std::vector<Point> added;
        for (const auto& [known, point] : model.points()) {
            const uint64_t dice = maker.random()() % 20;
            if (dice == 0) removed.push_back({known});
            if (dice == 1) {  // replaced by another content
                added.push_back(point);
                added.back().text += " replaced";
            }
            if (dice == 2) added.push_back(point);  // equal
        }
        removed.push_back({"ffffffffffffffffffffffffffffffff"});
        const int count = static_cast<int>(maker.random()() % 40);
        for (int i = 0; i < count; ++i) added.push_back(maker.point(next++));
        if (round == rounds * 3 / 4) {
            removed.clear();
            for (const auto& [known, point] : model.points()) removed.push_back({known});
            added.clear();
        }
        const auto applied = store->apply(id, removed, added, Deadline::never());
        ASSERT_THAT(applied, IsOk());
        id = *applied;
        model.apply(removed, added);
        if (round % 2 == 1) store = reopen();
        expect_equal(**store->open(*id), model, maker, 1);
        if (HasFatalFailure()) FAIL() << "in round " << round;
    }
}

TEST_P(VectorStoreConformance, EqualArgumentsGiveEqualManifestsWhateverTheirOrder) {
    PointMaker maker(6);
    auto points = maker.points(0, sized(300));
    auto first = reopen();
    auto second = GetParam().make_place(scratch_ / "other")();
    ASSERT_THAT(second->prepare(), IsOk());
    const auto a = *first->apply(std::nullopt, {}, points, Deadline::never());
    std::shuffle(points.begin(), points.end(), maker.random());
    const auto b = *second->apply(std::nullopt, {}, points, Deadline::never());
    EXPECT_EQ(a, b);
    EXPECT_EQ(*second->apply(std::nullopt, {}, points, Deadline::never()), b);
    const auto removed = std::vector<chunk::ChunkId>{points[0].id, points[1].id};
    const auto more = maker.points(1000, 10);
    EXPECT_EQ(*first->apply(a, removed, more, Deadline::never()),
              *second->apply(b, {removed[1], removed[0], removed[1]}, more, Deadline::never()));
}

TEST_P(VectorStoreConformance, TwoReleasesMayBuildUponOne) {
    auto store = reopen();
    PointMaker maker(21);
    const auto points = maker.points(0, 40);
    const auto base = *store->apply(std::nullopt, {}, points, Deadline::never());
    Model left;
    Model right;
    left.apply({}, points);
    right.apply({}, points);
    std::optional<ManifestId> a = base;
    std::optional<ManifestId> b = base;
    for (int round = 0; round < 3; ++round) {
        // Both take out the same point, and one each alone.
        const std::vector<chunk::ChunkId> gone_left{points[static_cast<size_t>(round)].id,
                                                    points[static_cast<size_t>(10 + round)].id};
        const std::vector<chunk::ChunkId> gone_right{points[static_cast<size_t>(round)].id,
                                                     points[static_cast<size_t>(20 + round)].id};
        const auto more_left = maker.points(100 + round, 1);
        const auto more_right = maker.points(200 + round, 1);
        a = *store->apply(a, gone_left, more_left, Deadline::never());
        b = *store->apply(b, gone_right, more_right, Deadline::never());
        left.apply(gone_left, more_left);
        right.apply(gone_right, more_right);
    }
    Model before;
    before.apply({}, points);
    store = reopen();
    expect_equal(**store->open(base), before, maker, 1);
    expect_equal(**store->open(*a), left, maker, 1);
    expect_equal(**store->open(*b), right, maker, 1);
    ASSERT_THAT(store->vacuum({*b}), IsOk());
    expect_equal(**store->open(*b), right, maker, 1);
    EXPECT_THAT(reopen()->open(*a), IsError(ErrorCode::NotFound));
    // What is free again does no harm to what comes after.
    const auto again = maker.points(300, 5);
    right.apply({points[30].id}, again);
    expect_equal(**store->open(*store->apply(b, {points[30].id}, again, Deadline::never())), right,
                 maker, 1);
}

TEST_P(VectorStoreConformance, AHybridSearchIsTheThreeSearches) {
    auto store = reopen();
    PointMaker maker(22);
    const auto points = maker.points(0, sized(300));
    const auto view = *store->open(*store->apply(std::nullopt, {}, points, Deadline::never()));
    Filter filter;
    filter.categories = {"finance"};
    for (const Filter& one : {Filter(), filter}) {
        const auto query = maker.vector();
        const char* text = "inflation outlook of the housing market";
        const auto hits = *view->search_hybrid(query, text, {20, 15}, one, Deadline::never());
        const auto dense = *view->search_dense(query, 20, one, Deadline::never());
        const auto lexical = *view->search_lexical(text, 300, one, Deadline::never());
        const auto documents = *view->search_documents(text, 1000, one, Deadline::never());
        EXPECT_EQ(ids(*view, hits.dense), ids(*view, dense));
        ASSERT_THAT(lexical, ::testing::Not(IsEmpty()));
        for (const ScoredPoint& hit : lexical) EXPECT_EQ(hits.lexical(hit.point), hit.score);
        ASSERT_GE(documents.size(), hits.documents.size());
        ASSERT_THAT(hits.documents, ::testing::Not(IsEmpty()));
        for (size_t i = 0; i < hits.documents.size(); ++i) {
            EXPECT_EQ(view->document_name(hits.documents[i].document), documents[i].document_id);
            EXPECT_EQ(hits.documents[i].score, documents[i].score);
            EXPECT_EQ(hits.document_scores[hits.documents[i].document], documents[i].score);
        }
    }
}

TEST_P(VectorStoreConformance, PassagesAreComparedWithQuestionsAndWithEachOther) {
    auto store = reopen();
    PointMaker maker(24);
    const auto points = maker.points(0, 60);
    const auto view = *store->open(*store->apply(std::nullopt, {}, points, Deadline::never()));
    std::vector<uint64_t> handles;
    for (const Point& point : points) handles.push_back(*view->find(point.id));
    const auto vectors = *view->passage_vectors(handles, Deadline::never());
    const auto product = [](const std::vector<float>& a, const std::vector<float>& b) {
        return std::inner_product(a.begin(), a.end(), b.begin(), 0.0F);
    };
    const std::vector<float> query = maker.vector();
    std::vector<float> dots(points.size());
    vectors->dots(query, dots.data());
    const auto all = vectors->products({points[0].vector, points[1].vector, points[2].vector});
    EXPECT_NEAR(all[5], product(points[1].vector, points[2].vector), 0.02);
    EXPECT_NEAR(all[3], product(points[0].vector, points[1].vector), 0.02);
    for (size_t i = 0; i < points.size(); ++i) {
        EXPECT_NEAR(dots[i], product(query, points[i].vector), 0.02);
        EXPECT_NEAR(vectors->dot(i, 7), product(points[i].vector, points[7].vector), 0.02);
        std::vector<float> sum(view->width(), 1.0F);
        vectors->add(i, sum.data());
        EXPECT_NEAR(sum[3], 1 + points[i].vector[3], 0.02);
        const auto own = view->points_in(view->document_of(handles[i]));
        EXPECT_NE(std::find(own.begin(), own.end(), handles[i]), own.end());
        EXPECT_EQ(view->document_name(view->document_of(handles[i])), points[i].document_id);
    }
}

TEST_P(VectorStoreConformance, PointsAndVectorsComeInTheOrderTheyAreAskedFor) {
    auto store = reopen();
    PointMaker maker(23);
    const auto points = maker.points(0, 20);
    const auto view = *store->open(*store->apply(std::nullopt, {}, points, Deadline::never()));
    std::vector<uint64_t> handles;
    for (const size_t i : {7U, 3U, 3U, 19U, 0U, 7U}) handles.push_back(*view->find(points[i].id));
    for (int twice = 0; twice < 2; ++twice) {
        const auto read = *view->points(handles, Deadline::never());
        const auto vectors = *view->vectors(handles, Deadline::never());
        ASSERT_THAT(vectors.rows, SizeIs(6));
        size_t place = 0;
        for (const size_t i : {7U, 3U, 3U, 19U, 0U, 7U}) {
            EXPECT_EQ(read[place].id, points[i].id);
            EXPECT_EQ(vectors.rows[place][5], points[i].vector[5]);
            ++place;
        }
    }
    EXPECT_THAT(*view->points({}, Deadline::never()), IsEmpty());
    EXPECT_THAT(view->vectors({}, Deadline::never())->rows, IsEmpty());
}

TEST_P(VectorStoreConformance, VacuumKeepsWhatIsReferredTo) {
    auto store = reopen();
    PointMaker maker(17);
    const auto points = maker.points(0, 40);
    const auto first = *store->apply(std::nullopt, {}, points, Deadline::never());
    std::vector<chunk::ChunkId> all;
    for (const Point& point : points) all.push_back(point.id);
    const auto second = *store->apply(first, all, maker.points(100, 40), Deadline::never());
    EXPECT_THAT(store->vacuum({ManifestId{std::string(64, '0')}, second}),
                IsError(ErrorCode::NotFound));
    EXPECT_THAT(reopen()->open(first), IsOk())
        << "nothing goes while a manifest to keep can't be read";
    const auto freed = store->vacuum({second});
    ASSERT_THAT(freed, IsOk());
    EXPECT_GE(*freed, 40 * 48 * 4);
    EXPECT_EQ(*store->vacuum({second}), 0);
    EXPECT_THAT(reopen()->open(first), IsError(ErrorCode::NotFound));
    EXPECT_EQ((*reopen()->open(second))
                  ->search_dense(points[0].vector, 50, {}, Deadline::never())
                  ->size(),
              40U);
    EXPECT_THAT(store->vacuum({}), IsOk());
    EXPECT_THAT(reopen()->open(second), IsError(ErrorCode::NotFound));
    EXPECT_EQ(
        (*store->open(*store->apply(std::nullopt, {}, points, Deadline::never())))->point_count(),
        40U);
}

// A view narrowed to somebody must not tell whether the rest exists: it is compared with a store
// that never held the rest.
TEST_P(VectorStoreConformance, ANarrowedViewIsAsIfItHeldNothingElse) {
    auto store = reopen();
    PointMaker maker(29);
    auto points = maker.points(0, sized(400));
    const std::vector<std::vector<std::string>> acls = {
        {}, {"*"}, {"board"}, {"board", "finance"}, {"finance"}, {"a \"quoted\" group"}};
    std::map<std::string, std::optional<std::vector<std::string>>> acl_of;
    for (Point& point : points) {
        const auto [entry, is_new] = acl_of.try_emplace(point.document_id);
        if (is_new && acl_of.size() % 7 != 0) entry->second = acls[acl_of.size() % acls.size()];
        point.acl = entry->second;
        point.id = identify(point);
    }
    const auto view = *store->open(*store->apply(std::nullopt, {}, points, Deadline::never()));
    int others = 0;
    std::vector<Filter> filters(2);
    filters[1].authors = {points[3].author};
    for (const std::vector<std::string>& groups : {std::vector<std::string>{},
                                                   {"finance"},
                                                   {"board", "finance"},
                                                   {"a \"quoted\" group"},
                                                   {"unknown"},
                                                   {"financ"},
                                                   {"Finance"}}) {
        const auto may_read = [&](const std::optional<std::vector<std::string>>& acl) {
            return !acl || std::any_of(acl->begin(), acl->end(), [&](const std::string& group) {
                return group == "*" ||
                       std::find(groups.begin(), groups.end(), group) != groups.end();
            });
        };
        // A document that its point shows and the release denies stays hidden.
        const std::string denied = points.front().document_id;
        const auto admits = [&](std::string_view id) {
            return id != denied && may_read(acl_of.at(std::string(id)));
        };
        std::vector<Point> own;
        for (const Point& point : points) {
            if (admits(point.document_id)) own.push_back(point);
        }
        const auto narrowed = *view->narrowed({groups, {}, admits});
        auto other = GetParam().make_place(scratch_ / fmt::format("other-{}", ++others))();
        ASSERT_THAT(other->prepare(), IsOk());
        const auto alone = *other->open(*other->apply(std::nullopt, {}, own, Deadline::never()));
        EXPECT_EQ(narrowed->point_count(), own.size());
        const auto handles = narrowed->all();
        ASSERT_THAT(handles, SizeIs(own.size()));
        for (const Point& point : points) {
            const bool shown = admits(point.document_id);
            EXPECT_EQ(narrowed->find(point.id).has_value(), shown);
            EXPECT_EQ(narrowed->points_of(point.document_id).empty(), !shown);
        }
        const auto same = [&](const std::vector<ScoredPoint>& a, const std::vector<ScoredPoint>& b,
                              double tolerance) {
            EXPECT_EQ(ids(*narrowed, a), ids(*alone, b));
            ASSERT_EQ(a.size(), b.size());
            for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i].score, b[i].score, tolerance);
        };
        for (const size_t top_k : {size_t{1}, size_t{10}, size_t{1000}}) {
            for (const Filter& filter : filters) {
                for (const char* words : {"inflation", "trade rates", "energy inflation energy"}) {
                    same(*narrowed->search_lexical(words, top_k, filter, Deadline::never()),
                         *alone->search_lexical(words, top_k, filter, Deadline::never()), 0);
                    const auto documents =
                        *narrowed->search_documents(words, top_k, filter, Deadline::never());
                    const auto expected =
                        *alone->search_documents(words, top_k, filter, Deadline::never());
                    ASSERT_EQ(documents.size(), expected.size());
                    for (size_t i = 0; i < documents.size(); ++i) {
                        EXPECT_EQ(documents[i].document_id, expected[i].document_id);
                        EXPECT_EQ(documents[i].score, expected[i].score);
                    }
                }
                const std::vector<float>& query = points[5].vector;
                same(*narrowed->search_dense(query, top_k, filter, Deadline::never(),
                                             Accuracy::Exact),
                     *alone->search_dense(query, top_k, filter, Deadline::never(), Accuracy::Exact),
                     GetParam().score_tolerance);
                const auto hits = *narrowed->search_hybrid(
                    query, "energy policy of the bank", {top_k, top_k}, filter, Deadline::never());
                const auto expected = *alone->search_hybrid(
                    query, "energy policy of the bank", {top_k, top_k}, filter, Deadline::never());
                same(hits.dense, expected.dense, GetParam().score_tolerance);
                ASSERT_EQ(hits.documents.size(), expected.documents.size());
                for (size_t i = 0; i < hits.documents.size(); ++i) {
                    EXPECT_EQ(narrowed->document_name(hits.documents[i].document),
                              alone->document_name(expected.documents[i].document));
                    EXPECT_EQ(hits.documents[i].score, expected.documents[i].score);
                }
            }
        }
    }
}

TEST_P(VectorStoreConformance, ManyThreadsSearchOneView) {
    auto store = reopen();
    PointMaker maker(19);
    const auto points = maker.points(0, sized(500));
    const auto id = *store->apply(std::nullopt, {}, points, Deadline::never());
    const auto expected = [&] {
        const auto view = *reopen()->open(id);
        return ids(*view, *view->search_dense(points[0].vector, 10, {}, Deadline::never()));
    }();
    const auto fresh = *reopen()->open(id);
    std::vector<std::jthread> threads;
    std::atomic<int> equal = 0;
    const int searches = sized(25);
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < searches; ++i) {
                if (ids(*fresh, *fresh->search_dense(points[0].vector, 10, {},
                                                     Deadline::never())) == expected &&
                    !fresh->search_lexical("inflation", 5, {}, Deadline::never())->empty()) {
                    ++equal;
                }
            }
        });
    }
    threads.clear();
    EXPECT_EQ(equal, 4 * searches);
}

}  // namespace px::index
