// The VectorStore over Qdrant's REST interface (server 1.10 or newer): one collection for each
// pipeline, releases told apart by numbers in the payload. Rank 2; relies on capi/curl.
// Thread-safe. Specification: docs/formats/qdrant.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "capi/curl/http_client.h"
#include "capi/curl/retry.h"
#include "index/vector_store.h"

namespace px::index {

struct QdrantOptions {
    std::string url;         ///< "http://127.0.0.1:6333", without a '/' at the end
    std::string collection;  ///< made by the first apply()
    std::string api_key;     ///< sent with each request; never printed
    capi::curl::HttpClientOptions http;
    capi::curl::RetryOptions retry;
    size_t requests_in_flight = 4;              ///< of one apply(), open() or search
    size_t batch_points = 512;                  ///< of one upsert, at most
    size_t batch_bytes = size_t{4} << 20;       ///< of one upsert, about; the server takes 32 MiB
    size_t directory_rows = 8192;               ///< of one point of a release's directory
    size_t fetch_points = 512;                  ///< read by one request
    size_t vector_cache_bytes = 128ULL << 20;   ///< of one view
    size_t posting_cache_bytes = 128ULL << 20;  ///< of one view
    Result<void> validate() const;
};

/// Nothing is sent yet. Errors: InvalidArgument (options; a key over http to another machine).
///
/// Beyond the port: apply() asks of points what the embedded store asks. Besides the port's errors:
/// Unavailable, RateLimited, Unauthenticated, DeadlineExceeded; InvalidArgument when the collection
/// has vectors of another width or is no collection of px, or the server is too old; NotFound when
/// it was deleted. Neither two apply() at once nor vacuum() beside apply(): the caller holds the
/// pipeline's lock. Memory of an open view: about 150 bytes a point, and its caches.
Result<std::unique_ptr<VectorStore>> open_qdrant_store(QdrantOptions options);

}  // namespace px::index
