#include "gateway/problem.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "base/utf8.h"

namespace px::gateway {
namespace {

std::string dashed(std::string_view code_name) {
    std::string text;
    for (const char c : code_name) {
        const bool upper = c >= 'A' && c <= 'Z';
        if (upper && !text.empty()) text.push_back('-');
        text.push_back(upper ? static_cast<char>(c + 32) : c);
    }
    return text;
}

std::string write_problem(std::string_view code_name, int status, std::string_view detail,
                          std::string_view hint, std::string_view request_id) {
    boost::json::object problem;
    problem["type"] = "/docs#error-" + dashed(code_name);
    problem["title"] = problem_title(code_name);
    problem["status"] = status;
    problem["detail"] = utf8_sanitize(detail);
    problem["code"] = code_name;
    if (!hint.empty()) problem["hint"] = utf8_sanitize(hint);
    problem["request_id"] = request_id;
    return boost::json::serialize(problem);
}

http::Response respond(int status, std::string json) {
    http::Response response;
    response.status = status;
    response.body = std::move(json);
    response.with("Content-Type", "application/problem+json");
    return response;
}

}  // namespace

std::string problem_title(std::string_view code_name) {
    std::string title = dashed(code_name);
    for (char& c : title) {
        if (c == '-') c = ' ';
    }
    if (!title.empty() && title[0] >= 'a' && title[0] <= 'z')
        title[0] = static_cast<char>(title[0] - 32);
    return title;
}

std::string problem_json(const Error& error, std::string_view request_id) {
    const ErrorTraits& traits = error_traits(error.code);
    std::string detail = error.message;
    for (size_t i = 0; i < error.context.size(); ++i) {
        detail += (i == 0 ? " (" : "; ") + error.context[i];
    }
    if (!error.context.empty()) detail += ")";
    return write_problem(traits.name, traits.http_status, detail, error.hint, request_id);
}

std::string problem_json(int status, std::string_view detail, std::string_view hint,
                         std::string_view request_id) {
    std::string code_name;
    for (const char c : http::status_phrase(status)) {
        if (c != ' ') code_name.push_back(c);
    }
    return write_problem(code_name, status, detail, hint, request_id);
}

http::Response problem_response(const Error& error, std::string_view request_id) {
    http::Response response =
        respond(error_traits(error.code).http_status, problem_json(error, request_id));
    if (response.status == 503 || response.status == 429) response.with("Retry-After", "1");
    return response;
}

http::Response problem_response(int status, std::string_view detail, std::string_view hint,
                                std::string_view request_id) {
    return respond(status, problem_json(status, detail, hint, request_id));
}

}  // namespace px::gateway
