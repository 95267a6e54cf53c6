#include "schedule/process_runner.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>

#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::schedule {
namespace {

using px::testing::read_file;

Result<void> known(const std::string&) { return {}; }

Exit wait_for(ProcessRunner& runner, const std::string& child) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < until) {
        if (const auto exit = runner.poll(child)) return *exit;
        runner.wait(std::chrono::milliseconds(100), {});
    }
    ADD_FAILURE() << "the process does not end";
    return {};
}

Command shell(const std::string& script, const std::filesystem::path& log = {}) {
    Command command;
    command.words = {"/bin/sh", "-c", script};
    command.log_file = log.string();
    return command;
}

TEST(ProcessRunner, TellsHowAProcessEndedAndItsLastLineOfJson) {
    px::testing::TempDir folder;
    ProcessRunner runner;
    const std::string child =
        runner
            .start(shell("echo one; echo '{\"run_id\":\"r\"}'; echo two >&2; exit 3",
                         folder / "a/b.log"),
                   known)
            .value();
    const Exit exit = wait_for(runner, child);
    EXPECT_EQ(exit.code, 3);
    EXPECT_EQ(exit.signal, 0);
    EXPECT_EQ(exit.last_line, "{\"run_id\":\"r\"}");
    EXPECT_EQ(read_file(folder / "a/b.log"), "one\n{\"run_id\":\"r\"}\ntwo\n");
    EXPECT_TRUE(runner.poll(child)->unknown);  // told once
    EXPECT_EQ(wait_for(runner, runner.start(shell("kill -9 $$"), known).value()).signal, 9);
    Command missing;
    missing.words = {"/no/such/program"};
    EXPECT_EQ(wait_for(runner, runner.start(missing, known).value()).code, 127);
}

TEST(ProcessRunner, AProcessNobodyKnowsOfDoesNotWork) {
    px::testing::TempDir folder;
    ProcessRunner runner;
    const auto refused = runner.start(shell("touch " + (folder / "worked").string()),
                                      [](const std::string&) -> Result<void> {
                                          return fail(ErrorCode::Conflict, "another has it");
                                      });
    EXPECT_THAT(refused, px::testing::IsError(ErrorCode::Conflict));
    EXPECT_FALSE(std::filesystem::exists(folder / "worked"));
}

TEST(ProcessRunner, EndsAWholeGroup) {
    px::testing::TempDir folder;
    ProcessRunner runner;
    const std::string child =
        runner.start(shell("sleep 600 & sleep 600; echo not reached"), known).value();
    runner.terminate(child, false);
    EXPECT_EQ(wait_for(runner, child).signal, SIGTERM);
    const std::string stubborn =
        runner
            .start(shell("trap '' TERM; echo '{'; while :; do sleep 0.05; done", folder / "log"),
                   known)
            .value();
    while (!std::filesystem::exists(folder / "log") || read_file(folder / "log").empty()) {
        EXPECT_FALSE(runner.poll(stubborn));
        runner.wait(std::chrono::milliseconds(20), {});
    }
    runner.terminate(stubborn, false);
    runner.wait(std::chrono::milliseconds(100), {});
    EXPECT_FALSE(runner.poll(stubborn));
    runner.terminate(stubborn, true);
    EXPECT_EQ(wait_for(runner, stubborn).signal, SIGKILL);
}

TEST(ProcessRunner, ALogIsBoundedAndAFullDiskStopsNoRun) {
    px::testing::TempDir folder;
    ProcessRunner runner;
    Command loud = shell("i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done",
                         folder / "loud.log");
    loud.log_bytes_max = 10'000;
    EXPECT_EQ(wait_for(runner, runner.start(loud, known).value()).code, 0);
    EXPECT_LT(std::filesystem::file_size(folder / "loud.log"), 80'000U);
    EXPECT_NE(read_file(folder / "loud.log").find("the log is cut here"), std::string::npos);
    EXPECT_EQ(
        wait_for(runner, runner.start(shell("echo x; echo y", "/dev/full"), known).value()).code,
        0);
    EXPECT_EQ(
        wait_for(runner, runner.start(shell("echo x", "/proc/no/such/place"), known).value()).code,
        0);
}

TEST(ProcessRunner, ProcessesAreKnownByTheirStart) {
    EXPECT_EQ(is_process_alive(this_process()), true);
    std::string other = this_process();
    EXPECT_EQ(is_process_alive(other + "1"), false);  // the pid was given to another
    EXPECT_EQ(is_process_alive("elsewhere" + other), std::nullopt);
    EXPECT_EQ(is_process_alive(""), std::nullopt);
    EXPECT_EQ(is_process_alive("a:b:c:d"), std::nullopt);
}

}  // namespace
}  // namespace px::schedule
