#include "answer/constraints.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "answer/answer.h"
#include "base/utf8.h"

namespace px::answer {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const std::vector<std::string> kAuthors{"Jerome H. Powell", "Lisa D. Cook", "Ada Verne",
                                        "Federal Open Market Committee"};
constexpr TimestampMicros kNow = 1'795'392'000'000'000;  // 2026-11-23

std::vector<std::string> read(std::string_view question) {
    std::vector<std::string> found;
    for (const Constraint& one : read_constraints(question, kAuthors, kNow)) {
        found.push_back(one.field + " " + one.op + (one.value.empty() ? "" : " " + one.value) +
                        " <" + one.text + ">");
    }
    return found;
}

TEST(Constraints, ReadsAnAuthorWithATime) {
    EXPECT_THAT(read("What did Powell say about inflation in 2024?"),
                ElementsAre("author is Jerome H. Powell <Powell>", "date from 2024-01-01 <in 2024>",
                            "date before 2025-01-01 <in 2024>"));
    EXPECT_THAT(
        read("Powell in March 2024"),
        ElementsAre("author is Jerome H. Powell <Powell>", "date from 2024-03-01 <in March 2024>",
                    "date before 2024-04-01 <in March 2024>"));
    EXPECT_THAT(read("Cook’s view on jobs"), ElementsAre("author is Lisa D. Cook <Cook>"));
    EXPECT_THAT(read("what did jerome h. powell decide?"),
                ElementsAre("author is Jerome H. Powell <jerome h. powell>"));
    EXPECT_THAT(read("FOMC statements of 5 March 2024"),
                ElementsAre("author is Federal Open Market Committee <FOMC>",
                            "date from 2024-03-05 <of 5 March 2024>",
                            "date before 2024-03-06 <of 5 March 2024>"));
}

TEST(Constraints, ReadsTimesThatStandAlone) {
    EXPECT_THAT(read("inflation since March"), ElementsAre("date from 2026-03-01 <since March>"));
    EXPECT_THAT(read("inflation since December"),
                ElementsAre("date from 2025-12-01 <since December>"));
    EXPECT_THAT(read("rates after 2020"), ElementsAre("date from 2021-01-01 <after 2020>"));
    EXPECT_THAT(read("rates before March 5, 2024"),
                ElementsAre("date before 2024-03-05 <before March 5, 2024>"));
    EXPECT_THAT(read("speeches between January and June 2023"),
                ElementsAre("date from 2023-01-01 <between January and June 2023>",
                            "date before 2023-07-01 <between January and June 2023>"));
    EXPECT_THAT(read("statements of the third quarter of 2023"),
                ElementsAre("date from 2023-07-01 <of the third quarter of 2023>",
                            "date before 2023-10-01 <of the third quarter of 2023>"));
    EXPECT_THAT(read("the latest outlook"), ElementsAre("date latest <latest>"));
    EXPECT_THAT(read("most recent speech"), ElementsAre("date latest <most recent>"));
}

TEST(Constraints, LeavesAloneWhatIsPartOfTheQuestion) {
    EXPECT_THAT(read("How much did rents rise in 2021?"), IsEmpty());
    EXPECT_THAT(read("How do I cook rice?"), IsEmpty());
    EXPECT_THAT(read("Growth may slow; it could march on in may"), IsEmpty());
    EXPECT_THAT(read("Is section 2024a about the year 12345?"), IsEmpty());
    EXPECT_THAT(read(""), IsEmpty());
    EXPECT_THAT(read("since"), IsEmpty());
    EXPECT_THAT(read("statements of February 31, 2024"), IsEmpty());
}

TEST(Constraints, AreSwitchedOffByTextAndYieldToFilters) {
    ReleaseView view;
    view.release.published_at = kNow;
    view.authors = std::make_shared<const std::vector<std::string>>(kAuthors);
    SearchRequest request;
    request.question = "What did Powell say in 2024?";
    EXPECT_EQ(apply_constraints(view, request).size(), 3U);
    EXPECT_THAT(request.filter.authors, ElementsAre("Jerome H. Powell"));
    EXPECT_EQ(request.filter.from, 1'704'067'200'000'000);
    EXPECT_EQ(request.filter.to, 1'735'689'600'000'000);

    SearchRequest without;
    without.question = request.question;
    without.without = {"in 2024"};
    EXPECT_EQ(apply_constraints(view, without).size(), 1U);
    EXPECT_FALSE(without.filter.from);

    SearchRequest chosen;
    chosen.question = request.question;
    chosen.filter.authors = {"Lisa D. Cook"};
    chosen.filter.from = 5;
    EXPECT_THAT(apply_constraints(view, chosen), IsEmpty());
    EXPECT_THAT(chosen.filter.authors, ElementsAre("Lisa D. Cook"));

    SearchRequest ignored;
    ignored.question = request.question;
    ignored.constraints = SearchRequest::Constraints::Ignore;
    EXPECT_THAT(apply_constraints(view, ignored), IsEmpty());
    EXPECT_THAT(ignored.filter.authors, IsEmpty());
}

TEST(FollowUp, TakesThePlaceOfItsLike) {
    const auto rewrite = [](const char* before, const char* question) {
        return rewrite_follow_up({before}, question, kAuthors, kNow);
    };
    EXPECT_EQ(rewrite("What did Powell say in 2024?", "And in 2023?"),
              "What did Powell say in 2023?");
    EXPECT_EQ(rewrite("What was the unemployment rate?", "and in March 2023?"),
              "What was the unemployment rate in March 2023?");
    EXPECT_EQ(rewrite("What did Powell say about jobs?", "What about Cook?"),
              "What did Cook say about jobs?");
    EXPECT_EQ(rewrite("What did Powell say about jobs?", "Why did he say so?"),
              "Why did Powell say so?");
    EXPECT_EQ(rewrite("Did the rate rise?", "Why?"), "Why: Did the rate rise?");
    EXPECT_EQ(rewrite("What did Powell say?", "How large is the balance sheet?"),
              "How large is the balance sheet?");
    EXPECT_EQ(rewrite_follow_up({}, "And in 2023?", kAuthors, kNow), "And in 2023?");
}

TEST(Constraints, TakeAnyQuestion) {
    const std::vector<std::string> seeds{
        "What did Powell say between January and June 2023 about the latest rate?", "and in 2023?",
        "statements of 5 March 2024 since the third quarter of 2022",
        "most recent Cook’s FOMC speech “before” 2024-02-30 last year"};
    std::mt19937 random(8);
    for (int round = 0; round < 600; ++round) {
        std::string text = seeds[static_cast<size_t>(round) % seeds.size()];
        for (int edit = 0; edit < 1 + round % 6; ++edit) {
            const size_t at = random() % text.size();
            switch (random() % 3) {
                case 0:
                    text[at] = static_cast<char>(random() % 256);
                    break;
                case 1:
                    text.erase(at, random() % 9);
                    break;
                default:
                    text.insert(at, text.substr(random() % (at + 1), random() % 20));
            }
            if (text.empty()) text = "x";
        }
        for (const std::string& question : {text, utf8_sanitize(text)}) {
            for (const Constraint& one : read_constraints(question, kAuthors, kNow))
                EXPECT_NE(question.find(one.text), std::string::npos) << round;
            rewrite_follow_up({question}, seeds[1], kAuthors, kNow);
            rewrite_follow_up({seeds[0]}, question, kAuthors, kNow);
        }
    }
}

}  // namespace
}  // namespace px::answer
