// Typed reading of the JSON files of a model folder; every failure names the field. Private to
// embed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

#include "base/result.h"

namespace px::embed {

/// Parses a whole file of at most 256 MB. Errors: NotFound, Forbidden, Corrupt (with the byte it
/// failed at).
Result<boost::json::value> read_json_file(const std::filesystem::path& file);

/// A view of a JSON value with its path, for messages. Does not own; the document must outlive it.
class JsonView {
  public:
    JsonView(const boost::json::value& value, std::string path)
        : value_(&value), path_(std::move(path)) {}

    bool has(std::string_view key) const;
    /// null counts as absent. Errors: InvalidArgument (wrong type, by name).
    Result<std::string> string(std::string_view key, std::string_view absent) const;
    Result<int64_t> integer(std::string_view key, int64_t absent) const;
    Result<double> number(std::string_view key, double absent) const;
    Result<bool> boolean(std::string_view key, bool absent) const;
    /// Errors: InvalidArgument (absent or not an object / array).
    Result<JsonView> object(std::string_view key) const;
    Result<std::vector<JsonView>> array(std::string_view key) const;
    /// The string at an index of the array under key.
    Result<std::string> string_at(std::string_view key, size_t index) const;
    /// Errors: InvalidArgument unless the string under key is wanted.
    Result<void> expect(std::string_view key, std::string_view wanted) const;
    const boost::json::object* as_object() const { return value_->if_object(); }

  private:
    const boost::json::value* find(std::string_view key) const;
    std::string name(std::string_view key) const;
    Error wrong(std::string_view key, std::string_view wanted) const;

    const boost::json::value* value_;
    std::string path_;
};

}  // namespace px::embed
