#include "catalog/open.h"

#include <gtest/gtest.h>

#include <random>

#include "capi/libpq/libpq.h"
#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::catalog {
namespace {

using px::testing::IsError;
using px::testing::IsOk;

TEST(CatalogAddressTest, SqliteIsAFileBelowTheBaseFolder) {
    const CatalogAddress address = parse_catalog_address("sqlite:./catalog.db", "/base").value();
    EXPECT_EQ(address.kind, CatalogAddress::Kind::Sqlite);
    EXPECT_EQ(address.file, "/base/catalog.db");
    EXPECT_EQ(address.shown, "sqlite:./catalog.db");
    EXPECT_EQ(parse_catalog_address("sqlite:/x/c.db", "/base").value().file, "/x/c.db");
    px::testing::TempDir folder;
    const SystemClock clock;
    EXPECT_THAT(open_catalog("sqlite:c.db", folder.path(), OpenMode::ReadOnly, clock),
                IsError(ErrorCode::NotFound));
    EXPECT_THAT(open_catalog("sqlite:c.db", folder.path(), OpenMode::ReadWrite, clock), IsOk());
    EXPECT_TRUE(std::filesystem::exists(folder / "c.db"));
}

TEST(CatalogAddressTest, PostgresKeepsItsParametersAndGivesUpOurs) {
    const CatalogAddress plain = parse_catalog_address("postgresql://u:p@h/db", "/").value();
    EXPECT_EQ(plain.kind, CatalogAddress::Kind::Postgres);
    EXPECT_EQ(plain.connection, "postgresql://u:p@h/db");
    EXPECT_EQ(plain.schema, "px");
    EXPECT_EQ(plain.shown, "postgresql://h:5432/db?schema=px");
    const CatalogAddress full =
        parse_catalog_address(
            "postgres://u:p%40@h:6000/db?sslmode=verify-full&schema=my%20px&connections=3&"
            "sslrootcert=/ca.pem",
            "/")
            .value();
    EXPECT_EQ(full.connection,
              "postgres://u:p%40@h:6000/db?sslmode=verify-full&sslrootcert=/ca.pem");
    EXPECT_EQ(full.schema, "my px");
    EXPECT_EQ(full.connections_max, 3u);
    EXPECT_EQ(full.shown, "postgresql://h:6000/db?schema=my px");
}

TEST(CatalogAddressTest, WhatCannotBeReadIsRefusedAndNotShown) {
    for (const char* address :
         {"mysql://u:geheim@h/db", "sqlite:", "", "postgresql://u:geheim/x@h/db",
          "postgresql://u:p@h/db?geheim=1", "postgresql://u:geheim@h/db?schema=%zz",
          "postgresql://u:geheim@h/db?connections=0", "postgresql://u:geheim@h/db?connections=x",
          "postgresql://u:geheim@h:port/db"}) {
        const auto refused = parse_catalog_address(address, "/");
        ASSERT_THAT(refused, IsError(ErrorCode::InvalidArgument)) << address;
        EXPECT_EQ(refused.error().to_string().find("geheim"), std::string::npos) << address;
        EXPECT_FALSE(refused.error().hint.empty());
    }
    const SystemClock clock;
    EXPECT_THAT(open_catalog("postgresql://u:p@h/db?schema=pg_x", "/", OpenMode::ReadWrite, clock),
                IsError(ErrorCode::InvalidArgument, "pg_x"));
}

TEST(CatalogAddressTest, AnyTextIsReadOrRefused) {
    std::mt19937 random(5);
    for (int i = 0; i < 1000; ++i) {
        std::string text = i % 4 == 0 ? "sqlite:./catalog.db"
                                      : "postgresql://u:p%40@h:1/db?schema=a%20b&connections=3&"
                                        "sslmode=require";
        for (int change = 0; change <= i % 4; ++change) {
            text.insert(random() % (text.size() + 1), 1, "%&?=@:/#\x80\n"[random() % 10]);
            text[random() % text.size()] = static_cast<char>(random());
        }
        const auto parsed = parse_catalog_address(text, "/base");
        if (parsed && parsed->kind == CatalogAddress::Kind::Postgres) {
            EXPECT_THAT(libpq::parse_address(parsed->connection), IsOk());
        }
    }
}

}  // namespace
}  // namespace px::catalog
