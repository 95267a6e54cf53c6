// Actions of the Delta log: what one commit says, read from and written to JSON lines. Rank 3. Pure
// functions. Specification: docs/formats/delta.md.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "lake/delta_table.h"

namespace px::lake {

struct Protocol {
    int64_t min_reader_version = 1;
    int64_t min_writer_version = 2;
    std::optional<std::vector<std::string>> reader_features;
    std::optional<std::vector<std::string>> writer_features;
    bool operator==(const Protocol&) const = default;
};

struct Metadata {
    std::string id;
    std::string schema_string;
    std::vector<std::string> partition_columns;
    std::map<std::string, std::string> configuration;
    std::string
        json;  ///< the whole action without null members, so that what we don't know is kept
};

/// Action add with what the log says about it beyond Add.
struct AddAction {
    Add add;
    std::string encoded_path;     ///< as the log spells it
    std::string deletion_vector;  ///< its unique id; empty: none
    std::string extras_json;      ///< members we don't interpret, a JSON object; empty: none
};

/// Action remove; in a checkpoint a tombstone.
struct RemoveAction {
    std::string path;  ///< decoded
    std::string encoded_path;
    std::optional<int64_t> deletion_timestamp_ms;
    bool data_change = true;
    std::optional<PartitionValues> partition_values;
    std::optional<int64_t> size_bytes;
    std::string deletion_vector;
    std::string extras_json;
};

struct TransactionAction {
    std::string app_id;
    int64_t version = 0;
    std::optional<int64_t> last_updated_ms;
};

struct DomainMetadata {
    std::string domain;
    std::string configuration;
    bool removed = false;
};

struct CommitInfoAction {
    std::optional<int64_t> timestamp_ms;
    std::optional<int64_t> in_commit_timestamp_ms;
    std::optional<int64_t> read_version;
    std::string operation;
    std::map<std::string, std::string> parameters;
    std::string run_id;
    std::string
        transaction_id;  ///< a random name of this very commit: tells whether an entry is ours
    bool blind_append = false;
};

/// What one log file holds, whatever the order of its lines.
struct LogEntry {
    std::optional<CommitInfoAction> commit_info;
    std::optional<Protocol> protocol;
    std::optional<Metadata> metadata;
    std::vector<TransactionAction> transactions;
    std::vector<DomainMetadata> domains;
    std::vector<RemoveAction> removes;
    std::vector<AddAction> adds;
    bool version_2_checkpoint = false;  ///< it points at sidecars, so it is not all there is
};

/// Reads one action, a JSON object with one member; actions we don't know are passed over. Errors:
/// Corrupt.
Result<void> parse_action(std::string_view line, LogEntry& entry);
/// Reads a commit file. Errors: Corrupt, with the line.
Result<LogEntry> parse_log_entry(std::string_view bytes);

/// One JSON object a line, commitInfo first.
std::string write_log_entry(const LogEntry& entry);
void append_line(std::string& lines, const Protocol& protocol);
void append_line(std::string& lines, const Metadata& metadata);
void append_line(std::string& lines, const TransactionAction& transaction);
void append_line(std::string& lines, const DomainMetadata& domain);
void append_line(std::string& lines, const RemoveAction& remove);
void append_line(std::string& lines, const AddAction& add);

/// The metaData action of a new table.
Metadata make_metadata(std::string id, std::string schema_string,
                       std::vector<std::string> partition_columns, int64_t created_ms);
/// The same table with another schema.
Metadata with_schema(const Metadata& metadata, std::string schema_string);

/// Percent-encoding of add.path: every byte but letters, digits and -._~/=:@!$&'()*+,; becomes %XX.
std::string encode_path(std::string_view path);
/// Escapes that are not %XX stay as they are.
std::string decode_path(std::string_view encoded);

}  // namespace px::lake
