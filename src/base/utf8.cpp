#include "base/utf8.h"

#include <cstring>

namespace px {

namespace {

/// Length of the well-formed sequence at text[offset], or 0.
size_t sequence_length(std::string_view text, size_t offset) {
    const auto at = [&](size_t i) { return static_cast<unsigned char>(text[offset + i]); };
    const size_t left = text.size() - offset;
    const unsigned char lead = at(0);
    if (lead < 0x80) return 1;
    if (lead < 0xC2) return 0;
    const auto continues = [&](size_t i) { return i < left && (at(i) & 0xC0) == 0x80; };
    if (lead < 0xE0) return continues(1) ? 2 : 0;
    if (lead < 0xF0) {
        if (!continues(1) || !continues(2)) return 0;
        if (lead == 0xE0 && at(1) < 0xA0) return 0;
        if (lead == 0xED && at(1) > 0x9F) return 0;
        return 3;
    }
    if (lead < 0xF5) {
        if (!continues(1) || !continues(2) || !continues(3)) return 0;
        if (lead == 0xF0 && at(1) < 0x90) return 0;
        if (lead == 0xF4 && at(1) > 0x8F) return 0;
        return 4;
    }
    return 0;
}

}  // namespace

size_t utf8_valid_prefix(std::string_view text) {
    size_t offset = 0;
    while (offset < text.size()) {
        if (text.size() - offset >= 8) {
            uint64_t word;
            std::memcpy(&word, text.data() + offset, 8);
            if ((word & 0x8080808080808080ULL) == 0) {
                offset += 8;
                continue;
            }
        }
        const size_t length = sequence_length(text, offset);
        if (length == 0) return offset;
        offset += length;
    }
    return offset;
}

char32_t utf8_next(std::string_view text, size_t& offset) {
    const auto at = [&](size_t i) {
        return static_cast<char32_t>(static_cast<unsigned char>(text[offset + i]));
    };
    const char32_t lead = at(0);
    char32_t code_point = lead;
    size_t length = 1;
    if (lead >= 0xF0) {
        code_point =
            (lead & 0x07) << 18 | (at(1) & 0x3F) << 12 | (at(2) & 0x3F) << 6 | (at(3) & 0x3F);
        length = 4;
    } else if (lead >= 0xE0) {
        code_point = (lead & 0x0F) << 12 | (at(1) & 0x3F) << 6 | (at(2) & 0x3F);
        length = 3;
    } else if (lead >= 0xC0) {
        code_point = (lead & 0x1F) << 6 | (at(1) & 0x3F);
        length = 2;
    }
    offset += length;
    return code_point;
}

void utf8_append(std::string& text, char32_t code_point) {
    if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point <= 0xDFFF))
        code_point = 0xFFFD;
    const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
    if (code_point < 0x80) {
        put(code_point);
    } else if (code_point < 0x800) {
        put(0xC0 | code_point >> 6);
        put(0x80 | (code_point & 0x3F));
    } else if (code_point < 0x10000) {
        put(0xE0 | code_point >> 12);
        put(0x80 | (code_point >> 6 & 0x3F));
        put(0x80 | (code_point & 0x3F));
    } else {
        put(0xF0 | code_point >> 18);
        put(0x80 | (code_point >> 12 & 0x3F));
        put(0x80 | (code_point >> 6 & 0x3F));
        put(0x80 | (code_point & 0x3F));
    }
}

size_t utf8_length(std::string_view text) {
    size_t count = 0;
    for (char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    return count;
}

std::string utf8_sanitize(std::string_view text) {
    std::string clean;
    clean.reserve(text.size());
    while (!text.empty()) {
        const size_t good = utf8_valid_prefix(text);
        clean.append(text.substr(0, good));
        text.remove_prefix(good);
        if (!text.empty()) {
            clean += "\xEF\xBF\xBD";
            text.remove_prefix(1);
        }
    }
    return clean;
}

}  // namespace px
