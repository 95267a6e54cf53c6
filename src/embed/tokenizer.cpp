#include "embed/tokenizer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <sstream>
#include <unordered_map>

#include <fmt/format.h>
#include <boost/json.hpp>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/utf8.h"
#include "embed/json_file.h"
#include "embed/unicode_classes.h"

namespace px::embed {

namespace json = boost::json;

namespace {

constexpr size_t kWordCharsLimit =
    512;  ///< max_input_chars_per_word at most; bounds the word buffer
constexpr size_t kBlock = 16;

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

/// The code point at offset and the offset behind it; an ill-formed byte is U+FFFD.
char32_t next_code_point(std::string_view text, size_t& offset) {
    const size_t left = text.size() - offset;
    const auto at = [&](size_t i) { return static_cast<unsigned char>(text[offset + i]); };
    const unsigned char lead = at(0);
    const size_t length = lead < 0x80                   ? 1
                          : lead >= 0xC2 && lead < 0xE0 ? 2
                          : lead >= 0xE0 && lead < 0xF0 ? 3
                          : lead >= 0xF0 && lead < 0xF5 ? 4
                                                        : 0;
    bool good = length != 0 && length <= left;
    for (size_t i = 1; good && i < length; ++i) good = (at(i) & 0xC0) == 0x80;
    if (good && length > 2) {
        const unsigned char second = at(1);
        good = !((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
                 (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F));
    }
    if (!good) {
        ++offset;
        return 0xFFFD;
    }
    return utf8_next(text, offset);
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

// ---- the piece table ----

uint64_t Tokenizer::PieceTable::hash(const char* bytes, size_t size) {
    constexpr uint64_t kMultiplier = 0x9E3779B97F4A7C15ULL;
    uint64_t value = (load_head(bytes, size) ^ size) * kMultiplier;
    for (size_t at = 8; at < size; at += 8) {
        value = (std::rotl(value, 29) ^ load_head(bytes + at, size - at)) * kMultiplier;
    }
    return value ^ value >> 29;
}

void Tokenizer::PieceTable::build(const std::vector<std::pair<std::string_view, int32_t>>& pieces) {
    const size_t slot_count = std::bit_ceil(std::max<size_t>(pieces.size() * 2, 16));
    shift_ = 64U - static_cast<unsigned>(std::countr_zero(slot_count));
    slots_.assign(slot_count, Slot{});
    tails_.assign(slot_count, 0);
    sizes_.assign(size_t{1} << kStemBits, 0);
    std::string padded;
    for (const auto& [bytes, id] : pieces) {
        if (bytes.empty()) continue;
        padded.assign(bytes);
        padded.append(8, '\0');
        size_t index = (hash(padded.data(), bytes.size()) * 0xD6E8FEB86659FD93ULL) >> shift_;
        while (slots_[index].id >= 0) index = (index + 1) & (slot_count - 1);
        slots_[index] = {load_head(padded.data(), bytes.size()), id,
                         static_cast<uint32_t>(bytes.size())};
        tails_[index] = static_cast<uint32_t>(pool_.size());
        pool_ += bytes;
        if (bytes.size() >= 3) {
            sizes_[stem(padded.data())] |=
                bytes.size() < kSizeBits ? uint32_t{1} << bytes.size() : 1U;
        }
        size_max_ = std::max(size_max_, bytes.size());
    }
}

inline int32_t Tokenizer::PieceTable::find(const char* bytes, size_t size) const {
    const uint64_t head = load_head(bytes, size);
    size_t index = (hash(bytes, size) * 0xD6E8FEB86659FD93ULL) >> shift_;
    while (true) {
        const Slot& slot = slots_[index];
        if (slot.id < 0) return -1;
        if (slot.head == head && slot.size == size &&
            (size <= 8 ||
             std::memcmp(pool_.data() + tails_[index] + 8, bytes + 8, size - 8) == 0)) {
            return slot.id;
        }
        index = (index + 1) & (slots_.size() - 1);
    }
}

int32_t Tokenizer::PieceTable::find_longest(const char* bytes, size_t& size) const {
    // Only sizes that some piece with these first three bytes has are tried, longest first.
    if (size >= 3) {
        uint32_t sizes = sizes_[stem(bytes)];
        if (size < kSizeBits) sizes &= (uint32_t{2} << size) - 1;
        if ((sizes & 1U) != 0) {  // pieces of kSizeBits bytes and more
            for (size_t tried = std::min(size, size_max_); tried >= kSizeBits; --tried) {
                if (const int32_t id = find(bytes, tried); id >= 0) {
                    size = tried;
                    return id;
                }
            }
            sizes &= ~1U;
        }
        while (sizes != 0) {
            const size_t tried = 31U - static_cast<unsigned>(std::countl_zero(sizes));
            if (const int32_t id = find(bytes, tried); id >= 0) {
                size = tried;
                return id;
            }
            sizes &= ~(uint32_t{1} << tried);
        }
    }
    for (size_t tried = std::min<size_t>(size, 2); tried > 0; --tried) {
        if (const int32_t id = find(bytes, tried); id >= 0) {
            size = tried;
            return id;
        }
    }
    return -1;
}

// ---- one text ----

class Tokenizer::Run {
  public:
    Run(const Tokenizer& tokenizer, size_t limit, std::vector<int32_t>& ids)
        : t_(tokenizer),
          ids_(ids),
          stop_(limit > kNoLimit - ids.size() ? kNoLimit : ids.size() + limit) {}

    void read(std::string_view text) {
        size_t at = 0;
        while (at < text.size() && ids_.size() < stop_) {
            const auto byte = static_cast<unsigned char>(text[at]);
            const bool maybe_added = t_.starts_added_[byte];
            if (maybe_added && take_added(text, at)) continue;
            switch (t_.byte_class_[byte]) {
                case ByteClass::Word:
                    settle();
                    at = read_ascii_word(text, at);
                    break;
                case ByteClass::Space:
                    settle();
                    end_word();
                    ++at;
                    break;
                case ByteClass::Punctuation:
                    settle();
                    end_word();
                    ids_.push_back(t_.ascii_id_[byte]);
                    ++at;
                    break;
                case ByteClass::Dropped:
                    ++at;
                    break;
                case ByteClass::Beyond:
                    read_beyond(next_code_point(text, at));
                    break;
            }
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
        if (c >= 0x4E00 && c <= 0x9FFF && t_.settings_.handle_chinese_chars) {
            settle();
            end_word();
            bytes_ = put_utf8(c, word_);
            chars_ = 1;
            end_word();
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
        if (chars_ > t_.settings_.word_chars_max) {
            ids_.push_back(t_.unknown_id_);
        } else if (const int32_t whole = t_.starts_.find(word_, bytes_); whole >= 0) {
            ids_.push_back(whole);
        } else {
            split_word();
        }
        bytes_ = 0;
        chars_ = 0;
    }

    /// Longest piece first; a word with a part that no piece begins is unknown as a whole.
    void split_word() {
        const size_t before = ids_.size();
        const PieceTable* table = &t_.starts_;
        size_t at = 0;
        while (at < bytes_) {
            size_t size = bytes_ - at;
            const int32_t id = table->find_longest(word_ + at, size);
            if (id < 0) {
                ids_.resize(before);
                ids_.push_back(t_.unknown_id_);
                return;
            }
            ids_.push_back(id);
            at += size;
            table = &t_.continuations_;
        }
    }

    struct Held {
        char32_t c;
        uint8_t order;
    };

    const Tokenizer& t_;
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
            const char padded[8] = {static_cast<char>(byte)};
            const int32_t id = starts_.find(padded, 1);
            ascii_id_[byte] = id >= 0 ? id : unknown_id_;
        }
        byte_class_[byte] = kind;
    }
    for (const AddedToken& token : added_) {
        const auto first = static_cast<unsigned char>(token.content[0]);
        starts_added_[first] = true;
        if (is_letter_or_digit(first)) added_inside_words_ = true;
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
