#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/sha256.h"
#include "capi/sqlite/sqlite.h"
#include "catalog/catalog.h"
#include "catalog/conformance.h"
#include "catalog/sqlite/migrations.h"

namespace px::catalog {
namespace {

std::string bytes_of(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::stringstream all;
    all << in.rdbuf();
    return all.str();
}

class SqlitePlace final : public CatalogPlace {
  public:
    explicit SqlitePlace(std::filesystem::path file) : file_(std::move(file)) {}
    Result<std::unique_ptr<Catalog>> open(OpenMode mode, const Clock& clock,
                                          size_t connections_max) override {
        return open_sqlite_catalog(
            file_, mode, clock,
            {.busy_timeout = std::chrono::minutes(2), .connections_max = connections_max});
    }
    int64_t kept_documents() override {
        return sqlite::Database::open(file_, {})
            ->query_int64("select count(*) from analytics_metadata")
            .value()
            .value();
    }
    std::vector<std::string> current_titles() override {
        sqlite::Database database = sqlite::Database::open(file_, {}).value();
        sqlite::Statement rows =
            database.prepare("select title from documents order by document_id, ds").value();
        std::vector<std::string> titles;
        while (rows.step().value()) titles.emplace_back(rows.column_text(0));
        return titles;
    }

  private:
    std::filesystem::path file_;
};

INSTANTIATE_TEST_SUITE_P(Sqlite, CatalogConformance,
                         ::testing::Values(CatalogUnderTest{
                             "Sqlite",
                             [](const std::filesystem::path& scratch) {
                                 return std::make_unique<SqlitePlace>(scratch / "catalog.db");
                             }}),
                         conformance_name);

class SqliteCatalogTest : public ::testing::Test {
  protected:
    void SetUp() override {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "px_catalog_XXXXXX").string();
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    std::filesystem::path file() const { return folder_ / "catalog.db"; }
    std::unique_ptr<Catalog> open(OpenMode mode = OpenMode::ReadWrite,
                                  const SqliteCatalogOptions& options = {}) {
        Result<std::unique_ptr<Catalog>> opened =
            open_sqlite_catalog(file(), mode, clock_, options);
        EXPECT_TRUE(opened) << opened.error().to_string();
        return opened ? std::move(opened).value() : nullptr;
    }
    std::vector<std::string> names() const {
        std::vector<std::string> found;
        for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
            found.push_back(entry.path().filename().string());
        }
        std::sort(found.begin(), found.end());
        return found;
    }
    Result<Release> publish(Catalog& catalog, const std::string& ds,
                            std::vector<Publication::Partition> documents) {
        catalog::Run run = catalog.begin_run(ds, "pipeline: x", "fp-" + ds).value();
        Publication publication;
        publication.release.run = run.id;
        publication.release.ds = ds;
        publication.release.table_versions = {{"reports", ++version_}};
        publication.release.index_manifest = "m-" + std::to_string(version_);
        publication.release.chunks = 7;
        publication.documents = std::move(documents);
        publication.report = [](const Release&) { return "{\"rows\":1}"; };
        return catalog.publish(publication);
    }
    std::filesystem::path folder_;
    FixedClock clock_{1'764'000'000'000'000};
    int64_t version_ = 0;
};

TEST(RunState, StatesHaveNames) {
    for (RunState state : {RunState::Running, RunState::Published, RunState::Unchanged,
                           RunState::Halted, RunState::Failed}) {
        EXPECT_EQ(parse_run_state(run_state_name(state)), state);
    }
    EXPECT_EQ(run_state_name(RunState::Halted), "halted");
    EXPECT_EQ(parse_run_state("gone"), std::nullopt);
}

TEST_F(SqliteCatalogTest, OpeningAndReadingLeavesTheFileByteIdentical) {
    {
        auto catalog = open();
        ASSERT_TRUE(publish(*catalog, "2026-11-23",
                            {{"r", "2026-11-23", {document("r", "2026-11-23", "1", "t")}}}));
    }
    EXPECT_THAT(names(), ElementsAre("catalog.db"));
    std::string before = sha256_hex(bytes_of(file()));
    auto written = std::filesystem::last_write_time(file());
    for (OpenMode mode : {OpenMode::ReadWrite, OpenMode::ReadOnly}) {
        {
            auto catalog = open(mode);
            EXPECT_EQ(catalog->documents(ReleaseId{1}, 10, 0).value().size(), 1u);
            EXPECT_TRUE(catalog->latest_release().value());
            EXPECT_TRUE(catalog->unfinished_runs().value().empty());
        }
        EXPECT_EQ(sha256_hex(bytes_of(file())), before);
        EXPECT_EQ(std::filesystem::last_write_time(file()), written);
        EXPECT_THAT(names(), ElementsAre("catalog.db"));
    }
}

TEST_F(SqliteCatalogTest, AReaderMakesNoFilesAndRefusesToWrite) {
    EXPECT_EQ(open_sqlite_catalog(file(), OpenMode::ReadOnly, clock_).error().code,
              ErrorCode::NotFound);
    { open(); }
    auto reader = open(OpenMode::ReadOnly);
    EXPECT_EQ(reader->latest_release().value(), std::nullopt);
    EXPECT_THAT(names(), ElementsAre("catalog.db"));
    EXPECT_EQ(reader->begin_run("2026-11-23", "", "").error().code, ErrorCode::Forbidden);
    EXPECT_EQ(reader->publish({}).error().code, ErrorCode::Forbidden);
}

TEST_F(SqliteCatalogTest, ALockHeldTooLongIsUnavailable) {
    auto catalog = open(OpenMode::ReadWrite, {.busy_timeout = std::chrono::milliseconds(30)});
    sqlite::Database other =
        sqlite::Database::open(file(), {.mode = sqlite::OpenMode::ReadWrite}).value();
    auto held = sqlite::Transaction::begin(other, sqlite::Transaction::Kind::Immediate);
    ASSERT_TRUE(held);
    EXPECT_EQ(catalog->begin_run("2026-11-23", "", "").error().code, ErrorCode::Unavailable);
    EXPECT_TRUE(catalog->runs(1));
    EXPECT_EQ(open_sqlite_catalog(file(), OpenMode::ReadWrite, clock_, {.connections_max = 0})
                  .error()
                  .code,
              ErrorCode::InvalidArgument);
}

TEST_F(SqliteCatalogTest, ForeignNewerAndBrokenFilesAreRefused) {
    {
        sqlite::Database::open(file(), {.mode = sqlite::OpenMode::Create})
            ->exec("create table mine(a)")
            .value();
    }
    std::string before = bytes_of(file());
    Result<std::unique_ptr<Catalog>> foreign =
        open_sqlite_catalog(file(), OpenMode::ReadWrite, clock_);
    ASSERT_FALSE(foreign);
    EXPECT_EQ(foreign.error().code, ErrorCode::InvalidArgument);
    EXPECT_EQ(bytes_of(file()), before);
    std::filesystem::remove(file());
    { open(); }
    {
        auto raw = sqlite::Database::open(file(), {.mode = sqlite::OpenMode::ReadWrite});
        ASSERT_TRUE(raw->exec("insert into schema_version values (99, '', 'of tomorrow')"));
    }
    for (OpenMode mode : {OpenMode::ReadWrite, OpenMode::ReadOnly}) {
        Result<std::unique_ptr<Catalog>> newer = open_sqlite_catalog(file(), mode, clock_);
        ASSERT_FALSE(newer);
        EXPECT_EQ(newer.error().code, ErrorCode::InvalidArgument);
        EXPECT_NE(newer.error().hint.find("newer px"), std::string::npos);
    }
    std::ofstream(file(), std::ios::binary) << std::string(8192, 'z');
    EXPECT_EQ(open_sqlite_catalog(file(), OpenMode::ReadWrite, clock_).error().code,
              ErrorCode::Corrupt);
    EXPECT_EQ(open_sqlite_catalog(file(), OpenMode::ReadOnly, clock_).error().code,
              ErrorCode::Corrupt);
    EXPECT_EQ(open_sqlite_catalog(folder_ / "no" / "catalog.db", OpenMode::ReadWrite, clock_)
                  .error()
                  .code,
              ErrorCode::NotFound);
}

TEST_F(SqliteCatalogTest, AFileWhoseMakerDiedBeforeItsFirstTablesIsNoCatalogYet) {
    for (const char* const left : {"", "pragma journal_mode = wal"}) {
        std::filesystem::remove(file());
        sqlite::Database::open(file(), {.mode = sqlite::OpenMode::Create})->exec(left).value();
        EXPECT_EQ(open_sqlite_catalog(file(), OpenMode::ReadOnly, clock_).error().code,
                  ErrorCode::NotFound);
        ASSERT_TRUE(open_sqlite_catalog(file(), OpenMode::ReadWrite, clock_));
        ASSERT_TRUE(open_sqlite_catalog(file(), OpenMode::ReadOnly, clock_));
    }
}

TEST_F(SqliteCatalogTest, MigrationsGoForwardStepByStepAndAFailedOneLeavesTheLastGood) {
    sqlite::Database database =
        sqlite::Database::open(file(), {.mode = sqlite::OpenMode::Create}).value();
    std::vector<Migration> steps = {{"one", "create table a(x); insert into a values (1)"}};
    ASSERT_TRUE(migrate(database, steps, clock_));
    steps.push_back({"two", "alter table a add column y; update a set y = x + 1"});
    EXPECT_EQ(check_version(database, steps).error().code, ErrorCode::Conflict);
    ASSERT_TRUE(migrate(database, steps, clock_));
    ASSERT_TRUE(check_version(database, steps));
    EXPECT_EQ(database.query_int64("select y from a").value(), 2);
    steps.push_back({"three", "create table b(x); this is not sql"});
    EXPECT_FALSE(migrate(database, steps, clock_));
    EXPECT_EQ(schema_version(database).value(), 2);
    EXPECT_EQ(database.query_int64("select count(*) from sqlite_schema where name = 'b'").value(),
              0);
    steps[2].sql = "create table b(x)";
    ASSERT_TRUE(migrate(database, steps, clock_));
    EXPECT_EQ(database.query_text("select group_concat(version || description) from schema_version")
                  .value(),
              "1one,2two,3three");
}

}  // namespace
}  // namespace px::catalog
