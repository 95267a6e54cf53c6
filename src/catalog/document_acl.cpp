#include "catalog/document_acl.h"

#include <boost/json.hpp>

namespace px::catalog {

std::optional<std::vector<std::string>> acl_of(const DocumentRow& row) {
    boost::system::error_code error;
    const boost::json::value extra =
        boost::json::parse(row.extra_json.empty() ? "{}" : row.extra_json, error);
    if (error || !extra.is_object()) return std::nullopt;
    const boost::json::value* acl = extra.get_object().if_contains("acl");
    if (acl == nullptr || !acl->is_array()) return std::nullopt;
    std::vector<std::string> groups;
    for (const boost::json::value& group : acl->get_array()) {
        if (group.is_string()) groups.emplace_back(group.get_string());
    }
    return groups;
}

}  // namespace px::catalog
