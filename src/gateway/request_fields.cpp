#include "gateway/request_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/parser.hpp>
#include <limits>

#include "base/utf8.h"

namespace px::gateway {
namespace {

namespace json = boost::json;

size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<size_t> row(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            const size_t above = row[j];
            row[j] =
                std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
            diagonal = above;
        }
    }
    return row[b.size()];
}

std::string_view kind_name(const json::value& value) {
    switch (value.kind()) {
        case json::kind::null:
            return "null";
        case json::kind::bool_:
            return "a boolean";
        case json::kind::int64:
        case json::kind::uint64:
        case json::kind::double_:
            return "a number";
        case json::kind::string:
            return "a string";
        case json::kind::array:
            return "an array";
        case json::kind::object:
            return "an object";
    }
    return "something else";
}

std::string listed(const std::vector<std::string_view>& names) {
    std::string text;
    for (size_t i = 0; i < names.size(); ++i) {
        if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
        text += names[i];
    }
    return text;
}

std::string_view view_of(const json::string& text) { return {text.data(), text.size()}; }

/// A piece of what the client sent, short enough for a message.
std::string shown(std::string_view text) {
    if (text.size() <= 60) return utf8_sanitize(text);
    return utf8_sanitize(text.substr(0, 60)) + "…";
}

}  // namespace

std::string nearest_name(std::string_view name, const std::vector<std::string_view>& known) {
    std::string best;
    size_t best_distance = 3;
    if (name.size() > 64) return best;
    for (const std::string_view candidate : known) {
        const size_t distance = edit_distance(name, candidate);
        if (distance < best_distance && distance * 2 < std::max(name.size(), candidate.size())) {
            best = candidate;
            best_distance = distance;
        }
    }
    return best;
}

Result<json::object> parse_object(std::string_view body) {
    json::parse_options options;
    options.max_depth = 32;
    json::parser parser({}, options);
    json::error_code error;
    const size_t consumed = parser.write_some(body.data(), body.size(), error);
    if (error == json::error::incomplete) {
        return fail(ErrorCode::InvalidArgument,
                    body.find_first_not_of(" \t\r\n") == std::string_view::npos
                        ? std::string("the body is empty; it must be a JSON object")
                        : std::string("the body ends in the middle of its JSON"),
                    R"(Send a JSON object, for example {"question": "…"})");
    }
    if (!error && body.find_first_not_of(" \t\r\n", consumed) != std::string_view::npos) {
        error = json::make_error_code(json::error::extra_data);
    }
    if (error) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("the body is not JSON: {} at byte {}", error.message(), consumed),
                    R"(Send a JSON object, for example {"question": "…"})");
    }
    json::value value = parser.release();
    if (!value.is_object()) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("the body must be a JSON object, not {}", kind_name(value)));
    }
    return std::move(value.get_object());
}

Result<RequestFields> RequestFields::open(json::object object, std::string place,
                                          std::vector<std::string_view> known) {
    for (const auto& [key, value] : object) {
        const std::string_view name(key.data(), key.size());
        if (std::ranges::find(known, name) != known.end()) continue;
        const std::string nearest = nearest_name(name, known);
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("unknown field '{}{}'", place, shown(name)),
                    nearest.empty() ? fmt::format("Known fields: {}", listed(known))
                                    : fmt::format("Did you mean '{}'?", nearest));
    }
    RequestFields fields;
    fields.object_ = std::move(object);
    fields.place_ = std::move(place);
    return fields;
}

const json::value* RequestFields::find(std::string_view name) const {
    const json::value* value = object_.if_contains({name.data(), name.size()});
    return value != nullptr && value->is_null() ? nullptr : value;
}

bool RequestFields::has(std::string_view name) const { return find(name) != nullptr; }

Error RequestFields::wrong_kind(std::string_view name, std::string_view wanted,
                                const json::value& found) const {
    return fail(ErrorCode::InvalidArgument, fmt::format("field '{}{}' must be {}, not {}", place_,
                                                        name, wanted, kind_name(found)));
}

Result<std::optional<std::string>> RequestFields::text(std::string_view name,
                                                       size_t max_bytes) const {
    const json::value* value = find(name);
    if (value == nullptr) return std::optional<std::string>();
    if (!value->is_string()) return wrong_kind(name, "a string", *value);
    const std::string_view found = view_of(value->get_string());
    if (found.size() > max_bytes) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("field '{}{}' has {} bytes; at most {} are taken", place_, name,
                                found.size(), max_bytes));
    }
    if (found.find('\0') != std::string_view::npos) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("field '{}{}' contains a NUL character", place_, name));
    }
    return std::optional<std::string>(found);
}

Result<std::string> RequestFields::required_text(std::string_view name, size_t max_bytes) const {
    auto found = PX_TRY(text(name, max_bytes));
    if (!found) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("field '{}{}' is missing", place_, name),
                    fmt::format("Add \"{}\" as a string", name));
    }
    if (found->find_first_not_of(" \t\r\n") == std::string::npos) {
        return fail(ErrorCode::InvalidArgument, fmt::format("field '{}{}' is empty", place_, name));
    }
    return std::move(*found);
}

Result<std::optional<int64_t>> RequestFields::integer(std::string_view name, int64_t min,
                                                      int64_t max) const {
    const json::value* value = find(name);
    if (value == nullptr) return std::optional<int64_t>();
    int64_t number = 0;
    if (value->is_int64()) {
        number = value->get_int64();
    } else if (value->is_uint64()) {
        number = std::numeric_limits<int64_t>::max();
    } else {
        return wrong_kind(name, value->is_double() ? "a whole number" : "an integer", *value);
    }
    if (number < min || number > max) {
        return fail(
            ErrorCode::InvalidArgument,
            fmt::format("field '{}{}' is {}; it must be {} to {}", place_, name, number, min, max));
    }
    return std::optional<int64_t>(number);
}

Result<std::optional<bool>> RequestFields::boolean(std::string_view name) const {
    const json::value* value = find(name);
    if (value == nullptr) return std::optional<bool>();
    if (!value->is_bool()) return wrong_kind(name, "true or false", *value);
    return std::optional<bool>(value->get_bool());
}

Result<std::vector<std::string>> RequestFields::texts(std::string_view name,
                                                      size_t max_bytes) const {
    std::vector<std::string> found;
    const json::value* value = find(name);
    if (value == nullptr) return found;
    if (value->is_string()) {
        if (auto one = PX_TRY(text(name, max_bytes))) found.push_back(std::move(*one));
        return found;
    }
    if (!value->is_array()) return wrong_kind(name, "a string or an array of strings", *value);
    const json::array& items = value->get_array();
    if (items.size() > 100) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("field '{}{}' has {} items; at most 100 are taken", place_, name,
                                items.size()));
    }
    for (size_t i = 0; i < items.size(); ++i) {
        if (!items[i].is_string())
            return wrong_kind(fmt::format("{}[{}]", name, i), "a string", items[i]);
        const std::string_view item = view_of(items[i].get_string());
        if (item.size() > max_bytes) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("field '{}{}[{}]' has {} bytes; at most {} are taken", place_,
                                    name, i, item.size(), max_bytes));
        }
        found.emplace_back(item);
    }
    return found;
}

Result<std::optional<std::string>> RequestFields::text_or_integer(std::string_view name,
                                                                  size_t max_bytes) const {
    const json::value* value = find(name);
    if (value != nullptr && value->is_int64())
        return std::optional(std::to_string(value->get_int64()));
    if (value != nullptr && !value->is_string())
        return wrong_kind(name, "a string or an integer", *value);
    return text(name, max_bytes);
}

Result<std::optional<std::string>> RequestFields::choice(
    std::string_view name, const std::vector<std::string_view>& choices) const {
    auto found = PX_TRY(text(name, 64));
    if (found && std::ranges::find(choices, *found) == choices.end()) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("field '{}{}' is '{}'; it must be {}", place_, name, shown(*found),
                                listed(choices)));
    }
    return found;
}

Result<std::optional<RequestFields>> RequestFields::object(
    std::string_view name, std::vector<std::string_view> known) const {
    const json::value* value = find(name);
    if (value == nullptr) return std::optional<RequestFields>();
    if (!value->is_object()) return wrong_kind(name, "an object", *value);
    return std::optional(
        PX_TRY(open(value->get_object(), fmt::format("{}{}.", place_, name), std::move(known))));
}

}  // namespace px::gateway
