#include "lake/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <utility>

#include "base/log.h"
#include "lake/checkpoint.h"
#include "lake/schema_json.h"
#include "store/object_key.h"

namespace px::lake {
namespace {

/// A listing may miss a file that is being written while a later one is seen; so many are looked
/// for by name.
constexpr int64_t kGapsLookedFor = 100;

std::optional<int64_t> digits(std::string_view text, size_t count) {
    if (text.size() < count) return std::nullopt;
    int64_t number = 0;
    const char* const end = text.data() + count;
    if (*text.data() == '-') return std::nullopt;
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc() || stop != end) return std::nullopt;
    return number;
}

std::string file_key(const std::string& path, const std::string& deletion_vector) {
    if (deletion_vector.empty()) return path;
    std::string key = path;
    key.push_back('\0');
    return key + deletion_vector;
}

bool is_absolute(std::string_view encoded) {
    if (encoded.starts_with('/')) return true;
    const size_t colon = encoded.find(':');
    if (colon == std::string_view::npos || colon < 2) return false;
    for (size_t i = 0; i < colon; ++i) {
        const char c = encoded[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.')))
            return false;
    }
    return encoded.substr(colon).starts_with(":/");
}

bool config_is(const Metadata& metadata, const std::string& key, std::string_view value) {
    const auto found = metadata.configuration.find(key);
    return found != metadata.configuration.end() && found->second == value;
}

Error unreadable_feature(std::string_view feature) {
    return fail(
        ErrorCode::InvalidArgument,
        fmt::format("the table needs the table feature {}, which is not supported", feature),
        "Read it with a reader that has the feature, or rewrite the table without it");
}

Error unwritable_feature(std::string_view feature) {
    return fail(
        ErrorCode::InvalidArgument,
        fmt::format("writing to the table needs the table feature {}, which is not supported",
                    feature),
        "Write it with a writer that has the feature, or to a table of your own");
}

}  // namespace

std::shared_ptr<CheckpointEngine> make_checkpoint_engine() {
    return std::make_shared<CheckpointEngine>();
}

std::optional<LogFileName> parse_log_file_name(std::string_view name) {
    constexpr size_t kVersionDigits = 20;
    const std::optional<int64_t> version = digits(name, kVersionDigits);
    if (!version) return std::nullopt;
    LogFileName parsed;
    parsed.version = *version;
    name.remove_prefix(kVersionDigits);
    if (name == ".json") return parsed;
    if (!name.starts_with(".checkpoint.")) return std::nullopt;
    name.remove_prefix(12);
    if (name == "parquet") {
        parsed.kind = LogFileName::Kind::Checkpoint;
        return parsed;
    }
    if (name.size() == 29 && name[10] == '.' && name.ends_with(".parquet")) {
        const std::optional<int64_t> part = digits(name, 10);
        const std::optional<int64_t> parts = digits(name.substr(11), 10);
        if (!part || !parts || *part < 1 || *parts < *part) return std::nullopt;
        parsed.kind = LogFileName::Kind::CheckpointPart;
        parsed.part = *part;
        parsed.parts = *parts;
        return parsed;
    }
    if (name.size() > 36 && (name.substr(36) == ".parquet" || name.substr(36) == ".json")) {
        parsed.kind = LogFileName::Kind::Version2Checkpoint;
        return parsed;
    }
    return std::nullopt;
}

int64_t LogListing::newest_version() const {
    int64_t newest = -1;
    if (!commits.empty()) newest = commits.rbegin()->first;
    if (!checkpoints.empty()) newest = std::max(newest, checkpoints.front().version);
    return newest;
}

void LogState::take_checkpoint(LogEntry entry) {
    if (entry.protocol) protocol = std::move(entry.protocol);
    if (entry.metadata) metadata = std::move(entry.metadata);
    for (TransactionAction& transaction : entry.transactions) {
        transactions.insert_or_assign(transaction.app_id, std::move(transaction));
    }
    for (DomainMetadata& domain : entry.domains)
        domains.insert_or_assign(domain.domain, std::move(domain));
    // Removes first: within one version their order among the adds means nothing.
    for (RemoveAction& remove : entry.removes) {
        const std::string key = file_key(remove.path, remove.deletion_vector);
        if (const auto file = files.find(key); file != files.end()) {
            // Old writers leave these out; vacuum and checkpoint are better off with them.
            if (!remove.partition_values)
                remove.partition_values = file->second.add.partition_values;
            if (!remove.size_bytes) remove.size_bytes = file->second.add.size_bytes;
            files.erase(file);
        }
        tombstones.insert_or_assign(key, std::move(remove));
    }
    for (AddAction& add : entry.adds) {
        const std::string key = file_key(add.add.path, add.deletion_vector);
        tombstones.erase(key);
        files.insert_or_assign(key, std::move(add));
    }
}

void LogState::apply(LogEntry entry, int64_t entry_version, int64_t entry_timestamp_ms) {
    if (entry.commit_info) {
        const CommitInfoAction& info = *entry.commit_info;
        if (info.timestamp_ms) entry_timestamp_ms = *info.timestamp_ms;
        if (info.in_commit_timestamp_ms) entry_timestamp_ms = *info.in_commit_timestamp_ms;
    }
    timestamp_ms =
        version < 0 ? entry_timestamp_ms : std::max(entry_timestamp_ms, timestamp_ms + 1);
    version = entry_version;
    take_checkpoint(std::move(entry));
}

Result<void> check_readable(const LogState& state) {
    if (!state.protocol || !state.metadata) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("the log has no {} up to version {}",
                                state.protocol ? "metaData" : "protocol", state.version),
                    "The log was damaged or written by a faulty program");
    }
    const Protocol& protocol = *state.protocol;
    if (protocol.min_reader_version < 1 || protocol.min_reader_version > 3) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("the table needs reader version {}", protocol.min_reader_version),
                    "Versions 1 to 3 are read");
    }
    static constexpr std::string_view kReadable[] = {
        "columnMapping", "deletionVectors", "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"};
    if (protocol.min_reader_version == 3 && !protocol.reader_features) {
        return fail(ErrorCode::Corrupt, "the protocol has reader version 3 and no reader features");
    }
    if (protocol.min_reader_version < 3 && protocol.reader_features &&
        !protocol.reader_features->empty()) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("the protocol lists the table feature {} under reader version {}",
                                protocol.reader_features->front(), protocol.min_reader_version));
    }
    for (const std::string& feature :
         protocol.reader_features.value_or(std::vector<std::string>())) {
        if (std::find(std::begin(kReadable), std::end(kReadable), feature) == std::end(kReadable)) {
            return unreadable_feature(feature);
        }
    }
    const auto mapping = state.metadata->configuration.find("delta.columnMapping.mode");
    if (mapping != state.metadata->configuration.end() && mapping->second != "none") {
        return unreadable_feature("columnMapping (mode " + mapping->second + ")");
    }
    for (const auto& [key, file] : state.files) {
        if (!file.deletion_vector.empty()) {
            return unreadable_feature(
                fmt::format("deletionVectors (file '{}' has one)", file.add.path));
        }
    }
    return {};
}

Result<void> check_writable(const LogState& state, WriteKind kind) {
    PX_TRY(check_readable(state));
    const Protocol& protocol = *state.protocol;
    const Metadata& metadata = *state.metadata;
    if (protocol.min_writer_version > 7) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("the table needs writer version {}", protocol.min_writer_version),
                    "Versions 1 to 7 are written");
    }
    // A feature that is only listed costs nothing; what uses it is checked below.
    static constexpr std::string_view kWritable[] = {
        "appendOnly",       "invariants",      "checkConstraints",   "changeDataFeed",
        "generatedColumns", "identityColumns", "columnMapping",      "deletionVectors",
        "domainMetadata",   "timestampNtz",    "vacuumProtocolCheck"};
    for (const std::string& feature :
         protocol.writer_features.value_or(std::vector<std::string>())) {
        if (std::find(std::begin(kWritable), std::end(kWritable), feature) == std::end(kWritable)) {
            return unwritable_feature(feature);
        }
    }
    if (kind == WriteKind::RemovesFiles && config_is(metadata, "delta.appendOnly", "true")) {
        return fail(ErrorCode::InvalidArgument, "the table is append-only (delta.appendOnly)",
                    "Append, or change the table's property");
    }
    for (const auto& [key, value] : metadata.configuration) {
        if (key.starts_with("delta.constraints."))
            return unwritable_feature("checkConstraints (" + key.substr(18) + ")");
    }
    for (const auto& [key, feature] : {std::pair("delta.invariants", "invariants"),
                                       std::pair("delta.generationExpression", "generatedColumns"),
                                       std::pair("delta.identity.start", "identityColumns")}) {
        if (any_column_has_metadata(metadata.schema_string, key))
            return unwritable_feature(feature);
    }
    return {};
}

Result<Snapshot> to_snapshot(const LogState& state) {
    PX_TRY(check_readable(state));
    Snapshot snapshot;
    snapshot.version = {state.version};
    snapshot.committed_at = state.timestamp_ms * 1000;
    snapshot.schema = PX_TRY(parse_schema(state.metadata->schema_string));
    snapshot.partition_columns = state.metadata->partition_columns;
    for (const std::string& column : snapshot.partition_columns) {
        if (!snapshot.schema.index_of(column)) {
            return fail(ErrorCode::Corrupt,
                        fmt::format("partition column '{}' is not in the table's schema", column));
        }
    }
    snapshot.table_id = state.metadata->id;
    snapshot.configuration = state.metadata->configuration;
    snapshot.files.reserve(state.files.size());
    for (const auto& [key, file] : state.files) {
        if (is_absolute(file.encoded_path)) {
            return fail(
                ErrorCode::InvalidArgument,
                fmt::format("file '{}' of the table lies outside its folder", file.encoded_path),
                "Tables with absolute paths (shallow clones) are not read; copy the table");
        }
        const Result<void> valid = store::validate_key(file.add.path);
        if (!valid) {
            return fail(ErrorCode::Corrupt,
                        fmt::format("the log names a file by a path that can't be: {}",
                                    valid.error().message),
                        "The log was damaged or written by a faulty program");
        }
        snapshot.files.push_back(file.add);
    }
    for (const auto& [app_id, transaction] : state.transactions)
        snapshot.transactions[app_id] = transaction.version;
    return snapshot;
}

LogReader::LogReader(store::ObjectStore& store, std::string prefix, DeltaTableOptions options)
    : store_(store), prefix_(std::move(prefix)), options_(std::move(options)) {
    if (!options_.checkpoint_engine) options_.checkpoint_engine = make_checkpoint_engine();
}

namespace {
std::string log_folder(const std::string& prefix) {
    return prefix.empty() ? "_delta_log/" : prefix + "/_delta_log/";
}
}  // namespace

std::string LogReader::commit_key(int64_t version) const {
    return fmt::format("{}{:020}.json", log_folder(prefix_), version);
}
std::string LogReader::checkpoint_key(int64_t version) const {
    return fmt::format("{}{:020}.checkpoint.parquet", log_folder(prefix_), version);
}
std::string LogReader::last_checkpoint_key() const {
    return log_folder(prefix_) + "_last_checkpoint";
}

Result<LogListing> LogReader::list_from(int64_t version) const {
    const std::string folder = log_folder(prefix_);
    const std::string start_after =
        version <= 0 ? std::string() : fmt::format("{}{:020}", folder, version);
    std::vector<store::ObjectMeta> objects = PX_TRY(store_.list(folder, start_after));
    LogListing listing;
    std::map<std::pair<int64_t, int64_t>, std::map<int64_t, store::ObjectMeta>>
        parts;  // by version and number of parts
    std::map<int64_t, CheckpointFiles> complete;
    for (store::ObjectMeta& object : objects) {
        const std::optional<LogFileName> name =
            parse_log_file_name(std::string_view(object.key).substr(folder.size()));
        if (!name) continue;
        switch (name->kind) {
            case LogFileName::Kind::Commit:
                listing.commits.emplace(name->version, std::move(object));
                break;
            case LogFileName::Kind::Checkpoint:
                complete[name->version] = {name->version, {std::move(object)}};
                break;
            case LogFileName::Kind::CheckpointPart:
                parts[{name->version, name->parts}].emplace(name->part, std::move(object));
                break;
            case LogFileName::Kind::Version2Checkpoint:
                listing.version_2_checkpoints.push_back(name->version);
                break;
        }
    }
    for (auto& [key, found] : parts) {
        if (static_cast<int64_t>(found.size()) != key.second || complete.contains(key.first))
            continue;
        CheckpointFiles checkpoint{key.first, {}};
        for (auto& [part, meta] : found) checkpoint.files.push_back(std::move(meta));
        complete.emplace(key.first, std::move(checkpoint));
    }
    for (auto it = complete.rbegin(); it != complete.rend(); ++it)
        listing.checkpoints.push_back(std::move(it->second));
    return listing;
}

std::optional<int64_t> LogReader::checkpoint_hint() const {
    const Result<std::string> bytes = store_.get(last_checkpoint_key());
    if (!bytes) return std::nullopt;  // only a hint
    boost::system::error_code error;
    boost::json::parse_options parse_options;
    parse_options.max_depth = 200;
    const boost::json::value value = boost::json::parse(*bytes, error, {}, parse_options);
    if (error || !value.is_object()) return std::nullopt;
    const boost::json::value* const version = value.get_object().if_contains("version");
    if (version == nullptr || !version->is_int64() || version->get_int64() < 0) return std::nullopt;
    return version->get_int64();
}

Result<LogEntry> LogReader::read_commit(int64_t version) const {
    const std::string key = commit_key(version);
    const std::string bytes = PX_TRY(store_.get(key));
    return parse_log_entry(bytes).context("log entry " + key);
}

std::optional<int64_t> LogReader::oldest_readable(const LogListing& listing) {
    if (listing.commits.contains(0)) return 0;
    if (!listing.checkpoints.empty()) return listing.checkpoints.back().version;
    return std::nullopt;
}

Error LogReader::no_such_version(int64_t version, const LogListing& listing) const {
    const std::optional<int64_t> oldest = oldest_readable(listing);
    if (!oldest) {
        return fail(ErrorCode::NotFound,
                    fmt::format("version {} of table '{}' can't be read: its log has no beginning",
                                version, prefix_),
                    "Restore the log's older files from a backup");
    }
    return fail(ErrorCode::NotFound,
                fmt::format("table '{}' has no version {}; it has {} to {}", prefix_, version,
                            *oldest, listing.newest_version()),
                "Choose one of these");
}

Result<std::shared_ptr<const LogState>> LogReader::replay(const LogListing& listing, LogState state,
                                                          int64_t version) {
    int64_t gaps = 0;
    while (state.version < version) {
        const int64_t next = state.version + 1;
        const auto listed = listing.commits.find(next);
        int64_t modified_ms = 0;
        if (listed != listing.commits.end()) {
            modified_ms = listed->second.modified_at / 1000;
            if (listed->second.size_bytes > options_.log_entry_bytes_max) {
                return fail(
                    ErrorCode::ResourceExhausted,
                    fmt::format("log entry {} has {} bytes, the limit is {}", listed->second.key,
                                listed->second.size_bytes, options_.log_entry_bytes_max),
                    "Raise log_entry_bytes_max, or checkpoint the table with its own writer");
            }
        } else if (++gaps > kGapsLookedFor) {
            return fail(ErrorCode::Corrupt,
                        fmt::format("the log of table '{}' lacks version {}", prefix_, next),
                        "Restore it from a backup");
        }
        Result<LogEntry> entry = read_commit(next);
        if (!entry) {
            if (entry.error().code != ErrorCode::NotFound || listed != listing.commits.end())
                return std::move(entry).error();
            return fail(ErrorCode::Corrupt,
                        fmt::format("the log of table '{}' lacks version {}", prefix_, next),
                        "Restore it from a backup");
        }
        if (listed == listing.commits.end() && modified_ms == 0)
            modified_ms = state.timestamp_ms + 1;
        state.apply(std::move(*entry), next, modified_ms);
    }
    return std::make_shared<const LogState>(std::move(state));
}

Result<std::shared_ptr<const LogState>> LogReader::load_once(std::optional<int64_t> version) {
    Known known;
    {
        const std::lock_guard lock(mutex_);
        known = known_;
    }
    if (known.state && version && *version == known.state->version) {
        // A committed version never changes, unless the table was dropped and made anew.
        const std::optional<store::ObjectMeta> head = PX_TRY(store_.head(known.commit.key));
        if (head && head->size_bytes == known.commit.size_bytes &&
            head->modified_at == known.commit.modified_at)
            return known.state;
    } else if (known.state && (!version || *version > known.state->version)) {
        const LogListing newer = PX_TRY(list_from(known.state->version));
        const auto same = newer.commits.find(known.state->version);
        if (same != newer.commits.end() && same->second.size_bytes == known.commit.size_bytes &&
            same->second.modified_at == known.commit.modified_at) {
            const int64_t target = version.value_or(newer.newest_version());
            if (target == known.state->version) return known.state;
            // Straight on from what is known, unless commits in between were cleaned away behind a
            // checkpoint.
            bool complete = true;
            for (int64_t v = known.state->version + 1; v <= target && complete; ++v)
                complete = newer.commits.contains(v);
            if (complete) return replay(newer, *known.state, target);
        }
    }
    LogListing listing;
    bool whole = true;
    if (const std::optional<int64_t> hint = checkpoint_hint();
        hint && (!version || *version >= *hint)) {
        listing = PX_TRY(list_from(*hint));
        whole = false;
    }
    if (whole || listing.checkpoints.empty()) listing = PX_TRY(list_all());
    if (listing.empty()) {
        if (!version) return std::shared_ptr<const LogState>();
        return fail(ErrorCode::NotFound, fmt::format("there is no table '{}'", prefix_));
    }
    const int64_t target = version.value_or(listing.newest_version());
    if (target > listing.newest_version() || target < 0) {
        const LogListing all = PX_TRY(list_all());
        return no_such_version(target, all);
    }
    std::optional<Error> first_failure;
    const auto try_checkpoints =
        [&](const LogListing& from) -> Result<std::shared_ptr<const LogState>> {
        for (const CheckpointFiles& checkpoint : from.checkpoints) {
            if (checkpoint.version > target) continue;
            LogState state;
            LogEntry entry;
            Result<void> read;
            for (const store::ObjectMeta& file : checkpoint.files) {
                const auto path = PX_TRY(store_.local_path(file.key));
                read = read_checkpoint_file(*options_.checkpoint_engine, path, entry);
                if (!read) break;
            }
            if (read && entry.version_2_checkpoint) read = unreadable_feature("v2Checkpoint");
            if (read && (!entry.protocol || !entry.metadata)) {
                read = fail(
                    ErrorCode::Corrupt,
                    fmt::format("checkpoint {} lacks protocol or metaData", checkpoint.version));
            }
            if (!read) {
                if (read.error().code != ErrorCode::Corrupt &&
                    read.error().code != ErrorCode::InvalidArgument)
                    return read.error();
                log::warning("lake.checkpoint_unreadable", {{"table", prefix_},
                                                            {"version", checkpoint.version},
                                                            {"error", read.error().to_string()}});
                if (!first_failure) first_failure = read.error();
                continue;
            }
            state.take_checkpoint(std::move(entry));
            state.version = checkpoint.version;
            state.timestamp_ms = checkpoint.files.front().modified_at / 1000;
            if (const auto commit = from.commits.find(checkpoint.version);
                commit != from.commits.end()) {
                state.timestamp_ms = PX_TRY(commit_time(commit->first, commit->second));
            }
            return replay(from, std::move(state), target);
        }
        if (from.commits.contains(0)) return replay(from, LogState(), target);
        return std::shared_ptr<const LogState>();
    };
    std::shared_ptr<const LogState> state = PX_TRY(try_checkpoints(listing));
    if (!state && !whole) {
        listing = PX_TRY(list_all());
        state = PX_TRY(try_checkpoints(listing));
    }
    if (!state) {
        if (first_failure) return *first_failure;
        const bool only_version_2 =
            std::any_of(listing.version_2_checkpoints.begin(), listing.version_2_checkpoints.end(),
                        [&](int64_t v) { return v <= target; });
        if (only_version_2) return unreadable_feature("v2Checkpoint");
        const std::optional<int64_t> oldest = oldest_readable(listing);
        if (version && oldest && target < *oldest) return no_such_version(target, listing);
        return fail(
            ErrorCode::Corrupt,
            fmt::format("the log of table '{}' begins with version {} and no checkpoint", prefix_,
                        listing.commits.empty() ? target : listing.commits.begin()->first),
            "Restore the log's older files from a backup");
    }
    return state;
}

Result<std::shared_ptr<const LogState>> LogReader::load(std::optional<int64_t> version) {
    Result<std::shared_ptr<const LogState>> state = load_once(version);
    if (!state && state.error().code == ErrorCode::NotFound && !version) {
        // A file was cleaned away between listing and reading.
        state = load_once(version);
    }
    if (!state || !*state || version) return state;
    // Remembered when it is the newest and its commit can be recognised again.
    const std::optional<store::ObjectMeta> head =
        PX_TRY(store_.head(commit_key((*state)->version)));
    const std::lock_guard lock(mutex_);
    if (head && (!known_.state || known_.state->version != (*state)->version ||
                 known_.commit.modified_at != head->modified_at)) {
        known_ = {*state, *head};
    }
    return state;
}

Result<std::shared_ptr<const LogState>> LogReader::newest() { return load(std::nullopt); }

Result<std::shared_ptr<const LogState>> LogReader::at(int64_t version) { return load(version); }

Result<int64_t> LogReader::commit_time(int64_t version, const store::ObjectMeta& meta) {
    {
        const std::lock_guard lock(mutex_);
        const auto found = times_.find(version);
        if (found != times_.end() && found->second.first.modified_at == meta.modified_at &&
            found->second.first.size_bytes == meta.size_bytes) {
            return found->second.second;
        }
    }
    const LogEntry entry = PX_TRY(read_commit(version));
    int64_t time = meta.modified_at / 1000;
    if (entry.commit_info) {
        if (entry.commit_info->timestamp_ms) time = *entry.commit_info->timestamp_ms;
        if (entry.commit_info->in_commit_timestamp_ms)
            time = *entry.commit_info->in_commit_timestamp_ms;
    }
    const std::lock_guard lock(mutex_);
    times_.insert_or_assign(version, std::pair(meta, time));
    return time;
}

Result<std::vector<std::pair<int64_t, int64_t>>> LogReader::commit_times(
    const LogListing& listing) {
    std::vector<std::pair<int64_t, int64_t>> times;
    for (const auto& [version, meta] : listing.commits) {
        int64_t time = PX_TRY(commit_time(version, meta));
        if (!times.empty()) time = std::max(time, times.back().second + 1);
        times.emplace_back(version, time);
    }
    return times;
}

Result<std::shared_ptr<const LogState>> LogReader::as_of(TimestampMicros time) {
    const LogListing listing = PX_TRY(list_all());
    if (listing.empty())
        return fail(ErrorCode::NotFound, fmt::format("there is no table '{}'", prefix_));
    const std::optional<int64_t> oldest = oldest_readable(listing);
    std::optional<std::pair<int64_t, int64_t>> chosen;
    std::optional<int64_t> first_time;
    for (const auto& [version, commit_ms] : PX_TRY(commit_times(listing))) {
        if (!oldest || version < *oldest) continue;
        if (!first_time) first_time = commit_ms;
        if (commit_ms * 1000 <= time) chosen = {version, commit_ms};
    }
    if (!chosen) {
        return fail(ErrorCode::NotFound,
                    fmt::format("table '{}' has no version from {} or before", prefix_,
                                format_timestamp(time)),
                    first_time ? "Its oldest version is of " + format_timestamp(*first_time * 1000)
                               : "Its log has no readable version");
    }
    const std::shared_ptr<const LogState> state = PX_TRY(at(chosen->first));
    if (state->timestamp_ms == chosen->second) return state;
    LogState adjusted = *state;
    adjusted.timestamp_ms = chosen->second;
    return std::make_shared<const LogState>(std::move(adjusted));
}

}  // namespace px::lake
