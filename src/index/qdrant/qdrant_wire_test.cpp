#include "index/qdrant/qdrant_wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "index/embedded/test_points.h"
#include "index/qdrant/directory.h"
#include "testing/matchers.h"

namespace px::index::qdrant {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::Pair;

TEST(QdrantWire, NamesPointsByUuidOfVersion5) {
    const Uuid id = make_uuid("chunk/1");
    EXPECT_EQ(id[6] >> 4, 5);
    EXPECT_EQ(id[8] >> 6, 2);
    EXPECT_EQ(format_uuid(id), "2d550a03-73fd-5591-b4f0-d6f89a0016c0");
    EXPECT_EQ(parse_uuid(format_uuid(id)), id);
    for (const char* bad :
         {"", "abc", "2d550a03-73fd-5591-b4f0-d6f89a0016c", "7",
          "2d550a03073fd-5591-b4f0-d6f89a0016c0", "2d550a03-73fd-5591-b4f0-d6f89a0016cX"}) {
        EXPECT_FALSE(parse_uuid(bad)) << bad;
    }
}

TEST(QdrantWire, TheFormatOfTermNumbersStays) {
    // A change here makes every index that was written unreadable.
    EXPECT_EQ(term_number("inflat"), 2609097915U);
    EXPECT_EQ(pair_number("hous", "market"), 820560359U);
    EXPECT_NE(pair_number("a", "b"), pair_number("ab", ""));
}

TEST(QdrantWire, CountsTermsAndNeighboursOfOneField) {
    Point point;
    point.title = "Pump valve";
    point.author = "Pump";
    point.text = "The pump, the valve; pump the valve! 日本銀行";
    const Lexicon lexicon = LexiconMaker().make(point);
    const auto times = [](const Counts& counts, uint32_t number) {
        for (const auto& [known, count] : counts) {
            if (known == number) return count;
        }
        return 0U;
    };
    EXPECT_EQ(lexicon.length, 10U);  // 2 + 1 + 4 + 3 pairs of characters
    EXPECT_EQ(times(lexicon.words, term_number("pump")), 4U);
    EXPECT_EQ(times(lexicon.words, term_number("valv")), 3U);
    EXPECT_EQ(times(lexicon.pairs, pair_number("pump", "valv")), 3U);
    EXPECT_EQ(times(lexicon.pairs, pair_number("valv", "pump")), 1U)
        << "the end of a field and the beginning of the next are no neighbours";
    EXPECT_EQ(lexicon.pairs.size(), 2U) << "pairs of characters make no phrases";
}

TEST(QdrantWire, AChainIsTheFewestRanges) {
    Chain chain;
    for (const int64_t generation : {1, 2, 3, 5, 6, 9}) append_generation(chain, generation);
    EXPECT_THAT(chain, ElementsAre(Pair(1, 3), Pair(5, 6), Pair(9, 9)));
}

std::string answer_of(const json::value& result) {
    return json::serialize(json::object{{"result", result}, {"status", "ok"}, {"time", 0.1}});
}

/// What the adapter does with an answer of any kind.
void read_all(std::string_view body) {
    (void)parse_error(body);
    const auto result = parse_result(body);
    if (!result) return;
    (void)parse_hits(*result, 2);
    (void)next_page(*result);
    const auto records = parse_records(*result);
    if (!records) return;
    for (const Record& record : *records) {
        std::vector<float> vector(4);
        (void)read_vector(record, 4, vector.data());
        (void)read_point(record);
        (void)read_retired(record);
        if (record.payload == nullptr) continue;
        (void)parse_manifest(*record.payload);
        Directory directory;
        auto part = parse_part(*record.payload, directory);
        if (!part) continue;
        directory.change(std::move(part->removed), std::move(part->added));
        directory.finish();
        (void)directory.checksum();
    }
}

TEST(QdrantWire, NoAnswerHoweverDamagedDoesHarm) {
    Directory directory;
    std::vector<Row> rows(3);
    for (size_t i = 0; i < rows.size(); ++i) {
        rows[i].id[0] = static_cast<uint8_t>(i + 1);
        rows[i].generation = 1;
        rows[i].length = 7;
        rows[i].document = directory.intern("reports/" + std::to_string(i));
        rows[i].source = directory.intern("reports");
        rows[i].author_folded = rows[i].category_folded = directory.intern("");
    }
    directory.change({}, rows);
    Manifest manifest;
    manifest.id = std::string(64, 'a');
    manifest.generation = 3;
    manifest.chain = {{1, 3}};
    manifest.width = 4;
    manifest.point_count = 3;
    manifest.parts = {{1, 1}, {3, 2}};
    PointMaker maker(1, 4);
    const Point point = maker.point(3);
    std::string points = "{\"points\":[";
    append_point(points, point, LexiconMaker().make(point), chunk_uuid({}, 1), 1);
    points += "]}";
    const std::string id = format_uuid(make_uuid("x"));
    const auto with_payload = [&](json::object payload) {
        return answer_of(json::array{json::object{{"id", id}, {"payload", std::move(payload)}}});
    };
    const std::vector<std::string> answers{
        answer_of(json::array{
            json::object{{"points", json::array{json::object{{"id", id}, {"score", 0.5}}}}},
            json::object{{"points", json::array{}}}}),
        with_payload(format_parts(directory, directory.rows(), {}, 1, 100).front()),
        with_payload(format_manifest(manifest)),
        answer_of(json::parse(points)),
        answer_of(json::object{{"points", json::array{}}, {"next_page_offset", id}}),
        R"({"status":{"error":"Not found: Collection `x` doesn't exist!"},"time":0.0})"};
    ASSERT_THAT(parse_hits(parse_result(answers[0]).value(), 2), IsOk());
    const json::value point_result = parse_result(answers[3]).value();
    const auto records = parse_records(point_result);
    ASSERT_THAT(records, IsOk());
    std::vector<float> vector(4);
    ASSERT_THAT(read_vector(records->front(), 4, vector.data()), IsOk());
    EXPECT_EQ(vector, point.vector) << "32 bits of a number survive the way there and back";
    EXPECT_EQ(read_point(records->front()).value().text, point.text);
    EXPECT_EQ(identify(read_point(records->front()).value()), identify(point));
    const json::value manifest_result = parse_result(answers[2]).value();
    EXPECT_THAT(parse_manifest(*parse_records(manifest_result).value().front().payload), IsOk());

    const uint64_t seed = 20261123;
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    for (const std::string& answer : answers) {
        read_all(answer);
        for (int round = 0; round < 400; ++round) {
            std::string damaged = answer;
            const size_t changes = 1 + random() % 3;
            for (size_t c = 0; c < changes && !damaged.empty(); ++c) {
                const size_t at = random() % damaged.size();
                switch (random() % 5) {
                    case 0:
                        damaged[at] = static_cast<char>(random());
                        break;
                    case 1:
                        damaged.erase(at, 1 + random() % 8);
                        break;
                    case 2:
                        damaged.insert(at, damaged.substr(random() % damaged.size(), 20));
                        break;
                    case 3:
                        damaged.resize(at);
                        break;
                    default:
                        damaged[at] = "0123456789-e[]{}\",:n"[random() % 20];
                        break;
                }
            }
            read_all(damaged);
        }
    }
}

TEST(QdrantWire, RefusesDirectoriesAndManifestsThatContradictThemselves) {
    Directory directory;
    Row row;
    row.generation = 1;
    row.document = row.source = row.author_folded = row.category_folded = directory.intern("x");
    directory.change({}, {row});
    const json::object good = format_parts(directory, directory.rows(), {}, 1, 10).front();
    Directory fresh;
    ASSERT_THAT(parse_part(good, fresh), IsOk());
    const auto refused = [&](std::string_view name, json::value value) {
        json::object bad = good;
        bad[name] = std::move(value);
        EXPECT_THAT(parse_part(bad, fresh), IsError(ErrorCode::Corrupt)) << name;
    };
    refused("ids", "abc");
    refused("digests", "");
    refused("documents", json::array{1});
    refused("documents", json::array{-1});
    refused("lengths", json::array{});
    refused("lengths", json::array{int64_t{1} << 40});
    refused("names", json::array{7});
    refused("generations", json::array{0});
    refused("starts", json::array{nullptr});
    Manifest manifest;
    manifest.id = std::string(64, 'a');
    manifest.generation = 3;
    manifest.chain = {{1, 3}};
    manifest.width = 4;
    manifest.point_count = 3;
    manifest.parts = {{1, 1}};
    ASSERT_THAT(parse_manifest(format_manifest(manifest)), IsOk());
    const auto contradicts = [&](auto change) {
        Manifest bad = manifest;
        change(bad);
        EXPECT_THAT(parse_manifest(format_manifest(bad)), IsError(ErrorCode::Corrupt));
    };
    contradicts([](Manifest& m) { m.id = "x"; });
    contradicts([](Manifest& m) { m.chain = {}; });
    contradicts([](Manifest& m) { m.chain = {{3, 1}}; });
    contradicts([](Manifest& m) { m.chain = {{1, 2}}; });
    contradicts([](Manifest& m) { m.parts = {{1, 0}}; });
    contradicts([](Manifest& m) { m.parts = {{1, int64_t{1} << 40}}; });
    contradicts([](Manifest& m) { m.width = 0; });
    json::object newer = format_manifest(manifest);
    newer["format"] = 2;
    EXPECT_THAT(parse_manifest(newer), IsError(ErrorCode::InvalidArgument, "format 2"));
}

}  // namespace
}  // namespace px::index::qdrant
