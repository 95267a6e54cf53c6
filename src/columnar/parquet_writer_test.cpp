#include "columnar/parquet_writer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <random>

#include "base/clock.h"
#include "base/sha256.h"

namespace px::columnar {
namespace {

namespace fs = std::filesystem;

/// A folder of its own, removed at the end.
class ParquetWriterTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = (fs::temp_directory_path() / "px_columnar_XXXXXX").string();
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
    }
    void TearDown() override { fs::remove_all(folder_); }

    static std::string content(const fs::path& path) {
        std::ifstream in(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }

    ParquetFileInfo write(const std::string& name, const Schema& schema,
                          const std::vector<RecordBatch>& batches,
                          ParquetWriterOptions options = {}) {
        auto writer = ParquetWriter::create(folder_ / name, schema, options).value();
        for (const RecordBatch& batch : batches) EXPECT_TRUE(writer->write(batch));
        return writer->close().value();
    }

    fs::path folder_;
};

Schema every_type() {
    return {{{"bool", {TypeId::Bool}},
             {"int", {TypeId::Int32}},
             {"long", {TypeId::Int64}},
             {"float", {TypeId::Float32}},
             {"double", {TypeId::Float64}},
             {"small", {TypeId::Decimal, 7, 2}},
             {"money", {TypeId::Decimal, 18, 2}},
             {"wide", {TypeId::Decimal, 38, 10}},
             {"day", {TypeId::Date}},
             {"at", {TypeId::Timestamp}},
             {"text", {TypeId::String}},
             {"blob", {TypeId::Binary}},
             {"vector", {TypeId::FloatList}}}};
}

void append_row(RecordBatch& batch, std::mt19937_64& random) {
    const auto null_or = [&](size_t column, auto append) {
        if (random() % 7 == 0) {
            batch.column(column).append_null();
        } else {
            append(batch.column(column));
        }
    };
    const auto number = [&] { return static_cast<int64_t>(random() % 1'000'000); };
    null_or(0, [&](Column& c) { c.append_bool(number() % 2 == 0); });
    null_or(1, [&](Column& c) { c.append_int32(static_cast<int32_t>(number())); });
    null_or(2, [&](Column& c) { c.append_int64(number()); });
    null_or(3, [&](Column& c) { c.append_float(static_cast<float>(number()) / 4); });
    null_or(4, [&](Column& c) { c.append_double(static_cast<double>(number()) / 3); });
    null_or(5, [&](Column& c) { c.append_int64(number()); });
    null_or(6, [&](Column& c) { c.append_int64(number() % 50); });
    null_or(7, [&](Column& c) { c.append_int128(Int128{number()} * number() * number()); });
    null_or(8, [&](Column& c) { c.append_int32(static_cast<int32_t>(number() % 20'000)); });
    null_or(9, [&](Column& c) { c.append_int64(number() * 1'000'000); });
    null_or(10, [&](Column& c) { c.append_bytes(fmt::format("text {}", number() % 300)); });
    null_or(11, [&](Column& c) { c.append_bytes(std::string(random() % 30, '\xFE')); });
    null_or(12, [&](Column& c) {
        const std::vector<float> floats(random() % 5, 0.5F);
        c.append_floats(floats.data(), floats.size());
    });
}

TEST_F(ParquetWriterTest, BytesDoNotDependOnHowRowsAreBatched) {
    ParquetWriterOptions options;
    options.row_group_rows = 1'700;
    options.row_group_bytes = 150'000;
    options.page_bytes = 3'000;
    options.dictionary_bytes = 2'000;
    std::string first;
    for (const size_t batch_rows : {1UL, 7UL, 1000UL, 5'000UL}) {
        std::mt19937_64 random(11);
        std::vector<RecordBatch> batches;
        for (size_t row = 0; row < 5'000; ++row) {
            if (row % batch_rows == 0) batches.emplace_back(every_type());
            append_row(batches.back(), random);
        }
        const ParquetFileInfo info = write("a.parquet", every_type(), batches, options);
        const std::string bytes = content(folder_ / "a.parquet");
        EXPECT_EQ(info.row_count, 5'000);
        EXPECT_EQ(info.size_bytes, static_cast<int64_t>(bytes.size()));
        EXPECT_EQ(info.sha256, sha256_hex(bytes));
        if (first.empty()) first = bytes;
        EXPECT_TRUE(bytes == first) << "batches of " << batch_rows;
    }
    EXPECT_EQ(first.substr(0, 4), "PAR1");
    EXPECT_EQ(first.substr(first.size() - 4), "PAR1");
    EXPECT_NE(first.find("pipeline-x"), std::string::npos);
}

TEST_F(ParquetWriterTest, TellsTheLogLeastAndGreatestValues) {
    const Schema schema = every_type();
    RecordBatch batch(schema);
    batch.column(0).append_bool(true);
    batch.column(1).append_int32(-5);
    batch.column(2).append_int64(std::numeric_limits<int64_t>::min());
    batch.column(3).append_float(0.1F);
    batch.column(4).append_double(-1.5e300);
    batch.column(5).append_int64(-1);
    batch.column(6).append_int64(123456);
    batch.column(7).append_int128(-1);
    batch.column(8).append_int32(parse_date("2024-02-29").value());
    batch.column(9).append_int64(1'000'001);
    batch.column(10).append_bytes("a \"quoted\"\n");
    batch.column(11).append_bytes("\x01");
    batch.column(12).append_floats(nullptr, 0);
    for (size_t c = 0; c < batch.column_count(); ++c) batch.column(c).append_null();
    const ParquetFileInfo info = write("a.parquet", schema, {batch});
    const auto both = [&](size_t column) {
        const ColumnStatistics& statistics = info.columns[column];
        EXPECT_EQ(statistics.null_count, 1) << column;
        EXPECT_EQ(statistics.min_json, statistics.max_json) << column;
        return statistics.min_json.value_or("absent");
    };
    EXPECT_EQ(both(0), "absent");
    EXPECT_EQ(both(1), "-5");
    EXPECT_EQ(both(2), "-9223372036854775808");
    EXPECT_EQ(both(3), "0.10000000149011612");
    EXPECT_EQ(both(4), "-1.5e+300");
    EXPECT_EQ(both(5), "-0.01");
    EXPECT_EQ(both(6), "1234.56");
    EXPECT_EQ(both(7), "-0.0000000001");
    EXPECT_EQ(both(8), "\"2024-02-29\"");
    EXPECT_EQ(both(9), "\"1970-01-01T00:00:01.000001Z\"");
    EXPECT_EQ(both(10), R"("a \"quoted\"\n")");
    EXPECT_EQ(both(11), "absent");
    EXPECT_EQ(both(12), "absent");
}

TEST_F(ParquetWriterTest, CutsLongTextsAndRoundsTheGreatestUp) {
    const Schema schema{{{"t", {TypeId::String}}}};
    const auto statistics_of = [&](const std::vector<std::string>& values) {
        RecordBatch batch(schema);
        for (const auto& value : values) batch.column(0).append_bytes(value);
        return write("a.parquet", schema, {batch}).columns[0];
    };
    const auto json = [](size_t xs, std::string_view end) {
        return fmt::format("\"{}{}\"", std::string(xs, 'x'), end);
    };
    const std::string x32(32, 'x');
    const std::string x32a = fmt::format("{}a", x32);
    EXPECT_EQ(statistics_of({x32}).max_json, json(32, ""));
    EXPECT_EQ(statistics_of({x32a}).min_json, json(32, ""));
    EXPECT_EQ(statistics_of({x32a}).max_json, json(31, "y"));
    EXPECT_EQ(statistics_of({x32, x32a}).max_json, json(31, "y"));

    const std::string last = "\xF4\x8F\xBF\xBF";  // U+10FFFF can't be raised
    const std::string tail = fmt::format("{}{}{}more", std::string(30, 'x'), last, last);
    EXPECT_EQ(statistics_of({tail}).max_json, json(29, "y"));
    std::string all_last;
    for (int i = 0; i < 40; ++i) all_last += last;
    EXPECT_EQ(statistics_of({all_last}).max_json, std::nullopt);
    EXPECT_TRUE(statistics_of({all_last}).min_json.has_value());

    // U+D7FF is followed by U+E000.
    EXPECT_EQ(statistics_of({fmt::format("{}\xED\x9F\xBFmore", std::string(31, 'x'))}).max_json,
              json(31, "\xEE\x80\x80"));
    EXPECT_EQ(statistics_of({"", "b"}).min_json, "\"\"");
    EXPECT_EQ(statistics_of({"a\xFF"}).min_json, std::nullopt);
}

TEST_F(ParquetWriterTest, LeavesOutWhatCannotBeOrderedOrWritten) {
    const Schema schema{{{"d", {TypeId::Float64}}}};
    const auto statistics_of = [&](const std::vector<double>& values) {
        RecordBatch batch(schema);
        for (const double value : values) batch.column(0).append_double(value);
        return write("a.parquet", schema, {batch}).columns[0];
    };
    EXPECT_EQ(statistics_of({1, std::nan("")}).min_json, std::nullopt);
    EXPECT_EQ(statistics_of({1, INFINITY}).max_json, std::nullopt);
    EXPECT_EQ(statistics_of({1, INFINITY}).min_json, "1");
    EXPECT_EQ(statistics_of({}).min_json, std::nullopt);
    EXPECT_EQ(statistics_of({}).null_count, 0);
}

TEST_F(ParquetWriterTest, RemovesAFileThatWasNeverClosed) {
    const fs::path path = folder_ / "a.parquet";
    {
        auto writer = ParquetWriter::create(path, every_type(), {}).value();
        EXPECT_TRUE(fs::exists(path));
    }
    EXPECT_FALSE(fs::exists(path));
}

TEST_F(ParquetWriterTest, FullDiskIsResourceExhausted) {
    const fs::path link = folder_ / "full";
    fs::create_symlink("/dev/full", link);
    {
        const Schema schema{{{"t", {TypeId::String}}}};
        auto writer = ParquetWriter::create(link, schema, {}).value();
        RecordBatch batch(schema);
        batch.column(0).append_bytes("x");
        EXPECT_TRUE(writer->write(batch));
        const auto closed = writer->close();
        ASSERT_FALSE(closed);
        EXPECT_EQ(closed.error().code, ErrorCode::ResourceExhausted);
        EXPECT_NE(closed.error().message.find("full"), std::string::npos);
    }
    EXPECT_FALSE(fs::is_symlink(link));
    EXPECT_TRUE(fs::exists("/dev/full"));
}

TEST_F(ParquetWriterTest, RefusesWhatItCannotWrite) {
    const auto code = [&](const Schema& schema, ParquetWriterOptions options) {
        return ParquetWriter::create(folder_ / "a.parquet", schema, options).error().code;
    };
    EXPECT_EQ(code({}, {}), ErrorCode::InvalidArgument);
    EXPECT_EQ(code({{{"d", {TypeId::Decimal, 39, 2}}}}, {}), ErrorCode::InvalidArgument);
    EXPECT_EQ(code({{{"d", {TypeId::Bool}}}}, {.page_bytes = 0}), ErrorCode::InvalidArgument);
    EXPECT_EQ(
        ParquetWriter::create(folder_ / "no" / "a", {{{"d", {TypeId::Bool}}}}, {}).error().code,
        ErrorCode::NotFound);

    const Schema required{{{"n", {TypeId::Int64}, false}}};
    auto writer = ParquetWriter::create(folder_ / "b.parquet", required, {}).value();
    RecordBatch batch(required);
    batch.column(0).append_null();
    EXPECT_EQ(writer->write(batch).error().code, ErrorCode::InvalidArgument);
    EXPECT_EQ(writer->write(RecordBatch(every_type())).error().code, ErrorCode::InvalidArgument);
    RecordBatch uneven(every_type());
    uneven.column(0).append_null();
    auto wide = ParquetWriter::create(folder_ / "c.parquet", every_type(), {}).value();
    EXPECT_EQ(wide->write(uneven).error().code, ErrorCode::InvalidArgument);
}

TEST_F(ParquetWriterTest, RepeatedTextsAndSteadyNumbersTakeAlmostNothing) {
    const Schema schema{{{"_px_file", {TypeId::String}}, {"_px_line", {TypeId::Int64}}}};
    RecordBatch batch(schema);
    for (int64_t i = 0; i < 100'000; ++i) {
        batch.column(0).append_bytes("reports/2026-11-23/0123456789abcdef");
        batch.column(1).append_int64(i + 2);
    }
    EXPECT_LT(write("a.parquet", schema, {batch}).size_bytes, 3'000);
}

}  // namespace
}  // namespace px::columnar
