#include "store/object_key.h"

#include <gtest/gtest.h>

#include <string>

#include "testing/matchers.h"

namespace px::store {
namespace {

using px::testing::IsError;
using px::testing::IsOk;

TEST(ObjectKey, AcceptsRelativeNamesOfAnyBytes) {
    for (const char* key :
         {"a", "a/b/c.parquet", "ds=2026-11-23/part-1", "a b", "x=A%2FA/p", "gr\xC3\xBC\xC3\x9F",
          "\xFF\xFE", "..a", "a..", "...", ".hidden", "a/.b"}) {
        EXPECT_THAT(validate_key(key), IsOk()) << key;
    }
    EXPECT_THAT(validate_key(std::string(255, 'x')), IsOk());
}

TEST(ObjectKey, RefusesWhatCouldLeaveTheContainerOrConfuseAStore) {
    for (const std::string& key :
         {std::string(), std::string("/a"), std::string("a//b"), std::string("a/"),
          std::string("."), std::string(".."), std::string("a/../b"), std::string("a/./b"),
          std::string("a/.."), std::string("a\0b", 3), std::string(".px-tmp-1-2-3"),
          std::string("a/.px-tmp-x/b"), std::string(256, 'x'),
          std::string(600, 'a') + "/" + std::string(600, 'b')}) {
        EXPECT_THAT(validate_key(key), IsError(ErrorCode::InvalidArgument)) << key;
    }
}

TEST(ObjectKey, APrefixMayBeEmptyOrStopInsideAPart) {
    for (const char* prefix : {"", "a", "a/", "a/b", ".", "a/.", "ds=2026"}) {
        EXPECT_THAT(validate_prefix(prefix), IsOk()) << prefix;
    }
    for (const char* prefix : {"/", "a//", "../", "..", "a/../", "./a"}) {
        EXPECT_THAT(validate_prefix(prefix), IsError(ErrorCode::InvalidArgument)) << prefix;
    }
}

}  // namespace
}  // namespace px::store
