#include "pipeline/staging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

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

}  // namespace
}  // namespace px::pipeline
