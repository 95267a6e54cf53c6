// reflow: the lines of a PDF page → paragraphs. Rank 2; pure.
#pragma once

#include <string>
#include <vector>

#include "capi/pdfium/pdfium.h"

namespace px::source {

/// Joins pieces of one line of the page, joins words split by a hyphen at a line end, joins lines
/// that were only wrapped by a space, keeps other line ends, and separates paragraphs (a larger
/// gap, a change of letter size, an indented first line, a new column) by a blank line.
/// O(characters).
std::string reflow(const std::vector<pdfium::TextLine>& lines);

}  // namespace px::source
