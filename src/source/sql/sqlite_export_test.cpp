#include "source/sql/sql_export.h"

#include <gtest/gtest.h>

#include "capi/sqlite/sqlite.h"
#include "source/jsonl/jsonl_reader.h"
#include "source/record_text.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::source {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using px::testing::read_file;
using px::testing::TempDir;

class SqliteExport : public ::testing::Test {
  protected:
    SqliteExport() {
        sqlite::OpenOptions create;
        create.mode = sqlite::OpenMode::Create;
        auto database = sqlite::Database::open(folder_ / "orders.db", create);
        EXPECT_THAT(database, IsOk());
        EXPECT_THAT(
            database->exec(
                "create table orders (id integer, day text, amount real, note text, proof blob);"
                "insert into orders values (3,'2026-11-23',1.5,'a \"b\"\n\tä',x'00ff10'),"
                "(1,'2026-11-23',2.0,null,null),(2,'2026-11-24',1e300,'',x''),"
                "(9223372036854775807,'2026-11-25',-0.1,'z',x'41')"),
            IsOk());
        options_.connection = "sqlite:orders.db";
        options_.base_folder = folder_.path();
        options_.ds = "2026-11-23";
    }
    Result<SqlExport> run(const std::string& query) {
        options_.query = query;
        return export_sql(options_, folder_ / "out.jsonl", Deadline::never());
    }
    TempDir folder_;
    SqlExportOptions options_;
};

TEST_F(SqliteExport, WritesTheRowsInTheOrderOfTheQuery) {
    const auto result = run("select * from orders order by id desc");
    ASSERT_THAT(result, IsOk());
    EXPECT_EQ(result->row_count, 4);
    EXPECT_EQ(result->columns, (std::vector<std::string>{"id", "day", "amount", "note", "proof"}));
    const std::string text = read_file(folder_ / "out.jsonl");
    EXPECT_EQ(result->size_bytes, static_cast<int64_t>(text.size()));
    EXPECT_EQ(text,
              "[\"id\",\"day\",\"amount\",\"note\",\"proof\"]\n"
              "{\"id\":9223372036854775807,\"day\":\"2026-11-25\",\"amount\":-0.1,\"note\":\"z\","
              "\"proof\":\"QQ==\"}\n"
              "{\"id\":3,\"day\":\"2026-11-23\",\"amount\":1.5,\"note\":\"a "
              "\\\"b\\\"\\n\\tä\",\"proof\":\"AP8Q\"}\n"
              "{\"id\":2,\"day\":\"2026-11-24\",\"amount\":1e+300,\"note\":\"\",\"proof\":\"\"}\n"
              "{\"id\":1,\"day\":\"2026-11-23\",\"amount\":2.0,\"note\":null,\"proof\":null}\n");
}

TEST_F(SqliteExport, BindsTheLogicalDateAndReadsBackAsRecords) {
    ASSERT_THAT(run("select id, note from orders where day = :ds and day <= :ds order by id"),
                IsOk());
    auto reader = open_jsonl(folder_ / "out.jsonl", {});
    ASSERT_THAT(reader, IsOk());
    const auto read = testing::read_all(**reader);
    EXPECT_EQ(read.columns, (std::vector<std::string>{"id", "note"}));
    ASSERT_EQ(read.records.size(), 2U);
    EXPECT_EQ(read.records[0].fields, (std::vector<std::optional<std::string>>{"1", std::nullopt}));
    EXPECT_EQ(read.records[1].fields,
              (std::vector<std::optional<std::string>>{"3", "a \"b\"\n\tä"}));
}

TEST_F(SqliteExport, NoRowsStillHaveColumns) {
    const auto result = run("select id, amount as money from orders where id = -1");
    ASSERT_THAT(result, IsOk());
    EXPECT_EQ(result->row_count, 0);
    auto reader = open_jsonl(folder_ / "out.jsonl", {});
    ASSERT_THAT(reader, IsOk());
    EXPECT_EQ((*reader)->columns(), (std::vector<std::string>{"id", "money"}));
}

TEST_F(SqliteExport, TextThatIsNoUtf8BecomesAMalformedRecord) {
    ASSERT_THAT(run("select 1 as id, cast(x'61ff' as text) as t union all select 2, 'ok'"), IsOk());
    auto reader = open_jsonl(folder_ / "out.jsonl", {});
    ASSERT_THAT(reader, IsOk());
    const auto read = testing::read_all(**reader);
    ASSERT_EQ(read.records.size(), 2U);
    EXPECT_EQ(read.records[0].rule, "encoding");
    EXPECT_EQ(read.records[1].rule, "");
}

TEST_F(SqliteExport, SaysWhatIsWrongWithTheQuery) {
    EXPECT_THAT(run("select * from order_s"), IsError(ErrorCode::InvalidArgument, "order_s"));
    EXPECT_THAT(run("select colour from orders"), IsError(ErrorCode::InvalidArgument, "colour"));
    EXPECT_THAT(run("select colour from orders"),
                IsError(ErrorCode::InvalidArgument, "correct the query"));
    EXPECT_THAT(run("select id, day as id from orders"),
                IsError(ErrorCode::InvalidArgument, "two columns named \"id\""));
    EXPECT_THAT(run("select id from orders where day = :day"),
                IsError(ErrorCode::InvalidArgument, "other than :ds"));
    EXPECT_THAT(run("select id from orders where day = :ds and id = ?2"),
                IsError(ErrorCode::InvalidArgument));
    EXPECT_THAT(run("delete from orders"),
                IsError(ErrorCode::InvalidArgument, "yields no columns"));
    EXPECT_THAT(run("delete from orders returning id"), IsError(ErrorCode::Forbidden));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "out.jsonl"));
}

TEST_F(SqliteExport, SaysWhatIsWrongWithTheConnection) {
    options_.connection = "mysql://user:secret@host/db";
    const auto unknown = run("select 1");
    EXPECT_THAT(unknown, IsError(ErrorCode::InvalidArgument, "\"mysql:\""));
    EXPECT_EQ(unknown.error().to_string().find("secret"), std::string::npos);
    options_.connection = "sqlite:absent.db";
    EXPECT_THAT(run("select 1"), IsError(ErrorCode::NotFound, "absent.db"));
    px::testing::write_file(folder_ / "not.db", std::string(5000, 'x'));
    options_.connection = "sqlite:not.db";
    EXPECT_THAT(run("select * from sqlite_schema"), IsError(ErrorCode::Corrupt, "not.db"));
}

TEST_F(SqliteExport, WaitsForALockOnlySoLong) {
    sqlite::OpenOptions write;
    write.mode = sqlite::OpenMode::ReadWrite;
    auto other = sqlite::Database::open(folder_ / "orders.db", write);
    ASSERT_THAT(other, IsOk());
    ASSERT_THAT(other->exec("begin exclusive"), IsOk());
    options_.busy_timeout = std::chrono::milliseconds(50);
    EXPECT_THAT(run("select * from orders"), IsError(ErrorCode::Unavailable));
}

TEST_F(SqliteExport, StopsAtItsDeadlineAndLimit) {
    options_.query =
        "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n";
    EXPECT_THAT(
        export_sql(options_, folder_ / "out.jsonl", Deadline::after(std::chrono::milliseconds(50))),
        IsError(ErrorCode::DeadlineExceeded));
    options_.max_bytes = 100;
    EXPECT_THAT(run("select * from orders"), IsError(ErrorCode::ResourceExhausted, "max_bytes"));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "out.jsonl"));
}

}  // namespace
}  // namespace px::source
