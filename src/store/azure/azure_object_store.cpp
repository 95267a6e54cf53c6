#include "store/azure/azure_object_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/parallel.h"
#include "base/sha256.h"
#include "base/utf8.h"
#include "capi/curl/digest.h"
#include "store/object_key.h"

namespace px::store {
namespace {

constexpr int64_t kBlocksMax = 50'000;
constexpr size_t kKnownMax = 100'000;
constexpr int kUploadsMax = 3;
constexpr int kDownloadsMax = 3;
constexpr size_t kPieceBytes = 1 << 20;

Result<void> validate_text(std::string_view text) {
    const bool control = std::any_of(text.begin(), text.end(), [](char c) {
        return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
    });
    if (!control && utf8_is_valid(text)) return {};
    return fail(ErrorCode::InvalidArgument,
                "a key of Azure must be UTF-8 without control characters", "Rename the object");
}

Result<void> validate_azure_key(std::string_view key) {
    PX_TRY(validate_key(key));
    // The service takes a backslash for a slash, and drops dots at the end of a part.
    const bool odd = key.find('\\') != std::string_view::npos || key.ends_with('.') ||
                     key.find("./") != std::string_view::npos;
    if (odd) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("Azure can't keep the name '{}': parts of names may not end with "
                                "a dot or hold a backslash",
                                key),
                    "Rename the object");
    }
    return validate_text(key);
}

class Descriptor {
  public:
    explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
    ~Descriptor() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return descriptor_; }

  private:
    int descriptor_;
};

Result<size_t> read_at(int descriptor, int64_t offset, char* buffer, size_t size) {
    size_t done = 0;
    while (done < size) {
        const ssize_t got =
            ::pread(descriptor, buffer + done, size - done, offset + static_cast<int64_t>(done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_errno(errno, "cannot read the file to store");
        if (got == 0) break;
        done += static_cast<size_t>(got);
    }
    return done;
}

Result<void> write_at(int descriptor, int64_t offset, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::pwrite(descriptor, bytes.data(), bytes.size(), offset);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return fail_errno(errno, "cannot write a copy into the cache");
        bytes.remove_prefix(static_cast<size_t>(written));
        offset += written;
    }
    return {};
}

}  // namespace

/// What is to be stored: bytes in memory, or an open file.
struct AzureObjectStore::Source {
    std::string_view bytes;
    int descriptor = -1;
    int64_t size_bytes = 0;

    /// Exactly [offset, offset + length), into buffer when it is a file.
    Result<std::string_view> read(int64_t offset, int64_t length, std::string& buffer) const {
        if (descriptor < 0)
            return bytes.substr(static_cast<size_t>(offset), static_cast<size_t>(length));
        buffer.resize(static_cast<size_t>(length));
        const size_t got = PX_TRY(read_at(descriptor, offset, buffer.data(), buffer.size()));
        if (got != buffer.size())
            return fail(ErrorCode::Corrupt, "the file to store became shorter while it was read");
        return std::string_view(buffer);
    }
};

Result<void> AzureObjectStoreOptions::validate() const {
    PX_TRY(http.validate());
    PX_TRY(retry.validate());
    if (single_put_bytes_max < 0 || single_put_bytes_max > (int64_t{1} << 30) || block_bytes < 1 ||
        block_bytes > (int64_t{1} << 30) || blocks_in_flight < 1 || blocks_in_flight > 64 ||
        list_pages_max < 1)
        return fail(ErrorCode::InvalidArgument,
                    "Azure store: blocks of 1 byte to 1 GiB, 1 to 64 of them in flight");
    return {};
}

AzureObjectStore::AzureObjectStore(AzureAddress address, AzureCredentials credentials,
                                   FileCacheOptions cache, AzureObjectStoreOptions options)
    : options_(std::move(options)),
      client_(std::move(address), std::move(credentials), options_.http, options_.retry),
      cache_(std::move(cache)) {}

Result<ServiceFacts> AzureObjectStore::facts() const {
    ServiceFacts facts = PX_TRY(client_.facts());
    facts.free_bytes = PX_TRY(cache_.room_bytes());
    return facts;
}

Result<bool> AzureObjectStore::ensure_container() {
    if (PX_TRY(client_.container_exists())) return false;
    const bool created = PX_TRY(client_.create_container());
    if (created) {
        log::info("store.container_created", {{"container", client_.address().container},
                                              {"account", client_.address().account}});
    }
    return created;
}

Result<std::optional<ObjectMeta>> AzureObjectStore::head(std::string_view key) const {
    PX_TRY(validate_azure_key(key));
    const auto properties = PX_TRY(client_.properties(client_.address().blob_name(key)));
    if (!properties) return std::optional<ObjectMeta>();
    return std::optional(ObjectMeta{std::string(key), properties->size_bytes,
                                    properties->modified_at, properties->content_md5});
}

Result<std::string> AzureObjectStore::get(std::string_view key) const {
    PX_TRY(validate_azure_key(key));
    return client_.get(client_.address().blob_name(key));
}

Result<std::string> AzureObjectStore::get_range(std::string_view key, int64_t offset,
                                                int64_t length) const {
    PX_TRY(validate_azure_key(key));
    if (offset < 0 || length < 0) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("range {}+{} of '{}' is negative", offset, length, key));
    }
    const std::string name = client_.address().blob_name(key);
    std::string bytes;
    int64_t size = -1;
    if (length > 0 && offset <= std::numeric_limits<int64_t>::max() - length) {
        bytes = PX_TRY(client_.get_range(name, offset, length));
    } else {  // nothing a request could ask for
        const auto properties = PX_TRY(client_.properties(name));
        if (!properties)
            return fail(ErrorCode::NotFound, fmt::format("no object '{}' in {}", key, url()));
        size = properties->size_bytes;
    }
    if (static_cast<int64_t>(bytes.size()) == length && (size < 0 || offset <= size)) return bytes;
    return fail(
        ErrorCode::Corrupt,
        fmt::format("object '{}' of {} is shorter than {} + {} bytes", key, url(), offset, length),
        "It is shorter than what refers to it says; restore it");
}

Result<BlobProperties> AzureObjectStore::upload(std::string_view name, const Source& source,
                                                const WriteCondition& condition,
                                                CachedFile* digests) {
    if (source.size_bytes <= options_.single_put_bytes_max) {
        std::string buffer;
        const std::string_view bytes = PX_TRY(source.read(0, source.size_bytes, buffer));
        if (digests) {
            digests->sha256_hex = sha256_hex(bytes);
            digests->md5 = capi::curl::md5(bytes);
        }
        return client_.put(name, bytes, condition);
    }
    int64_t block_bytes = options_.block_bytes;
    while (source.size_bytes / block_bytes >= kBlocksMax) block_bytes *= 2;
    const int64_t count = (source.size_bytes + block_bytes - 1) / block_bytes;

    // The digests of the whole, by a pass of its own beside the upload.
    std::string md5, sha256;
    Result<void> digested;
    std::jthread digester([&](const std::stop_token& stop) {
        capi::curl::Md5 whole_md5;
        Sha256 whole_sha256;
        std::string buffer;
        for (int64_t offset = 0; offset < source.size_bytes && !stop.stop_requested();) {
            const int64_t length =
                std::min<int64_t>(static_cast<int64_t>(kPieceBytes), source.size_bytes - offset);
            const auto bytes = source.read(offset, length, buffer);
            if (!bytes) {
                digested = bytes.error();
                return;
            }
            whole_md5.update(*bytes);
            if (digests) whole_sha256.update(*bytes);
            offset += length;
        }
        md5 = whole_md5.finish();
        sha256 = to_hex(whole_sha256.finish());
    });

    for (int upload = 1;; ++upload) {
        // Ids of this upload alone, all of one length: another writer of the same name never meets
        // them, and a repeated request stages the same block again.
        const std::string upload_id = capi::curl::random_hex(16);
        std::vector<std::string> ids;
        for (int64_t i = 0; i < count; ++i) ids.push_back(fmt::format("{}-{:06}", upload_id, i));
        PX_TRY(parallel_for(
            static_cast<size_t>(count), options_.blocks_in_flight, Deadline::never(),
            [&](size_t i) -> Result<void> {
                thread_local std::string buffer;
                const int64_t offset = static_cast<int64_t>(i) * block_bytes;
                const std::string_view bytes = PX_TRY(
                    source.read(offset, std::min(block_bytes, source.size_bytes - offset), buffer));
                return client_.put_block(name, ids[i], bytes);
            }));
        if (digester.joinable()) digester.join();
        PX_TRY(digested);
        std::optional<BlobProperties> committed =
            PX_TRY(client_.put_blocks(name, ids, condition, md5));
        if (!committed) {
            // A commit of another writer of the same name drops blocks that are only staged.
            if (upload < kUploadsMax) continue;
            return fail(ErrorCode::Conflict,
                        fmt::format("others write blob '{}' again and again", name), "Try again");
        }
        if (digests) {
            digests->md5 = md5;
            digests->sha256_hex = sha256;
        }
        return std::move(*committed);
    }
}

Result<void> AzureObjectStore::put(std::string_view key, std::string_view bytes) {
    PX_TRY(validate_azure_key(key));
    forget(key);
    PX_TRY(upload(client_.address().blob_name(key),
                  Source{bytes, -1, static_cast<int64_t>(bytes.size())}, WriteCondition::always(),
                  nullptr));
    forget(key);  // what another thread has seen of it meanwhile
    return {};
}

Result<void> AzureObjectStore::put_if_absent(std::string_view key, std::string_view bytes) {
    PX_TRY(validate_azure_key(key));
    forget(key);
    PX_TRY(upload(client_.address().blob_name(key),
                  Source{bytes, -1, static_cast<int64_t>(bytes.size())}, WriteCondition::absent(),
                  nullptr));
    return {};
}

Result<void> AzureObjectStore::put_file(std::string_view key, const std::filesystem::path& file) {
    PX_TRY(validate_azure_key(key));
    const Descriptor opened(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    if (opened.get() < 0) return fail_errno(errno, "cannot open " + file.string());
    struct stat status {};
    if (::fstat(opened.get(), &status) != 0)
        return fail_errno(errno, "cannot look at " + file.string());
    if (!S_ISREG(status.st_mode))
        return fail(ErrorCode::InvalidArgument, file.string() + " is no file");
    forget(key);
    CachedFile digests;
    const BlobProperties written =
        PX_TRY(upload(client_.address().blob_name(key), Source{{}, opened.get(), status.st_size},
                      WriteCondition::always(), &digests)
                   .context("file " + file.string()));
    BlobProperties properties = written;
    properties.size_bytes = status.st_size;
    properties.content_md5 = digests.md5;
    CachedFile cached = cached_file(key, properties);
    cached.sha256_hex = digests.sha256_hex;
    if (!cache_.adopt(cached, file) && ::unlink(file.c_str()) != 0)
        return fail_errno(errno, "stored, but cannot remove " + file.string());
    return {};
}

Result<std::vector<ObjectMeta>> AzureObjectStore::list(std::string_view prefix,
                                                       std::string_view start_after) const {
    PX_TRY(validate_prefix(prefix));
    PX_TRY(validate_text(prefix));
    const std::string root =
        client_.address().path.empty() ? std::string() : client_.address().path + "/";
    const std::string whole = root + std::string(prefix);
    std::vector<ObjectMeta> objects;
    std::string marker;
    for (size_t pages = 0;; ++pages) {
        if (pages >= options_.list_pages_max) {
            return fail(ErrorCode::ResourceExhausted,
                        fmt::format("'{}' of {} has more than {} pages of objects", prefix, url(),
                                    options_.list_pages_max),
                        "List a longer prefix");
        }
        ListPage page = PX_TRY(client_.list(whole, marker));
        for (ListedBlob& blob : page.blobs) {
            if (blob.is_folder || !blob.name.starts_with(whole)) continue;
            std::string key = blob.name.substr(root.size());
            if (key <= start_after || !validate_key(key)) continue;
            objects.push_back(
                {std::move(key), blob.size_bytes, blob.modified_at, std::move(blob.content_md5)});
        }
        if (page.next_marker.empty()) break;
        if (page.next_marker == marker) {
            return fail(ErrorCode::Corrupt,
                        fmt::format("the listing of {} does not come to an end", url()));
        }
        marker = std::move(page.next_marker);
    }
    std::sort(objects.begin(), objects.end(),
              [](const ObjectMeta& a, const ObjectMeta& b) { return a.key < b.key; });
    objects.erase(
        std::unique(objects.begin(), objects.end(),
                    [](const ObjectMeta& a, const ObjectMeta& b) { return a.key == b.key; }),
        objects.end());
    return objects;
}

Result<void> AzureObjectStore::remove(std::string_view key) {
    PX_TRY(validate_azure_key(key));
    forget(key);
    return client_.remove(client_.address().blob_name(key));
}

void AzureObjectStore::forget(std::string_view key) const {
    const std::lock_guard lock(mutex_);
    known_.erase(std::string(key));
}

CachedFile AzureObjectStore::cached_file(std::string_view key,
                                         const BlobProperties& properties) const {
    const AzureAddress& address = client_.address();
    const std::string name = address.blob_name(key);
    return {.identity = fmt::format("{}\n{}\n{}\n{}", address.endpoint, address.container, name,
                                    properties.etag),
            .shown = fmt::format("'{}' of {}", key, url()),
            .extension = std::filesystem::path(key).extension().string(),
            .size_bytes = properties.size_bytes,
            .md5 = properties.content_md5};
}

Result<void> AzureObjectStore::download(const std::string& name, const BlobProperties& properties,
                                        int descriptor) const {
    const int64_t count = (properties.size_bytes + options_.block_bytes - 1) / options_.block_bytes;
    return parallel_for(
        static_cast<size_t>(count), options_.blocks_in_flight, Deadline::never(),
        [&](size_t i) -> Result<void> {
            const int64_t begin = static_cast<int64_t>(i) * options_.block_bytes;
            const int64_t length = std::min(options_.block_bytes, properties.size_bytes - begin);
            int64_t received = 0;
            PX_TRY(client_.get_range(
                name, begin, length, properties.etag,
                [&](int64_t offset, std::string_view bytes) -> Result<void> {
                    received = offset + static_cast<int64_t>(bytes.size());
                    if (received > length) {
                        return fail(ErrorCode::Corrupt,
                                    fmt::format("the service answered more than the {} bytes "
                                                "asked for of blob '{}'",
                                                length, name));
                    }
                    return write_at(descriptor, begin + offset, bytes);
                }));
            if (received == length) return {};
            return fail(ErrorCode::Corrupt,
                        fmt::format("blob '{}' ends before byte {}", name, begin + length));
        });
}

Result<std::filesystem::path> AzureObjectStore::local_path(std::string_view key) const {
    PX_TRY(validate_azure_key(key));
    const std::string name = client_.address().blob_name(key);
    for (int attempt = 1;; ++attempt) {
        std::optional<BlobProperties> properties;
        {
            const std::lock_guard lock(mutex_);
            if (const auto known = known_.find(std::string(key)); known != known_.end())
                properties = known->second;
        }
        if (!properties) {
            properties = PX_TRY(client_.properties(name));
            if (!properties) {
                return fail(ErrorCode::NotFound, fmt::format("no object '{}' in {}", key, url()));
            }
            const std::lock_guard lock(mutex_);
            if (known_.size() >= kKnownMax) known_.clear();
            known_[std::string(key)] = *properties;
        }
        auto path = cache_.get(cached_file(key, *properties), [&](int descriptor) {
            return download(name, *properties, descriptor);
        });
        if (path) return path;
        const ErrorCode code = path.error().code;
        // Replaced, removed or damaged on the way: look at it again.
        forget(key);
        if ((code != ErrorCode::Conflict && code != ErrorCode::Corrupt) || attempt >= kDownloadsMax)
            return path;
    }
}

}  // namespace px::store
