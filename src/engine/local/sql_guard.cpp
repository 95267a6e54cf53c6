#include "engine/local/sql_guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <map>
#include <span>

#include "base/utf8.h"
#include "engine/table_name.h"

namespace px::engine {
namespace {

namespace json = boost::json;
using Names = std::span<const std::string_view>;

constexpr std::array<std::string_view, 17> kExpressions = {
    "BETWEEN",    "CASE",        "CAST",     "COLLATE",  "COLUMN_REF",
    "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "LAMBDA",
    "LAMBDA_REF", "OPERATOR",    "STAR",     "SUBQUERY", "POSITIONAL_REFERENCE",
    "WINDOW",     "TYPE"};
constexpr std::array<std::string_view, 4> kQueryNodes = {"SELECT_NODE", "SET_OPERATION_NODE",
                                                         "RECURSIVE_CTE_NODE", "CTE_NODE"};
constexpr std::array<std::string_view, 7> kTableRefs = {
    "BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY", "PIVOT"};
constexpr std::array<std::string_view, 9> kParts = {
    "LIMIT_MODIFIER",    "LIMIT_PERCENT_MODIFIER", "ORDER_MODIFIER",
    "DISTINCT_MODIFIER", "ORDER_DEFAULT",          "ASCENDING",
    "DESCENDING",        "ORDER_ASCENDING",        "ORDER_DESCENDING"};
constexpr std::array<std::string_view, 5> kTableFunctions = {"range", "generate_series", "unnest",
                                                             "json_each", "json_tree"};
// Their cost grows with the square of a text's length.
constexpr std::array<std::string_view, 5> kSquareFunctions = {
    "levenshtein", "editdist3", "damerau_levenshtein", "jaro_similarity",
    "jaro_winkler_similarity"};
// They make or read long texts.
constexpr std::array<std::string_view, 8> kLongFunctions = {
    "repeat", "lpad", "rpad", "md5", "sha1", "sha256", "hash", "json_structure"};

bool contains(Names names, std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
}

std::string folded(std::string_view name) {
    std::string lower(name);
    for (char& c : lower) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    }
    return lower;
}

std::string_view text_of(const json::object& object, std::string_view key) {
    const json::value* value = object.if_contains(key);
    return value && value->is_string() ? std::string_view(value->get_string()) : std::string_view();
}

bool is_set(const json::object& object, std::string_view key) {
    const json::value* value = object.if_contains(key);
    return value && !value->is_null();
}

/// CTE name → how many tables reading it reads.
using Scope = std::map<std::string, int64_t>;

class Walker {
  public:
    Walker(std::string_view sql, const std::set<std::string>& tables, const SqlGuardLimits& limits)
        : sql_(sql), tables_(tables), limits_(limits) {}

    /// Returns how many tables the part reads.
    Result<int64_t> walk(const json::value& value, const Scope& scope, int lambdas) {
        if (value.is_array()) {
            int64_t reads = 0;
            for (const json::value& item : value.get_array())
                PX_TRY(add(reads, PX_TRY(walk(item, scope, lambdas))));
            return reads;
        }
        if (!value.is_object()) return int64_t{0};
        const json::object& object = value.get_object();
        if (const json::value* kind = object.if_contains("class"); kind && kind->is_string()) {
            return expression(object, scope, lambdas);
        }
        std::string_view type = text_of(object, "type");
        if (type.empty() || contains(kParts, type) || type.ends_with("_TYPE_INFO"))
            return members(object, scope, lambdas);
        if (contains(kQueryNodes, type)) return query_node(object, type, scope, lambdas);
        if (contains(kTableRefs, type)) return table_ref(object, type, scope, lambdas);
        if (type == "SHOW_REF")
            return refuse(object, "SHOW, DESCRIBE and SUMMARIZE are not allowed here");
        return refuse(object, fmt::format("{} is not allowed here", type));
    }

  private:
    Error refuse(const json::object& object, std::string what, std::string hint = {}) const {
        const json::value* place = object.if_contains("query_location");
        uint64_t at = UINT64_MAX;
        if (place && place->is_int64()) at = static_cast<uint64_t>(place->get_int64());
        if (at < sql_.size())
            what += fmt::format(" (at character {})", utf8_length(sql_.substr(0, at)) + 1);
        return fail(ErrorCode::InvalidArgument, std::move(what), std::move(hint));
    }

    Result<void> add(int64_t& reads, int64_t more) const {
        reads += more;
        if (reads <= limits_.table_reads) return {};
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("the query reads more than {} tables", limits_.table_reads),
                    "a CTE counts as often as it is used");
    }

    Result<int64_t> members(const json::object& object, const Scope& scope, int lambdas) {
        int64_t reads = 0;
        for (const auto& member : object)
            PX_TRY(add(reads, PX_TRY(walk(member.value(), scope, lambdas))));
        return reads;
    }

    Result<int64_t> expression(const json::object& object, const Scope& scope, int lambdas) {
        std::string_view kind = text_of(object, "class");
        if (kind == "PARAMETER")
            return refuse(object, "parameters are not allowed here",
                          "write the value into the query");
        if (!contains(kExpressions, kind))
            return refuse(object, fmt::format("{} is not allowed here", folded(kind)));
        if (kind == "FUNCTION" || kind == "WINDOW") PX_TRY(function(object, lambdas));
        if (kind == "LAMBDA" && ++lambdas > 1)
            return refuse(object, "a lambda within a lambda is not allowed here");
        return members(object, scope, lambdas);
    }

    Result<void> function(const json::object& object, int lambdas) {
        std::string name = folded(text_of(object, "function_name"));
        std::string_view schema = text_of(object, "schema");
        if (!text_of(object, "catalog").empty() || !(schema.empty() || schema == "main")) {
            return refuse(
                object, fmt::format("function {} can't be called by the name of its schema", name));
        }
        if (!allowed_functions().contains(name)) {
            std::string hint;
            if (contains(kTableFunctions, name)) hint = fmt::format("use {}() in FROM", name);
            return refuse(object, fmt::format("function {}() is not allowed here", name),
                          std::move(hint));
        }
        if (name == "printf" || name == "format") PX_TRY(format_text(object, name));
        return heavy_function(object, name, lambdas);
    }

    /// What takes long for a single value.
    Result<void> heavy_function(const json::object& object, const std::string& name, int lambdas) {
        const bool is_square = contains(kSquareFunctions, name);
        if (!is_square && !contains(kLongFunctions, name) && !name.starts_with("regexp_") &&
            !name.starts_with("md5_"))
            return {};
        if (is_square && lambdas > 0) {
            return refuse(object, fmt::format("{}() is not allowed within a lambda", name),
                          "compare the elements as rows: FROM unnest(…)");
        }
        if (++heavy_calls_ > limits_.heavy_calls) {
            return refuse(object,
                          fmt::format("more than {} calls of {}() and functions as costly are not "
                                      "allowed in one query",
                                      limits_.heavy_calls, name),
                          "ask in several queries");
        }
        return {};
    }

    /// A width makes a large text from nothing: only small ones, written in the format itself.
    Result<void> format_text(const json::object& object, const std::string& name) {
        const json::value* children = object.if_contains("children");
        const json::value* first =
            children && children->is_array() && !children->get_array().empty()
                ? &children->get_array()[0]
                : nullptr;
        const json::value* value =
            first && first->is_object() ? first->get_object().if_contains("value") : nullptr;
        std::string_view text = value && value->is_object() ? text_of(value->get_object(), "value")
                                                            : std::string_view();
        size_t digits = 0, longest = 0;
        for (char c : text) {
            digits = c >= '0' && c <= '9' ? digits + 1 : 0;
            longest = std::max(longest, digits);
        }
        bool dynamic = text.find('*') != std::string_view::npos ||
                       text.find(":{") != std::string_view::npos ||
                       text.find(".{") != std::string_view::npos;
        for (size_t at = text.find(':'); at != std::string_view::npos && !dynamic;
             at = text.find(':', at + 1)) {
            size_t close = text.find('}', at), open = text.find('{', at);
            dynamic = open < close;
        }
        if (text_of(first && first->is_object() ? first->get_object() : object, "class") !=
                "CONSTANT" ||
            longest > 3 || dynamic) {
            return refuse(
                object,
                fmt::format("{}() needs its format as a text with widths below 1000", name));
        }
        return {};
    }

    Result<void> cte_name(const json::object& object, std::string_view name) {
        bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                   c == '_' || c == ' ' || c < 0;
        });
        if (plain && !is_reserved_table_name(name)) return {};
        return refuse(object, fmt::format("a CTE can't be named \"{}\" here", name),
                      "use letters, digits and _");
    }

    Result<int64_t> query_node(const json::object& object, std::string_view type,
                               const Scope& outer, int lambdas) {
        Scope scope = outer;
        // Each CTE sees those before it; only a recursive one sees itself (below).
        if (const json::value* ctes = object.if_contains("cte_map")) {
            const json::object* map = ctes->if_object();
            const json::value* entries = map ? map->if_contains("map") : nullptr;
            if (!entries || !entries->is_array())
                return refuse(object, "WITH of an unknown form is not allowed here");
            for (const json::value& entry : entries->get_array()) {
                const json::object* pair = entry.if_object();
                const json::value* body = pair ? pair->if_contains("value") : nullptr;
                if (!body) return refuse(object, "WITH of an unknown form is not allowed here");
                std::string_view name = text_of(*pair, "key");
                PX_TRY(cte_name(object, name));
                int64_t reads = PX_TRY(walk(*body, scope, lambdas));
                scope[folded(name)] = std::max<int64_t>(reads, 1);
            }
        }
        int64_t reads = 0;
        if (type == "RECURSIVE_CTE_NODE" || type == "CTE_NODE") {
            std::string_view name = text_of(object, "cte_name");
            if (name.empty()) name = text_of(object, "ctename");
            PX_TRY(cte_name(object, name));
            if (type == "RECURSIVE_CTE_NODE") {
                scope[folded(name)] = 1;
            } else {
                const json::value* query = object.if_contains("query");
                if (!query) return refuse(object, "WITH of an unknown form is not allowed here");
                scope[folded(name)] = std::max<int64_t>(PX_TRY(walk(*query, outer, lambdas)), 1);
            }
        }
        for (const auto& member : object) {
            if (member.key() == "cte_map" || (type == "CTE_NODE" && member.key() == "query"))
                continue;
            PX_TRY(add(reads, PX_TRY(walk(member.value(), scope, lambdas))));
        }
        return reads;
    }

    Result<int64_t> table_ref(const json::object& object, std::string_view type, const Scope& scope,
                              int lambdas) {
        int64_t reads = 0;
        if (type == "BASE_TABLE") {
            std::string_view name = text_of(object, "table_name");
            std::string_view schema = text_of(object, "schema_name");
            std::string key = folded(name);
            auto cte = schema.empty() ? scope.find(key) : scope.end();
            bool ours = tables_.contains(key) && (schema.empty() || folded(schema) == "main");
            if (!text_of(object, "catalog_name").empty() || (!ours && cte == scope.end())) {
                return refuse(object,
                              fmt::format("there is no table {}{}{} here", schema,
                                          schema.empty() ? "" : ".", name),
                              tables_hint());
            }
            if (is_set(object, "at_clause"))
                return refuse(object, "AT is not allowed here", "ask with as_of");
            reads = cte != scope.end() ? cte->second : 1;
        } else if (type == "TABLE_FUNCTION") {
            const json::value* call = object.if_contains("function");
            const json::object* function = call ? call->if_object() : nullptr;
            std::string name = function ? folded(text_of(*function, "function_name")) : "";
            if (!function || text_of(*function, "class") != "FUNCTION" ||
                !contains(kTableFunctions, name) || !text_of(*function, "schema").empty() ||
                !text_of(*function, "catalog").empty()) {
                return refuse(object, fmt::format("table function {}() is not allowed here", name),
                              tables_hint());
            }
            // Its own name is settled; what stands within its parentheses is not.
            const json::value* arguments = function->if_contains("children");
            if (!arguments)
                return refuse(object, fmt::format("table function {}() is not allowed here", name));
            PX_TRY(add(reads, 1));
            PX_TRY(add(reads, PX_TRY(walk(*arguments, scope, lambdas))));
            for (const auto& member : object) {
                if (member.key() != "function")
                    PX_TRY(add(reads, PX_TRY(walk(member.value(), scope, lambdas))));
            }
            return reads;
        } else if (type == "PIVOT") {
            PX_TRY(pivot(object));
        }
        PX_TRY(add(reads, PX_TRY(members(object, scope, lambdas))));
        return reads;
    }

    Result<void> pivot(const json::object& object) const {
        const json::value* pivots = object.if_contains("pivots");
        if (pivots && pivots->is_array()) {
            for (const json::value& column : pivots->get_array()) {
                if (column.is_object() && !text_of(column.get_object(), "pivot_enum").empty()) {
                    return refuse(object, "PIVOT over a type is not allowed here",
                                  "list the values: IN (…)");
                }
            }
        }
        return {};
    }

    std::string tables_hint() const {
        if (tables_.empty()) return "no table is known";
        std::string list = "known tables: ";
        size_t shown = 0;
        for (const std::string& name : tables_) {
            if (shown == 12) return list + ", …";
            list += (shown++ > 0 ? ", " : "") + name;
        }
        return list;
    }

    std::string_view sql_;
    const std::set<std::string>& tables_;
    const SqlGuardLimits& limits_;
    int64_t heavy_calls_ = 0;
};

}  // namespace

Result<void> check_sql_text(std::string_view sql, const SqlGuardLimits& limits) {
    if (sql.size() > limits.sql_bytes) {
        return fail(
            ErrorCode::InvalidArgument,
            fmt::format("the query has {} bytes, more than {}", sql.size(), limits.sql_bytes),
            "make it shorter");
    }
    if (sql.find('\0') != std::string_view::npos)
        return fail(ErrorCode::InvalidArgument, "the query holds a NUL byte");
    if (!utf8_is_valid(sql)) return fail(ErrorCode::InvalidArgument, "the query is not UTF-8");
    // DuckDB's parser recurses; nobody's query is this deep.
    int64_t depth = 0, deepest = 0;
    for (char c : sql) {
        depth += c == '(' || c == '[' || c == '{' ? 1 : c == ')' || c == ']' || c == '}' ? -1 : 0;
        deepest = std::max(deepest, depth);
    }
    if (deepest > 400)
        return fail(ErrorCode::InvalidArgument, "the query nests more than 400 brackets",
                    "make it simpler");
    return {};
}

Result<void> check_syntax_tree(std::string_view tree, std::string_view sql,
                               const std::set<std::string>& tables, const SqlGuardLimits& limits) {
    json::parse_options options;
    options.max_depth = 4000;
    boost::system::error_code error;
    json::monotonic_resource memory;
    json::value parsed =
        json::parse(json::string_view(tree.data(), tree.size()), error, &memory, options);
    if (error || !parsed.is_object()) {
        return fail(ErrorCode::InvalidArgument, "the query is too deep to be checked",
                    "make it simpler");
    }
    const json::object& root = parsed.get_object();
    const json::value* failed = root.if_contains("error");
    if (!failed || !failed->is_bool())
        return fail(ErrorCode::Internal, "DuckDB's syntax tree has an unknown form");
    if (failed->get_bool()) {
        std::string_view kind = text_of(root, "error_type");
        if (kind == "not implemented") {
            return fail(ErrorCode::InvalidArgument, "only a SELECT is allowed here",
                        "start the query with SELECT, WITH or FROM");
        }
        return fail(ErrorCode::InvalidArgument, std::string(text_of(root, "error_message")));
    }
    const json::value* statements = root.if_contains("statements");
    if (!statements || !statements->is_array() || statements->get_array().size() != 1) {
        return fail(ErrorCode::InvalidArgument, "exactly one SELECT is allowed here");
    }
    Walker walker(sql, tables, limits);
    PX_TRY(walker.walk(*statements, {}, 0));
    return {};
}

}  // namespace px::engine
