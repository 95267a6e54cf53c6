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
#include "catalog/sqlite/migrations.h"

namespace px::catalog {
namespace {

using testing::ElementsAre;
using testing::Pair;

std::string bytes_of(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    std::stringstream all;
    all << in.rdbuf();
    return all.str();
}

DocumentRow document(const std::string& source, const std::string& ds, const std::string& id,
                     const std::string& title) {
    DocumentRow row;
    row.document_id = source + "/" + id;
    row.source = source;
    row.ds = ds;
    row.id = id;
    row.title = title;
    row.author = "Ada";
    row.category = "Report";
    row.created_at = 1'700'000'000'123'456;
    row.ingested_at = 1'800'000'000'000'000;
    row.landed_key = source + "/" + ds + "/abc";
    row.landed_sha256 = "abc";
    row.path = "data/x.csv";
    row.line = 3;
    row.byte_start = 10;
    row.byte_end = 99;
    row.offsets_are_raw = false;
    row.text_sha256 = sha256_hex(title);
    row.text_length = 7;
    row.extra_json = "{\"text_offset\":4}";
    return row;
}

class SqliteCatalogTest : public testing::Test {
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
    std::vector<std::string> titles(Catalog& catalog, int64_t release) {
        std::vector<DocumentRow> rows = catalog.documents(ReleaseId{release}, 1000, 0).value();
        std::vector<std::string> all;
        for (const DocumentRow& row : rows) all.push_back(row.title);
        return all;
    }
    std::filesystem::path folder_;
    FixedClock clock_{1'764'000'000'000'000};
    int64_t version_ = 0;
};

TEST_F(SqliteCatalogTest, RunStatesHaveNames) {
    for (RunState state : {RunState::Running, RunState::Published, RunState::Unchanged,
                           RunState::Halted, RunState::Failed}) {
        EXPECT_EQ(parse_run_state(run_state_name(state)), state);
    }
    EXPECT_EQ(run_state_name(RunState::Halted), "halted");
    EXPECT_EQ(parse_run_state("gone"), std::nullopt);
}

TEST_F(SqliteCatalogTest, RunsAreNumberedByTheirDayAndComeBack) {
    auto catalog = open();
    catalog::Run first = catalog->begin_run("2026-11-23", "text: \"a\"", "fp1").value();
    catalog::Run second = catalog->begin_run("2026-11-23", "", "fp2").value();
    catalog::Run other = catalog->begin_run("2026-11-22", "", "fp3").value();
    EXPECT_EQ(first.id.value, "2026-11-23-0001");
    EXPECT_EQ(second.id.value, "2026-11-23-0002");
    EXPECT_EQ(other.id.value, "2026-11-22-0001");
    ASSERT_TRUE(
        catalog->finish_run(second.id, RunState::Halted, "revenue is missing", "{\"rows\":3}"));
    std::vector<catalog::Run> unfinished = catalog->unfinished_runs().value();
    ASSERT_EQ(unfinished.size(), 2u);
    EXPECT_EQ(unfinished[0].id, first.id);
    EXPECT_EQ(unfinished[0].pipeline_text, "text: \"a\"");
    EXPECT_EQ(unfinished[0].started_at, clock_.now());
    catalog::Run halted = catalog->run(second.id).value().value();
    EXPECT_EQ(halted.state, RunState::Halted);
    EXPECT_EQ(halted.finished_at, clock_.now());
    EXPECT_EQ(halted.message, "revenue is missing");
    EXPECT_EQ(halted.report_json, "{\"rows\":3}");
    EXPECT_EQ(halted.release, std::nullopt);
    std::vector<catalog::Run> newest = catalog->runs(2).value();
    ASSERT_EQ(newest.size(), 2u);
    EXPECT_EQ(newest[0].id, other.id);
    EXPECT_EQ(newest[1].id, second.id);
    EXPECT_EQ(catalog->runs(10).value()[2].pipeline_text, "");
    EXPECT_EQ(catalog->run(RunId{"2026-01-01-0001"}).value(), std::nullopt);
    EXPECT_EQ(catalog->finish_run(RunId{"none"}, RunState::Failed, "", "").error().code,
              ErrorCode::NotFound);
    EXPECT_EQ(catalog->finish_run(first.id, RunState::Published, "", "").error().code,
              ErrorCode::Conflict);
}

TEST_F(SqliteCatalogTest, TasksCountTheirAttemptsAndKeepTheirOutput) {
    auto catalog = open();
    RunId run = catalog->begin_run("2026-11-23", "", "").value().id;
    EXPECT_EQ(catalog->task_output(run, "stage.reports").value(), std::nullopt);
    EXPECT_EQ(catalog->begin_task(run, "stage.reports").value(), 1);
    EXPECT_EQ(catalog->begin_task(run, "stage.reports").value(), 2);  // the first was killed
    EXPECT_EQ(catalog->begin_task(run, "index").value(), 1);
    ASSERT_TRUE(catalog->finish_task(run, "stage.reports", 2, "done", "", "{\"files\":[1]}"));
    EXPECT_EQ(catalog->task_output(run, "stage.reports").value(), "{\"files\":[1]}");
    std::vector<TaskAttempt> tasks = catalog->tasks(run).value();
    ASSERT_EQ(tasks.size(), 3u);
    EXPECT_EQ(tasks[0].state, "failed");
    EXPECT_EQ(tasks[0].message, "ended without a word");
    EXPECT_EQ(tasks[1].state, "done");
    EXPECT_EQ(tasks[1].finished_at, clock_.now());
    EXPECT_EQ(tasks[2].state, "running");
    EXPECT_EQ(catalog->finish_task(run, "index", 9, "done", "", "").error().code,
              ErrorCode::NotFound);
    EXPECT_EQ(catalog->begin_task(RunId{"none"}, "index").error().code, ErrorCode::NotFound);
}

TEST_F(SqliteCatalogTest, LandedFilesChecksAndCountsAreRecordedOnce) {
    auto catalog = open();
    RunId run = catalog->begin_run("2026-11-23", "", "").value().id;
    LandedFile file{"reports", "2026-11-23", "data/a.csv", "reports/2026-11-23/ff", "ff", 12, 5};
    for (int i = 0; i < 2; ++i) {
        ASSERT_TRUE(catalog->record_landed(
            run, {file, {"reports", "2026-11-23", "data/b.csv", "k", "ee", 1, 6}}));
        ASSERT_TRUE(catalog->record_checks({{run, "reports", "select 1", "0", "1", false}}));
        ASSERT_TRUE(catalog->record_quarantine(run, {{run, "reports", "type", 4 + i}}));
    }
    std::vector<LandedFile> files = catalog->landed_files(run).value();
    ASSERT_EQ(files.size(), 2u);
    EXPECT_EQ(files[0].path, "data/a.csv");
    EXPECT_EQ(files[0].key, "reports/2026-11-23/ff");
    EXPECT_EQ(files[0].size_bytes, 12);
    EXPECT_EQ(files[0].landed_at, 5);
    std::vector<CheckResult> checks = catalog->checks(run).value();
    ASSERT_EQ(checks.size(), 1u);
    EXPECT_EQ(checks[0].expected, "0");
    EXPECT_EQ(checks[0].actual, "1");
    EXPECT_FALSE(checks[0].passed);
    std::vector<QuarantineCount> counts = catalog->quarantine_counts(run).value();
    ASSERT_EQ(counts.size(), 1u);
    EXPECT_EQ(counts[0].count, 5);
    EXPECT_EQ(catalog->record_landed(RunId{"none"}, {file}).error().code, ErrorCode::NotFound);
}

TEST_F(SqliteCatalogTest, PublishedFilesAreThoseOfTheNewestPublishedRunOfEachDay) {
    auto catalog = open();
    auto run_with = [&](const std::string& ds, std::vector<std::string> paths, bool published) {
        RunId run = catalog->begin_run(ds, "", "").value().id;
        std::vector<LandedFile> files;
        for (const std::string& path : paths)
            files.push_back({"r", ds, path, run.value + path, "s", 1, 1});
        EXPECT_TRUE(catalog->record_landed(run, files));
        Publication publication;
        publication.release.run = run;
        if (published) {
            EXPECT_TRUE(catalog->publish(publication));
        } else {
            EXPECT_TRUE(catalog->finish_run(run, RunState::Failed, "", ""));
        }
    };
    run_with("2026-11-22", {"b", "a"}, true);
    run_with("2026-11-23", {"x"}, true);
    run_with("2026-11-23", {"y"}, true);
    run_with("2026-11-22", {"c"}, false);
    run_with("2026-11-24", {"z"}, false);
    run_with("2026-11-23", {}, true);
    std::vector<LandedFile> files = catalog->published_files("r").value();
    std::vector<std::string> keys;
    for (const LandedFile& file : files) keys.push_back(file.ds + " " + file.key);
    EXPECT_THAT(keys, ElementsAre("2026-11-22 2026-11-22-0001a", "2026-11-22 2026-11-22-0001b",
                                  "2026-11-23 2026-11-23-0002y"));
    EXPECT_TRUE(catalog->published_files("s").value().empty());
}

TEST_F(SqliteCatalogTest, ALandedFileIsFoundByItsKeyWhateverBecameOfItsRun) {
    auto catalog = open();
    RunId first = catalog->begin_run("2026-11-22", "", "").value().id;
    ASSERT_TRUE(catalog->record_landed(first, {{"r", "2026-11-22", "old", "k", "s", 1, 1}}));
    RunId second = catalog->begin_run("2026-11-23", "", "").value().id;
    ASSERT_TRUE(catalog->record_landed(second, {{"r", "2026-11-23", "new", "k", "s", 1, 2}}));
    EXPECT_EQ(catalog->landed_file("k").value()->path, "new");
    EXPECT_FALSE(catalog->landed_file("none").value().has_value());
}

TEST_F(SqliteCatalogTest, AReleaseIsLaterThanThoseBeforeAndBegunOnTheNewest) {
    auto catalog = open();
    auto publication = [&](int64_t expected) {
        Publication made;
        made.release.run = catalog->begin_run("2026-11-23", "", "").value().id;
        made.expected_latest = expected;
        return made;
    };
    Release first = catalog->publish(publication(0)).value();
    clock_.set(clock_.now() - 1'000'000);  // a clock set back
    Release second = catalog->publish(publication(1)).value();
    EXPECT_GT(second.published_at, first.published_at);
    Result<Release> late = catalog->publish(publication(1));
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code, ErrorCode::Conflict);
    EXPECT_NE(late.error().message.find("release 2"), std::string::npos);
}

TEST_F(SqliteCatalogTest, AReleaseIsPublishedOnceAndHoldsEverything) {
    auto catalog = open();
    EXPECT_EQ(catalog->latest_release().value(), std::nullopt);
    catalog::Run run = catalog->begin_run("2026-11-23", "", "fp1").value();
    Publication publication;
    publication.release.run = run.id;
    publication.release.ds = "2026-11-23";
    publication.release.table_versions = {{"reports", 4}, {"embeddings", 9}};
    publication.release.index_manifest = "manifest-1";
    publication.release.input_fingerprints = {{"source/reports", "fp1"}};
    publication.release.chunks = 3;
    publication.documents = {
        {"reports", "2026-11-23", {document("reports", "2026-11-23", "1", "One")}}};
    publication.report = [](const Release& made) {
        return "{\"release\":" + std::to_string(made.id.value) + "}";
    };
    Release made = catalog->publish(publication).value();
    EXPECT_EQ(made.id.value, 1);
    clock_.set(clock_.now() + 1'000'000);
    publication.release.index_manifest = "another";
    Release again = catalog->publish(publication).value();
    EXPECT_EQ(again.id.value, 1);
    EXPECT_EQ(again.index_manifest, "manifest-1");
    Release found = catalog->latest_release().value().value();
    EXPECT_EQ(found.run, run.id);
    EXPECT_EQ(found.published_at, 1'764'000'000'000'000);
    EXPECT_THAT(found.table_versions, ElementsAre(Pair("embeddings", 9), Pair("reports", 4)));
    EXPECT_EQ(found.documents, 1);
    EXPECT_EQ(found.chunks, 3);
    EXPECT_THAT(found.input_fingerprints, ElementsAre(Pair("source/reports", "fp1")));
    catalog::Run ended = catalog->run(run.id).value().value();
    EXPECT_EQ(ended.state, RunState::Published);
    EXPECT_EQ(ended.release, ReleaseId{1});
    ASSERT_TRUE(catalog->finish_run(run.id, RunState::Published, "", "{\"late\":1}"));
    EXPECT_EQ(catalog->finish_run(run.id, RunState::Failed, "", "").error().code,
              ErrorCode::Conflict);

    DocumentRow row = catalog->document(ReleaseId{1}, "reports/1").value().value();
    DocumentRow expected = document("reports", "2026-11-23", "1", "One");
    EXPECT_EQ(row.title, "One");
    EXPECT_EQ(row.created_at, expected.created_at);
    EXPECT_EQ(row.ingested_at, expected.ingested_at);
    EXPECT_EQ(row.line, 3);
    EXPECT_EQ(row.byte_end, 99);
    EXPECT_FALSE(row.offsets_are_raw);
    EXPECT_EQ(row.extra_json, expected.extra_json);
    EXPECT_EQ(row.text_length, 7);
    EXPECT_EQ(catalog->document(ReleaseId{1}, "reports/2").value(), std::nullopt);
}

TEST_F(SqliteCatalogTest, OnlyChangedDocumentsAreTouched) {
    auto catalog = open();
    const std::string a = "2026-11-22", b = "2026-11-23";
    ASSERT_TRUE(publish(*catalog, a,
                        {{"r", a, {document("r", a, "1", "one"), document("r", a, "2", "two")}}}));
    ASSERT_TRUE(publish(
        *catalog, b,
        {{"r", b, {document("r", b, "3", "three")}}, {"s", b, {document("s", b, "1", "s1")}}}));
    DocumentRow same = document("r", a, "1", "one");
    same.ingested_at += 5;  // does not count
    DocumentRow changed = document("r", a, "2", "TWO");
    ASSERT_TRUE(publish(*catalog, a, {{"r", a, {same, changed, document("r", a, "4", "four")}}}));
    ASSERT_TRUE(publish(*catalog, b, {{"r", b, {}}}));
    EXPECT_THAT(titles(*catalog, 1), ElementsAre("one", "two"));
    EXPECT_THAT(titles(*catalog, 2), ElementsAre("one", "two", "three", "s1"));
    EXPECT_THAT(titles(*catalog, 3), ElementsAre("one", "TWO", "three", "four", "s1"));
    EXPECT_THAT(titles(*catalog, 4), ElementsAre("one", "TWO", "four", "s1"));
    EXPECT_EQ(catalog->document(ReleaseId{4}, "r/1").value()->ingested_at, same.ingested_at - 5);
    EXPECT_THAT(catalog->distinct_authors(ReleaseId{3}).value(), ElementsAre(Pair("Ada", 5)));
    EXPECT_EQ(catalog->documents(ReleaseId{3}, 2, 1).value()[0].title, "TWO");
    sqlite::Database raw = sqlite::Database::open(file(), {}).value();
    EXPECT_EQ(raw.query_int64("select count(*) from analytics_metadata").value(), 6);
    EXPECT_EQ(
        raw.query_int64("select count(*) from analytics_metadata where from_release = 3").value(),
        2);
    EXPECT_EQ(
        raw.query_text(
               "select group_concat(title) from (select title from documents order by document_id)")
            .value(),
        "one,TWO,four,s1");
    EXPECT_EQ(raw.query_text("select created_at from documents where id = '4'").value(),
              "2023-11-14T22:13:20.123456Z");
}

TEST_F(SqliteCatalogTest, EveryFieldOfADocumentCountsAsAChangeButIngestedAt) {
    auto catalog = open();
    const std::string ds = "2026-11-23";
    DocumentRow base = document("r", ds, "1", "t");
    ASSERT_TRUE(publish(*catalog, ds, {{"r", ds, {base}}}));
    std::vector<std::function<void(DocumentRow&)>> changes = {
        [](DocumentRow& d) { d.title += "x"; },
        [](DocumentRow& d) { d.author += "x"; },
        [](DocumentRow& d) { d.category += "x"; },
        [](DocumentRow& d) { d.created_at.reset(); },
        [](DocumentRow& d) { d.created_at = 1; },
        [](DocumentRow& d) { d.landed_key += "x"; },
        [](DocumentRow& d) { d.landed_sha256 += "x"; },
        [](DocumentRow& d) { d.path += "x"; },
        [](DocumentRow& d) { ++d.line; },
        [](DocumentRow& d) { ++d.byte_start; },
        [](DocumentRow& d) { ++d.byte_end; },
        [](DocumentRow& d) { d.offsets_are_raw = true; },
        [](DocumentRow& d) { d.text_sha256 += "x"; },
        [](DocumentRow& d) { ++d.text_length; },
        [](DocumentRow& d) { d.extra_json += " "; },
        [](DocumentRow& d) { d.id += "x"; },
    };
    int64_t rows = 1;
    auto count = [&] {
        return sqlite::Database::open(file(), {})
            ->query_int64("select count(*) from analytics_metadata")
            .value()
            .value();
    };
    for (const auto& change : changes) {
        change(base);
        ASSERT_TRUE(publish(*catalog, ds, {{"r", ds, {base}}}));
        EXPECT_EQ(count(), ++rows);
        base.ingested_at += 1;
        ASSERT_TRUE(publish(*catalog, ds, {{"r", ds, {base}}}));
        EXPECT_EQ(count(), rows);
    }
}

TEST_F(SqliteCatalogTest, ASourceAsAWholeReplacesEveryDay) {
    auto catalog = open();
    const std::string a = "2026-11-22", b = "2026-11-23";
    ASSERT_TRUE(publish(
        *catalog, a,
        {{"f", std::nullopt, {document("f", a, "1", "one"), document("f", a, "2", "two")}}}));
    ASSERT_TRUE(publish(
        *catalog, b,
        {{"f", std::nullopt, {document("f", a, "1", "one"), document("f", b, "3", "three")}}}));
    EXPECT_THAT(titles(*catalog, 1), ElementsAre("one", "two"));
    EXPECT_THAT(titles(*catalog, 2), ElementsAre("one", "three"));
}

TEST_F(SqliteCatalogTest, EachReleaseKeepsTheFingerprintsItWasPublishedWith) {
    auto catalog = open();
    const std::vector<std::map<std::string, std::string>> published = {
        {{"source/a", "1"}}, {{"source/a", "1"}, {"source/b", "2"}}, {{"source/b", "3"}}};
    for (const auto& fingerprints : published) {
        Publication publication;
        publication.release.run = catalog->begin_run("2026-11-22", "", "fp").value().id;
        publication.release.input_fingerprints = fingerprints;
        ASSERT_TRUE(catalog->publish(publication));
    }
    for (size_t i = 0; i < published.size(); ++i) {
        const ReleaseId id{static_cast<int64_t>(i) + 1};
        EXPECT_EQ(catalog->release(id).value()->input_fingerprints, published[i]);
    }
    EXPECT_EQ(catalog->release(ReleaseId{4}).value(), std::nullopt);
}

TEST_F(SqliteCatalogTest, ReleasesAreFoundByTime) {
    auto catalog = open();
    for (int i = 0; i < 3; ++i) {
        clock_.set(1'000'000'000LL * (i + 1));
        ASSERT_TRUE(publish(*catalog, "2026-11-2" + std::to_string(i), {}));
    }
    EXPECT_EQ(catalog->release_as_of(999'999'999).value(), std::nullopt);
    EXPECT_EQ(catalog->release_as_of(1'000'000'000).value()->id.value, 1);
    EXPECT_EQ(catalog->release_as_of(2'999'999'999).value()->id.value, 2);
    EXPECT_EQ(catalog->release_as_of(INT64_MAX).value()->id.value, 3);
    EXPECT_EQ(catalog->release_as_of(INT64_MIN).value(), std::nullopt);
    std::vector<Release> newest = catalog->releases(2).value();
    ASSERT_EQ(newest.size(), 2u);
    EXPECT_EQ(newest[0].id.value, 3);
    EXPECT_EQ(newest[1].id.value, 2);
}

TEST_F(SqliteCatalogTest, AWrongPublicationChangesNothing) {
    auto catalog = open();
    const std::string ds = "2026-11-23";
    auto code = [&](std::vector<Publication::Partition> documents) {
        return publish(*catalog, ds, std::move(documents)).error().code;
    };
    DocumentRow one = document("r", ds, "1", "t");
    EXPECT_EQ(code({{"r", ds, {one, one}}}), ErrorCode::InvalidArgument);
    EXPECT_EQ(code({{"s", ds, {one}}}), ErrorCode::InvalidArgument);
    EXPECT_EQ(code({{"r", "2026-11-22", {one}}}), ErrorCode::InvalidArgument);
    EXPECT_EQ(code({{"r", ds, {one}}, {"r", ds, {}}}), ErrorCode::InvalidArgument);
    EXPECT_EQ(code({{"r", ds, {one}}, {"r", std::nullopt, {}}}), ErrorCode::InvalidArgument);
    DocumentRow thief = document("s", ds, "1", "t");
    thief.document_id = "r/1";
    EXPECT_EQ(code({{"r", ds, {one}}, {"s", ds, {thief}}}), ErrorCode::InvalidArgument);
    Publication unknown;
    unknown.release.run = RunId{"none"};
    EXPECT_EQ(catalog->publish(unknown).error().code, ErrorCode::NotFound);
    catalog::Run failed = catalog->begin_run(ds, "", "").value();
    ASSERT_TRUE(catalog->finish_run(failed.id, RunState::Failed, "x", ""));
    unknown.release.run = failed.id;
    EXPECT_EQ(catalog->publish(unknown).error().code, ErrorCode::Conflict);
    EXPECT_EQ(catalog->latest_release().value(), std::nullopt);
    EXPECT_EQ(sqlite::Database::open(file(), {})
                  ->query_int64("select count(*) from analytics_metadata")
                  .value(),
              0);
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

TEST_F(SqliteCatalogTest, AReaderThatStaysOpenSeesWhatAWriterPublishes) {
    { open(); }
    auto reader = open(OpenMode::ReadOnly);
    EXPECT_EQ(reader->latest_release().value(), std::nullopt);
    {
        auto writer = open();
        ASSERT_TRUE(publish(*writer, "2026-11-22", {}));
        EXPECT_EQ(reader->latest_release().value()->id.value, 1);  // while the writer is open
        ASSERT_TRUE(publish(*writer, "2026-11-23", {}));
        EXPECT_EQ(reader->latest_release().value()->id.value, 2);
    }
    EXPECT_EQ(reader->latest_release().value()->id.value, 2);  // after it is gone
    {
        auto writer = open();
        ASSERT_TRUE(publish(*writer, "2026-11-24", {}));
    }
    EXPECT_EQ(reader->latest_release().value()->id.value, 3);
    reader.reset();
    { open()->latest_release().value(); }
    EXPECT_THAT(names(), ElementsAre("catalog.db"));
    EXPECT_EQ(open(OpenMode::ReadOnly)->latest_release().value()->id.value, 3);
}

TEST_F(SqliteCatalogTest, TwoWritersWaitForEachOtherAndReadersNever) {
    auto first = open(), second = open();
    auto reader = open(OpenMode::ReadOnly);
    std::atomic<bool> done = false;
    std::atomic<int> failures = 0;
    std::thread watch([&] {
        int64_t last = 0;
        while (!done) {
            Result<std::optional<Release>> seen = reader->latest_release();
            if (!seen || (*seen && (*seen)->id.value < last)) ++failures;
            if (seen && *seen) {
                last = (*seen)->id.value;
                // All of a release or nothing of it: release n has n documents.
                if (static_cast<int64_t>(reader->documents((*seen)->id, 1000, 0).value().size()) !=
                    last)
                    ++failures;
            }
        }
    });
    auto write = [&](Catalog& catalog, const std::string& source) {
        for (int i = 0; i < 15; ++i) {
            std::string ds = "2026-11-" + std::to_string(10 + i);
            catalog::Run run = catalog.begin_run(ds, "", source).value();
            Publication publication;
            publication.release.run = run.id;
            publication.documents = {{source, ds, {document(source, ds, std::to_string(i), "t")}}};
            if (!catalog.publish(publication)) ++failures;
        }
    };
    std::thread a([&] { write(*first, "a"); }), b([&] { write(*second, "b"); });
    a.join();
    b.join();
    done = true;
    watch.join();
    EXPECT_EQ(failures, 0);
    EXPECT_EQ(first->latest_release().value()->id.value, 30);
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

TEST_F(SqliteCatalogTest, OneCatalogServesManyThreads) {
    auto catalog = open(OpenMode::ReadWrite, {.connections_max = 3});
    std::vector<std::jthread> threads;
    std::atomic<int> failures = 0;
    for (int t = 0; t < 6; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 10; ++i) {
                if (t % 2 == 0 ? !catalog->begin_run("2026-11-23", "", "") : !catalog->runs(5))
                    ++failures;
            }
        });
    }
    threads.clear();
    EXPECT_EQ(failures, 0);
    EXPECT_EQ(catalog->runs(100).value()[0].id.value, "2026-11-23-0030");
}

TEST_F(SqliteCatalogTest, CreatingAtTheSameTimeEndsInOneCatalog) {
    for (int round = 0; round < 5; ++round) {
        std::filesystem::remove(file());
        std::vector<std::jthread> threads;
        std::atomic<int> failures = 0;
        for (int t = 0; t < 4; ++t) {
            threads.emplace_back([&] {
                auto opened = open_sqlite_catalog(file(), OpenMode::ReadWrite, clock_);
                if (!opened || !(*opened)->begin_run("2026-11-23", "", "")) ++failures;
            });
        }
        threads.clear();
        EXPECT_EQ(failures, 0);
        EXPECT_EQ(open()->runs(10).value().size(), 4u);
    }
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

TEST_F(SqliteCatalogTest, MigrationsGoForwardStepByStepAndAFailedOneLeavesTheLastGood) {
    sqlite::Database database =
        sqlite::Database::open(file(), {.mode = sqlite::OpenMode::Create}).value();
    std::vector<Migration> steps = {{"one", "create table a(x); insert into a values (1)"}};
    ASSERT_TRUE(migrate(database, steps, clock_));
    steps.push_back({"two", "alter table a add column y; update a set y = x + 1"});
    EXPECT_EQ(check_version(database, steps).error().code, ErrorCode::InvalidArgument);
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

TEST_F(SqliteCatalogTest, AHundredThousandDocumentsArePublishedInSeconds) {
    auto catalog = open();
    const std::string ds = "2026-11-23";
    std::vector<DocumentRow> rows;
    for (int i = 0; i < 100'000; ++i)
        rows.push_back(document("r", ds, std::to_string(i), "title " + std::to_string(i)));
    // Processor time: a busy machine must not fail the test.
    auto timed = [&](const char* what, const std::vector<DocumentRow>& documents) {
        std::clock_t start = std::clock();
        ASSERT_TRUE(publish(*catalog, ds, {{"r", ds, documents}}));
        double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
        std::printf("%s: %.2f CPU-s\n", what, seconds);
        EXPECT_LT(seconds, 15.0);
    };
    timed("new", rows);
    timed("unchanged", rows);
    for (size_t i = 0; i < rows.size(); i += 10) rows[i].title += "!";
    timed("tenth changed", rows);
    sqlite::Database raw = sqlite::Database::open(file(), {}).value();
    EXPECT_EQ(raw.query_int64("select count(*) from analytics_metadata").value(), 110'000);
    EXPECT_EQ(raw.query_int64("select count(*) from documents").value(), 100'000);
}

}  // namespace
}  // namespace px::catalog
