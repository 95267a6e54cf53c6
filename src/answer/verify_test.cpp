#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "answer/answer.h"
#include "answer/test_release.h"

namespace px::answer {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

std::vector<Citation> citations_of(TestRelease& release) {
    std::vector<Citation> all;
    for (const char* question :
         {"What is the financial outlook?", "Who wears a helmet in the hall?",
          "How flat was revenue in the fourth quarter?"}) {
        SearchRequest request;
        request.question = question;
        const auto answer = *ask(release.view(), release.catalog(), release.encoder(), request, {},
                                 Deadline::never());
        all.insert(all.end(), answer.citations.begin(), answer.citations.end());
    }
    return all;
}

TEST(Verify, PassesEveryCitationOfAnAnswer) {
    TestRelease release(company());
    const auto citations = citations_of(release);
    ASSERT_GE(citations.size(), 3U);
    for (const Citation& citation : citations) {
        const auto verification = verify(release.view(), release.catalog(), citation,
                                         release.rederive(), Deadline::never());
        ASSERT_THAT(verification, IsOk());
        EXPECT_TRUE(verification->verified) << verification->reason;
        EXPECT_THAT(verification->steps,
                    UnorderedElementsAre(Pair("landed file sha256", true),
                                         Pair("record bytes", true), Pair("document text", true),
                                         Pair("chunk id", true), Pair("quote", true)));
        EXPECT_EQ(verification->reason, "");
    }
    const auto whole = *cite(release.view(), release.catalog(), citations[0].chunk_id);
    EXPECT_TRUE(
        verify(release.view(), release.catalog(), whole, release.rederive(), Deadline::never())
            ->verified);
}

TEST(Verify, FailsAtTheStepThatIsWrong) {
    TestRelease release(company());
    const Citation good = citations_of(release).front();
    const auto expect_failed = [&](const char* step, auto change) {
        Citation citation = good;
        change(citation);
        const auto verification = verify(release.view(), release.catalog(), citation,
                                         release.rederive(), Deadline::never());
        ASSERT_THAT(verification, IsOk());
        EXPECT_FALSE(verification->verified) << step;
        EXPECT_NE(verification->reason, "");
        bool first = true;
        for (const auto& [name, passed] : verification->steps) {
            if (!passed && first) {
                EXPECT_EQ(name, step) << verification->reason;
                first = false;
            }
        }
        EXPECT_FALSE(first);
    };
    expect_failed("landed file sha256", [](Citation& c) { c.document_id = "reports/none"; });
    expect_failed("landed file sha256",
                  [](Citation& c) { c.source.sha256 = std::string(64, '0'); });
    expect_failed("landed file sha256", [](Citation& c) { c.source.landed += "x"; });
    expect_failed("landed file sha256", [](Citation& c) { c.source.file = "another.csv"; });
    expect_failed("record bytes", [](Citation& c) { c.source.line = 8; });
    expect_failed("record bytes", [](Citation& c) { ++c.source.byte_end; });
    expect_failed("record bytes", [](Citation& c) { c.version = 4; });
    expect_failed("record bytes", [](Citation& c) { c.table = "filings"; });
    expect_failed("chunk id", [](Citation& c) { c.chunk_id = std::string(32, 'a'); });
    expect_failed("chunk id", [](Citation& c) { c.author = "Somebody Else"; });
    expect_failed("chunk id", [](Citation& c) { c.date = "1999-01-01"; });
    expect_failed("chunk id", [](Citation& c) { c.title += "!"; });
    expect_failed("quote", [](Citation& c) { c.quote[0] = 'X'; });
    expect_failed("quote", [](Citation& c) { ++c.text_start; });
    expect_failed("quote", [](Citation& c) { c.text_end = 1'000'000; });
    expect_failed("quote", [](Citation& c) { c.text_start = -5; });
    expect_failed("quote", [](Citation& c) {
        c.quote.clear();
        c.text_end = c.text_start;
    });
}

TEST(Verify, FailsWhenTheLandedTextIsAnother) {
    TestRelease release(company());
    const Citation citation = citations_of(release).front();
    std::string& text = release.texts()[citation.document_id];
    text.replace(text.find("outlook"), 7, "OUTLOOK");
    const auto verification =
        *verify(release.view(), release.catalog(), citation, release.rederive(), Deadline::never());
    EXPECT_FALSE(verification.verified);
    EXPECT_THAT(verification.reason, HasSubstr("differs"));
    release.texts().clear();
    const auto gone =
        *verify(release.view(), release.catalog(), citation, release.rederive(), Deadline::never());
    EXPECT_FALSE(gone.verified);
    EXPECT_THAT(gone.reason, HasSubstr("the landed file is gone"));
    EXPECT_EQ(gone.steps.size(), 5U);
    EXPECT_EQ(gone.checked, 1U);
    for (const auto& [name, passed] : gone.steps) EXPECT_FALSE(passed) << name;
}

TEST(Verify, TellsFailureToLookFromFailureToVerify) {
    TestRelease release(company());
    Citation citation = citations_of(release).front();
    const Rederive unreachable = [](const auto&, const Deadline&) -> Result<std::string> {
        return fail(ErrorCode::Unavailable, "storage is away");
    };
    EXPECT_THAT(verify(release.view(), release.catalog(), citation, unreachable, Deadline::never()),
                IsError(ErrorCode::Unavailable));
    Deadline past;
    past.at = std::chrono::steady_clock::now() - std::chrono::seconds(1);
    EXPECT_THAT(verify(release.view(), release.catalog(), citation, release.rederive(), past),
                IsError(ErrorCode::DeadlineExceeded));
    citation.release = 99;
    EXPECT_THAT(
        verify(release.view(), release.catalog(), citation, release.rederive(), Deadline::never()),
        IsError(ErrorCode::InvalidArgument, "release 99"));
}

}  // namespace
}  // namespace px::answer
