#include "embed/tokenizer.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <tuple>
#include <unordered_map>

#include <fmt/format.h>
#include <boost/json.hpp>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "embed/json_file.h"
#include "embed/unicode_classes.h"

namespace px::embed {

namespace json = boost::json;

namespace {

constexpr size_t kWordCharsLimit =
    512;  ///< max_input_chars_per_word at most; bounds the word buffer
constexpr size_t kBlock = 16;
constexpr size_t kSpan = 64;          ///< bytes classified at once: a bit each
constexpr size_t kCachedBytes = 16;   ///< of the longest word the cache keeps
constexpr size_t kPendingIds = 1024;  ///< gathered before they are appended
constexpr uint64_t kOnes = 0x0101010101010101ULL;

constexpr std::array<uint64_t, 9> kHeadMask = {0,
                                               0xFF,
                                               0xFFFF,
                                               0xFFFFFF,
                                               0xFFFFFFFF,
                                               0xFFFFFFFFFF,
                                               0xFFFFFFFFFFFF,
                                               0xFFFFFFFFFFFFFF,
                                               0xFFFFFFFFFFFFFFFF};

uint64_t load_head(const char* bytes, size_t size) {
    uint64_t word;
    std::memcpy(&word, bytes, 8);
    return word & kHeadMask[std::min<size_t>(size, 8)];
}

bool is_letter_or_digit(unsigned char byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z');
}

/// The lower case of the eight ASCII characters in word, where mask has their 0x20 bits.
uint64_t lower_ascii(uint64_t word, uint64_t mask) {
    const uint64_t from_a = word + (0x80 - 'A') * kOnes;
    const uint64_t beyond_z = word + (0x80 - 'Z' - 1) * kOnes;
    return word | ((from_a & ~beyond_z) >> 2 & mask);
}

/// What kSpan bytes are, a bit each.
struct SpanMasks {
    uint64_t word = 0;   ///< ASCII letters and digits
    uint64_t token = 0;  ///< those, and ASCII punctuation
    uint64_t odd = 0;    ///< what needs a closer look
};

SpanMasks classify(const char* bytes, std::array<char, 2> marks) {
    SpanMasks masks;
#if defined(__SSE2__)
    for (size_t part = 0; part < kSpan; part += 16) {
        const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + part));
        const auto is = [&](char c) { return _mm_cmpeq_epi8(b, _mm_set1_epi8(c)); };
        const auto within = [](__m128i value, char first, char count) {
            const __m128i moved =
                _mm_add_epi8(value, _mm_set1_epi8(static_cast<char>(-128 - first)));
            return _mm_cmplt_epi8(moved, _mm_set1_epi8(static_cast<char>(-128 + count)));
        };
        const __m128i word =
            _mm_or_si128(within(_mm_or_si128(b, _mm_set1_epi8(0x20)), 'a', 26), within(b, '0', 10));
        const __m128i visible = within(b, '!', '~' - '!' + 1);
        const __m128i space =
            _mm_or_si128(_mm_or_si128(is(' '), is('\n')), _mm_or_si128(is('\r'), is('\t')));
        const __m128i mark = _mm_or_si128(is(marks[0]), is(marks[1]));
        const __m128i plain = _mm_andnot_si128(mark, _mm_or_si128(visible, space));
        const auto bits = [part](__m128i value) {
            return static_cast<uint64_t>(static_cast<uint32_t>(_mm_movemask_epi8(value))) << part;
        };
        masks.word |= bits(word);
        masks.token |= bits(visible);
        masks.odd |= bits(plain);
    }
    masks.odd = ~masks.odd;
#else
    for (size_t i = 0; i < kSpan; ++i) {
        const auto byte = static_cast<unsigned char>(bytes[i]);
        const bool visible = byte > ' ' && byte < 0x7F;
        const bool space = byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
        const bool mark = bytes[i] == marks[0] || bytes[i] == marks[1];
        masks.word |= uint64_t{is_letter_or_digit(byte)} << i;
        masks.token |= uint64_t{visible} << i;
        masks.odd |= uint64_t{mark || !(visible || space)} << i;
    }
#endif
    return masks;
}

/// The code point at offset and the offset behind it; an ill-formed byte is U+FFFD.
char32_t next_code_point(std::string_view text, size_t& offset) {
    const size_t left = text.size() - offset;
    const auto at = [&](size_t i) {
        return static_cast<char32_t>(static_cast<unsigned char>(text[offset + i]));
    };
    const auto follows = [&](size_t i) { return (at(i) & 0xC0) == 0x80; };
    const char32_t lead = at(0);
    char32_t c = 0xFFFD;
    size_t length = 1;
    if (lead < 0x80) {
        c = lead;
    } else if (lead < 0xE0) {
        if (lead >= 0xC2 && left >= 2 && follows(1)) {
            c = (lead & 0x1F) << 6 | (at(1) & 0x3F);
            length = 2;
        }
    } else if (lead < 0xF0) {
        if (left >= 3 && follows(1) && follows(2)) {
            const char32_t made = (lead & 0xF) << 12 | (at(1) & 0x3F) << 6 | (at(2) & 0x3F);
            if (made >= 0x800 && (made < 0xD800 || made > 0xDFFF)) {
                c = made;
                length = 3;
            }
        }
    } else if (lead < 0xF5 && left >= 4 && follows(1) && follows(2) && follows(3)) {
        const char32_t made =
            (lead & 0x7) << 18 | (at(1) & 0x3F) << 12 | (at(2) & 0x3F) << 6 | (at(3) & 0x3F);
        if (made >= 0x10000 && made <= 0x10FFFF) {
            c = made;
            length = 4;
        }
    }
    offset += length;
    return c;
}

size_t put_utf8(char32_t c, char* out) {
    const auto byte = [](char32_t value) {
        return static_cast<char>(static_cast<unsigned char>(value));
    };
    if (c < 0x80) {
        out[0] = byte(c);
        return 1;
    }
    if (c < 0x800) {
        out[0] = byte(0xC0 | c >> 6);
        out[1] = byte(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = byte(0xE0 | c >> 12);
        out[1] = byte(0x80 | (c >> 6 & 0x3F));
        out[2] = byte(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = byte(0xF0 | c >> 18);
    out[1] = byte(0x80 | (c >> 12 & 0x3F));
    out[2] = byte(0x80 | (c >> 6 & 0x3F));
    out[3] = byte(0x80 | (c & 0x3F));
    return 4;
}

}  // namespace

// ---- the cache of words ----

/// Ids of words met before on this thread: what a word becomes depends on the word alone, so the
/// cache changes no result. Direct-mapped; a newer word takes the place of an older one.
struct Tokenizer::WordCache {
    static constexpr size_t kBits = 14;
    static constexpr size_t kIds = 3;
    struct alignas(32) Slot {
        uint64_t head, tail;  ///< the bytes of the word, zeros behind them
        int32_t ids[kIds];
        uint32_t tag;  ///< tokenizer << 2 | number of ids
    };

    WordCache() {
        // Zeroed pages that cost nothing before they are used.
        size_t space = (kSlots + 1) * sizeof(Slot);
        memory.reset(std::calloc(1, space));
        void* begin = memory.get();
        if (begin == nullptr) std::abort();
        slots = static_cast<Slot*>(std::align(alignof(Slot), kSlots * sizeof(Slot), begin, space));
    }
    Slot& slot(uint64_t head, uint64_t tail) {
        return slots[(head * 0x9E3779B97F4A7C15ULL + tail * 0xC2B2AE3D27D4EB4FULL) >> (64 - kBits)];
    }
    static WordCache& of_this_thread() {
        static thread_local WordCache cache;
        return cache;
    }

    struct Free {
        void operator()(void* data) const { std::free(data); }
    };
    static constexpr size_t kSlots = size_t{1} << kBits;
    std::unique_ptr<void, Free> memory;
    Slot* slots = nullptr;
};

// ---- the pieces ----

void Tokenizer::PieceTrie::build(const std::vector<std::pair<std::string_view, int32_t>>& pieces) {
    // By their first eight bytes, as numbers, where those tell them apart.
    struct Piece {
        uint64_t head = 0;
        std::string_view bytes;
        int32_t id = 0;
        unsigned char at(size_t depth) const {
            return static_cast<unsigned char>(depth < 8 ? head >> (56 - 8 * depth) : bytes[depth]);
        }
    };
    std::vector<Piece> sorted(pieces.size());
    for (size_t i = 0; i < pieces.size(); ++i) {
        Piece& piece = sorted[i];
        std::tie(piece.bytes, piece.id) = pieces[i];
        for (size_t at = 0; at < std::min<size_t>(piece.bytes.size(), 8); ++at) {
            piece.head |= static_cast<uint64_t>(static_cast<unsigned char>(piece.bytes[at]))
                          << (56 - 8 * at);
        }
    }
    std::sort(sorted.begin(), sorted.end(), [](const Piece& a, const Piece& b) {
        return a.head != b.head ? a.head < b.head : a.bytes < b.bytes;
    });
    nodes_.assign(kBlockNodes, Node{});
    std::vector<std::array<uint64_t, 4>> used(1);  // a bit for each node of each block
    const auto is_used = [&](uint32_t node) {
        return (used[node / kBlockNodes][node % kBlockNodes / 64] >> node % 64 & 1U) != 0;
    };
    const auto use = [&](uint32_t node) {
        used[node / kBlockNodes][node % kBlockNodes / 64] |= uint64_t{1} << node % 64;
    };
    use(0);
    struct Branch {
        uint32_t node;
        size_t first, last, depth;  // of the pieces that begin as the node does
    };
    std::vector<Branch> open = {{0, 0, pieces.size(), 0}};
    std::vector<std::pair<unsigned char, size_t>> children;  // the byte, and its first piece
    while (!open.empty()) {
        const Branch branch = open.back();
        open.pop_back();
        size_t first = branch.first;
        for (; first < branch.last && sorted[first].bytes.size() == branch.depth; ++first)
            if (branch.depth > 0) nodes_[branch.node].id = sorted[first].id;
        children.clear();
        for (size_t i = first; i < branch.last; ++i) {
            const auto byte = sorted[i].at(branch.depth);
            if (children.empty() || children.back().first != byte) children.emplace_back(byte, i);
        }
        if (children.empty()) continue;
        // The first of the newest blocks with room for all of them.
        std::optional<uint32_t> base;
        for (size_t block = used.size() - std::min(used.size(), kOpenBlocks); !base; ++block) {
            if (block == used.size()) {
                used.emplace_back();
                nodes_.resize(used.size() * kBlockNodes);
            }
            for (uint32_t word = 0; word < 4 && !base; ++word) {
                for (uint64_t free = ~used[block][word]; free != 0 && !base; free &= free - 1) {
                    const auto node =
                        static_cast<uint32_t>(block * kBlockNodes + word * 64 +
                                              static_cast<uint32_t>(std::countr_zero(free)));
                    const uint32_t tried = node ^ children.front().first;
                    if (std::ranges::none_of(children, [&](const auto& child) {
                            return is_used(tried ^ child.first);
                        }))
                        base = tried;
                }
            }
        }
        nodes_[branch.node].base = *base;
        for (size_t i = 0; i < children.size(); ++i) {
            const uint32_t node = *base ^ children[i].first;
            use(node);
            nodes_[node].parent = branch.node;
            const size_t last = i + 1 < children.size() ? children[i + 1].second : branch.last;
            open.push_back({node, children[i].second, last, branch.depth + 1});
        }
    }
}

int32_t Tokenizer::PieceTrie::find_longest(const char* bytes, size_t& size) const {
    int32_t id = -1;
    const size_t limit = size;
    uint32_t at = 0;
    for (size_t i = 0; i < limit; ++i) {
        const uint32_t next = nodes_[at].base ^ static_cast<unsigned char>(bytes[i]);
        if (nodes_[next].parent != at) break;
        at = next;
        if (nodes_[at].id < 0) continue;
        id = nodes_[at].id;
        size = i + 1;
    }
    return id;
}

// ---- one text ----

class Tokenizer::Run {
  public:
    Run(const Tokenizer& tokenizer, size_t limit, std::vector<int32_t>& ids)
        : t_(tokenizer),
          cache_(WordCache::of_this_thread()),
          ids_(ids),
          stop_(limit > kNoLimit - ids.size() ? kNoLimit : ids.size() + limit) {}

    void read(std::string_view text) {
        size_t at = 0;
        while (at < text.size() && ids_.size() < stop_) {
            if (t_.plain_spans_ && static_cast<unsigned char>(text[at]) < 0x80) {
                at = read_plain(text, at);
                if (at == text.size()) break;
            }
            // To the end of a word that is no plain one, and what else of its kind follows.
            do {
                at = read_odd(text, at);
            } while (at < text.size() && ids_.size() < stop_ &&
                     (chars_ != 0 || held_count_ != 0 || !t_.plain_spans_ ||
                      static_cast<unsigned char>(text[at]) >= 0x80));
        }
        settle();
        end_word();
        if (ids_.size() > stop_) ids_.resize(stop_);
    }

    /// What one code point becomes, for the table of the tokenizer.
    void trace(char32_t c) { read_rare(c); }
    bool traced_word() const { return chars_ != 0; }
    std::string_view word() const { return {word_, bytes_}; }
    size_t chars() const { return chars_; }
    size_t held() const { return held_count_; }

  private:
    /// Reads words and punctuation of plain ASCII from a place between words on. Returns where
    /// something else begins, or the word that it is a part of; or the end of text.
    size_t read_plain(std::string_view text, size_t at) {
        // No word has more ids than bytes; the cache writes a whole slot.
        int32_t pending[kPendingIds + kSpan + WordCache::kIds + 1];
        size_t count = 0;
        char padded[kSpan + kCachedBytes];
        bool more = true;
        while (more && at < text.size() && ids_.size() + count < stop_) {
            const size_t left = text.size() - at;
            const char* bytes = text.data() + at;
            if (left < sizeof(padded)) {
                std::memset(padded, ' ', sizeof(padded));
                std::memcpy(padded, bytes, left);
                bytes = padded;
            }
            const SpanMasks masks = classify(bytes, t_.added_marks_);
            const uint64_t inner = masks.word & masks.word << 1;
            uint64_t starts = masks.token & ~inner;
            size_t end = kSpan;  // of what is read now
            if (masks.odd != 0) {
                end = static_cast<size_t>(std::countr_zero(masks.odd));
                starts &= (uint64_t{1} << end) - 1;
                more = false;
            }
            if (end > 0 && (masks.word >> (end - 1) & 1U) != 0) {  // a word that may go on
                end = kSpan - 1 - static_cast<size_t>(std::countl_zero(starts));
                starts ^= uint64_t{1} << end;
                more = more && end > 0;
            }
            for (; starts != 0; starts &= starts - 1) {
                const auto start = static_cast<size_t>(std::countr_zero(starts));
                const auto size = static_cast<size_t>(std::countr_zero(~(inner >> start >> 1))) + 1;
                count += put_plain(bytes + start, size, pending + count);
            }
            at += std::min(end, left);
            if (count >= kPendingIds) {
                ids_.insert(ids_.end(), pending, pending + count);
                count = 0;
            }
        }
        ids_.insert(ids_.end(), pending, pending + count);
        return at;
    }

    /// Writes the ids of an ASCII word; 16 bytes must be readable. Returns how many.
    size_t put_plain(const char* bytes, size_t size, int32_t* out) {
        if (size > kCachedBytes) [[unlikely]]
            return put_rare_plain(bytes, size, out);
        const uint64_t head = lower_ascii(load_head(bytes, size), t_.lower_mask_);
        const uint64_t tail =
            lower_ascii(load_head(bytes + 8, size - std::min<size_t>(size, 8)), t_.lower_mask_);
        WordCache::Slot& slot = cache_.slot(head, tail);
        if (slot.head != head || slot.tail != tail || slot.tag >> 2 != t_.cache_owner_)
            [[unlikely]] {
            const size_t count = put_rare_plain(bytes, size, out);
            keep(slot, head, tail, out, count);
            return count;
        }
        std::memcpy(out, slot.ids, sizeof(slot.ids) + sizeof(slot.tag));
        return slot.tag & 3U;
    }

    [[gnu::noinline]] size_t put_rare_plain(const char* bytes, size_t size, int32_t* out) {
        for (size_t i = 0; i < size; ++i)
            word_[i] = t_.ascii_lower_[static_cast<unsigned char>(bytes[i])];
        return split_word(size, size, out);
    }

    void keep(WordCache::Slot& slot, uint64_t head, uint64_t tail, const int32_t* ids,
              size_t count) const {
        if (count > WordCache::kIds) return;
        slot.head = head;
        slot.tail = tail;
        std::memcpy(slot.ids, ids, count * sizeof(*ids));
        slot.tag = t_.cache_owner_ << 2 | static_cast<uint32_t>(count);
    }

    /// One step of any text. Returns the place behind it.
    size_t read_odd(std::string_view text, size_t at) {
        const auto byte = static_cast<unsigned char>(text[at]);
        if (t_.starts_added_[byte] && take_added(text, at)) return at;
        switch (t_.byte_class_[byte]) {
            case ByteClass::Word:
                settle();
                return read_ascii_word(text, at);
            case ByteClass::Space:
                settle();
                end_word();
                return at + 1;
            case ByteClass::Punctuation:
                settle();
                end_word();
                ids_.push_back(t_.ascii_id_[byte]);
                return at + 1;
            case ByteClass::Dropped:
                return at + 1;
            case ByteClass::Beyond:
                break;
        }
        read_beyond(next_code_point(text, at));
        return at;
    }

    bool take_added(std::string_view text, size_t& at) {
        for (const AddedToken& token : t_.added_) {
            if (text.compare(at, token.content.size(), token.content) == 0) {
                settle();
                end_word();
                ids_.push_back(token.id);
                at += token.content.size();
                return true;
            }
        }
        return false;
    }

    size_t read_ascii_word(std::string_view text, size_t at) {
        const size_t begin = at;
#if defined(__SSE2__)
        while (!t_.added_inside_words_ && text.size() - at >= kBlock) {
            const __m128i bytes =
                _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at));
            const auto within = [](__m128i value, char first, char count) {
                const __m128i moved =
                    _mm_add_epi8(value, _mm_set1_epi8(static_cast<char>(-128 - first)));
                return _mm_cmplt_epi8(moved, _mm_set1_epi8(static_cast<char>(-128 + count)));
            };
            const __m128i upper = within(bytes, 'A', 26);
            const __m128i small = _mm_or_si128(bytes, _mm_and_si128(upper, _mm_set1_epi8(0x20)));
            const __m128i kept = t_.settings_.lowercase ? small : bytes;
            const __m128i word = _mm_or_si128(within(small, 'a', 26), within(bytes, '0', 10));
            const auto others = ~static_cast<uint32_t>(_mm_movemask_epi8(word)) & 0xFFFFU;
            const size_t count =
                others == 0 ? kBlock : static_cast<size_t>(std::countr_zero(others));
            if (chars_ <= t_.settings_.word_chars_max) {
                _mm_storeu_si128(reinterpret_cast<__m128i*>(word_ + bytes_), kept);
                bytes_ += count;
            }
            chars_ += count;
            at += count;
            if (count < kBlock && at != begin) return at;
            if (count == 0) break;
        }
#endif
        for (; at < text.size(); ++at) {
            const auto byte = static_cast<unsigned char>(text[at]);
            if (t_.byte_class_[byte] != ByteClass::Word) break;
            if (t_.starts_added_[byte] && at != begin) break;
            put_byte(t_.ascii_lower_[byte]);
        }
        return at;
    }

    void put_byte(char byte) {
        if (chars_ <= t_.settings_.word_chars_max) word_[bytes_++] = byte;
        ++chars_;
    }

    void read_beyond(char32_t c) {
        if (c < kTableEnd) {
            const Mapped& mapped = t_.mapped_[c];
            switch (mapped.fate) {
                case Fate::Word:
                    settle();
                    if (chars_ <= t_.settings_.word_chars_max) {
                        std::memcpy(word_ + bytes_, mapped.bytes, 4);
                        bytes_ += mapped.size;
                    }
                    ++chars_;
                    return;
                case Fate::Space:
                    settle();
                    end_word();
                    return;
                case Fate::Punctuation:
                    settle();
                    end_word();
                    std::memcpy(word_, mapped.bytes, 4);
                    bytes_ = mapped.size;
                    chars_ = 1;
                    end_word();
                    return;
                case Fate::Dropped:
                case Fate::Accent:
                    return;
                case Fate::Rare:
                    break;
            }
        }
        if (c >= kIdeographBegin && c < kIdeographEnd && t_.settings_.handle_chinese_chars) {
            settle();
            end_word();
            ids_.push_back(t_.ideograph_id_[c - kIdeographBegin]);
            return;
        }
        read_rare(c);
    }

    void read_rare(char32_t c) {
        if (t_.settings_.clean_text) {
            if (is_dropped(c)) return;
            if (is_white_space(c)) c = ' ';
        }
        const bool alone = t_.settings_.handle_chinese_chars && is_ideograph(c);
        if (alone) write(' ');
        normalize(c);
        if (alone) write(' ');
    }

    void normalize(char32_t c) {
        if (!t_.settings_.strip_accents) return lower(c);
        char32_t parts[kDecomposedMax];
        const size_t count = decompose(c, parts);
        for (size_t i = 0; i < count; ++i) {
            const uint8_t order = combining_class(parts[i]);
            if (order == 0) settle();
            if (is_accent(parts[i])) continue;
            if (order == 0) {
                lower(parts[i]);
            } else {
                hold(parts[i], order);
            }
        }
    }

    /// Keeps a character that canonical ordering may still move, sorted by class, earlier ones
    /// first.
    void hold(char32_t c, uint8_t order) {
        // More of them make a word of unknown length whatever their order.
        if (held_count_ == held_.size()) settle();
        size_t place = held_count_++;
        for (; place > 0 && held_[place - 1].order > order; --place)
            held_[place] = held_[place - 1];
        held_[place] = {c, order};
    }

    void settle() {
        if (held_count_ == 0) return;
        const size_t count = held_count_;
        held_count_ = 0;
        for (size_t i = 0; i < count; ++i) lower(held_[i].c);
    }

    void lower(char32_t c) {
        if (!t_.settings_.lowercase) return write(c);
        char32_t parts[kLowerMax];
        const size_t count = to_lower(c, parts);
        for (size_t i = 0; i < count; ++i) write(parts[i]);
    }

    void write(char32_t c) {
        if (is_white_space(c)) {
            settle();
            return end_word();
        }
        const bool alone = is_punctuation(c);
        if (alone) end_word();
        if (chars_ <= t_.settings_.word_chars_max) bytes_ += put_utf8(c, word_ + bytes_);
        ++chars_;
        if (alone) end_word();
    }

    void end_word() {
        if (chars_ == 0) return;
        int32_t pieces[(kWordCharsLimit + 1) * 4 + WordCache::kIds + 1];
        size_t count = 0;
        if (bytes_ <= kCachedBytes && t_.settings_.clean_text) {  // no NUL in the word
            const uint64_t head = load_head(word_, bytes_);
            const uint64_t tail = load_head(word_ + 8, bytes_ - std::min<size_t>(bytes_, 8));
            WordCache::Slot& slot = cache_.slot(head, tail);
            if (slot.head != head || slot.tail != tail || slot.tag >> 2 != t_.cache_owner_) {
                count = split_word(bytes_, chars_, pieces);
                keep(slot, head, tail, pieces, count);
            } else {
                std::memcpy(pieces, slot.ids, sizeof(slot.ids));
                count = slot.tag & 3U;
            }
        } else {
            count = split_word(bytes_, chars_, pieces);
        }
        ids_.insert(ids_.end(), pieces, pieces + count);
        bytes_ = 0;
        chars_ = 0;
    }

    /// Ids of the first size bytes of word_: the whole, or the longest piece first; a word with a
    /// part that no piece begins is unknown as a whole. Returns how many, at most size.
    size_t split_word(size_t size, size_t chars, int32_t* out) const {
        out[0] = t_.unknown_id_;
        if (chars > t_.settings_.word_chars_max) return 1;
        const PieceTrie* table = &t_.starts_;
        size_t count = 0;
        for (size_t at = 0; at < size;) {
            size_t length = size - at;
            const int32_t id = table->find_longest(word_ + at, length);
            if (id < 0) {
                out[0] = t_.unknown_id_;
                return 1;
            }
            out[count++] = id;
            at += length;
            table = &t_.continuations_;
        }
        return count;
    }

    struct Held {
        char32_t c;
        uint8_t order;
    };

    const Tokenizer& t_;
    WordCache& cache_;
    std::vector<int32_t>& ids_;
    size_t stop_;
    size_t bytes_ = 0;
    size_t chars_ = 0;  ///< of the word so far; bytes beyond the longest word are not kept
    size_t held_count_ = 0;
    std::array<Held, kWordCharsLimit + 1> held_;
    char word_[(kWordCharsLimit + 2) * 4 + kBlock + 8];
};

void Tokenizer::encode(std::string_view text, size_t limit, std::vector<int32_t>& ids) const {
    ids.push_back(start_id_);
    const size_t inner = limit == kNoLimit ? kNoLimit : limit < 2 ? 0 : limit - 2;
    Run(*this, inner, ids).read(text);
    ids.push_back(end_id_);
}

// ---- loading ----

/// Of a word of one character.
int32_t Tokenizer::id_of(char32_t c) const {
    char bytes[4];
    const size_t size = put_utf8(c, bytes);
    size_t found = size;
    const int32_t id = starts_.find_longest(bytes, found);
    return id >= 0 && found == size ? id : unknown_id_;
}

void Tokenizer::build_tables() {
    for (size_t byte = 0; byte < 256; ++byte) {
        const auto c = static_cast<char32_t>(byte);
        ByteClass kind = ByteClass::Beyond;
        if (byte < 0x80) {
            if (settings_.clean_text && is_dropped(c)) {
                kind = ByteClass::Dropped;
            } else if (is_white_space(c)) {
                kind = ByteClass::Space;
            } else {
                kind = is_punctuation(c) ? ByteClass::Punctuation : ByteClass::Word;
            }
            const bool lowers = settings_.lowercase && byte >= 'A' && byte <= 'Z';
            ascii_lower_[byte] = static_cast<char>(lowers ? byte + 0x20 : byte);
            ascii_id_[byte] = id_of(c);
        }
        byte_class_[byte] = kind;
    }
    for (const AddedToken& token : added_) {
        const auto first = static_cast<unsigned char>(token.content[0]);
        starts_added_[first] = true;
        if (is_letter_or_digit(first)) added_inside_words_ = true;
    }
    size_t marks = 0;
    for (size_t byte = 0; byte < 0x80; ++byte) {
        if (!starts_added_[byte]) continue;
        if (marks < added_marks_.size()) added_marks_[marks] = static_cast<char>(byte);
        ++marks;
    }
    plain_spans_ = marks <= added_marks_.size();
    lower_mask_ = settings_.lowercase ? kOnes * 0x20 : 0;
    static std::atomic<uint32_t> tokenizers{0};
    cache_owner_ = ++tokenizers;

    if (settings_.handle_chinese_chars) {
        for (char32_t c = kIdeographBegin; c < kIdeographEnd; ++c)
            ideograph_id_.push_back(id_of(c));
    }

    mapped_.assign(kTableEnd, Mapped{});
    std::vector<int32_t> unused;
    for (char32_t c = 0x80; c < kTableEnd; ++c) {
        Mapped& mapped = mapped_[c];
        if (settings_.clean_text && is_dropped(c)) {
            mapped.fate = Fate::Dropped;
        } else if (is_white_space(c)) {
            mapped.fate = Fate::Space;
        } else if (settings_.strip_accents && is_accent(c)) {
            char32_t parts[kDecomposedMax];
            const bool simple = decompose(c, parts) == 1 && combining_class(c) != 0;
            mapped.fate = simple ? Fate::Accent : Fate::Rare;
        } else if (is_punctuation(c)) {
            mapped.fate = Fate::Rare;
            char32_t parts[kDecomposedMax];
            if (decompose(c, parts) == 1 && parts[0] == c) {
                mapped.fate = Fate::Punctuation;
                mapped.size = static_cast<uint8_t>(put_utf8(c, mapped.bytes));
            }
        } else {
            Run run(*this, kNoLimit, unused);
            run.trace(c);
            if (unused.empty() && run.chars() == 1 && run.held() == 0) {
                mapped.fate = Fate::Word;
                mapped.size = static_cast<uint8_t>(run.word().size());
                std::memcpy(mapped.bytes, run.word().data(), run.word().size());
            }
            unused.clear();
        }
    }
}

Result<void> Tokenizer::build(const std::vector<std::pair<std::string, int32_t>>& vocabulary) {
    std::vector<std::pair<std::string_view, int32_t>> starts;
    std::vector<std::pair<std::string_view, int32_t>> continuations;
    starts.reserve(vocabulary.size());
    continuations.reserve(vocabulary.size());
    std::unordered_map<std::string_view, int32_t> special;
    for (const auto& [token, id] : vocabulary) {
        if (id < 0 || id > (1 << 24)) {
            return fail(ErrorCode::Corrupt, fmt::format("token '{}' has the id {}", token, id),
                        "Fetch the model again: ids count from 0");
        }
        starts.emplace_back(token, id);
        if (token.size() > continuation_prefix_.size() && token.starts_with(continuation_prefix_)) {
            continuations.emplace_back(std::string_view(token).substr(continuation_prefix_.size()),
                                       id);
        }
        if (token == unknown_token_ || token == start_token_ || token == end_token_)
            special[token] = id;
        vocabulary_size_ = std::max(vocabulary_size_, static_cast<size_t>(id) + 1);
    }
    for (const auto& [token, id] :
         {std::pair<const std::string&, int32_t&>{unknown_token_, unknown_id_},
          {start_token_, start_id_},
          {end_token_, end_id_}}) {
        const auto found = special.find(token);
        if (found == special.end()) {
            return fail(
                ErrorCode::Corrupt,
                fmt::format("the vocabulary of {} tokens has no '{}'", vocabulary.size(), token),
                "Use the vocabulary the model was trained with");
        }
        id = found->second;
    }
    std::sort(added_.begin(), added_.end(), [](const AddedToken& a, const AddedToken& b) {
        return a.content.size() > b.content.size();
    });
    starts_.build(starts);
    continuations_.build(continuations);
    build_tables();
    return {};
}

Result<Tokenizer> Tokenizer::load(const std::filesystem::path& model_directory) {
    std::error_code code;
    const std::filesystem::path file = model_directory / "tokenizer.json";
    if (std::filesystem::exists(file, code))
        return from_json(file).context("file " + file.string());
    if (std::filesystem::exists(model_directory / "vocab.txt", code))
        return from_vocabulary(model_directory);
    return fail(ErrorCode::NotFound,
                fmt::format("no tokenizer.json and no vocab.txt in '{}'", model_directory.string()),
                "Name the folder of a model, for example share/px/models/all-MiniLM-L6-v2");
}

Result<Tokenizer> Tokenizer::from_json(const std::filesystem::path& file) {
    const json::value document = PX_TRY(read_json_file(file));
    const JsonView root(document, "");
    Tokenizer made;

    const JsonView normalizer = PX_TRY(root.object("normalizer"));
    PX_TRY(normalizer.expect("type", "BertNormalizer"));
    made.settings_.clean_text = PX_TRY(normalizer.boolean("clean_text", true));
    made.settings_.handle_chinese_chars = PX_TRY(normalizer.boolean("handle_chinese_chars", true));
    made.settings_.lowercase = PX_TRY(normalizer.boolean("lowercase", true));
    made.settings_.strip_accents =
        PX_TRY(normalizer.boolean("strip_accents", made.settings_.lowercase));
    PX_TRY(PX_TRY(root.object("pre_tokenizer")).expect("type", "BertPreTokenizer"));

    const JsonView model = PX_TRY(root.object("model"));
    PX_TRY(model.expect("type", "WordPiece"));
    made.unknown_token_ = PX_TRY(model.string("unk_token", "[UNK]"));
    made.continuation_prefix_ = PX_TRY(model.string("continuing_subword_prefix", "##"));
    const int64_t chars_max = PX_TRY(model.integer("max_input_chars_per_word", 100));
    if (chars_max < 1 || chars_max > static_cast<int64_t>(kWordCharsLimit)) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("model.max_input_chars_per_word is {}", chars_max),
                    fmt::format("Supported: 1 to {}", kWordCharsLimit));
    }
    made.settings_.word_chars_max = static_cast<size_t>(chars_max);

    // What stands around a text: [CLS] A [SEP], told by either of the two processors BERT files
    // use.
    const JsonView processor = PX_TRY(root.object("post_processor"));
    const std::string kind = PX_TRY(processor.string("type", ""));
    if (kind == "BertProcessing") {
        made.start_token_ = PX_TRY(processor.string_at("cls", 0));
        made.end_token_ = PX_TRY(processor.string_at("sep", 0));
    } else if (kind == "TemplateProcessing") {
        const std::vector<JsonView> parts = PX_TRY(processor.array("single"));
        if (parts.size() != 3 || !parts[0].has("SpecialToken") || !parts[1].has("Sequence") ||
            !parts[2].has("SpecialToken")) {
            return fail(ErrorCode::InvalidArgument, "post_processor.single is not [CLS] A [SEP]",
                        "Only the template of BERT models is supported");
        }
        made.start_token_ = PX_TRY(PX_TRY(parts[0].object("SpecialToken")).string("id", ""));
        made.end_token_ = PX_TRY(PX_TRY(parts[2].object("SpecialToken")).string("id", ""));
    } else {
        return fail(ErrorCode::InvalidArgument, fmt::format("post_processor.type is '{}'", kind),
                    "Supported: TemplateProcessing, BertProcessing");
    }

    for (const JsonView& token : PX_TRY(root.array("added_tokens"))) {
        AddedToken added;
        added.content = PX_TRY(token.string("content", ""));
        const int64_t id = PX_TRY(token.integer("id", -1));
        for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) {
            if (PX_TRY(token.boolean(flag, false))) {
                return fail(
                    ErrorCode::InvalidArgument,
                    fmt::format("added token '{}' sets {}", added.content, flag),
                    "Supported are added tokens that are matched as they stand in the text");
            }
        }
        if (added.content.empty() || id < 0 || id > (1 << 24)) {
            return fail(ErrorCode::Corrupt,
                        fmt::format("added token '{}' has the id {}", added.content, id),
                        "Fetch the model again");
        }
        added.id = static_cast<int32_t>(id);
        made.vocabulary_size_ = std::max(made.vocabulary_size_, static_cast<size_t>(id) + 1);
        made.added_.push_back(std::move(added));
    }

    std::vector<std::pair<std::string, int32_t>> vocabulary;
    const json::object& words = *PX_TRY(model.object("vocab")).as_object();
    vocabulary.reserve(words.size());
    for (const auto& [token, id] : words) {
        if (!id.is_int64() || id.get_int64() < 0 || id.get_int64() > (1 << 24)) {
            return fail(ErrorCode::Corrupt,
                        fmt::format("model.vocab has no number for '{}'", std::string_view(token)),
                        "Fetch the model again");
        }
        vocabulary.emplace_back(token, static_cast<int32_t>(id.get_int64()));
    }
    PX_TRY(made.build(vocabulary));
    return made;
}

Result<Tokenizer> Tokenizer::from_vocabulary(const std::filesystem::path& directory) {
    Tokenizer made;
    const std::filesystem::path config = directory / "tokenizer_config.json";
    std::error_code code;
    if (std::filesystem::exists(config, code)) {
        const json::value document =
            PX_TRY(read_json_file(config).context("file " + config.string()));
        const JsonView root(document, "");
        const auto read = [&]() -> Result<void> {
            made.settings_.lowercase = PX_TRY(root.boolean("do_lower_case", true));
            made.settings_.handle_chinese_chars =
                PX_TRY(root.boolean("tokenize_chinese_chars", true));
            made.settings_.strip_accents =
                PX_TRY(root.boolean("strip_accents", made.settings_.lowercase));
            made.unknown_token_ = PX_TRY(root.string("unk_token", "[UNK]"));
            made.start_token_ = PX_TRY(root.string("cls_token", "[CLS]"));
            made.end_token_ = PX_TRY(root.string("sep_token", "[SEP]"));
            return {};
        };
        PX_TRY(read().context("file " + config.string()));
    }
    const std::filesystem::path file = directory / "vocab.txt";
    std::ifstream in(file, std::ios::binary);
    if (!in) return fail_errno(errno, fmt::format("cannot read '{}'", file.string()));
    std::unordered_map<std::string, int32_t> ids;
    std::string line;
    int32_t id = 0;
    for (; std::getline(in, line); ++id) {
        if (id > (1 << 24))
            return fail(ErrorCode::Corrupt, "more than 16 million lines", "Is this a vocabulary?");
        if (!line.empty() && line.back() == '\r') line.pop_back();
        ids[line] = id;
    }
    if (in.bad()) return fail_errno(errno, fmt::format("cannot read '{}'", file.string()));
    for (const std::string& token : {std::string("[PAD]"), made.unknown_token_, made.start_token_,
                                     made.end_token_, std::string("[MASK]")}) {
        const auto found = ids.find(token);
        if (found != ids.end()) made.added_.push_back({token, found->second});
    }
    PX_TRY(made.build({ids.begin(), ids.end()}).context("file " + file.string()));
    made.vocabulary_size_ = static_cast<size_t>(id);
    return made;
}

}  // namespace px::embed
