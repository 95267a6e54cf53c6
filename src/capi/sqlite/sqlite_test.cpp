#include "capi/sqlite/sqlite.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <thread>

namespace px::sqlite {
namespace {

class SqliteTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "px_sqlite_XXXXXX").string();
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    std::filesystem::path file() const { return folder_ / "a b#?%.db"; }
    Database make() {
        Result<Database> made = Database::open(file(), {.mode = OpenMode::Create});
        EXPECT_TRUE(made) << made.error().to_string();
        return std::move(made).value();
    }
    std::filesystem::path folder_;
};

TEST_F(SqliteTest, ValuesOfEveryTypeComeBack) {
    Database database = make();
    ASSERT_TRUE(database.exec("create table t(a, b, c, d, e)"));
    Result<Statement> insert = database.prepare("insert into t values (?, ?, ?, ?, ?)");
    ASSERT_TRUE(insert);
    insert->bind_text(1, std::string_view("a\0b", 3)).bind_int64(2, INT64_MIN).bind_double(3, 0.1);
    insert->bind_blob(4, std::string_view("\0\1", 2)).bind_null(5);
    ASSERT_TRUE(insert->run());
    EXPECT_EQ(database.changes(), 1);
    Result<Statement> select = database.prepare("select a, b, c, d, e from t -- done\n ; ");
    ASSERT_TRUE(select) << select.error().to_string();
    ASSERT_TRUE(select->step().value());
    EXPECT_EQ(select->column_text(0), std::string_view("a\0b", 3));
    EXPECT_EQ(select->column_int64(1), INT64_MIN);
    EXPECT_EQ(select->column_double(2), 0.1);
    EXPECT_EQ(select->column_blob(3), std::string_view("\0\1", 2));
    EXPECT_TRUE(select->is_null(4));
    EXPECT_EQ(select->column_optional_int64(4), std::nullopt);
    EXPECT_EQ(select->column_name(0), "a");
    EXPECT_FALSE(select->step().value());
}

TEST_F(SqliteTest, EmptyTextIsNotNull) {
    Database database = make();
    Result<Statement> select = database.prepare("select ? is null, ? is null");
    select->bind_text(1, {}).bind_blob(2, {});
    ASSERT_TRUE(select->step().value());
    EXPECT_EQ(select->column_int64(0), 0);
    EXPECT_EQ(select->column_int64(1), 0);
}

TEST_F(SqliteTest, ErrorsCarryTheCodeAndTheMessage) {
    EXPECT_EQ(Database::open(folder_ / "none.db", {}).error().code, ErrorCode::NotFound);
    EXPECT_EQ(Database::open(folder_ / "no" / "x.db", {.mode = OpenMode::Create}).error().code,
              ErrorCode::NotFound);
    Database database = make();
    Result<Statement> bad = database.prepare("select nonsense from nowhere");
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().code, ErrorCode::InvalidArgument);
    EXPECT_NE(bad.error().message.find("nowhere"), std::string::npos);
    EXPECT_EQ(database.prepare("select 1; select 2").error().code, ErrorCode::InvalidArgument);
    EXPECT_EQ(database.prepare("  -- nothing").error().code, ErrorCode::InvalidArgument);
    ASSERT_TRUE(database.exec(
        "create table t(a primary key, b check (b > 0)); insert into t values (1, 1)"));
    EXPECT_EQ(database.exec("insert into t values (1, 1)").error().code, ErrorCode::AlreadyExists);
    EXPECT_EQ(database.exec("insert into t values (2, 0)").error().code,
              ErrorCode::InvalidArgument);
    Result<Statement> statement = database.prepare("select ?");
    statement->bind_int64(2, 1);
    EXPECT_EQ(statement->step().error().code, ErrorCode::InvalidArgument);
    std::ofstream(folder_ / "text.db") << std::string(4096, 'x');
    Result<Database> text = Database::open(folder_ / "text.db", {});
    ASSERT_TRUE(text);
    EXPECT_EQ(text->query_int64("select count(*) from sqlite_schema").error().code,
              ErrorCode::Corrupt);
}

TEST_F(SqliteTest, AReadOnlyDatabaseRefusesToWrite) {
    { ASSERT_TRUE(make().exec("create table t(a)")); }
    Result<Database> reader = Database::open(file(), {.mode = OpenMode::ReadOnly});
    ASSERT_TRUE(reader);
    EXPECT_TRUE(reader->is_readonly());
    EXPECT_EQ(reader->exec("insert into t values (1)").error().code, ErrorCode::Forbidden);
}

TEST_F(SqliteTest, AFullDatabaseIsResourceExhausted) {
    Database database = make();
    ASSERT_TRUE(database.exec("pragma max_page_count = 8; create table t(a)"));
    EXPECT_EQ(database.exec("insert into t select zeroblob(1000000)").error().code,
              ErrorCode::ResourceExhausted);
}

TEST_F(SqliteTest, ALockedDatabaseIsUnavailableAfterTheTimeout) {
    Database first = make();
    ASSERT_TRUE(first.exec("create table t(a)"));
    Result<Database> second = Database::open(
        file(), {.mode = OpenMode::ReadWrite, .busy_timeout = std::chrono::milliseconds(20)});
    ASSERT_TRUE(second);
    {
        Result<Transaction> held = Transaction::begin(first, Transaction::Kind::Immediate);
        ASSERT_TRUE(held);
        EXPECT_EQ(Transaction::begin(*second, Transaction::Kind::Immediate).error().code,
                  ErrorCode::Unavailable);
    }
    EXPECT_TRUE(Transaction::begin(*second, Transaction::Kind::Immediate));
}

TEST_F(SqliteTest, ATransactionNotCommittedIsRolledBack) {
    Database database = make();
    ASSERT_TRUE(database.exec("create table t(a)"));
    {
        Result<Transaction> lost = Transaction::begin(database, Transaction::Kind::Deferred);
        ASSERT_TRUE(database.exec("insert into t values (1)"));
    }
    EXPECT_EQ(database.query_int64("select count(*) from t").value(), 0);
    Result<Transaction> kept = Transaction::begin(database, Transaction::Kind::Immediate);
    ASSERT_TRUE(kept);
    ASSERT_TRUE(database.exec("insert into t values (1)"));
    ASSERT_TRUE(kept->commit());
    EXPECT_EQ(kept->commit().error().code, ErrorCode::Internal);
    EXPECT_EQ(database.query_int64("select count(*) from t").value(), 1);
    EXPECT_EQ(database.query_int64("select a from t where a = 7").value(), std::nullopt);
    EXPECT_EQ(database.query_text("select 'x'").value(), "x");
}

TEST_F(SqliteTest, InterruptCancelsAStatement) {
    Database database = make();
    database.set_progress_callback(
        1000, [](void*) { return 1; }, nullptr);
    EXPECT_EQ(database
                  .query_int64("with recursive c(x) as (select 1 union all select x + 1 from c) "
                               "select count(*) from c")
                  .error()
                  .code,
              ErrorCode::Cancelled);
}

TEST_F(SqliteTest, AnImmutableReaderLeavesNoFilesBehind) {
    {
        ASSERT_TRUE(
            make().exec("pragma journal_mode = wal; create table t(a); insert into t values (5)"));
    }
    Result<Database> reader =
        Database::open(file(), {.mode = OpenMode::ReadOnly, .immutable = true});
    ASSERT_TRUE(reader);
    EXPECT_EQ(reader->query_int64("select a from t").value(), 5);
    EXPECT_FALSE(std::filesystem::exists(file().string() + "-wal"));
    EXPECT_FALSE(std::filesystem::exists(file().string() + "-shm"));
}

TEST_F(SqliteTest, AJournalThatCannotBeOpenedIsNoMissingDatabase) {
    { ASSERT_TRUE(make().exec("pragma journal_mode = wal; create table t(a)")); }
    std::filesystem::create_directory(file().string() + "-wal");
    Result<Database> database = Database::open(file(), {.mode = OpenMode::ReadWrite});
    ASSERT_TRUE(database);
    const auto asked = database->query_int64("select count(*) from t");
    ASSERT_FALSE(asked);
    EXPECT_NE(asked.error().code, ErrorCode::NotFound);
    EXPECT_NE(asked.error().message.find("directory"), std::string::npos) << asked.error().message;
}

}  // namespace
}  // namespace px::sqlite
