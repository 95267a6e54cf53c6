#include "source/jsonl/jsonl_reader.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "source/record_text.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::source {
namespace {

using px::testing::IsError;
using px::testing::TempDir;
using px::testing::write_file;
using testing::as_json;
using testing::jsonl_options_from;
using testing::read_all;
using testing::ReadRecords;

namespace json = boost::json;

ReadRecords read_jsonl(const std::filesystem::path& path, const JsonlOptions& options) {
    auto reader = open_jsonl(path, options);
    if (!reader) {
        ReadRecords none;
        none.error = reader.error();
        return none;
    }
    return read_all(**reader);
}

TEST(JsonlReader, DoesWhatTheCasesSay) {
    const TempDir folder;
    std::ifstream file(std::string(PX_SOURCE_DIR) + "/tests/cases/source/jsonl.case");
    std::string line;
    size_t count = 0;
    while (std::getline(file, line)) {
        if (line.empty() || line[0] == '#') continue;
        json::error_code error;
        const json::value parsed = json::parse(line, error);
        ASSERT_FALSE(error) << line;
        const json::object& item = parsed.as_object();
        ++count;
        std::string text;
        if (const auto* hex = item.if_contains("hex")) {
            const std::string digits(hex->as_string());
            for (size_t i = 0; i + 1 < digits.size(); i += 2) {
                text += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
            }
        } else {
            text = std::string(item.at("text").as_string());
        }
        write_file(folder / "case.jsonl", text);
        for (const int64_t block_bytes : {512 << 10, 64}) {
            SCOPED_TRACE(fmt::format("{} (blocks of {} bytes)",
                                     std::string(item.at("name").as_string()), block_bytes));
            JsonlOptions options = item.contains("options")
                                       ? jsonl_options_from(item.at("options").as_object())
                                       : JsonlOptions{};
            options.block_bytes = block_bytes;
            const ReadRecords read = read_jsonl(folder / "case.jsonl", options);
            const json::object found = as_json(read);
            for (const char* key : {"columns", "rows", "at"}) {
                if (item.contains(key)) {
                    EXPECT_EQ(json::serialize(found.at(key)), json::serialize(item.at(key)));
                }
            }
            const std::string expected =
                item.contains("error") ? std::string(item.at("error").as_string()) : std::string();
            const std::string message = read.error ? read.error->to_string() : std::string();
            if (expected.empty()) {
                EXPECT_EQ(message, "");
            } else {
                EXPECT_NE(message.find(expected), std::string::npos) << message;
            }
        }
    }
    EXPECT_GT(count, 30U);
}

TEST(JsonlReader, NamesTheUnknownKeyAndThePlaceOfAFault) {
    const TempDir folder;
    write_file(folder / "x.jsonl", "{\"a\":1}\n{\"a\":2,\"colour\":3}\n{\"a\":]}\n");
    JsonlOptions options;
    options.sample_records = 1;
    const ReadRecords read = read_jsonl(folder / "x.jsonl", options);
    ASSERT_EQ(read.records.size(), 3U);
    EXPECT_EQ(read.records[1].reason, "the key \"colour\" is not among the 1 columns of the file");
    EXPECT_NE(read.records[2].reason.find("at byte 5 of the record"), std::string::npos)
        << read.records[2].reason;
}

TEST(JsonlReader, AgreesWithAParserOnRandomRecords) {
    const TempDir folder;
    for (uint32_t seed = 0; seed < 300; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937 random(seed);
        const auto random_value = [&](auto&& self, int depth) -> json::value {
            switch (random() % (depth < 3 ? 8 : 6)) {
                case 0:
                    return nullptr;
                case 1:
                    return random() % 2 == 0;
                case 2:
                    return static_cast<int64_t>(random()) - 2'000'000'000;
                case 3:
                    return json::string(std::string(random() % 90, 'x'));
                case 4:
                    return json::string("q\"\\\n\t\x01 ä€😀");
                case 5:
                    return json::string("");
                case 6: {
                    json::array array;
                    for (size_t i = 0; i < random() % 4; ++i)
                        array.push_back(self(self, depth + 1));
                    return array;
                }
                default: {
                    json::object object;
                    for (size_t i = 0; i < random() % 4; ++i)
                        object[fmt::format("k\"{}", i)] = self(self, depth + 1);
                    return object;
                }
            }
        };
        std::vector<json::object> objects;
        std::string text;
        for (size_t i = 0; i < 1 + random() % 30; ++i) {
            json::object object;
            object["first"] = static_cast<int64_t>(i);
            for (size_t key = 0; key < random() % 6; ++key) {
                object[fmt::format("key {}", random() % 9)] = random_value(random_value, 0);
            }
            text += json::serialize(object) + "\n";
            objects.push_back(std::move(object));
        }
        write_file(folder / "x.jsonl", text);
        JsonlOptions options;
        options.block_bytes = 64 + static_cast<int64_t>(random() % 500);
        const ReadRecords read = read_jsonl(folder / "x.jsonl", options);
        ASSERT_FALSE(read.error) << read.error->to_string();
        ASSERT_EQ(read.records.size(), objects.size());
        for (size_t i = 0; i < objects.size(); ++i) {
            ASSERT_EQ(read.records[i].rule, "") << read.records[i].reason;
            for (size_t column = 0; column < read.columns.size(); ++column) {
                const json::value* value = objects[i].if_contains(read.columns[column]);
                std::optional<std::string> expected;
                if (value != nullptr && value->is_string()) {
                    expected = std::string(value->as_string());
                } else if (value != nullptr && !value->is_null()) {
                    expected = json::serialize(*value);
                }
                EXPECT_EQ(read.records[i].fields[column], expected);
            }
        }
    }
}

TEST(JsonlReader, SkipsALineAboveTheLimitWithoutHoldingIt) {
    const TempDir folder;
    const std::string text = "{\"a\":1}\n{\"a\":\"" + std::string(100'000, 'x') +
                             "\"}\n{\"a\":2}\n{\"a\":\"" + std::string(5000, 'y');
    write_file(folder / "x.jsonl", text);
    JsonlOptions options;
    options.sample_records = 1;
    options.max_record_bytes = 100;
    options.block_bytes = 64;
    const ReadRecords read = read_jsonl(folder / "x.jsonl", options);
    ASSERT_FALSE(read.error);
    ASSERT_EQ(read.records.size(), 4U);
    EXPECT_EQ(read.records[1].rule, "too_long");
    EXPECT_EQ(read.records[1].position.byte_end, 8 + 8 + 100'000);
    EXPECT_EQ(*read.records[2].fields[0], "2");
    EXPECT_EQ(read.records[2].position.line, 3);
    EXPECT_EQ(read.records[3].rule, "too_long");
    EXPECT_EQ(read.records[3].position.byte_end, static_cast<int64_t>(text.size()));
}

TEST(JsonlReader, SurvivesMutatedFiles) {
    const TempDir folder;
    const std::string seed_text =
        "{\"a\":1,\"b\":\"x\\u00e4\"}\n{\"b\":[1,{\"c\":null}],\"a\":-1.5e3}\r\n\n{\"a\":"
        "\"\xC3\xA4\",\"b\":{}}\n";
    for (uint32_t seed = 0; seed < 500; ++seed) {
        std::mt19937 random(seed);
        std::string text = seed_text;
        for (size_t i = 0; i < 1 + random() % 6; ++i) {
            const size_t at = random() % text.size();
            switch (random() % 3) {
                case 0:
                    text[at] = static_cast<char>(random());
                    break;
                case 1:
                    text.erase(at, 1 + random() % 4);
                    break;
                default:
                    text.insert(at, text.substr(random() % text.size(), random() % 30));
            }
            if (text.empty()) text = "{";
        }
        write_file(folder / "x.jsonl", text);
        JsonlOptions options;
        options.block_bytes = 64;
        const ReadRecords small = read_jsonl(folder / "x.jsonl", options);
        options.block_bytes = 1 << 20;
        const ReadRecords large = read_jsonl(folder / "x.jsonl", options);
        EXPECT_EQ(small.error.has_value(), large.error.has_value()) << seed;
        EXPECT_TRUE(small.records == large.records) << seed;
    }
}

}  // namespace
}  // namespace px::source
