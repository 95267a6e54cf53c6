#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <set>

#include "app/commands/commands.h"
#include "pipeline/migrate.h"

namespace px::app {

namespace {

namespace json = boost::json;

/// The keys that say where something is kept; all others must be the same on both sides.
const std::set<std::string> kAddresses{"landing.url", "lake.url",     "catalog.url",
                                       "vectors.url", "cache.folder", "cache.limit_gb"};

/// Errors: InvalidArgument naming the first key that differs and is no address.
Result<void> check_same_pipeline(const Config& source, const Config& target) {
    const auto by_key = [](const Config& config) {
        std::map<std::string, Setting> settings;
        for (const Setting& setting : config.settings) {
            if (!kAddresses.contains(setting.key)) settings.emplace(setting.key, setting);
        }
        return settings;
    };
    const std::map<std::string, Setting> here = by_key(source);
    const std::map<std::string, Setting> there = by_key(target);
    const auto differs = [&](const std::string& key, const std::string& mine,
                             const std::string& theirs, const std::string& where) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("{} is {} in {} and {} in {} ({})", key, mine,
                                source.file.filename().string(), theirs,
                                target.file.filename().string(), where),
                    "Both files may differ in landing, lake, catalog, vectors and cache alone: "
                    "migrate first, change the pipeline after");
    };
    for (const auto& [key, setting] : here) {
        const auto other = there.find(key);
        if (other == there.end()) {
            return differs(key, "'" + setting.value + "'", "not set", setting.origin);
        }
        if (other->second.value != setting.value) {
            return differs(key, "'" + setting.value + "'", "'" + other->second.value + "'",
                           other->second.origin);
        }
    }
    for (const auto& [key, setting] : there) {
        if (!here.contains(key))
            return differs(key, "not set", "'" + setting.value + "'", setting.origin);
    }
    // What stands behind a hidden value, and anything the settings do not tell.
    const auto& sources = source.definition.sources;
    for (size_t i = 0; i < sources.size(); ++i) {
        const pipeline::SourceDefinition* other = target.definition.source(sources[i].name);
        if (other &&
            pipeline::source_fingerprint(sources[i]) == pipeline::source_fingerprint(*other))
            continue;
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("sources.{} differs between {} and {}", sources[i].name,
                                source.file.filename().string(), target.file.filename().string()),
                    "Both files may differ in landing, lake, catalog, vectors and cache alone");
    }
    return {};
}

std::string report_text(const pipeline::MigrationReport& report, const std::string& target) {
    std::string text;
    for (const pipeline::MigratedStore& store : report.stores) {
        if (store.is_shared) {
            text += fmt::format("  {:<9} the same place on both sides\n", store.name);
            continue;
        }
        if (store.is_rebuilt) {
            text += fmt::format("  {:<9} {} passages, made anew for {} releases; {} written\n",
                                store.name, store.objects, report.releases, store.copied);
            continue;
        }
        text += fmt::format("  {:<9} {} objects, {:.1f} MB; {} sent, {} were there\n", store.name,
                            store.objects, static_cast<double>(store.bytes) / 1e6, store.copied,
                            store.objects - store.copied);
    }
    int64_t rows = 0;
    for (const auto& [table, count] : report.catalog_rows) rows += count;
    text += fmt::format("  {:<9} {} rows, {} releases{}\n", "catalog", rows, report.releases,
                        report.catalog_was_there ? " (they were there)" : "");
    text += fmt::format("  {:<9} {} table versions readable", "verified", report.table_versions);
    if (report.unreadable > 0) {
        text += fmt::format(" ({} more were vacuumed at the source before)", report.unreadable);
    }
    text += fmt::format("; release {} has {} documents, {} chunks\n", report.latest_release,
                        report.documents, report.chunks);
    text += fmt::format("Migrated to {} in {:.1f} s. From now on work with it: px --file {} …\n",
                        target, report.elapsed_s, target);
    return text;
}

std::string report_json(const pipeline::MigrationReport& report) {
    json::array stores;
    for (const pipeline::MigratedStore& store : report.stores) {
        stores.push_back(json::object{{"store", store.name},
                                      {"shared", store.is_shared},
                                      {"rebuilt", store.is_rebuilt},
                                      {"objects", store.objects},
                                      {"bytes", store.bytes},
                                      {"sent", store.copied},
                                      {"bytes_sent", store.copied_bytes}});
    }
    return json::serialize(json::object{{"stores", std::move(stores)},
                                        {"catalog_rows", json::value_from(report.catalog_rows)},
                                        {"catalog_was_there", report.catalog_was_there},
                                        {"releases", report.releases},
                                        {"latest_release", report.latest_release},
                                        {"table_versions", report.table_versions},
                                        {"unreadable", report.unreadable},
                                        {"documents", report.documents},
                                        {"chunks", report.chunks},
                                        {"elapsed_s", report.elapsed_s}});
}

Result<int> migrate(CommandContext& context, const std::string& to) {
    const auto source = PX_TRY(context.open_app());
    Config config =
        PX_TRY(load_config(PX_TRY(find_pipeline_file(to).context("--to")), context.environment)
                   .context("--to"));
    PX_TRY(check_same_pipeline(source->config(), config));
    const auto target = PX_TRY(App::create(std::move(config), context.environment).context("--to"));
    const pipeline::MigrationReport report = PX_TRY(pipeline::migrate(
        PX_TRY(source->migration_side()), PX_TRY(target->migration_side()), source->clock(),
        source->progress(), source->run_services().step, context.deadline()));
    print(context.json ? report_json(report) + "\n" : report_text(report, to));
    return kExitDone;
}

}  // namespace

void add_migrate_command(CLI::App& cli, CommandContext& context) {
    auto to = std::make_shared<std::string>();
    CLI::App* command =
        cli.add_subcommand("migrate", "Move the pipeline with all its releases to other stores");
    command
        ->add_option("--to", *to,
                     "A pipeline file that differs in landing, lake, catalog, vectors and cache "
                     "alone")
        ->required();
    command->callback(
        [&context, to] { context.chosen = [&context, to] { return migrate(context, *to); }; });
}

}  // namespace px::app
