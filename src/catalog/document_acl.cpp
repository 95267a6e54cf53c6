#include "catalog/document_acl.h"

#include <boost/json.hpp>
#include <utility>

namespace px::catalog {

namespace {

boost::json::object extra_of(const DocumentRow& row) {
    boost::system::error_code error;
    boost::json::value extra =
        boost::json::parse(row.extra_json.empty() ? "{}" : row.extra_json, error);
    return error || !extra.is_object() ? boost::json::object() : std::move(extra.get_object());
}

}  // namespace

std::string acl_column_of(const DocumentRow& row) {
    const boost::json::object extra = extra_of(row);
    const boost::json::value* column = extra.if_contains("acl_column");
    return column != nullptr && column->is_string() ? std::string(column->get_string())
                                                    : std::string();
}

std::optional<std::vector<std::string>> acl_of(const DocumentRow& row) {
    const boost::json::object extra = extra_of(row);
    const boost::json::value* acl = extra.if_contains("acl");
    if (acl == nullptr || !acl->is_array()) return std::nullopt;
    std::vector<std::string> groups;
    for (const boost::json::value& group : acl->get_array()) {
        if (group.is_string()) groups.emplace_back(group.get_string());
    }
    return groups;
}

}  // namespace px::catalog
