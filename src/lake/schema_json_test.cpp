#include "lake/schema_json.h"

#include <gtest/gtest.h>

#include "testing/matchers.h"

namespace px::lake {
namespace {

using columnar::DataType;
using columnar::Field;
using columnar::Schema;
using columnar::TypeId;
using px::testing::IsError;
using px::testing::IsOk;

const Schema kAll{{{"a", {TypeId::Bool}, true},
                   {"b", {TypeId::Int32}, false},
                   {"c", {TypeId::Int64}, true},
                   {"d", {TypeId::Float32}, true},
                   {"e", {TypeId::Float64}, true},
                   {"f", {TypeId::Decimal, 18, 2}, true},
                   {"g", {TypeId::Date}, true},
                   {"h", {TypeId::Timestamp}, true},
                   {"i \"q\"", {TypeId::String}, true},
                   {"j", {TypeId::Binary}, true},
                   {"k", {TypeId::FloatList}, false}}};

std::string one_column(const std::string& type) {
    return R"({"type":"struct","fields":[{"name":"x","type":)" + type +
           R"(,"nullable":true,"metadata":{}}]})";
}

TEST(SchemaString, EveryTypeSurvivesTheLog) {
    const std::string text = write_schema(kAll);
    EXPECT_EQ(parse_schema(text).value(), kAll);
    EXPECT_NE(text.find(R"("type":{"type":"array","elementType":"float","containsNull":false})"),
              std::string::npos);
    EXPECT_NE(text.find(R"x("type":"decimal(18,2)")x"), std::string::npos);
}

TEST(SchemaString, NarrowIntegersAreReadAsInt32AndDecimalsInAnySpelling) {
    EXPECT_EQ(parse_schema(one_column("\"short\""))->fields[0].type, DataType{TypeId::Int32});
    EXPECT_EQ(parse_schema(one_column("\"byte\""))->fields[0].type, DataType{TypeId::Int32});
    EXPECT_EQ(parse_schema(one_column("\"decimal\""))->fields[0].type,
              (DataType{TypeId::Decimal, 10, 0}));
    EXPECT_EQ(parse_schema(one_column("\"decimal(5, 3)\""))->fields[0].type,
              (DataType{TypeId::Decimal, 5, 3}));
}

TEST(SchemaString, WhatASchemaCannotHoldIsRefusedByColumnAndType) {
    EXPECT_THAT(parse_schema(one_column("\"timestamp_ntz\"")),
                IsError(ErrorCode::InvalidArgument,
                        "column 'x' has type timestamp_ntz (table feature timestampNtz)"));
    EXPECT_THAT(parse_schema(one_column(R"({"type":"struct","fields":[]})")),
                IsError(ErrorCode::InvalidArgument, "column 'x' has type struct"));
    EXPECT_THAT(
        parse_schema(one_column(
            R"({"type":"map","keyType":"string","valueType":"string","valueContainsNull":true})")),
        IsError(ErrorCode::InvalidArgument, "type map"));
    EXPECT_THAT(
        parse_schema(one_column(R"({"type":"array","elementType":"float","containsNull":true})")),
        IsError(ErrorCode::InvalidArgument, "type array<float> with nulls"));
    EXPECT_THAT(
        parse_schema(one_column(R"({"type":"array","elementType":"string","containsNull":false})")),
        IsError(ErrorCode::InvalidArgument, "array<string>"));
    EXPECT_THAT(parse_schema(one_column("\"decimal(39,2)\"")),
                IsError(ErrorCode::InvalidArgument, "decimal(39,2)"));
    EXPECT_THAT(parse_schema(one_column("\"decimal(5,6)\"")), IsError(ErrorCode::InvalidArgument));
    for (const char* text : {"", "[]", "{}", "{\"fields\":{}}", "{\"fields\":[1]}",
                             "{\"fields\":[{\"name\":1,\"type\":\"long\"}]}", "{\"fields\":["}) {
        EXPECT_THAT(parse_schema(text), IsError(ErrorCode::Corrupt)) << text;
    }
}

TEST(SchemaString, GrowingAppendsNullableColumnsAndKeepsTheRest) {
    const std::string old =
        R"({"type":"struct","fields":[{"name":"x","type":"short","nullable":true,"metadata":{"comment":"kept"}}]})";
    const Field x{"x", {TypeId::Int32}, true};
    EXPECT_EQ(grow_schema(old, Schema{{x}}).value(), old);
    const std::string grown = grow_schema(old, Schema{{{"y", {TypeId::String}, true}, x}}).value();
    EXPECT_NE(
        grown.find(R"({"name":"x","type":"short","nullable":true,"metadata":{"comment":"kept"}})"),
        std::string::npos);
    EXPECT_EQ(parse_schema(grown)->fields[1].name, "y");
    EXPECT_THAT(grow_schema(old, Schema{{{"y", {TypeId::String}, true}}}),
                IsError(ErrorCode::InvalidArgument, "'x' of the table is missing"));
    EXPECT_THAT(grow_schema(old, Schema{{{"x", {TypeId::Int64}, true}}}),
                IsError(ErrorCode::InvalidArgument, "integer in the table and long"));
    EXPECT_THAT(grow_schema(old, Schema{{{"x", {TypeId::Int32}, false}}}),
                IsError(ErrorCode::InvalidArgument, "nullable in the table and required"));
    EXPECT_THAT(grow_schema(old, Schema{{x, {"y", {TypeId::String}, false}}}),
                IsError(ErrorCode::InvalidArgument, "'y' is required"));
    EXPECT_THAT(grow_schema(old, Schema{{x, {"X", {TypeId::String}, true}}}),
                IsError(ErrorCode::InvalidArgument));
}

TEST(SchemaString, ANewTableNeedsNamesThatDifferAndPartitionColumnsAmongThem) {
    EXPECT_THAT(validate_schema(kAll, {"g"}), IsOk());
    EXPECT_THAT(validate_schema(kAll, {"nope"}), IsError(ErrorCode::InvalidArgument, "'nope'"));
    EXPECT_THAT(validate_schema(kAll, {"k"}), IsError(ErrorCode::InvalidArgument, "array<float>"));
    EXPECT_THAT(validate_schema(kAll, {"g", "g"}), IsError(ErrorCode::InvalidArgument, "twice"));
    EXPECT_THAT(validate_schema(Schema{{{"a", {TypeId::Bool}}, {"A", {TypeId::Bool}}}}, {}),
                IsError(ErrorCode::InvalidArgument, "two columns"));
    EXPECT_THAT(validate_schema(Schema{{{"", {TypeId::Bool}}}}, {}),
                IsError(ErrorCode::InvalidArgument, "no name"));
    EXPECT_THAT(validate_schema(Schema{{{"a", {TypeId::Bool}}}}, {"a"}),
                IsError(ErrorCode::InvalidArgument, "besides"));
    EXPECT_THAT(validate_schema(Schema{}, {}), IsError(ErrorCode::InvalidArgument));
}

}  // namespace
}  // namespace px::lake
