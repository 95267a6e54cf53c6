#include "contract/acl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

namespace px::contract {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Acl, IsGroupsBetweenCommas) {
    EXPECT_THAT(parse_acl("finance"), ElementsAre("finance"));
    EXPECT_THAT(parse_acl(" finance ,\tboard\r\n,finance"), ElementsAre("board", "finance"));
    EXPECT_THAT(parse_acl("*"), ElementsAre("*"));
    EXPECT_THAT(parse_acl("a b, O'Neil \"x\", Zoë"), ElementsAre("O'Neil \"x\"", "Zoë", "a b"));
    EXPECT_THAT(parse_acl("Finance,finance"), ElementsAre("Finance", "finance"))
        << "case tells groups apart";
}

TEST(Acl, WithoutAGroupNamesNobody) {
    for (const char* text : {"", " ", ",", " , ,\t", "\n"}) EXPECT_THAT(parse_acl(text), IsEmpty());
}

TEST(Acl, OfAnyBytesIsWhatStandsBetweenTheCommas) {
    std::mt19937_64 random(20261123);
    for (int i = 0; i < 2'000; ++i) {
        std::string text;
        for (size_t n = random() % 30; n > 0; --n)
            text += ", \t\r\nab*\0\xC3\xA9\xFF"[random() % 13];
        std::set<std::string> expected;
        std::string piece;
        for (const char c : text + ",") {
            if (c != ',') {
                piece += c;
                continue;
            }
            while (!piece.empty() && kAclBlanks.find(piece.back()) != std::string_view::npos)
                piece.pop_back();
            while (!piece.empty() && kAclBlanks.find(piece.front()) != std::string_view::npos)
                piece.erase(0, 1);
            if (!piece.empty()) expected.insert(piece);
            piece.clear();
        }
        EXPECT_EQ(parse_acl(text), std::vector<std::string>(expected.begin(), expected.end()))
            << "seed 20261123, " << i;
    }
}

}  // namespace
}  // namespace px::contract
