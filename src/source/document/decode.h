// Bytes of unknown encoding → UTF-8 text. Rank 2; pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace px::source {

struct DecodedText {
    std::string text;       ///< valid UTF-8, LF line ends, no NUL, no byte order mark
    bool is_raw = false;    ///< text is bytes.substr(raw_offset), byte for byte
    size_t raw_offset = 0;  ///< length of the byte order mark when is_raw
};

/// Decodes by byte order mark (UTF-8, UTF-16, UTF-32), else by the declared charset label if given
/// and known, else as UTF-16 when every other byte is mostly NUL, else as UTF-8, else as
/// Windows-1252. Text that is UTF-8 but for fewer broken bytes than it has multi-byte characters
/// stays UTF-8, with U+FFFD for each broken byte. CRLF and CR become LF. Never fails: what cannot
/// be decoded becomes U+FFFD. O(n).
DecodedText decode_text(std::string_view bytes,
                        std::optional<std::string_view> declared = std::nullopt);

/// True for bytes that are no text in any encoding: too many control characters in the first 64 KiB
/// of UTF-8.
bool looks_binary(std::string_view utf8_text);

/// text without bytes that are not allowed in XML-like text (C0 controls but tab and newline). In
/// place.
void drop_controls(std::string& text);

}  // namespace px::source
