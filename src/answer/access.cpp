#include "answer/access.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "answer/answer.h"

namespace px::answer {

namespace {

constexpr std::string_view kEverybody = "*";
constexpr std::string_view kBlanks = " \t\r\n";
/// Tables of px's own, in every release.
constexpr std::string_view kOwnTables[] = {"quarantine", "chunks", "embeddings"};

}  // namespace

Access Access::everything() { return {.unrestricted = true, .groups = {}}; }

Access Access::of(std::vector<std::string> groups) {
    Access access;
    for (std::string& group : groups) {
        const size_t first = group.find_first_not_of(kBlanks);
        if (first == std::string::npos || group.find(',') != std::string::npos) continue;
        access.groups.push_back(group.substr(first, group.find_last_not_of(kBlanks) - first + 1));
    }
    std::sort(access.groups.begin(), access.groups.end());
    access.groups.erase(std::unique(access.groups.begin(), access.groups.end()),
                        access.groups.end());
    return access;
}

bool Access::may_read(const std::vector<std::string>& acl) const {
    return unrestricted || std::any_of(acl.begin(), acl.end(), [&](const std::string& group) {
               return group == kEverybody ||
                      std::binary_search(groups.begin(), groups.end(), group);
           });
}

std::string Access::key() const {
    if (unrestricted) return "all";
    std::string key = "of";
    for (const std::string& group : groups) key += fmt::format(" {}:{}", group.size(), group);
    return key;
}

bool AccessPolicy::restricts() const {
    return std::any_of(tables.begin(), tables.end(),
                       [](const Table& table) { return !table.acl_columns.empty(); });
}

bool AccessPolicy::lacks_tables_of(const catalog::Release& release) const {
    return std::any_of(release.table_versions.begin(), release.table_versions.end(),
                       [&](const auto& version) {
                           const std::string& name = version.first;
                           return std::find(std::begin(kOwnTables), std::end(kOwnTables), name) ==
                                      std::end(kOwnTables) &&
                                  table(name) == nullptr;
                       });
}

const AccessPolicy::Table* AccessPolicy::table(std::string_view name) const {
    const auto found = std::find_if(tables.begin(), tables.end(),
                                    [&](const Table& table) { return table.name == name; });
    return found == tables.end() ? nullptr : &*found;
}

bool Admitted::contains(std::string_view document_id) const {
    return std::binary_search(documents.begin(), documents.end(), document_id);
}

Result<std::optional<catalog::DocumentRow>> find_document(const ReleaseView& view,
                                                          catalog::Catalog& catalog,
                                                          const std::string& document_id) {
    if (view.admitted && !view.admitted->contains(document_id))
        return std::optional<catalog::DocumentRow>();
    return catalog.document(view.release.id, document_id);
}

Result<DocumentList> list_documents(const ReleaseView& view, catalog::Catalog& catalog,
                                    int64_t limit, int64_t offset) {
    DocumentList list;
    if (!view.admitted) {
        list.rows = PX_TRY(catalog.documents(view.release.id, limit, offset));
        list.total = view.release.documents;
        return list;
    }
    const auto& ids = view.admitted->documents;
    list.total = static_cast<int64_t>(ids.size());
    for (int64_t i = offset; i < std::min(list.total, offset + limit); ++i) {
        auto row = PX_TRY(catalog.document(view.release.id, ids[static_cast<size_t>(i)]));
        if (row) list.rows.push_back(std::move(*row));
    }
    return list;
}

Result<std::vector<std::pair<std::string, int64_t>>> list_authors(const ReleaseView& view,
                                                                  catalog::Catalog& catalog) {
    if (view.admitted) return view.admitted->authors;
    return catalog.distinct_authors(view.release.id);
}

Error forbidden_to_restricted(std::string_view what) {
    return fail(ErrorCode::Forbidden,
                fmt::format("{} may be read without restriction alone, and you read as a member of "
                            "groups",
                            what),
                "Ask whoever operates the pipeline");
}

}  // namespace px::answer
