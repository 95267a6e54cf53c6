#include "source/document/pdf_reflow.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace px::source {
namespace {

using pdfium::TextLine;

constexpr std::string_view kRemovedHyphen = "\xEF\xBF\xBE";  // U+FFFE

bool is_lower(char c) { return (c >= 'a' && c <= 'z') || static_cast<unsigned char>(c) >= 0x80; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Appends a line's text: white space as single spaces, removed hyphens resolved.
void append_clean(std::string& out, std::string_view text) {
    bool blank = false;
    const size_t start = out.size();
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == ' ' || c == '\t') {
            blank = true;
            continue;
        }
        if (text.substr(i, 2) == "\xC2\xA0") {
            blank = true;
            ++i;
            continue;
        }
        if (text.substr(i, 2) == "\xC2\xAD") {  // soft hyphen
            ++i;
            continue;
        }
        if (text.substr(i, 3) == kRemovedHyphen) {
            // The word goes on in the next line. Between lower-case letters the hyphen came from
            // the line end alone; elsewhere ("Lucene-BM25") it belongs to the word.
            const char before = out.size() > start ? out.back() : ' ';
            const char after = i + 3 < text.size() ? text[i + 3] : ' ';
            if (!(is_lower(before) && is_lower(after))) out += '-';
            i += 2;
            continue;
        }
        if (blank && out.size() > start) out += ' ';
        blank = false;
        out += c;
    }
}

/// One line of the page, made of one or more runs.
struct PageLine {
    std::string text;
    double start_x, start_y, end_x, end_y, font_size;
};

bool same_baseline(const PageLine& line, const TextLine& run) {
    const double size = std::max(line.font_size, run.font_size);
    if (size <= 0) return false;
    return std::abs(line.end_y - run.start_y) < 0.6 * size &&
           run.start_x >= line.end_x - 0.3 * size && run.start_x - line.end_x < 3 * size;
}

std::vector<PageLine> join_runs(const std::vector<TextLine>& runs) {
    std::vector<PageLine> lines;
    for (const TextLine& run : runs) {
        std::string text;
        append_clean(text, run.text);
        if (text.empty()) continue;
        if (!lines.empty() && same_baseline(lines.back(), run)) {
            PageLine& line = lines.back();
            const double gap = run.start_x - line.end_x;
            const bool closes =
                std::string_view(",.;:)]").find(text.front()) != std::string_view::npos;
            if (gap > 0.2 * std::max(line.font_size, run.font_size) && !closes) line.text += ' ';
            line.text += text;
            line.end_x = run.end_x;
            // A raised or lowered figure (footnote mark, index) does not move the line.
            if (run.font_size >= line.font_size * 0.9) line.end_y = run.end_y;
            line.font_size = std::max(line.font_size, run.font_size);
            continue;
        }
        lines.push_back(
            {std::move(text), run.start_x, run.start_y, run.end_x, run.end_y, run.font_size});
    }
    return lines;
}

/// The distance of baselines within paragraphs: the lower quartile over the page, as the larger
/// ones lie between paragraphs; 0 when there are none.
double common_pitch(const std::vector<PageLine>& lines) {
    std::vector<double> pitches;
    for (size_t i = 1; i < lines.size(); ++i) {
        const double pitch = lines[i - 1].end_y - lines[i].start_y;
        const double size = std::max(lines[i].font_size, 1.0);
        if (pitch > 0.6 * size && pitch < 3 * size) pitches.push_back(pitch);
    }
    if (pitches.empty()) return 0;
    const auto quartile = pitches.begin() + static_cast<std::ptrdiff_t>(pitches.size() / 4);
    std::nth_element(pitches.begin(), quartile, pitches.end());
    return *quartile;
}

bool ends_sentence(std::string_view text) {
    while (!text.empty() && (text.back() == '"' || text.back() == ')')) text.remove_suffix(1);
    return !text.empty() &&
           (text.back() == '.' || text.back() == '!' || text.back() == '?' || text.back() == ':');
}

/// A new item of a list: "1. ", "a) ", "- ", "• ".
bool starts_item(std::string_view text) {
    for (const std::string_view bullet :
         {"- ", "\xE2\x80\xA2", "\xC2\xB7", "\xE2\x97\x8F", "\xE2\x97\x8B", "\xE2\x96\xAA",
          "\xEF\x82\xB7"}) {  // • · ● ○ ▪ and Symbol's bullet
        if (text.starts_with(bullet)) return true;
    }
    size_t i = 0;
    while (i < text.size() && i < 3 && is_digit(text[i])) ++i;
    if (i == 0 && !text.empty() &&
        ((text[0] >= 'a' && text[0] <= 'z') || (text[0] >= 'A' && text[0] <= 'Z')))
        i = 1;
    return i > 0 && i + 1 < text.size() && (text[i] == '.' || text[i] == ')') && text[i + 1] == ' ';
}

}  // namespace

std::string reflow(const std::vector<TextLine>& runs) {
    const std::vector<PageLine> lines = join_runs(runs);
    const double pitch_usual = common_pitch(lines);
    // The right edge of the block a line stands in: the furthest one of the lines of the same size
    // right around it that share its left edge.
    const auto block_right = [&](size_t i) {
        const PageLine& line = lines[i];
        double right = line.end_x;
        const auto widen = [&](const PageLine& other) {
            if (std::abs(other.font_size - line.font_size) > 0.12 * line.font_size) return false;
            if (std::abs(other.start_x - line.start_x) < 3 * line.font_size)
                right = std::max(right, other.end_x);
            return true;
        };
        constexpr size_t kReach = 4;
        for (size_t k = i; k > 0 && i - k < kReach && widen(lines[k - 1]);) --k;
        for (size_t k = i + 1; k < lines.size() && k - i <= kReach && widen(lines[k]);) ++k;
        return right;
    };

    std::string out;
    for (size_t i = 0; i < lines.size(); ++i) {
        const PageLine& line = lines[i];
        if (i > 0) {
            const PageLine& before = lines[i - 1];
            const double size = std::max({line.font_size, before.font_size, 1.0});
            const double pitch = before.end_y - line.start_y;
            const double right = block_right(i - 1);
            const double width = right - before.start_x;
            const bool is_full =
                width > 0 && before.end_x - before.start_x > 0.8 * width && width > 12 * size;
            const bool same_size = std::abs(line.font_size - before.font_size) < 0.12 * size;
            const bool sentence_over = ends_sentence(before.text);
            const bool in_sentence =
                is_full && same_size && !sentence_over && !starts_item(line.text);
            const bool goes_on =
                in_sentence && (is_lower(line.text.front()) || before.text.back() == ',' ||
                                !is_digit(before.text.back()));
            // Sure enough to join over a gap or into the next column.
            const bool surely_goes_on =
                in_sentence && (is_lower(line.text.front()) || before.text.back() == ',');
            const bool new_column = pitch < -0.6 * size;
            const bool wide_gap = pitch > 1.35 * std::max(pitch_usual, 1.1 * size);
            const bool indented = sentence_over && line.start_x - before.start_x > 0.7 * size &&
                                  line.start_x - before.start_x < 6 * size;
            if (new_column || (wide_gap && pitch < 3 * size)) {
                out += surely_goes_on ? " " : "\n\n";
            } else if (wide_gap || (!same_size && std::abs(pitch) > 0.6 * size) || indented) {
                out += "\n\n";
            } else {
                out += goes_on ? " " : "\n";
            }
        }
        out += line.text;
    }
    return out;
}

}  // namespace px::source
