// What in a text may be meant to mislead whoever reads it for somebody: instructions to a model,
// hidden characters, links, markup, SQL. Rank 2. Pure; any thread. docs/answers.md lists what is
// found. The text itself stays as it is: citations are verified against it, byte by byte.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace px::chunk {

/// The kinds found in a text, each once, in this order: "instruction" (orders to whoever answers),
/// "hidden" (zero-width, bidirectional, tag and other characters nobody sees), "markup" (HTML,
/// scripts, event handlers), "link" (addresses, also of images), "sql". O(text).
std::vector<std::string> inspect(std::string_view text);
/// Whether a sentence gives orders to a model instead of saying something.
bool is_instruction(std::string_view sentence);
/// The text without characters nobody sees; joined scripts keep their joiners (U+200C, U+200D
/// between letters of such scripts). For showing and for prompts, never for citing.
std::string visible_text(std::string_view text);

}  // namespace px::chunk
