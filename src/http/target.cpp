#include "http/target.h"

#include <fmt/format.h>

#include "base/utf8.h"

namespace px::http {
namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

Result<std::string> decode_text(std::string_view text, Plus plus, std::string_view what) {
    auto decoded = PX_TRY(percent_decode(text, plus));
    if (decoded.find('\0') != std::string::npos || !utf8_is_valid(decoded)) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("the {} of the request is not UTF-8 text", what),
                    "Percent-encode it as UTF-8, without NUL");
    }
    return decoded;
}

}  // namespace

Result<std::string> percent_decode(std::string_view text, Plus plus) {
    std::string out;
    out.reserve(text.size());
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '+' && plus == Plus::IsSpace) {
            out.push_back(' ');
        } else if (c != '%') {
            out.push_back(c);
        } else {
            const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
            const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return fail(ErrorCode::InvalidArgument,
                            fmt::format("'%' at byte {} of the request target is not followed by "
                                        "two hexadecimal digits",
                                        i),
                            "Write a percent sign as %25");
            }
            out.push_back(static_cast<char>(high * 16 + low));
            i += 2;
        }
    }
    return out;
}

std::string percent_encode(std::string_view text) {
    static constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        if (plain) {
            out.push_back(c);
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out.push_back('%');
            out.push_back(kHex[byte >> 4]);
            out.push_back(kHex[byte & 15]);
        }
    }
    return out;
}

Result<Target> parse_target(std::string_view target) {
    if (target == "*") return Target{"*", {}};
    if (target.empty() || target[0] != '/') {
        const size_t scheme = target.find("://");
        if (scheme == std::string_view::npos || scheme == 0) {
            return fail(ErrorCode::InvalidArgument, "the request target must begin with '/'");
        }
        const size_t path = target.find_first_of("/?#", scheme + 3);
        target = path == std::string_view::npos ? std::string_view("/") : target.substr(path);
        if (target[0] != '/') {
            return fail(ErrorCode::InvalidArgument, "the request target has no path");
        }
    }
    target = target.substr(0, target.find('#'));
    const size_t question = target.find('?');
    Target parsed;
    parsed.path = PX_TRY(decode_text(target.substr(0, question), Plus::IsPlus, "path"));
    if (question == std::string_view::npos) return parsed;
    std::string_view rest = target.substr(question + 1);
    while (!rest.empty()) {
        const size_t end = rest.find('&');
        const std::string_view pair = rest.substr(0, end);
        rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
        if (pair.empty()) continue;
        const size_t equals = pair.find('=');
        const std::string_view value =
            equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
        auto name = PX_TRY(decode_text(pair.substr(0, equals), Plus::IsSpace, "query"));
        parsed.query.emplace_back(std::move(name),
                                  PX_TRY(decode_text(value, Plus::IsSpace, "query")));
    }
    return parsed;
}

}  // namespace px::http
