// Names and values as SQL writes them, for the statements px makes itself.
#pragma once

#include <string>
#include <string_view>

namespace px::pipeline {

/// In the given quotes, which are doubled inside.
inline std::string in_quotes(std::string_view text, char quote) {
    std::string out(1, quote);
    for (char c : text) {
        if (c == quote) out += quote;
        out += c;
    }
    return out + quote;
}
inline std::string sql_name(std::string_view name) { return in_quotes(name, '"'); }
inline std::string sql_literal(std::string_view value) { return in_quotes(value, '\''); }

}  // namespace px::pipeline
