// The documents of the sample company must be worth asking: all readable, with metadata, and with
// the figures the tour names.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "source/document/sample_files.h"

namespace px::source {
namespace {

namespace fs = std::filesystem;

const fs::path kDocuments = PX_SOURCE_DIR "/examples/company/data/documents";

TEST(SampleCompany, EveryDocumentHasTextAndItsMetadata) {
    int file_count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(kDocuments)) {
        if (!entry.is_regular_file()) continue;
        ++file_count;
        const auto got = extract(sample::read_file(entry.path()), entry.path().string(), {});
        ASSERT_TRUE(got.has_value()) << got.error().to_string();
        EXPECT_GT(std::count(got->text.begin(), got->text.end(), ' '), 280) << entry.path();
        if (got->format == DocumentFormat::PlainText) continue;
        EXPECT_TRUE(got->title && got->author && got->category) << entry.path();
        ASSERT_TRUE(got->created_at) << entry.path();
        EXPECT_GE(format_timestamp(*got->created_at), "2024-01-01") << entry.path();
        EXPECT_LT(format_timestamp(*got->created_at), "2026-06-01") << entry.path();
    }
    EXPECT_EQ(file_count, 15);
}

TEST(SampleCompany, TheOutlookStandsInFourDocumentsOfFourFormats) {
    const auto text = [](const char* name) {
        return sample::text_of(sample::read_file(kDocuments / name), name);
    };
    const auto has = [](const std::string& all, std::string_view part) {
        return all.find(part) != std::string::npos;
    };
    EXPECT_TRUE(has(text("reports/annual-results-2025.md"),
                    "revenue between €66.0 million and €67.5 million"));
    EXPECT_TRUE(has(text("reports/q1-2026-trading-update.html"),
                    "revenue between €66.0 million and €67.5 million in 2026"));
    EXPECT_TRUE(has(text("reports/financial-outlook-2026.docx"),
                    "We expect revenue of 66.0 to 67.5 million in 2026"));
    EXPECT_TRUE(
        has(text("minutes/board-2025-11-13.md"), "a range of €66.0 million to €67.5 million"));
    EXPECT_TRUE(has(text("incidents/port-ansel-ammonia-2025-02.pdf"),
                    "41 people were evacuated within seven minutes."));
}

}  // namespace
}  // namespace px::source
