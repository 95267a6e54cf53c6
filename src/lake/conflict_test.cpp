#include "lake/conflict.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::lake {
namespace {

struct Named {
    std::string path;
    std::optional<PartitionValues> partition;
};

PartitionValues partition(const std::string& text) {
    PartitionValues values;
    if (text == "all") return values;
    const size_t equals = text.find('=');
    const std::string value = text.substr(equals + 1);
    values[text.substr(0, equals)] = value == "null" ? std::nullopt : std::optional(value);
    return values;
}

Named named(const std::string& text) {
    const size_t at = text.find('@');
    if (text.substr(at + 1) == "?") return {text.substr(0, at), std::nullopt};
    return {text.substr(0, at), partition(text.substr(at + 1))};
}

struct Case {
    std::string name;
    Change change;
    LogEntry winner;
};

std::string verdict(const Case& test) {
    const std::map<std::string, PartitionValues> base = {{"old1", partition("ds=1")},
                                                         {"old2", partition("ds=2")},
                                                         {"oldnull", partition("ds=null")}};
    const Result<void> result =
        check_conflict(test.change, test.winner, 7, [&](const std::string& path) {
            const auto found = base.find(path);
            return found == base.end() ? nullptr : &found->second;
        });
    if (result) return "ok";
    return std::string(error_traits(result.error().code).name) + " " + result.error().message;
}

TEST(Conflict, FollowsTheTableOfCases) {
    const std::string path = PX_SOURCE_DIR "/tests/cases/lake/conflicts.case";
    std::istringstream lines(testing::read_file(path));
    std::string rewritten;
    std::string line;
    Case test;
    int cases = 0;
    while (std::getline(lines, line)) {
        std::istringstream words(line);
        std::string key;
        words >> key;
        std::string word;
        if (key == "case:") {
            test = Case{line.substr(6), {}, {}};
        } else if (key == "overwrites:") {
            words >> word;
            test.change.overwrites = partition(word);
        } else if (key == "removes:") {
            while (words >> word) test.change.remove.push_back(word);
        } else if (key == "adds:") {
            while (words >> word) {
                Add add;
                add.path = named(word).path;
                add.partition_values = named(word).partition.value();
                test.change.add.push_back(add);
            }
        } else if (key == "app:") {
            words >> test.change.app_id >> test.change.app_version;
        } else if (key == "winner:") {
            std::string action;
            words >> action >> word;
            if (action == "add") {
                AddAction add;
                add.add.path = named(word).path;
                add.add.partition_values = named(word).partition.value();
                test.winner.adds.push_back(add);
            } else if (action == "remove") {
                RemoveAction remove;
                remove.path = named(word).path;
                remove.partition_values = named(word).partition;
                test.winner.removes.push_back(remove);
            } else if (action == "metadata") {
                test.winner.metadata = Metadata();
            } else if (action == "protocol") {
                test.winner.protocol = Protocol();
            } else if (action == "txn") {
                TransactionAction transaction;
                transaction.app_id = word;
                words >> transaction.version;
                test.winner.transactions.push_back(transaction);
            } else {
                ASSERT_EQ(action, "nothing");
            }
        } else if (key == "expect:") {
            ++cases;
            const std::string actual = verdict(test);
            if (std::getenv("UPDATE_CASES") == nullptr) {
                EXPECT_EQ("expect: " + actual, line) << test.name;
            }
            line = "expect: " + actual;
        } else {
            ASSERT_TRUE(line.empty() || line[0] == '#') << line;
        }
        rewritten += line + "\n";
    }
    EXPECT_GE(cases, 20);
    if (std::getenv("UPDATE_CASES") != nullptr) testing::write_file(path, rewritten);
}

}  // namespace
}  // namespace px::lake
