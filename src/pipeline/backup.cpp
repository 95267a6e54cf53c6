#include "pipeline/backup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/json.hpp>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "base/parallel.h"
#include "base/sha256.h"
#include "store/local/local_object_store.h"

namespace px::pipeline {

namespace {

namespace json = boost::json;
using store::LocalObjectStore;
using store::ObjectMeta;

constexpr int64_t kFormat = 1;
constexpr std::string_view kInfo = "backup.json";
constexpr std::string_view kSums = "SHA256SUMS";
constexpr std::string_view kUnfinished = "UNFINISHED";
constexpr std::string_view kUnfinishedText =
    "This backup is not whole: `px backup` was stopped, or is working. Repeat it.\n";
constexpr size_t kHexDigits = 64;
constexpr size_t kPieceBytes = 1 << 20;

LocalObjectStore store_of(const std::filesystem::path& folder) { return {folder, folder.string()}; }

bool is_kept(const std::string& key) {
    if (key == kBackupCatalog || key == kBackupPipelineFile) return true;
    return std::ranges::any_of(
        std::array{kBackupLanding, kBackupLake, kBackupIndex}, [&](std::string_view part) {
            return key.size() > part.size() + 1 && key.starts_with(part) && key[part.size()] == '/';
        });
}

/// What a backup keeps, by name.
Result<std::vector<ObjectMeta>> kept_files(const std::filesystem::path& folder) {
    std::vector<ObjectMeta> files = PX_TRY(store_of(folder).list(""));
    std::erase_if(files, [](const ObjectMeta& file) { return !is_kept(file.key); });
    return files;
}

Result<std::string> sum_of(const std::filesystem::path& path, const Deadline& deadline) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0) return fail_errno(errno, "cannot open " + path.string());
    Sha256 sum;
    std::string piece(kPieceBytes, '\0');
    Result<void> done;
    while (true) {
        if (done = deadline.check(); !done) break;
        const ssize_t got = ::read(file, piece.data(), piece.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) done = fail_errno(errno, "cannot read " + path.string());
        if (got <= 0) break;
        sum.update(std::string_view(piece).substr(0, static_cast<size_t>(got)));
    }
    ::close(file);
    PX_TRY(std::move(done));
    return to_hex(sum.finish());
}

/// The sum of each file, in order.
Result<std::vector<std::string>> sums_of(const std::filesystem::path& folder,
                                         const std::vector<ObjectMeta>& files, size_t thread_count,
                                         Progress& progress, const Deadline& deadline) {
    int64_t total = 0;
    for (const ObjectMeta& file : files) total += file.size_bytes;
    std::vector<std::string> sums(files.size());
    std::atomic<int64_t> done{0};
    PX_TRY(parallel_for(files.size(), std::max<size_t>(1, thread_count), deadline,
                        [&](size_t i) -> Result<void> {
                            sums[i] = PX_TRY(sum_of(folder / files[i].key, deadline));
                            progress.update("sums", done += files[i].size_bytes, total, "bytes");
                            return {};
                        }));
    progress.finish("sums");
    return sums;
}

/// All that was written to the folder's file system is on the disk.
Result<void> sync(const std::filesystem::path& folder) {
    const int opened = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0) return fail_errno(errno, "cannot open " + folder.string());
    const int failed = ::syncfs(opened) == 0 ? 0 : errno;
    ::close(opened);
    if (failed != 0) return fail_errno(failed, "cannot force " + folder.string() + " to the disk");
    return {};
}

Error damaged(const std::filesystem::path& folder, const std::string& what) {
    return fail(ErrorCode::Corrupt,
                fmt::format("the backup {} is damaged: {}", folder.string(), what),
                "Use another backup");
}

}  // namespace

Result<BackupState> backup_state(const std::filesystem::path& folder) {
    std::error_code code;
    const std::filesystem::file_status status = std::filesystem::status(folder, code);
    if (status.type() == std::filesystem::file_type::not_found) return BackupState::Empty;
    if (status.type() != std::filesystem::file_type::directory) {
        return fail(ErrorCode::AlreadyExists, fmt::format("{} is no folder", folder.string()),
                    "Name a folder that is empty or not there yet");
    }
    // The mark goes last, so it is asked for last.
    if (std::filesystem::exists(folder / kInfo, code)) return BackupState::Whole;
    if (std::filesystem::exists(folder / kUnfinished, code)) return BackupState::Unfinished;
    const bool is_empty = std::filesystem::is_empty(folder, code);
    if (code) return fail_errno(code.value(), "cannot look into " + folder.string());
    if (is_empty) return BackupState::Empty;
    return fail(ErrorCode::AlreadyExists,
                fmt::format("{} holds files that are no backup", folder.string()),
                "Name a folder that is empty or not there yet");
}

Result<void> begin_backup(const std::filesystem::path& folder) {
    PX_TRY(backup_state(folder));
    std::error_code code;
    std::filesystem::create_directories(folder.parent_path(), code);
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
        return fail_errno(errno, "cannot create " + folder.string());
    return store_of(folder).put(kUnfinished, kUnfinishedText);
}

Result<int64_t> link_unchanged(const store::ObjectStore& from, const std::filesystem::path& older,
                               const std::filesystem::path& folder, std::string_view part,
                               const Deadline& deadline) {
    int64_t linked = 0;
    for (const ObjectMeta& object : PX_TRY(from.list(""))) {
        PX_TRY(deadline.check());
        const std::filesystem::path file = older / part / object.key;
        const std::filesystem::path target = folder / part / object.key;
        struct stat status {};
        if (::lstat(file.c_str(), &status) != 0 || !S_ISREG(status.st_mode) ||
            status.st_size != object.size_bytes)
            continue;
        std::error_code code;
        std::filesystem::create_directories(target.parent_path(), code);
        if (::link(file.c_str(), target.c_str()) == 0) {
            ++linked;
        } else if (errno == EXDEV || errno == EPERM || errno == EMLINK) {
            return linked;  // they are copied instead
        } else if (errno != EEXIST) {
            return fail_errno(errno, "cannot link " + target.string());
        }
    }
    return linked;
}

Result<BackupInfo> finish_backup(const std::filesystem::path& folder, BackupInfo info,
                                 size_t thread_count, Progress& progress,
                                 const Deadline& deadline) {
    LocalObjectStore store = store_of(folder);
    PX_TRY(store.sweep_temporary());  // of a backup that was killed
    const std::vector<ObjectMeta> files = PX_TRY(kept_files(folder));
    const std::vector<std::string> sums =
        PX_TRY(sums_of(folder, files, thread_count, progress, deadline));
    std::string text;
    info.files = static_cast<int64_t>(files.size());
    info.bytes = 0;
    for (size_t i = 0; i < files.size(); ++i) {
        text += fmt::format("{}  {}\n", sums[i], files[i].key);
        info.bytes += files[i].size_bytes;
    }
    info.sums_sha256 = sha256_hex(text);
    PX_TRY(store.put(kSums, text));
    PX_TRY(sync(folder));
    PX_TRY(store.put(kInfo, json::serialize(json::object{{"format", kFormat},
                                                         {"px", info.px_version},
                                                         {"pipeline", info.pipeline},
                                                         {"created_at", info.created_at},
                                                         {"release", info.release},
                                                         {"run", info.run},
                                                         {"releases", info.releases},
                                                         {"files", info.files},
                                                         {"bytes", info.bytes},
                                                         {"sums_sha256", info.sums_sha256}}) +
                                "\n"));
    PX_TRY(store.remove(kUnfinished));
    return info;
}

Result<BackupInfo> read_backup(const std::filesystem::path& folder) {
    const Result<BackupState> state = backup_state(folder);
    if (!state || *state != BackupState::Whole) {
        if (state && *state == BackupState::Unfinished) {
            return fail(ErrorCode::NotFound,
                        fmt::format("the backup {} was not finished", folder.string()),
                        "Repeat the `px backup` that began it, or use another backup");
        }
        return fail(ErrorCode::NotFound, fmt::format("there is no backup at {}", folder.string()),
                    "Name a folder that `px backup` made");
    }
    const std::string text = PX_TRY(store_of(folder).get(kInfo));
    boost::system::error_code code;
    const json::value value = json::parse(text, code);
    const auto wrong = [&] { return damaged(folder, fmt::format("{} can't be read", kInfo)); };
    if (code || !value.is_object()) return wrong();
    const json::object& object = value.get_object();
    const auto number = [&](const char* key) -> int64_t {
        const json::value* found = object.if_contains(key);
        return found != nullptr && found->is_int64() ? found->get_int64() : -1;
    };
    const auto string = [&](const char* key) -> std::string {
        const json::value* found = object.if_contains(key);
        return found != nullptr && found->is_string() ? std::string(found->get_string())
                                                      : std::string();
    };
    if (number("format") > kFormat) {
        return fail(ErrorCode::Conflict,
                    fmt::format("the backup {} is of format {}, made by px {}", folder.string(),
                                number("format"), string("px")),
                    fmt::format("Use that px or a newer one; this one knows format {}", kFormat));
    }
    BackupInfo info{.px_version = string("px"),
                    .pipeline = string("pipeline"),
                    .created_at = string("created_at"),
                    .release = number("release"),
                    .run = string("run"),
                    .releases = number("releases"),
                    .files = number("files"),
                    .bytes = number("bytes"),
                    .sums_sha256 = string("sums_sha256")};
    if (number("format") != kFormat || info.pipeline.empty() || info.created_at.empty() ||
        info.release < 1 || info.releases < 1 || info.files < 1 || info.bytes < 0 ||
        info.sums_sha256.size() != kHexDigits)
        return wrong();
    return info;
}

Result<void> verify_backup(const std::filesystem::path& folder, const BackupInfo& info,
                           size_t thread_count, Progress& progress, const Deadline& deadline) {
    const auto listed = store_of(folder).get(kSums);
    if (!listed) return damaged(folder, fmt::format("{} can't be read", kSums));
    if (sha256_hex(*listed) != info.sums_sha256)
        return damaged(folder, fmt::format("{} is not the one {} names", kSums, kInfo));
    const std::vector<ObjectMeta> files = PX_TRY(kept_files(folder));
    const std::vector<std::string> sums =
        PX_TRY(sums_of(folder, files, thread_count, progress, deadline));
    // Both are sorted by name: equal texts, or the first line that differs tells which file.
    std::string_view left = *listed;
    for (size_t i = 0;; ++i) {
        const std::string_view line = left.substr(0, left.find('\n'));
        left.remove_prefix(std::min(line.size() + 1, left.size()));
        if (line.empty() && i == files.size()) return {};
        const std::string_view name = line.substr(std::min(line.size(), kHexDigits + 2));
        if (i == files.size() || (!line.empty() && name < files[i].key))
            return damaged(folder, fmt::format("{} is missing", name));
        if (line.empty() || name > files[i].key)
            return damaged(folder, fmt::format("{} does not belong to it", files[i].key));
        if (line.substr(0, kHexDigits) != sums[i])
            return damaged(folder, fmt::format("{} has other bytes than it had", name));
    }
}

}  // namespace px::pipeline
