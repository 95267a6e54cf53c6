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

Result<HybridHits> CollectionView::search_hybrid(const std::vector<float>& vector,
                                                 std::string_view text, size_t top_k,
                                                 const Filter& filter,
                                                 const Deadline& deadline) const {
    HybridHits hits;
    hits.dense = PX_TRY(search_dense(vector, top_k, filter, deadline));
    hits.lexical = PX_TRY(search_lexical(text, top_k, filter, deadline));
    hits.documents = PX_TRY(search_documents(text, top_k, filter, deadline));
    return hits;
}

Result<Point> CollectionView::point(uint64_t handle, const Deadline& deadline) const {
    std::vector<Point> found = PX_TRY(points({handle}, deadline));
    return std::move(found.front());
}

}  // namespace px::index
