// Splits one CSV record after another out of contiguous text. Used by csv_reader.cpp only: inlined
// into its loops.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "source/csv/csv_reader.h"
#include "source/csv/scan.h"

namespace px::source::csv {

/// A dialect ready for scanning.
struct Dialect {
    std::string delimiter = ",";
    bool has_quote = true;
    char quote = '"';
    bool has_escape = false;
    char escape = '"';
    bool has_comment = false;
    char comment = '#';
    bool keep_stray_quotes = false;
    bool trim = false;

    bool is_plain() const { return delimiter.size() == 1 && !has_escape && !trim; }
    ScanSet scan_set() const {
        ScanSet set;
        set.delimiter = delimiter[0];
        set.quote = has_quote ? quote : '\n';
        set.escape = has_escape ? escape : set.quote;
        return set;
    }
};

inline constexpr size_t kNoPosition = static_cast<size_t>(-1);

/// Where a walk over special bytes stands. A value type without its address taken, so that it lives
/// in registers.
struct SpecialCursor {
    uint64_t bits = 0;  ///< of the chunk: special bytes still to come
    size_t base = 0;    ///< position of the chunk's first byte
    const ChunkMask* mask = nullptr;
    const ChunkMask* mask_end = nullptr;
};

/// The special bytes of a text, classified a window at a time. The text must have
/// TextStorage::kPadding readable bytes behind its end.
class SpecialBytes {
  public:
    SpecialBytes(const ScanKernel& kernel, const ScanSet& set)
        : classify_(kernel.classify), set_(set) {}

    void attach(const char* data, size_t size) {
        data_ = data;
        size_ = size;
        window_begin_ = window_end_ = 0;
        notes = ScanNotes{};
    }
    size_t size() const { return size_; }

    /// A cursor whose next special byte is at position or behind it.
    SpecialCursor seek(size_t position) {
        const size_t base = position / kChunkBytes * kChunkBytes;
        if (position >= size_) return {0, base, nullptr, nullptr};
        SpecialCursor cursor =
            base >= window_begin_ && base < window_end_ ? at_chunk(base) : load(base);
        cursor.bits = cursor.mask->special & (~uint64_t{0} << (position % kChunkBytes));
        return cursor;
    }
    /// Classifies the window that starts at base (below size()).
    [[gnu::noinline]] SpecialCursor load(size_t base) {
        const size_t chunk_count =
            std::min(kWindowChunks, (size_ - base + kChunkBytes - 1) / kChunkBytes);
        window_begin_ = base;
        window_end_ = base + chunk_count * kChunkBytes;
        classify_(data_ + base, chunk_count, set_, window_, notes);
        if (window_end_ > size_) {
            const uint64_t inside = (uint64_t{1} << (size_ % kChunkBytes)) - 1;
            ChunkMask& last = window_[chunk_count - 1];
            last.special &= inside;
            last.quote &= inside;
            last.line_end &= inside;
        }
        return at_chunk(base);
    }

    ScanNotes notes;

  private:
    static constexpr size_t kWindowChunks = 128;

    SpecialCursor at_chunk(size_t base) const {
        const ChunkMask* const mask = window_ + (base - window_begin_) / kChunkBytes;
        return {mask->special, base, mask, window_ + (window_end_ - window_begin_) / kChunkBytes};
    }

    ClassifyFunction classify_;
    ScanSet set_;
    const char* data_ = nullptr;
    size_t size_ = 0;
    size_t window_begin_ = 0;
    size_t window_end_ = 0;
    ChunkMask window_[kWindowChunks];
};

/// Moves to the next chunk. False: there is none.
[[gnu::always_inline]] inline bool next_chunk(SpecialBytes& special, SpecialCursor& cursor) {
    const size_t base = cursor.base + kChunkBytes;
    if (cursor.mask + 1 < cursor.mask_end) [[likely]] {
        ++cursor.mask;
        cursor.base = base;
        cursor.bits = cursor.mask->special;
        return true;
    }
    if (base >= special.size()) return false;
    cursor = special.load(base);
    return true;
}

/// The next special byte, or kNoPosition.
[[gnu::always_inline]] inline size_t next_special(SpecialBytes& special, SpecialCursor& cursor) {
    while (cursor.bits == 0) {
        if (!next_chunk(special, cursor)) return kNoPosition;
    }
    const size_t position = cursor.base + static_cast<size_t>(std::countr_zero(cursor.bits));
    cursor.bits &= cursor.bits - 1;
    return position;
}

/// The next quote or escape at position or behind it (at the cursor's chunk or a later one), and in
/// line_count the line ends passed on the way.
[[gnu::always_inline]] inline size_t next_quote(SpecialBytes& special, SpecialCursor& cursor,
                                                size_t position, int64_t& line_count) {
    if (position >= special.size()) return kNoPosition;
    if (position >= cursor.base + kChunkBytes) cursor = special.seek(position);
    uint64_t live = ~uint64_t{0} << (position % kChunkBytes);
    for (;;) {
        const uint64_t quotes = cursor.mask->quote & live;
        // All live bits up to and without the first quote; all of them when there is none.
        const uint64_t passed = live & ((quotes & (~quotes + 1)) - 1);
        const uint64_t line_ends = cursor.mask->line_end & passed;
        if (line_ends != 0) line_count += std::popcount(line_ends);
        if (quotes != 0) {
            const int bit = std::countr_zero(quotes);
            cursor.bits = cursor.mask->special & (~uint64_t{1} << bit);
            return cursor.base + static_cast<size_t>(bit);
        }
        if (!next_chunk(special, cursor)) {
            cursor.bits = 0;
            return kNoPosition;
        }
        live = ~uint64_t{0};
    }
}

/// A field as found: text still escaped.
struct RawField {
    std::string_view text;
    bool quoted = false;
    bool escaped = false;  ///< holds doubled quotes or escapes
};

enum class ScanStatus {
    Complete,
    NeedMore,      ///< the record goes on behind the text at hand
    Unterminated,  ///< the text ends inside quotes
};

struct ScannedRecord {
    ScanStatus status = ScanStatus::Complete;
    size_t end = 0;   ///< one past the record's last byte
    size_t next = 0;  ///< where the next record starts
    size_t field_count = 0;
    int64_t line_count = 0;         ///< physical lines of the record, its line end included
    size_t open_quote = 0;          ///< where the quoted field of an Unterminated record began
    size_t stray_at = kNoPosition;  ///< first offence against quoting
    bool stray_after_close = false;
};

/// Line ends in text: LF, CR LF or CR each count one.
inline int64_t count_line_ends(std::string_view text) {
    int64_t count = 0;
    for (size_t i = 0; i < text.size(); ++i) {
        const bool lone_cr = text[i] == '\r' && (i + 1 == text.size() || text[i + 1] != '\n');
        count += text[i] == '\n' || lone_cr ? 1 : 0;
    }
    return count;
}

inline bool is_blank(char c) { return c == ' ' || c == '\t'; }

inline bool all_blank(const char* begin, const char* end) {
    for (; begin < end; ++begin) {
        if (!is_blank(*begin)) return false;
    }
    return true;
}

/// Scans the record that starts at `start` and calls emit(index, RawField) for each field. kPlain:
/// the dialect has a delimiter of one byte, no escape character and no trimming.
template <bool kPlain, class Emit>
[[gnu::always_inline]] inline ScannedRecord scan_record(SpecialBytes& special, const char* data,
                                                        size_t size, bool at_end, size_t start,
                                                        const Dialect& dialect, Emit&& emit) {
    ScannedRecord record;
    size_t field_start = start;
    size_t resume = start;  // special bytes before it are spent
    size_t open = 0;        // the quotes of a quoted field
    size_t close = kNoPosition;
    bool escaped = false;
    size_t count = 0;
    int64_t line_count = 0;
    size_t stray_at = kNoPosition;
    bool stray_after_close = false;
    const size_t delimiter_size = kPlain ? 1 : dialect.delimiter.size();
    const char delimiter = dialect.delimiter[0];
    const char quote = dialect.quote;
    const char escape = dialect.escape;
    const bool has_escape = !kPlain && dialect.has_escape;
    const bool trim = !kPlain && dialect.trim;

    const auto stop = [&](ScanStatus status) {
        record.status = status;
        record.open_quote = open;
        return record;
    };
    const auto finish_field = [&](size_t end) __attribute__((always_inline)) {
        if (close == kNoPosition) [[likely]] {
            size_t from = field_start;
            size_t to = end;
            if (trim) {
                while (from < to && is_blank(data[from])) ++from;
                while (to > from && is_blank(data[to - 1])) --to;
            }
            emit(count, RawField{{data + from, to - from}, false, escaped});
        } else {
            const size_t behind = close + 1;
            if (behind != end && !(trim && all_blank(data + behind, data + end)) &&
                stray_at == kNoPosition) {
                stray_at = behind;
                stray_after_close = true;
            }
            emit(count, RawField{{data + open + 1, close - open - 1}, true, escaped});
            close = kNoPosition;
        }
        escaped = false;
        ++count;
    };

    SpecialCursor cursor = special.seek(start);
    for (;;) {
        const size_t at = next_special(special, cursor);
        if (at == kNoPosition) [[unlikely]] {
            if (!at_end) return stop(ScanStatus::NeedMore);
            finish_field(size);
            record.end = record.next = size;
            break;
        }
        if (at < resume) continue;
        const char byte = data[at];
        if (byte == delimiter) [[likely]] {
            if (delimiter_size > 1) {
                if (size - at < delimiter_size) {
                    if (!at_end) return stop(ScanStatus::NeedMore);
                    continue;
                }
                if (std::memcmp(data + at, dialect.delimiter.data(), delimiter_size) != 0) continue;
            }
            finish_field(at);
            field_start = resume = at + delimiter_size;
            continue;
        }
        if (byte == '\n') {
            finish_field(at);
            record.end = at;
            record.next = at + 1;
            ++line_count;
            break;
        }
        if (byte == '\r') {
            if (at + 1 == size && !at_end) return stop(ScanStatus::NeedMore);
            finish_field(at);
            record.end = at;
            record.next = at + 1 < size && data[at + 1] == '\n' ? at + 2 : at + 1;
            ++line_count;
            break;
        }
        if (close != kNoPosition) continue;  // text after a closing quote: finish_field tells
        if (has_escape && byte == escape) {
            if (at + 1 >= size) {
                if (!at_end) return stop(ScanStatus::NeedMore);
                continue;
            }
            escaped = true;
            resume = at + 2;
            if (data[at + 1] == '\r') {
                // An escaped CR LF is one line end.
                if (at + 2 == size && !at_end) return stop(ScanStatus::NeedMore);
                if (at + 2 < size && data[at + 2] == '\n') resume = at + 3;
                ++line_count;
            } else if (data[at + 1] == '\n') {
                ++line_count;
            }
            continue;
        }
        // A quote.
        const bool at_start =
            at == field_start || (trim && all_blank(data + field_start, data + at));
        if (!at_start) {
            if (!dialect.keep_stray_quotes && stray_at == kNoPosition) stray_at = at;
            continue;
        }
        open = at;
        size_t search = at + 1;
        for (;;) {
            const size_t found = next_quote(special, cursor, search, line_count);
            if (found == kNoPosition)
                return stop(at_end ? ScanStatus::Unterminated : ScanStatus::NeedMore);
            if (has_escape && data[found] == escape) {
                if (found + 1 >= size)
                    return stop(at_end ? ScanStatus::Unterminated : ScanStatus::NeedMore);
                escaped = true;
                search = found + 2;
                if (data[found + 1] == '\n') {
                    ++line_count;
                } else if (data[found + 1] == '\r' && found + 2 < size && data[found + 2] != '\n') {
                    ++line_count;
                }
                continue;
            }
            if (!has_escape) {
                if (found + 1 == size && !at_end) return stop(ScanStatus::NeedMore);
                if (found + 1 < size && data[found + 1] == quote) {
                    escaped = true;
                    search = found + 2;
                    continue;
                }
            }
            close = found;
            break;
        }
        resume = close + 1;
    }
    record.field_count = count;
    record.line_count = line_count;
    record.stray_at = stray_at;
    record.stray_after_close = stray_after_close;
    return record;
}

/// scan_record for callers that are not in a hurry.
template <class Emit>
ScannedRecord scan_any_record(SpecialBytes& special, const char* data, size_t size, bool at_end,
                              size_t start, const Dialect& dialect, Emit&& emit) {
    if (dialect.is_plain())
        return scan_record<true>(special, data, size, at_end, start, dialect, emit);
    return scan_record<false>(special, data, size, at_end, start, dialect, emit);
}

/// Removes the escapes of a field's text into out (text.size() bytes are enough). Returns the bytes
/// written.
inline size_t unescape(const RawField& field, const Dialect& dialect, char* out) {
    const char* from = field.text.data();
    const char* const end = from + field.text.size();
    char* to = out;
    const char mark = dialect.has_escape ? dialect.escape : dialect.quote;
    while (from < end) {
        const auto* found =
            static_cast<const char*>(std::memchr(from, mark, static_cast<size_t>(end - from)));
        const char* const stop = found == nullptr ? end : found;
        std::memcpy(to, from, static_cast<size_t>(stop - from));
        to += stop - from;
        from = stop;
        if (found == nullptr) break;
        if (from + 1 == end) {
            *to++ = *from++;
            break;
        }
        const char next = from[1];
        const bool takes = !dialect.has_escape || next == dialect.escape || next == '\n' ||
                           next == '\r' || (dialect.has_quote && next == dialect.quote) ||
                           std::string_view(from + 1, static_cast<size_t>(end - from - 1))
                                   .substr(0, dialect.delimiter.size()) == dialect.delimiter;
        if (takes) ++from;
        *to++ = *from++;
        if (!takes) {
            *to++ = *from++;
        }
    }
    return static_cast<size_t>(to - out);
}

}  // namespace px::source::csv
