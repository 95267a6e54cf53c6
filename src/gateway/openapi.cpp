#include "gateway/openapi.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <iterator>

#include "gateway/problem.h"

namespace px::gateway {
namespace {

namespace json = boost::json;

json::object reference(std::string_view schema) {
    return {{"$ref", "#/components/schemas/" + std::string(schema)}};
}

json::object content(std::string_view type, json::object schema) {
    json::object media;
    media["schema"] = std::move(schema);
    json::object by_type;
    by_type[type] = std::move(media);
    return by_type;
}

/// "get_v1_runs_id": unique since method and pattern are.
std::string operation_id(const Route& route) {
    std::string id;
    for (const char c : route.method) id.push_back(static_cast<char>(c + 32));
    bool separate = true;
    for (const char c : route.pattern) {
        const bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
        if (word && separate) id.push_back('_');
        separate = !word;
        if (word) id.push_back(c);
    }
    return id;
}

json::object operation(const Route& route) {
    json::object object;
    object["operationId"] = operation_id(route);
    object["tags"] = json::array{json::string(route.tag)};
    object["summary"] = route.summary;
    if (!route.description.empty()) object["description"] = route.description;
    json::array parameters;
    for (const Parameter& parameter : route.parameters) {
        parameters.push_back({{"name", parameter.name},
                              {"in", parameter.in},
                              {"required", parameter.in == "path"},
                              {"description", parameter.description},
                              {"schema", {{"type", parameter.type}}}});
    }
    if (!parameters.empty()) object["parameters"] = std::move(parameters);
    if (!route.request_schema.empty()) {
        json::object body;
        body["required"] = true;
        body["content"] = content("application/json", reference(route.request_schema));
        if (!route.example.empty()) {
            json::error_code error;
            json::value example = json::parse(route.example, error);
            if (!error) {
                body["content"].get_object()["application/json"].get_object()["example"] =
                    std::move(example);
            }
        }
        object["requestBody"] = std::move(body);
    }
    json::object good;
    good["description"] = "Done.";
    good["content"] = content(route.response_type, route.response_schema.empty()
                                                       ? json::object{{"type", "string"}}
                                                       : reference(route.response_schema));
    if (route.pattern == "/v1/ask") {
        good["content"].get_object()["text/event-stream"] = json::object{
            {"schema",
             {{"type", "string"}, {"description", "Events passages, sentence, done, error."}}}};
    }
    json::object problem;
    problem["description"] = "A problem.";
    problem["content"] = content("application/problem+json", reference("Problem"));
    object["responses"] = json::object{{"200", std::move(good)}, {"default", std::move(problem)}};
    return object;
}

std::string text_of(std::string_view title) {
    std::string anchor;
    for (const char c : title)
        anchor.push_back(c == '/' || c == '{' || c == '}' || c == ' ' ? '-' : c);
    return anchor;
}

}  // namespace

std::string escape_html(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '"':
                out += "&quot;";
                break;
            case '\'':
                out += "&#39;";
                break;
            default:
                out.push_back(c);
        }
    }
    return out;
}

std::string openapi_json(const std::vector<Route>& routes, std::string_view version) {
    json::object paths;
    for (const Route& route : routes) {
        if (route.tag == "file") continue;
        json::value& path = paths[route.pattern];
        if (!path.is_object()) path = json::object();
        std::string method(route.method);
        std::ranges::transform(method, method.begin(),
                               [](char c) { return static_cast<char>(c + 32); });
        path.get_object()[method] = operation(route);
    }
    json::error_code error;
    json::object document;
    document["openapi"] = "3.1.0";
    document["info"] = {{"title", "Pipeline-X gateway"},
                        {"version", version},
                        {"summary", "Search, grounded answers, SQL and lineage over one release."}};
    document["paths"] = std::move(paths);
    document["components"] = {{"schemas", json::parse(schema_components(), error)}};
    return json::serialize(document);
}

std::string docs_html(const std::vector<Route>& routes, std::string_view version) {
    std::string out;
    const auto into = std::back_inserter(out);
    fmt::format_to(
        into,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n<title>API · Pipeline-X</title>\n"
        "<link rel=\"icon\" href=\"/icon.svg\" type=\"image/svg+xml\">\n"
        "<link rel=\"stylesheet\" href=\"/docs.css\">\n</head>\n<body>\n<main>\n"
        "<p class=\"home\"><a href=\"/\">← Pipeline-X</a></p>\n<h1>API</h1>\n"
        "<p>Version {}. Machine-readable: <a href=\"/openapi.json\">openapi.json</a>. Everything "
        "answers over "
        "one release; <code>as_of</code> picks an older one by id, day or moment.</p>\n<nav><ul>\n",
        escape_html(version));
    for (const Route& route : routes) {
        if (route.tag == "file") continue;
        fmt::format_to(into,
                       "<li><a href=\"#{}-{}\"><b>{}</b> <code>{}</code></a><span>{}</span></li>\n",
                       route.method, text_of(route.pattern), route.method,
                       escape_html(route.pattern), escape_html(route.summary));
    }
    out += "</ul></nav>\n";
    for (const Route& route : routes) {
        if (route.tag == "file") continue;
        fmt::format_to(into,
                       "<section id=\"{}-{}\">\n<h2><b>{}</b> <code>{}</code></h2>\n<p>{}</p>\n",
                       route.method, text_of(route.pattern), route.method,
                       escape_html(route.pattern), escape_html(route.summary));
        if (!route.description.empty())
            fmt::format_to(into, "<p>{}</p>\n", escape_html(route.description));
        if (!route.parameters.empty()) {
            out +=
                "<table><thead><tr><th>Parameter</th><th>In</th><th>Type</th><th>Meaning</th></"
                "tr></thead><tbody>\n";
            for (const Parameter& parameter : route.parameters) {
                fmt::format_to(
                    into, "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                    escape_html(parameter.name), parameter.in, parameter.type,
                    escape_html(parameter.description));
            }
            out += "</tbody></table>\n";
        }
        if (!route.example.empty()) {
            fmt::format_to(
                into, "<pre><code>curl -s http://127.0.0.1:8501{} -d &#39;{}&#39;</code></pre>\n",
                escape_html(route.pattern), escape_html(route.example));
        }
        out += "</section>\n";
    }
    out +=
        "<section id=\"errors\"><h2>Errors</h2>\n<p>Every error is "
        "<code>application/problem+json</code> with "
        "<code>code</code>, <code>detail</code> (what happened) and <code>hint</code> (what to "
        "do).</p>\n"
        "<table><thead><tr><th>Code</th><th>Status</th><th>Retry</th></tr></thead><tbody>\n";
    for (int i = 0; i <= static_cast<int>(ErrorCode::Internal); ++i) {
        const ErrorTraits& traits = error_traits(static_cast<ErrorCode>(i));
        std::string anchor = problem_title(traits.name);
        std::ranges::transform(anchor, anchor.begin(), [](char c) {
            return c == ' ' ? '-' : c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
        });
        fmt::format_to(into,
                       "<tr id=\"error-{}\"><td><code>{}</code></td><td>{}</td><td>{}</td></tr>\n",
                       anchor, traits.name, traits.http_status, traits.retryable ? "yes" : "no");
    }
    out += "</tbody></table></section>\n</main>\n</body>\n</html>\n";
    return out;
}

}  // namespace px::gateway
