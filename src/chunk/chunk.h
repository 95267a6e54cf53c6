// Chunk: a piece of a document's text, small enough to embed, with its exact place in the source
// text. Rank 2. Values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace px::chunk {

/// 32 lower-case hexadecimal digits: the first 16 bytes of a SHA-256 over everything a citation
/// shows (see make_chunk_id). Equal content in equal context has an equal id, in any run on any
/// machine.
struct ChunkId {
    std::string value;
    auto operator<=>(const ChunkId&) const = default;
};

/// A chunk's place: bytes [start, end) of the document's UTF-8 text.
struct Span {
    int64_t start = 0;
    int64_t end = 0;
    bool operator==(const Span&) const = default;
};

struct SplitterOptions {
    int64_t size = 500;    ///< code points a chunk at most (unless one separator-free piece is kept
                           ///< whole by separators without "")
    int64_t overlap = 50;  ///< code points that neighbouring chunks may share; less than size
    std::vector<std::string> separators{"\n\n", "\n", " ",
                                        ""};  ///< tried in order; "" = any code point
    Result<void> validate() const;
};

/// Splits text as langchain-text-splitters' RecursiveCharacterTextSplitter does with the same
/// options and its other defaults (keep_separator, strip_whitespace): same pieces in the same
/// order, here as spans into text. text: well-formed UTF-8. Errors: InvalidArgument (bad options).
/// O(text) time for sane separators; any thread.
Result<std::vector<Span>> split(std::string_view text, const SplitterOptions& options);

/// Identity of a chunk: hash over the parts, each length-prefixed. Changing any part makes another
/// chunk.
struct ChunkIdentity {
    std::string_view source, ds, document_id, title, author, date, category, text;
    Span span;
    /// Who may read it, as its groups joined by commas; nullopt, which everybody may read, is not
    /// part of the hash.
    std::optional<std::string_view> acl = std::nullopt;
};
ChunkId make_chunk_id(const ChunkIdentity& identity);

/// What is embedded for a chunk: "title\ntext" with the title when there is one. Its SHA-256 is the
/// content hash under which vectors are cached.
std::string embedding_text(std::string_view title, std::string_view chunk_text);

}  // namespace px::chunk
