#include <boost/json.hpp>
#include <string>

#include "lake/delta_table.h"

namespace px::lake {
namespace {

namespace json = boost::json;

/// min and max of these types are of no use to readers, or not defined.
bool has_bounds(columnar::TypeId type) {
    return type != columnar::TypeId::Bool && type != columnar::TypeId::Binary &&
           type != columnar::TypeId::FloatList;
}

void append_member(std::string& object, const std::string& name, std::string_view json_value) {
    object += object.empty() ? "{" : ",";
    object += json::serialize(json::string(name));
    object += ':';
    object += json_value;
}

std::string closed(std::string object) { return object.empty() ? "{}" : object + "}"; }

}  // namespace

std::string make_stats_json(const columnar::Schema& schema, const columnar::ParquetFileInfo& info) {
    std::string minimums;
    std::string maximums;
    std::string null_counts;
    for (size_t i = 0; i < schema.fields.size() && i < info.columns.size(); ++i) {
        const columnar::Field& field = schema.fields[i];
        const columnar::ColumnStatistics& statistics = info.columns[i];
        if (has_bounds(field.type.id)) {
            if (statistics.min_json) append_member(minimums, field.name, *statistics.min_json);
            if (statistics.max_json) append_member(maximums, field.name, *statistics.max_json);
        }
        append_member(null_counts, field.name, std::to_string(statistics.null_count));
    }
    return "{\"numRecords\":" + std::to_string(info.row_count) +
           ",\"minValues\":" + closed(std::move(minimums)) +
           ",\"maxValues\":" + closed(std::move(maximums)) +
           ",\"nullCount\":" + closed(std::move(null_counts)) + "}";
}

std::optional<int64_t> stats_row_count(const Add& add) {
    if (add.stats_json.empty()) return std::nullopt;
    boost::system::error_code error;
    json::monotonic_resource memory;
    json::parse_options options;
    options.max_depth = 100;
    const json::value value = json::parse(add.stats_json, error, &memory, options);
    if (error || !value.is_object()) return std::nullopt;
    const json::value* const rows = value.get_object().if_contains("numRecords");
    if (rows == nullptr || !rows->is_int64() || rows->get_int64() < 0) return std::nullopt;
    return rows->get_int64();
}

}  // namespace px::lake
