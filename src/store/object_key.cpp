#include "store/object_key.h"

#include <fmt/format.h>

#include <string>

namespace px::store {
namespace {

enum class LastPart { Whole, MayBeCut };

std::string printable(std::string_view key) {
    std::string text(key.substr(0, 80));
    for (char& c : text) {
        if (static_cast<unsigned char>(c) < 0x20) c = '?';
    }
    return key.size() > 80 ? text + "…" : text;
}

Result<void> validate(std::string_view key, LastPart last_part) {
    const auto refuse = [&](std::string_view why) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("object key '{}' {}", printable(key), why),
                    "Use relative names with '/' between the parts");
    };
    if (key.size() > kMaxKeyBytes) {
        return refuse(
            fmt::format("has {} bytes, at most {} are allowed", key.size(), kMaxKeyBytes));
    }
    if (key.find('\0') != std::string_view::npos) return refuse("holds a NUL byte");
    if (key.starts_with('/')) return refuse("is absolute");
    size_t begin = 0;
    while (true) {
        const size_t slash = key.find('/', begin);
        const bool last = slash == std::string_view::npos;
        const std::string_view part =
            key.substr(begin, last ? std::string_view::npos : slash - begin);
        const bool cut = last && last_part == LastPart::MayBeCut;
        if (part.empty() && !cut) return refuse("has an empty part");
        if (!cut && part == ".") return refuse("has a part \".\"");
        if (part == "..") return refuse("has a part \"..\"");
        if (part.size() > kMaxKeyPartBytes) {
            return refuse(fmt::format("has a part of {} bytes, at most {} are allowed", part.size(),
                                      kMaxKeyPartBytes));
        }
        if (part.starts_with(kTemporaryPrefix)) {
            return refuse("uses a name reserved for unfinished writes");
        }
        if (last) return {};
        begin = slash + 1;
    }
}

}  // namespace

Result<void> validate_key(std::string_view key) {
    if (key.empty())
        return fail(ErrorCode::InvalidArgument, "an object key is empty", "Name the object");
    return validate(key, LastPart::Whole);
}

Result<void> validate_prefix(std::string_view prefix) {
    return validate(prefix, LastPart::MayBeCut);
}

}  // namespace px::store
