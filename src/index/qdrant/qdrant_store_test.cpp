#include "index/qdrant/qdrant_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <boost/json.hpp>

#include "index/conformance.h"
#include "index/embedded/embedded_store.h"
#include "store/memory/memory_object_store.h"
#include "testing/fault_proxy.h"
#include "testing/qdrant_server.h"

namespace px::index {
namespace {

namespace json = boost::json;
using px::testing::FaultProxy;
using px::testing::ProxyFault;
using px::testing::QdrantServer;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kKey = "s3cret-key-of-the-test";

/// One server for the whole program.
class QdrantEnvironment : public ::testing::Environment {
  public:
    void SetUp() override {
        auto started = QdrantServer::start(kKey);
        ASSERT_THAT(started, IsOk());
        server_ = std::move(*started);
    }
    void TearDown() override { server_.reset(); }
    static QdrantServer& server() { return *server_; }

  private:
    static inline std::unique_ptr<QdrantServer> server_;
};
::testing::Environment* const environment =
    ::testing::AddGlobalTestEnvironment(new QdrantEnvironment);

std::string new_collection() {
    static std::atomic<int> count{0};
    return "test-" + std::to_string(++count);
}

/// Retries as ever, but without long waits; small batches, so that there are several.
QdrantOptions quick_options(const std::string& collection, uint16_t port = 0) {
    QdrantOptions options;
    options.url = QdrantServer::url_at(port == 0 ? QdrantEnvironment::server().port() : port);
    options.collection = collection;
    options.api_key = kKey;
    options.retry.delay_first = std::chrono::milliseconds(5);
    options.retry.delay_max = std::chrono::milliseconds(20);
    options.http.stall_timeout = std::chrono::milliseconds(2000);
    options.batch_points = 100;
    options.directory_rows = 64;
    options.fetch_points = 100;
    return options;
}

std::unique_ptr<VectorStore> open_store(QdrantOptions options) {
    return open_qdrant_store(std::move(options)).value();
}

INSTANTIATE_TEST_SUITE_P(
    Qdrant, VectorStoreConformance,
    ::testing::Values(VectorStoreUnderTest{
        "TestServer",
        [](const std::filesystem::path&) -> std::function<std::unique_ptr<VectorStore>()> {
            return
                [collection = new_collection()] { return open_store(quick_options(collection)); };
        },
        2e-6, 30}),
    conformance_name);

/// A request of a test's own.
json::value request(std::string_view method, const std::string& path, const json::value& body) {
    capi::curl::HttpClient client({});
    capi::curl::HttpRequest sent;
    sent.method = method;
    sent.url = QdrantEnvironment::server().url() + "/collections/" + path;
    sent.headers = {{"api-key", kKey}, {"content-type", "application/json"}};
    const std::string text = body.is_null() ? "" : json::serialize(body);
    sent.body = text;
    const auto reply = client.send(sent);
    EXPECT_TRUE(reply.ok()) << path << " " << reply.status << " " << reply.body;
    return json::parse(reply.body).as_object()["result"];
}

/// All that is in a collection, in order.
std::string dump(const std::string& collection) {
    const json::value page =
        request("POST", collection + "/points/scroll",
                json::object{{"limit", 10000}, {"with_payload", true}, {"with_vector", true}});
    std::string text;
    for (const json::value& point : page.at("points").as_array()) {
        text += json::serialize(point.at("id")) + json::serialize(point.at("payload"));
        for (const char* name : {"dense", "words", "pairs"}) {
            const json::value* vector = point.at("vector").as_object().if_contains(name);
            if (vector != nullptr) text += name + json::serialize(*vector);
        }
        text += '\n';
    }
    return text;
}

/// One request after another, so that the n-th is always the same; each tried once.
QdrantOptions single_file(const std::string& collection, uint16_t port) {
    QdrantOptions options = quick_options(collection, port);
    options.requests_in_flight = 1;
    options.batch_points = 12;
    return options;
}

struct Scene {
    PointMaker maker{18, 8};
    std::vector<Point> first = maker.points(0, 30);
    std::vector<Point> added = maker.points(50, 30);
    std::vector<Point> other = maker.points(100, 25);
    std::vector<chunk::ChunkId> removed{first[0].id, first[5].id};
};

TEST(QdrantStore, AnyRequestOfAnApplyMayGoWrongOnceWithoutHarm) {
    Scene scene;
    const std::string calm = new_collection();
    const std::string collection = new_collection();
    auto store = open_store(quick_options(calm));
    const auto base = *store->apply(std::nullopt, {}, scene.first, Deadline::never());
    const auto expected = *store->apply(base, scene.removed, scene.added, Deadline::never());
    const std::string expected_dump = dump(calm);
    ASSERT_EQ(*open_store(quick_options(collection))
                   ->apply(std::nullopt, {}, scene.first, Deadline::never()),
              base);
    Model before;
    before.apply({}, scene.first);
    FaultProxy proxy(QdrantEnvironment::server().port());
    int64_t requests = 0;
    for (const ProxyFault& fault :
         {ProxyFault::cut_before(), ProxyFault::cut_reply(), ProxyFault::cut_reply(40),
          ProxyFault::http("503 Service Unavailable"),
          ProxyFault::http("500 Internal Server Error"),
          ProxyFault::http("429 Too Many Requests", {"Retry-After: 0"}), ProxyFault::duplicate()}) {
        for (int64_t n = 1;; ++n) {
            proxy.set_plan(px::testing::fault_at(n, fault));
            auto shaky = open_store(single_file(collection, proxy.port()));
            const auto applied = shaky->apply(base, scene.removed, scene.added, Deadline::never());
            ASSERT_THAT(applied, IsOk()) << "request " << n;
            EXPECT_EQ(*applied, expected) << "request " << n;
            EXPECT_EQ(dump(collection), expected_dump) << "request " << n;
            ASSERT_THAT(open_store(quick_options(collection))->vacuum({base}), IsOk());
            if (proxy.faults() == 0) {
                requests = proxy.requests();
                break;
            }
        }
    }
    EXPECT_GE(requests, 15) << "the loop saw no apply of several batches";
    expect_equal(**open_store(quick_options(collection))->open(base), before, scene.maker, 1, 2e-6);
}

TEST(QdrantStore, KilledAtAnyRequestTheOldReleaseStaysAndARepeatFinishes) {
    Scene scene;
    const std::string calm = new_collection();
    const std::string calm_other = new_collection();
    const std::string collection = new_collection();
    auto store = open_store(quick_options(calm));
    const auto base = *store->apply(std::nullopt, {}, scene.first, Deadline::never());
    const auto expected = *store->apply(base, scene.removed, scene.added, Deadline::never());
    const std::string expected_dump = dump(calm);
    store = open_store(quick_options(calm_other));
    ASSERT_EQ(*store->apply(std::nullopt, {}, scene.first, Deadline::never()), base);
    const std::vector<chunk::ChunkId> less{scene.first[5].id, scene.first[6].id};
    const auto expected_other = *store->apply(base, less, scene.other, Deadline::never());
    const std::string other_dump = dump(calm_other);

    ASSERT_EQ(*open_store(quick_options(collection))
                   ->apply(std::nullopt, {}, scene.first, Deadline::never()),
              base);
    Model before;
    before.apply({}, scene.first);
    FaultProxy proxy(QdrantEnvironment::server().port());
    for (const ProxyFault& fault : {ProxyFault::cut_before(), ProxyFault::cut_reply()}) {
        for (int64_t n = 1;; ++n) {
            const bool given_up = n % 2 == 0;  // or taken up again with the same content
            // From its death on nothing more comes.
            proxy.set_plan([n, fault](int64_t at, std::string_view) {
                return at < n ? ProxyFault::none() : at == n ? fault : ProxyFault::cut_before();
            });
            QdrantOptions options = single_file(collection, proxy.port());
            options.retry.attempts_max = 1;
            const auto killed =
                open_store(options)->apply(base, scene.removed, scene.added, Deadline::never());
            if (proxy.faults() == 0) {
                EXPECT_THAT(killed, IsOk());
                EXPECT_GE(n, 15);
                break;
            }
            EXPECT_THAT(killed, IsError(ErrorCode::Unavailable)) << "request " << n;
            store = open_store(quick_options(collection));
            const auto view = store->open(base);
            ASSERT_THAT(view, IsOk());
            if (n % 5 == 0) expect_equal(**view, before, scene.maker, 1, 2e-6);
            EXPECT_EQ(
                (*view)->search_dense(scene.first[0].vector, 100, {}, Deadline::never())->size(),
                30U);
            const bool committed = store->open(expected).has_value();  // and its reply lost
            const auto again =
                given_up ? store->apply(base, less, scene.other, Deadline::never())
                         : store->apply(base, scene.removed, scene.added, Deadline::never());
            ASSERT_THAT(again, IsOk()) << "request " << n;
            EXPECT_EQ(*again, given_up ? expected_other : expected);
            // A committed release is numbered and stays until a vacuum.
            if (!given_up || !committed) {
                EXPECT_EQ(dump(collection), given_up ? other_dump : expected_dump)
                    << "request " << n;
            }
            EXPECT_EQ((*store->open(*again))->point_count(), given_up ? 53U : 58U);
            expect_equal(**store->open(base), before, scene.maker, 0, 2e-6);
            ASSERT_THAT(store->vacuum({base}), IsOk());
        }
    }
}

TEST(QdrantStore, AQuestionIsOneRequestAndItsWordsAreRemembered) {
    Scene scene;
    const std::string collection = new_collection();
    const auto id = *open_store(quick_options(collection))
                         ->apply(std::nullopt, {}, scene.first, Deadline::never());
    FaultProxy proxy(QdrantEnvironment::server().port());
    const auto view = *open_store(quick_options(collection, proxy.port()))->open(id);
    proxy.set_plan(nullptr);
    const auto search = [&](const char* text) {
        const int64_t before = proxy.requests();
        EXPECT_THAT(
            view->search_hybrid(scene.maker.vector(), text, {10, 10}, {}, Deadline::never()),
            IsOk());
        return proxy.requests() - before;
    };
    EXPECT_EQ(search("inflation outlook of the housing market"), 1);
    EXPECT_EQ(search("market outlook"), 1);
    const auto words = [&](const char* text) {
        const int64_t before = proxy.requests();
        EXPECT_THAT(view->search_lexical(text, 10, {}, Deadline::never()), IsOk());
        return proxy.requests() - before;
    };
    EXPECT_EQ(words("inflation outlook"), 0) << "postings are in memory";
    EXPECT_EQ(words("energy"), 1);
}

TEST(QdrantStore, AnswersWithTheVeryScoresOfTheEmbeddedStore) {
    PointMaker maker(31);
    const auto points = maker.points(0, 400);
    const auto more = maker.points(400, 100);
    const std::vector<chunk::ChunkId> removed{points[3].id, points[50].id, points[51].id};
    store::MemoryObjectStore objects;
    auto embedded = *open_embedded_store(objects);
    auto qdrant = open_store(quick_options(new_collection()));
    const auto view_of = [&](VectorStore& store) {
        const auto id = *store.apply(std::nullopt, {}, points, Deadline::never());
        return *store.open(*store.apply(id, removed, more, Deadline::never()));
    };
    const auto one = view_of(*embedded);
    const auto other = view_of(*qdrant);
    const auto names = [](const CollectionView& view, const std::vector<ScoredPoint>& found) {
        std::vector<std::pair<std::string, float>> result;
        const auto all = ids(view, found);
        for (size_t i = 0; i < all.size(); ++i) result.emplace_back(all[i], found[i].score);
        return result;
    };
    Filter by_author;
    by_author.authors = {"author 2", "AUTHOR 3"};
    Filter by_date;
    by_date.from = 1'700'000'000'000'000;
    for (const Filter& filter : {Filter(), by_author, by_date}) {
        for (const char* text : {"inflation outlook of the housing market", "Author 3 energy price",
                                 "report 12", "bank bank credit risk", "nothing like it"}) {
            const auto lexical = *one->search_lexical(text, 30, filter, Deadline::never());
            EXPECT_EQ(names(*one, lexical),
                      names(*other, *other->search_lexical(text, 30, filter, Deadline::never())));
            const auto mine = *one->search_documents(text, 30, filter, Deadline::never());
            const auto theirs = *other->search_documents(text, 30, filter, Deadline::never());
            ASSERT_EQ(mine.size(), theirs.size());
            for (size_t i = 0; i < mine.size(); ++i) {
                EXPECT_EQ(mine[i].document_id, theirs[i].document_id);
                EXPECT_EQ(mine[i].score, theirs[i].score);
            }
        }
    }
}

TEST(QdrantStore, SaysInOneLineWhatIsWrong) {
    Scene scene;
    const std::string collection = new_collection();
    const auto id = *open_store(quick_options(collection))
                         ->apply(std::nullopt, {}, scene.first, Deadline::never());
    const auto expect = [&](QdrantOptions options, ErrorCode code, const std::string& word) {
        options.retry.attempts_max = 2;
        auto store = open_store(options);
        for (const Error& error :
             {store->prepare().error(), store->open(id).error(),
              store->apply(id, scene.removed, {}, Deadline::never()).error()}) {
            EXPECT_EQ(error.code, code) << error.to_string();
            EXPECT_THAT(error.to_string(), HasSubstr(word));
            EXPECT_FALSE(error.hint.empty()) << error.to_string();
            EXPECT_THAT(error.to_string(), Not(HasSubstr("\n")));
            EXPECT_THAT(error.to_string(), Not(HasSubstr("s3cret")));
            EXPECT_THAT(error.to_string(), Not(HasSubstr("wrong-key")));
        }
    };
    QdrantOptions options = quick_options(collection);
    options.api_key = "wrong-key";
    expect(options, ErrorCode::Unauthenticated, "QDRANT_API_KEY");
    options.api_key = "";
    expect(options, ErrorCode::Unauthenticated, "without a key");
    expect(quick_options(collection, 9), ErrorCode::Unavailable, "127.0.0.1:9");
    // Servers that are none, or of old.
    FaultProxy proxy(QdrantEnvironment::server().port());
    const auto answering = [&](const std::string& body) {
        proxy.set_plan([body](int64_t, std::string_view) {
            return ProxyFault::reply("HTTP/1.1 200 OK\r\nContent-Length: " +
                                     std::to_string(body.size()) + "\r\n\r\n" + body);
        });
    };
    answering(R"({"title":"qdrant - vector search engine","version":"1.9.7"})");
    expect(quick_options(collection, proxy.port()), ErrorCode::InvalidArgument, "1.9.7");
    answering("<html>It works!</html>");
    expect(quick_options(collection, proxy.port()), ErrorCode::InvalidArgument, "no Qdrant server");
    proxy.set_plan([](int64_t n, std::string_view) {
        return n == 1 ? ProxyFault::none() : ProxyFault::http("403 Forbidden");
    });
    EXPECT_THAT(open_store(quick_options(collection, proxy.port()))->open(id),
                IsError(ErrorCode::Unauthenticated, "may write"));
}

TEST(QdrantStore, TellsForeignAndMissingCollectionsApart) {
    Scene scene;
    const std::string collection = new_collection();
    auto store = open_store(quick_options(collection));
    EXPECT_THAT(store->open(ManifestId{std::string(64, 'a')}),
                IsError(ErrorCode::NotFound, collection));
    const auto id = *store->apply(std::nullopt, {}, scene.first, Deadline::never());
    // Other vectors.
    PointMaker wide(3, 16);
    const auto refused = store->apply(std::nullopt, {}, wide.points(0, 2), Deadline::never());
    ASSERT_THAT(refused, IsError(ErrorCode::InvalidArgument, "8 dimensions"));
    EXPECT_THAT(refused.error().to_string(), HasSubstr("16"));
    const std::string foreign = new_collection();
    request("PUT", foreign,
            json::object{{"vectors", json::object{{"size", 8}, {"distance", "Cosine"}}}});
    EXPECT_THAT(
        open_store(quick_options(foreign))->apply(std::nullopt, {}, scene.first, Deadline::never()),
        IsError(ErrorCode::InvalidArgument, "not one of px"));
    // A point someone took away is noticed by the next apply, and by who asks for it.
    const auto view = *store->open(id);
    request(
        "POST", collection + "/points/delete?wait=true",
        json::object{
            {"filter",
             json::object{
                 {"must", json::array{json::object{
                              {"key", "chunk_id"},
                              {"match", json::object{{"value", scene.first[7].id.value}}}}}}}}});
    EXPECT_THAT(view->points({*view->find(scene.first[7].id)}, Deadline::never()),
                IsError(ErrorCode::NotFound, "lacks a point"));
    EXPECT_THAT(view->vectors({*view->find(scene.first[7].id)}, Deadline::never()),
                IsError(ErrorCode::NotFound, "lacks a point"));
    EXPECT_THAT(store->apply(id, {}, scene.added, Deadline::never()),
                IsError(ErrorCode::Corrupt, "not 60"));
    // A dropped collection under a release.
    request("DELETE", collection, nullptr);
    EXPECT_THAT(open_store(quick_options(collection))->open(id),
                IsError(ErrorCode::NotFound, "there is no collection"));
    EXPECT_THAT(view->search_dense(scene.first[0].vector, 5, {}, Deadline::never()),
                IsError(ErrorCode::NotFound));
}

TEST(QdrantStore, RefusesOptionsThatMakeNoSense) {
    const auto refused = [&](auto change, const char* word) {
        QdrantOptions bad = quick_options("docs");
        change(bad);
        EXPECT_THAT(open_qdrant_store(bad), IsError(ErrorCode::InvalidArgument, word));
    };
    refused([](QdrantOptions& o) { o.url = "ftp://127.0.0.1"; }, "http://");
    refused([](QdrantOptions& o) { o.url = "http://user:p@127.0.0.1"; }, "HOST:PORT");
    refused([](QdrantOptions& o) { o.collection = ""; }, "collection");
    refused([](QdrantOptions& o) { o.collection = "a/b"; }, "collection");
    refused([](QdrantOptions& o) { o.url = "http://qdrant.example.com:6333"; }, "in the clear");
    refused([](QdrantOptions& o) { o.api_key = "a\nb"; }, "line break");
    refused([](QdrantOptions& o) { o.requests_in_flight = 0; }, "requests_in_flight");
    refused([](QdrantOptions& o) { o.batch_bytes = size_t{1} << 30; }, "batches");
    QdrantOptions secure = quick_options("docs");
    secure.url = "https://qdrant.example.com:6333";
    EXPECT_THAT(open_qdrant_store(secure), IsOk());
}

}  // namespace
}  // namespace px::index
