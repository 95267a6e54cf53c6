// UTF-8 checks and walks over bytes that come from outside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace px {

/// Offset of the first byte that is not well-formed UTF-8 (RFC 3629: no overlong forms, no
/// surrogates, at most U+10FFFF), or text.size() when all is well-formed. O(n), 8 bytes a step on
/// ASCII.
size_t utf8_valid_prefix(std::string_view text);
inline bool utf8_is_valid(std::string_view text) { return utf8_valid_prefix(text) == text.size(); }

/// Decodes the code point at offset (text must be well-formed) and moves offset behind it.
char32_t utf8_next(std::string_view text, size_t& offset);

/// Appends the UTF-8 form of a code point; surrogates and values above U+10FFFF become U+FFFD.
void utf8_append(std::string& text, char32_t code_point);

/// Number of code points of well-formed text. O(n).
size_t utf8_length(std::string_view text);

/// text with every ill-formed byte replaced by U+FFFD. O(n).
std::string utf8_sanitize(std::string_view text);

}  // namespace px
