// Backup: a pipeline with its whole history as a folder that needs nothing else: landing/, lake/,
// index/, catalog.db, pipeline.yaml, SHA256SUMS over all of them, and backup.json, which makes it
// whole. Rank 4. What is in it is brought and taken away by pipeline/migrate.h; this is the
// folder's form. Specification: docs/formats/backup.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/progress.h"
#include "base/result.h"
#include "store/object_store.h"

namespace px::pipeline {

inline constexpr std::string_view kBackupLanding = "landing";
inline constexpr std::string_view kBackupLake = "lake";
inline constexpr std::string_view kBackupIndex = "index";
inline constexpr std::string_view kBackupCatalog = "catalog.db";
inline constexpr std::string_view kBackupPipelineFile = "pipeline.yaml";

/// backup.json: what a backup is of.
struct BackupInfo {
    std::string px_version;  ///< of the px that made it
    std::string pipeline;    ///< its name
    std::string created_at;  ///< "2026-11-23T08:27:01.000000Z"
    int64_t release = 0;     ///< the newest in it
    std::string run;         ///< that published it
    int64_t releases = 0;    ///< in it
    int64_t files = 0, bytes = 0;
    std::string sums_sha256;  ///< of SHA256SUMS, 64 hexadecimal digits
};

enum class BackupState { Empty, Unfinished, Whole };

/// What stands at a folder; Empty also when it is not there. Errors: AlreadyExists when it holds
/// something that is no backup.
Result<BackupState> backup_state(const std::filesystem::path& folder);

/// Makes the folder, for its owner alone, and marks it as unfinished. Errors: as backup_state().
Result<void> begin_backup(const std::filesystem::path& folder);

/// Takes over files of an older backup that the store still has, equal by name and size, as further
/// names of the same bytes: no room is needed for them. part: "lake" … Returns how many; 0 on
/// another file system.
Result<int64_t> link_unchanged(const store::ObjectStore& from, const std::filesystem::path& older,
                               const std::filesystem::path& folder, std::string_view part,
                               const Deadline& deadline);

/// Sums all files up and makes the backup whole, durably, by one rename. files, bytes and
/// sums_sha256 of info are filled in. Cost: reads everything once, on thread_count threads.
Result<BackupInfo> finish_backup(const std::filesystem::path& folder, BackupInfo info,
                                 size_t thread_count, Progress& progress, const Deadline& deadline);

/// Errors: NotFound (no backup, or one that was not finished), Corrupt, Conflict (made by a newer
/// px).
Result<BackupInfo> read_backup(const std::filesystem::path& folder);

/// Every file is there with its sum, and none besides. Errors: Corrupt naming the first file.
Result<void> verify_backup(const std::filesystem::path& folder, const BackupInfo& info,
                           size_t thread_count, Progress& progress, const Deadline& deadline);

}  // namespace px::pipeline
