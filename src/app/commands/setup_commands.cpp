#include <fmt/format.h>

#include <boost/json.hpp>
#include <fstream>

#include "app/commands/commands.h"

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
