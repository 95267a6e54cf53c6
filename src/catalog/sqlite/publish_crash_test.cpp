// Kills a process at every system call by which SQLite writes during publish(), also in the middle
// of a write, and looks whether a reader finds the whole release or nothing of it. The calls below
// stand before those of the C library for SQLite too, since the program exports them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "catalog/catalog.h"

namespace {
/// Calls left until the process kills itself; negative: never.
int calls_left = -1;
bool torn = false;
int calls_seen = 0;

bool dies_now() {
    ++calls_seen;
    return calls_left >= 0 && calls_left-- == 0;
}
[[noreturn]] void die() {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}
}  // namespace

extern "C" {
ssize_t pwrite64(int file, const void* bytes, size_t count, off64_t offset);
int ftruncate64(int file, off64_t size) noexcept;

ssize_t pwrite64(int file, const void* bytes, size_t count, off64_t offset) {
    if (dies_now()) {
        if (torn) syscall(SYS_pwrite64, file, bytes, count / 2, offset);
        die();
    }
    return syscall(SYS_pwrite64, file, bytes, count, offset);
}
int fdatasync(int file) {
    if (dies_now()) die();
    return static_cast<int>(syscall(SYS_fdatasync, file));
}
int ftruncate64(int file, off64_t size) noexcept {
    if (dies_now()) die();
    return static_cast<int>(syscall(SYS_ftruncate, file, size));
}
int unlink(const char* path) noexcept {
    if (dies_now()) die();
    return static_cast<int>(syscall(SYS_unlink, path));
}
}

namespace px::catalog {
namespace {

constexpr int kDocuments = 24;

Publication publication_of(const RunId& run, const std::string& title) {
    Publication publication;
    publication.release.run = run;
    publication.release.table_versions = {{"reports", 1}, {"embeddings", 2}};
    publication.release.index_manifest = "manifest of " + title;
    publication.release.input_fingerprints = {{"source/r", title}};
    Publication::Partition partition{"r", "2026-11-23", {}};
    for (int i = 0; i < kDocuments; ++i) {
        DocumentRow row;
        row.source = "r";
        row.ds = "2026-11-23";
        row.id = std::to_string(i);
        row.document_id = "r/" + row.id;
        row.title = title;
        row.extra_json = std::string(300, 'x');
        partition.documents.push_back(row);
    }
    publication.documents.push_back(std::move(partition));
    return publication;
}

class PublishCrashTest : public ::testing::Test {
  protected:
    void SetUp() override {
        // A killed process loses nothing it wrote, on a disk or in memory; in memory a sync costs
        // nothing.
        std::filesystem::path parent = "/dev/shm";
        if (access(parent.c_str(), W_OK) != 0) parent = std::filesystem::temp_directory_path();
        std::string pattern = (parent / "px_crash_XXXXXX").string();
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    std::filesystem::path file() const { return folder_ / "catalog.db"; }

    void remove_catalog() {
        for (const char* end : {"", "-wal", "-shm", "-journal"})
            std::filesystem::remove(file().string() + end);
    }
    /// A catalog with release 1 and a run that waits to be published, made once and copied.
    RunId prepare() {
        remove_catalog();
        std::filesystem::path made = folder_ / "made.db";
        if (!std::filesystem::exists(made)) {
            {
                auto catalog = open_sqlite_catalog(file(), OpenMode::ReadWrite, clock_).value();
                RunId first = catalog->begin_run("2026-11-23", "", "fp1").value().id;
                EXPECT_TRUE(catalog->publish(publication_of(first, "old")));
                EXPECT_EQ(catalog->begin_run("2026-11-23", "", "fp2").value().id.value,
                          "2026-11-23-0002");
            }
            std::filesystem::rename(file(), made);
        }
        std::filesystem::copy_file(made, file());
        return RunId{"2026-11-23-0002"};
    }

    /// Opens, publishes and closes in a child that dies at its nth writing call. Returns true if it
    /// came to its end.
    bool publish_and_die(const RunId& run, int n, bool in_the_middle) {
        pid_t child = fork();
        if (child == 0) {
            calls_left = n;
            torn = in_the_middle;
            {
                auto catalog = open_sqlite_catalog(file(), OpenMode::ReadWrite, clock_);
                if (!catalog || !(*catalog)->publish(publication_of(run, "new"))) _exit(2);
            }
            _exit(0);
        }
        int status = 0;
        waitpid(child, &status, 0);
        EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
        return WIFEXITED(status);
    }

    /// Everything of release 2 or nothing of it. Returns whether it is there.
    bool check(const RunId& run, OpenMode mode) {
        auto catalog = open_sqlite_catalog(file(), mode, clock_);
        EXPECT_TRUE(catalog) << catalog.error().to_string();
        if (!catalog) return false;
        Result<std::optional<Release>> latest = (*catalog)->latest_release();
        EXPECT_TRUE(latest) << latest.error().to_string();
        if (!latest || !*latest) {
            ADD_FAILURE() << "release 1 is lost";
            return false;
        }
        bool there = (*latest)->id.value == 2;
        catalog::Run state = (*catalog)->run(run).value().value();
        EXPECT_EQ(state.state, there ? RunState::Published : RunState::Running);
        EXPECT_EQ(state.release.has_value(), there);
        EXPECT_EQ((*latest)->table_versions.size(), 2u);
        EXPECT_EQ((*latest)->input_fingerprints.at("source/r"), there ? "new" : "old");
        std::vector<DocumentRow> documents = (*catalog)->documents((*latest)->id, 1000, 0).value();
        EXPECT_EQ(documents.size(), static_cast<size_t>(kDocuments));
        for (const DocumentRow& row : documents) EXPECT_EQ(row.title, there ? "new" : "old");
        EXPECT_EQ((*catalog)->documents(ReleaseId{1}, 1000, 0).value().at(0).title, "old");
        return there;
    }
    std::filesystem::path folder_;
    FixedClock clock_{1'764'000'000'000'000};
};

TEST_F(PublishCrashTest, KilledAtAnyWriteThereIsAllOfAReleaseOrNothing) {
    bool was_there = false;
    int points = 0;
    for (int n = 0;; ++n) {
        RunId run = prepare();
        bool ended = publish_and_die(run, n, n % 2 == 1);
        bool there = check(run, OpenMode::ReadOnly);
        EXPECT_EQ(check(run, OpenMode::ReadWrite), there) << "point " << n;
        EXPECT_TRUE(there || !was_there)
            << "point " << n << " lost what point " << n - 1 << " had made durable";
        was_there = there;
        // Whoever comes next finishes the same run and gets the same release.
        auto catalog = open_sqlite_catalog(file(), OpenMode::ReadWrite, clock_).value();
        EXPECT_EQ(catalog->publish(publication_of(run, "new"))->id.value, 2);
        catalog.reset();
        EXPECT_TRUE(check(run, OpenMode::ReadOnly));
        if (ended) break;
        ++points;
        ASSERT_LT(n, 2000);
    }
    std::printf("killed at %d points\n", points);
    EXPECT_GT(points, 10);
    EXPECT_TRUE(was_there);
}

TEST_F(PublishCrashTest, KilledWhileTheCatalogIsCreatedItIsCreatedByTheNext) {
    int points = 0;
    for (int n = 0;; ++n) {
        remove_catalog();
        pid_t child = fork();
        if (child == 0) {
            calls_left = n;
            torn = n % 2 == 1;
            _exit(open_sqlite_catalog(file(), OpenMode::ReadWrite, clock_) ? 0 : 2);
        }
        int status = 0;
        waitpid(child, &status, 0);
        auto catalog = open_sqlite_catalog(file(), OpenMode::ReadWrite, clock_);
        ASSERT_TRUE(catalog) << "point " << n << ": " << catalog.error().to_string();
        EXPECT_TRUE((*catalog)->begin_run("2026-11-23", "", ""));
        if (WIFEXITED(status)) {
            EXPECT_EQ(WEXITSTATUS(status), 0);
            break;
        }
        ++points;
        ASSERT_LT(n, 2000);
    }
    EXPECT_GT(points, 10);
}

}  // namespace
}  // namespace px::catalog
