// Sentences of a piece of text, as byte ranges. Pure; any thread. O(text).
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace px::generate {

struct Sentence {
    enum class Form {
        Prose,    ///< ends in a terminator, or is the rest of a paragraph
        Item,     ///< of a list, without its marker
        Heading,  ///< a short line without terminator, or marked as one
        Table     ///< a row of cells
    };
    size_t start = 0, end = 0;  ///< without surrounding white space
    Form form = Form::Prose;
    bool terminated = false;  ///< ends in . ! ? or the like
    bool doubtful_end =
        false;  ///< its last word is an abbreviation: the sentence may go on after the text
    bool operator==(const Sentence&) const = default;
};

/// Every sentence of well-formed UTF-8 text, in order, without overlap. Sentences never cross a
/// blank line, a list item or a heading; single line breaks inside a paragraph are white space. A
/// footnote number glued to a full stop belongs to no sentence.
std::vector<Sentence> split_sentences(std::string_view text);

/// Whether a sentence can begin between the two: before ends in a terminator that is no
/// abbreviation, or in a line break with a beginning of a line after it. For the edges of a
/// passage.
bool is_sentence_break(std::string_view before, std::string_view after);

}  // namespace px::generate
