// Request and Response of the HTTP room: plain values, transport only. Rank 1. No foreign header.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace px::http {

struct Header {
    std::string name, value;
};

/// One request, whole: the body has been read. Header names keep the case the client used.
struct Request {
    std::string method;  ///< "GET"
    std::string path;    ///< percent-decoded, begins with '/', well-formed UTF-8 without NUL
    std::vector<std::pair<std::string, std::string>> query;  ///< decoded, in order
    std::vector<Header> headers;
    std::string body;
    std::stop_token stop;  ///< requested when the client has gone or the server stops for good

    /// First header of that name, whatever its case.
    std::optional<std::string_view> header(std::string_view name) const;
    /// First query parameter of that name.
    std::optional<std::string_view> query_value(std::string_view name) const;
};

/// Where a streaming response writes to. write() blocks while the client reads slowly and fails
/// with Cancelled once the client has gone; the stream should end then.
class StreamWriter {
  public:
    virtual ~StreamWriter() = default;
    virtual Result<void> write(std::string_view bytes) = 0;
};

struct Response {
    int status = 200;
    /// Content-Length, Transfer-Encoding, Date and Connection are the server's.
    std::vector<Header> headers{};
    std::string body{};
    /// Bytes that live as long as the program (embedded files), sent uncopied in place of body.
    std::string_view static_body{};
    /// When set: the body is what it writes, chunked, sent as it comes. Runs on the worker that ran
    /// the handler. A failure ends the connection, so that the client sees that the body is not
    /// whole.
    std::function<Result<void>(StreamWriter&)> stream{};

    Response& with(std::string name, std::string value) {
        headers.push_back({std::move(name), std::move(value)});
        return *this;
    }
};

/// "Not Found"; "Unknown" for a status we have no phrase for.
std::string_view status_phrase(int status);

/// ASCII case-insensitive equality, as for header names.
bool equal_ignoring_case(std::string_view a, std::string_view b);

/// One server-sent event: "event: <name>\ndata: <line>\n…\n\n". The name must hold no line break;
/// data may.
std::string server_sent_event(std::string_view name, std::string_view data);

}  // namespace px::http
