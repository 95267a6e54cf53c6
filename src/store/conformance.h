// What every adapter of ObjectStore must do, as a parameterised gtest suite: include it in the
// adapter's test and instantiate ObjectStoreConformance with a StoreUnderTest. For tests only.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "store/object_store.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::store {

struct StoreUnderTest {
    std::string name;
    /// Opens a store over an empty container; scratch is an empty folder that outlives it.
    std::function<std::unique_ptr<ObjectStore>(const std::filesystem::path& scratch)> open;
    /// Keys that are no UTF-8 are refused.
    bool keys_are_utf8 = false;
};

inline std::string conformance_name(const ::testing::TestParamInfo<StoreUnderTest>& info) {
    return info.param.name;
}
inline void PrintTo(const StoreUnderTest& store, std::ostream* stream) { *stream << store.name; }

class ObjectStoreConformance : public ::testing::TestWithParam<StoreUnderTest> {
  protected:
    void SetUp() override {
        store_ = GetParam().open(scratch_ / "container");
        ASSERT_THAT(store_->ensure_container(), px::testing::IsOk());
    }
    std::vector<std::string> keys(std::string_view prefix, std::string_view start_after = {}) {
        std::vector<std::string> found;
        const auto listed = store_->list(prefix, start_after);
        EXPECT_THAT(listed, px::testing::IsOk());
        if (listed) {
            for (const ObjectMeta& meta : *listed) found.push_back(meta.key);
        }
        return found;
    }

    px::testing::TempDir scratch_;
    std::unique_ptr<ObjectStore> store_;
};

using Keys = std::vector<std::string>;

TEST_P(ObjectStoreConformance, GivesBackTheBytesItWasGiven) {
    std::string all_bytes;
    for (int i = 0; i < 100'000; ++i) all_bytes.push_back(static_cast<char>(i * 7));
    for (const std::string& bytes : {std::string(), std::string("\0x\n", 3), all_bytes}) {
        ASSERT_THAT(store_->put("folder/object", bytes), px::testing::IsOk());
        EXPECT_EQ(store_->get("folder/object").value(), bytes);
        const auto meta = store_->head("folder/object").value();
        ASSERT_TRUE(meta.has_value());
        EXPECT_EQ(meta->key, "folder/object");
        EXPECT_EQ(meta->size_bytes, static_cast<int64_t>(bytes.size()));
        EXPECT_GT(meta->modified_at, 1'577'836'800'000'000);
    }
}

TEST_P(ObjectStoreConformance, TheContainerIsMadeOnce) {
    EXPECT_FALSE(store_->ensure_container().value());
    EXPECT_FALSE(store_->ensure_container().value());
}

TEST_P(ObjectStoreConformance, AbsentIsNotFoundForReadersAndNulloptForHead) {
    EXPECT_THAT(store_->get("nothing"), px::testing::IsError(ErrorCode::NotFound, "nothing"));
    EXPECT_THAT(store_->get("no/such/folder"), px::testing::IsError(ErrorCode::NotFound));
    EXPECT_THAT(store_->get_range("nothing", 0, 1), px::testing::IsError(ErrorCode::NotFound));
    EXPECT_THAT(store_->local_path("nothing"), px::testing::IsError(ErrorCode::NotFound));
    EXPECT_FALSE(store_->head("nothing").value().has_value());
    EXPECT_FALSE(store_->head("no/such/folder").value().has_value());
    EXPECT_THAT(store_->remove("nothing"), px::testing::IsOk());
    EXPECT_THAT(store_->remove("no/such/folder"), px::testing::IsOk());
    EXPECT_EQ(keys("no/such/"), Keys());
}

TEST_P(ObjectStoreConformance, AFolderOfObjectsIsNoObject) {
    ASSERT_THAT(store_->put("a/b/c", "1"), px::testing::IsOk());
    EXPECT_FALSE(store_->head("a/b").value().has_value());
    EXPECT_THAT(store_->get("a/b"), px::testing::IsError(ErrorCode::NotFound));
    EXPECT_THAT(store_->remove("a/b"), px::testing::IsOk());
    EXPECT_EQ(store_->get("a/b/c").value(), "1");
}

TEST_P(ObjectStoreConformance, RefusesKeysThatAreNotPlainRelativeNames) {
    testing::TempDir other;
    testing::write_file(other / "file", "x");
    for (const char* key :
         {"", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", ".px-tmp-1-1-1"}) {
        EXPECT_THAT(store_->put(key, "x"), px::testing::IsError(ErrorCode::InvalidArgument)) << key;
        EXPECT_THAT(store_->put_if_absent(key, "x"),
                    px::testing::IsError(ErrorCode::InvalidArgument))
            << key;
        EXPECT_THAT(store_->put_file(key, other / "file"),
                    px::testing::IsError(ErrorCode::InvalidArgument))
            << key;
        EXPECT_THAT(store_->get(key), px::testing::IsError(ErrorCode::InvalidArgument)) << key;
        EXPECT_THAT(store_->get_range(key, 0, 0), px::testing::IsError(ErrorCode::InvalidArgument))
            << key;
        EXPECT_THAT(store_->head(key), px::testing::IsError(ErrorCode::InvalidArgument)) << key;
        EXPECT_THAT(store_->remove(key), px::testing::IsError(ErrorCode::InvalidArgument)) << key;
        EXPECT_THAT(store_->local_path(key), px::testing::IsError(ErrorCode::InvalidArgument))
            << key;
    }
    EXPECT_THAT(store_->list("../", ""), px::testing::IsError(ErrorCode::InvalidArgument));
    EXPECT_EQ(keys(""), Keys());
}

TEST_P(ObjectStoreConformance, KeysMayHoldSpacesPercentSignsAndAnyUtf8) {
    const Keys names = {"a b", "a%20b", "gr\xC3\xBC\xC3\x9F/x=\xE2\x82\xAC", "q?#&=+",
                        "x=A%2FA/part"};
    for (const std::string& name : names) ASSERT_THAT(store_->put(name, name), px::testing::IsOk());
    for (const std::string& name : names) EXPECT_EQ(store_->get(name).value(), name);
    EXPECT_EQ(keys(""), names);
}

TEST_P(ObjectStoreConformance, ReadsExactRangesOnly) {
    ASSERT_THAT(store_->put("a", "0123456789"), px::testing::IsOk());
    EXPECT_EQ(store_->get_range("a", 0, 10).value(), "0123456789");
    EXPECT_EQ(store_->get_range("a", 3, 4).value(), "3456");
    EXPECT_EQ(store_->get_range("a", 10, 0).value(), "");
    EXPECT_THAT(store_->get_range("a", 8, 3), px::testing::IsError(ErrorCode::Corrupt));
    EXPECT_THAT(store_->get_range("a", 11, 0), px::testing::IsError(ErrorCode::Corrupt));
    EXPECT_THAT(store_->get_range("a", -1, 2), px::testing::IsError(ErrorCode::InvalidArgument));
    EXPECT_THAT(store_->get_range("a", 0, -2), px::testing::IsError(ErrorCode::InvalidArgument));
}

TEST_P(ObjectStoreConformance, PutReplacesAndPutIfAbsentDoesNot) {
    EXPECT_THAT(store_->put_if_absent("a/b", "first"), px::testing::IsOk());
    EXPECT_THAT(store_->put_if_absent("a/b", "second"),
                px::testing::IsError(ErrorCode::AlreadyExists, "a/b"));
    EXPECT_EQ(store_->get("a/b").value(), "first");
    EXPECT_THAT(store_->put("a/b", "third"), px::testing::IsOk());
    EXPECT_EQ(store_->get("a/b").value(), "third");
    EXPECT_THAT(store_->put_if_absent("a/b", "fourth"),
                px::testing::IsError(ErrorCode::AlreadyExists));
    EXPECT_THAT(store_->remove("a/b"), px::testing::IsOk());
    EXPECT_THAT(store_->put_if_absent("a/b", "fifth"), px::testing::IsOk());
    EXPECT_EQ(store_->get("a/b").value(), "fifth");
}

TEST_P(ObjectStoreConformance, PutFileConsumesTheFileAndReplaces) {
    ASSERT_THAT(store_->put("x/y/z", "old"), px::testing::IsOk());
    const std::filesystem::path file = scratch_ / "finished";
    testing::write_file(file, "new bytes");
    EXPECT_THAT(store_->put_file("x/y/z", file), px::testing::IsOk());
    EXPECT_EQ(store_->get("x/y/z").value(), "new bytes");
    EXPECT_FALSE(std::filesystem::exists(file));
    EXPECT_THAT(store_->put_file("x/y/z", file), px::testing::IsError(ErrorCode::NotFound));
    EXPECT_THAT(store_->put_file("x/y/z", scratch_.path()),
                px::testing::IsError(ErrorCode::InvalidArgument));
    EXPECT_EQ(store_->get("x/y/z").value(), "new bytes");
}

TEST_P(ObjectStoreConformance, ListsByPrefixSortedBytewise) {
    const std::string last = GetParam().keys_are_utf8 ? "t/\xC3\xBF" : "t/\xFF";
    for (const std::string& key : Keys{"t/_delta_log/1", "t/a/1", "t/a-b", "t/a.b/1", "t/a/0", "t2",
                                       "T", "u/1", last, "t/B"}) {
        ASSERT_THAT(store_->put(key, "1"), px::testing::IsOk());
    }
    EXPECT_EQ(keys(""), (Keys{"T", "t/B", "t/_delta_log/1", "t/a-b", "t/a.b/1", "t/a/0", "t/a/1",
                              last, "t2", "u/1"}));
    EXPECT_EQ(keys("t/a"), (Keys{"t/a-b", "t/a.b/1", "t/a/0", "t/a/1"}));
    EXPECT_EQ(keys("t/a/"), (Keys{"t/a/0", "t/a/1"}));
    EXPECT_EQ(keys("t"),
              (Keys{"t/B", "t/_delta_log/1", "t/a-b", "t/a.b/1", "t/a/0", "t/a/1", last, "t2"}));
    EXPECT_EQ(keys("t/a/1"), (Keys{"t/a/1"}));
    EXPECT_EQ(keys("t/a", "t/a.b/1"), (Keys{"t/a/0", "t/a/1"}));
    EXPECT_EQ(keys("t/a", "t/a/"), (Keys{"t/a/0", "t/a/1"}));
    EXPECT_EQ(keys("", "u/1"), Keys());
}

TEST_P(ObjectStoreConformance, AListedObjectHasItsSize) {
    ASSERT_THAT(store_->put("a/1", "12345"), px::testing::IsOk());
    const auto listed = store_->list("a/").value();
    ASSERT_EQ(listed.size(), 1U);
    EXPECT_EQ(listed[0].size_bytes, 5);
    EXPECT_EQ(listed[0].modified_at, store_->head("a/1").value()->modified_at);
}

TEST_P(ObjectStoreConformance, AKeyIsBytesOrUtf8AsTheStoreSays) {
    const auto put = store_->put("\xFF", "1");
    if (GetParam().keys_are_utf8) {
        EXPECT_THAT(put, px::testing::IsError(ErrorCode::InvalidArgument, "UTF-8"));
    } else {
        EXPECT_THAT(put, px::testing::IsOk());
        EXPECT_EQ(store_->get("\xFF").value(), "1");
    }
}

TEST_P(ObjectStoreConformance, LocalPathShowsWhatThisStorePutLast) {
    ASSERT_THAT(store_->put("a", "first"), px::testing::IsOk());
    EXPECT_EQ(testing::read_file(store_->local_path("a").value()), "first");
    ASSERT_THAT(store_->put("a", "second"), px::testing::IsOk());
    EXPECT_EQ(testing::read_file(store_->local_path("a").value()), "second");
    const std::filesystem::path file = scratch_ / "finished";
    testing::write_file(file, "third");
    ASSERT_THAT(store_->put_file("a", file), px::testing::IsOk());
    EXPECT_EQ(testing::read_file(store_->local_path("a").value()), "third");
    ASSERT_THAT(store_->remove("a"), px::testing::IsOk());
    EXPECT_THAT(store_->local_path("a"), px::testing::IsError(ErrorCode::NotFound));
}

TEST_P(ObjectStoreConformance, LargeObjectsComeBackWhole) {
    std::string bytes;
    bytes.reserve(20'000'000);
    uint64_t state = 1;
    while (bytes.size() < 20'000'000) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        bytes.push_back(static_cast<char>(state >> 56));
    }
    ASSERT_THAT(store_->put("large/put", bytes), px::testing::IsOk());
    EXPECT_TRUE(store_->get("large/put").value() == bytes);
    EXPECT_THAT(store_->put_if_absent("large/put", bytes),
                px::testing::IsError(ErrorCode::AlreadyExists));
    const std::filesystem::path file = scratch_ / "finished";
    testing::write_file(file, bytes);
    ASSERT_THAT(store_->put_file("large/file", file), px::testing::IsOk());
    EXPECT_TRUE(testing::read_file(store_->local_path("large/file").value()) == bytes);
    EXPECT_TRUE(store_->get_range("large/file", 9'999'999, 3).value() ==
                bytes.substr(9'999'999, 3));
}

TEST_P(ObjectStoreConformance, LocalPathIsAReadableFile) {
    ASSERT_THAT(store_->put("a/b.parquet", "bytes"), px::testing::IsOk());
    const auto path = store_->local_path("a/b.parquet");
    ASSERT_THAT(path, px::testing::IsOk());
    EXPECT_EQ(path->extension(), ".parquet");
    EXPECT_EQ(testing::read_file(*path), "bytes");
}

TEST_P(ObjectStoreConformance, OfThirtyTwoRacingCreatorsExactlyOneWins) {
    for (int round = 0; round < 20; ++round) {
        const std::string key = "race/" + std::to_string(round) + "/entry";
        std::atomic<int> ready{0};
        std::atomic<int> wins{0};
        std::atomic<int> losses{0};
        std::atomic<int> winner{-1};
        {
            std::vector<std::jthread> threads;
            for (int i = 0; i < 32; ++i) {
                threads.emplace_back([&, i] {
                    ++ready;
                    while (ready < 32) std::this_thread::yield();
                    const auto put =
                        store_->put_if_absent(key, std::string(1000, static_cast<char>('A' + i)));
                    if (put) {
                        ++wins;
                        winner = i;
                    } else if (put.error().code == ErrorCode::AlreadyExists) {
                        ++losses;
                    } else {
                        ADD_FAILURE() << put.error().to_string();
                    }
                });
            }
        }
        EXPECT_EQ(wins, 1);
        EXPECT_EQ(losses, 31);
        EXPECT_EQ(store_->get(key).value(), std::string(1000, static_cast<char>('A' + winner)));
    }
    EXPECT_EQ(keys("race/").size(), 20U);
}

TEST_P(ObjectStoreConformance, ReadersSeeOldBytesOrNewOnesNeverAMixture) {
    const auto content = [](int i) { return std::string(50'000, static_cast<char>('a' + i % 26)); };
    ASSERT_THAT(store_->put("hot", content(0)), px::testing::IsOk());
    std::atomic<bool> done{false};
    std::vector<std::jthread> readers;
    for (int i = 0; i < 3; ++i) {
        readers.emplace_back([&] {
            while (!done) {
                const auto bytes = store_->get("hot");
                ASSERT_THAT(bytes, px::testing::IsOk());
                ASSERT_EQ(bytes->size(), 50'000U);
                ASSERT_EQ(bytes->find_first_not_of((*bytes)[0]), std::string::npos);
            }
        });
    }
    for (int i = 1; i < 100; ++i) ASSERT_THAT(store_->put("hot", content(i)), px::testing::IsOk());
    done = true;
}

}  // namespace px::store
