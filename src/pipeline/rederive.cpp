#include <fmt/format.h>

#include <boost/json.hpp>
#include <fstream>

#include "pipeline/run.h"
#include "source/document/extract.h"
#include "source/landing.h"
#include "source/open.h"

namespace px::pipeline {

Result<std::string> rederive_text(const Definition& definition, const store::ObjectStore& landing,
                                  const catalog::DocumentRow& document, const Deadline& deadline) {
    const SourceDefinition* source = definition.source(document.source);
    if (source == nullptr) {
        return fail(ErrorCode::NotFound,
                    fmt::format("the pipeline file has no source '{}'", document.source));
    }
    const std::filesystem::path local = PX_TRY(landing.local_path(document.landed_key));
    const source::FileHash hash =
        PX_TRY(source::hash_file(local, deadline).context("landed file " + document.landed_key));
    if (hash.sha256 != document.landed_sha256) {
        return fail(ErrorCode::Corrupt,
                    fmt::format("the landed file {} has SHA-256 {}, not {}", document.landed_key,
                                hash.sha256, document.landed_sha256),
                    "It was changed after it was landed");
    }
    const contract::ColumnRule* text_rule = source->contract.with_role(contract::Role::Text);
    if (text_rule == nullptr)
        return fail(ErrorCode::NotFound, fmt::format("source '{}' has no text", source->name));

    std::vector<std::string> columns;
    std::vector<std::optional<std::string>> fields;
    if (source->kind == SourceKind::Documents) {
        source::ExtractOptions options;
        options.deadline = deadline;
        PX_TRY(source::check_document_size(static_cast<uint64_t>(hash.size_bytes), document.path,
                                           options));
        std::ifstream stream(local, std::ios::binary);
        std::string bytes(static_cast<size_t>(hash.size_bytes), '\0');
        if (!stream.read(bytes.data(), hash.size_bytes)) {
            return fail(ErrorCode::Corrupt, "cannot read the landed file " + document.landed_key);
        }
        source::ExtractedDocument extracted =
            PX_TRY(source::extract(bytes, document.path, options));
        columns = {text_rule->name};
        fields = {std::move(extracted.text)};
    } else {
        source::RecordOptions options;
        options.csv = source->csv;
        const source::SourceFormat format = record_format(*source);
        source::FoundRecord record = PX_TRY(source::read_record_at(
            local, format, options, {document.line, document.byte_start, document.byte_end},
            deadline));
        if (record.malformed)
            return fail(ErrorCode::Corrupt,
                        "the record there is malformed: " + record.malformed->reason);
        columns = std::move(record.columns);
        fields = std::move(record.fields);
    }

    // The contract turns the field into the text that was chunked: transforms, defaults.
    contract::Contract text_only;
    text_only.name = source->contract.name;
    text_only.columns = {*text_rule};
    text_only.extra_columns = contract::ExtraColumns::Drop;
    text_only.null_values = source->contract.null_values;
    contract::HeaderBinding binding =
        PX_TRY(contract::bind_header(text_only, columns, document.path));
    const auto validator = PX_TRY(contract::Validator::create(text_only, std::move(binding)));
    columnar::RecordBatch batch(text_only.table_schema({}));
    std::vector<std::optional<std::string_view>> views;
    for (const std::optional<std::string>& field : fields) {
        views.push_back(field ? std::optional<std::string_view>(*field) : std::nullopt);
    }
    if (const auto verdict = validator->validate(views, batch)) {
        return fail(ErrorCode::Corrupt, "the contract refuses the record now: " + verdict->reason);
    }
    return std::string(batch.column(0).bytes_at(0));
}

}  // namespace px::pipeline
