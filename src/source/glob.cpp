#include "source/glob.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

namespace px::source {

namespace {

/// Splits {a,b{c,d}} into its alternatives, multiplied out.
Result<std::vector<std::string>> expand_braces(std::string_view pattern, size_t max_patterns) {
    std::vector<std::string> open{std::string(pattern)};
    std::vector<std::string> done;
    while (!open.empty()) {
        const std::string current = std::move(open.back());
        open.pop_back();
        const size_t begin = current.find('{');
        if (begin == std::string::npos) {
            done.push_back(current);
            if (done.size() > max_patterns) break;
            continue;
        }
        std::vector<std::string> alternatives(1);
        size_t depth = 0;
        size_t end = std::string::npos;
        for (size_t i = begin; i < current.size(); ++i) {
            const char c = current[i];
            if (c == '{' && depth++ == 0) continue;
            if (c == '}' && --depth == 0) {
                end = i;
                break;
            }
            if (c == ',' && depth == 1) {
                alternatives.emplace_back();
            } else {
                alternatives.back() += c;
            }
        }
        if (end == std::string::npos) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("the pattern \"{}\" has an unclosed {{", pattern),
                        "write alternatives as {csv,tsv}");
        }
        for (const std::string& alternative : alternatives) {
            open.push_back(current.substr(0, begin) + alternative + current.substr(end + 1));
        }
        if (open.size() + done.size() > max_patterns) break;
    }
    if (open.size() + done.size() > max_patterns) {
        return fail(
            ErrorCode::ResourceExhausted,
            fmt::format("the pattern \"{}\" has more than {} alternatives", pattern, max_patterns));
    }
    return done;
}

std::vector<std::string> split_parts(std::string_view pattern) {
    std::vector<std::string> parts;
    size_t start = 0;
    while (start <= pattern.size()) {
        const size_t slash = std::min(pattern.find('/', start), pattern.size());
        const std::string_view part = pattern.substr(start, slash - start);
        if (!part.empty() && part != ".") parts.emplace_back(part);
        start = slash + 1;
    }
    return parts;
}

bool has_wildcard(std::string_view part) {
    return part.find_first_of("*?") != std::string_view::npos;
}

struct Folder {
    dev_t device;
    ino_t inode;
    bool operator==(const Folder&) const = default;
};

class Walk {
  public:
    Walk(const std::vector<std::string>& parts, const GlobOptions& options,
         std::vector<std::filesystem::path>& found)
        : parts_(parts), options_(options), found_(found) {}

    /// Matches parts_[part …] below the folder. shown: how its path is reported.
    Result<void> enter(const std::filesystem::path& folder, const std::filesystem::path& shown,
                       size_t part) {
        if (part == parts_.size()) return {};
        const std::string& pattern = parts_[part];
        if (pattern == "**") {
            PX_TRY(enter(folder, shown, part + 1));
            return descend(folder, shown, part);
        }
        if (!has_wildcard(pattern)) return visit(folder / pattern, shown / pattern, part);
        for (const std::string& name : PX_TRY(names_in(folder))) {
            if (glob_matches_name(pattern, name)) PX_TRY(visit(folder / name, shown / name, part));
        }
        return {};
    }

  private:
    /// A path that matched parts_[part].
    Result<void> visit(const std::filesystem::path& path, const std::filesystem::path& shown,
                       size_t part) {
        struct stat status {};
        if (::stat(path.c_str(), &status) != 0) {
            const int error = errno;
            if (error != ENOENT && error != ENOTDIR)
                return fail_errno(error, fmt::format("cannot look at {}", path.string()));
            struct stat link {};
            if (::lstat(path.c_str(), &link) != 0) return {};  // gone meanwhile
            return fail(ErrorCode::Unavailable,
                        fmt::format("{} is a link to something that is not there", path.string()),
                        "mount or restore what it points to, or remove the link; nothing was "
                        "changed");
        }
        if (part + 1 < parts_.size()) {
            if (S_ISDIR(status.st_mode)) return enter(path, shown, part + 1);
            return {};
        }
        if (!S_ISREG(status.st_mode)) return {};
        if (found_.size() >= options_.max_files) {
            return fail(ErrorCode::ResourceExhausted,
                        fmt::format("the pattern matches more than {} files", options_.max_files),
                        "narrow the pattern");
        }
        found_.push_back(shown);
        return {};
    }

    /// Every folder below, for `**` at parts_[part].
    Result<void> descend(const std::filesystem::path& folder, const std::filesystem::path& shown,
                         size_t part) {
        struct stat own {};
        if (::stat(folder.c_str(), &own) != 0 || !S_ISDIR(own.st_mode)) return {};
        const Folder identity{own.st_dev, own.st_ino};
        if (std::find(ancestors_.begin(), ancestors_.end(), identity) != ancestors_.end())
            return {};
        if (ancestors_.size() >= options_.max_depth) {
            return fail(ErrorCode::ResourceExhausted,
                        fmt::format("{} lies more than {} folders deep", folder.string(),
                                    options_.max_depth));
        }
        ancestors_.push_back(identity);
        for (const std::string& name : PX_TRY(names_in(folder))) {
            if (name[0] == '.') continue;
            struct stat status {};
            const std::filesystem::path path = folder / name;
            if (::stat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) continue;
            const Folder child{status.st_dev, status.st_ino};
            if (std::find(ancestors_.begin(), ancestors_.end(), child) != ancestors_.end())
                continue;
            PX_TRY(enter(path, shown / name, part + 1));
            PX_TRY(descend(path, shown / name, part));
        }
        ancestors_.pop_back();
        return {};
    }

    static Result<std::vector<std::string>> names_in(const std::filesystem::path& folder) {
        std::vector<std::string> names;
        const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(folder.c_str()), ::closedir);
        if (stream == nullptr) {
            if (errno == ENOENT || errno == ENOTDIR) return names;
            return unreadable(folder);
        }
        for (;;) {
            errno = 0;
            const dirent* const entry = ::readdir(stream.get());
            if (entry == nullptr) break;
            const std::string_view name = entry->d_name;
            if (name != "." && name != "..") names.emplace_back(name);
        }
        if (errno != 0) return unreadable(folder);
        std::sort(names.begin(), names.end());
        return names;
    }
    static Error unreadable(const std::filesystem::path& folder) {
        Error error = fail_errno(errno, fmt::format("cannot read the folder {}", folder.string()));
        if (error.code == ErrorCode::Forbidden) {
            error.hint = "give px the right to read and enter it, or narrow the pattern";
        }
        return error;
    }

    const std::vector<std::string>& parts_;
    const GlobOptions& options_;
    std::vector<std::filesystem::path>& found_;
    std::vector<Folder> ancestors_;
};

size_t character_size(std::string_view text, size_t at) {
    size_t size = 1;
    while (at + size < text.size() && (static_cast<unsigned char>(text[at + size]) & 0xC0) == 0x80)
        ++size;
    return size;
}

}  // namespace

bool glob_matches_name(std::string_view pattern, std::string_view name) {
    if (!name.empty() && name[0] == '.' && (pattern.empty() || pattern[0] != '.')) return false;
    size_t p = 0;
    size_t n = 0;
    size_t star = std::string_view::npos;  // the last * seen, and what it has eaten up to
    size_t eaten = 0;
    while (n < name.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            eaten = n;
        } else if (p < pattern.size() && pattern[p] == '?') {
            ++p;
            n += character_size(name, n);
        } else if (p < pattern.size() && pattern[p] == name[n]) {
            ++p;
            ++n;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            n = ++eaten;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

Result<std::vector<std::filesystem::path>> glob(const std::filesystem::path& base,
                                                std::string_view pattern,
                                                const GlobOptions& options) {
    if (pattern.empty()) {
        return fail(ErrorCode::InvalidArgument, "the pattern of files is empty",
                    "write one such as data/*.csv");
    }
    std::vector<std::filesystem::path> found;
    for (const std::string& single : PX_TRY(expand_braces(pattern, options.max_patterns))) {
        const std::vector<std::string> parts = split_parts(single);
        const bool absolute = !single.empty() && single[0] == '/';
        Walk walk(parts, options, found);
        if (absolute) {
            PX_TRY(walk.enter("/", "/", 0));
        } else {
            PX_TRY(walk.enter(base.empty() ? "." : base, {}, 0));
        }
    }
    std::sort(found.begin(), found.end(),
              [](const auto& a, const auto& b) { return a.native() < b.native(); });
    found.erase(std::unique(found.begin(), found.end()), found.end());
    return found;
}

}  // namespace px::source
