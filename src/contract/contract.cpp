#include "contract/contract.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "base/utf8.h"
#include "contract/rule.h"
#include "contract/value.h"

namespace px::contract {

using columnar::DataType;
using columnar::TypeId;

namespace {

constexpr std::string_view kTypesHint =
    "Types are string, integer, double, boolean, date, timestamp and decimal(p,s)";

std::string folded(std::string_view text) {
    std::string lower(text);
    for (char& c : lower) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    }
    return lower;
}

/// A name reduced to what people mean by it: "Published At" and "published_at" are one.
std::string essence(std::string_view name) {
    std::string kept;
    for (const char c : folded(name)) {
        if (static_cast<unsigned char>(c) >= 0x80 || (c >= 'a' && c <= 'z') ||
            (c >= '0' && c <= '9'))
            kept += c;
    }
    return kept;
}

/// Levenshtein distance with swaps of neighbours.
size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<size_t> before(b.size() + 1);
    std::vector<size_t> row(b.size() + 1);
    std::vector<size_t> next(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
        next[0] = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            next[j] = std::min(
                {row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] == b[j - 1] ? 0U : 1U)});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                next[j] = std::min(next[j], before[j - 2] + 1);
            }
        }
        before = row;
        row = next;
    }
    return row[b.size()];
}

/// How far one name is from being the other renamed; nullopt: they have nothing to do with each
/// other.
std::optional<size_t> rename_distance(std::string_view from, std::string_view to) {
    constexpr size_t kNameMax = 200;
    const std::string a = essence(from.substr(0, kNameMax));
    const std::string b = essence(to.substr(0, kNameMax));
    if (a.empty() || b.empty()) return std::nullopt;
    const size_t distance = edit_distance(a, b);
    const size_t longer = std::max(a.size(), b.size());
    if (distance <= std::max<size_t>(1, longer / 3)) return distance;
    const std::string_view shorter = a.size() < b.size() ? a : b;
    const std::string_view other = a.size() < b.size() ? b : a;
    if (shorter.size() >= 3 && (other.starts_with(shorter) || other.ends_with(shorter)))
        return longer;
    return std::nullopt;
}

std::optional<std::string> nearest(std::string_view name,
                                   const std::vector<std::string>& candidates) {
    constexpr size_t kCandidatesMax = 200;
    std::optional<std::string> best;
    size_t best_distance = 0;
    for (size_t i = 0; i < std::min(candidates.size(), kCandidatesMax); ++i) {
        const std::string& candidate = candidates[i];
        const auto distance = rename_distance(name, candidate);
        if (distance && (!best || *distance < best_distance)) {
            best = candidate;
            best_distance = *distance;
        }
    }
    return best;
}

std::string listed(const std::vector<std::string>& names) {
    constexpr size_t kListed = 40;
    std::vector<std::string> shown_names;
    for (const std::string& name : names) {
        if (shown_names.size() == kListed) {
            shown_names.push_back(fmt::format("… ({} in all)", names.size()));
            break;
        }
        shown_names.push_back(name.empty() ? "(no name)" : cut_text(name, 80));
    }
    return names.empty() ? "none" : fmt::format("{}", fmt::join(shown_names, ", "));
}

std::string_view role_name(Role role) {
    static constexpr std::string_view kNames[] = {"none", "id",       "title", "author",
                                                  "date", "category", "text",  "acl"};
    return kNames[static_cast<size_t>(role)];
}

bool is_provenance(std::string_view name) {
    const std::string lower = folded(name);
    return std::ranges::find(kProvenanceColumns, lower) != std::end(kProvenanceColumns);
}

}  // namespace

Result<DataType> parse_type(std::string_view text) {
    if (text == "string") return DataType{TypeId::String};
    if (text == "integer") return DataType{TypeId::Int64};
    if (text == "double") return DataType{TypeId::Float64};
    if (text == "boolean") return DataType{TypeId::Bool};
    if (text == "date") return DataType{TypeId::Date};
    if (text == "timestamp") return DataType{TypeId::Timestamp};
    const auto bad = [&] {
        return fail(ErrorCode::InvalidArgument, fmt::format("{} is not a type", shown(text)),
                    std::string(kTypesHint));
    };
    if (!text.starts_with("decimal(") || !text.ends_with(")")) return bad();
    std::string inner(text.substr(8, text.size() - 9));
    std::erase(inner, ' ');
    DataType type{TypeId::Decimal};
    const char* const end = inner.data() + inner.size();
    const auto first = std::from_chars(inner.data(), end, type.precision);
    if (first.ec != std::errc{} || first.ptr == end || *first.ptr != ',') return bad();
    const auto second = std::from_chars(first.ptr + 1, end, type.scale);
    if (second.ec != std::errc{} || second.ptr != end) return bad();
    if (type.precision < 1 || type.precision > 38 || type.scale < 0 ||
        type.scale > type.precision) {
        return fail(
            ErrorCode::InvalidArgument,
            fmt::format("{}: the precision must be 1 to 38, the scale 0 to the precision", text));
    }
    return type;
}

const ColumnRule* Contract::with_role(Role role) const {
    for (const ColumnRule& column : columns) {
        if (column.role == role) return &column;
    }
    return nullptr;
}

columnar::Schema Contract::table_schema(const std::vector<std::string>& kept_extra_columns) const {
    columnar::Schema schema;
    for (const ColumnRule& column : columns)
        schema.fields.push_back({column.name, column.type, true});
    for (const std::string& extra : kept_extra_columns) {
        schema.fields.push_back({extra, {TypeId::String}, true});
    }
    for (const std::string_view own : kProvenanceColumns) {
        schema.fields.push_back(
            {std::string(own), {own == "_px_file" ? TypeId::String : TypeId::Int64}, true});
    }
    return schema;
}

Result<void> Contract::validate() const {
    const auto bad = [](std::string what, std::string hint = {}) {
        return fail(ErrorCode::InvalidArgument, std::move(what), std::move(hint));
    };
    if (columns.empty() && extra_columns != ExtraColumns::Keep) {
        return bad("the contract has no columns",
                   "Name at least one column, or set extra_columns to keep");
    }
    std::set<std::string> names;
    for (const ColumnRule& column : columns) {
        if (column.name.empty() || !utf8_is_valid(column.name)) return bad("a column has no name");
        if (is_provenance(column.name)) {
            return bad(
                fmt::format("column '{}' has a name that the lake uses itself", column.name));
        }
        if (!names.insert(folded(column.name)).second) {
            return bad(fmt::format("column '{}' stands twice in the contract", column.name),
                       "Names of a table must differ by more than upper and lower case");
        }
        PX_TRY(CompiledRule::compile(column));
        if (column.role == Role::None) continue;
        if (with_role(column.role) != &column) {
            return bad(fmt::format("columns '{}' and '{}' both have the role {}",
                                   with_role(column.role)->name, column.name,
                                   role_name(column.role)));
        }
        if ((column.role == Role::Text || column.role == Role::Acl) &&
            column.type.id != TypeId::String) {
            return bad(fmt::format("column '{}' has the role {} and must be a string", column.name,
                                   role_name(column.role)));
        }
        if (column.role == Role::Date && column.type.id != TypeId::Date &&
            column.type.id != TypeId::Timestamp) {
            return bad(fmt::format(
                "column '{}' has the role date and must be a date or a timestamp", column.name));
        }
    }
    if (!(halt_above >= 0 && halt_above <= 1)) {
        return bad(fmt::format("halt_above is {}, not a share between 0 and 1", halt_above));
    }
    if (max_drop && !(*max_drop >= 0 && *max_drop <= 1)) {
        return bad(fmt::format("max_drop is {}, not a share between 0 and 1", *max_drop));
    }
    std::set<std::string> check_names;
    for (const TableCheck& check : checks) {
        if (check.sql.empty()) return bad(fmt::format("check '{}' has no SQL", check.name));
        if (!check_names.insert(check.name).second) {
            return bad(fmt::format("two checks have the name '{}'", check.name));
        }
    }
    return {};
}

Result<HeaderBinding> bind_header(const Contract& contract, const std::vector<std::string>& found,
                                  std::string_view file) {
    const auto violated = [&](std::string what, std::string hint) {
        return fail(ErrorCode::ContractViolated,
                    fmt::format("{}; columns found: {}", what, listed(found)), std::move(hint));
    };
    std::map<std::string_view, size_t> columns;  // of the contract, by name
    for (size_t c = 0; c < contract.columns.size(); ++c)
        columns.emplace(contract.columns[c].name, c);
    std::map<std::string_view, size_t> fields;
    HeaderBinding binding;
    binding.field_of_column.resize(contract.columns.size());
    std::vector<std::string> unknown;
    std::vector<size_t> unknown_fields;
    for (size_t i = 0; i < found.size(); ++i) {
        const auto column = columns.find(found[i]);
        const bool known = column != columns.end();
        if (!fields.emplace(found[i], i).second &&
            (known || contract.extra_columns == ExtraColumns::Keep)) {
            return violated(fmt::format("column '{}' stands twice in {}", found[i], file),
                            "Give each column of the file a name of its own");
        }
        if (known) {
            binding.field_of_column[column->second] = i;
        } else {
            unknown.push_back(found[i]);
            unknown_fields.push_back(i);
        }
    }
    std::vector<std::string> absent;
    std::string problems;
    std::string renamed;
    const auto add_to = [](std::string& text, const std::string& part) {
        if (!text.empty()) text += "; ";
        text += part;
    };
    for (size_t c = 0; c < contract.columns.size(); ++c) {
        if (binding.field_of_column[c]) continue;
        const ColumnRule& column = contract.columns[c];
        absent.push_back(column.name);
        if (!column.required || column.default_value) continue;
        add_to(problems, fmt::format("column '{}' is missing in {}", column.name, file));
        if (const auto near = nearest(column.name, unknown)) {
            add_to(renamed, fmt::format("'{}' looks like '{}' renamed", *near, column.name));
        }
    }
    if (!problems.empty()) {
        return fail(
            ErrorCode::ContractViolated,
            fmt::format("{}; columns found: {}{}{}", problems, listed(found),
                        renamed.empty() ? "" : "; ", renamed),
            renamed.empty()
                ? "Ask for the column in the source, or take 'required' from it in the contract"
                : "Name the column as before in the source, or change the contract");
    }
    if (contract.extra_columns == ExtraColumns::Reject) {
        for (const std::string& name : unknown) {
            add_to(problems, fmt::format("column {} in {} is not in the contract",
                                         name.empty() ? "without a name" : "'" + name + "'", file));
            if (const auto near = nearest(name, absent)) {
                add_to(renamed, fmt::format("'{}' looks like '{}' renamed", name, *near));
            }
        }
        if (!problems.empty()) {
            return fail(ErrorCode::ContractViolated,
                        fmt::format("{}; columns found: {}{}{}{}{}", problems, listed(found),
                                    absent.empty() ? "" : "; columns of the contract not found: ",
                                    absent.empty() ? "" : listed(absent),
                                    renamed.empty() ? "" : "; ", renamed),
                        "Add the column to the contract, or set extra_columns to keep or drop");
        }
        return binding;
    }
    if (contract.extra_columns == ExtraColumns::Drop) return binding;
    std::set<std::string> taken;
    for (const ColumnRule& column : contract.columns) taken.insert(folded(column.name));
    for (size_t u = 0; u < unknown.size(); ++u) {
        const std::string& name = unknown[u];
        const std::string hint = "Rename it in the source, or set extra_columns to drop";
        if (name.empty()) {
            return violated(fmt::format("column {} of {} has no name and can't be kept",
                                        unknown_fields[u] + 1, file),
                            hint);
        }
        if (!utf8_is_valid(name)) {
            return violated(fmt::format("the name of column {} of {} is not valid UTF-8",
                                        unknown_fields[u] + 1, file),
                            hint);
        }
        if (is_provenance(name)) {
            return violated(
                fmt::format("column '{}' in {} has a name that the lake uses itself", name, file),
                hint);
        }
        if (!taken.insert(folded(name)).second) {
            return violated(
                fmt::format("column '{}' in {} differs from another only by upper and lower case",
                            name, file),
                hint);
        }
        binding.extra_fields.push_back(unknown_fields[u]);
        binding.extra_names.push_back(name);
    }
    return binding;
}

}  // namespace px::contract
