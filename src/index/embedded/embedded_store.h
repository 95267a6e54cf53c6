// The embedded VectorStore: immutable segment files and manifests over an ObjectStore, read by
// mmap. Rank 2. Thread-safe. Specifications: docs/formats/segment.md, docs/formats/manifest.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/result.h"
#include "index/vector_store.h"
#include "store/object_store.h"

namespace px::index {

struct EmbeddedOptions {
    std::string prefix;  ///< of every key, "" or ending in '/'
    /// Where segments are written before they are handed to the store; empty: the system's folder
    /// for temporary files. On the same file system as a local store the hand-over is a rename.
    std::filesystem::path scratch_directory;
    size_t segments_max = 8;               ///< more are merged: bounds what a search visits
    double deleted_ratio_max = 0.25;       ///< a segment with more deleted points is rewritten
    size_t segment_points_max = 262'144;   ///< bounds memory while writing, about 0.5 KB a point
                                           ///< plus 12 bytes a term occurrence
    size_t graph_points_min = 20'000;      ///< smaller segments have no graph: they are scanned
    size_t thread_count = 0;               ///< that build a graph; 0: one per hardware thread
    uint64_t verify_bytes = 256ULL << 20;  ///< of vectors, text and postings checked when a view is
                                           ///< opened; the rest before its first search
    std::string kernel;  ///< "" picks the best supported; "scalar", "avx2", "avx512vnni" forces one
    Result<void> validate() const;
};

/// store outlives the VectorStore and its views. Nothing is read or written yet. Errors:
/// InvalidArgument (options).
///
/// Beyond the port: apply() wants chunk ids of 32 hexadecimal digits, finite vectors of one width
/// (that of the base) and well-formed UTF-8 (InvalidArgument otherwise); an added point that equals
/// the living one of its id changes nothing. search_lexical gives nothing for a query without
/// terms. Errors of searches: InvalidArgument (width, not finite), Corrupt, DeadlineExceeded,
/// Cancelled. vacuum() must not run while apply() does or while a run has applied what it has not
/// published, and deletes nothing unless every manifest of keep can be read.
Result<std::unique_ptr<VectorStore>> open_embedded_store(store::ObjectStore& store,
                                                         EmbeddedOptions options = {});

/// Reads every byte a manifest refers to and compares it with its name and checksums: what `px
/// doctor` does. Errors: NotFound, Corrupt. Cost: SHA-256 over the segments.
Result<void> check_embedded(store::ObjectStore& store, const EmbeddedOptions& options,
                            const ManifestId& manifest);

}  // namespace px::index
