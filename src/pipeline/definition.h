// Definition: a pipeline file as values: sources, contracts, models and where everything lives.
// Rank 4. app/ reads YAML into it; an immutable value afterwards. The file's shape:
// docs/formats/pipeline.md.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "chunk/chunk.h"
#include "contract/contract.h"
#include "source/csv/csv_reader.h"

namespace px::pipeline {

/// append: each ds adds its partition; snapshot: each ds is the whole truth; merge: upsert by the
/// contract's id.
enum class SourceMode { Append, Snapshot, Merge };
enum class SourceKind { Csv, JsonLines, Parquet, Documents, Sql };
std::string_view source_mode_name(SourceMode mode);
std::string_view source_kind_name(SourceKind kind);

struct SourceDefinition {
    std::string name;
    SourceKind kind = SourceKind::Csv;
    SourceMode mode = SourceMode::Append;
    std::string
        pattern;  ///< files, relative to the pipeline file; "{ds}" stands for the logical date
    std::string connection;  ///< sql: resolved, may hold a secret
    std::string query;       ///< sql: ":ds" is bound
    source::CsvOptions csv;
    /// For documents without a contract of their own: the built-in one (id = path).
    contract::Contract contract;
    /// True when the records hold text to be chunked (a column with role text).
    bool has_text() const { return contract.with_role(contract::Role::Text) != nullptr; }
    /// True when the logical date is part of the address: another date may be another content.
    bool is_dated() const {
        return (kind == SourceKind::Sql ? query.find(":ds") : pattern.find("{ds}")) !=
               std::string::npos;
    }
};

struct ModelDefinition {
    std::string name;
    std::string sql;
};

struct ScheduleDefinition {
    std::string cron = "0 1 * * *";
    std::string timezone = "UTC";
    bool catchup = false;
    int max_active_runs = 1;
    std::chrono::seconds timeout{0};  ///< of one attempt at a run; 0: none
};

struct RetryDefinition {
    int attempts = 3;
    std::chrono::seconds delay{300};
    bool exponential = true;
    std::chrono::seconds timeout{86'400};  ///< of one attempt of a task; 0: none
};

/// Prices for an estimate of what a run cost; 0: not asked for.
struct CostDefinition {
    double cpu_hour = 0;          ///< of one processor
    double storage_gb_month = 0;  ///< counted for one month of what the run added to the lake
    std::string currency = "EUR";
};

struct Definition {
    std::string name;
    std::string text;                       ///< the file as it was, secrets unresolved
    std::filesystem::path base_folder;      ///< of the pipeline file; relative addresses start here
    std::vector<SourceDefinition> sources;  ///< in the order of the file
    std::vector<ModelDefinition> models;    ///< likewise; a model may read those before it
    ScheduleDefinition schedule;
    RetryDefinition retries;
    CostDefinition costs;
    std::string landing_url = "./landing";
    std::string lake_url = "./lake";
    std::string catalog_url = "sqlite:./catalog.db";
    std::string vectors_url = "embedded:./index";
    chunk::SplitterOptions chunking;
    std::string embedding_model = "all-MiniLM-L6-v2";
    std::string embedding_precision = "bf16";
    std::string query_prefix, passage_prefix;  ///< put before a text, for models that want one

    const SourceDefinition* source(std::string_view source_name) const;
    /// Names clash, a model shadows a source, merge without an id … Errors: InvalidArgument.
    Result<void> validate() const;
};

/// Whether a source or model may have the name: letters, digits and _, neither of px's own tables
/// nor in a family of names the engine keeps. what: "source" or "model". Errors: InvalidArgument.
Result<void> check_table_name(std::string_view what, std::string_view name);

/// The contract of a documents source that names none: columns id, title, author, created_at,
/// category, text, format, pages, text_offset.
contract::Contract document_contract();

/// Hash over what decides a source's rows: its definition and contract, not the files.
std::string source_fingerprint(const SourceDefinition& source);
/// Hash over what decides the chunks of a source's rows.
std::string chunking_fingerprint(const Definition& definition);
/// Of the names and SQL of all models; "" without any. Kept with each release.
std::string models_fingerprint(const Definition& definition);
/// Hash over what decides the vector of a chunk.
std::string vector_fingerprint(const Definition& definition, std::string_view model_id);

/// Tables that px keeps beside those of sources and models; their names are taken.
inline constexpr std::string_view kQuarantineTable = "quarantine";
inline constexpr std::string_view kChunksTable = "chunks";
inline constexpr std::string_view kEmbeddingsTable = "embeddings";
inline constexpr std::string_view kReservedTables[] = {
    kQuarantineTable, kChunksTable, kEmbeddingsTable, "documents", "analytics_metadata", "staged"};

}  // namespace px::pipeline
