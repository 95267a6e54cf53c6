#include "lake/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "capi/duckdb/duckdb_handle.h"

namespace px::lake {
namespace {

using duckdb::Column;
using duckdb::quote_identifier;
using duckdb::quote_literal;
using duckdb::Type;
using duckdb::TypeId;

const Type* member_type(const Type& type, std::string_view name) {
    if (type.id != TypeId::Struct) return nullptr;
    for (size_t i = 0; i < type.names.size(); ++i) {
        if (type.names[i] == name) return &type.children[i];
    }
    return nullptr;
}

/// SQL for {"<action>": {…}} of an action column, with the members of `members` that the file has.
std::string action_json(const Column& column, const std::vector<std::string_view>& members) {
    const std::string name = quote_identifier(column.name);
    std::string fields;
    const auto add = [&](std::string_view member, const std::string& value) {
        fields +=
            fmt::format("{}{} := {}", fields.empty() ? "" : ", ", quote_identifier(member), value);
    };
    for (const std::string_view member : members) {
        if (member_type(column.type, member) == nullptr) continue;
        add(member, name + "." + quote_identifier(member));
    }
    if (const Type* const parsed = member_type(column.type, "stats_parsed");
        parsed != nullptr && member_type(*parsed, "numRecords") != nullptr) {
        add("stats_parsed",
            fmt::format("CASE WHEN {0}.stats_parsed IS NULL THEN NULL ELSE "
                        "struct_pack(\"numRecords\" := {0}.stats_parsed.\"numRecords\") END",
                        name));
    }
    if (fields.empty()) return "NULL";
    return fmt::format(
        "CASE WHEN {} IS NOT NULL THEN '{{\"{}\":' || to_json(struct_pack({})) || '}}' END", name,
        column.name, fields);
}

Result<void> read_rows(duckdb::Connection& connection, const std::string& source, LogEntry& entry) {
    std::vector<Column> columns;
    {
        const duckdb::Rows empty = PX_TRY(connection.query("SELECT * FROM " + source + " LIMIT 0"));
        columns = empty.columns();
    }
    std::string actions;
    for (const Column& column : columns) {
        std::vector<std::string_view> members;
        if (column.name == "add") {
            members = {"path",
                       "partitionValues",
                       "size",
                       "modificationTime",
                       "dataChange",
                       "stats",
                       "tags",
                       "deletionVector",
                       "baseRowId",
                       "defaultRowCommitVersion",
                       "clusteringProvider"};
        } else if (column.name == "remove") {
            members = {"path",
                       "deletionTimestamp",
                       "dataChange",
                       "partitionValues",
                       "size",
                       "deletionVector",
                       "tags",
                       "baseRowId",
                       "defaultRowCommitVersion"};
        } else if (column.name == "metaData" || column.name == "protocol" || column.name == "txn" ||
                   column.name == "domainMetadata" || column.name == "sidecar" ||
                   column.name == "checkpointMetadata") {
            members.assign(column.type.names.begin(), column.type.names.end());
        } else {
            continue;
        }
        if (column.type.id != TypeId::Struct) {
            return fail(ErrorCode::Corrupt, fmt::format("its column '{}' is {}, not a struct",
                                                        column.name, column.type.sql));
        }
        for (const std::string_view map : {"partitionValues", "configuration"}) {
            const Type* const type = member_type(column.type, map);
            if (type != nullptr && type->id != TypeId::Map && column.name != "domainMetadata") {
                return fail(ErrorCode::Corrupt, fmt::format("its column '{}.{}' is {}, not a map",
                                                            column.name, map, type->sql));
            }
        }
        actions += (actions.empty() ? "" : ", ") + action_json(column, members);
    }
    if (actions.empty()) return fail(ErrorCode::Corrupt, "it has no column of actions");
    duckdb::Rows rows =
        PX_TRY(connection.stream("SELECT coalesce(" + actions + ") FROM " + source));
    while (std::optional<duckdb::Chunk> chunk = PX_TRY(rows.next())) {
        const duckdb::ColumnView lines = chunk->column(0);
        for (uint64_t row = 0; row < chunk->row_count(); ++row) {
            if (!lines.is_null(row)) PX_TRY(parse_action(lines.bytes_at(row), entry));
        }
    }
    return {};
}

/// A temporary file that goes with its object.
class TemporaryFile {
  public:
    explicit TemporaryFile(std::filesystem::path path) : path_(std::move(path)) {}
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    ~TemporaryFile() {
        std::error_code ignored;
        std::filesystem::remove(path_, ignored);
    }
    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

constexpr std::string_view kDeletionVector =
    "STRUCT(storageType VARCHAR, pathOrInlineDv VARCHAR, \"offset\" INTEGER, sizeInBytes INTEGER, "
    "cardinality BIGINT, "
    "maxRowIndex BIGINT)";

}  // namespace

Result<duckdb::Connection> CheckpointEngine::connect() {
    const std::lock_guard lock(mutex_);
    if (!database_) {
        // One thread: the rows of a checkpoint keep their order. Actions are small; the limit is
        // for damaged files.
        database_.emplace(
            PX_TRY(duckdb::Database::open("", {{"threads", "1"},
                                               {"memory_limit", "2GB"},
                                               {"autoload_known_extensions", "false"},
                                               {"autoinstall_known_extensions", "false"}})));
    }
    return database_->connect();
}

Result<void> read_checkpoint_file(CheckpointEngine& engine, const std::filesystem::path& file,
                                  LogEntry& entry) {
    duckdb::Connection connection = PX_TRY(engine.connect());
    // The path as the pattern that means it alone: a folder may be named "u*".
    const std::string pattern = PX_TRY(duckdb::glob_of(file.string()));
    const std::string source = fmt::format("read_parquet({})", quote_literal(pattern));
    Result<void> read = read_rows(connection, source, entry);
    if (read) return {};
    Error error = std::move(read).error();
    // The bytes are there and can't be understood: whatever the engine calls it, the checkpoint is
    // damaged.
    if (error.code == ErrorCode::InvalidArgument || error.code == ErrorCode::Internal ||
        error.code == ErrorCode::Unavailable) {
        error.code = ErrorCode::Corrupt;
    }
    return std::move(error).with("checkpoint " + file.filename().string());
}

Result<CheckpointWritten> write_checkpoint_file(CheckpointEngine& engine, const LogState& state,
                                                int64_t oldest_tombstone_ms,
                                                const std::filesystem::path& folder,
                                                const std::filesystem::path& path) {
    const TemporaryFile lines_file(folder / (path.filename().string() + ".actions"));
    CheckpointWritten written;
    size_t longest = 0;
    {
        std::ofstream stream(lines_file.path(), std::ios::binary | std::ios::trunc);
        std::string lines;
        const auto flush = [&](bool always) {
            if (!always && lines.size() < 1024 * 1024) return;
            stream.write(lines.data(), static_cast<std::streamsize>(lines.size()));
            lines.clear();
        };
        const auto put = [&](const auto& action) {
            const size_t before = lines.size();
            append_line(lines, action);
            longest = std::max(longest, lines.size() - before);
            ++written.action_count;
            flush(false);
        };
        if (state.protocol) put(*state.protocol);
        if (state.metadata) put(*state.metadata);
        for (const auto& [app_id, transaction] : state.transactions) put(transaction);
        for (const auto& [name, domain] : state.domains) {
            if (!domain.removed) put(domain);
        }
        for (const auto& [key, remove] : state.tombstones) {
            if (remove.deletion_timestamp_ms.value_or(0) < oldest_tombstone_ms) continue;
            RemoveAction tombstone = remove;
            tombstone.data_change = false;
            put(tombstone);
        }
        for (const auto& [key, add] : state.files) {
            AddAction file = add;
            file.add.data_change = false;
            put(file);
            ++written.add_count;
        }
        flush(true);
        stream.close();
        if (!stream) {
            return fail(ErrorCode::ResourceExhausted, "cannot write " + lines_file.path().string(),
                        "Free disk space");
        }
    }
    duckdb::Connection connection = PX_TRY(engine.connect());
    const bool has_domains = !state.domains.empty();
    std::string columns = fmt::format(
        "txn: 'STRUCT(appId VARCHAR, \"version\" BIGINT, lastUpdated BIGINT)',"
        " \"add\": 'STRUCT(path VARCHAR, partitionValues MAP(VARCHAR, VARCHAR), size BIGINT, "
        "modificationTime BIGINT, dataChange"
        " BOOLEAN, tags MAP(VARCHAR, VARCHAR), deletionVector {0}, baseRowId BIGINT, "
        "defaultRowCommitVersion BIGINT,"
        " clusteringProvider VARCHAR, stats VARCHAR)',"
        " \"remove\": 'STRUCT(path VARCHAR, deletionTimestamp BIGINT, dataChange BOOLEAN, "
        "extendedFileMetadata BOOLEAN,"
        " partitionValues MAP(VARCHAR, VARCHAR), size BIGINT, deletionVector {0}, tags "
        "MAP(VARCHAR, VARCHAR), baseRowId BIGINT,"
        " defaultRowCommitVersion BIGINT)',"
        " \"metaData\": 'STRUCT(id VARCHAR, \"name\" VARCHAR, description VARCHAR, format "
        "STRUCT(provider VARCHAR, \"options\""
        " MAP(VARCHAR, VARCHAR)), schemaString VARCHAR, partitionColumns VARCHAR[], "
        "\"configuration\" MAP(VARCHAR, VARCHAR),"
        " createdTime BIGINT)',"
        " protocol: 'STRUCT(minReaderVersion INTEGER, minWriterVersion INTEGER, readerFeatures "
        "VARCHAR[], writerFeatures"
        " VARCHAR[])'",
        kDeletionVector);
    if (has_domains)
        columns +=
            ", \"domainMetadata\": 'STRUCT(\"domain\" VARCHAR, \"configuration\" VARCHAR, removed "
            "BOOLEAN)'";
    const std::string sql = fmt::format(
        "COPY (SELECT * FROM read_json({}, format='newline_delimited', columns={{{}}}, "
        "maximum_object_size={})) TO {} (FORMAT"
        " parquet, COMPRESSION snappy)",
        quote_literal(lines_file.path().string()), columns,
        std::max<size_t>(longest * 2, 16 * 1024 * 1024), quote_literal(path.string()));
    PX_TRY(connection.execute(sql));
    return written;
}

}  // namespace px::lake
