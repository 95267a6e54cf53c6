#include <fmt/format.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "app/commands/commands.h"
#include "app/schedule_wire.h"
#include "base/log.h"
#include "gateway/gateway.h"
#include "pipeline/run.h"
#include "px_version.h"
#include "schedule/process_runner.h"
#include "schedule/scheduler.h"

namespace px::app {

namespace {

struct ServeOptions {
    std::string address;
    int port = -1;
};

void wait_for_stop(std::stop_token stop) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    wake.wait(lock, stop, [] { return false; });
}

Result<std::unique_ptr<gateway::Gateway>> start_gateway(App& app, const CommandContext& context,
                                                        const ServeOptions& options) {
    catalog::Catalog* catalog = PX_TRY(app.catalog());
    answer::ReleaseReader* reader = PX_TRY(app.reader());
    const embed::Encoder* encoder = PX_TRY(app.encoder());
    gateway::GatewayServices services{
        *catalog, *reader, *encoder, app.clock(), app.rederive(), app.answer_options(),
        engine::QueryLimits{},
        // Loopback only, without keys: whoever is on this machine sees what --as-groups says.
        [access = context.access()](const http::Request&) -> Result<answer::Access> {
            return access;
        },
        app.definition().name, kVersion};
    gateway::GatewayOptions gateway_options;
    gateway_options.http.address =
        options.address.empty() ? app.config().serve_address : options.address;
    gateway_options.http.port =
        static_cast<uint16_t>(options.port >= 0 ? options.port : app.config().serve_port);
    return gateway::Gateway::start(std::move(services), gateway_options);
}

void announce(const CommandContext& context, const App& app, const gateway::Gateway& gateway) {
    if (context.json) {
        print(fmt::format("{{\"url\":{},\"pipeline\":{}}}\n", json_quote(gateway.url()),
                          json_quote(app.definition().name)));
    } else {
        print(fmt::format("Serving {} at {}/  (API: {}/docs; stop with Ctrl-C)\n",
                          app.definition().name, gateway.url(), gateway.url()));
    }
    std::fflush(stdout);
}

Result<int> serve(CommandContext& context, const ServeOptions& options) {
    const auto app = PX_TRY(context.open_app());
    const auto gateway = PX_TRY(start_gateway(*app, context, options));
    announce(context, *app, *gateway);
    wait_for_stop(context.stop);
    log::info("serve.drain");
    gateway->stop();
    return kExitDone;
}

Result<int> up(CommandContext& context, const ServeOptions& options) {
    const auto app = PX_TRY(context.open_app());
    schedule::ScheduledPipeline scheduled =
        PX_TRY(scheduled_pipeline(app->config(), context.environment, app->clock()));
    const auto start = [&](const std::string& ds) {
        pipeline::RunRequest request;
        request.ds = ds;
        const Result<pipeline::RunReport> report =
            pipeline::run(app->run_services(), request, context.deadline());
        if (!report) log::error("run.failed", {{"ds", ds}, {"error", report.error().to_string()}});
        return report && report->result != pipeline::RunResult::Halted;
    };
    // Serving needs a release: the first run happens now.
    if (!app->catalog() || !PX_TRY(PX_TRY(app->catalog())->latest_release())) {
        if (!start(scheduled.due->ds_of(app->clock().now()))) {
            return fail(ErrorCode::NotFound,
                        "there is no release to serve yet and the first run did not publish one",
                        "See the lines above and `px runs`");
        }
    }
    const auto gateway = PX_TRY(start_gateway(*app, context, options));
    announce(context, *app, *gateway);
    Messengers messengers;
    messengers.add(app->config());
    std::vector<schedule::ScheduledPipeline> pipelines;
    pipelines.push_back(std::move(scheduled));
    schedule::ProcessRunner runner;
    schedule::Scheduler loop(
        std::move(pipelines), runner,
        schedule::real_world(app->clock(),
                             [&](const schedule::Event& event) { messengers.tell(event); }),
        {});
    loop.run(context.stop);
    gateway->stop();
    return kExitDone;
}

}  // namespace

void add_serve_commands(CLI::App& cli, CommandContext& context) {
    auto options = std::make_shared<ServeOptions>();
    const auto add = [&](const char* name, const char* text,
                         Result<int> (*function)(CommandContext&, const ServeOptions&)) {
        CLI::App* command = cli.add_subcommand(name, text);
        command->add_option("--address", options->address,
                            "A loopback address (default: serve.address)");
        command->add_option("--port", options->port, "A port; 0: any free one")
            ->check(CLI::Range(0, 65535));
        add_as_groups(*command, context);
        command->callback([&context, options, function] {
            context.chosen = [&context, options, function] { return function(context, *options); };
        });
    };
    add("serve", "Serve the page and the API over the newest release", serve);
    add("up", "Serve, and run the pipeline on its schedule", up);
}

}  // namespace px::app
