// Opens the VectorStore an address of the configuration means: `embedded:ADDRESS` or a Qdrant
// server. Rank 2. Any thread. The forms: docs/formats/addresses.md.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "index/embedded/embedded_store.h"
#include "index/qdrant/qdrant_store.h"
#include "index/vector_store.h"
#include "store/object_store.h"

namespace px::index {

/// An address taken apart, without touching what it names.
struct VectorsAddress {
    enum class Kind { Embedded, Qdrant };
    Kind kind = Kind::Embedded;
    std::string objects;     ///< of Embedded: address of the store that holds the segments
    std::string url;         ///< of Qdrant: "http://127.0.0.1:6333"
    std::string collection;  ///< of Qdrant
    std::string api_key;     ///< of Qdrant; never shown
    std::string shown;       ///< what may be shown, and tells stores apart
};

/// Looks a name up in the environment or .env; nullopt or "" when it is not set.
using VariableLookup = std::function<std::optional<std::string>(std::string_view name)>;

///   embedded:./index  embedded:abfss://…             segments in an ObjectStore
///   http://HOST:6333/COLLECTION  https://…           Qdrant; without COLLECTION: the pipeline's
///   name qdrant:  qdrant:COLLECTION                       Qdrant at QDRANT_HOST and QDRANT_PORT
/// The key is QDRANT_API_KEY. Errors: InvalidArgument, showing no part that may be a secret.
Result<VectorsAddress> parse_vectors_address(std::string_view address, std::string_view pipeline,
                                             const VariableLookup& lookup);

/// objects: what address.objects means, and outlives the store; null for Qdrant.
Result<std::unique_ptr<VectorStore>> open_vector_store(const VectorsAddress& address,
                                                       store::ObjectStore* objects,
                                                       EmbeddedOptions embedded);

}  // namespace px::index
