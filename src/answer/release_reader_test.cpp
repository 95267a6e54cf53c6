#include "answer/release_reader.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/file.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "answer/test_release.h"
#include "engine/local/local_engine.h"

namespace px::answer {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

AsOf by_id(int64_t id) { return {id, std::nullopt}; }
AsOf by_time(TimestampMicros time) { return {std::nullopt, time}; }

TEST(ParseAsOf, ReadsReleasesDaysAndTimes) {
    const auto time = [](std::string_view text) { return parse_as_of(text)->time; };
    EXPECT_FALSE(parse_as_of("")->release);
    EXPECT_FALSE(parse_as_of("")->time);
    EXPECT_EQ(parse_as_of("12")->release, 12);
    EXPECT_FALSE(parse_as_of("12")->time);
    constexpr int64_t kMidnight = 20'780LL * 86'400'000'000;  // 2026-11-23
    EXPECT_EQ(*parse_date("2026-11-23"), 20'780);
    EXPECT_EQ(time("2026-11-23"), kMidnight + 86'400'000'000 - 1);
    EXPECT_EQ(time("2026-11-23T08:00:00Z"), kMidnight + 8 * 3'600'000'000LL);
    EXPECT_EQ(time("2026-11-23 08:00"), kMidnight + 8 * 3'600'000'000LL);
    EXPECT_EQ(time("2026-11-23T08:00:00.25Z"), kMidnight + 8 * 3'600'000'000LL + 250'000);
    EXPECT_EQ(time("2026-11-23T08:00:00+02:00"), kMidnight + 6 * 3'600'000'000LL);
    EXPECT_EQ(time("2026-11-23T22:00:00-0230"), kMidnight + 24 * 3'600'000'000LL + 1'800'000'000);
}

TEST(ParseAsOf, RefusesEverythingElse) {
    for (const char* bad :
         {"0", "-1", "abc", "2026-13-01", "2026-02-30", "2026-11-23T", "2026-11-23T25:00",
          "2026-11-23T08", "2026-11-23T08:00:61", "2026-11-23T08:00:00X", "2026-11-23T08:00:00+2",
          "2026-11-23T08:00:00.Z", "2026-11-23T08:00:00+02:0x", "99999999999999999999", "2026-1-1",
          "2026-11-23T08:00:00+02:00:00", "1e3", " 12"}) {
        EXPECT_THAT(parse_as_of(bad), IsError(ErrorCode::InvalidArgument, "release id")) << bad;
    }
}

class ReleaseReaderTest : public ::testing::Test {
  protected:
    void SetUp() override {
        engine::LocalEngineOptions options;
        options.thread_count = 1;
        options.temp_directory = folder_ / "spill";
        engine_ = *engine::open_local_engine(options);
        catalog_ = *catalog::open_sqlite_catalog(folder_ / "catalog.db",
                                                 catalog::OpenMode::ReadWrite, clock_);
        vectors_ = *index::open_embedded_store(objects_);
        reader_ = make();
    }

    std::unique_ptr<ReleaseReader> make(size_t views = 2) {
        return std::make_unique<ReleaseReader>(
            *catalog_, *vectors_, lake_, *engine_, clock_,
            ReleaseReaderOptions{.open_views = views, .scratch_directory = folder_ / "scratch"});
    }

    /// Commits a file of rows to the partition ds of table reports and publishes a release with one
    /// document.
    int64_t publish(const std::string& ds,
                    const std::vector<std::pair<std::string, int64_t>>& rows) {
        const columnar::Schema file_schema{{{"id", {columnar::TypeId::String}, true},
                                            {"revenue", {columnar::TypeId::Int64}, true}}};
        columnar::Schema table_schema = file_schema;
        table_schema.fields.push_back({"ds", {columnar::TypeId::String}, true});
        auto writer = *columnar::ParquetWriter::create(folder_ / "part", file_schema, {});
        columnar::RecordBatch batch(file_schema);
        for (const auto& [id, revenue] : rows) {
            batch.column(0).append_bytes(id);
            batch.column(1).append_int64(revenue);
        }
        EXPECT_THAT(writer->write(batch), IsOk());
        const auto info = *writer->close();
        const std::string path = fmt::format("part-{}-{}.parquet", ds, ++files_);
        EXPECT_THAT(lake_.put_file("reports/" + path, folder_ / "part"), IsOk());
        lake::DeltaTable table(lake_, "reports", clock_);
        const auto base = *table.snapshot();
        lake::Change change;
        if (!base) {
            change.schema = table_schema;
            change.partition_columns = {"ds"};
        }
        change.add.push_back({path,
                              {{"ds", ds}},
                              info.size_bytes,
                              0,
                              true,
                              lake::make_stats_json(file_schema, info)});
        const auto version = table.commit(base, change);
        EXPECT_THAT(version, IsOk());
        clock_.set(clock_.now() + 3'600'000'000);
        catalog::DocumentRow document;
        document.document_id = "reports/" + ds;
        document.source = "reports";
        document.ds = ds;
        document.id = ds;
        document.title = "Report's \"title\" " + ds;
        document.text_sha256 = sha256_hex("");
        catalog::Publication publication;
        publication.release.run = (*catalog_->begin_run(ds, "", "")).id;
        publication.release.ds = ds;
        publication.release.index_manifest =
            (*vectors_->apply(std::nullopt, {}, {}, Deadline::never())).value;
        publication.release.table_versions = {{"reports", version->value}};
        publication.documents.push_back({"reports", ds, {document}});
        const auto release = catalog_->publish(publication);
        EXPECT_THAT(release, IsOk());
        return release->id.value;
    }

    std::vector<std::vector<std::optional<std::string>>> sql(const std::string& as_of,
                                                             const std::string& statement) {
        const auto view = reader_->open(*parse_as_of(as_of), Access::everything());
        EXPECT_THAT(view, IsOk());
        const auto result = reader_->sql(**view, statement, {}, Deadline::never());
        EXPECT_THAT(result, IsOk()) << statement;
        return result ? result->rows : std::vector<std::vector<std::optional<std::string>>>{};
    }

    px::testing::TempDir folder_;
    FixedClock clock_{1'763'884'800'000'000};
    store::MemoryObjectStore objects_;
    store::MemoryObjectStore lake_;
    std::unique_ptr<engine::Engine> engine_;
    std::unique_ptr<catalog::Catalog> catalog_;
    std::unique_ptr<index::VectorStore> vectors_;
    std::unique_ptr<ReleaseReader> reader_;
    int files_ = 0;
};

TEST_F(ReleaseReaderTest, SaysThatThereIsNoReleaseYet) {
    EXPECT_THAT(reader_->open({}, Access::everything()), IsError(ErrorCode::NotFound, "px run"));
    EXPECT_THAT(reader_->open(*parse_as_of("3"), Access::everything()),
                IsError(ErrorCode::NotFound, "px run"));
}

TEST_F(ReleaseReaderTest, OpensTheNewestOneByIdAndByTime) {
    const TimestampMicros start = clock_.now();
    const int64_t first = publish("2026-11-22", {{"a", 1}});
    const TimestampMicros between = clock_.now();
    const int64_t second = publish("2026-11-23", {{"b", 2}, {"c", 3}});
    const auto opened = [&](const AsOf& as_of) {
        return (*reader_->open(as_of, Access::everything()))->release.id.value;
    };
    EXPECT_EQ(opened({}), second);
    EXPECT_EQ(opened(by_id(first)), first);
    EXPECT_EQ(opened(by_time(between)), first);
    EXPECT_EQ(opened(by_time(clock_.now())), second);
    EXPECT_THAT(reader_->open(by_id(77), Access::everything()),
                IsError(ErrorCode::NotFound, "no release 77"));
    EXPECT_THAT(reader_->open(by_time(start), Access::everything()),
                IsError(ErrorCode::NotFound, "no release at"));
    EXPECT_EQ(*reader_->open({}, Access::everything()),
              *reader_->open(by_id(second), Access::everything()))
        << "a view is opened once";
    // The next question sees what was published since the one before.
    const int64_t third = publish("2026-11-24", {{"d", 4}});
    EXPECT_EQ(opened({}), third);
    EXPECT_EQ(opened({}), third);
    EXPECT_EQ(opened(by_time(between)), first);
}

TEST_F(ReleaseReaderTest, AnswersSqlFromTheReleasesOwnVersions) {
    publish("2026-11-22", {{"a", 1}});
    publish("2026-11-23", {{"b", 2}, {"c", 3}});
    const std::string sum = "select count(*), sum(revenue), min(ds) from reports";
    EXPECT_THAT(sql("", sum), ElementsAre(ElementsAre("3", "6", "2026-11-22")));
    EXPECT_THAT(sql("1", sum), ElementsAre(ElementsAre("1", "1", "2026-11-22")));
    EXPECT_THAT(sql("2", "select id from reports where ds = '2026-11-23' order by id"),
                ElementsAre(ElementsAre("b"), ElementsAre("c")));
}

TEST_F(ReleaseReaderTest, OffersTheDocumentsAsATable) {
    publish("2026-11-22", {{"a", 1}});
    publish("2026-11-23", {{"b", 2}});
    EXPECT_THAT(
        sql("", "select document_id, title, author from documents order by 1"),
        ElementsAre(
            ElementsAre("reports/2026-11-22", "Report's \"title\" 2026-11-22", std::nullopt),
            ElementsAre("reports/2026-11-23", "Report's \"title\" 2026-11-23", std::nullopt)));
    EXPECT_THAT(sql("1", "select count(*) from ANALYTICS_metadata"), ElementsAre(ElementsAre("1")));
    EXPECT_THAT(
        sql("", "select count(*) from documents d join analytics_metadata m using (document_id)"),
        ElementsAre(ElementsAre("2")));
    reader_.reset();
    EXPECT_TRUE(std::filesystem::is_empty(folder_ / "scratch"))
        << "the reader takes its files away";
}

TEST_F(ReleaseReaderTest, LetsUsersOnlyRead) {
    publish("2026-11-22", {{"a", 1}});
    const auto view = *reader_->open({}, Access::everything());
    for (const char* bad :
         {"delete from reports", "select 1; select 2", "copy reports to '/tmp/x'",
          "select * from read_csv('/etc/passwd')", "attach 'x.db'", "create table x as select 1"}) {
        EXPECT_THAT(reader_->sql(*view, bad, {}, Deadline::never()),
                    IsError(ErrorCode::InvalidArgument))
            << bad;
    }
    EXPECT_THAT(reader_->sql(*view, "select * from nowhere", {}, Deadline::never()),
                IsError(ErrorCode::InvalidArgument));
}

TEST_F(ReleaseReaderTest, BindsParametersOfTrustedQueries) {
    publish("2026-11-22", {{"a", 1}, {"o'b", 5}});
    const auto view = *reader_->open({}, Access::everything());
    const auto result = reader_->query(*view, "select revenue from reports where id = $1", {"o'b"},
                                       {}, Deadline::never());
    ASSERT_THAT(result, IsOk());
    EXPECT_THAT(result->rows, ElementsAre(ElementsAre("5")));
}

TEST_F(ReleaseReaderTest, DescribesTheTables) {
    publish("2026-11-22", {{"a", 1}});
    publish("2026-11-23", {{"b", 2}, {"c", 3}});
    const auto tables = reader_->tables(**reader_->open({}, Access::everything()));
    ASSERT_THAT(tables, IsOk());
    ASSERT_THAT(*tables, SizeIs(1));
    EXPECT_EQ((*tables)[0].name, "reports");
    EXPECT_EQ((*tables)[0].version, 1);
    EXPECT_EQ((*tables)[0].file_count, 2);
    EXPECT_EQ((*tables)[0].row_count, 3);
    EXPECT_GT((*tables)[0].size_bytes, 0);
    EXPECT_THAT((*tables)[0].partition_columns, ElementsAre("ds"));
    EXPECT_EQ((*tables)[0].schema.fields.size(), 3U);
}

TEST_F(ReleaseReaderTest, NamesTheReleaseAndTableOfADamagedLake) {
    publish("2026-11-22", {{"a", 1}});
    const auto objects = *lake_.list("reports/_delta_log/");
    for (const auto& object : objects) ASSERT_THAT(lake_.remove(object.key), IsOk());
    const auto view = *reader_->open({}, Access::everything());
    EXPECT_THAT(reader_->tables(*view), IsError(ErrorCode::NotFound, "table reports of release 1"));
    EXPECT_THAT(reader_->sql(*view, "select 1", {}, Deadline::never()),
                IsError(ErrorCode::NotFound, "table reports of release 1"));
}

TEST_F(ReleaseReaderTest, RunsABoundedNumberOfQueriesAtOnce) {
    publish("2026-11-22", {{"a", 1}});
    ReleaseReaderOptions options;
    options.sql_sessions = 1;
    ReleaseReader reader(*catalog_, *vectors_, lake_, *engine_, clock_, options);
    const auto view = *reader.open({}, Access::everything());
    std::stop_source stopper;
    std::jthread busy([&] {
        (void)reader.sql(*view, "select count(*) from range(10000000) a, range(10000000) b", {},
                         {std::chrono::steady_clock::time_point::max(), stopper.get_token()});
    });
    engine::QueryLimits limits;
    limits.time = std::chrono::milliseconds(300);
    // The busy one may not have begun yet: then these go before it.
    Result<engine::QueryResult> refused = reader.sql(*view, "select 1", limits, Deadline::never());
    for (int i = 0; i < 100 && refused; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        refused = reader.sql(*view, "select 1", limits, Deadline::never());
    }
    EXPECT_THAT(refused, IsError(ErrorCode::RateLimited, "1 SQL queries run already"));
    EXPECT_THAT(
        reader.query(*view, "select 1", {}, {}, Deadline::after(std::chrono::milliseconds(50))),
        IsError(ErrorCode::RateLimited));
    std::stop_source given_up;
    given_up.request_stop();
    EXPECT_THAT(reader.sql(*view, "select 1", {},
                           {std::chrono::steady_clock::time_point::max(), given_up.get_token()}),
                IsError(ErrorCode::Cancelled));
    stopper.request_stop();
    EXPECT_THAT(reader.sql(*view, "select 1", {}, Deadline::never()), IsOk())
        << "it waits its turn";
}

TEST_F(ReleaseReaderTest, KeepsAFewViewsOpenAndServesManyThreads) {
    for (int i = 0; i < 4; ++i) publish(fmt::format("2026-11-2{}", i), {{"a", i}});
    reader_ = make(2);
    std::atomic<int> right = 0;
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; ++t) {
            threads.emplace_back([&, t] {
                for (int i = 0; i < 6; ++i) {
                    const int64_t id = 1 + (t + i) % 4;
                    const auto view = reader_->open(by_id(id), Access::everything());
                    if (!view || (*view)->release.id.value != id) continue;
                    const auto result = reader_->query(**view, "select count(*) from documents", {},
                                                       {}, Deadline::never());
                    if (result && result->rows[0][0] == std::to_string(id)) ++right;
                }
            });
        }
    }
    EXPECT_EQ(right, 24);
}

TEST_F(ReleaseReaderTest, SqlOfManyThreadsOverManyReleasesAndReadersStaysApart) {
    for (int i = 0; i < 3; ++i) publish(fmt::format("2026-11-2{}", i), {{"finance", i}, {"*", 7}});
    ReleaseReaderOptions options{
        .open_views = 2, .scratch_directory = folder_ / "scratch", .sql_sessions = 3};
    options.policy.tables = {{"reports", {"id"}}};  // whose values are its groups
    options.narrowed_views = 2;
    ReleaseReader reader(*catalog_, *vectors_, lake_, *engine_, clock_, options);
    std::atomic<int> right = 0;
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; ++t) {
            threads.emplace_back([&, t] {
                for (int i = 0; i < 12; ++i) {
                    const int64_t id = 1 + (t + i) % 3;
                    const int who = (t * 5 + i) % 3;
                    const auto view = reader.open(by_id(id), who == 0   ? Access::everything()
                                                             : who == 1 ? Access::of({"finance"})
                                                                        : Access::of({}));
                    if (!view) continue;
                    const auto result = reader.sql(
                        **view,
                        i % 2 == 0 ? "select count(*) from reports"
                                   : "select count(*) from reports where id in (select id from "
                                     "reports) or exists (select 1 from documents)",
                        {}, Deadline::never());
                    const int64_t rows = who == 2 ? id : 2 * id;
                    if (result && result->rows[0][0] == std::to_string(rows)) ++right;
                }
            });
        }
    }
    EXPECT_EQ(right, 48);
    EXPECT_TRUE(reader.restricts(Access::of({})));
    EXPECT_FALSE(reader.restricts(Access::everything()));
}

TEST_F(ReleaseReaderTest, WhatAKilledReaderLeftIsRemoved) {
    const auto folder = [&](const char* name) {
        const auto path = folder_ / "scratch" / name;
        std::filesystem::create_directories(path);
        std::ofstream(path / "narrowed-1-0.parquet") << "rows";
        return path;
    };
    const auto killed = folder("reader-killed"), living = folder("reader-living");
    const auto begun = folder("reader-begun");  // has no lock yet
    std::ofstream(killed / "lock").close();
    const int lock = ::open((living / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ASSERT_EQ(::flock(lock, LOCK_EX), 0);
    reader_ = make();
    EXPECT_FALSE(std::filesystem::exists(killed));
    EXPECT_TRUE(std::filesystem::exists(living / "narrowed-1-0.parquet"));
    EXPECT_TRUE(std::filesystem::exists(begun));
    ::close(lock);
    reader_ = make();
    EXPECT_FALSE(std::filesystem::exists(living));
}

}  // namespace
}  // namespace px::answer
