// What becomes of a catalog in PostgreSQL when the connection is cut at any message, the server
// stops, restarts or loses a session, or the process dies at any message it sends. Always the same
// result as without the fault, or an error and the whole of the old release.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <thread>

#include "capi/libpq/libpq.h"
#include "catalog/catalog.h"
#include "testing/matchers.h"
#include "testing/postgres_server.h"

namespace {
/// Messages left until the process kills itself; negative: never.
int sends_left = -1;
}  // namespace

// Stands before the C library's for libpq too, since the program exports it.
extern "C" ssize_t send(int socket, const void* bytes, size_t count, int flags) {
    if (sends_left >= 0 && sends_left-- == 0) {
        if (count > 1) syscall(SYS_sendto, socket, bytes, count / 2, flags, nullptr, 0);
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
    return syscall(SYS_sendto, socket, bytes, count, flags, nullptr, 0);
}

namespace px::catalog {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using px::testing::PostgresRelay;
using px::testing::PostgresServer;
using std::chrono::milliseconds;

constexpr int kDocuments = 300;  // of 2 KB: several chunks of a COPY
constexpr const char* kDs = "2026-11-23";

Deadline soon() { return Deadline::after(milliseconds(60'000)); }

std::string new_schema() {
    static std::atomic<int> count{0};
    return "f" + std::to_string(++count);
}

Publication publication_of(const RunId& run, const std::string& title) {
    Publication publication;
    publication.release.run = run;
    publication.release.table_versions = {{"reports", 1}, {"embeddings", 2}};
    publication.release.index_manifest = "manifest of " + title;
    publication.release.input_fingerprints = {{"source/r", title}};
    Publication::Partition partition{"r", kDs, {}};
    for (int i = 0; i < kDocuments; ++i) {
        DocumentRow row;
        row.source = "r";
        row.ds = kDs;
        row.id = std::to_string(i);
        row.document_id = "r/" + row.id;
        row.title = title;
        row.extra_json = std::string(2000, 'x');
        partition.documents.push_back(row);
    }
    publication.documents.push_back(std::move(partition));
    return publication;
}

class PostgresFault : public ::testing::Test {
  protected:
    PostgresFault() { options_.schema = new_schema(); }
    std::string address(uint16_t port = 0) const {
        PostgresServer& server = PostgresServer::shared();
        return server.address_at(port != 0 ? port : server.port(), "postgres");
    }
    Result<std::unique_ptr<Catalog>> open(uint16_t port = 0,
                                          OpenMode mode = OpenMode::ReadWrite) const {
        return open_postgres_catalog(address(port), mode, clock_, options_);
    }
    libpq::Connection sql() const {
        return libpq::Connection::connect(libpq::parse_address(address()).value(), {}, soon())
            .value();
    }
    /// What a run does with its catalog, call by call.
    static std::vector<std::function<Result<void>(Catalog&)>> calls() {
        static RunId run;
        static int attempt;
        return {
            [](Catalog& catalog) -> Result<void> {
                run = PX_TRY(catalog.begin_run(kDs, "pipeline: x", "fp")).id;
                return {};
            },
            [](Catalog& catalog) -> Result<void> {
                attempt = PX_TRY(catalog.begin_task(run, "land"));
                return {};
            },
            [](Catalog& catalog) {
                return catalog.record_landed(run, {{"r", kDs, "a.csv", "k", "s", 1, 1},
                                                   {"r", kDs, "b.csv", "l", "t", 2, 2}});
            },
            [](Catalog& catalog) {
                return catalog.finish_task(run, "land", attempt, "done", "", "{}");
            },
            [](Catalog& catalog) {
                return catalog.record_checks({{run, "r", "select 1", "0", "0", true}});
            },
            [](Catalog& catalog) -> Result<void> {
                Publication publication = publication_of(run, "new");
                publication.expected_latest = 0;
                PX_TRY(catalog.publish(publication));
                return {};
            },
            [](Catalog& catalog) -> Result<void> {
                PX_TRY(catalog.latest_release());
                return {};
            },
        };
    }
    /// Everything once.
    void expect_whole() const {
        auto opened = open(0, OpenMode::ReadOnly).value();
        const std::vector<catalog::Run> runs = opened->runs(10).value();
        ASSERT_EQ(runs.size(), 1u);
        EXPECT_EQ(runs[0].id.value, "2026-11-23-0001");
        EXPECT_EQ(runs[0].state, RunState::Published);
        const std::vector<TaskAttempt> tasks = opened->tasks(runs[0].id).value();
        ASSERT_EQ(tasks.size(), 1u);
        EXPECT_EQ(tasks[0].attempt, 1);
        EXPECT_EQ(tasks[0].state, "done");
        EXPECT_EQ(opened->landed_files(runs[0].id).value().size(), 2u);
        EXPECT_EQ(opened->checks(runs[0].id).value().size(), 1u);
        const std::vector<Release> releases = opened->releases(10).value();
        ASSERT_EQ(releases.size(), 1u);
        EXPECT_EQ(releases[0].documents, kDocuments);
        EXPECT_EQ(opened->documents(ReleaseId{1}, 100'000, 0).value().size(),
                  static_cast<size_t>(kDocuments));
    }
    FixedClock clock_{1'764'000'000'000'000};
    PostgresCatalogOptions options_;
};

TEST_F(PostgresFault, CutAtAnyMessageTheRunEndsAsIfNothingHadHappened) {
    for (const PostgresRelay::Cut cut : {PostgresRelay::Cut::Before, PostgresRelay::Cut::LoseReply,
                                         PostgresRelay::Cut::TornReply}) {
        int64_t n = 1;
        // A torn reply differs from a lost one only in what libpq does with it: every third will
        // do.
        const int64_t step = cut == PostgresRelay::Cut::TornReply ? 3 : 1;
        for (bool cut_it = true; cut_it; n += step) {
            SCOPED_TRACE("cut " + std::to_string(static_cast<int>(cut)) + " at message " +
                         std::to_string(n));
            options_.schema = new_schema();
            PostgresRelay relay(PostgresServer::shared().port());
            relay.cut_at(n, cut);
            Result<std::unique_ptr<Catalog>> catalog = open(relay.port());
            if (!catalog) {
                // Only the very first log-in is not repeated: the address may be wrong.
                EXPECT_THAT(catalog, IsError(ErrorCode::Unavailable));
                EXPECT_LE(n, 6);
                catalog = open(relay.port());
            }
            ASSERT_THAT(catalog, IsOk());
            for (const auto& call : calls()) ASSERT_THAT(call(**catalog), IsOk());
            expect_whole();
            if (::testing::Test::HasFailure()) return;
            cut_it = relay.has_cut();
            ASSERT_LT(n, 1000);
            sql().run("DROP SCHEMA " + options_.schema + " CASCADE", soon()).value();
        }
        std::printf("cut up to message %d\n", static_cast<int>(n - 2 * step));
        std::fflush(stdout);
        EXPECT_GT(n, 60);
    }
}

TEST_F(PostgresFault, RestartedBetweenAnyTwoCallsAndCrashedBeforeThemNothingIsLost) {
    const size_t count = calls().size();
    for (size_t at = 0; at < count; ++at) {
        SCOPED_TRACE("before call " + std::to_string(at));
        options_.schema = new_schema();
        auto catalog = open().value();
        for (size_t i = 0; i < count; ++i) {
            if (i == at && at % 2 == 0) PostgresServer::shared().stop();
            if (i == at && at % 2 == 1) PostgresServer::shared().crash();
            if (i == at) PostgresServer::shared().start();
            ASSERT_THAT(calls()[i](*catalog), IsOk());
        }
        expect_whole();
    }
}

TEST_F(PostgresFault, ACallMadeWhileTheServerIsDownWaitsForIt) {
    auto catalog = open().value();
    PostgresServer::shared().stop();
    std::atomic<bool> asked{false};
    std::jthread run([&] {
        asked = true;
        for (const auto& call : calls()) EXPECT_THAT(call(*catalog), IsOk());
    });
    while (!asked) std::this_thread::yield();
    PostgresServer::shared().start();
    run.join();
    expect_whole();
}

TEST_F(PostgresFault, AServerThatStaysDownIsToldInTime) {
    options_.reconnect_timeout = milliseconds(100);
    auto catalog = open().value();
    PostgresServer::shared().stop();
    const auto read = catalog->latest_release();
    const auto written = catalog->begin_run(kDs, "", "");
    PostgresServer::shared().start();
    for (const Error& error : {read.error(), written.error()}) {
        EXPECT_EQ(error.code, ErrorCode::Unavailable);
        EXPECT_EQ(error_traits(error.code).exit_code, 4);
        EXPECT_FALSE(error.hint.empty());
    }
    EXPECT_THAT(catalog->begin_run(kDs, "", ""), IsOk());
}

TEST_F(PostgresFault, ASessionEndedOrKilledInTheMiddleOfPublishIsMadeGoodFor) {
    for (const bool killed : {false, true}) {
        options_.schema = new_schema();
        auto catalog = open().value();
        Publication publication = publication_of(catalog->begin_run(kDs, "", "").value().id, "new");
        int times = 0;
        publication.report = [&](const Release&) {
            if (++times == 1) {
                libpq::Connection admin = sql();
                const std::string of_publish =
                    " FROM pg_stat_activity WHERE state = 'idle in transaction'";
                if (killed) {
                    const auto found = admin.execute("SELECT pid" + of_publish, {}, soon()).value();
                    EXPECT_EQ(found.row_count(), 1);
                    ::kill(static_cast<pid_t>(found.int64(0, 0)), SIGKILL);
                } else {
                    EXPECT_THAT(admin.run("SELECT pg_terminate_backend(pid)" + of_publish, soon()),
                                IsOk());
                }
            }
            return std::string("{}");
        };
        EXPECT_THAT(catalog->publish(publication), IsOk());
        EXPECT_EQ(times, 2);
        EXPECT_EQ(catalog->releases(10).value().size(), 1u);
        EXPECT_EQ(catalog->documents(ReleaseId{1}, 100'000, 0).value().size(),
                  static_cast<size_t>(kDocuments));
    }
}

TEST_F(PostgresFault, DeadlocksAndSerializationFailuresAreTriedAgainAndOnlySoOften) {
    auto catalog = open().value();
    sql()
        .run("SET search_path = " + options_.schema +
                 "; CREATE SEQUENCE tries; CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN "
                 "CASE nextval('" +
                 options_.schema +
                 ".tries') WHEN 1 THEN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; "
                 "WHEN 2 THEN RAISE EXCEPTION 'no' USING ERRCODE = '40P01'; ELSE NULL; END CASE; "
                 "RETURN NEW; END $$ LANGUAGE plpgsql; "
                 "CREATE TRIGGER refuse BEFORE INSERT ON releases FOR EACH ROW EXECUTE FUNCTION "
                 "refuse()",
             soon())
        .value();
    const RunId run = catalog->begin_run(kDs, "", "").value().id;
    EXPECT_THAT(catalog->publish(publication_of(run, "new")), IsOk());
    const std::string count = "SELECT nextval('" + options_.schema + ".tries')";
    EXPECT_EQ(sql().execute(count, {}, soon()).value().int64(0, 0), 4);
    sql()
        .run("SET search_path = " + options_.schema +
                 "; CREATE OR REPLACE FUNCTION refuse() RETURNS trigger AS $$ BEGIN PERFORM "
                 "nextval('" +
                 options_.schema +
                 ".tries'); RAISE EXCEPTION 'never' USING ERRCODE = '40001'; END $$ LANGUAGE "
                 "plpgsql",
             soon())
        .value();
    const RunId next = catalog->begin_run(kDs, "", "").value().id;
    EXPECT_THAT(catalog->publish(publication_of(next, "newer")),
                IsError(ErrorCode::Conflict, "never"));
    EXPECT_EQ(sql().execute(count, {}, soon()).value().int64(0, 0),
              5 + options_.transaction_attempts);
    EXPECT_EQ(catalog->latest_release().value()->id.value, 1);
}

TEST_F(PostgresFault, ACommitWhoseReplyIsLostForGoodIsOutcomeUnknownAndFoundLater) {
    options_.reconnect_timeout = milliseconds(50);
    options_.connections_max = 1;
    { open().value(); }
    // How many messages a publish is.
    const auto publish_through = [&](PostgresRelay& relay, const RunId& run, int64_t cut) {
        auto catalog = open(relay.port()).value();
        EXPECT_THAT(catalog->latest_release(), IsOk());
        relay.cut_at(cut, PostgresRelay::Cut::LoseReply);
        if (cut > 0) relay.refuse_after_cut();
        return catalog->publish(publication_of(run, "x"));
    };
    const RunId first = open().value()->begin_run(kDs, "", "").value().id;
    int64_t messages = 0;
    {
        PostgresRelay relay(PostgresServer::shared().port());
        ASSERT_THAT(publish_through(relay, first, 0), IsOk());
        messages = relay.messages();
    }
    ASSERT_GT(messages, 10);
    const RunId second = open().value()->begin_run(kDs, "", "").value().id;
    PostgresRelay relay(PostgresServer::shared().port());
    EXPECT_THAT(publish_through(relay, second, messages),
                IsError(ErrorCode::OutcomeUnknown, "did not say whether it committed"));
    auto catalog = open().value();
    EXPECT_EQ(catalog->latest_release().value()->run, second);
    EXPECT_EQ(catalog->publish(publication_of(second, "x")).value().id.value, 2);
    EXPECT_EQ(catalog->releases(10).value().size(), 2u);
}

TEST_F(PostgresFault, KilledAtAnyMessageThereIsAllOfAReleaseOrNothing) {
    bool was_there = false;
    int points = 0;
    {
        auto catalog = open().value();
        const RunId first = catalog->begin_run(kDs, "", "fp1").value().id;
        ASSERT_THAT(catalog->publish(publication_of(first, "0")), IsOk());
    }
    int64_t release = 1;
    for (int n = 0;; ++n) {
        SCOPED_TRACE("point " + std::to_string(n));
        const std::string title = std::to_string(n + 1);
        RunId run = open().value()->begin_run(kDs, "", "fp").value().id;
        const pid_t child = fork();
        if (child == 0) {
            sends_left = n;
            auto catalog = open();
            _exit(catalog && (*catalog)->publish(publication_of(run, title)) ? 0 : 2);
        }
        int status = 0;
        waitpid(child, &status, 0);
        ASSERT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << WEXITSTATUS(status);
        const auto expect = [&](bool there) {
            auto catalog = open(0, OpenMode::ReadOnly).value();
            const Release latest = catalog->latest_release().value().value();
            EXPECT_EQ(latest.id.value, there ? release + 1 : release);
            EXPECT_EQ(catalog->run(run).value()->release.has_value(), there);
            EXPECT_EQ(latest.table_versions.size(), 2u);
            const auto documents = catalog->documents(latest.id, 100'000, 0).value();
            EXPECT_EQ(documents.size(), static_cast<size_t>(kDocuments));
            for (const DocumentRow& row : documents)
                EXPECT_EQ(row.title, there ? title : std::to_string(n)) << "release " << release;
            EXPECT_EQ(latest.input_fingerprints.at("source/r"), there ? title : std::to_string(n));
        };
        auto catalog = open().value();
        // A write waits for the lock of the dead process' session: after it that session is over.
        EXPECT_THAT(catalog->record_checks({}), IsOk());
        const bool there = catalog->run(run).value()->state == RunState::Published;
        EXPECT_TRUE(there || WIFSIGNALED(status));
        EXPECT_TRUE(there || !was_there) << "lost what the point before had made durable";
        was_there = there;
        expect(there);
        EXPECT_THAT(catalog->publish(publication_of(run, title)), IsOk());
        expect(true);
        ++release;
        if (WIFEXITED(status)) break;
        ++points;
        ASSERT_LT(n, 1000);
        if (::testing::Test::HasFailure()) return;
    }
    std::printf("killed at %d points\n", points);
    EXPECT_GT(points, 20);
    EXPECT_TRUE(was_there);
    EXPECT_EQ(open().value()->releases(1000).value().size(), static_cast<size_t>(release));
}

}  // namespace
}  // namespace px::catalog
