#include "source/text_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "base/utf8.h"

namespace px::source {

namespace {

constexpr char kUndecodable = '\xFF';
constexpr size_t kTranscodeBlockBytes = 64 * 1024;

/// Code points of the bytes 80 to 9F in Windows-1252; 0: none.
constexpr std::array<char16_t, 32> kWindows1252 = {
    0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0,      0x017D, 0,      0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};

bool is_windows_1252(unsigned char byte) {
    return byte < 0x80 || byte > 0x9F || kWindows1252[byte - 0x80U] != 0;
}

/// Gives the bytes already read for sniffing, then the rest of the stream.
class ReplayStream final : public ByteStream {
  public:
    ReplayStream(std::string head, size_t skip, std::unique_ptr<ByteStream> rest)
        : head_(std::move(head)), position_(skip), rest_(std::move(rest)) {}

    Result<size_t> read(char* out, size_t size) override {
        size_t filled = 0;
        if (position_ < head_.size()) {
            filled = std::min(size, head_.size() - position_);
            std::memcpy(out, head_.data() + position_, filled);
            position_ += filled;
            if (position_ == head_.size()) {
                head_ = std::string();
                position_ = 0;
            }
            if (filled == size) return filled;
        }
        return filled + PX_TRY(rest_->read(out + filled, size - filled));
    }
    int64_t consumed() const override { return rest_->consumed(); }

  private:
    std::string head_;
    size_t position_;
    std::unique_ptr<ByteStream> rest_;
};

class TranscodeStream final : public ByteStream {
  public:
    TranscodeStream(std::unique_ptr<ByteStream> bytes, TextEncoding encoding)
        : bytes_(std::move(bytes)), encoding_(encoding), input_(kTranscodeBlockBytes) {}

    Result<size_t> read(char* out, size_t size) override {
        size_t filled = 0;
        while (filled < size) {
            if (position_ == text_.size()) {
                text_.clear();
                position_ = 0;
                if (ended_) break;
                PX_TRY(convert_block());
                continue;
            }
            const size_t count = std::min(size - filled, text_.size() - position_);
            std::memcpy(out + filled, text_.data() + position_, count);
            filled += count;
            position_ += count;
        }
        return filled;
    }
    int64_t consumed() const override { return bytes_->consumed(); }

  private:
    Result<void> convert_block() {
        const size_t got = PX_TRY(bytes_->read(input_.data() + held_, input_.size() - held_));
        ended_ = got == 0;
        const size_t size = held_ + got;
        held_ = 0;
        const auto* bytes = reinterpret_cast<const unsigned char*>(input_.data());
        switch (encoding_) {
            case TextEncoding::Latin1:
                for (size_t i = 0; i < size; ++i) append_latin1(bytes[i]);
                break;
            case TextEncoding::Windows1252:
                for (size_t i = 0; i < size; ++i) append_windows_1252(bytes[i]);
                break;
            default:
                convert_utf16(bytes, size);
        }
        return {};
    }

    void append_latin1(unsigned char byte) {
        if (byte < 0x80) {
            text_.push_back(static_cast<char>(byte));
        } else {
            utf8_append(text_, byte);
        }
    }

    void append_windows_1252(unsigned char byte) {
        if (byte < 0x80 || byte > 0x9F) {
            append_latin1(byte);
        } else if (const char16_t code_point = kWindows1252[byte - 0x80U]; code_point != 0) {
            utf8_append(text_, code_point);
        } else {
            text_.push_back(kUndecodable);
        }
    }

    void convert_utf16(const unsigned char* bytes, size_t size) {
        const size_t low = encoding_ == TextEncoding::Utf16Le ? 0 : 1;
        const auto unit_at = [&](size_t i) {
            return static_cast<char32_t>(bytes[i + low] | bytes[i + 1 - low] << 8);
        };
        size_t i = 0;
        while (i + 2 <= size) {
            const char32_t unit = unit_at(i);
            if (unit < 0x80) {
                text_.push_back(static_cast<char>(unit));
            } else if (unit < 0xD800 || unit > 0xDFFF) {
                utf8_append(text_, unit);
            } else {
                if (unit < 0xDC00 && i + 4 > size && !ended_)
                    break;  // its second half is still to come
                const char32_t second = unit < 0xDC00 && i + 4 <= size ? unit_at(i + 2) : 0;
                if (second >= 0xDC00 && second <= 0xDFFF) {
                    utf8_append(text_, 0x10000 + ((unit - 0xD800) << 10) + (second - 0xDC00));
                    i += 2;
                } else {
                    text_.push_back(kUndecodable);
                }
            }
            i += 2;
        }
        if (i < size && ended_) {
            text_.push_back(kUndecodable);
            return;
        }
        held_ = size - i;
        std::memmove(input_.data(), input_.data() + i, held_);
    }

    std::unique_ptr<ByteStream> bytes_;
    TextEncoding encoding_;
    std::vector<char> input_;
    size_t held_ = 0;  ///< bytes at the start of input_ that wait for the rest of their character
    std::string text_;
    size_t position_ = 0;
    bool ended_ = false;
};

bool starts_with(std::string_view text, std::string_view start) {
    return text.substr(0, start.size()) == start;
}

/// UTF-16 text without a mark: ASCII characters leave zeros in every other byte.
std::optional<TextEncoding> utf16_by_zeros(std::string_view sample) {
    const size_t pairs = std::min<size_t>(sample.size(), 64 * 1024) / 2;
    if (pairs < 2) return std::nullopt;
    size_t zeros[2] = {0, 0};
    for (size_t i = 0; i < pairs * 2; ++i) zeros[i & 1] += sample[i] == '\0' ? 1 : 0;
    if (zeros[1] * 10 >= pairs * 4 && zeros[0] * 100 <= pairs) return TextEncoding::Utf16Le;
    if (zeros[0] * 10 >= pairs * 4 && zeros[1] * 100 <= pairs) return TextEncoding::Utf16Be;
    return std::nullopt;
}

std::string binary_format_of(std::string_view head) {
    if (starts_with(head, "PK\x03\x04")) return "a ZIP archive (an Excel workbook is one)";
    if (starts_with(head, "PAR1")) return "a Parquet file";
    if (starts_with(head, "%PDF-")) return "a PDF document";
    if (starts_with(head, std::string_view("SQLite format 3\0", 16))) return "an SQLite database";
    if (starts_with(head, "\xD0\xCF\x11\xE0")) return "an old Office document";
    if (starts_with(head, "BZh")) return "bzip2 data";
    if (starts_with(head, std::string_view("\xFD"
                                           "7zXZ\0",
                                           6))) {
        return "xz data";
    }
    return {};
}

}  // namespace

std::string_view text_encoding_name(TextEncoding encoding) {
    switch (encoding) {
        case TextEncoding::Auto:
            return "auto";
        case TextEncoding::Utf8:
            return "utf-8";
        case TextEncoding::Utf16Le:
            return "utf-16le";
        case TextEncoding::Utf16Be:
            return "utf-16be";
        case TextEncoding::Latin1:
            return "latin1";
        case TextEncoding::Windows1252:
            return "windows-1252";
    }
    return "auto";
}

Result<TextEncoding> parse_text_encoding(std::string_view name) {
    std::string lower(name);
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) {
        return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    });
    for (const TextEncoding encoding :
         {TextEncoding::Auto, TextEncoding::Utf8, TextEncoding::Utf16Le, TextEncoding::Utf16Be,
          TextEncoding::Latin1, TextEncoding::Windows1252}) {
        if (lower == text_encoding_name(encoding)) return encoding;
    }
    if (lower == "utf8") return TextEncoding::Utf8;
    if (lower == "utf16le") return TextEncoding::Utf16Le;
    if (lower == "utf16be") return TextEncoding::Utf16Be;
    if (lower == "latin-1" || lower == "iso-8859-1") return TextEncoding::Latin1;
    if (lower == "cp1252" || lower == "windows1252") return TextEncoding::Windows1252;
    return fail(ErrorCode::InvalidArgument, fmt::format("unknown text encoding \"{}\"", name),
                "use auto, utf-8, utf-16le, utf-16be, latin1 or windows-1252");
}

TextEncoding sniff_encoding(std::string_view sample) {
    if (starts_with(sample, "\xEF\xBB\xBF")) return TextEncoding::Utf8;
    if (starts_with(sample, "\xFF\xFE")) return TextEncoding::Utf16Le;
    if (starts_with(sample, "\xFE\xFF")) return TextEncoding::Utf16Be;
    if (const auto utf16 = utf16_by_zeros(sample)) return *utf16;
    if (utf8_is_valid(sample)) return TextEncoding::Utf8;

    size_t ill_formed = 0;
    size_t well_formed = 0;
    bool all_in_windows_1252 = true;
    size_t i = 0;
    while (i < sample.size()) {
        // A run of well-formed text: count its sequences by their lead bytes.
        const size_t valid = utf8_valid_prefix(sample.substr(i));
        for (size_t k = i; k < i + valid; ++k) {
            const auto byte = static_cast<unsigned char>(sample[k]);
            well_formed += byte >= 0xC0 ? 1 : 0;
            all_in_windows_1252 &= is_windows_1252(byte);
        }
        i += valid;
        if (i == sample.size()) break;
        if (sample.size() >= kEncodingSampleBytes && sample.size() - i < 4)
            break;  // cut by the sample's end
        all_in_windows_1252 &= is_windows_1252(static_cast<unsigned char>(sample[i]));
        ++ill_formed;
        ++i;
    }
    if (ill_formed > well_formed && all_in_windows_1252) return TextEncoding::Windows1252;
    return TextEncoding::Utf8;
}

Result<OpenedText> open_text(const std::filesystem::path& path, TextEncoding encoding) {
    OpenedBytes bytes = PX_TRY(open_bytes(path));
    const size_t sample_bytes = encoding == TextEncoding::Auto ? kEncodingSampleBytes : 16;
    std::string sample(sample_bytes, '\0');
    sample.resize(PX_TRY(bytes.stream->read(sample.data(), sample.size())));

    OpenedText text;
    text.binary_format = binary_format_of(sample);
    text.encoding = encoding == TextEncoding::Auto ? sniff_encoding(sample) : encoding;
    size_t mark = 0;
    if (text.encoding == TextEncoding::Utf8 && starts_with(sample, "\xEF\xBB\xBF")) mark = 3;
    if (text.encoding == TextEncoding::Utf16Le && starts_with(sample, "\xFF\xFE")) mark = 2;
    if (text.encoding == TextEncoding::Utf16Be && starts_with(sample, "\xFE\xFF")) mark = 2;
    auto replay = std::make_unique<ReplayStream>(std::move(sample), mark, std::move(bytes.stream));
    if (text.encoding == TextEncoding::Utf8) {
        text.is_raw = !bytes.compressed;
        text.first_offset = text.is_raw ? static_cast<int64_t>(mark) : 0;
        text.stream = std::move(replay);
    } else {
        text.stream = std::make_unique<TranscodeStream>(std::move(replay), text.encoding);
    }
    return text;
}

}  // namespace px::source
