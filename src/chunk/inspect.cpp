#include "chunk/inspect.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/utf8.h"

namespace px::chunk {

namespace {

/// A character that takes no room and that no honest sentence of ours needs.
bool is_hidden(char32_t c) {
    return c == 0xAD || c == 0x034F || c == 0x061C || c == 0x115F || c == 0x1160 || c == 0x17B4 ||
           c == 0x17B5 || c == 0x180E || (c >= 0x200B && c <= 0x200F) ||
           (c >= 0x202A && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0x3164 ||
           (c >= 0xFE00 && c <= 0xFE0E) || c == 0xFEFF || c == 0xFFA0 ||
           (c >= 0xFFF9 && c <= 0xFFFB) || (c >= 0xE0000 && c <= 0xE0FFF) ||
           (c < 0x20 && c != '\n' && c != '\t' && c != '\r' && c != '\f') ||
           (c >= 0x7F && c <= 0x9F);
}

/// Scripts whose letters are joined or kept apart by U+200C and U+200D, and pictures joined so.
bool takes_joiners(char32_t c) {
    return (c >= 0x0590 && c <= 0x08FF) || (c >= 0x0900 && c <= 0x0DFF) ||
           (c >= 0x0E00 && c <= 0x0FFF) || (c >= 0x1000 && c <= 0x109F) ||
           (c >= 0x1780 && c <= 0x18AF) || (c >= 0x2600 && c <= 0x27BF) ||
           (c >= 0x1F000 && c <= 0x1FAFF) || c == 0xFE0F;
}

/// Letters that look like Latin ones, and full-width and mathematical forms, as plain small ones;
/// 0: nothing to compare by.
char32_t plain(char32_t c) {
    if (c >= 'A' && c <= 'Z') return c | 0x20;
    if (c < 0x80) return c;
    if (c >= 0xFF01 && c <= 0xFF5E) return plain(c - 0xFEE0);
    if (c >= 0x1D400 && c <= 0x1D6A3) return 'a' + (c - 0x1D400) % 26;
    switch (c) {
        case 0x0430:
        case 0x0410:
        case 0x03B1:
        case 0x0391:
            return 'a';
        case 0x0435:
        case 0x0415:
        case 0x0395:
            return 'e';
        case 0x043E:
        case 0x041E:
        case 0x03BF:
        case 0x039F:
            return 'o';
        case 0x0440:
        case 0x0420:
        case 0x03C1:
        case 0x03A1:
            return 'p';
        case 0x0441:
        case 0x0421:
            return 'c';
        case 0x0443:
        case 0x0423:
            return 'y';
        case 0x0445:
        case 0x0425:
            return 'x';
        case 0x0456:
        case 0x0406:
        case 0x0399:
        case 0x03B9:
        case 0x0131:
            return 'i';
        case 0x0455:
        case 0x0405:
            return 's';
        case 0x0458:
            return 'j';
        case 0x2019:
            return '\'';
        default:
            return c;
    }
}

/// Words of plain small letters with one space between, hidden characters left out; digits that
/// stand for letters inside a word ("1gnore", "pr0mpt") are those.
std::string comparable(std::string_view text) {
    std::string out = " ";
    bool separated = true;
    for (size_t at = 0; at < text.size();) {
        char32_t c = utf8_next(text, at);
        if (is_hidden(c)) continue;
        c = plain(c);
        const bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80;
        if (word && c != 0xA0 && c != 0x3000 && (c < 0x2000 || c > 0x206F)) {
            utf8_append(out, c);
            separated = false;
        } else if (c == '\'') {
            continue;
        } else if (!separated) {
            out += ' ';
            separated = true;
        }
    }
    if (!separated) out += ' ';
    // "1gnore", "pr0mpt": digits between letters
    for (size_t i = 1; i + 1 < out.size(); ++i) {
        const auto letter = [&](size_t j) { return out[j] >= 'a' && out[j] <= 'z'; };
        if (!letter(i + 1) || !(letter(i - 1) || out[i - 1] == ' ')) continue;
        if (out[i] == '0') out[i] = 'o';
        if (out[i] == '1') out[i] = 'i';
        if (out[i] == '3') out[i] = 'e';
    }
    // "i g n o r e": letters one by one
    std::string closed = " ";
    for (size_t at = 1; at < out.size();) {
        const size_t end = out.find(' ', at);
        if (end == std::string::npos) break;
        size_t run = 0;
        size_t next = at;
        while (next + 1 < out.size() && out[next] != ' ' && out[next + 1] == ' ') {
            ++run;
            next += 2;
        }
        if (run >= 4) {
            for (size_t i = 0; i < run; ++i) closed += out[at + 2 * i];
            closed += ' ';
            at = next;
        } else {
            closed.append(out, at, end + 1 - at);
            at = end + 1;
        }
    }
    return closed;
}

bool has(std::string_view text, std::string_view needle) {
    return text.find(needle) != std::string_view::npos;
}

template <size_t N>
bool has_any(std::string_view text, const std::array<std::string_view, N>& needles) {
    return std::any_of(needles.begin(), needles.end(),
                       [&](std::string_view needle) { return has(text, needle); });
}

/// Words to whoever reads: a program, perhaps.
bool speaks_to_a_reader(std::string_view words) {
    static constexpr std::array<std::string_view, 8> kReader{
        " you ",        " your ",    " ai ",       " assistant ",
        " model must ", " chatbot ", " previous ", " all "};
    return has_any(words, kReader);
}

/// Words that are ordinary in a report, and an order at the beginning or where somebody is spoken
/// to.
bool is_told_to_a_model(std::string_view words) {
    static constexpr std::array<std::string_view, 6> kOfBoth{
        " act as a ",         " act as an ",      " system message ",
        " new instructions ", " language model ", " when asked about "};
    return std::any_of(kOfBoth.begin(), kOfBoth.end(), [&](std::string_view phrase) {
        const bool is_order = phrase != " when asked about " && words.starts_with(phrase);
        return is_order || (has(words, phrase) && speaks_to_a_reader(words));
    });
}

/// A verb of overriding near a word for what is overridden.
bool overrides(std::string_view words) {
    static constexpr std::array<std::string_view, 24> kVerbs{
        " ignore ",  " disregard ", " forget ",        " override ",    " overrule ",
        " bypass ",  " ignoriere ", " vergiss ",       " ignorez ",     " oubliez ",
        " ignora ",  " olvida ",    " do not follow ", " dont follow ", " stop following ",
        " replace ", " discard ",   " ignorieren ",    " neglect ",     " pay no attention to ",
        " cancel ",  " erase ",     " skip ",          " missachte "};
    static constexpr std::array<std::string_view, 15> kObjects{
        " instructions ",   " instruction ",      " prompt ",          " prompts ",
        " anweisungen ",    " your rules ",       " all rules ",       " instrucciones ",
        " previous rules ", " the rules above ",  " system message ",  " consignes ",
        " anweisung ",      " all of the above ", " everything above "};
    // A board may replace these too.
    static constexpr std::array<std::string_view, 3> kPapers{" guidelines ", " directives ",
                                                             " directions "};
    constexpr size_t kNear = 80;
    for (const std::string_view verb : kVerbs) {
        for (size_t at = words.find(verb); at != std::string_view::npos;
             at = words.find(verb, at + 1)) {
            const std::string_view near = words.substr(at + verb.size() - 1, kNear);
            if (has_any(near, kObjects)) return true;
            if (has_any(near, kPapers) && speaks_to_a_reader(words)) return true;
        }
    }
    return false;
}

}  // namespace

bool is_instruction(std::string_view sentence) {
    const std::string words = comparable(sentence);
    // What is overridden stands in the same sentence: "We ignore it. Instructions were mailed."
    for (size_t at = 0; at < sentence.size();) {
        size_t end = at;
        while (end < sentence.size() &&
               !(has(".!?", sentence.substr(end, 1)) && end + 1 < sentence.size() &&
                 (sentence[end + 1] == ' ' || sentence[end + 1] == '\n'))) {
            ++end;
        }
        const std::string one = comparable(sentence.substr(at, end - at));
        if (overrides(one) || is_told_to_a_model(one)) return true;
        at = end + 1;
    }
    static constexpr std::array<std::string_view, 40> kPhrases{" you are now ",
                                                               " you must now ",
                                                               " from now on you ",
                                                               " pretend to be ",
                                                               " pretend that you ",
                                                               " developer mode ",
                                                               " jailbreak ",
                                                               " system prompt ",
                                                               " your new task ",
                                                               " your instructions ",
                                                               " your real task ",
                                                               " as an ai ",
                                                               " dear ai ",
                                                               " attention ai ",
                                                               " note to the ai ",
                                                               " note to ai ",
                                                               " ai assistant ",
                                                               " to the assistant ",
                                                               " assistant must ",
                                                               " if you are an ai ",
                                                               " if you are a language ",
                                                               " if you are an assistant ",
                                                               " reveal your ",
                                                               " print your ",
                                                               " repeat your ",
                                                               " respond only with ",
                                                               " answer only with ",
                                                               " reply only with ",
                                                               " always answer ",
                                                               " always respond ",
                                                               " do not mention ",
                                                               " do not tell the user ",
                                                               " without telling the user ",
                                                               " tell the user ",
                                                               " end of context ",
                                                               " end of passages ",
                                                               " end of document ",
                                                               " output the following ",
                                                               " say that the answer is ",
                                                               " do anything now "};
    if (has_any(words, kPhrases)) return true;
    // Words of a protocol between programs and models.
    static constexpr std::array<std::string_view, 10> kMarks{
        "<|im_start|>", "<|im_end|>",      "<|system|>", "[INST]",      "[/INST]",
        "<<SYS>>",      "### Instruction", "### System", "</passages>", "</passage"};
    return has_any(sentence, kMarks) || has(words, " begin system ") ||
           words.starts_with(" system ") || words.starts_with(" assistant ");
}

std::vector<std::string> inspect(std::string_view text) {
    std::vector<std::string> kinds;
    if (is_instruction(text)) kinds.emplace_back("instruction");
    if (visible_text(text).size() != text.size()) kinds.emplace_back("hidden");
    std::string small(text);
    for (char& c : small) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c | 0x20);
    }
    // "<" before a letter, "/" or "!", closed later
    bool markup = false;
    for (size_t at = small.find('<'); at != std::string::npos && !markup;
         at = small.find('<', at + 1)) {
        if (at + 1 >= small.size()) break;
        const char next = small[at + 1];
        markup = ((next >= 'a' && next <= 'z') || next == '/' || next == '!' || next == '?') &&
                 small.find('>', at) != std::string::npos;
    }
    static constexpr std::array<std::string_view, 12> kMarkup{
        "<script", "<iframe",  "<img",       "<svg",  "javascript:", "onerror=",
        "onload=", "onclick=", "&lt;script", "&#60;", "&#x3c;",      "data:text/html"};
    if (markup || has_any(small, kMarkup)) kinds.emplace_back("markup");
    static constexpr std::array<std::string_view, 8> kLinks{
        "http://", "https://", "ftp://", "](", "mailto:", "www.", "file://", "hxxp"};
    if (has_any(small, kLinks)) kinds.emplace_back("link");
    const std::string words = comparable(text);
    static constexpr std::array<std::string_view, 12> kSql{
        " drop table ",      " drop database ",    " delete from ",     " insert into ",
        " union select ",    " union all select ", " truncate table ",  " alter table ",
        " copy to program ", " xp cmdshell ",      " attach database ", " update users set "};
    static constexpr std::array<std::string_view, 6> kSqlMarks{
        "' or '1'='1", "' or 1=1", "\" or \"1\"=\"1", "'; --", "';--", "pg_sleep("};
    const bool select =
        has(words, " select ") && has(words, " from ") && (has(text, ";") || has(text, "*"));
    if (has_any(words, kSql) || has_any(small, kSqlMarks) || select) kinds.emplace_back("sql");
    return kinds;
}

std::string visible_text(std::string_view text) {
    std::string shown;
    shown.reserve(text.size());
    char32_t before = 0;
    for (size_t at = 0; at < text.size();) {
        const size_t start = at;
        const char32_t c = utf8_next(text, at);
        if (is_hidden(c)) {
            const bool joiner = (c == 0x200C || c == 0x200D) && takes_joiners(before);
            if (!joiner) continue;
            size_t ahead = at;
            if (ahead >= text.size() || !takes_joiners(utf8_next(text, ahead))) continue;
        }
        shown.append(text, start, at - start);
        before = c;
    }
    return shown;
}

}  // namespace px::chunk
