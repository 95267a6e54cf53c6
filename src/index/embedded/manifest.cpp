#include "index/embedded/manifest.h"

#include <cstring>

#include "index/embedded/crc32c.h"
#include "index/embedded/segment.h"
#include "index/embedded/varint.h"

namespace px::index {

namespace {

constexpr std::string_view kMagic = "PXMANI01";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeadBytes = 24;
constexpr size_t kSegmentHeadBytes = 52;

template <class T>
void append_raw(std::string& out, T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

std::string hex_of(std::string_view bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string hex;
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        hex.push_back(kDigits[byte >> 4]);
        hex.push_back(kDigits[byte & 15]);
    }
    return hex;
}

std::string bytes_of(std::string_view hex) {
    const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    std::string bytes;
    for (size_t i = 0; i + 1 < hex.size(); i += 2)
        bytes.push_back(static_cast<char>(digit(hex[i]) * 16 + digit(hex[i + 1])));
    return bytes;
}

}  // namespace

std::string format_manifest(const Manifest& manifest) {
    std::string out(kMagic);
    append_raw(out, kVersion);
    append_raw(out, manifest.width);
    append_raw(out, static_cast<uint32_t>(manifest.segments.size()));
    append_raw(out, uint32_t{0});
    for (const ManifestSegment& segment : manifest.segments) {
        std::string deleted;
        uint32_t next = 0;
        for (const uint32_t ordinal : segment.deleted) {
            append_varint(deleted, ordinal + 1 - next);
            next = ordinal + 1;
        }
        out += bytes_of(segment.name);
        append_raw(out, segment.size);
        append_raw(out, segment.point_count);
        append_raw(out, static_cast<uint32_t>(segment.deleted.size()));
        append_raw(out, static_cast<uint32_t>(deleted.size()));
        out += deleted;
    }
    append_raw(out, crc32c(0, out.data(), out.size()));
    return out;
}

Result<Manifest> parse_manifest(std::string_view bytes) {
    const auto corrupt = [](std::string_view why) {
        return fail(ErrorCode::Corrupt, "index manifest is damaged: " + std::string(why),
                    "Restore it from a backup, or rebuild the index from the lake.");
    };
    size_t at = 0;
    const auto take = [&]<class T>(T& value) {
        std::memcpy(&value, bytes.data() + at, sizeof(T));
        at += sizeof(T);
    };
    if (bytes.size() < kHeadBytes + 4 || bytes.substr(0, 8) != kMagic)
        return corrupt("it does not begin as a manifest");
    uint32_t crc = 0;
    std::memcpy(&crc, bytes.data() + bytes.size() - 4, 4);
    bytes.remove_suffix(4);
    if (crc32c(0, bytes.data(), bytes.size()) != crc) return corrupt("its checksum does not match");
    uint32_t version = 0;
    uint32_t count = 0;
    uint32_t reserved = 0;
    Manifest manifest;
    at = 8;
    take(version);
    take(manifest.width);
    take(count);
    take(reserved);
    if (version != kVersion)
        return corrupt("its version is " + std::to_string(version) + ", this program reads 1");
    if (reserved != 0 || (manifest.width == 0) != (count == 0) || manifest.width > kWidthMax) {
        return corrupt("a value of its head is out of range");
    }
    for (uint32_t i = 0; i < count; ++i) {
        if (bytes.size() - at < kSegmentHeadBytes) return corrupt("it ends early");
        ManifestSegment segment;
        segment.name = hex_of(bytes.substr(at, 32));
        at += 32;
        uint32_t deleted_count = 0;
        uint32_t deleted_bytes = 0;
        take(segment.size);
        take(segment.point_count);
        take(deleted_count);
        take(deleted_bytes);
        if (bytes.size() - at < deleted_bytes) return corrupt("it ends early");
        if (deleted_count >= segment.point_count || deleted_count > deleted_bytes ||
            segment.point_count > INT32_MAX) {
            return corrupt("a segment has impossible counts");
        }
        if (!manifest.segments.empty() && manifest.segments.back().name >= segment.name) {
            return corrupt("its segments don't ascend");
        }
        const auto* begin = reinterpret_cast<const uint8_t*>(bytes.data() + at);
        const uint8_t* end = begin + deleted_bytes;
        uint64_t next = 0;
        segment.deleted.reserve(deleted_count);
        while (begin != end) {
            uint32_t delta = 0;
            if (!read_varint(begin, end, delta) || delta == 0 ||
                next + delta > segment.point_count) {
                return corrupt("a list of deleted points is out of range");
            }
            next += delta;
            segment.deleted.push_back(static_cast<uint32_t>(next - 1));
        }
        if (segment.deleted.size() != deleted_count)
            return corrupt("a list of deleted points has a wrong length");
        at += deleted_bytes;
        manifest.segments.push_back(std::move(segment));
    }
    if (at != bytes.size()) return corrupt("bytes follow its last segment");
    return manifest;
}

}  // namespace px::index
