#include "source/open.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "capi/duckdb/duckdb_handle.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::source {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using px::testing::TempDir;
using px::testing::write_file;

TEST(FormatOf, IsDecidedByTheExtension) {
    EXPECT_EQ(format_of("a.csv"), SourceFormat::Csv);
    EXPECT_EQ(format_of("a.CSV.GZ"), SourceFormat::Csv);
    EXPECT_EQ(format_of("x/a.tsv.zst"), SourceFormat::Csv);
    EXPECT_EQ(format_of("a.jsonl.gz"), SourceFormat::JsonLines);
    EXPECT_EQ(format_of("a.ndjson"), SourceFormat::JsonLines);
    EXPECT_EQ(format_of("a.parquet"), SourceFormat::Parquet);
    EXPECT_EQ(format_of("a.xlsx"), std::nullopt);
    EXPECT_EQ(format_of("csv"), std::nullopt);
}

/// Every record of the file, found again by its position alone, is the same.
void expect_found_again(const std::filesystem::path& path, SourceFormat format,
                        const RecordOptions& options, size_t expected_rows) {
    auto reader = open_records(path, format, options);
    ASSERT_THAT(reader, IsOk());
    RecordBlock block;
    size_t rows = 0;
    for (;;) {
        const auto more = (*reader)->next(block, Deadline::never());
        ASSERT_THAT(more, IsOk());
        if (!*more) break;
        for (size_t row = 0; row < block.row_count(); ++row, ++rows) {
            if (rows % 37 != 0) continue;
            const auto found =
                read_record_at(path, format, options, block.positions[row], Deadline::never());
            ASSERT_THAT(found, IsOk());
            EXPECT_EQ(found->columns, (*reader)->columns());
            EXPECT_EQ(found->raw, block.raw[row]);
            EXPECT_EQ(found->position.line, block.positions[row].line);
            for (size_t i = 0; i < block.column_count; ++i) {
                const auto& field = block.fields[row * block.column_count + i];
                EXPECT_EQ(found->fields[i].has_value(), field.present);
                if (field.present) {
                    EXPECT_EQ(*found->fields[i], field.text);
                }
            }
        }
    }
    EXPECT_EQ(rows, expected_rows);
}

TEST(ReadRecordAt, FindsRecordsOfEveryFormatAgain) {
    const TempDir folder;
    std::string csv = "\xEF\xBB\xBFid;text\r\n";
    std::string jsonl;
    std::string utf16("\xFF\xFE", 2);
    for (int i = 0; i < 500; ++i) {
        csv += fmt::format("{};\"zeile {}\nmit \"\"Umbruch\"\" ä\"\r\n", i, i);
        jsonl += fmt::format("{{\"id\":{},\"text\":\"zeile\\n{}\"}}\n", i, i);
    }
    for (const char c : std::string("a,b\n1,2\n3,4\n")) utf16 += std::string{c, '\0'};
    write_file(folder / "x.csv", csv);
    write_file(folder / "x.jsonl", jsonl);
    write_file(folder / "w.csv", utf16);
    RecordOptions options;
    options.csv.delimiter.reset();
    expect_found_again(folder / "x.csv", SourceFormat::Csv, options, 500);
    expect_found_again(folder / "x.jsonl", SourceFormat::JsonLines, options, 500);
    expect_found_again(folder / "w.csv", SourceFormat::Csv, options, 2);

    auto database = duckdb::Database::open("", {{"threads", "1"}});
    auto connection = database->connect();
    ASSERT_THAT(connection->execute(fmt::format(
                    "COPY (SELECT range AS id, 'x' || range AS t FROM range(100)) TO {}",
                    duckdb::quote_literal((folder / "x.parquet").string()))),
                IsOk());
    expect_found_again(folder / "x.parquet", SourceFormat::Parquet, options, 100);
}

TEST(ReadRecordAt, KeepsWhatMadeARecordMalformed) {
    const TempDir folder;
    write_file(folder / "x.csv", "a,b\n1,2,3\n4,5\n");
    const auto found =
        read_record_at(folder / "x.csv", SourceFormat::Csv, {}, {2, 4, 9}, Deadline::never());
    ASSERT_THAT(found, IsOk());
    ASSERT_TRUE(found->malformed);
    EXPECT_EQ(found->malformed->rule, "field_count");
    EXPECT_EQ(found->raw, "1,2,3");
}

TEST(ReadRecordAt, RefusesPositionsWhereNoRecordStands) {
    const TempDir folder;
    write_file(folder / "x.csv", "a,b\n1,2\n3,4\n");
    const auto at = [&](int64_t start, int64_t end) {
        return read_record_at(folder / "x.csv", SourceFormat::Csv, {}, {2, start, end},
                              Deadline::never());
    };
    EXPECT_THAT(at(4, 11), IsError(ErrorCode::Corrupt, "exactly one record"));
    EXPECT_THAT(at(4, 700), IsError(ErrorCode::NotFound));
    EXPECT_THAT(at(-1, 7), IsError(ErrorCode::NotFound));
    EXPECT_THAT(at(7, 4), IsError(ErrorCode::NotFound));
    EXPECT_THAT(
        read_record_at(folder / "absent.csv", SourceFormat::Csv, {}, {2, 4, 7}, Deadline::never()),
        IsError(ErrorCode::NotFound, "absent.csv"));
}

}  // namespace
}  // namespace px::source
