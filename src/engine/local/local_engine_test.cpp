#include "engine/local/local_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/sha256.h"

namespace px::engine {
namespace {

using namespace std::chrono_literals;
using columnar::Schema;
using columnar::TypeId;

class LocalEngineTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "px_engine_test_XXXXXX").string();
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        folder_ = std::filesystem::canonical(pattern);
        session_ = open(0);
    }
    void TearDown() override {
        session_.reset();
        std::filesystem::remove_all(folder_);
    }
    std::unique_ptr<Session> open(int threads) {
        LocalEngineOptions options;
        options.memory_limit_mb = 300;
        options.thread_count = threads;
        options.temp_directory = folder_ / "tmp";
        auto engine = open_local_engine(options);
        EXPECT_TRUE(engine) << engine.error().to_string();
        engine_ = std::move(engine).value();
        return engine_->open_session().value();
    }
    /// Writes a file and returns its path.
    std::filesystem::path parquet(const std::string& sql, const std::string& name) {
        std::filesystem::path path = folder_ / name;
        std::filesystem::create_directories(path.parent_path());
        auto written = session_->copy_to_parquet(sql, path, Deadline::never());
        EXPECT_TRUE(written) << sql << ": " << written.error().to_string();
        return path;
    }
    std::vector<std::string> rows(const std::string& sql,
                                  const std::vector<std::string>& parameters = {}) {
        auto result = session_->query(sql, parameters, {}, Deadline::never());
        EXPECT_TRUE(result) << sql << ": " << result.error().to_string();
        std::vector<std::string> lines;
        if (!result) return lines;
        for (const auto& row : result->rows) {
            std::string line;
            for (size_t c = 0; c < row.size(); ++c)
                line += (c > 0 ? "|" : "") + row[c].value_or("NULL");
            lines.push_back(line);
        }
        return lines;
    }
    std::string bytes_of(const std::filesystem::path& file) {
        std::stringstream all;
        all << std::ifstream(file, std::ios::binary).rdbuf();
        return all.str();
    }
    std::filesystem::path folder_;
    std::unique_ptr<Engine> engine_;
    std::unique_ptr<Session> session_;
};

TEST_F(LocalEngineTest, FoldersMayHaveNamesThatLookLikePatterns) {
    parquet("select 99::bigint as id", "uv/ds=1/x.parquet");  // what u* would find as well
    const auto first = parquet("select 1::bigint as id", "u*/ds=1/x.parquet");
    const auto second = parquet("select 2::bigint as id", "[a] q?/ds=2/x.parquet");
    const Schema schema{{{"id", {TypeId::Int64}}, {"ds", {TypeId::String}}}};
    ASSERT_TRUE(
        session_->add_table({"t", schema, {{first, {{"ds", "1"}}}, {second, {{"ds", "2"}}}}}));
    EXPECT_EQ(rows("select id, ds from t order by id"), (std::vector<std::string>{"1|1", "2|2"}));
    ASSERT_TRUE(session_->lock_down());
    const auto result = session_->query_untrusted("select sum(id) from t", {}, Deadline::never());
    ASSERT_TRUE(result) << result.error().to_string();
    EXPECT_EQ(result->rows[0][0], "3");
}

TEST_F(LocalEngineTest, ATableIsItsFilesAndPartitionConstants) {
    auto a = parquet("select 1::bigint as id, 'x' as t", "a.parquet");
    auto b = parquet("select 2::bigint as id, 'y' as t union all select 3, null", "b.parquet");
    Schema schema{{{"id", {TypeId::Int64}},
                   {"t", {TypeId::String}},
                   {"ds", {TypeId::Date}},
                   {"region", {TypeId::String}}}};
    ASSERT_TRUE(session_->add_table({"my \"table\"",
                                     schema,
                                     {{a, {{"ds", "2026-11-22"}, {"region", "it's"}}},
                                      {b, {{"ds", "2026-11-23"}, {"region", std::nullopt}}}}}));
    EXPECT_THAT(rows("select *, typeof(ds) from \"my \"\"table\"\"\" order by id"),
                testing::ElementsAre("1|x|2026-11-22|it's|DATE", "2|y|2026-11-23|NULL|DATE",
                                     "3|NULL|2026-11-23|NULL|DATE"));
    EXPECT_THAT(rows("select id from \"My \"\"Table\"\"\" where ds = $1", {"2026-11-22"}),
                testing::ElementsAre("1"));
}

TEST_F(LocalEngineTest, OlderFilesMissColumnsAndHaveNarrowerTypes) {
    auto old_file = parquet("select 1::integer as id, 1.5::decimal(9,1) as amount", "old.parquet");
    auto new_file =
        parquet("select 5000000000::bigint as id, 'n' as note, 2.25::decimal(18,2) as amount",
                "new.parquet");
    auto other =
        parquet("select 'o' as note, 7::bigint as id, 'extra' as dropped", "other.parquet");
    Schema schema{{{"id", {TypeId::Int64}},
                   {"note", {TypeId::String}},
                   {"amount", {TypeId::Decimal, 18, 2}}}};
    for (auto files : {std::vector<TableFile>{{old_file, {}}, {new_file, {}}, {other, {}}},
                       std::vector<TableFile>{{other, {}}, {old_file, {}}, {new_file, {}}}}) {
        ASSERT_TRUE(session_->add_table({"t", schema, files}));
        EXPECT_THAT(rows("select * from t order by id"),
                    testing::ElementsAre("1|NULL|1.50", "7|o|NULL", "5000000000|n|2.25"));
    }
}

TEST_F(LocalEngineTest, AnEmptyTableHasItsTypes) {
    Schema schema{{{"a", {TypeId::Bool}},
                   {"b", {TypeId::Decimal, 38, 10}},
                   {"c", {TypeId::Timestamp}},
                   {"d", {TypeId::FloatList}},
                   {"e", {TypeId::Binary}}}};
    ASSERT_TRUE(session_->add_table({"empty", schema, {}}));
    auto result = session_->query("select * from empty", {}, {}, Deadline::never());
    ASSERT_TRUE(result);
    EXPECT_TRUE(result->rows.empty());
    EXPECT_EQ(result->types,
              (std::vector<std::string>{"BOOLEAN", "DECIMAL(38,10)", "TIMESTAMP WITH TIME ZONE",
                                        "FLOAT[]", "BLOB"}));
    EXPECT_THAT(rows("select count(*) from empty"), testing::ElementsAre("0"));
}

TEST_F(LocalEngineTest, ManyPartitionsAreReadByFolderNameOrByMapping) {
    Schema schema{
        {{"id", {TypeId::Int64}}, {"ds", {TypeId::Date}}, {"filename", {TypeId::String}}}};
    for (bool hive : {true, false}) {
        std::vector<TableFile> files;
        for (int i = 0; i < 120; ++i) {
            std::string ds = "2026-" + std::string(i < 60 ? "01" : "02") + "-" +
                             (i % 28 < 9 ? "0" : "") + std::to_string(i % 28 + 1);
            std::string value = std::to_string(2000 + i) + ds.substr(4);
            auto path = parquet(
                "select " + std::to_string(i) + "::bigint as id, 'f' as filename",
                std::string(hive ? "h/ds=" + value : "m/" + std::to_string(i)) + "/part.parquet");
            files.push_back(
                {path, {{"ds", i == 7 && !hive ? std::nullopt : std::optional(value)}}});
        }
        ASSERT_TRUE(session_->add_table({"t", schema, files}));
        EXPECT_THAT(rows("select count(*), count(distinct ds), sum(id), min(filename) from t"),
                    testing::ElementsAre(hive ? "120|120|7140|f" : "120|119|7140|f"));
        EXPECT_THAT(rows("select id, ds from t where ds = '2005-01-06'"),
                    testing::ElementsAre("5|2005-01-06"));
        // A join keeps no order; folder names do.
        if (hive) {
            EXPECT_THAT(rows("select id from t limit 3"), testing::ElementsAre("0", "1", "2"));
        }
    }
}

TEST_F(LocalEngineTest, ThousandsOfFilesAreOneTable) {
    auto first = parquet("select 1::bigint as id", "n/0.parquet");
    std::vector<TableFile> files;
    for (int i = 0; i < 3000; ++i) {
        std::filesystem::path path = folder_ / "n" / (std::to_string(i) + ".parquet");
        if (i > 0) std::filesystem::create_hard_link(first, path);
        files.push_back({path, {{"ds", std::to_string(i)}}});
    }
    auto begin = std::chrono::steady_clock::now();
    ASSERT_TRUE(
        session_->add_table({"t", {{{"id", {TypeId::Int64}}, {"ds", {TypeId::Int64}}}}, files}));
    EXPECT_THAT(rows("select count(*), sum(ds), max(ds) from t"),
                testing::ElementsAre("3000|4498500|2999"));
    auto spent = std::chrono::steady_clock::now() - begin;
    std::printf("3000 files: %lld ms\n",
                static_cast<long long>(
                    std::chrono::duration_cast<std::chrono::milliseconds>(spent).count()));
    EXPECT_LT(spent, 60s);
}

TEST_F(LocalEngineTest, BadTablesAreRefusedByName) {
    Schema schema{{{"id", {TypeId::Int64}}}};
    auto good = parquet("select 1::bigint as id", "good.parquet");
    std::ofstream(folder_ / "bad.parquet") << "this is not a parquet file";
    std::ofstream(folder_ / "empty.parquet");
    auto error = [&](const TableSource& table) { return session_->add_table(table).error(); };
    EXPECT_EQ(error({"t", schema, {{good, {}}, {folder_ / "bad.parquet", {}}}}).code,
              ErrorCode::Corrupt);
    EXPECT_NE(error({"t", schema, {{folder_ / "bad.parquet", {}}}}).message.find("bad.parquet"),
              std::string::npos);
    EXPECT_EQ(error({"t", schema, {{folder_ / "empty.parquet", {}}}}).code, ErrorCode::Corrupt);
    EXPECT_EQ(error({"t", schema, {{folder_ / "none.parquet", {}}}}).code, ErrorCode::Corrupt);
    EXPECT_EQ(error({"t", {}, {}}).code, ErrorCode::InvalidArgument);
    EXPECT_EQ(error({"t", {{{"a", {}}, {"A", {}}}}, {}}).code, ErrorCode::InvalidArgument);
    EXPECT_EQ(error({"t", schema, {{good, {{"ds", "1"}}}}}).code, ErrorCode::InvalidArgument);
    for (const char* name : {"", "duckdb_settings", "Sqlite_Master", "pg_class", "px_files_of_x"}) {
        EXPECT_EQ(error({name, schema, {}}).code, ErrorCode::InvalidArgument) << name;
    }
    std::string bytes = bytes_of(good);
    std::ofstream(folder_ / "cut.parquet", std::ios::binary) << bytes.substr(0, bytes.size() / 2);
    EXPECT_EQ(error({"t", schema, {{folder_ / "cut.parquet", {}}}}).code, ErrorCode::Corrupt);
}

TEST_F(LocalEngineTest, ParametersAreValuesAndCounted) {
    EXPECT_THAT(rows("select $1::integer + $2::integer, $3", {"1", "2", "'; drop table x"}),
                testing::ElementsAre("3|'; drop table x"));
    EXPECT_EQ(session_->query("select $1", {}, {}, Deadline::never()).error().code,
              ErrorCode::InvalidArgument);
    EXPECT_EQ(session_->query("select 1", {"x"}, {}, Deadline::never()).error().code,
              ErrorCode::InvalidArgument);
}

TEST_F(LocalEngineTest, EveryTypeIsWrittenOrRefusedWithAHint) {
    auto written = session_->copy_to_parquet(
        "select true as a, 1::tinyint as b, 2::smallint as c, 3 as d, 4::bigint as e, "
        "255::utinyint as f, 65535::usmallint as g, "
        "4294967295::uinteger as h, 18446744073709551615::ubigint as i, (-170)::hugeint as j, "
        "0.5::float as k, 0.25::double as l, "
        "1.5::decimal(4,1) as m, 2.5::decimal(38,3) as n, date '1969-12-31' as o, timestamp "
        "'2026-11-23 08:00:00.5' as p, "
        "timestamptz '2026-11-23 08:00:00+02' as q, 'text ✓' as r, '\\xFF'::blob as s, "
        "'550e8400-e29b-41d4-a716-446655440000'::uuid as t, 'b'::enum('a','b') as u, '{}'::json as "
        "v, "
        "[0.5::float, 2::float] as w, array_value(1::float, 2::float) as x, "
        "'2026-01-01'::timestamp_s as y",
        folder_ / "types.parquet", Deadline::never());
    ASSERT_TRUE(written) << written.error().to_string();
    EXPECT_EQ(written->second.row_count, 1);
    std::vector<std::string> types;
    for (const columnar::Field& field : written->first.fields)
        types.push_back(columnar::delta_type_name(field.type));
    EXPECT_EQ(types, (std::vector<std::string>{
                         "boolean",   "integer",   "integer",      "integer",       "long",
                         "integer",   "integer",   "long",         "decimal(20,0)", "decimal(38,0)",
                         "float",     "double",    "decimal(4,1)", "decimal(38,3)", "date",
                         "timestamp", "timestamp", "string",       "binary",        "string",
                         "string",    "string",    "array<float>", "array<float>",  "timestamp"}));
    ASSERT_TRUE(session_->add_table({"t", written->first, {{folder_ / "types.parquet", {}}}}));
    EXPECT_THAT(rows("select * from t"),
                testing::ElementsAre("true|1|2|3|4|255|65535|4294967295|18446744073709551615|-170|"
                                     "0.5|0.25|1.5|2.500|1969-12-31|"
                                     "2026-11-23 08:00:00.5+00|2026-11-23 06:00:00+00|text ✓|\\xFF|"
                                     "550e8400-e29b-41d4-a716-446655440000|b|{}|[0.5, 2.0]|[1.0, "
                                     "2.0]|2026-01-01 00:00:00+00"));
    for (const char* bad :
         {"interval 1 day", "time '01:02:03'", "{'a': 1}", "map {1: 2}", "[1, 2]", "1::uhugeint",
          "'2026-01-01'::timestamp_ns", "'infinity'::date", "'infinity'::timestamp",
          "170141183460469231731687303715884105727::hugeint", "[1::float, null]", "'1'::bit"}) {
        auto refused =
            session_->copy_to_parquet(std::string("select ") + bad + " as \"the column\"",
                                      folder_ / "bad.parquet", Deadline::never());
        ASSERT_FALSE(refused) << bad;
        EXPECT_EQ(refused.error().code, ErrorCode::InvalidArgument) << bad;
        EXPECT_NE(refused.error().message.find("the column"), std::string::npos)
            << refused.error().to_string();
        EXPECT_FALSE(std::filesystem::exists(folder_ / "bad.parquet")) << bad;
    }
    EXPECT_EQ(
        session_
            ->copy_to_parquet("select 1 as a, 2 as A", folder_ / "bad.parquet", Deadline::never())
            .error()
            .code,
        ErrorCode::InvalidArgument);
}

TEST_F(LocalEngineTest, CopiesAreInTheOrderOfTheQueryAndTheSameWithAnyNumberOfThreads) {
    std::string expected;
    for (int threads : {1, 2, 4}) {
        session_ = open(threads);
        auto big = parquet(
            "select range::bigint as id, 'name ' || (range * 7919 % 1000) as name, range * "
            "0.1::double as x "
            "from range(300000)",
            "big.parquet");
        ASSERT_TRUE(session_->add_table(
            {"big",
             {{{"id", {TypeId::Int64}}, {"name", {TypeId::String}}, {"x", {TypeId::Float64}}}},
             {{big, {}}}}));
        std::string made = sha256_hex(bytes_of(big));
        made += sha256_hex(bytes_of(parquet(
            "select name, sum(x) as total, count(*) as n from big group by name", "g.parquet")));
        made += sha256_hex(bytes_of(parquet("select * from big where id % 3 = 0", "f.parquet")));
        made +=
            sha256_hex(bytes_of(parquet("select * from big order by name, id desc", "o.parquet")));
        if (expected.empty()) expected = made;
        EXPECT_EQ(made, expected) << threads;
    }
    ASSERT_TRUE(
        session_->add_table({"f", {{{"id", {TypeId::Int64}}}}, {{folder_ / "f.parquet", {}}}}));
    EXPECT_THAT(rows("select count(*) from (select id, lag(id) over () as before from f) where "
                     "before >= id"),
                testing::ElementsAre("0"));
}

TEST_F(LocalEngineTest, NullsAndBatchesComeThroughAStream) {
    int64_t seen = 0, nulls = 0, batches = 0;
    auto streamed = session_->stream(
        "select case when range % 5 = 0 then null else range end as id, case when range % 3 = 0 "
        "then null else 't' || range end "
        "as t from range($1::bigint)",
        {"100000"},
        [&](const columnar::RecordBatch& batch) -> Result<void> {
            EXPECT_EQ(batch.schema().fields[0].name, "id");
            for (int64_t r = 0; r < batch.row_count(); ++r, ++seen) {
                EXPECT_EQ(batch.column(0).is_null(r), seen % 5 == 0);
                if (batch.column(1).is_null(r)) {
                    ++nulls;
                } else {
                    EXPECT_EQ(batch.column(1).bytes_at(r), "t" + std::to_string(seen));
                }
            }
            ++batches;
            return {};
        },
        Deadline::never());
    ASSERT_TRUE(streamed) << streamed.error().to_string();
    EXPECT_EQ(seen, 100'000);
    EXPECT_EQ(nulls, 33'334);
    EXPECT_GT(batches, 4);
    auto stopped = session_->stream(
        "select * from range(1000000)", {},
        [&](const columnar::RecordBatch&) -> Result<void> {
            return fail(ErrorCode::Conflict, "enough");
        },
        Deadline::never());
    EXPECT_EQ(stopped.error().code, ErrorCode::Conflict);
    EXPECT_THAT(rows("select 1"), testing::ElementsAre("1"));
}

TEST_F(LocalEngineTest, AFailedCopyLeavesNoFileAndTheSessionWorks) {
    std::filesystem::path path = folder_ / "x.parquet";
    auto failed = session_->copy_to_parquet(
        "select case when range = 90000 then error('here') else 'x' end as a from range(100000)",
        path, Deadline::never());
    ASSERT_FALSE(failed);
    EXPECT_NE(failed.error().message.find("here"), std::string::npos);
    EXPECT_FALSE(std::filesystem::exists(path));
    auto late = session_->copy_to_parquet("select a.range from range(1000000) a, range(1000000) b",
                                          path, Deadline::after(100ms));
    EXPECT_EQ(late.error().code, ErrorCode::DeadlineExceeded);
    EXPECT_FALSE(std::filesystem::exists(path));
    EXPECT_FALSE(session_->copy_to_parquet("select 1 as a", folder_ / "no" / "x.parquet",
                                           Deadline::never()));
    EXPECT_TRUE(session_->copy_to_parquet("select 1 as a where false", path, Deadline::never()));
    ASSERT_TRUE(session_->add_table({"t", {{{"a", {TypeId::Int32}}}}, {{path, {}}}}));
    EXPECT_THAT(rows("select count(*) from t"), testing::ElementsAre("0"));
}

TEST_F(LocalEngineTest, SessionsDoNotSeeEachOtherAndRunAtTheSameTime) {
    auto other = engine_->open_session().value();
    ASSERT_TRUE(session_->query("create table mine as select 1 as a", {}, {}, Deadline::never()));
    EXPECT_EQ(other->query("select * from mine", {}, {}, Deadline::never()).error().code,
              ErrorCode::InvalidArgument);
    std::vector<std::jthread> threads;
    std::atomic<int> failures = 0;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            auto session = engine_->open_session();
            if (!session || !(*session)->lock_down() ||
                !(*session)->query_untrusted("select sum(range) from range(100000)", {},
                                             Deadline::never())) {
                ++failures;
            }
        });
    }
    threads.clear();
    EXPECT_EQ(failures, 0);
    EXPECT_EQ(engine_->version(), "DuckDB v1.5.5");
}

TEST_F(LocalEngineTest, FoldersOfKilledProcessesAreRemoved) {
    pid_t child = fork();
    if (child == 0) _exit(0);
    int status = 0;
    waitpid(child, &status, 0);
    std::filesystem::path stale = folder_ / "tmp" / ("px_engine_" + std::to_string(child) + "_0");
    std::filesystem::create_directories(stale);
    std::filesystem::create_directories(folder_ / "tmp" / "px_engine_x_0");
    auto session = open(1);
    EXPECT_FALSE(std::filesystem::exists(stale));
    EXPECT_TRUE(std::filesystem::exists(folder_ / "tmp" / "px_engine_x_0"));
}

TEST_F(LocalEngineTest, OptionsAreChecked) {
    for (auto change : {+[](LocalEngineOptions& o) { o.memory_limit_mb = 1; },
                        +[](LocalEngineOptions& o) { o.growth_limit_mb = -1; },
                        +[](LocalEngineOptions& o) { o.thread_count = -1; },
                        +[](LocalEngineOptions& o) { o.max_temp_mb = -1; }}) {
        LocalEngineOptions options;
        change(options);
        EXPECT_EQ(open_local_engine(options).error().code, ErrorCode::InvalidArgument);
    }
}

}  // namespace
}  // namespace px::engine
