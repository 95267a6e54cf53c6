// What a BERT tokenizer asks of a character. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace px::embed {

bool is_dropped(char32_t c);      ///< removed from the text: controls, formats, private use, U+FFFD
bool is_white_space(char32_t c);  ///< Unicode White_Space
bool is_punctuation(char32_t c);  ///< a word of its own: every ASCII symbol, category P elsewhere
bool is_ideograph(char32_t c);    ///< a word of its own: the CJK ideograph blocks BERT names
bool is_accent(char32_t c);       ///< removed after decomposition: category Mn
/// Canonical combining class as far as it orders characters; 0 = a starter.
uint8_t combining_class(char32_t c);

constexpr size_t kDecomposedMax = 8;
/// Full canonical decomposition, not yet ordered. Returns the number of characters written.
size_t decompose(char32_t c, char32_t (&out)[kDecomposedMax]);

constexpr size_t kLowerMax = 2;
/// Lower case without context. Returns the number of characters written.
size_t to_lower(char32_t c, char32_t (&out)[kLowerMax]);

}  // namespace px::embed
