// The OpenAPI 3.1 document and the page /docs, both made from the table of routes (those with tag
// "file" left out). Rank 5. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gateway/routes.h"

namespace px::gateway {

/// JSON Schemas of request and response bodies: the text of an object name → schema.
std::string_view schema_components();

std::string openapi_json(const std::vector<Route>& routes, std::string_view version);
/// HTML without scripts; everything that is not markup of ours is escaped.
std::string docs_html(const std::vector<Route>& routes, std::string_view version);

std::string escape_html(std::string_view text);

}  // namespace px::gateway
