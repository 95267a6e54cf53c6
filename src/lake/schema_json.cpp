#include "lake/schema_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <set>

#include "base/utf8.h"

namespace px::lake {
namespace {

namespace json = boost::json;
using columnar::DataType;
using columnar::Field;
using columnar::Schema;
using columnar::TypeId;

Error corrupt(std::string_view what) {
    return fail(ErrorCode::Corrupt, fmt::format("the table's schema {}", what),
                "The log was damaged or written by a faulty program");
}

Result<json::value> parse_json(std::string_view text) {
    json::parse_options options;
    options.max_depth = 200;
    boost::system::error_code error;
    json::value value = json::parse(text, error, {}, options);
    if (error) return corrupt("is not JSON: " + error.message());
    return value;
}

/// The fields of a struct type, or null.
const json::array* fields_of(const json::value& value) {
    const json::object* const object = value.if_object();
    if (object == nullptr) return nullptr;
    const json::value* const fields = object->if_contains("fields");
    return fields == nullptr ? nullptr : fields->if_array();
}

std::optional<DataType> decimal_type(std::string_view name) {
    if (name == "decimal") return DataType{TypeId::Decimal, 10, 0};
    if (!name.starts_with("decimal(") || !name.ends_with(")")) return std::nullopt;
    name.remove_prefix(8);
    name.remove_suffix(1);
    const size_t comma = name.find(',');
    if (comma == std::string_view::npos) return std::nullopt;
    DataType type{TypeId::Decimal, 0, 0};
    std::string_view precision = name.substr(0, comma);
    std::string_view scale = name.substr(comma + 1);
    while (scale.starts_with(' ')) scale.remove_prefix(1);
    const auto read = [](std::string_view text, int& number) {
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        return error == std::errc() && end == text.data() + text.size();
    };
    if (!read(precision, type.precision) || !read(scale, type.scale)) return std::nullopt;
    if (type.precision < 1 || type.precision > 38 || type.scale < 0 || type.scale > type.precision)
        return std::nullopt;
    return type;
}

std::optional<DataType> primitive_type(std::string_view name) {
    struct Row {
        std::string_view name;
        TypeId id;
    };
    static constexpr Row kRows[] = {
        {"boolean", TypeId::Bool},   {"integer", TypeId::Int32}, {"short", TypeId::Int32},
        {"byte", TypeId::Int32},     {"long", TypeId::Int64},    {"float", TypeId::Float32},
        {"double", TypeId::Float64}, {"date", TypeId::Date},     {"timestamp", TypeId::Timestamp},
        {"string", TypeId::String},  {"binary", TypeId::Binary},
    };
    for (const Row& row : kRows) {
        if (row.name == name) return DataType{row.id, 0, 0};
    }
    return decimal_type(name);
}

/// "timestamp_ntz", "array<string>", "struct": for messages.
std::string type_text(const json::value& type) {
    if (type.is_string()) return std::string(type.get_string());
    if (!type.is_object()) return "?";
    const json::value* const kind = type.get_object().if_contains("type");
    if (kind == nullptr || !kind->is_string()) return "?";
    std::string text(kind->get_string());
    const json::value* const element = type.get_object().if_contains("elementType");
    if (text == "array" && element != nullptr) {
        const json::value* const nulls = type.get_object().if_contains("containsNull");
        const bool with_nulls = nulls == nullptr || !nulls->is_bool() || nulls->get_bool();
        text += "<" + (element->is_string() ? std::string(element->get_string()) : "…") + ">";
        if (with_nulls) text += " with nulls";
    }
    return text;
}

std::optional<DataType> data_type(const json::value& type) {
    if (type.is_string()) return primitive_type(type.get_string());
    const json::object* const object = type.if_object();
    if (object == nullptr) return std::nullopt;
    const json::value* const kind = object->if_contains("type");
    const json::value* const element = object->if_contains("elementType");
    const json::value* const nulls = object->if_contains("containsNull");
    if (kind != nullptr && kind->is_string() && kind->get_string() == "array" &&
        element != nullptr && element->is_string() && element->get_string() == "float" &&
        nulls != nullptr && nulls->is_bool() && !nulls->get_bool()) {
        return DataType{TypeId::FloatList, 0, 0};
    }
    return std::nullopt;
}

json::value type_json(const DataType& type) {
    if (type.id != TypeId::FloatList) return json::value(columnar::delta_type_name(type));
    return json::object{{"type", "array"}, {"elementType", "float"}, {"containsNull", false}};
}

json::object field_json(const Field& field) {
    json::object object;
    object["name"] = field.name;
    object["type"] = type_json(field.type);
    object["nullable"] = field.nullable;
    object["metadata"] = json::object();
    return object;
}

/// Lower case of the ASCII letters, which is what readers that ignore case agree on.
std::string folded(std::string_view name) {
    std::string text(name);
    for (char& c : text) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return text;
}

}  // namespace

Result<Schema> parse_schema(std::string_view schema_string) {
    if (schema_string.empty()) return corrupt("is missing");
    const json::value value = PX_TRY(parse_json(schema_string));
    const json::array* const fields = fields_of(value);
    if (fields == nullptr) return corrupt("is not a struct type");
    Schema schema;
    schema.fields.reserve(fields->size());
    for (const json::value& item : *fields) {
        const json::object* const object = item.if_object();
        const json::value* const name = object == nullptr ? nullptr : object->if_contains("name");
        const json::value* const type = object == nullptr ? nullptr : object->if_contains("type");
        if (name == nullptr || !name->is_string() || type == nullptr)
            return corrupt("has a column without name or type");
        const std::string_view column = name->get_string();
        const std::optional<DataType> converted = data_type(*type);
        if (!converted) {
            const std::string text = type_text(*type);
            const std::string feature = text == "timestamp_ntz" ? " (table feature timestampNtz)"
                                        : text == "variant"     ? " (table feature variantType)"
                                                                : "";
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("column '{}' has type {}{}, which can't be read", column, text,
                                    feature),
                        "Rewrite the table with flat columns, or without this one");
        }
        const json::value* const nullable = object->if_contains("nullable");
        schema.fields.push_back(
            {std::string(column), *converted,
             nullable == nullptr || !nullable->is_bool() || nullable->get_bool()});
    }
    return schema;
}

std::string write_schema(const Schema& schema) {
    json::array fields;
    for (const Field& field : schema.fields) fields.push_back(field_json(field));
    return json::serialize(json::object{{"type", "struct"}, {"fields", std::move(fields)}});
}

Result<std::string> grow_schema(const std::string& schema_string, const Schema& grown) {
    const Schema old = PX_TRY(parse_schema(schema_string));
    std::set<std::string> seen;
    for (const Field& field : grown.fields) {
        if (!seen.insert(folded(field.name)).second) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("two columns are named '{}'", field.name),
                        "Rename one of them");
        }
    }
    const auto find = [](const Schema& schema, const std::string& name) {
        return std::find_if(schema.fields.begin(), schema.fields.end(),
                            [&](const Field& field) { return field.name == name; });
    };
    for (const Field& field : old.fields) {
        const auto now = find(grown, field.name);
        if (now == grown.fields.end()) {
            return fail(
                ErrorCode::InvalidArgument,
                fmt::format("column '{}' of the table is missing from the new schema", field.name),
                "A table may only grow; keep the column, or write another table");
        }
        if (!(now->type == field.type)) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("column '{}' is {} in the table and {} in the new schema",
                                    field.name, columnar::delta_type_name(field.type),
                                    columnar::delta_type_name(now->type)),
                        "Types can't change; keep the old one, or add a column of another name");
        }
        if (now->nullable != field.nullable) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("column '{}' is {} in the table and {} in the new schema",
                                    field.name, field.nullable ? "nullable" : "required",
                                    now->nullable ? "nullable" : "required"),
                        "Keep it as the table has it");
        }
    }
    if (grown.fields.size() == old.fields.size()) return schema_string;
    json::value value = PX_TRY(parse_json(schema_string));
    json::array& fields = value.get_object()["fields"].get_array();
    for (const Field& field : grown.fields) {
        if (find(old, field.name) != old.fields.end()) continue;
        if (field.name.empty())
            return fail(ErrorCode::InvalidArgument, "a column has no name", "Name it");
        const auto clash = std::find_if(
            old.fields.begin(), old.fields.end(),
            [&](const Field& other) { return folded(other.name) == folded(field.name); });
        if (clash != old.fields.end()) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("new column '{}' differs from column '{}' only in case",
                                    field.name, clash->name),
                        "Rename it");
        }
        if (!field.nullable) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("new column '{}' is required, but older rows don't have it",
                                    field.name),
                        "Make it nullable");
        }
        fields.push_back(field_json(field));
    }
    return json::serialize(value);
}

Result<void> validate_schema(const Schema& schema,
                             const std::vector<std::string>& partition_columns) {
    std::set<std::string> seen;
    for (const Field& field : schema.fields) {
        if (field.name.empty())
            return fail(ErrorCode::InvalidArgument, "a column has no name", "Name it");
        if (!utf8_is_valid(field.name)) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("column name '{}' is not UTF-8", utf8_sanitize(field.name)),
                        "Rename it");
        }
        if (!seen.insert(folded(field.name)).second) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("two columns are named '{}' (case ignored)", field.name),
                        "Rename one of them");
        }
    }
    std::set<std::string> partitions;
    for (const std::string& name : partition_columns) {
        const auto field = std::find_if(schema.fields.begin(), schema.fields.end(),
                                        [&](const Field& f) { return f.name == name; });
        if (field == schema.fields.end()) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("partition column '{}' is not in the schema", name),
                        "Add it, or correct its name");
        }
        if (!partitions.insert(name).second) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("partition column '{}' is named twice", name), "Name it once");
        }
        if (field->type.id == TypeId::FloatList || field->type.id == TypeId::Binary) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("column '{}' of type {} can't be a partition column", name,
                                    columnar::delta_type_name(field->type)),
                        "Partition by a date or a short text");
        }
    }
    if (schema.fields.size() == partition_columns.size()) {
        return fail(ErrorCode::InvalidArgument,
                    "the table has no column besides its partition columns", "Add one");
    }
    return {};
}

bool any_column_has_metadata(std::string_view schema_string, std::string_view key) {
    const Result<json::value> value = parse_json(schema_string);
    const json::array* const fields = value ? fields_of(*value) : nullptr;
    if (fields == nullptr) return false;
    for (const json::value& item : *fields) {
        const json::object* const object = item.if_object();
        const json::value* const metadata =
            object == nullptr ? nullptr : object->if_contains("metadata");
        if (metadata != nullptr && metadata->is_object() && metadata->get_object().contains(key))
            return true;
    }
    return false;
}

}  // namespace px::lake
