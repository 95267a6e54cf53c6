#include "gateway/request_fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/utf8.h"
#include "gateway/requests.h"

namespace px::gateway {
namespace {

using ::testing::HasSubstr;

Result<SearchInput> read(std::string_view body, SearchFields fields = SearchFields::Ask) {
    return read_search(PX_TRY(parse_object(body)), fields, GatewayOptions{});
}

struct Refusal {
    std::string name, body, message, hint;
};
void PrintTo(const Refusal& refusal, std::ostream* out) { *out << refusal.name; }

class BadBody : public ::testing::TestWithParam<Refusal> {};

TEST_P(BadBody, IsRefusedByNameOfTheField) {
    const auto input = read(GetParam().body);
    ASSERT_FALSE(input);
    EXPECT_EQ(input.error().code, ErrorCode::InvalidArgument);
    EXPECT_THAT(input.error().message, HasSubstr(GetParam().message));
    EXPECT_THAT(input.error().hint, HasSubstr(GetParam().hint));
    EXPECT_TRUE(utf8_is_valid(input.error().message));
}

INSTANTIATE_TEST_SUITE_P(
    Search, BadBody,
    ::testing::Values(
        Refusal{"Empty", "", "the body is empty", "JSON object"},
        Refusal{"White", " \n ", "the body is empty", ""},
        Refusal{"Cut", R"({"question": "a)", "ends in the middle", ""},
        Refusal{"NotJson", "question=a", "the body is not JSON", ""},
        Refusal{"Trailing", R"({"question":"a"} x)", "at byte 1", ""},
        Refusal{"NotUtf8", "{\"question\":\"\xFF\"}", "the body is not JSON", ""},
        Refusal{"Array", R"(["a"])", "must be a JSON object, not an array", ""},
        Refusal{"Deep", "{\"question\":" + std::string(100, '[') + std::string(100, ']') + "}",
                "not JSON", ""},
        Refusal{"NoQuestion", R"({"top_k": 3})", "field 'question' is missing", "string"},
        Refusal{"NullQuestion", R"({"question": null})", "field 'question' is missing", ""},
        Refusal{"BlankQuestion", R"({"question": " \n"})", "field 'question' is empty", ""},
        Refusal{"NumberQuestion", R"({"question": 3})", "must be a string, not a number", ""},
        Refusal{"LongQuestion", R"({"question": ")" + std::string(9000, 'a') + "\"}",
                "has 9000 bytes; at most 8192", ""},
        Refusal{"NulQuestion", R"({"question": "a\u0000b"})", "NUL", ""},
        Refusal{"Misspelt", R"({"question": "a", "topk": 3})", "unknown field 'topk'",
                "Did you mean 'top_k'?"},
        Refusal{"Unknown", R"({"question": "a", "temperature": 3})", "unknown field 'temperature'",
                "Known fields"},
        Refusal{"TopKZero", R"({"question": "a", "top_k": 0})", "'top_k' is 0; it must be 1 to 200",
                ""},
        Refusal{"TopKLarge", R"({"question": "a", "top_k": 201})", "'top_k' is 201", ""},
        Refusal{"TopKHuge", R"({"question": "a", "top_k": 18446744073709551615})", "'top_k'", ""},
        Refusal{"TopKFraction", R"({"question": "a", "top_k": 1.5})", "must be a whole number", ""},
        Refusal{"TopKText", R"({"question": "a", "top_k": "3"})",
                "must be an integer, not a string", ""},
        Refusal{"FiltersText", R"({"question": "a", "filters": "x"})",
                "'filters' must be an object", ""},
        Refusal{"FilterMisspelt", R"({"question": "a", "filters": {"author": "x"}})",
                "'filters.author'", "Did you mean 'authors'?"},
        Refusal{"FilterItem", R"({"question": "a", "filters": {"authors": ["x", 3]}})",
                "'filters.authors[1]' must be a string, not a number", ""},
        Refusal{"FilterDate", R"({"question": "a", "filters": {"from": "yesterday"}})",
                "'filters.from' is 'yesterday', not a date", "2026-11-23"},
        Refusal{"FilterOrder",
                R"({"question": "a", "filters": {"from": "2026-02-01", "to": "2026-01-01"}})",
                "is not before", ""},
        Refusal{"Mode", R"({"question": "a", "mode": "sparse"})",
                "it must be hybrid, dense or lexical", ""},
        Refusal{"Stream", R"({"question": "a", "stream": "yes"})", "must be true or false", ""},
        Refusal{"AsOf", R"({"question": "a", "as_of": "soon"})", "soon", ""},
        Refusal{"AsOfKind", R"({"question": "a", "as_of": true})", "must be a string or an integer",
                ""}),
    [](const auto& test) { return test.param.name; });

TEST(ReadSearch, TakesEveryField) {
    const auto input = read(
        R"({"question": "why?", "top_k": 7, "mode": "dense", "as_of": 12, "stream": true, "filters":
        {"authors": "Mara", "categories": ["A", "B"], "sources": [], "from": "2026-01-01", "to": "2026-01-31"}})");
    ASSERT_TRUE(input);
    EXPECT_EQ(input->request.question, "why?");
    EXPECT_EQ(input->request.top_k, 7U);
    EXPECT_EQ(input->request.mode, answer::SearchRequest::Mode::Dense);
    EXPECT_EQ(input->as_of.release, 12);
    EXPECT_EQ(input->delivery, SearchInput::Delivery::Streamed);
    EXPECT_EQ(input->request.filter.authors, std::vector<std::string>{"Mara"});
    EXPECT_EQ(input->request.filter.categories, (std::vector<std::string>{"A", "B"}));
    EXPECT_EQ(format_timestamp(*input->request.filter.from), "2026-01-01T00:00:00.000000Z");
    EXPECT_EQ(format_timestamp(*input->request.filter.to), "2026-02-01T00:00:00.000000Z");
}

TEST(ReadSearch, LeavesAbsentFieldsAtTheirDefaults) {
    const auto input = read(R"({"question": "a", "filters": null, "top_k": null})");
    ASSERT_TRUE(input);
    EXPECT_EQ(input->request.top_k, 10U);
    EXPECT_FALSE(input->as_of.release);
    EXPECT_EQ(input->delivery, SearchInput::Delivery::Whole);
    EXPECT_FALSE(read(R"({"question": "a", "stream": true})", SearchFields::Search));
    EXPECT_FALSE(read(R"({"question": "a", "as_of": 1})", SearchFields::Plain));
}

TEST(NearestName, OffersOnlyWhatIsClose) {
    EXPECT_EQ(nearest_name("quesiton", {"question", "top_k"}), "question");
    EXPECT_EQ(nearest_name("k", {"question", "top_k"}), "");
    EXPECT_EQ(nearest_name("", {"sql"}), "");
    EXPECT_EQ(nearest_name(std::string(100'000, 'a'), {"sql"}), "");
}

TEST(ParseObject, SurvivesRandomBytes) {
    std::mt19937 random(7);
    const std::string seed =
        R"({"question": "wh\u00e4t?", "top_k": 7, "filters": {"authors": ["M"], "from": "2026-01-01"}, "as_of": 1})";
    int accepted = 0;
    for (int round = 0; round < 3000; ++round) {
        std::string body = seed;
        for (int k = 0; k < 2; ++k) body[random() % body.size()] = static_cast<char>(random());
        const auto input = read(body);
        if (input) {
            ++accepted;
            EXPECT_LE(input->request.top_k, 200U);
            EXPECT_TRUE(utf8_is_valid(input->request.question));
        } else {
            EXPECT_EQ(input.error().code, ErrorCode::InvalidArgument);
            EXPECT_TRUE(utf8_is_valid(input.error().to_string()));
        }
    }
    EXPECT_GT(accepted, 0);
}

}  // namespace
}  // namespace px::gateway
