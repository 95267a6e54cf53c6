#include "store/local/local_object_store.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "store/conformance.h"

namespace px::store {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using px::testing::read_file;
using px::testing::TempDir;
using px::testing::write_file;

std::unique_ptr<ObjectStore> open_with(const std::filesystem::path& folder,
                                       LocalObjectStoreOptions::Publish publish) {
    LocalObjectStoreOptions options;
    options.publish = publish;
    return std::make_unique<LocalObjectStore>(folder, "./container", options);
}

INSTANTIATE_TEST_SUITE_P(
    Local, ObjectStoreConformance,
    ::testing::Values(StoreUnderTest{"hard_link",
                                     [](const std::filesystem::path& folder) {
                                         return open_with(
                                             folder, LocalObjectStoreOptions::Publish::HardLink);
                                     }},
                      StoreUnderTest{"exclusive_rename",
                                     [](const std::filesystem::path& folder) {
                                         return open_with(
                                             folder,
                                             LocalObjectStoreOptions::Publish::ExclusiveRename);
                                     }}),
    conformance_name);

struct Local : ::testing::Test {
    TempDir dir;
    LocalObjectStore store{dir / "root", "./root"};
    void SetUp() override { ASSERT_THAT(store.ensure_container(), IsOk()); }

    std::vector<std::string> temporary_files() {
        std::vector<std::string> names;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(dir.path())) {
            if (entry.path().filename().string().starts_with(".px-tmp-"))
                names.push_back(entry.path());
        }
        return names;
    }
};

TEST(LocalObjectStore, EnsureContainerCreatesTheWholeChainOnce) {
    TempDir dir;
    LocalObjectStore store(dir / "a/b/c", "./c");
    EXPECT_THAT(store.put("x", "1"), IsError(ErrorCode::NotFound, "does not exist"));
    EXPECT_THAT(store.list(""), IsError(ErrorCode::NotFound, "a/b/c"));
    EXPECT_THAT(store.head("x"), IsError(ErrorCode::NotFound));
    EXPECT_TRUE(store.ensure_container().value());
    EXPECT_FALSE(store.ensure_container().value());
    EXPECT_THAT(store.put("x", "1"), IsOk());
}

TEST(LocalObjectStore, AFileInPlaceOfTheContainerIsRefused) {
    TempDir dir;
    write_file(dir / "file", "x");
    LocalObjectStore store(dir / "file", "./file");
    EXPECT_THAT(store.ensure_container(), IsError(ErrorCode::InvalidArgument, "not a folder"));
    LocalObjectStore below(dir / "file/sub", "./file/sub");
    EXPECT_FALSE(below.ensure_container());
}

TEST_F(Local, LinksAreNeitherFollowedNorListed) {
    write_file(dir / "secret/file", "secret");
    std::filesystem::create_directory_symlink(dir / "secret", dir / "root/link");
    std::filesystem::create_symlink(dir / "secret/file", dir / "root/direct");
    for (const char* key : {"link/file", "direct"}) {
        EXPECT_THAT(store.get(key), IsError(ErrorCode::Forbidden, "symbolic link")) << key;
        EXPECT_THAT(store.head(key), IsError(ErrorCode::Forbidden)) << key;
        EXPECT_THAT(store.local_path(key), IsError(ErrorCode::Forbidden)) << key;
    }
    EXPECT_THAT(store.put("link/new", "x"), IsError(ErrorCode::Forbidden));
    EXPECT_THAT(store.put_if_absent("link/new", "x"), IsError(ErrorCode::Forbidden));
    EXPECT_THAT(store.remove("link/file"), IsError(ErrorCode::Forbidden));
    EXPECT_EQ(read_file(dir / "secret/file"), "secret");
    EXPECT_FALSE(std::filesystem::exists(dir / "secret/new"));
    EXPECT_TRUE(store.list("").value().empty());
    EXPECT_THAT(store.put_if_absent("direct", "x"), IsError(ErrorCode::AlreadyExists));
    // A put replaces the link itself, not what it points at.
    EXPECT_THAT(store.put("direct", "mine"), IsOk());
    EXPECT_EQ(store.get("direct").value(), "mine");
    EXPECT_EQ(read_file(dir / "secret/file"), "secret");
}

TEST_F(Local, ALinkMayLeadToTheContainerItself) {
    std::filesystem::create_directory_symlink(dir / "root", dir / "alias");
    LocalObjectStore alias(dir / "alias", "./alias");
    EXPECT_FALSE(alias.ensure_container().value());
    ASSERT_THAT(alias.put("a", "1"), IsOk());
    EXPECT_EQ(store.get("a").value(), "1");
}

TEST_F(Local, PutFileCopiesAcrossFileSystems) {
    struct stat here {
    }, there{};
    ASSERT_EQ(::stat(dir.path().c_str(), &here), 0);
    std::string name = "/dev/shm/px-test-XXXXXX";
    if (::stat("/dev/shm", &there) != 0 || here.st_dev == there.st_dev) {
        GTEST_FAIL() << "this test needs /dev/shm on a file system of its own";
    }
    const int file = ::mkstemp(name.data());
    ASSERT_GE(file, 0);
    const std::string bytes(3'000'000, 'x');
    ASSERT_EQ(::write(file, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    ::close(file);
    EXPECT_THAT(store.put_file("a/b", name), IsOk());
    EXPECT_EQ(store.get("a/b").value(), bytes);
    EXPECT_FALSE(std::filesystem::exists(name));
    EXPECT_TRUE(temporary_files().empty());
}

TEST_F(Local, AKeyBelowAFileIsRefusedAndLeavesNothing) {
    ASSERT_THAT(store.put("a", "1"), IsOk());
    EXPECT_THAT(store.put("a/b", "2"), IsError(ErrorCode::InvalidArgument, "is a file"));
    EXPECT_FALSE(store.head("a/b").value().has_value());
    EXPECT_THAT(store.get("a/b"), IsError(ErrorCode::NotFound));
    ASSERT_THAT(store.put("d/e", "1"), IsOk());
    EXPECT_FALSE(store.put("d", "2"));
    EXPECT_TRUE(temporary_files().empty());
}

TEST_F(Local, SweepingRemovesTheFilesOfDeadProcessesOnly) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    const std::string dead = ".px-tmp-" + std::to_string(child) + "-12345-1";
    const std::string reused =
        ".px-tmp-" + std::to_string(::getpid()) + "-1-1";  // our pid, another start
    write_file(dir / ("root/deep/er/" + dead), "x");
    write_file(dir / ("root/" + reused), "x");
    write_file(dir / "root/kept", "x");
    const std::string init =
        ".px-tmp-1-0-7";  // process 1 lives; its start was not known to the writer
    write_file(dir / ("root/" + init), "x");
    EXPECT_EQ(store.list("").value().size(), 1U);
    EXPECT_EQ(store.sweep_temporary().value(), 2);
    EXPECT_EQ(temporary_files().size(), 1U);
    EXPECT_TRUE(std::filesystem::exists(dir / "root/kept"));
}

TEST_F(Local, AWriterKilledAnywhereLeavesWholeObjectsOnly) {
    // The child writes objects of 200 kB each until it is killed; what it reported through the pipe
    // must be there.
    constexpr int kRounds = 12;
    const std::string bytes(200'000, 'z');
    for (int round = 0; round < kRounds; ++round) {
        int pipe_ends[2];
        ASSERT_EQ(::pipe(pipe_ends), 0);
        const pid_t child = ::fork();
        if (child == 0) {
            for (int i = 0;; ++i) {
                const std::string key = "r" + std::to_string(round) + "/" + std::to_string(i);
                const bool ok = i % 2 == 0 ? store.put(key, bytes).has_value()
                                           : store.put_if_absent(key, bytes).has_value();
                if (!ok || ::write(pipe_ends[1], "x", 1) != 1) ::_exit(1);
            }
        }
        ::close(pipe_ends[1]);
        // Killed after a number of reported writes that differs by round, so at a random point of
        // the next ones.
        char byte = 0;
        int reported = 0;
        for (; reported < 3 + round; ++reported) ASSERT_EQ(::read(pipe_ends[0], &byte, 1), 1);
        ::kill(child, SIGKILL);
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        while (::read(pipe_ends[0], &byte, 1) == 1) ++reported;
        ::close(pipe_ends[0]);
        const std::string folder = "r" + std::to_string(round) + "/";
        const auto listed = store.list(folder).value();
        EXPECT_GE(static_cast<int>(listed.size()), reported);
        EXPECT_LE(static_cast<int>(listed.size()), reported + 1);
        for (const ObjectMeta& meta : listed) EXPECT_EQ(meta.size_bytes, 200'000) << meta.key;
    }
    EXPECT_THAT(store.sweep_temporary(), IsOk());
    EXPECT_TRUE(temporary_files().empty());
}

TEST_F(Local, AnUnreadableFolderIsForbiddenByName) {
    if (::geteuid() == 0) {
        // Root reads everything; as another user it can't be asked, so a child drops its rights.
        ASSERT_THAT(store.put("closed/a", "1"), IsOk());
        ASSERT_EQ(::chmod((dir / "root/closed").c_str(), 0), 0);
        ASSERT_EQ(::chmod(dir.path().c_str(), 0755), 0);
        const pid_t child = ::fork();
        if (child == 0) {
            if (::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(9);
            const auto listed = store.list("");
            const auto got = store.get("closed/a");
            const auto put = store.put("x", "1");
            const bool right = !listed && listed.error().code == ErrorCode::Forbidden &&
                               listed.error().message.find("closed") != std::string::npos && !got &&
                               got.error().code == ErrorCode::Forbidden && !put &&
                               put.error().code == ErrorCode::Forbidden;
            ::_exit(right ? 0 : 1);
        }
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_EQ(WEXITSTATUS(status), 0);
        ::chmod((dir / "root/closed").c_str(), 0755);
    } else {
        ASSERT_THAT(store.put("closed/a", "1"), IsOk());
        ASSERT_EQ(::chmod((dir / "root/closed").c_str(), 0), 0);
        EXPECT_THAT(store.list(""), IsError(ErrorCode::Forbidden, "closed"));
        EXPECT_THAT(store.get("closed/a"), IsError(ErrorCode::Forbidden, "closed"));
        ::chmod((dir / "root/closed").c_str(), 0755);
    }
}

TEST_F(Local, AWriteThatBreaksOffLeavesTheOldObjectAndNoTemporaryFile) {
    ASSERT_THAT(store.put("a", "old"), IsOk());
    const pid_t child = ::fork();
    if (child == 0) {
        // As on a full disk, write(2) fails in the middle of the object.
        ::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{100'000, 100'000};
        if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(9);
        const std::string bytes(300'000, 'x');
        ::_exit(store.put("a", bytes) || store.put_if_absent("b", bytes) ? 1 : 0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(WEXITSTATUS(status), 0);
    EXPECT_EQ(store.get("a").value(), "old");
    EXPECT_FALSE(store.head("b").value().has_value());
    EXPECT_TRUE(temporary_files().empty());
}

TEST(OpenObjectStore, TakesFoldersAndRefusesOtherSchemesByName) {
    TempDir dir;
    for (const std::string& url :
         {std::string("./lake"), std::string("lake"), std::string("file:lake"),
          (dir / "lake").string(), "file://" + (dir / "lake").string()}) {
        const auto store = open_object_store(url, dir.path());
        ASSERT_THAT(store, IsOk()) << url;
        EXPECT_EQ((*store)->url(), url);
        ASSERT_THAT((*store)->ensure_container(), IsOk());
        ASSERT_THAT((*store)->put("x", "1"), IsOk());
        EXPECT_TRUE(std::filesystem::exists(dir / "lake/x"));
        std::filesystem::remove_all(dir / "lake");
    }
    EXPECT_THAT(open_object_store("s3://bucket/x", dir.path()),
                IsError(ErrorCode::InvalidArgument, "'s3:'"));
    EXPECT_THAT(open_object_store("abfss://a@b/c", dir.path()),
                IsError(ErrorCode::InvalidArgument, "'abfss:'"));
    EXPECT_THAT(open_object_store("file://host/x", dir.path()),
                IsError(ErrorCode::InvalidArgument, "another machine"));
    EXPECT_THAT(open_object_store("", dir.path()), IsError(ErrorCode::InvalidArgument));
}

}  // namespace
}  // namespace px::store
