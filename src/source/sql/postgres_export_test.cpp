#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "capi/libpq/libpq.h"
#include "source/jsonl/jsonl_reader.h"
#include "source/record_text.h"
#include "source/sql/sql_export.h"
#include "testing/matchers.h"
#include "testing/postgres_server.h"
#include "testing/temp_dir.h"

namespace px::source {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using px::testing::PostgresRelay;
using px::testing::PostgresServer;
using px::testing::read_file;
using px::testing::TempDir;
using std::chrono::milliseconds;

class PostgresExport : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        sql("CREATE TABLE orders (id bigint, day date, amount numeric(12,2), ratio float8, note "
            "text, "
            "proof bytea, paid boolean, at timestamptz, tags text[]);"
            "INSERT INTO orders VALUES "
            "(3,'2026-11-23',1.50,1e300,E'a \"b\"\\n\\t\\\\ä','\\x00ff10',true,'2026-11-23 "
            "09:27:01.5+01','{a,\"b c\"}'),"
            "(1,'2026-11-23',NULL,NULL,NULL,NULL,NULL,NULL,NULL),"
            "(2,'2026-11-24','NaN','-Infinity','','',false,'infinity','{}');"
            "CREATE ROLE nobody_here LOGIN PASSWORD 'pw'");
    }
    PostgresExport() {
        options_.connection = PostgresServer::shared().address();
        options_.ds = "2026-11-23";
    }
    static void sql(const std::string& text) {
        auto connection = libpq::Connection::connect(
                              libpq::parse_address(PostgresServer::shared().address()).value(), {},
                              Deadline::never())
                              .value();
        ASSERT_THAT(connection.run(text, Deadline::after(milliseconds(60'000))), IsOk());
    }
    Result<SqlExport> run(const std::string& query, const Deadline& deadline = Deadline::never()) {
        options_.query = query;
        return export_sql(options_, folder_ / "out.jsonl", deadline);
    }
    TempDir folder_;
    SqlExportOptions options_;
};

TEST_F(PostgresExport, WritesTheRowsInTheOrderOfTheQuery) {
    const auto result = run("select * from orders order by id desc");
    ASSERT_THAT(result, IsOk());
    EXPECT_EQ(result->row_count, 3);
    const std::string text = read_file(folder_ / "out.jsonl");
    EXPECT_EQ(result->size_bytes, static_cast<int64_t>(text.size()));
    EXPECT_EQ(
        text,
        "[\"id\",\"day\",\"amount\",\"ratio\",\"note\",\"proof\",\"paid\",\"at\",\"tags\"]\n"
        "{\"id\":3,\"day\":\"2026-11-23\",\"amount\":1.50,\"ratio\":1e+300,\"note\":\"a "
        "\\\"b\\\"\\n\\t\\\\ä\",\"proof\":\"AP8Q\",\"paid\":true,\"at\":\"2026-11-23T08:27:01.5Z\","
        "\"tags\":\"{a,\\\"b c\\\"}\"}\n"
        "{\"id\":2,\"day\":\"2026-11-24\",\"amount\":\"NaN\",\"ratio\":\"-Infinity\",\"note\":"
        "\"\",\"proof\":\"\",\"paid\":false,\"at\":\"infinity\",\"tags\":\"{}\"}\n"
        "{\"id\":1,\"day\":\"2026-11-23\",\"amount\":null,\"ratio\":null,\"note\":null,\"proof\":"
        "null,\"paid\":null,\"at\":null,\"tags\":null}\n");
}

TEST_F(PostgresExport, BindsTheLogicalDateAndReadsBackAsRecords) {
    ASSERT_THAT(run("select id, note -- :ds\nfrom orders where day = :ds and ':ds' <> '' order by "
                    "id; -- end"),
                IsOk());
    auto reader = open_jsonl(folder_ / "out.jsonl", {});
    ASSERT_THAT(reader, IsOk());
    const auto read = testing::read_all(**reader);
    EXPECT_EQ(read.columns, (std::vector<std::string>{"id", "note"}));
    ASSERT_EQ(read.records.size(), 2U);
    EXPECT_EQ(read.records[0].fields, (std::vector<std::optional<std::string>>{"1", std::nullopt}));
    EXPECT_EQ(read.records[1].fields,
              (std::vector<std::optional<std::string>>{"3", "a \"b\"\n\t\\ä"}));
}

TEST_F(PostgresExport, ADateIsAValueWhateverItHolds) {
    for (const std::string& ds :
         {std::string("'; drop table orders; --"), std::string("\\'); copy orders to program 'x"),
          std::string("$$"), std::string(":ds")}) {
        options_.ds = ds;
        ASSERT_THAT(run("select :ds::text as ds, count(*) as n from orders"), IsOk());
        auto reader = open_jsonl(folder_ / "out.jsonl", {});
        const auto read = testing::read_all(**reader);
        EXPECT_EQ(read.records.at(0).fields, (std::vector<std::optional<std::string>>{ds, "3"}));
    }
}

TEST_F(PostgresExport, NoRowsStillHaveColumns) {
    const auto result = run("select id, amount as money from orders where id = -1");
    ASSERT_THAT(result, IsOk());
    EXPECT_EQ(result->row_count, 0);
    EXPECT_EQ(read_file(folder_ / "out.jsonl"), "[\"id\",\"money\"]\n");
}

TEST_F(PostgresExport, SaysWhatIsWrongWithTheQueryAndChangesNothing) {
    EXPECT_THAT(run("select * from order_s"), IsError(ErrorCode::Unavailable, "order_s"));
    EXPECT_THAT(run("select colour from orders"), IsError(ErrorCode::InvalidArgument, "colour"));
    EXPECT_THAT(run("select colour from orders"),
                IsError(ErrorCode::InvalidArgument, "correct the query"));
    EXPECT_THAT(run("select id, day as id from orders"),
                IsError(ErrorCode::InvalidArgument, "two columns named \"id\""));
    EXPECT_THAT(run("select id from orders where day = :day"),
                IsError(ErrorCode::InvalidArgument, "other than :ds"));
    EXPECT_THAT(run("select id from orders where id = $1"), IsError(ErrorCode::InvalidArgument));
    EXPECT_THAT(run("select 1; select 2"), IsError(ErrorCode::InvalidArgument));
    EXPECT_THAT(run("select 1) to program 'true' --"), IsError(ErrorCode::InvalidArgument));
    EXPECT_THAT(run("delete from orders"), IsError(ErrorCode::InvalidArgument));
    EXPECT_THAT(run("delete from orders returning id"), IsError(ErrorCode::Forbidden));
    EXPECT_THAT(run("select 1/0 as x"), IsError(ErrorCode::InvalidArgument, "division"));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "out.jsonl"));
    EXPECT_EQ(run("select id from orders")->row_count, 3);
}

TEST_F(PostgresExport, SaysWhatIsWrongWithTheServerInOneLineAndExitsWithFour) {
    const std::string port = std::to_string(PostgresServer::shared().port());
    for (const std::string& address :
         {"postgresql://admin:secret@127.0.0.1:" + port + "/postgres",
          std::string("postgresql://admin:secret@127.0.0.1:1/postgres"),
          std::string("postgresql://admin:secret@nowhere.invalid/postgres"),
          "postgresql://nobody_here:pw@127.0.0.1:" + port + "/postgres"}) {
        options_.connection = address;
        const auto result = run("select * from orders");
        ASSERT_FALSE(result);
        const std::string text = result.error().to_string();
        EXPECT_EQ(error_traits(result.error().code).exit_code, 4) << text;
        EXPECT_FALSE(result.error().hint.empty()) << text;
        EXPECT_EQ(text.find("secret"), std::string::npos) << text;
        EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    }
}

TEST_F(PostgresExport, AMillionRowsStreamThroughLittleMemory) {
    const auto memory_kb = [](const char* what) {
        std::ifstream status("/proc/self/status");
        for (std::string line; std::getline(status, line);) {
            if (line.starts_with(what)) return std::stol(line.substr(std::string(what).size() + 1));
        }
        return 0L;
    };
    ASSERT_THAT(run("select 1 as i"), IsOk());
    const long before = memory_kb("VmHWM:");
    const auto result = run("select generate_series(1, 1000000) as i, repeat('x', 100) as t");
    ASSERT_THAT(result, IsOk());
    EXPECT_EQ(result->row_count, 1'000'000);
    EXPECT_GT(result->size_bytes, 100'000'000);
    EXPECT_LT(memory_kb("VmHWM:") - before, 16 << 10);
}

TEST_F(PostgresExport, StopsAtItsDeadlineItsLimitAndWhenTold) {
    const std::string endless = "select generate_series(1, 100000000000) as i";
    EXPECT_THAT(run(endless, Deadline::after(milliseconds(100))),
                IsError(ErrorCode::DeadlineExceeded));
    std::stop_source stop;
    std::jthread other([&] { stop.request_stop(); });
    EXPECT_THAT(run("select pg_sleep(1000)", {.stop = stop.get_token()}),
                IsError(ErrorCode::Cancelled));
    options_.max_bytes = 10'000;
    EXPECT_THAT(run(endless), IsError(ErrorCode::ResourceExhausted, "max_bytes"));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "out.jsonl"));
}

TEST_F(PostgresExport, WaitsForALockOnlySoLong) {
    auto other = libpq::Connection::connect(libpq::parse_address(options_.connection).value(), {},
                                            Deadline::never())
                     .value();
    ASSERT_THAT(other.run("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE", Deadline::never()),
                IsOk());
    options_.busy_timeout = milliseconds(50);
    EXPECT_THAT(run("select * from orders"), IsError(ErrorCode::Unavailable, "try again"));
}

TEST_F(PostgresExport, CutAnywhereItIsAnErrorAndNoFileStays) {
    PostgresRelay relay(PostgresServer::shared().port());
    options_.connection = PostgresServer::shared().address_at(relay.port(), "postgres");
    for (const PostgresRelay::Cut cut : {PostgresRelay::Cut::Before, PostgresRelay::Cut::LoseReply,
                                         PostgresRelay::Cut::TornReply}) {
        for (int64_t n = 1;; ++n) {
            relay.cut_at(n, cut);
            const auto result = run("select * from orders, generate_series(1, 1000) as g");
            EXPECT_EQ(std::filesystem::exists(folder_ / "out.jsonl"), result.has_value());
            if (!relay.has_cut()) {
                ASSERT_THAT(result, IsOk());
                EXPECT_GT(n, 5);
                break;
            }
            EXPECT_THAT(result, IsError(ErrorCode::Unavailable)) << n;
            ASSERT_LT(n, 100);
        }
        std::filesystem::remove(folder_ / "out.jsonl");
    }
}

}  // namespace
}  // namespace px::source
