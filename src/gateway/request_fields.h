// Fields of a request's JSON object, read with their rules; every refusal names the field. Rank 5.
// Pure; any thread.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace px::gateway {

/// The known name closest to a mistyped one (edit distance at most 2 and below half its length); ""
/// if none is close.
std::string nearest_name(std::string_view name, const std::vector<std::string_view>& known);

/// The JSON object a body must be. Errors: InvalidArgument with the byte at which it stops being
/// JSON (depth at most 32).
Result<boost::json::object> parse_object(std::string_view body);

/// Reads the fields of one object. null counts as absent. All errors are InvalidArgument.
class RequestFields {
  public:
    /// place: "" for the body, "filters." below it. Errors: a field that is not known, with the
    /// nearest known one.
    static Result<RequestFields> open(boost::json::object object, std::string place,
                                      std::vector<std::string_view> known);

    bool has(std::string_view name) const;
    /// As it was sent; null when absent.
    const boost::json::value* find(std::string_view name) const;
    /// "field 'x' must be wanted, not a number".
    Error wrong_kind(std::string_view name, std::string_view wanted,
                     const boost::json::value& found) const;
    /// Text of at most max_bytes.
    Result<std::optional<std::string>> text(std::string_view name, size_t max_bytes) const;
    /// Required, with something besides white space in it.
    Result<std::string> required_text(std::string_view name, size_t max_bytes) const;
    Result<std::optional<int64_t>> integer(std::string_view name, int64_t min, int64_t max) const;
    Result<std::optional<bool>> boolean(std::string_view name) const;
    /// One text or an array of at most 100.
    Result<std::vector<std::string>> texts(std::string_view name, size_t max_bytes) const;
    /// A text or a whole number, as text.
    Result<std::optional<std::string>> text_or_integer(std::string_view name,
                                                       size_t max_bytes) const;
    /// One of the choices; nullopt when absent.
    Result<std::optional<std::string>> choice(std::string_view name,
                                              const std::vector<std::string_view>& choices) const;
    Result<std::optional<RequestFields>> object(std::string_view name,
                                                std::vector<std::string_view> known) const;

  private:
    boost::json::object object_;
    std::string place_;
};

}  // namespace px::gateway
