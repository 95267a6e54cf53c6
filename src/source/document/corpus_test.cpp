// Every document file of the shared data: what comes out, or why not. Cases in
// tests/cases/document/:
//   corpus.case  one line a file: path, outcome; rewritten by UPDATE_CASES=1
//   known.case   what is known of some files: fragments of the text, title, author, date, refusals;
//   written by hand
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/sha256.h"
#include "base/utf8.h"
#include "source/document/sample_files.h"

namespace px::source {
namespace {

namespace fs = std::filesystem;

const fs::path kData = PX_SOURCE_DIR "/../shared/data/docs";
const fs::path kCases = PX_SOURCE_DIR "/tests/cases/document";

std::string_view name_of(DocumentFormat format) {
    switch (format) {
        case DocumentFormat::PlainText:
            return "txt";
        case DocumentFormat::Markdown:
            return "md";
        case DocumentFormat::Html:
            return "html";
        case DocumentFormat::Pdf:
            return "pdf";
        case DocumentFormat::Docx:
            return "docx";
    }
    return "?";
}

std::string outcome_of(const Result<ExtractedDocument>& got) {
    if (!got)
        return fmt::format("{}: {}", error_traits(got.error().code).name, got.error().message);
    return fmt::format(
        "{} {} bytes sha256 {} | {} | {} | {} | {}", name_of(got->format), got->text.size(),
        sha256_hex(got->text).substr(0, 12), got->title.value_or("-"), got->author.value_or("-"),
        got->created_at ? format_timestamp(*got->created_at) : "-", got->category.value_or("-"));
}

std::vector<fs::path> all_files() {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(kData)) {
        if (entry.is_regular_file()) files.push_back(fs::relative(entry.path(), kData));
    }
    std::sort(files.begin(), files.end());
    return files;
}

TEST(Corpus, EveryFileIsExtractedOrRefusedForAStatedReason) {
    const auto files = all_files();
    ASSERT_GT(files.size(), 150u);
    std::string outcomes;
    for (const auto& file : files) {
        const std::string bytes = sample::read_file(kData / file);
        const auto got = extract(bytes, file.string(), {});
        if (got) {
            EXPECT_TRUE(utf8_is_valid(got->text)) << file;
            EXPECT_EQ(got->text.find('\0'), std::string::npos) << file;
            EXPECT_EQ(got->text.find('\r'), std::string::npos) << file;
            EXPECT_FALSE(got->text.empty()) << file;
            if (got->text_is_raw) {
                EXPECT_EQ(bytes.substr(static_cast<size_t>(got->text_offset), got->text.size()),
                          got->text)
                    << file;
            }
        } else {
            EXPECT_FALSE(got.error().hint.empty()) << file;
            EXPECT_NE(got.error().to_string().find(file.string()), std::string::npos);
        }
        outcomes += file.string() + "\t" + outcome_of(got) + "\n";
    }
    const fs::path path = kCases / "corpus.case";
    if (std::getenv("UPDATE_CASES") != nullptr) std::ofstream(path, std::ios::binary) << outcomes;
    std::istringstream want(sample::read_file(path)), have(outcomes);
    std::string want_line, have_line;
    while (std::getline(want, want_line)) {
        ASSERT_TRUE(std::getline(have, have_line)) << "missing: " << want_line;
        EXPECT_EQ(have_line, want_line) << "If this is meant: UPDATE_CASES=1, then review the diff";
    }
    EXPECT_FALSE(std::getline(have, have_line)) << "new: " << have_line;
}

TEST(Corpus, KnownFilesHoldWhatIsKnownOfThem) {
    std::istringstream cases(sample::read_file(kCases / "known.case"));
    std::string line, file;
    int file_count = 0;
    Result<ExtractedDocument> got = fail(ErrorCode::Internal, "no file yet");
    for (int number = 1; std::getline(cases, line); ++number) {
        if (line.empty() || line.front() == '#') continue;
        const size_t colon = line.find(": ");
        ASSERT_NE(colon, std::string::npos) << "known.case:" << number;
        const std::string key = line.substr(0, colon);
        std::string value = line.substr(colon + 2);
        for (size_t at; (at = value.find("\\n")) != std::string::npos;)
            value.replace(at, 2, 1, '\n');
        const std::string place = fmt::format("known.case:{} {}", number, file);
        if (key == "file") {
            file = value;
            ++file_count;
            got = extract(sample::read_file(kData / file), file, {});
            continue;
        }
        if (key == "refused") {
            ASSERT_FALSE(got.has_value()) << place;
            EXPECT_NE(
                fmt::format("{}: {}", error_traits(got.error().code).name, got.error().to_string())
                    .find(value),
                std::string::npos)
                << place << ": " << got.error().to_string();
            continue;
        }
        ASSERT_TRUE(got.has_value()) << place << ": " << got.error().to_string();
        if (key == "has") {
            EXPECT_NE(got->text.find(value), std::string::npos) << place << ": " << value << "\n"
                                                                << got->text.substr(0, 1500);
        } else if (key == "lacks") {
            EXPECT_EQ(got->text.find(value), std::string::npos) << place << ": " << value;
        } else if (key == "begins") {
            EXPECT_EQ(got->text.substr(0, value.size()), value) << place;
        } else if (key == "is") {
            EXPECT_EQ(got->text, value) << place;
        } else if (key == "title") {
            EXPECT_EQ(got->title.value_or("none"), value) << place;
        } else if (key == "author") {
            EXPECT_EQ(got->author.value_or("none"), value) << place;
        } else if (key == "created") {
            EXPECT_EQ(got->created_at ? format_timestamp(*got->created_at) : "none", value)
                << place;
        } else if (key == "category") {
            EXPECT_EQ(got->category.value_or("none"), value) << place;
        } else if (key == "pages") {
            EXPECT_EQ(std::to_string(got->page_count), value) << place;
        } else {
            FAIL() << place << ": unknown key " << key;
        }
    }
    EXPECT_GE(file_count, 25);
}

}  // namespace
}  // namespace px::source
