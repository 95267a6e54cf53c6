#include "engine/local/local_engine.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>

#include "capi/duckdb/duckdb_handle.h"
#include "engine/local/local_session.h"

namespace px::engine {
namespace {

constexpr std::string_view kFolderPrefix = "px_engine_";
constexpr int64_t kUncountedMb = 512;  // that DuckDB may use beyond its own limit

/// Removes what sessions of killed processes left behind.
void remove_stale_folders(const std::filesystem::path& temp_directory) {
    std::error_code error;
    for (auto entry = std::filesystem::directory_iterator(temp_directory, error);
         !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
        std::string name = entry->path().filename().string();
        if (!name.starts_with(kFolderPrefix)) continue;
        pid_t owner = 0;
        auto [end, bad] =
            std::from_chars(name.data() + kFolderPrefix.size(), name.data() + name.size(), owner);
        if (bad != std::errc() || owner <= 0 || *end != '_') continue;
        std::error_code ignored;
        if (kill(owner, 0) != 0 && errno == ESRCH)
            std::filesystem::remove_all(entry->path(), ignored);
    }
}

class LocalEngine final : public Engine {
  public:
    explicit LocalEngine(LocalEngineOptions options)
        : options_(std::move(options)),
          watchdog_(std::make_shared<Watchdog>(options_.growth_limit_mb << 20)) {}

    Result<std::unique_ptr<Session>> open_session() override {
        LocalEngineOptions options = options_;
        // DuckDB names its temporary files alike in every instance: each session gets a folder of
        // its own.
        options.temp_directory /=
            fmt::format("{}{}_{}", kFolderPrefix, getpid(), next_.fetch_add(1));
        return LocalSession::open(options, watchdog_);
    }

    std::string version() const override { return "DuckDB " + duckdb::library_version(); }

  private:
    LocalEngineOptions options_;
    std::shared_ptr<Watchdog> watchdog_;
    static inline std::atomic<int64_t> next_{0};
};

}  // namespace

Result<void> LocalEngineOptions::validate() const {
    if (memory_limit_mb < 32) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("engine memory_limit_mb {} is below 32", memory_limit_mb));
    }
    if (thread_count < 0 || thread_count > 1024) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("engine thread_count {} is not in 0 … 1024", thread_count));
    }
    if (growth_limit_mb < 0)
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("engine growth_limit_mb {} is negative", growth_limit_mb));
    if (max_temp_mb < 0)
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("engine max_temp_mb {} is negative", max_temp_mb));
    return {};
}

Result<std::unique_ptr<Engine>> open_local_engine(const LocalEngineOptions& options) {
    PX_TRY(options.validate());
    LocalEngineOptions filled = options;
    std::error_code error;
    if (filled.temp_directory.empty())
        filled.temp_directory = std::filesystem::temp_directory_path(error);
    if (!error) filled.temp_directory = std::filesystem::absolute(filled.temp_directory, error);
    if (error) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("engine temp_directory: {}", error.message()),
                    "name a folder that can be written");
    }
    if (filled.growth_limit_mb == 0) filled.growth_limit_mb = filled.memory_limit_mb + kUncountedMb;
    remove_stale_folders(filled.temp_directory);
    return std::unique_ptr<Engine>(std::make_unique<LocalEngine>(std::move(filled)));
}

}  // namespace px::engine
