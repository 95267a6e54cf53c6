#include <utf8proc.h>

#include "base/utf8.h"
#include "contract/contract.h"
#include "contract/value.h"

namespace px::contract {

namespace {

bool is_ascii(std::string_view text) {
    for (const char c : text) {
        if (static_cast<unsigned char>(c) >= 0x80) return false;
    }
    return true;
}

char32_t lower(char32_t c) {
    if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
    return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

char32_t upper(char32_t c) {
    if (c < 0x80) return c >= 'a' && c <= 'z' ? c - 32 : c;
    return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
}

char32_t title(char32_t c) {
    if (c < 0x80) return upper(c);
    return static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c)));
}

/// Letters, marks and digits: what words are made of.
bool is_word(char32_t c) {
    if (c < 0x80) return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
        case UTF8PROC_CATEGORY_LU:
        case UTF8PROC_CATEGORY_LL:
        case UTF8PROC_CATEGORY_LT:
        case UTF8PROC_CATEGORY_LM:
        case UTF8PROC_CATEGORY_LO:
        case UTF8PROC_CATEGORY_MN:
        case UTF8PROC_CATEGORY_MC:
        case UTF8PROC_CATEGORY_ME:
        case UTF8PROC_CATEGORY_ND:
        case UTF8PROC_CATEGORY_NL:
        case UTF8PROC_CATEGORY_NO:
            return true;
        default:
            return false;
    }
}

template <class Map>
void map_code_points(std::string& value, Map map) {
    if (is_ascii(value)) {
        for (char& c : value) c = static_cast<char>(map(static_cast<char32_t>(c)));
        return;
    }
    std::string mapped;
    mapped.reserve(value.size());
    for (size_t at = 0; at < value.size();) utf8_append(mapped, map(utf8_next(value, at)));
    value = std::move(mapped);
}

/// Names in title case: the first letter of a word is raised, the others are lowered; an apostrophe
/// goes on with its word but for the prefixes O' and D'.
void to_title_case(std::string& value) {
    char32_t first = 0;  // of the current word
    size_t letters = 0;  // of the current word so far
    map_code_points(value, [&](char32_t c) {
        const bool apostrophe = c == '\'' || c == 0x2019;
        if (!is_word(c)) {
            const bool goes_on =
                apostrophe && letters > 0 && !(letters == 1 && (first == 'O' || first == 'D'));
            if (!goes_on) letters = 0;
            return c;
        }
        const char32_t mapped = letters == 0 ? title(c) : lower(c);
        if (letters == 0) first = mapped;
        ++letters;
        return mapped;
    });
}

void collapse_spaces(std::string& value) {
    std::string collapsed;
    collapsed.reserve(value.size());
    bool in_spaces = false;
    for (size_t at = 0; at < value.size();) {
        const size_t begin = at;
        const bool space = is_space(utf8_next(value, at));
        if (!space) {
            collapsed.append(value, begin, at - begin);
        } else if (!in_spaces) {
            collapsed += ' ';
        }
        in_spaces = space;
    }
    value = std::move(collapsed);
}

}  // namespace

void apply_transform(Transform transform, std::string& value) {
    // Ill-formed text is left for the type check to name.
    if (!utf8_is_valid(value)) return;
    switch (transform) {
        case Transform::Trim: {
            const std::string_view kept = trimmed(value);
            if (kept.size() == value.size()) break;
            const auto begin = static_cast<size_t>(kept.data() - value.data());
            const size_t size = kept.size();
            value.erase(begin + size);
            value.erase(0, begin);
            break;
        }
        case Transform::Lower:
            map_code_points(value, lower);
            break;
        case Transform::Upper:
            map_code_points(value, upper);
            break;
        case Transform::TitleCase:
            to_title_case(value);
            break;
        case Transform::CollapseSpaces:
            collapse_spaces(value);
            break;
    }
}

}  // namespace px::contract
