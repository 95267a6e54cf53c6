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

    /// Which pieces there are, as a double-array trie: the child of a node by a byte stands at its
    /// base XOR the byte, if it names the node as its parent. Source: Aoe 1989, "An efficient
    /// digital search algorithm by using a double-array structure".
    class PieceTrie {
      public:
        void build(const std::vector<std::pair<std::string_view, int32_t>>& pieces);
        /// The id of the longest piece that begins bytes, and its size; -1 when there is none.
        int32_t find_longest(const char* bytes, size_t& size) const;

      private:
        struct Node {
            uint32_t base = 0;
            uint32_t parent = std::numeric_limits<uint32_t>::max();  ///< of a free node
            int32_t id = -1;
        };
        static constexpr size_t kBlockNodes = 256;  ///< the children of a node stand in one block
        static constexpr size_t kOpenBlocks = 4;    ///< older ones are taken as full
        std::vector<Node> nodes_;
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
    static constexpr char32_t kIdeographBegin = 0x4E00;
    static constexpr char32_t kIdeographEnd = 0xA000;

    struct WordCache;
    class Run;

    static Result<Tokenizer> from_json(const std::filesystem::path& file);
    static Result<Tokenizer> from_vocabulary(const std::filesystem::path& directory);
    Result<void> build(const std::vector<std::pair<std::string, int32_t>>& vocabulary);
    void build_tables();
    int32_t id_of(char32_t c) const;

    Settings settings_;
    std::string continuation_prefix_ = "##";
    std::string unknown_token_ = "[UNK]";
    std::string start_token_ = "[CLS]";
    std::string end_token_ = "[SEP]";
    std::vector<AddedToken> added_;  ///< longest first
    PieceTrie starts_;
    PieceTrie continuations_;
    int32_t unknown_id_ = 0;
    int32_t start_id_ = 0;
    int32_t end_id_ = 0;
    size_t vocabulary_size_ = 0;
    std::array<ByteClass, 256> byte_class_{};
    std::array<char, 128> ascii_lower_{};
    std::array<int32_t, 128> ascii_id_{};   ///< id of a one-character word
    std::array<bool, 256> starts_added_{};  ///< an added token begins with this byte
    bool added_inside_words_ = false;    ///< one begins with a letter or digit: look at every byte
    std::vector<Mapped> mapped_;         ///< [kTableEnd]
    std::vector<int32_t> ideograph_id_;  ///< of the common ideographs, each a word
    // For what the vector instructions read: spans of plain ASCII.
    std::array<char, 2> added_marks_{};  ///< bytes that may begin an added token
    bool plain_spans_ = false;           ///< there are no more such bytes than added_marks_ holds
    uint64_t lower_mask_ = 0;            ///< the bits lower-casing sets, in eight bytes
    uint32_t cache_owner_ = 0;           ///< whose words these are, in the cache of a thread
};

}  // namespace px::embed
