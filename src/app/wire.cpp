#include "app/wire.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "answer/evaluation.h"
#include "base/log.h"
#include "engine/local/local_engine.h"
#include "generate/openai/openai_writer.h"
#include "index/open.h"
#include "pipeline/run_lock.h"
#include "store/open.h"

namespace px::app {

namespace {

/// The lock of a catalog that is a file of this machine.
class FileLock final : public catalog::PipelineLock {
  public:
    explicit FileLock(pipeline::RunLock lock) : lock_(std::move(lock)) {}
    Result<void> check() override { return {}; }

  private:
    pipeline::RunLock lock_;
};

/// PX_TEST_KILL_AT=label: the process dies at that step, as by kill -9; PX_TEST_STOP_AT=label: it
/// stands still there until SIGCONT; PX_TEST_STEPS=file: each label is noted. For the crash tests.
pipeline::StepObserver step_observer(const Environment& environment) {
    const auto value = [&](const char* name) {
        const auto found = environment.variables.find(name);
        return found == environment.variables.end() ? std::string() : found->second;
    };
    const std::string label = value("PX_TEST_KILL_AT");
    const std::string stop = value("PX_TEST_STOP_AT");
    const std::string file = value("PX_TEST_STEPS");
    if (label.empty() && stop.empty() && file.empty()) {
        return [](std::string_view reached) { log::debug("step", {{"label", reached}}); };
    }
    return [label, stop, file](std::string_view reached) {
        if (!file.empty()) {
            if (std::FILE* stream = std::fopen(file.c_str(), "a")) {
                fmt::print(stream, "{}\n", reached);
                std::fclose(stream);
            }
        }
        if (reached == label) ::kill(::getpid(), SIGKILL);
        if (reached == stop) ::kill(::getpid(), SIGSTOP);
    };
}

}  // namespace

App::App(Config config, Environment environment)
    : config_(std::move(config)),
      environment_(std::move(environment)),
      progress_(make_progress()) {}

store::OpenOptions App::open_options(const Config& config) {
    store::OpenOptions options;
    options.base_folder = config.definition.base_folder;
    options.azure = config.azure;
    options.cache_folder =
        config.cache_folder.empty() ? config.work_folder() / "cache" : config.cache_folder;
    options.cache_limit_bytes = config.cache_limit_bytes;
    return options;
}

Result<std::vector<std::string>> App::services_of(const Config& config) {
    const pipeline::Definition& d = config.definition;
    const store::OpenOptions options = open_options(config);
    const catalog::CatalogAddress catalog =
        PX_TRY(catalog::parse_catalog_address(d.catalog_url, d.base_folder));
    std::vector<std::string> services;
    for (const std::string& url : {d.landing_url, d.lake_url})
        services.push_back(PX_TRY(store::place_of(url, options)));
    services.push_back(config.vectors.kind == index::VectorsAddress::Kind::Embedded
                           ? PX_TRY(store::place_of(config.vectors.objects, options))
                           : config.vectors.shown);
    services.push_back(catalog.kind == catalog::CatalogAddress::Kind::Sqlite ? catalog.file.string()
                                                                             : catalog.shown);
    for (const std::string& text :
         {d.vectors_url.substr(0, d.vectors_url.find(':')), d.embedding_model,
          d.embedding_precision, d.query_prefix, d.passage_prefix, config.model_folder.string()})
        services.push_back(text);
    return services;
}

Result<std::unique_ptr<App>> App::create(Config config, Environment environment) {
    std::unique_ptr<App> app(new App(std::move(config), std::move(environment)));
    const pipeline::Definition& definition = app->definition();
    const store::OpenOptions options = open_options(app->config_);
    const auto open = [&](const std::string& url, const char* key) {
        return store::open_object_store(url, options).context(key);
    };
    app->landing_ = PX_TRY(open(definition.landing_url, "landing.url"));
    app->lake_ = PX_TRY(open(definition.lake_url, "lake.url"));
    const index::VectorsAddress& vectors = app->config_.vectors;
    if (vectors.kind == index::VectorsAddress::Kind::Embedded)
        app->index_store_ = PX_TRY(open(vectors.objects, "vectors.url"));
    app->catalog_address_ =
        PX_TRY(catalog::parse_catalog_address(definition.catalog_url, definition.base_folder)
                   .context("catalog.url"));
    index::EmbeddedOptions embedded;
    embedded.scratch_directory = app->config_.work_folder() / "scratch";
    app->vectors_ = PX_TRY(index::open_vector_store(vectors, app->index_store_.get(), embedded));
    engine::LocalEngineOptions local;
    local.memory_limit_mb = app->config_.engine_memory_mb;
    local.thread_count = static_cast<int>(app->config_.thread_count());
    local.temp_directory = app->config_.work_folder() / "spill";
    app->engine_ = PX_TRY(engine::open_local_engine(local));
    PX_TRY(app->set_answer_options());
    return app;
}

namespace {

bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/// Whether SQL may read a table: its name stands there by itself. A name in a comment counts too.
bool may_read(std::string_view sql, std::string_view table) {
    const auto folded = [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    };
    for (size_t at = 0; at + table.size() <= sql.size(); ++at) {
        if ((at > 0 && is_name(sql[at - 1])) ||
            (at + table.size() < sql.size() && is_name(sql[at + table.size()])))
            continue;
        if (std::equal(table.begin(), table.end(), sql.begin() + static_cast<std::ptrdiff_t>(at),
                       [&](char a, char b) { return folded(a) == folded(b); }))
            return true;
    }
    return false;
}

/// Whether SQL may read what it does not name as a table: a function that takes a name, a query or
/// a file, or a file in quotes where a table stands. Some SQL that does not is taken for it too.
bool reads_by_other_names(std::string_view sql) {
    std::string word;
    std::string before;
    for (size_t at = 0; at <= sql.size(); ++at) {
        const char c = at < sql.size() ? sql[at] : ' ';
        if (is_name(c)) {
            word += c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
            continue;
        }
        if (!word.empty()) {
            if (word == "query" || word == "query_table" || word == "glob" ||
                word.starts_with("read_") || word.starts_with("sniff_") ||
                word.ends_with("_scan") || word.ends_with("_metadata") || word.ends_with("_schema"))
                return true;
            before = std::exchange(word, {});
        }
        // Also after the comma of a list of tables, and in brackets.
        if (c == '\'' && (before == "from" || before == "join")) return true;
        if (c == '\'') before.clear();
    }
    return false;
}

/// Sources by their contracts; a model is read by whom every acl column of what it is made of
/// admits, and has to carry those columns.
answer::AccessPolicy access_policy(const pipeline::Definition& definition) {
    answer::AccessPolicy policy;
    policy.models_fingerprint = pipeline::models_fingerprint(definition);
    // table → the sources whose rows it may hold, with their acl columns
    std::map<std::string, std::set<std::pair<std::string, std::string>>> made_of;
    for (const pipeline::SourceDefinition& source : definition.sources) {
        answer::AccessPolicy::Table table{source.name, {}, false};
        if (const auto* column = source.contract.with_role(contract::Role::Acl)) {
            table.acl_columns.push_back(column->name);
            made_of[source.name] = {{source.name, column->name}};
        }
        policy.tables.push_back(std::move(table));
    }
    std::vector<std::string> hidden(std::begin(pipeline::kReservedTables),
                                    std::end(pipeline::kReservedTables));
    for (const pipeline::ModelDefinition& model : definition.models) {
        const auto reads = [&](const std::string& name) { return may_read(model.sql, name); };
        answer::AccessPolicy::Table table{model.name, {}, true};
        auto& inputs = made_of[model.name];
        for (const answer::AccessPolicy::Table& known : policy.tables) {
            if (reads(known.name))
                inputs.insert(made_of[known.name].begin(), made_of[known.name].end());
        }
        std::set<std::string> columns;
        for (const auto& [source, column] : inputs) columns.insert(column);
        // One column can't tell for two sources: whose acl stands in it, nobody knows.
        if (columns.size() < inputs.size() || reads_by_other_names(model.sql) ||
            std::any_of(hidden.begin(), hidden.end(), reads)) {
            hidden.push_back(model.name);
            continue;
        }
        table.acl_columns.assign(columns.begin(), columns.end());
        policy.tables.push_back(std::move(table));
    }
    return policy;
}

}  // namespace

Result<void> App::set_answer_options() {
    if (config_.generator_kind == "openai") {
        generate::OpenAiOptions options;
        options.url = config_.generator_url;
        options.model = config_.generator_model;
        options.api_key = config_.generator_key;
        options.timeout = config_.generator_timeout;
        answer_options_.writer =
            PX_TRY(generate::open_openai_writer(std::move(options)).context("generator"));
    }
    for (const pipeline::SourceDefinition& source : definition().sources) {
        answer::TableRoles table{source.name, {}};
        for (const contract::ColumnRule& column : source.contract.columns) {
            std::string role;
            if (column.role == contract::Role::Author) role = "author";
            if (column.role == contract::Role::Date) role = "date";
            if (column.role == contract::Role::Category) role = "category";
            if (column.role == contract::Role::Acl) role = "acl";
            table.columns.push_back(
                {column.name, columnar::delta_type_name(column.type), std::move(role)});
        }
        answer_options_.tables.push_back(std::move(table));
    }
    return {};
}

/// Whether what is about to be published may be served: measured here, beside what is served now.
Result<pipeline::Promotion> App::promote(std::shared_ptr<const index::CollectionView> points,
                                         const Deadline& deadline) {
    const auto read = [](const std::filesystem::path& path) -> Result<std::string> {
        std::ifstream file(path, std::ios::binary);
        if (!file) return fail_errno(errno, "cannot read " + path.string());
        return std::string{std::istreambuf_iterator<char>(file), {}};
    };
    const auto rule = PX_TRY(answer::parse_promotion_rule(config_.promote_if));
    const auto queries = PX_TRY(answer::parse_queries(PX_TRY(read(config_.promote_queries)),
                                                      config_.promote_queries.filename().string()));
    const auto judgements = PX_TRY(answer::parse_judgements(
        PX_TRY(read(config_.promote_qrels)), config_.promote_qrels.filename().string()));
    const embed::Encoder* loaded = PX_TRY(encoder());
    answer::ReleaseView now;
    now.points = std::move(points);
    const auto measured =
        PX_TRY(answer::evaluate(now, *loaded, queries, judgements, answer_options_, deadline));
    std::optional<answer::Evaluation> last;
    if (rule.against_last) {
        // One that can't be read any more (of an older px, of another model, damaged, vacuumed)
        // must not keep a new one from being published.
        const auto measure = [&]() -> Result<answer::Evaluation> {
            const auto served = PX_TRY(PX_TRY(reader())->open({}, answer::Access::everything()));
            return answer::evaluate(*served, *loaded, queries, judgements, answer_options_,
                                    deadline);
        };
        Result<answer::Evaluation> found = measure();
        PX_TRY(deadline.check());
        if (found) {
            last = std::move(*found);
        } else {
            const ErrorCode code = found.error().code;
            if (code != ErrorCode::NotFound && code != ErrorCode::InvalidArgument &&
                code != ErrorCode::Corrupt)
                return found.error();
            log::warning("promote.no_last", {{"why", found.error().to_string()}});
        }
    }
    const answer::PromotionVerdict verdict = answer::judge(rule, measured, last);
    return pipeline::Promotion{rule.text, verdict.reason, verdict.promoted};
}

Result<std::unique_ptr<catalog::Catalog>> App::open_catalog(catalog::OpenMode mode) const {
    return catalog::open_catalog(definition().catalog_url, definition().base_folder, mode, clock_);
}

Result<std::unique_ptr<catalog::PipelineLock>> App::lock_catalog(catalog::LockMode mode) const {
    if (catalog_address_.kind == catalog::CatalogAddress::Kind::Sqlite) {
        return std::unique_ptr<catalog::PipelineLock>(std::make_unique<FileLock>(
            PX_TRY(pipeline::RunLock::acquire(catalog_address_.file.string() + ".lock", mode))));
    }
    return PX_TRY(open_catalog(catalog::OpenMode::ReadWrite))->lock_pipeline(mode);
}

Result<catalog::Catalog*> App::catalog() {
    const std::lock_guard lock(mutex_);
    if (!catalog_) {
        Result<std::unique_ptr<catalog::Catalog>> opened =
            open_catalog(catalog::OpenMode::ReadOnly);
        if (!opened) {
            if (opened.error().code == ErrorCode::NotFound) {
                return fail(ErrorCode::NotFound,
                            fmt::format("pipeline '{}' has not run yet", definition().name),
                            "Run it with `px run`");
            }
            return std::move(opened).error();
        }
        catalog_ = std::move(*opened);
    }
    return catalog_.get();
}

Result<answer::ReleaseReader*> App::reader() {
    catalog::Catalog* opened = PX_TRY(catalog());
    const std::lock_guard lock(mutex_);
    if (!reader_) {
        answer::ReleaseReaderOptions options;
        options.sql_sessions = config_.sql_queries;
        options.scratch_directory = config_.work_folder() / "views";
        options.policy = access_policy(definition());
        reader_ = std::make_unique<answer::ReleaseReader>(*opened, *vectors_, *lake_, *engine_,
                                                          clock_, options);
    }
    return reader_.get();
}

Result<const embed::Encoder*> App::encoder() {
    const std::lock_guard lock(mutex_);
    if (!encoder_) {
        embed::EncoderOptions options;
        options.model_directory = config_.model_folder;
        options.precision = PX_TRY(embed::parse_precision(definition().embedding_precision)
                                       .context("embedding.precision"));
        options.kernel = config_.kernel;
        options.thread_count = config_.thread_count();
        options.query_prefix = definition().query_prefix;
        options.passage_prefix = definition().passage_prefix;
        options.cache_directory = config_.work_folder() / "models";
        Result<std::unique_ptr<embed::Encoder>> loaded = embed::Encoder::load(options).context(
            "embedding.model " + definition().embedding_model);
        if (!loaded && loaded.error().code == ErrorCode::NotFound) {
            loaded.error().hint =
                "Set embedding.model to a folder with config.json, model.safetensors and "
                "tokenizer.json, or leave it out for the one that came with px";
        }
        encoder_ = PX_TRY(std::move(loaded));
    }
    return encoder_.get();
}

pipeline::RunServices App::run_services() {
    return {
        definition(),
        *landing_,
        *lake_,
        *vectors_,
        *engine_,
        clock_,
        *progress_,
        config_.work_folder(),
        config_.thread_count(),
        step_observer(environment_),
        [this]() -> Result<void> {
            PX_TRY(landing_->ensure_container());
            PX_TRY(lake_->ensure_container());
            PX_TRY(vectors_->prepare());
            return pipeline::check_not_migrating(*lake_);
        },
        [this](catalog::OpenMode mode) { return open_catalog(mode); },
        [this](catalog::LockMode mode) { return lock_catalog(mode); },
        [this] { return encoder(); },
        [this](const std::string& text) -> Result<pipeline::Definition> {
            if (text == definition().text) return definition();
            Config old = PX_TRY(parse_config(text, config_.file, environment_));
            return std::move(old.definition);
        },
        [this](const std::string& text) -> Result<bool> {
            if (text == definition().text) return true;
            const Config old = PX_TRY(parse_config(text, config_.file, environment_));
            // Without their credentials, which may be renewed between two runs.
            return PX_TRY(services_of(old)) == PX_TRY(services_of(config_));
        },
        config_.promote_if.empty()
            ? decltype(pipeline::RunServices::promote)()
            : [this](std::shared_ptr<const index::CollectionView> points,
                     const Deadline& deadline) { return promote(std::move(points), deadline); }};
}

Result<pipeline::MigrationSide> App::migration_side() {
    const std::vector<std::string> places = PX_TRY(services_of(config_));
    return pipeline::MigrationSide{
        .landing = *landing_,
        .lake = *lake_,
        .index = index_store_.get(),
        .vectors = *vectors_,
        .landing_place = places[0],
        .lake_place = places[1],
        .index_place = places[2],
        .catalog_place = places[3],
        .catalog_shown = catalog_address_.shown,
        .work_folder = config_.work_folder(),
        .open_catalog = [this](catalog::OpenMode mode) { return open_catalog(mode); },
        .lock_catalog = [this] { return lock_catalog(catalog::LockMode::Exclusive); }};
}

answer::Rederive App::rederive() {
    return [this](const catalog::DocumentRow& document,
                  const Deadline& deadline) -> Result<std::string> {
        // A release may keep rows of older runs (append partitions, unchanged sources): each row is
        // read as the pipeline file of its own run said.
        catalog::Catalog* opened = PX_TRY(catalog());
        const std::optional<catalog::Release> release =
            PX_TRY(opened->release(document.first_release));
        std::string text = definition().text;
        if (release) {
            const std::optional<catalog::Run> run = PX_TRY(opened->run(release->run));
            if (run) text = run->pipeline_text;
        }
        if (text == definition().text) {
            return pipeline::rederive_text(definition(), *landing_, document, deadline);
        }
        const Config old = PX_TRY(parse_config(text, config_.file, environment_));
        return pipeline::rederive_text(old.definition, *landing_, document, deadline);
    };
}

}  // namespace px::app
