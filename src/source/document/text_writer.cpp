#include "source/document/text_writer.h"

#include <algorithm>

namespace px::source {
namespace {

bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

/// Length of the white space at text[at]: 1 for ASCII, 2 for U+00A0, 0 for anything else.
size_t space_length(std::string_view text, size_t at) {
    if (is_space(text[at])) return 1;
    if (text[at] == '\xC2' && at + 1 < text.size() && text[at + 1] == '\xA0') return 2;
    return 0;
}

}  // namespace

void TextWriter::flush() {
    if (!text_.empty()) {
        switch (pending_) {
            case Break::None:
                break;
            case Break::Space:
                text_ += ' ';
                break;
            case Break::Cell:
                text_ += " | ";
                break;
            case Break::Line:
                text_ += '\n';
                break;
            case Break::Paragraph:
                text_ += "\n\n";
                break;
        }
    }
    pending_ = Break::None;
    line_break_pending_ = false;
}

void TextWriter::line_break() {
    break_at_least(line_break_pending_ ? Break::Paragraph : Break::Line);
    line_break_pending_ = true;
}

void TextWriter::break_at_least(Break strength) { pending_ = std::max(pending_, strength); }

void TextWriter::inline_text(std::string_view text) {
    size_t at = 0;
    while (at < text.size() && !is_full()) {
        if (const size_t blank = space_length(text, at); blank > 0) {
            break_at_least(Break::Space);
            at += blank;
            continue;
        }
        size_t end = at + 1;
        while (end < text.size() && space_length(text, end) == 0) ++end;
        flush();
        text_.append(text.substr(at, end - at));
        at = end;
    }
}

void TextWriter::verbatim_text(std::string_view text) {
    if (text_.empty() || pending_ >= Break::Line) {
        while (!text.empty() && text.front() == '\n') text.remove_prefix(1);
    }
    // White space at the end is held back as a break, so that no line ends in blanks before the
    // next block.
    size_t visible = text.size();
    while (visible > 0 && is_space(text[visible - 1])) --visible;
    if (visible > 0) {
        flush();
        text_.append(text.substr(0, visible));
    }
    const std::string_view rest = text.substr(visible);
    if (rest.empty()) return;
    const auto newline_count = std::count(rest.begin(), rest.end(), '\n');
    break_at_least(newline_count > 1    ? Break::Paragraph
                   : newline_count == 1 ? Break::Line
                                        : Break::Space);
}

size_t TextWriter::begin_row() {
    block_break(Break::Line);
    return text_.size();
}

TextWriter::Cell TextWriter::begin_cell(size_t row_start) {
    const Cell outer = cell_;
    if (text_.size() > row_start) pending_ = Break::Cell;
    cell_ = {text_.size(), true};
    return outer;
}

void TextWriter::end_cell(size_t row_start, Cell outer) {
    if (text_.size() > row_start) pending_ = Break::None;
    cell_ = outer;
}

void TextWriter::block_break(Break strength) {
    if (cell_.inside && text_.size() == cell_.start) return;
    break_at_least(strength);
}

}  // namespace px::source
