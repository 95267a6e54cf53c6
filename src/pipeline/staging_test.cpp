#include "pipeline/staging.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <filesystem>
#include <map>
#include <random>
#include <string>

#include "pipeline/ingest.h"
#include "store/memory/memory_object_store.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::pipeline {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using ::testing::HasSubstr;

class StageDocuments : public ::testing::Test {
  protected:
    StageDocuments() {
        source_.name = "papers";
        source_.kind = SourceKind::Documents;
        source_.contract = document_contract();
        std::filesystem::create_directories(folder_ / "scratch");
    }

    InputFile file(const std::string& name, std::string_view bytes) {
        px::testing::write_file(folder_ / name, bytes);
        return {name, "papers/" + name, "", static_cast<int64_t>(bytes.size()), folder_ / name};
    }
    Result<StageResult> stage(const std::vector<InputFile>& files, const Deadline& deadline) {
        const StageTarget target{store_, folder_ / "scratch"};
        NoProgress progress;
        return stage_source(source_, "2026-11-23", files, target, deadline, progress, {});
    }

    px::testing::TempDir folder_;
    store::MemoryObjectStore store_;
    SourceDefinition source_;
};

TEST_F(StageDocuments, OneTooLargeIsRejectedWithoutBeingRead) {
    InputFile large = file("large.txt", "The first words.");
    large.size_bytes = int64_t{1} << 40;  // no machine has the memory to read it whole
    std::filesystem::resize_file(large.local, static_cast<uintmax_t>(large.size_bytes));
    const auto staged = stage({large, file("small.txt", "A short note.")}, Deadline::never());
    ASSERT_THAT(staged, IsOk());
    EXPECT_EQ(staged->accepted, 1);
    EXPECT_EQ(staged->rejected, 1);
    ASSERT_EQ(staged->samples.size(), 1U);
    EXPECT_EQ(staged->samples[0].file, "large.txt");
    EXPECT_EQ(staged->samples[0].rule, "document");
    EXPECT_THAT(staged->samples[0].reason, HasSubstr("the limit is"));
    EXPECT_EQ(staged->quarantine.row_count(), 1);
}

TEST_F(StageDocuments, StopsInTheMiddleOfADocument) {
    std::string page;
    for (int i = 0; i < 2'000'000; ++i) page += "<p>x</p>";
    const std::vector<InputFile> files{file("long.html", page)};
    const Deadline soon = Deadline::after(std::chrono::milliseconds(50));
    EXPECT_THAT(stage(files, soon), IsError(ErrorCode::DeadlineExceeded));
    std::stop_source stopper;
    stopper.request_stop();
    EXPECT_THAT(stage(files, {std::chrono::steady_clock::time_point::max(), stopper.get_token()}),
                IsError(ErrorCode::Cancelled));
}

class StageRecords : public ::testing::Test {
  protected:
    StageRecords() {
        std::filesystem::create_directories(folder_ / "scratch");
        source_.name = "orders";
        source_.contract.name = "orders";
        source_.contract.extra_columns = contract::ExtraColumns::Keep;
        contract::ColumnRule id;
        id.name = "id";
        id.required = id.unique = true;
        contract::ColumnRule amount;
        amount.name = "amount";
        amount.type = {columnar::TypeId::Int64};
        amount.max = "9000";
        contract::ColumnRule comment;
        comment.name = "comment";
        source_.contract.columns = {id, amount, comment};
    }

    InputFile file(const std::string& name, std::string_view bytes) {
        px::testing::write_file(folder_ / name, bytes);
        return {name, "orders/" + name, "", static_cast<int64_t>(bytes.size()), folder_ / name};
    }

    /// Rows of which some are malformed, some break a rule, some repeat an id of the same unit or
    /// of another one.
    static std::string csv(const std::string& header, uint32_t seed, size_t size) {
        std::string text = header + "\n";
        std::mt19937 random(seed);
        const bool wide = std::ranges::count(header, ',') > 2;
        while (text.size() < size) {
            text += fmt::format("ID-{:07},{},", random() % 3'000'000,
                                random() % 50 == 0 ? "many" : std::to_string(random() % 9100));
            switch (random() % 6) {
                case 0:
                    text += "\"quoted, \"\"twice\"\"\nand in two lines\"";
                    break;
                case 1:
                    break;
                case 2:
                    text += random() % 40 == 0 ? "one,two,three,four" : "Zürich";
                    break;
                default:
                    text += fmt::format("a comment of number {}", random() % 1000);
            }
            if (wide) text += ",extra";
            text += random() % 3 == 0 ? "\r\n" : "\n";
        }
        return text;
    }

    std::string outcome(const std::vector<InputFile>& files, size_t threads) {
        StageTarget target{store_, folder_ / "scratch"};
        target.thread_count = threads;
        NoProgress progress;
        auto staged =
            stage_source(source_, "2026-11-23", files, target, Deadline::never(), progress, {});
        if (!staged) return staged.error().message;
        for (StagedTable* table : {&staged->rows, &staged->quarantine}) {
            for (StagedFile& part : table->files) part.add.modification_time_ms = 0;
        }
        accepted_ = staged->accepted;
        by_rule_ = staged->rejected_by_rule;
        return boost::json::serialize(to_json(*staged));
    }

    px::testing::TempDir folder_;
    store::MemoryObjectStore store_;
    SourceDefinition source_;
    int64_t accepted_ = 0;
    std::map<std::string, int64_t> by_rule_;
};

TEST_F(StageRecords, GiveTheSameBytesOnAnyNumberOfThreads) {
    const std::vector<InputFile> files{
        file("a.csv", csv("id,amount,comment", 1, 24 << 20)), file("b.csv", "id,amount,comment\n"),
        file("c.csv", csv("id,amount,comment,more", 2, 2 << 20)),
        file("d.csv", csv("amount,id,comment", 3, 100) + "1,ID-x,\n"),
        file("e.csv", csv("id,amount,comment", 4, 1 << 20))};
    const std::string alone = outcome(files, 1);
    EXPECT_GT(accepted_, 100'000);
    EXPECT_GT(by_rule_["unique"], 1000);
    EXPECT_GT(by_rule_["type"], 1000);
    EXPECT_GT(by_rule_["max"], 1000);
    EXPECT_GT(by_rule_["field_count"], 100);
    for (const size_t threads : {2, 16}) EXPECT_TRUE(outcome(files, threads) == alone) << threads;
}

TEST_F(StageRecords, TellTheFirstErrorWhateverTheNumberOfThreads) {
    const std::vector<InputFile> files{
        file("a.csv", csv("id,amount,comment", 1, 20 << 20)),
        file("b.csv", csv("id,amount,comment", 2, 1 << 20) + "7,8,\"open\n"),
        file("c.csv", "id,amount\n1,2\n")};
    const std::string alone = outcome(files, 1);
    EXPECT_THAT(alone, HasSubstr("is never closed"));
    for (const size_t threads : {2, 4}) EXPECT_EQ(outcome(files, threads), alone) << threads;
}

TEST_F(StageRecords, TellAnErrorOfAFileBeforeThatOfTheHeaderBehindIt) {
    // Small enough for one unit: the header is read before the records in front of it are judged.
    const std::vector<InputFile> files{file("a.csv", "id,amount,comment\nA,1,x\nB,2,\"open\n"),
                                       file("b.csv", "name,amount\n1,2\n")};
    for (const size_t threads : {1, 2}) {
        EXPECT_THAT(outcome(files, threads), HasSubstr("is never closed")) << threads;
    }
    const std::vector<InputFile> sound{file("a.csv", "id,amount,comment\nA,1,x\n"), files[1]};
    for (const size_t threads : {1, 2}) {
        const std::string told = outcome(sound, threads);
        EXPECT_THAT(told, HasSubstr("b.csv")) << threads;
        EXPECT_THAT(told, ::testing::Not(HasSubstr("is never closed"))) << threads;
    }
}

TEST_F(StageRecords, AnotherOrderOfTheColumnsChangesNoByte) {
    const std::string usual = "id,amount,comment\n";
    const std::string other = "comment,id,amount\n";
    std::string rows;
    std::string turned;
    for (int i = 0; i < 1000; ++i) {
        rows += fmt::format("ID-{:04},{},c{}\n", i % 990, i, i % 7);
        turned += fmt::format("c{},ID-{:04},{}\n", i % 7, i % 990, i);
    }
    // Same places, same values: the same row group, whatever stands in front.
    const std::string first = "id,amount,comment\nfirst,1,x\n";
    const std::string same =
        outcome({file("a.csv", first), file("b.csv", usual + rows), file("c.csv", first)}, 1);
    const int64_t accepted = accepted_;
    EXPECT_EQ(accepted, 991);
    for (const size_t threads : {1, 4}) {
        const std::string mixed = outcome(
            {file("a.csv", first), file("b.csv", other + turned), file("c.csv", first)}, threads);
        EXPECT_EQ(accepted_, accepted);
        EXPECT_EQ(by_rule_["unique"], 11);
        const auto rows_of = [](const std::string& json) {
            return boost::json::serialize(boost::json::parse(json).at("rows"));
        };
        EXPECT_EQ(rows_of(mixed), rows_of(same)) << threads;
    }
}

TEST_F(StageRecords, VeryManyRejectedOnesAreHandedOverInParts) {
    std::string text = csv("id,amount,comment", 5, 1 << 20);
    for (int i = 0; i < 20'000; ++i) text += fmt::format("ID-{},bad,\n", i);
    const std::vector<InputFile> files{file("a.csv", text),
                                       file("b.csv", csv("id,amount,comment", 6, 1 << 20))};
    struct Seen {
        std::vector<std::string> rejected;
        int64_t accepted = 0;
        size_t unit_count = 0;
        size_t largest = 0;  ///< rejected records of a unit
        size_t group_count = 0;
    };
    const auto ingest = [&](int64_t bytes_max, size_t threads) {
        IngestOptions options;
        options.thread_count = threads;
        options.unit_bytes = 1 << 19;
        options.rejected_bytes_max = bytes_max;
        Seen seen;
        const Deadline deadline = Deadline::never();
        const auto done = ingest_records(
            source_, files, options, deadline, [](const std::vector<std::string>&) {},
            [&](IngestedUnit unit) -> Result<void> {
                seen.accepted += unit.accepted;
                ++seen.unit_count;
                seen.group_count += unit.group ? 1 : 0;
                seen.largest = std::max(seen.largest, unit.rejected.size());
                for (const RejectedRecord& bad : unit.rejected) {
                    seen.rejected.push_back(fmt::format(
                        "{} {} {} {} {} {}", bad.file, bad.verdict.rule, bad.verdict.column,
                        bad.position.line, bad.position.byte_start, bad.raw));
                }
                return {};
            });
        EXPECT_THAT(done, IsOk());
        return seen;
    };
    const Seen whole = ingest(1LL << 40, 1);
    EXPECT_GT(whole.largest, 10'000U);
    EXPECT_GT(whole.rejected.size(), 20'000U);
    for (const size_t threads : {1, 2, 8}) {
        const Seen parts = ingest(100'000, threads);
        EXPECT_TRUE(parts.rejected == whole.rejected) << threads;
        EXPECT_EQ(parts.accepted, whole.accepted) << threads;
        EXPECT_EQ(parts.group_count, whole.group_count) << threads;
        EXPECT_GT(parts.unit_count, whole.unit_count + 20) << threads;
        EXPECT_LT(parts.largest, 1000U) << threads;
    }
}

}  // namespace
}  // namespace px::pipeline
