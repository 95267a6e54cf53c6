#include "contract/rule.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/utf8.h"

namespace px::contract {

using columnar::TypeId;

namespace {

constexpr size_t kPatternTextMax = 1000;

Error bad_rule(const ColumnRule& rule, const std::string& what, std::string hint = {}) {
    return fail(ErrorCode::InvalidArgument, fmt::format("column '{}': {}", rule.name, what),
                std::move(hint));
}

std::string characters(std::string_view text) {
    const size_t length = utf8_length(text);
    return fmt::format("{} character{}", length, length == 1 ? "" : "s");
}

}  // namespace

std::string_view broken_name(Broken broken) {
    static constexpr std::string_view kNames[] = {"",    "required", "type",    "one_of",
                                                  "min", "max",      "pattern", "unique"};
    return kNames[static_cast<size_t>(broken)];
}

bool parse_as_integer(const columnar::DataType& type, std::string_view text, Int128& value) {
    int64_t integer = 0;
    int32_t day = 0;
    bool truth = false;
    bool good = false;
    switch (type.id) {
        case TypeId::Int64:
            good = parse_integer(text, integer);
            value = integer;
            return good;
        case TypeId::Timestamp:
            good = parse_timestamp(text, integer);
            value = integer;
            return good;
        case TypeId::Date:
            good = parse_day(text, day);
            value = day;
            return good;
        case TypeId::Bool:
            good = parse_boolean(text, truth);
            value = truth ? 1 : 0;
            return good;
        case TypeId::Decimal:
            return parse_decimal(text, type.precision, type.scale, value);
        default:
            return false;
    }
}

Result<void> CompiledRule::compile_bound(const std::optional<std::string>& bound,
                                         std::string_view name, bool& has, Int128& integer,
                                         double& number) const {
    if (!bound) return {};
    bool good = false;
    std::string reason;
    switch (rule_.type.id) {
        case TypeId::Bool:
            return bad_rule(rule_, fmt::format("{} means nothing for a boolean", name));
        case TypeId::String: {
            int64_t length = 0;
            good = parse_integer(*bound, length) && length >= 0;
            integer = length;
            reason = fmt::format("{} is not a length in characters", shown(*bound));
            break;
        }
        case TypeId::Float64:
            good = parse_double(*bound, number);
            break;
        default:
            good = parse_as_integer(rule_.type, *bound, integer);
            break;
    }
    if (!good) {
        if (reason.empty()) reason = contract::explain(rule_.type, *bound);
        return bad_rule(rule_, fmt::format("{}: {}", name, reason));
    }
    has = true;
    return {};
}

Result<CompiledRule> CompiledRule::compile(const ColumnRule& rule) {
    CompiledRule compiled;
    compiled.rule_ = rule;
    switch (rule.type.id) {
        case TypeId::Int64:
        case TypeId::Float64:
        case TypeId::Bool:
        case TypeId::Date:
        case TypeId::Timestamp:
        case TypeId::String:
            break;
        case TypeId::Decimal:
            if (rule.type.precision >= 1 && rule.type.precision <= 38 && rule.type.scale >= 0 &&
                rule.type.scale <= rule.type.precision) {
                break;
            }
            [[fallthrough]];
        default:
            return bad_rule(
                rule, fmt::format("a contract has no type {}", delta_type_name(rule.type)),
                "Types are string, integer, double, boolean, date, timestamp, decimal(p,s)");
    }
    const bool text = rule.type.id == TypeId::String;
    PX_TRY(compiled.compile_bound(rule.min, "min", compiled.has_min_, compiled.min_integer_,
                                  compiled.min_number_));
    PX_TRY(compiled.compile_bound(rule.max, "max", compiled.has_max_, compiled.max_integer_,
                                  compiled.max_number_));
    if (compiled.has_min_ && compiled.has_max_ &&
        (compiled.min_integer_ > compiled.max_integer_ ||
         compiled.min_number_ > compiled.max_number_)) {
        return bad_rule(rule, fmt::format("min {} is above max {}", *rule.min, *rule.max));
    }
    for (const std::string& choice : rule.one_of) {
        Int128 integer = 0;
        double number = 0;
        const bool good = text ? utf8_is_valid(choice)
                          : rule.type.id == TypeId::Float64
                              ? parse_double(choice, number)
                              : parse_as_integer(rule.type, choice, integer);
        if (!good) {
            return bad_rule(rule, fmt::format("one_of: {}", contract::explain(rule.type, choice)));
        }
        if (text) {
            compiled.choices_text_.push_back(choice);
        } else if (rule.type.id == TypeId::Float64) {
            compiled.choices_number_.push_back(number);
        } else {
            compiled.choices_integer_.push_back(integer);
        }
    }
    std::ranges::sort(compiled.choices_text_);
    std::ranges::sort(compiled.choices_integer_);
    std::ranges::sort(compiled.choices_number_);
    if (rule.pattern) {
        if (rule.pattern->size() > kPatternTextMax || !utf8_is_valid(*rule.pattern)) {
            return bad_rule(
                rule, fmt::format("the pattern must be text of at most {} bytes", kPatternTextMax));
        }
        std::wstring wide;
        for (size_t at = 0; at < rule.pattern->size();) {
            wide.push_back(static_cast<wchar_t>(utf8_next(*rule.pattern, at)));
        }
        // The polynomial matcher has no back-references, and so no exponential patterns and no deep
        // recursion.
        try {
            compiled.pattern_.emplace(
                wide, std::regex_constants::ECMAScript | std::regex_constants::__polynomial);
        } catch (const std::regex_error& error) {
            return bad_rule(
                rule,
                error.code() == std::regex_constants::error_complexity
                    ? fmt::format("pattern {} has a back-reference", shown(*rule.pattern))
                    : fmt::format("{} is not a pattern: {}", shown(*rule.pattern), error.what()),
                "Patterns are ECMAScript regular expressions without back-references");
        }
    }
    compiled.has_checks_ = compiled.has_min_ || compiled.has_max_ || !rule.one_of.empty() ||
                           compiled.pattern_.has_value();
    if (rule.one_of.empty() && !compiled.pattern_ && !text && rule.type.id != TypeId::Float64) {
        constexpr Int128 kLeast = std::numeric_limits<int64_t>::min();
        constexpr Int128 kGreatest = std::numeric_limits<int64_t>::max();
        const Int128 least = compiled.has_min_ ? compiled.min_integer_ : kLeast;
        const Int128 greatest = compiled.has_max_ ? compiled.max_integer_ : kGreatest;
        if (least <= kGreatest && greatest >= kLeast) {
            compiled.least_ = static_cast<int64_t>(std::max(least, kLeast));
            compiled.greatest_ = static_cast<int64_t>(std::min(greatest, kGreatest));
        }
    }
    if (rule.default_value) {
        const std::string& value = *rule.default_value;
        Broken broken = Broken::None;
        Int128 integer = 0;
        double number = 0;
        if (text) {
            broken = utf8_is_valid(value) ? compiled.check_text(value) : Broken::Type;
        } else if (rule.type.id == TypeId::Float64) {
            broken =
                parse_double(value, number) ? compiled.check_double(number, value) : Broken::Type;
        } else {
            broken = parse_as_integer(rule.type, value, integer)
                         ? compiled.check_integer(integer, value)
                         : Broken::Type;
        }
        if (broken != Broken::None) {
            return bad_rule(rule,
                            fmt::format("the default breaks the rule {}: {}", broken_name(broken),
                                        compiled.explain(broken, value)));
        }
    }
    return compiled;
}

bool CompiledRule::matches(std::string_view text) {
    if (text.size() > kPatternBytesMax) return false;
    wide_.clear();
    for (size_t at = 0; at < text.size();)
        wide_.push_back(static_cast<wchar_t>(utf8_next(text, at)));
    return std::regex_match(wide_, *pattern_);
}

Broken CompiledRule::check_integer(Int128 value, std::string_view text) {
    if (!choices_integer_.empty() && !std::ranges::binary_search(choices_integer_, value))
        return Broken::OneOf;
    if (has_min_ && value < min_integer_) return Broken::Min;
    if (has_max_ && value > max_integer_) return Broken::Max;
    if (pattern_ && !matches(text)) return Broken::Pattern;
    return Broken::None;
}

Broken CompiledRule::check_double(double value, std::string_view text) {
    if (!choices_number_.empty() && !std::ranges::binary_search(choices_number_, value))
        return Broken::OneOf;
    if (has_min_ && value < min_number_) return Broken::Min;
    if (has_max_ && value > max_number_) return Broken::Max;
    if (pattern_ && !matches(text)) return Broken::Pattern;
    return Broken::None;
}

Broken CompiledRule::check_text(std::string_view text) {
    if (!choices_text_.empty() &&
        !std::binary_search(choices_text_.begin(), choices_text_.end(), text, std::less<>{})) {
        return Broken::OneOf;
    }
    if (has_min_ || has_max_) {
        const auto length = static_cast<Int128>(utf8_length(text));
        if (has_min_ && length < min_integer_) return Broken::Min;
        if (has_max_ && length > max_integer_) return Broken::Max;
    }
    if (pattern_ && !matches(text)) return Broken::Pattern;
    return Broken::None;
}

std::string CompiledRule::explain(Broken broken, std::string_view text) const {
    const bool is_text = rule_.type.id == TypeId::String;
    switch (broken) {
        case Broken::None:
            return {};
        case Broken::Required:
            return fmt::format("'{}' is required and has no value", rule_.name);
        case Broken::Type:
            return contract::explain(rule_.type, text);
        case Broken::OneOf: {
            constexpr size_t kListed = 12;
            const size_t listed = std::min(rule_.one_of.size(), kListed);
            return fmt::format(
                "{} is none of {}{}", shown(text),
                fmt::join(rule_.one_of.begin(),
                          rule_.one_of.begin() + static_cast<std::ptrdiff_t>(listed), ", "),
                rule_.one_of.size() > listed
                    ? fmt::format(" and {} more", rule_.one_of.size() - listed)
                    : std::string());
        }
        case Broken::Min:
            return is_text ? fmt::format("{} has {}, at least {} are wanted", shown(text),
                                         characters(text), *rule_.min)
                           : fmt::format("{} is below the minimum {}", shown(text), *rule_.min);
        case Broken::Max:
            return is_text ? fmt::format("{} has {}, at most {} are allowed", shown(text),
                                         characters(text), *rule_.max)
                           : fmt::format("{} is above the maximum {}", shown(text), *rule_.max);
        case Broken::Pattern:
            return text.size() > kPatternBytesMax
                       ? fmt::format(
                             "{} has {} bytes, too long to be matched with a pattern (at most {})",
                             shown(text), text.size(), kPatternBytesMax)
                       : fmt::format("{} does not match {}", shown(text), *rule_.pattern);
        case Broken::Unique:
            return fmt::format("{} stands in an earlier record already", shown(text));
    }
    return {};
}

}  // namespace px::contract
