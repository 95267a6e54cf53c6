#include "store/memory/memory_object_store.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "store/object_key.h"

namespace px::store {
namespace {

Error absent(std::string_view key) {
    return fail(ErrorCode::NotFound, fmt::format("no object '{}'", key));
}

}  // namespace

MemoryObjectStore::MemoryObjectStore(const Clock* clock) : clock_(clock ? clock : &system_clock_) {}

MemoryObjectStore::~MemoryObjectStore() {
    if (!cache_folder_.empty()) {
        std::error_code ignored;
        std::filesystem::remove_all(cache_folder_, ignored);
    }
}

TimestampMicros MemoryObjectStore::now() const { return clock_->now(); }

Result<std::optional<ObjectMeta>> MemoryObjectStore::head(std::string_view key) const {
    PX_TRY(validate_key(key));
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(key);
    if (found == objects_.end()) return std::optional<ObjectMeta>();
    return std::optional<ObjectMeta>(ObjectMeta{
        found->first, static_cast<int64_t>(found->second.bytes.size()), found->second.modified_at});
}

Result<std::string> MemoryObjectStore::get(std::string_view key) const {
    PX_TRY(validate_key(key));
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(key);
    if (found == objects_.end()) return absent(key);
    return found->second.bytes;
}

Result<std::string> MemoryObjectStore::get_range(std::string_view key, int64_t offset,
                                                 int64_t length) const {
    PX_TRY(validate_key(key));
    if (offset < 0 || length < 0) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("range {}+{} of object '{}' is negative", offset, length, key));
    }
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(key);
    if (found == objects_.end()) return absent(key);
    const std::string& bytes = found->second.bytes;
    const auto size = static_cast<int64_t>(bytes.size());
    if (offset > size || length > size - offset) {
        return fail(
            ErrorCode::Corrupt,
            fmt::format("object '{}' has {} bytes, bytes {} to {} were asked for", key, size,
                        offset, static_cast<uint64_t>(offset) + static_cast<uint64_t>(length)));
    }
    return bytes.substr(static_cast<size_t>(offset), static_cast<size_t>(length));
}

Result<void> MemoryObjectStore::put(std::string_view key, std::string_view bytes) {
    PX_TRY(validate_key(key));
    const std::lock_guard lock(mutex_);
    objects_.insert_or_assign(std::string(key), Object{std::string(bytes), now()});
    return {};
}

Result<void> MemoryObjectStore::put_if_absent(std::string_view key, std::string_view bytes) {
    PX_TRY(validate_key(key));
    const std::lock_guard lock(mutex_);
    if (objects_.contains(key)) {
        return fail(ErrorCode::AlreadyExists, fmt::format("object '{}' exists already", key));
    }
    objects_.emplace(std::string(key), Object{std::string(bytes), now()});
    return {};
}

Result<void> MemoryObjectStore::put_file(std::string_view key, const std::filesystem::path& file) {
    PX_TRY(validate_key(key));
    std::error_code error;
    if (!std::filesystem::is_regular_file(file, error)) {
        if (error) return fail_errno(error.value(), "cannot read " + file.string());
        return fail(ErrorCode::InvalidArgument, file.string() + " is not a regular file");
    }
    std::ifstream stream(file, std::ios::binary);
    if (!stream) return fail_errno(errno, "cannot read " + file.string());
    const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
    PX_TRY(put(key, bytes));
    std::filesystem::remove(file, error);
    return {};
}

Result<std::vector<ObjectMeta>> MemoryObjectStore::list(std::string_view prefix,
                                                        std::string_view start_after) const {
    PX_TRY(validate_prefix(prefix));
    std::vector<ObjectMeta> found;
    const std::lock_guard lock(mutex_);
    for (auto it = objects_.lower_bound(prefix);
         it != objects_.end() && it->first.starts_with(prefix); ++it) {
        if (it->first <= start_after) continue;
        found.push_back(
            {it->first, static_cast<int64_t>(it->second.bytes.size()), it->second.modified_at});
    }
    return found;
}

Result<void> MemoryObjectStore::remove(std::string_view key) {
    PX_TRY(validate_key(key));
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(key);
    if (found != objects_.end()) objects_.erase(found);
    return {};
}

Result<std::filesystem::path> MemoryObjectStore::local_path(std::string_view key) const {
    PX_TRY(validate_key(key));
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(key);
    if (found == objects_.end()) return absent(key);
    if (cache_folder_.empty()) {
        std::error_code error;
        const std::filesystem::path temporary = std::filesystem::temp_directory_path(error);
        std::string name = (temporary / "px-memory-XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr) return fail_errno(errno, "cannot create " + name);
        cache_folder_ = name;
    }
    const size_t slash = key.rfind('/');
    const std::filesystem::path folder = cache_folder_ / std::to_string(cached_files_++);
    std::error_code error;
    std::filesystem::create_directory(folder, error);
    const std::filesystem::path path =
        folder / std::string(slash == std::string_view::npos ? key : key.substr(slash + 1));
    std::ofstream stream(path, std::ios::binary);
    stream.write(found->second.bytes.data(),
                 static_cast<std::streamsize>(found->second.bytes.size()));
    stream.close();
    if (!stream)
        return fail(ErrorCode::ResourceExhausted, "cannot write " + path.string(),
                    "Free disk space");
    return path;
}

}  // namespace px::store
