#include "source/document/metadata.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "source/document/text_writer.h"

namespace px::source {
namespace {

constexpr size_t kValueBytesMax = 1000;

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return text;
}

}  // namespace

std::optional<std::string> clean_value(std::string_view text) {
    TextWriter writer(kValueBytesMax);
    writer.inline_text(text.substr(0, 4 * kValueBytesMax));
    std::string value = std::move(writer).take();
    std::erase_if(value, [](char c) { return static_cast<unsigned char>(c) < 0x20; });
    if (value.size() > kValueBytesMax) {
        size_t end = kValueBytesMax;
        while (end > 0 && (static_cast<unsigned char>(value[end]) & 0xC0) == 0x80) --end;
        value.resize(end);
    }
    if (!utf8_is_valid(value)) value = utf8_sanitize(value);
    constexpr std::array<std::string_view, 4> kPlaceholders{"anonymous", "unspecified",
                                                            "python-docx", "unknown"};
    const std::string small = lower(value);
    if (value.empty() ||
        std::find(kPlaceholders.begin(), kPlaceholders.end(), small) != kPlaceholders.end()) {
        return std::nullopt;
    }
    return value;
}

std::optional<std::string> clean_title(std::string_view text) {
    auto value = clean_value(text);
    if (!value) return std::nullopt;
    constexpr std::string_view kWord = "Microsoft Word - ";
    if (value->starts_with(kWord)) value->erase(0, kWord.size());
    const std::string small = lower(*value);
    if (small.empty() || small == "untitled" || small == "word document") return std::nullopt;
    return value;
}

std::optional<std::string> first_keyword(std::string_view text) {
    size_t at = 0;
    while (at < text.size()) {
        const size_t end = std::min(text.find_first_of(",;", at), text.size());
        if (auto value = clean_value(text.substr(at, end - at))) return value;
        at = end + 1;
    }
    return std::nullopt;
}

}  // namespace px::source
