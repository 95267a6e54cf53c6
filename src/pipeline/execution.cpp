#include "pipeline/execution.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/json.hpp>

#include "base/log.h"
#include "base/sha256.h"
#include "pipeline/change.h"
#include "pipeline/sql_text.h"
#include "pipeline/task_output.h"

namespace px::pipeline {

namespace json = boost::json;

namespace {

std::string joined(const std::vector<std::string>& reasons) {
    std::string message;
    for (const std::string& reason : reasons) message += (message.empty() ? "" : "\n") + reason;
    return message;
}

/// Whether a recorded change concerns the stage: text alone is not staged again.
bool is_of_source(Stage stage) {
    return stage == Stage::Land || stage == Stage::Stage || stage == Stage::Merge;
}

std::string with_samples(std::string reason, const std::vector<RejectedSample>& samples) {
    for (size_t i = 0; i < std::min<size_t>(3, samples.size()); ++i) {
        const RejectedSample& sample = samples[i];
        reason += fmt::format("\n    {}:{} {}{}{}", sample.file, sample.line, sample.column,
                              sample.column.empty() ? "" : ": ", sample.reason);
    }
    return reason;
}

}  // namespace

RunExecution::RunExecution(const RunServices& services, const Definition& definition,
                           std::string ds, Purpose purpose, store::ObjectStore& target_store,
                           std::filesystem::path scratch)
    : services_(services),
      definition_(definition),
      ds_(std::move(ds)),
      purpose_(purpose),
      target_{target_store, std::move(scratch)},
      graph_(make_graph(definition)),
      started_at_(services.clock.now()) {
    target_.thread_count = services.thread_count;
    report_.ds = ds_;
}

Result<void> RunExecution::look(catalog::Catalog* catalog, RunRequest::Input from,
                                const Deadline& deadline) {
    from_ = from;
    PX_TRY(load_base(catalog));
    for (const SourceDefinition& source : definition_.sources) {
        SourceState state;
        state.source = &source;
        PX_TRY(resolve(state, catalog, deadline).context("source " + source.name));
        sources_.push_back(std::move(state));
    }
    return look_at_definition();
}

Result<void> RunExecution::resolve(SourceState& state, catalog::Catalog* catalog,
                                   const Deadline& deadline) {
    const SourceDefinition& source = *state.source;
    std::vector<catalog::LandedFile> published;
    if (catalog != nullptr) published = PX_TRY(catalog->published_files(source.name));
    // What the release no longer has, a date withdrawn or a source taken out meanwhile, was never
    // ingested.
    std::erase_if(published, [&](const catalog::LandedFile& file) {
        return !base_fingerprints_.contains(input_key(source, file.ds));
    });
    state.input = PX_TRY(resolve_input(definition_, source, ds_, published,
                                       from_ == RunRequest::Input::Landed, services_.landing,
                                       target_.scratch_folder, deadline));
    const auto known = base_fingerprints_.find(state.input.fingerprint_key);
    state.changed = !state.input.nothing_new &&
                    (known == base_fingerprints_.end() || known->second != state.input.fingerprint);
    state.resolved = true;
    return {};
}

bool RunExecution::anything_changed() const {
    return text_changed_ || models_changed_ || !removed_sources_.empty() ||
           std::ranges::any_of(sources_, &SourceState::changed);
}

void RunExecution::note_elapsed() {
    report_.elapsed_s = static_cast<double>(services_.clock.now() - started_at_) / 1e6;
    const ProcessUsage usage = process_usage();
    report_.cpu_s = earlier_.cpu_s + usage.cpu_s;
    report_.memory_max_bytes = std::max(earlier_.memory_max_bytes, usage.memory_max_bytes);
    const CostDefinition& costs = definition_.costs;
    if (costs.cpu_hour > 0 || costs.storage_gb_month > 0) {
        report_.cost = report_.cpu_s / 3600 * costs.cpu_hour +
                       static_cast<double>(report_.bytes_written) / 1e9 * costs.storage_gb_month;
    }
}

ProcessUsage process_usage() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return {seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_maxrss * 1024};
}

std::string RunExecution::input_fingerprint() const {
    Sha256 hash;
    for (const auto& [key, value] : fingerprints_after()) hash.update(key + "=" + value + "\n");
    return to_hex(hash.finish());
}

Result<void> RunExecution::begin(catalog::Catalog& catalog, const catalog::Run& run) {
    catalog_ = &catalog;
    run_ = run;
    report_.run_id = run.id.value;
    json::array sources;
    for (const SourceState& state : sources_) {
        sources.push_back(json::object{
            {"name", state.source->name}, {"changed", state.changed}, {"note", state.input.note}});
    }
    const json::object output{{"base", base_id()},
                              {"from_landing", from_ == RunRequest::Input::Landed},
                              {"sources", std::move(sources)},
                              {"text", text_changed_},
                              {"vectors", vectors_changed_},
                              {"models", models_changed_},
                              {"removed", json::value_from(removed_sources_)}};
    const int attempt = PX_TRY(catalog.begin_task(run.id, graph_.front().name));
    PX_TRY(catalog.finish_task(run.id, graph_.front().name, attempt, "done", "",
                               json::serialize(output)));
    const std::lock_guard lock(mutex_);
    done_.insert(graph_.front().name);
    attempts_[graph_.front().name] = attempt;
    return {};
}

Result<bool> RunExecution::take_up(catalog::Catalog& catalog, const catalog::Run& run) {
    catalog_ = &catalog;
    run_ = run;
    report_.run_id = run.id.value;
    report_.resumed = true;
    started_at_ = run.started_at;
    PX_TRY(load_base(&catalog));
    PX_TRY(look_at_definition());
    const std::string task = graph_.front().name;
    const std::optional<std::string> recorded = PX_TRY(catalog.task_output(run.id, task));
    if (!recorded) return false;
    const TaskOutput output = PX_TRY(TaskOutput::parse(task, *recorded));
    text_changed_ = PX_TRY(output.flag("text"));
    vectors_changed_ = PX_TRY(output.flag("vectors"));
    models_changed_ = PX_TRY(output.flag("models"));
    from_ = PX_TRY(output.flag("from_landing")) ? RunRequest::Input::Landed
                                                : RunRequest::Input::Outside;
    removed_sources_ = PX_TRY(output.texts("removed"));
    std::map<std::string, TaskOutput> sources;
    for (TaskOutput& source : PX_TRY(output.objects("sources"))) {
        std::string name = PX_TRY(source.text("name"));
        sources.emplace(std::move(name), std::move(source));
    }
    for (const SourceDefinition& source : definition_.sources) {
        SourceState state;
        state.source = &source;
        if (const auto seen = sources.find(source.name); seen != sources.end()) {
            state.changed = PX_TRY(seen->second.flag("changed"));
            state.input.note = PX_TRY(seen->second.text("note"));
        }
        sources_.push_back(std::move(state));
    }
    const std::lock_guard lock(mutex_);
    done_.insert(task);
    return true;
}

Result<bool> RunExecution::is_past(Stage stage) {
    for (const Task& task : graph_) {
        if (task.stage != stage || !has_work(task)) continue;
        if (!PX_TRY(catalog_->task_output(run_->id, task.name))) return false;
    }
    return true;
}

RunExecution::SourceState& RunExecution::state_of(const std::string& source) {
    return *std::ranges::find(sources_, source,
                              [](const SourceState& state) { return state.source->name; });
}

bool RunExecution::has_work(const Task& task) {
    return !is_of_source(task.stage) || state_of(task.subject).changed;
}

Result<void> RunExecution::perform(const Task& task, const Deadline& deadline) {
    for (const size_t place : task.depends_on)
        PX_TRY(obtain(graph_[place], deadline, Waiting::Forbidden));
    return obtain(task, deadline, Waiting::Allowed);
}

/// Brings a task's result into memory: it is there, it was recorded, or the task is done now.
Result<void> RunExecution::obtain(const Task& task, const Deadline& deadline, Waiting waiting) {
    {
        const std::lock_guard lock(mutex_);
        if (done_.contains(task.name)) return {};
    }
    for (const size_t place : task.depends_on)
        PX_TRY(obtain(graph_[place], deadline, Waiting::Forbidden));
    const auto note = [&] {
        const std::lock_guard lock(mutex_);
        done_.insert(task.name);
    };
    if (!has_work(task)) {
        note();
        return {};
    }
    if (run_) {
        const std::optional<std::string> recorded =
            PX_TRY(catalog_->task_output(run_->id, task.name));
        if (recorded) {
            const TaskOutput output = PX_TRY(TaskOutput::parse(task.name, *recorded));
            if (PX_TRY(restore(task, output))) {
                note();
                count_usage(output);
                return {};
            }
        } else if (waiting == Waiting::Forbidden) {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("task {} of run {} is not done yet", task.name, run_->id.value),
                        "Run the tasks in the order of `px graph`, or all of them with `px run`");
        }
    }
    int attempt = 0;
    if (run_) attempt = PX_TRY(catalog_->begin_task(run_->id, task.name));
    Result<Output> output = execute(task, deadline);
    // A halt is not done: whoever takes the run up must come to it again.
    const std::string halt = !output                     ? std::string()
                             : is_of_source(task.stage)  ? state_of(task.subject).halt
                             : task.stage == Stage::Gate ? joined(report_.reasons)
                                                         : std::string();
    const bool halts = !halt.empty();
    if (!output || halts) {
        const std::string message = halts ? halt : output.error().to_string();
        if (run_) {
            const Result<void> noted =
                catalog_->finish_task(run_->id, task.name, attempt, "failed", message, "");
            // Another process has the task by now: what was found here must not end the run.
            if (!noted && halts && noted.error().code == ErrorCode::Conflict) return noted.error();
            if (!noted)
                log::warning("task.state_not_recorded",
                             {{"task", task.name}, {"error", noted.error().to_string()}});
        }
        if (!output) return std::move(output).error();
    } else if (run_ && task.stage != Stage::Publish) {
        if (alone_) {
            const ProcessUsage usage = process_usage();
            output->metrics["cpu_s"] = usage.cpu_s;
            output->metrics["memory_max_bytes"] = usage.memory_max_bytes;
        }
        output->state["metrics"] = output->metrics;
        PX_TRY(catalog_->finish_task(run_->id, task.name, attempt, "done", "",
                                     json::serialize(output->state)));
    }
    if (run_ && task.stage == Stage::Gate) step("gate.noted");
    const std::lock_guard lock(mutex_);
    done_.insert(task.name);
    attempts_[task.name] = attempt;
    metrics_[task.name] = std::move(output->metrics);
    return {};
}

void RunExecution::count_usage(const TaskOutput& output) {
    const json::value* metrics = output.value().get_object().if_contains("metrics");
    if (metrics == nullptr || !metrics->is_object()) return;
    const json::value* cpu = metrics->get_object().if_contains("cpu_s");
    const json::value* memory = metrics->get_object().if_contains("memory_max_bytes");
    const std::lock_guard lock(mutex_);
    if (cpu != nullptr && cpu->is_double()) earlier_.cpu_s += cpu->get_double();
    if (memory != nullptr && memory->is_int64())
        earlier_.memory_max_bytes = std::max(earlier_.memory_max_bytes, memory->get_int64());
}

bool RunExecution::halted() {
    return !report_.reasons.empty() ||
           std::ranges::any_of(sources_, [](const SourceState& s) { return !s.halt.empty(); });
}

std::vector<std::string> RunExecution::halt_reasons() const {
    if (!report_.reasons.empty()) return report_.reasons;
    std::vector<std::string> reasons;
    for (const SourceState& state : sources_) {
        if (!state.halt.empty()) reasons.push_back(state.halt);
    }
    return reasons;
}

void RunExecution::plan_landed() {
    const std::lock_guard lock(mutex_);
    for (const Task& task : graph_) {
        if (task.stage == Stage::Look || task.stage == Stage::Land) done_.insert(task.name);
    }
}

int RunExecution::attempt_of(const std::string& task) {
    const std::lock_guard lock(mutex_);
    const auto found = attempts_.find(task);
    return found == attempts_.end() ? 0 : found->second;
}

json::object RunExecution::metrics_of(const std::string& task) {
    const std::lock_guard lock(mutex_);
    return metrics_[task];
}

Result<RunExecution::Output> RunExecution::execute(const Task& task, const Deadline& deadline) {
    switch (task.stage) {
        case Stage::Look:
            break;  // begin() has done it
        case Stage::Land:
            return land(state_of(task.subject), deadline).context("source " + task.subject);
        case Stage::Stage:
            return stage(state_of(task.subject), deadline);
        case Stage::Gate:
            return gate(deadline);
        case Stage::Merge:
            return merge(state_of(task.subject), deadline).context("source " + task.subject);
        case Stage::Model:
            for (const ModelDefinition& model_definition : definition_.models) {
                if (model_definition.name == task.subject)
                    return model(model_definition, deadline).context("stream lake");
            }
            break;
        case Stage::Metadata:
            return metadata(deadline).context("stream metadata");
        case Stage::Chunk:
            return chunk(deadline).context("stream vectors");
        case Stage::Embed:
            return embed(deadline).context("stream vectors");
        case Stage::Index:
            return index(deadline).context("stream vectors");
        case Stage::Publish:
            return publish(deadline);
    }
    return fail(ErrorCode::Internal, "nothing does task " + task.name);
}

/// False: what was recorded no longer holds, since another release came in between.
Result<bool> RunExecution::restore(const Task& task, const TaskOutput& output) {
    const auto holds = [&]() -> Result<bool> { return PX_TRY(output.number("base")) == base_id(); };
    switch (task.stage) {
        case Stage::Look:
        case Stage::Publish:
            return false;
        case Stage::Land: {
            SourceState& state = state_of(task.subject);
            state.changed = PX_TRY(output.flag("changed"));
            state.input.fingerprint_key = PX_TRY(output.text("key"));
            state.input.fingerprint = PX_TRY(output.text("fingerprint"));
            state.input.note = PX_TRY(output.text("note"));
            std::vector<InputFile> files;
            for (const TaskOutput& file : PX_TRY(output.objects("files"))) {
                InputFile input{PX_TRY(file.text("path")),
                                PX_TRY(file.text("key")),
                                PX_TRY(file.text("sha256")),
                                PX_TRY(file.number("size")),
                                {}};
                input.local = PX_TRY(services_.landing.local_path(input.key));
                files.push_back(std::move(input));
            }
            state.input.files = std::move(files);
            return true;
        }
        case Stage::Stage:
            state_of(task.subject).staged = PX_TRY(stage_result_from_json(output.value()));
            return true;
        case Stage::Gate:
            return true;
        case Stage::Merge: {
            if (!PX_TRY(holds())) return false;
            SourceChange change;
            change.source = task.subject;
            for (const TaskOutput& part : PX_TRY(output.objects("partitions"))) {
                StagedTable files = PX_TRY(staged_table_from_json(PX_TRY(part.member("files"))));
                change.schema = files.schema;
                change.partitions[PX_TRY(part.text("ds"))] = std::move(files.files);
            }
            const std::lock_guard lock(mutex_);
            merged_[task.subject] = std::move(change);
            return true;
        }
        case Stage::Model: {
            if (!PX_TRY(holds())) return false;
            StagedTable files = PX_TRY(staged_table_from_json(PX_TRY(output.member("table"))));
            const std::lock_guard lock(mutex_);
            models_[task.subject] = model_change(std::move(files));
            return true;
        }
        case Stage::Metadata:
            return true;  // publish reads the rows again
        case Stage::Chunk: {
            if (!PX_TRY(holds())) return false;
            chunk_tables_.clear();
            chunks_replaced_.clear();
            for (const json::value& files : PX_TRY(output.list("tables")))
                chunk_tables_.push_back(PX_TRY(staged_table_from_json(files)));
            for (const TaskOutput& part : PX_TRY(output.objects("replaced"))) {
                chunks_replaced_.emplace_back(PX_TRY(part.text("source")),
                                              PX_TRY(part.optional_text("ds")));
            }
            report_.chunks_deleted = PX_TRY(output.number("deleted"));
            chunks_touched_ = PX_TRY(output.number("touched"));
            return true;
        }
        case Stage::Embed: {
            if (!PX_TRY(holds())) return false;
            embeddings_ = PX_TRY(staged_table_from_json(PX_TRY(output.member("files"))));
            report_.chunks_embedded = PX_TRY(output.number("embedded"));
            report_.chunks_reused = PX_TRY(output.number("reused"));
            report_.chunks_truncated = PX_TRY(output.number("truncated"));
            return true;
        }
        case Stage::Index:
            if (!PX_TRY(holds())) return false;
            manifest_ = index::ManifestId{PX_TRY(output.text("manifest"))};
            return true;
    }
    return false;
}

void RunExecution::fill_source_reports() {
    report_.sources.clear();
    for (const SourceState& state : sources_) {
        SourceReport source;
        source.name = state.source->name;
        source.unchanged = !state.changed;
        source.note = state.input.note;
        source.files = static_cast<int64_t>(state.input.files.size());
        for (const InputFile& file : state.input.files) source.bytes += file.size_bytes;
        source.accepted = state.staged.accepted;
        source.rejected = state.staged.rejected;
        source.samples = state.staged.samples;
        report_.sources.push_back(std::move(source));
    }
}

void RunExecution::step(const std::string& label) const {
    if (services_.step && purpose_ == Purpose::Run) services_.step(label);
}

Result<void> RunExecution::load_base(catalog::Catalog* catalog) {
    if (catalog != nullptr) base_ = PX_TRY(catalog->latest_release());
    if (!base_) return {};
    base_fingerprints_ = base_->input_fingerprints;
    report_.serving = base_->id.value;
    return check_release();
}

/// What the release names must be there: a lake or an index that was lost is told before anything
/// is built on it, and a run that changes nothing tells it too.
Result<void> RunExecution::check_release() {
    const auto lost = [&](std::string what, Error error) {
        if (error.code != ErrorCode::NotFound) return error;
        return fail(ErrorCode::Unavailable,
                    fmt::format("release {} needs {}, which is not there: {}", base_->id.value,
                                what, error.message),
                    "Mount or restore the folder; to begin anew, move the catalog away");
    };
    for (const auto& [name, version] : base_->table_versions) {
        const std::string entry = fmt::format("{}/_delta_log/{:020}.json", name, version);
        Result<std::optional<store::ObjectMeta>> found = services_.lake.head(entry);
        if (found && found->has_value()) continue;
        // A log may be cleaned up to a checkpoint.
        const Result<lake::Snapshot> snapshot = table(name).snapshot_at({version});
        if (!snapshot) {
            return lost(
                fmt::format("version {} of table {} in {}", version, name, services_.lake.url()),
                snapshot.error());
        }
    }
    if (base_->index_manifest.empty()) return {};
    const auto view = services_.vectors.open({base_->index_manifest});
    if (view) return {};
    if (view.error().code != ErrorCode::Corrupt && view.error().code != ErrorCode::InvalidArgument)
        return lost("its index", view.error());
    // Damaged, or of an older px: it is made of what the lake holds.
    index_is_lost_ = true;
    log::warning("index.made_anew", {{"why", view.error().to_string()}});
    return {};
}

Result<void> RunExecution::look_at_definition() {
    const bool has_text = std::ranges::any_of(definition_.sources, &SourceDefinition::has_text);
    if (has_text) {
        encoder_ = PX_TRY(services_.encoder());
        chunking_fingerprint_ = chunking_fingerprint(definition_);
        vector_fingerprint_ = vector_fingerprint(definition_, encoder_->model_id());
        const auto differs = [&](const char* key, const std::string& now) {
            const auto known = base_fingerprints_.find(key);
            return known != base_fingerprints_.end() && known->second != now;
        };
        vectors_changed_ = index_is_lost_ || differs("vectors", vector_fingerprint_);
        text_changed_ = vectors_changed_ || differs("chunking", chunking_fingerprint_);
    }
    models_fingerprint_ = models_fingerprint(definition_);
    const auto known = base_fingerprints_.find("models");
    models_changed_ =
        (known == base_fingerprints_.end() ? "" : known->second) != models_fingerprint_;
    std::set<std::string> gone;
    for (const auto& [key, value] : base_fingerprints_) {
        if (!key.starts_with("source/")) continue;
        const std::string name = key.substr(7, key.find('/', 7) - 7);
        if (definition_.source(name) == nullptr) gone.insert(name);
    }
    removed_sources_.assign(gone.begin(), gone.end());
    return {};
}

std::map<std::string, std::string> RunExecution::fingerprints_after() const {
    std::map<std::string, std::string> after;
    for (const auto& [key, value] : base_fingerprints_) {
        if (!key.starts_with("source/")) continue;
        const std::string name = key.substr(7, key.find('/', 7) - 7);
        if (definition_.source(name) != nullptr) after[key] = value;
    }
    for (const SourceState& state : sources_) {
        if (!state.changed) continue;
        if (state.source->mode == SourceMode::Snapshot) {
            // One truth: what other days were made from no longer counts.
            std::erase_if(after, [&](const auto& entry) {
                return entry.first.starts_with("source/" + state.source->name + "/");
            });
        }
        if (state.input.files.empty()) {
            after.erase(state.input.fingerprint_key);  // withdrawn: as if it had never come
        } else {
            after[state.input.fingerprint_key] = state.input.fingerprint;
        }
    }
    if (!chunking_fingerprint_.empty()) after["chunking"] = chunking_fingerprint_;
    if (!vector_fingerprint_.empty()) after["vectors"] = vector_fingerprint_;
    if (!models_fingerprint_.empty()) after["models"] = models_fingerprint_;
    return after;
}

// ---- land, stage, gate -----------------------------------------------------------------------

/// From here on the outside is not looked at again.
Result<RunExecution::Output> RunExecution::land(SourceState& state, const Deadline& deadline) {
    const std::string& name = state.source->name;
    if (!state.resolved) PX_TRY(resolve(state, catalog_, deadline));
    int64_t bytes = 0;
    if (state.changed) {
        step("land." + name + ".begin");
        PX_TRY(land_files(*state.source, ds_, state.input, services_.landing,
                          target_.scratch_folder, deadline, services_.progress));
        std::vector<catalog::LandedFile> files;
        for (const InputFile& file : state.input.files) {
            files.push_back({name, ds_, file.path, file.key, file.sha256, file.size_bytes,
                             services_.clock.now()});
            bytes += file.size_bytes;
        }
        PX_TRY(catalog_->record_landed(run_->id, files));
        step("land." + name + ".end");
    }
    json::array landed;
    for (const InputFile& file : state.input.files) {
        landed.push_back(json::object{{"path", file.path},
                                      {"key", file.key},
                                      {"sha256", file.sha256},
                                      {"size", file.size_bytes}});
    }
    return Output{{{"changed", state.changed},
                   {"files", std::move(landed)},
                   {"key", state.input.fingerprint_key},
                   {"fingerprint", state.input.fingerprint},
                   {"note", state.input.note}},
                  {{"files", state.input.files.size()}, {"bytes", bytes}}};
}

Result<RunExecution::Output> RunExecution::stage(SourceState& state, const Deadline& deadline) {
    const std::string label = "stage." + state.source->name;
    step(label + ".begin");
    Result<StageResult> result = stage_source(*state.source, ds_, state.input.files, target_,
                                              deadline, services_.progress, services_.step);
    if (!result) {
        const Error& error = result.error();
        if (error.code != ErrorCode::ContractViolated && error.code != ErrorCode::Corrupt)
            return std::move(result).error();
        state.halt = error.to_string();  // the gate says so, with what else there is to say
        return Output{};
    }
    state.staged = std::move(*result);
    step(label + ".end");
    return Output{to_json(state.staged).get_object(),
                  {{"accepted", state.staged.accepted},
                   {"quarantined", state.staged.rejected},
                   {"files", state.staged.rows.files.size()}}};
}

Result<RunExecution::Output> RunExecution::gate(const Deadline& deadline) {
    step("gate.begin");
    report_.reasons.clear();  // of an attempt that failed
    for (const SourceState& state : sources_) {
        if (!state.halt.empty()) report_.reasons.push_back(state.halt);
    }
    std::vector<catalog::CheckResult> checks;
    for (const SourceState& state : sources_) {
        if (!state.changed || state.staged.rows.table.empty()) continue;
        const SourceDefinition& source = *state.source;
        const std::optional<lake::Snapshot> base = PX_TRY(released(source.name));
        contract::GateInput input;
        input.source = source.name;
        input.accepted = state.staged.accepted;
        input.rejected = state.staged.rejected;
        if (base && source.mode == SourceMode::Snapshot) input.previous_rows = base->row_count();
        const contract::GateDecision decision = contract::decide(source.contract, input);
        for (const std::string& reason : decision.reasons)
            report_.reasons.push_back(with_samples(reason, state.staged.samples));
        // The table may be older than the release: of a source that was taken out, say.
        if (const std::optional<lake::Snapshot> now = PX_TRY(newest(source.name))) {
            for (const columnar::Field& field : state.staged.rows.schema.fields) {
                const std::string why = clash(*now, field);
                if (why.empty()) continue;
                report_.reasons.push_back(
                    fmt::format("source {}: {}; a table keeps its columns: name the column "
                                "anew, or give the source another name",
                                source.name, why));
            }
        }
        if (source.contract.checks.empty()) continue;
        const auto session = PX_TRY(services_.engine.open_session());
        for (const SourceState& other : sources_) {
            const std::string& name = other.source->name;
            if (!other.staged.rows.table.empty()) {
                PX_TRY(session->add_table(
                    PX_TRY(staged_source(name, name, other.staged.rows.schema,
                                         other.staged.rows.files, services_.lake, target_.store))));
            } else if (const std::optional<lake::Snapshot> old = PX_TRY(released(name))) {
                PX_TRY(session->add_table(PX_TRY(table_source(name, *old, services_.lake))));
            }
        }
        PX_TRY(session->add_table(
            PX_TRY(staged_source("staged", source.name, state.staged.rows.schema,
                                 state.staged.rows.files, services_.lake, target_.store))));
        for (const contract::TableCheck& check : source.contract.checks) {
            engine::QueryLimits limits;
            limits.time = kQueryTime;
            limits.rows = 1;
            const engine::QueryResult result =
                PX_TRY(session->query(check.sql, {}, limits, deadline)
                           .context(fmt::format("contract {}, check '{}'", source.contract.name,
                                                check.name)));
            catalog::CheckResult outcome;
            if (run_) outcome.run = run_->id;
            outcome.source = source.name;
            outcome.check = check.name;
            outcome.expected = check.expect;
            outcome.actual = result.rows.empty() || result.rows[0].empty()
                                 ? "no row"
                                 : result.rows[0][0].value_or("NULL");
            outcome.passed = outcome.actual == outcome.expected;
            if (!outcome.passed) {
                report_.reasons.push_back(
                    fmt::format("source {}: check '{}' gave {}, expected {} ({})", source.name,
                                check.name, outcome.actual, outcome.expected, check.sql));
            }
            checks.push_back(std::move(outcome));
        }
    }
    if (run_) {
        PX_TRY(catalog_->record_checks(checks));
        std::vector<catalog::QuarantineCount> counts;
        for (const SourceState& state : sources_) {
            for (const auto& [rule, count] : state.staged.rejected_by_rule) {
                counts.push_back({run_->id, state.source->name, rule, count});
            }
        }
        PX_TRY(catalog_->record_quarantine(run_->id, counts));
    }
    step("gate.end");
    return Output{{}, {{"checks", checks.size()}}};
}

}  // namespace px::pipeline
