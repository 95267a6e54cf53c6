#include "embed/json_file.h"

#include <cerrno>
#include <fstream>

#include <fmt/format.h>

namespace px::embed {

namespace json = boost::json;

namespace {
constexpr size_t kFileBytesMax = size_t{256} << 20;
}

Result<json::value> read_json_file(const std::filesystem::path& file) {
    errno = 0;
    std::ifstream in(file, std::ios::binary);
    if (!in)
        return fail_errno(errno == 0 ? EIO : errno, fmt::format("cannot read '{}'", file.string()));
    std::string text;
    char block[1 << 16];
    while (in.read(block, sizeof block), in.gcount() > 0) {
        text.append(block, static_cast<size_t>(in.gcount()));
        if (text.size() > kFileBytesMax) {
            return fail(ErrorCode::Corrupt,
                        fmt::format("'{}' is larger than 256 MB", file.string()),
                        "Is this a model's JSON file?");
        }
    }
    if (in.bad())
        return fail_errno(errno == 0 ? EIO : errno, fmt::format("cannot read '{}'", file.string()));
    boost::system::error_code code;
    json::value value = json::parse(text, code);
    if (code) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("'{}' is not JSON: {}", file.string(), code.message()),
                    "Fetch the model again");
    }
    return value;
}

std::string JsonView::name(std::string_view key) const {
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

Error JsonView::wrong(std::string_view key, std::string_view wanted) const {
    const json::value* found = find(key);
    if (found == nullptr) {
        return fail(ErrorCode::InvalidArgument, fmt::format("{} is missing", name(key)),
                    fmt::format("It must be {}", wanted));
    }
    std::string shown = json::serialize(*found);
    if (shown.size() > 80) shown = shown.substr(0, 77) + "...";
    return fail(ErrorCode::InvalidArgument, fmt::format("{} is {}", name(key), shown),
                fmt::format("It must be {}", wanted));
}

const json::value* JsonView::find(std::string_view key) const {
    const json::object* object = value_->if_object();
    const json::value* found = object == nullptr ? nullptr : object->if_contains(key);
    return found == nullptr || found->is_null() ? nullptr : found;
}

bool JsonView::has(std::string_view key) const { return find(key) != nullptr; }

Result<std::string> JsonView::string(std::string_view key, std::string_view absent) const {
    const json::value* found = find(key);
    if (found == nullptr) return std::string(absent);
    if (!found->is_string()) return wrong(key, "a string");
    return std::string(found->get_string());
}

Result<int64_t> JsonView::integer(std::string_view key, int64_t absent) const {
    const json::value* found = find(key);
    if (found == nullptr) return absent;
    if (!found->is_int64()) return wrong(key, "a whole number");
    return found->get_int64();
}

Result<double> JsonView::number(std::string_view key, double absent) const {
    const json::value* found = find(key);
    if (found == nullptr) return absent;
    if (!found->is_number()) return wrong(key, "a number");
    return found->to_number<double>();
}

Result<bool> JsonView::boolean(std::string_view key, bool absent) const {
    const json::value* found = find(key);
    if (found == nullptr) return absent;
    if (!found->is_bool()) return wrong(key, "true or false");
    return found->get_bool();
}

Result<JsonView> JsonView::object(std::string_view key) const {
    const json::value* found = find(key);
    if (found == nullptr || !found->is_object()) return wrong(key, "an object");
    return JsonView(*found, name(key));
}

Result<std::vector<JsonView>> JsonView::array(std::string_view key) const {
    const json::value* found = find(key);
    if (found == nullptr || !found->is_array()) return wrong(key, "a list");
    std::vector<JsonView> items;
    size_t index = 0;
    for (const json::value& item : found->get_array())
        items.emplace_back(item, fmt::format("{}[{}]", name(key), index++));
    return items;
}

Result<std::string> JsonView::string_at(std::string_view key, size_t index) const {
    const json::value* found = find(key);
    const json::array* items = found == nullptr ? nullptr : found->if_array();
    if (items == nullptr || items->size() <= index || !(*items)[index].is_string()) {
        return wrong(key, "a list that begins with a string");
    }
    return std::string((*items)[index].get_string());
}

Result<void> JsonView::expect(std::string_view key, std::string_view wanted) const {
    const json::value* found = find(key);
    if (found == nullptr || !found->is_string() ||
        std::string_view(found->get_string()) != wanted) {
        return wrong(key, fmt::format("\"{}\": no other is supported", wanted));
    }
    return {};
}

}  // namespace px::embed
