// ObjectStore in memory, for tests of the rooms above it. Rank 2. Thread-safe; nothing survives the
// object.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>

#include "store/object_store.h"

namespace px::store {

class MemoryObjectStore final : public ObjectStore {
  public:
    /// clock gives modified_at and outlives the store; null: the machine's clock. The container
    /// exists from the start.
    explicit MemoryObjectStore(const Clock* clock = nullptr);
    ~MemoryObjectStore() override;

    std::string url() const override { return "memory:"; }
    Result<ServiceFacts> facts() const override { return ServiceFacts(); }
    Result<bool> ensure_container() override { return false; }
    Result<std::optional<ObjectMeta>> head(std::string_view key) const override;
    Result<std::string> get(std::string_view key) const override;
    Result<std::string> get_range(std::string_view key, int64_t offset,
                                  int64_t length) const override;
    Result<void> put(std::string_view key, std::string_view bytes) override;
    Result<void> put_if_absent(std::string_view key, std::string_view bytes) override;
    Result<void> put_file(std::string_view key, const std::filesystem::path& file) override;
    Result<std::vector<ObjectMeta>> list(std::string_view prefix,
                                         std::string_view start_after = {}) const override;
    Result<void> remove(std::string_view key) override;
    /// A copy in a private temporary folder, kept until the store is gone.
    Result<std::filesystem::path> local_path(std::string_view key) const override;

  private:
    struct Object {
        std::string bytes;
        TimestampMicros modified_at = 0;
    };
    TimestampMicros now() const;

    SystemClock system_clock_;
    const Clock* clock_;
    mutable std::mutex mutex_;
    std::map<std::string, Object, std::less<>> objects_;
    mutable std::filesystem::path cache_folder_;
    mutable int64_t cached_files_ = 0;
};

}  // namespace px::store
