// Text of a landed file as UTF-8: finds the encoding, drops the byte order mark, transcodes while
// streaming. Relies on ByteStream. Not thread-safe; memory: the sample (at most 1 MiB) and two
// small blocks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "source/byte_stream.h"

namespace px::source {

enum class TextEncoding { Auto, Utf8, Utf16Le, Utf16Be, Latin1, Windows1252 };

/// "auto", "utf-8", "utf-16le", "utf-16be", "latin1", "windows-1252".
std::string_view text_encoding_name(TextEncoding encoding);
/// The encoding of that name, letter case aside; "utf8", "iso-8859-1", "cp1252" are known as well.
/// Errors: InvalidArgument naming what is allowed.
Result<TextEncoding> parse_text_encoding(std::string_view name);

/// Bytes that decide about TextEncoding::Auto.
inline constexpr size_t kEncodingSampleBytes = 1 << 20;

/// What the first bytes of a text are. By rules in this order: byte order mark; UTF-16 by the
/// places of its zero bytes; well-formed UTF-8 (a sequence cut by the end of the sample is fine);
/// Windows-1252 when every byte has a meaning in it and ill-formed bytes outnumber well-formed
/// UTF-8 sequences; else UTF-8. Never Auto.
TextEncoding sniff_encoding(std::string_view sample);

struct OpenedText {
    std::unique_ptr<ByteStream> stream;  ///< UTF-8; a byte FF stands for what could not be decoded
    TextEncoding encoding = TextEncoding::Utf8;
    bool is_raw = false;  ///< the stream's bytes are the file's own
    int64_t first_offset =
        0;  ///< of the stream's first byte in the file when is_raw (3 behind a byte order mark)
    std::string binary_format;  ///< "ZIP archive", "Parquet file", …: what the first bytes look
                                ///< like instead of text
};

/// Opens a file as text. Auto: the encoding is sniffed from the first MiB (after decompression).
/// Errors: those of open_bytes.
Result<OpenedText> open_text(const std::filesystem::path& path, TextEncoding encoding);

}  // namespace px::source
