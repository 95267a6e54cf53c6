// Requests to one collection of a Qdrant server, repeated where that helps. Internal to the
// adapter. Thread-safe and blocking. All requests of px may be repeated: each names what it is
// about, so doing it twice is doing it once.
#pragma once

#include <atomic>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "index/qdrant/qdrant_store.h"
#include "index/qdrant/qdrant_wire.h"

namespace px::index::qdrant {

class QdrantClient {
  public:
    explicit QdrantClient(QdrantOptions options);

    const QdrantOptions& options() const { return options_; }
    /// "collection 'news' at http://127.0.0.1:6333"
    std::string describe() const;

    /// The "result" of a request below /collections/NAME ("" or "/points/query/batch"). body: JSON,
    /// or empty. what: "search", for messages. Errors: as told in qdrant_store.h.
    Result<json::value> call(std::string_view method, std::string_view path, std::string_view body,
                             std::string_view what, const Deadline& deadline);
    Result<json::value> call(std::string_view method, std::string_view path,
                             const json::object& body, std::string_view what,
                             const Deadline& deadline) {
        return call(method, path, json::serialize(body), what, deadline);
    }
    /// Ok when the server answers, lets us in and is new enough; asks once.
    Result<void> check_server(const Deadline& deadline);

  private:
    Result<capi::curl::RetriedResponse> send(std::string_view method, const std::string& url,
                                             std::string_view body, const Deadline& deadline);
    Error failed(const capi::curl::RetriedResponse& reply, std::string_view what) const;

    QdrantOptions options_;
    capi::curl::HttpClient client_;
    std::string root_;  ///< URL of the collection
    std::atomic<bool> checked_ = false;
};

}  // namespace px::index::qdrant
