#include "pipeline/backup.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "store/local/local_object_store.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::pipeline {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using px::testing::TempDir;

void write(const std::filesystem::path& file, const std::string& text) {
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << text;
}

std::string read(const std::filesystem::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

class Backup : public ::testing::Test {
  protected:
    BackupInfo make(const std::filesystem::path& folder) {
        EXPECT_THAT(begin_backup(folder), IsOk());
        write(folder / "landing/a/1.csv", "id\n1\n");
        write(folder / "lake/t/part-0.parquet", std::string(3'000'000, 'x'));
        write(folder / "lake/t/_delta_log/00000000000000000000.json", "{}\n");
        write(folder / "index/s.seg", "");
        write(folder / "catalog.db", "rows");
        write(folder / "pipeline.yaml", "pipeline: p\n");
        BackupInfo info;
        info.px_version = "1.2.3";
        info.pipeline = "p";
        info.created_at = "2026-11-23T08:27:01.000000Z";
        info.release = 3;
        info.run = "2026-11-23-0001";
        info.releases = 2;
        auto made = finish_backup(folder, info, 2, progress_, Deadline::never());
        EXPECT_THAT(made, IsOk());
        return made ? *made : info;
    }
    Result<void> verify() {
        const BackupInfo info = PX_TRY(read_backup(folder_));
        return verify_backup(folder_, info, 2, progress_, Deadline::never());
    }

    TempDir dir_;
    std::filesystem::path folder_ = dir_ / "backup";
    NoProgress progress_;
};

TEST_F(Backup, SaysWhatItIsOfAndThatItIsWhole) {
    EXPECT_EQ(backup_state(folder_).value(), BackupState::Empty);
    ASSERT_THAT(begin_backup(folder_), IsOk());
    EXPECT_EQ(backup_state(folder_).value(), BackupState::Unfinished);
    EXPECT_THAT(read_backup(folder_), IsError(ErrorCode::NotFound, "was not finished"));
    make(folder_);
    EXPECT_EQ(backup_state(folder_).value(), BackupState::Whole);
    const BackupInfo info = read_backup(folder_).value();
    EXPECT_EQ(info.pipeline, "p");
    EXPECT_EQ(info.release, 3);
    EXPECT_EQ(info.releases, 2);
    EXPECT_EQ(info.files, 6);
    EXPECT_EQ(info.bytes, 5 + 3'000'000 + 3 + 0 + 4 + 12);
    EXPECT_THAT(verify(), IsOk());
    struct stat status {};
    ASSERT_EQ(::stat(folder_.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0700U);
}

TEST_F(Backup, AnyDamageIsToldByTheFilesName) {
    make(folder_);
    const std::string part = read(folder_ / "lake/t/part-0.parquet");
    std::string other = part;
    other[2'500'000] ^= 1;
    write(folder_ / "lake/t/part-0.parquet", other);
    EXPECT_THAT(verify(), IsError(ErrorCode::Corrupt, "part-0.parquet has other bytes"));
    std::filesystem::remove(folder_ / "lake/t/part-0.parquet");
    EXPECT_THAT(verify(), IsError(ErrorCode::Corrupt, "part-0.parquet is missing"));
    write(folder_ / "lake/t/part-0.parquet", part);
    for (const char* more : {"landing/zzz.csv", "index/a.seg", "lake/t/part-1.parquet"}) {
        write(folder_ / more, "more");
        EXPECT_THAT(verify(), IsError(ErrorCode::Corrupt, std::string(more) + " does not belong"));
        std::filesystem::remove(folder_ / more);
    }
    EXPECT_THAT(verify(), IsOk());
    // A link instead of a file: what it leads to is no part of the backup.
    std::filesystem::rename(folder_ / "pipeline.yaml", dir_ / "elsewhere");
    std::filesystem::create_symlink(dir_ / "elsewhere", folder_ / "pipeline.yaml");
    EXPECT_THAT(verify(), IsError(ErrorCode::Corrupt, "pipeline.yaml is missing"));
}

TEST_F(Backup, ADamagedListIsNeverTakenForAGoodOne) {
    make(folder_);
    std::mt19937 dice(11);
    for (const char* name : {"SHA256SUMS", "backup.json"}) {
        const std::string good = read(folder_ / name);
        for (int i = 0; i < 300; ++i) {
            std::string bad = good;
            const size_t at = dice() % bad.size();
            switch (dice() % 3) {
                case 0:
                    bad.resize(at);
                    break;
                case 1:
                    bad.erase(at, 1 + dice() % 40);
                    break;
                default:
                    bad[at] = static_cast<char>(dice() % 256);
            }
            if (bad == good) continue;
            write(folder_ / name, bad);
            // backup.json may still say something true; that must not be about other files.
            const Result<BackupInfo> info = read_backup(folder_);
            const bool is_sums = std::string(name) == "SHA256SUMS";
            if (is_sums) {
                EXPECT_FALSE(verify()) << i;
            } else if (!info) {
                EXPECT_NE(info.error().code, ErrorCode::Internal) << i;
            }
        }
        write(folder_ / name, good);
        EXPECT_THAT(verify(), IsOk());
    }
    write(folder_ / "backup.json", R"({"format": 2, "px": "9.0.0"})");
    EXPECT_THAT(read_backup(folder_), IsError(ErrorCode::Conflict, "format 2, made by px 9.0.0"));
}

TEST_F(Backup, WhatIsNoBackupIsLeftAlone) {
    write(folder_ / "thesis.txt", "mine");
    EXPECT_THAT(begin_backup(folder_), IsError(ErrorCode::AlreadyExists, "no backup"));
    EXPECT_THAT(begin_backup(folder_ / "thesis.txt"),
                IsError(ErrorCode::AlreadyExists, "is no folder"));
    EXPECT_THAT(read_backup(folder_), IsError(ErrorCode::NotFound, "there is no backup"));
    EXPECT_FALSE(std::filesystem::exists(folder_ / "UNFINISHED"));
}

TEST_F(Backup, UnchangedFilesAreSharedAndOthersNot) {
    make(folder_);
    const store::LocalObjectStore lake(dir_ / "now", "now");
    write(dir_ / "now/t/part-0.parquet", std::string(3'000'000, 'y'));  // of the same length
    write(dir_ / "now/t/_delta_log/00000000000000000000.json", "{ }\n");
    write(dir_ / "now/t/part-2.parquet", "new");
    const std::filesystem::path next = dir_ / "next";
    ASSERT_THAT(begin_backup(next), IsOk());
    EXPECT_EQ(link_unchanged(lake, folder_, next, kBackupLake, Deadline::never()).value(), 1);
    EXPECT_EQ(std::filesystem::hard_link_count(next / "lake/t/part-0.parquet"), 2U);
    EXPECT_FALSE(std::filesystem::exists(next / "lake/t/_delta_log"));
    // Once more, as after a kill.
    EXPECT_THAT(link_unchanged(lake, folder_, next, kBackupLake, Deadline::never()), IsOk());
}

}  // namespace
}  // namespace px::pipeline
