// TextWriter: builds the text of a marked-up document from runs of characters and breaks between
// them. Rank 2. Breaks are lazy: the strongest one asked for since the last visible character is
// written before the next.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace px::source {

enum class Break { None, Space, Cell, Line, Paragraph };

class TextWriter {
  public:
    explicit TextWriter(size_t bytes_max) : bytes_max_(bytes_max) {}

    /// A running text: white space (and no-break space) of any length counts as one Space break.
    void inline_text(std::string_view text);
    /// Preformatted text: spaces, tabs and newlines stay, but for those before the first visible
    /// character of the document.
    void verbatim_text(std::string_view text);
    void break_at_least(Break strength);
    /// A forced new line; two in a row separate paragraphs.
    void line_break();

    // A table's rows: cells are joined by " | ", empty cells vanish, blocks inside a cell break
    // only between its own texts.
    struct Cell {
        size_t start;
        bool inside;
    };
    size_t begin_row();
    Cell begin_cell(size_t row_start);
    void end_cell(size_t row_start, Cell outer);
    /// A break between blocks: left out at the start of a cell.
    void block_break(Break strength);

    size_t size() const { return text_.size(); }
    /// The text from an earlier size() on.
    std::string_view since(size_t start) const { return std::string_view(text_).substr(start); }
    bool is_full() const { return text_.size() > bytes_max_; }
    std::string take() && { return std::move(text_); }

  private:
    void flush();

    std::string text_;
    size_t bytes_max_;
    Break pending_ = Break::None;
    bool line_break_pending_ = false;
    Cell cell_{0, false};
};

}  // namespace px::source
