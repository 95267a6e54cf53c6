#include "pipeline/inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/log.h"
#include "base/sha256.h"
#include "source/glob.h"
#include "source/landing.h"
#include "source/sql/sql_export.h"

namespace px::pipeline {

namespace {

std::string with_ds(std::string text, const std::string& ds) {
    for (size_t at = 0; (at = text.find("{ds}", at)) != std::string::npos; at += ds.size())
        text.replace(at, 4, ds);
    return text;
}

/// The files a source consists of outside, hashed.
Result<std::vector<InputFile>> outside_files(const Definition& definition,
                                             const SourceDefinition& source, const std::string& ds,
                                             const std::filesystem::path& scratch,
                                             const Deadline& deadline) {
    std::vector<InputFile> files;
    if (source.kind == SourceKind::Sql) {
        const std::filesystem::path exported =
            scratch / fmt::format("export-{}.jsonl", source.name);
        source::SqlExportOptions options;
        options.connection = source.connection;
        options.base_folder = definition.base_folder;
        options.query = source.query;
        options.ds = ds;
        PX_TRY(source::export_sql(options, exported, deadline));
        const source::FileHash hash = PX_TRY(source::hash_file(exported, deadline));
        files.push_back({source.name + ".jsonl",
                         source::landing_key(source.name, ds, exported, hash.sha256), hash.sha256,
                         hash.size_bytes, exported});
        return files;
    }
    const std::string pattern = with_ds(source.pattern, ds);
    for (const std::filesystem::path& path :
         PX_TRY(source::glob(definition.base_folder, pattern))) {
        const std::filesystem::path local = definition.base_folder / path;
        const source::FileHash hash =
            PX_TRY(source::hash_file(local, deadline).context("file " + path.string()));
        files.push_back({path.generic_string(),
                         source::landing_key(source.name, ds, path, hash.sha256), hash.sha256,
                         hash.size_bytes, local});
    }
    if (files.empty()) {
        return fail(ErrorCode::ContractViolated, fmt::format("no file matches {}", pattern),
                    "Put the files there, or mend the pattern; nothing was changed");
    }
    return files;
}

/// The logical date of the files that landed last; null: none.
const std::string* newest_delivery(const std::vector<catalog::LandedFile>& published) {
    const auto newest = std::ranges::max_element(published, {}, &catalog::LandedFile::landed_at);
    return newest == published.end() ? nullptr : &newest->ds;
}

/// Append: what another date was made from is not ingested again, unless the address names the
/// date.
void leave_out_ingested(const SourceDefinition& source, const std::string& ds,
                        const std::vector<catalog::LandedFile>& published, SourceInput& input) {
    std::set<std::string> elsewhere;  // sha256
    std::map<std::string, const catalog::LandedFile*> by_path;
    bool has_partition = false;
    for (const catalog::LandedFile& file : published) {
        if (file.ds == ds) {
            has_partition = true;
        } else if (!source.is_dated() && source.kind != SourceKind::Sql) {
            elsewhere.insert(file.sha256);
            by_path[file.path] = &file;
        }
    }
    std::erase_if(input.files,
                  [&](const InputFile& file) { return elsewhere.contains(file.sha256); });
    for (const InputFile& file : input.files) {
        const auto earlier = by_path.find(file.path);
        if (earlier == by_path.end()) continue;
        log::warning("source.file_changed",
                     {{"source", source.name},
                      {"file", file.path},
                      {"ingested_as", earlier->second->ds},
                      {"meaning",
                       "its rows are added to this date's partition; use mode merge or snapshot to "
                       "replace them"}});
    }
    input.nothing_new = input.files.empty() && !has_partition;
}

}  // namespace

std::string input_key(const SourceDefinition& source, const std::string& ds) {
    const bool by_date = source.mode == SourceMode::Append ||
                         (source.mode == SourceMode::Merge && source.is_dated());
    return "source/" + source.name + (by_date ? "/" + ds : "");
}

Result<SourceInput> resolve_input(const Definition& definition, const SourceDefinition& source,
                                  const std::string& ds,
                                  const std::vector<catalog::LandedFile>& published,
                                  bool from_landing, const store::ObjectStore& landing,
                                  const std::filesystem::path& scratch, const Deadline& deadline) {
    SourceInput input;
    input.fingerprint_key = input_key(source, ds);
    const std::string* const newest = newest_delivery(published);
    const auto superseded = [&](const char* event) {
        log::warning(event, {{"source", source.name}, {"ds", ds}, {"released", *newest}});
        input.note = fmt::format("{} is released; an older date does not set it back", *newest);
        input.nothing_new = true;
        return input;
    };
    if (from_landing) {
        for (const catalog::LandedFile& file : published) {
            if (file.ds != ds) continue;
            input.files.push_back({file.path, file.key, file.sha256, file.size_bytes,
                                   PX_TRY(landing.local_path(file.key))});
        }
        if (source.mode != SourceMode::Append && !input.files.empty() && *newest != ds) {
            input.files.clear();
            return superseded("source.not_replayed_a_later_delivery_is_released");
        }
        input.nothing_new = input.files.empty();
    } else {
        if (source.mode == SourceMode::Snapshot && source.is_dated() && newest != nullptr &&
            *newest > ds)
            return superseded("source.not_set_back_a_later_date_is_released");
        input.files = PX_TRY(outside_files(definition, source, ds, scratch, deadline));
        if (source.mode == SourceMode::Append) leave_out_ingested(source, ds, published, input);
    }
    Sha256 hash;
    hash.update(source_fingerprint(source));
    for (const InputFile& file : input.files)
        hash.update(fmt::format("\n{} {}", file.sha256, file.path));
    input.fingerprint = to_hex(hash.finish()).substr(0, 32);
    return input;
}

Result<void> land_files(const SourceDefinition& source, const std::string& ds, SourceInput& input,
                        store::ObjectStore& landing, const std::filesystem::path& scratch,
                        const Deadline& deadline, Progress& progress) {
    source::LandOptions options;
    options.source = source.name;
    options.ds = ds;
    options.staging = scratch;
    for (InputFile& file : input.files) {
        if (PX_TRY(landing.head(file.key)).has_value()) {
            file.local = PX_TRY(landing.local_path(file.key));
            continue;
        }
        const std::vector<source::Landed> landed =
            PX_TRY(source::land({}, {file.local}, options, landing, progress, deadline)
                       .context("file " + file.path));
        if (landed.size() != 1 || landed[0].sha256 != file.sha256) {
            return fail(ErrorCode::Unavailable,
                        fmt::format("{} changed while it was being landed", file.path),
                        "Run again when its writer is done");
        }
        file.key = landed[0].key;
        file.local = PX_TRY(landing.local_path(file.key));
    }
    return {};
}

}  // namespace px::pipeline
