#include "index/embedded/segment.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <random>

#include "index/embedded/collection_view.h"
#include "index/embedded/crc32c.h"
#include "index/embedded/segment_writer.h"
#include "index/embedded/test_points.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::index {
namespace {

using px::testing::IsError;
using px::testing::IsOk;

PointRef ref_of(const Point& point) {
    PointRef ref;
    ref.id = *parse_chunk_id(point.id.value);
    ref.document = point.document_id;
    ref.source = point.source;
    ref.ds = point.ds;
    ref.title = point.title;
    ref.author = point.author;
    ref.category = point.category;
    ref.text = point.text;
    ref.created_at = point.created_at.value_or(kNoDate);
    ref.span = point.span;
    ref.vector = point.vector.data();
    return ref;
}

/// Bytes aligned as a mapping is.
class Aligned {
  public:
    explicit Aligned(std::string_view bytes)
        : size_(bytes.size()), memory_(new (std::align_val_t{64}) uint8_t[bytes.size() + 64]) {
        std::memcpy(memory_, bytes.data(), bytes.size());
    }
    ~Aligned() { ::operator delete[](memory_, std::align_val_t{64}); }
    Aligned(const Aligned&) = delete;
    Aligned& operator=(const Aligned&) = delete;
    std::span<const uint8_t> span() const { return {memory_, size_}; }

  private:
    size_t size_;
    uint8_t* memory_;
};

std::string sample_bytes(int count = 40, size_t width = 20) {
    px::testing::TempDir folder;
    PointMaker maker(3, width);
    const std::vector<Point> points = maker.points(0, count);
    std::vector<PointRef> refs;
    for (const Point& point : points) refs.push_back(ref_of(point));
    std::sort(refs.begin(), refs.end(),
              [](const PointRef& a, const PointRef& b) { return a.id < b.id; });
    SegmentOptions options;
    options.graph_points_min = 30;
    const auto written = write_segment(folder / "s", refs, width, options, Deadline::never());
    EXPECT_THAT(written, IsOk());
    std::string bytes = px::testing::read_file(folder / "s");
    EXPECT_EQ(bytes.size(), written->size);
    EXPECT_EQ(sha256_hex(bytes), written->name);
    return bytes;
}

/// Uses everything a segment offers, so that a sanitizer sees each access.
void exercise(const std::shared_ptr<const Segment>& segment) {
    const bool sound = segment->verify_rest().has_value();
    LiveSegment live;
    live.segment = segment;
    live.living = segment->point_count();
    live.living_length = segment->total_length();
    const EmbeddedView view({}, segment->width(), {live}, kernels::kScalar);
    std::vector<float> query(segment->width(), 0.1F);
    Filter filter;
    filter.authors = {"author 1"};
    const auto dense = view.search_dense(query, 5, {}, Deadline::never(), Accuracy::Fast);
    const auto lexical =
        view.search_lexical("inflation outlook rate", 5, filter, Deadline::never());
    if (!sound) {
        EXPECT_THAT(dense, IsError(ErrorCode::Corrupt));
        EXPECT_THAT(lexical, IsError(ErrorCode::Corrupt));
    }
    for (uint64_t i = 0; i < segment->point_count(); ++i) {
        const Point point = view.point(i).value();
        (void)view.find(point.id);
        (void)view.points_of(point.document_id);
    }
}

TEST(Segment, GivesBackWhatWasWritten) {
    const std::string bytes = sample_bytes();
    const Aligned memory(bytes);
    uint64_t budget = UINT64_MAX;
    const auto segment = Segment::parse(memory.span(), "s", budget);
    ASSERT_THAT(segment, IsOk());
    EXPECT_EQ((*segment)->point_count(), 40U);
    EXPECT_EQ((*segment)->width(), 20U);
    EXPECT_EQ((*segment)->stride(), 64U);
    PointMaker maker(3, 20);
    for (const Point& point : maker.points(0, 40)) {
        const auto ordinal = (*segment)->find(*parse_chunk_id(point.id.value));
        ASSERT_TRUE(ordinal);
        EXPECT_EQ((*segment)->text(*ordinal), point.text);
        EXPECT_EQ((*segment)->author().at(*ordinal), point.author);
        EXPECT_EQ((*segment)->document().at(*ordinal), point.document_id);
        EXPECT_EQ((*segment)->span(*ordinal), point.span);
        EXPECT_EQ((*segment)->created_at(*ordinal), point.created_at.value_or(kNoDate));
        EXPECT_EQ(
            std::memcmp((*segment)->vector(*ordinal), point.vector.data(), 20 * sizeof(float)), 0);
    }
    exercise(*segment);
}

TEST(Segment, HasTheSameBytesFromTheSamePoints) { EXPECT_EQ(sample_bytes(), sample_bytes()); }

TEST(Segment, BoundsItsQuantisationError) {
    const Aligned memory(sample_bytes(200, 33));
    uint64_t budget = UINT64_MAX;
    const auto segment = *Segment::parse(memory.span(), "s", budget);
    for (size_t i = 0; i < segment->point_count(); ++i) {
        double error = 0;
        for (size_t d = 0; d < segment->width(); ++d) {
            const double approximate =
                segment->scales()[i] *
                (static_cast<int>(segment->codes()[i * segment->stride() + d]) - 128);
            error += std::pow(segment->vector(i)[d] - approximate, 2);
        }
        ASSERT_LE(std::sqrt(error), segment->error_max());
    }
}

TEST(Segment, RefusesEveryFlippedBit) {
    const std::string bytes = sample_bytes(12, 8);
    std::string damaged = bytes;
    for (size_t at = 0; at < bytes.size(); ++at) {
        damaged[at] = static_cast<char>(bytes[at] ^ (1 << (at % 8)));
        const Aligned memory(damaged);
        uint64_t budget = UINT64_MAX;
        ASSERT_THAT(Segment::parse(memory.span(), "s", budget),
                    IsError(ErrorCode::Corrupt, "damaged"))
            << "byte " << at;
        damaged[at] = bytes[at];
    }
}

TEST(Segment, FindsDamageInWhatOpeningLeftOutBeforeTheFirstSearch) {
    const std::string bytes = sample_bytes();
    size_t late = 0;
    for (size_t at = 0; at < bytes.size(); at += 5) {
        std::string damaged = bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
        const Aligned memory(damaged);
        uint64_t budget = 0;
        const auto segment = Segment::parse(memory.span(), "s", budget);
        if (!segment) {
            ASSERT_THAT(segment, IsError(ErrorCode::Corrupt));
            continue;
        }
        ++late;
        ASSERT_THAT((*segment)->verify_rest(), IsError(ErrorCode::Corrupt)) << "byte " << at;
        ASSERT_THAT((*segment)->verify_rest(), IsError(ErrorCode::Corrupt))
            << "the second time, byte " << at;
        exercise(*segment);
    }
    EXPECT_GT(late, 100U);
}

TEST(Segment, RefusesEveryTruncation) {
    const std::string bytes = sample_bytes(12, 8);
    for (size_t size = 0; size < bytes.size(); size += 13) {
        const Aligned memory(bytes.substr(0, size));
        uint64_t budget = UINT64_MAX;
        ASSERT_THAT(Segment::parse(memory.span(), "s", budget), IsError(ErrorCode::Corrupt))
            << size << " bytes";
    }
}

/// Puts right checksums over wrong bytes, to reach the checks behind them.
void repair(std::string& bytes) {
    if (bytes.size() < 192) return;
    const auto put = [&](size_t at, uint32_t value) { std::memcpy(bytes.data() + at, &value, 4); };
    const auto get = [&]<class T>(size_t at, T) {
        T value;
        std::memcpy(&value, bytes.data() + at, sizeof(T));
        return value;
    };
    put(60, crc32c(0, bytes.data(), 60));
    const size_t tail = bytes.size() - 64;
    const auto table = get(tail, uint64_t{});
    const auto count = get(tail + 8, uint32_t{});
    if (table <= tail && count <= (tail - table) / 32) {
        for (size_t i = 0; i < count; ++i) {
            const size_t entry = table + i * 32;
            const auto offset = get(entry + 8, uint64_t{});
            const auto size = get(entry + 16, uint64_t{});
            if (offset <= bytes.size() && size <= bytes.size() - offset)
                put(entry + 4, crc32c(0, bytes.data() + offset, size));
        }
        put(tail + 12, crc32c(0, bytes.data() + table, size_t{count} * 32));
    }
    put(tail + 52, crc32c(0, bytes.data() + tail, 52));
}

TEST(Segment, SurvivesRandomMutationsWithRightChecksums) {
    const std::string bytes = sample_bytes(12, 8);
    std::mt19937_64 random(20261123);
    size_t accepted = 0;
    for (int round = 0; round < 3000; ++round) {
        std::string damaged = bytes;
        for (uint64_t i = 0, n = 1 + random() % 6; i < n; ++i) {
            const size_t at = random() % damaged.size();
            switch (random() % 3) {
                case 0:
                    damaged[at] = static_cast<char>(random());
                    break;
                case 1:
                    damaged[at] = static_cast<char>(damaged[at] ^ (1 << (random() % 8)));
                    break;
                default:
                    damaged[at] = random() % 2 == 0 ? '\xFF' : '\0';
            }
        }
        repair(damaged);
        const Aligned memory(damaged);
        uint64_t budget = UINT64_MAX;
        const auto segment = Segment::parse(memory.span(), "s", budget);
        if (!segment) continue;
        ++accepted;
        exercise(*segment);
    }
    EXPECT_GT(accepted, 100U) << "the mutations no longer get past the checksums";
}

TEST(Segment, AScaleThatIsNoNumberIsDamage) {
    const std::string bytes = sample_bytes(3, 4);
    // Behind the ids and the codes, each at a multiple of 64.
    const size_t scales = 64 + 64 + 3 * 64;
    for (const float wrong :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -1.0F}) {
        std::string damaged = bytes;
        std::memcpy(damaged.data() + scales + 4, &wrong, sizeof(wrong));
        repair(damaged);
        const Aligned memory(damaged);
        uint64_t budget = UINT64_MAX;
        EXPECT_THAT(Segment::parse(memory.span(), "s", budget),
                    IsError(ErrorCode::Corrupt, "section scales"))
            << wrong;
    }
}

TEST(Segment, VectorsCopiedOutOfTheFileAreThoseThatAreMapped) {
    const std::string bytes = sample_bytes();
    px::testing::TempDir folder;
    px::testing::write_file(folder / "s", bytes);
    uint64_t budget = UINT64_MAX;
    const auto segment = *Segment::open(folder / "s", "s", bytes.size(), budget);
    std::vector<float> room(segment->width());
    for (size_t i = 0; i < segment->point_count(); ++i) {
        const auto row = segment->read_vector(i, room.data());
        ASSERT_THAT(row, IsOk());
        EXPECT_NE(*row, segment->vector(i));
        EXPECT_EQ(std::memcmp(*row, segment->vector(i), room.size() * sizeof(float)), 0);
    }
    std::filesystem::resize_file(folder / "s", 64);
    EXPECT_THAT(segment->read_vector(0, room.data()),
                IsError(ErrorCode::Corrupt, "became shorter"));
}

TEST(Segment, AFilterOfAnyShareScansWhatItAdmitsAndNothingElse) {
    PointMaker maker(8, 24);
    std::vector<Point> points = maker.points(0, 3000);
    std::vector<PointRef> refs;
    for (size_t i = 0; i < points.size(); ++i) {
        points[i].created_at =
            i % 7 == 6 ? std::nullopt : std::optional<TimestampMicros>(i * 7919 % 1000);
        refs.push_back(ref_of(points[i]));
    }
    px::testing::TempDir folder;
    const auto written = *write_segment(folder / "s", refs, 24, {}, Deadline::never());
    uint64_t budget = UINT64_MAX;
    LiveSegment live;
    live.segment = *Segment::open(folder / "s", written.name, written.size, budget);
    live.living = live.segment->point_count();
    live.living_length = live.segment->total_length();
    const EmbeddedView view({}, 24, {live}, kernels::best());
    for (const int64_t from : {-1, 0, 200}) {
        for (const int64_t to : {0, 1, 10, 100, 300, 500, 1000, -1}) {
            Filter filter;
            if (from >= 0) filter.from = from;
            if (to >= 0) filter.to = to;
            const std::vector<float> query = maker.vector();
            std::vector<float> scores;
            for (const Point& point : points) {
                if ((from >= 0 || to >= 0) && !point.created_at) continue;
                if (from >= 0 && *point.created_at < from) continue;
                if (to >= 0 && *point.created_at >= to) continue;
                scores.push_back(kernels::best().dot_f32(query.data(), point.vector.data(), 24));
            }
            std::sort(scores.begin(), scores.end(), std::greater<>());
            scores.resize(std::min<size_t>(scores.size(), 10));
            std::vector<float> found;
            for (const ScoredPoint& hit :
                 *view.search_dense(query, 10, filter, Deadline::never(), Accuracy::Fast))
                found.push_back(hit.score);
            EXPECT_EQ(found, scores) << from << " to " << to;
        }
    }
}

TEST(Segment, NamesAVersionItCannotRead) {
    std::string bytes = sample_bytes(3, 4);
    bytes[8] = 9;
    repair(bytes);
    const Aligned memory(bytes);
    uint64_t budget = UINT64_MAX;
    EXPECT_THAT(Segment::parse(memory.span(), "s", budget),
                IsError(ErrorCode::InvalidArgument, "version 9"));
}

TEST(ChunkIds, AreRefusedUnlessTheyAre32HexDigits) {
    EXPECT_THAT(parse_chunk_id("00112233445566778899aabbccddeeff"), IsOk());
    for (const char* bad :
         {"", "0011", "00112233445566778899AABBCCDDEEFF", "00112233445566778899aabbccddeefg",
          "00112233445566778899aabbccddeeff0"}) {
        EXPECT_THAT(parse_chunk_id(bad), IsError(ErrorCode::InvalidArgument)) << bad;
    }
    EXPECT_EQ(format_chunk_id(*parse_chunk_id("00112233445566778899aabbccddeeff")),
              "00112233445566778899aabbccddeeff");
}

TEST(Segment, AGraphHasTheSameBytesWhateverTheThreadsAndKernels) {
    PointMaker maker(5, 48);
    const std::vector<Point> points = maker.points(0, 1500);
    std::vector<PointRef> refs;
    for (const Point& point : points) refs.push_back(ref_of(point));
    px::testing::TempDir folder;
    std::string first;
    for (const size_t threads : {1U, 3U}) {
        for (const kernels::Kernels* kernels : kernels::supported()) {
            SegmentOptions options;
            options.graph_points_min = 1;
            options.graph.thread_count = threads;
            options.kernels = kernels;
            const std::string name = std::string(kernels->name) + std::to_string(threads);
            const auto written = write_segment(folder / name, refs, 48, options, Deadline::never());
            ASSERT_THAT(written, IsOk());
            if (first.empty()) first = written->name;
            EXPECT_EQ(written->name, first) << name;
        }
    }
}

TEST(Segment, AGraphFindsNearlyAllOfTheNearestAtAnySelectivity) {
    PointMaker maker(6, 48);
    const std::vector<Point> points = maker.points(0, 12'000);
    std::vector<PointRef> refs;
    for (const Point& point : points) refs.push_back(ref_of(point));
    px::testing::TempDir folder;
    SegmentOptions options;
    options.graph_points_min = 1;
    const auto written = *write_segment(folder / "s", refs, 48, options, Deadline::never());
    uint64_t budget = UINT64_MAX;
    LiveSegment live;
    live.segment = *Segment::open(folder / "s", written.name, written.size, budget);
    ASSERT_FALSE(live.segment->graph().empty());
    live.living = live.segment->point_count();
    live.living_length = live.segment->total_length();
    const EmbeddedView view({}, 48, {live}, kernels::best());
    for (const size_t one_in : {1U, 2U, 5U, 10U, 100U, 1000U}) {
        Bitmap allowed(points.size());
        for (size_t i = 0; i < points.size(); i += one_in) allowed.set(i);
        size_t found = 0;
        size_t wanted = 0;
        for (int q = 0; q < 40; ++q) {
            const std::vector<float> query = maker.vector();
            const CodeQuery coded(query.data(), 48, live.segment->stride());
            const auto near = search_graph(live.segment->graph(), live.segment->rows(), coded, 96,
                                           &allowed, kernels::best());
            std::vector<Near> exact;
            for (uint32_t i = 0; i < points.size(); i += static_cast<uint32_t>(one_in))
                exact.push_back({coded.similarity(live.segment->rows(), i, kernels::best()), i});
            std::sort(exact.begin(), exact.end(),
                      [](const Near& a, const Near& b) { return a.similarity > b.similarity; });
            exact.resize(std::min<size_t>(10, exact.size()));
            wanted += exact.size();
            for (const Near& one : exact) {
                found += static_cast<size_t>(
                    std::count_if(near.begin(), near.end(),
                                  [&](const Near& other) { return other.ordinal == one.ordinal; }));
            }
        }
        EXPECT_GE(static_cast<double>(found), 0.95 * static_cast<double>(wanted)) << one_in;
    }
    // On request, all of them.
    const std::vector<float> query = maker.vector();
    const auto exact = *view.search_dense(query, 10, {}, Deadline::never(), Accuracy::Exact);
    std::vector<float> scores;
    for (const Point& point : points)
        scores.push_back(kernels::best().dot_f32(point.vector.data(), query.data(), query.size()));
    std::sort(scores.begin(), scores.end(), std::greater<>());
    for (size_t i = 0; i < 10; ++i) EXPECT_EQ(exact[i].score, scores[i]);
}

}  // namespace
}  // namespace px::index
