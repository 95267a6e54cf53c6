// The recursive splitter: finds the first separator that occurs, cuts in front of each of its
// occurrences, merges neighbouring pieces up to the size and goes into pieces that are too long
// with the separators left over. Pieces are contiguous, so that each chunk is a span; pieces are
// merged as they are found and never collected.

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

#include "base/utf8.h"
#include "chunk/chunk.h"

namespace px::chunk {

namespace {

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

/// The white space of Python's str.strip(): bidirectional class B, S or WS, or category Zs.
bool is_space(char32_t c) {
    if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/// A run of text known by its bytes and its number of code points.
struct Piece {
    size_t start;
    size_t end;
    size_t length;
};

class Splitter {
  public:
    Splitter(std::string_view text, const SplitterOptions& options, std::vector<Span>& spans)
        : text_(text),
          size_(static_cast<size_t>(options.size)),
          overlap_(static_cast<size_t>(options.overlap)),
          separators_(options.separators),
          spans_(spans),
          ascii_(is_ascii(text)) {}

    void run() { split({0, text_.size(), code_points(0, text_.size())}, 0); }

  private:
    static bool is_ascii(std::string_view text) {
        constexpr size_t kBlock = 64;
        size_t i = 0;
        for (; i + kBlock <= text.size(); i += kBlock) {
            std::array<uint64_t, kBlock / 8> words;
            std::memcpy(words.data(), text.data() + i, kBlock);
            uint64_t any = 0;
            for (const uint64_t word : words) any |= word;
            if ((any & 0x8080808080808080ULL) != 0) return false;
        }
        return std::all_of(text.begin() + static_cast<std::ptrdiff_t>(i), text.end(),
                           [](char c) { return static_cast<unsigned char>(c) < 0x80; });
    }

    size_t code_points(size_t start, size_t end) const {
        if (ascii_) return end - start;
        size_t count = 0;
        for (size_t i = start; i < end; ++i) count += !is_continuation(text_[i]);
        return count;
    }

    size_t find(const std::string& separator, size_t from, size_t end) const {
        if (from >= end) return end;
        const char* base = text_.data();
        const void* found =
            separator.size() == 1
                ? std::memchr(base + from, separator[0], end - from)
                : memmem(base + from, end - from, separator.data(), separator.size());
        return found == nullptr ? end : static_cast<size_t>(static_cast<const char*>(found) - base);
    }

    void split(const Piece& whole, size_t first_separator) {
        // The separator to cut at: the first that occurs, or the last one whether it occurs or not.
        size_t index = first_separator;
        size_t cut = whole.end;
        for (; index < separators_.size(); ++index) {
            if (separators_[index].empty()) break;
            cut = find(separators_[index], whole.start, whole.end);
            if (cut != whole.end) break;
        }
        const bool found = index < separators_.size();
        if (found && separators_[index].empty()) return split_code_points(whole);
        // A separator that does not occur leaves the text in one piece, and nothing to try after
        // it.
        const size_t next_separator = found ? index + 1 : separators_.size();
        const size_t separator_size = found ? separators_[index].size() : 0;

        size_t start = whole.start;
        while (true) {
            if (cut > start) {
                const Piece piece{start, cut, code_points(start, cut)};
                if (piece.length < size_) {
                    merge(piece);
                } else {
                    flush();
                    if (next_separator >= separators_.size()) {
                        emit(piece.start, piece.end);
                    } else {
                        split(piece, next_separator);
                    }
                }
            }
            if (cut == whole.end) break;
            start = cut;
            cut = find(separators_[index], start + separator_size, whole.end);
        }
        flush();
    }

    /// Separator "": every code point is a piece of its own. Windows of size_ that advance by size_
    /// - overlap_.
    void split_code_points(const Piece& whole) {
        if (size_ ==
            1) {  // No piece is shorter than the size: each stands alone and is not stripped.
            for (size_t at = whole.start; at < whole.end;) {
                const size_t next = advance(at, 1, whole.end);
                emit(at, next);
                at = next;
            }
            return;
        }
        size_t start = whole.start;
        size_t end = advance(start, size_, whole.end);
        while (end < whole.end) {
            emit_stripped(start, end);
            start = advance(start, size_ - overlap_, whole.end);
            end = advance(end, size_ - overlap_, whole.end);
        }
        if (end > start) emit_stripped(start, end);
    }

    /// The offset count code points behind `at`, at most limit.
    size_t advance(size_t at, size_t count, size_t limit) const {
        if (ascii_) return std::min(limit, at + std::min(count, limit - at));
        while (count > 0 && at < limit) {
            ++at;
            while (at < limit && is_continuation(text_[at])) ++at;
            --count;
        }
        return at;
    }

    /// Appends a piece to the chunk being built; a full chunk is emitted first and keeps its tail
    /// as the overlap.
    void merge(const Piece& piece) {
        if (total_ + piece.length > size_ && first_ < pending_.size()) {
            emit_stripped(pending_[first_].start, pending_.back().end);
            while (total_ > overlap_ || (total_ + piece.length > size_ && total_ > 0)) {
                total_ -= pending_[first_++].length;
            }
            if (first_ * 2 >
                pending_.size()) {  // Keeps the vector as short as twice a chunk's pieces.
                pending_.erase(pending_.begin(),
                               pending_.begin() + static_cast<std::ptrdiff_t>(first_));
                first_ = 0;
            }
        }
        pending_.push_back(piece);
        total_ += piece.length;
    }

    void flush() {
        if (first_ < pending_.size()) emit_stripped(pending_[first_].start, pending_.back().end);
        pending_.clear();
        first_ = 0;
        total_ = 0;
    }

    void emit_stripped(size_t start, size_t end) {
        while (start < end) {
            size_t next = start;
            if (!is_space(decode(next, end))) break;
            start = next;
        }
        while (end > start) {
            size_t last = end - 1;
            while (last > start && is_continuation(text_[last])) --last;
            size_t next = last;
            if (!is_space(decode(next, end))) break;
            end = last;
        }
        if (end > start) emit(start, end);
    }

    /// One code point and the offset behind it; never reads at or behind end, whatever the bytes
    /// are.
    char32_t decode(size_t& at, size_t end) const {
        const auto lead = static_cast<unsigned char>(text_[at]);
        if (lead < 0x80) return static_cast<char32_t>(text_[at++]);
        const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
        if (length > end - at) {
            at = end;
            return 0xFFFD;
        }
        return utf8_next(text_, at);
    }

    void emit(size_t start, size_t end) {
        spans_.push_back({static_cast<int64_t>(start), static_cast<int64_t>(end)});
    }

    std::string_view text_;
    size_t size_;
    size_t overlap_;
    const std::vector<std::string>& separators_;
    std::vector<Span>& spans_;
    bool ascii_;
    std::vector<Piece> pending_;  ///< the chunk being built is [first_, end)
    size_t first_ = 0;
    size_t total_ = 0;  ///< code points of the chunk being built
};

}  // namespace

Result<void> SplitterOptions::validate() const {
    if (size <= 0) {
        return fail(ErrorCode::InvalidArgument, fmt::format("chunk.size is {}", size),
                    "Give a number of characters above 0, for example 500");
    }
    if (overlap < 0 || overlap >= size) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("chunk.overlap is {} and chunk.size is {}", overlap, size),
                    "Give an overlap of at least 0 that is less than the size");
    }
    if (separators.empty()) {
        return fail(ErrorCode::InvalidArgument, "chunk.separators is empty",
                    "Leave it out for the default, or name at least one separator");
    }
    for (size_t i = 0; i < separators.size(); ++i) {
        if (!utf8_is_valid(separators[i])) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("chunk.separators[{}] is not well-formed UTF-8", i),
                        "Write the separator in UTF-8");
        }
    }
    return {};
}

Result<std::vector<Span>> split(std::string_view text, const SplitterOptions& options) {
    PX_TRY(options.validate());
    std::vector<Span> spans;
    if (!text.empty()) Splitter(text, options, spans).run();
    return spans;
}

}  // namespace px::chunk
