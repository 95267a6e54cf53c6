// Acl: the value of a column of role acl: which groups may read a row. Rank 2. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace px::contract {

/// In an acl: everybody, whatever his groups.
inline constexpr std::string_view kEverybody = "*";
/// What may stand around a group's name and is no part of it.
inline constexpr std::string_view kAclBlanks = " \t\r\n";

/// The groups of an acl: its text cut at commas, blanks around each taken away, sorted, each once.
/// Names are compared byte by byte. Without any, also of an empty or missing value: nobody may read
/// the row but who is not restricted at all.
std::vector<std::string> parse_acl(std::string_view text);

}  // namespace px::contract
