#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "capi/libpq/libpq.h"
#include "catalog/catalog.h"
#include "catalog/conformance.h"
#include "catalog/postgres/migrations.h"
#include "testing/matchers.h"
#include "testing/postgres_server.h"

namespace px::catalog {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using px::testing::PostgresRelay;
using px::testing::PostgresServer;
using std::chrono::milliseconds;

libpq::Connection connect(const std::string& address) {
    return libpq::Connection::connect(libpq::parse_address(address).value(), {},
                                      Deadline::after(milliseconds(20'000)))
        .value();
}

Deadline soon() { return Deadline::after(milliseconds(60'000)); }

std::string new_schema() {
    static std::atomic<int> count{0};
    return "c" + std::to_string(++count);
}

class PostgresPlace final : public CatalogPlace {
  public:
    Result<std::unique_ptr<Catalog>> open(OpenMode mode, const Clock& clock,
                                          size_t connections_max) override {
        PostgresCatalogOptions options;
        options.schema = schema_;
        options.connections_max = connections_max;
        options.lock_timeout = std::chrono::minutes(2);
        return open_postgres_catalog(PostgresServer::shared().address(), mode, clock, options);
    }
    int64_t kept_documents() override {
        return connect(PostgresServer::shared().address())
            .execute("SELECT (SELECT count(*) FROM " + schema_ + ".analytics_metadata) + " +
                         "(SELECT count(*) FROM " + schema_ + ".analytics_metadata_history)",
                     {}, soon())
            .value()
            .int64(0, 0);
    }
    std::vector<std::string> current_titles() override {
        const libpq::Rows rows =
            connect(PostgresServer::shared().address())
                .execute("SELECT title FROM " + schema_ + ".documents ORDER BY document_id, ds", {},
                         soon())
                .value();
        std::vector<std::string> titles;
        for (int row = 0; row < rows.row_count(); ++row) titles.emplace_back(rows.text(row, 0));
        return titles;
    }

  private:
    std::string schema_ = new_schema();
};

INSTANTIATE_TEST_SUITE_P(Postgres, CatalogConformance,
                         ::testing::Values(CatalogUnderTest{
                             "Postgres",
                             [](const std::filesystem::path&) {
                                 return std::make_unique<PostgresPlace>();
                             }}),
                         conformance_name);

class PostgresCatalogTest : public ::testing::Test {
  protected:
    PostgresCatalogTest() : sql_(connect(PostgresServer::shared().address())) {
        options_.schema = new_schema();
        options_.reconnect_timeout = milliseconds(300);
    }
    Result<std::unique_ptr<Catalog>> try_open(OpenMode mode = OpenMode::ReadWrite,
                                              const std::string& address = {}) {
        return open_postgres_catalog(address.empty() ? PostgresServer::shared().address() : address,
                                     mode, clock_, options_);
    }
    std::unique_ptr<Catalog> open() { return try_open().value(); }
    void sql(const std::string& text) { ASSERT_THAT(sql_.run(text, soon()), IsOk()) << text; }
    libpq::Rows ask(const std::string& text) { return sql_.execute(text, {}, soon()).value(); }
    /// The address of a user other than the superuser.
    static std::string address_of(const std::string& user,
                                  const std::string& database = "postgres") {
        return "postgresql://" + user +
               ":pw@127.0.0.1:" + std::to_string(PostgresServer::shared().port()) + "/" + database;
    }
    Result<Release> publish(Catalog& catalog, const std::string& title) {
        Publication publication;
        publication.release.run = PX_TRY(catalog.begin_run("2026-11-23", "", "")).id;
        publication.documents = {{"r", "2026-11-23", {document("r", "2026-11-23", "1", title)}}};
        return catalog.publish(publication);
    }
    PostgresCatalogOptions options_;
    FixedClock clock_{1'764'000'000'000'000};
    libpq::Connection sql_;
};

TEST_F(PostgresCatalogTest, SqlThatKnowsOnlyTheTableFindsTheCurrentDocuments) {
    sql("CREATE DATABASE plain");
    options_.schema = "px";
    const std::string address = PostgresServer::shared().address("plain");
    auto catalog = try_open(OpenMode::ReadWrite, address).value();
    ASSERT_THAT(publish(*catalog, "old"), IsOk());
    ASSERT_THAT(publish(*catalog, "new"), IsOk());
    libpq::Connection plain = connect(address);
    const libpq::Rows rows =
        plain.execute("SELECT * FROM analytics_metadata WHERE created_at < ingested_at", {}, soon())
            .value();
    ASSERT_EQ(rows.row_count(), 1);
    std::vector<std::string> columns;
    for (int i = 0; i < rows.column_count(); ++i) columns.emplace_back(rows.column_name(i));
    EXPECT_THAT(columns,
                ElementsAre("id", "title", "author", "created_at", "category", "ingested_at"));
    EXPECT_EQ(rows.text(0, 1), "new");
    EXPECT_EQ(rows.instant(0, 3), 1'700'000'000'123'456);
    // A second catalog of the database leaves that name alone, and so does one beside a table.
    options_.schema = "second";
    ASSERT_THAT(try_open(OpenMode::ReadWrite, address), IsOk());
    EXPECT_EQ(plain.execute("SELECT count(*) FROM analytics_metadata", {}, soon())->int64(0, 0), 1);
    EXPECT_EQ(
        plain.execute("SELECT count(*) FROM second.analytics_metadata", {}, soon())->int64(0, 0),
        0);
}

TEST_F(PostgresCatalogTest, ATableOfAnotherProgramStaysAsItIs) {
    sql("CREATE DATABASE seeded");
    const std::string address = PostgresServer::shared().address("seeded");
    libpq::Connection seeded = connect(address);
    ASSERT_THAT(
        seeded.run("CREATE TABLE analytics_metadata (id int); INSERT INTO analytics_metadata "
                   "VALUES (7)",
                   soon()),
        IsOk());
    ASSERT_THAT(try_open(OpenMode::ReadWrite, address), IsOk());
    EXPECT_EQ(seeded.execute("SELECT id FROM analytics_metadata", {}, soon())->int64(0, 0), 7);
    options_.schema = "public";
    const auto refused = try_open(OpenMode::ReadWrite, address);
    EXPECT_THAT(refused, IsError(ErrorCode::InvalidArgument, "holds other tables"));
}

TEST_F(PostgresCatalogTest, CatalogsAreMadeSideBySideInANewDatabase) {
    for (int round = 0; round < 5; ++round) {
        const std::string database = "beside" + std::to_string(round);
        sql("CREATE DATABASE " + database);
        std::vector<std::jthread> threads;
        for (int t = 0; t < 8; ++t) {
            threads.emplace_back([this, &database, t] {
                PostgresCatalogOptions options = options_;
                options.schema = "s" + std::to_string(t);
                EXPECT_THAT(open_postgres_catalog(PostgresServer::shared().address(database),
                                                  OpenMode::ReadWrite, clock_, options),
                            IsOk());
            });
        }
    }
}

TEST_F(PostgresCatalogTest, OneProcessHoldsThePipelineAndItsLockTellsWhenItIsLost) {
    auto first = open(), second = open();
    auto held = first->lock_pipeline().value();
    ASSERT_NE(held, nullptr);
    EXPECT_THAT(held->check(), IsOk());
    EXPECT_THAT(second->lock_pipeline(),
                IsError(ErrorCode::Unavailable, "px run, process " + std::to_string(::getpid())));
    EXPECT_THAT(first->lock_pipeline(), IsError(ErrorCode::Unavailable));
    PostgresCatalogOptions other = options_;
    other.schema = new_schema();
    auto elsewhere = open_postgres_catalog(PostgresServer::shared().address(), OpenMode::ReadWrite,
                                           clock_, other);
    EXPECT_THAT((*elsewhere)->lock_pipeline(), IsOk());  // another pipeline in the same database
    held.reset();
    Result<std::unique_ptr<PipelineLock>> next = fail(ErrorCode::Internal, "");
    while (!(next = second->lock_pipeline())) {  // the server notices the end in its own time
    }
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'px "
        "run%'");
    EXPECT_THAT((*next)->check(), IsError(ErrorCode::Unavailable, "lost"));
    EXPECT_THAT((*next)->check(), IsError(ErrorCode::Unavailable, "lost"));
    auto reader = try_open(OpenMode::ReadOnly).value();
    EXPECT_THAT(reader->lock_pipeline(), IsError(ErrorCode::Forbidden));
}

TEST_F(PostgresCatalogTest, ReadersWaitForNoWriterAndAWriterWaitsOnlySoLong) {
    options_.lock_timeout = milliseconds(50);
    auto catalog = open();
    ASSERT_THAT(publish(*catalog, "one"), IsOk());
    // A writer in the middle of its transaction, as the catalog takes its lock.
    auto held = open();
    std::atomic<bool> inside{false}, leave{false};
    std::jthread writer([&] {
        Publication publication;
        publication.release.run = held->begin_run("2026-11-23", "", "").value().id;
        publication.report = [&](const Release&) {
            inside = true;
            while (!leave) std::this_thread::yield();
            return std::string();
        };
        EXPECT_THAT(held->publish(publication), IsOk());
    });
    while (!inside) std::this_thread::yield();
    EXPECT_EQ(catalog->latest_release().value()->id.value, 1);
    EXPECT_EQ(catalog->documents(ReleaseId{1}, 10, 0).value().size(), 1u);
    EXPECT_THAT(catalog->begin_run("2026-11-23", "", ""),
                IsError(ErrorCode::Unavailable, "another process has been writing"));
    leave = true;
    writer.join();
    EXPECT_EQ(catalog->latest_release().value()->id.value, 2);
}

TEST_F(PostgresCatalogTest, EveryWrongServerIsOneLineWithANextStepAndExitsWithFour) {
    { open(); }
    sql("CREATE ROLE stranger LOGIN PASSWORD 'pw'");
    const auto check = [](const Result<std::unique_ptr<Catalog>>& opened, const std::string& says) {
        ASSERT_FALSE(opened) << says;
        const Error& error = opened.error();
        EXPECT_EQ(error_traits(error.code).exit_code, 4) << error.to_string();
        EXPECT_NE(error.to_string().find(says), std::string::npos) << error.to_string();
        EXPECT_FALSE(error.hint.empty()) << error.to_string();
        EXPECT_EQ(error.to_string().find('\n'), std::string::npos) << error.to_string();
        EXPECT_EQ(error.to_string().find(PostgresServer::kPassword), std::string::npos);
    };
    const std::string port = std::to_string(PostgresServer::shared().port());
    for (const OpenMode mode : {OpenMode::ReadWrite, OpenMode::ReadOnly}) {
        check(try_open(mode, "postgresql://admin:no@127.0.0.1:" + port + "/postgres"), "password");
        check(try_open(mode, "postgresql://admin:no@nowhere.invalid/postgres"), "nowhere.invalid");
        check(try_open(mode, PostgresServer::shared().address_at(1, "postgres")), "refused");
        check(try_open(mode, PostgresServer::shared().address("absent")), "createdb");
        check(try_open(mode, address_of("stranger")), "GRANT");
    }
    sql("GRANT USAGE ON SCHEMA " + options_.schema +
        " TO stranger; GRANT SELECT ON ALL TABLES IN " + "SCHEMA " + options_.schema +
        " TO stranger");
    EXPECT_THAT(try_open(OpenMode::ReadOnly, address_of("stranger")), IsOk());
    check(try_open(OpenMode::ReadWrite, address_of("stranger")), "may not read and write");
    sql("GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA " + options_.schema + " TO stranger");
    auto granted = try_open(OpenMode::ReadWrite, address_of("stranger"));
    ASSERT_THAT(granted, IsOk());
    EXPECT_THAT(publish(**granted, "by a stranger"), IsOk());

    // Dropped while it is open, and then found at once.
    auto catalog = open();
    sql("ALTER TABLE " + options_.schema + ".analytics_metadata RENAME TO gone");
    const Result<Release> late = publish(*catalog, "x");
    ASSERT_THAT(late, IsError(ErrorCode::Unavailable, "does not exist"));
    EXPECT_EQ(error_traits(late.error().code).exit_code, 4);
    for (const OpenMode mode : {OpenMode::ReadWrite, OpenMode::ReadOnly})
        check(try_open(mode), "analytics_metadata of the catalog");
    sql("ALTER TABLE " + options_.schema + ".gone RENAME TO analytics_metadata");
    sql("DROP TABLE " + options_.schema + ".schema_version");
    check(try_open(), "schema_version");

    options_.schema = new_schema();
    sql("ALTER ROLE stranger SET default_transaction_read_only = on");
    check(try_open(OpenMode::ReadWrite, address_of("stranger")), "only reads");
    sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    check(try_open(OpenMode::ReadWrite, PostgresServer::shared().address("latin")), "UTF8");
    PostgresRelay relay(PostgresServer::shared().port());
    relay.falsify("15.", "12.");
    check(try_open(OpenMode::ReadWrite,
                   PostgresServer::shared().address_at(relay.port(), "postgres")),
          "version 12.");
}

TEST_F(PostgresCatalogTest, AStandbyServesReadersAndSaysItIsOneToWriters) {
    PostgresServer server;
    {
        auto catalog = try_open(OpenMode::ReadWrite, server.address()).value();
        ASSERT_THAT(publish(*catalog, "one"), IsOk());
    }
    server.stop();
    server.write_data_file("standby.signal", "");
    server.start();
    auto reader = try_open(OpenMode::ReadOnly, server.address());
    ASSERT_THAT(reader, IsOk());
    EXPECT_EQ((*reader)->documents(ReleaseId{1}, 10, 0).value().at(0).title, "one");
    const auto writer = try_open(OpenMode::ReadWrite, server.address());
    ASSERT_THAT(writer, IsError(ErrorCode::Unavailable, "standby"));
    EXPECT_NE(writer.error().hint.find("target_session_attrs"), std::string::npos);
}

TEST_F(PostgresCatalogTest, ANewerCatalogIsRefusedAndAnEmptySchemaTaken) {
    sql("CREATE SCHEMA " + options_.schema);
    { open(); }
    EXPECT_EQ(ask("SELECT count(*) FROM " + options_.schema + ".schema_version").int64(0, 0),
              static_cast<int64_t>(postgres_migrations().size()));
    sql("INSERT INTO " + options_.schema + ".schema_version VALUES (99, now(), 'of tomorrow')");
    for (const OpenMode mode : {OpenMode::ReadWrite, OpenMode::ReadOnly})
        EXPECT_THAT(try_open(mode), IsError(ErrorCode::InvalidArgument, "newer px"));
}

TEST_F(PostgresCatalogTest, WrongOptionsAreRefused) {
    options_.connections_max = 0;
    EXPECT_THAT(try_open(), IsError(ErrorCode::InvalidArgument, "connections_max"));
    options_.connections_max = 1;
    options_.lock_timeout = milliseconds(0);
    EXPECT_THAT(try_open(), IsError(ErrorCode::InvalidArgument, "timeout"));
    options_.lock_timeout = milliseconds(1);
    options_.schema = std::string(64, 'x');
    EXPECT_THAT(try_open(), IsError(ErrorCode::InvalidArgument, "schema"));
}

TEST_F(PostgresCatalogTest, AStrangeSchemaNameIsOnlyAName) {
    options_.schema = "my \"px\"; drop table x; ä";
    auto catalog = open();
    ASSERT_THAT(publish(*catalog, "one"), IsOk());
    EXPECT_EQ(try_open(OpenMode::ReadOnly).value()->latest_release().value()->documents, 1);
}

TEST_F(PostgresCatalogTest, ThePoolIsBounded) {
    sql("CREATE DATABASE bounded");
    options_.connections_max = 2;
    auto catalog =
        try_open(OpenMode::ReadWrite, PostgresServer::shared().address("bounded")).value();
    std::vector<std::jthread> threads;
    std::atomic<int> failures{0};
    for (int t = 0; t < 8; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 20; ++i) failures += catalog->runs(1) ? 0 : 1;
        });
    }
    int64_t most = 0;
    for (int i = 0; i < 20; ++i) {
        most = std::max(
            most,
            ask("SELECT count(*) FROM pg_stat_activity WHERE datname = 'bounded'").int64(0, 0));
    }
    threads.clear();
    EXPECT_EQ(failures, 0);
    EXPECT_LE(most, 2);
    EXPECT_GE(most, 1);
}

}  // namespace
}  // namespace px::catalog
