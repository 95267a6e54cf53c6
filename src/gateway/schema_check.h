// Checks a JSON value against the subset of JSON Schema that /openapi.json uses. For tests only.
#pragma once

#include <boost/json/value.hpp>
#include <string>

namespace px::gateway {

/// "" when value fits schema, else where and why. root: the OpenAPI document, for $ref. A keyword
/// it does not know is a complaint too, so that no rule is silently unchecked.
std::string schema_complaint(const boost::json::value& value, const boost::json::value& schema,
                             const boost::json::value& root, const std::string& place = "$");

}  // namespace px::gateway
