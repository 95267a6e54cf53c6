#include "capi/duckdb/duckdb_handle.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace px::duckdb {
namespace {

class DuckdbTest : public testing::Test {
  protected:
    void SetUp() override {
        Result<Database> opened = Database::open("", {{"threads", "2"}, {"memory_limit", "400MB"}});
        ASSERT_TRUE(opened) << opened.error().to_string();
        database_.emplace(std::move(opened).value());
        Result<Connection> connected = database_->connect();
        ASSERT_TRUE(connected);
        connection_.emplace(std::move(connected).value());
        ASSERT_TRUE(connection_->execute("set TimeZone = 'UTC'"));
    }
    std::optional<Database> database_;
    std::optional<Connection> connection_;
};

TEST_F(DuckdbTest, TextOfEveryTypeIsWhatACastToVarcharPrints) {
    std::vector<std::string> values = {"true",
                                       "false",
                                       "(-128)::tinyint",
                                       "255::utinyint",
                                       "(-32768)::smallint",
                                       "65535::usmallint",
                                       "(-2147483648)::integer",
                                       "4294967295::uinteger",
                                       "(-9223372036854775808)::bigint",
                                       "18446744073709551615::ubigint",
                                       "(-170141183460469231731687303715884105728)::hugeint",
                                       "170141183460469231731687303715884105727::hugeint",
                                       "340282366920938463463374607431768211455::uhugeint",
                                       "0::double",
                                       "-0.0::double",
                                       "1::double",
                                       "0.1::double",
                                       "1e15::double",
                                       "1e16::double",
                                       "123456789012345680::double",
                                       "1e20::double",
                                       "1e-5::double",
                                       "0.0001::double",
                                       "1.7976931348623157e308::double",
                                       "5e-324::double",
                                       "'nan'::double",
                                       "'inf'::double",
                                       "'-inf'::double",
                                       "0.1::float",
                                       "16777216::float",
                                       "1e10::float",
                                       "3.4e38::float",
                                       "1e-7::float",
                                       "-0.5::decimal(4,1)",
                                       "0.05::decimal(18,2)",
                                       "-12345.67::decimal(18,2)",
                                       "7::decimal(9,0)",
                                       "-99999999999999999999999999999999999.999::decimal(38,3)",
                                       "0::decimal(4,2)",
                                       "date '2026-11-23'",
                                       "date '0001-01-01'",
                                       "date '12026-01-31'",
                                       "date '0044-03-15 (BC)'",
                                       "'infinity'::date",
                                       "'-infinity'::date",
                                       "time '00:00:00'",
                                       "time '23:59:59.999999'",
                                       "time '12:00:00.5'",
                                       "time '24:00:00'",
                                       "timestamp '2026-11-23 08:27:01'",
                                       "timestamp '2026-11-23 08:27:01.25'",
                                       "timestamp '1960-02-29 23:59:59.000001'",
                                       "timestamp '0044-03-15 (BC) 01:02:03'",
                                       "'infinity'::timestamp",
                                       "'-infinity'::timestamptz",
                                       "timestamptz '2026-11-23 08:27:01+02'",
                                       "timestamptz '2026-11-23 08:27:01.5'",
                                       "'2026-01-01 00:00:01'::timestamp_s",
                                       "'2026-01-01 00:00:01.5'::timestamp_ms",
                                       "'2026-01-01 00:00:01.123456789'::timestamp_ns",
                                       "'1950-01-01 00:00:01.123'::timestamp_ms",
                                       "'12:00:01+02'::timetz",
                                       "'12:00:01.5-03:30'::timetz",
                                       "interval 1 year",
                                       "interval 26 months",
                                       "interval '3 days 4 hours 5 minutes 6.007 seconds'",
                                       "interval 0 days",
                                       "interval (-1) month",
                                       "interval '-1 hours'",
                                       "interval '100 hours'",
                                       "to_microseconds(-5)",
                                       "'550e8400-e29b-41d4-a716-446655440000'::uuid",
                                       "'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid",
                                       "'text'",
                                       "'it''s \"quoted\" ✓'",
                                       "''",
                                       "'\\xAA\\x00a'::blob",
                                       "'a''\"\\x5C'::blob",
                                       "''::blob",
                                       "'0101101'::bit",
                                       "'1'::bit",
                                       "'b'::enum('a','b')",
                                       "'{\"a\": [1, 2]}'::json",
                                       "[1, 2, null]",
                                       "[]::integer[]",
                                       "['a', 'b c', '', 'x,y', null, 'NULL']",
                                       "['it''s', 'q\"q', ' lead', 'trail ', 'back\\slash', 'a[b', "
                                       "'a]b', 'a{b', 'a}b', 'a(b', 'a)b', 'a=b', 'a:b', 'tab\tx']",
                                       "[[1], [], null, [2, 3]]",
                                       "array_value(1, 2, 3)",
                                       "{'a': 1, 'b': 'x y'}",
                                       "{'a': null}",
                                       "{'a b': {'c': [1.5::double]}}",
                                       "{'a': 'x,y', 'b': '', 'c': 'k: v', 'd': 'k=v'}",
                                       "row(1, 'a')",
                                       "map {'k': 1, 'l m': 2}",
                                       "map {1: ['a', 'b']}",
                                       "map {'a=b': 'c=d'}",
                                       "map {}::map(varchar, integer)",
                                       "union_value(num := 2)",
                                       "[date '2026-01-01']",
                                       "[timestamp '2026-01-01 00:00:00']",
                                       "[0.5::decimal(4,1)]",
                                       "{'t': time '01:02:03'}",
                                       "[true, false]",
                                       "[{'a': 1}, null]",
                                       "[interval 1 day]",
                                       "['x'::blob]",
                                       "[map {1: 2}]",
                                       "{'a': [map {'k': {'z': null}}]}"};
    for (const std::string& value : values) {
        Result<Rows> rows =
            connection_->query("select v, v::varchar from (select " + value + " as v)");
        if (!rows) {
            ADD_FAILURE() << value << ": " << rows.error().to_string();
            continue;
        }
        auto text = rows->read_text();
        if (!text) {
            ADD_FAILURE() << value << ": " << text.error().to_string();
            continue;
        }
        ASSERT_EQ(text->size(), 1u);
        EXPECT_EQ((*text)[0][0], (*text)[0][1]) << value;
    }
}

TEST_F(DuckdbTest, DecimalsKeepTheirZeroAndArraysQuoteTexts) {
    auto text =
        connection_
            ->query("select 0.5::decimal(1,1), -0.01::decimal(2,2), array_value('a', 'b, c')")
            ->read_text();
    ASSERT_TRUE(text);
    EXPECT_EQ((*text)[0][0], "0.5");
    EXPECT_EQ((*text)[0][1], "-0.01");
    EXPECT_EQ((*text)[0][2], "[a, 'b, c']");
}

TEST_F(DuckdbTest, TypesAreDescribedAsSqlWritesThem) {
    Result<Rows> rows = connection_->query(
        "select 1::integer as a, 1.5::decimal(18,2) as b, [1::bigint] as c, {'x': 'y'} as \"d d\", "
        "map {'k': 1} as e, "
        "'{}'::json as f, now() as g, array_value(1.0::float, 2.0::float) as h, null as i");
    ASSERT_TRUE(rows);
    std::vector<std::string> types;
    for (const Column& column : rows->columns()) types.push_back(column.type.sql);
    EXPECT_EQ(types,
              (std::vector<std::string>{"INTEGER", "DECIMAL(18,2)", "BIGINT[]",
                                        "STRUCT(\"x\" VARCHAR)", "MAP(VARCHAR, INTEGER)", "JSON",
                                        "TIMESTAMP WITH TIME ZONE", "FLOAT[2]", "INTEGER"}));
    EXPECT_EQ(rows->columns()[3].name, "d d");
}

TEST_F(DuckdbTest, ColumnsAreReadAsVectors) {
    Result<Rows> rows = connection_->stream(
        "select i::integer as i, case when i % 3 = 0 then null else 'text number ' || i end as t, "
        "i * 0.5::double as d "
        "from range(5000) r(i)");
    ASSERT_TRUE(rows) << rows.error().to_string();
    uint64_t seen = 0;
    while (true) {
        auto chunk = rows->next();
        ASSERT_TRUE(chunk);
        if (!*chunk) break;
        ColumnView i = (*chunk)->column(0), t = (*chunk)->column(1), d = (*chunk)->column(2);
        for (uint64_t r = 0; r < (*chunk)->row_count(); ++r, ++seen) {
            ASSERT_EQ(i.int64_at(r), static_cast<int64_t>(seen));
            ASSERT_EQ(t.is_null(r), seen % 3 == 0);
            if (!t.is_null(r)) {
                ASSERT_EQ(t.bytes_at(r), "text number " + std::to_string(seen));
            }
            ASSERT_EQ(d.double_at(r), static_cast<double>(seen) * 0.5);
        }
    }
    EXPECT_EQ(seen, 5000u);
}

TEST_F(DuckdbTest, PreparedStatementsBindTextsAndNumbers) {
    Result<Prepared> prepared = connection_->prepare("select $1::bigint + $2, $3, $4 is null");
    ASSERT_TRUE(prepared);
    EXPECT_EQ(prepared->parameter_count(), 4u);
    EXPECT_EQ(prepared->type(), StatementType::Select);
    ASSERT_TRUE(prepared->bind_text(1, "40"));
    ASSERT_TRUE(prepared->bind_int64(2, 2));
    ASSERT_TRUE(prepared->bind_text(3, "x' or 1=1 --"));
    ASSERT_TRUE(prepared->bind_null(4));
    auto text = prepared->execute()->read_text();
    ASSERT_TRUE(text);
    EXPECT_EQ((*text)[0][0], "42");
    EXPECT_EQ((*text)[0][1], "x' or 1=1 --");
    EXPECT_EQ((*text)[0][2], "true");
    EXPECT_EQ(prepared->bind_int64(9, 1).error().code, ErrorCode::InvalidArgument);
    ASSERT_TRUE(prepared->bind_text(1, "not a number"));
    EXPECT_EQ(prepared->execute().error().code, ErrorCode::InvalidArgument);
}

TEST_F(DuckdbTest, ErrorsAreToldApart) {
    auto code = [&](const std::string& sql) { return connection_->query(sql).error().code; };
    EXPECT_EQ(code("selec 1"), ErrorCode::InvalidArgument);
    EXPECT_EQ(code("select * from nowhere"), ErrorCode::InvalidArgument);
    EXPECT_EQ(code("select 'x'::integer"), ErrorCode::InvalidArgument);
    EXPECT_EQ(code("select * from read_csv('/no/such/file.csv')"), ErrorCode::NotFound);
    EXPECT_EQ(connection_->prepare("select a from nowhere").error().code,
              ErrorCode::InvalidArgument);
    ASSERT_TRUE(connection_->execute("set memory_limit = '20MB'; set temp_directory = ''"));
    EXPECT_EQ(
        code("select list(i || 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' || i) from range(10000000) r(i)"),
        ErrorCode::ResourceExhausted);
    EXPECT_EQ(Database::open("", {{"no_such_setting", "1"}}).error().code,
              ErrorCode::InvalidArgument);
    ASSERT_TRUE(connection_->execute("set enable_external_access = false"));
    EXPECT_EQ(code("select * from read_csv('/etc/passwd')"), ErrorCode::Forbidden);
}

TEST_F(DuckdbTest, AFailureWhileStreamingIsNotTheEnd) {
    Result<Rows> rows = connection_->stream(
        "select case when i = 400000 then error('here') else i::varchar end from range(500000) "
        "r(i)");
    bool failed = !rows;
    while (!failed) {
        auto chunk = rows->next();
        if (!chunk) {
            failed = true;
            EXPECT_NE(chunk.error().message.find("here"), std::string::npos);
        } else if (!*chunk) {
            break;
        }
    }
    EXPECT_TRUE(failed);
}

TEST_F(DuckdbTest, InterruptCancelsTheQueryThatRuns) {
    std::atomic<bool> done = false;
    std::thread other([&] {
        while (!done) {
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
            connection_->interrupt();
        }
    });
    auto start = std::chrono::steady_clock::now();
    Result<Rows> rows =
        connection_->query("select sum(a.i * b.i) from range(10000000) a(i), range(10000000) b(i)");
    done = true;
    other.join();
    ASSERT_FALSE(rows);
    EXPECT_EQ(rows.error().code, ErrorCode::Cancelled);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST_F(DuckdbTest, StatementsAreCountedAndTyped) {
    EXPECT_EQ(connection_->count_statements("select 1; ; insert into t values (1)").value(), 2u);
    EXPECT_EQ(connection_->count_statements(" -- nothing\n").value(), 0u);
    EXPECT_EQ(connection_->count_statements("selec").error().code, ErrorCode::InvalidArgument);
    EXPECT_EQ(connection_->statement_types("select 1; create table t(a int)").value(),
              (std::vector<StatementType>{StatementType::Select, StatementType::Create}));
}

TEST_F(DuckdbTest, NamesAndTextsAreQuoted) {
    EXPECT_EQ(quote_identifier("a\"b"), "\"a\"\"b\"");
    EXPECT_EQ(quote_literal("it's"), "'it''s'");
    EXPECT_EQ(library_version(), "v1.5.5");
    EXPECT_EQ(glob_of("/a/b.parquet").value(), "/a/b.parquet");
    EXPECT_EQ(glob_of("/a[b]/c*?.parquet").value(), "/a[[]b]/c[*][?].parquet");
    EXPECT_EQ(glob_of("/a\\b/c.parquet").value(), "/a\\b/c.parquet");
    EXPECT_EQ(glob_of("/a\\b/c*.parquet").error().code, ErrorCode::InvalidArgument);
}

}  // namespace
}  // namespace px::duckdb
