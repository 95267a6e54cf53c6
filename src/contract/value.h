// The grammar of values: text → typed value. Fast functions that only say yes or no (the
// hottest in parse.h), and a slow one that says why.
// Pure; any thread. Specification: docs/formats/contract.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "columnar/record_batch.h"
#include "contract/parse.h"

namespace px::contract {

bool parse_double(std::string_view text, double& value);
bool parse_boolean(std::string_view text, bool& value);

/// Why text is no value of the type, for people.
std::string explain(const columnar::DataType& type, std::string_view text);

/// text in quotes, cut to what fits a sentence, always well-formed.
std::string shown(std::string_view text);
/// text cut to at most limit bytes between code points; ill-formed bytes become U+FFFD.
std::string cut_text(std::string_view text, size_t limit);

/// White_Space of Unicode, and the byte order mark.
bool is_space(char32_t code_point);
/// text without spaces at both ends; text that is not well-formed is returned as it is.
std::string_view trimmed(std::string_view text);

}  // namespace px::contract
