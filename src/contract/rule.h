// CompiledRule: one ColumnRule with its bounds, choices and pattern parsed, ready to judge values
// of its column. Not thread-safe.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "contract/contract.h"
#include "contract/value.h"

namespace px::contract {

/// The rules in the order in which a value is judged.
enum class Broken : uint8_t { None, Required, Type, OneOf, Min, Max, Pattern, Unique };
std::string_view broken_name(Broken broken);

/// Longest value a pattern is matched against.
inline constexpr size_t kPatternBytesMax = 4096;

class CompiledRule {
  public:
    /// Errors: InvalidArgument naming the column.
    static Result<CompiledRule> compile(const ColumnRule& rule);

    const ColumnRule& rule() const { return rule_; }
    bool has_checks() const { return has_checks_; }
    /// Values within [least(), greatest()] of an integer-like type break no rule for sure.
    int64_t least() const { return least_; }
    int64_t greatest() const { return greatest_; }

    // Judges a value that has its type: OneOf, Min, Max or Pattern. text: after the transforms.
    Broken check_integer(Int128 value, std::string_view text);
    Broken check_double(double value, std::string_view text);
    Broken check_text(std::string_view text);

    /// What is wrong, for people.
    std::string explain(Broken broken, std::string_view text) const;

  private:
    Result<void> compile_bound(const std::optional<std::string>& bound, std::string_view name,
                               bool& has, Int128& integer, double& number) const;
    bool matches(std::string_view text);

    ColumnRule rule_;
    bool has_checks_ = false;
    bool has_min_ = false;
    bool has_max_ = false;
    Int128 min_integer_ = 0;
    Int128 max_integer_ = 0;
    int64_t least_ = 1;  ///< an empty range: every value is looked at
    int64_t greatest_ = 0;
    double min_number_ = 0;
    double max_number_ = 0;
    std::vector<std::string> choices_text_;  ///< sorted
    std::vector<Int128> choices_integer_;    ///< sorted
    std::vector<double> choices_number_;     ///< sorted
    std::optional<std::wregex> pattern_;
    std::wstring wide_;
};

/// A value of an integer-like type (boolean, integer, date, timestamp, decimal).
bool parse_as_integer(const columnar::DataType& type, std::string_view text, Int128& value);

}  // namespace px::contract
