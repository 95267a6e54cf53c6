#include "generate/sentences.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "base/utf8.h"

namespace px::generate {

namespace {

// Lower case, without the full stop. A name or number follows these; they never end a sentence.
constexpr std::string_view kTitles[] = {
    "adm",  "brig", "capt", "cf",  "col",  "cols", "dr",     "e.g",  "eg",  "fr", "gen",  "gov",
    "govs", "hon",  "i.e",  "ie",  "lt",   "maj",  "messrs", "mr",   "mrs", "ms", "pres", "prof",
    "rep",  "reps", "rev",  "sen", "sens", "sgt",  "st",     "supt", "viz", "vs"};
// These stand before a number; else they may end a sentence.
constexpr std::string_view kBeforeNumber[] = {
    "app", "apr", "approx", "art",  "aug", "c",   "ca",  "ch",   "chap", "dec",  "ed",  "eq",
    "est", "feb", "fig",    "figs", "jan", "jul", "jun", "mar",  "no",   "nos",  "nov", "oct",
    "op",  "p",   "par",    "para", "pp",  "pt",  "sec", "secs", "sep",  "sept", "vol", "vols"};
// These end a sentence only when a word follows that begins one.
constexpr std::string_view kMayEnd[] = {"al",  "assn", "bros", "co", "corp", "dept",
                                        "esq", "etc",  "inc",  "jr", "llc",  "ltd",
                                        "mfg", "natl", "plc",  "sr", "univ", "v"};
constexpr std::string_view kStarters[] = {
    "a",        "after",   "all",     "also",         "although", "an",
    "and",      "another", "any",     "are",          "as",       "at",
    "because",  "before",  "both",    "but",          "by",       "despite",
    "did",      "do",      "during",  "each",         "even",     "every",
    "finally",  "first",   "for",     "from",         "further",  "furthermore",
    "given",    "he",      "her",     "here",         "his",      "how",
    "however",  "i",       "if",      "in",           "indeed",   "instead",
    "is",       "it",      "its",     "last",         "many",     "meanwhile",
    "moreover", "most",    "my",      "nevertheless", "no",       "nor",
    "not",      "now",     "of",      "on",           "one",      "or",
    "our",      "over",    "overall", "second",       "she",      "since",
    "so",       "some",    "still",   "such",         "that",     "the",
    "their",    "then",    "there",   "therefore",    "these",    "they",
    "this",     "those",   "though",  "thus",         "to",       "today",
    "under",    "unless",  "until",   "we",           "what",     "when",
    "where",    "whether", "which",   "while",        "who",      "why",
    "with",     "yet",     "you",     "your"};

constexpr size_t kWordMax = 24;
constexpr size_t kHeadingBytesMax = 80;
// A line break inside a paragraph joins when the line looks wrapped: about as long as a page is
// wide.
constexpr size_t kWrappedBytesMin = 50;
constexpr size_t kWrappedBytesMax = 120;

template <class List>
bool contains(const List& list, std::string_view word) {
    return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_letter(char c) {
    return is_upper(c) || (c >= 'a' && c <= 'z') || static_cast<unsigned char>(c) >= 0x80;
}

/// White space of one byte, or U+00A0, U+3000 and the like; its size, 0 if there is none.
size_t space_size(std::string_view text, size_t at) {
    if (at >= text.size()) return 0;
    if (is_space(text[at])) return 1;
    if (text.substr(at, 2) == "\u00A0") return 2;
    const std::string_view three = text.substr(at, 3);
    if (three == "\u3000" || three == "\u2003" || three == "\u2002" || three == "\u2009" ||
        three == "\u202F")
        return 3;
    return 0;
}

size_t skip_space(std::string_view text, size_t at) {
    while (const size_t size = space_size(text, at)) at += size;
    return at;
}

constexpr std::string_view kClosers[] = {"\"", "'",  ")",  "]",  "}",  "”", "’",
                                         "»",  "」", "』", "）", "】", "*", "_"};
constexpr std::string_view kOpeners[] = {"\"", "'",  "(",  "[",  "“", "‘",
                                         "«",  "「", "『", "（", "*", "_"};

template <class List>
size_t match_any(const List& list, std::string_view text, size_t at) {
    for (const std::string_view item : list) {
        if (text.substr(at, item.size()) == item) return item.size();
    }
    return 0;
}

/// Size of a terminator that ends a sentence whatever follows, 0 if there is none.
size_t full_width_terminator(std::string_view text, size_t at) {
    static constexpr std::string_view kTerminators[] = {"。", "！", "？", "｡", "।", "؟"};
    return static_cast<unsigned char>(text[at]) < 0x80 ? 0 : match_any(kTerminators, text, at);
}

/// The first letter after white space and openers begins in lower case.
bool begins_lower(std::string_view text, size_t at) {
    at = skip_space(text, at);
    while (at < text.size()) {
        const size_t opener = match_any(kOpeners, text, at);
        if (opener == 0) break;
        at += opener;
    }
    if (at >= text.size()) return false;
    const char32_t c = utf8_next(text, at);
    return (c >= 'a' && c <= 'z') || (c >= 0xDF && c <= 0xFF && c != 0xF7) ||
           (c >= 0x3AC && c <= 0x3CE) || (c >= 0x430 && c <= 0x45F);
}

std::string lower(std::string_view word) {
    std::string result(word);
    for (char& c : result) {
        if (is_upper(c)) c = static_cast<char>(c | 0x20);
    }
    return result;
}

std::string_view next_word(std::string_view text, size_t at) {
    at = skip_space(text, at);
    while (at < text.size()) {
        const size_t opener = match_any(kOpeners, text, at);
        if (opener == 0) break;
        at += opener;
    }
    size_t end = at;
    while (end < text.size() && is_letter(text[end])) ++end;
    return text.substr(at, end - at);
}

bool starts_sentence(std::string_view text, size_t at) {
    const std::string_view word = next_word(text, at);
    return word.size() <= kWordMax && contains(kStarters, lower(word));
}

/// The word that ends at the full stop: back to white space or an opener.
std::string_view word_before(std::string_view text, size_t stop) {
    size_t begin = stop;
    while (begin > 0 && stop - begin < kWordMax && !is_space(text[begin - 1]) &&
           text[begin - 1] != '(' && text[begin - 1] != '[' && text[begin - 1] != '"' &&
           text[begin - 1] != '-' && text[begin - 1] != '/') {
        --begin;
    }
    return text.substr(begin, stop - begin);
}

/// "U.S", "Ph.D", "a.m": short pieces with full stops between them. "Node.js" and "example.com" are
/// words.
bool has_inner_stop(std::string_view word) {
    size_t piece = 0;
    size_t pieces = 1;
    for (const char c : word) {
        if (c == '.') {
            if (piece == 0) return false;
            piece = 0;
            ++pieces;
        } else if (!is_letter(c) || ++piece > 2) {
            return false;
        }
    }
    return pieces > 1 && piece > 0;
}

/// The word before a full stop is one whose stop need not end a sentence.
bool is_abbreviation(std::string_view word) {
    if (word.empty() || word.size() >= kWordMax) return false;
    const std::string small = lower(word);
    return (word.size() == 1 && is_upper(word[0])) || has_inner_stop(word) ||
           contains(kTitles, small) || contains(kMayEnd, small) || contains(kBeforeNumber, small);
}

/// The full stop at `stop`, followed (behind closers) by white space at `after`, ends a sentence.
bool stop_ends(std::string_view text, size_t stop, size_t after) {
    const std::string_view word = word_before(text, stop);
    const size_t next = skip_space(text, after);
    const std::string small = lower(word);
    if (contains(kTitles, small)) return false;
    if (begins_lower(text, after)) return false;
    if (word.size() == 1 && is_upper(word[0])) return starts_sentence(text, after);  // an initial
    if (contains(kBeforeNumber, small)) {
        // "No. 5", "Jan. 26"; but "No. We did not."
        return !(next < text.size() && (is_digit(text[next]) || text[next] == '('));
    }
    if (has_inner_stop(word) || contains(kMayEnd, small)) return starts_sentence(text, after);
    return true;
}

/// A list marker at the beginning of a line ("-", "•", "1.", "(a)"), with the space behind it; 0 if
/// there is none.
size_t marker_size(std::string_view line) {
    static constexpr std::string_view kBullets[] = {"-", "*", "+", "•", "‣", "◦",
                                                    "▪", "●", "–", "—", "·"};
    size_t at = match_any(kBullets, line, 0);
    if (at == 0) {
        size_t end = 0;
        if (!line.empty() && line[0] == '(') end = 1;
        const size_t first = end;
        while (end < line.size() && is_digit(line[end])) ++end;
        if (end == first && end < line.size() && is_letter(line[end]) &&
            static_cast<unsigned char>(line[end]) < 0x80)
            ++end;
        const bool numbered = end > first && end - first <= 3;
        const bool letter = numbered && !is_digit(line[first]);
        if (!numbered || end >= line.size() || (line[end] != ')' && (line[end] != '.' || letter)))
            return 0;
        at = end + 1;
    }
    const size_t behind = skip_space(line, at);
    return behind > at && behind < line.size() ? behind : 0;
}

class Splitter {
  public:
    explicit Splitter(std::string_view text) : text_(text) {}

    std::vector<Sentence> split() {
        size_t at = 0;
        while (at < text_.size()) {
            const size_t line_end = std::min(text_.find('\n', at), text_.size());
            line(at, line_end);
            at = line_end + 1;
        }
        flush();
        return std::move(sentences_);
    }

  private:
    void line(size_t begin, size_t end) {
        begin = skip_space_until(begin, end);
        while (end > begin && is_space(text_[end - 1])) --end;
        if (begin == end) return flush();
        const std::string_view line = text_.substr(begin, end - begin);
        if (line[0] == '#') {
            const size_t hashes = std::min(line.find_first_not_of('#'), line.size());
            if (hashes <= 6 && hashes < line.size() && line[hashes] == ' ') {
                flush();
                return add(begin + skip_space(line, hashes), end, Sentence::Form::Heading);
            }
        }
        const auto bars = std::count(line.begin(), line.end(), '|');
        const auto tabs = std::count(line.begin(), line.end(), '\t');
        if (line[0] == '|' || bars >= 2 || tabs >= 2) {
            flush();
            return add(begin, end, Sentence::Form::Table);
        }
        if (line.find_first_not_of("-=_*~ ") == std::string_view::npos) return flush();  // a rule
        if (const size_t marker = marker_size(line)) {
            flush();
            open(begin + marker, end, Sentence::Form::Item);
            return;
        }
        if (open_ && !joins(line)) flush();
        if (open_) {
            block_end_ = end;
            last_line_ = line.size();
        } else {
            open(begin, end, Sentence::Form::Prose);
        }
    }

    /// The line goes on with the open block.
    bool joins(std::string_view line) const {
        if (begins_lower(line, 0)) return true;
        const std::string_view before = text_.substr(block_begin_, block_end_ - block_begin_);
        if (ends_terminated(before)) return false;
        if (block_form_ == Sentence::Form::Item)
            return last_line_ >= kWrappedBytesMin && last_line_ <= kWrappedBytesMax;
        return last_line_ >= kWrappedBytesMin && last_line_ <= kWrappedBytesMax;
    }

    static bool ends_terminated(std::string_view text) {
        for (bool again = true; again && !text.empty();) {
            again = false;
            for (const std::string_view closer : kClosers) {
                if (text.ends_with(closer)) {
                    text.remove_suffix(closer.size());
                    again = true;
                    break;
                }
            }
        }
        if (text.empty()) return false;
        if (text.back() == '.' || text.back() == '!' || text.back() == '?') return true;
        return text.ends_with("…") || text.ends_with("。") || text.ends_with("！") ||
               text.ends_with("？") || text.ends_with("｡") || text.ends_with("।") ||
               text.ends_with("؟");
    }

    void open(size_t begin, size_t end, Sentence::Form form) {
        open_ = true;
        block_begin_ = begin;
        block_end_ = end;
        block_form_ = form;
        last_line_ = end - begin;
    }

    size_t skip_space_until(size_t begin, size_t end) const {
        while (begin < end) {
            const size_t size = space_size(text_, begin);
            if (size == 0) break;
            begin += size;
        }
        return std::min(begin, end);
    }

    void flush() {
        if (!open_) return;
        open_ = false;
        const std::string_view block =
            text_.substr(0, block_end_);  // positions stay those of the text
        size_t start = block_begin_;
        bool first = true;
        for (size_t at = block_begin_; at < block_end_;) {
            const auto [end, next] = boundary(block, at);
            if (end == 0) {
                ++at;
                continue;
            }
            add_sentence(start, end, first);
            first = false;
            start = skip_space(block, next);
            at = std::max(start, at + 1);
        }
        if (start < block_end_) add_sentence(start, block_end_, first);
    }

    /// A sentence ends at or right behind `at`: its end and where the next may begin; {0, 0} if
    /// none does.
    std::pair<size_t, size_t> boundary(std::string_view block, size_t at) const {
        const char c = block[at];
        if (const size_t size = full_width_terminator(block, at)) {
            const size_t end = skip_closers(block, at + size);
            return {end, end};
        }
        size_t after = 0;
        if (block.substr(at, 3) == "…") {
            after = at + 3;
        } else if (c == '.' || c == '!' || c == '?') {
            after = at + 1;
        } else {
            return {0, 0};
        }
        if (after < block.size() &&
            (block[after] == '.' || block[after] == '!' || block[after] == '?'))
            return {0, 0};  // "..." ends at its last
        // A footnote number glued to the full stop: "goals.1 In".
        size_t behind_number = after;
        while (behind_number < block.size() && behind_number - after < 3 &&
               is_digit(block[behind_number]))
            ++behind_number;
        if (behind_number > after && at > 0 &&
            (is_letter(block[at - 1]) || match_any(kClosers, block, at - 1) != 0) &&
            (behind_number == block.size() ||
             (space_size(block, behind_number) != 0 && !begins_lower(block, behind_number)))) {
            return {after, behind_number};
        }
        const size_t end = skip_closers(block, after);
        if (end < block.size() && space_size(block, end) == 0) {
            // A footnote behind a closing quote, or a bracketed reference: "rate.”3 The", "rate.[3]
            // The".
            size_t number = end;
            while (number < block.size() && number - end < 3 && is_digit(block[number])) ++number;
            if (number == end || end == after ||
                (number < block.size() && space_size(block, number) == 0))
                return {0, 0};
            return begins_lower(block, number) ? std::pair<size_t, size_t>{0, 0}
                                               : std::pair{end, number};
        }
        if (end == block.size()) return {end, end};
        if (c == '.' ? !stop_ends(block, at, end) : begins_lower(block, end)) return {0, 0};
        const bool ellipsis = after - at == 3 || (at > 0 && block[at - 1] == '.');
        if (ellipsis && begins_lower(block, end)) return {0, 0};
        return {end, end};
    }

    static size_t skip_closers(std::string_view text, size_t at) {
        while (at < text.size()) {
            const size_t closer = match_any(kClosers, text, at);
            if (closer == 0) break;
            // "_" and "*" close only before white space: they may open emphasis.
            at += closer;
        }
        return at;
    }

    void add_sentence(size_t start, size_t end, bool first) {
        while (end > start && is_space(text_[end - 1])) --end;
        if (start >= end) return;
        Sentence sentence{start, end, block_form_, false, false};
        const std::string_view text = text_.substr(start, end - start);
        sentence.terminated = ends_terminated(text);
        if (sentence.terminated) {
            size_t stop = text.size();
            while (stop > 0 && text[stop - 1] != '.' && stop + 4 > text.size()) --stop;
            if (stop > 0 && text[stop - 1] == '.')
                sentence.doubtful_end = is_abbreviation(word_before(text, stop - 1));
        } else if (block_form_ == Sentence::Form::Prose && first && end == block_end_ &&
                   text.size() <= kHeadingBytesMax && text.find('\n') == std::string_view::npos) {
            sentence.form = Sentence::Form::Heading;
        }
        sentences_.push_back(sentence);
    }

    void add(size_t begin, size_t end, Sentence::Form form) {
        if (begin < end)
            sentences_.push_back(
                {begin, end, form, ends_terminated(text_.substr(begin, end - begin)), false});
    }

    std::string_view text_;
    std::vector<Sentence> sentences_;
    bool open_ = false;
    size_t block_begin_ = 0, block_end_ = 0;
    Sentence::Form block_form_ = Sentence::Form::Prose;
    size_t last_line_ = 0;
};

}  // namespace

std::vector<Sentence> split_sentences(std::string_view text) { return Splitter(text).split(); }

bool is_sentence_break(std::string_view before, std::string_view after) {
    const size_t line_break = before.find_last_not_of(" \t\r\n");
    const bool broken =
        before.find('\n', line_break == std::string_view::npos ? 0 : line_break + 1) !=
        std::string_view::npos;
    if (line_break == std::string_view::npos) return true;
    if (begins_lower(after, 0)) return false;
    if (broken) {
        // A line break: the line before is over unless it looks wrapped.
        const std::string_view line = before.substr(0, line_break + 1);
        const size_t begin = line.rfind('\n') == std::string_view::npos ? 0 : line.rfind('\n') + 1;
        const size_t length = line.size() - begin;
        if (length < kWrappedBytesMin || length > kWrappedBytesMax) return true;
    }
    constexpr size_t kTail = 400;
    before = before.substr(0, line_break + 1);
    size_t cut = before.size() > kTail ? before.size() - kTail : 0;
    while (cut < before.size() && (static_cast<unsigned char>(before[cut]) & 0xC0) == 0x80) ++cut;
    std::string joined(before.substr(cut));
    const size_t edge = joined.size();
    size_t head = std::min<size_t>(after.size(), 40);
    while (head < after.size() && (static_cast<unsigned char>(after[head]) & 0xC0) == 0x80) ++head;
    joined += ' ';
    joined += after.substr(0, head);
    for (const Sentence& sentence : split_sentences(joined)) {
        if (sentence.start < edge && sentence.end > edge) return false;
        if (sentence.end <= edge && sentence.end + 3 >= edge && sentence.terminated) return true;
    }
    return false;
}

}  // namespace px::generate
