// px eval: how well releases find what judges found fitting.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <fstream>
#include <iterator>

#include "answer/evaluation.h"
#include "app/commands/commands.h"

namespace px::app {

namespace {

namespace json = boost::json;

struct EvalOptions {
    std::string queries, qrels, release, against;
};

Result<std::string> read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return fail_errno(errno, "cannot read " + path);
    return std::string{std::istreambuf_iterator<char>(file), {}};
}

json::object to_json(const answer::Evaluation& evaluation) {
    return {{"release", evaluation.release},
            {"queries", evaluation.queries},
            {"ndcg_at_10", evaluation.ndcg_at_10},
            {"recall_at_100", evaluation.recall_at_100},
            {"mrr", evaluation.mrr},
            {"p50_ms", evaluation.p50_ms},
            {"p99_ms", evaluation.p99_ms}};
}

Result<int> eval(CommandContext& context, const EvalOptions& options) {
    const auto queries =
        PX_TRY(answer::parse_queries(PX_TRY(read_file(options.queries)), options.queries));
    const auto judgements =
        PX_TRY(answer::parse_judgements(PX_TRY(read_file(options.qrels)), options.qrels));
    const auto app = PX_TRY(context.open_app());
    answer::ReleaseReader* reader = PX_TRY(app->reader());
    const embed::Encoder* encoder = PX_TRY(app->encoder());
    const auto measure = [&](const std::string& as_of) -> Result<answer::Evaluation> {
        const auto view =
            PX_TRY(reader->open(PX_TRY(answer::parse_as_of(as_of)), context.access()));
        return answer::evaluate(*view, *encoder, queries, judgements, app->answer_options(),
                                context.deadline());
    };
    std::vector<answer::Evaluation> found{PX_TRY(measure(options.release))};
    if (!options.against.empty()) found.push_back(PX_TRY(measure(options.against)));
    if (context.json) {
        json::object object = to_json(found[0]);
        if (found.size() > 1) {
            object["against"] = to_json(found[1]);
            object["difference"] = {
                {"ndcg_at_10", found[0].ndcg_at_10 - found[1].ndcg_at_10},
                {"recall_at_100", found[0].recall_at_100 - found[1].recall_at_100},
                {"mrr", found[0].mrr - found[1].mrr}};
        }
        print(json::serialize(object) + "\n");
        return kExitDone;
    }
    std::vector<std::vector<std::string>> rows;
    for (const answer::Evaluation& one : found) {
        rows.push_back({std::to_string(one.release), std::to_string(one.queries),
                        fmt::format("{:.4f}", one.ndcg_at_10),
                        fmt::format("{:.4f}", one.recall_at_100), fmt::format("{:.4f}", one.mrr),
                        fmt::format("{:.1f}", one.p50_ms), fmt::format("{:.1f}", one.p99_ms)});
    }
    if (found.size() > 1) {
        rows.push_back({"difference", "",
                        fmt::format("{:+.4f}", found[0].ndcg_at_10 - found[1].ndcg_at_10),
                        fmt::format("{:+.4f}", found[0].recall_at_100 - found[1].recall_at_100),
                        fmt::format("{:+.4f}", found[0].mrr - found[1].mrr), "", ""});
    }
    print(render_table({"release", "queries", "nDCG@10", "recall@100", "MRR", "p50 ms", "p99 ms"},
                       rows));
    return kExitDone;
}

}  // namespace

void add_eval_command(CLI::App& cli, CommandContext& context) {
    auto options = std::make_shared<EvalOptions>();
    CLI::App* command = cli.add_subcommand(
        "eval", "Measure what a release finds against judgements: nDCG@10, recall@100, MRR, time");
    command->add_option("--queries", options->queries, "JSON lines {query_id, text}")->required();
    command->add_option("--qrels", options->qrels, "Lines of query_id, document_id, relevance")
        ->required();
    command->add_option("--release", options->release,
                        "A release id or a time; the one served without it");
    command->add_option("--against", options->against, "Compare with this release");
    command->callback([&context, options] {
        context.chosen = [&context, options] { return eval(context, *options); };
    });
}

}  // namespace px::app
