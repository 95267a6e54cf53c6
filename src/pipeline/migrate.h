// Migrate: a pipeline with its whole history from one set of stores to another: landed files, lake,
// index, catalog. Rank 4. Nothing is visible at the target before the last step, one transaction of
// its catalog; what was copied before a kill is found again.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/progress.h"
#include "catalog/catalog.h"
#include "index/vector_store.h"
#include "pipeline/step.h"
#include "store/object_store.h"

namespace px::pipeline {

/// The stores of one side. All references outlive the call.
struct MigrationSide {
    store::ObjectStore& landing;
    store::ObjectStore& lake;
    store::ObjectStore* index;  ///< files of the embedded index; null: a server keeps it
    index::VectorStore& vectors;
    /// Where they are, equal texts for equal places (store::place_of).
    std::string landing_place, lake_place, index_place, catalog_place;
    std::string catalog_shown;          ///< its address without secrets
    std::filesystem::path work_folder;  ///< .px beside the pipeline file
    /// Read-only fails with NotFound where there is no catalog.
    std::function<Result<std::unique_ptr<catalog::Catalog>>(catalog::OpenMode)> open_catalog;
    std::function<Result<std::unique_ptr<catalog::PipelineLock>>()> lock_catalog;
};

struct MigrationOptions {
    size_t small_in_flight = 16;  ///< objects of at most small_bytes_max copied at once
    size_t large_in_flight = 2;   ///< larger ones, through a scratch file each
    size_t points_max = 50'000;   ///< read or written at once where an index is made anew
    int64_t small_bytes_max = int64_t{4} << 20;  ///< memory: this times small_in_flight
    Result<void> validate() const;
};

struct MigratedStore {
    std::string name;  ///< "landing", "lake", "index"
    int64_t objects = 0, bytes = 0;
    int64_t copied = 0, copied_bytes = 0;  ///< the others were there already
    bool is_shared = false;                ///< both sides name the same place: nothing to do
    bool is_rebuilt = false;  ///< objects are passages: the index was made anew, release by release
};

struct MigrationReport {
    std::vector<MigratedStore> stores;
    std::map<std::string, int64_t> catalog_rows;  ///< table → rows
    bool catalog_was_there = false;               ///< an earlier call had brought it
    int64_t releases = 0;
    int64_t latest_release = 0;
    int64_t table_versions = 0;  ///< read at the target, each with all its files
    int64_t unreadable = 0;      ///< of releases whose files `px vacuum` had removed at the source
    int64_t documents = 0, chunks = 0;  ///< of the latest release, counted at the target
    double elapsed_s = 0;
};

/// An object of this name in a lake tells that a migration into it has not finished.
inline constexpr std::string_view kMigrationMark = "_px_migration";
/// Errors: Unavailable when the lake is the target of a migration that has not finished.
Result<void> check_not_migrating(const store::ObjectStore& lake);

/// Copies everything source keeps to target and verifies it there. Objects the target has already,
/// equal by size and MD5, are not sent again. Takes the pipeline locks of both sides. Bounded in
/// memory (see MigrationOptions) and scratch space (large_in_flight objects). Errors: NotFound (the
/// source has not run), Conflict (an unfinished run; both sides are the same), AlreadyExists (the
/// target holds something else), Unavailable (a lock is held), Corrupt (verification), Cancelled.
Result<MigrationReport> migrate(const MigrationSide& source, const MigrationSide& target,
                                const Clock& clock, Progress& progress, const StepObserver& step,
                                const Deadline& deadline, const MigrationOptions& options = {});

}  // namespace px::pipeline
