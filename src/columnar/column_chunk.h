// ColumnChunkWriter: one column of the row group being written: pages, their encodings, statistics.
// Not thread-safe. Output depends on the rows and the options alone, not on how they were batched.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "columnar/byte_buffer.h"
#include "columnar/encoding.h"
#include "columnar/parquet_writer.h"
#include "columnar/record_batch.h"
#include "columnar/statistics.h"

namespace px::columnar {

/// Numbers as in parquet.thrift.
enum class PhysicalType : int32_t {
    Boolean = 0,
    Int32 = 1,
    Int64 = 2,
    Float = 4,
    Double = 5,
    ByteArray = 6,
    FixedLenByteArray = 7
};
enum class Encoding : int32_t {
    Plain = 0,
    Rle = 3,
    DeltaBinaryPacked = 5,
    DeltaLengthByteArray = 6,
    RleDictionary = 8
};

PhysicalType physical_type(const DataType& type);

/// Longest String/Binary value a page can hold.
inline constexpr int64_t kValueBytesMax = 1LL << 30;

/// What the footer says of a finished chunk.
struct ChunkInfo {
    std::vector<Encoding> encodings;
    int64_t value_count =
        0;  ///< levels: rows, or elements of lists (an absent or empty list counts one)
    int64_t null_count = 0;  ///< levels without a value
    int64_t null_rows = 0;
    int64_t uncompressed_bytes = 0;
    int64_t compressed_bytes = 0;
    int64_t dictionary_offset = -1;  ///< from the start of the row group; -1: none
    int64_t data_offset = 0;         ///< likewise
    Extremes extremes;
};

/// A row group ready for its file: the bytes of its chunks one after another, and what the footer
/// says of them.
struct EncodedRowGroup {
    int64_t row_count = 0;
    int64_t size_bytes = 0;
    std::vector<ChunkInfo> chunks;
    std::vector<ByteBuffer> parts;
};

/// Distinct byte strings in order of first appearance, PLAIN-encoded as they come.
class TextDictionary {
  public:
    static constexpr uint32_t kFull = ~uint32_t{0};
    /// What a value is looked up by. A text of up to 16 bytes is its own key.
    struct Key {
        uint64_t low = 0;   ///< bytes 0 to 7; of a longer text a hash
        uint64_t high = 0;  ///< bytes 8 to 15; of a longer text another part of the hash
        uint64_t hash = 0;
    };
    /// readable: 16 bytes from the text's first one can be read.
    static Key key_of(const char* text, size_t size, bool readable) {
        using namespace hash_detail;
        constexpr uint64_t kA = 0xD6E8FEB86659FD93ULL;
        constexpr uint64_t kB = 0xA0761D6478BD642FULL;
        Key key;
        if (size > 16) {
            const uint64_t hash = hash_bytes(text, size);
            return {hash, hash, hash};
        }
        if (readable) {
            // Bytes behind the text are masked away: no branch on its size.
            const uint64_t all = ~uint64_t{0};
            const size_t low = std::min<size_t>(size, 8) * 8;
            const size_t high = std::max<size_t>(size, 8) * 8 - 64;
            key.low = load_64(text) & (low == 64 ? all : ~(all << (low & 63)));
            key.high = load_64(text + 8) & (high == 64 ? all : ~(all << (high & 63)));
        } else if (size > 0) {
            char padded[16] = {};
            std::memcpy(padded, text, size);
            key.low = load_64(padded);
            key.high = load_64(padded + 8);
        }
        key.hash = fold(key.low ^ kA, key.high ^ kB ^ size << 56);
        return key;
    }

    void clear();
    /// Index of the value, added if it is new; kFull if it would make the dictionary larger than
    /// limit bytes.
    uint32_t find_or_add(std::string_view value, const Key& key, size_t limit) {
        const Slot& slot = slots_[key.hash & (slots_.size() - 1)];
        if (value.size() <= 16 && slot.low == key.low && slot.high == key.high &&
            slot.size == value.size() && slot.index_plus_1 != 0) [[likely]]
            return slot.index_plus_1 - 1;
        return find_or_add_slow(value, key, limit);
    }
    /// Brings a slot near.
    void prefetch(const Key& key) const {
        __builtin_prefetch(&slots_[key.hash & (slots_.size() - 1)]);
    }
    std::string_view at(uint32_t index) const;
    uint32_t size() const { return static_cast<uint32_t>(starts_.size()); }
    size_t size_bytes() const { return bytes_.size(); }
    std::string_view bytes() const { return bytes_.view(); }
    /// Forgets all but the first `size` values; nothing may be looked up afterwards.
    void truncate(uint32_t size);

  private:
    struct Slot {
        uint64_t low = 0;
        uint64_t high = 0;
        uint32_t index_plus_1 = 0;
        uint32_t size = 0;
    };
    uint32_t find_or_add_slow(std::string_view value, const Key& key, size_t limit);
    void grow();
    bool is_same(const Slot& slot, std::string_view value, const Key& key) const;
    std::vector<Slot> slots_;
    std::vector<uint32_t> starts_;
    ByteBuffer bytes_;
};

/// Distinct words (values of 4 or 8 bytes) in order of first appearance.
class WordDictionary {
  public:
    static constexpr uint32_t kFull = ~uint32_t{0};
    void clear();
    uint32_t find_or_add(uint64_t word, size_t count_max);
    uint32_t size() const { return static_cast<uint32_t>(words_.size()); }
    uint64_t at(uint32_t index) const { return words_[index]; }
    void truncate(uint32_t size);

  private:
    void grow();
    std::vector<uint32_t> slots_;  ///< index + 1
    std::vector<uint64_t> words_;
};

/// Levels of a nested column as runs.
class LevelRuns {
  public:
    void add(uint8_t level, uint64_t count);
    /// Ends the last run; the runs stay until clear().
    std::string_view finish();
    void clear();

  private:
    ByteBuffer out_;
    uint8_t level_ = 0;
    uint64_t count_ = 0;
};

class ColumnChunkWriter {
  public:
    ColumnChunkWriter(const Field& field, const ParquetWriterOptions& options);

    /// Takes rows [begin, end), whose values fit pages (kValueBytesMax).
    void append(const Column& column, int64_t begin, int64_t end);
    /// Adds the chunk to the group and starts the next.
    void finish(EncodedRowGroup& group);

  private:
    /// What became of the dictionary in this chunk.
    enum class DictionaryState { Undecided, On, Off };

    int64_t rows_that_fit(const Column& column, int64_t begin, int64_t end) const;
    void append_rows(const Column& column, int64_t begin, int64_t end);
    void append_validity(const Column& column, int64_t begin, int64_t end);
    template <class From, class To>
    void append_fixed(const Column& column, int64_t begin, int64_t end);
    void append_text(const Column& column, int64_t begin, int64_t end);
    void append_text_plain(const Column& column, int64_t begin, int64_t end);
    int64_t append_text_indices(const Column& column, int64_t begin, int64_t end);
    void append_lists(const Column& column, int64_t begin, int64_t end);
    void append_decimal128(const Column& column, int64_t begin, int64_t end);

    /// Whether it takes less than the given part of the plain bytes.
    bool text_dictionary_pays(size_t numerator, size_t denominator) const;
    void give_up_text_dictionary();

    void flush_page();
    void flush_text_page();
    void flush_plain_texts();
    void flush_fixed_page();
    void flush_bool_page();
    template <class T>
    void flush_words_page();
    template <class T>
    bool encode_words_as_dictionary(const T* values, size_t count, size_t rival_bytes);
    void encode_levels();
    void emit_page(std::string_view body, Encoding encoding);
    /// Header and compressed payload of a data page, or of a dictionary page (no levels).
    enum class PageKind { Data, Dictionary };
    void emit(ByteBuffer& to, PageKind kind, std::string_view levels, std::string_view body,
              Encoding encoding, int64_t value_count);
    void note(Encoding encoding);

    const DataType type_;
    const PhysicalType physical_;
    const bool nullable_;
    const ParquetWriterOptions options_;
    const size_t row_bytes_;  ///< of a fixed-width value as stored; else 0

    // The page being filled.
    int64_t page_rows_ = 0;
    int64_t page_estimate_ = 0;           ///< as if plain
    std::vector<uint8_t> page_validity_;  ///< empty: no null so far
    ByteBuffer page_;                     ///< plain values; of texts the bytes alone
    std::vector<int32_t> page_lengths_;   ///< of texts, once the dictionary is off
    size_t page_values_ = 0;
    std::vector<uint32_t> page_indices_;   ///< while the text dictionary is on
    LevelRuns definitions_, repetitions_;  ///< of lists
    int64_t page_levels_ = 0;              ///< of lists

    // The chunk.
    ByteBuffer pages_;
    DictionaryState dictionary_state_ = DictionaryState::Undecided;
    TextDictionary texts_;
    WordDictionary words_;
    uint32_t dictionary_flushed_ = 0;  ///< entries that written pages refer to
    int64_t text_rows_ = 0;            ///< taken while the text dictionary was on
    size_t text_plain_bytes_ = 0;      ///< of their values
    size_t text_values_ = 0;
    ChunkInfo info_;

    ByteBuffer levels_, body_, indices_, scratch_, header_;
};

}  // namespace px::columnar
