// ObjectStore in a folder: an object is a file, a key its path below the folder. Rank 2.
// Thread-safe, and safe between processes of one machine that share the folder. Writes go to a
// temporary file beside their place, are fsynced, then renamed or linked; the folders on the way
// are fsynced, so what was answered with Ok survives a power cut. Symbolic links below the folder
// are not followed (Forbidden) and not listed. Temporary files (".px-tmp-<pid>-<start>-<n>") are
// never listed; sweep_temporary() removes those of dead processes.
#pragma once

#include <mutex>
#include <unordered_set>

#include "store/object_store.h"

namespace px::store {

struct LocalObjectStoreOptions {
    /// How put_if_absent publishes. HardLink falls back to ExclusiveRename where the file system
    /// has no links.
    enum class Publish { HardLink, ExclusiveRename };
    Publish publish = Publish::HardLink;
};

class LocalObjectStore final : public ObjectStore {
  public:
    /// folder is made absolute now and created by ensure_container(). url: as the configuration has
    /// it.
    LocalObjectStore(std::filesystem::path folder, std::string url,
                     LocalObjectStoreOptions options = {});

    std::string url() const override { return url_; }
    const std::filesystem::path& folder() const { return folder_; }

    Result<ServiceFacts> facts() const override;
    Result<bool> ensure_container() override;
    Result<std::optional<ObjectMeta>> head(std::string_view key) const override;
    Result<std::string> get(std::string_view key) const override;
    Result<std::string> get_range(std::string_view key, int64_t offset,
                                  int64_t length) const override;
    /// Besides the port's errors: NotFound when the container is missing.
    Result<void> put(std::string_view key, std::string_view bytes) override;
    /// Besides: OutcomeUnknown when the object is there but its folder could not be fsynced.
    Result<void> put_if_absent(std::string_view key, std::string_view bytes) override;
    /// The file is moved; copied when it is on another file system.
    Result<void> put_file(std::string_view key, const std::filesystem::path& file) override;
    Result<std::vector<ObjectMeta>> list(std::string_view prefix,
                                         std::string_view start_after = {}) const override;
    Result<void> remove(std::string_view key) override;
    Result<std::filesystem::path> local_path(std::string_view key) const override;

    /// Removes temporary files whose process is gone and returns how many. Call at start; safe
    /// while others write.
    Result<int64_t> sweep_temporary() override;

  private:
    class Folder;
    Error failed(int error_number, std::string_view what, std::string_view key) const;
    Result<std::string> read(std::string_view key, int64_t offset,
                             std::optional<int64_t> asked) const;
    Result<Folder> open_root() const;
    Result<Folder> open_parent(std::string_view key) const;
    Result<Folder> create_parent(std::string_view key);
    Result<std::string> write_temporary(const Folder& parent, std::string_view key,
                                        std::string_view bytes) const;
    Result<std::string> copy_temporary(const Folder& parent, std::string_view key,
                                       int source) const;

    std::filesystem::path folder_;
    std::string url_;
    LocalObjectStoreOptions options_;
    std::mutex mutex_;
    /// Folders whose entry in their parent this process has fsynced. Bounded; see create_parent.
    std::unordered_set<std::string> durable_folders_;
};

/// Opens the store of an address: "./lake", "lake", "/data/lake", "file:lake", "file:///data/lake";
/// relative ones are below base_folder. The folder need not exist yet. Errors: InvalidArgument for
/// any other scheme.
Result<std::unique_ptr<ObjectStore>> open_object_store(std::string_view url,
                                                       const std::filesystem::path& base_folder);

}  // namespace px::store
