#include "engine/result_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "base/utf8.h"

namespace px::engine {

bool is_json_literal_type(std::string_view sql_type) {
    constexpr std::array<std::string_view, 13> kTypes = {
        "BOOLEAN",   "TINYINT",  "SMALLINT", "INTEGER",  "BIGINT", "HUGEINT", "UTINYINT",
        "USMALLINT", "UINTEGER", "UBIGINT",  "UHUGEINT", "FLOAT",  "DOUBLE"};
    return std::find(kTypes.begin(), kTypes.end(), sql_type) != kTypes.end() ||
           (sql_type.starts_with("DECIMAL(") && sql_type.ends_with(')'));
}

void append_json_string(std::string_view text, std::string& out) {
    std::string clean;
    if (!utf8_is_valid(text)) {
        clean = utf8_sanitize(text);
        text = clean;
    }
    out += '"';
    size_t plain = 0;
    for (size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\') continue;
        out.append(text, plain, i - plain);
        plain = i + 1;
        switch (c) {
            case '"':
                out += "\\\"";
                break;
            case '\\':
                out += "\\\\";
                break;
            case '\n':
                out += "\\n";
                break;
            case '\r':
                out += "\\r";
                break;
            case '\t':
                out += "\\t";
                break;
            default:
                fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
        }
    }
    out.append(text, plain, std::string_view::npos);
    out += '"';
}

void append_json_cell(std::string_view sql_type, const std::optional<std::string>& cell,
                      std::string& out) {
    if (!cell) {
        out += "null";
        return;
    }
    bool finite = *cell != "nan" && *cell != "inf" && *cell != "-inf";
    if (is_json_literal_type(sql_type) && finite) {
        out += *cell;
    } else {
        append_json_string(*cell, out);
    }
}

void append_json_object(const QueryResult& result, size_t row, std::string& out) {
    out += '{';
    for (size_t c = 0; c < result.columns.size(); ++c) {
        if (c > 0) out += ',';
        auto before = result.columns.begin();
        auto repeats =
            std::count(before, before + static_cast<std::ptrdiff_t>(c), result.columns[c]);
        append_json_string(
            repeats == 0 ? result.columns[c] : fmt::format("{}_{}", result.columns[c], repeats + 1),
            out);
        out += ':';
        append_json_cell(result.types[c], result.rows[row][c], out);
    }
    out += '}';
}

std::string to_json(const QueryResult& result) {
    std::string out = "{\"columns\":[";
    for (size_t c = 0; c < result.columns.size(); ++c) {
        out += c > 0 ? ",{\"name\":" : "{\"name\":";
        append_json_string(result.columns[c], out);
        out += ",\"type\":";
        append_json_string(result.types[c], out);
        out += '}';
    }
    out += "],\"rows\":[";
    for (size_t r = 0; r < result.rows.size(); ++r) {
        out += r > 0 ? ",[" : "[";
        for (size_t c = 0; c < result.columns.size(); ++c) {
            if (c > 0) out += ',';
            append_json_cell(result.types[c], result.rows[r][c], out);
        }
        out += ']';
    }
    fmt::format_to(std::back_inserter(out),
                   "],\"row_count\":{},\"truncated\":{},\"elapsed_ms\":{:.3f}}}",
                   result.rows.size(), result.truncated, result.elapsed_ms);
    return out;
}

}  // namespace px::engine
