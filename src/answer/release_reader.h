// ReleaseReader: opens releases for reading: the points, the tables, the metadata of one snapshot.
// Rank 4. Thread-safe. Keeps the newest and a bounded number of older views open; SQL sessions are
// made per query.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "answer/answer.h"
#include "lake/delta_table.h"
#include "store/object_store.h"

namespace px::answer {

/// Which release: the newest, one by id, or the newest at a time.
struct AsOf {
    std::optional<int64_t> release;
    std::optional<TimestampMicros> time;
};
/// "" newest; "12" a release id; "2026-11-23" (end of that day, UTC) or "2026-11-23T08:00:00Z" a
/// time. Errors: InvalidArgument.
Result<AsOf> parse_as_of(std::string_view text);

/// Why a published release is not served ("ndcg_at_10 is …"); nullopt: it may be. It failed
/// serve.promote_if of its pipeline file when it was published, which its run's checks say.
Result<std::optional<std::string>> why_not_served(catalog::Catalog& catalog,
                                                  const catalog::Release& release);

struct TableInfo {
    std::string name;
    int64_t version = 0;
    columnar::Schema schema;
    std::vector<std::string> partition_columns;
    int64_t file_count = 0, size_bytes = 0;
    std::optional<int64_t> row_count;
    /// Some of the rows are not the reader's: the counts above are unknown.
    bool narrowed = false;
};

struct ReleaseReaderOptions {
    size_t open_views = 4;  ///< releases kept open at once
    /// Where a release's metadata and the rows of restricted readers are written for SQL that names
    /// them; made for its owner alone, and what killed processes left there is removed. Empty: the
    /// system's folder for temporary files.
    std::filesystem::path scratch_directory;
    /// SQL sessions at once, each with an engine of its own; further queries wait, no longer than
    /// they may run.
    size_t sql_sessions = 4;
    /// Who may read what. Without any table in it: everybody everything.
    AccessPolicy policy{};
    /// Views narrowed to somebody that are kept; each holds the rows of tables he may read as files
    /// of their own once SQL named them.
    size_t narrowed_views = 16;
};

class ReleaseReader {
  public:
    /// All references outlive the reader.
    ReleaseReader(catalog::Catalog& catalog, index::VectorStore& vectors, store::ObjectStore& lake,
                  engine::Engine& engine, const Clock& clock, ReleaseReaderOptions options = {});
    ~ReleaseReader();

    /// Without an id: the newest (or the newest at the time) that may be served. Errors: NotFound
    /// ("no release yet: run `px run` first", unknown id, before the first release, none that may
    /// be served).
    /// The view holds what access may read and nothing else: to whoever reads it, the rest does not
    /// exist. The first look of somebody costs a walk over the release's documents.
    Result<std::shared_ptr<const ReleaseView>> open(const AsOf& as_of, const Access& access);
    /// Whether something may be hidden from somebody.
    bool restricts(const Access& access) const;
    /// One read-only SELECT of a user over the release's tables (quarantine and documents included
    /// as `documents`, `analytics_metadata`). Errors: as Session::query_untrusted; RateLimited (no
    /// session came free in time). Sessions are kept and used again by queries of the same view.
    Result<engine::QueryResult> sql(const ReleaseView& view, const std::string& sql,
                                    const engine::QueryLimits& limits, const Deadline& deadline);
    /// Trusted SQL of ours over the same tables, with parameters.
    Result<engine::QueryResult> query(const ReleaseView& view, const std::string& sql,
                                      const std::vector<std::string>& parameters,
                                      const engine::QueryLimits& limits, const Deadline& deadline);
    Result<std::vector<TableInfo>> tables(const ReleaseView& view);

  private:
    Result<std::shared_ptr<const ReleaseView>> open_whole(const AsOf& as_of);
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace px::answer
