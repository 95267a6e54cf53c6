#include "store/azure/blob_xml.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <pugixml.hpp>

#include "capi/curl/digest.h"
#include "capi/curl/retry.h"

namespace px::store {
namespace {

/// %XX decoded, as the service encodes names that XML can't hold; nullopt when it is broken.
std::optional<std::string> percent_decoded(std::string_view text) {
    std::string result;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            result.push_back(text[i]);
            continue;
        }
        unsigned value = 0;
        if (i + 2 >= text.size()) return std::nullopt;
        const auto [end, error] =
            std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16);
        if (error != std::errc() || end != text.data() + i + 3) return std::nullopt;
        result.push_back(static_cast<char>(value));
        i += 2;
    }
    return result;
}

Error corrupt(std::string_view what) {
    return fail(ErrorCode::Corrupt, fmt::format("the listing of the blob service {}", what),
                "Check that the endpoint is a blob service");
}

}  // namespace

Result<ListPage> parse_list_page(std::string_view xml) {
    if (xml.size() > kListPageBytesMax) return corrupt("is too large");
    pugi::xml_document document;
    // Whitespace counts: a blob may be called " ".
    const pugi::xml_parse_result parsed = document.load_buffer(
        xml.data(), xml.size(), pugi::parse_default | pugi::parse_ws_pcdata_single,
        pugi::encoding_utf8);
    if (!parsed) return corrupt(fmt::format("is no XML: {}", parsed.description()));
    const pugi::xml_node root = document.child("EnumerationResults");
    if (!root) return corrupt("has no EnumerationResults");
    ListPage page;
    page.next_marker = root.child("NextMarker").text().get();
    for (const pugi::xml_node blob : root.child("Blobs").children("Blob")) {
        ListedBlob listed;
        const pugi::xml_node name = blob.child("Name");
        listed.name = name.text().get();
        if (name.attribute("Encoded").as_bool()) {
            auto decoded = percent_decoded(listed.name);
            if (!decoded) return corrupt("has a name that is wrongly encoded");
            listed.name = std::move(*decoded);
        }
        if (listed.name.empty()) return corrupt("has an entry without a name");
        const pugi::xml_node properties = blob.child("Properties");
        const std::string_view size = properties.child("Content-Length").text().get();
        listed.is_folder =
            std::string_view(properties.child("ResourceType").text().get()) == "directory" ||
            std::string_view(blob.child("Metadata").child("hdi_isfolder").text().get()) == "true";
        const auto [end, error] =
            std::from_chars(size.data(), size.data() + size.size(), listed.size_bytes);
        const bool readable = error == std::errc() && end == size.data() + size.size();
        if (!listed.is_folder && (!readable || listed.size_bytes < 0))
            return corrupt("has an entry without a readable size");
        const auto modified =
            capi::curl::parse_http_date(properties.child("Last-Modified").text().get());
        listed.modified_at = modified.value_or(0) * 1'000'000;
        listed.content_md5 =
            capi::curl::base64_decode(properties.child("Content-MD5").text().get()).value_or("");
        if (listed.content_md5.size() != 16) listed.content_md5.clear();
        page.blobs.push_back(std::move(listed));
    }
    return page;
}

std::string parse_error_code(std::string_view xml) {
    if (xml.size() > kErrorBytesMax) return {};
    pugi::xml_document document;
    if (!document.load_buffer(xml.data(), xml.size(), pugi::parse_default, pugi::encoding_utf8))
        return {};
    return plain_error_code(document.child("Error").child("Code").text().get());
}

std::string plain_error_code(std::string_view text) {
    const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    });
    return plain && text.size() <= 64 ? std::string(text) : std::string();
}

}  // namespace px::store
