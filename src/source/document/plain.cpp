// Plain text and Markdown: the text stays as it is; Markdown may carry YAML front matter.
#include <algorithm>
#include <cctype>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "source/document/dates.h"
#include "source/document/decode.h"
#include "source/document/formats.h"

namespace px::source {
namespace {

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

/// The line at offset without its newline; moves offset behind the newline.
std::string_view next_line(std::string_view text, size_t& offset) {
    const size_t end = std::min(text.find('\n', offset), text.size());
    const std::string_view line = text.substr(offset, end - offset);
    offset = std::min(end + 1, text.size());
    return line;
}

/// A YAML scalar without its quotes and comment.
std::string scalar(std::string_view text) {
    text = trim(text);
    if (text.size() >= 2 && (text.front() == '"' || text.front() == '\'')) {
        const char quote = text.front();
        std::string out;
        for (size_t i = 1; i < text.size(); ++i) {
            if (quote == '"' && text[i] == '\\' && i + 1 < text.size()) {
                out.push_back(text[++i]);
            } else if (text[i] == quote) {
                if (quote == '\'' && i + 1 < text.size() && text[i + 1] == quote) {
                    out.push_back(text[++i]);
                    continue;
                }
                return out;
            } else {
                out.push_back(text[i]);
            }
        }
        return std::string(text);  // never closed: taken as it stands
    }
    if (const size_t comment = text.find(" #"); comment != std::string_view::npos) {
        text = trim(text.substr(0, comment));
    }
    if (text == "~" || text == "null") return {};
    return std::string(text);
}

/// [a, "b, c"] → its items; anything else → one scalar.
std::vector<std::string> items(std::string_view text) {
    text = trim(text);
    std::vector<std::string> out;
    if (text.size() < 2 || text.front() != '[' || text.back() != ']') {
        if (std::string one = scalar(text); !one.empty()) out.push_back(std::move(one));
        return out;
    }
    text = text.substr(1, text.size() - 2);
    size_t start = 0;
    char quote = '\0';
    for (size_t i = 0; i <= text.size(); ++i) {
        if (i < text.size() && quote != '\0') {
            if (text[i] == quote) quote = '\0';
        } else if (i == text.size() || text[i] == ',') {
            if (std::string one = scalar(text.substr(start, i - start)); !one.empty()) {
                out.push_back(std::move(one));
            }
            start = i + 1;
        } else if (text[i] == '"' || text[i] == '\'') {
            quote = text[i];
        }
    }
    return out;
}

struct FrontMatter {
    std::vector<std::pair<std::string, std::vector<std::string>>>
        fields;      ///< key in lower case → values
    size_t end = 0;  ///< offset of the first byte of the text behind it and behind blank lines

    const std::vector<std::string>* find(std::initializer_list<std::string_view> keys) const {
        for (const auto key : keys) {
            for (const auto& [name, values] : fields) {
                if (name == key && !values.empty()) return &values;
            }
        }
        return nullptr;
    }
};

constexpr size_t kFrontMatterBytesMax = 64 * 1024;

std::optional<FrontMatter> read_front_matter(std::string_view text) {
    size_t at = 0;
    const std::string_view first = next_line(text, at);
    if (!first.starts_with("---") || trim(first) != "---") return std::nullopt;
    FrontMatter matter;
    while (at < text.size() && at < kFrontMatterBytesMax) {
        const std::string_view line = next_line(text, at);
        if (line.starts_with("---") || line.starts_with("...")) {
            if (trim(line).size() != 3) return std::nullopt;
            while (at < text.size()) {
                size_t next = at;
                if (!trim(next_line(text, next)).empty()) break;
                at = next;
            }
            matter.end = at;
            return matter;
        }
        const std::string_view bare = trim(line);
        if (bare.empty() || bare.front() == '#') continue;
        if (bare.starts_with("- ")) {  // an item of the list begun by the last key
            if (matter.fields.empty()) return std::nullopt;
            if (std::string one = scalar(bare.substr(2)); !one.empty()) {
                matter.fields.back().second.push_back(std::move(one));
            }
            continue;
        }
        if (line.front() == ' ' || line.front() == '\t') continue;  // nested values are not read
        const size_t colon = line.find(':');
        if (colon == std::string_view::npos || colon == 0) return std::nullopt;
        std::string key(trim(line.substr(0, colon)));
        std::transform(key.begin(), key.end(), key.begin(),
                       [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        matter.fields.emplace_back(std::move(key), items(line.substr(colon + 1)));
    }
    return std::nullopt;
}

std::string join(const std::vector<std::string>& values) {
    std::string out;
    for (const auto& value : values) {
        if (!out.empty()) out += ", ";
        out += value;
    }
    return out;
}

/// The text of an ATX heading of the given level at most, or nullopt.
std::optional<std::string_view> atx_heading(std::string_view line, size_t level_max) {
    size_t indent = 0;
    while (indent < 3 && indent < line.size() && line[indent] == ' ') ++indent;
    line.remove_prefix(indent);
    size_t level = 0;
    while (level < line.size() && line[level] == '#') ++level;
    if (level == 0 || level > level_max || level == line.size()) return std::nullopt;
    if (line[level] != ' ' && line[level] != '\t') return std::nullopt;
    std::string_view text = trim(line.substr(level));
    size_t end = text.size();
    while (end > 0 && text[end - 1] == '#') --end;
    if (end == 0) return std::nullopt;
    if (end < text.size() && (text[end - 1] == ' ' || text[end - 1] == '\t'))
        text = trim(text.substr(0, end));
    if (text.empty()) return std::nullopt;
    return text;
}

bool is_setext_underline(std::string_view line) {
    line = trim(line);
    return line.size() >= 2 && line.find_first_not_of('=') == std::string_view::npos;
}

/// The first level-1 heading outside of code fences, else the first heading of any level.
std::optional<std::string> first_heading(std::string_view text) {
    std::optional<std::string> any;
    std::string_view previous;
    bool in_fence = false;
    char fence = '\0';
    size_t at = 0;
    while (at < text.size()) {
        const std::string_view line = next_line(text, at);
        const std::string_view bare = trim(line);
        if (bare.starts_with("```") || bare.starts_with("~~~")) {
            if (!in_fence) {
                in_fence = true;
                fence = bare.front();
            } else if (bare.front() == fence) {
                in_fence = false;
            }
            previous = {};
            continue;
        }
        if (in_fence) continue;
        if (const auto heading = atx_heading(line, 1)) return std::string(*heading);
        if (!previous.empty() && is_setext_underline(line)) return std::string(previous);
        if (!any) {
            if (const auto heading = atx_heading(line, 6)) any = std::string(*heading);
        }
        previous = bare;
    }
    return any;
}

Result<DecodedText> decode_checked(std::string_view bytes) {
    DecodedText decoded = decode_text(bytes);
    if (looks_binary(decoded.text)) {
        return fail(ErrorCode::Corrupt, "the file holds binary data, not text",
                    "Give it the extension of its format, or leave it out of the source's pattern");
    }
    return decoded;
}

}  // namespace

Result<ExtractedDocument> extract_plain(std::string_view bytes) {
    DecodedText decoded = PX_TRY(decode_checked(bytes));
    ExtractedDocument document;
    document.format = DocumentFormat::PlainText;
    document.text_is_raw = decoded.is_raw;
    document.text_offset = static_cast<int64_t>(decoded.raw_offset);
    document.text = std::move(decoded.text);
    return document;
}

Result<ExtractedDocument> extract_markdown(std::string_view bytes) {
    DecodedText decoded = PX_TRY(decode_checked(bytes));
    ExtractedDocument document;
    document.format = DocumentFormat::Markdown;
    size_t start = 0;
    if (const auto matter = read_front_matter(decoded.text)) {
        start = matter->end;
        if (const auto* title = matter->find({"title"})) document.title = title->front();
        if (const auto* author = matter->find({"author", "authors"}))
            document.author = join(*author);
        if (const auto* category = matter->find({"category", "categories"})) {
            document.category = category->front();
        }
        if (const auto* date =
                matter->find({"date", "created_at", "created", "published_at", "published"})) {
            document.created_at = parse_document_date(date->front());
        }
    }
    if (start > 0) decoded.text.erase(0, start);
    if (!document.title) document.title = first_heading(decoded.text);
    document.text_is_raw = decoded.is_raw;
    document.text_offset = decoded.is_raw ? static_cast<int64_t>(decoded.raw_offset + start) : 0;
    document.text = std::move(decoded.text);
    return document;
}

}  // namespace px::source
