// ObjectStore in a container of Azure Blob Storage / ADLS Gen2. Rank 2; relies on capi/curl and
// store/cache. Thread-safe, and safe between machines. An object is a block blob below the
// address's path. Large objects go up and down in blocks, several at once, in bounded memory.
// Besides the port's errors: Unauthenticated, RateLimited; OutcomeUnknown of put_if_absent when
// neither a reply nor reading back tells who wrote. Keys must be well-formed UTF-8 without control
// characters (InvalidArgument).
#pragma once

#include <memory>
#include <mutex>
#include <unordered_map>

#include "store/azure/blob_client.h"
#include "store/cache/file_cache.h"
#include "store/object_store.h"

namespace px::store {

struct AzureObjectStoreOptions {
    capi::curl::HttpClientOptions http;
    capi::curl::RetryOptions retry;
    /// Objects up to this size are written by one request.
    int64_t single_put_bytes_max = int64_t{8} << 20;
    /// One block; grows when an object would need more than 50,000 of them.
    int64_t block_bytes = int64_t{8} << 20;
    /// Blocks of one object under way at once. Memory of an upload: block_bytes times this.
    size_t blocks_in_flight = 4;
    /// Pages of 5,000 that one listing may have.
    size_t list_pages_max = 4'000;

    Result<void> validate() const;
};

class AzureObjectStore final : public ObjectStore {
  public:
    AzureObjectStore(AzureAddress address, AzureCredentials credentials, FileCacheOptions cache,
                     AzureObjectStoreOptions options = {});

    std::string url() const override { return client_.address().url; }
    /// Free bytes are those the cache may still take.
    Result<ServiceFacts> facts() const override;
    /// Says so in the log when it creates the container.
    Result<bool> ensure_container() override;
    Result<std::optional<ObjectMeta>> head(std::string_view key) const override;
    Result<std::string> get(std::string_view key) const override;
    Result<std::string> get_range(std::string_view key, int64_t offset,
                                  int64_t length) const override;
    Result<void> put(std::string_view key, std::string_view bytes) override;
    Result<void> put_if_absent(std::string_view key, std::string_view bytes) override;
    /// The file goes into the cache when it stands on the same file system.
    Result<void> put_file(std::string_view key, const std::filesystem::path& file) override;
    Result<std::vector<ObjectMeta>> list(std::string_view prefix,
                                         std::string_view start_after = {}) const override;
    Result<void> remove(std::string_view key) override;
    /// A copy in the cache, verified when this process first uses it. For objects that are not
    /// replaced: a copy is looked up by its ETag once in a process, and not again.
    Result<std::filesystem::path> local_path(std::string_view key) const override;

  private:
    struct Source;
    Result<BlobProperties> upload(std::string_view name, const Source& source,
                                  const WriteCondition& condition, CachedFile* digests);
    Result<void> download(const std::string& name, const BlobProperties& properties,
                          int descriptor) const;
    CachedFile cached_file(std::string_view key, const BlobProperties& properties) const;
    void forget(std::string_view key) const;

    AzureObjectStoreOptions options_;
    /// Its methods change connections and tokens alone.
    mutable BlobClient client_;
    mutable FileCache cache_;
    mutable std::mutex mutex_;
    /// What local_path() has learnt of keys. Bounded; see local_path.
    mutable std::unordered_map<std::string, BlobProperties> known_;
};

}  // namespace px::store
