#include "index/embedded/embedded_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <thread>

#include "index/analysis.h"
#include "index/conformance.h"
#include "index/embedded/collection_view.h"
#include "index/embedded/kernels/kernels.h"
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

/// Keeps the objects as long as the store over them.
class Owning final : public VectorStore {
  public:
    Owning(std::shared_ptr<store::ObjectStore> objects, std::unique_ptr<VectorStore> inner)
        : objects_(std::move(objects)), inner_(std::move(inner)) {}
    Result<void> prepare() override { return inner_->prepare(); }
    Result<ManifestId> apply(const std::optional<ManifestId>& base,
                             std::vector<chunk::ChunkId> removed, std::vector<Point> added,
                             const Deadline& deadline) override {
        return inner_->apply(base, std::move(removed), std::move(added), deadline);
    }
    Result<std::shared_ptr<const CollectionView>> open(const ManifestId& manifest) override {
        return inner_->open(manifest);
    }
    Result<int64_t> vacuum(const std::vector<ManifestId>& keep) override {
        return inner_->vacuum(keep);
    }

  private:
    std::shared_ptr<store::ObjectStore> objects_;
    std::unique_ptr<VectorStore> inner_;
};

INSTANTIATE_TEST_SUITE_P(
    Embedded, VectorStoreConformance,
    ::testing::Values(VectorStoreUnderTest{
        "Local",
        [](const std::filesystem::path& scratch) -> std::function<std::unique_ptr<VectorStore>()> {
            auto objects = std::make_shared<store::LocalObjectStore>(scratch / "index", "index");
            return [objects, scratch] {
                EmbeddedOptions options;
                options.scratch_directory = scratch / "scratch";
                return std::make_unique<Owning>(objects, *open_embedded_store(*objects, options));
            };
        }}),
    conformance_name);

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

    px::testing::TempDir folder_;
    store::LocalObjectStore objects_{folder_ / "index", "index"};

    void SetUp() override { ASSERT_THAT(objects_.ensure_container(), IsOk()); }
};

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
