#include "index/embedded/embedded_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <thread>

#include "index/analysis.h"
#include "index/embedded/collection_view.h"
#include "index/embedded/kernels/kernels.h"
#include "index/embedded/test_points.h"
#include "store/local/local_object_store.h"
#include "store/memory/memory_object_store.h"
#include "testing/faulty_object_store.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::index {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

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

class EmbeddedStoreTest : public ::testing::Test {
  protected:
    EmbeddedOptions options() {
        EmbeddedOptions options;
        options.scratch_directory = folder_ / "scratch";
        return options;
    }
    std::unique_ptr<VectorStore> make(EmbeddedOptions options) {
        return *open_embedded_store(objects_, std::move(options));
    }
    std::unique_ptr<VectorStore> make() { return make(options()); }

    static std::vector<std::string> ids(const CollectionView& view,
                                        const std::vector<ScoredPoint>& found) {
        std::vector<std::string> result;
        for (const ScoredPoint& hit : found) result.push_back(view.point(hit.point).id.value);
        return result;
    }

    /// The view holds exactly the model's points and finds what brute force finds.
    static void expect_equal(const CollectionView& view, const Model& model, PointMaker& maker,
                             size_t queries = 8) {
        ASSERT_EQ(view.point_count(), model.size());
        for (const auto& [id, point] : model.points()) {
            const auto handle = view.find({id});
            ASSERT_TRUE(handle) << id;
            const Point found = view.point(*handle);
            ASSERT_EQ(found.text, point.text);
            ASSERT_EQ(found.title, point.title);
            ASSERT_EQ(found.author, point.author);
            ASSERT_EQ(found.category, point.category);
            ASSERT_EQ(found.created_at, point.created_at);
            ASSERT_EQ(found.span, point.span);
            ASSERT_EQ(found.ds, point.ds);
            ASSERT_EQ(found.source, point.source);
            ASSERT_EQ(found.document_id, point.document_id);
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
                    const auto expected = model.dense(query, k, filter);
                    ASSERT_EQ(found->size(), expected.size());
                    for (size_t i = 0; i < expected.size(); ++i) {
                        ASSERT_EQ(view.point((*found)[i].point).id.value, expected[i].first)
                            << "place " << i;
                        ASSERT_EQ((*found)[i].score, static_cast<float>(expected[i].second));
                    }
                }
                const char* text = q % 2 == 0 ? "Inflation outlook: the rates of 3 trades"
                                              : "housing housing credits";
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

    px::testing::TempDir folder_;
    store::LocalObjectStore objects_{folder_ / "index", "index"};

    void SetUp() override { ASSERT_THAT(objects_.ensure_container(), IsOk()); }
};

TEST_F(EmbeddedStoreTest, AnEmptyCollectionHasAManifestAndFindsNothing) {
    auto store = make();
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

TEST_F(EmbeddedStoreTest, FindsWhatBruteForceFinds) {
    auto store = make();
    PointMaker maker(1);
    Model model;
    const auto points = maker.points(0, 700);
    model.apply({}, points);
    const auto view = *store->open(*store->apply(std::nullopt, {}, points, Deadline::never()));
    expect_equal(*view, model, maker, 6);
}

TEST_F(EmbeddedStoreTest, IsExactEvenWhenVectorsAreHardToTellApart) {
    // All in one narrow cone and many equal: the int8 scan alone would order them at random.
    auto store = make();
    PointMaker maker(2, 384, 1);
    Model model;
    std::vector<Point> points = maker.points(0, 3000);
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
        for (size_t i = 0; i < 50; ++i)
            ASSERT_EQ(view->point(found[i].point).id.value, expected[i].first);
    }
}

TEST_F(EmbeddedStoreTest, EveryKernelFindsTheSameBits) {
    PointMaker maker(4, 100);
    const auto points = maker.points(0, 700);
    const auto query = maker.vector();
    std::optional<ManifestId> id;
    std::vector<ScoredPoint> expected;
    for (const kernels::Kernels* kernels : kernels::supported()) {
        EmbeddedOptions with = options();
        with.kernel = kernels->name;
        auto store = make(with);
        const auto mine = *store->apply(std::nullopt, {}, points, Deadline::never());
        const auto found = *(*store->open(mine))->search_dense(query, 25, {}, Deadline::never());
        if (!id) {
            id = mine;
            expected = found;
        }
        EXPECT_EQ(mine, *id);
        ASSERT_EQ(found.size(), expected.size());
        for (size_t i = 0; i < found.size(); ++i) {
            EXPECT_EQ(found[i].point, expected[i].point) << kernels->name;
            EXPECT_EQ(found[i].score, expected[i].score) << kernels->name;
        }
    }
}

TEST_F(EmbeddedStoreTest, TiesAreOrderedByChunkIdAcrossSegments) {
    auto store = make();
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

TEST_F(EmbeddedStoreTest, RanksADocumentByTheWordsOfAllItsPointsAlsoAcrossSegments) {
    auto store = make();
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

TEST_F(EmbeddedStoreTest, StaysEqualToTheModelThroughRandomChanges) {
    const uint64_t seed = 20261123;
    SCOPED_TRACE(seed);
    EmbeddedOptions small = options();
    small.segments_max = 3;
    small.segment_points_max = 150;
    auto store = make(small);
    PointMaker maker(seed, 16);
    Model model;
    std::optional<ManifestId> id;
    int next = 0;
    size_t segments_max = 0;
    for (int round = 0; round < 40; ++round) {
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
        const int count = round == 25 ? 0 : static_cast<int>(maker.random()() % 40);
        for (int i = 0; i < count; ++i) added.push_back(maker.point(next++));
        if (round == 30) {
            removed.clear();
            for (const auto& [known, point] : model.points()) removed.push_back({known});
            added.clear();
        }
        const auto applied = store->apply(id, removed, added, Deadline::never());
        ASSERT_THAT(applied, IsOk());
        id = *applied;
        model.apply(removed, added);
        const auto view = *store->open(*id);
        segments_max =
            std::max(segments_max, dynamic_cast<const EmbeddedView&>(*view).segments().size());
        expect_equal(*view, model, maker, 1);
        if (HasFatalFailure()) FAIL() << "in round " << round;
    }
    EXPECT_GE(segments_max, 3U);
    EXPECT_LE(segments_max, 8U);
}

TEST_F(EmbeddedStoreTest, EqualArgumentsGiveEqualFilesWhateverTheirOrder) {
    PointMaker maker(6);
    auto points = maker.points(0, 300);
    store::MemoryObjectStore other;
    EmbeddedOptions plain;
    auto first = make();
    auto second = *open_embedded_store(other, plain);
    const auto a = *first->apply(std::nullopt, {}, points, Deadline::never());
    std::shuffle(points.begin(), points.end(), maker.random());
    const auto b = *second->apply(std::nullopt, {}, points, Deadline::never());
    EXPECT_EQ(a, b);
    const auto removed = std::vector<chunk::ChunkId>{points[0].id, points[1].id};
    const auto more = maker.points(1000, 10);
    EXPECT_EQ(*first->apply(a, removed, more, Deadline::never()),
              *second->apply(b, removed, more, Deadline::never()));
    const auto keys = [](const store::ObjectStore& store) {
        std::vector<std::pair<std::string, std::string>> all;
        const auto objects = *store.list("");
        for (const auto& object : objects) all.emplace_back(object.key, *store.get(object.key));
        return all;
    };
    EXPECT_EQ(keys(objects_), keys(other));
}

TEST_F(EmbeddedStoreTest, ApplyingNothingNewKeepsTheManifest) {
    auto store = make();
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

TEST_F(EmbeddedStoreTest, TheLastOfEqualAddedIdsCounts) {
    auto store = make();
    PointMaker maker(8);
    auto points = maker.points(0, 2);
    points[1].id = points[0].id;
    const auto view = *store->open(*store->apply(std::nullopt, {}, points, Deadline::never()));
    EXPECT_EQ(view->point_count(), 1U);
    EXPECT_EQ(view->point(*view->find(points[0].id)).text, points[1].text);
}

TEST_F(EmbeddedStoreTest, DailyAdditionsStayInFewSegments) {
    auto store = make();
    PointMaker maker(9, 8);
    std::optional<ManifestId> id;
    int64_t written = 0;
    for (int day = 0; day < 60; ++day) {
        const auto before = objects_.list("segments/")->size();
        id = *store->apply(id, {}, maker.points(day * 10, 10), Deadline::never());
        written += static_cast<int64_t>(objects_.list("segments/")->size() - before);
        const auto view = *store->open(*id);
        EXPECT_LE(dynamic_cast<const EmbeddedView&>(*view).segments().size(), 8U);
        EXPECT_EQ(view->point_count(), static_cast<uint64_t>(day + 1) * 10);
    }
    EXPECT_EQ(written, 60) << "one segment a day, merged or not";
}

TEST_F(EmbeddedStoreTest, ManyDeletionsRewriteASegment) {
    auto store = make();
    PointMaker maker(10);
    const auto points = maker.points(0, 100);
    const auto id = *store->apply(std::nullopt, {}, points, Deadline::never());
    std::vector<chunk::ChunkId> removed;
    for (size_t i = 0; i < 60; ++i) removed.push_back(points[i].id);
    const auto view = *store->open(*store->apply(id, removed, {}, Deadline::never()));
    const auto& segments = dynamic_cast<const EmbeddedView&>(*view).segments();
    ASSERT_THAT(segments, SizeIs(1));
    EXPECT_EQ(segments[0].segment->point_count(), 40U);
    Model model;
    model.apply({}, points);
    model.apply(removed, {});
    expect_equal(*view, model, maker);
    // A few deletions only mark.
    const auto marked = *store->open(*store->apply(id, {points[0].id}, {}, Deadline::never()));
    EXPECT_EQ(dynamic_cast<const EmbeddedView&>(*marked).segments()[0].segment->point_count(),
              100U);
    EXPECT_EQ(marked->point_count(), 99U);
}

TEST_F(EmbeddedStoreTest, OldManifestsStayAsTheyWere) {
    auto store = make();
    PointMaker maker(11);
    const auto first = maker.points(0, 80);
    const auto old = *store->apply(std::nullopt, {}, first, Deadline::never());
    const auto view = *store->open(old);
    auto id =
        *store->apply(old, {first[0].id, first[1].id}, maker.points(100, 50), Deadline::never());
    Model model;
    model.apply({}, first);
    expect_equal(*view, model, maker);
    auto reopened = make();
    expect_equal(**reopened->open(old), model, maker);
    EXPECT_EQ((*reopened->open(id))->point_count(), 128U);
}

TEST_F(EmbeddedStoreTest, PointsOfADocumentComeInItsOrder) {
    auto store = make();
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
            EXPECT_EQ(view->point(handles[i]).span.start, static_cast<int64_t>(i) * 100);
    }
}

TEST_F(EmbeddedStoreTest, FindsTextOfAnyScript) {
    auto store = make();
    PointMaker maker(13);
    auto points = maker.points(0, 4);
    points[0].text = "日本銀行は金融政策を発表した。";
    points[1].text = "Die Zürcher Straße führt über die Brücke.";
    points[2].text = "Ставка рефинансирования повышена.";
    points[3].text = "Crème brûlée à l’Élysée";
    const auto view = *store->open(*store->apply(std::nullopt, {}, points, Deadline::never()));
    const auto first = [&](std::string_view query) {
        const auto found = *view->search_lexical(query, 1, {}, Deadline::never());
        return found.empty() ? std::string("nothing") : view->point(found[0].point).text;
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

TEST_F(EmbeddedStoreTest, RefusesWhatItCannotKeep) {
    auto store = make();
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

TEST_F(EmbeddedStoreTest, RefusesOptionsThatMakeNoSense) {
    const auto refused = [&](auto change) {
        EmbeddedOptions bad;
        change(bad);
        EXPECT_THAT(open_embedded_store(objects_, bad), IsError(ErrorCode::InvalidArgument));
    };
    refused([](EmbeddedOptions& o) { o.prefix = "x"; });
    refused([](EmbeddedOptions& o) { o.segments_max = 0; });
    refused([](EmbeddedOptions& o) { o.deleted_ratio_max = 1.5; });
    refused([](EmbeddedOptions& o) { o.segment_points_max = 0; });
    refused([](EmbeddedOptions& o) { o.kernel = "abacus"; });
}

TEST_F(EmbeddedStoreTest, StopsAtTheDeadline) {
    auto store = make();
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

TEST_F(EmbeddedStoreTest, NamesTheDamagedFile) {
    PointMaker maker(16);
    const auto id = *make()->apply(std::nullopt, {}, maker.points(0, 30), Deadline::never());
    const std::string manifest_key = "manifests/" + id.value + ".pxman";
    const std::string segment_key = objects_.list("segments/")->front().key;
    for (const std::string& key : {manifest_key, segment_key}) {
        const std::string bytes = *objects_.get(key);
        std::mt19937_64 random(99);
        for (int round = 0; round < 60; ++round) {
            std::string damaged = bytes;
            const size_t at = random() % damaged.size();
            damaged[at] = static_cast<char>(damaged[at] ^ (1 << (random() % 8)));
            ASSERT_THAT(objects_.put(key, damaged), IsOk());
            EXPECT_THAT(make()->open(id),
                        IsError(ErrorCode::Corrupt, key == segment_key ? "segment" : "manifest"));
            EXPECT_THAT(check_embedded(objects_, {}, id), IsError(ErrorCode::Corrupt));
        }
        ASSERT_THAT(objects_.put(key, bytes.substr(0, bytes.size() / 2)), IsOk());
        EXPECT_THAT(make()->open(id), IsError(ErrorCode::Corrupt));
        ASSERT_THAT(objects_.put(key, ""), IsOk());
        EXPECT_THAT(make()->open(id), IsError(ErrorCode::Corrupt));
        ASSERT_THAT(objects_.remove(key), IsOk());
        EXPECT_THAT(make()->open(id), IsError(ErrorCode::NotFound));
        ASSERT_THAT(objects_.put(key, bytes), IsOk());
    }
    EXPECT_THAT(make()->open(id), IsOk());
    EXPECT_THAT(check_embedded(objects_, {}, id), IsOk());
}

TEST_F(EmbeddedStoreTest, VacuumKeepsWhatIsReferredToAndDeletesTheRest) {
    auto store = make();
    PointMaker maker(17);
    const auto points = maker.points(0, 40);
    const auto first = *store->apply(std::nullopt, {}, points, Deadline::never());
    std::vector<chunk::ChunkId> all;
    for (const Point& point : points) all.push_back(point.id);
    const auto second = *store->apply(first, all, maker.points(100, 40), Deadline::never());
    ASSERT_THAT(objects_.put("segments/notes.txt", "not ours"), IsOk());
    const auto still_open = *store->open(first);
    EXPECT_THAT(store->vacuum({ManifestId{std::string(64, '0')}, second}),
                IsError(ErrorCode::NotFound));
    EXPECT_THAT(*objects_.list("manifests/"), SizeIs(2))
        << "nothing goes while a manifest to keep can't be read";
    const auto freed = store->vacuum({second});
    ASSERT_THAT(freed, IsOk());
    EXPECT_GT(*freed, 40 * 48 * 4);
    EXPECT_EQ(*store->vacuum({second}), 0);
    EXPECT_TRUE(*objects_.head("segments/notes.txt"));
    EXPECT_THAT(store->open(second), IsOk());
    EXPECT_THAT(make()->open(first), IsError(ErrorCode::NotFound));
    EXPECT_EQ(still_open->search_dense(points[0].vector, 1, {}, Deadline::never())->size(), 1U)
        << "an open view goes on";
}

TEST_F(EmbeddedStoreTest, ACrashAtAnyCallLeavesTheOldStateAndARepeatFinishes) {
    PointMaker maker(18);
    const auto base_points = maker.points(0, 30);
    const auto added = maker.points(50, 30);
    const std::vector<chunk::ChunkId> removed{base_points[0].id};
    const auto base = *make()->apply(std::nullopt, {}, base_points, Deadline::never());
    const auto expected = [&] {
        store::MemoryObjectStore clean;
        auto store = *open_embedded_store(clean);
        return *store->apply(*store->apply(std::nullopt, {}, base_points, Deadline::never()),
                             removed, added, Deadline::never());
    }();
    for (const px::testing::Fault fault :
         {px::testing::Fault::CrashBefore, px::testing::Fault::CrashAfter,
          px::testing::Fault::LoseReply, px::testing::Fault::TornWrite}) {
        for (int64_t call = 1;; ++call) {
            px::testing::FaultyObjectStore faulty(objects_, {.at_call = call, .fault = fault});
            auto store = *open_embedded_store(faulty, options());
            const auto applied = store->apply(base, removed, added, Deadline::never());
            EXPECT_EQ((*make()->open(base))->point_count(), 30U);
            const auto again = make()->apply(base, removed, added, Deadline::never());
            ASSERT_THAT(again, IsOk());
            EXPECT_EQ(*again, expected) << px::testing::fault_name(fault) << " at call " << call;
            EXPECT_THAT(check_embedded(objects_, {}, *again), IsOk());
            ASSERT_THAT(make()->vacuum({base}), IsOk());
            EXPECT_TRUE(std::filesystem::is_empty(folder_ / "scratch"))
                << "no scratch file stays behind";
            if (faulty.calls() < call) break;
        }
    }
}

TEST_F(EmbeddedStoreTest, ManyThreadsSearchOneView) {
    auto store = make();
    PointMaker maker(19);
    const auto points = maker.points(0, 500);
    EmbeddedOptions lazy = options();
    lazy.verify_bytes = 0;
    const auto id = *store->apply(std::nullopt, {}, points, Deadline::never());
    const auto view = *make(lazy)->open(id);
    const auto expected =
        ids(*view, *view->search_dense(points[0].vector, 10, {}, Deadline::never()));
    const auto fresh = *make(lazy)->open(id);
    std::vector<std::jthread> threads;
    std::atomic<int> equal = 0;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 25; ++i) {
                if (ids(*fresh, *fresh->search_dense(points[0].vector, 10, {},
                                                     Deadline::never())) == expected &&
                    !fresh->search_lexical("inflation", 5, {}, Deadline::never())->empty()) {
                    ++equal;
                }
            }
        });
    }
    threads.clear();
    EXPECT_EQ(equal, 100);
}

}  // namespace
}  // namespace px::index
