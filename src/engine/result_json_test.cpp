#include "engine/result_json.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace px::engine {
namespace {

TEST(ResultJson, NumbersAndBooleansAreBareAndTheRestIsQuoted) {
    auto cell = [](std::string_view type, std::optional<std::string> text) {
        std::string out;
        append_json_cell(type, text, out);
        return out;
    };
    EXPECT_EQ(cell("BIGINT", "-5"), "-5");
    EXPECT_EQ(cell("DECIMAL(18,2)", "0.50"), "0.50");
    EXPECT_EQ(cell("HUGEINT", "170141183460469231731687303715884105727"),
              "170141183460469231731687303715884105727");
    EXPECT_EQ(cell("BOOLEAN", "true"), "true");
    EXPECT_EQ(cell("DOUBLE", "1e-05"), "1e-05");
    EXPECT_EQ(cell("DOUBLE", "nan"), "\"nan\"");
    EXPECT_EQ(cell("FLOAT", "-inf"), "\"-inf\"");
    EXPECT_EQ(cell("VARCHAR", "12"), "\"12\"");
    EXPECT_EQ(cell("DATE", "2026-11-23"), "\"2026-11-23\"");
    EXPECT_EQ(cell("BIGINT[]", "[1, 2]"), "\"[1, 2]\"");
    EXPECT_EQ(cell("BIGINT", std::nullopt), "null");
    EXPECT_FALSE(is_json_literal_type("DECIMAL(18,2)[]"));
}

TEST(ResultJson, TextIsEscapedAndAlwaysWellFormed) {
    std::string out;
    append_json_string("a\"b\\c\n\r\t\x01 \xC3\xA9 \xFF </script>", out);
    EXPECT_EQ(out, "\"a\\\"b\\\\c\\n\\r\\t\\u0001 \xC3\xA9 \xEF\xBF\xBD </script>\"");
}

TEST(ResultJson, AResultIsOneDocument) {
    QueryResult result;
    result.columns = {"a", "b", "a"};
    result.types = {"BIGINT", "VARCHAR", "DOUBLE"};
    result.rows = {{"1", "x", "inf"}, {std::nullopt, "", "2.5"}};
    result.truncated = true;
    boost::system::error_code error;
    boost::json::value parsed = boost::json::parse(to_json(result), error);
    ASSERT_FALSE(error);
    EXPECT_EQ(boost::json::serialize(parsed.at("rows")), "[[1,\"x\",\"inf\"],[null,\"\",2.5E0]]");
    EXPECT_EQ(parsed.at("row_count").as_int64(), 2);
    EXPECT_TRUE(parsed.at("truncated").as_bool());
    std::string object;
    append_json_object(result, 0, object);
    EXPECT_EQ(object, "{\"a\":1,\"b\":\"x\",\"a_2\":\"inf\"}");
}

}  // namespace
}  // namespace px::engine
