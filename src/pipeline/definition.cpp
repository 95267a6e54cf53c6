#include "pipeline/definition.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/sha256.h"
#include "engine/table_name.h"

namespace px::pipeline {

std::string_view source_mode_name(SourceMode mode) {
    switch (mode) {
        case SourceMode::Append:
            return "append";
        case SourceMode::Snapshot:
            return "snapshot";
        case SourceMode::Merge:
            return "merge";
    }
    return "";
}

std::string_view source_kind_name(SourceKind kind) {
    switch (kind) {
        case SourceKind::Csv:
            return "csv";
        case SourceKind::JsonLines:
            return "jsonl";
        case SourceKind::Parquet:
            return "parquet";
        case SourceKind::Documents:
            return "documents";
        case SourceKind::Sql:
            return "sql";
    }
    return "";
}

const SourceDefinition* Definition::source(std::string_view source_name) const {
    for (const SourceDefinition& candidate : sources) {
        if (candidate.name == source_name) return &candidate;
    }
    return nullptr;
}

namespace {

bool is_table_name(std::string_view name) {
    if (name.empty() || name.size() > 100) return false;
    if (!((name[0] >= 'a' && name[0] <= 'z') || (name[0] >= 'A' && name[0] <= 'Z'))) return false;
    return std::ranges::all_of(name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_';
    });
}

/// SQL knows names in any letter case.
std::string folded(std::string_view name) {
    std::string lower(name);
    for (char& c : lower) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return lower;
}

}  // namespace

Result<void> check_table_name(std::string_view what, std::string_view name) {
    if (!is_table_name(name)) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("{} '{}' can't be a table name", what, name),
                    "Use letters, digits and _, beginning with a letter");
    }
    if (std::ranges::find(kReservedTables, folded(name)) != std::end(kReservedTables)) {
        return fail(ErrorCode::InvalidArgument,
                    fmt::format("{} '{}' has a name that px keeps for itself", what, name),
                    "Choose another name");
    }
    if (engine::is_reserved_table_name(name)) {
        return fail(
            ErrorCode::InvalidArgument,
            fmt::format("{} '{}' has a name that the SQL engine keeps for itself", what, name),
            "Choose one that doesn't begin with pg_, sqlite_, duckdb_, pragma_, px_ or "
            "information_schema");
    }
    return {};
}

namespace {

Result<void> check_name(std::string_view what, const std::string& name,
                        std::set<std::string>& taken) {
    PX_TRY(check_table_name(what, name));
    if (!taken.insert(folded(name)).second) {
        return fail(ErrorCode::InvalidArgument, fmt::format("the name '{}' is used twice", name),
                    "Sources and models share one set of names, in any letter case");
    }
    return {};
}

}  // namespace

Result<void> Definition::validate() const {
    if (sources.empty()) {
        return fail(ErrorCode::InvalidArgument, "the pipeline has no sources",
                    "Add one under `sources:`");
    }
    std::set<std::string> taken;
    for (const SourceDefinition& candidate : sources) {
        PX_TRY(check_name("source", candidate.name, taken));
        PX_TRY(candidate.contract.validate().context("source " + candidate.name));
        PX_TRY(candidate.csv.validate().context("source " + candidate.name));
        if (candidate.mode == SourceMode::Merge &&
            candidate.contract.with_role(contract::Role::Id) == nullptr) {
            return fail(
                ErrorCode::InvalidArgument,
                fmt::format("source '{}' merges but its contract has no id", candidate.name),
                "Give one column `role: id`, or choose mode append or snapshot");
        }
        if (candidate.has_text() && candidate.contract.with_role(contract::Role::Id) == nullptr) {
            return fail(
                ErrorCode::InvalidArgument,
                fmt::format("source '{}' has text but its contract has no id", candidate.name),
                "Give the column that identifies a document `role: id`");
        }
    }
    for (const ModelDefinition& model : models) PX_TRY(check_name("model", model.name, taken));
    PX_TRY(chunking.validate().context("chunking"));
    return {};
}

contract::Contract document_contract() {
    using columnar::DataType;
    using columnar::TypeId;
    const auto column = [](std::string name, TypeId type, contract::Role role) {
        contract::ColumnRule rule;
        rule.name = std::move(name);
        rule.type = DataType{type};
        rule.role = role;
        return rule;
    };
    contract::Contract contract;
    contract.name = "document";
    contract.columns = {
        column("id", TypeId::String, contract::Role::Id),
        column("title", TypeId::String, contract::Role::Title),
        column("author", TypeId::String, contract::Role::Author),
        column("created_at", TypeId::Timestamp, contract::Role::Date),
        column("category", TypeId::String, contract::Role::Category),
        column("text", TypeId::String, contract::Role::Text),
        column("format", TypeId::String, contract::Role::None),
        column("pages", TypeId::Int64, contract::Role::None),
        column("text_offset", TypeId::Int64, contract::Role::None),
    };
    contract.columns[0].required = true;
    contract.columns[0].unique = true;
    contract.columns[5].required = true;
    return contract;
}

namespace {

/// Length-prefixed parts, so that no two lists of parts hash alike.
class Fingerprint {
  public:
    Fingerprint& add(std::string_view part) {
        hash_.update(fmt::format("{}:", part.size()));
        hash_.update(part);
        return *this;
    }
    std::string finish() { return to_hex(hash_.finish()).substr(0, 32); }

  private:
    Sha256 hash_;
};

void add_contract(Fingerprint& fingerprint, const contract::Contract& contract) {
    fingerprint.add(fmt::format("{} {} {}", static_cast<int>(contract.extra_columns),
                                contract.halt_above, contract.max_drop.value_or(-1)));
    for (const std::string& text : contract.null_values) fingerprint.add(text);
    for (const contract::ColumnRule& rule : contract.columns) {
        fingerprint.add(rule.name).add(columnar::delta_type_name(rule.type));
        fingerprint.add(
            fmt::format("{} {} {}", rule.required, rule.unique, static_cast<int>(rule.role)));
        for (contract::Transform transform : rule.transforms) {
            fingerprint.add(fmt::format("t{}", static_cast<int>(transform)));
        }
        fingerprint.add(rule.default_value ? "d" + *rule.default_value : "");
        for (const std::string& allowed : rule.one_of) fingerprint.add("o" + allowed);
        fingerprint.add(rule.min ? "m" + *rule.min : "").add(rule.max ? "M" + *rule.max : "");
        fingerprint.add(rule.pattern ? "p" + *rule.pattern : "");
    }
    for (const contract::TableCheck& check : contract.checks) {
        fingerprint.add("c" + check.name).add(check.sql).add(check.expect);
    }
}

}  // namespace

std::string source_fingerprint(const SourceDefinition& source) {
    Fingerprint fingerprint;
    fingerprint.add("source-1")
        .add(source.name)
        .add(source_kind_name(source.kind))
        .add(source_mode_name(source.mode));
    fingerprint.add(source.pattern).add(source.query);
    const source::CsvOptions& csv = source.csv;
    fingerprint.add(fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}",
                                csv.delimiter.value_or("auto"), csv.quote ? *csv.quote : '\0',
                                csv.escape ? *csv.escape : '\0', csv.comment ? *csv.comment : '\0',
                                csv.skip_lines, csv.header_lines, static_cast<int>(csv.encoding),
                                static_cast<int>(csv.ragged), static_cast<int>(csv.stray_quotes),
                                csv.trim, csv.max_field_bytes, csv.max_record_bytes));
    for (const std::string& name : csv.column_names) fingerprint.add(name);
    add_contract(fingerprint, source.contract);
    return fingerprint.finish();
}

std::string vector_fingerprint(const Definition& definition, std::string_view model_id) {
    Fingerprint fingerprint;
    fingerprint.add("vectors-1").add(model_id).add(definition.embedding_precision);
    return fingerprint.finish();
}

std::string models_fingerprint(const Definition& definition) {
    if (definition.models.empty()) return {};
    Sha256 sum;
    for (const ModelDefinition& model : definition.models)
        sum.update(model.name + "\n" + model.sql + "\n");
    return to_hex(sum.finish()).substr(0, 32);
}

std::string chunking_fingerprint(const Definition& definition) {
    Fingerprint fingerprint;
    fingerprint.add("chunking-1");
    fingerprint.add(fmt::format("{} {}", definition.chunking.size, definition.chunking.overlap));
    for (const std::string& separator : definition.chunking.separators) fingerprint.add(separator);
    return fingerprint.finish();
}

}  // namespace px::pipeline
