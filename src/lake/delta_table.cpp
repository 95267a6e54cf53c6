#include "lake/delta_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <random>
#include <set>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "lake/action.h"
#include "lake/checkpoint.h"
#include "lake/conflict.h"
#include "lake/log.h"
#include "lake/schema_json.h"
#include "store/object_key.h"

namespace px::lake {
namespace {

/// A random name in the form of a version 4 UUID. It must differ between processes, so no clock and
/// no seed.
std::string random_id() {
    std::random_device device;
    std::array<uint32_t, 4> words{};
    for (uint32_t& word : words) word = device();
    words[1] = (words[1] & 0xFFFF0FFFU) | 0x00004000U;
    words[2] = (words[2] & 0x3FFFFFFFU) | 0x80000000U;
    return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:04x}{:08x}", words[0], words[1] >> 16,
                       words[1] & 0xFFFFU, words[2] >> 16, words[2] & 0xFFFFU, words[3]);
}

const Add* find_file(const std::vector<Add>& files, const std::string& path) {
    const auto found =
        std::lower_bound(files.begin(), files.end(), path,
                         [](const Add& add, const std::string& key) { return add.path < key; });
    return found != files.end() && found->path == path ? &*found : nullptr;
}

Error refuse(std::string message, std::string hint) {
    return fail(ErrorCode::InvalidArgument, std::move(message), std::move(hint));
}

/// Everything that can be said about a change before the log is looked at.
Result<void> validate_change(const std::optional<Snapshot>& base, const Change& change) {
    if (!base && !change.schema)
        return refuse("the first commit of a table has no schema", "Set Change::schema");
    if (!base && !change.remove.empty())
        return refuse("the first commit of a table removes files", "Remove nothing");
    if (!base) PX_TRY(validate_schema(*change.schema, change.partition_columns));
    if (base && !change.partition_columns.empty() &&
        change.partition_columns != base->partition_columns) {
        return refuse("the partition columns of a table can't change",
                      "Leave them out, or write another table");
    }
    const std::vector<std::string>& partition_columns =
        base ? base->partition_columns : change.partition_columns;
    std::set<std::string_view> paths;
    for (const Add& add : change.add) {
        PX_TRY(store::validate_key(add.path));
        if (add.path.starts_with("_delta_log/"))
            return refuse(fmt::format("file '{}' lies in the log", add.path), "Stage it elsewhere");
        if (!paths.insert(add.path).second)
            return refuse(fmt::format("file '{}' is added twice", add.path), "Add it once");
        if (add.size_bytes < 0)
            return refuse(fmt::format("file '{}' has a negative size", add.path),
                          "Give its size in bytes");
        bool fits = add.partition_values.size() == partition_columns.size();
        for (const std::string& column : partition_columns)
            fits = fits && add.partition_values.contains(column);
        if (!fits) {
            return refuse(fmt::format("the partition values of file '{}' are not those of the "
                                      "table's {} partition columns",
                                      add.path, partition_columns.size()),
                          "Give one value (or null) for each partition column");
        }
    }
    std::set<std::string_view> removed;
    for (const std::string& path : change.remove) {
        if (!removed.insert(path).second)
            return refuse(fmt::format("file '{}' is removed twice", path), "Remove it once");
        if (find_file(base->files, path) == nullptr) {
            return refuse(fmt::format("file '{}' is not in version {} of the table", path,
                                      base->version.value),
                          "Remove files of the base snapshot");
        }
    }
    for (const Add& add : change.add) {
        if (base && !removed.contains(add.path) && find_file(base->files, add.path) != nullptr) {
            return refuse(fmt::format("file '{}' is in the table already", add.path),
                          "A file name belongs to one content; add new files only");
        }
    }
    if (change.overwrites) {
        for (const auto& [column, value] : *change.overwrites) {
            if (std::find(partition_columns.begin(), partition_columns.end(), column) ==
                partition_columns.end()) {
                return refuse(
                    fmt::format(
                        "the overwritten partition names '{}', which is no partition column",
                        column),
                    "Name partition columns");
            }
        }
    }
    if (base && change.replace_schema) {
        if (!change.schema || !change.overwrites || !change.overwrites->empty() ||
            removed.size() != base->files.size()) {
            return refuse("a schema can only be replaced by overwriting the whole table",
                          "Set schema and overwrites, and remove every file of the base");
        }
        PX_TRY(validate_schema(*change.schema, base->partition_columns));
    }
    if (!change.app_id.empty() && change.app_version < 0)
        return refuse("a txn version is negative", "Count from 0");
    return {};
}

bool holds_transaction(const LogState& state, const Change& change) {
    if (change.app_id.empty()) return false;
    const auto found = state.transactions.find(change.app_id);
    return found != state.transactions.end() && found->second.version >= change.app_version;
}

/// The log entry that puts change on top of state (null: makes the table).
Result<LogEntry> make_entry(const LogState* state, const Change& change,
                            const std::string& commit_id, const std::string& table_id,
                            int64_t now_ms) {
    LogEntry entry;
    const int64_t timestamp_ms =
        state == nullptr ? now_ms : std::max(now_ms, state->timestamp_ms + 1);
    CommitInfoAction info;
    info.timestamp_ms = timestamp_ms;
    info.operation = change.info.operation.empty() ? "WRITE" : change.info.operation;
    info.parameters = change.info.parameters;
    info.run_id = change.info.run_id;
    info.transaction_id = commit_id;
    info.blind_append = change.remove.empty() && !change.overwrites && !change.schema;
    if (state != nullptr) info.read_version = state->version;
    entry.commit_info = std::move(info);
    if (state == nullptr) {
        entry.protocol = Protocol();
        entry.metadata = make_metadata(table_id, write_schema(*change.schema),
                                       change.partition_columns, timestamp_ms);
    } else if (change.schema) {
        std::string grown =
            change.replace_schema
                ? write_schema(*change.schema)
                : PX_TRY(grow_schema(state->metadata->schema_string, *change.schema));
        if (grown != state->metadata->schema_string)
            entry.metadata = with_schema(*state->metadata, std::move(grown));
    }
    if (!change.app_id.empty())
        entry.transactions.push_back({change.app_id, change.app_version, timestamp_ms});
    std::set<std::string_view> added;
    for (const Add& add : change.add) added.insert(add.path);
    std::set<std::string_view> kept;
    for (const std::string& path : change.remove) {
        if (added.contains(path)) {
            kept.insert(path);  // same name, same bytes: it stays
            continue;
        }
        const auto file = state->files.find(path);
        if (file == state->files.end()) {
            return fail(ErrorCode::Conflict,
                        fmt::format("file '{}' is no longer in the table", path),
                        "Read the table again and repeat the change");
        }
        RemoveAction remove;
        remove.path = path;
        remove.encoded_path = file->second.encoded_path;
        remove.deletion_timestamp_ms = timestamp_ms;
        remove.partition_values = file->second.add.partition_values;
        remove.size_bytes = file->second.add.size_bytes;
        entry.removes.push_back(std::move(remove));
    }
    for (const Add& add : change.add) {
        if (kept.contains(add.path)) continue;
        entry.adds.push_back({add, encode_path(add.path), {}, {}});
    }
    std::sort(entry.removes.begin(), entry.removes.end(),
              [](const RemoveAction& a, const RemoveAction& b) { return a.path < b.path; });
    std::sort(entry.adds.begin(), entry.adds.end(),
              [](const AddAction& a, const AddAction& b) { return a.add.path < b.add.path; });
    return entry;
}

/// "interval 1 week" and its like, in ms; nullopt: not understood.
std::optional<int64_t> parse_interval_ms(std::string_view text) {
    if (text.starts_with("interval ")) text.remove_prefix(9);
    int64_t count = 0;
    size_t i = 0;
    while (i < text.size() && text[i] >= '0' && text[i] <= '9' && count < 1'000'000'000)
        count = count * 10 + (text[i++] - '0');
    if (i == 0 || i >= text.size() || text[i] != ' ') return std::nullopt;
    std::string_view unit = text.substr(i + 1);
    if (unit.ends_with('s') || unit.ends_with('S')) unit.remove_suffix(1);
    static constexpr std::pair<std::string_view, int64_t> kUnits[] = {
        {"millisecond", 1},  {"second", 1000},    {"minute", 60'000},
        {"hour", 3'600'000}, {"day", 86'400'000}, {"week", 604'800'000}};
    for (const auto& [name, milliseconds] : kUnits) {
        if (unit == name) return count * milliseconds;
    }
    return std::nullopt;
}

constexpr int64_t kWeekMs = 604'800'000;

bool is_hidden(std::string_view path) {
    while (true) {
        const size_t slash = path.find('/');
        const std::string_view part = path.substr(0, slash);
        // A partition folder may begin with '_' when its column does: "_day=1".
        if (part.starts_with('.') ||
            (part.starts_with('_') && part.find('=') == std::string_view::npos))
            return true;
        if (slash == std::string_view::npos) return false;
        path.remove_prefix(slash + 1);
    }
}

}  // namespace

std::vector<const Add*> Snapshot::files_in(const PartitionValues& partition) const {
    std::vector<const Add*> found;
    for (const Add& add : files) {
        if (is_in_partition(add.partition_values, partition)) found.push_back(&add);
    }
    return found;
}

std::optional<int64_t> Snapshot::row_count() const {
    int64_t rows = 0;
    for (const Add& add : files) {
        const std::optional<int64_t> count = stats_row_count(add);
        if (!count) return std::nullopt;
        rows += *count;
    }
    return rows;
}

DeltaTable::DeltaTable(store::ObjectStore& store, std::string prefix, const Clock& clock,
                       DeltaTableOptions options)
    : store_(store), prefix_(std::move(prefix)), clock_(clock), options_(std::move(options)) {
    if (!options_.checkpoint_engine) options_.checkpoint_engine = make_checkpoint_engine();
    log_ = std::make_unique<LogReader>(store_, prefix_, options_);
}

DeltaTable::~DeltaTable() = default;
DeltaTable::DeltaTable(DeltaTable&&) noexcept = default;

Result<std::optional<Snapshot>> DeltaTable::snapshot() const {
    const std::shared_ptr<const LogState> state =
        PX_TRY(log_->newest().context("table " + prefix_));
    if (!state) return std::optional<Snapshot>();
    return std::optional<Snapshot>(PX_TRY(to_snapshot(*state).context("table " + prefix_)));
}

Result<Snapshot> DeltaTable::snapshot_at(TableVersion version) const {
    if (version.value < 0)
        return fail(ErrorCode::NotFound,
                    fmt::format("table '{}' has no version {}", prefix_, version.value));
    const std::shared_ptr<const LogState> state =
        PX_TRY(log_->at(version.value).context("table " + prefix_));
    return to_snapshot(*state).context("table " + prefix_);
}

Result<Snapshot> DeltaTable::snapshot_as_of(TimestampMicros time) const {
    const std::shared_ptr<const LogState> state =
        PX_TRY(log_->as_of(time).context("table " + prefix_));
    return to_snapshot(*state).context("table " + prefix_);
}

Result<TableVersion> DeltaTable::version_of_transaction(const std::string& app_id,
                                                        int64_t app_version) const {
    const LogListing listing = PX_TRY(log_->list_all());
    std::optional<int64_t> found;
    for (auto it = listing.commits.rbegin(); it != listing.commits.rend(); ++it) {
        const LogEntry entry = PX_TRY(log_->read_commit(it->first));
        for (const TransactionAction& transaction : entry.transactions) {
            if (transaction.app_id != app_id) continue;
            if (transaction.version == app_version) return TableVersion{it->first};
            if (transaction.version < app_version)
                return TableVersion{found.value_or(it->first + 1)};
            found = it->first;
        }
    }
    // Only a checkpoint remembers it: the commit is the oldest version that can be read, or one
    // before.
    return TableVersion{found.value_or(LogReader::oldest_readable(listing).value_or(0))};
}

Result<TableVersion> DeltaTable::commit(const std::optional<Snapshot>& base, const Change& change) {
    const TableVersion version = PX_TRY(commit_change(base, change).context("table " + prefix_));
    return version;
}

Result<TableVersion> DeltaTable::commit_change(const std::optional<Snapshot>& base,
                                               const Change& change) {
    std::shared_ptr<const LogState> state = PX_TRY(log_->newest());
    // First of all: a repeat on the newest base would look wrong, its files being in the table
    // already.
    if (state && holds_transaction(*state, change))
        return version_of_transaction(change.app_id, change.app_version);
    PX_TRY(validate_change(base, change));
    if (!base && state) {
        return fail(ErrorCode::Conflict,
                    fmt::format("the table exists already, at version {}", state->version),
                    "Read it and commit on top of it");
    }
    if (base && (!state || state->version < base->version.value || !state->metadata ||
                 state->metadata->id != base->table_id)) {
        return fail(
            ErrorCode::Conflict,
            fmt::format("version {}, on which the change is based, is gone", base->version.value),
            "The table was dropped or made anew; read it again");
    }
    const WriteKind kind = change.remove.empty() ? WriteKind::AppendOnly : WriteKind::RemovesFiles;

    std::map<std::string, PartitionValues> added_by_winners;
    const auto partition_of = [&](const std::string& path) -> const PartitionValues* {
        if (const auto found = added_by_winners.find(path); found != added_by_winners.end())
            return &found->second;
        const Add* const add = base ? find_file(base->files, path) : nullptr;
        return add == nullptr ? nullptr : &add->partition_values;
    };
    int64_t checked = base ? base->version.value : -1;
    const auto check_winners = [&](int64_t newest) -> Result<void> {
        for (; checked < newest; ++checked) {
            const int64_t version = checked + 1;
            Result<LogEntry> winner = log_->read_commit(version);
            if (!winner) {
                if (winner.error().code != ErrorCode::NotFound) return std::move(winner).error();
                return fail(ErrorCode::Conflict,
                            fmt::format("version {}, committed meanwhile, is cleaned from the log",
                                        version),
                            "Read the table again and repeat the change");
            }
            PX_TRY(check_conflict(change, *winner, version, partition_of));
            for (AddAction& add : winner->adds)
                added_by_winners.insert_or_assign(add.add.path,
                                                  std::move(add.add.partition_values));
        }
        return {};
    };

    const std::string commit_id = random_id();
    const std::string table_id = base ? base->table_id : random_id();
    std::optional<Error> last_failure;
    for (int attempt = 0; attempt < std::max(1, options_.commit_attempts); ++attempt) {
        if (state) {
            PX_TRY(check_winners(state->version));
            PX_TRY(check_writable(*state, kind));
        }
        const int64_t version = state ? state->version + 1 : 0;
        const LogEntry entry =
            PX_TRY(make_entry(state.get(), change, commit_id, table_id, clock_.now() / 1000));
        const Result<void> put =
            store_.put_if_absent(log_->commit_key(version), write_log_entry(entry));
        bool committed = put.has_value();
        if (!put) {
            last_failure = put.error();
            // Whatever the store said: the log knows whose entry stands there. Ours, if an earlier
            // reply was lost.
            const Result<LogEntry> there = log_->read_commit(version);
            if (there) {
                committed = there->commit_info && there->commit_info->transaction_id == commit_id;
            } else if (there.error().code == ErrorCode::Corrupt) {
                return there.error();
            } else if (there.error().code == ErrorCode::NotFound) {
                // Nothing stands there. Trying again is safe: should the lost one land after all,
                // it is recognised.
                const ErrorCode code = put.error().code;
                if (code == ErrorCode::OutcomeUnknown || error_traits(code).retryable ||
                    code == ErrorCode::AlreadyExists)
                    continue;
                return put.error();
            } else {
                return fail(ErrorCode::OutcomeUnknown,
                            fmt::format("whether version {} was committed is not known: {}",
                                        version, put.error().message),
                            "Read the table again; committing again with the same txn is safe")
                    .with(there.error().message);
            }
        }
        if (committed) {
            log::info("lake.commit", {{"table", prefix_},
                                      {"version", version},
                                      {"added", entry.adds.size()},
                                      {"removed", entry.removes.size()},
                                      {"attempts", attempt + 1}});
            if (options_.checkpoint_interval > 0 && version > 0 &&
                version % options_.checkpoint_interval == 0) {
                const Result<void> written = checkpoint({version});
                if (!written) {
                    log::warning("lake.checkpoint_failed",
                                 {{"table", prefix_},
                                  {"version", version},
                                  {"error", written.error().to_string()}});
                }
            }
            return TableVersion{version};
        }
        const std::shared_ptr<const LogState> newer = PX_TRY(log_->newest());
        if (!newer) continue;
        if (holds_transaction(*newer, change))
            return version_of_transaction(change.app_id, change.app_version);
        if (!base) {
            return fail(
                ErrorCode::Conflict,
                fmt::format("another writer made the table, now at version {}", newer->version),
                "Read it and commit on top of it");
        }
        state = newer;
    }
    if (last_failure && last_failure->code != ErrorCode::AlreadyExists) {
        return fail(ErrorCode::OutcomeUnknown,
                    "whether the change was committed is not known: " + last_failure->message,
                    "Read the table again; committing again with the same txn is safe");
    }
    return fail(ErrorCode::Conflict,
                fmt::format("other writers were first {} times", options_.commit_attempts),
                "Try again, or with fewer writers at a time");
}

Result<std::vector<HistoryEntry>> DeltaTable::history() const {
    const LogListing listing = PX_TRY(log_->list_all().context("table " + prefix_));
    std::vector<HistoryEntry> history;
    for (const auto& [version, time_ms] :
         PX_TRY(log_->commit_times(listing).context("table " + prefix_))) {
        const LogEntry entry = PX_TRY(log_->read_commit(version).context("table " + prefix_));
        HistoryEntry line;
        line.version = {version};
        line.committed_at = time_ms * 1000;
        if (entry.commit_info) {
            line.operation = entry.commit_info->operation;
            line.run_id = entry.commit_info->run_id;
        }
        line.files_added = static_cast<int64_t>(entry.adds.size());
        line.files_removed = static_cast<int64_t>(entry.removes.size());
        history.push_back(std::move(line));
    }
    std::reverse(history.begin(), history.end());
    return history;
}

Result<void> DeltaTable::checkpoint(TableVersion version) {
    return write_checkpoint(version).context("table " + prefix_);
}

Result<void> DeltaTable::write_checkpoint(TableVersion version) {
    if (version.value < 0)
        return fail(ErrorCode::NotFound, fmt::format("there is no version {}", version.value));
    const std::shared_ptr<const LogState> state = PX_TRY(log_->at(version.value));
    PX_TRY(check_writable(*state, WriteKind::AppendOnly));
    int64_t retention_ms = kWeekMs;
    const auto configured =
        state->metadata->configuration.find("delta.deletedFileRetentionDuration");
    if (configured != state->metadata->configuration.end())
        retention_ms = parse_interval_ms(configured->second).value_or(kWeekMs);

    std::error_code error;
    const std::filesystem::path base = options_.temporary_folder.empty()
                                           ? std::filesystem::temp_directory_path(error)
                                           : options_.temporary_folder;
    if (error) return fail_errno(error.value(), "cannot find the folder for temporary files");
    struct Scratch {
        std::filesystem::path path;
        ~Scratch() {
            std::error_code ignored;
            std::filesystem::remove_all(path, ignored);
        }
    };
    const Scratch scratch{base / ("px-checkpoint-" + random_id())};
    std::filesystem::create_directories(scratch.path, error);
    if (error) return fail_errno(error.value(), "cannot create folder " + scratch.path.string());
    const std::string key = log_->checkpoint_key(version.value);
    const std::filesystem::path file = scratch.path / key.substr(key.rfind('/') + 1);
    const CheckpointWritten written =
        PX_TRY(write_checkpoint_file(*options_.checkpoint_engine, *state,
                                     clock_.now() / 1000 - retention_ms, scratch.path, file));
    const auto size = static_cast<int64_t>(std::filesystem::file_size(file, error));
    if (error) return fail_errno(error.value(), "cannot read " + file.string());
    PX_TRY(store_.put_file(key, file));
    const std::optional<int64_t> pointed = log_->checkpoint_hint();
    if (pointed && *pointed > version.value) return {};
    return store_.put(
        log_->last_checkpoint_key(),
        fmt::format("{{\"version\":{},\"size\":{},\"sizeInBytes\":{},\"numOfAddFiles\":{}}}",
                    version.value, written.action_count, size, written.add_count));
}

Result<VacuumReport> DeltaTable::vacuum(TimestampMicros older_than,
                                        const std::vector<TableVersion>& keep, VacuumMode mode) {
    const std::string context = "table " + prefix_;
    if (older_than > clock_.now()) {
        return refuse(fmt::format("vacuum of what is older than {}, which is in the future",
                                  format_timestamp(older_than)),
                      "Choose a time that no run still writing began before")
            .with(context);
    }
    const std::string folder = prefix_.empty() ? std::string() : prefix_ + "/";
    // The objects are listed before the log is read: a file committed in between is seen as
    // referenced.
    const std::vector<store::ObjectMeta> objects = PX_TRY(store_.list(folder).context(context));
    const std::shared_ptr<const LogState> newest = PX_TRY(log_->newest().context(context));
    if (!newest) return fail(ErrorCode::NotFound, fmt::format("there is no table '{}'", prefix_));
    PX_TRY(check_writable(*newest, WriteKind::AppendOnly).context(context));

    std::set<std::string> referenced;
    const auto refer = [&](const AddAction& add) -> Result<void> {
        if (!add.deletion_vector.empty())
            return refuse("a version to be kept has deletion vectors",
                          "Vacuum it with its own writer")
                .with(context);
        referenced.insert(add.add.path);
        return {};
    };
    const auto refer_all = [&](const LogState& state) -> Result<void> {
        for (const auto& [key, add] : state.files) PX_TRY(refer(add));
        return {};
    };
    const LogListing listing = PX_TRY(log_->list_all().context(context));
    const std::optional<int64_t> oldest = LogReader::oldest_readable(listing);
    int64_t first_kept = oldest.value_or(newest->version);
    for (const auto& [version, time_ms] : PX_TRY(log_->commit_times(listing).context(context))) {
        if (version >= first_kept && time_ms * 1000 <= older_than) first_kept = version;
    }
    first_kept = std::min(first_kept, newest->version);
    PX_TRY(refer_all(*PX_TRY(log_->at(first_kept).context(context))));
    for (int64_t version = first_kept + 1; version <= newest->version; ++version) {
        const LogEntry entry = PX_TRY(log_->read_commit(version).context(context));
        for (const AddAction& add : entry.adds) PX_TRY(refer(add));
    }
    for (const TableVersion& version : keep)
        PX_TRY(refer_all(*PX_TRY(log_->at(version.value).context(context))));

    VacuumReport report;
    for (const store::ObjectMeta& object : objects) {
        const std::string_view path = std::string_view(object.key).substr(folder.size());
        if (is_hidden(path) || object.modified_at >= older_than ||
            referenced.contains(std::string(path)))
            continue;
        if (mode == VacuumMode::Delete) PX_TRY(store_.remove(object.key).context(context));
        ++report.files;
        report.bytes += object.size_bytes;
    }
    log::info("lake.vacuum", {{"table", prefix_},
                              {"files", report.files},
                              {"bytes", report.bytes},
                              {"deleted", mode == VacuumMode::Delete}});
    return report;
}

}  // namespace px::lake
