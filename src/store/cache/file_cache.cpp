#include "store/cache/file_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/sha256.h"
#include "capi/curl/digest.h"

namespace px::store {
namespace {

constexpr std::string_view kTemporary = ".px-tmp-";
constexpr std::string_view kSum = ".sum";
constexpr size_t kIdDigits = 32;
constexpr size_t kCheckedMax = 1'000'000;
constexpr size_t kPieceBytes = 1 << 20;
constexpr int64_t kSumBytesMax = 96;

class Descriptor {
  public:
    explicit Descriptor(int descriptor = -1) : descriptor_(descriptor) {}
    Descriptor(Descriptor&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(descriptor_, other.descriptor_);
        return *this;
    }
    ~Descriptor() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    int get() const { return descriptor_; }
    bool is_open() const { return descriptor_ >= 0; }

  private:
    int descriptor_;
};

/// Removes a file at the end unless it was kept.
class Unlinker {
  public:
    explicit Unlinker(std::filesystem::path path) : path_(std::move(path)) {}
    ~Unlinker() {
        if (!path_.empty()) ::unlink(path_.c_str());
    }
    Unlinker(const Unlinker&) = delete;
    Unlinker& operator=(const Unlinker&) = delete;
    void keep() { path_.clear(); }

  private:
    std::filesystem::path path_;
};

struct Digests {
    std::string sha256_hex, md5;
    int64_t size_bytes = 0;
};

/// One pass over a file; nullopt when it can't be read.
std::optional<Digests> digests_of(int descriptor, bool with_md5) {
    Sha256 sha256;
    capi::curl::Md5 md5;
    Digests digests;
    std::string piece(kPieceBytes, '\0');
    while (true) {
        const ssize_t got = ::pread(descriptor, piece.data(), piece.size(), digests.size_bytes);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return std::nullopt;
        if (got == 0) break;
        const std::string_view bytes(piece.data(), static_cast<size_t>(got));
        sha256.update(bytes);
        if (with_md5) md5.update(bytes);
        digests.size_bytes += got;
    }
    digests.sha256_hex = to_hex(sha256.finish());
    if (with_md5) digests.md5 = md5.finish();
    return digests;
}

std::string read_small(const std::filesystem::path& path) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    char buffer[128];
    const ssize_t got = file.is_open() ? ::read(file.get(), buffer, sizeof buffer) : 0;
    return {buffer, static_cast<size_t>(std::max<ssize_t>(0, got))};
}

std::string sum_text(int64_t size_bytes, std::string_view sha256_hex) {
    return fmt::format("{} {}\n", size_bytes, sha256_hex);
}

int64_t now_seconds() { return SystemClock().now() / 1'000'000; }

/// A name of ours: 32 hexadecimal digits, then an extension or nothing.
std::string_view id_of(std::string_view name) {
    if (name.size() < kIdDigits ||
        name.substr(0, kIdDigits).find_first_not_of("0123456789abcdef") != std::string_view::npos)
        return {};
    const std::string_view rest = name.substr(kIdDigits);
    return rest.empty() || rest[0] == '.' ? name.substr(0, kIdDigits) : std::string_view();
}

}  // namespace

struct FileCache::Names {
    std::string id;
    std::filesystem::path copy, sum;
};

/// An flock on one of the lock files, for threads and processes alike; ends with the object.
class FileCache::Lock {
  public:
    enum class Wait { Yes, No };
    static Result<Lock> take(const std::filesystem::path& folder, std::string_view name,
                             int operation, Wait wait) {
        const std::filesystem::path path = folder / "locks" / name;
        Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        if (!file.is_open()) return fail_errno(errno, "cannot open " + path.string());
        while (::flock(file.get(), operation | (wait == Wait::No ? LOCK_NB : 0)) != 0) {
            if (errno == EINTR) continue;
            return fail_errno(errno, "cannot lock " + path.string());
        }
        return Lock(std::move(file));
    }
    int descriptor() const { return file_.get(); }

  private:
    explicit Lock(Descriptor file) : file_(std::move(file)) {}
    Descriptor file_;
};

Result<void> FileCacheOptions::validate() const {
    if (folder.empty())
        return fail(ErrorCode::InvalidArgument, "the cache of remote files has no folder",
                    "Name one");
    if (limit_bytes < 1 || keep_for.count() < 0)
        return fail(ErrorCode::InvalidArgument, "the cache's limit must be positive");
    return {};
}

FileCache::FileCache(FileCacheOptions options) : options_(std::move(options)) {
    std::error_code error;
    const auto absolute = std::filesystem::absolute(options_.folder, error);
    if (!error) options_.folder = absolute.lexically_normal();
}

FileCache::Names FileCache::names_of(const CachedFile& file) const {
    Names names;
    names.id = sha256_hex(file.identity).substr(0, kIdDigits);
    names.copy = options_.folder / (names.id + (file.extension == kSum ? "" : file.extension));
    names.sum = options_.folder / (names.id + std::string(kSum));
    return names;
}

Result<void> FileCache::make_folders() const {
    std::error_code error;
    const std::filesystem::path locks = options_.folder / "locks";
    if (std::filesystem::is_directory(locks, error)) return {};
    std::filesystem::create_directories(options_.folder.parent_path(), error);
    for (const std::filesystem::path& folder : {options_.folder, locks}) {
        if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
            return fail_errno(errno, "cannot create the cache's folder " + folder.string());
    }
    return {};
}

Result<bool> FileCache::is_sound(const CachedFile& file, const Names& names) {
    const Descriptor copy(::open(names.copy.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!copy.is_open()) {
        if (errno == ENOENT) return false;
        return fail_errno(errno, "cannot open " + names.copy.string());
    }
    struct stat status {};
    if (::fstat(copy.get(), &status) != 0 || status.st_size != file.size_bytes) return false;
    bool checked = false;
    {
        const std::lock_guard lock(mutex_);
        checked = checked_.contains(names.id);
    }
    if (!checked) {
        const auto digests = digests_of(copy.get(), false);
        if (!digests ||
            read_small(names.sum) != sum_text(digests->size_bytes, digests->sha256_hex)) {
            log::warning("store.cache_damaged",
                         {{"file", file.shown}, {"copy", names.copy.string()}});
            return false;
        }
        const std::lock_guard lock(mutex_);
        if (checked_.size() >= kCheckedMax) checked_.clear();
        checked_.insert(names.id);
    }
    // Its last use, for whoever looks for room.
    ::futimens(copy.get(), nullptr);
    return true;
}

Result<int64_t> FileCache::room_bytes() const {
    PX_TRY(make_folders());
    struct statvfs space {};
    if (::statvfs(options_.folder.c_str(), &space) != 0)
        return fail_errno(errno, "cannot look at " + options_.folder.string());
    const int64_t free =
        static_cast<int64_t>(space.f_bavail) * static_cast<int64_t>(space.f_frsize);
    return std::min(options_.limit_bytes, PX_TRY(used_bytes()) + free);
}

Result<int64_t> FileCache::used_bytes() const {
    int64_t used = 0;
    std::error_code error;
    for (std::filesystem::directory_iterator entry(options_.folder, error), end;
         !error && entry != end; entry.increment(error)) {
        struct stat status {};
        if (::lstat(entry->path().c_str(), &status) == 0 && S_ISREG(status.st_mode))
            used += status.st_size;
    }
    if (error && error != std::errc::no_such_file_or_directory)
        return fail_errno(error.value(),
                          "cannot read the cache's folder " + options_.folder.string());
    return used;
}

/// The bytes in use as whoever added the last copy wrote them down, at least: what was removed
/// since is still counted. nullopt: not known.
std::optional<int64_t> FileCache::read_count(const Lock& space) {
    char text[24];
    const ssize_t got = ::pread(space.descriptor(), text, sizeof text, 0);
    if (got < 2 || text[got - 1] != '\n') return std::nullopt;
    int64_t count = 0;
    const auto [end, code] = std::from_chars(text, text + got - 1, count);
    if (code != std::errc() || end != text + got - 1 || count < 0) return std::nullopt;
    return count;
}

void FileCache::write_count(const Lock& space, int64_t count) {
    const std::string text = fmt::format("{:020}\n", count);
    if (::pwrite(space.descriptor(), text.data(), text.size(), 0) !=
        static_cast<ssize_t>(text.size()))
        (void)::ftruncate(space.descriptor(), 0);
}

/// Makes room for a copy of `bytes` more and its sum, and counts them.
Result<void> FileCache::make_room(const Lock& space, const CachedFile& file, int64_t bytes) {
    if (is_counted_) {
        const auto count = read_count(space);
        if (count && *count + bytes + kSumBytesMax <= options_.limit_bytes) {
            write_count(space, *count + bytes + kSumBytesMax);
            return {};
        }
    }
    const int64_t used = PX_TRY(drop_until(file, bytes));
    write_count(space, used + bytes + kSumBytesMax);
    is_counted_ = true;
    return {};
}

/// Under the lock "space". Removes what dead processes left and, where the limit demands it, the
/// longest unused copies. Returns the bytes still in use.
Result<int64_t> FileCache::drop_until(const CachedFile& file, int64_t bytes) const {
    struct Copy {
        int64_t used_at;
        int64_t size_bytes;
        std::filesystem::path path;
        std::string id;
    };
    std::vector<Copy> copies;
    int64_t used = 0;
    std::error_code error;
    for (std::filesystem::directory_iterator entry(options_.folder, error), end;
         !error && entry != end; entry.increment(error)) {
        const std::string name = entry->path().filename();
        struct stat status {};
        if (::lstat(entry->path().c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
        if (name.starts_with(kTemporary)) {
            const Descriptor left(::open(entry->path().c_str(), O_RDWR | O_CLOEXEC));
            if (left.is_open() && ::flock(left.get(), LOCK_EX | LOCK_NB) == 0) {
                ::unlink(entry->path().c_str());  // its writer is dead
                continue;
            }
        }
        used += status.st_size;
        const std::string_view id = id_of(name);
        if (!id.empty() && !name.ends_with(kSum))
            copies.push_back({status.st_mtime, status.st_size, entry->path(), std::string(id)});
    }
    if (error) {
        return fail_errno(error.value(),
                          "cannot read the cache's folder " + options_.folder.string());
    }
    if (used + bytes <= options_.limit_bytes) return used;
    // Some more than is needed now, so that not every copy from now on looks at all files.
    const int64_t wanted = options_.limit_bytes - options_.limit_bytes / 32;
    std::sort(copies.begin(), copies.end(), [](const Copy& a, const Copy& b) {
        return std::tie(a.used_at, a.path) < std::tie(b.used_at, b.path);
    });
    const int64_t oldest_kept = now_seconds() - options_.keep_for.count();
    for (const Copy& copy : copies) {
        if (used + bytes <= wanted || copy.used_at > oldest_kept) break;
        // A lock that is taken means that the copy is in use just now.
        const auto lock =
            Lock::take(options_.folder, copy.id.substr(0, 2), LOCK_EX, Lock::Wait::No);
        if (!lock) continue;
        struct stat status {};
        if (::lstat(copy.path.c_str(), &status) != 0 || status.st_mtime > oldest_kept) continue;
        const std::filesystem::path sum = options_.folder / (copy.id + std::string(kSum));
        struct stat sum_status {};
        if (::lstat(sum.c_str(), &sum_status) == 0) used -= sum_status.st_size;
        ::unlink(sum.c_str());
        if (::unlink(copy.path.c_str()) == 0) used -= copy.size_bytes;
    }
    if (used + bytes <= options_.limit_bytes) return used;
    return fail(ErrorCode::ResourceExhausted,
                fmt::format("the cache {} has no room for the {} bytes of {}: it may hold {} "
                            "bytes, and {} were used within the last {} minutes",
                            options_.folder.string(), file.size_bytes, file.shown,
                            options_.limit_bytes, used, options_.keep_for.count() / 60),
                "Raise the limit of the cache");
}

/// Gives a complete temporary file its name. Under the lock of its id. Not forced to the disk: a
/// copy that lost its bytes with the power does not have its SHA-256, and is fetched again.
Result<void> FileCache::finish(const CachedFile& file, const Names& names,
                               const std::filesystem::path& temporary,
                               const std::string& sha256_hex) {
    const std::filesystem::path sum = options_.folder / fmt::format("{}{}.new", names.id, kSum);
    Unlinker unlink_sum(sum);
    {
        const Descriptor out(::open(sum.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
        const std::string text = sum_text(file.size_bytes, sha256_hex);
        if (!out.is_open() ||
            ::write(out.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
            return fail_errno(errno, "cannot write " + sum.string());
    }
    if (::rename(sum.c_str(), names.sum.c_str()) != 0 ||
        ::rename(temporary.c_str(), names.copy.c_str()) != 0)
        return fail_errno(errno, "cannot rename " + temporary.string());
    unlink_sum.keep();
    const std::lock_guard lock(mutex_);
    checked_.insert(names.id);
    return {};
}

Result<std::filesystem::path> FileCache::get(
    const CachedFile& file, const std::function<Result<void>(int descriptor)>& fill) {
    const Names names = names_of(file);
    PX_TRY(make_folders());
    const std::string stripe = names.id.substr(0, 2);
    {
        const Lock lock = PX_TRY(Lock::take(options_.folder, stripe, LOCK_SH, Lock::Wait::Yes));
        if (PX_TRY(is_sound(file, names))) return names.copy;
    }
    const Lock lock = PX_TRY(Lock::take(options_.folder, stripe, LOCK_EX, Lock::Wait::Yes));
    if (PX_TRY(is_sound(file, names))) return names.copy;
    ::unlink(names.copy.c_str());

    const std::string what = fmt::format("cannot keep a copy of {} ({} bytes) in the cache {}",
                                         file.shown, file.size_bytes, options_.folder.string());
    const std::filesystem::path temporary =
        options_.folder / fmt::format("{}{}-{}", kTemporary, names.id, capi::curl::random_hex(4));
    Descriptor out;
    {
        // The room is taken while it is known to be there: the file has its size from the start.
        const Lock space = PX_TRY(Lock::take(options_.folder, "space", LOCK_EX, Lock::Wait::Yes));
        PX_TRY(make_room(space, file, file.size_bytes));
        out = Descriptor(::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
        if (!out.is_open()) return fail_errno(errno, what);
        ::flock(out.get(), LOCK_EX);
        if (file.size_bytes > 0 && ::fallocate(out.get(), 0, 0, file.size_bytes) != 0) {
            const int why = errno;
            if (why != EOPNOTSUPP && why != ENOSYS) {
                ::unlink(temporary.c_str());
                return fail_errno(why, what);
            }
            if (::ftruncate(out.get(), file.size_bytes) != 0) {
                ::unlink(temporary.c_str());
                return fail_errno(errno, what);
            }
        }
    }
    Unlinker unlink_temporary(temporary);
    PX_TRY(fill(out.get()));
    const auto digests = digests_of(out.get(), !file.md5.empty());
    if (!digests) return fail_errno(errno, what);
    if (digests->size_bytes != file.size_bytes || (!file.md5.empty() && digests->md5 != file.md5)) {
        return fail(
            ErrorCode::Corrupt,
            fmt::format("{} arrived damaged: its MD5 is not what the store says", file.shown),
            "Try again; if it stays so, the stored file is damaged");
    }
    PX_TRY(finish(file, names, temporary, digests->sha256_hex));
    unlink_temporary.keep();
    return names.copy;
}

bool FileCache::adopt(const CachedFile& file, const std::filesystem::path& path) {
    if (!make_folders()) return false;
    const Names names = names_of(file);
    const auto lock = Lock::take(options_.folder, names.id.substr(0, 2), LOCK_EX, Lock::Wait::Yes);
    if (!lock) return false;
    const std::filesystem::path temporary =
        options_.folder / fmt::format("{}{}-{}", kTemporary, names.id, capi::curl::random_hex(4));
    Descriptor in;
    {
        const auto space = Lock::take(options_.folder, "space", LOCK_EX, Lock::Wait::Yes);
        if (!space || !make_room(*space, file, file.size_bytes)) return false;
        in = Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
        struct stat status {};
        if (!in.is_open() || ::fstat(in.get(), &status) != 0 || status.st_size != file.size_bytes ||
            status.st_nlink != 1 || ::flock(in.get(), LOCK_EX | LOCK_NB) != 0 ||
            ::rename(path.c_str(), temporary.c_str()) != 0)
            return false;
    }
    ::fchmod(in.get(), 0600);
    // What was only written is the first to go: nobody holds its path.
    const timespec long_ago{now_seconds() - options_.keep_for.count() - 1, 0};
    const timespec times[2] = {long_ago, long_ago};
    ::futimens(in.get(), times);
    if (finish(file, names, temporary, file.sha256_hex)) return true;
    return ::rename(temporary.c_str(), path.c_str()) != 0;
}

}  // namespace px::store
