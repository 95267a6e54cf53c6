#include "store/azure/azure_object_store.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <fstream>

#include "base/sha256.h"
#include "capi/curl/digest.h"
#include "store/azure/test_azurite.h"
#include "store/conformance.h"

namespace px::store {
namespace {

using px::testing::IsError;
using px::testing::IsOk;
using px::testing::read_file;
using px::testing::TempDir;
using px::testing::write_file;

std::unique_ptr<ObjectStore> open_azurite(const std::filesystem::path& scratch, std::string path,
                                          AzureObjectStoreOptions options) {
    auto store = std::make_unique<AzureObjectStore>(
        azurite_address(new_container(), path), azurite_credentials(),
        FileCacheOptions{.folder = scratch / "cache"}, std::move(options));
    EXPECT_TRUE(store->ensure_container().value());
    return store;
}

AzureObjectStoreOptions small_blocks() {
    AzureObjectStoreOptions options = quick_options();
    options.single_put_bytes_max = 100;
    options.block_bytes = 1 << 20;
    return options;
}

INSTANTIATE_TEST_SUITE_P(Azure, ObjectStoreConformance,
                         ::testing::Values(StoreUnderTest{"Root",
                                                          [](const std::filesystem::path& scratch) {
                                                              return open_azurite(scratch, "",
                                                                                  quick_options());
                                                          },
                                                          true},
                                           StoreUnderTest{"BelowAPathInBlocks",
                                                          [](const std::filesystem::path& scratch) {
                                                              return open_azurite(scratch,
                                                                                  "deep/er",
                                                                                  small_blocks());
                                                          },
                                                          true}),
                         conformance_name);

class Azure : public ::testing::Test {
  protected:
    std::unique_ptr<AzureObjectStore> open(const std::string& container,
                                           const AzureCredentials& credentials,
                                           AzureObjectStoreOptions options = quick_options()) {
        return std::make_unique<AzureObjectStore>(azurite_address(container), credentials,
                                                  FileCacheOptions{.folder = dir_ / "cache"},
                                                  std::move(options));
    }
    TempDir dir_;
};

TEST_F(Azure, AMissingContainerIsNamedAndThenMade) {
    const std::string container = new_container();
    const auto store = open(container, azurite_credentials());
    EXPECT_THAT(store->put("a", "1"),
                IsError(ErrorCode::NotFound, "container '" + container + "'"));
    EXPECT_THAT(store->get("a"), IsError(ErrorCode::NotFound, "container"));
    EXPECT_THAT(store->head("a"), IsError(ErrorCode::NotFound, "container"));
    EXPECT_THAT(store->list(""), IsError(ErrorCode::NotFound, "px run creates it"));
    EXPECT_THAT(store->remove("a"), IsError(ErrorCode::NotFound, "container"));
    ::testing::internal::CaptureStderr();
    EXPECT_TRUE(store->ensure_container().value());
    EXPECT_NE(::testing::internal::GetCapturedStderr().find("store.container_created container=" +
                                                            container),
              std::string::npos);
    EXPECT_FALSE(store->ensure_container().value());
    EXPECT_THAT(store->put("a", "1"), IsOk());
}

TEST_F(Azure, AWrongKeyIsToldAndNeverShown) {
    AzureCredentials wrong = azurite_credentials();
    wrong.account_key = "d3Jvbmcga2V5IHdyb25nIGtleQ==";
    const auto store = open(new_container(), wrong);
    const auto made = store->ensure_container();
    ASSERT_THAT(made, IsError(ErrorCode::Unauthenticated, "refuses the account key"));
    EXPECT_NE(made.error().hint.find("AZURE_STORAGE_ACCOUNT_KEY"), std::string::npos);
    EXPECT_EQ(made.error().to_string().find(wrong.account_key), std::string::npos);
    EXPECT_THAT(store->get("a"), IsError(ErrorCode::Unauthenticated));
    EXPECT_THAT(store->put_if_absent("a", "1"), IsError(ErrorCode::Unauthenticated));
}

TEST_F(Azure, AnUnknownHostIsToldFromASilentOne) {
    AzureCredentials credentials = azurite_credentials();
    credentials.account_name = "pxnosuchaccount";
    AzureObjectStore store(
        parse_azure_address("abfss://lake@pxnosuchaccount.dfs.core.invalid/x", credentials).value(),
        credentials, FileCacheOptions{.folder = dir_ / "cache"}, quick_options());
    EXPECT_THAT(store.ensure_container(),
                IsError(ErrorCode::Unavailable, "pxnosuchaccount.blob.core.invalid is unknown"));
    AzureObjectStore silent(azurite_address("lake", "", 9), azurite_credentials(),
                            FileCacheOptions{.folder = dir_ / "cache"}, quick_options());
    EXPECT_THAT(silent.ensure_container(),
                IsError(ErrorCode::Unavailable, "no connection to http://127.0.0.1:9"));
}

/// An account SAS: what the portal makes. Source: Microsoft's "Create an account SAS".
std::string account_sas(const std::string& permissions, const std::string& expiry) {
    const AzureCredentials owner = azurite_credentials();
    const std::string version = "2020-08-04";
    const std::string text = owner.account_name + "\n" + permissions + "\nb\nsco\n\n" + expiry +
                             "\n\nhttps,http\n" + version + "\n";
    const std::string signature = capi::curl::base64_encode(
        capi::curl::hmac_sha256(capi::curl::base64_decode(owner.account_key).value(), text));
    return "sv=" + version + "&ss=b&srt=sco&spr=https%2Chttp&sp=" + permissions +
           "&se=" + capi::curl::percent_encode(expiry) +
           "&sig=" + capi::curl::percent_encode(signature);
}

TEST_F(Azure, ASasTokenOpensWhatItAllowsAndNoMore) {
    const std::string container = new_container();
    AzureCredentials sas;
    sas.account_name = azurite_credentials().account_name;
    sas.sas_token = account_sas("rwdlac", "2099-01-01T00:00:00Z");
    const auto full = open(container, sas);
    EXPECT_TRUE(full->ensure_container().value());
    ASSERT_THAT(full->put_if_absent("a b/c", "1"), IsOk());
    EXPECT_EQ(full->get("a b/c").value(), "1");
    EXPECT_EQ(full->list("a").value().size(), 1U);

    sas.sas_token = account_sas("rl", "2099-01-01T00:00:00Z");
    const auto reader = open(container, sas);
    EXPECT_FALSE(reader->ensure_container().value());
    EXPECT_EQ(reader->get("a b/c").value(), "1");
    const auto refused = reader->put("x", "1");
    EXPECT_THAT(refused,
                IsError(ErrorCode::Unauthenticated, "does not allow it to this SAS token"));
    EXPECT_EQ(refused.error().to_string().find("sig="), std::string::npos);

    sas.sas_token = account_sas("rwdlac", "2001-01-01T00:00:00Z");
    const auto late = open(container, sas)->get("a b/c");
    EXPECT_FALSE(late.has_value());
    EXPECT_THAT(late, IsError(ErrorCode::Unauthenticated, "SAS"));
    EXPECT_EQ(late.error().to_string().find("sig="), std::string::npos);
}

TEST_F(Azure, AListingGoesOnWhereAPageEnds) {
    const auto store = open(new_container(), azurite_credentials());
    ASSERT_TRUE(store->ensure_container().value());
    // One page holds 5,000.
    constexpr int kCount = 5'100;
    std::atomic<int> next{0};
    {
        std::vector<std::jthread> writers;
        for (int i = 0; i < 8; ++i) {
            writers.emplace_back([&] {
                for (int n; (n = next++) < kCount;)
                    EXPECT_THAT(store->put("many/" + std::to_string(100'000 + n), "x"), IsOk());
            });
        }
    }
    const auto listed = store->list("many/");
    ASSERT_THAT(listed, IsOk());
    ASSERT_EQ(listed->size(), static_cast<size_t>(kCount));
    EXPECT_EQ(listed->front().key, "many/100000");
    EXPECT_EQ(listed->back().key, "many/105099");
    EXPECT_EQ(store->list("many/", "many/105089").value().size(), 10U);
    AzureObjectStoreOptions one_page = quick_options();
    one_page.list_pages_max = 1;
    AzureObjectStore bounded(azurite_address(store->url().substr(store->url().rfind('/') + 1)),
                             azurite_credentials(), FileCacheOptions{.folder = dir_ / "cache"},
                             one_page);
    EXPECT_THAT(bounded.list("many/"), IsError(ErrorCode::ResourceExhausted, "more than 1 pages"));
}

TEST_F(Azure, AConditionalReplaceFailsOnceAnotherWroteInBetween) {
    const std::string container = new_container();
    BlobClient client(azurite_address(container), azurite_credentials(), {}, {});
    ASSERT_TRUE(client.create_container().value());
    const auto first = client.put("a", "1", WriteCondition::absent());
    ASSERT_THAT(first, IsOk());
    const auto second = client.put("a", "2", WriteCondition::matches(first->etag));
    ASSERT_THAT(second, IsOk());
    EXPECT_NE(first->etag, second->etag);
    EXPECT_THAT(client.put("a", "3", WriteCondition::matches(first->etag)),
                IsError(ErrorCode::Conflict, "changed by another writer"));
    EXPECT_EQ(client.get("a").value(), "2");
    EXPECT_THAT(client.get_range("a", 0, 1, first->etag), IsError(ErrorCode::Conflict));
}

TEST_F(Azure, FoldersOfAHierarchicalNamespaceAreNoObjects) {
    // Such accounts show folders as empty blobs with this mark.
    const std::string container = new_container();
    const auto store = open(container, azurite_credentials());
    ASSERT_TRUE(store->ensure_container().value());
    capi::curl::HttpClient http({});
    BlobAuthorizer authorizer(azurite_credentials(), px::testing::kAzuriteAccount, {}, {});
    capi::curl::HttpRequest mark{
        .method = "PUT",
        .url = azurite_address(container).endpoint + "/" + container + "/folder",
        .headers = {{"x-ms-blob-type", "BlockBlob"}, {"x-ms-meta-hdi_isfolder", "true"}}};
    ASSERT_THAT(authorizer.authorize(mark, {}, Deadline::never()), IsOk());
    ASSERT_EQ(http.send(mark).status, 201);
    ASSERT_THAT(store->put("folder/a", "1"), IsOk());
    EXPECT_FALSE(store->head("folder").value().has_value());
    EXPECT_THAT(store->get("folder"), IsError(ErrorCode::NotFound, "folder"));
    EXPECT_THAT(store->local_path("folder"), IsError(ErrorCode::NotFound));
    const auto listed = store->list("").value();
    ASSERT_EQ(listed.size(), 1U);
    EXPECT_EQ(listed[0].key, "folder/a");
}

TEST_F(Azure, TwoHundredMegabytesGoUpAndDownInBoundedMemory) {
    const auto store = open(new_container(), azurite_credentials());
    ASSERT_TRUE(store->ensure_container().value());
    constexpr int64_t kSize = 200'000'000;
    const std::filesystem::path file = dir_ / "big.parquet";
    Sha256 whole;
    {
        std::ofstream out(file, std::ios::binary);
        std::string piece(1'000'000, '\0');
        uint64_t state = 7;
        for (int64_t done = 0; done < kSize; done += static_cast<int64_t>(piece.size())) {
            for (char& c : piece) {
                state = state * 6364136223846793005U + 1442695040888963407U;
                c = static_cast<char>(state >> 56);
            }
            whole.update(piece);
            out.write(piece.data(), static_cast<std::streamsize>(piece.size()));
        }
    }
    const std::string expected = to_hex(whole.finish());
    const auto peak_bytes = [] {
        struct rusage usage {};
        ::getrusage(RUSAGE_SELF, &usage);
        return int64_t{usage.ru_maxrss} * 1024;
    };
    const int64_t before = peak_bytes();
    const auto start = std::chrono::steady_clock::now();
    ASSERT_THAT(store->put_file("big/b.parquet", file), IsOk());
    const auto stored = std::chrono::steady_clock::now();
    EXPECT_FALSE(std::filesystem::exists(file));
    EXPECT_EQ(store->head("big/b.parquet").value()->size_bytes, kSize);
    std::filesystem::remove_all(dir_ / "cache");  // so that it is fetched
    const auto begun = std::chrono::steady_clock::now();
    const auto path = store->local_path("big/b.parquet");
    const auto fetched = std::chrono::steady_clock::now();
    ASSERT_THAT(path, IsOk());
    EXPECT_LT(peak_bytes() - before, int64_t{100} << 20);
    const auto rate = [](auto duration) {
        return static_cast<double>(kSize) / 1e6 / std::chrono::duration<double>(duration).count();
    };
    RecordProperty("upload_mb_per_s", static_cast<int>(rate(stored - start)));
    RecordProperty("download_mb_per_s", static_cast<int>(rate(fetched - begun)));
    RecordProperty("memory_mb", static_cast<int>((peak_bytes() - before) >> 20));
    Sha256 again;
    std::ifstream in(*path, std::ios::binary);
    std::string piece(1'000'000, '\0');
    while (in.read(piece.data(), static_cast<std::streamsize>(piece.size())) || in.gcount() > 0)
        again.update(std::string_view(piece.data(), static_cast<size_t>(in.gcount())));
    EXPECT_EQ(to_hex(again.finish()), expected);
}

TEST_F(Azure, AStoredFileIsReadWithoutBeingFetched) {
    const auto store = open(new_container(), azurite_credentials());
    ASSERT_TRUE(store->ensure_container().value());
    write_file(dir_ / "part", "rows");
    ASSERT_THAT(store->put_file("t/part.parquet", dir_ / "part"), IsOk());
    FileCache cache({.folder = dir_ / "cache"});
    EXPECT_GT(cache.used_bytes().value(), 4);
    const auto path = store->local_path("t/part.parquet");
    ASSERT_THAT(path, IsOk());
    EXPECT_EQ(path->parent_path(), dir_ / "cache");
    EXPECT_EQ(read_file(*path), "rows");
}

}  // namespace
}  // namespace px::store
