#include "source/csv/csv_reader.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "source/csv/scan.h"
#include "source/record_text.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::source {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using px::testing::TempDir;
using px::testing::write_file;
using testing::as_json;
using testing::csv_options_from;
using testing::read_all;
using testing::ReadRecords;
using testing::SlabbedReader;

namespace json = boost::json;

std::string from_hex(std::string_view hex) {
    std::string bytes;
    for (size_t i = 0; i + 1 < hex.size(); i += 2) {
        bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
    }
    return bytes;
}

ReadRecords read_csv(const std::filesystem::path& path, const CsvOptions& options) {
    auto reader = open_csv(path, options);
    if (!reader) {
        ReadRecords none;
        none.error = reader.error();
        return none;
    }
    ReadRecords read = read_all(**reader);
    // Slab by slab the same comes out.
    SlabbedReader slabs(std::move(open_csv(path, options)).value(), options);
    const ReadRecords slabbed = read_all(slabs);
    EXPECT_EQ(read.error.has_value(), slabbed.error.has_value());
    if (read.error && slabbed.error) {
        EXPECT_EQ(read.error->message, slabbed.error->message);
    }
    EXPECT_EQ(read.error ? 0 : read.records.size(), slabbed.error ? 0 : slabbed.records.size());
    // How a record above the limit is cut off depends on where blocks end.
    const bool too_long = std::ranges::any_of(
        read.records, [](const auto& record) { return record.rule == "too_long"; });
    if (!read.error && !too_long) {
        EXPECT_TRUE(read.records == slabbed.records);
    }
    return read;
}

std::vector<json::object> read_cases(const std::string& name) {
    std::ifstream file(std::string(PX_SOURCE_DIR) + "/tests/cases/source/" + name);
    std::vector<json::object> cases;
    std::string line;
    while (std::getline(file, line)) {
        if (line.empty() || line[0] == '#') continue;
        json::error_code error;
        cases.push_back(json::parse(line, error).as_object());
        EXPECT_FALSE(error) << line;
    }
    return cases;
}

TEST(CsvReader, DoesWhatTheCasesSay) {
    const TempDir folder;
    const auto cases = read_cases("csv.case");
    ASSERT_GT(cases.size(), 60U);
    for (const json::object& item : cases) {
        const std::string name(item.at("name").as_string());
        const std::string text = item.contains("hex")
                                     ? from_hex(std::string(item.at("hex").as_string()))
                                     : std::string(item.at("text").as_string());
        const json::object* given =
            item.contains("options") ? &item.at("options").as_object() : nullptr;
        write_file(folder / "case.csv", text);
        for (const csv::ScanKernel& kernel : csv::supported_scan_kernels()) {
            // Small blocks put every boundary into the middle of something.
            for (const int64_t block_bytes : {512 << 10, 64, 67}) {
                for (const int64_t block_rows : {1000, 1}) {
                    SCOPED_TRACE(fmt::format("{} (kernel {}, blocks of {} bytes, {} rows)", name,
                                             kernel.name, block_bytes, block_rows));
                    CsvOptions options = given == nullptr ? CsvOptions{} : csv_options_from(*given);
                    options.scan_kernel = std::string(kernel.name);
                    options.block_bytes = block_bytes;
                    options.block_rows = block_rows;
                    const ReadRecords read = read_csv(folder / "case.csv", options);
                    const json::object found = as_json(read);
                    for (const char* key : {"columns", "rows", "at"}) {
                        if (item.contains(key)) {
                            EXPECT_EQ(json::serialize(found.at(key)),
                                      json::serialize(item.at(key)));
                        }
                    }
                    const std::string expected = item.contains("error")
                                                     ? std::string(item.at("error").as_string())
                                                     : std::string();
                    const std::string error = read.error ? read.error->to_string() : std::string();
                    if (expected.empty()) {
                        EXPECT_EQ(error, "");
                    } else {
                        EXPECT_NE(error.find(expected), std::string::npos) << error;
                        EXPECT_NE(error.find(". "), std::string::npos) << "no hint: " << error;
                    }
                }
            }
        }
    }
}

/// Strict RFC 4180 with LF, CR LF or CR as line end, character by character: the reference for the
/// scanner.
ReadRecords read_naively(const std::string& text) {
    ReadRecords read;
    size_t at = 0;
    int64_t line = 1;
    bool has_header = false;
    while (at < text.size()) {
        ReadRecords::Record record;
        record.position = {line, static_cast<int64_t>(at), 0};
        bool stray = false;
        bool ended = false;
        while (!ended) {
            std::string field;
            bool quoted = false;
            if (at < text.size() && text[at] == '"') {
                quoted = true;
                const int64_t open_line = line;
                ++at;
                for (;;) {
                    if (at >= text.size()) {
                        read.error = fail(
                            ErrorCode::Corrupt,
                            fmt::format("the quote opened on line {} is never closed", open_line));
                        return read;
                    }
                    if (text[at] == '"') {
                        if (at + 1 < text.size() && text[at + 1] == '"') {
                            field += '"';
                            at += 2;
                            continue;
                        }
                        ++at;
                        break;
                    }
                    if (text[at] == '\n' ||
                        (text[at] == '\r' && !(at + 1 < text.size() && text[at + 1] == '\n')))
                        ++line;
                    field += text[at++];
                }
            }
            while (at < text.size() && text[at] != ',' && text[at] != '\n' && text[at] != '\r') {
                stray |= quoted || text[at] == '"';
                field += text[at++];
            }
            record.fields.emplace_back(field);
            record.quoted.push_back(quoted);
            if (at == text.size()) {
                record.position.byte_end = static_cast<int64_t>(at);
                ended = true;
            } else if (text[at] == ',') {
                ++at;
            } else {
                record.position.byte_end = static_cast<int64_t>(at);
                at += text[at] == '\r' && at + 1 < text.size() && text[at + 1] == '\n' ? 2 : 1;
                ++line;
                ended = true;
            }
        }
        const auto start = static_cast<size_t>(record.position.byte_start);
        record.raw = text.substr(start, static_cast<size_t>(record.position.byte_end) - start);
        if (!has_header) {
            if (record.raw.empty()) continue;
            if (stray || !utf8_is_valid(record.raw) || record.raw.find('\0') != std::string::npos) {
                read.error = fail(ErrorCode::Corrupt, "header");
                return read;
            }
            has_header = true;
            for (const auto& field : record.fields) read.columns.push_back(*field);
            continue;
        }
        if (record.raw.empty() && read.columns.size() > 1) continue;
        if (stray) {
            record.rule = "quote";
        } else if (record.fields.size() != read.columns.size()) {
            record.rule = "field_count";
        } else if (!utf8_is_valid(record.raw) || record.raw.find('\0') != std::string::npos) {
            record.rule = "encoding";
        }
        if (!record.rule.empty()) {
            record.fields.assign(read.columns.size(), std::nullopt);
            record.quoted.assign(read.columns.size(), false);
        }
        read.records.push_back(std::move(record));
    }
    if (!has_header) read.error = fail(ErrorCode::Corrupt, "header");
    return read;
}

TEST(CsvReader, AgreesWithANaiveReaderOnRandomText) {
    const TempDir folder;
    const std::vector<std::string> pieces = {
        ",",          ",",    ",",  "a", "bc",    "\"",       "\"\"",     "\n",
        "\n",         "\r\n", "\r", " ", "\"x\"", "\"y,\n\"", "\xC3\xA4", "long text of a field",
        "\"q\"\"r\"", "1",    "2"};
    for (uint32_t seed = 0; seed < 1500; ++seed) {
        SCOPED_TRACE(fmt::format("seed {}", seed));
        std::mt19937 random(seed);
        std::string text = seed % 3 == 0 ? "h\n" : "h,i,j\n";
        const size_t count = random() % 200;
        const size_t variety = seed % 5 == 0 ? pieces.size() : 4 + random() % (pieces.size() - 4);
        for (size_t i = 0; i < count; ++i) {
            if (seed % 2 == 0 &&
                random() % 3 != 0) {  // well-formed rows, so that something is left to read
                text += "12,\"a \"\"b\"\"\",xyz\n";
                continue;
            }
            text += pieces[random() % variety];
        }
        if (seed % 7 == 0)
            text += std::string(random() % 2, '\0') + (random() % 2 == 0 ? "\xC3" : "");
        write_file(folder / "random.csv", text);
        CsvOptions options;
        options.encoding = TextEncoding::Utf8;
        options.block_bytes = 64 + static_cast<int64_t>(random() % 300);
        options.block_rows = 1 + static_cast<int64_t>(random() % 20);
        const auto kernels = csv::supported_scan_kernels();
        options.scan_kernel = std::string(kernels[seed % kernels.size()].name);
        const ReadRecords expected = read_naively(text);
        const ReadRecords found = read_csv(folder / "random.csv", options);
        ASSERT_EQ(found.error.has_value(), expected.error.has_value())
            << (found.error ? found.error->to_string() : "no error");
        if (expected.error && expected.error->message == "header") continue;
        EXPECT_EQ(found.columns, expected.columns);
        ASSERT_EQ(found.records.size(), expected.records.size());
        for (size_t i = 0; i < expected.records.size(); ++i) {
            ReadRecords::Record record = found.records[i];
            record.reason.clear();
            ASSERT_TRUE(record == expected.records[i])
                << "record " << i << " line " << record.position.line << " raw <" << record.raw
                << "> rule " << record.rule << ", expected line "
                << expected.records[i].position.line << " raw <" << expected.records[i].raw
                << "> rule " << expected.records[i].rule;
        }
        if (expected.error) {
            EXPECT_NE(found.error->message.find(expected.error->message), std::string::npos)
                << found.error->message;
        }
    }
}

TEST(CsvReader, ReadsACellOf50MegabytesAndGivesTheMemoryBack) {
    const TempDir folder;
    std::string text = "id,text\n1,\"";
    const std::string sentence = "He said \"\"yes\"\",\nand left. ";
    while (text.size() < 50'000'000) text += sentence;
    text += "\"\n2,short\n";
    write_file(folder / "big.csv", text);
    const ReadRecords read = read_csv(folder / "big.csv", {});
    ASSERT_FALSE(read.error);
    ASSERT_EQ(read.records.size(), 2U);
    EXPECT_EQ(read.records[0].rule, "");
    EXPECT_GT(read.records[0].fields[1]->size(), 40'000'000U);
    EXPECT_EQ(read.records[0].fields[1]->substr(0, 14), "He said \"yes\",");
    EXPECT_EQ(*read.records[1].fields[1], "short");
    EXPECT_EQ(read.records[1].position.byte_end, static_cast<int64_t>(text.size()) - 1);
}

TEST(CsvReader, SkipsARecordAboveTheLimitWithoutHoldingIt) {
    const TempDir folder;
    for (const std::string& line_end :
         {std::string("\n"), std::string("\r\n"), std::string("\r")}) {
        for (const size_t size : {200U, 4096U, 100'000U, 100'063U}) {
            std::string text = "a,b" + line_end + "1,\"";
            text += std::string(size / 2, 'x') + "\"\",\n\r\n\r";
            text += std::string(size / 2, 'y') + "\"" + line_end;
            const size_t end = text.size() - line_end.size();
            text += "2,3" + line_end;
            write_file(folder / "long.csv", text);
            CsvOptions options;
            options.max_record_bytes = 128;
            options.block_bytes = 64;
            const ReadRecords read = read_csv(folder / "long.csv", options);
            SCOPED_TRACE(size);
            ASSERT_FALSE(read.error) << read.error->to_string();
            ASSERT_EQ(read.records.size(), 2U);
            EXPECT_EQ(read.records[0].rule, "too_long");
            EXPECT_EQ(read.records[0].position.byte_end, static_cast<int64_t>(end));
            EXPECT_EQ(read.records[0].raw,
                      text.substr(read.records[0].position.byte_start, read.records[0].raw.size()));
            EXPECT_EQ(read.records[1].rule, "");
            EXPECT_EQ(read.records[1].position.line, 6);
            EXPECT_EQ(*read.records[1].fields[1], "3");
        }
    }
}

TEST(CsvReader, ARecordAboveTheLimitThatNeverEndsNamesItsQuote) {
    const TempDir folder;
    write_file(folder / "open.csv", "a,b\n1,2\n3,\"" + std::string(10'000, '\n'));
    CsvOptions options;
    options.max_record_bytes = 128;
    options.block_bytes = 64;
    const ReadRecords read = read_csv(folder / "open.csv", options);
    ASSERT_TRUE(read.error);
    EXPECT_NE(read.error->message.find("the quote opened on line 3 is never closed"),
              std::string::npos);
    EXPECT_EQ(read.records.size(), 1U);
}

std::string gzip(const std::string& text) {
    z_stream state{};
    deflateInit2(&state, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    std::string out(deflateBound(&state, text.size()) + 32, '\0');
    state.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    state.avail_in = static_cast<uInt>(text.size());
    state.next_out = reinterpret_cast<Bytef*>(out.data());
    state.avail_out = static_cast<uInt>(out.size());
    deflate(&state, Z_FINISH);
    out.resize(state.total_out);
    deflateEnd(&state);
    return out;
}

std::string zstd(const std::string& text) {
    std::string out(ZSTD_compressBound(text.size()), '\0');
    out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
    return out;
}

TEST(CsvReader, ReadsCompressedFilesOfSeveralMembers) {
    const TempDir folder;
    std::string text = "a,b\n";
    for (int i = 0; i < 20'000; ++i) text += fmt::format("{},\"value {}\"\n", i, i);
    write_file(folder / "plain.csv", text);
    const std::string half = text.substr(0, 100'001);
    const std::string rest = text.substr(100'001);
    write_file(folder / "x.csv.gz", gzip(half) + gzip("") + gzip(rest));
    write_file(folder / "padded.csv.gz", gzip(text) + std::string(512, '\0'));
    write_file(folder / "x.csv.zst", zstd(half) + zstd(rest));
    write_file(folder / "named_plainly.csv", gzip(text));
    const ReadRecords expected = read_csv(folder / "plain.csv", {});
    for (const char* name : {"x.csv.gz", "padded.csv.gz", "x.csv.zst", "named_plainly.csv"}) {
        SCOPED_TRACE(name);
        const ReadRecords found = read_csv(folder / name, {});
        ASSERT_FALSE(found.error) << found.error->to_string();
        EXPECT_TRUE(found.records == expected.records);
        const auto reader = open_csv(folder / name, {});
        ASSERT_THAT(reader, IsOk());
        EXPECT_FALSE((*reader)->offsets_are_raw());
    }
}

TEST(CsvReader, RefusesBrokenCompressedFiles) {
    const TempDir folder;
    std::string text = "a,b\n";
    for (int i = 0; i < 20'000; ++i) text += fmt::format("{},{}\n", i, i * 7919 % 10007);
    const std::string packed = gzip(text);
    const std::string packed_zstd = zstd(text);
    std::string flipped = packed;
    flipped[flipped.size() / 2] = static_cast<char>(flipped[flipped.size() / 2] ^ 0x55);
    write_file(folder / "cut.csv.gz", packed.substr(0, packed.size() / 2));
    write_file(folder / "no_trailer.csv.gz", packed.substr(0, packed.size() - 4));
    write_file(folder / "flipped.csv.gz", flipped);
    write_file(folder / "trailing.csv.gz", packed + "and more");
    write_file(folder / "cut.csv.zst", packed_zstd.substr(0, packed_zstd.size() / 2));
    write_file(folder / "trailing.csv.zst", packed_zstd + "and more");
    write_file(folder / "not.csv.gz", "a,b\n1,2\n");
    write_file(folder / "empty.csv.gz", "");
    write_file(folder / "head.csv.gz", packed.substr(0, 3));
    for (const char* name :
         {"cut.csv.gz", "no_trailer.csv.gz", "flipped.csv.gz", "trailing.csv.gz", "cut.csv.zst",
          "trailing.csv.zst", "not.csv.gz", "empty.csv.gz", "head.csv.gz"}) {
        const ReadRecords found = read_csv(folder / name, {});
        ASSERT_TRUE(found.error) << name;
        EXPECT_EQ(found.error->code, ErrorCode::Corrupt) << name << found.error->to_string();
        EXPECT_NE(found.error->message.find(name), std::string::npos) << found.error->to_string();
    }
}

TEST(CsvReader, TellsWhatItSniffed) {
    const TempDir folder;
    write_file(folder / "x.csv", "a;b\n1;\xE9\n");
    CsvOptions options;
    options.delimiter.reset();
    const auto reader = open_csv(folder / "x.csv", options);
    ASSERT_THAT(reader, IsOk());
    EXPECT_EQ((*reader)->delimiter(), ";");
    EXPECT_EQ((*reader)->encoding(), TextEncoding::Windows1252);
    EXPECT_FALSE((*reader)->offsets_are_raw());
}

TEST(CsvReader, SaysWhatIsWrongWithAFileThatCannotBeOpened) {
    const TempDir folder;
    EXPECT_THAT(open_csv(folder / "absent.csv", {}), IsError(ErrorCode::NotFound, "absent.csv"));
    EXPECT_THAT(open_csv(folder.path(), {}), IsError(ErrorCode::InvalidArgument, "is a folder"));
}

TEST(CsvReader, StopsWhenCancelled) {
    const TempDir folder;
    write_file(folder / "x.csv", "a\n1\n");
    const auto reader = open_csv(folder / "x.csv", {});
    ASSERT_THAT(reader, IsOk());
    std::stop_source stop;
    stop.request_stop();
    RecordBlock block;
    Deadline deadline;
    deadline.stop = stop.get_token();
    EXPECT_THAT((*reader)->next(block, deadline), IsError(ErrorCode::Cancelled));
}

TEST(CsvReader, SurvivesMutatedFiles) {
    const TempDir folder;
    const std::string seed_text =
        "id,name,\"te\"\"xt\"\r\n1,\"a, \"\"b\"\"\",x\r\n2,\xC3\xA4\xE2\x82\xAC,\"y\nz\"\n\n3,,\n# "
        "c\n4;5;6\r7,8,9\n";
    for (uint32_t seed = 0; seed < 600; ++seed) {
        std::mt19937 random(seed);
        std::string text = seed_text;
        for (size_t i = 0; i < 1 + random() % 8; ++i) {
            const size_t at = random() % text.size();
            switch (random() % 4) {
                case 0:
                    text[at] = static_cast<char>(random());
                    break;
                case 1:
                    text.erase(at, 1 + random() % 5);
                    break;
                case 2:
                    text.insert(at, text.substr(random() % text.size(), random() % 40));
                    break;
                default:
                    text.insert(at, 1, ",\"\n\r\\\0\xFF;"[random() % 8]);
            }
            if (text.empty()) text = ",";
        }
        if (seed % 10 == 0) text = gzip(text);
        if (seed % 10 == 0 && random() % 2 == 0)
            text[random() % text.size()] = static_cast<char>(random());
        write_file(folder / "x.csv", text);
        CsvOptions options;
        if (seed % 3 == 0) options.delimiter.reset();
        if (seed % 4 == 0) options.escape = '\\';
        if (seed % 5 == 0) options.trim = true;
        if (seed % 7 == 0) options.comment = '#';
        if (seed % 11 == 0) options.delimiter = ", ";
        if (seed % 13 == 0) options.max_record_bytes = 20;
        if (options.delimiter == ", " && options.trim) options.trim = false;
        options.block_bytes = 64;
        options.block_rows = 1 + static_cast<int64_t>(random() % 3);
        const ReadRecords small = read_csv(folder / "x.csv", options);
        options.block_bytes = 1 << 20;
        options.block_rows = 1000;
        const ReadRecords large = read_csv(folder / "x.csv", options);
        // Blocks change nothing but how a record above the limit is cut off.
        EXPECT_EQ(small.error.has_value(), large.error.has_value()) << seed;
        EXPECT_EQ(small.records.size(), large.records.size()) << seed;
        if (seed % 13 != 0) {
            EXPECT_TRUE(small.records == large.records) << seed;
        }
    }
}

TEST(CsvReader, WhatIsKeptOfTooLongRecordsOutlivesTheNextBlock) {
    // Lone CRs, so that a record can end with the last byte of a block; escaped fields, which take
    // memory beside the text; blocks are read in turn, so that one must outlive the next.
    const px::testing::TempDir folder;
    CsvOptions options;
    options.block_bytes = 64;
    options.max_record_bytes = 64;
    for (size_t length = 40; length < 150; ++length) {
        for (const size_t next :
             {size_t{1}, size_t{30}, size_t{60}, 128 - length % 64, size_t{200}}) {
            std::string text = "a,b\r\"q\"\"\",1\r";
            text += std::string(length, 'x') + ",\"y\"\"\"\r";
            text += std::string(next, 'z') + ",\"w\"\"\"\r\"e\"\"\",2\r";
            write_file(folder / "x.csv", text);
            const ReadRecords read = read_csv(folder / "x.csv", options);
            ASSERT_FALSE(read.error) << read.error->message;
            ASSERT_EQ(read.records.size(), 4U) << length << " " << next;
            for (const size_t row : {size_t{1}, size_t{2}}) {
                const auto& record = read.records[row];
                const char letter = row == 1 ? 'x' : 'z';
                const size_t letters = row == 1 ? length : next;
                if (record.rule.empty()) {
                    EXPECT_EQ(record.fields[0], std::string(letters, letter))
                        << length << " " << next;
                    continue;
                }
                EXPECT_EQ(record.rule, "too_long");
                EXPECT_EQ(record.raw.substr(0, std::min(letters, record.raw.size())),
                          std::string(std::min(letters, record.raw.size()), letter))
                    << length << " " << next;
            }
            EXPECT_EQ(read.records[3].fields[0], "e\"");
        }
    }
}

}  // namespace
}  // namespace px::source
