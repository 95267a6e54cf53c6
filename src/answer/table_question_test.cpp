#include "answer/table_question.h"

#include <gtest/gtest.h>

namespace px::answer {
namespace {

const std::vector<TableRoles> kTables{{"reports",
                                       {{"id", "string", ""},
                                        {"author", "string", "author"},
                                        {"published_at", "timestamp", "date"},
                                        {"category", "string", "category"},
                                        {"revenue", "decimal(18,2)", ""},
                                        {"energy_cost", "double", ""}}}};

std::string sql(std::string_view question) {
    const auto offer =
        offer_sql(question, kTables, {"Ada Verne", "Pat O'Neil"}, 1'795'392'000'000'000);
    return offer ? offer->sql : "";
}

TEST(TableQuestion, BecomesSqlByRoles) {
    EXPECT_EQ(sql("What is the total revenue by author in 2024?"),
              "SELECT \"author\", sum(\"revenue\") AS \"sum_revenue\" FROM \"reports\" WHERE "
              "\"published_at\" >= DATE '2024-01-01' AND \"published_at\" < DATE '2025-01-01' "
              "GROUP BY ALL "
              "ORDER BY ALL");
    EXPECT_EQ(sql("average energy cost per month"),
              "SELECT date_trunc('month', \"published_at\") AS \"month\", avg(\"energy_cost\") AS "
              "\"avg_energy_cost\" FROM \"reports\" GROUP BY ALL ORDER BY ALL");
    EXPECT_EQ(
        sql("How many reports by category?"),
        "SELECT \"category\", count(*) AS \"count\" FROM \"reports\" GROUP BY ALL ORDER BY ALL");
    EXPECT_EQ(sql("highest revenue of Ada Verne"),
              "SELECT max(\"revenue\") AS \"max_revenue\" FROM \"reports\" WHERE \"author\" = 'Ada "
              "Verne'");
}

TEST(TableQuestion, QuotesWhatItTakesFromTheQuestion) {
    EXPECT_NE(sql("total revenue of Pat O'Neil").find("'Pat O''Neil'"), std::string::npos)
        << sql("total revenue of Pat O'Neil");
    const std::string hostile = sql("total revenue'; DROP TABLE reports; -- by author");
    EXPECT_EQ(hostile.find("DROP"), std::string::npos);
    EXPECT_EQ(hostile.find(';'), std::string::npos);
}

TEST(TableQuestion, IsNotOfferedForOthers) {
    EXPECT_EQ(sql("What is the financial outlook?"), "");
    EXPECT_EQ(sql("total happiness by author"), "");
    EXPECT_EQ(sql("How many people live in Basel?"), "");
    EXPECT_EQ(sql(""), "");
}

}  // namespace
}  // namespace px::answer
