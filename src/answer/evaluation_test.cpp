#include "answer/evaluation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "answer/test_release.h"
#include "testing/matchers.h"

namespace px::answer {
namespace {

using px::testing::IsError;
using px::testing::IsOk;

constexpr std::string_view kQueries =
    "{\"query_id\": \"q1\", \"text\": \"Third quarter revenue\"}\n\n"
    "{\"query_id\": 2, \"text\": \"helmet and gloves\"}\r\n";
constexpr std::string_view kQrels =
    "query_id\tdoc_id\trelevance\nq1\t2024-q3\t2\nq1\t2024-q4\t0\n2\tsafety.md\t1\n";

TEST(Evaluation, MeasuresARankingByHand) {
    const std::map<std::string, double> judged{{"a", 1}, {"b", 2}, {"c", 0}};
    const QueryMeasures first = measure({"b", "c", "a"}, judged);
    EXPECT_NEAR(first.ndcg_at_10, (3 + 1 / 2.0) / (3 + 1 / std::log2(3.0)), 1e-12);
    EXPECT_EQ(first.recall_at_100, 1);
    EXPECT_EQ(first.reciprocal_rank, 1);
    const QueryMeasures second = measure({"c", "x", "a"}, judged);
    EXPECT_NEAR(second.ndcg_at_10, 0.5 / (3 + 1 / std::log2(3.0)), 1e-12);
    EXPECT_EQ(second.recall_at_100, 0.5);
    EXPECT_NEAR(second.reciprocal_rank, 1 / 3.0, 1e-12);
    EXPECT_EQ(measure({}, judged).ndcg_at_10, 0);
    EXPECT_EQ(measure({"c"}, {{"c", 0}}).ndcg_at_10, 0);
}

TEST(Evaluation, MeasuresARelease) {
    TestRelease release(company());
    const auto queries = parse_queries(kQueries, "q.jsonl");
    const auto judgements = parse_judgements(kQrels, "qrels.tsv");
    ASSERT_THAT(queries, IsOk());
    ASSERT_THAT(judgements, IsOk());
    const auto found =
        evaluate(release.view(), release.encoder(), *queries, *judgements, {}, Deadline::never());
    ASSERT_THAT(found, IsOk());
    EXPECT_EQ(found->queries, 2);
    EXPECT_EQ(found->release, 1);
    EXPECT_DOUBLE_EQ(found->ndcg_at_10, 1);
    EXPECT_DOUBLE_EQ(found->recall_at_100, 1);
    EXPECT_DOUBLE_EQ(found->mrr, 1);
    EXPECT_LE(found->p50_ms, found->p99_ms);
    EXPECT_THAT(evaluate(release.view(), release.encoder(), *queries, {}, {}, Deadline::never()),
                IsError(ErrorCode::InvalidArgument));
}

TEST(Evaluation, RefusesFilesThatAreNone) {
    for (const char* text :
         {"", "{}", "[1]", "{\"query_id\": \"a\", \"text\": \" \"}",
          "{\"query_id\": \"a\", \"text\": \"x\"}\n{\"query_id\": \"a\", \"text\": \"y\"}"})
        EXPECT_THAT(parse_queries(text, "q"), IsError(ErrorCode::InvalidArgument)) << text;
    for (const char* text : {"a\tb", "a\tb\t1\na\tb\tmany", "a\tb\t1\n\tb\t1", "a\tb\t1\na\tb\t21"})
        EXPECT_THAT(parse_judgements(text, "q"), IsError(ErrorCode::InvalidArgument)) << text;
    EXPECT_EQ(parse_judgements("q1 0 d1 2\nq1 0 d2 0\n", "trec")->at("q1").at("d1"), 2);
}

TEST(PromotionRule, ComparesWithTheLastOrABound) {
    Evaluation last, now;
    last.ndcg_at_10 = 0.65;
    now.ndcg_at_10 = 0.645;
    const auto near = parse_promotion_rule("ndcg_at_10 >= last - 0.01");
    ASSERT_THAT(near, IsOk());
    EXPECT_TRUE(judge(*near, now, last).promoted);
    now.ndcg_at_10 = 0.64;
    EXPECT_TRUE(judge(*near, now, last).promoted);  // exactly at the bound
    now.ndcg_at_10 = 0.6399;
    EXPECT_FALSE(judge(*near, now, last).promoted);
    EXPECT_TRUE(judge(*near, now, std::nullopt).promoted);
    now.mrr = 0.5;
    EXPECT_FALSE(judge(*parse_promotion_rule("mrr>0.5"), now, std::nullopt).promoted);
    EXPECT_TRUE(judge(*parse_promotion_rule("mrr>=0.5"), now, last).promoted);
    for (const char* text :
         {"", "ndcg", "ndcg_at_10 < 1", "ndcg_at_10 >= first", "mrr >= last * 2", "mrr >= last - x",
          "mrr >= 0.5 - 0.1", "drop table >= 1", "mrr >= nan"})
        EXPECT_THAT(parse_promotion_rule(text), IsError(ErrorCode::InvalidArgument)) << text;
}

TEST(Evaluation, TakesAnyBytes) {
    std::mt19937 random(11);
    for (int round = 0; round < 600; ++round) {
        std::string queries(kQueries), qrels(kQrels), rule = "ndcg_at_10 >= last - 0.01";
        for (std::string* text : {&queries, &qrels, &rule}) {
            for (int edit = 0; edit < 1 + round % 5; ++edit) {
                const size_t at = random() % (text->size() + 1);
                if (random() % 2 == 0 && at < text->size()) {
                    (*text)[at] = static_cast<char>(random() % 256);
                } else {
                    text->erase(at, random() % 5);
                }
            }
        }
        (void)parse_queries(queries, "q");
        (void)parse_judgements(qrels, "q");
        (void)parse_promotion_rule(rule);
    }
}

}  // namespace
}  // namespace px::answer
