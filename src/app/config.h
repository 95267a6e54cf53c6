// Configuration: pipeline.yaml, .env beside it, environment and flags → one Config. Rank 6; the
// only reader of files and environment. Precedence: flag > environment > .env > file > default. The
// file's shape: docs/formats/pipeline.md.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "index/open.h"
#include "notify/notifier.h"
#include "pipeline/definition.h"
#include "store/azure/azure_credentials.h"

namespace px::app {

/// One effective setting, for `px config show --origin`.
struct Setting {
    std::string key;     ///< "serve.address"
    std::string value;   ///< secrets as "***"
    std::string origin;  ///< "pipeline.yaml:12", "environment PX_LAKE_URL", ".env", "default"
};

struct Config {
    pipeline::Definition definition;
    std::filesystem::path file;  ///< pipeline.yaml, absolute
    std::string engine_kind = "local";
    int64_t engine_memory_mb = 1'024;    ///< of DuckDB
    size_t sql_queries = 4;              ///< over releases, at once
    size_t threads = 0;                  ///< 0: one per hardware thread
    index::VectorsAddress vectors;       ///< what vectors.url means
    store::AzureCredentials azure;       ///< read when an address leads off this machine
    std::filesystem::path cache_folder;  ///< of files read from remote stores; empty: .px/cache
    int64_t cache_limit_bytes = int64_t{20} << 30;
    std::string otlp_url;  ///< of a collector for traces of runs, OTLP over HTTP; empty: none
    std::string serve_address = "127.0.0.1";
    int serve_port = 8501;
    /// serve.promote_if: a published release is served only when this holds; empty: always.
    std::string promote_if;
    std::filesystem::path promote_queries, promote_qrels;  ///< what it is measured by
    /// generator: kind "extractive" or "openai".
    std::string generator_kind = "extractive", generator_url, generator_model, generator_key;
    std::chrono::milliseconds generator_timeout{20'000};
    std::filesystem::path model_folder;  ///< of the embedding model
    std::string kernel;                  ///< of the encoder; "" the best
    notify::Options notify;              ///< whom to tell of failing runs
    std::vector<Setting> settings;
    std::filesystem::path work_folder() const { return definition.base_folder / ".px"; }
    size_t thread_count() const;
};

/// Values that come from outside the file.
struct Environment {
    std::map<std::string, std::string> variables;  ///< of the process
    std::filesystem::path program;                 ///< the running px, to find its parts beside it
};
Environment process_environment();

/// The pipeline file: the one given, else pipeline.yaml or pipeline.yml in the current folder.
/// Errors: InvalidArgument with what to do.
Result<std::filesystem::path> find_pipeline_file(const std::optional<std::string>& flag);

/// Reads a pipeline file. Errors: InvalidArgument "pipeline.yaml:12:5: unknown key 'mod' in
/// sources.reports. Did you mean 'mode'?".
Result<Config> load_config(const std::filesystem::path& file, const Environment& environment);
/// The same for a text that was a pipeline file once; name is used in errors.
Result<Config> parse_config(const std::string& text, const std::filesystem::path& file,
                            const Environment& environment);

/// The candidate nearest to word by edit distance, if it is near enough to be meant.
std::optional<std::string> nearest(std::string_view word,
                                   const std::vector<std::string>& candidates);

}  // namespace px::app
