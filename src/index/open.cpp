#include "index/open.h"

#include <fmt/format.h>

#include <charconv>

namespace px::index {

namespace {

constexpr std::string_view kEmbedded = "embedded:";
constexpr std::string_view kQdrant = "qdrant:";

bool is_web_address(std::string_view text) {
    return text.starts_with("http://") || text.starts_with("https://");
}

Error bad(std::string message) {
    return fail(ErrorCode::InvalidArgument, std::move(message),
                "Write it as embedded:./index, http://HOST:6333/COLLECTION, or qdrant: with "
                "QDRANT_HOST set");
}

/// QDRANT_HOST may be a name, or a whole address as cloud services show it.
Result<std::string> server_of(const VariableLookup& lookup) {
    const std::string host = lookup("QDRANT_HOST").value_or("");
    const std::string given = lookup("QDRANT_PORT").value_or("");
    if (host.empty()) {
        return fail(ErrorCode::InvalidArgument,
                    "vectors.url is 'qdrant:', and QDRANT_HOST is not set",
                    "Set QDRANT_HOST, and QDRANT_API_KEY where it is asked for, in the environment "
                    "or .env, or write the whole address");
    }
    if (host.find_first_of("@?# ") != std::string::npos)
        return bad("QDRANT_HOST is neither a host nor http://HOST or https://HOST");
    const std::string port = given.empty() ? "6333" : given;
    int number = 0;
    const auto [end, code] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (code != std::errc() || end != port.data() + port.size() || number < 1 || number > 65535)
        return bad(fmt::format("QDRANT_PORT is '{}'", port.substr(0, 40)));
    if (!is_web_address(host)) {
        const bool is_ipv6 = host.find(':') != std::string::npos && !host.starts_with('[');
        return is_ipv6 ? fmt::format("http://[{}]:{}", host, port)
                       : fmt::format("http://{}:{}", host, port);
    }
    const size_t begin = host.find("//") + 2;
    const std::string name = host.substr(begin, host.find('/', begin) - begin);
    const bool has_port = name.rfind(':') != std::string::npos && !name.ends_with(']');
    return fmt::format("{}{}{}", host.substr(0, begin), name, has_port ? "" : ":" + port);
}

}  // namespace

Result<VectorsAddress> parse_vectors_address(std::string_view address, std::string_view pipeline,
                                             const VariableLookup& lookup) {
    VectorsAddress result;
    if (address.starts_with(kEmbedded)) {
        result.objects = address.substr(kEmbedded.size());
        result.shown = address;
        return result;
    }
    result.kind = VectorsAddress::Kind::Qdrant;
    result.collection = pipeline;
    if (is_web_address(address)) {
        if (address.find_first_of("@?#") != std::string_view::npos)
            return bad("vectors.url holds more than a host, a port and a collection");
        const size_t begin = address.find("//") + 2;
        const size_t slash = std::min(address.find('/', begin), address.size());
        result.url = address.substr(0, slash);
        if (slash + 1 < address.size()) result.collection = address.substr(slash + 1);
        if (slash == begin) return bad("vectors.url names no host");
    } else if (address.starts_with(kQdrant) && !address.starts_with("qdrant:/")) {
        result.url = PX_TRY(server_of(lookup));
        if (address.size() > kQdrant.size()) result.collection = address.substr(kQdrant.size());
    } else {
        return bad(fmt::format("unknown kind of vectors.url '{}:'",
                               address.substr(0, std::min(address.find(':'), size_t{20}))));
    }
    result.api_key = lookup("QDRANT_API_KEY").value_or("");
    result.shown = fmt::format("{}/{}", result.url, result.collection);
    QdrantOptions options;
    options.url = result.url;
    options.collection = result.collection;
    options.api_key = result.api_key;
    PX_TRY(options.validate().context("vectors.url"));
    return result;
}

Result<std::unique_ptr<VectorStore>> open_vector_store(const VectorsAddress& address,
                                                       store::ObjectStore* objects,
                                                       EmbeddedOptions embedded) {
    if (address.kind == VectorsAddress::Kind::Embedded)
        return open_embedded_store(*objects, std::move(embedded));
    QdrantOptions options;
    options.url = address.url;
    options.collection = address.collection;
    options.api_key = address.api_key;
    return open_qdrant_store(std::move(options));
}

}  // namespace px::index
