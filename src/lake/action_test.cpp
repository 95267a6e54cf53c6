#include "lake/action.h"

#include <gtest/gtest.h>

#include <random>

#include "lake/schema_json.h"
#include "testing/matchers.h"

namespace px::lake {
namespace {

using px::testing::IsError;
using px::testing::IsOk;

const char* const kEntry =
    R"({"commitInfo":{"timestamp":1742317262289,"operation":"WRITE","operationParameters":{"mode":"Append","n":3,"x":null},"readVersion":0,"isBlindAppend":true,"txnId":"c098","runId":"r1"}}
{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["v2Checkpoint"],"writerFeatures":["v2Checkpoint"]}}
{"metaData":{"id":"5f54","name":null,"format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[]}","partitionColumns":["ds"],"configuration":{"delta.appendOnly":"true"},"createdTime":1742317261939,"unknown":{"a":[1]}}}
{"txn":{"appId":"nightly","version":7,"lastUpdated":1742317261939}}
{"domainMetadata":{"domain":"d","configuration":"{}","removed":false}}
{"add":{"path":"x=A%252FA/part%20é.parquet","partitionValues":{"ds":"2026-11-23","y":null,"z":""},"size":452,"modificationTime":1742317316825,"dataChange":true,"stats":"{\"numRecords\":1}","tags":{"k":"v"}}}
{"remove":{"path":"old.parquet","deletionTimestamp":5,"dataChange":true,"extendedFileMetadata":true,"partitionValues":{"ds":null},"size":3}}
{"somethingNew":{"a":1}}
)";

TEST(LogEntry, KeepsWhatTheLinesSay) {
    const Result<LogEntry> read = parse_log_entry(kEntry);
    ASSERT_THAT(read, IsOk());
    EXPECT_EQ(read->commit_info->timestamp_ms, 1742317262289);
    EXPECT_EQ(read->commit_info->run_id, "r1");
    EXPECT_EQ(read->commit_info->parameters.at("n"), "3");
    EXPECT_EQ(read->protocol->reader_features->at(0), "v2Checkpoint");
    EXPECT_EQ(read->metadata->configuration.at("delta.appendOnly"), "true");
    EXPECT_EQ(read->metadata->partition_columns.at(0), "ds");
    EXPECT_NE(read->metadata->json.find(R"("unknown":{"a":[1]})"), std::string::npos);
    EXPECT_EQ(read->transactions.at(0).version, 7);
    EXPECT_EQ(read->domains.at(0).domain, "d");
    const AddAction& add = read->adds.at(0);
    EXPECT_EQ(add.add.path, "x=A%2FA/part \xC3\xA9.parquet");
    EXPECT_EQ(add.encoded_path, "x=A%252FA/part%20\xC3\xA9.parquet");
    EXPECT_EQ(add.add.partition_values.at("ds"), "2026-11-23");
    EXPECT_EQ(add.add.partition_values.at("y"), std::nullopt);
    EXPECT_EQ(add.add.partition_values.at("z"), std::nullopt);
    EXPECT_EQ(add.extras_json, R"({"tags":{"k":"v"}})");
    EXPECT_EQ(stats_row_count(add.add), 1);
    EXPECT_EQ(read->removes.at(0).size_bytes, 3);
}

TEST(LogEntry, WrittenAndReadAgainIsTheSame) {
    const LogEntry first = parse_log_entry(kEntry).value();
    const std::string written = write_log_entry(first);
    const Result<LogEntry> second = parse_log_entry(written);
    ASSERT_THAT(second, IsOk());
    EXPECT_EQ(write_log_entry(*second), written);
    EXPECT_TRUE(written.starts_with(R"({"commitInfo":{)"));
    EXPECT_NE(written.find(R"("path":"x=A%252FA/part%20é.parquet")"), std::string::npos);
    EXPECT_NE(written.find(R"("tags":{"k":"v"})"), std::string::npos);
}

TEST(LogEntry, ADeletionVectorIsNamedByItsId) {
    const LogEntry entry =
        parse_log_entry(
            R"({"add":{"path":"a","size":1,"deletionVector":{"storageType":"u","pathOrInlineDv":"abc","offset":4,"sizeInBytes":1,"cardinality":1}}})")
            .value();
    EXPECT_EQ(entry.adds.at(0).deletion_vector, "uabc@4");
}

TEST(LogEntry, DamageIsCorruptWithItsLine) {
    const std::pair<const char*, const char*> cases[] = {
        {"{\"add\":{\"path\":\"a\"}}\n{\"add\":", "line 2"},
        {"[]", "not a JSON object"},
        {"{\"add\":7}", "'add' is not an object"},
        {"{\"add\":{\"size\":1}}", "'path' is missing"},
        {"{\"add\":{\"path\":\"\"}}", "'path' is empty"},
        {"{\"add\":{\"path\":\"a\",\"size\":-1}}", "negative size"},
        {"{\"add\":{\"path\":\"a\",\"size\":\"x\"}}", "'size' is not a whole number"},
        {"{\"add\":{\"path\":\"a\",\"size\":1e300}}", "'size' is not a whole number"},
        {"{\"add\":{\"path\":\"a\",\"partitionValues\":{\"x\":1}}}", "partition column 'x'"},
        {"{\"remove\":{}}", "'path' is missing"},
        {"{\"txn\":{\"appId\":\"a\"}}", "lacks its version"},
        {"{\"metaData\":{\"schemaString\":{}}}", "'schemaString' is not a string"},
        {"{\"protocol\":{\"minReaderVersion\":1}}", "lacks its versions"},
        {"{\"protocol\":{\"minReaderVersion\":1,\"minWriterVersion\":1,\"readerFeatures\":[1]}}",
         "'readerFeatures'"},
    };
    for (const auto& [bytes, text] : cases)
        EXPECT_THAT(parse_log_entry(bytes), IsError(ErrorCode::Corrupt, text)) << bytes;
    EXPECT_THAT(parse_log_entry(std::string(100'000, '[')), IsError(ErrorCode::Corrupt));
    EXPECT_THAT(
        parse_log_entry("{\"metaData\":{\"schemaString\":\"\",\"format\":{\"provider\":\"orc\"}}}"),
        IsError(ErrorCode::InvalidArgument, "orc"));
}

TEST(LogEntry, EmptyLinesAndCarriageReturnsAreNothing) {
    EXPECT_THAT(parse_log_entry(""), IsOk());
    EXPECT_EQ(parse_log_entry("\n\r\n{\"add\":{\"path\":\"a\"}}\r\n\n").value().adds.size(), 1U);
}

TEST(LogEntry, RandomDamageNeverCrashesAndIsNeverMisreadAsAnotherType) {
    constexpr uint64_t kSeed = 20261123;
    std::mt19937_64 random(kSeed);
    const std::string original = kEntry;
    for (int round = 0; round < 2000; ++round) {
        std::string bytes = original;
        const int changes = 1 + static_cast<int>(random() % 4);
        for (int i = 0; i < changes; ++i) {
            const size_t at = random() % bytes.size();
            switch (random() % 4) {
                case 0:
                    bytes[at] = static_cast<char>(random());
                    break;
                case 1:
                    bytes.erase(at, random() % 40);
                    break;
                case 2:
                    bytes.insert(at, bytes.substr(random() % bytes.size(), random() % 60));
                    break;
                default:
                    bytes.resize(at + 1);
                    break;
            }
            if (bytes.empty()) bytes = "x";
        }
        const Result<LogEntry> entry = parse_log_entry(bytes);
        if (entry) {
            EXPECT_THAT(parse_log_entry(write_log_entry(*entry)), IsOk())
                << "seed " << kSeed << " round " << round << "\n"
                << bytes;
            if (entry->metadata) (void)parse_schema(entry->metadata->schema_string).has_value();
        } else {
            EXPECT_TRUE(entry.error().code == ErrorCode::Corrupt ||
                        entry.error().code == ErrorCode::InvalidArgument);
        }
    }
}

TEST(Path, IsEncodedForTheLogAndBack) {
    EXPECT_EQ(encode_path("ds=2026-11-23/part-0a.snappy.parquet"),
              "ds=2026-11-23/part-0a.snappy.parquet");
    EXPECT_EQ(encode_path("x=A%2FA/b c#?"), "x=A%252FA/b%20c%23%3F");
    EXPECT_EQ(decode_path("x=A%252FA/b%20c"), "x=A%2FA/b c");
    EXPECT_EQ(decode_path("100%"), "100%");
    EXPECT_EQ(decode_path("%zz%4"), "%zz%4");
    EXPECT_EQ(decode_path("%41"), "A");
    std::string all;
    for (int i = 1; i < 256; ++i) all.push_back(static_cast<char>(i));
    EXPECT_EQ(decode_path(encode_path(all)), all);
}

}  // namespace
}  // namespace px::lake
