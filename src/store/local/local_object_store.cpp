#include "store/local/local_object_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <functional>
#include <optional>
#include <system_error>
#include <utility>

#include "store/object_key.h"

namespace px::store {
namespace {

constexpr size_t kDurableFoldersMax = 100'000;
constexpr size_t kCopyBytes = 1024 * 1024;

class FileHandle {
  public:
    explicit FileHandle(int descriptor) : descriptor_(descriptor) {}
    FileHandle(FileHandle&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
    FileHandle& operator=(FileHandle&& other) noexcept {
        std::swap(descriptor_, other.descriptor_);
        return *this;
    }
    ~FileHandle() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    int get() const { return descriptor_; }
    bool is_open() const { return descriptor_ >= 0; }
    int release() { return std::exchange(descriptor_, -1); }
    /// Closes and tells what close() said: some file systems report a full disk only here.
    int close() {
        const int descriptor = std::exchange(descriptor_, -1);
        return ::close(descriptor) == 0 || errno == EINTR ? 0 : errno;
    }

  private:
    int descriptor_;
};

int open_at(int folder, const char* name, int flags) {
    while (true) {
        const int descriptor = ::openat(folder, name, flags | O_CLOEXEC, 0644);
        if (descriptor >= 0 || errno != EINTR) return descriptor;
    }
}

int write_all(int descriptor, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
        if (written < 0) {
            if (errno == EINTR) continue;
            return errno;
        }
        bytes.remove_prefix(static_cast<size_t>(written));
    }
    return 0;
}

/// fsync of a folder; file systems that can't do it for folders have nothing to sync.
int sync_folder(int descriptor) {
    if (::fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP) return 0;
    return errno;
}

TimestampMicros modified_at(const struct stat& status) {
    return static_cast<TimestampMicros>(status.st_mtim.tv_sec) * 1'000'000 +
           status.st_mtim.tv_nsec / 1000;
}

/// Start of a process in clock ticks since boot; together with the pid it names a process for good.
/// 0: no such process.
uint64_t process_start(int64_t pid) {
    std::ifstream stream(fmt::format("/proc/{}/stat", pid));
    std::string text;
    if (!std::getline(stream, text)) return 0;
    // The second field is the program's name in brackets and may hold spaces; counting starts
    // behind it.
    const size_t bracket = text.rfind(')');
    if (bracket == std::string::npos) return 0;
    size_t position = bracket + 1;
    for (int field = 3; field < 22; ++field) {
        position = text.find(' ', position + 1);
        if (position == std::string::npos) return 0;
    }
    uint64_t start = 0;
    const char* const begin = text.data() + position + 1;
    std::from_chars(begin, text.data() + text.size(), start);
    return start;
}

std::string temporary_name() {
    static std::atomic<uint64_t> counter{0};
    // Asked each time: a forked child is another process.
    const int64_t pid = ::getpid();
    return fmt::format("{}{}-{}-{}", kTemporaryPrefix, pid, process_start(pid), ++counter);
}

/// True when the temporary file's process is gone, or the name is not one of ours.
bool is_abandoned(std::string_view name) {
    name.remove_prefix(kTemporaryPrefix.size());
    int64_t pid = 0;
    uint64_t start = 0;
    const char* const end = name.data() + name.size();
    const auto pid_read = std::from_chars(name.data(), end, pid);
    if (pid_read.ec != std::errc() || pid_read.ptr == end || *pid_read.ptr != '-') return true;
    const auto start_read = std::from_chars(pid_read.ptr + 1, end, start);
    if (start_read.ec != std::errc()) return true;
    if (pid <= 0) return true;
    if (::kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH) return true;
    const uint64_t now = process_start(pid);
    return start != 0 && now != 0 && now != start;
}

bool links_unsupported(int error_number) {
    return error_number == EPERM || error_number == EOPNOTSUPP || error_number == ENOSYS ||
           error_number == EMLINK;
}

}  // namespace

/// An open folder below the root and its path for messages.
class LocalObjectStore::Folder {
  public:
    explicit Folder(FileHandle handle) : handle_(std::move(handle)) {}
    int get() const { return handle_.get(); }
    FileHandle take() { return std::move(handle_); }

  private:
    FileHandle handle_;
};

LocalObjectStore::LocalObjectStore(std::filesystem::path folder, std::string url,
                                   LocalObjectStoreOptions options)
    : url_(std::move(url)), options_(options) {
    std::error_code error;
    folder_ = std::filesystem::absolute(folder, error).lexically_normal();
    if (error) folder_ = std::move(folder);
}

Error LocalObjectStore::failed(int error_number, std::string_view what,
                               std::string_view key) const {
    const std::string place = (folder_ / key).string();
    switch (error_number) {
        case ELOOP:
            return fail(ErrorCode::Forbidden,
                        fmt::format("cannot {} {}: it is or passes a symbolic link", what, place),
                        "Links inside a store are not followed; put the files themselves there");
        case ENOTDIR:
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("cannot {} {}: a part of the path is a file", what, place),
                        "Use another key, or remove the file");
        case EISDIR:
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("cannot {} {}: it is a folder", what, place),
                        "Use another key, or remove the folder");
        default:
            return fail_errno(error_number, fmt::format("cannot {} {}", what, place));
    }
}

Result<ServiceFacts> LocalObjectStore::facts() const {
    struct statvfs space {};
    if (::statvfs(folder_.c_str(), &space) != 0)
        return fail_errno(errno, "cannot look at " + folder_.string());
    ServiceFacts facts;
    facts.is_loopback = true;
    facts.free_bytes = static_cast<int64_t>(space.f_bavail) * static_cast<int64_t>(space.f_frsize);
    return facts;
}

Result<bool> LocalObjectStore::ensure_container() {
    std::error_code error;
    if (std::filesystem::is_directory(folder_, error)) return false;
    // Top down, so that each new folder's entry can be made durable in its parent.
    std::filesystem::path part;
    bool created = false;
    for (const std::filesystem::path& name : folder_) {
        part = part.empty() ? name : part / name;
        if (part.filename().empty()) continue;  // a trailing '/'
        if (::mkdir(part.c_str(), 0755) != 0) {
            if (errno == EEXIST || errno == EISDIR || errno == EROFS) continue;
            const int why = errno;
            if (why == EACCES && std::filesystem::is_directory(part, error)) continue;
            return fail_errno(why, "cannot create folder " + part.string());
        }
        created = true;
        const FileHandle parent(
            ::open(part.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!parent.is_open())
            continue;  // a parent we may pass but not read: nothing more can be done
        if (const int why = sync_folder(parent.get()); why != 0) {
            return fail_errno(why, "cannot fsync folder " + part.parent_path().string());
        }
    }
    if (!std::filesystem::is_directory(folder_, error)) {
        return fail(ErrorCode::InvalidArgument, folder_.string() + " is not a folder",
                    "Name a folder in the url, or remove the file");
    }
    return created;
}

Result<LocalObjectStore::Folder> LocalObjectStore::open_root() const {
    FileHandle root(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (root.is_open()) return Folder(std::move(root));
    if (errno == ENOENT) {
        return fail(ErrorCode::NotFound,
                    fmt::format("folder {} of store '{}' does not exist", folder_.string(), url_),
                    "Create it, or correct the url");
    }
    return failed(errno, "open", "");
}

Result<LocalObjectStore::Folder> LocalObjectStore::open_parent(std::string_view key) const {
    Folder folder = PX_TRY(open_root());
    size_t begin = 0;
    for (size_t slash; (slash = key.find('/', begin)) != std::string_view::npos;
         begin = slash + 1) {
        const std::string name(key.substr(begin, slash - begin));
        FileHandle next(open_at(folder.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
        if (!next.is_open()) {
            const int why = errno;
            // O_DIRECTORY | O_NOFOLLOW says ENOTDIR for a link as well as for a file.
            struct stat status {};
            if (why == ENOTDIR &&
                ::fstatat(folder.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                S_ISLNK(status.st_mode)) {
                return failed(ELOOP, "open", key);
            }
            if (why == ENOENT || why == ENOTDIR) {
                return fail(ErrorCode::NotFound,
                            fmt::format("no object '{}' in {}", key, folder_.string()));
            }
            return failed(why, "open", key);
        }
        folder = Folder(std::move(next));
    }
    return folder;
}

Result<LocalObjectStore::Folder> LocalObjectStore::create_parent(std::string_view key) {
    Folder folder = PX_TRY(open_root());
    size_t begin = 0;
    for (size_t slash; (slash = key.find('/', begin)) != std::string_view::npos;
         begin = slash + 1) {
        const std::string name(key.substr(begin, slash - begin));
        const std::string path(key.substr(0, slash));
        const bool created = ::mkdirat(folder.get(), name.c_str(), 0755) == 0;
        if (!created && errno != EEXIST) return failed(errno, "create folder", path);
        FileHandle next(open_at(folder.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
        if (!next.is_open()) {
            const int why = errno;
            struct stat status {};
            if (why == ENOTDIR &&
                ::fstatat(folder.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                S_ISLNK(status.st_mode)) {
                return failed(ELOOP, "open", path);
            }
            return failed(why, "open", path);
        }
        // A folder that another writer made may not be durable yet; once a process is enough.
        bool durable = false;
        if (!created) {
            const std::lock_guard lock(mutex_);
            durable = durable_folders_.contains(path);
        }
        if (!durable) {
            if (const int why = sync_folder(folder.get()); why != 0)
                return failed(why, "fsync", path);
            const std::lock_guard lock(mutex_);
            if (durable_folders_.size() >= kDurableFoldersMax) durable_folders_.clear();
            durable_folders_.insert(path);
        }
        folder = Folder(std::move(next));
    }
    return folder;
}

Result<std::string> LocalObjectStore::write_temporary(const Folder& parent, std::string_view key,
                                                      std::string_view bytes) const {
    const std::string name = temporary_name();
    FileHandle file(open_at(parent.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW));
    if (!file.is_open()) return failed(errno, "create", key);
    int why = write_all(file.get(), bytes);
    if (why == 0 && ::fsync(file.get()) != 0) why = errno;
    const int closed = file.close();
    if (why == 0) why = closed;
    if (why != 0) {
        ::unlinkat(parent.get(), name.c_str(), 0);
        return failed(why, "write", key);
    }
    return name;
}

Result<std::string> LocalObjectStore::copy_temporary(const Folder& parent, std::string_view key,
                                                     int source) const {
    const std::string name = temporary_name();
    FileHandle file(open_at(parent.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW));
    if (!file.is_open()) return failed(errno, "create", key);
    int why = ::lseek(source, 0, SEEK_SET) == 0 ? 0 : errno;
    std::string buffer(kCopyBytes, '\0');
    while (why == 0) {
        const ssize_t count = ::read(source, buffer.data(), buffer.size());
        if (count == 0) break;
        if (count < 0) {
            if (errno != EINTR) why = errno;
            continue;
        }
        why = write_all(file.get(), std::string_view(buffer).substr(0, static_cast<size_t>(count)));
    }
    if (why == 0 && ::fsync(file.get()) != 0) why = errno;
    const int closed = file.close();
    if (why == 0) why = closed;
    if (why != 0) {
        ::unlinkat(parent.get(), name.c_str(), 0);
        return failed(why, "write", key);
    }
    return name;
}

namespace {

std::string last_part(std::string_view key) {
    const size_t slash = key.rfind('/');
    return std::string(slash == std::string_view::npos ? key : key.substr(slash + 1));
}

}  // namespace

Result<std::optional<ObjectMeta>> LocalObjectStore::head(std::string_view key) const {
    PX_TRY(validate_key(key));
    PX_TRY(open_root());
    const Result<Folder> parent = open_parent(key);
    if (!parent) {
        if (parent.error().code == ErrorCode::NotFound) return std::optional<ObjectMeta>();
        return parent.error();
    }
    struct stat status {};
    if (::fstatat(parent->get(), last_part(key).c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) return std::optional<ObjectMeta>();
        return failed(errno, "read", key);
    }
    if (S_ISLNK(status.st_mode)) return failed(ELOOP, "read", key);
    if (!S_ISREG(status.st_mode)) return std::optional<ObjectMeta>();
    return std::optional<ObjectMeta>(
        ObjectMeta{std::string(key), status.st_size, modified_at(status)});
}

Result<std::string> LocalObjectStore::get(std::string_view key) const {
    PX_TRY(validate_key(key));
    return read(key, 0, std::nullopt);
}

Result<std::string> LocalObjectStore::get_range(std::string_view key, int64_t offset,
                                                int64_t length) const {
    PX_TRY(validate_key(key));
    if (offset < 0 || length < 0) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("range {}+{} of object '{}' is negative", offset, length, key));
    }
    return read(key, offset, length);
}

Result<std::string> LocalObjectStore::read(std::string_view key, int64_t offset,
                                           std::optional<int64_t> asked) const {
    const Folder parent = PX_TRY(open_parent(key));
    const FileHandle file(
        open_at(parent.get(), last_part(key).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    if (!file.is_open()) {
        if (errno == ENOENT) {
            return fail(ErrorCode::NotFound,
                        fmt::format("no object '{}' in {}", key, folder_.string()));
        }
        return failed(errno, "read", key);
    }
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) return failed(errno, "read", key);
    if (!S_ISREG(status.st_mode)) {
        return fail(ErrorCode::NotFound,
                    fmt::format("no object '{}' in {}", key, folder_.string()));
    }
    const int64_t size = status.st_size;
    const int64_t length = asked.value_or(size);
    const auto too_short = [&](int64_t have) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("object '{}' in {} has {} bytes, bytes {} to {} were asked for",
                                key, folder_.string(), have, offset,
                                static_cast<uint64_t>(offset) + static_cast<uint64_t>(length)));
    };
    if (offset > size || length > size - offset) return too_short(size);
    std::string bytes(static_cast<size_t>(length), '\0');
    size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t count = ::pread(file.get(), bytes.data() + done, bytes.size() - done,
                                      static_cast<off_t>(offset + static_cast<int64_t>(done)));
        if (count < 0) {
            if (errno == EINTR) continue;
            return failed(errno, "read", key);
        }
        if (count == 0) return too_short(offset + static_cast<int64_t>(done));
        done += static_cast<size_t>(count);
    }
    return bytes;
}

Result<void> LocalObjectStore::put(std::string_view key, std::string_view bytes) {
    PX_TRY(validate_key(key));
    const Folder parent = PX_TRY(create_parent(key));
    const std::string temporary = PX_TRY(write_temporary(parent, key, bytes));
    if (::renameat(parent.get(), temporary.c_str(), parent.get(), last_part(key).c_str()) != 0) {
        const int why = errno;
        ::unlinkat(parent.get(), temporary.c_str(), 0);
        return failed(why, "write", key);
    }
    if (const int why = sync_folder(parent.get()); why != 0)
        return failed(why, "fsync the folder of", key);
    return {};
}

Result<void> LocalObjectStore::put_if_absent(std::string_view key, std::string_view bytes) {
    PX_TRY(validate_key(key));
    const Folder parent = PX_TRY(create_parent(key));
    const std::string name = last_part(key);
    const auto exists = [&]() -> Error {
        // Whoever hears of it builds on it; the one that made it may have died before its fsync.
        if (const int why = sync_folder(parent.get()); why != 0)
            return failed(why, "fsync the folder of", key);
        return fail(ErrorCode::AlreadyExists,
                    fmt::format("object '{}' exists already in {}", key, folder_.string()));
    };
    struct stat status {};
    if (::fstatat(parent.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) return exists();
    const std::string temporary = PX_TRY(write_temporary(parent, key, bytes));
    int why = 0;
    bool renamed = false;
    if (options_.publish == LocalObjectStoreOptions::Publish::HardLink) {
        why = ::linkat(parent.get(), temporary.c_str(), parent.get(), name.c_str(), 0) == 0 ? 0
                                                                                            : errno;
    }
    if (options_.publish == LocalObjectStoreOptions::Publish::ExclusiveRename ||
        links_unsupported(why)) {
        why = ::syscall(SYS_renameat2, parent.get(), temporary.c_str(), parent.get(), name.c_str(),
                        RENAME_NOREPLACE) == 0
                  ? 0
                  : errno;
        renamed = why == 0;
        if (why == EINVAL || why == ENOSYS) {
            ::unlinkat(parent.get(), temporary.c_str(), 0);
            return fail(
                ErrorCode::InvalidArgument,
                fmt::format("the file system of {} has neither hard links nor exclusive rename",
                            folder_.string()),
                "Keep the store on a file system with hard links (ext4, xfs, btrfs, tmpfs, NFS)");
        }
    }
    if (!renamed) ::unlinkat(parent.get(), temporary.c_str(), 0);
    if (why == EEXIST) return exists();
    if (why != 0) return failed(why, "create", key);
    if (const int synced = sync_folder(parent.get()); synced != 0) {
        return fail(
            ErrorCode::OutcomeUnknown,
            fmt::format("object '{}' was created in {}, but its folder could not be fsynced: {}",
                        key, folder_.string(), std::system_category().message(synced)),
            "Read it again before writing");
    }
    return {};
}

Result<void> LocalObjectStore::put_file(std::string_view key, const std::filesystem::path& file) {
    PX_TRY(validate_key(key));
    const FileHandle source(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!source.is_open()) return fail_errno(errno, "cannot read " + file.string());
    struct stat status {};
    if (::fstat(source.get(), &status) != 0)
        return fail_errno(errno, "cannot read " + file.string());
    if (!S_ISREG(status.st_mode)) {
        return fail(ErrorCode::InvalidArgument, file.string() + " is not a regular file");
    }
    const Folder parent = PX_TRY(create_parent(key));
    const std::string name = last_part(key);
    if (::fsync(source.get()) != 0) return fail_errno(errno, "cannot fsync " + file.string());
    if (::renameat(AT_FDCWD, file.c_str(), parent.get(), name.c_str()) != 0) {
        if (errno != EXDEV) return failed(errno, "move " + file.string() + " to", key);
        const std::string temporary = PX_TRY(copy_temporary(parent, key, source.get()));
        if (::renameat(parent.get(), temporary.c_str(), parent.get(), name.c_str()) != 0) {
            const int why = errno;
            ::unlinkat(parent.get(), temporary.c_str(), 0);
            return failed(why, "write", key);
        }
        ::unlink(file.c_str());
    }
    if (const int why = sync_folder(parent.get()); why != 0)
        return failed(why, "fsync the folder of", key);
    return {};
}

namespace {

struct Entry {
    std::string path;  ///< from the store's root
    struct stat status {};
};

/// Appends the regular files below an open folder that wanted(path, is_folder) asks for. Links and
/// what vanishes meanwhile are passed over. Returns errno and where, or 0. Holds one descriptor a
/// level; keys bound the levels.
int walk(FileHandle folder, const std::string& path,
         const std::function<bool(const std::string& path, bool is_folder)>& wanted,
         std::vector<Entry>& found, std::string& failed_at) {
    struct Closer {
        void operator()(DIR* directory) const { ::closedir(directory); }
    };
    const std::unique_ptr<DIR, Closer> directory(::fdopendir(folder.get()));
    if (!directory) {
        failed_at = path;
        return errno;
    }
    const int descriptor = folder.release();  // closedir closes it
    while (true) {
        errno = 0;
        const dirent* const entry = ::readdir(directory.get());
        if (entry == nullptr) {
            failed_at = path;
            return errno;
        }
        const char* const name = entry->d_name;
        if (std::string_view(name) == "." || std::string_view(name) == "..") continue;
        const std::string child = path.empty() ? name : path + "/" + name;
        if (child.size() > kMaxKeyBytes) continue;  // no key can name it
        struct stat status {};
        bool is_folder = entry->d_type == DT_DIR;
        if (entry->d_type == DT_UNKNOWN || (!is_folder && wanted(child, false))) {
            if (::fstatat(descriptor, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
                if (errno == ENOENT) continue;
                failed_at = child;
                return errno;
            }
            is_folder = S_ISDIR(status.st_mode);
            if (S_ISREG(status.st_mode) && wanted(child, false)) found.push_back({child, status});
        }
        if (!is_folder || !wanted(child, true)) continue;
        FileHandle next(open_at(descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
        if (!next.is_open()) {
            if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) continue;
            failed_at = child;
            return errno;
        }
        if (const int why = walk(std::move(next), child, wanted, found, failed_at); why != 0)
            return why;
    }
}

}  // namespace

Result<std::vector<ObjectMeta>> LocalObjectStore::list(std::string_view prefix,
                                                       std::string_view start_after) const {
    PX_TRY(validate_prefix(prefix));
    Folder folder = PX_TRY(open_root());
    const size_t slash = prefix.rfind('/');
    const std::string base(slash == std::string_view::npos ? "" : prefix.substr(0, slash));
    if (!base.empty()) {
        // The folder of "base/x" is base itself.
        Result<Folder> opened = open_parent(base + "/x");
        if (!opened) {
            if (opened.error().code == ErrorCode::NotFound) return std::vector<ObjectMeta>();
            return opened.error();
        }
        folder = std::move(*opened);
    }
    const auto wanted = [&](const std::string& path, bool is_folder) {
        if (is_folder) {
            const std::string inside = path + "/";
            return std::string_view(inside).substr(0, prefix.size()) ==
                   prefix.substr(0, inside.size());
        }
        return path.starts_with(prefix) && path > start_after &&
               !last_part(path).starts_with(kTemporaryPrefix);
    };
    std::vector<Entry> entries;
    std::string failed_at;
    if (const int why = walk(folder.take(), base, wanted, entries, failed_at); why != 0) {
        return failed(why, "list", failed_at);
    }
    std::vector<ObjectMeta> found;
    found.reserve(entries.size());
    for (Entry& entry : entries) {
        found.push_back({std::move(entry.path), entry.status.st_size, modified_at(entry.status)});
    }
    std::sort(found.begin(), found.end(),
              [](const ObjectMeta& a, const ObjectMeta& b) { return a.key < b.key; });
    return found;
}

Result<void> LocalObjectStore::remove(std::string_view key) {
    PX_TRY(validate_key(key));
    PX_TRY(open_root());
    const Result<Folder> parent = open_parent(key);
    if (!parent) {
        if (parent.error().code == ErrorCode::NotFound) return {};
        return parent.error();
    }
    if (::unlinkat(parent->get(), last_part(key).c_str(), 0) == 0) return {};
    if (errno == ENOENT || errno == EISDIR) return {};
    return failed(errno, "remove", key);
}

Result<std::filesystem::path> LocalObjectStore::local_path(std::string_view key) const {
    if (!PX_TRY(head(key))) {
        return fail(ErrorCode::NotFound,
                    fmt::format("no object '{}' in {}", key, folder_.string()));
    }
    return folder_ / key;
}

Result<int64_t> LocalObjectStore::sweep_temporary() {
    Folder folder = PX_TRY(open_root());
    const auto wanted = [](const std::string& path, bool is_folder) {
        return is_folder || last_part(path).starts_with(kTemporaryPrefix);
    };
    std::vector<Entry> entries;
    std::string failed_at;
    if (const int why = walk(folder.take(), "", wanted, entries, failed_at); why != 0) {
        return failed(why, "list", failed_at);
    }
    int64_t removed = 0;
    for (const Entry& entry : entries) {
        const std::string name = last_part(entry.path);
        if (!is_abandoned(name)) continue;
        const Folder parent = PX_TRY(open_parent(entry.path));
        if (::unlinkat(parent.get(), name.c_str(), 0) == 0) ++removed;
    }
    return removed;
}

Result<std::unique_ptr<ObjectStore>> open_object_store(std::string_view url,
                                                       const std::filesystem::path& base_folder) {
    std::string_view path = url;
    if (path.starts_with("file://")) {
        path.remove_prefix(7);
        if (path.starts_with("localhost/")) path.remove_prefix(9);
        if (!path.starts_with('/')) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("'{}' names a file on another machine", url),
                        "Write file:///absolute/path, or a relative path such as ./lake");
        }
    } else if (path.starts_with("file:")) {
        path.remove_prefix(5);
    } else if (const size_t colon = path.find(':');
               colon != std::string_view::npos &&
               path.substr(0, colon).find('/') == std::string_view::npos) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("'{}': no store for addresses that begin with '{}'", url,
                                path.substr(0, colon + 1)),
                    "Use a folder: ./lake or file:///data/lake");
    }
    if (path.empty() || path.find('\0') != std::string_view::npos) {
        return fail(ErrorCode::InvalidArgument, fmt::format("'{}' names no folder", url),
                    "Use a folder: ./lake or file:///data/lake");
    }
    return std::unique_ptr<ObjectStore>(std::make_unique<LocalObjectStore>(
        base_folder / std::filesystem::path(path), std::string(url)));
}

}  // namespace px::store
