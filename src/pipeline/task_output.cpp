#include "pipeline/task_output.h"

#include <fmt/format.h>

#include <boost/json.hpp>

namespace px::pipeline {

namespace json = boost::json;

Result<TaskOutput> TaskOutput::parse(std::string_view task, std::string_view text) {
    boost::system::error_code code;
    json::value value = json::parse(text, code);
    if (code || !value.is_object())
        return fail(ErrorCode::Corrupt,
                    fmt::format("the recorded output of task {} can't be read", task),
                    "Begin the run anew with `px run --restart`");
    return TaskOutput(std::string(task), std::move(value));
}

Error TaskOutput::unfit(std::string_view name) const {
    return fail(ErrorCode::Corrupt,
                fmt::format("the recorded output of task {} has no fitting '{}'", task_, name),
                "Begin the run anew with `px run --restart`");
}

Result<json::value> TaskOutput::member(std::string_view name) const {
    const json::value* found = value_.get_object().if_contains(name);
    if (found == nullptr) return unfit(name);
    return *found;
}

Result<bool> TaskOutput::flag(std::string_view name) const {
    const json::value value = PX_TRY(member(name));
    if (!value.is_bool()) return unfit(name);
    return value.get_bool();
}

Result<int64_t> TaskOutput::number(std::string_view name) const {
    const json::value value = PX_TRY(member(name));
    if (!value.is_int64()) return unfit(name);
    return value.get_int64();
}

Result<std::string> TaskOutput::text(std::string_view name) const {
    const json::value value = PX_TRY(member(name));
    if (!value.is_string()) return unfit(name);
    return std::string(value.get_string());
}

Result<std::optional<std::string>> TaskOutput::optional_text(std::string_view name) const {
    if (PX_TRY(member(name)).is_null()) return std::optional<std::string>();
    return std::optional(PX_TRY(text(name)));
}

Result<std::vector<json::value>> TaskOutput::list(std::string_view name) const {
    const json::value value = PX_TRY(member(name));
    if (!value.is_array()) return unfit(name);
    const json::array& array = value.get_array();
    return std::vector<json::value>(array.begin(), array.end());
}

Result<std::vector<std::string>> TaskOutput::texts(std::string_view name) const {
    std::vector<std::string> texts;
    for (const json::value& value : PX_TRY(list(name))) {
        if (!value.is_string()) return unfit(name);
        texts.emplace_back(value.get_string());
    }
    return texts;
}

Result<std::vector<TaskOutput>> TaskOutput::objects(std::string_view name) const {
    std::vector<TaskOutput> objects;
    for (json::value& value : PX_TRY(list(name))) {
        if (!value.is_object()) return unfit(name);
        objects.push_back(TaskOutput(task_, std::move(value)));
    }
    return objects;
}

}  // namespace px::pipeline
