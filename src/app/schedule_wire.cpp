#include "app/schedule_wire.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>

namespace px::app {

namespace {

/// When and how large a file is; "" when there is none, or it is empty.
std::string file_stamp(const std::string& file) {
    struct stat found {};
    if (::stat(file.c_str(), &found) != 0 || found.st_size == 0) return {};
    return fmt::format("{}:{}:{}.{}", found.st_ino, found.st_size, found.st_mtim.tv_sec,
                       found.st_mtim.tv_nsec);
}

bool begins_a_pipeline(const std::filesystem::path& file) {
    std::ifstream in(file);
    std::string line;
    for (int i = 0; i < 50 && std::getline(in, line); ++i) {
        if (line.starts_with("pipeline:")) return true;
    }
    return false;
}

bool is_yaml(const std::filesystem::path& file) {
    return file.extension() == ".yaml" || file.extension() == ".yml";
}

}  // namespace

std::filesystem::path schedule_log_folder(const Config& config) {
    return config.work_folder() / "logs" / "schedule";
}

Result<std::unique_ptr<catalog::ScheduleStore>> open_schedule_store(const Config& config,
                                                                    catalog::OpenMode mode,
                                                                    const Clock& clock) {
    const pipeline::Definition& definition = config.definition;
    const catalog::CatalogAddress address =
        PX_TRY(catalog::parse_catalog_address(definition.catalog_url, definition.base_folder)
                   .context("catalog.url"));
    return catalog::open_schedule(address, mode, clock);
}

Result<schedule::ScheduledPipeline> scheduled_pipeline(const Config& config,
                                                       const Environment& environment,
                                                       const Clock& clock) {
    const pipeline::Definition& definition = config.definition;
    const catalog::CatalogAddress address =
        PX_TRY(catalog::parse_catalog_address(definition.catalog_url, definition.base_folder)
                   .context("catalog.url"));
    schedule::ScheduledPipeline pipeline;
    pipeline.name = definition.name;
    pipeline.file = config.file;
    pipeline.due =
        PX_TRY(schedule::DueTimes::parse(definition.schedule.cron, definition.schedule.timezone)
                   .context(config.file.string()));
    pipeline.catchup = definition.schedule.catchup;
    pipeline.max_active_runs = definition.schedule.max_active_runs;
    pipeline.timeout = definition.schedule.timeout;
    pipeline.retries.attempts = definition.retries.attempts;
    pipeline.retries.delay = definition.retries.delay;
    pipeline.retries.exponential = definition.retries.exponential;
    pipeline.command = {environment.program.string(),
                        "run",
                        "--file",
                        config.file.string(),
                        "--ds",
                        "{ds}",
                        "--json"};
    pipeline.log_folder = schedule_log_folder(config);
    pipeline.open = [address, &clock] {
        return catalog::open_schedule(address, catalog::OpenMode::ReadWrite, clock);
    };
    if (address.kind == catalog::CatalogAddress::Kind::Sqlite) {
        const std::string file = address.file.string();
        pipeline.stamp = [file] { return file_stamp(file) + file_stamp(file + "-wal"); };
    }
    return pipeline;
}

Result<std::vector<std::filesystem::path>> find_pipeline_files(
    const std::vector<std::string>& words, const std::optional<std::string>& flag) {
    constexpr size_t kPipelinesMax = 10'000;
    std::vector<std::filesystem::path> files;
    if (words.empty()) {
        files.push_back(PX_TRY(find_pipeline_file(flag)));
        return files;
    }
    for (const std::string& word : words) {
        std::error_code code;
        if (!std::filesystem::is_directory(word, code)) {
            files.push_back(PX_TRY(find_pipeline_file(word)));
            continue;
        }
        const size_t before = files.size();
        for (std::filesystem::directory_iterator at(word, code), end; !code && at != end;
             at.increment(code)) {
            std::error_code ignored;
            if (at->is_directory(ignored)) {
                for (const char* name : {"pipeline.yaml", "pipeline.yml"}) {
                    if (std::filesystem::is_regular_file(at->path() / name, ignored))
                        files.push_back(std::filesystem::absolute(at->path() / name));
                }
            } else if (is_yaml(at->path()) && begins_a_pipeline(at->path())) {
                files.push_back(std::filesystem::absolute(at->path()));
            }
            if (files.size() > kPipelinesMax)
                return fail(ErrorCode::InvalidArgument,
                            fmt::format("{} holds more than {} pipelines", word, kPipelinesMax));
        }
        if (files.size() == before) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("there is no pipeline file in the folder {}", word),
                        "Name a folder with pipeline.yaml in it or in its folders");
        }
    }
    for (std::filesystem::path& file : files) file = file.lexically_normal();
    std::ranges::sort(files);
    files.erase(std::unique(files.begin(), files.end()), files.end());
    return files;
}

void Messengers::add(const Config& config) {
    if (config.notify.empty()) return;
    notifiers_[config.file] = std::make_unique<notify::Notifier>(config.notify);
}

void Messengers::tell(const schedule::Event& event) {
    const auto at = notifiers_.find(event.pipeline_file);
    if (at == notifiers_.end()) return;
    notify::Message message;
    message.kind = event.kind == schedule::Event::Kind::Failed   ? notify::Kind::Failure
                   : event.kind == schedule::Event::Kind::Halted ? notify::Kind::Halt
                                                                 : notify::Kind::Recovery;
    message.pipeline = event.item.pipeline;
    message.ds = event.item.ds;
    message.run_id = event.item.run_id;
    message.item = event.item.id;
    message.attempt = event.item.attempt;
    message.exit_code = event.item.exit_code;
    message.text = event.item.message;
    message.at = event.item.finished_at.value_or(0);
    at->second->send(std::move(message));
}

}  // namespace px::app
