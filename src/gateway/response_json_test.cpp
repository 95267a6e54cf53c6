#include "gateway/response_json.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace px::gateway {
namespace {

TEST(QueryResult, KeepsNumbersAsNumbersAndNeverWritesWhatIsNotJson) {
    engine::QueryResult result;
    result.columns = {"n", "d", "t"};
    result.types = {"BIGINT", "DOUBLE", "VARCHAR"};
    result.rows = {{"9007199254740993", "nan", "a\"\\\n\x01ü"},
                   {std::nullopt, "1e+20", "12"},
                   {"-5", "inf", "\xFF"}};
    result.truncated = true;
    result.elapsed_ms = 1.5;
    const std::string text = query_result_json(result, 3, Cells::Json);
    boost::json::error_code error;
    const auto value = boost::json::parse(text, error);
    ASSERT_FALSE(error) << text;
    EXPECT_EQ(boost::json::serialize(value.at("rows").at(0).at(0)), "9007199254740993");
    EXPECT_EQ(value.at("rows").at(0).at(1).as_string(), "nan");
    EXPECT_EQ(value.at("rows").at(0).at(2).as_string(), "a\"\\\n\x01ü");
    EXPECT_TRUE(value.at("rows").at(1).at(0).is_null());
    EXPECT_TRUE(value.at("rows").at(1).at(1).is_double());
    EXPECT_EQ(value.at("rows").at(1).at(2).as_string(), "12");
    EXPECT_EQ(value.at("rows").at(2).at(1).as_string(), "inf");
    EXPECT_EQ(value.at("rows").at(2).at(2).as_string(), "\xEF\xBF\xBD");
    EXPECT_EQ(value.at("row_count"), 3);
    EXPECT_EQ(value.at("truncated"), true);
    EXPECT_EQ(value.at("release"), 3);

    const auto plain = boost::json::parse(query_result_json(result, 3, Cells::Text), error);
    EXPECT_EQ(plain.at("rows").at(0).at(0).as_string(), "9007199254740993");
    EXPECT_TRUE(plain.at("rows").at(1).at(0).is_null());
}

TEST(WriteJson, WritesNumbersAsPeopleDo) {
    const boost::json::value value{{"score", 0.63245}, {"zero", 0.0},
                                   {"large", 1e22},    {"whole", -3},
                                   {"none", nullptr},  {"list", {true, "a\"b\n"}}};
    EXPECT_EQ(
        write_json(value),
        R"({"score":0.63245,"zero":0,"large":1e+22,"whole":-3,"none":null,"list":[true,"a\"b\n"]})");
}

}  // namespace
}  // namespace px::gateway
