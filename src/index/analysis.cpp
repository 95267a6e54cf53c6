#include "index/analysis.h"

#include <libstemmer.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>

#include "base/utf8.h"

namespace px::index {

namespace {

constexpr size_t kTokenBytesMax = 64;
constexpr size_t kLettersBeforeFootnote = 4;  // "inflation2" is "inflation" and 2, but "Q3" stays

// Sorted, for binary search. Question words and auxiliaries count as stop words: a question's terms
// are its content.
constexpr std::string_view kStopWords[] = {
    "a",         "about",     "above",      "after",   "again",   "against",   "all",
    "am",        "an",        "and",        "any",     "are",     "aren't",    "as",
    "at",        "be",        "because",    "been",    "before",  "being",     "below",
    "between",   "both",      "but",        "by",      "can",     "can't",     "cannot",
    "could",     "couldn't",  "did",        "didn't",  "do",      "does",      "doesn't",
    "doing",     "don't",     "down",       "during",  "each",    "few",       "for",
    "from",      "further",   "had",        "hadn't",  "has",     "hasn't",    "have",
    "haven't",   "having",    "he",         "he'd",    "he'll",   "he's",      "her",
    "here",      "here's",    "hers",       "herself", "him",     "himself",   "his",
    "how",       "how's",     "i",          "i'd",     "i'll",    "i'm",       "i've",
    "if",        "in",        "into",       "is",      "isn't",   "it",        "it's",
    "its",       "itself",    "let's",      "me",      "more",    "most",      "mustn't",
    "my",        "myself",    "no",         "nor",     "not",     "of",        "off",
    "on",        "once",      "only",       "or",      "other",   "ought",     "our",
    "ours",      "ourselves", "out",        "over",    "own",     "same",      "shan't",
    "she",       "she'd",     "she'll",     "she's",   "should",  "shouldn't", "so",
    "some",      "such",      "than",       "that",    "that's",  "the",       "their",
    "theirs",    "them",      "themselves", "then",    "there",   "there's",   "these",
    "they",      "they'd",    "they'll",    "they're", "they've", "this",      "those",
    "through",   "to",        "too",        "under",   "until",   "up",        "very",
    "was",       "wasn't",    "we",         "we'd",    "we'll",   "we're",     "we've",
    "were",      "weren't",   "what",       "what's",  "when",    "when's",    "where",
    "where's",   "which",     "while",      "who",     "who's",   "whom",      "why",
    "why's",     "will",      "with",       "won't",   "would",   "wouldn't",  "you",
    "you'd",     "you'll",    "you're",     "you've",  "your",    "yours",     "yourself",
    "yourselves"};
static_assert(std::is_sorted(std::begin(kStopWords), std::end(kStopWords)));

bool is_stop_word(std::string_view token) {
    return token.size() <= 10 &&
           std::binary_search(std::begin(kStopWords), std::end(kStopWords), token);
}

enum class Kind : uint8_t { Break, Letter, Digit, Mark, Apostrophe, Unspaced, Pieces };

constexpr std::array<Kind, 128> kAscii = [] {
    std::array<Kind, 128> table{};
    for (size_t c = 0; c < 128; ++c) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        table[c] = letter                   ? Kind::Letter
                   : (c >= '0' && c <= '9') ? Kind::Digit
                   : c == '\''              ? Kind::Apostrophe
                                            : Kind::Break;
    }
    return table;
}();

/// Scripts written without spaces between words: Han, kana, Hangul (spaced, but agglutinating),
/// Thai, Lao, Myanmar, Khmer.
bool is_unspaced(char32_t c) {
    return (c >= 0x0E00 && c <= 0x0EFF) || (c >= 0x1000 && c <= 0x109F) ||
           (c >= 0x1780 && c <= 0x17FF) || c == 0x3005 || (c >= 0x3040 && c <= 0x30FF) ||
           (c >= 0x31F0 && c <= 0x31FF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0xAC00 && c <= 0xD7AF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x323AF);
}

/// Accents that are dropped; marks of other scripts carry vowels and stay.
bool is_accent(char32_t c) {
    return (c >= 0x0300 && c <= 0x036F) || (c >= 0x0591 && c <= 0x05C7) ||
           (c >= 0x064B && c <= 0x065F) || c == 0x0670;
}

Kind kind_of(char32_t c) {
    if (c < 128) return kAscii[c];
    if (c == 0x2019 || c == 0x02BC) return Kind::Apostrophe;
    if (c == 0x00AD || c == 0x200B || c == 0x200C || c == 0x200D || c == 0x2060 || c == 0xFEFF)
        return Kind::Mark;
    switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
        case UTF8PROC_CATEGORY_LU:
        case UTF8PROC_CATEGORY_LL:
        case UTF8PROC_CATEGORY_LT:
        case UTF8PROC_CATEGORY_LM:
        case UTF8PROC_CATEGORY_LO:
            return is_unspaced(c) ? Kind::Unspaced : Kind::Letter;
        case UTF8PROC_CATEGORY_MN:
        case UTF8PROC_CATEGORY_MC:
            return is_unspaced(c) ? Kind::Unspaced : Kind::Mark;
        case UTF8PROC_CATEGORY_ND:
        case UTF8PROC_CATEGORY_NL:
            return Kind::Digit;
        case UTF8PROC_CATEGORY_NO:
            return Kind::Pieces;
        default:
            return Kind::Break;
    }
}

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

struct Analyzer::State {
    sb_stemmer* stemmer = sb_stemmer_new("english", "UTF_8");
    std::string token;
    ~State() { sb_stemmer_delete(stemmer); }
};

Analyzer::Analyzer() : state_(std::make_unique<State>()) {
    state_->token.reserve(2 * kTokenBytesMax);
}
Analyzer::~Analyzer() = default;

std::string_view Analyzer::term_of(std::string_view token) {
    if (is_stop_word(token)) return {};
    for (const char c : token) {
        if ((c < 'a' || c > 'z') && c != '\'')
            return token;  // numbers and other scripts have no English stem
    }
    const sb_symbol* stem =
        state_->stemmer == nullptr
            ? nullptr
            : sb_stemmer_stem(state_->stemmer, reinterpret_cast<const sb_symbol*>(token.data()),
                              static_cast<int>(token.size()));
    if (stem == nullptr) return token;
    return {reinterpret_cast<const char*>(stem),
            static_cast<size_t>(sb_stemmer_length(state_->stemmer))};
}

std::vector<std::string> Analyzer::terms(std::string_view text) {
    std::vector<std::string> result;
    tokens(text, [&](std::string_view token) {
        const std::string_view term = term_of(token);
        if (!term.empty()) result.emplace_back(term);
    });
    return result;
}

void Analyzer::walk(std::string_view text, Emit emit, void* context) {
    std::string& token = state_->token;
    token.clear();
    size_t letters = 0;          // letters at the end of the token
    char32_t last_unspaced = 0;  // of a run of unspaced characters
    bool run_emitted = false;

    const auto end_word = [&] {
        while (!token.empty() && (token.back() == '\'' || token.back() == '.')) token.pop_back();
        if (!token.empty()) emit(context, token);
        token.clear();
        letters = 0;
    };
    const auto end_run = [&] {
        if (last_unspaced != 0 && !run_emitted) {
            token.clear();
            utf8_append(token, last_unspaced);
            emit(context, token);
            token.clear();
        }
        last_unspaced = 0;
        run_emitted = false;
    };
    const auto append = [&](char32_t c) {
        if (token.size() + 4 <= kTokenBytesMax) utf8_append(token, c);
    };
    /// Appends the folded form of a letter outside ASCII.
    const auto append_folded = [&](char32_t c) {
        std::array<utf8proc_int32_t, 32> folded{};
        int last_class = 0;
        const utf8proc_ssize_t count = utf8proc_decompose_char(
            static_cast<utf8proc_int32_t>(c), folded.data(), folded.size(),
            static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT |
                                           UTF8PROC_CASEFOLD | UTF8PROC_IGNORE),
            &last_class);
        if (count < 0 || count > static_cast<utf8proc_ssize_t>(folded.size())) return append(c);
        for (utf8proc_ssize_t i = 0; i < count; ++i) {
            const auto piece = static_cast<char32_t>(folded[static_cast<size_t>(i)]);
            if (!is_accent(piece) && kind_of(piece) != Kind::Break) append(piece);
        }
    };

    size_t at = 0;
    while (at < text.size()) {
        const auto byte = static_cast<unsigned char>(text[at]);
        char32_t c = byte;
        const size_t begin = at;
        if (byte < 0x80) {
            ++at;
        } else {
            c = utf8_next(text, at);
        }
        const Kind kind = byte < 0x80 ? kAscii[byte] : kind_of(c);
        if (kind == Kind::Unspaced) {
            end_word();
            if (last_unspaced != 0) {
                utf8_append(token, last_unspaced);
                utf8_append(token, c);
                emit(context, token);
                token.clear();
                run_emitted = true;
            }
            last_unspaced = c;
            continue;
        }
        if (last_unspaced != 0 && kind != Kind::Mark) end_run();
        switch (kind) {
            case Kind::Letter:
                if (byte < 0x80) {
                    if (token.size() < kTokenBytesMax)
                        token.push_back(static_cast<char>(byte | 0x20));
                } else {
                    append_folded(c);
                }
                ++letters;
                break;
            case Kind::Digit:
                if (letters >= kLettersBeforeFootnote) end_word();
                letters = 0;
                if (byte < 0x80) {
                    if (token.size() < kTokenBytesMax) token.push_back(static_cast<char>(byte));
                } else {
                    append_folded(c);
                }
                break;
            case Kind::Mark:
                if (!token.empty() && last_unspaced == 0 && !is_accent(c)) append_folded(c);
                break;
            case Kind::Apostrophe: {
                const bool inside = letters > 0 && at < text.size() &&
                                    (static_cast<unsigned char>(text[at]) >= 0x80 ||
                                     kAscii[static_cast<unsigned char>(text[at])] == Kind::Letter);
                if (inside) {
                    append(U'\'');
                } else {
                    end_word();
                }
                break;
            }
            case Kind::Pieces: {  // superscripts, fractions: numbers of their own
                end_word();
                std::array<utf8proc_int32_t, 32> pieces{};
                int last_class = 0;
                const utf8proc_ssize_t count = utf8proc_decompose_char(
                    static_cast<utf8proc_int32_t>(c), pieces.data(), pieces.size(),
                    static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT |
                                                   UTF8PROC_CASEFOLD),
                    &last_class);
                for (utf8proc_ssize_t i = 0; i < std::min<utf8proc_ssize_t>(count, 32); ++i) {
                    const auto piece = static_cast<char32_t>(pieces[static_cast<size_t>(i)]);
                    const Kind piece_kind = kind_of(piece);
                    if (piece_kind == Kind::Letter || piece_kind == Kind::Digit) {
                        append(piece);
                    } else {
                        end_word();
                    }
                }
                end_word();
                break;
            }
            case Kind::Break:
            case Kind::Unspaced: {
                const bool between_digits = (byte == '.' || byte == ',') && begin > 0 &&
                                            is_ascii_digit(text[begin - 1]) && at < text.size() &&
                                            is_ascii_digit(text[at]) && !token.empty();
                if (between_digits && byte == '.') {
                    append(U'.');
                } else if (between_digits && at + 2 < text.size() && is_ascii_digit(text[at + 1]) &&
                           is_ascii_digit(text[at + 2]) &&
                           (at + 3 == text.size() || !is_ascii_digit(text[at + 3]))) {
                    // a thousands comma: left out
                } else {
                    end_word();
                }
                break;
            }
        }
    }
    end_word();
    end_run();
}

std::string fold_case(std::string_view text) {
    const std::string clean = utf8_is_valid(text) ? std::string(text) : utf8_sanitize(text);
    utf8proc_uint8_t* folded = nullptr;
    const utf8proc_ssize_t size = utf8proc_map(
        reinterpret_cast<const utf8proc_uint8_t*>(clean.data()),
        static_cast<utf8proc_ssize_t>(clean.size()), &folded,
        static_cast<utf8proc_option_t>(UTF8PROC_CASEFOLD | UTF8PROC_COMPOSE | UTF8PROC_STABLE));
    if (size < 0) return clean;
    std::string result(reinterpret_cast<const char*>(folded), static_cast<size_t>(size));
    std::free(folded);
    return result;
}

}  // namespace px::index
