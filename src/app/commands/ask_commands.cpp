#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cctype>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include "answer/answer_json.h"
#include "app/commands/commands.h"
#include "engine/result_csv.h"
#include "engine/result_json.h"
#include "pipeline/texts.h"

namespace px::app {

namespace {

namespace json = boost::json;

struct AskOptions {
    std::string question;
    std::string as_of;
    std::vector<std::string> authors, categories, sources;
    std::string from, to;
    std::string mode = "hybrid";
    size_t top_k = 10;
    std::string queries;
    bool tsv = false;
    int64_t limit = 10'000;
    std::string format = "table";
    double timeout_s = 30;
    std::string citation;
    bool no_constraints = false;
    std::vector<std::string> without;
    double recency_days = 0;
    std::vector<std::string> history;
};

Result<answer::SearchRequest> search_request(const AskOptions& options) {
    answer::SearchRequest request;
    request.question = options.question;
    request.top_k = options.top_k;
    request.filter.authors = options.authors;
    request.filter.categories = options.categories;
    request.filter.sources = options.sources;
    if (options.no_constraints) request.constraints = answer::SearchRequest::Constraints::Ignore;
    request.without = options.without;
    request.half_life_days = options.recency_days;
    request.history = options.history;
    constexpr int64_t kDayMicros = 86'400'000'000;
    if (!options.from.empty())
        request.filter.from = PX_TRY(parse_date(options.from).context("--from")) * kDayMicros;
    if (!options.to.empty())
        request.filter.to = (PX_TRY(parse_date(options.to).context("--to")) + 1) * kDayMicros;
    if (request.filter.from && request.filter.to && *request.filter.from >= *request.filter.to) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("--from {} is later than --to {}", options.from, options.to),
                    "Give the earlier day to --from");
    }
    if (options.mode == "dense") request.mode = answer::SearchRequest::Mode::Dense;
    if (options.mode == "lexical") request.mode = answer::SearchRequest::Mode::Lexical;
    return request;
}

Result<std::shared_ptr<const answer::ReleaseView>> open_view(App& app,
                                                             const CommandContext& context,
                                                             const std::string& as_of) {
    answer::ReleaseReader* reader = PX_TRY(app.reader());
    return reader->open(PX_TRY(answer::parse_as_of(as_of)), context.access());
}

std::string folded(std::string text) {
    for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
}

/// A mistyped author would look like an author who wrote nothing about it.
Result<void> check_authors(const answer::ReleaseView& view, catalog::Catalog& catalog,
                           const AskOptions& options) {
    if (options.authors.empty()) return {};
    std::vector<std::string> known;       // as documents have them, by number of documents
    std::vector<std::string> comparable;  // in small letters; only ASCII is folded
    for (const auto& [name, count] : PX_TRY(answer::list_authors(view, catalog))) {
        known.push_back(name);
        comparable.push_back(folded(name));
    }
    for (const std::string& author : options.authors) {
        const std::string wanted = folded(author);
        if (std::ranges::find(comparable, wanted) != comparable.end()) continue;
        // The index folds all letters; what ASCII folding can't decide is left to it.
        if (std::ranges::any_of(author, [](unsigned char c) { return c >= 0x80; })) continue;
        std::string near;
        const auto add = [&](size_t index) {
            near += (near.empty() ? "; near: " : ", ") + known[index];
        };
        for (size_t i = 0; i < known.size(); ++i) {
            if (!wanted.empty() && comparable[i].find(wanted) != std::string::npos) add(i);
            if (near.size() > 200) break;
        }
        if (near.empty()) {
            if (const auto best = nearest(wanted, comparable)) {
                add(static_cast<size_t>(std::ranges::find(comparable, *best) - comparable.begin()));
            }
        }
        return fail(ErrorCode::InvalidArgument, fmt::format("no author '{}'{}", author, near),
                    "px sql \"select distinct author from documents\" lists them");
    }
    return {};
}

/// What the question itself narrowed, on stderr: stdout is the answer's.
void tell_constraints(const std::vector<answer::Constraint>& constraints) {
    for (const answer::Constraint& constraint : constraints) {
        std::cerr << fmt::format("only {} {}{}{} (\"{}\"; --no-constraints switches this off)\n",
                                 constraint.field, constraint.op,
                                 constraint.value.empty() ? "" : " ", printable(constraint.value),
                                 printable(constraint.text));
    }
}

Result<int> ask(CommandContext& context, const AskOptions& options) {
    const auto app = PX_TRY(context.open_app());
    const auto view = PX_TRY(open_view(*app, context, options.as_of));
    const embed::Encoder* encoder = PX_TRY(app->encoder());
    catalog::Catalog* catalog = PX_TRY(app->catalog());
    PX_TRY(check_authors(*view, *catalog, options));
    const answer::Answer answer =
        PX_TRY(answer::ask(*view, *catalog, *encoder, PX_TRY(search_request(options)),
                           app->answer_options(), context.deadline()));
    if (context.json) {
        print(json::serialize(answer::to_json(answer)) + "\n");
        return kExitDone;
    }
    tell_constraints(answer.constraints);
    print(printable(answer.answer) + "\n");
    if (!answer.citations.empty()) print("\n");
    for (const answer::Citation& citation : answer.citations) {
        print(fmt::format("[{}] {}{}{}  {}:{}  bytes {}-{}\n    chunk {}  release {}\n", citation.n,
                          printable(citation.title.empty() ? citation.document_id : citation.title),
                          citation.author.empty() ? "" : ", " + printable(citation.author),
                          citation.date.empty() ? "" : ", " + citation.date.substr(0, 10),
                          printable(citation.source.file), citation.source.line,
                          citation.source.byte_start, citation.source.byte_end, citation.chunk_id,
                          citation.release));
    }
    return kExitDone;
}

/// One query a line: {"query_id": …, "text": …}.
Result<int> search_queries(CommandContext& context, const AskOptions& options) {
    const auto app = PX_TRY(context.open_app());
    const auto view = PX_TRY(open_view(*app, context, options.as_of));
    PX_TRY(check_authors(*view, *PX_TRY(app->catalog()), options));
    const embed::Encoder* encoder = PX_TRY(app->encoder());
    std::ifstream file(options.queries);
    if (!file) return fail_errno(errno, "cannot read " + options.queries);
    std::string line;
    int64_t number = 0;
    while (std::getline(file, line)) {
        ++number;
        if (line.empty()) continue;
        boost::system::error_code code;
        const json::value value = json::parse(line, code);
        const json::object* object = code ? nullptr : value.if_object();
        const json::value* id = object == nullptr ? nullptr : object->if_contains("query_id");
        const json::value* text = object == nullptr ? nullptr : object->if_contains("text");
        if (id == nullptr || text == nullptr || !text->is_string()) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("{}:{} is not a query", options.queries, number),
                        R"(Write {"query_id": "q1", "text": "…"} on each line)");
        }
        AskOptions one = options;
        one.question = std::string(text->get_string());
        const std::string query_id =
            id->is_string() ? std::string(id->get_string()) : json::serialize(*id);
        const auto found =
            PX_TRY(answer::search_documents(*view, *encoder, PX_TRY(search_request(one)),
                                            app->answer_options(), context.deadline())
                       .context("query " + query_id));
        for (const auto& [document, score] : found) {
            if (options.tsv) {
                print(fmt::format("{}\t{}\t{:.6f}\n", query_id, document, score));
            } else {
                print(json::serialize(json::object{
                          {"query_id", query_id}, {"document_id", document}, {"score", score}}) +
                      "\n");
            }
        }
    }
    return kExitDone;
}

Result<int> search(CommandContext& context, const AskOptions& options) {
    if (!options.queries.empty()) return search_queries(context, options);
    if (options.question.empty()) {
        return fail(ErrorCode::InvalidArgument, "there is nothing to search for",
                    "px search \"…\", or --queries FILE");
    }
    const auto app = PX_TRY(context.open_app());
    const auto view = PX_TRY(open_view(*app, context, options.as_of));
    catalog::Catalog* catalog = PX_TRY(app->catalog());
    PX_TRY(check_authors(*view, *catalog, options));
    const embed::Encoder* encoder = PX_TRY(app->encoder());
    const auto found =
        PX_TRY(answer::find_passages(*view, *encoder, PX_TRY(search_request(options)),
                                     app->answer_options(), context.deadline()));
    const std::vector<answer::Passage>& passages = found.passages;
    if (context.json) {
        json::array results;
        for (const answer::Passage& passage : passages) results.push_back(answer::to_json(passage));
        print(json::serialize(json::object{{"results", std::move(results)},
                                           {"count", passages.size()},
                                           {"constraints", answer::to_json(found.constraints)},
                                           {"release", view->release.id.value}}) +
              "\n");
        return kExitDone;
    }
    tell_constraints(found.constraints);
    int rank = 0;
    for (const answer::Passage& passage : passages) {
        const std::optional<catalog::DocumentRow> document =
            PX_TRY(catalog->document(view->release.id, passage.point.document_id));
        print(
            fmt::format("{:2}. {:.3f}  {}{}\n    {}  chunk {}\n{}\n\n", ++rank, passage.score,
                        printable(passage.point.title.empty() ? passage.point.document_id
                                                              : passage.point.title),
                        passage.point.author.empty() ? "" : ", " + printable(passage.point.author),
                        document ? fmt::format("{}:{}", printable(document->path), document->line)
                                 : printable(passage.point.document_id),
                        passage.point.id.value, printable(passage.point.text)));
    }
    return kExitDone;
}

/// SHOW TABLES and DESCRIBE are what a newcomer tries first.
Result<void> refuse_listing(std::string_view query) {
    const size_t start = std::min(query.find_first_not_of(" \t\r\n("), query.size());
    const size_t end = std::min(query.find_first_of(" \t\r\n;", start), query.size());
    const std::string word = folded(std::string(query.substr(start, end - start)));
    if (word != "show" && word != "describe" && word != "desc") return {};
    return fail(ErrorCode::InvalidArgument, fmt::format("{} is not allowed here", word),
                "Use px tables; with --json it lists the columns too");
}

Result<int> sql(CommandContext& context, const AskOptions& options) {
    const auto app = PX_TRY(context.open_app());
    const auto view = PX_TRY(open_view(*app, context, options.as_of));
    answer::ReleaseReader* reader = PX_TRY(app->reader());
    engine::QueryLimits limits;
    limits.rows = options.limit;
    limits.time = std::chrono::milliseconds(static_cast<int64_t>(options.timeout_s * 1000));
    PX_TRY(refuse_listing(options.question));
    Result<engine::QueryResult> queried =
        reader->sql(*view, options.question, limits, context.deadline());
    if (!queried) {
        // The engine learns of the documents only when a query names them.
        std::string& hint = queried.error().hint;
        if (hint.starts_with("known tables: ") && hint.find("documents") == std::string::npos)
            hint.insert(std::string_view("known tables: ").size(), "documents, ");
    }
    const engine::QueryResult result = PX_TRY(std::move(queried));
    if (context.json) {
        print(engine::to_json(result) + "\n");
        return kExitDone;
    }
    if (options.format == "csv") {
        print(engine::to_csv(result));
        if (result.truncated) {
            std::cerr << fmt::format("px: only the first {} rows; raise --limit for more\n",
                                     result.rows.size());
        }
        return kExitDone;
    }
    std::vector<std::vector<std::string>> rows;
    for (const auto& row : result.rows) {
        std::vector<std::string> cells;
        for (const auto& cell : row) cells.push_back(cell.value_or("NULL"));
        rows.push_back(std::move(cells));
    }
    print(render_table(result.columns, rows));
    if (result.truncated)
        std::cerr << fmt::format("(only the first {} rows; raise --limit)\n", result.rows.size());
    return kExitDone;
}

/// The citations on stdin: of answers of `px ask --json`, as one JSON value or as JSON lines, or
/// citations by themselves. Anything else is refused: nothing may pass for verified unread.
Result<std::vector<answer::Citation>> read_citations() {
    const auto refused = [](std::string_view why) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("this is no answer of px ask --json: {}", why),
                    "px ask --json \"…\" | px verify -");
    };
    const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
    std::vector<json::value> values;
    boost::system::error_code code;
    if (json::value whole = json::parse(text, code); !code) {
        values.push_back(std::move(whole));
    } else {
        std::istringstream lines(text);
        for (std::string line; std::getline(lines, line);) {
            if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
            json::value value = json::parse(line, code);
            if (code) return refused("stdin is not JSON");
            values.push_back(std::move(value));
        }
    }
    if (values.empty()) return refused("stdin is empty");
    std::vector<answer::Citation> citations;
    const auto take = [&](const json::value& value) -> Result<void> {
        const json::object* object = value.if_object();
        const json::value* id = object == nullptr ? nullptr : object->if_contains("chunk_id");
        if (id == nullptr || !id->is_string() || id->get_string().empty())
            return refused("a citation without chunk_id");
        citations.push_back(PX_TRY(answer::citation_from_json(*object)));
        return {};
    };
    for (const json::value& value : values) {
        const json::object* object = value.if_object();
        const json::value* list = object == nullptr ? nullptr : object->if_contains("citations");
        if (list != nullptr && list->is_array()) {
            for (const json::value& item : list->get_array()) PX_TRY(take(item));
        } else if (object != nullptr && object->contains("chunk_id")) {
            PX_TRY(take(value));
        } else {
            return refused(object != nullptr && object->contains("error") ? "it is an error"
                                                                          : "it has no citations");
        }
    }
    return citations;
}

/// A chunk id, or "-" for citations of `px ask --json` (one JSON value or JSON lines) on stdin.
Result<int> verify(CommandContext& context, const AskOptions& options) {
    const auto app = PX_TRY(context.open_app());
    catalog::Catalog* catalog = PX_TRY(app->catalog());
    std::vector<answer::Citation> citations;
    if (options.citation == "-") {
        citations = PX_TRY(read_citations());
    } else {
        const auto view = PX_TRY(open_view(*app, context, options.as_of));
        citations.push_back(PX_TRY(answer::cite(*view, *catalog, options.citation)));
    }
    const answer::Rederive rederive = app->rederive();
    size_t verified = 0;
    for (const answer::Citation& citation : citations) {
        const auto view = PX_TRY(
            open_view(*app, context, citation.release > 0 ? std::to_string(citation.release) : ""));
        const answer::Verification result =
            PX_TRY(answer::verify(*view, *catalog, citation, rederive, context.deadline()));
        if (result.verified) ++verified;
        if (context.json) {
            json::object object = answer::to_json(result);
            json::array& steps = object["steps"].as_array();
            for (size_t i = 0; i < steps.size(); ++i)
                steps[i].as_object()["checked"] = i < result.checked;
            object["chunk_id"] = citation.chunk_id;
            print(json::serialize(object) + "\n");
            continue;
        }
        print(fmt::format("{} chunk {} of {} ({})\n", result.verified ? "verified" : "NOT VERIFIED",
                          citation.chunk_id, printable(citation.document_id),
                          printable(citation.source.file)));
        for (size_t i = 0; i < result.steps.size(); ++i) {
            const auto& [name, passed] = result.steps[i];
            print(fmt::format("    {} {}\n",
                              passed               ? "ok  "
                              : i < result.checked ? "FAIL"
                                                   : "-    not checked:",
                              name));
        }
        if (!result.reason.empty()) print(fmt::format("    {}\n", printable(result.reason)));
    }
    if (!context.json)
        print(fmt::format("{} of {} citations verified\n", verified, citations.size()));
    return verified == citations.size() ? kExitDone : 1;
}

void add_filters(CLI::App* command, const std::shared_ptr<AskOptions>& options) {
    command->add_option("--as-of", options->as_of, "A release id or a time: answer as then");
    command->add_option("--author", options->authors, "Only by this author (repeatable)");
    command->add_option("--category", options->categories, "Only of this category (repeatable)");
    command->add_option("--source", options->sources, "Only from this source (repeatable)");
    command->add_option("--from", options->from, "Only from this date on");
    command->add_option("--to", options->to, "Only up to this date");
    command->add_option("--mode", options->mode, "hybrid, dense or lexical")
        ->check(CLI::IsMember({"hybrid", "dense", "lexical"}));
    command->add_flag("--no-constraints", options->no_constraints,
                      "Take no author or date from the question's words");
    command->add_option("--without", options->without,
                        "A constraint not to apply, by its words (repeatable)");
    command
        ->add_option("--recency-days", options->recency_days,
                     "Newer documents first: a score halves with every so many days")
        ->check(CLI::Range(1, 36'500));
}

}  // namespace

void add_ask_commands(CLI::App& cli, CommandContext& context) {
    const auto choose = [&context](CLI::App* command, const std::shared_ptr<AskOptions>& options,
                                   Result<int> (*function)(CommandContext&, const AskOptions&)) {
        command->callback([&context, options, function] {
            context.chosen = [&context, options, function] { return function(context, *options); };
        });
    };

    auto ask_options = std::make_shared<AskOptions>();
    CLI::App* ask_command =
        cli.add_subcommand("ask", "Answer a question from the sources, with citations");
    ask_command->add_option("question", ask_options->question, "The question")->required();
    ask_command->add_option("--after", ask_options->history,
                            "An earlier question of the conversation (repeatable, oldest first)");
    add_filters(ask_command, ask_options);
    add_as_groups(*ask_command, context);
    choose(ask_command, ask_options, ask);

    auto search_options = std::make_shared<AskOptions>();
    CLI::App* search_command =
        cli.add_subcommand("search", "The passages that fit a question best");
    search_command->add_option("question", search_options->question, "The question");
    search_command->add_option("-k,--top-k", search_options->top_k, "How many")
        ->check(CLI::Range(1, 10'000));
    search_command->add_option("--queries", search_options->queries,
                               "JSON lines {query_id, text}: documents for each");
    search_command->add_flag("--tsv", search_options->tsv,
                             "With --queries: query_id, document_id, score");
    add_filters(search_command, search_options);
    add_as_groups(*search_command, context);
    choose(search_command, search_options, search);

    auto sql_options = std::make_shared<AskOptions>();
    CLI::App* sql_command =
        cli.add_subcommand("sql", "Run one read-only SELECT over a release's tables");
    sql_command->add_option("query", sql_options->question, "The SELECT")->required();
    sql_command->add_option("--as-of", sql_options->as_of, "A release id or a time");
    sql_command->add_option("--limit", sql_options->limit, "Rows at most")
        ->check(CLI::Range(1, 100'000'000));
    sql_command->add_option("--format", sql_options->format, "table, or csv (RFC 4180)")
        ->check(CLI::IsMember({"table", "csv"}));
    sql_command->add_option("--timeout", sql_options->timeout_s, "Seconds at most");
    add_as_groups(*sql_command, context);
    choose(sql_command, sql_options, sql);

    auto verify_options = std::make_shared<AskOptions>();
    CLI::App* verify_command =
        cli.add_subcommand("verify", "Re-derive a citation from the landed bytes");
    verify_command
        ->add_option("citation", verify_options->citation,
                     "A chunk id, or - for `px ask --json` on stdin")
        ->required();
    verify_command->add_option("--as-of", verify_options->as_of, "A release id or a time");
    add_as_groups(*verify_command, context);
    choose(verify_command, verify_options, verify);
}

}  // namespace px::app
