#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "answer/answer.h"
#include "answer/test_release.h"

namespace px::answer {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

SearchRequest asking(std::string question, size_t top_k = 10) {
    SearchRequest request;
    request.question = std::move(question);
    request.top_k = top_k;
    return request;
}

TEST(Search, PutsThePassageAboutTheQuestionFirst) {
    TestRelease release(company());
    for (const auto mode :
         {SearchRequest::Mode::Hybrid, SearchRequest::Mode::Dense, SearchRequest::Mode::Lexical}) {
        SearchRequest request = asking("Who must wear gloves and a helmet?");
        request.mode = mode;
        const auto found =
            search(release.view(), release.encoder(), request, {}, Deadline::never());
        ASSERT_THAT(found, IsOk());
        ASSERT_FALSE(found->empty());
        EXPECT_THAT(found->front().point.text, HasSubstr("helmet"));
        EXPECT_DOUBLE_EQ(found->front().score, 1.0);
        for (size_t i = 0; i < found->size(); ++i) {
            EXPECT_GE((*found)[i].score, 0);
            EXPECT_LE((*found)[i].score, 1);
            if (i > 0) {
                EXPECT_LE((*found)[i].score, (*found)[i - 1].score);
            }
        }
    }
    EXPECT_EQ(release.encoder().calls, 2U) << "a lexical search encodes nothing";
}

TEST(Search, RefusesAnEmptyQuestion) {
    TestRelease release(company());
    for (const char* blank : {"", "  \n\t "}) {
        EXPECT_THAT(search(release.view(), release.encoder(), asking(blank), {}, Deadline::never()),
                    IsError(ErrorCode::InvalidArgument, "question is empty"));
    }
}

TEST(Search, AppliesFilters) {
    TestRelease release(company());
    SearchRequest request = asking("financial outlook");
    request.filter.authors = {"bo lind"};
    const auto found = *search(release.view(), release.encoder(), request, {}, Deadline::never());
    ASSERT_FALSE(found.empty());
    for (const Passage& passage : found) EXPECT_EQ(passage.point.author, "Bo Lind");
    request.filter.authors = {"Nobody"};
    EXPECT_THAT(*search(release.view(), release.encoder(), request, {}, Deadline::never()),
                IsEmpty());
}

TEST(Search, GivesAtMostTopK) {
    TestRelease release(company());
    EXPECT_EQ(search(release.view(), release.encoder(), asking("outlook revenue", 2), {},
                     Deadline::never())
                  ->size(),
              2U);
    EXPECT_THAT(*search(release.view(), release.encoder(), asking("outlook revenue", 0), {},
                        Deadline::never()),
                IsEmpty());
}

TEST(Search, CollapsesNearlyEqualPassagesOfOneDocument) {
    const std::string sentence =
        "The pump station at the northern gate needs a new valve every spring season.";
    TestRelease release({{"reports", "a", "A", "", "", "",
                          sentence + "\n\n" + sentence + "\n\n" + sentence + " Indeed."},
                         {"reports", "b", "B", "", "", "", sentence}});
    const auto found =
        *search(release.view(), release.encoder(), asking("pump valve"), {}, Deadline::never());
    std::multiset<std::string> documents;
    for (const Passage& passage : found) documents.insert(passage.point.document_id);
    EXPECT_EQ(documents.count("reports/a"), 1U);
    EXPECT_EQ(documents.count("reports/b"), 1U) << "another document with the same words stays";
}

TEST(Search, OrdersTiesByChunkId) {
    std::vector<TestDocument> documents;
    for (int i = 0; i < 30; ++i)
        documents.push_back(
            {"reports", fmt::format("d{}", i), "", "", "", "", "the same short text"});
    TestRelease release(documents);
    const auto found =
        *search(release.view(), release.encoder(), asking("short text", 30), {}, Deadline::never());
    ASSERT_EQ(found.size(), 30U);
    for (size_t i = 1; i < found.size(); ++i) EXPECT_LT(found[i - 1].point.id, found[i].point.id);
}

TEST(Search, FindsNothingInAnEmptyRelease) {
    TestRelease release({});
    EXPECT_THAT(
        *search(release.view(), release.encoder(), asking("outlook"), {}, Deadline::never()),
        IsEmpty());
}

TEST(Search, StopsAtTheDeadline) {
    TestRelease release(company());
    Deadline past;
    past.at = std::chrono::steady_clock::now() - std::chrono::seconds(1);
    EXPECT_THAT(search(release.view(), release.encoder(), asking("outlook"), {}, past),
                IsError(ErrorCode::DeadlineExceeded));
}

TEST(SearchDocuments, GivesEachDocumentOnceWithoutItsSource) {
    TestRelease release(company());
    const auto found =
        search_documents(release.view(), release.encoder(), asking("revenue in the third quarter"),
                         {}, Deadline::never());
    ASSERT_THAT(found, IsOk());
    ASSERT_FALSE(found->empty());
    EXPECT_EQ(found->front().first, "2024-q3");
    std::set<std::string> names;
    for (const auto& [name, score] : *found) EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_EQ(search_documents(release.view(), release.encoder(), asking("revenue", 1), {},
                               Deadline::never())
                  ->size(),
              1U);
}

TEST(SearchDocuments, FindsAnAuthorNamedInTheQuestion) {
    TestRelease release(company());
    const auto found = *search_documents(release.view(), release.encoder(),
                                         asking("What did Bo Lind write?"), {}, Deadline::never());
    ASSERT_FALSE(found.empty());
    EXPECT_EQ(found.front().first, "2024-q4");
}

TEST(SearchDocuments, AreInTheOrderOfTheirBestPassages) {
    TestRelease release(company());
    const SearchRequest request = asking("the financial outlook for revenue", 100);
    const auto documents =
        *search_documents(release.view(), release.encoder(), request, {}, Deadline::never());
    std::vector<std::string> seen;
    for (const Passage& passage :
         *search(release.view(), release.encoder(), request, {}, Deadline::never())) {
        const std::string id =
            passage.point.document_id.substr(passage.point.document_id.find('/') + 1);
        if (std::find(seen.begin(), seen.end(), id) == seen.end()) {
            ASSERT_LT(seen.size(), documents.size());
            EXPECT_EQ(documents[seen.size()].first, id);
            EXPECT_DOUBLE_EQ(documents[seen.size()].second, passage.score);
            seen.push_back(id);
        }
    }
    EXPECT_EQ(seen.size(), documents.size());
}

TEST(SearchDocuments, TellsDocumentsApartByTheirWholeId) {
    // As append partitions have them: the same id on two dates.
    TestRelease release({{"reports@2026-01-01", "R/7", "", "", "", "", "Pumps leak oil."},
                         {"reports@2026-01-02", "R/7", "", "", "", "", "Pumps leak water now."}});
    const auto found = *search_documents(release.view(), release.encoder(), asking("pumps leak"),
                                         {}, Deadline::never());
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0].first, "R/7");
    EXPECT_EQ(found[1].first, "R/7");
}

}  // namespace
}  // namespace px::answer
