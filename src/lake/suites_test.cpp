// Every table of the public Delta suites is read as the suite expects, or refused by the feature it
// needs. The table of expectations is tests/cases/lake/suites.case; tests/peers/lake_suites.py
// compares it with delta-rs.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "capi/duckdb/duckdb_handle.h"
#include "lake/delta_table.h"
#include "store/local/local_object_store.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::lake {
namespace {

namespace fs = std::filesystem;

const fs::path kSuites = PX_SOURCE_DIR "/../shared/data/suites";
const SystemClock kClock;

struct Opened {
    explicit Opened(const fs::path& folder)
        : store(folder.parent_path(), "suite"),
          table(store, folder.filename().string(), kClock, options()) {}
    static DeltaTableOptions options() {
        // Never destroyed: DuckDB must not be closed after its own statics are gone.
        static const auto& engine =
            *new std::shared_ptr<CheckpointEngine>(make_checkpoint_engine());
        DeltaTableOptions shared;
        shared.checkpoint_engine = engine;
        return shared;
    }
    store::LocalObjectStore store;
    DeltaTable table;
};

std::string describe(const Result<Snapshot>& snapshot) {
    if (!snapshot)
        return fmt::format("{}: {}", error_traits(snapshot.error().code).name,
                           snapshot.error().message);
    const std::optional<int64_t> rows = snapshot->row_count();
    return fmt::format("version {}, {} files, {} rows, {} columns", snapshot->version.value,
                       snapshot->files.size(), rows ? std::to_string(*rows) : "?",
                       snapshot->schema.fields.size());
}

Result<Snapshot> newest(const DeltaTable& table) {
    std::optional<Snapshot> snapshot = PX_TRY(table.snapshot());
    if (!snapshot) return fail(ErrorCode::NotFound, "no table");
    return std::move(*snapshot);
}

std::vector<fs::path> tables() {
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(kSuites)) {
        if (entry.is_directory() && entry.path().filename() == "_delta_log")
            found.push_back(entry.path().parent_path());
    }
    std::sort(found.begin(), found.end());
    return found;
}

TEST(Suites, EveryTableIsReadOrRefusedByName) {
    const fs::path case_file = PX_SOURCE_DIR "/tests/cases/lake/suites.case";
    std::string actual;
    int read = 0;
    int refused = 0;
    for (const fs::path& folder : tables()) {
        Opened opened(folder);
        const Result<Snapshot> snapshot = newest(opened.table);
        ++(snapshot ? read : refused);
        actual +=
            fmt::format("{} | {}\n", fs::relative(folder, kSuites).string(), describe(snapshot));
        // Whatever the newest is, every version and the history end in a value or an error.
        const auto history = opened.table.history();
        if (snapshot) {
            for (int64_t version = std::max<int64_t>(0, snapshot->version.value - 12);
                 version <= snapshot->version.value; ++version) {
                const auto older = opened.table.snapshot_at({version});
                if (older) {
                    EXPECT_EQ(older->version.value, version);
                }
            }
            EXPECT_THAT(history, testing::IsOk()) << folder;
        }
    }
    EXPECT_GE(read, 49);
    EXPECT_GE(read + refused, 75);
    if (std::getenv("UPDATE_CASES") != nullptr) testing::write_file(case_file, actual);
    std::istringstream expected_lines(testing::read_file(case_file));
    std::istringstream actual_lines(actual);
    std::string expected_line;
    std::string actual_line;
    while (std::getline(actual_lines, actual_line)) {
        std::getline(expected_lines, expected_line);
        EXPECT_EQ(actual_line, expected_line);
    }
    EXPECT_FALSE(std::getline(expected_lines, expected_line)) << expected_line;
}

int64_t count_rows(const std::vector<std::string>& files) {
    if (files.empty()) return 0;
    auto database = duckdb::Database::open("", {{"threads", "1"}}).value();
    auto connection = database.connect().value();
    std::string list;
    for (const std::string& file : files)
        list += (list.empty() ? "" : ",") + duckdb::quote_literal(file);
    auto rows = connection.query("SELECT count(*)::VARCHAR FROM read_parquet([" + list +
                                 "], union_by_name = true)");
    if (!rows) ADD_FAILURE() << rows.error().to_string();
    return std::stoll(*rows->read_text().value()[0][0]);
}

std::vector<std::string> parquet_files(const fs::path& folder) {
    std::vector<std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
        if (entry.path().extension() == ".parquet") files.push_back(entry.path().string());
    }
    return files;
}

/// Versions and contents that the acceptance suite itself writes down.
TEST(Suites, AcceptanceTestsHaveTheExpectedVersionPropertiesAndRows) {
    int compared = 0;
    for (const auto& table_entry : fs::directory_iterator(kSuites / "dat/reader_tests/generated")) {
        Opened opened(table_entry.path() / "delta");
        for (const auto& entry : fs::directory_iterator(table_entry.path() / "expected")) {
            SCOPED_TRACE(entry.path().string());
            const auto metadata =
                boost::json::parse(testing::read_file(entry.path() / "table_version_metadata.json"))
                    .as_object();
            const int64_t version = metadata.at("version").as_int64();
            const Result<Snapshot> snapshot = entry.path().filename() == "latest"
                                                  ? newest(opened.table)
                                                  : opened.table.snapshot_at({version});
            if (!snapshot) {
                EXPECT_EQ(snapshot.error().code, ErrorCode::InvalidArgument)
                    << snapshot.error().to_string();
                continue;
            }
            EXPECT_EQ(snapshot->version.value, version);
            std::map<std::string, std::string> properties;
            for (const auto& pair : metadata.at("properties").as_object())
                properties[std::string(pair.key())] = std::string(pair.value().as_string());
            EXPECT_EQ(snapshot->configuration, properties);
            std::vector<std::string> files;
            for (const Add& add : snapshot->files) {
                const auto path = opened.store.local_path("delta/" + add.path);
                ASSERT_THAT(path, testing::IsOk());
                files.push_back(path->string());
                EXPECT_EQ(static_cast<int64_t>(fs::file_size(*path)), add.size_bytes);
            }
            const int64_t expected_rows = count_rows(parquet_files(entry.path() / "table_content"));
            EXPECT_EQ(count_rows(files), expected_rows);
            if (const auto rows = snapshot->row_count()) {
                EXPECT_EQ(*rows, expected_rows);
            }
            ++compared;
        }
    }
    EXPECT_GE(compared, 20);
}

}  // namespace
}  // namespace px::lake
