// BlobClient: the operations of Azure's Blob service (REST) that a store needs, one container.
// Rank 2; relies on capi/curl. Thread-safe and blocking; each call repeats what is worth repeating.
// Errors of all methods: Unauthenticated (key, SAS or token refused; rights; disabled
// account), NotFound (container or blob), Unavailable and RateLimited (after the last attempt),
// Corrupt, InvalidArgument. Each is one line with the next step.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/service_facts.h"
#include "capi/curl/http_client.h"
#include "capi/curl/retry.h"
#include "store/azure/azure_address.h"
#include "store/azure/blob_auth.h"
#include "store/azure/blob_xml.h"

namespace px::store {

struct BlobProperties {
    int64_t size_bytes = 0;
    TimestampMicros modified_at = 0;
    std::string etag;
    std::string content_md5;  ///< 16 raw bytes, or empty
    std::string write_id;     ///< of the call that wrote it, when it was ours
};

/// When a write may happen.
struct WriteCondition {
    bool if_absent = false;
    std::string if_match{};  ///< the ETag it must have

    static WriteCondition always() { return {}; }
    static WriteCondition absent() { return {.if_absent = true}; }
    static WriteCondition matches(std::string etag) { return {.if_match = std::move(etag)}; }
};

class BlobClient {
  public:
    BlobClient(AzureAddress address, AzureCredentials credentials,
               capi::curl::HttpClientOptions http, capi::curl::RetryOptions retry);

    const AzureAddress& address() const { return address_; }
    const capi::curl::HttpClientOptions& http_options() const { return client_.options(); }

    /// What the service tells about itself, by looking at the container. Errors: NotFound.
    Result<ServiceFacts> facts();
    /// False: the container is not there. With a SAS that may not ask, a listing decides.
    Result<bool> container_exists();
    /// False: it was there already.
    Result<bool> create_container();

    /// nullopt: absent, or the mark of a folder.
    Result<std::optional<BlobProperties>> properties(std::string_view name);
    /// The whole blob.
    Result<std::string> get(std::string_view name);
    /// What the blob holds of [offset, offset + length): fewer bytes when it is shorter, none when
    /// offset is at or behind its end. length > 0. With a sink the bytes go there and the string
    /// stays empty. if_match: Conflict when the blob has another ETag by now.
    Result<std::string> get_range(std::string_view name, int64_t offset, int64_t length,
                                  const std::string& if_match = {},
                                  const capi::curl::BodySink& sink = nullptr);

    /// Atomic. A reply that was lost is decided by reading back: ours (by its write id), or
    /// AlreadyExists (if_absent), Conflict (if_match); OutcomeUnknown when that can't be known.
    Result<BlobProperties> put(std::string_view name, std::string_view bytes,
                               const WriteCondition& condition);
    /// Stages a block for put_blocks(); the same id again replaces it. Invisible until then.
    Result<void> put_block(std::string_view name, std::string_view block_id,
                           std::string_view bytes);
    /// Makes the staged blocks the blob, in this order; otherwise as put(). nullopt: another
    /// writer's commit dropped our blocks; stage them again.
    Result<std::optional<BlobProperties>> put_blocks(std::string_view name,
                                                     const std::vector<std::string>& block_ids,
                                                     const WriteCondition& condition,
                                                     std::string_view content_md5);

    /// Ok when it is absent.
    Result<void> remove(std::string_view name);
    /// One page of the blobs whose name begins with prefix; marker: empty, or next_marker.
    Result<ListPage> list(std::string_view prefix, std::string_view marker);

  private:
    struct Call;
    Result<capi::curl::RetriedResponse> send(const Call& call);
    Error failed(const Call& call, const capi::curl::RetriedResponse& reply) const;
    Result<std::optional<BlobProperties>> write(Call call, const WriteCondition& condition);

    AzureAddress address_;
    capi::curl::HttpClient client_;
    capi::curl::RetryOptions retry_;
    mutable BlobAuthorizer authorizer_;
};

}  // namespace px::store
