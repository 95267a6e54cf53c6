#include "lake/action.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cmath>
#include <utility>

namespace px::lake {
namespace {

namespace json = boost::json;

constexpr size_t kJsonDepthMax = 100;

json::parse_options parse_options() {
    json::parse_options options;
    options.max_depth = kJsonDepthMax;
    return options;
}

Error corrupt(std::string message) {
    return fail(ErrorCode::Corrupt, std::move(message),
                "The log was damaged or written by a faulty program");
}

/// A member that is there and not null.
const json::value* member(const json::object& object, std::string_view name) {
    const json::value* const value = object.if_contains(name);
    return value == nullptr || value->is_null() ? nullptr : value;
}

Result<std::optional<int64_t>> optional_int(const json::object& object, std::string_view name) {
    const json::value* const value = member(object, name);
    if (value == nullptr) return std::optional<int64_t>();
    if (value->is_int64()) return std::optional<int64_t>(value->get_int64());
    if (value->is_double()) {
        const double number = value->get_double();
        if (std::abs(number) < 9e15 && std::floor(number) == number) {
            return std::optional<int64_t>(static_cast<int64_t>(number));
        }
    }
    return corrupt(fmt::format("member '{}' is not a whole number", name));
}

Result<std::optional<std::string>> optional_text(const json::object& object,
                                                 std::string_view name) {
    const json::value* const value = member(object, name);
    if (value == nullptr) return std::optional<std::string>();
    if (!value->is_string()) return corrupt(fmt::format("member '{}' is not a string", name));
    return std::optional<std::string>(std::string(value->get_string()));
}

Result<std::string> required_text(const json::object& object, std::string_view name) {
    std::optional<std::string> text = PX_TRY(optional_text(object, name));
    if (!text) return corrupt(fmt::format("member '{}' is missing", name));
    return std::move(*text);
}

Result<bool> flag(const json::object& object, std::string_view name, bool otherwise) {
    const json::value* const value = member(object, name);
    if (value == nullptr) return otherwise;
    if (!value->is_bool())
        return corrupt(fmt::format("member '{}' is neither true nor false", name));
    return value->get_bool();
}

Result<std::optional<std::vector<std::string>>> optional_texts(const json::object& object,
                                                               std::string_view name) {
    const json::value* const value = member(object, name);
    if (value == nullptr) return std::optional<std::vector<std::string>>();
    if (!value->is_array()) return corrupt(fmt::format("member '{}' is not an array", name));
    std::vector<std::string> texts;
    for (const json::value& item : value->get_array()) {
        if (!item.is_string())
            return corrupt(fmt::format("member '{}' holds something that is not a string", name));
        texts.emplace_back(item.get_string());
    }
    return std::optional<std::vector<std::string>>(std::move(texts));
}

Result<std::optional<PartitionValues>> optional_partition(const json::object& object) {
    const json::value* const value = member(object, "partitionValues");
    if (value == nullptr) return std::optional<PartitionValues>();
    if (!value->is_object()) return corrupt("member 'partitionValues' is not an object");
    PartitionValues values;
    for (const json::key_value_pair& pair : value->get_object()) {
        std::optional<std::string>& text = values[std::string(pair.key())];
        if (pair.value().is_null()) continue;
        if (!pair.value().is_string()) {
            return corrupt(fmt::format("the value of partition column '{}' is not a string",
                                       std::string_view(pair.key())));
        }
        // The protocol reads an empty text as NULL.
        if (!pair.value().get_string().empty()) text = std::string(pair.value().get_string());
    }
    return std::optional<PartitionValues>(std::move(values));
}

/// Flat configuration maps; some writers store numbers and booleans unquoted.
Result<std::map<std::string, std::string>> text_map(const json::object& object,
                                                    std::string_view name) {
    std::map<std::string, std::string> texts;
    const json::value* const value = member(object, name);
    if (value == nullptr) return texts;
    if (!value->is_object()) return corrupt(fmt::format("member '{}' is not an object", name));
    for (const json::key_value_pair& pair : value->get_object()) {
        if (pair.value().is_null()) continue;
        texts[std::string(pair.key())] = pair.value().is_string()
                                             ? std::string(pair.value().get_string())
                                             : json::serialize(pair.value());
    }
    return texts;
}

/// What is left of an action when the known members are taken away, without nulls.
template <size_t N>
std::string extras(const json::object& object, const std::array<std::string_view, N>& known) {
    json::object rest;
    for (const json::key_value_pair& pair : object) {
        if (pair.value().is_null()) continue;
        if (std::find(known.begin(), known.end(), std::string_view(pair.key())) != known.end())
            continue;
        rest[pair.key()] = pair.value();
    }
    return rest.empty() ? std::string() : json::serialize(rest);
}

/// storageType + pathOrInlineDv (+ "@" offset), the protocol's unique id.
Result<std::string> deletion_vector_id(const json::object& object) {
    const json::value* const value = member(object, "deletionVector");
    if (value == nullptr) return std::string();
    if (!value->is_object()) return corrupt("member 'deletionVector' is not an object");
    const json::object& vector = value->get_object();
    std::string id = PX_TRY(required_text(vector, "storageType")) +
                     PX_TRY(required_text(vector, "pathOrInlineDv"));
    if (const std::optional<int64_t> offset = PX_TRY(optional_int(vector, "offset")))
        id += fmt::format("@{}", *offset);
    return id;
}

Result<AddAction> parse_add(const json::object& object) {
    AddAction action;
    action.encoded_path = PX_TRY(required_text(object, "path"));
    if (action.encoded_path.empty()) return corrupt("member 'path' is empty");
    Add& add = action.add;
    add.path = decode_path(action.encoded_path);
    add.partition_values = PX_TRY(optional_partition(object)).value_or(PartitionValues());
    add.size_bytes = PX_TRY(optional_int(object, "size")).value_or(0);
    add.modification_time_ms = PX_TRY(optional_int(object, "modificationTime")).value_or(0);
    add.data_change = PX_TRY(flag(object, "dataChange", true));
    add.stats_json = PX_TRY(optional_text(object, "stats")).value_or(std::string());
    if (add.size_bytes < 0) return corrupt(fmt::format("file '{}' has a negative size", add.path));
    if (add.stats_json.empty()) {
        const json::value* const parsed = member(object, "stats_parsed");
        if (parsed != nullptr && parsed->is_object()) {
            if (const auto rows = PX_TRY(optional_int(parsed->get_object(), "numRecords"))) {
                add.stats_json = fmt::format("{{\"numRecords\":{}}}", *rows);
            }
        }
    }
    action.deletion_vector = PX_TRY(deletion_vector_id(object));
    action.extras_json =
        extras(object, std::array<std::string_view, 8>{"path", "partitionValues", "size",
                                                       "modificationTime", "dataChange", "stats",
                                                       "stats_parsed", "partitionValues_parsed"});
    return action;
}

Result<RemoveAction> parse_remove(const json::object& object) {
    RemoveAction action;
    action.encoded_path = PX_TRY(required_text(object, "path"));
    if (action.encoded_path.empty()) return corrupt("member 'path' is empty");
    action.path = decode_path(action.encoded_path);
    action.deletion_timestamp_ms = PX_TRY(optional_int(object, "deletionTimestamp"));
    action.data_change = PX_TRY(flag(object, "dataChange", true));
    action.partition_values = PX_TRY(optional_partition(object));
    action.size_bytes = PX_TRY(optional_int(object, "size"));
    action.deletion_vector = PX_TRY(deletion_vector_id(object));
    action.extras_json = extras(
        object, std::array<std::string_view, 6>{"path", "deletionTimestamp", "dataChange",
                                                "extendedFileMetadata", "partitionValues", "size"});
    return action;
}

Result<Metadata> parse_metadata(const json::object& object) {
    Metadata metadata;
    metadata.id = PX_TRY(optional_text(object, "id")).value_or(std::string());
    // Some tables are made without a schema and get it with a later version.
    metadata.schema_string = PX_TRY(optional_text(object, "schemaString")).value_or(std::string());
    metadata.partition_columns =
        PX_TRY(optional_texts(object, "partitionColumns")).value_or(std::vector<std::string>());
    metadata.configuration = PX_TRY(text_map(object, "configuration"));
    if (const json::value* const format = member(object, "format");
        format != nullptr && format->is_object()) {
        const auto provider = PX_TRY(optional_text(format->get_object(), "provider"));
        if (provider && *provider != "parquet") {
            return fail(ErrorCode::InvalidArgument,
                        fmt::format("the table's data files are of format '{}'", *provider),
                        "Only Parquet is read");
        }
    }
    json::object kept;
    for (const json::key_value_pair& pair : object) {
        if (!pair.value().is_null()) kept[pair.key()] = pair.value();
    }
    metadata.json = json::serialize(kept);
    return metadata;
}

Result<Protocol> parse_protocol(const json::object& object) {
    Protocol protocol;
    const auto reader = PX_TRY(optional_int(object, "minReaderVersion"));
    const auto writer = PX_TRY(optional_int(object, "minWriterVersion"));
    if (!reader || !writer) return corrupt("a protocol action lacks its versions");
    protocol.min_reader_version = *reader;
    protocol.min_writer_version = *writer;
    protocol.reader_features = PX_TRY(optional_texts(object, "readerFeatures"));
    protocol.writer_features = PX_TRY(optional_texts(object, "writerFeatures"));
    return protocol;
}

Result<CommitInfoAction> parse_commit_info(const json::object& object) {
    // commitInfo is free-form: what is not of the expected kind is left out, not refused.
    CommitInfoAction info;
    const auto whole = [&](std::string_view name) -> std::optional<int64_t> {
        auto value = optional_int(object, name);
        return value ? *value : std::nullopt;
    };
    const auto text = [&](std::string_view name) {
        const json::value* const value = member(object, name);
        return value != nullptr && value->is_string() ? std::string(value->get_string())
                                                      : std::string();
    };
    info.timestamp_ms = whole("timestamp");
    info.in_commit_timestamp_ms = whole("inCommitTimestamp");
    info.read_version = whole("readVersion");
    info.operation = text("operation");
    info.run_id = text("runId");
    info.transaction_id = text("txnId");
    if (auto parameters = text_map(object, "operationParameters"))
        info.parameters = std::move(*parameters);
    const json::value* const blind = member(object, "isBlindAppend");
    info.blind_append = blind != nullptr && blind->is_bool() && blind->get_bool();
    return info;
}

void append_object_line(std::string& lines, std::string_view name, const json::object& object) {
    lines += "{\"";
    lines += name;
    lines += "\":";
    lines += json::serialize(object);
    lines += "}\n";
}

json::object partition_object(const PartitionValues& values) {
    json::object object;
    for (const auto& [column, value] : values) {
        object[column] = value && !value->empty() ? json::value(*value) : json::value(nullptr);
    }
    return object;
}

void merge_extras(json::object& object, const std::string& extras_json) {
    if (extras_json.empty()) return;
    boost::system::error_code error;
    const json::value value = json::parse(extras_json, error, {}, parse_options());
    if (error || !value.is_object()) return;  // we serialized it ourselves
    for (const json::key_value_pair& pair : value.get_object()) object[pair.key()] = pair.value();
}

json::array texts_array(const std::vector<std::string>& texts) {
    json::array array;
    for (const std::string& text : texts) array.emplace_back(text);
    return array;
}

}  // namespace

Result<void> parse_action(std::string_view line, LogEntry& entry) {
    boost::system::error_code error;
    json::monotonic_resource memory;
    const json::value value = json::parse(line, error, &memory, parse_options());
    if (error) return corrupt("not JSON: " + error.message());
    if (!value.is_object()) return corrupt("not a JSON object");
    for (const json::key_value_pair& pair : value.get_object()) {
        if (pair.value().is_null()) continue;
        const std::string_view name = pair.key();
        const json::object* const object = pair.value().if_object();
        const bool known = name == "add" || name == "remove" || name == "metaData" ||
                           name == "protocol" || name == "txn" || name == "domainMetadata" ||
                           name == "commitInfo";
        if (name == "sidecar" || name == "checkpointMetadata") entry.version_2_checkpoint = true;
        if (!known) continue;
        if (object == nullptr) return corrupt(fmt::format("action '{}' is not an object", name));
        if (name == "add") {
            entry.adds.push_back(PX_TRY(parse_add(*object)));
        } else if (name == "remove") {
            entry.removes.push_back(PX_TRY(parse_remove(*object)));
        } else if (name == "metaData") {
            if (entry.metadata) return corrupt("two metaData actions");
            entry.metadata = PX_TRY(parse_metadata(*object));
        } else if (name == "protocol") {
            if (entry.protocol) return corrupt("two protocol actions");
            entry.protocol = PX_TRY(parse_protocol(*object));
        } else if (name == "txn") {
            const auto version = PX_TRY(optional_int(*object, "version"));
            if (!version) return corrupt("a txn action lacks its version");
            entry.transactions.push_back({PX_TRY(required_text(*object, "appId")), *version,
                                          PX_TRY(optional_int(*object, "lastUpdated"))});
        } else if (name == "domainMetadata") {
            entry.domains.push_back(
                {PX_TRY(required_text(*object, "domain")),
                 PX_TRY(optional_text(*object, "configuration")).value_or(std::string()),
                 PX_TRY(flag(*object, "removed", false))});
        } else {
            entry.commit_info = PX_TRY(parse_commit_info(*object));
        }
    }
    return {};
}

Result<LogEntry> parse_log_entry(std::string_view bytes) {
    LogEntry entry;
    size_t line_number = 0;
    while (!bytes.empty()) {
        ++line_number;
        const size_t end = std::min(bytes.find('\n'), bytes.size());
        std::string_view line = bytes.substr(0, end);
        bytes.remove_prefix(std::min(end + 1, bytes.size()));
        while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t'))
            line.remove_suffix(1);
        if (line.empty()) continue;
        PX_TRY(parse_action(line, entry).context(fmt::format("line {}", line_number)));
    }
    return entry;
}

void append_line(std::string& lines, const Protocol& protocol) {
    json::object object;
    object["minReaderVersion"] = protocol.min_reader_version;
    object["minWriterVersion"] = protocol.min_writer_version;
    if (protocol.reader_features) object["readerFeatures"] = texts_array(*protocol.reader_features);
    if (protocol.writer_features) object["writerFeatures"] = texts_array(*protocol.writer_features);
    append_object_line(lines, "protocol", object);
}

void append_line(std::string& lines, const Metadata& metadata) {
    lines += "{\"metaData\":" + metadata.json + "}\n";
}

void append_line(std::string& lines, const TransactionAction& transaction) {
    json::object object;
    object["appId"] = transaction.app_id;
    object["version"] = transaction.version;
    if (transaction.last_updated_ms) object["lastUpdated"] = *transaction.last_updated_ms;
    append_object_line(lines, "txn", object);
}

void append_line(std::string& lines, const DomainMetadata& domain) {
    json::object object;
    object["domain"] = domain.domain;
    object["configuration"] = domain.configuration;
    object["removed"] = domain.removed;
    append_object_line(lines, "domainMetadata", object);
}

void append_line(std::string& lines, const RemoveAction& remove) {
    json::object object;
    object["path"] = remove.encoded_path;
    if (remove.deletion_timestamp_ms) object["deletionTimestamp"] = *remove.deletion_timestamp_ms;
    object["dataChange"] = remove.data_change;
    object["extendedFileMetadata"] =
        remove.partition_values.has_value() && remove.size_bytes.has_value();
    if (remove.partition_values)
        object["partitionValues"] = partition_object(*remove.partition_values);
    if (remove.size_bytes) object["size"] = *remove.size_bytes;
    merge_extras(object, remove.extras_json);
    append_object_line(lines, "remove", object);
}

void append_line(std::string& lines, const AddAction& action) {
    json::object object;
    object["path"] = action.encoded_path;
    object["partitionValues"] = partition_object(action.add.partition_values);
    object["size"] = action.add.size_bytes;
    object["modificationTime"] = action.add.modification_time_ms;
    object["dataChange"] = action.add.data_change;
    if (!action.add.stats_json.empty()) object["stats"] = action.add.stats_json;
    merge_extras(object, action.extras_json);
    append_object_line(lines, "add", object);
}

std::string write_log_entry(const LogEntry& entry) {
    std::string lines;
    if (entry.commit_info) {
        const CommitInfoAction& info = *entry.commit_info;
        json::object object;
        if (info.timestamp_ms) object["timestamp"] = *info.timestamp_ms;
        object["operation"] = info.operation;
        json::object parameters;
        for (const auto& [name, value] : info.parameters) parameters[name] = value;
        object["operationParameters"] = std::move(parameters);
        if (info.read_version) object["readVersion"] = *info.read_version;
        object["isBlindAppend"] = info.blind_append;
        object["engineInfo"] = "Pipeline-X";
        if (!info.run_id.empty()) object["runId"] = info.run_id;
        object["txnId"] = info.transaction_id;
        append_object_line(lines, "commitInfo", object);
    }
    if (entry.protocol) append_line(lines, *entry.protocol);
    if (entry.metadata) append_line(lines, *entry.metadata);
    for (const TransactionAction& transaction : entry.transactions) append_line(lines, transaction);
    for (const DomainMetadata& domain : entry.domains) append_line(lines, domain);
    for (const RemoveAction& remove : entry.removes) append_line(lines, remove);
    for (const AddAction& add : entry.adds) append_line(lines, add);
    return lines;
}

Metadata make_metadata(std::string id, std::string schema_string,
                       std::vector<std::string> partition_columns, int64_t created_ms) {
    Metadata metadata;
    json::object object;
    object["id"] = id;
    object["format"] = json::object{{"provider", "parquet"}, {"options", json::object()}};
    object["schemaString"] = schema_string;
    object["partitionColumns"] = texts_array(partition_columns);
    object["configuration"] = json::object();
    object["createdTime"] = created_ms;
    metadata.json = json::serialize(object);
    metadata.id = std::move(id);
    metadata.schema_string = std::move(schema_string);
    metadata.partition_columns = std::move(partition_columns);
    return metadata;
}

Metadata with_schema(const Metadata& metadata, std::string schema_string) {
    Metadata changed = metadata;
    boost::system::error_code error;
    json::value value = json::parse(metadata.json, error, {}, parse_options());
    json::object object =
        !error && value.is_object() ? std::move(value.get_object()) : json::object();
    object["schemaString"] = schema_string;
    changed.json = json::serialize(object);
    changed.schema_string = std::move(schema_string);
    return changed;
}

std::string encode_path(std::string_view path) {
    constexpr std::string_view kPlain = "-._~/=:@!$&'()*+,;";
    std::string encoded;
    encoded.reserve(path.size());
    for (const char c : path) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || kPlain.find(c) != std::string_view::npos;
        if (plain) {
            encoded.push_back(c);
        } else {
            encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
    return encoded;
}

std::string decode_path(std::string_view encoded) {
    const auto digit = [](char c) {
        if (c >= '0' && c <= '9') return c - '0';
        if (c >= 'a' && c <= 'f') return c - 'a' + 10;
        if (c >= 'A' && c <= 'F') return c - 'A' + 10;
        return -1;
    };
    std::string path;
    path.reserve(encoded.size());
    for (size_t i = 0; i < encoded.size(); ++i) {
        if (encoded[i] == '%' && i + 2 < encoded.size() && digit(encoded[i + 1]) >= 0 &&
            digit(encoded[i + 2]) >= 0) {
            path.push_back(static_cast<char>(digit(encoded[i + 1]) * 16 + digit(encoded[i + 2])));
            i += 2;
        } else {
            path.push_back(encoded[i]);
        }
    }
    return path;
}

}  // namespace px::lake
