#include "source/sql/copy_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace px::source {
namespace {

bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           static_cast<unsigned char>(c) >= 0x80;
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// End of the text, quoted name or comment that begins at `at`; `at` itself when none does; npos
/// when it has no end.
size_t end_of_quoted(std::string_view sql, size_t at) {
    const auto after = [&](std::string_view closing, size_t from) {
        const size_t found = sql.find(closing, from);
        return found == std::string_view::npos ? found : found + closing.size();
    };
    const char c = sql[at];
    const char next = at + 1 < sql.size() ? sql[at + 1] : '\0';
    if (c == '\'' || c == '"') {
        // E'…' knows backslashes. A doubled quote ends one text and begins the next: the same here.
        const bool escapes = c == '\'' && at > 0 && (sql[at - 1] == 'e' || sql[at - 1] == 'E') &&
                             (at == 1 || !is_name(sql[at - 2]));
        for (size_t i = at + 1; i < sql.size(); ++i) {
            if (escapes && sql[i] == '\\') {
                ++i;
            } else if (sql[i] == c) {
                if (i + 1 < sql.size() && sql[i + 1] == c) {
                    ++i;
                    continue;
                }
                return i + 1;
            }
        }
        return std::string_view::npos;
    }
    if (c == '-' && next == '-') return std::min(sql.find('\n', at), sql.size());
    if (c == '/' && next == '*') {
        size_t depth = 1;
        for (size_t i = at + 2; i + 1 < sql.size(); ++i) {
            if (sql[i] == '/' && sql[i + 1] == '*') {
                ++depth;
                ++i;
            } else if (sql[i] == '*' && sql[i + 1] == '/') {
                ++i;
                if (--depth == 0) return i + 1;
            }
        }
        return std::string_view::npos;
    }
    if (c == '$' && !(at > 0 && is_name(sql[at - 1])) && !is_digit(next)) {
        size_t end = at + 1;
        while (end < sql.size() && is_name(sql[end])) ++end;
        if (end < sql.size() && sql[end] == '$')
            return after(sql.substr(at, end + 1 - at), end + 1);
    }
    return at;
}

}  // namespace

void decode_copy_row(std::string_view row, std::vector<std::optional<std::string>>& fields) {
    if (row.ends_with('\n')) row.remove_suffix(1);
    size_t count = 0;
    for (size_t at = 0;; ++count) {
        if (count == fields.size()) fields.emplace_back();
        const size_t end = std::min(row.find('\t', at), row.size());
        std::string_view raw = row.substr(at, end - at);
        if (raw == "\\N") {
            fields[count].reset();
        } else {
            if (!fields[count]) fields[count].emplace();
            std::string& text = *fields[count];
            text.clear();
            for (;;) {
                const size_t backslash = raw.find('\\');
                text += raw.substr(0, backslash);
                if (backslash == std::string_view::npos || backslash + 1 == raw.size()) break;
                const char escaped = raw[backslash + 1];
                constexpr std::string_view kLetters = "bfnrtv", kMeanings = "\b\f\n\r\t\v";
                const size_t letter = kLetters.find(escaped);
                text += letter == std::string_view::npos ? escaped : kMeanings[letter];
                raw.remove_prefix(backslash + 2);
            }
        }
        if (end == row.size()) break;
        at = end + 1;
    }
    fields.resize(count + 1);
}

Result<std::string> with_ds(std::string_view query, std::string_view literal) {
    std::string bound;
    size_t semicolon = std::string::npos;  // in bound, with nothing but blanks and comments behind
    for (size_t at = 0; at < query.size();) {
        const size_t end = end_of_quoted(query, at);
        if (end == std::string_view::npos) {
            return fail(ErrorCode::InvalidArgument,
                        "the query has a text, quoted name or comment without an end",
                        "correct the query of the source");
        }
        const char c = query[at];
        if (end != at) {
            if (c != '-' && c != '/') semicolon = std::string::npos;
            bound += query.substr(at, end - at);
            at = end;
            continue;
        }
        const char before = at > 0 ? query[at - 1] : ' ';
        // Behind a name or a bracket it is a slice, a[1:n], and :: is a cast.
        const bool marks = c == ':' && before != ':' && !is_name(before) && before != ')' &&
                           before != ']' && before != '"';
        if (marks && at + 1 < query.size() && is_name(query[at + 1]) && !is_digit(query[at + 1])) {
            size_t name_end = at + 1;
            while (name_end < query.size() && is_name(query[name_end])) ++name_end;
            const std::string_view name = query.substr(at + 1, name_end - at - 1);
            if (name != "ds") {
                return fail(ErrorCode::InvalidArgument,
                            fmt::format("the query has a parameter other than :ds: :{}", name),
                            "only :ds, the logical date, is bound");
            }
            bound += literal;
            semicolon = std::string::npos;
            at = name_end;
            continue;
        }
        if (c == ';' && semicolon == std::string::npos) {
            semicolon = bound.size();
        } else if (std::string_view(" \t\r\n\f\v;").find(c) == std::string_view::npos) {
            semicolon = std::string::npos;
        }
        bound += c;
        ++at;
    }
    if (semicolon != std::string::npos) bound[semicolon] = ' ';
    return bound;
}

}  // namespace px::source
