// TaskOutput: what a task recorded in the catalog, read again. Rank 4; internal to the room.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace px::pipeline {

/// A JSON object whose members must be what they are asked for. Errors of every method: Corrupt,
/// naming the task and the member.
class TaskOutput {
  public:
    static Result<TaskOutput> parse(std::string_view task, std::string_view json);

    Result<bool> flag(std::string_view name) const;
    Result<int64_t> number(std::string_view name) const;
    Result<std::string> text(std::string_view name) const;
    Result<std::optional<std::string>> optional_text(
        std::string_view name) const;  ///< null: absent
    Result<std::vector<std::string>> texts(std::string_view name) const;
    Result<std::vector<TaskOutput>> objects(std::string_view name) const;
    Result<std::vector<boost::json::value>> list(std::string_view name) const;
    Result<boost::json::value> member(std::string_view name) const;
    const boost::json::value& value() const { return value_; }

  private:
    TaskOutput(std::string task, boost::json::value value)
        : task_(std::move(task)), value_(std::move(value)) {}
    Error unfit(std::string_view name) const;
    std::string task_;
    boost::json::value value_;  ///< an object
};

}  // namespace px::pipeline
