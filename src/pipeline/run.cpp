#include "pipeline/run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>
#include <map>
#include <set>

#include "base/log.h"
#include "base/parallel.h"
#include "base/sha256.h"
#include "contract/gate.h"
#include "lake/schema_json.h"
#include "pipeline/inputs.h"
#include "pipeline/run_lock.h"
#include "pipeline/sql_text.h"
#include "store/local/local_object_store.h"

namespace px::pipeline {

namespace json = boost::json;

namespace {

/// One source in one run.
struct SourceState {
    const SourceDefinition* source = nullptr;
    SourceInput input;
    bool changed = false;
    StageResult staged;
};

/// What a commit does to one table, gathered from the streams.
struct TableChange {
    std::string table;
    columnar::Schema schema;
    std::vector<std::string> partition_columns;
    std::vector<StagedFile> files;
    std::function<bool(const lake::Add&)> replaces;  ///< which of the release's files go
    bool replaces_schema = false;                    ///< models: whatever columns there were
    /// Adds to the newest version, whatever a given-up run left in it: vectors, which are named by
    /// content.
    bool is_cache = false;
};

constexpr int kCommitAttempts = 5;  ///< when foreign writers come in between

/// Our own queries are bounded by the deadline of the run, not by what a user's query may take.
constexpr std::chrono::hours kQueryTime{24 * 7};

bool same_name(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, [](char x, char y) {
        const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; };
        return lower(x) == lower(y);
    });
}

class RunExecution {
  public:
    enum class Purpose { Run, Plan };

    RunExecution(const RunServices& services, const Definition& definition, std::string ds,
                 const Deadline& deadline, Purpose purpose, store::ObjectStore& target_store,
                 std::filesystem::path scratch)
        : services_(services),
          definition_(definition),
          ds_(std::move(ds)),
          deadline_(deadline),
          purpose_(purpose),
          target_{target_store, std::move(scratch)} {
        report_.ds = ds_;
    }

    RunReport& report() { return report_; }

    /// Looks at the outside and at the newest release: what has changed? Writes nothing but scratch
    /// files.
    Result<void> look(catalog::Catalog* catalog, RunRequest::Input from) {
        PX_TRY(load_base(catalog));
        for (const SourceDefinition& source : definition_.sources) {
            SourceState state;
            state.source = &source;
            std::vector<catalog::LandedFile> published;
            if (catalog != nullptr) published = PX_TRY(catalog->published_files(source.name));
            // What the release no longer has, a date withdrawn or a source taken out meanwhile,
            // was never ingested.
            std::erase_if(published, [&](const catalog::LandedFile& file) {
                return !base_fingerprints_.contains(input_key(source, file.ds));
            });
            state.input = PX_TRY(resolve_input(definition_, source, ds_, published,
                                               from == RunRequest::Input::Landed, services_.landing,
                                               target_.scratch_folder, deadline_)
                                     .context("source " + source.name));
            const auto known = base_fingerprints_.find(state.input.fingerprint_key);
            state.changed = !state.input.nothing_new && (known == base_fingerprints_.end() ||
                                                         known->second != state.input.fingerprint);
            sources_.push_back(std::move(state));
        }
        return look_at_definition();
    }

    bool anything_changed() const {
        return text_changed_ || models_changed_ || !removed_sources_.empty() ||
               std::ranges::any_of(sources_, &SourceState::changed);
    }

    /// The wall time so far goes into the report.
    void note_elapsed() {
        report_.elapsed_s =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
    }

    std::string input_fingerprint() const {
        Sha256 hash;
        for (const auto& [key, value] : fingerprints_after()) hash.update(key + "=" + value + "\n");
        return to_hex(hash.finish());
    }

    /// land: from here on the outside is not looked at again.
    Result<void> land(catalog::Catalog& catalog, const catalog::RunId& run) {
        for (SourceState& state : sources_) {
            if (!state.changed) continue;
            step("land." + state.source->name + ".begin");
            PX_TRY(land_files(*state.source, ds_, state.input, services_.landing,
                              target_.scratch_folder, deadline_, services_.progress)
                       .context("source " + state.source->name));
            std::vector<catalog::LandedFile> files;
            for (const InputFile& file : state.input.files) {
                files.push_back({state.source->name, ds_, file.path, file.key, file.sha256,
                                 file.size_bytes, services_.clock.now()});
            }
            PX_TRY(catalog.record_landed(run, files));
            step("land." + state.source->name + ".end");
        }
        json::array changed;
        for (const SourceState& state : sources_) {
            if (!state.changed) continue;
            changed.push_back(json::object{{"name", state.source->name},
                                           {"key", state.input.fingerprint_key},
                                           {"fingerprint", state.input.fingerprint}});
        }
        const json::object output{{"sources", std::move(changed)},
                                  {"text", text_changed_},
                                  {"vectors", vectors_changed_},
                                  {"models", models_changed_},
                                  {"removed", json::value_from(removed_sources_)}};
        return finish_task(catalog, run, "land", json::serialize(output));
    }

    /// Takes up a run where land() of a dead process left it. False: it had not landed everything.
    Result<bool> take_up(catalog::Catalog& catalog, const catalog::RunId& run) {
        PX_TRY(load_base(&catalog));
        PX_TRY(look_at_definition());
        const std::optional<std::string> output = PX_TRY(catalog.task_output(run, "land"));
        if (!output) return false;
        boost::system::error_code code;
        const json::value value = json::parse(*output, code);
        if (code || !value.is_object())
            return fail(ErrorCode::Corrupt, "the output of task land can't be read");
        const json::object& object = value.get_object();
        const auto flag = [&](std::string_view name) {
            const json::value* found = object.if_contains(name);
            return found != nullptr && found->is_bool() && found->get_bool();
        };
        text_changed_ = flag("text");
        vectors_changed_ = flag("vectors");
        models_changed_ = flag("models");
        removed_sources_.clear();
        if (const json::value* removed = object.if_contains("removed");
            removed != nullptr && removed->is_array()) {
            for (const json::value& name : removed->get_array()) {
                if (name.is_string()) removed_sources_.emplace_back(name.get_string());
            }
        }
        const std::vector<catalog::LandedFile> landed = PX_TRY(catalog.landed_files(run));
        for (const SourceDefinition& source : definition_.sources) {
            SourceState state;
            state.source = &source;
            if (const json::value* changed = object.if_contains("sources");
                changed != nullptr && changed->is_array()) {
                for (const json::value& entry : changed->get_array()) {
                    if (!entry.is_object() ||
                        entry.get_object().at("name").as_string() != source.name)
                        continue;
                    state.changed = true;
                    state.input.fingerprint_key = entry.get_object().at("key").as_string();
                    state.input.fingerprint = entry.get_object().at("fingerprint").as_string();
                }
            }
            for (const catalog::LandedFile& file : landed) {
                if (file.source != source.name) continue;
                InputFile input{file.path, file.key, file.sha256, file.size_bytes, {}};
                input.local = PX_TRY(services_.landing.local_path(file.key));
                state.input.files.push_back(std::move(input));
            }
            sources_.push_back(std::move(state));
        }
        report_.resumed = true;
        return true;
    }

    /// stage and gate. A halt leaves reasons in the report.
    Result<void> stage(catalog::Catalog* catalog, const catalog::RunId* run) {
        std::vector<SourceState*> changed;
        for (SourceState& state : sources_) {
            if (state.changed) changed.push_back(&state);
        }
        std::vector<std::string> halted(changed.size());
        PX_TRY(parallel_for(
            changed.size(), services_.thread_count, deadline_, [&](size_t i) -> Result<void> {
                SourceState& state = *changed[i];
                const std::string task = "stage." + state.source->name;
                if (run != nullptr) {
                    const std::optional<std::string> output =
                        PX_TRY(catalog->task_output(*run, task));
                    if (output) {
                        boost::system::error_code code;
                        const json::value value = json::parse(*output, code);
                        if (code)
                            return fail(ErrorCode::Corrupt,
                                        "the output of task " + task + " can't be read");
                        state.staged = PX_TRY(stage_result_from_json(value));
                        return {};
                    }
                }
                step(task + ".begin");
                int attempt = 0;
                if (run != nullptr) attempt = PX_TRY(catalog->begin_task(*run, task));
                Result<StageResult> result =
                    stage_source(*state.source, ds_, state.input.files, target_, deadline_,
                                 services_.progress, services_.step);
                if (!result) {
                    const Error& error = result.error();
                    if (run != nullptr) {
                        PX_TRY(catalog->finish_task(*run, task, attempt, "failed",
                                                    error.to_string(), ""));
                    }
                    if (error.code == ErrorCode::ContractViolated ||
                        error.code == ErrorCode::Corrupt) {
                        halted[i] = error.to_string();
                        return {};
                    }
                    return std::move(result).error();
                }
                state.staged = std::move(*result);
                if (run != nullptr) {
                    PX_TRY(catalog->finish_task(*run, task, attempt, "done", "",
                                                json::serialize(to_json(state.staged))));
                }
                step(task + ".end");
                return {};
            }));
        for (const std::string& reason : halted) {
            if (!reason.empty()) report_.reasons.push_back(reason);
        }
        return gate(catalog, run);
    }

    bool halted() const { return !report_.reasons.empty(); }

    /// The three streams, side by side.
    Result<void> streams(catalog::Catalog* catalog, const catalog::RunId* run) {
        PX_TRY(gather_changes());
        const size_t stream_count = purpose_ == Purpose::Plan ? 1 : 3;
        return parallel_for(stream_count, std::max<size_t>(services_.thread_count, 1), deadline_,
                            [&](size_t i) -> Result<void> {
                                if (i == 0)
                                    return text_stream(catalog, run).context("stream vectors");
                                if (i == 1)
                                    return model_stream(catalog, run).context("stream lake");
                                return metadata_stream(catalog, run).context("stream metadata");
                            });
    }

    /// Every table must be able to take its change, before the first one is committed.
    Result<void> check_tables() const {
        for (const TableChange& change : table_changes()) {
            const auto refused = [&](std::string why) {
                return fail(ErrorCode::InvalidArgument,
                            fmt::format("table {}: {}", change.table, why),
                            "Give the source or model another name; nothing was changed");
            };
            const std::optional<lake::Snapshot> now = PX_TRY(newest(change.table));
            if (!now) {
                PX_TRY(lake::validate_schema(change.schema, change.partition_columns)
                           .context("table " + change.table));
                continue;
            }
            if (now->partition_columns != change.partition_columns)
                return refused("the lake has one of this name with other partitions");
            if (change.replaces_schema) {
                PX_TRY(lake::validate_schema(change.schema, change.partition_columns)
                           .context("table " + change.table));
                continue;
            }
            for (const columnar::Field& field : change.schema.fields) {
                if (const std::string why = clash(*now, field); !why.empty()) return refused(why);
            }
        }
        return {};
    }

    /// publish: the tables, then the one row that makes the release visible.
    Result<void> publish(catalog::Catalog& catalog, const catalog::Run& run) {
        step("publish.begin");
        catalog::Publication publication;
        publication.release.run = run.id;
        publication.release.ds = ds_;
        publication.release.input_fingerprints = fingerprints_after();
        publication.release.index_manifest = manifest_.value;
        publication.expected_latest = base_ ? base_->id.value : 0;
        if (base_) publication.release.table_versions = base_->table_versions;
        std::erase_if(publication.release.table_versions, [&](const auto& entry) {
            const std::string& name = entry.first;
            return definition_.source(name) == nullptr && !is_reserved(name) &&
                   std::ranges::find(definition_.models, name, &ModelDefinition::name) ==
                       definition_.models.end();
        });
        for (const TableChange& change : table_changes()) {
            const lake::TableVersion version =
                PX_TRY(commit(change, run).context("table " + change.table));
            publication.release.table_versions[change.table] = version.value;
            report_.tables.push_back(fmt::format("{} {}", change.table, version.value));
            step("publish.commit." + change.table);
        }
        // Vectors that a killed attempt committed already belong to this release too.
        if (const std::optional<lake::Snapshot> vectors =
                PX_TRY(newest(std::string(kEmbeddingsTable)))) {
            publication.release.table_versions[std::string(kEmbeddingsTable)] =
                vectors->version.value;
        }
        const auto view = PX_TRY(services_.vectors.open(manifest_));
        publication.release.chunks = static_cast<int64_t>(view->point_count());
        report_.chunks_total = publication.release.chunks;
        publication.documents = std::move(documents_);
        report_.result = RunResult::Published;
        publication.report = [this](const catalog::Release& release) {
            report_.release = release.id.value;
            report_.documents = release.documents;
            note_elapsed();
            return report_json(report_);
        };
        step("publish.release.begin");
        const catalog::Release release = PX_TRY(catalog.publish(publication));
        step("publish.release.end");
        report_.release = release.id.value;
        report_.documents = release.documents;
        return {};
    }

    /// Counts for the report; call after streams.
    void fill_source_reports() {
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

  private:
    void step(const std::string& label) const {
        if (services_.step && purpose_ == Purpose::Run) services_.step(label);
    }

    lake::DeltaTable table(const std::string& name) const {
        return lake::DeltaTable(services_.lake, name, services_.clock);
    }

    Result<void> finish_task(catalog::Catalog& catalog, const catalog::RunId& run,
                             const std::string& task, const std::string& output) {
        const int attempt = PX_TRY(catalog.begin_task(run, task));
        return catalog.finish_task(run, task, attempt, "done", "", output);
    }

    Result<void> load_base(catalog::Catalog* catalog) {
        if (catalog != nullptr) base_ = PX_TRY(catalog->latest_release());
        if (!base_) return {};
        base_fingerprints_ = base_->input_fingerprints;
        report_.serving = base_->id.value;
        return check_release();
    }

    /// What the release names must be there: a lake or an index that was lost is told before
    /// anything is built on it, and a run that changes nothing tells it too.
    Result<void> check_release() {
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
                return lost(fmt::format("version {} of table {} in {}", version, name,
                                        services_.lake.url()),
                            snapshot.error());
            }
        }
        if (base_->index_manifest.empty()) return {};
        const auto view = services_.vectors.open({base_->index_manifest});
        if (view) return {};
        if (view.error().code != ErrorCode::Corrupt &&
            view.error().code != ErrorCode::InvalidArgument)
            return lost("its index", view.error());
        // Damaged, or of an older px: it is made of what the lake holds.
        index_is_lost_ = true;
        log::warning("index.made_anew", {{"why", view.error().to_string()}});
        return {};
    }

    Result<void> look_at_definition() {
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
        Sha256 models;
        for (const ModelDefinition& model : definition_.models)
            models.update(model.name + "\n" + model.sql + "\n");
        models_fingerprint_ =
            definition_.models.empty() ? "" : to_hex(models.finish()).substr(0, 32);
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

    std::map<std::string, std::string> fingerprints_after() const {
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

    /// The table as the release has it: what a run builds on, whatever versions a run that was
    /// given up has left behind. nullopt: the release has no such table.
    Result<std::optional<lake::Snapshot>> released(const std::string& name) const {
        if (!base_) return std::nullopt;
        const auto version = base_->table_versions.find(name);
        if (version == base_->table_versions.end()) return std::nullopt;
        return std::optional(
            PX_TRY(table(name)
                       .snapshot_at({version->second})
                       .context(fmt::format("release {}, whose tables should be in {}",
                                            base_->id.value, services_.lake.url()))));
    }
    /// The newest version in the log: what a commit has to be put on top of.
    Result<std::optional<lake::Snapshot>> newest(const std::string& name) const {
        Result<std::optional<lake::Snapshot>> snapshot = table(name).snapshot();
        // A plan before the first run: there is no lake yet, and a plan does not make one.
        if (!snapshot && purpose_ == Purpose::Plan && snapshot.error().code == ErrorCode::NotFound)
            return std::nullopt;
        return snapshot;
    }

    /// Why a table can't take a column; empty: it can.
    static std::string clash(const lake::Snapshot& table, const columnar::Field& field) {
        for (const columnar::Field& known : table.schema.fields) {
            if (!same_name(known.name, field.name)) continue;
            if (known.name != field.name) {
                return fmt::format("column '{}' differs from its column '{}' only in case",
                                   field.name, known.name);
            }
            if (!(known.type == field.type)) {
                return fmt::format("column '{}' is {} in the lake and {} now", field.name,
                                   columnar::delta_type_name(known.type),
                                   columnar::delta_type_name(field.type));
            }
        }
        return {};
    }

    // ---- gate ----------------------------------------------------------------------------------

    Result<void> gate(catalog::Catalog* catalog, const catalog::RunId* run) {
        step("gate.begin");
        std::vector<catalog::CheckResult> checks;
        for (const SourceState& state : sources_) {
            if (!state.changed || state.staged.rows.table.empty()) continue;
            const SourceDefinition& source = *state.source;
            const std::optional<lake::Snapshot> base = PX_TRY(released(source.name));
            contract::GateInput input;
            input.source = source.name;
            input.accepted = state.staged.accepted;
            input.rejected = state.staged.rejected;
            if (base && source.mode == SourceMode::Snapshot)
                input.previous_rows = base->row_count();
            const contract::GateDecision decision = contract::decide(source.contract, input);
            for (const std::string& reason : decision.reasons)
                report_.reasons.push_back(with_samples(reason, state));
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
                    PX_TRY(session->add_table(PX_TRY(
                        staged_source(name, name, other.staged.rows.schema, other.staged.rows.files,
                                      services_.lake, target_.store))));
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
                    PX_TRY(session->query(check.sql, {}, limits, deadline_)
                               .context(fmt::format("contract {}, check '{}'", source.contract.name,
                                                    check.name)));
                catalog::CheckResult outcome;
                if (run != nullptr) outcome.run = *run;
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
        if (run != nullptr) {
            PX_TRY(catalog->record_checks(checks));
            std::vector<catalog::QuarantineCount> counts;
            for (const SourceState& state : sources_) {
                for (const auto& [rule, count] : state.staged.rejected_by_rule) {
                    counts.push_back({*run, state.source->name, rule, count});
                }
            }
            PX_TRY(catalog->record_quarantine(*run, counts));
        }
        step("gate.end");
        return {};
    }

    static std::string with_samples(std::string reason, const SourceState& state) {
        for (size_t i = 0; i < std::min<size_t>(3, state.staged.samples.size()); ++i) {
            const RejectedSample& sample = state.staged.samples[i];
            reason += fmt::format("\n    {}:{} {}{}{}", sample.file, sample.line, sample.column,
                                  sample.column.empty() ? "" : ": ", sample.reason);
        }
        return reason;
    }

    // ---- changes -------------------------------------------------------------------------------

    Result<void> gather_changes() {
        for (SourceState& state : sources_) {
            if (!state.changed) continue;
            SourceChange change;
            change.source = state.source->name;
            change.schema = state.staged.rows.schema;
            change.replaces_all = state.source->mode == SourceMode::Snapshot;
            change.partitions[ds_] = state.staged.rows.files;
            if (state.source->mode == SourceMode::Merge)
                PX_TRY(merge(*state.source, state.staged, change));
            row_changes_.push_back(change);
            text_changes_.push_back(std::move(change));
        }
        for (const std::string& removed : removed_sources_)
            text_changes_.push_back({removed, true, {}, {}});
        if (text_changed_) {
            // Another model or another way to chunk: every text is looked at again.
            for (const SourceState& state : sources_) {
                if (state.changed && state.source->mode == SourceMode::Snapshot) continue;
                if (!state.source->has_text()) continue;
                const std::optional<lake::Snapshot> base = PX_TRY(released(state.source->name));
                if (!base) continue;
                SourceChange whole{state.source->name, true, {}, base->schema};
                for (const lake::Add& add : base->files) {
                    whole.partitions[add.partition_values.at("ds").value_or("")].push_back(
                        {add, 0, true});
                }
                const auto already =
                    std::ranges::find(text_changes_, whole.source, &SourceChange::source);
                if (already == text_changes_.end()) {
                    text_changes_.push_back(std::move(whole));
                } else {
                    for (auto& [ds, files] : already->partitions) whole.partitions[ds] = files;
                    *already = std::move(whole);
                }
            }
        }
        return {};
    }

    /// Upsert: partitions that hold a key of the staged rows are rewritten without it.
    Result<void> merge(const SourceDefinition& source, const StageResult& staged,
                       SourceChange& change) {
        const std::optional<lake::Snapshot> base = PX_TRY(released(source.name));
        if (!base) return {};
        const std::string key = sql_name(source.contract.with_role(contract::Role::Id)->name);
        const auto session = PX_TRY(services_.engine.open_session());
        PX_TRY(session->add_table(PX_TRY(table_source(source.name, *base, services_.lake))));
        PX_TRY(session->add_table(
            PX_TRY(staged_source("staged", source.name, staged.rows.schema, staged.rows.files,
                                 services_.lake, target_.store))));
        // Another date's delivery is not newer for being read later: its keys stay as a later date
        // has them.
        std::string not_later;
        if (source.is_dated()) {
            PX_TRY(drop_superseded(source, staged, key, *session, change));
            not_later = fmt::format(" AND ds <= '{}'", ds_);
        }
        const std::string matched = fmt::format(
            "SELECT DISTINCT ds FROM {} WHERE (ds = '{}' OR {} IN (SELECT {} FROM staged)){} ORDER "
            "BY ds",
            sql_name(source.name), ds_, key, key, not_later);
        engine::QueryLimits limits;
        limits.time = kQueryTime;
        limits.rows = 1'000'000;
        const engine::QueryResult partitions =
            PX_TRY(session->query(matched, {}, limits, deadline_));
        if (partitions.truncated) {
            return fail(ErrorCode::ResourceExhausted,
                        fmt::format("source {} has more than {} partitions to merge into",
                                    source.name, limits.rows));
        }
        const std::string columns = column_list(base->schema);
        for (const auto& row : partitions.rows) {
            const std::string ds = row[0].value_or("");
            const std::string sql = fmt::format(
                "SELECT {} FROM {} WHERE ds = '{}' AND ({} IS NULL OR {} NOT IN (SELECT {} FROM "
                "staged WHERE {} IS NOT NULL))",
                columns, sql_name(source.name), ds, key, key, key, key);
            const std::filesystem::path path =
                target_.scratch_folder / fmt::format("merge-{}-{}.parquet", source.name, ds);
            const auto [schema, info] = PX_TRY(session->copy_to_parquet(sql, path, deadline_));
            std::vector<StagedFile>& files = change.partitions[ds];
            if (info.row_count > 0) {
                files.push_back(PX_TRY(store_part(target_, source.name, {{"ds", ds}}, schema, info,
                                                  path, services_.clock)));
            } else {
                std::error_code ignored;
                std::filesystem::remove(path, ignored);
            }
            step("merge." + source.name);
        }
        for (const columnar::Field& field : base->schema.fields) {
            if (!change.schema.index_of(field.name)) change.schema.fields.push_back(field);
        }
        return {};
    }

    /// Leaves out of a merge what a later date has brought already.
    Result<void> drop_superseded(const SourceDefinition& source, const StageResult& staged,
                                 const std::string& key, engine::Session& session,
                                 SourceChange& change) {
        const std::string superseded = fmt::format("{} IN (SELECT {} FROM {} WHERE ds > '{}')", key,
                                                   key, sql_name(source.name), ds_);
        engine::QueryLimits limits;
        limits.time = kQueryTime;
        const engine::QueryResult count =
            PX_TRY(session.query(fmt::format("SELECT count(*) FROM staged WHERE {}", superseded),
                                 {}, limits, deadline_));
        if (count.rows.at(0).at(0).value_or("0") == "0") return {};
        log::info("merge.superseded", {{"source", source.name}, {"rows", *count.rows[0][0]}});
        const std::filesystem::path path =
            target_.scratch_folder / fmt::format("merge-{}.parquet", source.name);
        const auto [schema, info] = PX_TRY(session.copy_to_parquet(
            fmt::format("SELECT {} FROM staged WHERE {} IS NULL OR NOT ({})",
                        column_list(staged.rows.schema), key, superseded),
            path, deadline_));
        std::vector<StagedFile>& files = change.partitions[ds_];
        files.clear();
        if (info.row_count > 0) {
            files.push_back(PX_TRY(store_part(target_, source.name, {{"ds", ds_}}, schema, info,
                                              path, services_.clock)));
        }
        return {};
    }

    /// The columns of a source's files, for SQL.
    static std::string column_list(const columnar::Schema& schema) {
        std::string columns;
        for (const columnar::Field& field : schema.fields) {
            if (field.name == "ds") continue;
            columns += (columns.empty() ? "" : ", ") + sql_name(field.name);
        }
        return columns;
    }

    // ---- the streams ---------------------------------------------------------------------------

    TextServices text_services() const {
        return {definition_,     services_.engine,   services_.lake, target_,
                services_.clock, services_.progress, services_.step, services_.thread_count};
    }

    Result<void> text_stream(catalog::Catalog* catalog, const catalog::RunId* run) {
        std::optional<index::ManifestId> base_manifest;
        // Vectors of another model are not mixed with those there are: the index is made anew, from
        // all texts.
        if (base_ && !base_->index_manifest.empty() && !vectors_changed_)
            base_manifest = index::ManifestId{base_->index_manifest};
        if (text_changes_.empty() && base_manifest) {
            manifest_ = *base_manifest;
            return {};
        }
        step("chunk.begin");
        const TextServices services = text_services();
        std::optional<lake::Snapshot> base_chunks;
        if (!vectors_changed_) base_chunks = PX_TRY(released(std::string(kChunksTable)));
        delta_ = PX_TRY(prepare_chunks(services, text_changes_, base_chunks, deadline_));
        report_.chunks_deleted = static_cast<int64_t>(delta_.removed.size());
        const int64_t touched = delta_.kept + static_cast<int64_t>(delta_.added.size());
        step("chunk.end");
        if (encoder_ != nullptr) {
            const std::optional<lake::Snapshot> vectors =
                PX_TRY(newest(std::string(kEmbeddingsTable)));
            const VectorPlan plan =
                PX_TRY(plan_vectors(services, delta_, vectors, encoder_->model_id(), deadline_));
            report_.chunks_embedded = static_cast<int64_t>(plan.missing.size());
            report_.chunks_reused = touched - report_.chunks_embedded;
            if (purpose_ == Purpose::Plan) return {};
            step("embed.begin");
            embeddings_ = PX_TRY(fill_vectors(services, delta_, plan, vectors, *encoder_,
                                              report_.chunks_truncated, deadline_));
            step("embed.end");
        }
        if (purpose_ == Purpose::Plan) return {};
        step("index.begin");
        manifest_ = PX_TRY(services_.vectors.apply(base_manifest, delta_.removed,
                                                   std::move(delta_.added), deadline_));
        step("index.end");
        return finish_task(*catalog, *run, "vectors",
                           json::serialize(json::object{{"embedded", report_.chunks_embedded},
                                                        {"reused", report_.chunks_reused},
                                                        {"deleted", report_.chunks_deleted},
                                                        {"manifest", manifest_.value}}));
    }

    Result<void> model_stream(catalog::Catalog* catalog, const catalog::RunId* run) {
        step("models.begin");
        if (!definition_.models.empty()) {
            const auto session = PX_TRY(services_.engine.open_session());
            for (const SourceState& state : sources_) {
                const std::string& name = state.source->name;
                const std::optional<lake::Snapshot> base = PX_TRY(released(name));
                const auto change = std::ranges::find(row_changes_, name, &SourceChange::source);
                if (change != row_changes_.end()) {
                    PX_TRY(session->add_table(
                        PX_TRY(table_after(base, *change, services_.lake, target_.store))));
                } else if (base) {
                    PX_TRY(session->add_table(PX_TRY(table_source(name, *base, services_.lake))));
                }
            }
            for (const ModelDefinition& model : definition_.models) {
                const std::filesystem::path path =
                    target_.scratch_folder / ("model-" + model.name + ".parquet");
                const auto [schema, info] =
                    PX_TRY(session->copy_to_parquet(model.sql, path, deadline_)
                               .context("model " + model.name));
                TableChange change;
                change.table = model.name;
                change.schema = schema;
                change.files.push_back(PX_TRY(
                    store_part(target_, model.name, {}, schema, info, path, services_.clock)));
                change.replaces = [](const lake::Add&) { return true; };
                change.replaces_schema = true;
                PX_TRY(session->add_table(PX_TRY(staged_source(
                    model.name, model.name, schema, change.files, services_.lake, target_.store))));
                model_changes_.push_back(std::move(change));
                step("models." + model.name);
            }
        }
        return finish_task(*catalog, *run, "models", "{}");
    }

    Result<void> metadata_stream(catalog::Catalog* catalog, const catalog::RunId* run) {
        step("metadata.begin");
        std::map<std::string, catalog::LandedFile> landed;
        for (const SourceState& state : sources_) {
            for (const InputFile& file : state.input.files) {
                landed[file.key] = {state.source->name, ds_, file.path, file.key, file.sha256,
                                    file.size_bytes,    0};
            }
            if (!state.source->has_text()) continue;
            for (catalog::LandedFile& file : PX_TRY(catalog->published_files(state.source->name))) {
                landed.emplace(file.key, file);
            }
        }
        documents_ = PX_TRY(prepare_documents(
            text_services(), text_changes_,
            [&](const std::string& key) -> Result<std::optional<catalog::LandedFile>> {
                auto found = landed.find(key);
                if (found == landed.end()) {
                    // A merge keeps rows of any earlier delivery.
                    std::optional<catalog::LandedFile> earlier = PX_TRY(catalog->landed_file(key));
                    if (!earlier) return std::optional<catalog::LandedFile>();
                    found = landed.emplace(key, std::move(*earlier)).first;
                }
                return std::optional(found->second);
            },
            deadline_));
        step("metadata.end");
        return finish_task(*catalog, *run, "metadata", "{}");
    }

    // ---- publish -------------------------------------------------------------------------------

    /// Every table the run writes, in a fixed order.
    std::vector<TableChange> table_changes() const {
        std::vector<TableChange> changes;
        for (const SourceChange& source : row_changes_) {
            TableChange change;
            change.table = source.source;
            change.schema = source.schema;
            change.partition_columns = {"ds"};
            for (const auto& [ds, files] : source.partitions) {
                change.files.insert(change.files.end(), files.begin(), files.end());
            }
            const bool all = source.replaces_all;
            std::set<std::string> partitions;
            for (const auto& [ds, files] : source.partitions) partitions.insert(ds);
            change.replaces = [all, partitions](const lake::Add& add) {
                return all || partitions.contains(add.partition_values.at("ds").value_or(""));
            };
            changes.push_back(std::move(change));
        }
        changes.insert(changes.end(), model_changes_.begin(), model_changes_.end());

        TableChange quarantine;
        quarantine.table = std::string(kQuarantineTable);
        std::set<std::pair<std::string, std::string>> replaced;  // source, ds or "" for all
        for (const SourceState& state : sources_) {
            if (!state.changed) continue;
            quarantine.schema = state.staged.quarantine.schema;
            quarantine.files.insert(quarantine.files.end(), state.staged.quarantine.files.begin(),
                                    state.staged.quarantine.files.end());
            replaced.emplace(state.source->name,
                             state.source->mode == SourceMode::Snapshot ? "" : ds_);
        }
        if (!replaced.empty()) {
            quarantine.partition_columns = {"source", "ds"};
            quarantine.replaces = [replaced](const lake::Add& add) {
                const std::string source = add.partition_values.at("source").value_or("");
                return replaced.contains({source, ""}) ||
                       replaced.contains({source, add.partition_values.at("ds").value_or("")});
            };
            changes.push_back(std::move(quarantine));
        }
        if (!delta_.replaced.empty()) {
            TableChange chunks;
            chunks.table = std::string(kChunksTable);
            chunks.partition_columns = {"source", "ds"};
            chunks.schema = chunks_schema();
            for (const char* name : {"source", "ds"}) {
                chunks.schema.fields.push_back({name, {columnar::TypeId::String}, true});
            }
            for (const StagedTable& staged : delta_.chunks) {
                chunks.files.insert(chunks.files.end(), staged.files.begin(), staged.files.end());
            }
            chunks.replaces = [replaced_parts = delta_.replaced](const lake::Add& add) {
                return std::ranges::any_of(replaced_parts, [&](const auto& part) {
                    return add.partition_values.at("source").value_or("") == part.first &&
                           (!part.second ||
                            *part.second == add.partition_values.at("ds").value_or(""));
                });
            };
            changes.push_back(std::move(chunks));
        }
        if (!embeddings_.files.empty()) {
            TableChange embeddings;
            embeddings.table = std::string(kEmbeddingsTable);
            embeddings.schema = embeddings_.schema;
            embeddings.files = embeddings_.files;
            embeddings.replaces = [](const lake::Add&) { return false; };
            embeddings.is_cache = true;
            changes.push_back(std::move(embeddings));
        }
        return changes;
    }

    Result<lake::TableVersion> commit(const TableChange& change, const catalog::Run& run) {
        for (int attempt = 1;; ++attempt) {
            Result<lake::TableVersion> done = commit_once(change, run);
            if (done || done.error().code != ErrorCode::Conflict || attempt == kCommitAttempts)
                return done;
            log::warning("publish.commit_again",
                         {{"table", change.table}, {"why", done.error().to_string()}});
        }
    }

    /// Makes the table hold what the release held, less what the change replaces, and the staged
    /// files; nothing is written if it does already, as after a kill. What is in the newest version
    /// and neither released nor staged was left by a run that was given up, or put there past the
    /// gate: it goes.
    Result<lake::TableVersion> commit_once(const TableChange& change, const catalog::Run& run) {
        lake::DeltaTable delta_table = table(change.table);
        const std::optional<lake::Snapshot> now = PX_TRY(delta_table.snapshot());
        const std::optional<lake::Snapshot> before =
            change.is_cache ? now : PX_TRY(released(change.table));
        std::map<std::string, const lake::Add*> wanted;
        if (before) {
            for (const lake::Add& add : before->files) {
                if (!change.replaces(add)) wanted.emplace(add.path, &add);
            }
        }
        for (const StagedFile& file : change.files) wanted.emplace(file.add.path, &file.add);
        lake::Change commit;
        std::set<std::string> live;
        if (now) {
            for (const lake::Add& add : now->files) {
                live.insert(add.path);
                if (!wanted.contains(add.path)) commit.remove.push_back(add.path);
            }
        }
        for (const auto& [path, add] : wanted) {
            if (!live.contains(path)) commit.add.push_back(*add);
        }
        if (!now) {
            commit.schema = change.schema;
            commit.partition_columns = change.partition_columns;
        } else if (change.replaces_schema) {
            if (lake::write_schema(now->schema) != lake::write_schema(change.schema)) {
                commit.schema = change.schema;
                commit.replace_schema = true;
            }
        } else {
            columnar::Schema grown = now->schema;
            for (const columnar::Field& field : change.schema.fields) {
                if (!grown.index_of(field.name)) grown.fields.push_back(field);
            }
            if (!(grown == now->schema)) commit.schema = std::move(grown);
        }
        if (now && commit.add.empty() && commit.remove.empty() && !commit.schema)
            return now->version;
        if (!change.is_cache) commit.overwrites.emplace();
        commit.info.operation = now ? "WRITE" : "CREATE TABLE AS SELECT";
        commit.info.run_id = run.id.value;
        return delta_table.commit(now, commit);
    }

    static bool is_reserved(std::string_view name) {
        return std::ranges::find(kReservedTables, name) != std::end(kReservedTables);
    }

    const RunServices& services_;
    const Definition& definition_;
    std::string ds_;
    const Deadline& deadline_;
    Purpose purpose_;
    StageTarget target_;
    RunReport report_;
    std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();

    std::optional<catalog::Release> base_;
    std::map<std::string, std::string> base_fingerprints_;
    const embed::Encoder* encoder_ = nullptr;
    std::string chunking_fingerprint_, vector_fingerprint_, models_fingerprint_;
    bool text_changed_ = false;  ///< every text is chunked again
    bool index_is_lost_ = false;
    bool vectors_changed_ = false;  ///< … and encoded by another model, or the index is lost
    bool models_changed_ = false;
    std::vector<std::string> removed_sources_;
    std::vector<SourceState> sources_;

    std::vector<SourceChange> row_changes_;   ///< of the tables
    std::vector<SourceChange> text_changes_;  ///< of chunks and documents
    ChunkDelta delta_;
    StagedTable embeddings_;
    index::ManifestId manifest_;
    std::vector<TableChange> model_changes_;
    std::vector<catalog::Publication::Partition> documents_;
};

/// A scratch folder that is empty at the start and gone at the end.
class Scratch {
  public:
    static Result<Scratch> create(const std::filesystem::path& path) {
        std::error_code code;
        std::filesystem::remove_all(path, code);
        std::filesystem::create_directories(path, code);
        if (code)
            return fail_errno(code.value(), "cannot create the scratch folder " + path.string());
        return Scratch(path);
    }
    Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, {})) {}
    Scratch& operator=(Scratch&&) = delete;
    ~Scratch() {
        std::error_code ignored;
        if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
    }
    const std::filesystem::path& path() const { return path_; }

  private:
    explicit Scratch(std::filesystem::path path) : path_(std::move(path)) {}
    std::filesystem::path path_;
};

void log_report(const RunReport& report) {
    for (const SourceReport& source : report.sources) {
        if (source.unchanged) continue;
        log::info("stage.done", {{"source", source.name},
                                 {"files", source.files},
                                 {"accepted", source.accepted},
                                 {"quarantined", source.rejected}});
    }
}

/// From staged to published, for a run that has landed.
Result<RunReport> carry_through(RunExecution& execution, catalog::Catalog& catalog,
                                const catalog::Run& run, const PipelineLock& lock) {
    const auto finish = [&](catalog::RunState state, const std::string& message) {
        execution.fill_source_reports();
        execution.note_elapsed();
        return catalog.finish_run(run.id, state, message, report_json(execution.report()));
    };
    execution.report().run_id = run.id.value;
    Result<void> before = execution.stage(&catalog, &run.id);
    if (before && execution.halted()) {
        execution.report().result = RunResult::Halted;
        std::string message;
        for (const std::string& reason : execution.report().reasons)
            message += (message.empty() ? "" : "\n") + reason;
        PX_TRY(finish(catalog::RunState::Halted, message));
        return execution.report();
    }
    if (before) before = execution.streams(&catalog, &run.id);
    if (before) before = execution.check_tables();
    if (!before) {
        // A cancelled run goes on at the next call; a failed one begins anew, and finds its staged
        // files again.
        if (before.error().code == ErrorCode::Cancelled) {
            before = fail(ErrorCode::Cancelled, "interrupted",
                          "`px run` takes it up where it stopped, `px run --restart` begins anew");
        } else {
            const Result<void> noted =
                finish(catalog::RunState::Failed, before.error().to_string());
            if (!noted)
                log::warning("run.state_not_recorded",
                             {{"run", run.id.value}, {"error", noted.error().to_string()}});
        }
        return std::move(before).error().with("run " + run.id.value);
    }
    execution.fill_source_reports();
    log_report(execution.report());
    PX_TRY(lock.check());
    PX_TRY(execution.publish(catalog, run)
               .context(fmt::format("run {}; publishing began, the next `px run` finishes it",
                                    run.id.value)));
    return execution.report();
}

}  // namespace

Result<PipelineLock> PipelineLock::acquire(const RunServices& services) {
    RunLock folder = PX_TRY(RunLock::acquire(services.work_folder / "run.lock"));
    return PipelineLock(std::move(folder), PX_TRY(services.lock_catalog()));
}

Result<RunReport> run(const RunServices& services, const RunRequest& request,
                      const Deadline& deadline) {
    const auto started = std::chrono::steady_clock::now();
    const PipelineLock lock = PX_TRY(PipelineLock::acquire(services));
    const Scratch scratch = PX_TRY(Scratch::create(services.work_folder / "scratch"));
    PX_TRY(parse_date(request.ds).context("the logical date (--ds)"));
    const auto done = [&](RunReport report) {
        report.elapsed_s =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
        return report;
    };

    // Nothing is written before something is known to have changed.
    std::unique_ptr<catalog::Catalog> catalog;
    Result<std::unique_ptr<catalog::Catalog>> existing =
        services.open_catalog(catalog::OpenMode::ReadOnly);
    if (existing) {
        catalog = std::move(*existing);
    } else if (existing.error().code == ErrorCode::InvalidArgument) {
        // Of an older px: opening it for writing brings it forward.
        catalog = PX_TRY(services.open_catalog(catalog::OpenMode::ReadWrite));
    } else if (existing.error().code != ErrorCode::NotFound) {
        return std::move(existing).error();
    }

    std::optional<RunReport> resumed_same_ds;
    if (catalog) {
        std::vector<catalog::Run> unfinished = PX_TRY(catalog->unfinished_runs());
        if (!unfinished.empty())
            catalog = PX_TRY(services.open_catalog(catalog::OpenMode::ReadWrite));
        for (const catalog::Run& old : unfinished) {
            if (request.restart) {
                PX_TRY(catalog->finish_run(old.id, catalog::RunState::Failed,
                                           "given up by --restart", ""));
                continue;
            }
            if (!PX_TRY(services.has_same_services(old.pipeline_text)
                            .context("pipeline file of run " + old.id.value))) {
                log::warning(
                    "run.given_up",
                    {{"run", old.id.value},
                     {"why", "addresses or embedding of the pipeline file are others now"}});
                PX_TRY(catalog->finish_run(old.id, catalog::RunState::Failed,
                                           "given up: addresses or embedding changed", ""));
                continue;
            }
            log::info("run.resume", {{"run", old.id.value},
                                     {"ds", old.ds},
                                     {"hint",
                                      "it goes on with the files landed then; px run "
                                      "--restart gives it up and reads them anew"}});
            Definition definition = PX_TRY(
                services.parse(old.pipeline_text).context("pipeline file of run " + old.id.value));
            RunExecution execution(services, definition, old.ds, deadline,
                                   RunExecution::Purpose::Run, services.lake, scratch.path());
            if (!PX_TRY(execution.take_up(*catalog, old.id))) {
                PX_TRY(catalog->finish_run(old.id, catalog::RunState::Failed,
                                           "interrupted before everything was landed", ""));
                continue;
            }
            RunReport report = PX_TRY(carry_through(execution, *catalog, old, lock));
            if (old.ds == request.ds) resumed_same_ds = std::move(report);
        }
    }

    RunExecution execution(services, services.definition, request.ds, deadline,
                           RunExecution::Purpose::Run, services.lake, scratch.path());
    Result<void> looked = execution.look(catalog.get(), request.input);
    if (looked && !execution.anything_changed()) {
        if (resumed_same_ds) return done(std::move(*resumed_same_ds));
        execution.fill_source_reports();
        return done(execution.report());
    }
    PX_TRY(services.ensure_containers());
    catalog = PX_TRY(services.open_catalog(catalog::OpenMode::ReadWrite));
    const catalog::Run begun =
        PX_TRY(catalog->begin_run(request.ds, services.definition.text,
                                  looked ? execution.input_fingerprint() : std::string()));
    if (services.step) services.step("run.begun");
    if (looked) looked = execution.land(*catalog, begun.id);
    if (!looked) {
        const Error& error = looked.error();
        const bool halt =
            error.code == ErrorCode::ContractViolated || error.code == ErrorCode::Corrupt;
        if (error.code != ErrorCode::Cancelled) {
            const Result<void> noted = catalog->finish_run(
                begun.id, halt ? catalog::RunState::Halted : catalog::RunState::Failed,
                error.to_string(), "");
            if (!noted) log::warning("run.state_not_recorded", {{"run", begun.id.value}});
        }
        if (!halt) return std::move(looked).error().with("run " + begun.id.value);
        execution.report().run_id = begun.id.value;
        execution.report().result = RunResult::Halted;
        execution.report().reasons.push_back(error.to_string());
        return done(execution.report());
    }
    return done(PX_TRY(carry_through(execution, *catalog, begun, lock)));
}

Result<RunReport> plan(const RunServices& services, const RunRequest& request,
                       const Deadline& deadline) {
    PX_TRY(parse_date(request.ds).context("the logical date (--ds)"));
    const Scratch scratch =
        PX_TRY(Scratch::create(services.work_folder / fmt::format("plan-{}", ::getpid())));
    store::LocalObjectStore target(scratch.path() / "lake", "scratch");
    PX_TRY(target.ensure_container());
    std::unique_ptr<catalog::Catalog> catalog;
    Result<std::unique_ptr<catalog::Catalog>> existing =
        services.open_catalog(catalog::OpenMode::ReadOnly);
    if (existing) {
        catalog = std::move(*existing);
    } else if (existing.error().code != ErrorCode::NotFound) {
        return std::move(existing).error();
    }
    if (catalog) {
        for (const catalog::Run& unfinished : PX_TRY(catalog->unfinished_runs())) {
            log::warning("plan.unfinished_run",
                         {{"run", unfinished.id.value},
                          {"meaning", "`px run` finishes it first; this plan begins before it"}});
        }
    }
    RunExecution execution(services, services.definition, request.ds, deadline,
                           RunExecution::Purpose::Plan, target, scratch.path());
    PX_TRY(execution.look(catalog.get(), request.input));
    RunReport& report = execution.report();
    if (execution.anything_changed()) {
        PX_TRY(execution.stage(nullptr, nullptr));
        if (execution.halted()) {
            report.result = RunResult::Halted;
        } else {
            PX_TRY(execution.streams(nullptr, nullptr));
            report.result = RunResult::Published;
        }
    }
    execution.fill_source_reports();
    return report;
}

std::string report_json(const RunReport& report) {
    json::array sources;
    for (const SourceReport& source : report.sources) {
        json::array samples;
        for (const RejectedSample& sample : source.samples) {
            samples.push_back(json::object{{"file", sample.file},
                                           {"line", sample.line},
                                           {"rule", sample.rule},
                                           {"column", sample.column},
                                           {"reason", sample.reason}});
        }
        sources.push_back(json::object{{"name", source.name},
                                       {"files", source.files},
                                       {"bytes", source.bytes},
                                       {"accepted", source.accepted},
                                       {"quarantined", source.rejected},
                                       {"unchanged", source.unchanged},
                                       {"note", source.note},
                                       {"rejected_samples", std::move(samples)}});
    }
    static constexpr std::string_view kResults[] = {"published", "unchanged", "halted"};
    json::object object{{"result", kResults[static_cast<size_t>(report.result)]},
                        {"run", report.run_id},
                        {"ds", report.ds},
                        {"resumed", report.resumed},
                        {"sources", std::move(sources)},
                        {"tables", json::value_from(report.tables)},
                        {"chunks", json::object{{"embed", report.chunks_embedded},
                                                {"reuse", report.chunks_reused},
                                                {"delete", report.chunks_deleted},
                                                {"truncated", report.chunks_truncated},
                                                {"total", report.chunks_total}}},
                        {"documents", report.documents},
                        {"reasons", json::value_from(report.reasons)},
                        {"elapsed_s", report.elapsed_s}};
    if (report.release > 0) object["release"] = report.release;
    return json::serialize(object);
}

std::string graph_json(const Definition& definition) {
    json::array tasks;
    const auto add = [&](std::string name, std::string_view stage, std::string_view source,
                         const std::vector<std::string>& depends_on) {
        tasks.push_back(json::object{{"name", std::move(name)},
                                     {"stage", stage},
                                     {"source", source},
                                     {"depends_on", json::value_from(depends_on)},
                                     {"retries", definition.retries.attempts},
                                     {"retry_delay_s", definition.retries.delay.count()}});
    };
    std::vector<std::string> stages;
    for (const SourceDefinition& source : definition.sources) {
        add("land." + source.name, "land", source.name, {});
        add("stage." + source.name, "stage", source.name, {"land." + source.name});
        stages.push_back("stage." + source.name);
    }
    add("gate", "gate", "", stages);
    std::vector<std::string> before_publish;
    for (const ModelDefinition& model : definition.models) {
        add("model." + model.name, "lake", model.name,
            {before_publish.empty() ? std::string("gate") : before_publish.back()});
        before_publish = {"model." + model.name};
    }
    add("metadata", "metadata", "", {"gate"});
    add("chunk", "vectors", "", {"gate"});
    add("embed", "vectors", "", {"chunk"});
    add("index", "vectors", "", {"embed"});
    before_publish.emplace_back("metadata");
    before_publish.emplace_back("index");
    add("publish", "publish", "", before_publish);
    return json::serialize(json::object{{"pipeline", definition.name},
                                        {"schedule", definition.schedule.cron},
                                        {"timezone", definition.schedule.timezone},
                                        {"tasks", std::move(tasks)}});
}

}  // namespace px::pipeline
