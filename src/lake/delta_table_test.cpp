#include "lake/delta_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "lake/checkpoint.h"
#include "lake/log.h"
#include "store/local/local_object_store.h"
#include "store/memory/memory_object_store.h"
#include "testing/faulty_object_store.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::lake {
namespace {

using columnar::Schema;
using columnar::TypeId;
using px::testing::Fault;
using px::testing::FaultyObjectStore;
using px::testing::IsError;
using px::testing::IsOk;
using store::MemoryObjectStore;
using Paths = std::vector<std::string>;

/// Every table of the tests shares one engine, as those of a program do.
DeltaTableOptions options(int64_t checkpoint_interval = 10) {
    // Never destroyed: DuckDB must not be closed after its own statics are gone.
    static const auto& engine = *new std::shared_ptr<CheckpointEngine>(make_checkpoint_engine());
    DeltaTableOptions shared;
    shared.checkpoint_interval = checkpoint_interval;
    shared.checkpoint_engine = engine;
    return shared;
}

constexpr TimestampMicros kStart = 1'795'000'000'000'000;
constexpr TimestampMicros kSecond = 1'000'000;
constexpr TimestampMicros kDay = 86'400 * kSecond;

Schema reports() {
    return {{{"id", {TypeId::Int64}, true},
             {"title", {TypeId::String}, true},
             {"ds", {TypeId::Date}, true}}};
}

Add file(const std::string& path, const std::string& ds, int64_t rows = 1) {
    Add add;
    add.path = path;
    add.partition_values["ds"] = ds;
    add.size_bytes = 100;
    add.modification_time_ms = kStart / 1000;
    add.stats_json = "{\"numRecords\":" + std::to_string(rows) + "}";
    return add;
}

Change creation() {
    Change change;
    change.schema = reports();
    change.partition_columns = {"ds"};
    change.info.operation = "CREATE TABLE";
    return change;
}

Change append(const Add& add) {
    Change change;
    change.add = {add};
    change.info = {"WRITE", {{"mode", "Append"}}, "run-1"};
    return change;
}

Change overwrite(const Snapshot& base, const std::string& ds, const std::vector<Add>& adds) {
    Change change;
    change.overwrites = PartitionValues{{"ds", ds}};
    for (const Add* old : base.files_in(*change.overwrites)) change.remove.push_back(old->path);
    change.add = adds;
    change.info = {"WRITE", {{"mode", "Overwrite"}}, "run-2"};
    return change;
}

Paths paths(const Snapshot& snapshot) {
    Paths found;
    for (const Add& add : snapshot.files) found.push_back(add.path);
    return found;
}

struct Lake : ::testing::Test {
    FixedClock clock{kStart};
    MemoryObjectStore store{&clock};
    DeltaTable table{store, "reports", clock, options()};

    Snapshot newest() { return table.snapshot().value().value(); }
    void create() { ASSERT_EQ(table.commit(std::nullopt, creation()).value().value, 0); }
    int64_t commit(const Change& change) {
        clock.set(clock.now() + kSecond);
        return table.commit(newest(), change).value().value;
    }
    void drop() {
        const auto objects = store.list("reports/").value();
        for (const store::ObjectMeta& meta : objects) ASSERT_TRUE(store.remove(meta.key));
    }
    /// A table read by someone who remembers nothing.
    DeltaTable fresh() { return DeltaTable(store, "reports", clock, options()); }
    static std::string log_key(int64_t version) { return fmt_key(version) + ".json"; }
    static std::string fmt_key(int64_t version) {
        std::string digits = std::to_string(version);
        return "reports/_delta_log/" + std::string(20 - digits.size(), '0') + digits;
    }
};

TEST_F(Lake, ATableThatIsNotThereIsNoTable) {
    EXPECT_FALSE(table.snapshot().value().has_value());
    EXPECT_THAT(table.snapshot_at({0}), IsError(ErrorCode::NotFound, "reports"));
    EXPECT_THAT(table.snapshot_as_of(kStart), IsError(ErrorCode::NotFound));
    EXPECT_TRUE(table.history().value().empty());
    EXPECT_THAT(table.vacuum(0, {}, DeltaTable::VacuumMode::Delete), IsError(ErrorCode::NotFound));
    EXPECT_THAT(table.checkpoint({0}), IsError(ErrorCode::NotFound));
}

TEST_F(Lake, TheFirstCommitMakesTheTable) {
    create();
    const Snapshot snapshot = newest();
    EXPECT_EQ(snapshot.version.value, 0);
    EXPECT_EQ(snapshot.schema, reports());
    EXPECT_EQ(snapshot.partition_columns, (std::vector<std::string>{"ds"}));
    EXPECT_EQ(snapshot.table_id.size(), 36U);
    EXPECT_EQ(snapshot.committed_at, kStart);
    EXPECT_EQ(snapshot.row_count(), 0);
    EXPECT_THAT(table.commit(std::nullopt, creation()),
                IsError(ErrorCode::Conflict, "exists already"));
}

TEST_F(Lake, AppendsAddUpAndAnOverwriteReplacesItsPartitionInOneVersion) {
    create();
    EXPECT_EQ(commit(append(file("ds=2026-11-22/a", "2026-11-22", 10))), 1);
    EXPECT_EQ(commit(append(file("ds=2026-11-23/b", "2026-11-23", 20))), 2);
    const Snapshot before = newest();
    EXPECT_EQ(commit(overwrite(before, "2026-11-23", {file("ds=2026-11-23/c", "2026-11-23", 5)})),
              3);
    const Snapshot after = newest();
    EXPECT_EQ(paths(after), (Paths{"ds=2026-11-22/a", "ds=2026-11-23/c"}));
    EXPECT_EQ(after.row_count(), 15);
    EXPECT_EQ(paths(before), (Paths{"ds=2026-11-22/a", "ds=2026-11-23/b"}));
    EXPECT_EQ(after.files_in({{"ds", "2026-11-23"}}).size(), 1U);
    EXPECT_EQ(after.files_in({}).size(), 2U);
    EXPECT_TRUE(after.files_in({{"other", "1"}}).empty());

    const auto history = table.history().value();
    ASSERT_EQ(history.size(), 4U);
    EXPECT_EQ(history[0].version.value, 3);
    EXPECT_EQ(history[0].run_id, "run-2");
    EXPECT_EQ(history[0].operation, "WRITE");
    EXPECT_EQ(history[0].files_added, 1);
    EXPECT_EQ(history[0].files_removed, 1);
    EXPECT_EQ(history[0].committed_at, kStart + 3 * kSecond);
    EXPECT_EQ(history[3].operation, "CREATE TABLE");
}

TEST_F(Lake, OverwritingWithTheSameFileChangesNothing) {
    create();
    commit(append(file("ds=1/a", "1", 10)));
    const int64_t version = commit(overwrite(newest(), "1", {file("ds=1/a", "1", 10)}));
    EXPECT_EQ(paths(newest()), Paths{"ds=1/a"});
    const auto history = table.history().value();
    EXPECT_EQ(history[0].version.value, version);
    EXPECT_EQ(history[0].files_added + history[0].files_removed, 0);
}

TEST_F(Lake, OverwritingEveryFileMayReplaceTheSchema) {
    create();
    commit(append(file("a.parquet", "2026-01-01")));
    Change change = overwrite(newest(), "2026-01-01", {file("b.parquet", "2026-01-01")});
    change.schema = Schema{{{"Title", {TypeId::Int64}, true}, {"ds", {TypeId::Date}, true}}};
    change.replace_schema = true;
    EXPECT_THAT(table.commit(newest(), change),
                IsError(ErrorCode::InvalidArgument, "overwriting the whole table"));
    change.overwrites.emplace();
    const Paths kept = change.remove;
    change.remove.clear();
    EXPECT_THAT(table.commit(newest(), change),
                IsError(ErrorCode::InvalidArgument, "overwriting the whole table"));
    change.remove = kept;
    EXPECT_EQ(commit(change), 2);
    EXPECT_EQ(newest().schema, *change.schema);
    EXPECT_EQ(fresh().snapshot().value()->schema, *change.schema);
    EXPECT_EQ(table.snapshot_at({1})->schema, reports());
}

TEST_F(Lake, EveryVersionAndEveryTimeCanBeReadAgain) {
    create();
    for (int i = 1; i <= 25; ++i) {
        ASSERT_EQ(commit(append(file("ds=1/f" + std::to_string(100 + i), "1", i))), i);
    }
    DeltaTable other = fresh();
    for (int i = 0; i <= 25; ++i) {
        for (DeltaTable* reader : {&table, &other}) {
            if (reader == &table && i % 5 != 0) continue;
            const Result<Snapshot> snapshot = reader->snapshot_at({i});
            ASSERT_THAT(snapshot, IsOk());
            EXPECT_EQ(snapshot->files.size(), static_cast<size_t>(i));
            EXPECT_EQ(snapshot->committed_at, kStart + i * kSecond);
            EXPECT_EQ(reader->snapshot_as_of(kStart + i * kSecond)->version.value, i);
            EXPECT_EQ(reader->snapshot_as_of(kStart + i * kSecond + kSecond / 2)->version.value, i);
        }
    }
    EXPECT_THAT(table.snapshot_at({26}), IsError(ErrorCode::NotFound, "it has 0 to 25"));
    EXPECT_THAT(table.snapshot_at({-1}), IsError(ErrorCode::NotFound));
    EXPECT_THAT(table.snapshot_as_of(kStart - 1),
                IsError(ErrorCode::NotFound, "oldest version is of"));
}

TEST_F(Lake, CommitTimesRiseThoughTheClockStandsStill) {
    create();
    for (int i = 0; i < 3; ++i)
        ASSERT_TRUE(table.commit(newest(), append(file("f" + std::to_string(i), "1"))));
    clock.set(kStart - kDay);
    ASSERT_TRUE(table.commit(newest(), append(file("late", "1"))));
    const auto history = table.history().value();
    for (size_t i = 1; i < history.size(); ++i)
        EXPECT_LT(history[i].committed_at, history[i - 1].committed_at);
    EXPECT_EQ(table.snapshot_as_of(kStart)->version.value, 0);
    EXPECT_EQ(newest().committed_at, history[0].committed_at);
}

TEST_F(Lake, ACheckpointReplacesTheEarlierLog) {
    create();
    for (int i = 1; i <= 12; ++i) {
        Change change = append(file("ds=1/f" + std::to_string(100 + i), "1", i));
        change.app_id = "nightly";
        change.app_version = i;
        commit(change);
    }
    commit(overwrite(newest(), "1", {file("ds=1/new", "1", 7)}));
    ASSERT_TRUE(store.head(fmt_key(10) + ".checkpoint.parquet").value().has_value());
    EXPECT_EQ(store.get("reports/_delta_log/_last_checkpoint").value().substr(0, 14),
              "{\"version\":10,");
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(store.remove(log_key(i)));

    DeltaTable reader = fresh();
    const Snapshot snapshot = reader.snapshot().value().value();
    EXPECT_EQ(snapshot.version.value, 13);
    EXPECT_EQ(paths(snapshot), Paths{"ds=1/new"});
    EXPECT_EQ(snapshot.schema, reports());
    EXPECT_EQ(snapshot.transactions.at("nightly"), 12);
    EXPECT_EQ(reader.snapshot_at({10})->files.size(), 10U);
    EXPECT_EQ(reader.snapshot_at({10})->row_count(), 55);
    EXPECT_EQ(reader.snapshot_at({10})->committed_at, kStart + 10 * kSecond);
    EXPECT_THAT(reader.snapshot_at({9}), IsError(ErrorCode::NotFound, "it has 10 to 13"));
    EXPECT_EQ(reader.history().value().size(), 4U);

    // The hint is only a hint.
    for (const char* hint : {"", "{", "{\"version\":99}", "{\"version\":\"x\"}", "{\"version\":-4}",
                             "{\"version\":12}"}) {
        ASSERT_TRUE(store.put("reports/_delta_log/_last_checkpoint", hint));
        EXPECT_EQ(paths(*fresh().snapshot().value()), Paths{"ds=1/new"}) << hint;
    }
    ASSERT_TRUE(store.remove("reports/_delta_log/_last_checkpoint"));
    EXPECT_EQ(fresh().snapshot_at({11})->files.size(), 11U);
}

TEST_F(Lake, ACheckpointKeepsEverythingTheLogSays) {
    create();
    Add odd = file("ds=a b%2F\xC3\xA9/part \"1\"", "a b/\xC3\xA9", 3);
    commit(append(odd));
    Change null_partition = append(file("null", "x"));
    null_partition.add[0].partition_values["ds"] = std::nullopt;
    null_partition.add[0].stats_json.clear();
    null_partition.app_id = "app";
    null_partition.app_version = 4;
    commit(null_partition);
    commit(append(file("gone", "9")));
    commit(overwrite(newest(), "9", {}));
    const Snapshot from_json = newest();
    ASSERT_THAT(table.checkpoint(from_json.version), IsOk());
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(store.remove(log_key(i)));
    const Snapshot from_checkpoint = fresh().snapshot().value().value();
    EXPECT_EQ(from_checkpoint.version, from_json.version);
    EXPECT_EQ(from_checkpoint.table_id, from_json.table_id);
    EXPECT_EQ(from_checkpoint.schema, from_json.schema);
    EXPECT_EQ(from_checkpoint.transactions, from_json.transactions);
    ASSERT_EQ(from_checkpoint.files.size(), from_json.files.size());
    for (size_t i = 0; i < from_json.files.size(); ++i) {
        EXPECT_EQ(from_checkpoint.files[i].path, from_json.files[i].path);
        EXPECT_EQ(from_checkpoint.files[i].partition_values, from_json.files[i].partition_values);
        EXPECT_EQ(from_checkpoint.files[i].size_bytes, from_json.files[i].size_bytes);
        EXPECT_EQ(from_checkpoint.files[i].modification_time_ms,
                  from_json.files[i].modification_time_ms);
        EXPECT_EQ(from_checkpoint.files[i].stats_json, from_json.files[i].stats_json);
    }
    LogReader reader(store, "reports", options());
    const auto state = reader.newest().value();
    ASSERT_EQ(state->tombstones.size(), 1U);
    EXPECT_EQ(state->tombstones.begin()->second.path, "gone");
    EXPECT_EQ(state->tombstones.begin()->second.size_bytes, 100);

    // A week later the tombstone has done its work.
    clock.set(clock.now() + 8 * kDay);
    ASSERT_THAT(table.checkpoint(from_json.version), IsOk());
    LogReader later(store, "reports", options());
    EXPECT_TRUE(later.newest().value()->tombstones.empty());
}

TEST_F(Lake, ADamagedCheckpointIsPassedOverWhileTheLogReachesBack) {
    create();
    for (int i = 1; i <= 21; ++i) commit(append(file("f" + std::to_string(100 + i), "1")));
    const std::string good = store.get(fmt_key(20) + ".checkpoint.parquet").value();
    for (const std::string& bytes : {std::string(), std::string("PAR1"),
                                     good.substr(0, good.size() / 2), std::string(5000, 'x')}) {
        ASSERT_TRUE(store.put(fmt_key(20) + ".checkpoint.parquet", bytes));
        EXPECT_EQ(fresh().snapshot().value()->files.size(), 21U);
    }
    for (int i = 0; i <= 15; ++i) ASSERT_TRUE(store.remove(log_key(i)));
    ASSERT_TRUE(store.remove(fmt_key(10) + ".checkpoint.parquet"));
    EXPECT_THAT(fresh().snapshot(),
                IsError(ErrorCode::Corrupt, "00000000000000000020.checkpoint.parquet"));
    ASSERT_TRUE(store.put(fmt_key(20) + ".checkpoint.parquet", good));
    EXPECT_EQ(fresh().snapshot().value()->files.size(), 21U);
}

TEST_F(Lake, AMultiPartCheckpointIsReadWhenAllItsPartsAreThere) {
    create();
    for (int i = 1; i <= 3; ++i) commit(append(file("a" + std::to_string(i), "1", i)));
    ASSERT_THAT(table.checkpoint({3}), IsOk());
    const std::string first = store.get(fmt_key(3) + ".checkpoint.parquet").value();
    ASSERT_TRUE(store.remove(fmt_key(3) + ".checkpoint.parquet"));
    // A second part: the adds of another table's checkpoint, which has no metaData of its own to
    // clash.
    MemoryObjectStore other_store(&clock);
    DeltaTable other(other_store, "reports", clock, options());
    ASSERT_TRUE(other.commit(std::nullopt, creation()));
    const Snapshot base = other.snapshot().value().value();
    ASSERT_TRUE(other.commit(base, append(file("b1", "2", 100))));
    LogReader reader(other_store, "reports", options());
    LogState part = *reader.newest().value();
    part.protocol.reset();
    part.metadata.reset();
    testing::TempDir dir;
    ASSERT_THAT(write_checkpoint_file(*options().checkpoint_engine, part, 0, dir.path(),
                                      dir / "part.parquet"),
                IsOk());
    ASSERT_TRUE(store.put(fmt_key(3) + ".checkpoint.0000000001.0000000002.parquet", first));
    for (int i = 0; i <= 3; ++i) ASSERT_TRUE(store.remove(log_key(i)));
    EXPECT_FALSE(fresh().snapshot().value_or(std::nullopt).has_value());
    ASSERT_TRUE(store.put(fmt_key(3) + ".checkpoint.0000000002.0000000002.parquet",
                          testing::read_file(dir / "part.parquet")));
    const Snapshot snapshot = fresh().snapshot().value().value();
    EXPECT_EQ(paths(snapshot), (Paths{"a1", "a2", "a3", "b1"}));
    EXPECT_EQ(snapshot.row_count(), 106);
}

TEST_F(Lake, ALogWithAHoleIsCorruptByVersion) {
    create();
    for (int i = 1; i <= 5; ++i) commit(append(file("f" + std::to_string(i), "1")));
    ASSERT_TRUE(store.remove(log_key(3)));
    EXPECT_THAT(fresh().snapshot(), IsError(ErrorCode::Corrupt, "lacks version 3"));
    EXPECT_EQ(fresh().snapshot_at({2})->files.size(), 2U);
    ASSERT_TRUE(store.remove(log_key(0)));
    EXPECT_THAT(fresh().snapshot(), IsError(ErrorCode::Corrupt, "begins with version 1"));
    EXPECT_THAT(fresh().snapshot_at({5}), IsError(ErrorCode::Corrupt));
}

TEST_F(Lake, DamagedLogEntriesAreCorruptByNameAndLine) {
    create();
    commit(append(file("f", "1")));
    ASSERT_TRUE(store.put(log_key(1), "{\"add\":{\"path\":\"f\"}}\n{\"add\":"));
    EXPECT_THAT(fresh().snapshot(), IsError(ErrorCode::Corrupt, "00000000000000000001.json"));
    EXPECT_THAT(fresh().snapshot(), IsError(ErrorCode::Corrupt, "line 2"));
    for (const char* path : {"../../etc/passwd", "a//b", "a/./b"}) {
        ASSERT_TRUE(store.put(log_key(1), std::string("{\"add\":{\"path\":\"") + path + "\"}}"));
        EXPECT_THAT(fresh().snapshot(), IsError(ErrorCode::Corrupt, "can't be")) << path;
    }
    for (const char* path : {"s3://bucket/x", "file:/x", "/x"}) {
        ASSERT_TRUE(store.put(log_key(1), std::string("{\"add\":{\"path\":\"") + path + "\"}}"));
        EXPECT_THAT(fresh().snapshot(), IsError(ErrorCode::InvalidArgument, "outside its folder"))
            << path;
    }
    DeltaTableOptions small = options();
    small.log_entry_bytes_max = 100;
    EXPECT_THAT(DeltaTable(store, "reports", clock, small).snapshot(),
                IsError(ErrorCode::ResourceExhausted, "log_entry_bytes_max"));
}

TEST_F(Lake, ATableMadeAnewUnderTheSameNameIsNoticed) {
    create();
    commit(append(file("old", "1")));
    EXPECT_EQ(paths(newest()), Paths{"old"});
    const Snapshot old = newest();
    drop();
    EXPECT_FALSE(table.snapshot().value().has_value());
    EXPECT_THAT(table.commit(old, append(file("x", "1"))), IsError(ErrorCode::Conflict, "is gone"));
    clock.set(clock.now() + kSecond);
    create();
    for (int i = 0; i < 3; ++i) commit(append(file("new" + std::to_string(i), "1")));
    EXPECT_EQ(paths(newest()), (Paths{"new0", "new1", "new2"}));
    EXPECT_THAT(table.commit(old, append(file("x", "1"))), IsError(ErrorCode::Conflict, "is gone"));
}

TEST_F(Lake, TheSchemaGrowsByNullableColumnsOnly) {
    create();
    Change change = append(file("a", "1"));
    change.schema = reports();
    change.schema->fields.push_back({"revenue", {TypeId::Decimal, 18, 2}, true});
    change.schema->fields.push_back({"vector", {TypeId::FloatList}, true});
    commit(change);
    EXPECT_EQ(newest().schema, *change.schema);
    EXPECT_EQ(table.snapshot_at({0})->schema, reports());
    EXPECT_EQ(newest().table_id, table.snapshot_at({0})->table_id);
    const std::string entry = store.get(log_key(1)).value();
    EXPECT_NE(entry.find("metaData"), std::string::npos);
    EXPECT_EQ(entry.find("protocol"), std::string::npos);

    change.add = {file("b", "1")};
    commit(change);  // the same schema again: no metaData
    EXPECT_EQ(store.get(log_key(2)).value().find("metaData"), std::string::npos);

    Change shrunk = append(file("c", "1"));
    shrunk.schema = reports();
    EXPECT_THAT(table.commit(newest(), shrunk),
                IsError(ErrorCode::InvalidArgument, "'revenue' of the table is missing"));
    Change required = append(file("c", "1"));
    required.schema = *change.schema;
    required.schema->fields.push_back({"must", {TypeId::Int64}, false});
    EXPECT_THAT(table.commit(newest(), required),
                IsError(ErrorCode::InvalidArgument, "'must' is required"));
}

TEST_F(Lake, AChangeThatDoesNotFitIsRefusedBeforeAnythingIsWritten) {
    EXPECT_THAT(table.commit(std::nullopt, append(file("a", "1"))),
                IsError(ErrorCode::InvalidArgument, "no schema"));
    create();
    commit(append(file("a", "1")));
    const Snapshot base = newest();
    const auto refused = [&](const Change& change, const std::string& text) {
        EXPECT_THAT(table.commit(base, change), IsError(ErrorCode::InvalidArgument, text));
    };
    refused(append(file("../a", "1")), "part");
    refused(append(file("_delta_log/a", "1")), "in the log");
    refused(append(file("a", "1")), "in the table already");
    Change twice = append(file("b", "1"));
    twice.add.push_back(file("b", "1"));
    refused(twice, "added twice");
    Change no_partition = append(file("b", "1"));
    no_partition.add[0].partition_values.clear();
    refused(no_partition, "partition values");
    Change wrong_partition = append(file("b", "1"));
    wrong_partition.add[0].partition_values = {{"day", "1"}};
    refused(wrong_partition, "partition values");
    Change absent;
    absent.remove = {"nope"};
    refused(absent, "'nope' is not in version 1");
    Change double_remove;
    double_remove.remove = {"a", "a"};
    refused(double_remove, "removed twice");
    Change by_column = append(file("b", "1"));
    by_column.overwrites = PartitionValues{{"title", "x"}};
    refused(by_column, "'title', which is no partition column");
    Change other_partition = append(file("b", "1"));
    other_partition.partition_columns = {"title"};
    refused(other_partition, "can't change");
    EXPECT_EQ(newest().version.value, 1);
}

TEST_F(Lake, ATransactionIsCommittedOnce) {
    create();
    Change change = append(file("a", "1"));
    change.app_id = "nightly/reports";
    change.app_version = 7;
    EXPECT_EQ(commit(change), 1);
    for (int i = 2; i <= 4; ++i) commit(append(file("f" + std::to_string(i), "1")));
    // Again, with other files, on whatever base: that commit's version, and nothing written.
    change.add = {file("b", "1")};
    EXPECT_EQ(table.commit(newest(), change).value().value, 1);
    EXPECT_EQ(table.commit(table.snapshot_at({0}).value(), change).value().value, 1);
    change.app_version = 6;
    EXPECT_EQ(table.commit(newest(), change).value().value, 1);
    EXPECT_EQ(newest().version.value, 4);
    change.app_version = 8;
    EXPECT_EQ(table.commit(newest(), change).value().value, 5);
    EXPECT_EQ(newest().transactions.at("nightly/reports"), 8);
    Change first = creation();
    first.app_id = "nightly/reports";
    first.app_version = 8;
    EXPECT_EQ(table.commit(std::nullopt, first).value().value, 5);
    // Known from a checkpoint alone.
    ASSERT_THAT(table.checkpoint({5}), IsOk());
    for (int i = 0; i <= 4; ++i) ASSERT_TRUE(store.remove(log_key(i)));
    change.app_version = 8;
    DeltaTable reader = fresh();
    EXPECT_EQ(reader.commit(reader.snapshot().value(), change).value().value, 5);
}

TEST_F(Lake, WritersOnAnOldBaseAreRebasedOrConflict) {
    create();
    commit(append(file("ds=1/a", "1")));
    const Snapshot base = newest();
    EXPECT_EQ(table.commit(base, append(file("ds=1/b", "1"))).value().value, 2);
    EXPECT_EQ(table.commit(base, append(file("ds=1/c", "1"))).value().value, 3);
    EXPECT_THAT(table.commit(base, overwrite(base, "1", {file("ds=1/d", "1")})),
                IsError(ErrorCode::Conflict, "version 2"));
    EXPECT_EQ(table.commit(base, overwrite(base, "2", {file("ds=2/d", "2")})).value().value, 4);
    EXPECT_EQ(newest().files.size(), 4U);
    Change grow = append(file("ds=3/e", "3"));
    grow.schema = reports();
    grow.schema->fields.push_back({"x", {TypeId::Int64}, true});
    EXPECT_EQ(table.commit(base, grow).value().value, 5);
    EXPECT_THAT(table.commit(base, append(file("ds=1/f", "1"))),
                IsError(ErrorCode::Conflict, "metadata"));
    // A base whose followers are cleaned from the log can't be checked any more.
    ASSERT_THAT(table.checkpoint({5}), IsOk());
    for (int i = 0; i <= 3; ++i) ASSERT_TRUE(store.remove(log_key(i)));
    EXPECT_THAT(table.commit(base, append(file("ds=1/g", "1"))),
                IsError(ErrorCode::Conflict, "cleaned"));
    EXPECT_EQ(newest().version.value, 5);
}

TEST_F(Lake, ForeignTablesAreWrittenOnlyWhenWeKnowHow) {
    const std::string metadata =
        R"({"metaData":{"id":"t","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"x\",\"type\":\"long\",\"nullable\":true,\"metadata\":{META}}]}","partitionColumns":[],"configuration":{CONF}}})";
    const auto made = [&](const std::string& protocol, const std::string& column,
                          const std::string& configuration) {
        drop();
        std::string text = metadata;
        text.replace(text.find("META"), 4, column);
        text.replace(text.find("CONF"), 4, configuration);
        (void)store
            .put(log_key(0), "{\"protocol\":" + protocol + "}\n" + text +
                                 "\n{\"add\":{\"path\":\"a\",\"size\":1}}")
            .has_value();
        return fresh();
    };
    const auto try_append = [&](DeltaTable target) -> Result<TableVersion> {
        Change change;
        Add add;
        add.path = "b";
        change.add = {add};
        return target.commit(PX_TRY(target.snapshot()), change);
    };
    const std::string v2 = R"({"minReaderVersion":1,"minWriterVersion":2})";
    const std::string v6 = R"({"minReaderVersion":2,"minWriterVersion":6})";
    EXPECT_THAT(try_append(made(v2, "", "")), IsOk());
    EXPECT_THAT(try_append(made(v6, "", "\"delta.enableChangeDataFeed\":\"true\"")), IsOk());
    EXPECT_THAT(try_append(made(v6, "", "\"delta.columnMapping.mode\":\"none\"")), IsOk());
    EXPECT_THAT(
        try_append(made(
            R"({"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors","appendOnly","invariants"]})",
            "", "")),
        IsOk());
    EXPECT_THAT(try_append(made(v6, "", "\"delta.columnMapping.mode\":\"name\"")),
                IsError(ErrorCode::InvalidArgument, "columnMapping"));
    EXPECT_THAT(try_append(made(v6, "", "\"delta.constraints.c1\":\"x > 0\"")),
                IsError(ErrorCode::InvalidArgument, "checkConstraints (c1)"));
    EXPECT_THAT(try_append(made(v2, R"(\"delta.invariants\":\"x\")", "")),
                IsError(ErrorCode::InvalidArgument, "invariants"));
    EXPECT_THAT(try_append(made(v6, R"(\"delta.generationExpression\":\"x\")", "")),
                IsError(ErrorCode::InvalidArgument, "generatedColumns"));
    EXPECT_THAT(
        try_append(
            made(R"({"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["rowTracking"]})",
                 "", "")),
        IsError(ErrorCode::InvalidArgument, "rowTracking"));
    EXPECT_THAT(try_append(made(R"({"minReaderVersion":1,"minWriterVersion":8})", "", "")),
                IsError(ErrorCode::InvalidArgument, "writer version 8"));
    EXPECT_THAT(try_append(made(R"({"minReaderVersion":4,"minWriterVersion":7})", "", "")),
                IsError(ErrorCode::InvalidArgument, "reader version 4"));
    DeltaTable append_only = made(v2, "", "\"delta.appendOnly\":\"true\"");
    EXPECT_THAT(try_append(fresh()), IsOk());
    Change removal;
    removal.remove = {"a"};
    EXPECT_THAT(append_only.commit(append_only.snapshot().value(), removal),
                IsError(ErrorCode::InvalidArgument, "append-only"));
}

TEST_F(Lake, VacuumDeletesWhatNoKeptVersionRefersTo) {
    const auto stage = [&](const std::string& path) {
        ASSERT_THAT(store.put("reports/" + path, "12345"), IsOk());
    };
    create();
    stage("ds=1/a");
    stage("ds=1/staged-and-forgotten");
    stage("_delta_index/x");
    stage(".hidden");
    stage("_px_private");
    commit(append(file("ds=1/a", "1")));  // 1
    clock.set(kStart + kDay);
    stage("ds=1/b");
    commit(overwrite(newest(), "1", {file("ds=1/b", "1")}));  // 2
    clock.set(kStart + 2 * kDay);
    stage("ds=1/c");
    commit(overwrite(newest(), "1", {file("ds=1/c", "1")}));  // 3
    clock.set(kStart + 3 * kDay);
    stage("ds=1/being-written");
    using Mode = DeltaTable::VacuumMode;
    const auto there = [&](const std::string& path) {
        return store.head("reports/" + path).value().has_value();
    };

    EXPECT_THAT(table.vacuum(clock.now() + 1, {}, Mode::Delete),
                IsError(ErrorCode::InvalidArgument, "future"));
    EXPECT_THAT(table.vacuum(clock.now(), {{99}}, Mode::Delete),
                IsError(ErrorCode::NotFound, "99"));
    // At this time version 2 was current, so b is kept with c; a and the forgotten file go.
    const TimestampMicros limit = kStart + kDay + kDay / 2;
    const VacuumReport counted = table.vacuum(limit, {}, Mode::DryRun).value();
    EXPECT_EQ(counted.files, 2);
    EXPECT_EQ(counted.bytes, 10);
    EXPECT_TRUE(there("ds=1/a"));
    EXPECT_EQ(table.vacuum(limit, {{1}}, Mode::Delete).value().files,
              1);  // version 1 is a release's
    EXPECT_TRUE(there("ds=1/a"));
    EXPECT_FALSE(there("ds=1/staged-and-forgotten"));
    EXPECT_EQ(table.vacuum(limit, {}, Mode::Delete).value().files, 1);
    EXPECT_FALSE(there("ds=1/a"));
    EXPECT_TRUE(there("ds=1/b"));
    EXPECT_EQ(table.vacuum(clock.now(), {}, Mode::Delete).value().files, 1);
    EXPECT_FALSE(there("ds=1/b"));
    for (const char* path :
         {"ds=1/c", "ds=1/being-written", "_delta_index/x", ".hidden", "_px_private"})
        EXPECT_TRUE(there(path)) << path;
    EXPECT_EQ(table.vacuum(clock.now(), {}, Mode::Delete).value().files, 0);
    EXPECT_EQ(newest().version.value, 3);
    EXPECT_EQ(table.history().value().size(), 4U);
}

// ── what can go wrong ──

TEST_F(Lake, ALostReplyOfTheCommitIsRecognisedByReadingTheLog) {
    create();
    for (const bool with_txn : {false, true}) {
        FaultyObjectStore faulty(store,
                                 {.at_call = 1, .fault = Fault::LoseReply, .writes_only = true});
        DeltaTable writer(faulty, "reports", clock, options());
        Change change = append(file(with_txn ? "a" : "b", "1"));
        if (with_txn) change.app_id = "app";
        const int64_t before = newest().version.value;
        EXPECT_EQ(writer.commit(newest(), change).value().value, before + 1);
        EXPECT_EQ(newest().version.value, before + 1);
    }
    EXPECT_EQ(newest().files.size(), 2U);
}

TEST_F(Lake, AFailedPutIsTriedAgainAndAnUnknownOutcomeIsSaid) {
    create();
    FaultyObjectStore once(store, {.at_call = 1, .fault = Fault::Fail, .writes_only = true});
    DeltaTable writer(once, "reports", clock, options());
    EXPECT_EQ(writer.commit(newest(), append(file("a", "1"))).value().value, 1);

    FaultyObjectStore dead(store, {.at_call = 1, .fault = Fault::CrashAfter, .writes_only = true});
    DeltaTable victim(dead, "reports", clock, options());
    Change change = append(file("b", "1"));
    change.app_id = "app";
    EXPECT_THAT(victim.commit(newest(), change), IsError(ErrorCode::OutcomeUnknown, "version 2"));
    // The next process commits the same transaction: it is there already.
    EXPECT_EQ(table.commit(newest(), change).value().value, 2);
    EXPECT_EQ(newest().files.size(), 2U);
}

/// A small run: create, append, overwrite, grow, up to a checkpoint; each step with its txn, as the
/// pipeline does it.
Result<void> scripted_run(store::ObjectStore& store, const Clock& clock) {
    DeltaTable table(store, "reports", clock, options(2));
    std::optional<Snapshot> base = PX_TRY(table.snapshot());
    const auto step = [&](Change change, int64_t number) -> Result<void> {
        change.app_id = "run";
        change.app_version = number;
        PX_TRY(table.commit(base, change));
        base = PX_TRY(table.snapshot());
        return {};
    };
    if (!base) PX_TRY(step(creation(), 0));
    const auto done = [&](int64_t number) {
        return base->transactions.contains("run") && base->transactions.at("run") >= number;
    };
    if (!done(1)) PX_TRY(step(append(file("ds=1/a", "1", 10)), 1));
    if (!done(2)) PX_TRY(step(append(file("ds=2/b", "2", 20)), 2));
    if (!done(3)) PX_TRY(step(overwrite(*base, "1", {file("ds=1/c", "1", 5)}), 3));
    if (!done(4)) {
        Change grow = append(file("ds=3/d", "3", 7));
        grow.schema = reports();
        grow.schema->fields.push_back({"extra", {TypeId::String}, true});
        PX_TRY(step(grow, 4));
    }
    return {};
}

TEST(LakeFaults, WhateverCallGoesWrongTheRunEndsTheSameAfterARestart) {
    FixedClock clock(kStart);
    int64_t calls = 0;
    {
        MemoryObjectStore store(&clock);
        FaultyObjectStore counting(store, {});
        ASSERT_THAT(scripted_run(counting, clock), IsOk());
        calls = counting.calls();
    }
    ASSERT_GT(calls, 30);
    for (const Fault fault :
         {Fault::Fail, Fault::LoseReply, Fault::CrashBefore, Fault::CrashAfter}) {
        for (int64_t at = 1; at <= calls; ++at) {
            SCOPED_TRACE(std::string(px::testing::fault_name(fault)) + " at call " +
                         std::to_string(at) + " of " + std::to_string(calls));
            MemoryObjectStore store(&clock);
            FaultyObjectStore faulty(store, {.at_call = at, .fault = fault});
            const Result<void> first = scripted_run(faulty, clock);
            {
                // Right after the fault the table is one of the run's versions, whole.
                DeltaTable reader(store, "reports", clock, options());
                const auto seen = reader.snapshot();
                ASSERT_THAT(seen, IsOk());
                if (*seen) {
                    static const int64_t kRows[] = {0, 10, 30, 25, 32};
                    ASSERT_LE((*seen)->version.value, 4);
                    EXPECT_EQ((*seen)->row_count(), kRows[(*seen)->version.value]);
                }
            }
            if (!first) {
                ASSERT_THAT(scripted_run(store, clock), IsOk());
            }
            DeltaTable reader(store, "reports", clock, options());
            const Snapshot end = reader.snapshot().value().value();
            EXPECT_EQ(end.version.value, 4);
            EXPECT_EQ(paths(end), (Paths{"ds=1/c", "ds=2/b", "ds=3/d"}));
            EXPECT_EQ(end.row_count(), 32);
            EXPECT_EQ(end.schema.fields.size(), 4U);
            EXPECT_EQ(end.transactions.at("run"), 4);
            EXPECT_EQ(reader.history().value().size(), 5U);
        }
    }
}

TEST(LakeFaults, ATornCheckpointOrHintNeverHidesTheTable) {
    FixedClock clock(kStart);
    int torn = 0;
    for (uint64_t seed = 1; seed <= 5; ++seed) {
        for (int64_t at = 1; at <= 12; ++at) {
            SCOPED_TRACE("seed " + std::to_string(seed) + ", write " + std::to_string(at));
            MemoryObjectStore store(&clock);
            FaultyObjectStore faulty(
                store,
                {.at_call = at, .fault = Fault::TornWrite, .seed = seed, .writes_only = true});
            const Result<void> run = scripted_run(faulty, clock);
            const auto journal = faulty.journal();
            if (static_cast<int64_t>(journal.size()) < at ||
                journal[static_cast<size_t>(at - 1)].starts_with("put_if_absent")) {
                // The commit itself is atomic by the port's word; a store that breaks it is found
                // out, not misread.
                DeltaTable reader(store, "reports", clock, options());
                const auto seen = reader.snapshot();
                if (!seen) {
                    EXPECT_EQ(seen.error().code, ErrorCode::Corrupt);
                }
                continue;
            }
            ++torn;
            EXPECT_THAT(run, IsOk());
            DeltaTable reader(store, "reports", clock, options());
            EXPECT_EQ(paths(*reader.snapshot().value()), (Paths{"ds=1/c", "ds=2/b", "ds=3/d"}));
        }
    }
    EXPECT_GE(torn, 10);
}

TEST(LakeFaults, RandomFaultsNeverLoseOrDoubleACommit) {
    for (uint64_t seed = 1; seed <= 30; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        FixedClock clock(kStart);
        MemoryObjectStore store(&clock);
        {
            DeltaTable table(store, "reports", clock, options());
            ASSERT_THAT(table.commit(std::nullopt, creation()), IsOk());
        }
        std::set<std::string> expected;
        FaultyObjectStore faulty(store, {.random_share = 0.15, .seed = seed});
        DeltaTable writer(faulty, "reports", clock, options());
        for (int64_t i = 1; i <= 25; ++i) {
            Change change = append(file("f" + std::to_string(i), "1"));
            change.app_id = "app";
            change.app_version = i;
            // As the pipeline: repeated with the same txn until it is known to be done.
            for (int tries = 0;; ++tries) {
                ASSERT_LT(tries, 200);
                auto base = writer.snapshot();
                if (!base) continue;
                if (writer.commit(*base, change)) break;
            }
            expected.insert("f" + std::to_string(i));
        }
        DeltaTable reader(store, "reports", clock, options());
        const Snapshot end = reader.snapshot().value().value();
        EXPECT_EQ(end.version.value, 25);
        const Paths have = paths(end);
        EXPECT_EQ(std::set<std::string>(have.begin(), have.end()), expected);
    }
}

// ── several writers ──

struct Writers : ::testing::TestWithParam<int> {};

TEST_P(Writers, ConcurrentAppendsAreAllThereOnce) {
    const int threads = GetParam();
    const int commits = threads == 32 ? 10 : 50;
    px::testing::TempDir dir;
    store::LocalObjectStore store(dir / "lake", "./lake");
    ASSERT_THAT(store.ensure_container(), IsOk());
    const SystemClock clock;
    DeltaTableOptions patient = options();
    patient.commit_attempts = 100'000;
    {
        DeltaTable table(store, "reports", clock, patient);
        ASSERT_THAT(table.commit(std::nullopt, creation()), IsOk());
    }
    {
        std::vector<std::jthread> writers;
        for (int t = 0; t < threads; ++t) {
            writers.emplace_back([&, t] {
                DeltaTable table(store, "reports", clock, patient);
                for (int i = 0; i < commits; ++i) {
                    const auto base = table.snapshot();
                    ASSERT_THAT(base, IsOk());
                    ASSERT_THAT(
                        table.commit(
                            *base,
                            append(file("w" + std::to_string(t) + "-" + std::to_string(i), "1"))),
                        IsOk());
                }
            });
        }
    }
    DeltaTable table(store, "reports", clock, options());
    const Snapshot end = table.snapshot().value().value();
    EXPECT_EQ(end.version.value, threads * commits);
    EXPECT_EQ(end.files.size(), static_cast<size_t>(threads * commits));
    const auto history = table.history().value();
    EXPECT_EQ(history.size(), static_cast<size_t>(threads * commits + 1));
    for (size_t i = 1; i < history.size(); ++i)
        EXPECT_LT(history[i].committed_at, history[i - 1].committed_at);
}

INSTANTIATE_TEST_SUITE_P(Threads, Writers, ::testing::Values(2, 32));

TEST(LakeWriters, OfSeveralOverwritesOfOnePartitionExactlyOneWinsEachRound) {
    px::testing::TempDir dir;
    store::LocalObjectStore store(dir / "lake", "./lake");
    ASSERT_THAT(store.ensure_container(), IsOk());
    const SystemClock clock;
    DeltaTable table(store, "reports", clock, options());
    ASSERT_THAT(table.commit(std::nullopt, creation()), IsOk());
    constexpr int kThreads = 8;
    for (int round = 0; round < 12; ++round) {
        const Snapshot base = table.snapshot().value().value();
        std::atomic<int> ready{0}, wins{0}, conflicts{0}, elsewhere{0};
        {
            std::vector<std::jthread> writers;
            for (int t = 0; t < kThreads; ++t) {
                writers.emplace_back([&, t] {
                    DeltaTable mine(store, "reports", clock, options());
                    const std::string name = std::to_string(round) + "-" + std::to_string(t);
                    ++ready;
                    while (ready < kThreads) std::this_thread::yield();
                    // One of them writes another partition: it must never be in the way.
                    if (t == 0) {
                        EXPECT_THAT(mine.commit(base, overwrite(base, "other",
                                                                {file("other-" + name, "other")})),
                                    IsOk());
                        ++elsewhere;
                        return;
                    }
                    const auto done =
                        mine.commit(base, overwrite(base, "hot", {file("hot-" + name, "hot")}));
                    if (done) {
                        ++wins;
                    } else {
                        EXPECT_EQ(done.error().code, ErrorCode::Conflict)
                            << done.error().to_string();
                        ++conflicts;
                    }
                });
            }
        }
        EXPECT_EQ(wins, 1);
        EXPECT_EQ(conflicts, kThreads - 2);
        EXPECT_EQ(elsewhere, 1);
        const Snapshot after = table.snapshot().value().value();
        EXPECT_EQ(after.files_in({{"ds", "hot"}}).size(), 1U);
        EXPECT_EQ(after.files_in({{"ds", "other"}}).size(), 1U);
        EXPECT_EQ(after.version.value, base.version.value + 2);
    }
}

TEST(LakeWriters, TheSameTransactionFromManyIsCommittedOnce) {
    const SystemClock clock;
    MemoryObjectStore store;
    DeltaTable table(store, "reports", clock, options());
    std::atomic<int> ready{0};
    std::vector<int64_t> versions(16, -1);
    {
        std::vector<std::jthread> writers;
        for (size_t t = 0; t < versions.size(); ++t) {
            writers.emplace_back([&, t] {
                DeltaTable mine(store, "reports", clock, options());
                Change change = creation();
                change.add = {file("first", "1", 3)};
                change.app_id = "run";
                change.app_version = 1;
                ++ready;
                while (ready < static_cast<int>(versions.size())) std::this_thread::yield();
                const auto version = mine.commit(std::nullopt, change);
                ASSERT_THAT(version, IsOk());
                versions[t] = version->value;
            });
        }
    }
    EXPECT_EQ(versions, std::vector<int64_t>(16, 0));
    EXPECT_EQ(table.snapshot().value()->row_count(), 3);
    EXPECT_EQ(table.history().value().size(), 1U);
}

TEST(Statistics, AreWrittenAsDeltaReadsThem) {
    const Schema schema{{{"id", {TypeId::Int64}},
                         {"na\"me", {TypeId::String}},
                         {"flag", {TypeId::Bool}},
                         {"empty", {TypeId::Date}}}};
    columnar::ParquetFileInfo info;
    info.row_count = 5;
    info.columns = {{0, "1", "9"},
                    {2, "\"a\"", "\"z\""},
                    {0, "false", "true"},
                    {5, std::nullopt, std::nullopt}};
    Add add;
    add.stats_json = make_stats_json(schema, info);
    EXPECT_EQ(
        add.stats_json,
        R"({"numRecords":5,"minValues":{"id":1,"na\"me":"a"},"maxValues":{"id":9,"na\"me":"z"},"nullCount":{"id":0,"na\"me":2,"flag":0,"empty":5}})");
    EXPECT_EQ(stats_row_count(add), 5);
    for (const char* text :
         {"", "{}", "x", "{\"numRecords\":\"5\"}", "{\"numRecords\":-1}", "[5]"}) {
        add.stats_json = text;
        EXPECT_EQ(stats_row_count(add), std::nullopt) << text;
    }
}

TEST(LogFileName, TellsTheFilesOfTheLogApart) {
    using Kind = LogFileName::Kind;
    EXPECT_EQ(parse_log_file_name("00000000000000000012.json"),
              (LogFileName{Kind::Commit, 12, 0, 0}));
    EXPECT_EQ(parse_log_file_name("00000000000000000012.checkpoint.parquet"),
              (LogFileName{Kind::Checkpoint, 12, 0, 0}));
    EXPECT_EQ(parse_log_file_name("00000000000000000012.checkpoint.0000000002.0000000003.parquet"),
              (LogFileName{Kind::CheckpointPart, 12, 2, 3}));
    EXPECT_EQ(parse_log_file_name(
                  "00000000000000000012.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json")
                  ->kind,
              Kind::Version2Checkpoint);
    for (const char* name :
         {"", "_last_checkpoint", "00000000000000000012.crc", ".00000000000000000012.json.crc",
          "0000000000000000012.json", "00000000000000000012.json.tmp", "-0000000000000000012.json",
          "99999999999999999999.json", "0000000000000000001x.json",
          "00000000000000000001.00000000000000000004.compacted.json",
          "00000000000000000012.checkpoint.0000000004.0000000003.parquet",
          "_sidecars/00000000000000000012.json",
          "00000000000000000012.checkpoint.0000000000.0000000003.parquet"}) {
        EXPECT_EQ(parse_log_file_name(name), std::nullopt) << name;
    }
}

}  // namespace
}  // namespace px::lake
