#include "store/cache/file_cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>
#include <vector>

#include "base/sha256.h"
#include "capi/curl/digest.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::store {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using px::testing::read_file;
using px::testing::TempDir;
using px::testing::write_file;

CachedFile file_of(const std::string& name, const std::string& bytes) {
    return {.identity = "store/" + name,
            .shown = "'" + name + "'",
            .extension = ".parquet",
            .size_bytes = static_cast<int64_t>(bytes.size())};
}

/// Where the bytes come from, counted.
struct Origin {
    std::atomic<int> fetches{0};
    std::function<Result<void>(int)> giving(std::string bytes) {
        return [this, bytes = std::move(bytes)](int descriptor) -> Result<void> {
            ++fetches;
            if (::pwrite(descriptor, bytes.data(), bytes.size(), 0) !=
                static_cast<ssize_t>(bytes.size()))
                return fail_errno(errno, "cannot write");
            return {};
        };
    }
};

size_t files_in(const std::filesystem::path& folder) {
    size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        count += entry.is_regular_file() ? 1U : 0U;
    return count;
}

void make_old(const std::filesystem::path& path, int64_t seconds) {
    const timespec then{::time(nullptr) - seconds, 0};
    const timespec times[2] = {then, then};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
}

TEST(FileCache, FetchesOnceAndKeepsTheExtension) {
    TempDir dir;
    Origin origin;
    FileCache cache({.folder = dir / "deep/cache"});
    const CachedFile file = file_of("a", "bytes");
    const auto path = cache.get(file, origin.giving("bytes"));
    ASSERT_THAT(path, IsOk());
    EXPECT_EQ(path->extension(), ".parquet");
    EXPECT_EQ(read_file(*path), "bytes");
    EXPECT_EQ(cache.get(file, origin.giving("other")).value(), *path);
    FileCache another({.folder = dir / "deep/cache"});
    EXPECT_EQ(another.get(file, origin.giving("other")).value(), *path);
    EXPECT_EQ(origin.fetches, 1);
    struct stat status {};
    ASSERT_EQ(::stat((dir / "deep/cache").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0700U);
    EXPECT_EQ(cache.get(file_of("empty", ""), origin.giving("")).has_value(), true);
}

TEST(FileCache, ADamagedCopyIsFetchedAgain) {
    TempDir dir;
    Origin origin;
    const CachedFile file = file_of("a", "good bytes");
    std::filesystem::path path;
    {
        FileCache cache({.folder = dir.path()});
        path = cache.get(file, origin.giving("good bytes")).value();
    }
    for (const auto damage : {0, 1, 2}) {
        const std::filesystem::path sum = path.parent_path() / (path.stem().string() + ".sum");
        if (damage == 0) write_file(path, "good bytez");
        if (damage == 1) write_file(path, "short");
        if (damage == 2) std::filesystem::remove(sum);
        FileCache cache({.folder = dir.path()});
        EXPECT_EQ(read_file(cache.get(file, origin.giving("good bytes")).value()), "good bytes");
    }
    EXPECT_EQ(origin.fetches, 4);
}

TEST(FileCache, AFetchThatFailsOrArrivesDamagedLeavesNothing) {
    TempDir dir;
    Origin origin;
    FileCache cache({.folder = dir.path()});
    CachedFile file = file_of("a", "12345");
    EXPECT_THAT(
        cache.get(file, [](int) -> Result<void> { return fail(ErrorCode::Unavailable, "cut"); }),
        IsError(ErrorCode::Unavailable, "cut"));
    file.md5 = capi::curl::md5("12345");
    EXPECT_THAT(cache.get(file, origin.giving("12x45")),
                IsError(ErrorCode::Corrupt, "arrived damaged"));
    EXPECT_THAT(cache.get(file, origin.giving("123456")), IsError(ErrorCode::Corrupt));
    EXPECT_EQ(files_in(dir.path()), 0U);
    EXPECT_THAT(cache.get(file, origin.giving("12345")), IsOk());
}

TEST(FileCache, TheLongestUnusedGoFirstAndTheLimitHolds) {
    TempDir dir;
    Origin origin;
    const std::string bytes(1000, 'x');
    FileCache cache({.folder = dir.path(), .limit_bytes = 5000});
    std::vector<std::filesystem::path> paths;
    for (const char* name : {"a", "b", "c", "d"}) {
        paths.push_back(cache.get(file_of(name, bytes), origin.giving(bytes)).value());
        make_old(paths.back(), 10'000 - static_cast<int64_t>(paths.size()));
    }
    // A use makes it young again.
    ASSERT_THAT(cache.get(file_of("a", bytes), origin.giving(bytes)), IsOk());
    ASSERT_THAT(cache.get(file_of("e", bytes), origin.giving(bytes)), IsOk());
    EXPECT_TRUE(std::filesystem::exists(paths[0]));
    EXPECT_FALSE(std::filesystem::exists(paths[1]));
    EXPECT_TRUE(std::filesystem::exists(paths[3]));
    EXPECT_LE(cache.used_bytes().value(), 5000);
    EXPECT_EQ(origin.fetches, 5);
    // What went is fetched again.
    ASSERT_THAT(cache.get(file_of("b", bytes), origin.giving(bytes)), IsOk());
    EXPECT_EQ(origin.fetches, 6);
}

TEST(FileCache, TheLimitHoldsForSeveralThatShareAFolderWhateverTheirCountSays) {
    TempDir dir;
    Origin origin;
    const std::string bytes(1000, 'x');
    FileCache one({.folder = dir.path(), .limit_bytes = 5000});
    FileCache other({.folder = dir.path(), .limit_bytes = 5000});
    for (int i = 0; i < 24; ++i) {
        FileCache& cache = i % 3 == 0 ? one : other;
        const auto path = cache.get(file_of(std::to_string(i), bytes), origin.giving(bytes));
        ASSERT_THAT(path, IsOk()) << i;
        make_old(*path, 10'000 - i);
        ASSERT_LE(cache.used_bytes().value(), 5000) << i;
        const auto left = std::filesystem::directory_iterator(dir.path());
        ASSERT_GE(std::distance(begin(left), end(left)), i < 4 ? 2 * i + 2 : 8) << i;
        // A count that is lost is made anew.
        if (i == 12) std::ofstream(dir.path() / "locks" / "space") << "nonsense";
        if (i == 15) std::filesystem::resize_file(dir.path() / "locks" / "space", 0);
    }
}

TEST(FileCache, WhatWasJustHandedOutStaysAndTheErrorSaysWhatToDo) {
    TempDir dir;
    Origin origin;
    const std::string bytes(1000, 'x');
    FileCache cache({.folder = dir.path(), .limit_bytes = 2500});
    ASSERT_THAT(cache.get(file_of("a", bytes), origin.giving(bytes)), IsOk());
    ASSERT_THAT(cache.get(file_of("b", bytes), origin.giving(bytes)), IsOk());
    EXPECT_THAT(cache.get(file_of("c", bytes), origin.giving(bytes)),
                IsError(ErrorCode::ResourceExhausted, "Raise the limit of the cache"));
    EXPECT_EQ(origin.fetches, 2);
    EXPECT_EQ(files_in(dir.path()), 4U);
}

TEST(FileCache, ThreadsAndProcessesFetchAFileOnce) {
    TempDir dir;
    const std::string bytes(300'000, 'p');
    const auto child = [&] {
        Origin origin;
        FileCache cache({.folder = dir / "cache"});
        std::vector<std::thread> threads;
        std::atomic<int> wrong{0};
        for (int t = 0; t < 4; ++t) {
            threads.emplace_back([&] {
                for (int i = 0; i < 40; ++i) {
                    const std::string name = std::to_string(i);
                    const auto path =
                        cache.get(file_of(name, bytes), [&](int descriptor) -> Result<void> {
                            // One line for each fetch, of all processes.
                            const int log = ::open((dir / "fetched").c_str(),
                                                   O_WRONLY | O_CREAT | O_APPEND, 0600);
                            (void)!::write(log, "x", 1);
                            ::close(log);
                            return origin.giving(bytes)(descriptor);
                        });
                    if (!path || read_file(*path) != bytes) ++wrong;
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
        return wrong == 0 ? 0 : 1;
    };
    std::vector<pid_t> children;
    for (int i = 0; i < 4; ++i) {
        const pid_t pid = ::fork();
        if (pid == 0) ::_exit(child());
        children.push_back(pid);
    }
    for (const pid_t pid : children) {
        int status = 0;
        ASSERT_EQ(::waitpid(pid, &status, 0), pid);
        EXPECT_EQ(status, 0);
    }
    EXPECT_EQ(read_file(dir / "fetched").size(), 40U);
}

TEST(FileCache, WhatADeadProcessLeftIsRemovedAndItsLocksAreFree) {
    TempDir dir;
    const std::string bytes(1000, 'x');
    const pid_t pid = ::fork();
    if (pid == 0) {
        FileCache cache({.folder = dir.path()});
        (void)cache.get(file_of("a", bytes), [](int) -> Result<void> {
            ::kill(::getpid(), SIGKILL);
            return {};
        });
        ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFSIGNALED(status));
    ASSERT_EQ(files_in(dir.path()), 1U);
    Origin origin;
    FileCache cache({.folder = dir.path(), .limit_bytes = 1500});
    EXPECT_THAT(cache.get(file_of("a", bytes), origin.giving(bytes)), IsOk());
    EXPECT_EQ(files_in(dir.path()), 2U);
}

TEST(FileCache, AFullDiskIsAClearErrorAndLeavesNothing) {
    TempDir dir;
    // A disk of one megabyte, in a name space of a child's own.
    const pid_t pid = ::fork();
    if (pid == 0) {
        if (::unshare(CLONE_NEWNS) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) ::_exit(10);
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
        if (::mount("none", dir.path().c_str(), "tmpfs", 0, "size=1m") != 0) ::_exit(11);
        Origin origin;
        FileCache cache({.folder = dir / "cache"});
        const std::string large(2'000'000, 'l'), small(1000, 's');
        const auto full = cache.get(file_of("large", large), origin.giving(large));
        if (full || full.error().code != ErrorCode::ResourceExhausted) ::_exit(12);
        const std::string text = full.error().to_string();
        if (text.find("'large'") == std::string::npos ||
            text.find("No space left") == std::string::npos ||
            text.find("Free some disk space") == std::string::npos)
            ::_exit(13);
        if (files_in(dir / "cache") != 0 || origin.fetches != 0) ::_exit(14);
        if (!cache.get(file_of("small", small), origin.giving(small))) ::_exit(15);
        ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0)
        << "10, 11: this test needs the right to mount a tmpfs (root, or user name spaces)";
}

TEST(FileCache, AFinishedFileMovesIn) {
    TempDir dir;
    Origin origin;
    FileCache cache({.folder = dir / "cache", .limit_bytes = 1000});
    CachedFile file = file_of("a", "bytes");
    file.sha256_hex = sha256_hex("bytes");
    write_file(dir / "finished", "bytes");
    ASSERT_TRUE(cache.adopt(file, dir / "finished"));
    EXPECT_FALSE(std::filesystem::exists(dir / "finished"));
    FileCache another({.folder = dir / "cache"});
    EXPECT_EQ(read_file(another.get(file, origin.giving("other")).value()), "bytes");
    EXPECT_EQ(origin.fetches, 0);
    const std::string large(2000, 'x');
    write_file(dir / "large", large);
    EXPECT_FALSE(cache.adopt(file_of("b", large), dir / "large"));
    EXPECT_TRUE(std::filesystem::exists(dir / "large"));
}

TEST(FileCache, AFolderThatCannotBeMadeIsNamed) {
    TempDir dir;
    write_file(dir / "file", "x");
    Origin origin;
    FileCache cache({.folder = dir / "file/cache"});
    const auto path = cache.get(file_of("a", "1"), origin.giving("1"));
    ASSERT_FALSE(path.has_value());
    EXPECT_NE(path.error().message.find("file/cache"), std::string::npos);
}

}  // namespace
}  // namespace px::store
