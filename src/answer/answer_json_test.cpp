#include "answer/answer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "testing/matchers.h"

namespace px::answer {
namespace {

using px::testing::IsError;
using px::testing::IsOk;

Citation sample() {
    Citation citation;
    citation.n = 2;
    citation.quote = "Er sagte: \"4½ %\"\n</script>";
    citation.chunk_id = std::string(32, 'a');
    citation.document_id = "reports/1";
    citation.title = "T";
    citation.author = "A";
    citation.date = "2026-11-23";
    citation.category = "C";
    citation.source = {"data/x.csv", "reports/2026/x", std::string(64, 'b'), 12, 100, 250};
    citation.table = "reports";
    citation.version = 7;
    citation.release = 3;
    citation.text_start = 5;
    citation.text_end = 29;
    return citation;
}

TEST(AnswerJson, HasTheFieldsTheDesignNames) {
    Answer answer;
    answer.answer = "It grew. [1]";
    answer.grounded = true;
    answer.citations = {sample()};
    answer.release = 3;
    const auto json = to_json(answer);
    EXPECT_EQ(json.at("answer").as_string(), "It grew. [1]");
    EXPECT_TRUE(json.at("grounded").as_bool());
    const auto& citation = json.at("citations").as_array().at(0).as_object();
    for (const char* field : {"n", "quote", "chunk_id", "document_id", "title", "author", "date",
                              "source", "table", "version", "release"}) {
        EXPECT_TRUE(citation.contains(field)) << field;
    }
    for (const char* field : {"file", "sha256", "byte_start", "byte_end", "line", "landed"}) {
        EXPECT_TRUE(citation.at("source").as_object().contains(field)) << field;
    }
}

TEST(AnswerJson, ReadsACitationBack) {
    const auto text = boost::json::serialize(to_json(sample()));
    const auto read = citation_from_json(boost::json::parse(text).as_object());
    ASSERT_THAT(read, IsOk());
    EXPECT_EQ(boost::json::serialize(to_json(*read)), text);
    EXPECT_EQ(read->quote, sample().quote);
}

TEST(AnswerJson, NamesTheFieldWithAWrongType) {
    const auto parse = [](const char* text) {
        return citation_from_json(boost::json::parse(text).as_object());
    };
    EXPECT_THAT(parse("{}"), IsOk());
    EXPECT_THAT(parse(R"({"more": [1], "title": null})"), IsOk());
    EXPECT_THAT(parse(R"({"quote": 5})"), IsError(ErrorCode::InvalidArgument, "\"quote\""));
    EXPECT_THAT(parse(R"({"version": "5"})"), IsError(ErrorCode::InvalidArgument, "\"version\""));
    EXPECT_THAT(parse(R"({"n": -1})"), IsError(ErrorCode::InvalidArgument, "\"n\""));
    EXPECT_THAT(parse(R"({"source": "x"})"), IsError(ErrorCode::InvalidArgument, "\"source\""));
    EXPECT_THAT(parse(R"({"source": {"line": 1.5}})"),
                IsError(ErrorCode::InvalidArgument, "\"line\""));
}

}  // namespace
}  // namespace px::answer
