#include "gateway/schema_check.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "base/utf8.h"

namespace px::gateway {
namespace {

namespace json = boost::json;

bool has_type(const json::value& value, std::string_view type) {
    if (type == "object") return value.is_object();
    if (type == "array") return value.is_array();
    if (type == "string") return value.is_string();
    if (type == "boolean") return value.is_bool();
    if (type == "null") return value.is_null();
    if (type == "integer") return value.is_int64() || value.is_uint64();
    if (type == "number") return value.is_number();
    return false;
}

std::string_view view_of(const json::string& text) { return {text.data(), text.size()}; }

}  // namespace

std::string schema_complaint(const json::value& value, const json::value& schema,
                             const json::value& root, const std::string& place) {
    static const std::set<std::string_view> kKnown{
        "$ref",    "type", "description", "properties", "required", "additionalProperties",
        "items",   "enum", "minLength",   "maxLength",  "minimum",  "maximum",
        "default", "oneOf"};
    const json::object& rules = schema.as_object();
    for (const auto& [keyword, rule] : rules) {
        if (!kKnown.contains({keyword.data(), keyword.size()})) {
            return place + ": keyword " + std::string(keyword) + " is not checked";
        }
    }
    if (const json::value* reference = rules.if_contains("$ref")) {
        const std::string_view target = view_of(reference->as_string());
        constexpr std::string_view kPrefix = "#/components/schemas/";
        if (!target.starts_with(kPrefix)) return place + ": strange $ref " + std::string(target);
        const auto& schemas = root.at("components").at("schemas").as_object();
        const std::string_view name = target.substr(kPrefix.size());
        const json::value* found = schemas.if_contains({name.data(), name.size()});
        if (found == nullptr) return place + ": $ref to nothing: " + std::string(target);
        return schema_complaint(value, *found, root, place);
    }
    if (const json::value* choices = rules.if_contains("oneOf")) {
        const auto fitting =
            std::ranges::count_if(choices->as_array(), [&](const json::value& choice) {
                return schema_complaint(value, choice, root, place).empty();
            });
        if (fitting != 1) return place + ": fits " + std::to_string(fitting) + " of oneOf";
    }
    if (const json::value* type = rules.if_contains("type")) {
        const bool fits = type->is_string()
                              ? has_type(value, view_of(type->get_string()))
                              : std::ranges::any_of(type->as_array(), [&](const json::value& one) {
                                    return has_type(value, view_of(one.as_string()));
                                });
        if (!fits) return place + ": has another type than the schema says";
    }
    if (const json::value* choices = rules.if_contains("enum")) {
        if (std::ranges::find(choices->as_array(), value) == choices->as_array().end())
            return place + ": not of enum";
    }
    if (value.is_string()) {
        const std::string_view text = view_of(value.get_string());
        if (!utf8_is_valid(text)) return place + ": not UTF-8";
        const auto length = static_cast<int64_t>(utf8_length(text));
        if (const json::value* least = rules.if_contains("minLength");
            least && length < least->as_int64()) {
            return place + ": too short";
        }
        if (const json::value* most = rules.if_contains("maxLength");
            most && length > most->as_int64()) {
            return place + ": too long";
        }
    }
    if (value.is_object()) {
        const json::object& object = value.get_object();
        if (const json::value* required = rules.if_contains("required")) {
            for (const json::value& name : required->as_array()) {
                if (!object.contains(name.as_string()))
                    return place + ": lacks " + std::string(name.as_string());
            }
        }
        const json::value* properties = rules.if_contains("properties");
        const json::value* additional = rules.if_contains("additionalProperties");
        for (const auto& [name, item] : object) {
            const json::value* rule =
                properties ? properties->as_object().if_contains(name) : nullptr;
            const std::string below = place + "." + std::string(name);
            if (rule == nullptr && additional != nullptr) {
                if (additional->is_bool() && !additional->get_bool())
                    return below + ": not in the schema";
                if (additional->is_object()) rule = additional;
            }
            if (rule == nullptr) continue;
            if (auto complaint = schema_complaint(item, *rule, root, below); !complaint.empty())
                return complaint;
        }
    }
    if (const json::value* items = rules.if_contains("items"); items && value.is_array()) {
        size_t i = 0;
        for (const json::value& item : value.get_array()) {
            const std::string below = place + "[" + std::to_string(i++) + "]";
            if (auto complaint = schema_complaint(item, *items, root, below); !complaint.empty())
                return complaint;
        }
    }
    return {};
}

}  // namespace px::gateway
