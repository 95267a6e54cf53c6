#include "source/sql/copy_text.h"

#include <gtest/gtest.h>

#include <random>

#include "testing/matchers.h"

namespace px::source {
namespace {

using Fields = std::vector<std::optional<std::string>>;
using px::testing::IsError;
using px::testing::IsOk;

Fields decoded(std::string_view row) {
    Fields fields = {"left over", std::nullopt, "from before"};
    decode_copy_row(row, fields);
    return fields;
}

TEST(CopyText, FieldsAreSeparatedByTabsAndEscapesMeanWhatTheySay) {
    EXPECT_EQ(decoded("a\tb\n"), (Fields{"a", "b"}));
    EXPECT_EQ(decoded("\n"), (Fields{""}));
    EXPECT_EQ(decoded("\t\t\n"), (Fields{"", "", ""}));
    EXPECT_EQ(decoded("\\N\t\\\\N\t\\N\n"), (Fields{std::nullopt, "\\N", std::nullopt}));
    EXPECT_EQ(decoded("a\\tb\\nc\\\\d\\re\\bf\\fg\\v\n"), (Fields{"a\tb\nc\\d\re\bf\fg\v"}));
    EXPECT_EQ(decoded("ä\\q\\"), (Fields{"äq"}));
    EXPECT_EQ(decoded("1\t2\t3\t4\n"), (Fields{"1", "2", "3", "4"}));
}

TEST(CopyText, TheDateIsBoundWhereItIsAParameterAndNowhereElse) {
    const auto bound = [](std::string_view query) { return with_ds(query, "'D'").value(); };
    EXPECT_EQ(bound("select 1 where d=:ds and e = :ds"), "select 1 where d='D' and e = 'D'");
    EXPECT_EQ(bound("select :ds::date, x::ds"), "select 'D'::date, x::ds");
    EXPECT_EQ(bound("select ':ds', \":ds\", E'\\':ds', ''':ds' -- :ds\n, /* :ds /* */ :ds */ :ds"),
              "select ':ds', \":ds\", E'\\':ds', ''':ds' -- :ds\n, /* :ds /* */ :ds */ 'D'");
    EXPECT_EQ(bound("select $$:ds$$, $a$ $$ :ds $a$, a$b, :ds"),
              "select $$:ds$$, $a$ $$ :ds $a$, a$b, 'D'");
    EXPECT_EQ(bound("select a[1:ds], a[1:n], (a):b"), "select a[1:ds], a[1:n], (a):b");
    EXPECT_EQ(bound("select 'a\\' , :ds"), "select 'a\\' , 'D'");
    EXPECT_EQ(bound("select 1; -- done\n ;\n"), "select 1  -- done\n ;\n");
    EXPECT_EQ(bound("select 1;"), "select 1 ");
    EXPECT_EQ(bound("select 1; select 2"), "select 1; select 2");
    EXPECT_THAT(with_ds("select :day", "'D'"), IsError(ErrorCode::InvalidArgument, ":day"));
    EXPECT_THAT(with_ds("select :dsx", "'D'"), IsError(ErrorCode::InvalidArgument, ":dsx"));
    for (const char* open : {"select 'a", "select \"a", "select $$ a", "select /* a", "E'\\'"})
        EXPECT_THAT(with_ds(open, "'D'"), IsError(ErrorCode::InvalidArgument, "without an end"));
}

TEST(CopyText, AnyBytesAreARowAndAnyTextIsReadOrRefused) {
    std::mt19937 random(7);
    for (int i = 0; i < 3000; ++i) {
        std::string text =
            "select a, E'\\'', $x$:ds$x$ /* c */ from t -- d\n where d = :ds;\tb\\N\n";
        for (int change = 0; change <= i % 6; ++change) {
            text[random() % text.size()] = "\\'\"$/*-\n\t:;dsN\0x"[random() % 17];
            if (i % 3 == 0) text.resize(random() % text.size() + 1);
        }
        const Fields fields = decoded(text);
        size_t bytes = fields.size() - 1;
        for (const auto& field : fields) bytes += field ? field->size() : 0;
        EXPECT_LE(bytes, text.size());
        const auto bound = with_ds(text, "'2026-11-23'");
        EXPECT_TRUE(!bound || bound->size() >= text.size()) << text;
    }
}

}  // namespace
}  // namespace px::source
