// Cleaning of metadata values as authoring programs leave them. Rank 2; pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace px::source {

/// White space collapsed, valid UTF-8, at most 1,000 bytes; nullopt when nothing is left, or a
/// program's placeholder stands there ("anonymous", "unspecified", "python-docx").
std::optional<std::string> clean_value(std::string_view text);
/// clean_value without a program's prefix ("Microsoft Word - "); nullopt for "untitled" and the
/// like.
std::optional<std::string> clean_title(std::string_view text);
/// The first of keywords separated by commas or semicolons.
std::optional<std::string> first_keyword(std::string_view text);

}  // namespace px::source
