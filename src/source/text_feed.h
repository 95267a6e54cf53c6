// TextFeed: decoded text in blocks that start at a record, for the CSV and JSON Lines readers. A
// block's memory is shared with the RecordBlocks that point into it and is used again once they let
// go. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "source/text_stream.h"

namespace px::source {

/// One block of text and the unescaped fields made from it. Addresses stay valid until the storage
/// goes.
class TextStorage {
  public:
    /// Readable bytes before and behind the text, so that scanners may load whole vectors; those
    /// behind it are spaces.
    static constexpr size_t kPadding = 128;

    explicit TextStorage(size_t capacity);
    TextStorage(const TextStorage&) = delete;
    TextStorage& operator=(const TextStorage&) = delete;
    ~TextStorage();

    char* data() { return data_; }
    size_t capacity() const { return capacity_; }
    /// Keeps the first `kept` bytes. False: no memory.
    bool reserve(size_t capacity, size_t kept);
    /// Room for an unescaped field.
    char* allocate(size_t size);
    void clear_fields();

  private:
    char* data_ = nullptr;
    size_t capacity_ = 0;
    std::vector<std::pair<std::unique_ptr<char[]>, size_t>> pieces_;  ///< unescaped fields
    size_t piece_used_ = 0;                                           ///< of the last piece
};

class TextFeed {
  public:
    /// block_bytes: how much text a block holds; max_bytes: how far a block grows for one long
    /// record.
    TextFeed(OpenedText text, size_t block_bytes, size_t max_bytes);

    /// A part of a block that another feed read: whole text, nothing follows. storage keeps it.
    TextFeed(std::shared_ptr<TextStorage> storage, size_t begin, size_t size, int64_t offset,
             bool is_raw);

    /// The text at hand; it starts at offset() of the decoded text (of the file, when is_raw).
    const char* data() const { return storage_->data() + begin_; }
    size_t size() const { return size_; }
    int64_t offset() const { return offset_; }
    /// Nothing follows the text at hand.
    bool at_end() const { return at_end_; }
    int64_t bytes_read() const { return text_.stream ? text_.stream->consumed() : 0; }
    bool is_raw() const { return text_.is_raw; }
    const OpenedText& text() const { return text_; }
    const std::shared_ptr<TextStorage>& storage() const { return storage_; }

    /// Goes on in a fresh block that starts with what stands at keep_from. Views into the old block
    /// stay valid as long as someone holds its storage.
    Result<void> advance(size_t keep_from);
    /// Makes the block longer and fills it. Only on a block no record of which was handed out.
    /// False: at max_bytes.
    Result<bool> grow();
    /// Drops the whole text and reads on in the same block, for skipping a record that is too long.
    Result<void> discard();

  private:
    Result<void> fill(size_t from);
    std::shared_ptr<TextStorage> take_storage();

    OpenedText text_;
    size_t block_bytes_;
    size_t max_bytes_;
    std::shared_ptr<TextStorage> storage_;
    std::vector<std::shared_ptr<TextStorage>> pool_;
    size_t begin_ = 0;  ///< of the text in its storage; not 0 in a part of another feed's block
    size_t size_ = 0;
    int64_t offset_ = 0;
    bool at_end_ = false;
};

}  // namespace px::source
