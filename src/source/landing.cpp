#include "source/landing.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/sha256.h"

namespace px::source {

namespace {

class Descriptor {
  public:
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (number_ >= 0) ::close(number_);
    }
    int number() const { return number_; }
    bool is_open() const { return number_ >= 0; }
    /// False: errno tells.
    bool close() { return ::close(std::exchange(number_, -1)) == 0; }

  private:
    int number_;
};

/// A file in the staging folder that is removed unless it was handed on.
class StagedFile {
  public:
    explicit StagedFile(std::filesystem::path path) : path_(std::move(path)) {}
    StagedFile(const StagedFile&) = delete;
    StagedFile& operator=(const StagedFile&) = delete;
    ~StagedFile() {
        std::error_code ignored;
        std::filesystem::remove(path_, ignored);
    }
    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

bool same_file_state(const struct stat& a, const struct stat& b) {
    return a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
           a.st_mtim.tv_nsec == b.st_mtim.tv_nsec && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

Result<void> write_all(int descriptor, const char* data, size_t size,
                       const std::filesystem::path& path) {
    while (size > 0) {
        const ssize_t written = ::write(descriptor, data, size);
        if (written < 0) {
            if (errno == EINTR) continue;
            return fail_errno(errno, fmt::format("cannot write {}", path.string()));
        }
        data += written;
        size -= static_cast<size_t>(written);
    }
    return {};
}

/// Hashes a file and, with a copy given, writes its bytes there.
Result<FileHash> read_through(const std::filesystem::path& path, size_t block_bytes,
                              const StagedFile* copy, const Deadline& deadline) {
    const std::string name = path.string();
    const Descriptor in(
        ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a pipe must not block
    if (!in.is_open()) return fail_errno(errno, fmt::format("cannot open {}", name));
    struct stat before {};
    if (::fstat(in.number(), &before) != 0)
        return fail_errno(errno, fmt::format("cannot look at {}", name));
    if (!S_ISREG(before.st_mode)) {
        return fail(ErrorCode::InvalidArgument, fmt::format("{} is no regular file", name),
                    "leave it out of the source's pattern");
    }
    ::posix_fadvise(in.number(), 0, 0, POSIX_FADV_SEQUENTIAL);
    Descriptor out(copy == nullptr
                       ? -1
                       : ::open(copy->path().c_str(),
                                O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (copy != nullptr && !out.is_open()) {
        return fail_errno(errno, fmt::format("cannot create {}", copy->path().string()));
    }

    Sha256 hash;
    FileHash result;
    std::string block(block_bytes, '\0');
    for (;;) {
        PX_TRY(deadline.check());
        const ssize_t got = ::read(in.number(), block.data(), block.size());
        if (got < 0) {
            if (errno == EINTR) continue;
            return fail_errno(errno, fmt::format("cannot read {}", name));
        }
        if (got == 0) break;
        const auto size = static_cast<size_t>(got);
        hash.update({block.data(), size});
        if (copy != nullptr) PX_TRY(write_all(out.number(), block.data(), size, copy->path()));
        result.size_bytes += got;
    }
    struct stat after {};
    struct stat named {};
    const bool still_there = ::fstat(in.number(), &after) == 0 && ::stat(path.c_str(), &named) == 0;
    if (!still_there || !same_file_state(before, after) || !same_file_state(before, named) ||
        result.size_bytes != before.st_size) {
        return fail(
            ErrorCode::Unavailable, fmt::format("{} changed while being read", name),
            "run again once its writer is done; writers should rename finished files into place");
    }
    if (copy != nullptr && !out.close()) {
        return fail_errno(errno, fmt::format("cannot write {}", copy->path().string()));
    }
    result.sha256 = to_hex(hash.finish());
    return result;
}

std::string lower_case(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) {
        return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    });
    return text;
}

bool is_plain_extension(std::string_view extension) {
    return !extension.empty() && extension.size() <= 16 &&
           std::all_of(extension.begin(), extension.end(), [](unsigned char c) {
               return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
           });
}

std::string extension_without_dot(const std::filesystem::path& path) {
    const std::string extension = lower_case(path.extension().string());
    return extension.empty() ? extension : extension.substr(1);
}

bool is_key_part(std::string_view part) {
    return !part.empty() && part != "." && part != ".." &&
           part.find('/') == std::string_view::npos && part.find('\0') == std::string_view::npos;
}

}  // namespace

Result<void> LandOptions::validate() const {
    const auto bad = [](std::string_view option, std::string_view value) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("landing option {}: \"{}\" cannot be part of a key", option, value),
                    "use letters, digits, - and _");
    };
    if (!is_key_part(source)) return bad("source", source);
    if (!is_key_part(ds)) return bad("ds", ds);
    if (copy_block_bytes < 1 || copy_block_bytes > (1 << 30)) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("landing option copy_block_bytes: {} is not in 1 to 2^30",
                                copy_block_bytes));
    }
    std::error_code error;
    if (!std::filesystem::is_directory(staging, error)) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("landing option staging: {} is no folder", staging.string()));
    }
    return {};
}

std::string landing_key(std::string_view source, std::string_view ds,
                        const std::filesystem::path& path, std::string_view sha256) {
    std::string extension = extension_without_dot(path);
    if (extension == "gz" || extension == "zst") {
        const std::string inner = extension_without_dot(path.stem());
        if (is_plain_extension(inner)) extension = inner + "." + extension;
    } else if (!is_plain_extension(extension)) {
        extension = "bin";
    }
    return fmt::format("{}/{}/{}.{}", source, ds, sha256, extension);
}

Result<FileHash> hash_file(const std::filesystem::path& path, const Deadline& deadline) {
    return read_through(path, 1 << 20, nullptr, deadline);
}

Result<std::vector<Landed>> land(const std::filesystem::path& base,
                                 const std::vector<std::filesystem::path>& files,
                                 const LandOptions& options, store::ObjectStore& landing_zone,
                                 Progress& progress, const Deadline& deadline) {
    static std::atomic<uint64_t> next_number{0};
    PX_TRY(options.validate());
    int64_t total = 0;
    for (const auto& file : files) {
        std::error_code error;
        const auto size = std::filesystem::file_size(base / file, error);
        if (!error) total += static_cast<int64_t>(size);
    }
    std::vector<Landed> landed;
    landed.reserve(files.size());
    int64_t done = 0;
    for (const auto& file : files) {
        const StagedFile staged(options.staging /
                                fmt::format("land-{}-{}.tmp", ::getpid(), ++next_number));
        const FileHash hash = PX_TRY(read_through(
            base / file, static_cast<size_t>(options.copy_block_bytes), &staged, deadline));
        const std::string key = landing_key(options.source, options.ds, file, hash.sha256);
        const auto stored =
            PX_TRY(landing_zone.head(key).context(fmt::format("landing {}", file.string())));
        if (!stored || stored->size_bytes != hash.size_bytes) {
            PX_TRY(landing_zone.put_file(key, staged.path())
                       .context(fmt::format("landing {}", file.string())));
        }
        landed.push_back({file.generic_string(), key, hash.sha256, hash.size_bytes});
        done += hash.size_bytes;
        progress.update("land", done, total, "bytes");
    }
    progress.finish("land");
    return landed;
}

}  // namespace px::source
