#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>

#include "airflow_files.h"
#include "app/commands/commands.h"

namespace px::app {

namespace {

namespace json = boost::json;

struct ExportOptions {
    std::string folder = "dags";
    std::string dag_id = "pipeline_x_ingestion";
};

/// Whole or not at all: Airflow may be reading the folder.
Result<void> write_file(const std::filesystem::path& file, std::string_view text) {
    const std::filesystem::path aside = fmt::format("{}.{}.tmp", file.string(), ::getpid());
    std::ofstream stream(aside, std::ios::binary);
    stream << text;
    stream.close();
    std::error_code code;
    if (!stream) {
        const int why = errno;
        std::filesystem::remove(aside, code);
        return fail_errno(why, "cannot write " + file.string());
    }
    std::filesystem::rename(aside, file, code);
    if (code) return fail_errno(code.value(), "cannot write " + file.string());
    return {};
}

/// `NAME = "old"` becomes `NAME = value`.
Result<void> set_constant(std::string& text, std::string_view name, std::string_view value) {
    const std::string before = fmt::format("\n{} = ", name);
    const size_t at = text.find(before);
    if (at == std::string::npos)
        return fail(ErrorCode::Internal, fmt::format("the DAG file has no {}", name));
    const size_t begin = at + before.size();
    text.replace(begin, text.find('\n', begin) - begin, value);
    return {};
}

Result<int> export_airflow(CommandContext& context, const ExportOptions& options) {
    const auto usual = [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
               c == '_' || c == '-' || c == '.';
    };
    if (options.dag_id.empty() || options.dag_id[0] == '.' ||
        !std::ranges::all_of(options.dag_id, usual)) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("'{}' can't be the id of a DAG", options.dag_id),
                    "Use letters, digits, '_', '-' and '.'");
    }
    const std::filesystem::path pipeline =
        std::filesystem::absolute(PX_TRY(find_pipeline_file(context.file)));
    std::string dag(kAirflowDag);
    PX_TRY(set_constant(dag, "DAG_ID", json_quote(options.dag_id)));
    PX_TRY(set_constant(dag, "PIPELINE_FILE", json_quote(pipeline.lexically_normal().string())));
    const std::filesystem::path folder(options.folder);
    std::error_code code;
    std::filesystem::create_directories(folder, code);
    if (code) return fail_errno(code.value(), "cannot create " + folder.string());
    const std::filesystem::path dag_file = folder / (options.dag_id + ".py");
    const std::filesystem::path operator_file = folder / "px_operator.py";
    PX_TRY(write_file(operator_file, kAirflowOperator));
    PX_TRY(write_file(dag_file, dag));
    if (context.json) {
        print(json::serialize(json::object{{"dag", dag_file.string()},
                                           {"operator", operator_file.string()},
                                           {"dag_id", options.dag_id},
                                           {"pipeline_file", pipeline.string()}}) +
              "\n");
        return kExitDone;
    }
    print(
        fmt::format("Wrote {} and {}. Next: put both into Airflow's dags folder; its workers need "
                    "px on their PATH (or PX_BIN) and the secrets in their environment\n",
                    dag_file.string(), operator_file.string()));
    return kExitDone;
}

}  // namespace

void add_export_command(CLI::App& cli, CommandContext& context) {
    CLI::App* exported = cli.add_subcommand("export", "Write the pipeline for another program");
    exported->require_subcommand(1);
    auto options = std::make_shared<ExportOptions>();
    CLI::App* airflow = exported->add_subcommand("airflow", "As a DAG of Apache Airflow 3");
    airflow->add_option("--to", options->folder, "The folder it is written to")
        ->capture_default_str();
    airflow->add_option("--dag-id", options->dag_id, "The DAG's id, and its file's name")
        ->capture_default_str();
    airflow->callback([&context, options] {
        context.chosen = [&context, options] { return export_airflow(context, *options); };
    });
}

}  // namespace px::app
