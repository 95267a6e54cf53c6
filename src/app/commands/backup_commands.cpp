#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <thread>

#include "app/commands/commands.h"
#include "app/progress_bar.h"
#include "base/log.h"
#include "pipeline/backup.h"
#include "pipeline/migrate.h"
#include "px_version.h"
#include "store/local/local_object_store.h"

namespace px::app {

namespace {

namespace json = boost::json;
using pipeline::BackupInfo;
using pipeline::BackupState;

std::filesystem::path absolute(const std::string& folder) {
    std::filesystem::path path =
        std::filesystem::absolute(std::filesystem::path(folder)).lexically_normal();
    return path.has_filename() ? path : path.parent_path();
}

/// The pipeline of `config` with its stores in a backup's folder. catalog may stand elsewhere:
/// opening one writes beside it. base: for locks and scratch.
Result<std::unique_ptr<App>> open_backup(const Config& config, const CommandContext& context,
                                         const std::filesystem::path& folder,
                                         const std::filesystem::path& catalog,
                                         const std::filesystem::path& base) {
    Environment environment = context.environment;
    const auto part = [&](std::string_view name) { return (folder / name).string(); };
    environment.variables["PX_LANDING_URL"] = part(pipeline::kBackupLanding);
    environment.variables["PX_LAKE_URL"] = part(pipeline::kBackupLake);
    environment.variables["PX_VECTORS_URL"] = "embedded:" + part(pipeline::kBackupIndex);
    environment.variables["PX_CATALOG_URL"] = "sqlite:" + catalog.string();
    Config here = PX_TRY(parse_config(config.definition.text, config.file, environment));
    here.definition.base_folder = base;
    return App::create(std::move(here), std::move(environment));
}

/// A folder that is gone at the end.
class Scratch {
  public:
    explicit Scratch(std::filesystem::path path) : path_(std::move(path)) {}
    ~Scratch() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

json::object info_json(const BackupInfo& info, const std::filesystem::path& folder) {
    return {{"folder", folder.string()},     {"pipeline", info.pipeline}, {"px", info.px_version},
            {"created_at", info.created_at}, {"release", info.release},   {"run", info.run},
            {"releases", info.releases},     {"files", info.files},       {"bytes", info.bytes}};
}

std::string releases_text(int64_t count) {
    return count == 1 ? std::string("1 release") : fmt::format("{} releases", count);
}

std::string megabytes(int64_t bytes) {
    return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
}

struct BackupOptions {
    std::string folder;
    std::string base;
    bool verify = false;
};

Result<int> verify(CommandContext& context, const std::filesystem::path& folder) {
    const BackupInfo info = PX_TRY(pipeline::read_backup(folder));
    const std::unique_ptr<Progress> progress = make_progress();
    PX_TRY(pipeline::verify_backup(folder, info, std::thread::hardware_concurrency(), *progress,
                                   context.deadline()));
    print(context.json ? json::serialize(info_json(info, folder)) + "\n"
                       : fmt::format("{}: whole, {} files, {}; pipeline {}, release {} of {}\n",
                                     folder.string(), info.files, megabytes(info.bytes),
                                     info.pipeline, info.release, info.created_at));
    return kExitDone;
}

/// Errors: InvalidArgument when the backup would lie in what it is a backup of.
Result<void> check_apart(const std::filesystem::path& folder,
                         const pipeline::MigrationSide& source) {
    std::error_code ignored;
    const std::string place = std::filesystem::weakly_canonical(folder, ignored).string() + "/";
    for (const std::string* kept :
         {&source.landing_place, &source.lake_place, &source.index_place, &source.catalog_place}) {
        if (kept->empty() || !place.starts_with(*kept + "/")) continue;
        return fail(
            ErrorCode::InvalidArgument,
            fmt::format("{} lies in {}, which it is to be a backup of", folder.string(), *kept),
            "Name a folder elsewhere, best on another disk");
    }
    return {};
}

Result<int> backup(CommandContext& context, const BackupOptions& options) {
    const std::filesystem::path folder = absolute(options.folder);
    if (options.verify) return verify(context, folder);
    const auto source = PX_TRY(context.open_app());
    const pipeline::StepObserver step = source->run_services().step;
    const pipeline::MigrationSide from = PX_TRY(source->migration_side());
    PX_TRY(check_apart(folder, from));
    const std::string& name = source->definition().name;
    if (PX_TRY(pipeline::backup_state(folder)) == BackupState::Whole) {
        const BackupInfo there = PX_TRY(pipeline::read_backup(folder));
        const auto latest = PX_TRY(PX_TRY(source->catalog())->latest_release());
        if (latest && there.pipeline == name && there.release == latest->id.value &&
            there.run == latest->run.value) {
            print(context.json ? json::serialize(info_json(there, folder)) + "\n"
                               : fmt::format("{} is the backup of release {} already\n",
                                             folder.string(), there.release));
            return kExitNothingToDo;
        }
        return fail(ErrorCode::AlreadyExists,
                    fmt::format("{} is a backup of pipeline {}, release {}", folder.string(),
                                there.pipeline, there.release),
                    fmt::format("Name another folder; with --base {} what did not change takes no "
                                "room again",
                                folder.string()));
    }
    PX_TRY(pipeline::begin_backup(folder));
    step("backup.begin");
    int64_t linked = 0;
    if (!options.base.empty()) {
        const std::filesystem::path base = absolute(options.base);
        const BackupInfo older = PX_TRY(pipeline::read_backup(base).context("--base"));
        if (older.pipeline != name) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("--base {} is a backup of pipeline {}, not of {}",
                                    base.string(), older.pipeline, name),
                        "Name a backup of this pipeline, or none");
        }
        const auto link = [&](std::string_view part, const store::ObjectStore& store) {
            return pipeline::link_unchanged(store, base, folder, part, context.deadline());
        };
        linked += PX_TRY(link(pipeline::kBackupLanding, from.landing));
        linked += PX_TRY(link(pipeline::kBackupLake, from.lake));
        if (from.index) linked += PX_TRY(link(pipeline::kBackupIndex, *from.index));
    }
    BackupInfo info;
    info.px_version = kVersion;
    info.pipeline = name;
    int64_t sent = 0;
    {
        const std::unique_ptr<App> target = PX_TRY(open_backup(
            source->config(), context, folder, folder / pipeline::kBackupCatalog, folder));
        const pipeline::MigrationReport report =
            PX_TRY(pipeline::migrate(from, PX_TRY(target->migration_side()), source->clock(),
                                     source->progress(), step, context.deadline()));
        for (const pipeline::MigratedStore& store : report.stores) sent += store.copied;
        info.releases = report.releases;
        const std::unique_ptr<catalog::Catalog> copied =
            PX_TRY(target->open_catalog(catalog::OpenMode::ReadOnly));
        const auto latest = PX_TRY(copied->latest_release());
        info.release = latest->id.value;
        info.run = latest->run.value;
    }
    // What the target needed while it was worked with.
    std::error_code ignored;
    std::filesystem::remove_all(folder / ".px", ignored);
    std::filesystem::remove(folder / fmt::format("{}.lock", pipeline::kBackupCatalog), ignored);
    PX_TRY(store::LocalObjectStore(folder, folder.string())
               .put(pipeline::kBackupPipelineFile, source->definition().text));
    step("backup.copied");
    info.created_at = format_timestamp(source->clock().now());
    info = PX_TRY(pipeline::finish_backup(folder, std::move(info), source->config().thread_count(),
                                          source->progress(), context.deadline()));
    step("backup.end");
    if (context.json) {
        json::object told = info_json(info, folder);
        told["linked"] = linked;
        told["copied"] = sent;
        print(json::serialize(told) + "\n");
    } else {
        print(
            fmt::format("Backup of {} at release {}, {} in all: {}\n  {} files, {}; {} copied, "
                        "{} shared with the one before\nTo bring it back: px restore {}\n",
                        info.pipeline, info.release, releases_text(info.releases), folder.string(),
                        info.files, megabytes(info.bytes), sent, linked, folder.string()));
    }
    return kExitDone;
}

Result<int> restore(CommandContext& context, const std::string& from) {
    const std::filesystem::path folder = absolute(from);
    const BackupInfo info = PX_TRY(pipeline::read_backup(folder));
    Result<std::unique_ptr<App>> opened = context.open_app();
    if (!opened && !context.file && !std::filesystem::exists("pipeline.yaml") &&
        !std::filesystem::exists("pipeline.yml")) {
        return fail(ErrorCode::InvalidArgument, "there is no pipeline file in this folder",
                    fmt::format("cp {} . (and correct its addresses, if they are others now)",
                                (folder / pipeline::kBackupPipelineFile).string()));
    }
    const std::unique_ptr<App> target = PX_TRY(std::move(opened));
    if (target->definition().name != info.pipeline) {
        return fail(
            ErrorCode::InvalidArgument,
            fmt::format("{} is a backup of pipeline {}, and {} is of {}", folder.string(),
                        info.pipeline, target->config().file.string(), target->definition().name),
            "Use that pipeline's file (--file)");
    }
    PX_TRY(pipeline::verify_backup(folder, info, target->config().thread_count(),
                                   target->progress(), context.deadline()));
    const pipeline::StepObserver step = target->run_services().step;
    step("restore.verified");
    // A catalog that is opened is written to, and a backup is not.
    const Scratch scratch(target->config().work_folder() / "scratch" /
                          fmt::format("restore-{}", ::getpid()));
    const std::filesystem::path catalog = scratch.path() / pipeline::kBackupCatalog;
    std::error_code code;
    std::filesystem::create_directories(scratch.path(), code);
    if (!code) std::filesystem::copy_file(folder / pipeline::kBackupCatalog, catalog, code);
    if (!code) {
        std::filesystem::permissions(catalog, std::filesystem::perms::owner_write,
                                     std::filesystem::perm_options::add, code);
    }
    if (code) return fail_errno(code.value(), "cannot copy the catalog to " + catalog.string());
    const std::unique_ptr<App> source =
        PX_TRY(open_backup(target->config(), context, folder, catalog, scratch.path()));
    const pipeline::MigrationReport report =
        PX_TRY(pipeline::migrate(PX_TRY(source->migration_side()), PX_TRY(target->migration_side()),
                                 target->clock(), target->progress(), step, context.deadline()));
    step("restore.end");
    int64_t sent = 0, sent_bytes = 0;
    for (const pipeline::MigratedStore& store : report.stores) {
        sent += store.copied;
        sent_bytes += store.copied_bytes;
    }
    if (context.json) {
        json::object told = info_json(info, folder);
        told["copied"] = sent;
        told["bytes_copied"] = sent_bytes;
        told["catalog_was_there"] = report.catalog_was_there;
        told["table_versions"] = report.table_versions;
        told["documents"] = report.documents;
        told["chunks"] = report.chunks;
        told["elapsed_s"] = report.elapsed_s;
        print(json::serialize(told) + "\n");
    } else {
        print(fmt::format(
            "Restored {} to release {} of {}, {} in all\n  {} files were missing or "
            "damaged and were brought ({}); {} table versions readable; {} documents, "
            "{} chunks\nNext: px run loads what came since\n",
            info.pipeline, info.release, info.created_at, releases_text(report.releases), sent,
            megabytes(sent_bytes), report.table_versions, report.documents, report.chunks));
    }
    return kExitDone;
}

}  // namespace

void add_backup_commands(CLI::App& cli, CommandContext& context) {
    auto options = std::make_shared<BackupOptions>();
    CLI::App* backup_command = cli.add_subcommand(
        "backup", "Copy the pipeline with all its releases to a folder, with a sum of every file");
    backup_command->add_option("FOLDER", options->folder, "Empty, or not there yet")->required();
    backup_command->add_option("--base", options->base,
                               "An older backup: files that did not change are shared with it");
    backup_command->add_flag("--verify", options->verify,
                             "Only check the backup that is there: every file and its sum");
    backup_command->callback([&context, options] {
        context.chosen = [&context, options] { return backup(context, *options); };
    });

    auto folder = std::make_shared<std::string>();
    CLI::App* restore_command =
        cli.add_subcommand("restore", "Bring a backup back to where the pipeline file says");
    restore_command->add_option("FOLDER", *folder, "What px backup made")->required();
    restore_command->callback([&context, folder] {
        context.chosen = [&context, folder] { return restore(context, *folder); };
    });
}

}  // namespace px::app
