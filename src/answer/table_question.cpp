#include "answer/table_question.h"

#include <fmt/format.h>

#include <algorithm>

#include "answer/constraints.h"

namespace px::answer {

namespace {

std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> words;
    std::string word;
    for (const char c : text) {
        const bool inside = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                            (c >= 'A' && c <= 'Z') || c == '_' ||
                            static_cast<unsigned char>(c) >= 0x80;
        if (inside) {
            word += c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
        } else if (!word.empty()) {
            words.push_back(std::move(word));
            word.clear();
        }
        if (words.size() == 60) return words;
    }
    if (!word.empty()) words.push_back(std::move(word));
    return words;
}

/// One thing or many: "author" and "authors", "category" and "categories".
bool same_word(std::string_view a, std::string_view b) {
    const auto singular = [](std::string_view word) {
        std::string one(word);
        if (one.size() > 4 && one.ends_with("ies")) return one.substr(0, one.size() - 3) + "y";
        if (one.size() > 3 && one.ends_with('s') && !one.ends_with("ss")) one.pop_back();
        return one;
    };
    return singular(a) == singular(b);
}

std::string in_quotes(std::string_view name) {
    std::string text = "\"";
    for (const char c : name) {
        if (c == '"') text += '"';
        text += c;
    }
    return text + '"';
}

std::string literal(std::string_view value) {
    std::string text = "'";
    for (const char c : value) {
        if (c == '\'') text += '\'';
        text += c;
    }
    return text + '\'';
}

bool is_number(std::string_view type) {
    return type.starts_with("decimal") || type.starts_with("int") || type.starts_with("bigint") ||
           type.starts_with("double") || type.starts_with("float") || type.starts_with("long");
}

/// The words of a column's name stand in the question one after another, at `at`.
bool named_at(const std::vector<std::string>& words, size_t at, std::string_view column) {
    size_t i = at;
    for (const std::string& whole : words_of(column)) {
        size_t start = 0;
        while (start <= whole.size()) {
            const size_t end = std::min(whole.find('_', start), whole.size());
            if (end > start) {
                if (i >= words.size() || !same_word(words[i], whole.substr(start, end - start)))
                    return false;
                ++i;
            }
            start = end + 1;
        }
    }
    return i > at;
}

}  // namespace

std::optional<SqlOffer> offer_sql(std::string_view question, const std::vector<TableRoles>& tables,
                                  const std::vector<std::string>& authors, TimestampMicros now) {
    const std::vector<std::string> words = words_of(question);
    struct Measure {
        std::string_view word, function, shown;
    };
    static constexpr Measure kMeasures[] = {
        {"total", "sum", "sum"},       {"sum", "sum", "sum"},         {"average", "avg", "average"},
        {"mean", "avg", "average"},    {"highest", "max", "highest"}, {"maximum", "max", "highest"},
        {"largest", "max", "highest"}, {"lowest", "min", "lowest"},   {"minimum", "min", "lowest"},
        {"smallest", "min", "lowest"}, {"overall", "sum", "sum"}};
    const Measure* measure = nullptr;
    size_t place = 0;
    for (size_t i = 0; i < words.size() && measure == nullptr; ++i) {
        for (const Measure& candidate : kMeasures) {
            if (words[i] == candidate.word) {
                measure = &candidate;
                place = i;
                break;
            }
        }
    }
    size_t counted = words.size();  // the word behind "how many", "number of", "count of"
    for (size_t i = 0; i + 2 < words.size() && measure == nullptr; ++i) {
        if ((words[i] == "how" && words[i + 1] == "many") ||
            ((words[i] == "number" || words[i] == "count") && words[i + 1] == "of")) {
            counted = i + 2;
            break;
        }
    }
    if (measure == nullptr && counted == words.size()) return std::nullopt;
    for (const TableRoles& table : tables) {
        const TableRoles::Column* value = nullptr;
        if (measure != nullptr) {
            for (size_t i = place + 1; i < std::min(words.size(), place + 6) && value == nullptr;
                 ++i) {
                for (const TableRoles::Column& column : table.columns) {
                    if (is_number(column.type) && named_at(words, i, column.name)) {
                        value = &column;
                        break;
                    }
                }
            }
            if (value == nullptr) continue;
        } else if (!same_word(words[counted], table.table)) {
            continue;
        }
        const auto with_role = [&](std::string_view role) -> const TableRoles::Column* {
            for (const TableRoles::Column& column : table.columns) {
                if (column.role == role) return &column;
            }
            return nullptr;
        };
        const TableRoles::Column* date = with_role("date");
        const TableRoles::Column* author = with_role("author");
        // "by author", "per year", "for each category"
        std::vector<std::pair<std::string, std::string>> groups;  // expression, name
        for (size_t i = 0; i + 1 < words.size(); ++i) {
            if (words[i] != "by" && words[i] != "per" && words[i] != "each") continue;
            const std::string& unit = words[i + 1];
            if (date != nullptr &&
                (unit == "year" || unit == "month" || unit == "quarter" || unit == "day")) {
                groups.emplace_back(
                    fmt::format("date_trunc('{}', {})", unit, in_quotes(date->name)), unit);
                continue;
            }
            for (const TableRoles::Column& column : table.columns) {
                if (named_at(words, i + 1, column.name) ||
                    (!column.role.empty() && same_word(unit, column.role))) {
                    groups.emplace_back(in_quotes(column.name), column.name);
                    break;
                }
            }
        }
        std::vector<std::string> where, told;
        // In a question about a table, "in 2024" is a condition on its date whoever is named.
        const std::string asked = std::string("said ") + std::string(question);
        for (const Constraint& constraint : read_constraints(asked, authors, now)) {
            if (constraint.field == "author" && author != nullptr) {
                where.push_back(
                    fmt::format("{} = {}", in_quotes(author->name), literal(constraint.value)));
                told.push_back("of " + constraint.value);
            } else if (constraint.field == "date" && date != nullptr && constraint.op != "latest") {
                where.push_back(fmt::format("{} {} DATE {}", in_quotes(date->name),
                                            constraint.op == "from" ? ">=" : "<",
                                            literal(constraint.value)));
                told.push_back((constraint.op == "from" ? "from " : "before ") + constraint.value);
            }
        }
        SqlOffer offer;
        offer.table = table.table;
        std::string columns, by;
        for (const auto& [expression, name] : groups) {
            columns +=
                expression + (expression == in_quotes(name) ? "" : " AS " + in_quotes(name)) + ", ";
            by += (by.empty() ? "" : ", ") + name;
        }
        const std::string what =
            value == nullptr
                ? std::string("count(*) AS \"count\"")
                : fmt::format("{}({}) AS {}", measure->function, in_quotes(value->name),
                              in_quotes(fmt::format("{}_{}", measure->function, value->name)));
        offer.sql = fmt::format("SELECT {}{} FROM {}", columns, what, in_quotes(table.table));
        for (size_t i = 0; i < where.size(); ++i)
            offer.sql += (i == 0 ? " WHERE " : " AND ") + where[i];
        if (!groups.empty()) offer.sql += " GROUP BY ALL ORDER BY ALL";
        offer.explanation = value == nullptr ? "number of rows of " + table.table
                                             : fmt::format("{} of {} in {}", measure->shown,
                                                           value->name, table.table);
        if (!by.empty()) offer.explanation += " by " + by;
        for (const std::string& part : told) offer.explanation += ", " + part;
        return offer;
    }
    return std::nullopt;
}

}  // namespace px::answer
