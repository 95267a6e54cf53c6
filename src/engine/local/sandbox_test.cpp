// The sandbox against the cases of tests/cases/engine, and its limits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/sha256.h"
#include "capi/duckdb/duckdb_handle.h"
#include "engine/local/local_engine.h"
#include "engine/local/sql_guard.h"
#include "engine/local/watchdog.h"

namespace px::engine {
namespace {

using namespace std::chrono_literals;

struct Case {
    std::string comment, sql;
    std::vector<std::string> rows;
};

std::vector<Case> read_cases(const std::string& name) {
    std::ifstream in(std::string(PX_SOURCE_DIR) + "/tests/cases/engine/" + name);
    EXPECT_TRUE(in) << name;
    std::vector<Case> cases(1);
    std::string line;
    while (std::getline(in, line)) {
        Case& current = cases.back();
        if (line.empty()) {
            if (!current.sql.empty()) cases.emplace_back();
        } else if (line[0] == '#') {
            current.comment += line + "\n";
        } else if (line.starts_with("> ")) {
            current.rows.push_back(line.substr(2));
        } else {
            current.sql += (current.sql.empty() ? "" : "\n") + line;
        }
    }
    if (cases.back().sql.empty()) cases.pop_back();
    return cases;
}

class SandboxTest : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "px_sandbox_XXXXXX").string();
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        folder_ = std::filesystem::canonical(pattern);
        auto engine = open_local_engine(options());
        ASSERT_TRUE(engine) << engine.error().to_string();
        engine_ = std::move(engine).value();
        auto session = engine_->open_session().value();
        auto copy = [&](const char* sql, const char* file) {
            auto copied = session->copy_to_parquet(sql, folder_ / file, Deadline::never());
            ASSERT_TRUE(copied) << copied.error().to_string();
        };
        copy(
            "select * from (values (1::bigint, 'Ada', 100.50::decimal(18,2), date '2026-01-15', "
            "'alpha;beta'), "
            "(2, 'Ben', 250, date '2026-02-28', 'gamma'), (3, 'Ada', null, date '2026-03-31', "
            "'delta;x'), "
            "(4, 'Cy', 500.25, date '2026-11-23', 'omega')) t(id, author, revenue, day, tags)",
            "reports.parquet");
        copy(
            "select * from (values (1::bigint, 1::bigint, 10.5::double), (2, 1, 20), (3, 2, 99)) "
            "t(id, report_id, amount)",
            "orders.parquet");
    }
    static void TearDownTestSuite() {
        engine_.reset();
        std::filesystem::remove_all(folder_);
    }
    static LocalEngineOptions options() {
        LocalEngineOptions made;
        made.memory_limit_mb = 200;
        made.thread_count = 2;
        made.max_temp_mb = 256;
        made.temp_directory = folder_ / "tmp";
        return made;
    }
    static std::unique_ptr<Session> locked_session() {
        using columnar::TypeId;
        auto session = engine_->open_session().value();
        TableSource reports{"reports",
                            {{{"id", {TypeId::Int64}},
                              {"author", {TypeId::String}},
                              {"revenue", {TypeId::Decimal, 18, 2}},
                              {"day", {TypeId::Date}},
                              {"tags", {TypeId::String}}}},
                            {{folder_ / "reports.parquet", {}}}};
        TableSource orders{"orders",
                           {{{"id", {TypeId::Int64}},
                             {"report_id", {TypeId::Int64}},
                             {"amount", {TypeId::Float64}}}},
                           {{folder_ / "orders.parquet", {}}}};
        EXPECT_TRUE(session->add_table(reports));
        EXPECT_TRUE(session->add_table(orders));
        EXPECT_TRUE(session->lock_down());
        return session;
    }
    static std::string state_of_folder() {
        std::string state;
        std::vector<std::filesystem::path> files;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_))
            files.push_back(entry.path());
        std::sort(files.begin(), files.end());
        for (const auto& file : files) {
            std::stringstream bytes;
            bytes << std::ifstream(file, std::ios::binary).rdbuf();
            state += file.string() + " " + sha256_hex(bytes.str()) + "\n";
        }
        return state;
    }
    static inline std::filesystem::path folder_;
    static inline std::unique_ptr<Engine> engine_;
};

TEST_F(SandboxTest, WhatIsNotAllowedIsRefusedAndChangesNothing) {
    std::vector<Case> cases = read_cases("refused.case");
    EXPECT_GE(cases.size(), 300u);
    auto session = locked_session();
    std::string before = state_of_folder();
    QueryLimits limits;
    limits.time = 20s;
    for (const Case& test : cases) {
        std::string sql = test.sql;
        if (size_t at = sql.find("@FILE@"); at != std::string::npos) {
            sql.replace(at, 6, (folder_ / "reports.parquet").string());
        }
        Result<QueryResult> result = session->query_untrusted(sql, limits, Deadline::never());
        if (result) {
            ADD_FAILURE() << "was run: " << sql;
            continue;
        }
        EXPECT_THAT(result.error().code,
                    testing::AnyOf(ErrorCode::InvalidArgument, ErrorCode::Forbidden))
            << sql << ": " << result.error().to_string();
        EXPECT_FALSE(result.error().message.empty());
        EXPECT_EQ(result.error().message.find("root:"), std::string::npos) << sql;
    }
    EXPECT_EQ(state_of_folder(), before);
    EXPECT_FALSE(std::filesystem::exists("/tmp/px_escape"));
    EXPECT_FALSE(std::filesystem::exists("/tmp/px_escape.csv"));
    EXPECT_FALSE(std::filesystem::exists("/tmp/px_escape.parquet"));
    EXPECT_FALSE(std::filesystem::exists("/tmp/px_escape.db"));
    // The session is as good as new.
    auto rows = session->query_untrusted("select count(*) from reports", limits, Deadline::never());
    ASSERT_TRUE(rows);
    EXPECT_EQ(rows->rows[0][0], "4");
    std::printf("%zu attempts refused\n", cases.size());
}

TEST_F(SandboxTest, QueriesOfAnalystsRun) {
    std::vector<Case> cases = read_cases("allowed.case");
    EXPECT_GE(cases.size(), 30u);
    auto session = locked_session();
    bool update = std::getenv("UPDATE_CASES") != nullptr;
    std::string rewritten;
    for (const Case& test : cases) {
        Result<QueryResult> result = session->query_untrusted(test.sql, {}, Deadline::never());
        if (!result) {
            ADD_FAILURE() << test.sql << ": " << result.error().to_string();
            continue;
        }
        std::vector<std::string> rows;
        for (const auto& row : result->rows) {
            std::string line;
            for (size_t c = 0; c < row.size(); ++c)
                line += (c > 0 ? " | " : "") + row[c].value_or("NULL");
            rows.push_back(line);
        }
        if (!update) {
            EXPECT_EQ(rows, test.rows) << test.sql;
        }
        rewritten += (rewritten.empty() ? "" : "\n") + test.comment + test.sql + "\n";
        for (const std::string& row : rows) rewritten += "> " + row + "\n";
    }
    if (update)
        std::ofstream(std::string(PX_SOURCE_DIR) + "/tests/cases/engine/allowed.case") << rewritten;
}

TEST_F(SandboxTest, EveryFunctionOfTheLibraryIsDecidedUpon) {
    auto session = engine_->open_session().value();
    QueryLimits limits;
    auto all = session->query(
        "select distinct lower(function_name) from duckdb_functions() where function_type in "
        "('scalar', 'aggregate', 'macro') "
        "and function_name not like 'icu_collate_%'",
        {}, limits, Deadline::never());
    ASSERT_TRUE(all);
    EXPECT_GT(all->rows.size(), 500u);
    for (const auto& row : all->rows) {
        bool allowed = allowed_functions().contains(*row[0]),
             refused = refused_functions().contains(*row[0]);
        EXPECT_TRUE(allowed != refused)
            << *row[0] << " is in " << (allowed ? "both lists" : "neither list");
    }
}

TEST_F(SandboxTest, BytesThatAreNoSqlAreRefused) {
    auto session = locked_session();
    auto code = [&](const std::string& sql) {
        return session->query_untrusted(sql, {}, Deadline::never()).error().code;
    };
    EXPECT_EQ(code(std::string("select 1\0; drop", 15)), ErrorCode::InvalidArgument);
    EXPECT_EQ(code("select '\xFF'"), ErrorCode::InvalidArgument);
    EXPECT_EQ(code(std::string(200'000, ' ') + "select 1"), ErrorCode::InvalidArgument);
    EXPECT_EQ(code("select " + std::string(30'000, '(') + "1" + std::string(30'000, ')')),
              ErrorCode::InvalidArgument);
    EXPECT_EQ(code("select " + std::string(3'000, '-') + "1"),
              ErrorCode::InvalidArgument);  // a comment: nothing selected
    std::string deep = "1";
    for (int i = 0; i < 20'000; ++i) deep += "+1";
    EXPECT_EQ(code("select " + deep), ErrorCode::InvalidArgument);
    std::string nots = "select ";
    for (int i = 0; i < 15'000; ++i) nots += "not ";
    EXPECT_EQ(code(nots + "true"), ErrorCode::InvalidArgument);
    EXPECT_EQ(code(""), ErrorCode::InvalidArgument);
}

TEST_F(SandboxTest, AnErrorNamesThePlace) {
    auto session = locked_session();
    Error error = session
                      ->query_untrusted("select 'ü', current_setting('x') from reports", {},
                                        Deadline::never())
                      .error();
    EXPECT_NE(error.message.find("current_setting()"), std::string::npos);
    EXPECT_NE(error.message.find("at character 13"), std::string::npos) << error.message;
    error = session->query_untrusted("select * from report", {}, Deadline::never()).error();
    EXPECT_NE(error.hint.find("orders, reports"), std::string::npos) << error.hint;
    error = session->query_untrusted("select autor from reports", {}, Deadline::never()).error();
    EXPECT_NE(error.message.find("author"), std::string::npos) << error.message;
}

TEST_F(SandboxTest, ALockedSessionTakesNothingElse) {
    auto session = locked_session();
    EXPECT_EQ(session->query("select 1", {}, {}, Deadline::never()).error().code,
              ErrorCode::Forbidden);
    EXPECT_EQ(session->add_table({"t", {{{"a", {}}}}, {}}).error().code, ErrorCode::Forbidden);
    EXPECT_EQ(
        session->copy_to_parquet("select 1", folder_ / "x.parquet", Deadline::never()).error().code,
        ErrorCode::Forbidden);
    EXPECT_EQ(
        session
            ->stream(
                "select 1", {}, [](const auto&) -> Result<void> { return {}; }, Deadline::never())
            .error()
            .code,
        ErrorCode::Forbidden);
    EXPECT_TRUE(session->lock_down());
    EXPECT_EQ(engine_->open_session()
                  .value()
                  ->query_untrusted("select 1", {}, Deadline::never())
                  .error()
                  .code,
              ErrorCode::Internal);
}

TEST_F(SandboxTest, RowsAndBytesAreCut) {
    auto session = locked_session();
    QueryLimits limits;
    limits.rows = 100;
    auto cut =
        session->query_untrusted("select * from range(1000000000000)", limits, Deadline::never());
    ASSERT_TRUE(cut) << cut.error().to_string();
    EXPECT_EQ(cut->rows.size(), 100u);
    EXPECT_TRUE(cut->truncated);
    auto exact = session->query_untrusted("select * from range(100)", limits, Deadline::never());
    EXPECT_EQ(exact->rows.size(), 100u);
    EXPECT_FALSE(exact->truncated);
    limits.rows = 1'000'000;
    limits.result_bytes = 10'000;
    auto bytes = session->query_untrusted("select repeat('x', 1000) from range(100000)", limits,
                                          Deadline::never());
    ASSERT_TRUE(bytes);
    EXPECT_EQ(bytes->rows.size(), 10u);
    EXPECT_TRUE(bytes->truncated);
}

TEST_F(SandboxTest, APlanTellsWhatWasReadAndNamesNoFile) {
    auto session = locked_session();
    QueryLimits limits;
    limits.explain = true;
    for (const char* sql :
         {"select author, sum(revenue) from reports where id > 1 group by all order by 2",
          "from reports r join orders o on r.id = o.report_id select count(*)",
          "select author from reports; -- the end", "select * from range(5)"}) {
        auto result = session->query_untrusted(sql, limits, Deadline::never());
        ASSERT_TRUE(result) << sql << ": " << result.error().to_string();
        ASSERT_TRUE(result->plan);
        EXPECT_TRUE(result->rows.empty());
        EXPECT_NE(result->plan->text.find("rows"), std::string::npos);
        EXPECT_EQ(result->plan->text.find(folder_.string()), std::string::npos);
        EXPECT_EQ(result->plan->text.find(".parquet"), std::string::npos);
        const std::string_view text(sql);
        if (text.find("reports") != std::string_view::npos) {
            EXPECT_GE(result->plan->rows_scanned, 4) << sql;
            EXPECT_GT(result->plan->bytes_scanned, 0) << sql;
        }
    }
    // What is refused is refused with a plan too, and nothing stands behind a second statement.
    for (const char* sql :
         {"select * from read_text('/etc/passwd')", "copy reports to '/tmp/px_escape'",
          "select 1; select 2", "analyze select 1", "(format json) select 1"}) {
        EXPECT_FALSE(session->query_untrusted(sql, limits, Deadline::never())) << sql;
    }
    limits.time = 300ms;
    EXPECT_EQ(session
                  ->query_untrusted("select count(*) from range(9999999) a, range(9999999) b",
                                    limits, Deadline::never())
                  .error()
                  .code,
              ErrorCode::DeadlineExceeded);
}

TEST_F(SandboxTest, ABombStopsAtItsTime) {
    auto session = locked_session();
    QueryLimits limits;
    limits.time = 300ms;
    for (const char* sql :
         {"select count(*) from range(10000000) a, range(10000000) b, range(10000000) c",
          "select sum(a.range * b.range) from range(1000000) a, range(1000000) b where a.range + "
          "b.range % 7 = -1",
          "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n",
          "select a.range from range(3000000000) a order by hash(a.range) limit 5",
          "with recursive n(i) as (select 1 union select i + 1 from n where i > 0) select count(*) "
          "from n",
          "with recursive n(i, j) as (select 0, 0 union all select i + 1, j from n, range(3)) "
          "select count(*) from n where j = 1",
          "select count(*) from reports a, range(100000000) b, range(100000000) c where "
          "a.id = b.range - c.range",
          "select sum((select count(*) from range(3000000) x where x.range % 7 = r.range % 3)) "
          "from "
          "range(3000000) r",
          "select max(levenshtein(repeat('ab', 60) || range % 7, repeat('ba', 50) || range)) from "
          "range(100000000)",
          "select count(*) from range(100000000) where md5(sha256(range::varchar)) < '0'"}) {
        auto begin = std::chrono::steady_clock::now();
        auto result = session->query_untrusted(sql, limits, Deadline::never());
        auto spent = std::chrono::steady_clock::now() - begin;
        ASSERT_FALSE(result) << sql;
        EXPECT_EQ(result.error().code, ErrorCode::DeadlineExceeded)
            << sql << ": " << result.error().to_string();
        EXPECT_LT(spent, limits.time + 200ms) << sql;
        EXPECT_GE(spent, limits.time) << sql;
    }
    EXPECT_TRUE(session->query_untrusted("select 1", limits, Deadline::never()));
}

TEST_F(SandboxTest, ACallerCanStopAQueryOrHaveNoTimeLeft) {
    auto session = locked_session();
    std::stop_source source;
    std::jthread stopper([&] {
        std::this_thread::sleep_for(100ms);
        source.request_stop();
    });
    auto begin = std::chrono::steady_clock::now();
    auto stopped = session->query_untrusted(
        "select count(*) from range(10000000) a, range(10000000) b, range(99999) c", {},
        Deadline::after(1h, source.get_token()));
    EXPECT_EQ(stopped.error().code, ErrorCode::Cancelled);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
    EXPECT_EQ(session->query_untrusted("select 1", {}, Deadline::after(-1ms)).error().code,
              ErrorCode::DeadlineExceeded);
    EXPECT_TRUE(session->query_untrusted("select 1", {}, Deadline::never()));
}

TEST_F(SandboxTest, MemoryAndTemporarySpaceAreBounded) {
    const char* sort =
        "select sum(r) from (select range r, sha256(range::varchar) h from range(1500000) order by "
        "h "
        "limit 1499999)";
    QueryLimits limits;
    limits.time = 300s;
    LocalEngineOptions small = options();
    small.memory_limit_mb = 64;
    for (int64_t temp_mb : {512, 8}) {
        small.max_temp_mb = temp_mb;
        auto engine = open_local_engine(small).value();
        auto session = engine->open_session().value();
        ASSERT_TRUE(session->lock_down());
        auto sorted = session->query_untrusted(sort, limits, Deadline::never());
        if (temp_mb > 100) {
            ASSERT_TRUE(sorted) << sorted.error().to_string();  // by spilling
        } else {
            ASSERT_FALSE(sorted);
            EXPECT_EQ(sorted.error().code, ErrorCode::ResourceExhausted)
                << sorted.error().to_string();
        }
        EXPECT_TRUE(session->query_untrusted("select 1", limits, Deadline::never()));
    }
    EXPECT_TRUE(std::filesystem::is_empty(folder_ / "tmp"));
}

TEST_F(SandboxTest, GrowthThatDuckDBDoesNotCountIsStoppedToo) {
    auto session = locked_session();
    QueryLimits limits;
    limits.time = 300s;
    int64_t before = resident_bytes();
    auto doubled = session->query_untrusted(
        "with recursive a as (select 'x' s, 1 i union all select s || s, i + 1 from a where i < "
        "31) select max(length(s)) from a",
        limits, Deadline::never());
    ASSERT_FALSE(doubled);
    EXPECT_EQ(doubled.error().code, ErrorCode::ResourceExhausted) << doubled.error().to_string();
    EXPECT_LT(resident_bytes() - before, int64_t{2} << 30);
    EXPECT_TRUE(session->query_untrusted("select 1", limits, Deadline::never()));
}

TEST_F(SandboxTest, AHeavyQueryDoesNotEndALightOneBesideIt) {
    const char* heavy =
        "with recursive a as (select 'x' s, 1 i union all select s || s, i + 1 from a where i < "
        "31) select max(length(s)) from a";
    const char* light = "select count(*) from range(10000000) a, range(10000000) b";
    QueryLimits limits;
    limits.time = 300s;
    std::stop_source stopper;
    std::atomic<bool> begun = false;
    Result<QueryResult> ended = fail(ErrorCode::Internal, "not run");
    std::jthread beside([&] {
        auto session = locked_session();
        begun = true;
        ended = session->query_untrusted(light, limits, Deadline::after(1h, stopper.get_token()));
    });
    while (!begun) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(50ms);
    auto session = locked_session();
    for (int i = 0; i < 3; ++i) {
        auto stopped = session->query_untrusted(heavy, limits, Deadline::never());
        ASSERT_FALSE(stopped);
        EXPECT_EQ(stopped.error().code, ErrorCode::ResourceExhausted)
            << stopped.error().to_string();
    }
    stopper.request_stop();
    beside.join();
    ASSERT_FALSE(ended);
    EXPECT_EQ(ended.error().code, ErrorCode::Cancelled) << "by its caller, not by the watchdog";
}

TEST_F(SandboxTest, RandomTextsNeitherCrashNorEscape) {
    std::vector<Case> seeds = read_cases("allowed.case");
    std::vector<Case> refused = read_cases("refused.case");
    auto session = locked_session();
    std::string before = state_of_folder();
    QueryLimits limits;
    limits.rows = 10;
    limits.time = 200ms;
    uint64_t state = 20261123;
    auto random = [&](size_t below) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        return static_cast<size_t>(state >> 33) % below;
    };
    for (int i = 0; i < 400; ++i) {
        std::string sql = seeds[random(seeds.size())].sql;
        const std::string& other =
            random(2) ? seeds[random(seeds.size())].sql : refused[random(refused.size())].sql;
        switch (random(4)) {
            case 0:
                sql.insert(random(sql.size() + 1), other.substr(random(other.size())));
                break;
            case 1:
                sql[random(sql.size())] = static_cast<char>(random(256));
                break;
            case 2:
                sql.erase(random(sql.size()), random(8) + 1);
                break;
            default:
                sql = "select * from (" + sql + ") a, (" + other + ") b";
                break;
        }
        (void)session->query_untrusted(sql, limits, Deadline::never());
    }
    EXPECT_EQ(state_of_folder(), before) << "seed 20261123";
    EXPECT_EQ(
        session->query_untrusted("select count(*) from reports", {}, Deadline::never())->rows[0][0],
        "4");
}

}  // namespace
}  // namespace px::engine
