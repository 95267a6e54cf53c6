// The collections under ../shared/data/csv: every file is read or refused with a clear error, the
// two with expected JSON exactly as it says.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/json.hpp>

#include <algorithm>
#include <ctime>

#include "source/byte_stream.h"
#include "source/csv/csv_reader.h"
#include "source/open.h"
#include "source/record_text.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::source {
namespace {

using px::testing::IsOk;
using px::testing::read_file;
using testing::read_all;
using testing::ReadRecords;

namespace json = boost::json;

const std::filesystem::path kData = std::filesystem::path(PX_SOURCE_DIR) / "../shared/data/csv";

ReadRecords read_csv(const std::filesystem::path& path, const CsvOptions& options) {
    auto reader = open_csv(path, options);
    if (!reader) {
        ReadRecords none;
        none.error = reader.error();
        return none;
    }
    return read_all(**reader);
}

json::value parse_json(const std::filesystem::path& path) {
    json::error_code error;
    json::parse_options options;
    options.allow_invalid_utf8 = true;
    json::value value = json::parse(read_file(path), error, {}, options);
    EXPECT_FALSE(error) << path << error.message();
    return value;
}

/// Records as an array of objects with text members.
json::array as_objects(const ReadRecords& read) {
    json::array rows;
    for (const auto& record : read.records) {
        json::object row;
        for (size_t i = 0; i < read.columns.size(); ++i)
            row[read.columns[i]] = record.fields[i].value_or("(absent)");
        rows.push_back(std::move(row));
    }
    return rows;
}

bool is_clean(const ReadRecords& read) {
    return !read.error && std::all_of(read.records.begin(), read.records.end(),
                                      [](const auto& r) { return r.rule.empty(); });
}

TEST(CsvSpectrum, GivesTheExpectedJson) {
    const px::testing::TempDir folder;
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(kData / "csv-spectrum/csvs")) {
        const std::string name = entry.path().stem().string();
        SCOPED_TRACE(name);
        ++count;
        CsvOptions options;
        json::value expected = parse_json(kData / "csv-spectrum/json" / (name + ".json"));
        if (name == "location_coordinates") {
            // Seconds of arc as bare quotes: no RFC 4180, so it takes the dialect option. The JSON
            // holds a single object and, against the CSV file, another phone number: that member is
            // the CSV's.
            EXPECT_EQ(read_csv(entry.path(), options).records.at(0).rule, "quote");
            options.stray_quotes = StrayQuotes::Keep;
            json::object only = expected.as_object();
            ASSERT_EQ(only.at("Contact Phone Number"), "1234567890");
            only["Contact Phone Number"] = "2095257564";
            expected = json::array{only};
        }
        std::filesystem::path path = entry.path();
        if (name.find("_crlf") != std::string::npos) {
            // The collection lost the carriage returns of these files on its way; the JSON still
            // has them.
            std::string text = read_file(path);
            ASSERT_EQ(text.find('\r'), std::string::npos);
            for (size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 2))
                text.insert(at, "\r");
            path = folder / (name + ".csv");
            px::testing::write_file(path, text);
        }
        const ReadRecords read = read_csv(path, options);
        ASSERT_TRUE(is_clean(read));
        EXPECT_EQ(json::serialize(as_objects(read)), json::serialize(expected));
    }
    EXPECT_EQ(count, 12U);
}

TEST(CsvTestData, GivesTheExpectedJsonAndRefusesTheBadFiles) {
    // Its own rules: bad-header-* and header-* have a header, which must be foo, bar, baz; the
    // others are all records.
    const std::vector<std::string> wanted_header = {"foo", "bar", "baz"};
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(kData / "csv-test-data/csv")) {
        const std::string name = entry.path().stem().string();
        SCOPED_TRACE(name);
        ++count;
        const bool has_header = name.find("header") != std::string::npos;
        CsvOptions options;
        options.header_lines = has_header ? 1 : 0;
        const ReadRecords read = read_csv(entry.path(), options);
        if (name.substr(0, 4) == "bad-") {
            // Another header is for the contract to refuse; it sees it here.
            EXPECT_TRUE(!is_clean(read) || (has_header && read.columns != wanted_header));
            continue;
        }
        ASSERT_TRUE(is_clean(read));
        const json::value expected = parse_json(kData / "csv-test-data/json" / (name + ".json"));
        if (has_header) {
            EXPECT_EQ(read.columns, wanted_header);
            EXPECT_EQ(json::serialize(as_objects(read)), json::serialize(expected));
        } else {
            EXPECT_EQ(json::serialize(testing::as_json(read).at("rows")),
                      json::serialize(expected));
        }
    }
    EXPECT_EQ(count, 25U);
}

class EveryCsvFile : public ::testing::Test {
  protected:
    static std::vector<std::filesystem::path> files() {
        std::vector<std::filesystem::path> found;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(kData)) {
            if (entry.is_regular_file() && entry.path().extension() != ".json")
                found.push_back(entry.path());
        }
        std::sort(found.begin(), found.end());
        return found;
    }
};

TEST_F(EveryCsvFile, IsReadOrRefusedClearlyAndItsRecordsAreFoundAgain) {
    const std::clock_t start = std::clock();
    size_t file_count = 0;
    size_t refused = 0;
    size_t raw_records = 0;
    for (const auto& path : files()) {
        ++file_count;
        for (const bool sniff : {false, true}) {
            SCOPED_TRACE(
                fmt::format("{} {}", path.string(), sniff ? "(delimiter sniffed)" : "(comma)"));
            CsvOptions options;
            if (sniff) options.delimiter.reset();
            auto reader = open_csv(path, options);
            if (!reader) {
                ++refused;
                EXPECT_TRUE(reader.error().code == ErrorCode::Corrupt)
                    << reader.error().to_string();
                EXPECT_NE(reader.error().message.find(path.filename().string()), std::string::npos);
                EXPECT_FALSE(reader.error().hint.empty()) << reader.error().to_string();
                continue;
            }
            if (sniff && (*reader)->delimiter() == ",") continue;  // seen already
            // The same in small blocks, by the scalar kernel: what a block holds changes nothing.
            CsvOptions small = options;
            small.block_bytes = 4096;
            small.block_rows = 7;
            small.scan_kernel = "scalar";
            const ReadRecords read = read_all(**reader);
            const ReadRecords in_small_blocks = read_csv(path, small);
            EXPECT_EQ(read.error.has_value(), in_small_blocks.error.has_value());
            EXPECT_TRUE(read.records == in_small_blocks.records);
            if (read.error) {
                EXPECT_EQ(read.error->code, ErrorCode::Corrupt) << read.error->to_string();
                EXPECT_FALSE(read.error->hint.empty()) << read.error->to_string();
            }
            int64_t last_line = 0;
            for (const auto& record : read.records) {
                ASSERT_GT(record.position.line, last_line);
                last_line = record.position.line;
            }
            if (!(*reader)->offsets_are_raw()) continue;
            const std::string bytes = read_file(path);
            RecordBlock block;
            for (const auto& record : read.records) {
                const auto begin = static_cast<size_t>(record.position.byte_start);
                const auto end = static_cast<size_t>(record.position.byte_end);
                ASSERT_LE(begin, end);
                ASSERT_LE(end, bytes.size());
                ASSERT_EQ(record.raw, bytes.substr(begin, end - begin));
                // The line begins where the bytes say: counted by another way.
                ASSERT_THAT((*reader)->parse_one(record.raw, record.position.byte_start,
                                                 record.position.line, block),
                            IsOk());
                ASSERT_EQ(block.malformed.empty() ? "" : block.malformed[0].rule, record.rule);
                for (size_t i = 0; i < block.column_count; ++i) {
                    ASSERT_EQ(block.fields[i].text, record.fields[i].value_or(""));
                    ASSERT_EQ(block.fields[i].present, record.fields[i].has_value());
                }
                ++raw_records;
            }
            int64_t line = 1;
            size_t at = 0;
            for (const auto& record : read.records) {
                for (const auto begin = static_cast<size_t>(record.position.byte_start); at < begin;
                     ++at) {
                    if (bytes[at] == '\n' || (bytes[at] == '\r' && bytes[at + 1] != '\n')) ++line;
                }
                ASSERT_EQ(record.position.line, line);
            }
            // From the file alone, for one record of each.
            if (!read.records.empty()) {
                const auto& record = read.records[read.records.size() / 2];
                RecordOptions record_options;
                record_options.csv = options;
                const auto found = read_record_at(path, SourceFormat::Csv, record_options,
                                                  record.position, Deadline::never());
                ASSERT_THAT(found, IsOk());
                EXPECT_EQ(found->fields, record.fields);
                EXPECT_EQ(found->columns, read.columns);
            }
        }
    }
    EXPECT_GE(file_count, 900U);
    EXPECT_GT(raw_records, 100'000U);
    EXPECT_LT(refused, 120U);
    // Of the processor, so that a busy machine is no failure; a true hang meets the time limit of
    // the test program.
    EXPECT_LT((std::clock() - start) / CLOCKS_PER_SEC, 300) << "something is close to hanging";
}

TEST_F(EveryCsvFile, IsReadOrRefusedByOtherDialectsAndTheJsonLinesReader) {
    std::vector<CsvOptions> dialects(5);
    dialects[0].quote.reset();
    dialects[1].escape = '\\';
    dialects[1].trim = true;
    dialects[2].delimiter = "||";
    dialects[2].comment = '#';
    dialects[3].header_lines = 0;
    dialects[3].stray_quotes = StrayQuotes::Keep;
    dialects[3].ragged = RaggedRows::PadShort;
    dialects[3].delimiter.reset();
    dialects[4].encoding = TextEncoding::Utf16Le;
    dialects[4].max_record_bytes = 300;
    dialects[4].block_bytes = 200;
    for (const auto& path : files()) {
        SCOPED_TRACE(path.string());
        for (const CsvOptions& options : dialects) {
            const ReadRecords read = read_csv(path, options);
            if (read.error) {
                EXPECT_EQ(read.error->code, ErrorCode::Corrupt) << read.error->to_string();
            }
        }
        auto reader = open_jsonl(path, {});
        if (!reader) {
            EXPECT_EQ(reader.error().code, ErrorCode::Corrupt) << reader.error().to_string();
        } else {
            const ReadRecords read = read_all(**reader);
            if (read.error) {
                EXPECT_EQ(read.error->code, ErrorCode::Corrupt);
            }
        }
    }
}

}  // namespace
}  // namespace px::source
