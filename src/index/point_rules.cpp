#include "index/point_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "index/analysis.h"

namespace px::index {

namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

}  // namespace

Result<RawId> parse_chunk_id(std::string_view hex) {
    RawId id{};
    bool good = hex.size() == 32;
    for (size_t i = 0; good && i < 16; ++i) {
        const int high = hex_digit(hex[2 * i]);
        const int low = hex_digit(hex[2 * i + 1]);
        good = high >= 0 && low >= 0;
        id[i] = static_cast<uint8_t>(high * 16 + low);
    }
    if (!good) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("\"{}\" is no chunk id", hex.substr(0, 64)),
                    "A chunk id has 32 lower-case hexadecimal digits.");
    }
    return id;
}

std::string format_chunk_id(const RawId& id) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string hex(32, '0');
    for (size_t i = 0; i < 16; ++i) {
        hex[2 * i] = kDigits[id[i] >> 4];
        hex[2 * i + 1] = kDigits[id[i] & 15];
    }
    return hex;
}

bool is_manifest_id(std::string_view id) {
    return id.size() == 64 &&
           std::all_of(id.begin(), id.end(), [](char c) { return hex_digit(c) >= 0; });
}

Result<RawId> check_point(const Point& point, size_t& width) {
    const RawId id = PX_TRY(parse_chunk_id(point.id.value));
    if (width == 0) width = point.vector.size();
    if (point.vector.size() != width || width == 0 || width > kWidthMax) {
        return fail(
            ErrorCode::InvalidArgument,
            fmt::format("the vector of chunk {} has {} dimensions, the collection's have {}",
                        point.id.value, point.vector.size(), width),
            "Vectors of another model need a collection of their own: build from an empty "
            "base.");
    }
    if (!std::all_of(point.vector.begin(), point.vector.end(),
                     [](float x) { return std::isfinite(x) && std::fabs(x) < 1e15F; })) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("the vector of chunk {} is not finite", point.id.value),
                    "Embed the chunk again.");
    }
    for (const std::string* text : {&point.document_id, &point.source, &point.ds, &point.title,
                                    &point.author, &point.category, &point.text}) {
        if (!utf8_is_valid(*text)) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("chunk {} of {} holds text that is not UTF-8", point.id.value,
                                    utf8_sanitize(point.document_id)),
                        "Decode the text before it is indexed.");
        }
    }
    if (point.created_at == kNoDate) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("chunk {} has a date out of range", point.id.value));
    }
    return id;
}

Result<void> check_query(const std::vector<float>& query, size_t width) {
    if (query.size() != width) {
        return fail(
            ErrorCode::InvalidArgument,
            fmt::format("the query's vector has {} dimensions, the collection's have {}",
                        query.size(), width),
            "Use the model the index was built with, or run `px run` to embed with the new one.");
    }
    if (!std::all_of(query.begin(), query.end(), [](float x) { return std::isfinite(x); }))
        return fail(ErrorCode::InvalidArgument, "the query's vector is not finite");
    return {};
}

FoldedFilter::FoldedFilter(const Filter& given) : filter(given) {
    for (const std::string& author : given.authors) authors.push_back(fold_case(author));
    for (const std::string& category : given.categories) categories.push_back(fold_case(category));
    restricts = !authors.empty() || !categories.empty() || !given.sources.empty() || given.from ||
                given.to || given.document_id;
}

}  // namespace px::index
