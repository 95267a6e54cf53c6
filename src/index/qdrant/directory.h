// The list of a release's points, kept in the collection as parts and held in memory by whoever
// opens the release: it answers everything that needs no text and no vector. Internal to the
// adapter. Immutable once built; any thread. Parts come from outside: Corrupt when they disagree.
#pragma once

#include <boost/json.hpp>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "index/qdrant/qdrant_wire.h"

namespace px::index::qdrant {

struct Row {
    RawId id{};
    Digest digest{};
    int64_t generation = 0;  ///< that added it
    uint32_t length = 0;     ///< terms
    /// Places of texts in Directory::names().
    uint32_t document = 0, source = 0, author_folded = 0, category_folded = 0;
    int64_t start = 0;
    int64_t created_at = kNoDate;
};

class Directory {
  public:
    /// Rows ascend by id. Not yet usable for the questions below until finish().
    const std::vector<Row>& rows() const { return rows_; }
    std::string_view name(uint32_t place) const { return names_[place]; }
    uint32_t intern(std::string_view name);

    /// Takes removed ids out and adds rows, whose names are interned. Errors: none; an id that is
    /// both is added.
    void change(std::vector<RawId> removed, std::vector<Row> added);
    /// Prepares what follows.
    void finish();

    std::optional<uint32_t> find(const RawId& id) const;
    std::optional<uint32_t> find_uuid(const Uuid& id) const;
    Uuid uuid(uint32_t row) const { return chunk_uuid(rows_[row].id, rows_[row].generation); }
    /// SHA-256 over ids, digests and generations, in hexadecimal digits.
    std::string checksum() const;
    uint64_t total_length() const { return total_length_; }

    // Documents by number, ascending by their id.
    size_t document_count() const { return documents_.size(); }
    std::string_view document_name(uint32_t number) const { return names_[documents_[number]]; }
    uint32_t document_of(uint32_t row) const { return document_of_[row]; }
    uint32_t document_length(uint32_t number) const { return document_lengths_[number]; }
    std::optional<uint32_t> find_document(std::string_view id) const;
    /// By span.start, then id.
    std::span<const uint32_t> rows_of(uint32_t number) const;

    /// The rows of the documents that pass, and nothing that tells of others; finished.
    Directory of_documents(const std::function<bool(std::string_view id)>& admits) const;

    /// Which rows pass; empty: all.
    std::vector<bool> allowed(const FoldedFilter& folded) const;

  private:
    std::vector<Row> rows_;
    std::vector<std::string> names_;
    std::unordered_map<std::string, uint32_t> places_;
    std::unordered_map<Uuid, uint32_t, UuidHash> by_uuid_;
    std::vector<uint32_t> documents_, document_of_, document_lengths_, first_row_, document_rows_;
    uint64_t total_length_ = 0;
};

/// What one generation changes, cut into the payloads of its parts: at least one, each of at most
/// rows_max rows. first_part counts the parts of that generation that stand before.
std::vector<boost::json::object> format_parts(const Directory& names, std::span<const Row> added,
                                              std::span<const RawId> removed, int64_t generation,
                                              size_t rows_max);

/// A part's changes, its names interned in directory. Errors: Corrupt.
struct Part {
    std::vector<Row> added;
    std::vector<RawId> removed;
};
Result<Part> parse_part(const boost::json::object& payload, Directory& directory);

/// A release, as its point in the collection says.
struct Manifest {
    std::string id;
    int64_t generation = 0;
    Chain chain;  ///< ends with generation
    int64_t width = 0;
    int64_t point_count = 0;
    std::string checksum;  ///< of the directory
    /// Directory parts in the order in which they apply: generation and how many.
    std::vector<std::pair<int64_t, int64_t>> parts;
    int64_t full_rows = 0;   ///< rows of the first entry of parts
    int64_t delta_rows = 0;  ///< rows added and removed by the others
};
boost::json::object format_manifest(const Manifest& manifest);
/// Errors: Corrupt.
Result<Manifest> parse_manifest(const boost::json::object& payload);

}  // namespace px::index::qdrant
