// A segment file, mapped into memory and checked. Specification: docs/formats/segment.md.
// Immutable after open; any thread. Views share one Segment.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "index/embedded/graph.h"
#include "index/point_rules.h"
#include "index/vector_store.h"

namespace px::index {

enum class SectionKind : uint32_t {
    Ids = 1,
    Codes,
    Scales,
    Vectors,
    Spans,
    Created,
    Text,
    IdOrder,
    DocumentNames = 10,
    DocumentCodes,
    SourceNames,
    SourceCodes,
    DsNames,
    DsCodes,
    TitleNames,
    TitleCodes,
    AuthorNames,
    AuthorCodes,
    CategoryNames,
    CategoryCodes,
    DocumentFirst = 22,
    Terms = 30,
    TermIndex,
    Postings,
    Lengths,
    Positions,
    Graph = 40
};

inline constexpr std::string_view kSegmentMagic = "PXSEGM01";
inline constexpr std::string_view kSegmentEndMagic = "PXSEGEND";
inline constexpr uint32_t kSegmentVersion = 3;
inline constexpr size_t kSegmentHeaderBytes = 64;
inline constexpr size_t kSegmentTailBytes = 64;
inline constexpr size_t kSectionEntryBytes = 32;
inline constexpr size_t kSectionAlignment = 64;

/// A string table in mapped memory.
class StringTable {
  public:
    size_t size() const { return count_; }
    std::string_view operator[](size_t i) const {
        return {bytes_ + offsets_[i], offsets_[i + 1] - offsets_[i]};
    }
    /// Place of a value in a table whose values ascend. O(log size).
    std::optional<uint32_t> find(std::string_view value) const;
    /// Errors: Corrupt, with what in the message.
    enum class Order { Any, Ascending };
    static Result<StringTable> parse(std::span<const uint8_t> section, Order order,
                                     std::string_view what);

  private:
    uint64_t count_ = 0;
    const uint64_t* offsets_ = nullptr;
    const char* bytes_ = nullptr;
};

/// A dictionary-coded payload column.
struct Column {
    StringTable names;
    std::span<const uint32_t> codes;
    std::string_view at(size_t ordinal) const { return names[codes[ordinal]]; }
};

inline constexpr size_t kPostingsBlock = 128;
/// Of a term with more than one block: before its data, one for each.
struct PostingsBlock {
    uint32_t last;       ///< ordinal
    uint32_t end;        ///< of its bytes, from the first byte after the heads
    uint32_t positions;  ///< begin of its positions, from the term's first
    uint32_t length_min;
    uint32_t frequency_max;
};
static_assert(sizeof(PostingsBlock) == 20);

struct TermPostings {
    uint32_t df = 0;
    std::span<const uint8_t> bytes, positions;
};

/// One term's postings, a block at a time, decoded with bounds checks.
class PostingsReader {
  public:
    PostingsReader(const TermPostings& postings, uint32_t point_count);
    /// Decodes the next block. False at the end, or at bytes that are none (then corrupt()).
    bool next() { return load(block_ + 1); }
    /// Decodes the first block at or after this one that may hold an ordinal of at least target.
    /// The same results.
    bool seek(uint32_t target);
    size_t size() const { return size_; }
    const uint32_t* ordinals() const { return ordinals_.data(); }  ///< strictly ascending
    const uint32_t* frequencies() const { return frequencies_.data(); }
    /// Places of the term in the i-th point of the block, ascending. i ascends between calls for a
    /// block. Empty when the bytes are no places (then corrupt()).
    void positions(size_t i, std::vector<uint32_t>& places);
    bool corrupt() const { return corrupt_; }

  private:
    bool load(size_t block);
    bool fail();
    PostingsBlock head(size_t block) const;

    TermPostings postings_;
    uint32_t point_count_;
    size_t block_count_ = 0;
    size_t block_ = SIZE_MAX;  ///< the one decoded
    size_t size_ = 0;
    size_t place_ = 0;  ///< of the block: positions before it are read
    const uint8_t* positions_at_ = nullptr;
    bool corrupt_ = false;
    std::array<uint32_t, kPostingsBlock> ordinals_, frequencies_;
};

class Segment {
  public:
    /// Maps a file of exactly size bytes. name: 64 hex digits, for messages. verify_bytes: how much
    /// of the large sections is verified now; lowered by what was used. Errors: NotFound,
    /// Forbidden, Corrupt.
    static Result<std::shared_ptr<const Segment>> open(const std::filesystem::path& file,
                                                       std::string name, uint64_t size,
                                                       uint64_t& verify_bytes);
    /// Over bytes of the caller that outlive the segment and are 64-byte aligned; for tests and
    /// fuzzing.
    static Result<std::shared_ptr<const Segment>> parse(std::span<const uint8_t> bytes,
                                                        std::string name, uint64_t& verify_bytes);
    ~Segment();
    Segment(const Segment&) = delete;
    Segment& operator=(const Segment&) = delete;

    const std::string& name() const { return name_; }
    uint64_t size_bytes() const { return bytes_.size(); }
    uint32_t point_count() const { return point_count_; }
    size_t width() const { return width_; }
    size_t stride() const { return stride_; }
    float error_max() const { return error_max_; }
    float norm_max() const { return norm_max_; }

    const RawId& id(size_t ordinal) const { return ids_[ordinal]; }
    std::optional<uint32_t> find(const RawId& id) const;
    const uint8_t* codes() const { return codes_; }
    const float* scales() const { return scales_; }
    const float* vector(size_t ordinal) const { return vectors_ + ordinal * width_; }
    /// The vector's values, at the mapped ones or copied into width() floats of the caller: that
    /// way the pages it lies in are not kept in this process. Errors: Corrupt (the file ends
    /// early).
    Result<const float*> read_vector(size_t ordinal, float* room) const;
    chunk::Span span(size_t ordinal) const {
        return {spans_[2 * ordinal], spans_[2 * ordinal + 1]};
    }
    int64_t created_at(size_t ordinal) const { return created_[ordinal]; }
    std::string_view text(size_t ordinal) const { return texts_[ordinal]; }
    const Column& document() const { return document_; }
    const Column& source() const { return source_; }
    const Column& ds() const { return ds_; }
    const Column& title() const { return title_; }
    const Column& author() const { return author_; }
    const Column& category() const { return category_; }
    /// Ordinals of a document: [first, second), by span.
    std::pair<uint32_t, uint32_t> points_of(uint32_t document_code) const {
        return {document_first_[document_code], document_first_[document_code + 1]};
    }
    CodeRows rows() const { return {codes_, scales_, stride_, point_count_}; }
    /// Empty: every search scans.
    const Graph& graph() const { return graph_; }
    /// Bytes of all searches but for text and the vectors of what they return.
    uint64_t search_bytes() const;
    const std::vector<std::string>& folded_authors() const { return folded_authors_; }
    const std::vector<std::string>& folded_categories() const { return folded_categories_; }

    uint32_t length(size_t ordinal) const { return lengths_[ordinal]; }
    uint64_t total_length() const { return total_length_; }
    std::optional<TermPostings> postings(std::string_view term) const;

    /// Verifies what open() left out, once. Errors: Corrupt.
    Result<void> verify_rest() const;

  private:
    Segment() = default;
    Result<void> load(uint64_t& verify_bytes);
    Error corrupt(std::string what) const;
    Result<void> verify(SectionKind kind) const;
    /// Gives the pages of a section that searches seldom read back to the system's cache.
    void forget(SectionKind kind) const;

    struct Section {
        uint32_t crc = 0;
        std::span<const uint8_t> bytes;
    };
    std::string name_;
    std::span<const uint8_t> bytes_;
    bool mapped_ = false;
    int descriptor_ = -1;  ///< of the mapped file
    uint32_t point_count_ = 0;
    size_t width_ = 0, stride_ = 0;
    float error_max_ = 0, norm_max_ = 0;
    std::map<SectionKind, Section> sections_;
    const RawId* ids_ = nullptr;
    const uint32_t* id_order_ = nullptr;
    const uint8_t* codes_ = nullptr;
    const float* scales_ = nullptr;
    const float* vectors_ = nullptr;
    const int64_t* spans_ = nullptr;
    const int64_t* created_ = nullptr;
    StringTable texts_;
    Column document_, source_, ds_, title_, author_, category_;
    const uint32_t* document_first_ = nullptr;
    std::vector<std::string> folded_authors_, folded_categories_;
    StringTable terms_;
    struct TermEntry {
        uint64_t end, positions_end;
        uint32_t df;
        uint32_t reserved;
    };
    std::span<const TermEntry> term_index_;
    std::span<const uint8_t> postings_, positions_;
    Graph graph_;
    const uint32_t* lengths_ = nullptr;
    uint64_t total_length_ = 0;
    mutable std::vector<SectionKind> unverified_;
    mutable std::atomic<bool> all_verified_{false};
    mutable std::mutex verify_mutex_;
    mutable std::optional<Error> verify_failure_;
};

}  // namespace px::index
