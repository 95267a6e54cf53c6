#include "store/open.h"

#include <gtest/gtest.h>

#include "testing/matchers.h"
#include "testing/temp_dir.h"

namespace px::store {
namespace {

using px::testing::IsError;
using px::testing::IsOk;

TEST(OpenStore, TheSchemeDecidesAndNothingIsSent) {
    px::testing::TempDir dir;
    OpenOptions options;
    options.base_folder = dir.path();
    options.azure.account_name = "acme";
    for (const char* url : {"./lake", "file:lake"}) {
        EXPECT_FALSE(is_remote_address(url));
        const auto store = open_object_store(url, options);
        ASSERT_THAT(store, IsOk());
        EXPECT_EQ((*store)->url(), url);
        EXPECT_THAT((*store)->ensure_container(), IsOk());
    }
    EXPECT_TRUE(std::filesystem::is_directory(dir / "lake"));
    for (const char* url : {"abfss://lake@acme.dfs.core.windows.net/x", "az://lake/x",
                            "https://acme.blob.core.windows.net/lake/x",
                            "http://127.0.0.1:9/devstoreaccount1/lake"}) {
        EXPECT_TRUE(is_remote_address(url));
        const auto store = open_object_store(url, options);
        ASSERT_THAT(store, IsOk()) << url;
        EXPECT_EQ((*store)->url(), url);
    }
}

TEST(OpenStore, WhatItCannotOpenIsNamed) {
    const OpenOptions options;
    EXPECT_THAT(open_object_store("s3://bucket/x", options),
                IsError(ErrorCode::InvalidArgument, "'s3:'"));
    EXPECT_THAT(open_object_store("az://lake/x", options),
                IsError(ErrorCode::InvalidArgument, "AZURE_STORAGE_ACCOUNT_NAME"));
    OpenOptions no_cache;
    no_cache.azure.account_name = "acme";
    no_cache.cache_folder.clear();
    EXPECT_THAT(open_object_store("az://lake/x", no_cache),
                IsError(ErrorCode::InvalidArgument, "no folder"));
}

}  // namespace
}  // namespace px::store
