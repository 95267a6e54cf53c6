// WordPiece tokenizer of the BERT family: text → token ids, as PyPI tokenizers gives them for the
// same tokenizer.json with truncation and padding off. In the walk: the first half of embed.
// Immutable after load; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace px::embed {

class Tokenizer {
  public:
    static constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();

    /// Reads tokenizer.json, or vocab.txt with tokenizer_config.json where there is none.
    /// Errors: NotFound (neither file), InvalidArgument (a setting we don't support, by name),
    /// Corrupt.
    static Result<Tokenizer> load(const std::filesystem::path& model_directory);

    /// Appends [CLS], the first limit - 2 tokens of text and [SEP]. Reads no more of text than it
    /// needs for them. Ill-formed bytes count as U+FFFD, which every BERT tokenizer drops. limit:
    /// at least 2.
    void encode(std::string_view text, size_t limit, std::vector<int32_t>& ids) const;

    /// Number of ids in the vocabulary, one above the largest.
    size_t vocabulary_size() const { return vocabulary_size_; }
    bool lowercases() const { return settings_.lowercase; }

  private:
    struct Settings {
        bool clean_text = true;
        bool handle_chinese_chars = true;
        bool strip_accents = true;
        bool lowercase = true;
        size_t word_chars_max = 100;  ///< longer words are unknown
    };
    struct AddedToken {
        std::string content;
        int32_t id = 0;
    };

    /// An exact map from short byte strings to ids: open addressing, keyed by the first eight bytes
    /// and the length.
    class PieceTable {
      public:
        void build(const std::vector<std::pair<std::string_view, int32_t>>& pieces);
        /// The id of bytes, or -1. Reads up to 7 bytes behind the last one.
        int32_t find(const char* bytes, size_t size) const;
        /// The id of the longest piece that begins bytes, and its size; -1 when there is none.
        int32_t find_longest(const char* bytes, size_t& size) const;

      private:
        struct Slot {
            uint64_t head = 0;
            int32_t id = -1;
            uint32_t size = 0;
        };
        static constexpr size_t kStemBits = 15;
        static constexpr size_t kSizeBits = 32;
        static uint64_t hash(const char* bytes, size_t size);
        static size_t stem(const char* bytes) {
            const auto at = [&](size_t i) {
                return static_cast<uint32_t>(static_cast<unsigned char>(bytes[i]));
            };
            return ((at(0) << 16 | at(1) << 8 | at(2)) * 0x9E3779B1U) >> (32 - kStemBits);
        }

        std::vector<Slot> slots_;
        std::vector<uint32_t> tails_;  ///< slot → where its bytes stand in pool_
        std::vector<uint32_t>
            sizes_;  ///< by stem: bit n = there are pieces of n bytes; bit 0: of kSizeBits or more
        std::string pool_;
        unsigned shift_ = 63;
        size_t size_max_ = 0;
    };

    enum class ByteClass : uint8_t { Word, Space, Punctuation, Dropped, Beyond };
    /// What becomes of a code point below kTableEnd, worked out once.
    enum class Fate : uint8_t { Word, Space, Punctuation, Dropped, Accent, Rare };
    struct Mapped {
        Fate fate = Fate::Rare;
        uint8_t size = 0;
        char bytes[4] = {};
    };
    static constexpr char32_t kTableEnd = 0x3400;

    class Run;

    static Result<Tokenizer> from_json(const std::filesystem::path& file);
    static Result<Tokenizer> from_vocabulary(const std::filesystem::path& directory);
    Result<void> build(const std::vector<std::pair<std::string, int32_t>>& vocabulary);
    void build_tables();

    Settings settings_;
    std::string continuation_prefix_ = "##";
    std::string unknown_token_ = "[UNK]";
    std::string start_token_ = "[CLS]";
    std::string end_token_ = "[SEP]";
    std::vector<AddedToken> added_;  ///< longest first
    PieceTable starts_;
    PieceTable continuations_;
    int32_t unknown_id_ = 0;
    int32_t start_id_ = 0;
    int32_t end_id_ = 0;
    size_t vocabulary_size_ = 0;
    std::array<ByteClass, 256> byte_class_{};
    std::array<char, 128> ascii_lower_{};
    std::array<int32_t, 128> ascii_id_{};   ///< id of a one-character word
    std::array<bool, 256> starts_added_{};  ///< an added token begins with this byte
    bool added_inside_words_ = false;  ///< one begins with a letter or digit: look at every byte
    std::vector<Mapped> mapped_;       ///< [kTableEnd]
};

}  // namespace px::embed
