// The text format of PostgreSQL's COPY … TO STDOUT, and the place of :ds in PostgreSQL's SQL. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace px::source {

/// The fields of one row; nullopt: NULL. fields is overwritten, its memory used again. Whatever the
/// bytes are, it ends; what is no escape stands for itself.
void decode_copy_row(std::string_view row, std::vector<std::optional<std::string>>& fields);

/// The query with `literal` in the place of each :ds outside of texts, quoted names and comments,
/// and without the semicolon at its end. Errors: InvalidArgument (a parameter other than :ds; a
/// text or comment without end).
Result<std::string> with_ds(std::string_view query, std::string_view literal);

}  // namespace px::source
