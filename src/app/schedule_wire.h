// What the scheduler needs of a pipeline file, and how its catalog is reached. Rank 6.
#pragma once

#include <memory>
#include <vector>

#include "app/config.h"
#include "catalog/schedule_state.h"
#include "notify/notifier.h"
#include "schedule/scheduler.h"

namespace px::app {

/// The runs of a pipeline file as the scheduler works on them: `px run --file F --ds DS` by this
/// very program. The clock outlives it. Errors: InvalidArgument (cron, time zone, address).
Result<schedule::ScheduledPipeline> scheduled_pipeline(const Config& config,
                                                       const Environment& environment,
                                                       const Clock& clock);
Result<std::unique_ptr<catalog::ScheduleStore>> open_schedule_store(const Config& config,
                                                                    catalog::OpenMode mode,
                                                                    const Clock& clock);
std::filesystem::path schedule_log_folder(const Config& config);

/// The pipeline files meant by words of a command line: files, and folders (every pipeline.yaml in
/// them or one below, and other .yaml files that begin a pipeline). None: as find_pipeline_file.
Result<std::vector<std::filesystem::path>> find_pipeline_files(
    const std::vector<std::string>& words, const std::optional<std::string>& flag);

/// Tells people what became of runs, as each pipeline's `notify` section says.
class Messengers {
  public:
    void add(const Config& config);
    void tell(const schedule::Event& event);

  private:
    std::map<std::filesystem::path, std::unique_ptr<notify::Notifier>> notifiers_;
};

}  // namespace px::app
