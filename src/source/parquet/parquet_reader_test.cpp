#include "source/parquet/parquet_reader.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "capi/duckdb/duckdb_handle.h"
#include "source/record_text.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::source {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using px::testing::TempDir;
using px::testing::write_file;

using Fields = std::vector<std::optional<std::string>>;

void write_parquet(const std::filesystem::path& path, const std::string& select) {
    auto database = duckdb::Database::open("", {{"threads", "1"}});
    ASSERT_THAT(database, IsOk());
    auto connection = database->connect();
    ASSERT_THAT(connection, IsOk());
    ASSERT_THAT(
        connection->execute(fmt::format("COPY ({}) TO {} (FORMAT PARQUET, ROW_GROUP_SIZE 2048)",
                                        select, duckdb::quote_literal(path.string()))),
        IsOk());
}

TEST(ParquetReader, ReadsTheFileOfThatNameAndNoOther) {
    const TempDir folder;
    for (const char* name : {"a1.parquet", "a*.parquet", "[1] b?.parquet"})
        write_parquet(folder / name, fmt::format("SELECT '{}' AS name", name));
    for (const char* name : {"a*.parquet", "[1] b?.parquet"}) {
        auto reader = open_parquet(folder / name, {});
        ASSERT_THAT(reader, IsOk());
        const auto read = testing::read_all(**reader);
        ASSERT_EQ(read.records.size(), 1U) << name;
        EXPECT_EQ(read.records[0].fields[0], name);
    }
}

TEST(ParquetReader, WritesEveryTypeInTheGrammarOfContracts) {
    const TempDir folder;
    write_parquet(
        folder / "x.parquet",
        "SELECT 'ä\"' AS s, true AS b, 42::INTEGER AS i, (-9223372036854775808)::BIGINT AS l, "
        "0.5::DOUBLE AS d, "
        "1e20::DOUBLE AS e, 0.05::DECIMAL(4,2) AS c, 12345678901234567.89::DECIMAL(20,2) AS w, "
        "DATE '2026-11-23' AS day, "
        "TIMESTAMP '2026-11-23 08:27:01.5' AS t, TIMESTAMPTZ '2026-11-23 08:27:01+02' AS z, "
        "TIMESTAMP_NS '2026-11-23 08:27:01.123456789' AS n, [1, NULL, 3] AS a, {'x': 1, 'y': 'q'} "
        "AS o, "
        "'\\x00\\xFF'::BLOB AS r, NULL::VARCHAR AS nothing, 7::UBIGINT AS u");
    auto reader = open_parquet(folder / "x.parquet", {});
    ASSERT_THAT(reader, IsOk());
    const auto read = testing::read_all(**reader);
    ASSERT_FALSE(read.error) << read.error->to_string();
    EXPECT_EQ(read.columns,
              (std::vector<std::string>{"s", "b", "i", "l", "d", "e", "c", "w", "day", "t", "z",
                                        "n", "a", "o", "r", "nothing", "u"}));
    ASSERT_EQ(read.records.size(), 1U);
    EXPECT_EQ(read.records[0].fields,
              (Fields{"ä\"", "true", "42", "-9223372036854775808", "0.5", "1e+20", "0.05",
                      "12345678901234567.89", "2026-11-23", "2026-11-23T08:27:01.500000Z",
                      "2026-11-23T06:27:01.000000Z", "2026-11-23T08:27:01.123456789Z", "[1,null,3]",
                      "{\"x\":1,\"y\":\"q\"}", "AP8=", std::nullopt, "7"}));
    EXPECT_EQ(read.records[0].position.line, 1);
    EXPECT_EQ(read.records[0].position.byte_start, 0);
    EXPECT_EQ(read.records[0].position.byte_end,
              static_cast<int64_t>(std::filesystem::file_size(folder / "x.parquet")));
    EXPECT_EQ(read.records[0].raw.substr(0, 27), "{\"s\":\"ä\\\"\",\"b\":\"true\",\"i\":");
}

TEST(ParquetReader, KeepsTheOrderOfTheFileOverRowGroups) {
    const TempDir folder;
    write_parquet(folder / "x.parquet", "SELECT i, 'row ' || i AS name FROM range(10000) t(i)");
    auto reader = open_parquet(folder / "x.parquet", {});
    ASSERT_THAT(reader, IsOk());
    const auto read = testing::read_all(**reader);
    ASSERT_EQ(read.records.size(), 10'000U);
    for (size_t i = 0; i < read.records.size(); ++i) {
        ASSERT_EQ(read.records[i].fields, (Fields{std::to_string(i), "row " + std::to_string(i)}));
        ASSERT_EQ(read.records[i].position.line, static_cast<int64_t>(i) + 1);
    }
    auto later = open_parquet(folder / "x.parquet", {}, 9'998);
    ASSERT_THAT(later, IsOk());
    const auto rest = testing::read_all(**later);
    ASSERT_EQ(rest.records.size(), 2U);
    EXPECT_EQ(*rest.records[0].fields[0], "9998");
    EXPECT_EQ(rest.records[0].position.line, 9'999);
}

TEST(ParquetReader, AFileWithoutRowsHasColumns) {
    const TempDir folder;
    write_parquet(folder / "x.parquet", "SELECT 1 AS a, 'x' AS \"b \"\"c\" WHERE false");
    auto reader = open_parquet(folder / "x.parquet", {});
    ASSERT_THAT(reader, IsOk());
    EXPECT_EQ((*reader)->columns(), (std::vector<std::string>{"a", "b \"c"}));
    EXPECT_TRUE(testing::read_all(**reader).records.empty());
}

TEST(ParquetReader, MarksValuesNoFieldMayHold) {
    const TempDir folder;
    write_parquet(folder / "x.parquet",
                  "SELECT 'a' || chr(0) AS s UNION ALL SELECT 'long text' UNION ALL SELECT 'ok'");
    ParquetOptions options;
    options.max_field_bytes = 5;
    auto reader = open_parquet(folder / "x.parquet", options);
    ASSERT_THAT(reader, IsOk());
    const auto read = testing::read_all(**reader);
    ASSERT_EQ(read.records.size(), 3U);
    EXPECT_EQ(read.records[0].rule, "encoding");
    EXPECT_EQ(read.records[1].rule, "too_long");
    EXPECT_EQ(read.records[2].fields, Fields{"ok"});
}

TEST(ParquetReader, RefusesWhatIsNoParquetFile) {
    const TempDir folder;
    write_parquet(folder / "x.parquet", "SELECT range AS i FROM range(5000)");
    std::string bytes = px::testing::read_file(folder / "x.parquet");
    write_file(folder / "cut.parquet", bytes.substr(0, bytes.size() / 2));
    write_file(folder / "text.parquet", "a,b\n1,2\n");
    write_file(folder / "empty.parquet", "");
    EXPECT_THAT(open_parquet(folder / "cut.parquet", {}),
                IsError(ErrorCode::Corrupt, "cut.parquet"));
    EXPECT_THAT(open_parquet(folder / "text.parquet", {}),
                IsError(ErrorCode::Corrupt, "text.parquet"));
    EXPECT_THAT(open_parquet(folder / "empty.parquet", {}), IsError(ErrorCode::Corrupt, "empty"));
    EXPECT_THAT(open_parquet(folder / "absent.parquet", {}),
                IsError(ErrorCode::NotFound, "absent.parquet"));
    EXPECT_THAT(open_parquet(folder / "*.parquet", {}), IsError(ErrorCode::NotFound));
    EXPECT_THAT(open_parquet(folder / "\\*.parquet", {}), IsError(ErrorCode::InvalidArgument));
    for (size_t i = 4; i < bytes.size() - 8; i += 97) bytes[i] = static_cast<char>(bytes[i] ^ 0x5A);
    write_file(folder / "broken.parquet", bytes);
    auto broken = open_parquet(folder / "broken.parquet", {});
    if (broken) {
        EXPECT_TRUE(testing::read_all(**broken).error);
    } else {
        EXPECT_EQ(broken.error().code, ErrorCode::Corrupt);
    }
}

}  // namespace
}  // namespace px::source
