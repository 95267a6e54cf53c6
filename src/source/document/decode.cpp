#include "source/document/decode.h"

#include <iconv.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>

#include "base/utf8.h"

namespace px::source {
namespace {

/// Windows-1252 0x80 to 0x9F (WHATWG encoding standard: the five unassigned bytes stay C1
/// controls).
constexpr std::array<char16_t, 32> kWindows1252{
    0x20AC, 0x0081, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x008D, 0x017D, 0x008F, 0x0090, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x009D, 0x017E, 0x0178};

std::string from_windows_1252(std::string_view bytes) {
    std::string out;
    out.reserve(bytes.size() + bytes.size() / 8);
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x80) {
            out.push_back(c);
        } else if (byte < 0xA0) {
            utf8_append(out, kWindows1252[byte - 0x80u]);
        } else {
            utf8_append(out, byte);
        }
    }
    return out;
}

enum class ByteOrder { Little, Big };

char32_t unit_at(std::string_view bytes, size_t offset, size_t width, ByteOrder order) {
    char32_t unit = 0;
    for (size_t i = 0; i < width; ++i) {
        const size_t at = order == ByteOrder::Big ? offset + i : offset + width - 1 - i;
        unit = (unit << 8) | static_cast<unsigned char>(bytes[at]);
    }
    return unit;
}

std::string from_utf16(std::string_view bytes, ByteOrder order) {
    std::string out;
    out.reserve(bytes.size());
    size_t i = 0;
    while (i + 2 <= bytes.size()) {
        char32_t code = unit_at(bytes, i, 2, order);
        i += 2;
        if (code >= 0xD800 && code < 0xDC00 && i + 2 <= bytes.size()) {
            const char32_t low = unit_at(bytes, i, 2, order);
            if (low >= 0xDC00 && low < 0xE000) {
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                i += 2;
            }
        }
        utf8_append(out, code);
    }
    if (i < bytes.size()) utf8_append(out, 0xFFFD);
    return out;
}

std::string from_utf32(std::string_view bytes, ByteOrder order) {
    std::string out;
    out.reserve(bytes.size() / 2);
    size_t i = 0;
    for (; i + 4 <= bytes.size(); i += 4) utf8_append(out, unit_at(bytes, i, 4, order));
    if (i < bytes.size()) utf8_append(out, 0xFFFD);
    return out;
}

class Iconv {
  public:
    explicit Iconv(const std::string& from) : handle_(iconv_open("UTF-8", from.c_str())) {}
    Iconv(const Iconv&) = delete;
    Iconv& operator=(const Iconv&) = delete;
    ~Iconv() {
        if (known()) iconv_close(handle_);
    }
    bool known() const { return handle_ != reinterpret_cast<iconv_t>(-1); }

    /// nullopt when more than one byte in a hundred cannot be decoded: then the label was wrong.
    std::optional<std::string> decode(std::string_view bytes) {
        std::string out;
        out.reserve(bytes.size() + bytes.size() / 2);
        std::array<char, 16384> buffer;
        char* in = const_cast<char*>(bytes.data());
        size_t in_left = bytes.size();
        size_t bad_count = 0;
        while (in_left > 0) {
            char* at = buffer.data();
            size_t room = buffer.size();
            const size_t status = iconv(handle_, &in, &in_left, &at, &room);
            out.append(buffer.data(), static_cast<size_t>(at - buffer.data()));
            if (status != static_cast<size_t>(-1) || errno == E2BIG) continue;
            utf8_append(out, 0xFFFD);
            if (++bad_count > 1 + bytes.size() / 100) return std::nullopt;
            if (errno == EINVAL) break;  // cut in the middle of a character
            ++in;
            --in_left;
        }
        return out;
    }

  private:
    iconv_t handle_;
};

/// Lower case, without what is not part of a label.
std::string normal_label(std::string_view label) {
    std::string out;
    for (const char c : label) {
        if (c >= 'A' && c <= 'Z') {
            out.push_back(static_cast<char>(c - 'A' + 'a'));
        } else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                   c == ':' || c == '.') {
            out.push_back(c);
        }
        if (out.size() >= 40) break;
    }
    return out;
}

bool means_windows_1252(std::string_view label) {
    return label == "windows-1252" || label == "iso-8859-1" || label == "iso8859-1" ||
           label == "latin1" || label == "l1" || label == "cp1252" || label == "x-cp1252" ||
           label == "us-ascii" || label == "ascii";
}

std::optional<ByteOrder> utf16_by_nul_pattern(std::string_view bytes) {
    if (bytes.size() < 4 || bytes.size() % 2 != 0) return std::nullopt;
    const size_t pair_count = std::min<size_t>(bytes.size(), 4096) / 2;
    size_t even_nul = 0, odd_nul = 0;
    for (size_t i = 0; i < pair_count; ++i) {
        even_nul += bytes[2 * i] == '\0';
        odd_nul += bytes[2 * i + 1] == '\0';
    }
    if (odd_nul * 5 > pair_count * 2 && even_nul * 20 <= pair_count) return ByteOrder::Little;
    if (even_nul * 5 > pair_count * 2 && odd_nul * 20 <= pair_count) return ByteOrder::Big;
    return std::nullopt;
}

/// More multi-byte characters than broken bytes: UTF-8 with damage, not another encoding.
bool is_mostly_utf8(std::string_view bytes) {
    size_t broken = 0, multi_byte = 0;
    size_t i = 0;
    while (i < bytes.size()) {
        const size_t good = utf8_valid_prefix(bytes.substr(i));
        for (size_t k = i; k < i + good; ++k)
            multi_byte += static_cast<unsigned char>(bytes[k]) >= 0xC0;
        i += good;
        if (i < bytes.size()) {
            ++broken;
            ++i;
        }
    }
    return multi_byte > broken;
}

/// CRLF, CR → LF and no NUL, in place. False: nothing had to be changed.
bool normalize_lines(std::string& text) {
    const size_t first =
        std::min(text.find('\r'), text.find('\0'));  // two memchr beat find_first_of by far
    if (first == std::string::npos) return false;
    size_t out = first;
    for (size_t i = first; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '\0') continue;
        if (c == '\r') {
            text[out++] = '\n';
            if (i + 1 < text.size() && text[i + 1] == '\n') ++i;
        } else {
            text[out++] = c;
        }
    }
    text.resize(out);
    return true;
}

}  // namespace

DecodedText decode_text(std::string_view bytes, std::optional<std::string_view> declared) {
    using namespace std::string_view_literals;
    DecodedText result;
    const auto finish = [&](std::string text) {
        result.text = std::move(text);
        normalize_lines(result.text);
        return std::move(result);
    };
    const auto as_utf8 = [&](std::string_view body, size_t offset) {
        if (utf8_is_valid(body)) {
            result.text = std::string(body);
            result.is_raw = !normalize_lines(result.text);
            result.raw_offset = result.is_raw ? offset : 0;
            return std::move(result);
        }
        return finish(utf8_sanitize(body));
    };

    if (bytes.starts_with("\xEF\xBB\xBF"sv)) return as_utf8(bytes.substr(3), 3);
    if (bytes.starts_with("\xFF\xFE\0\0"sv))
        return finish(from_utf32(bytes.substr(4), ByteOrder::Little));
    if (bytes.starts_with("\0\0\xFE\xFF"sv))
        return finish(from_utf32(bytes.substr(4), ByteOrder::Big));
    if (bytes.starts_with("\xFF\xFE"sv))
        return finish(from_utf16(bytes.substr(2), ByteOrder::Little));
    if (bytes.starts_with("\xFE\xFF"sv)) return finish(from_utf16(bytes.substr(2), ByteOrder::Big));

    if (declared) {
        const std::string label = normal_label(*declared);
        // A file that could be read as ASCII to find the label is not UTF-16, whatever the label
        // says.
        const bool is_unicode = label.starts_with("utf");
        if (means_windows_1252(label)) {
            const bool is_ascii = std::all_of(bytes.begin(), bytes.end(), [](char c) {
                return static_cast<unsigned char>(c) < 0x80;
            });
            if (!is_ascii) return finish(from_windows_1252(bytes));
        } else if (!label.empty() && !is_unicode) {
            if (Iconv iconv(label); iconv.known()) {
                if (auto text = iconv.decode(bytes)) return finish(std::move(*text));
            }
        }
    }
    if (const auto order = utf16_by_nul_pattern(bytes)) return finish(from_utf16(bytes, *order));
    if (utf8_is_valid(bytes) || is_mostly_utf8(bytes)) return as_utf8(bytes, 0);
    return finish(from_windows_1252(bytes));
}

bool looks_binary(std::string_view utf8_text) {
    const std::string_view head = utf8_text.substr(0, size_t{64} << 10);
    size_t control_count = 0;
    for (const char c : head) {
        const auto byte = static_cast<unsigned char>(c);
        control_count +=
            byte < 0x20 && byte != '\n' && byte != '\t' && byte != '\f' && byte != 0x1B;
    }
    return control_count > 4 && control_count * 50 > head.size();
}

void drop_controls(std::string& text) {
    std::erase_if(text, [](char c) {
        return static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t';
    });
}

}  // namespace px::source
