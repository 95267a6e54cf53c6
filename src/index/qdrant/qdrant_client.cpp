#include "index/qdrant/qdrant_client.h"

#include <fmt/format.h>

#include <charconv>

#include "capi/curl/digest.h"

namespace px::index::qdrant {

namespace {

using capi::curl::HttpFailure;
using capi::curl::HttpRequest;
using capi::curl::HttpResponse;
using capi::curl::RetriedResponse;

// The first server with /points/query.
constexpr int kMajorMin = 1;
constexpr int kMinorMin = 10;

}  // namespace

QdrantClient::QdrantClient(QdrantOptions options)
    : options_(std::move(options)),
      client_(options_.http),
      root_(fmt::format("{}/collections/{}", options_.url,
                        capi::curl::percent_encode(options_.collection))) {}

std::string QdrantClient::describe() const {
    return fmt::format("collection '{}' at {}", options_.collection,
                       capi::curl::url_origin(options_.url));
}

Result<RetriedResponse> QdrantClient::send(std::string_view method, const std::string& url,
                                           std::string_view body, const Deadline& deadline) {
    return capi::curl::send_with_retries(
        client_, options_.retry, deadline, [&](int) -> Result<HttpRequest> {
            HttpRequest request;
            request.method = method;
            request.url = url;
            request.body = body;
            if (!body.empty()) request.headers.emplace_back("content-type", "application/json");
            if (!options_.api_key.empty())
                request.headers.emplace_back("api-key", options_.api_key);
            return request;
        });
}

Error QdrantClient::failed(const RetriedResponse& reply, std::string_view what) const {
    const HttpResponse& response = reply.last;
    const std::string server = "Qdrant at " + capi::curl::url_origin(options_.url);
    const std::string where =
        fmt::format("cannot {} in {}{}", what, describe(),
                    reply.attempts > 1 ? fmt::format(", {} attempts", reply.attempts) : "");
    if (response.failure) {
        Error error = response.error;
        if (response.failure == HttpFailure::Refused ||
            response.failure == HttpFailure::UnknownHost) {
            error.hint = "Check vectors.url (or QDRANT_HOST and QDRANT_PORT), and that Qdrant runs";
        }
        return std::move(error).with(where);
    }
    const std::string said = parse_error(response.body);
    const std::string shown =
        fmt::format("{}{}{}", response.status, said.empty() ? "" : ": ", said);
    if (response.status == 403 && said.find("Help:") != std::string::npos) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("{} limits what may be asked ({})", server, shown),
                    "Switch off the strict mode of the collection: px reads whole lists of points")
            .with(where);
    }
    if (response.status == 401 || response.status == 403) {
        return fail(ErrorCode::Unauthenticated,
                    fmt::format("{} refuses {} ({})", server,
                                options_.api_key.empty() ? "requests without a key" : "the api-key",
                                response.status),
                    response.status == 403 ? "Use a key that may write to the collection"
                                           : "Check QDRANT_API_KEY")
            .with(where);
    }
    if (response.status == 404) {
        return fail(ErrorCode::NotFound,
                    said.empty() ? fmt::format("{} does not know the way: 404", server)
                                 : fmt::format("there is no {}", describe()),
                    "Check vectors.url; if the collection was deleted, restore it from a snapshot, "
                    "or name an empty one and rebuild the index from the lake")
            .with(where);
    }
    if (response.status == 409) {
        return fail(ErrorCode::AlreadyExists, fmt::format("{} says {}", server, shown)).with(where);
    }
    if (response.status == 413) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("{} finds a request too large ({})", server, shown),
                    "Raise service.max_request_size_mb of the server")
            .with(where);
    }
    if (response.status == 429) {
        return fail(ErrorCode::RateLimited,
                    fmt::format("{} asks for fewer requests ({})", server, shown),
                    "Try again later")
            .with(where);
    }
    if (response.status == 507 || said.find("No space left") != std::string::npos) {
        return fail(ErrorCode::ResourceExhausted,
                    fmt::format("{} has no space left ({})", server, shown),
                    "Free space on the server's disk")
            .with(where);
    }
    if (response.status >= 500) {
        return fail(ErrorCode::Unavailable, fmt::format("{} fails ({})", server, shown),
                    "See the server's log, and try again")
            .with(where);
    }
    return fail(ErrorCode::InvalidArgument,
                fmt::format("{} refuses the request ({})", server, shown),
                "Check that the collection is one of px, and the server's version")
        .with(where);
}

Result<json::value> QdrantClient::call(std::string_view method, std::string_view path,
                                       std::string_view body, std::string_view what,
                                       const Deadline& deadline) {
    const RetriedResponse reply =
        PX_TRY(send(method, fmt::format("{}{}", root_, path), body, deadline));
    // Of a deadline that passed meanwhile the caller hears as such.
    if (reply.last.failure) PX_TRY(deadline.check());
    if (!reply.last.ok()) return failed(reply, what);
    return parse_result(reply.last.body).context(fmt::format("cannot {} in {}", what, describe()));
}

Result<void> QdrantClient::check_server(const Deadline& deadline) {
    if (checked_) return {};
    const RetriedResponse reply = PX_TRY(send("GET", options_.url + "/", {}, deadline));
    if (reply.last.failure) PX_TRY(deadline.check());
    if (!reply.last.ok()) return failed(reply, "reach the server");
    json::error_code error;
    const json::value value = json::parse(reply.last.body, error);
    const json::object* object = error ? nullptr : value.if_object();
    const json::value* version = object == nullptr ? nullptr : object->if_contains("version");
    const std::string origin = capi::curl::url_origin(options_.url);
    if (version == nullptr || !version->is_string()) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("what answers at {} is no Qdrant server", origin),
                    "Check vectors.url (or QDRANT_HOST and QDRANT_PORT): the REST port is 6333");
    }
    const std::string_view text(version->get_string().data(), version->get_string().size());
    int major = 0;
    int minor = 0;
    const char* end = text.data() + text.size();
    const auto first = std::from_chars(text.data(), end, major);
    if (first.ptr != end) std::from_chars(first.ptr + 1, end, minor);
    if (major < kMajorMin || (major == kMajorMin && minor < kMinorMin)) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("Qdrant at {} has version {}, px needs {}.{} or newer", origin,
                                parse_error(text), kMajorMin, kMinorMin),
                    "Upgrade the server");
    }
    checked_ = true;
    return {};
}

}  // namespace px::index::qdrant
