#include "index/vector_store.h"

namespace px::index {

chunk::ChunkId identify(const Point& point) {
    const std::string date = point.created_at ? format_timestamp(*point.created_at) : std::string();
    return chunk::make_chunk_id({.source = point.source,
                                 .ds = point.ds,
                                 .document_id = point.document_id,
                                 .title = point.title,
                                 .author = point.author,
                                 .date = date,
                                 .category = point.category,
                                 .text = point.text,
                                 .span = point.span});
}

}  // namespace px::index
