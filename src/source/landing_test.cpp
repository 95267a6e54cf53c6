#include "source/landing.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "base/sha256.h"
#include "store/local/local_object_store.h"
#include "store/memory/memory_object_store.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::source {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using px::testing::TempDir;
using px::testing::write_file;

class Landing : public ::testing::Test {
  protected:
    Landing() {
        std::filesystem::create_directory(folder_ / "staging");
        options_.source = "reports";
        options_.ds = "2026-11-23";
        options_.staging = folder_ / "staging";
    }
    Result<std::vector<Landed>> land_files(const std::vector<std::filesystem::path>& files) {
        return land(folder_.path(), files, options_, store_, progress_, Deadline::never());
    }
    bool staging_is_empty() const { return std::filesystem::is_empty(folder_ / "staging"); }

    TempDir folder_;
    store::MemoryObjectStore store_;
    NoProgress progress_;
    LandOptions options_;
};

TEST_F(Landing, CopiesByteForByteUnderTheHash) {
    const std::string bytes = "a,b\r\n1,\xFF\n" + std::string(3 << 20, 'x');
    write_file(folder_ / "data/Report 1.CSV", bytes);
    write_file(folder_ / "data/x.csv.gz", "not really");
    write_file(folder_ / "data/none", "y");
    const auto landed = land_files({"data/Report 1.CSV", "data/x.csv.gz", "data/none"});
    ASSERT_THAT(landed, IsOk());
    ASSERT_EQ(landed->size(), 3U);
    EXPECT_EQ((*landed)[0].path, "data/Report 1.CSV");
    EXPECT_EQ((*landed)[0].sha256, sha256_hex(bytes));
    EXPECT_EQ((*landed)[0].size_bytes, static_cast<int64_t>(bytes.size()));
    EXPECT_EQ((*landed)[0].key, "reports/2026-11-23/" + sha256_hex(bytes) + ".csv");
    EXPECT_EQ(*store_.get((*landed)[0].key), bytes);
    EXPECT_EQ((*landed)[1].key, "reports/2026-11-23/" + sha256_hex("not really") + ".csv.gz");
    EXPECT_EQ((*landed)[2].key, "reports/2026-11-23/" + sha256_hex("y") + ".bin");
    EXPECT_TRUE(staging_is_empty());
    const auto hash = hash_file(folder_ / "data/Report 1.CSV", Deadline::never());
    ASSERT_THAT(hash, IsOk());
    EXPECT_EQ(hash->sha256, (*landed)[0].sha256);
    EXPECT_EQ(hash->size_bytes, (*landed)[0].size_bytes);
}

TEST_F(Landing, LandsIntoALocalFolder) {
    write_file(folder_ / "a.csv", "a\n1\n");
    store::LocalObjectStore local(folder_ / "landing", "./landing");
    ASSERT_THAT(local.ensure_container(), IsOk());
    const auto landed =
        land(folder_.path(), {"a.csv"}, options_, local, progress_, Deadline::never());
    ASSERT_THAT(landed, IsOk());
    EXPECT_EQ(px::testing::read_file(*local.local_path((*landed)[0].key)), "a\n1\n");
    EXPECT_TRUE(staging_is_empty());
}

TEST_F(Landing, WritesNothingTwice) {
    write_file(folder_ / "a.csv", "same");
    write_file(folder_ / "b.csv", "same");
    const auto first = land_files({"a.csv", "b.csv"});
    ASSERT_THAT(first, IsOk());
    EXPECT_EQ((*first)[0].key, (*first)[1].key);
    const auto before = *store_.head((*first)[0].key);
    const auto again = land_files({"b.csv"});
    ASSERT_THAT(again, IsOk());
    EXPECT_EQ((*store_.head((*first)[0].key))->modified_at, before->modified_at);
    EXPECT_EQ(store_.list("")->size(), 1U);
}

TEST_F(Landing, ReplacesAStoredFileOfAnotherSize) {
    write_file(folder_ / "a.csv", "whole");
    const std::string key = "reports/2026-11-23/" + sha256_hex("whole") + ".csv";
    ASSERT_THAT(store_.put(key, "who"), IsOk());
    ASSERT_THAT(land_files({"a.csv"}), IsOk());
    EXPECT_EQ(*store_.get(key), "whole");
}

TEST_F(Landing, NamesTheFileThatCannotBeRead) {
    write_file(folder_ / "a.csv", "x");
    EXPECT_THAT(land_files({"absent.csv"}), IsError(ErrorCode::NotFound, "absent.csv"));
    EXPECT_THAT(land_files({"staging"}), IsError(ErrorCode::InvalidArgument, "no regular file"));
    ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
    EXPECT_THAT(hash_file(folder_ / "pipe", Deadline::never()),
                IsError(ErrorCode::InvalidArgument, "pipe"));
    ASSERT_EQ(::chmod((folder_ / "a.csv").c_str(), 0), 0);
    const bool is_root = ::geteuid() == 0;
    ::chmod(folder_.path().c_str(), 0755);
    if (is_root) {  // root may read everything
        ASSERT_EQ(::seteuid(65534), 0);
    }
    const auto result = hash_file(folder_ / "a.csv", Deadline::never());
    if (is_root) {
        ASSERT_EQ(::seteuid(0), 0);
    }
    EXPECT_THAT(result, IsError(ErrorCode::Forbidden, "a.csv"));
    EXPECT_TRUE(staging_is_empty());
}

TEST_F(Landing, AFileThatIsStillWrittenIsRefused) {
    const auto path = folder_ / "growing.csv";
    write_file(path, std::string(8 << 20, 'x'));
    std::atomic<bool> stop{false};
    std::jthread writer([&] {
        std::ofstream file(path, std::ios::app | std::ios::binary);
        while (!stop) file << std::string(64, 'y') << std::flush;
    });
    // Appended to the whole time: some attempt must notice, and none may give a hash of a mixture.
    bool noticed = false;
    for (int attempt = 0; attempt < 200 && !noticed; ++attempt) {
        const auto result = land_files({"growing.csv"});
        if (!result) {
            EXPECT_THAT(result, IsError(ErrorCode::Unavailable, "changed while being read"));
            noticed = true;
        }
    }
    stop = true;
    EXPECT_TRUE(noticed);
    EXPECT_TRUE(staging_is_empty());
}

TEST_F(Landing, CanBeCancelled) {
    write_file(folder_ / "a.csv", "x");
    std::stop_source stop;
    stop.request_stop();
    Deadline deadline;
    deadline.stop = stop.get_token();
    EXPECT_THAT(land(folder_.path(), {"a.csv"}, options_, store_, progress_, deadline),
                IsError(ErrorCode::Cancelled));
    EXPECT_TRUE(store_.list("")->empty());
    EXPECT_TRUE(staging_is_empty());
}

TEST_F(Landing, RefusesNamesThatAreNoPartOfAKey) {
    options_.source = "a/b";
    EXPECT_THAT(land_files({}), IsError(ErrorCode::InvalidArgument, "source"));
    options_.source = "a";
    options_.ds = "..";
    EXPECT_THAT(land_files({}), IsError(ErrorCode::InvalidArgument, "ds"));
    options_.ds = "x";
    options_.staging = folder_ / "absent";
    EXPECT_THAT(land_files({}), IsError(ErrorCode::InvalidArgument, "staging"));
}

}  // namespace
}  // namespace px::source
