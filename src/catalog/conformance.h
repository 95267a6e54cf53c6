// What every adapter of Catalog must do, as a parameterised gtest suite: include it in the
// adapter's test and instantiate CatalogConformance with a CatalogUnderTest. For tests only.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/sha256.h"
#include "catalog/catalog.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::catalog {

/// A place where one catalog can be: a file name, a schema of a database.
class CatalogPlace {
  public:
    virtual ~CatalogPlace() = default;
    virtual Result<std::unique_ptr<Catalog>> open(OpenMode mode, const Clock& clock,
                                                  size_t connections_max) = 0;
    /// Rows of documents kept for all releases together, as SQL counts them.
    virtual int64_t kept_documents() = 0;
    /// `select title from documents order by document_id, ds`.
    virtual std::vector<std::string> current_titles() = 0;
};

struct CatalogUnderTest {
    std::string name;
    /// An empty place; scratch is an empty folder that outlives it.
    std::function<std::unique_ptr<CatalogPlace>(const std::filesystem::path& scratch)> make;
};

inline std::string conformance_name(const ::testing::TestParamInfo<CatalogUnderTest>& info) {
    return info.param.name;
}
inline void PrintTo(const CatalogUnderTest& catalog, std::ostream* stream) {
    *stream << catalog.name;
}

inline DocumentRow document(const std::string& source, const std::string& ds, const std::string& id,
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

class CatalogConformance : public ::testing::TestWithParam<CatalogUnderTest> {
  protected:
    void SetUp() override { place_ = GetParam().make(scratch_.path()); }
    std::unique_ptr<Catalog> open(OpenMode mode = OpenMode::ReadWrite, size_t connections_max = 8) {
        Result<std::unique_ptr<Catalog>> opened = place_->open(mode, clock_, connections_max);
        EXPECT_TRUE(opened) << opened.error().to_string();
        return opened ? std::move(opened).value() : nullptr;
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
    px::testing::TempDir scratch_;
    std::unique_ptr<CatalogPlace> place_;
    FixedClock clock_{1'764'000'000'000'000};
    int64_t version_ = 0;
};

using ::testing::ElementsAre;
using ::testing::Pair;

TEST_P(CatalogConformance, RunsAreNumberedByTheirDayAndComeBack) {
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

TEST_P(CatalogConformance, TasksCountTheirAttemptsAndKeepTheirOutput) {
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

TEST_P(CatalogConformance, AnAttemptThatWasTakenOverOrWhoseRunEndedCountsNoMore) {
    auto catalog = open();
    const RunId run = catalog->begin_run("2026-11-23", "", "").value().id;
    EXPECT_EQ(catalog->begin_task(run, "index").value(), 1);
    EXPECT_EQ(catalog->begin_task(run, "index").value(), 2);
    EXPECT_THAT(catalog->finish_task(run, "index", 1, "done", "", "{\"of\":1}"),
                px::testing::IsError(ErrorCode::Conflict, "attempt 1 of task index"));
    ASSERT_TRUE(catalog->finish_task(run, "index", 2, "done", "", "{\"of\":2}"));
    EXPECT_EQ(catalog->task_output(run, "index").value(), "{\"of\":2}");
    EXPECT_EQ(catalog->begin_task(run, "embed").value(), 1);
    ASSERT_TRUE(catalog->finish_run(run, RunState::Failed, "why", ""));
    EXPECT_THAT(catalog->finish_task(run, "embed", 1, "done", "", "{}"),
                px::testing::IsError(ErrorCode::Conflict));
    EXPECT_EQ(catalog->tasks(run).value().back().state, "failed");
    EXPECT_EQ(catalog->tasks(run).value().back().finished_at, clock_.now());
    EXPECT_THAT(catalog->begin_task(run, "embed"),
                px::testing::IsError(ErrorCode::Conflict, "has ended"));
}

TEST_P(CatalogConformance, ARunIsFoundByTheNameAnOrchestratorGaveItTheNewestFirst) {
    auto catalog = open();
    const std::string name = "scheduled__2026-11-23T01:00:00+00:00 \xC3\xA9";
    EXPECT_EQ(catalog->run_called(name).value(), std::nullopt);
    const catalog::Run first = catalog->begin_run("2026-11-23", "text", "print", name).value();
    EXPECT_EQ(first.external_id, name);
    catalog->begin_run("2026-11-23", "", "").value();
    EXPECT_EQ(catalog->run_called(name).value()->id, first.id);
    EXPECT_EQ(catalog->run_called(name).value()->pipeline_text, "text");
    EXPECT_EQ(catalog->run_called("").value(), std::nullopt);
    const catalog::Run second = catalog->begin_run("2026-11-23", "", "", name).value();
    EXPECT_EQ(catalog->run_called(name).value()->id, second.id);
    EXPECT_EQ(catalog->run(first.id).value()->external_id, name);
    EXPECT_EQ(catalog->runs(1).value()[0].external_id, name);
}

TEST_P(CatalogConformance, LandedFilesChecksAndCountsAreRecordedOnce) {
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

TEST_P(CatalogConformance, PublishedFilesAreThoseOfTheNewestPublishedRunOfEachDay) {
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

TEST_P(CatalogConformance, ALandedFileIsFoundByItsKeyWhateverBecameOfItsRun) {
    auto catalog = open();
    RunId first = catalog->begin_run("2026-11-22", "", "").value().id;
    ASSERT_TRUE(catalog->record_landed(first, {{"r", "2026-11-22", "old", "k", "s", 1, 1}}));
    RunId second = catalog->begin_run("2026-11-23", "", "").value().id;
    ASSERT_TRUE(catalog->record_landed(second, {{"r", "2026-11-23", "new", "k", "s", 1, 2}}));
    EXPECT_EQ(catalog->landed_file("k").value()->path, "new");
    EXPECT_FALSE(catalog->landed_file("none").value().has_value());
}

TEST_P(CatalogConformance, AReleaseIsLaterThanThoseBeforeAndBegunOnTheNewest) {
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

TEST_P(CatalogConformance, AReleaseIsPublishedOnceAndHoldsEverything) {
    auto catalog = open();
    EXPECT_EQ(catalog->latest_release().value(), std::nullopt);
    EXPECT_EQ(catalog->latest_release_id().value(), std::nullopt);
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

TEST_P(CatalogConformance, AttemptsThatRunWhenTheirRunIsPublishedAreDone) {
    auto catalog = open();
    Publication publication;
    publication.release.run = catalog->begin_run("2026-11-23", "", "").value().id;
    publication.release.ds = "2026-11-23";
    EXPECT_EQ(catalog->begin_task(publication.release.run, "publish").value(), 1);
    ASSERT_TRUE(catalog->publish(publication));
    const std::vector<TaskAttempt> tasks = catalog->tasks(publication.release.run).value();
    ASSERT_EQ(tasks.size(), 1u);
    EXPECT_EQ(tasks[0].state, "done");
    EXPECT_TRUE(tasks[0].finished_at);
}

TEST_P(CatalogConformance, OnlyChangedDocumentsAreTouched) {
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
    EXPECT_EQ(place_->kept_documents(), 6);
    EXPECT_THAT(place_->current_titles(), ElementsAre("one", "TWO", "four", "s1"));
}

TEST_P(CatalogConformance, EveryFieldOfADocumentCountsAsAChangeButIngestedAt) {
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
    for (const auto& change : changes) {
        change(base);
        ASSERT_TRUE(publish(*catalog, ds, {{"r", ds, {base}}}));
        EXPECT_EQ(place_->kept_documents(), ++rows);
        base.ingested_at += 1;
        ASSERT_TRUE(publish(*catalog, ds, {{"r", ds, {base}}}));
        EXPECT_EQ(place_->kept_documents(), rows);
    }
}

TEST_P(CatalogConformance, ASourceAsAWholeReplacesEveryDay) {
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

TEST_P(CatalogConformance, EachReleaseKeepsTheFingerprintsItWasPublishedWith) {
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

TEST_P(CatalogConformance, ReleasesAreFoundByTime) {
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

TEST_P(CatalogConformance, AWrongPublicationChangesNothing) {
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
    EXPECT_EQ(place_->kept_documents(), 0);
}

TEST_P(CatalogConformance, TwoWritersWaitForEachOtherAndReadersNever) {
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
    EXPECT_EQ(first->latest_release_id().value()->value, 30);
}

TEST_P(CatalogConformance, OneCatalogServesManyThreads) {
    auto catalog = open(OpenMode::ReadWrite, 3);
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

TEST_P(CatalogConformance, AHundredThousandDocumentsArePublishedInSeconds) {
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
    EXPECT_EQ(place_->kept_documents(), 110'000);
    EXPECT_EQ(catalog->latest_release().value()->documents, 100'000);
}

TEST_P(CatalogConformance, AReaderFindsNothingWhereNothingIsAndRefusesToWrite) {
    EXPECT_THAT(place_->open(OpenMode::ReadOnly, clock_, 8),
                px::testing::IsError(ErrorCode::NotFound));
    { open(); }
    auto reader = open(OpenMode::ReadOnly);
    EXPECT_EQ(reader->latest_release().value(), std::nullopt);
    EXPECT_EQ(reader->begin_run("2026-11-23", "", "").error().code, ErrorCode::Forbidden);
    EXPECT_EQ(reader->publish({}).error().code, ErrorCode::Forbidden);
    EXPECT_EQ(open()->runs(10).value().size(), 0u);
}

TEST_P(CatalogConformance, AReaderThatStaysOpenSeesWhatAWriterPublishes) {
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
    EXPECT_EQ(open(OpenMode::ReadOnly)->latest_release().value()->id.value, 3);
}

TEST_P(CatalogConformance, CreatingAtTheSameTimeEndsInOneCatalog) {
    for (int round = 0; round < 5; ++round) {
        std::filesystem::create_directories(scratch_ / std::to_string(round));
        place_ = GetParam().make(scratch_ / std::to_string(round));
        std::vector<std::jthread> threads;
        std::atomic<int> failures = 0;
        for (int t = 0; t < 4; ++t) {
            threads.emplace_back([&] {
                auto opened = place_->open(OpenMode::ReadWrite, clock_, 8);
                if (!opened || !(*opened)->begin_run("2026-11-23", "", "")) ++failures;
            });
        }
        threads.clear();
        EXPECT_EQ(failures, 0);
        EXPECT_EQ(open()->runs(10).value().size(), 4u);
    }
}

TEST_P(CatalogConformance, EightWritersPublishFiftyTimesAndNoneIsLostOrDoubled) {
    constexpr int kWriters = 8, kPublishes = 50;
    { open(); }
    std::atomic<int> failures = 0, conflicts = 0;
    std::vector<std::jthread> threads;
    for (int writer = 0; writer < kWriters; ++writer) {
        threads.emplace_back([&, writer] {
            auto catalog = place_->open(OpenMode::ReadWrite, clock_, 2).value();
            const std::string source = "s" + std::to_string(writer);
            for (int i = 0; i < kPublishes; ++i) {
                // As a run does: begun on the newest release, redone when another was first.
                for (;;) {
                    const auto latest = catalog->latest_release();
                    Publication publication;
                    publication.release.run = catalog->begin_run(source, "", "").value().id;
                    publication.expected_latest = *latest ? (*latest)->id.value : 0;
                    publication.documents = {
                        {source, source, {document(source, source, "1", std::to_string(i))}}};
                    const Result<Release> made = catalog->publish(publication);
                    if (made) break;
                    if (made.error().code != ErrorCode::Conflict) {
                        ADD_FAILURE() << made.error().to_string();
                        ++failures;
                        return;
                    }
                    ++conflicts;
                    EXPECT_THAT(
                        catalog->finish_run(publication.release.run, RunState::Failed, "", ""),
                        px::testing::IsOk());
                }
            }
        });
    }
    threads.clear();
    ASSERT_EQ(failures, 0);
    auto catalog = open();
    const std::vector<Release> releases = catalog->releases(1000).value();
    ASSERT_EQ(releases.size(), static_cast<size_t>(kWriters * kPublishes));
    std::set<std::string> runs;
    for (size_t i = 0; i < releases.size(); ++i) {
        EXPECT_EQ(releases[i].id.value, static_cast<int64_t>(releases.size() - i));
        runs.insert(releases[i].run.value);
    }
    EXPECT_EQ(runs.size(), releases.size());
    EXPECT_EQ(titles(*catalog, kWriters * kPublishes), std::vector<std::string>(kWriters, "49"));
    EXPECT_EQ(place_->kept_documents(), kWriters * kPublishes);
    EXPECT_EQ(catalog->runs(100'000).value().size(),
              releases.size() + static_cast<size_t>(conflicts));
    EXPECT_TRUE(catalog->unfinished_runs().value().empty());
}

TEST_P(CatalogConformance, TextsAndInstantsComeBackAsTheyWent) {
    auto catalog = open();
    const std::string ds = "2026-11-23";
    std::vector<DocumentRow> rows;
    int64_t next = 0;
    for (const TimestampMicros at : {TimestampMicros{0}, TimestampMicros{-1}, INT64_MAX,
                                     TimestampMicros{-62'135'596'800'000'000}}) {
        DocumentRow row = document("r", ds, std::to_string(next++),
                                   "tab\tline\nquote'\"back\\ \u00e4\U0001F600 {}");
        row.created_at = at;
        row.author = "";
        row.path = std::string(100'000, 'p');
        rows.push_back(row);
    }
    ASSERT_TRUE(publish(*catalog, ds, {{"r", ds, rows}}));
    const std::vector<DocumentRow> found = catalog->documents(ReleaseId{1}, 10, 0).value();
    ASSERT_EQ(found.size(), rows.size());
    for (size_t i = 0; i < rows.size(); ++i) {
        EXPECT_EQ(found[i].title, rows[i].title);
        EXPECT_EQ(found[i].created_at, rows[i].created_at);
        EXPECT_EQ(found[i].path, rows[i].path);
        EXPECT_EQ(found[i].first_release.value, 1);
    }
    ASSERT_TRUE(publish(*catalog, ds, {{"r", ds, rows}}));
    EXPECT_EQ(place_->kept_documents(), static_cast<int64_t>(rows.size()));
    EXPECT_TRUE(catalog->distinct_authors(ReleaseId{1}).value().empty());
}

/// Every row of a catalog, sorted.
inline std::vector<std::string> everything_in(Catalog& catalog) {
    std::vector<std::string> all;
    const Result<void> dumped = catalog.dump([&](const StoredRow& row) -> Result<void> {
        std::map<std::string, std::string> cells;
        for (size_t c = 0; c < row.columns.size(); ++c)
            cells[row.columns[c]] = row.values[c].value_or("(null)");
        std::string text = row.table;
        for (const auto& [name, value] : cells) text += "|" + name + "=" + value;
        all.push_back(std::move(text));
        return {};
    });
    EXPECT_TRUE(dumped) << dumped.error().to_string();
    std::sort(all.begin(), all.end());
    return all;
}

TEST_P(CatalogConformance, EveryRowMovesToAnotherCatalogAndBack) {
    auto catalog = open();
    const std::string a = "2026-11-22", b = "2026-11-23";
    DocumentRow odd = document("r", b, "2", "tab\tline\nquote'\"back\\\\ \u00e4");
    odd.created_at = std::nullopt;
    DocumentRow far = document("r", b, "3", "");
    far.created_at = INT64_MAX;
    ASSERT_TRUE(publish(*catalog, a, {{"r", a, {document("r", a, "1", "one")}}}));
    ASSERT_TRUE(publish(*catalog, b, {{"r", b, {document("r", b, "1", "first"), odd, far}}}));
    ASSERT_TRUE(publish(*catalog, b, {{"r", b, {document("r", b, "1", "second"), odd}}}));
    catalog::Run halted = catalog->begin_run(b, "pipeline: \"x\"\n", "fp").value();
    ASSERT_EQ(catalog->begin_task(halted.id, "land").value(), 1);
    ASSERT_TRUE(catalog->finish_task(halted.id, "land", 1, "failed", "no", "{}"));
    ASSERT_EQ(catalog->begin_task(halted.id, "land").value(), 2);
    ASSERT_TRUE(catalog->finish_task(halted.id, "land", 2, "done", "", "{\"files\":[]}"));
    ASSERT_TRUE(catalog->record_landed(
        halted.id, {{"r", b, "data/x.csv", "r/" + b + "/abc.csv", "abc", 12, clock_.now()}}));
    ASSERT_TRUE(catalog->record_checks({{halted.id, "r", "not empty", "0", "7", false}}));
    ASSERT_TRUE(catalog->record_quarantine(halted.id, {{halted.id, "r", "type", 3}}));
    ASSERT_TRUE(catalog->finish_run(halted.id, RunState::Halted, "too many", "{}"));
    const std::vector<std::string> before = everything_in(*catalog);
    EXPECT_GT(before.size(), 15U);

    // Through the embedded one, which says what is neutral.
    auto middle =
        open_sqlite_catalog(scratch_.path() / "middle.db", OpenMode::ReadWrite, clock_).value();
    const auto from = [](Catalog& source) {
        return [&source](const StoredRowSink& sink) { return source.dump(sink); };
    };
    Result<void> moved = middle->restore(from(*catalog));
    ASSERT_TRUE(moved) << moved.error().to_string();
    EXPECT_EQ(everything_in(*middle), before);
    std::filesystem::create_directories(scratch_.path() / "other");
    const auto other_place = GetParam().make(scratch_.path() / "other");
    auto other = other_place->open(OpenMode::ReadWrite, clock_, 8).value();
    // What fails in the middle leaves nothing.
    int left = 5;
    EXPECT_EQ(other
                  ->restore([&](const StoredRowSink& sink) {
                      return middle->dump([&](const StoredRow& row) -> Result<void> {
                          if (--left == 0) return fail(ErrorCode::Cancelled, "enough");
                          return sink(row);
                      });
                  })
                  .error()
                  .code,
              ErrorCode::Cancelled);
    EXPECT_TRUE(everything_in(*other).empty());
    moved = other->restore(from(*middle));
    ASSERT_TRUE(moved) << moved.error().to_string();
    EXPECT_EQ(everything_in(*other), before);
    EXPECT_EQ(other_place->kept_documents(), place_->kept_documents());
    EXPECT_EQ(titles(*other, 1), titles(*catalog, 1));
    EXPECT_EQ(titles(*other, 2), titles(*catalog, 2));
    EXPECT_EQ(titles(*other, 3), titles(*catalog, 3));
    EXPECT_EQ(other->tasks(halted.id).value().size(), 2U);
    EXPECT_EQ(other->restore(from(*middle)).error().code, ErrorCode::AlreadyExists);
    // And life goes on there.
    EXPECT_EQ(other->begin_run(b, "", "").value().id.value, b + "-0004");
    ASSERT_TRUE(publish(*other, b, {{"r", b, {odd}}}));
    EXPECT_EQ(other->latest_release().value()->id.value, 4);
}

}  // namespace px::catalog
