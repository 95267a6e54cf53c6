#include "gateway/gateway.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <future>
#include <set>
#include <sstream>
#include <thread>

#include "base/progress.h"
#include "engine/local/local_engine.h"
#include "gateway/demo_company.h"
#include "gateway/openapi.h"
#include "gateway/routes.h"
#include "gateway/schema_check.h"
#include "gateway/web_files.h"
#include "http/raw_client.h"
#include "http/target.h"
#include "index/embedded/embedded_store.h"
#include "store/memory/memory_object_store.h"
#include "testing/temp_dir.h"

namespace px::gateway {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::StartsWith;

json::value parsed(std::string_view text) {
    json::error_code error;
    json::value value = json::parse({text.data(), text.size()}, error);
    EXPECT_FALSE(error) << text;
    return value;
}

std::string text_of(const json::value& value) { return std::string(value.as_string()); }

/// The bytes of base64 with padding.
std::string from_base64(std::string_view text) {
    std::string bytes;
    uint32_t group = 0;
    int bits = 0;
    for (const char c : text) {
        if (c == '=') break;
        const uint32_t digit = c >= 'A' && c <= 'Z'   ? static_cast<uint32_t>(c - 'A')
                               : c >= 'a' && c <= 'z' ? static_cast<uint32_t>(c - 'a') + 26
                               : c >= '0' && c <= '9' ? static_cast<uint32_t>(c - '0') + 52
                               : c == '+'             ? 62
                                                      : 63;
        group = group << 6 | digit;
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        bytes.push_back(static_cast<char>(group >> bits & 0xFF));
    }
    return bytes;
}

struct Collector final : http::StreamWriter {
    std::string bytes;
    Result<void> write(std::string_view piece) override {
        bytes += piece;
        return {};
    }
};

/// The company's routes without a socket.
class Company {
  public:
    Company()
        : company_(make(folder_.path())),
          services_(company_->services()),
          routes_(services_, options_) {}

    http::Response send(std::string method, std::string_view target, std::string body = {},
                        std::vector<http::Header> headers = {}) const {
        http::Request request;
        request.method = std::move(method);
        const auto parts = http::parse_target(target).value();
        request.path = parts.path;
        request.query = parts.query;
        request.headers = std::move(headers);
        if (!request.header("Host")) request.headers.push_back({"Host", "localhost:8501"});
        request.body = std::move(body);
        http::Response response = routes_.handle(request);
        if (response.stream) {
            Collector collector;
            EXPECT_TRUE(response.stream(collector));
            response.body = collector.bytes;
        }
        return response;
    }
    http::Response get(std::string_view target) const { return send("GET", target); }
    http::Response post(std::string_view target, std::string body) const {
        return send("POST", target, std::move(body));
    }
    json::value get_json(std::string_view target) const {
        const auto response = get(target);
        EXPECT_EQ(response.status, 200) << target << " " << response.body;
        return parsed(response.body);
    }
    json::value post_json(std::string_view target, std::string body) const {
        const auto response = post(target, std::move(body));
        EXPECT_EQ(response.status, 200) << target << " " << response.body;
        return parsed(response.body);
    }
    json::value ask(std::string_view question = "What is the financial outlook?") const {
        return post_json("/v1/ask", json::serialize(json::object{{"question", question}}));
    }
    DemoCompany& company() { return *company_; }
    const Routes& routes() const { return routes_; }
    GatewayServices services() { return company_->services(); }

  private:
    static std::unique_ptr<DemoCompany> make(const std::filesystem::path& folder) {
        auto company = DemoCompany::create(folder);
        if (!company) {
            ADD_FAILURE() << company.error().to_string();
            std::abort();
        }
        return std::move(company).value();
    }
    px::testing::TempDir folder_;
    std::unique_ptr<DemoCompany> company_;
    GatewayServices services_;
    GatewayOptions options_;
    Routes routes_;
};

/// One company for all tests that change nothing.
/// Gone before the program ends: its engine must not outlive the library's own statics.
class SharedCompany : public ::testing::Environment {
  public:
    void TearDown() override { company_.reset(); }
    static Company& get() {
        if (!company_) company_ = std::make_unique<Company>();
        return *company_;
    }

  private:
    static inline std::unique_ptr<Company> company_;
};
::testing::Environment* const shared_company =
    ::testing::AddGlobalTestEnvironment(new SharedCompany);

Company& shared() { return SharedCompany::get(); }

std::string header(const http::Response& response, std::string_view name) {
    for (const auto& field : response.headers) {
        if (http::equal_ignoring_case(field.name, name)) return field.value;
    }
    return {};
}

void expect_problem(const http::Response& response, int status, std::string_view code,
                    std::string_view detail) {
    EXPECT_EQ(response.status, status) << response.body;
    EXPECT_EQ(header(response, "Content-Type"), "application/problem+json");
    const auto problem = parsed(response.body);
    EXPECT_EQ(text_of(problem.at("code")), code);
    EXPECT_EQ(problem.at("status"), status);
    EXPECT_THAT(text_of(problem.at("detail")), HasSubstr(std::string(detail)));
    EXPECT_EQ(text_of(problem.at("request_id")), header(response, "X-Request-Id"));
}

TEST(Ask, AnswersWithCitationsThatStandInTheSource) {
    const auto answer = shared().ask();
    EXPECT_TRUE(answer.at("grounded").as_bool());
    EXPECT_THAT(text_of(answer.at("answer")), HasSubstr("[1]"));
    ASSERT_FALSE(answer.at("citations").as_array().empty());
    for (const auto& citation : answer.at("citations").as_array()) {
        const std::string target = "/v1/citations/" + text_of(citation.at("chunk_id")) +
                                   "?as_of=" + std::to_string(citation.at("release").as_int64());
        const auto shown = shared().get_json(target);
        const auto& context = shown.at("context");
        const std::string text = text_of(context.at("text"));
        const int64_t start =
            citation.at("text_start").as_int64() - context.at("text_start").as_int64();
        const int64_t length =
            citation.at("text_end").as_int64() - citation.at("text_start").as_int64();
        EXPECT_EQ(text.substr(static_cast<size_t>(start), static_cast<size_t>(length)),
                  text_of(citation.at("quote")));
        EXPECT_EQ(text_of(shown.at("run")), "2026-11-23-0001");
    }
}

TEST(Ask, SaysWhenTheSourcesDoNotHoldTheAnswer) {
    const auto answer = shared().ask("Xylophones zwieback quixotic?");
    EXPECT_FALSE(answer.at("grounded").as_bool());
    EXPECT_TRUE(answer.at("citations").as_array().empty());
}

TEST(Ask, StreamsPassagesThenSentencesThenTheWhole) {
    for (const bool by_header : {false, true}) {
        const auto response =
            by_header ? shared().send("POST", "/v1/ask",
                                      R"({"question": "What is the financial outlook?"})",
                                      {{"Accept", "text/event-stream"}})
                      : shared().post(
                            "/v1/ask",
                            R"({"question": "What is the financial outlook?", "stream": true})");
        EXPECT_EQ(response.status, 200);
        EXPECT_THAT(header(response, "Content-Type"), StartsWith("text/event-stream"));
        std::vector<std::string> names;
        std::string told;
        json::value whole;
        std::istringstream lines(response.body);
        for (std::string line; std::getline(lines, line);) {
            if (line.starts_with("event: ")) names.push_back(line.substr(7));
            if (!line.starts_with("data: ")) continue;
            const auto data = parsed(line.substr(6));
            if (names.back() == "sentence") {
                told += (told.empty() ? "" : " ") + text_of(data.at("text"));
                EXPECT_FALSE(data.at("citations").as_array().empty());
            }
            if (names.back() == "done") whole = data;
        }
        ASSERT_GE(names.size(), 3U);
        EXPECT_EQ(names.front(), "passages");
        EXPECT_EQ(names.back(), "done");
        EXPECT_EQ(told, text_of(whole.at("answer")));
    }
}

TEST(Ask, AnswersAsOfAnOlderRelease) {
    const auto newest = shared().ask("What is the rise of the price of copper?");
    EXPECT_EQ(newest.at("release"), 2);
    for (const std::string as_of : {"1", "\"1\"", "\"2026-11-22\"", "\"2026-11-20T12:00:00Z\""}) {
        const auto older = shared().post_json(
            "/v1/ask", R"({"question": "financial outlook", "as_of": )" + as_of + "}");
        EXPECT_EQ(older.at("release"), 1) << as_of;
        for (const auto& citation : older.at("citations").as_array())
            EXPECT_EQ(citation.at("release"), 1);
    }
    expect_problem(shared().post("/v1/ask", R"({"question": "a", "as_of": 99})"), 404, "NotFound",
                   "99");
    expect_problem(shared().post("/v1/ask", R"({"question": "a", "as_of": 99, "stream": true})"),
                   404, "NotFound", "99");
}

TEST(Search, FindsPassagesAndHonoursFilters) {
    const auto all =
        shared().post_json("/v1/search", R"({"question": "financial outlook", "top_k": 3})");
    EXPECT_EQ(all.at("count"), 3);
    EXPECT_EQ(all.at("results").as_array().size(), 3U);
    const auto mine = shared().post_json(
        "/v1/search",
        R"({"question": "financial outlook", "filters": {"authors": ["jonas adeyemi"]}})");
    ASSERT_FALSE(mine.at("results").as_array().empty());
    for (const auto& passage : mine.at("results").as_array()) {
        EXPECT_EQ(text_of(passage.at("author")), "Jonas Adeyemi");
    }
    const auto dated =
        shared().get_json("/v1/search?question=outlook&from=2026-11-12&to=2026-11-12");
    ASSERT_FALSE(dated.at("results").as_array().empty());
    for (const auto& passage : dated.at("results").as_array()) {
        EXPECT_THAT(text_of(passage.at("date")), StartsWith("2026-11-12"));
    }
    const auto both = shared().get_json(
        "/v1/search?question=outlook&author=Mara%20Lindqvist&author=Ines+Castro&top_k=50");
    std::set<std::string> authors;
    for (const auto& passage : both.at("results").as_array())
        authors.insert(text_of(passage.at("author")));
    EXPECT_TRUE(authors.contains("Mara Lindqvist"));
    EXPECT_FALSE(authors.contains("Jonas Adeyemi"));
    expect_problem(shared().get("/v1/search?question=a&top_k=x"), 400, "InvalidArgument",
                   "'top_k' is 'x'");
    expect_problem(shared().get("/v1/search?q=a"), 400, "InvalidArgument", "unknown parameter 'q'");
}

TEST(Search, HasTheShortFormOfOlderClients) {
    const auto found = shared().post_json(
        "/search", R"({"question": "What is the financial outlook?", "top_k": 2})");
    EXPECT_EQ(found.at("count"), 2);
    EXPECT_EQ(text_of(found.at("results").at(0).at("source")), "data/filings/outlook-2027.md");
    EXPECT_TRUE(found.at("results").at(0).at("score").is_number());
    EXPECT_THAT(text_of(found.at("results").at(0).at("text")), HasSubstr("outlook"));
    expect_problem(shared().post("/search", R"({"question": "a", "filters": {}})"), 400,
                   "InvalidArgument", "filters");
}

TEST(Embeddings, AreWhatTheEncoderGivesInBothForms) {
    const std::vector<std::string_view> texts = {"the outlook is steady", "copper rose by 3 %"};
    NoProgress progress;
    const WordEncoder encoder;
    const std::vector<float> expected =
        encoder.encode(texts, embed::TextKind::Passage, Deadline::never(), progress).value();
    const std::string input = R"({"input": ["the outlook is steady", "copper rose by 3 %"])";
    const auto plain = shared().post_json("/v1/embeddings", input + "}");
    EXPECT_EQ(text_of(plain.at("model")), "words");
    const int64_t tokens = plain.at("usage").at("prompt_tokens").as_int64();
    EXPECT_EQ(tokens, static_cast<int64_t>(encoder.count_tokens(texts[0]) +
                                           encoder.count_tokens(texts[1])));
    EXPECT_EQ(plain.at("usage").at("total_tokens"), tokens);
    ASSERT_EQ(plain.at("data").as_array().size(), 2U);
    const auto packed = shared().post_json(
        "/v1/embeddings", input + R"(, "encoding_format": "base64", "model": "words@000000000000",
                                       "dimensions": 384, "user": "me", "kind": "query"})");
    EXPECT_EQ(text_of(packed.at("model")), "words@000000000000");
    for (size_t i = 0; i < texts.size(); ++i) {
        const auto& item = plain.at("data").at(i);
        EXPECT_EQ(item.at("index"), i);
        const auto& numbers = item.at("embedding").as_array();
        ASSERT_EQ(numbers.size(), 384U);
        std::string bytes;
        for (size_t d = 0; d < numbers.size(); ++d) {
            const auto number = static_cast<float>(numbers[d].to_number<double>());
            EXPECT_EQ(number, expected[i * 384 + d]);
            bytes.append(reinterpret_cast<const char*>(&number), sizeof(number));
        }
        EXPECT_EQ(from_base64(text_of(packed.at("data").at(i).at("embedding"))), bytes);
    }
    const auto one = shared().post_json("/v1/embeddings", R"({"input": "the outlook is steady"})");
    EXPECT_EQ(one.at("data").at(0), plain.at("data").at(0));
}

TEST(Embeddings, AreRefusedByField) {
    const auto refused = [](const std::string& body, std::string_view detail) {
        expect_problem(shared().post("/v1/embeddings", body), 400, "InvalidArgument", detail);
    };
    refused("{}", "'input' is missing");
    refused(R"({"input": null})", "'input' is missing");
    refused(R"({"input": []})", "'input' has 0 texts");
    refused(R"({"input": ""})", "'input' is empty");
    refused(R"({"input": ["a", ""]})", "'input[1]' is empty");
    refused(R"({"input": [1, 2]})", "'input[0]' holds token numbers");
    refused(R"({"input": [[1, 2]]})", "'input[0]' holds token numbers");
    refused(R"({"input": {"text": "a"}})", "'input' must be a string or an array of strings");
    refused(R"({"input": ["a", null]})", "'input[1]' must be a string");
    refused(R"({"input": 7})", "'input' must be");
    refused(R"({"input": ")" + std::string(70'000, 'a') + "\"}", "at most 65536");
    refused(R"({"input": "a", "encoding_format": "hex"})", "'encoding_format' is 'hex'");
    refused(R"({"input": "a", "dimensions": 128})", "'dimensions' is 128");
    refused(R"({"input": "a", "kind": "document"})", "'kind' is 'document'");
    refused(R"({"inputs": "a"})", "unknown field 'inputs'");
    std::string many = "{\"input\": [\"a\"";
    for (int i = 0; i < 2'048; ++i) many += ",\"a\"";
    refused(many + "]}", "'input' has 2049 texts");
    expect_problem(
        shared().post("/v1/embeddings", R"({"input": "a", "model": "text-embedding-3-small"})"),
        404, "NotFound", "'text-embedding-3-small' is not served");
}

TEST(Verify, PassesWhatIsTrueAndCatchesWhatIsNot) {
    Company own;
    const auto answer = own.ask();
    auto citation = answer.at("citations").at(0);
    const auto verify = [&](const json::value& claim) {
        return own.post_json("/v1/verify", json::serialize(json::object{{"citation", claim}}));
    };
    const auto good = verify(citation);
    EXPECT_TRUE(good.at("verified").as_bool()) << json::serialize(good);
    EXPECT_GE(good.at("steps").as_array().size(), 3U);
    EXPECT_EQ(text_of(good.at("reason")), "");

    auto changed = citation;
    changed.as_object()["quote"] = "The financial outlook is splendid.";
    const auto bad = verify(changed);
    EXPECT_FALSE(bad.at("verified").as_bool());
    EXPECT_NE(text_of(bad.at("reason")), "");

    own.company().tamper(text_of(citation.at("document")));
    const auto tampered = verify(citation);
    EXPECT_FALSE(tampered.at("verified").as_bool());
    const auto shown = own.get_json("/v1/citations/" + text_of(citation.at("chunk_id")));
    EXPECT_TRUE(shown.at("context").is_null());
    EXPECT_THAT(text_of(shown.at("context_problem")), HasSubstr("SHA-256"));

    expect_problem(own.post("/v1/verify", "{}"), 400, "InvalidArgument", "'citation'");
    expect_problem(own.post("/v1/verify", R"({"citation": {}})"), 400, "InvalidArgument",
                   "chunk_id");
    expect_problem(own.get("/v1/citations/00000000000000000000000000000000"), 404, "NotFound",
                   "0000");
}

TEST(Sql, ReadsTheReleaseAndNothingElse) {
    const auto grid = shared().post_json(
        "/v1/sql",
        R"({"sql": "select id, revenue from reports where ds = '2026-11-23' order by id"})");
    EXPECT_EQ(text_of(grid.at("columns").at(1)), "revenue");
    EXPECT_EQ(text_of(grid.at("types").at(1)), "DECIMAL(18,2)");
    EXPECT_TRUE(grid.at("rows").at(0).at(1).is_number());
    EXPECT_EQ(grid.at("release"), 2);
    const auto text = shared().post_json(
        "/v1/sql",
        R"({"sql": "select revenue from reports where ds = '2026-11-23' order by id", "cells": "text"})");
    EXPECT_EQ(text_of(text.at("rows").at(0).at(0)), "123456789012345.67");
    const auto cut =
        shared().post_json("/v1/sql", R"({"sql": "select * from documents", "limit": 2})");
    EXPECT_EQ(cut.at("row_count"), 2);
    EXPECT_TRUE(cut.at("truncated").as_bool());
    const auto older =
        shared().post_json("/v1/sql", R"({"sql": "select count(*) from documents", "as_of": 1})");
    EXPECT_EQ(older.at("rows").at(0).at(0), 4);
    for (const std::string sql :
         {"drop table reports", "select * from read_csv('/etc/passwd')", "selec 1",
          "select * from nowhere", "select 1; select 2", "attach '/tmp/x'"}) {
        const auto response = shared().post("/v1/sql", json::serialize(json::object{{"sql", sql}}));
        EXPECT_GE(response.status, 400) << sql;
        EXPECT_LT(response.status, 500) << sql << " " << response.body;
    }
    expect_problem(shared().post("/v1/sql", R"({"sql": ")" + std::string(110'000, 'a') + "\"}"),
                   400, "InvalidArgument", "at most 102400");
    expect_problem(shared().post("/v1/sql", R"({"query": "select 1"})"), 400, "InvalidArgument",
                   "unknown field 'query'");
}

TEST(Quarantine, ShowsRejectedRecordsInOrderAndTheirBytesAsText) {
    const auto grid = shared().get_json("/v1/quarantine?source=reports&as_of=1");
    ASSERT_EQ(grid.at("row_count"), 3);
    const auto& columns = grid.at("columns").as_array();
    const auto column = [&](std::string_view name) {
        const auto found = std::ranges::find_if(
            columns, [&](const auto& value) { return value.as_string() == name; });
        EXPECT_NE(found, columns.end()) << name;
        return static_cast<size_t>(found - columns.begin());
    };
    EXPECT_EQ(text_of(grid.at("rows").at(0).at(column("line"))), "7");
    EXPECT_EQ(text_of(grid.at("rows").at(2).at(column("line"))), "11");
    EXPECT_THAT(text_of(grid.at("rows").at(0).at(column("raw"))), StartsWith("1005,Stock"));
    EXPECT_THAT(text_of(grid.at("rows").at(2).at(column("raw"))),
                HasSubstr("\\xE4\\xF6 in Latin-1"));
    EXPECT_EQ(shared().get_json("/v1/quarantine?source=filings").at("row_count"), 0);
    EXPECT_EQ(shared().get_json("/v1/quarantine?source=x'%20or%20'1'='1").at("row_count"), 0);
    EXPECT_TRUE(shared().get_json("/v1/quarantine?limit=1").at("truncated").as_bool());
}

TEST(Runs, AreListedNewestFirstAndOpened) {
    const auto runs = shared().get_json("/v1/runs").at("runs").as_array();
    ASSERT_EQ(runs.size(), 5U);
    EXPECT_EQ(text_of(runs[0].at("state")), "running");
    EXPECT_EQ(text_of(runs[3].at("state")), "halted");
    EXPECT_THAT(text_of(runs[3].at("message")), HasSubstr("'revenue' is missing"));
    EXPECT_EQ(shared().get_json("/v1/runs?limit=2").at("runs").as_array().size(), 2U);
    const auto run = shared().get_json("/v1/runs/2026-11-23-0001");
    EXPECT_EQ(run.at("tasks").as_array().size(), 6U);
    EXPECT_EQ(run.at("quarantine").as_array().size(), 2U);
    EXPECT_THAT(text_of(run.at("pipeline_text")), HasSubstr("${env:ORDERS_URL}"));
    expect_problem(shared().get("/v1/runs/none"), 404, "NotFound", "no run none");
    expect_problem(shared().get("/v1/runs?limit=0"), 400, "InvalidArgument", "'limit' is 0");
    expect_problem(shared().get("/v1/runs?limt=3"), 400, "InvalidArgument",
                   "unknown parameter 'limt'");
}

TEST(Documents, ArePagedAndNameTheirAuthors) {
    const auto first = shared().get_json("/v1/documents?limit=5");
    EXPECT_EQ(first.at("documents").as_array().size(), 5U);
    EXPECT_EQ(first.at("total"), 8);
    EXPECT_EQ(first.at("next_offset"), 5);
    EXPECT_TRUE(shared().get_json("/v1/documents?limit=5&offset=5").at("next_offset").is_null());
    EXPECT_TRUE(shared().get_json("/v1/documents?limit=0").at("next_offset").is_null());
    EXPECT_EQ(first.at("authors").as_array().size(), 5U);
    EXPECT_EQ(shared().get_json("/v1/documents?as_of=1").at("total"), 4);
}

TEST(Tables, TellColumnsAndPartitions) {
    const auto tables = shared().get_json("/v1/tables").at("tables").as_array();
    ASSERT_EQ(tables.size(), 3U);
    EXPECT_EQ(text_of(tables[2].at("name")), "reports");
    EXPECT_EQ(tables[2].at("version"), 1);
    EXPECT_EQ(tables[2].at("file_count"), 2);
    EXPECT_EQ(text_of(tables[2].at("partition_columns").at(0)), "ds");
    EXPECT_EQ(text_of(tables[2].at("columns").at(5).at("type")), "decimal(18,2)");
}

TEST(Probes, TellWhatIsServed) {
    EXPECT_EQ(shared().get("/livez").status, 200);
    EXPECT_EQ(shared().get("/readyz").status, 200);
    const auto health = shared().get_json("/health");
    EXPECT_EQ(text_of(health.at("status")), "ok");
    EXPECT_EQ(health.at("release").at("id"), 2);
    EXPECT_GT(health.at("points").as_int64(), 5);
    shared().get("/v1/runs");
    const std::string metrics = shared().get("/metrics").body;
    EXPECT_THAT(metrics, HasSubstr("px_release 2\n"));
    EXPECT_THAT(
        metrics,
        HasSubstr("px_http_requests_total{method=\"GET\",route=\"/v1/runs\",status=\"200\"}"));
}

TEST(Probes, AreHonestBeforeTheFirstRelease) {
    px::testing::TempDir folder;
    SystemClock clock;
    const auto catalog =
        catalog::open_sqlite_catalog(folder / "catalog.db", catalog::OpenMode::ReadWrite, clock)
            .value();
    store::MemoryObjectStore store;
    const auto vectors = index::open_embedded_store(store).value();
    const auto engine = engine::open_local_engine({}).value();
    answer::ReleaseReader releases(*catalog, *vectors, store, *engine, clock);
    const WordEncoder encoder;
    const GatewayServices services{.catalog = *catalog,
                                   .releases = releases,
                                   .encoder = encoder,
                                   .clock = clock,
                                   .rederive = {},
                                   .answer = {},
                                   .query_limits = {},
                                   .pipeline = "empty",
                                   .version = "0"};
    const GatewayOptions options;
    const Routes routes(services, options);
    const auto get = [&](std::string path) {
        http::Request request;
        request.method = "GET";
        request.path = std::move(path);
        return routes.handle(request);
    };
    EXPECT_EQ(get("/livez").status, 200);
    expect_problem(get("/readyz"), 503, "Unavailable", "no release");
    EXPECT_EQ(text_of(parsed(get("/health").body).at("status")), "empty");
    EXPECT_THAT(get("/metrics").body, HasSubstr("px_release 0\n"));
    expect_problem(get("/v1/tables"), 404, "NotFound", "no release");
    EXPECT_TRUE(parsed(get("/v1/runs").body).at("runs").as_array().empty());
    EXPECT_EQ(get("/").status, 200);
}

TEST(Guard, RefusesForeignHostsAndOrigins) {
    expect_problem(shared().send("GET", "/health", "", {{"Host", "attacker.example:8501"}}), 403,
                   "Forbidden", "attacker.example");
    expect_problem(shared().send("POST", "/v1/sql", "{}", {{"Origin", "https://attacker.example"}}),
                   403, "Forbidden", "another origin");
    expect_problem(shared().send("POST", "/v1/sql", "{}", {{"Origin", "null"}}), 403, "Forbidden",
                   "another origin");
    expect_problem(shared().send("GET", "/", "", {{"Sec-Fetch-Site", "cross-site"}}), 403,
                   "Forbidden", "origin");
    EXPECT_EQ(shared().send("GET", "/health", "", {{"Origin", "http://127.0.0.1:8501"}}).status,
              200);
    for (const char* host : {"localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8501", "127.1.2.3",
                             "[::1]", "[::1]:80"}) {
        EXPECT_TRUE(is_loopback_host(host)) << host;
    }
    for (const char* host :
         {"", "example.com", "localhost.example", "localhost:x", "127.0.0.1.example", "0.0.0.0",
          "192.168.0.1", "[::1", "[::2]", "[::1]x", "localhost:80:80"}) {
        EXPECT_FALSE(is_loopback_host(host)) << host;
    }
}

TEST(Guard, AddsSecurityHeadersAndARequestIdToEverything) {
    for (const char* target : {"/", "/health", "/nowhere", "/docs"}) {
        const auto response = shared().get(target);
        EXPECT_THAT(header(response, "Content-Security-Policy"), HasSubstr("script-src 'self';"))
            << target;
        EXPECT_THAT(header(response, "Content-Security-Policy"),
                    ::testing::Not(HasSubstr("unsafe")));
        EXPECT_EQ(header(response, "X-Content-Type-Options"), "nosniff");
        EXPECT_EQ(header(response, "Access-Control-Allow-Origin"), "");
        EXPECT_EQ(header(response, "X-Request-Id").size(), 16U);
    }
    EXPECT_EQ(
        header(shared().send("GET", "/livez", "", {{"X-Request-Id", "mine-1"}}), "X-Request-Id"),
        "mine-1");
    EXPECT_NE(
        header(shared().send("GET", "/livez", "", {{"X-Request-Id", "a b\""}}), "X-Request-Id"),
        "a b\"");
}

TEST(Routing, AnswersUnknownPathsAndMethodsAsProblems) {
    expect_problem(shared().get("/v1/serch"), 404, "NotFound", "/v1/serch");
    EXPECT_THAT(shared().get("/v1/serch").body, HasSubstr("Did you mean /v1/search?"));
    const auto refused = shared().get("/v1/ask");
    expect_problem(refused, 405, "MethodNotAllowed", "does not take GET");
    EXPECT_EQ(header(refused, "Allow"), "POST, OPTIONS");
    const auto options = shared().send("OPTIONS", "/v1/search");
    EXPECT_EQ(options.status, 204);
    EXPECT_EQ(header(options, "Allow"), "POST, GET, HEAD, OPTIONS");
    EXPECT_EQ(shared().send("HEAD", "/v1/runs").status, 200);
    expect_problem(shared().get("/health?verbose=1"), 400, "InvalidArgument", "verbose");
}

TEST(OpenApi, DescribesExactlyTheRegisteredRoutes) {
    const auto document = shared().get_json("/openapi.json");
    EXPECT_EQ(text_of(document.at("openapi")), "3.1.0");
    std::set<std::string> described, registered, ids;
    for (const auto& [path, methods] : document.at("paths").as_object()) {
        for (const auto& [method, operation] : methods.as_object()) {
            described.insert(std::string(method) + " " + std::string(path));
            EXPECT_TRUE(ids.insert(text_of(operation.at("operationId"))).second)
                << operation.at("operationId");
            for (const auto& parameter : operation.as_object().contains("parameters")
                                             ? operation.at("parameters").as_array()
                                             : json::array()) {
                if (parameter.at("in").as_string() != "path") continue;
                EXPECT_THAT(std::string(path),
                            HasSubstr("{" + text_of(parameter.at("name")) + "}"));
            }
        }
    }
    for (const Route& route : shared().routes().routes()) {
        if (route.tag == "file") continue;
        std::string method(route.method);
        std::ranges::transform(method, method.begin(),
                               [](char c) { return static_cast<char>(c + 32); });
        registered.insert(method + " " + std::string(route.pattern));
        EXPECT_FALSE(route.summary.empty()) << route.pattern;
        for (const std::string_view schema : {route.request_schema, route.response_schema}) {
            if (schema.empty()) continue;
            EXPECT_TRUE(document.at("components")
                            .at("schemas")
                            .as_object()
                            .contains({schema.data(), schema.size()}))
                << schema;
        }
        if (!route.example.empty()) {
            const auto example = parsed(route.example);
            const json::value reference{
                {"$ref", "#/components/schemas/" + std::string(route.request_schema)}};
            EXPECT_EQ(schema_complaint(example, reference, document), "") << route.pattern;
        }
    }
    EXPECT_EQ(described, registered);
}

TEST(OpenApi, FitsWhatTheRoutesReallyAnswer) {
    const auto document = shared().get_json("/openapi.json");
    const auto answer = shared().ask();
    const std::string citation =
        json::serialize(json::object{{"citation", answer.at("citations").at(0)}});
    const std::string chunk = text_of(answer.at("citations").at(0).at("chunk_id"));
    const std::vector<std::array<std::string, 3>> requests{
        {"POST", "/v1/ask", R"({"question": "What is the financial outlook?"})"},
        {"POST", "/v1/ask", R"({"question": "Xylophones?"})"},
        {"POST", "/v1/search", R"({"question": "outlook"})"},
        {"GET", "/v1/search?question=outlook", ""},
        {"POST", "/search", R"({"question": "outlook"})"},
        {"POST", "/v1/embeddings", R"({"input": ["outlook", "copper"]})"},
        {"POST", "/v1/embeddings", R"({"input": "outlook", "encoding_format": "base64"})"},
        {"GET", "/v1/citations/" + chunk, ""},
        {"POST", "/v1/verify", citation},
        {"GET", "/v1/documents", ""},
        {"POST", "/v1/sql", R"({"sql": "select * from reports"})"},
        {"GET", "/v1/tables", ""},
        {"GET", "/v1/quarantine", ""},
        {"GET", "/v1/runs", ""},
        {"GET", "/v1/runs/2026-11-21-0001", ""},
        {"GET", "/v1/runs/2026-11-23-0001", ""},
        {"GET", "/v1/releases", ""},
        {"GET", "/health", ""},
        {"GET", "/healthz", ""},
        {"GET", "/livez", ""},
        {"GET", "/readyz", ""}};
    std::set<std::string> seen;
    for (const auto& [method, target, body] : requests) {
        const auto response = shared().send(method, target, body);
        ASSERT_EQ(response.status, 200) << target << " " << response.body;
        const std::string path = target.substr(0, target.find('?'));
        for (const Route& route : shared().routes().routes()) {
            http::Router router;
            router.add(std::string(route.method), std::string(route.pattern));
            if (route.response_schema.empty() || route.method != method ||
                router.match(method, path).kind != http::Router::Match::Kind::Found) {
                continue;
            }
            seen.insert(std::string(route.method) + " " + std::string(route.pattern));
            const json::value reference{
                {"$ref", "#/components/schemas/" + std::string(route.response_schema)}};
            EXPECT_EQ(schema_complaint(parsed(response.body), reference, document), "") << target;
        }
    }
    for (const Route& route : shared().routes().routes()) {
        if (route.response_schema.empty()) continue;
        EXPECT_TRUE(seen.contains(std::string(route.method) + " " + std::string(route.pattern)))
            << route.pattern << " is not tried";
    }
    const json::value problem{{"$ref", "#/components/schemas/Problem"}};
    EXPECT_EQ(schema_complaint(parsed(shared().get("/v1/runs/none").body), problem, document), "");
    EXPECT_EQ(schema_complaint(parsed(shared().get("/nowhere").body), problem, document), "");
}

TEST(Docs, ListEveryRouteAndEscapeText) {
    const std::string page = shared().get("/docs").body;
    for (const Route& route : shared().routes().routes()) {
        if (route.tag == "file") continue;
        EXPECT_THAT(page, HasSubstr(escape_html(route.pattern))) << route.pattern;
    }
    EXPECT_THAT(page, ::testing::Not(HasSubstr("<script")));
    EXPECT_THAT(page, ::testing::Not(HasSubstr("style=")));
    EXPECT_THAT(page, HasSubstr("id=\"error-not-found\""));
    EXPECT_EQ(escape_html("<a b='c'>&\""), "&lt;a b=&#39;c&#39;&gt;&amp;&quot;");
}

TEST(Page, IsServedWithEtagsAndNothingInline) {
    const auto page = shared().get("/");
    EXPECT_EQ(page.status, 200);
    EXPECT_THAT(header(page, "Content-Type"), StartsWith("text/html"));
    const std::string etag = header(page, "ETag");
    EXPECT_EQ(shared().send("GET", "/", "", {{"If-None-Match", etag}}).status, 304);
    const auto packed = shared().send("GET", "/", "", {{"Accept-Encoding", "br, gzip;q=0.5"}});
    EXPECT_EQ(header(packed, "Content-Encoding"), "gzip");
    EXPECT_LT(packed.static_body.size(), page.static_body.size());
    EXPECT_EQ(header(shared().send("GET", "/", "", {{"Accept-Encoding", "gzip;q=0"}}),
                     "Content-Encoding"),
              "");
    EXPECT_EQ(shared().get("/js/main.js").status, 200);
    EXPECT_EQ(shared().get("/../etc/passwd").status, 404);
    for (const WebFile& file : web_files()) {
        const std::string bytes(file.bytes);
        EXPECT_THAT(bytes, ::testing::Not(HasSubstr("innerHTML"))) << file.path;
        EXPECT_THAT(bytes, ::testing::Not(HasSubstr("https://"))) << file.path;
        if (!file.path.ends_with(".html")) continue;
        EXPECT_THAT(bytes, ::testing::Not(HasSubstr(" style="))) << file.path;
        EXPECT_THAT(bytes, ::testing::Not(HasSubstr("<style"))) << file.path;
        EXPECT_THAT(bytes, ::testing::Not(HasSubstr("<script>"))) << file.path;
    }
}

GatewayOptions any_port() {
    GatewayOptions options;
    options.http.port = 0;
    return options;
}

TEST(Gateway, ServesOverASocketAndStops) {
    const auto gateway = Gateway::start(shared().services(), any_port());
    ASSERT_TRUE(gateway);
    EXPECT_EQ((*gateway)->url(), "http://127.0.0.1:" + std::to_string((*gateway)->port()));
    http::RawClient client((*gateway)->port());
    const std::string body = R"({"question": "What is the financial outlook?", "stream": true})";
    client.send("POST /v1/ask HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                std::to_string(body.size()) + "\r\n\r\n" + body);
    const std::string reply = client.receive_until("\r\n0\r\n\r\n");
    EXPECT_THAT(reply, StartsWith("HTTP/1.1 200 OK"));
    EXPECT_THAT(reply, HasSubstr("Content-Type: text/event-stream"));
    EXPECT_THAT(reply, HasSubstr("event: passages\n"));
    EXPECT_THAT(reply, HasSubstr("event: done\n"));
    client.forget();
    client.send("BAD REQUEST\r\n\r\n");
    const std::string refused = client.receive_all();
    EXPECT_THAT(refused, HasSubstr("application/problem+json"));
    EXPECT_THAT(refused, HasSubstr("X-Request-Id: "));
    (*gateway)->stop();
    EXPECT_EQ((*gateway)->port() > 0, true);
}

TEST(Gateway, EndsAQueryWhoseClientHasGoneOrWhoseTimeIsOver) {
    GatewayOptions options = any_port();
    options.request_time = 300ms;
    const auto gateway = Gateway::start(shared().services(), options);
    ASSERT_TRUE(gateway);
    const std::string from =
        "documents a, documents b, documents c, documents d, documents e, documents f, documents "
        "g, "
        "documents h, documents i, documents j, documents k, documents l";
    const std::string body = json::serialize(json::object{
        {"sql",
         "select sum(length(a.title || b.title || c.title || d.title || e.title || f.title || "
         "g.title || h.title || i.title || j.title || k.title || l.title)) from " +
             from}});
    http::RawClient client((*gateway)->port());
    const auto start = std::chrono::steady_clock::now();
    client.send(
        "POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body);
    const std::string reply = client.receive_all();
    EXPECT_THAT(reply, StartsWith("HTTP/1.1 504 "));
    EXPECT_LT(std::chrono::steady_clock::now() - start, 4s);
}

TEST(Gateway, RefusesToListenBeyondThisMachine) {
    for (const char* address : {"0.0.0.0", "::", "192.168.1.10", "example.com", ""}) {
        GatewayOptions options = any_port();
        options.http.address = address;
        const auto gateway = Gateway::start(shared().services(), options);
        ASSERT_FALSE(gateway) << address;
        EXPECT_EQ(gateway.error().code, ErrorCode::InvalidArgument);
        EXPECT_THAT(gateway.error().hint, HasSubstr("127.0.0.1"));
    }
    for (const char* address : {"localhost", "127.0.0.2", "::1"}) {
        GatewayOptions options = any_port();
        options.http.address = address;
        EXPECT_TRUE(options.validate()) << address;
    }
}

TEST(Gateway, AnswersManyClientsAtOnce) {
    const auto gateway = Gateway::start(shared().services(), any_port());
    ASSERT_TRUE(gateway);
    std::atomic<int> good{0};
    {
        std::vector<std::jthread> clients;
        for (int t = 0; t < 8; ++t) {
            clients.emplace_back([&] {
                http::RawClient client((*gateway)->port());
                for (int i = 0; i < 20; ++i) {
                    const std::string body = R"({"question": "financial outlook", "top_k": 3})";
                    client.send("POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                                std::to_string(body.size()) + "\r\n\r\n" + body);
                    if (client.receive_until("\"count\":3}").find("200 OK") != std::string::npos)
                        ++good;
                    client.forget();
                }
            });
        }
    }
    EXPECT_EQ(good, 160);
}

}  // namespace
}  // namespace px::gateway
