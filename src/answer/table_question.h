// Questions about numbers of the lake ("total revenue by author in 2024") as SQL, by templates over
// the contract's roles; no model. Internal to the room. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "answer/answer.h"

namespace px::answer {

/// SQL for a question that names a measure (total, average, how many, highest, lowest) and, but for
/// counts, a column of numbers; by columns or roles ("by author", "per year") and within an author
/// or a time. Names come from roles alone and are quoted; the question's words reach the SQL only
/// as an author of the release, in quotes. nullopt: no such question.
std::optional<SqlOffer> offer_sql(std::string_view question, const std::vector<TableRoles>& tables,
                                  const std::vector<std::string>& authors, TimestampMicros now);

}  // namespace px::answer
