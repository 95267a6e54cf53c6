// Drives the embedded index by JSON Lines: one command a line of stdin, one reply a line of stdout.
// For comparing with peers.
//   tool_index_search FOLDER
//   {"op":"apply","removed":[id…],"added":[{id,document_id,source,title,author,category,created_at,text,start,end,vector}…]}
//   → {"manifest","points","segments"}
//   {"op":"dense","vector":[…],"k":10,"filter":{…}} {"op":"lexical","text":"…","k":10,"filter":{…}}
//   → {"hits":[[id,score]…]}
//   {"op":"terms","text":"…"} → {"terms":[…]}
#include <fmt/format.h>

#include <boost/json.hpp>
#include <filesystem>
#include <iostream>

#include "index/analysis.h"
#include "index/embedded/embedded_store.h"
#include "store/local/local_object_store.h"

namespace {

using namespace px;
namespace json = boost::json;

std::string text_of(const json::object& object, const char* name) {
    const json::value* value = object.if_contains(name);
    return value != nullptr && value->is_string()
               ? std::string(value->get_string().data(), value->get_string().size())
               : std::string();
}
std::optional<int64_t> number_of(const json::object& object, const char* name) {
    const json::value* value = object.if_contains(name);
    if (value == nullptr || !value->is_int64()) return std::nullopt;
    return value->get_int64();
}
std::vector<std::string> texts_of(const json::object& object, const char* name) {
    std::vector<std::string> texts;
    const json::value* value = object.if_contains(name);
    if (value == nullptr || !value->is_array()) return texts;
    for (const json::value& item : value->get_array())
        texts.emplace_back(item.as_string().data(), item.as_string().size());
    return texts;
}
std::vector<float> vector_of(const json::object& object) {
    std::vector<float> vector;
    for (const json::value& item : object.at("vector").as_array())
        vector.push_back(item.to_number<float>());
    return vector;
}

Result<void> serve(const std::filesystem::path& folder) {
    store::LocalObjectStore objects(folder, "index");
    PX_TRY(objects.ensure_container());
    const auto store = PX_TRY(index::open_embedded_store(objects));
    std::optional<index::ManifestId> manifest;
    std::shared_ptr<const index::CollectionView> view;
    for (std::string line; std::getline(std::cin, line);) {
        const json::object command = json::parse(line).as_object();
        const std::string op = text_of(command, "op");
        json::object reply;
        if (op == "apply") {
            std::vector<chunk::ChunkId> removed;
            for (std::string& id : texts_of(command, "removed")) removed.push_back({std::move(id)});
            std::vector<index::Point> added;
            for (const json::value& item : command.at("added").as_array()) {
                const json::object& given = item.as_object();
                index::Point point;
                point.id.value = text_of(given, "id");
                point.document_id = text_of(given, "document_id");
                point.source = text_of(given, "source");
                point.title = text_of(given, "title");
                point.author = text_of(given, "author");
                point.category = text_of(given, "category");
                point.created_at = number_of(given, "created_at");
                point.text = text_of(given, "text");
                point.span = {number_of(given, "start").value_or(0),
                              number_of(given, "end").value_or(0)};
                point.vector = vector_of(given);
                added.push_back(std::move(point));
            }
            manifest = PX_TRY(
                store->apply(manifest, std::move(removed), std::move(added), Deadline::never()));
            view = PX_TRY(store->open(*manifest));
            reply["manifest"] = manifest->value;
            reply["points"] = view->point_count();
        } else if (op == "terms") {
            json::array terms;
            for (const std::string& term : index::Analyzer().terms(text_of(command, "text")))
                terms.emplace_back(term);
            reply["terms"] = std::move(terms);
        } else if (view && (op == "dense" || op == "lexical")) {
            index::Filter filter;
            if (const json::value* given = command.if_contains("filter")) {
                const json::object& fields = given->as_object();
                filter.authors = texts_of(fields, "authors");
                filter.categories = texts_of(fields, "categories");
                filter.sources = texts_of(fields, "sources");
                filter.from = number_of(fields, "from");
                filter.to = number_of(fields, "to");
            }
            const auto k = static_cast<size_t>(number_of(command, "k").value_or(10));
            const auto found =
                op == "dense"
                    ? PX_TRY(view->search_dense(vector_of(command), k, filter, Deadline::never()))
                    : PX_TRY(view->search_lexical(text_of(command, "text"), k, filter,
                                                  Deadline::never()));
            json::array hits;
            for (const index::ScoredPoint& hit : found)
                hits.push_back(json::array{PX_TRY(view->point(hit.point)).id.value, hit.score});
            reply["hits"] = std::move(hits);
        } else {
            return fail(ErrorCode::InvalidArgument, "unknown op " + op);
        }
        std::cout << json::serialize(reply) << std::endl;
    }
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        fmt::print(stderr, "usage: tool_index_search FOLDER < commands\n");
        return 2;
    }
    try {
        const auto served = serve(argv[1]);
        if (served) return 0;
        fmt::print(stderr, "{}\n", served.error().to_string());
    } catch (const std::exception& problem) {  // of a malformed command
        fmt::print(stderr, "{}\n", problem.what());
    }
    return 1;
}
