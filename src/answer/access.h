// Access: which rows and documents somebody may see. A policy says which tables have columns of
// role acl; a release's metadata and rows say which groups stand there; ReleaseReader::open narrows
// a view by both, and everything that reads the view is narrowed with it (docs/policies.md).
// Rank 4. Values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "catalog/catalog.h"

namespace px::answer {

struct ReleaseView;

/// Who asks. Made by everything() or of() alone where it matters; without a word it is somebody of
/// no group, who sees the least.
struct Access {
    bool unrestricted = false;
    std::vector<std::string> groups;  ///< sorted, each once

    static Access everything();
    /// Of a member of these groups, who may be in none. Blanks around a name are taken away; a name
    /// that is empty or holds a comma is in no acl, and goes.
    static Access of(std::vector<std::string> groups);

    bool may_read(const std::vector<std::string>& acl) const;
    /// Equal for equal rights, and for no others: for the keys of caches.
    std::string key() const;
};

/// What a pipeline file says today of who may read its tables. Holds for every release: a release
/// that lacks what it needs to decide is denied.
struct AccessPolicy {
    struct Table {
        std::string name;
        /// A row is read by whom every one of these columns admits; none: by everybody.
        std::vector<std::string> acl_columns;
        bool is_model = false;  ///< its rows were made by SQL
    };
    /// Of the SQL of all models (pipeline::models_fingerprint). Those of a release that were made
    /// by another are denied: what they hold the pipeline file does not say any more.
    std::string models_fingerprint;
    /// Of sources and models. What is not listed is read without restriction alone: quarantine,
    /// chunks, embeddings, models over those, tables of older pipeline files.
    std::vector<Table> tables;

    /// Whether it restricts anybody: without an acl column everybody reads everything that is
    /// listed.
    bool restricts() const;
    /// Whether a release has tables of sources or models that are not listed.
    bool lacks_tables_of(const catalog::Release& release) const;
    const Table* table(std::string_view name) const;
};

/// What a narrowed view knows of its documents.
struct Admitted {
    std::vector<std::string> documents;                    ///< ids, ascending
    std::vector<std::pair<std::string, int64_t>> authors;  ///< by their number of documents
    bool contains(std::string_view document_id) const;
};

/// The row of a document; nullopt: the release has none, or none the view's reader may see.
Result<std::optional<catalog::DocumentRow>> find_document(const ReleaseView& view,
                                                          catalog::Catalog& catalog,
                                                          const std::string& document_id);

struct DocumentList {
    std::vector<catalog::DocumentRow> rows;  ///< by document_id
    int64_t total = 0;
};
/// Documents of a view from offset on, at most limit.
Result<DocumentList> list_documents(const ReleaseView& view, catalog::Catalog& catalog,
                                    int64_t limit, int64_t offset);
/// Authors of a view with their number of documents, most first.
Result<std::vector<std::pair<std::string, int64_t>>> list_authors(const ReleaseView& view,
                                                                  catalog::Catalog& catalog);

/// What tells of rows no acl covers, such as quarantine and runs. Errors: Forbidden.
Error forbidden_to_restricted(std::string_view what);

}  // namespace px::answer
