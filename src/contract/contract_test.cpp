#include "contract/contract.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace px::contract {
namespace {

using columnar::DataType;
using columnar::TypeId;
using testing::HasSubstr;

ColumnRule column(std::string name, std::string_view type = "string") {
    ColumnRule rule;
    rule.name = std::move(name);
    rule.type = parse_type(type).value();
    return rule;
}

TEST(ParseType, KnowsTheTypesOfAContract) {
    EXPECT_EQ(parse_type("string").value(), DataType{TypeId::String});
    EXPECT_EQ(parse_type("integer").value(), DataType{TypeId::Int64});
    EXPECT_EQ(parse_type("double").value(), DataType{TypeId::Float64});
    EXPECT_EQ(parse_type("boolean").value(), DataType{TypeId::Bool});
    EXPECT_EQ(parse_type("date").value(), DataType{TypeId::Date});
    EXPECT_EQ(parse_type("timestamp").value(), DataType{TypeId::Timestamp});
    EXPECT_EQ(parse_type("decimal(18,2)").value(), (DataType{TypeId::Decimal, 18, 2}));
    EXPECT_EQ(parse_type("decimal(38, 0)").value(), (DataType{TypeId::Decimal, 38, 0}));
    for (const char* bad :
         {"", "String", "int", "decimal", "decimal(18)", "decimal(0,0)", "decimal(39,1)",
          "decimal(5,6)", "decimal(5,-1)", "decimal(,)", "decimal(5,2)x", "decimal(5,2"}) {
        const auto type = parse_type(bad);
        ASSERT_FALSE(type) << bad;
        EXPECT_EQ(type.error().code, ErrorCode::InvalidArgument);
    }
}

TEST(Contract, IsRefusedWhereItContradictsItself) {
    const auto error_of = [](const Contract& contract) {
        const auto result = contract.validate();
        return result ? std::string("valid") : result.error().message;
    };
    Contract contract;
    EXPECT_THAT(error_of(contract), HasSubstr("no columns"));
    contract.columns = {column("id"), column("n", "integer")};
    EXPECT_EQ(error_of(contract), "valid");

    const auto with = [&](auto change) {
        Contract changed = contract;
        change(changed);
        return error_of(changed);
    };
    EXPECT_THAT(with([](Contract& c) { c.columns.push_back(column("ID")); }),
                HasSubstr("'ID' stands twice"));
    EXPECT_THAT(with([](Contract& c) { c.columns.push_back(column("_px_file")); }),
                HasSubstr("_px_file"));
    EXPECT_THAT(with([](Contract& c) { c.columns[0].name = ""; }), HasSubstr("no name"));
    EXPECT_THAT(with([](Contract& c) { c.columns[0].role = c.columns[1].role = Role::Id; }),
                HasSubstr("both have the role id"));
    EXPECT_THAT(with([](Contract& c) { c.columns[1].role = Role::Text; }), HasSubstr("'n'"));
    EXPECT_THAT(with([](Contract& c) { c.columns[1].role = Role::Acl; }), HasSubstr("role acl"));
    EXPECT_THAT(with([](Contract& c) { c.columns[1].role = Role::Date; }), HasSubstr("role date"));
    EXPECT_THAT(with([](Contract& c) { c.columns[1].default_value = "x"; }),
                HasSubstr("column 'n': the default"));
    EXPECT_THAT(with([](Contract& c) {
                    c.columns[0].one_of = {"a", "b"};
                    c.columns[0].default_value = "c";
                }),
                HasSubstr("none of a, b"));
    EXPECT_THAT(with([](Contract& c) { c.columns[0].pattern = "("; }), HasSubstr("column 'id'"));
    EXPECT_THAT(with([](Contract& c) { c.columns[0].pattern = "(a)\\1"; }),
                HasSubstr("back-reference"));
    EXPECT_THAT(with([](Contract& c) { c.columns[1].min = "low"; }),
                HasSubstr("min: 'low' is not an integer"));
    EXPECT_THAT(with([](Contract& c) {
                    c.columns[1].min = "5";
                    c.columns[1].max = "4";
                }),
                HasSubstr("min 5 is above max 4"));
    EXPECT_THAT(with([](Contract& c) {
                    c.columns[1].one_of = {"1", "two"};
                }),
                HasSubstr("one_of: 'two'"));
    EXPECT_THAT(with([](Contract& c) { c.columns[0].type = {TypeId::FloatList}; }),
                HasSubstr("no type array<float>"));
    EXPECT_THAT(with([](Contract& c) { c.halt_above = 1.5; }), HasSubstr("halt_above"));
    EXPECT_THAT(with([](Contract& c) { c.max_drop = -0.1; }), HasSubstr("max_drop"));
    EXPECT_THAT(with([](Contract& c) {
                    c.checks = {{"a", "", "0"}};
                }),
                HasSubstr("check 'a' has no SQL"));
    EXPECT_THAT(with([](Contract& c) {
                    c.checks = {{"a", "select 1", "0"}, {"a", "select 2", "0"}};
                }),
                HasSubstr("two checks"));
}

TEST(Contract, TableSchemaEndsWithProvenance) {
    Contract contract;
    contract.columns = {column("id"), column("n", "decimal(18,2)")};
    contract.columns[0].required = true;
    const columnar::Schema schema = contract.table_schema({"extra"});
    std::vector<std::string> names;
    for (const auto& field : schema.fields) {
        names.push_back(field.name + " " + columnar::delta_type_name(field.type));
        EXPECT_TRUE(field.nullable);
    }
    EXPECT_EQ(names, (std::vector<std::string>{"id string", "n decimal(18,2)", "extra string",
                                               "_px_file string", "_px_line long", "_px_start long",
                                               "_px_end long"}));
}

TEST(ParseInto, AppendsOrSaysWhy) {
    columnar::Column money({TypeId::Decimal, 20, 2});
    EXPECT_TRUE(parse_into(money, "-12345678901234567.8"));
    EXPECT_EQ(columnar::format_decimal(money.value_at<columnar::Int128>(0), 2),
              "-12345678901234567.80");
    const auto bad = parse_into(money, "1.234");
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().code, ErrorCode::InvalidArgument);
    EXPECT_EQ(money.length(), 1);
    columnar::Column vector({TypeId::FloatList});
    EXPECT_FALSE(parse_into(vector, "1"));
}

}  // namespace
}  // namespace px::contract
