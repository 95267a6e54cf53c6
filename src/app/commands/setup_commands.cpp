#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <fstream>

#include "app/commands/commands.h"
#include "lake/delta_table.h"

namespace px::app {

namespace {

namespace json = boost::json;

constexpr std::string_view kStarterFile =
    R"(# A first pipeline: put CSV files into data/, then `px run`, `px ask "…"`.
# The contract promises these columns: write those of your files instead. A required column that is
# missing halts the run.
pipeline: my_pipeline
schedule: {cron: "0 1 * * *", timezone: UTC}
sources:
  reports: {csv: "data/*.csv", mode: snapshot, contract: report}
contracts:
  report:
    columns:
      - {name: id,           type: string,    role: id, required: true}
      - {name: title,        type: string,    role: title}
      - {name: author,       type: string,    role: author, transform: [trim]}
      - {name: published_at, type: timestamp, role: date}
      - {name: text,         type: string,    role: text, required: true}
    extra_columns: keep
    quarantine: {halt_above: 1%}
)";

struct SetupOptions {
    std::string folder = ".";
    std::string shell = "bash";
    bool origin = false;
};

Result<int> init(CommandContext& context, const SetupOptions& options) {
    const std::filesystem::path folder(options.folder);
    std::error_code code;
    std::filesystem::create_directories(folder / "data", code);
    if (code) return fail_errno(code.value(), "cannot create " + (folder / "data").string());
    const std::filesystem::path file = folder / "pipeline.yaml";
    if (std::filesystem::exists(file, code)) {
        return fail(ErrorCode::AlreadyExists, fmt::format("{} is there already", file.string()),
                    "Choose another folder: px init FOLDER");
    }
    std::ofstream stream(file);
    stream << kStarterFile;
    stream.close();
    if (!stream) return fail_errno(errno, "cannot write " + file.string());
    if (context.json) {
        print(json::serialize(json::object{{"file", file.string()},
                                           {"data_folder", (folder / "data").string()}}) +
              "\n");
        return kExitDone;
    }
    print(fmt::format(
        "Wrote {}. Next: put CSV files into {}, fit the contract to their columns, then px run\n",
        file.string(), (folder / "data").string()));
    return kExitDone;
}

struct Finding {
    std::string what;
    bool good = true;
    std::string detail;
};

/// What to do when a part of the newest release is gone. The landed files alone are not enough: the
/// catalog says that nothing changed.
constexpr std::string_view kRebuildHint =
    "Restore the folder from a backup; or move the catalog file, the lake and the index away and "
    "run the dates again (px run, px backfill)";

/// Writes an object, reads it back and removes it.
Result<void> try_to_write(store::ObjectStore& object_store) {
    const std::string key = fmt::format("px-doctor-{}", ::getpid());
    PX_TRY(object_store.put(key, key));
    const Result<std::string> read = object_store.get(key);
    PX_TRY(object_store.remove(key));
    if (!read) return read.error();
    if (*read != key)
        return fail(ErrorCode::Corrupt, fmt::format("{} gave other bytes back", object_store.url()),
                    "Check the file system");
    return {};
}

/// Every file of a table's version is there, as long as its log says.
Result<std::string> try_table(App& app, const std::string& name, int64_t version) {
    const lake::DeltaTable table(app.lake(), name, app.clock());
    const lake::Snapshot snapshot = PX_TRY(table.snapshot_at({version}));
    for (const lake::Add& add : snapshot.files) {
        const auto meta = PX_TRY(app.lake().head(name + "/" + add.path));
        if (!meta || meta->size_bytes != add.size_bytes) {
            return fail(ErrorCode::Corrupt,
                        fmt::format("{}/{} is {}", name, add.path,
                                    meta ? fmt::format("{} bytes long, not {}", meta->size_bytes,
                                                       add.size_bytes)
                                         : std::string("missing")));
        }
    }
    return fmt::format("{} files", snapshot.files.size());
}

Result<int> doctor(CommandContext& context, const SetupOptions&) {
    std::vector<Finding> findings;
    const Result<std::unique_ptr<App>> app = context.open_app();
    if (!app) return app.error();
    App& px = **app;
    findings.push_back({"pipeline file", true, px.config().file.string()});
    std::optional<catalog::Release> release;
    const Result<std::unique_ptr<catalog::Catalog>> catalog =
        px.open_catalog(catalog::OpenMode::ReadOnly);
    if (catalog) {
        Result<std::optional<catalog::Release>> latest = (*catalog)->latest_release();
        findings.push_back({"catalog", latest.has_value(),
                            !latest   ? latest.error().to_string()
                            : *latest ? fmt::format("release {}", (*latest)->id.value)
                                      : std::string("no release yet")});
        if (latest) release = std::move(*latest);
    } else {
        findings.push_back({"catalog", catalog.error().code == ErrorCode::NotFound,
                            catalog.error().code == ErrorCode::NotFound
                                ? "will be created by the first run"
                                : catalog.error().to_string()});
    }
    const auto store = [&](const char* name, store::ObjectStore& object_store) {
        const Result<void> written = try_to_write(object_store);
        const bool absent = !written && written.error().code == ErrorCode::NotFound;
        std::string detail = "writable";
        if (absent && !release) {
            detail = "will be created by the first run";
        } else if (absent) {
            detail = fmt::format("the folder is gone, and release {} needs it. {}",
                                 release->id.value, kRebuildHint);
        } else if (!written) {
            detail = written.error().to_string();
        }
        findings.push_back({fmt::format("{} ({})", name, object_store.url()),
                            written.has_value() || (absent && !release), std::move(detail)});
    };
    store("landing", px.landing());
    store("lake", px.lake());
    if (px.index_store() != nullptr) {
        store("index", *px.index_store());
    } else {
        const Result<void> reached = px.vectors().prepare();
        findings.push_back({fmt::format("index ({})", px.config().vectors.shown),
                            reached.has_value(),
                            reached ? "reachable" : reached.error().to_string()});
    }
    if (release) {
        for (const auto& [table, version] : release->table_versions) {
            const Result<std::string> opened = try_table(px, table, version);
            findings.push_back(
                {fmt::format("table {} version {}", table, version), opened.has_value(),
                 opened ? *opened : fmt::format("{}. {}", opened.error().message, kRebuildHint)});
        }
        const auto points = px.vectors().open({release->index_manifest});
        findings.push_back({fmt::format("index of release {}", release->id.value),
                            points.has_value(),
                            points ? fmt::format("{} passages", (*points)->point_count())
                                   : fmt::format("{}. {}", points.error().message, kRebuildHint)});
    }
    struct statvfs space {};
    if (::statvfs(px.definition().base_folder.c_str(), &space) == 0) {
        const double free_gb =
            static_cast<double>(space.f_bavail) * static_cast<double>(space.f_frsize) / 1e9;
        findings.push_back({"free disk space", free_gb > 1.0, fmt::format("{:.1f} GB", free_gb)});
    }
    findings.push_back({"SQL engine", true, px.engine().version()});
    const Result<const embed::Encoder*> encoder = px.encoder();
    findings.push_back(
        {"embedding model", encoder.has_value(),
         encoder ? fmt::format("{}, {}, kernel {}", (*encoder)->model_id(),
                               embed::precision_name((*encoder)->precision()), (*encoder)->kernel())
                 : encoder.error().to_string()});
    bool all_good = true;
    json::array array;
    for (const Finding& finding : findings) {
        all_good = all_good && finding.good;
        if (context.json) {
            array.push_back(json::object{
                {"check", finding.what}, {"ok", finding.good}, {"detail", finding.detail}});
        } else {
            print(fmt::format("{}  {:<28} {}\n", finding.good ? "ok  " : "FAIL", finding.what,
                              finding.detail));
        }
    }
    if (context.json) print(json::serialize(array) + "\n");
    return all_good ? kExitDone : 1;
}

Result<int> config_show(CommandContext& context, const SetupOptions& options) {
    const Config config =
        PX_TRY(load_config(PX_TRY(find_pipeline_file(context.file)), context.environment));
    json::array array;
    for (const Setting& setting : config.settings) {
        if (context.json) {
            array.push_back(json::object{
                {"key", setting.key}, {"value", setting.value}, {"origin", setting.origin}});
        } else if (options.origin) {
            print(fmt::format("{:<40} {:<40} {}\n", setting.key, setting.value, setting.origin));
        } else {
            print(fmt::format("{}: {}\n", setting.key, setting.value));
        }
    }
    if (context.json) print(json::serialize(array) + "\n");
    return kExitDone;
}

Result<int> completion(const CommandContext& context, const CLI::App& cli,
                       const SetupOptions& options) {
    std::string names;
    for (const CLI::App* command : cli.get_subcommands([](const CLI::App*) { return true; })) {
        names += (names.empty() ? "" : " ") + command->get_name();
    }
    std::string script;
    if (options.shell == "fish") {
        script = fmt::format("complete -c px -f -n __fish_use_subcommand -a '{}'\n", names);
    } else if (options.shell == "zsh") {
        script = fmt::format("#compdef px\n_arguments '1:command:({})' '*::file:_files'\n", names);
    } else {
        script = fmt::format(
            "_px() {{\n  if [ \"$COMP_CWORD\" = 1 ]; then\n    COMPREPLY=($(compgen -W '{}' -- "
            "\"${{COMP_WORDS[1]}}\"))\n  else\n    COMPREPLY=($(compgen -f -- "
            "\"${{COMP_WORDS[COMP_CWORD]}}\"))\n  fi\n}}\ncomplete -F _px px\n",
            names);
    }
    print(context.json ? json::serialize(json::object{{"shell", options.shell},
                                                      {"script", std::move(script)}}) +
                             "\n"
                       : script);
    return kExitDone;
}

}  // namespace

void add_setup_commands(CLI::App& cli, CommandContext& context) {
    auto options = std::make_shared<SetupOptions>();
    CLI::App* init_command = cli.add_subcommand("init", "Write a first pipeline.yaml");
    init_command->add_option("folder", options->folder, "Where (default: this folder)");
    init_command->callback([&context, options] {
        context.chosen = [&context, options] { return init(context, *options); };
    });

    CLI::App* doctor_command =
        cli.add_subcommand("doctor", "Check every store and part, and say what to mend");
    doctor_command->callback([&context, options] {
        context.chosen = [&context, options] { return doctor(context, *options); };
    });

    CLI::App* config_command = cli.add_subcommand("config", "The settings in force");
    config_command->require_subcommand(1);
    CLI::App* show_command =
        config_command->add_subcommand("show", "Each setting; secrets are hidden");
    show_command->add_flag("--origin", options->origin, "Also where each comes from");
    show_command->callback([&context, options] {
        context.chosen = [&context, options] { return config_show(context, *options); };
    });

    CLI::App* completion_command = cli.add_subcommand("completion", "Completions for a shell");
    completion_command->add_option("shell", options->shell, "bash, zsh or fish")
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
    completion_command->callback([&cli, &context, options] {
        context.chosen = [&cli, &context, options] { return completion(context, cli, *options); };
    });
}

}  // namespace px::app
